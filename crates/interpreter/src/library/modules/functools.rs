//! `functools`.

use std::rc::Rc;

use crate::evaluation::mapping;
use crate::evaluation::operators::{Iter, later};
use crate::library::builtins;
use crate::library::modules::written::Written;
use crate::library::modules::{Members, class};
use crate::values::class::Instance;
use crate::values::exceptions::Kind;
use crate::values::function::Method;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{self, Dict, Tuple, dict};
use crate::values::value::Value;

pub const FUNCTOOLS: Written = Written { text: include_str!("../python/functools.py"), natives };

/// What is called often, and as deep as in CPython: functions there, too, that are not written in Python.
fn natives(_: &Machine) -> Result<Members, Raise> {
    let partial = class("partial", "functools", vec![], &[("__new__", make_partial), ("__call__", call_partial)], &[])?;
    let cached = class(
        "_lru_cache_wrapper",
        "functools",
        vec![],
        &[("__init__", initialize_cached), ("__call__", call_cached), ("__get__", bind_to_object)],
        &[("cache_info", cache_info), ("cache_clear", cache_clear), ("cache_parameters", cache_parameters)],
    )?;
    Ok(vec![
        ("partial", Value::Class(partial)),
        ("reduce", Value::native("reduce", reduce)),
        ("_lru_cache_wrapper", Value::Class(cached)),
    ])
}

fn reduce(machine: &Machine, args: Args) -> HostResult {
    let mut args = args.between("reduce", 2, 3)?.into_iter();
    let mut next = || args.next();
    let (function, iterable, initial) = (next().unwrap_or(Value::None), next().unwrap_or(Value::None), next());
    let mut iter = Iter::of(machine, &iterable).map_err(|raise| {
        if raise.is(Kind::TypeError) { Raise::type_error("reduce() arg 2 must support iteration") } else { raise }
    })?;
    let machine = machine.clone();
    later(async move {
        let mut total = match initial {
            Some(initial) => initial,
            None => match iter.next(&machine).await? {
                Some(first) => first,
                None => return Err(Raise::type_error("reduce() of empty iterable with no initial value")),
            },
        };
        while let Some(value) = iter.next(&machine).await? {
            machine.charge_fuel(1)?;
            total = machine.call(&function, Args::of([total, value])).await?;
        }
        Ok(total)
    })
}

/// Takes the object that a method of one of these classes is called on.
fn receiver(args: &mut Args) -> Result<Rc<Instance>, Raise> {
    if args.positional.is_empty() {
        return Err(Raise::type_error("unbound method needs an argument"));
    }
    match args.positional.remove(0) {
        Value::Instance(instance) => Ok(instance),
        _ => Err(Raise::type_error("descriptor requires an object of its own class")),
    }
}

fn make_partial(machine: &Machine, mut args: Args) -> HostResult {
    if args.positional.len() < 2 {
        return Err(Raise::type_error("type 'partial' takes at least one argument"));
    }
    let Value::Class(class) = args.positional.remove(0) else {
        return Err(Raise::type_error("functools.partial.__new__(X): X is not a type object"));
    };
    let function = args.positional.remove(0);
    if !builtins::is_callable(&function) {
        return Err(Raise::type_error("the first argument must be callable"));
    }
    let (mut function, mut positional, mut keyword) = (function, args.positional, args.keyword);
    // A partial of a partial is flat.
    if let Value::Instance(inner) = &function
        && Rc::ptr_eq(inner.class(), &class)
        && let (Some(innermost), Some(Value::Tuple(first)), Some(Value::Dict(defaults))) =
            (inner.own("func"), inner.own("args"), inner.own("keywords"))
    {
        positional.splice(0..0, first.iter().cloned());
        keyword = merged(&defaults, keyword);
        function = innermost;
    }
    machine.charge_fuel((positional.len() + keyword.len()) as u64)?;
    let positional = Value::Tuple(Rc::new(Tuple::new(positional)));
    let partial = Instance::new(&class);
    partial.set("func", function);
    partial.set("args", positional);
    partial.set("keywords", Value::dict(keyword));
    partial.cover(machine)?;
    Ok(Value::Instance(partial).into())
}

/// Puts keyword arguments over those of a dict.
fn merged(defaults: &Dict, keyword: Vec<(Rc<str>, Value)>) -> Vec<(Rc<str>, Value)> {
    let mut all: Vec<(Rc<str>, Value)> =
        defaults.entries().into_iter().filter_map(|(name, value)| Some((Rc::from(name.as_str()?), value))).collect();
    for (name, value) in keyword {
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => all.push((name, value)),
        }
    }
    all
}

