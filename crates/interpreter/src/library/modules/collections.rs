//! `collections`.

use crate::library::modules::deque::DequeType;
use crate::library::modules::{Members, import, namedtuple};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::Type;
use crate::values::value::Value;

pub fn members(machine: &Machine) -> Result<Members, Raise> {
    let mut members = vec![
        ("Counter", Value::Type(Type::Counter)),
        ("OrderedDict", Value::Type(Type::OrderedDict)),
        ("defaultdict", Value::Type(Type::DefaultDict)),
        ("deque", Value::host(DequeType)),
        ("namedtuple", Value::native("namedtuple", namedtuple::namedtuple)),
    ];
    members.extend(import(machine, "collections.abc").map(|module| ("abc", module)));
    // A class that programs derive from and that behaves as the builtin: the wrapped object is the object itself.
    members.extend([("UserDict", Value::Type(Type::Dict)), ("UserList", Value::Type(Type::List))]);
    Ok(members)
}
