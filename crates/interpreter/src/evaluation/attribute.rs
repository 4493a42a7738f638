//! Attributes: `object.name`, its assignment and deletion, and the special methods behind operators.

mod class;
mod derived;
mod dunder;
mod instance;
mod parent;

use std::rc::Rc;

use crate::evaluation::annotation;
use crate::values::class::{Decorated, Property};
use crate::values::frame::Frame;
use crate::values::function::{Function, Method};
use crate::values::host::{Args, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{self, Type};
use crate::values::value::Value;

pub(crate) use class::instantiate;
pub use parent::parent;

/// Reads an attribute. The outcome is never `NotImplemented`.
///
/// # Errors
/// `AttributeError`, or what a property or a host object raises.
pub fn get(machine: &Machine, object: &Value, name: &str) -> HostResult {
    match find(machine, object, name)? {
        Some(outcome) => Ok(outcome),
        None => Err(missing(object, name)),
    }
}

/// Reads an attribute; `None` where there is none.
///
/// # Errors
/// What a property or a host object raises, which may be `AttributeError` too.
pub fn find(machine: &Machine, object: &Value, name: &str) -> Result<Option<Outcome>, Raise> {
    machine.charge_fuel(1)?;
    let found = match object {
        Value::Instance(instance) => return instance::find(machine, object, instance, name),
        Value::Class(class) => class::find(machine, class, name)?,
        Value::Host(_) if name == "__class__" => Some(types::type_of(object).into()),
        Value::Host(host) => match host.derived() {
            Some(class) => derived::find(machine, object, host, &class, name)?,
            None => answer(Rc::clone(host).get_attribute(machine, name)?),
        },
        Value::Function(function) if name == "__dict__" => Some(Value::Dict(function.dict(machine)?).into()),
        Value::Function(function) => of_function(function, name).map(Outcome::Ready),
        Value::Method(method) => match of_method(method, name) {
            Some(value) => Some(Outcome::Ready(value)),
            None => return machine.recurse(|| find(machine, &method.function, name)),
        },
        Value::Native(native) => match name {
            "__name__" | "__qualname__" => Some(Value::Str(Rc::clone(native.name())).into()),
            "__self__" => native.receiver().cloned().map(Outcome::Ready),
            _ => None,
        },
        Value::Decorated(decorated) => of_decorated(decorated, name).map(Outcome::Ready),
        Value::Type(kind) => class::of_type(machine, *kind, name).map(Outcome::Ready),
        Value::Iterator(iterator) => iterator
            .as_generator()
            .and_then(|generator| dunder::of_generator(generator, name))
            .or_else(|| machine.language().attribute(machine, object, name))
            .map(Outcome::Ready),
        _ => machine.language().attribute(machine, object, name).map(Outcome::Ready),
    };
    if found.is_some() {
        return Ok(found);
    }
    let common = common(object, name).or_else(|| dunder::bound(object, name));
    let common = common.or_else(|| machine.environment().attribute(machine, object, name));
    Ok(common.map(Outcome::Ready))
}

/// Writes an attribute. The value of the outcome means nothing.
///
/// # Errors
/// `AttributeError`, or what a property, `__setattr__` or a host object raises.
pub fn set(machine: &Machine, object: &Value, name: &str, value: Value) -> HostResult {
    machine.charge_fuel(1)?;
    match object {
        Value::Instance(instance) => instance::set(machine, object, instance, name, value),
        Value::Class(class) if class.is_immutable() => Err(immutable(class.name(), name)),
        Value::Class(class) => {
            // Members of an enumeration, which its metaclass keeps in CPython.
            if let Some(Value::Dict(members)) = class.own("_member_map_")
                && members.get_string(name).is_some()
            {
                return Err(Raise::attribute_error(format!("cannot reassign member '{name}'")));
            }
            class.set(name, value);
            Ok(Value::None.into())
        }
        Value::Function(function) => {
            function.set(name, value);
            Ok(Value::None.into())
        }
        Value::Host(host) => {
            if let Some(class) = host.derived()
                && let Some(setter) = instance::setter(machine, &class, name)?
            {
                return instance::set_by(machine, &setter, object, value);
            }
            match Rc::clone(host).set_attribute(machine, name, value)? {
                Outcome::NotImplemented => Err(unsettable(machine, object, name)?),
                outcome => Ok(outcome),
            }
        }
        Value::Type(kind) => Err(immutable(kind.name(), name)),
        _ => Err(unsettable(machine, object, name)?),
    }
}

/// Deletes an attribute. The value of the outcome means nothing.
///
/// # Errors
/// `AttributeError`, or what a property or `__delattr__` raises.
pub fn delete(machine: &Machine, object: &Value, name: &str) -> HostResult {
    machine.charge_fuel(1)?;
    match object {
        Value::Instance(instance) => instance::delete(machine, object, instance, name),
        Value::Class(class) if class.is_immutable() => Err(immutable(class.name(), name)),
        Value::Class(class) => match class.remove(name) {
            Some(_) => Ok(Value::None.into()),
            None => Err(missing(object, name)),
        },
        _ => Err(missing(object, name)),
    }
}

/// Finds a special method on the class of an object, unbound, as operators do.
#[must_use]
pub fn find_special(object: &Value, name: &str) -> Option<Value> {
    match object {
        Value::Instance(instance) => instance.class().find(name),
        _ => None,
    }
}

/// Finds a special method on the class of an object, bound to it.
#[must_use]
pub fn special(_machine: &Machine, object: &Value, name: &str) -> Option<Value> {
    let found = find_special(object, name)?;
    Some(match &found {
        Value::Decorated(decorated) => match &**decorated {
            Decorated::StaticMethod(function) => function.clone(),
            Decorated::ClassMethod(function) => method(function.clone(), types::type_of(object)),
            Decorated::Property(_) => return None,
        },
        Value::Function(_) | Value::Native(_) | Value::Method(_) => method(found, object.clone()),
        _ => found,
    })
}

/// Returns the builtin functions of attributes: `super` with arguments. Without, it is syntax.
pub(crate) fn builtin(name: &str) -> Option<Value> {
    (name == "super").then(|| {
        Value::native("super", |_, args| match args.between("super", 2, 2)?.as_slice() {
            [class, receiver] => Ok(parent(class, receiver)?.into()),
            _ => Err(Raise::type_error("super() takes a class and an object")),
        })
    })
}

/// Says that there is no such attribute, in CPython's words.
pub(crate) fn missing(object: &Value, name: &str) -> Raise {
    let raise = Raise::attribute_error(match object {
        Value::Class(class) => format!("type object '{}' has no attribute '{name}'", class.name()),
        Value::Type(kind) => format!("type object '{}' has no attribute '{name}'", kind.name()),
        _ => format!("'{}' object has no attribute '{name}'", types::type_name(object)),
    });
    if let Some(instance) = raise.instance() {
        instance.set("name", Value::from(name));
        instance.set("obj", object.clone());
    }
    raise
}

fn immutable(class: &str, name: &str) -> Raise {
    Raise::type_error(format!("cannot set '{name}' attribute of immutable type '{class}'"))
}

fn unsettable(machine: &Machine, object: &Value, name: &str) -> Result<Raise, Raise> {
    Ok(match find(machine, object, name)? {
        Some(_) => {
            Raise::attribute_error(format!("'{}' object attribute '{name}' is read-only", types::type_name(object)))
        }
        None => missing(object, name),
    })
}

/// Attributes that every object has.
fn common(object: &Value, name: &str) -> Option<Value> {
    match name {
        "__class__" => Some(types::type_of(object)),
        "__doc__" => Some(Value::None),
        "__module__" => match object {
            Value::Host(_) => None,
            _ => Some(Value::from("builtins")),
        },
        _ => None,
    }
}

pub(crate) fn method(function: Value, receiver: Value) -> Value {
    Value::Method(Rc::new(Method { function, receiver }))
}

fn of_function(function: &Rc<Function>, name: &str) -> Option<Value> {
    if let Some(value) = function.own(name) {
        return Some(value);
    }
    let code = function.code();
    Some(match name {
        "__name__" => Value::Str(Rc::clone(&code.name)),
        "__qualname__" => Value::Str(code.qualified_name().into()),
        "__doc__" => code.docstring.as_ref().map_or(Value::None, |text| Value::Str(Rc::clone(text))),
        "__module__" => {
            let module =
                function.surroundings().and_then(|frame: Rc<Frame>| frame.globals().borrow().get("__name__").cloned());
            module.unwrap_or_else(|| code.text.module.map_or(Value::None, Value::from))
        }
        "__defaults__" => match function.defaults().positional {
            none if none.is_empty() => Value::None,
            values => Value::tuple(values),
        },
        "__kwdefaults__" => match function.defaults().keyword {
            none if none.is_empty() => Value::None,
            pairs => Value::dict(pairs),
        },
        "__annotations__" => annotation::of_function(function),
        "__call__" => Value::Function(Rc::clone(function)),
        "__get__" => {
            let function = Value::Function(Rc::clone(function));
            Value::native("__get__", move |_, args| {
                let receiver = args.between("__get__", 1, 2)?.swap_remove(0);
                Ok(match receiver {
                    Value::None => function.clone(),
                    receiver => method(function.clone(), receiver),
                }
                .into())
            })
        }
        _ => return None,
    })
}

fn of_method(bound: &Method, name: &str) -> Option<Value> {
    match name {
        "__self__" => Some(bound.receiver.clone()),
        "__func__" => Some(bound.function.clone()),
        _ => None,
    }
}

fn of_decorated(decorated: &Rc<Decorated>, name: &str) -> Option<Value> {
    let or_none = |function: &Option<Value>| Some(function.clone().unwrap_or(Value::None));
    match (&**decorated, name) {
        (Decorated::StaticMethod(function) | Decorated::ClassMethod(function), "__func__" | "__wrapped__") => {
            Some(function.clone())
        }
        (Decorated::Property(property), "__doc__") => match (&property.doc, &property.getter) {
            (Some(doc), _) => Some(doc.clone()),
            (None, Some(Value::Function(getter))) => of_function(getter, "__doc__"),
            _ => None,
        },
        (Decorated::Property(property), "fget") => or_none(&property.getter),
        (Decorated::Property(property), "fset") => or_none(&property.setter),
        (Decorated::Property(property), "fdel") => or_none(&property.deleter),
        (Decorated::Property(property), "getter" | "setter" | "deleter") => {
            let (property, part) = (property.clone(), name.to_owned());
            Some(Value::native(name, move |_, args| {
                let function = Some(args.one(&part)?);
                let mut changed: Property = property.clone();
                match part.as_str() {
                    "getter" => changed.getter = function,
                    "setter" => changed.setter = function,
                    _ => changed.deleter = function,
                }
                Ok(Value::Decorated(Rc::new(Decorated::Property(changed))).into())
            }))
        }
        _ => None,
    }
}

/// Binds what was found on the class of an object to the object.
///
/// # Errors
/// What a property raises.
pub fn bind(machine: &Machine, found: &Value, object: &Value) -> HostResult {
    bind_found(machine, found.clone(), Some(object), &types::type_of(object))
}

/// Makes a bound attribute of what was found on a class. `owner` is what a class method is bound to.
fn bind_found(machine: &Machine, found: Value, object: Option<&Value>, owner: &Value) -> HostResult {
    match &found {
        Value::Function(_) => Ok(match object {
            Some(object) => method(found, object.clone()).into(),
            None => found.into(),
        }),
        Value::Decorated(decorated) => match (&**decorated, object) {
            (Decorated::StaticMethod(function), _) => Ok(function.clone().into()),
            (Decorated::ClassMethod(function), _) => Ok(method(function.clone(), owner.clone()).into()),
            (Decorated::Property(property), Some(object)) => match &property.getter {
                Some(getter) => machine.call_now(getter, Args::of([object.clone()])),
                None => Err(Raise::attribute_error("property has no getter")),
            },
            (Decorated::Property(_), None) => Ok(found.into()),
        },
        Value::Instance(descriptor) if descriptor.class().find("__get__").is_some() => {
            let args = vec![object.cloned().unwrap_or(Value::None), owner.clone()];
            match special(machine, &found, "__get__") {
                Some(getter) => machine.call_now(&getter, Args::of(args)),
                None => Ok(found.into()),
            }
        }
        _ => Ok(found.into()),
    }
}

/// Reads an answer that may be that there is none.
fn answer(outcome: Outcome) -> Option<Outcome> {
    match outcome {
        Outcome::NotImplemented => None,
        outcome => Some(outcome),
    }
}

/// Says whether a builtin type is `object`, which adds nothing to a class.
fn is_object(kind: Type) -> bool {
    matches!(kind, Type::Object)
}
