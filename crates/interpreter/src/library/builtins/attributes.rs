//! `getattr` and its kin, `isinstance`, `type`, `vars`, `dir`.

use std::rc::Rc;

use crate::evaluation::attribute;
use crate::evaluation::operators::{self, later, special};
use crate::library::methods;
use crate::library::modules::typing;
use crate::values::class::{Class, Decorated, Instance};
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostObject, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::teardown::Cyclic;
use crate::values::types::opaque::Opaque;
use crate::values::types::{Type, builtin_type, type_name, type_of};
use crate::values::value::Value;

pub fn getattr(machine: &Machine, args: Args) -> HostResult {
    let args = args.between("getattr", 2, 3)?;
    let name = name(&args[1])?;
    let Some(default) = args.get(2).cloned() else { return attribute::get(machine, &args[0], &name) };
    match attribute::find(machine, &args[0], &name) {
        Ok(None) => Ok(default.into()),
        Ok(Some(Outcome::Ready(value))) => Ok(value.into()),
        Ok(Some(pending)) => {
            let machine = machine.clone();
            later(async move {
                match machine.settle(pending).await {
                    Err(raise) if raise.is(Kind::AttributeError) => Ok(default),
                    result => result,
                }
            })
        }
        Err(raise) if raise.is(Kind::AttributeError) => Ok(default.into()),
        Err(raise) => Err(raise),
    }
}

pub fn hasattr(machine: &Machine, args: Args) -> HostResult {
    let args = args.between("hasattr", 2, 2)?;
    let name = name(&args[1])?;
    match attribute::find(machine, &args[0], &name) {
        Ok(None) => Ok(Value::Bool(false).into()),
        Ok(Some(Outcome::Ready(_))) => Ok(Value::Bool(true).into()),
        Ok(Some(pending)) => {
            let machine = machine.clone();
            later(async move {
                match machine.settle(pending).await {
                    Ok(_) => Ok(Value::Bool(true)),
                    Err(raise) if raise.is(Kind::AttributeError) => Ok(Value::Bool(false)),
                    Err(raise) => Err(raise),
                }
            })
        }
        Err(raise) if raise.is(Kind::AttributeError) => Ok(Value::Bool(false).into()),
        Err(raise) => Err(raise),
    }
}

/// `setattr(object, name, value)`.
///
/// # Errors
/// `AttributeError`; what a property raises.
pub fn setattr(machine: &Machine, args: Args) -> HostResult {
    let mut args = args.between("setattr", 3, 3)?;
    let value = args.pop().unwrap_or(Value::None);
    let name = name(&args[1])?;
    let done = attribute::set(machine, &args[0], &name, value);
    operators::then(machine, done, |_, _| Ok(Value::None.into()))
}

pub fn delattr(machine: &Machine, args: Args) -> HostResult {
    let args = args.between("delattr", 2, 2)?;
    let name = name(&args[1])?;
    let done = attribute::delete(machine, &args[0], &name);
    operators::then(machine, done, |_, _| Ok(Value::None.into()))
}

fn name(value: &Value) -> Result<Rc<str>, Raise> {
    match operators::plain(value) {
        Value::Str(name) => Ok(name),
        other => {
            let kind = type_name(&other);
            Err(Raise::type_error(format!("attribute name must be string, not '{kind}'")))
        }
    }
}

pub fn callable(_: &Machine, args: Args) -> HostResult {
    Ok(Value::Bool(is_callable(&args.one("callable")?)).into())
}

/// Says whether a value can be called, as far as that shows without trying.
pub fn is_callable(value: &Value) -> bool {
    match value {
        Value::Function(_) | Value::Native(_) | Value::Method(_) | Value::Class(_) | Value::Type(_) => true,
        Value::Host(object) => object.is_callable(),
        Value::Decorated(decorated) => matches!(&**decorated, Decorated::StaticMethod(_)),
        Value::Instance(instance) => special(value, "__call__").is_some() || instance.class().host().is_some(),
        _ => false,
    }
}

pub fn isinstance(machine: &Machine, args: Args) -> HostResult {
    let args = args.between("isinstance", 2, 2)?;
    let answer = is_instance(machine, &args[0], &args[1])?;
    Ok(Value::Bool(answer).into())
}

