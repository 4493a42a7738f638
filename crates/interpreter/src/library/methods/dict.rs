//! Methods of `dict`.

use std::cell::RefCell;
use std::rc::Rc;

use crate::evaluation::mapping::{another, merge, with_key};
use crate::evaluation::operators::{self, with_items};
use crate::evaluation::view::View;
use crate::values::exceptions::Kind as Exception;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::dict::{Dict, Kind, Part};
use crate::values::types::{self, MethodFn, Type};
use crate::values::value::Value;

use super::counter::count;

/// Methods of `dict` by name.
pub const METHODS: &[(&str, MethodFn)] = &[
    ("clear", clear),
    ("copy", copy),
    ("get", get),
    ("items", items),
    ("keys", keys),
    ("pop", pop),
    ("popitem", popitem),
    ("setdefault", setdefault),
    ("update", update),
    ("values", values),
];

fn clear(_: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("dict.clear")?;
    of(receiver, "clear")?.clear();
    Ok(Value::None.into())
}

fn copy(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("dict.copy")?;
    let dict = of(receiver, "copy")?;
    another(machine, receiver, Value::Dict(dict))
}

fn get(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let dict = of(receiver, "get")?;
    let mut args = args.between("get", 1, 2)?.into_iter();
    let (key, default) = (args.next().unwrap_or(Value::None), args.next().unwrap_or(Value::None));
    with_key(machine, dict, key, move |_, dict, key, _| Ok(dict.get(&key).unwrap_or(default).into()))
}

fn items(_: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("dict.items")?;
    Ok(Value::host(View::new(of(receiver, "items")?, Part::Item)).into())
}

fn keys(_: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("dict.keys")?;
    Ok(Value::host(View::new(of(receiver, "keys")?, Part::Key)).into())
}

fn values(_: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("dict.values")?;
    Ok(Value::host(View::new(of(receiver, "values")?, Part::Value)).into())
}

fn pop(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let dict = of(receiver, "pop")?;
    let mut args = args.between("pop", 1, 2)?.into_iter();
    let (key, default) = (args.next().unwrap_or(Value::None), args.next());
    with_key(machine, dict, key, move |_, dict, key, original| match (dict.remove(&key), default) {
        (Some((_, value)), _) => Ok(value.into()),
        (None, Some(default)) => Ok(default.into()),
        (None, None) => Err(Raise::key_error(original)),
    })
}

fn popitem(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let dict = of(receiver, "popitem")?;
    let ordered = matches!(dict.kind(), Kind::Ordered);
    let last = if ordered {
        let [last] = args.bind("popitem", ["last"], 0)?;
        last.map_or(Ok(true), |last| operators::truth_sync(machine, &last))?
    } else {
        args.none("dict.popitem")?;
        true
    };
    let key = if last { dict.last() } else { dict.first().map(|(key, ..)| key) };
    match key.and_then(|key| dict.remove(&key)) {
        Some((key, value)) => Ok(Value::tuple(vec![key, value]).into()),
        None if ordered => Err(Raise::key_error("dictionary is empty".into())),
        None => Err(Raise::key_error("popitem(): dictionary is empty".into())),
    }
}

fn setdefault(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let dict = of(receiver, "setdefault")?;
    let mut args = args.between("setdefault", 1, 2)?.into_iter();
    let (key, default) = (args.next().unwrap_or(Value::None), args.next().unwrap_or(Value::None));
    with_key(machine, dict, key, move |machine, dict, key, original| {
        if let Some(value) = dict.get(&key) {
            return Ok(value.into());
        }
        dict.insert(machine, key, original, default.clone())?;
        Ok(default.into())
    })
}

fn update(machine: &Machine, receiver: &Value, mut args: Args) -> HostResult {
    let dict = of(receiver, "update")?;
    let keyword = std::mem::take(&mut args.keyword);
    let source = args.between("update", 0, 1)?.pop();
    if matches!(dict.kind(), Kind::Counter) {
        return count(machine, dict, source, keyword, 1);
    }
    merge(machine, dict, source, keyword)
}

/// `dict.fromkeys(iterable, value=None)`, also of the kinds of dict that are none of the program's classes.
///
/// # Errors
/// What user code raises.
pub fn fromkeys(machine: &Machine, kind: Type, args: Args) -> HostResult {
    if kind == Type::Counter {
        let message = "Counter.fromkeys() is undefined.  Use Counter(iterable) instead.";
        return Err(Raise::new(Exception::NotImplementedError, message));
    }
    let mut args = args.between("fromkeys", 1, 2)?.into_iter();
    let (iterable, value) = (args.next().unwrap_or(Value::None), args.next().unwrap_or(Value::None));
    with_items(machine, iterable, move |machine, items| {
        let dict = Rc::new(Dict::of_kind(match kind {
            Type::OrderedDict => Kind::Ordered,
            Type::DefaultDict => Kind::Default(RefCell::new(Value::None)),
            _ => Kind::Plain,
        }));
        let pairs = items.into_iter().map(|item| Value::tuple(vec![item, value.clone()])).collect();
        let merged = merge(machine, Rc::clone(&dict), Some(Value::list(pairs)), Vec::new());
        operators::then(machine, merged, move |_, _| Ok(Value::Dict(dict).into()))
    })
}

/// Returns the dict that a method was called on.
///
/// # Errors
/// `TypeError` for other receivers.
pub fn of(receiver: &Value, method: &str) -> Result<Rc<Dict>, Raise> {
    match operators::plain(receiver) {
        Value::Dict(dict) => Ok(dict),
        _ => Err(types::wrong_receiver(method, Type::Dict, receiver)),
    }
}
