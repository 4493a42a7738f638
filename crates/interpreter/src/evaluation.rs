//! What syntax does with values: operators, attributes, calls, statements, f-strings, tracebacks.

pub mod annotation;
pub mod attribute;
pub(crate) mod call;
pub mod coroutine;
pub(crate) mod describe;
pub mod elements;
pub(crate) mod eval;
pub mod format;
pub mod import;
pub mod key;
pub mod mapping;
pub mod operators;
pub mod proxy;
pub mod set;
pub mod sort;
pub mod view;
