//! What values ask of the floors above them, which they do not know.

use futures::future::LocalBoxFuture;

use crate::values::host::{Args, Block, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{MethodFn, Type};
use crate::values::value::Value;

/// The language that a machine runs: what syntax does with values, and what its library holds.
///
/// There is one, Python; this is how the lower floors reach what is above them.
pub trait Language {
    /// Calls anything. The outcome is never `NotImplemented`.
    ///
    /// # Errors
    /// What the callable raises before it first suspends.
    fn call(&self, machine: &Machine, callee: &Value, args: Args) -> HostResult;

    /// Runs a block in its frame.
    fn run(&self, machine: &Machine, block: &Block) -> LocalBoxFuture<'static, Result<Value, Raise>>;

    /// `object.name`.
    ///
    /// # Errors
    /// `AttributeError`; what a property or a host object raises.
    fn get_attribute(&self, machine: &Machine, object: &Value, name: &str) -> HostResult;

    /// `object.name = value`. The value of the outcome means nothing.
    ///
    /// # Errors
    /// As [`Language::get_attribute`].
    fn set_attribute(&self, machine: &Machine, object: &Value, name: &str, value: Value) -> HostResult;

    /// Returns what a name stands for that is known everywhere.
    fn builtin(&self, name: &str) -> Option<Value>;

    /// Returns what a module of the library that is a text keeps under a name.
    ///
    /// # Errors
    /// As [`Language::import`].
    fn kept(&self, machine: &Machine, module: &str, name: &str) -> Result<Value, Raise>;

    /// Returns a module of the library; `None` for other names.
    ///
    /// # Errors
    /// What keeps the module from being made here: spent fuel or memory, calls too deep.
    fn import(&self, machine: &Machine, name: &str) -> Result<Option<Value>, Raise>;

    /// Says that this server does not offer a module of Python's own; `None` for modules that are not known.
    fn refused(&self, name: &str) -> Option<Raise>;

    /// Calls a builtin type: `int("3")`, `list()`.
    ///
    /// # Errors
    /// As CPython.
    fn construct(&self, machine: &Machine, kind: Type, args: Args) -> HostResult;

    /// Finds a method of a builtin type.
    fn method(&self, kind: Type, name: &str) -> Option<MethodFn>;

    /// Calls a builtin value's method without making a bound one; `None` if there is no such method.
    fn call_method(&self, machine: &Machine, receiver: &Value, name: &str, args: Args) -> Option<HostResult>;

    /// Reads an attribute of a builtin value, a bound method most often.
    fn attribute(&self, machine: &Machine, receiver: &Value, name: &str) -> Option<Value>;

    /// Reads an attribute of a builtin type: `str.join`, `dict.fromkeys`, `int.__name__`.
    fn type_attribute(&self, machine: &Machine, kind: Type, name: &str) -> Option<Value>;

    /// `isinstance(value, class)`.
    ///
    /// # Errors
    /// `TypeError` for what is no class.
    fn is_instance(&self, machine: &Machine, value: &Value, class: &Value) -> Result<bool, Raise>;

    /// `class[key]` of a class that only has a key for whoever reads annotations: `list[int]`.
    fn parameterize(&self, class: &Value, key: &Value) -> Value;

    /// `left | right` of types; `None` where one of them is none.
    ///
    /// # Errors
    /// Fuel is spent.
    fn union(&self, machine: &Machine, left: &Value, right: &Value) -> Result<Option<Value>, Raise>;
}
