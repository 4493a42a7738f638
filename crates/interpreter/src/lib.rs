//! Evaluates users' Python over host objects: suspendable, metered, without CPython.
//!
//! A block of source becomes a [`Coroutine`]; whoever drives it resumes it with the answers to its [`Request`]s.
//! Objects of the outside (tensors, modules of a model, tracers) take part through [`HostObject`].
//! Nothing here knows of tensors, threads, clocks or sockets.

pub mod host;
pub mod value;

pub use host::{Args, Block, Capture, HostObject, HostResult, Iteration, Operator, Outcome, Request};
pub use value::{Identity, Value};
