//! What syntax does with values: operators, attributes, calls, statements, f-strings, tracebacks.

pub mod attribute;
pub(crate) mod call;
pub mod coroutine;
pub(crate) mod eval;
pub mod format;
pub mod import;
pub mod operators;
pub mod proxy;
pub mod sequence;
pub mod sort;
pub(crate) mod traceback;
pub mod view;
