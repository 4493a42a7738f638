//! What a user asks for, as plain data: the traced block's source, the values it refers to,
//! the model it looks into, and the limits under which it runs.
//!
//! Nothing here runs anything: no async runtime, no clock, no tensors library.

pub mod datum;
pub mod limits;
mod program;

pub use datum::{DType, Datum, Heap, Ref, TensorData};
pub use limits::Limits;
pub use program::{Entry, Env, Function, Program, Saved, Source};
