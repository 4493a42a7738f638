//! What the engine's tests show on the CPU, on what stands for a GPU: `crates/torch/mock/mock.cpp` says how far that goes.
#![expect(clippy::duplicate_mod, reason = "each file of tests brings the engine that it is run on")]

#[path = "aliasing.rs"]
mod aliasing;
#[path = "engine.rs"]
mod engine_tests;
#[path = "gradients.rs"]
mod gradients;
#[path = "isolation.rs"]
mod isolation;
#[path = "sequential.rs"]
mod sequential;
