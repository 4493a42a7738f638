//! Attributes of classes, and what all of them inherit from `object` and the exceptions.

use std::rc::Rc;

use super::{bind_found, dunder, instance};
use crate::evaluation::operators;
use crate::evaluation::proxy::Proxy;
use crate::values::class::{Class, Instance};
use crate::values::host::{Args, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{self, Type};
use crate::values::value::Value;

pub(super) fn find(machine: &Machine, class: &Rc<Class>, name: &str) -> Result<Option<Outcome>, Raise> {
    let object = Value::Class(Rc::clone(class));
    if let Some(found) = class.find(name) {
        return bind_found(machine, found, None, &object).map(Some);
    }
    let value = match name {
        "__name__" => Value::Str(Rc::clone(class.name())),
        "__qualname__" => Value::Str(Rc::clone(class.qualified_name())),
        "__module__" => Value::from(class.module()),
        "__doc__" => Value::None,
        "__class__" => Value::Type(Type::Type),
        "__bases__" => Value::tuple(bases(class)),
        "__base__" => bases(class).into_iter().next().unwrap_or(Value::None),
        "__mro__" => Value::tuple(order(class)),
        "mro" => {
            let order = order(class);
            Value::native("mro", move |_, args| {
                args.none("mro")?;
                Ok(Value::list(order.clone()).into())
            })
        }
        "__dict__" => Proxy::of(class),
        _ => {
            if let Some(value) = inherited(class, name) {
                return Ok(Some(value.into()));
            }
            if let Some(kind) = class.builtin()
                && let Some(value) = of_type(machine, kind, name)
            {
                let value = if MAKERS.contains(&name) { making(class, name, value) } else { value };
                return Ok(Some(value.into()));
            }
            let Some(host) = class.host() else { return Ok(None) };
            return Ok(match Rc::clone(host).get_attribute(machine, name)? {
                Outcome::NotImplemented => None,
                outcome => Some(outcome),
            });
        }
    };
    Ok(Some(value.into()))
}

/// Class methods of builtin types that make objects: of the class that they are called on.
const MAKERS: [&str; 3] = ["fromkeys", "fromhex", "from_bytes"];

/// Has what a builtin type's method makes be an object of a class that inherits it.
fn making(class: &Rc<Class>, name: &str, function: Value) -> Value {
    let class = Value::Class(Rc::clone(class));
    if name != "fromkeys" {
        return Value::native(name, move |machine, args| {
            let class = class.clone();
            let made = operators::call(machine, &function, args);
            operators::then(machine, made, move |machine, made| operators::call(machine, &class, Args::of([made])))
        });
    }
    Value::native(name, move |machine, args| {
        let mut args = args.between("fromkeys", 1, 2)?.into_iter();
        let (iterable, value) = (args.next().unwrap_or(Value::None), args.next().unwrap_or(Value::None));
        let class = class.clone();
        operators::with_items(machine, iterable, move |machine, keys| {
            let made = operators::call(machine, &class, Args::default());
            operators::then(machine, made, move |machine, made| {
                let machine = machine.clone();
                operators::later(async move {
                    for key in keys {
                        machine.charge_fuel(1)?;
                        let done = operators::set_item(&machine, &made, &key, value.clone())?;
                        machine.settle(done).await?;
                    }
                    Ok(made)
                })
            })
        })
    })
}

fn bases(class: &Rc<Class>) -> Vec<Value> {
    if class.bases().is_empty() { vec![Value::Type(Type::Object)] } else { class.bases().to_vec() }
}

fn order(class: &Rc<Class>) -> Vec<Value> {
    let mut order: Vec<Value> = class.lineage().map(|class| Value::Class(Rc::clone(class))).collect();
    order.extend(class.builtin().map(Value::Type));
    order.extend(class.host().map(|host| Value::Host(Rc::clone(host))));
    order.push(Value::Type(Type::Object));
    order
}

/// Attributes of a builtin type object.
pub(super) fn of_type(machine: &Machine, kind: Type, name: &str) -> Option<Value> {
    match name {
        "__new__" => Some(Value::native(name, make)),
        "__init__" | "__setattr__" | "__delattr__" | "__getattribute__" if kind == Type::Object => {
            object_function(name)
        }
        "__repr__" | "__str__" | "__eq__" | "__ne__" | "__hash__" if kind == Type::Object => dunder::unbound(name),
        _ => machine.language().type_attribute(machine, kind, name),
    }
}

/// Finds what a class inherits from `object`, `BaseException` or a host's class: functions that take the object first.
pub(super) fn inherited(class: &Rc<Class>, name: &str) -> Option<Value> {
    match name {
        "__new__" => Some(Value::native(name, make)),
        "__init__" | "__setattr__" | "__delattr__" | "__getattribute__" => object_function(name),
        "__init_subclass__" => {
            let class = Rc::clone(class.name());
            Some(Value::native(name, move |_, args| match args.keyword.is_empty() {
                true => Ok(Value::None.into()),
                false => Err(Raise::type_error(format!("{class}.__init_subclass__() takes no keyword arguments"))),
            }))
        }
        "__repr__" | "__str__" | "__eq__" | "__ne__" | "__hash__" | "__format__" => dunder::unbound(name),
        _ => None,
    }
}

/// The functions of `object` that classes call through `super()` or by name.
fn object_function(name: &str) -> Option<Value> {
    let function: fn(&Machine, Args) -> HostResult = match name {
        "__init__" => initialize,
        "__setattr__" => |machine, args| {
            let mut args = args.between("__setattr__", 3, 3)?;
            let value = args.pop().unwrap_or(Value::None);
            match (&args[0], &args[1]) {
                (object @ Value::Instance(instance), Value::Str(name)) => {
                    instance::set_plain(machine, object, instance, name, value)
                }
                (object, Value::Str(name)) => super::set(machine, object, name, value),
                _ => Err(Raise::type_error("attribute name must be string")),
            }
        },
        "__delattr__" => |machine, args| match args.between("__delattr__", 2, 2)?.as_slice() {
            [object @ Value::Instance(instance), Value::Str(name)] => {
                instance::delete_plain(machine, object, instance, name)
            }
            [object, Value::Str(name)] => super::delete(machine, object, name),
            _ => Err(Raise::type_error("attribute name must be string")),
        },
        "__getattribute__" => |machine, args| match args.between("__getattribute__", 2, 2)?.as_slice() {
            [object @ Value::Instance(instance), Value::Str(name)] => {
                let found = instance::find_past(machine, object, instance, name, false)?;
                found.ok_or_else(|| super::missing(object, name))
            }
            [object, Value::Str(name)] => super::get(machine, object, name),
            _ => Err(Raise::type_error("attribute name must be string")),
        },
        _ => return None,
    };
    Some(Value::native(name, function))
}

/// `object.__init__`, `Exception.__init__`, `list.__init__` and those of hosts' classes.
fn initialize(machine: &Machine, mut args: Args) -> HostResult {
    if args.positional.is_empty() {
        return Err(Raise::type_error("unbound method object.__init__() needs an argument"));
    }
    let object = args.positional.remove(0);
    let Value::Instance(instance) = &object else { return Ok(Value::None.into()) };
    if let Some(state) = instance.exception() {
        state.borrow_mut().args = args.positional;
        return Ok(Value::None.into());
    }
    if let Some(kind) = instance::builtin_base(instance) {
        return match machine.language().method(kind, "__init__") {
            Some(initialize) => initialize(machine, &object, args),
            None => Ok(Value::None.into()),
        };
    }
    if let Some(host) = instance.class().host() {
        return match Rc::clone(host).initialize_instance(machine, &object, args)? {
            Outcome::NotImplemented => Ok(Value::None.into()),
            outcome => Ok(outcome),
        };
    }
    if args.positional.is_empty() && args.keyword.is_empty() {
        return Ok(Value::None.into());
    }
    Err(Raise::type_error("object.__init__() takes exactly one argument (the instance to initialize)"))
}

/// Makes an object of a class without running `__init__`.
///
/// # Errors
/// `TypeError` where the class says that some of its methods are abstract; memory is spent.
pub(crate) fn instantiate(machine: &Machine, class: &Rc<Class>) -> Result<Rc<Instance>, Raise> {
    if let Some(Value::Set(names)) = class.own("__abstractmethods__")
        && !names.is_empty()
    {
        machine.charge_fuel(names.len() as u64)?;
        let mut names: Vec<String> = names.items().iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect();
        names.sort();
        let (class, plural) = (class.name(), if names.len() == 1 { "" } else { "s" });
        let names = names.join(", ");
        return Err(Raise::type_error(format!(
            "Can't instantiate abstract class {class} with abstract method{plural} {names}"
        )));
    }
    let instance = Instance::new(class);
    instance.cover(machine)?;
    Ok(instance)
}

/// `object.__new__`, and that of builtin bases and exceptions.
fn make(machine: &Machine, mut args: Args) -> HostResult {
    let class = match args.positional.first() {
        Some(Value::Class(class)) => Rc::clone(class),
        Some(Value::Type(kind)) => {
            let kind = *kind;
            args.positional.remove(0);
            return machine.language().construct(machine, kind, args);
        }
        Some(other) => {
            let kind = types::type_name(other);
            return Err(Raise::type_error(format!("object.__new__(X): X is not a type object ({kind})")));
        }
        None => return Err(Raise::type_error("object.__new__(): not enough arguments")),
    };
    args.positional.remove(0);
    let instance = instantiate(machine, &class)?;
    if let Some(state) = instance.exception() {
        state.borrow_mut().args = args.positional.clone();
    }
    let Some(kind) = instance::builtin_base(&instance) else { return Ok(Value::Instance(instance).into()) };
    let mutable = matches!(kind, Type::List | Type::Set) || kind.is_subtype(Type::Dict);
    let payload = machine.language().construct(machine, kind, if mutable { Args::default() } else { args });
    operators::then(machine, payload, move |_, payload| {
        instance.set_payload(payload);
        Ok(Value::Instance(instance).into())
    })
}
