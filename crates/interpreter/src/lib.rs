//! Evaluates users' Python over host objects: suspendable, metered, without CPython.
//!
//! A block of source becomes a [`Coroutine`]; whoever drives it resumes it with the answers to its [`Request`]s.
//! Objects of the outside (tensors, modules of a model, tracers) take part through [`HostObject`].
//! Nothing here knows of tensors, threads, clocks or sockets.

pub mod attribute;
mod attributes;
pub mod builtins;
mod call;
pub mod class;
pub mod coroutine;
pub mod effect;
mod eval;
pub mod exceptions;
pub mod format;
pub mod frame;
pub mod function;
pub mod generator;
pub mod host;
pub mod import;
pub mod machine;
pub mod modules;
pub mod operators;
pub mod raise;
mod teardown;
mod traceback;
pub mod types;
pub mod value;
pub mod watch;

pub use class::{Class, Decorated, Instance, Property};
pub use coroutine::{Coroutine, Step};
pub use effect::{Effect, Use};
pub use exceptions::Kind;
pub use frame::{Frame, Globals, Siblings};
pub use function::{Defaults, Function, Method};
pub use generator::Generator;
pub use host::{Args, Block, Capture, HostObject, HostResult, Iteration, Operator, Outcome, Request};
pub use machine::{Environment, Held, Machine};
pub use raise::{Entry, Fatal, Raise};
pub use types::charge::Meter;
pub use types::{Dict, Iterator, List, Native, Range, Set, Slice, Tuple, Type};
pub use value::{Identity, Value};
pub use watch::{Compound, Part, Watch};
