//! Evaluates users' Python over host objects: suspendable, metered, without CPython.
//!
//! A block of source becomes a [`Coroutine`]; whoever drives it resumes it with the answers to its [`Request`]s.
//! Objects of the outside (tensors, modules of a model, tracers) take part through [`HostObject`].
//! Nothing here knows of tensors, threads, clocks or sockets.

//!
//! Three floors, each of which knows only those below it (`cargo test -p tests --test architecture` shows it):
//! [`values`] are what a program computes with and who pays for it, [`evaluation`] is what syntax does with them, and
//! [`library`] is what a program finds there by name.

pub mod evaluation;
pub mod library;
mod python;
pub mod values;

pub use evaluation::{attribute, coroutine, format, import, mapping, operators, set};
pub use library::{builtins, methods, modules};
pub use values::{
    class, effect, exceptions, frame, function, generator, host, machine, pool, raise, types, value, watch,
};

pub use class::{Class, Decorated, Instance, Property};
pub use coroutine::{Coroutine, Step};
pub use effect::{Effect, Use};
pub use exceptions::Kind;
pub use frame::{Frame, Globals, Siblings};
pub use function::{Defaults, Function, Method};
pub use generator::Generator;
pub use host::{Args, Block, Capture, HostObject, HostResult, Iteration, Operator, Outcome, Request};
pub use machine::{Environment, Held, Machine};
pub use pool::{Pool, Share};
pub use raise::{Entry, Fatal, Raise};
pub use types::charge::Meter;
pub use types::{Dict, Iterator, List, Native, Range, Set, Slice, Tuple, Type};
pub use value::{Identity, Value};
pub use watch::{Compound, Part, Watch};
