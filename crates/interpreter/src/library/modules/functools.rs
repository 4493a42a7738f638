//! `functools`.

use std::rc::Rc;

use crate::evaluation::operators::{self, Iter, later};
use crate::evaluation::{attribute, format, mapping};
use crate::library::builtins;
use crate::library::modules::represent::represent;
use crate::library::modules::{Function, Members, class, functions, signature};
use crate::values::class::{Class, Instance};
use crate::values::exceptions::Kind;
use crate::values::function::Method;
use crate::values::host::{Args, HostResult, Operator};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{self, Dict, Tuple, dict};
use crate::values::value::Value;

pub fn members(_: &Machine) -> Result<Members, Raise> {
    let partial = class(
        "partial",
        "functools",
        vec![],
        &[("__new__", make_partial), ("__call__", call_partial), ("__repr__", repr_partial)],
        &[],
    )?;
    let cached = class(
        "_lru_cache_wrapper",
        "functools",
        vec![],
        &[("__call__", call_cached), ("__get__", bind_to_object)],
        &[("cache_info", cache_info), ("cache_clear", cache_clear), ("cache_parameters", cache_parameters)],
    )?;
    let property = class("cached_property", "functools", vec![], &[("__get__", get_cached_property)], &[])?;
    for (name, body) in [("__init__", initialize_cached_property as Function), ("__set_name__", name_cached_property)] {
        property.set(name, Value::native(name, body));
    }
    let mut members = functions(&[
        ("cmp_to_key", |_, args| {
            let compare = args.one("cmp_to_key")?;
            let key = class("K", "functools", vec![], &[("__lt__", less_by_comparison)], &[])?;
            Ok(Value::native("K", move |machine, args| {
                let key = Instance::new(&key);
                key.set("obj", args.one("K")?);
                key.set("compare", compare.clone());
                key.cover(machine)?;
                Ok(Value::Instance(key).into())
            })
            .into())
        }),
        ("reduce", reduce),
        ("singledispatch", |_, _| {
            Err(Raise::new(Kind::NotImplementedError, "functools.singledispatch is not supported by this server"))
        }),
        ("total_ordering", total_ordering),
        ("update_wrapper", |_, args| {
            let [wrapper, wrapped, assigned, updated] =
                args.bind("update_wrapper", ["wrapper", "wrapped", "assigned", "updated"], 2)?;
            refuse("update_wrapper", &assigned, &updated)?;
            update_wrapper(wrapper.unwrap_or(Value::None), wrapped.unwrap_or(Value::None))
        }),
        ("wraps", |_, args| {
            let [wrapped, assigned, updated] = args.bind("wraps", ["wrapped", "assigned", "updated"], 1)?;
            refuse("wraps", &assigned, &updated)?;
            let wrapped = wrapped.unwrap_or(Value::None);
            Ok(Value::native("wraps", move |_, args| update_wrapper(args.one("wraps")?, wrapped.clone())).into())
        }),
    ]);
    let unbounded = Rc::clone(&cached);
    members.push((
        "cache",
        Value::native("cache", move |machine, args| wrap(machine, &unbounded, args.one("cache")?, None, false)),
    ));
    members.push(("lru_cache", Value::native("lru_cache", move |machine, args| lru_cache(machine, &cached, args))));
    members.push(("partial", Value::Class(partial)));
    members.push(("cached_property", Value::Class(property)));
    Ok(members)
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

fn repr_partial(machine: &Machine, mut args: Args) -> HostResult {
    let partial = receiver(&mut args)?;
    let mut parts = vec![(None, partial.own("func").unwrap_or(Value::None))];
    if let Some(Value::Tuple(args)) = partial.own("args") {
        parts.extend(args.iter().map(|value| (None, value.clone())));
    }
    if let Some(Value::Dict(keywords)) = partial.own("keywords") {
        parts.extend(keywords.entries().into_iter().map(|(name, value)| (name.as_str().map(Rc::from), value)));
    }
    represent(
        machine,
        Value::Instance(partial),
        "functools.partial".to_owned(),
        parts,
        "functools.partial(...)".to_owned(),
    )
}

/// Copies what describes a function onto the one that stands in for it.
fn update_wrapper(wrapper: Value, wrapped: Value) -> HostResult {
    let describe = |name: &str| match &wrapped {
        Value::Function(function) => function.own(name).or_else(|| {
            let code = function.code();
            match name {
                "__name__" => Some(Value::Str(Rc::clone(&code.name))),
                "__qualname__" => Some(Value::Str(code.qualified_name().into())),
                "__doc__" => code.docstring.as_ref().map(|text| Value::Str(Rc::clone(text))),
                _ => None,
            }
        }),
        Value::Native(native) if matches!(name, "__name__" | "__qualname__") => {
            Some(Value::Str(Rc::clone(native.name())))
        }
        Value::Class(class) if name == "__name__" => Some(Value::Str(Rc::clone(class.name()))),
        Value::Instance(instance) => instance.own(name),
        _ => None,
    };
    let attributes = match &wrapped {
        Value::Function(function) => function.attributes(),
        _ => Vec::new(),
    };
    let described = ["__module__", "__name__", "__qualname__", "__doc__"]
        .into_iter()
        .filter_map(|name| Some((Rc::from(name), describe(name)?)));
    let all: Vec<(Rc<str>, Value)> =
        described.chain(attributes).chain([(Rc::from("__wrapped__"), wrapped.clone())]).collect();
    for (name, value) in all {
        match &wrapper {
            Value::Function(function) => function.set(name, value),
            Value::Instance(instance) => instance.set(name, value),
            _ => {}
        }
    }
    Ok(wrapper.into())
}

/// Refuses to be told which attributes to copy: it is always the usual ones.
fn refuse(name: &str, assigned: &Option<Value>, updated: &Option<Value>) -> Result<(), Raise> {
    match (assigned, updated) {
        (None, None) => Ok(()),
        (Some(_), _) => Err(signature::unsupported(name, "assigned")),
        (None, Some(_)) => Err(signature::unsupported(name, "updated")),
    }
}

fn lru_cache(machine: &Machine, class: &Rc<Class>, args: Args) -> HostResult {
    let [limit, typed] = args.bind("lru_cache", ["maxsize", "typed"], 0)?;
    let typed = typed.map_or(Ok(false), |typed| operators::truth_sync(machine, &typed))?;
    let limit = match limit {
        None => Some(128),
        Some(Value::None) => None,
        Some(function) if builtins::is_callable(&function) => {
            return wrap(machine, class, function, Some(128), typed);
        }
        Some(limit) => Some(operators::index_clamped(machine, &limit)?.max(0)),
    };
    let class = Rc::clone(class);
    Ok(Value::native("lru_cache", move |machine, args| wrap(machine, &class, args.one("lru_cache")?, limit, typed))
        .into())
}

fn wrap(machine: &Machine, class: &Rc<Class>, function: Value, limit: Option<i64>, typed: bool) -> HostResult {
    let cached = Instance::new(class);
    cached.set(TABLE, Value::Dict(Rc::new(Dict::of_kind(dict::Kind::Ordered))));
    cached.set(LIMIT, limit.map_or(Value::None, Value::Int));
    cached.set(TYPED, Value::Bool(typed));
    cached.set(HITS, Value::Int(0));
    cached.set(MISSES, Value::Int(0));
    cached.cover(machine)?;
    update_wrapper(Value::Instance(cached), function)
}

/// Attributes of a cached function that only this module reads.
const TABLE: &str = " table";
const LIMIT: &str = " limit";
const TYPED: &str = " typed";
const HITS: &str = " hits";
const MISSES: &str = " misses";

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

fn cache_info(_: &Machine, mut args: Args) -> HostResult {
    let cached = receiver(&mut args)?;
    let length = match cached.own(TABLE) {
        Some(Value::Dict(table)) => table.len() as i64,
        _ => 0,
    };
    let info = class("CacheInfo", "functools", vec![], &[("__repr__", repr_info)], &[])?;
    let info = Instance::new(&info);
    info.set("hits", Value::Int(number(&cached, HITS)));
    info.set("misses", Value::Int(number(&cached, MISSES)));
    info.set("maxsize", cached.own(LIMIT).unwrap_or(Value::None));
    info.set("currsize", Value::Int(length));
    Ok(Value::Instance(info).into())
}

fn repr_info(_: &Machine, mut args: Args) -> HostResult {
    let info = receiver(&mut args)?;
    let parts: Vec<String> = info
        .attributes()
        .into_iter()
        .map(|(name, value)| format!("{name}={}", format::repr_now(&value).unwrap_or_default()))
        .collect();
    Ok(Value::from(format!("CacheInfo({})", parts.join(", "))).into())
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

fn initialize_cached_property(_: &Machine, mut args: Args) -> HostResult {
    let property = receiver(&mut args)?;
    property.set("func", args.one("cached_property")?);
    Ok(Value::None.into())
}

fn name_cached_property(_: &Machine, mut args: Args) -> HostResult {
    let property = receiver(&mut args)?;
    property.set("attrname", args.between("__set_name__", 2, 2)?.swap_remove(1));
    Ok(Value::None.into())
}

/// Computes the attribute and stores it in the object, which is found there from then on.
fn get_cached_property(machine: &Machine, mut args: Args) -> HostResult {
    let property = receiver(&mut args)?;
    let object = args.positional.into_iter().next().unwrap_or(Value::None);
    let (Value::Instance(instance), Some(function)) = (&object, property.own("func")) else {
        return Ok(Value::Instance(property).into());
    };
    let (instance, name) = (Rc::clone(instance), property.own("attrname"));
    let value = machine.call_now(&function, Args::of([object.clone()]));
    operators::then(machine, value, move |machine, value| {
        if let Some(Value::Str(name)) = name {
            instance.set(name, value.clone());
            instance.cover(machine)?;
        }
        Ok(value.into())
    })
}

/// `<` of the keys that `cmp_to_key` makes.
fn less_by_comparison(machine: &Machine, args: Args) -> HostResult {
    let (left, right) = match &args.between("__lt__", 2, 2)?[..] {
        [Value::Instance(left), Value::Instance(right)] => (Rc::clone(left), Rc::clone(right)),
        _ => return Ok(Value::NotImplemented.into()),
    };
    let own = |key: &Instance, name: &str| key.own(name).unwrap_or(Value::None);
    let compared = machine.call_now(&own(&left, "compare"), Args::of([own(&left, "obj"), own(&right, "obj")]));
    operators::then(machine, compared, |machine, order| {
        operators::binary(machine, Operator::Less, &order, &Value::Int(0))
    })
}

/// Adds the comparisons that a class lacks, made of one that it has and `__eq__`.
fn total_ordering(_: &Machine, args: Args) -> HostResult {
    let object = args.one("total_ordering")?;
    let Value::Class(class) = &object else { return Err(Raise::type_error("total_ordering needs a class")) };
    let order = ["__lt__", "__le__", "__gt__", "__ge__"];
    let Some(root) = order.into_iter().find(|name| class.find(name).is_some()) else {
        return Err(Raise::value_error("must define at least one ordering operation: < > <= >="));
    };
    // `a ? b` from the root's answer: itself or its opposite, and what equality adds to it.
    for name in order.into_iter().filter(|name| class.find(name).is_none()) {
        let less = |name: &str| matches!(name, "__lt__" | "__le__");
        let strict = |name: &str| matches!(name, "__lt__" | "__gt__");
        let negate = less(name) != less(root);
        // The opposite of `<` is `>=`; where strictness is wrong still, equality decides.
        let fix = if negate { strict(root) == strict(name) } else { strict(root) != strict(name) };
        let strict = strict(name);
        let body = move |machine: &Machine, args: Args| {
            let args = args.between(name, 2, 2)?;
            let machine = machine.clone();
            later(async move {
                let (left, right) = (&args[0], &args[1]);
                let Some(method) = attribute::special(&machine, left, root) else { return Ok(Value::NotImplemented) };
                let answer = machine.call(&method, Args::of([right.clone()])).await?;
                if matches!(answer, Value::NotImplemented) {
                    return Ok(answer);
                }
                let answer = operators::truth(&machine, &answer).await? != negate;
                Ok(Value::Bool(match (fix, strict) {
                    (false, _) => answer,
                    (true, true) => answer && !operators::equal(&machine, left, right).await?,
                    (true, false) => answer || operators::equal(&machine, left, right).await?,
                }))
            })
        };
        class.set(name, Value::native(name, body));
    }
    Ok(object.into())
}
