//! `set` and `frozenset`.

use std::rc::Rc;

use crate::evaluation::operators;
use crate::evaluation::set::{change, fill, operate, with_key};
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{self, MethodFn, Set, Type};
use crate::values::value::Value;

/// Methods of both by name.
pub const METHODS: &[(&str, MethodFn)] = &[
    ("copy", copy),
    ("difference", |machine, receiver, args| combine(machine, receiver, args, "difference")),
    ("intersection", |machine, receiver, args| combine(machine, receiver, args, "intersection")),
    ("isdisjoint", |machine, receiver, args| relate(machine, receiver, args, "isdisjoint")),
    ("issubset", |machine, receiver, args| relate(machine, receiver, args, "issubset")),
    ("issuperset", |machine, receiver, args| relate(machine, receiver, args, "issuperset")),
    ("symmetric_difference", |machine, receiver, args| relate(machine, receiver, args, "symmetric_difference")),
    ("union", |machine, receiver, args| combine(machine, receiver, args, "union")),
];

/// Methods of `set` alone.
pub const MUTABLE_METHODS: &[(&str, MethodFn)] = &[
    ("add", add),
    ("clear", clear),
    ("difference_update", |machine, receiver, args| update(machine, receiver, args, "difference")),
    ("discard", discard),
    ("intersection_update", |machine, receiver, args| update(machine, receiver, args, "intersection")),
    ("pop", pop),
    ("remove", remove),
    ("symmetric_difference_update", |machine, receiver, args| update(machine, receiver, args, "symmetric_difference")),
    ("update", |machine, receiver, args| update(machine, receiver, args, "union")),
];

fn add(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    with_key(machine, of(receiver, "add")?, args.one("set.add")?, |machine, set, key, original| {
        set.insert(machine, key, original)?;
        Ok(Value::None.into())
    })
}

fn clear(_: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("set.clear")?;
    of(receiver, "clear")?.clear();
    Ok(Value::None.into())
}

fn copy(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("set.copy")?;
    let set = of(receiver, "copy")?;
    if set.is_frozen() {
        return Ok(Value::Set(set).into());
    }
    Ok(Value::Set(Rc::new(set.copy(machine, false)?)).into())
}

fn discard(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    with_key(machine, of(receiver, "discard")?, args.one("set.discard")?, |_, set, key, _| {
        drop(set.remove(&key));
        Ok(Value::None.into())
    })
}

fn remove(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    with_key(machine, of(receiver, "remove")?, args.one("set.remove")?, |_, set, key, original| {
        match set.remove(&key) {
            Some(_) => Ok(Value::None.into()),
            None => Err(Raise::key_error(original)),
        }
    })
}

fn pop(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("set.pop")?;
    let set = of(receiver, "pop")?;
    match set.pop(machine)? {
        Some(value) => Ok(value.into()),
        None => Err(Raise::key_error("pop from an empty set".into())),
    }
}

fn combine(machine: &Machine, receiver: &Value, args: Args, method: &'static str) -> HostResult {
    args.no_keywords(&format!("set.{method}"))?;
    operate(machine, method, Value::Set(of(receiver, method)?), args.positional)
}

fn relate(machine: &Machine, receiver: &Value, args: Args, method: &'static str) -> HostResult {
    let other = args.one(&format!("set.{method}"))?;
    operate(machine, method, Value::Set(of(receiver, method)?), vec![other])
}

fn update(machine: &Machine, receiver: &Value, args: Args, method: &'static str) -> HostResult {
    let set = of(receiver, "update")?;
    args.no_keywords("set.update")?;
    if method == "union"
        && let [other] = &args.positional[..]
        && !matches!(other, Value::Set(_))
    {
        return fill(machine, set, other.clone());
    }
    change(machine, method, set, args.positional)
}

fn of(receiver: &Value, method: &str) -> Result<Rc<Set>, Raise> {
    match operators::plain(receiver) {
        Value::Set(set) => Ok(set),
        _ => Err(types::wrong_receiver(method, Type::Set, receiver)),
    }
}