fn call_partial(machine: &Machine, mut args: Args) -> HostResult {
    let partial = receiver(&mut args)?;
    let (Some(function), Some(Value::Tuple(first)), Some(Value::Dict(keywords))) =
        (partial.own("func"), partial.own("args"), partial.own("keywords"))
    else {
        return Err(Raise::type_error("the attributes of a partial must not be replaced"));
    };
    machine.charge_fuel((first.len() + keywords.len()) as u64)?;
    let positional = first.iter().cloned().chain(args.positional).collect();
    let call = Args { positional, keyword: merged(&keywords, args.keyword) };
    // Partials of partials of … call each other on the native stack.
    machine.recurse(|| machine.call_now(&function, call))
}

/// Attributes of a cached function that only this module reads.
const TABLE: &str = " table";
const LIMIT: &str = " limit";
const TYPED: &str = " typed";
const INFO: &str = " info";
const HITS: &str = " hits";
const MISSES: &str = " misses";

fn initialize_cached(machine: &Machine, mut args: Args) -> HostResult {
    let cached = receiver(&mut args)?;
    let values = args.between("_lru_cache_wrapper", 4, 4)?;
    for (name, value) in ["__wrapped__", LIMIT, TYPED, INFO].into_iter().zip(values) {
        cached.set(name, value);
    }
    cached.set(TABLE, Value::Dict(Rc::new(Dict::of_kind(dict::Kind::Ordered))));
    cached.set(HITS, Value::Int(0));
    cached.set(MISSES, Value::Int(0));
    cached.cover(machine)?;
    Ok(Value::None.into())
}

fn number(cached: &Instance, name: &str) -> i64 {
    cached.own(name).and_then(|value| value.as_int()).unwrap_or(0)
}

fn call_cached(machine: &Machine, mut args: Args) -> HostResult {
    let cached = receiver(&mut args)?;
    let (Some(function), Some(Value::Dict(table))) = (cached.own("__wrapped__"), cached.own(TABLE)) else {
        return Err(Raise::type_error("the attributes of a cached function must not be replaced"));
    };
    let mut parts = args.positional.clone();
    if !args.keyword.is_empty() {
        // What no argument can be keeps keyword arguments apart from positional ones.
        parts.push(function.clone());
        parts.extend(args.keyword.iter().flat_map(|(name, value)| [Value::Str(Rc::clone(name)), value.clone()]));
    }
    if matches!(cached.own(TYPED), Some(Value::Bool(true))) {
        let values = args.positional.iter().chain(args.keyword.iter().map(|(_, value)| value));
        parts.extend(values.map(types::type_of));
    }
    // As CPython, which keeps a single number or text as it is, and so apart from what equals it.
    let original = match (parts.as_slice(), args.positional.len()) {
        ([one @ (Value::Int(_) | Value::Big(_) | Value::Str(_))], 1) => one.clone(),
        _ => Value::tuple(parts),
    };
    let machine = machine.clone();
    later(async move {
        let key = mapping::resolve(&machine, &table, &original).await?;
        if let Some(value) = table.get(&key) {
            cached.set(HITS, Value::Int(number(&cached, HITS) + 1));
            table.move_to_end(&key, true);
            return Ok(value);
        }
        cached.set(MISSES, Value::Int(number(&cached, MISSES) + 1));
        let value = machine.call(&function, args).await?;
        let limit = cached.own(LIMIT).and_then(|limit| limit.as_int());
        if limit != Some(0) {
            table.insert(&machine, key, original, value.clone())?;
        }
        if limit.is_some_and(|limit| table.len() as i64 > limit.max(0))
            && let Some((oldest, ..)) = table.first()
        {
            table.remove(&oldest);
        }
        Ok(value)
    })
}

fn bind_to_object(_: &Machine, mut args: Args) -> HostResult {
    let cached = receiver(&mut args)?;
    let function = Value::Instance(cached);
    Ok(match args.positional.into_iter().next() {
        None | Some(Value::None) => function,
        Some(receiver) => Value::Method(Rc::new(Method { function, receiver })),
    }
    .into())
}

fn cache_info(machine: &Machine, mut args: Args) -> HostResult {
    let cached = receiver(&mut args)?;
    let length = match cached.own(TABLE) {
        Some(Value::Dict(table)) => table.len() as i64,
        _ => 0,
    };
    let part = |name: &str| cached.own(name).unwrap_or(Value::None);
    let parts = [part(HITS), part(MISSES), part(LIMIT), Value::Int(length)];
    machine.call_now(&part(INFO), Args::of(parts))
}

fn cache_parameters(_: &Machine, mut args: Args) -> HostResult {
    let cached = receiver(&mut args)?;
    let part = |name: &str| cached.own(name).unwrap_or(Value::None);
    Ok(Value::dict([("maxsize", part(LIMIT)), ("typed", part(TYPED))]).into())
}

fn cache_clear(_: &Machine, mut args: Args) -> HostResult {
    let cached = receiver(&mut args)?;
    if let Some(Value::Dict(table)) = cached.own(TABLE) {
        table.clear();
    }
    cached.set(HITS, Value::Int(0));
    cached.set(MISSES, Value::Int(0));
    Ok(Value::None.into())
}
