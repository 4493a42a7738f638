//! The methods of the builtin types.

pub mod bytes;
pub mod counter;
pub mod dict;
mod effects;
pub mod float;
pub mod int;
pub mod list;
pub mod object;
pub mod range;
pub mod set;
pub mod slice;
pub(crate) mod special;
pub mod string;
pub mod tuple;

pub use effects::{any_effect, effect};

use std::rc::Rc;

use crate::evaluation::operators;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::types::{MethodFn, Native, Type, builtin_type};
use crate::values::value::Value;

/// Returns the methods by name, without those of the base.
pub fn of(kind: Type) -> impl std::iter::Iterator<Item = &'static (&'static str, MethodFn)> {
    let (own, more): (&'static [_], &'static [_]) = match kind {
        Type::Int => (int::METHODS, &[]),
        Type::Float => (float::METHODS, &[]),
        Type::Complex => (float::COMPLEX_METHODS, &[]),
        Type::Str => (string::METHODS, &[]),
        Type::Bytes => (bytes::METHODS, bytes::TEXTUAL),
        Type::List => (list::METHODS, &[]),
        Type::Tuple => (tuple::METHODS, &[]),
        Type::Dict => (dict::METHODS, &[]),
        Type::OrderedDict => (counter::ORDERED_METHODS, &[]),
        Type::Counter => (counter::COUNTER_METHODS, &[]),
        Type::Set => (set::METHODS, set::MUTABLE_METHODS),
        Type::FrozenSet => (set::METHODS, &[]),
        Type::Range => (range::METHODS, &[]),
        Type::Slice => (slice::METHODS, &[]),
        _ => (&[], &[]),
    };
    own.iter().chain(more)
}

/// Finds a method of this type or its base.
pub fn find(kind: Type, name: &str) -> Option<MethodFn> {
    std::iter::successors(Some(kind), |kind| kind.base())
        .find_map(|kind| of(kind).find(|(known, _)| *known == name))
        .map(|(_, method)| *method)
        .or_else(|| special::find(kind, name))
}

/// Reads an attribute of a builtin value.
pub fn method(machine: &Machine, receiver: &Value, name: &str) -> Option<Value> {
    // Should the fuel be spent, the next charge says so.
    let _ = machine.charge_fuel(operators::UNCHARGED);
    let plain = operators::plain(receiver);
    if let Some(value) = object::attribute(receiver, &plain, name) {
        return Some(value);
    }
    let body = find(kind_of(&plain)?, name)?;
    Some(Value::Native(Rc::new(Native::bound(name, receiver.clone(), body))))
}

/// Returns the type whose methods a value has. All iterators have the same.
fn kind_of(value: &Value) -> Option<Type> {
    match value {
        Value::Iterator(_) => Some(Type::Map),
        value => builtin_type(value),
    }
}

/// Calls a builtin value's method without making a bound one; `None` if there is no such method.
pub fn call_method(machine: &Machine, receiver: &Value, name: &str, args: Args) -> Option<HostResult> {
    let kind = match receiver {
        Value::Instance(_) => builtin_type(&operators::plain(receiver))?,
        receiver => kind_of(receiver)?,
    };
    Some(find(kind, name)?(machine, receiver, args))
}

/// Reads an attribute of a builtin type: `str.join`, `dict.fromkeys`, `int.__name__`.
pub fn attribute(machine: &Machine, kind: Type, name: &str) -> Option<Value> {
    object::type_attribute(machine, kind, name)
}
