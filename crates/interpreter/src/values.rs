//! What a program computes with: values of the builtin types, classes and frames, the machine that meters them, and the
//! seam to everything that is not Python.

mod attributes;
pub mod class;
pub mod effect;
pub mod exceptions;
pub mod frame;
pub mod function;
pub mod generator;
pub mod host;
pub mod language;
pub mod machine;
pub mod pool;
pub mod raise;
pub(crate) mod suspension;
pub(crate) mod teardown;
pub mod trace;
pub(crate) mod traceback;
pub mod types;
pub mod value;
pub mod watch;
