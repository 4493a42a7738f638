//! What a user asks for, as plain data: the traced block's source, the values it refers to,
//! the model it looks into, and the limits under which it runs.
//!
//! Nothing here runs anything: no async runtime, no clock, no tensors library.

pub mod adapter;
pub mod check;
pub mod datum;
pub mod decorated;
mod error;
pub mod frame;
mod guard;
pub mod ir;
pub mod limits;
pub mod lower;
mod program;
pub mod reduced;
pub mod refusals;

pub use check::{Checked, check, lowered};

pub use datum::{DType, Datum, Heap, Ref, TensorData};
pub use error::{SyntaxError, Unreadable};
pub use limits::Limits;
pub use program::{Batching, Entry, Env, Function, Program, Saved, Source};
