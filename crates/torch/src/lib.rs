//! PyTorch for users' blocks, without Python: tensors, their methods, and the modules that code imports.
//!
//! Operators are looked up in libtorch's own dispatcher and called through their schemas; which of them users may
//! call is one list, `operators.txt`. Weights are shown read-only, every allocation is charged to the job that makes
//! it, and no memory is shown that nobody has written.

mod adjacent;
mod allowed;
mod array;
mod aside;
pub mod autograd;
mod away;
mod backward;
mod binding;
mod bounds;
mod cost;
mod create;
pub mod cuda;
mod data;
mod deferred;
mod dispatch;
mod dtype;
pub mod effects;
mod elements;
mod embedding;
mod ffi;
mod foreign;
mod generator;
mod job;
mod kernels;
mod learned;
mod modes;
mod modules;
mod named;
pub mod number;
mod probe;
mod python;
mod recorded;
mod rows;
mod schema;
mod signatures;
mod size;
mod tensor;
mod together;
pub mod varlen;
mod weight;

pub use aside::Aside;
pub use data::{named_result, value_data};
pub use deferred::Deferred;
pub use dtype::Device;
pub use embedding::embedding;
pub use generator::Generator;
pub use job::{Job, Paying};
pub use kernels::{BLOCK, Kernels, Products, Rows, rounded};
pub use modules::{global, import, instance};
pub use recorded::Moment;
pub use rows::as_one;
pub use schema::{Kind, Operators};
pub use tensor::{Head, Tensor};
pub use weight::{STEP, Weight, is_half, keep_copies};

/// Puts the accounting of memory in front of libtorch's allocator. Called before the first tensor is made, so that
/// weights too are freed by the allocator that made them; calling it again does nothing.
pub fn prepare() {
    // SAFETY: the shim guards against being called twice, and touches only libtorch's allocator registry.
    unsafe { ffi::vt_account_allocations() };
}
