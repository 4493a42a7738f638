//! What using a name of an object does besides giving a value, as the object's own crate declares it.
//!
//! The evaluator itself never asks. A host that wants to run code out of its turn does: what is not declared may do
//! anything, so that a new function is run in its turn until somebody has said more of it.

use crate::values::machine::Machine;
use crate::values::value::Value;

/// What using a name does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It looks at the object and the arguments, and leaves no marks.
    Looks,
    /// It changes the object, which may keep the arguments, and nothing else.
    Changes,
    /// It may do anything: when it happens matters.
    Anything,
}

/// How a name is used.
#[derive(Clone, Copy, Debug)]
pub enum Use<'a> {
    /// Its value is handed on, to be called with whatever there is.
    Read,
    /// It is assigned to.
    Store,
    /// It is called with so many positional arguments and these keywords. Calls with `*` or `**` count as [`Use::Read`].
    Call { positional: usize, keywords: &'a [&'a str] },
}

impl Effect {
    /// Joins what two objects say of one name, where either may be meant. `None` has no such name.
    #[must_use]
    pub fn either(left: Option<Self>, right: Option<Self>) -> Option<Self> {
        match (left, right) {
            (Some(left), Some(right)) => Some(left.max(right)),
            (left, right) => left.or(right),
        }
    }

    /// Returns what a value's own kind does when it is handed on or called.
    #[must_use]
    pub fn of(machine: &Machine, value: &Value, usage: Use<'_>) -> Self {
        match value {
            value if value.is_scalar() => Self::Looks,
            Value::Slice(_) => Self::Looks,
            Value::Type(kind) => kind.effect_of_call(),
            Value::Native(native) => native.effect(),
            Value::Function(function) => function.effect(),
            Value::Host(host) => host.effect(machine, "__call__", usage),
            _ => Self::Anything,
        }
    }
}