/// `isinstance(value, class)`.
///
/// # Errors
/// `TypeError` for what is no class.
pub fn is_instance(machine: &Machine, value: &Value, class: &Value) -> Result<bool, Raise> {
    machine.charge_fuel(1)?;
    match class {
        Value::Tuple(classes) => machine.recurse(|| {
            for class in classes.iter() {
                if is_instance(machine, value, class)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }),
        Value::Type(Type::Object) => Ok(true),
        Value::Type(kind) => Ok(match value {
            Value::Instance(instance) => instance.class().builtin().is_some_and(|builtin| builtin.is_subtype(*kind)),
            Value::Host(object) => object.is_instance(kind.name()),
            value => builtin_type(value).is_some_and(|builtin| builtin.is_subtype(*kind)),
        }),
        Value::Class(class) => Ok(match value {
            Value::Instance(instance) if is_protocol(class) => {
                instance.class().is_subclass(class) || has_all(machine, instance, class)?
            }
            Value::Instance(instance) => instance.class().is_subclass(class),
            Value::Host(object) => {
                object.derived().is_some_and(|own| own.is_subclass(class)) || object.is_instance(class.name())
            }
            _ => false,
        }),
        Value::Host(class) => {
            if let Some(union) = class.as_any().downcast_ref::<typing::Union>() {
                return machine.recurse(|| {
                    for class in union.members() {
                        // In a union, `None` is its own type.
                        let is_one = match class {
                            Value::None => matches!(value, Value::None),
                            class => is_instance(machine, value, class)?,
                        };
                        if is_one {
                            return Ok(true);
                        }
                    }
                    Ok(false)
                });
            }
            if class.as_any().is::<Opaque>() {
                return Ok(type_of(value).is(&Value::Host(Rc::clone(class))));
            }
            if let Some(answer) = typing::instance_of(class.as_any(), value) {
                return Ok(answer);
            }
            let Some(name) = class.class_name() else { return Err(no_class("isinstance")) };
            Ok(match value {
                Value::Host(object) => object.is_instance(&name),
                Value::Instance(instance) => instance.class().lineage().any(|ancestor| {
                    ancestor.bases().iter().any(|base| match base {
                        Value::Host(base) => is_host_below(base, class) || base.is_instance(&name),
                        _ => false,
                    })
                }),
                _ => false,
            })
        }
        _ => Err(no_class("isinstance")),
    }
}

fn no_class(function: &str) -> Raise {
    let what = if function == "isinstance" { "a type, a tuple of types" } else { "a class, a tuple of classes" };
    Raise::type_error(format!("{function}() arg 2 must be {what}, or a union"))
}

pub fn issubclass(machine: &Machine, args: Args) -> HostResult {
    let args = args.between("issubclass", 2, 2)?;
    if !matches!(args[0], Value::Class(_) | Value::Type(_) | Value::Host(_)) {
        return Err(Raise::type_error("issubclass() arg 1 must be a class"));
    }
    Ok(Value::Bool(subclass_of(machine, &args[0], &args[1])?).into())
}

fn subclass_of(machine: &Machine, class: &Value, other: &Value) -> Result<bool, Raise> {
    Ok(match (class, other) {
        (_, Value::Tuple(others)) => {
            return machine.recurse(|| {
                for other in others.iter() {
                    if subclass_of(machine, class, other)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            });
        }
        (_, Value::Type(Type::Object)) => true,
        (Value::Type(class), Value::Type(other)) => class.is_subtype(*other),
        (Value::Class(class), Value::Class(other)) => class.is_subclass(other),
        (Value::Class(class), Value::Type(other)) => class.builtin().is_some_and(|builtin| builtin.is_subtype(*other)),
        (_, Value::Host(other)) if let Some(answer) = typing::subclass_of(other.as_any(), class) => answer,
        (Value::Class(class), Value::Host(other)) => class.host().is_some_and(|host| is_host_below(host, other)),
        (Value::Host(class), Value::Host(other)) => is_host_below(class, other),
        (Value::Host(class), Value::Type(other)) => class.is_below(other.name()),
        (_, Value::Type(_) | Value::Class(_) | Value::Host(_)) => false,
        _ => return Err(no_class("issubclass")),
    })
}

/// The same of classes of the host's.
fn is_host_below(class: &Rc<dyn HostObject>, other: &Rc<dyn HostObject>) -> bool {
    Rc::ptr_eq(class, other)
        || other.class_name().is_some_and(|name| class.class_name().as_ref() == Some(&name) || class.is_below(&name))
}

/// `type(value)`, and `type(name, bases, attributes)`.
pub fn make_type(machine: &Machine, args: Args) -> HostResult {
    let args = args.positional;
    match &args[..] {
        [value] => Ok(type_of(value).into()),
        [Value::Str(name), Value::Tuple(bases), Value::Dict(attributes)] => {
            machine.charge_fuel(Class::cost(bases))?;
            let mut named = Vec::new();
            for (key, value) in attributes.entries() {
                let Value::Str(key) = key else { return Err(Raise::type_error("attribute names must be strings")) };
                named.push((key, value));
            }
            let module = attributes.get_string("__module__");
            let module = module.as_ref().and_then(Value::as_str).unwrap_or("__main__").to_owned();
            let qualified = named.iter().position(|(name, _)| &**name == "__qualname__").map(|at| named.remove(at).1);
            let qualified = match qualified {
                None => Rc::clone(name),
                Some(Value::Str(qualified)) => qualified,
                Some(other) => {
                    let kind = type_name(&other);
                    return Err(Raise::type_error(format!("type __qualname__ must be a str, not {kind}")));
                }
            };
            let class = Class::qualified(Rc::clone(name), qualified, module, bases.to_vec(), named)?;
            machine.register(Cyclic::Class(Rc::downgrade(&class)));
            Ok(Value::Class(class).into())
        }
        [_, _, _] => Err(Raise::type_error("type() argument 1 must be str, 2 a tuple, 3 a dict")),
        _ => Err(Raise::type_error("type() takes 1 or 3 arguments")),
    }
}

pub fn vars(machine: &Machine, args: Args) -> HostResult {
    let Some(value) = args.between("vars", 0, 1)?.pop() else {
        return Err(Raise::name_error("vars() without an argument is not supported by this server"));
    };
    match attribute::find(machine, &value, "__dict__")? {
        Some(outcome) => Ok(outcome),
        None => Err(Raise::type_error("vars() argument must have __dict__ attribute")),
    }
}

pub fn dir(machine: &Machine, args: Args) -> HostResult {
    let Some(value) = args.between("dir", 0, 1)?.pop() else {
        return Err(Raise::name_error("dir() without an argument is not supported by this server"));
    };
    if let Some(method) = special(&value, "__dir__") {
        return operators::call_special(machine, &method, &value, vec![]);
    }
    if let Value::Host(object) = &value {
        match object.clone().call_method(machine, "__dir__", &Args::default())? {
            Outcome::NotImplemented => {}
            outcome => return Ok(outcome),
        }
    }
    let mut names: Vec<Rc<str>> = Vec::new();
    let of_class = |class: &Rc<Class>, names: &mut Vec<Rc<str>>| {
        names.extend(class.lineage().flat_map(|class| class.attributes()).map(|(name, _)| name));
    };
    match &value {
        Value::Instance(instance) => {
            names.extend(instance.attributes().into_iter().map(|(name, _)| name));
            of_class(instance.class(), &mut names);
        }
        Value::Class(class) => of_class(class, &mut names),
        _ => {}
    }
    let kind = match &value {
        Value::Type(kind) => Some(*kind),
        value => builtin_type(&operators::plain(value)),
    };
    for kind in std::iter::successors(kind, |kind| kind.base()) {
        names.extend(methods::of(kind).map(|(name, _)| Rc::from(*name)));
    }
    names.sort();
    names.dedup();
    Ok(Value::list(names.into_iter().map(Value::Str).collect()).into())
}

/// Says whether a class is a protocol: one that names `typing.Protocol` among its bases.
fn is_protocol(class: &Class) -> bool {
    let is =
        |base: &Value| matches!(base, Value::Class(base) if &**base.name() == "Protocol" && base.module() == "typing");
    class.bases().iter().any(is)
}

/// Says whether an object has all that a protocol has and names.
fn has_all(machine: &Machine, instance: &Instance, protocol: &Rc<Class>) -> Result<bool, Raise> {
    const SPECIAL: [&str; 5] = ["__call__", "__contains__", "__getitem__", "__iter__", "__len__"];
    for part in protocol.lineage().filter(|part| is_protocol(part)) {
        let attributes = part.attributes();
        machine.charge_fuel(attributes.len() as u64)?;
        let named: Vec<Rc<str>> = match part.own("__annotations__") {
            Some(Value::Dict(names)) => names.keys().iter().filter_map(|name| Some(name.as_str()?.into())).collect(),
            _ => Vec::new(),
        };
        let names = attributes.into_iter().map(|(name, _)| name).chain(named);
        let mut asked = names.filter(|name| !name.starts_with('_') || SPECIAL.contains(&&**name));
        if !asked.all(|name| instance.own(&name).is_some() || instance.class().find(&name).is_some()) {
            return Ok(false);
        }
    }
    Ok(true)
}
