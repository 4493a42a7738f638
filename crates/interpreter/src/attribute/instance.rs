//! Attributes of objects of programs' classes.

use std::rc::Rc;

use super::{bind_found, class, dunder, missing, special};
use crate::class::{Decorated, Instance};
use crate::exceptions::Kind;
use crate::host::{Args, HostResult, Outcome};
use crate::machine::Machine;
use crate::raise::Raise;
use crate::types::{self, Type};
use crate::value::Value;

pub(super) fn find(
    machine: &Machine,
    object: &Value,
    instance: &Rc<Instance>,
    name: &str,
) -> Result<Option<Outcome>, Raise> {
    let class = instance.class();
    let owner = || Value::Class(Rc::clone(class));
    let on_class = class.find(name);
    // Properties and their like come before the object's own attributes.
    if let Some(found) = &on_class
        && is_data_descriptor(found)
    {
        return bind_found(machine, found.clone(), Some(object), &owner()).map(Some);
    }
    if let Some(value) = instance.own(name) {
        return Ok(Some(value.into()));
    }
    if let Some(found) = on_class {
        return bind_found(machine, found, Some(object), &owner()).map(Some);
    }
    if let Some(value) = of_object(instance, name).or_else(|| of_exception(object, instance, name)) {
        return Ok(Some(value.into()));
    }
    if let Some(payload) = instance.payload()
        && let Some(value) = types::method(machine, &payload, name)
    {
        return Ok(Some(value.into()));
    }
    if let Some(value) = machine.environment().attribute(machine, object, name) {
        return Ok(Some(value.into()));
    }
    if let Some(getter) = special(machine, object, "__getattr__") {
        return machine.call_now(&getter, Args::of([Value::from(name)])).map(Some);
    }
    if let Some(host) = class.host() {
        match Rc::clone(host).instance_attribute(machine, object, name)? {
            Outcome::NotImplemented => {}
            outcome => return Ok(Some(outcome)),
        }
    }
    Ok(class::inherited(class, name)
        .map(|found| super::method(found, object.clone()))
        .or_else(|| dunder::bound(instance.payload().as_ref().unwrap_or(object), name))
        .map(Outcome::Ready))
}

fn is_data_descriptor(found: &Value) -> bool {
    match found {
        Value::Decorated(decorated) => matches!(&**decorated, Decorated::Property(_)),
        Value::Instance(descriptor) => descriptor.class().find("__set__").is_some(),
        _ => false,
    }
}

fn of_object(instance: &Rc<Instance>, name: &str) -> Option<Value> {
    let class = instance.class();
    match name {
        "__class__" => Some(Value::Class(Rc::clone(class))),
        "__dict__" => Some(Value::dict(instance.attributes())),
        "__module__" => Some(Value::from(class.module())),
        "__doc__" => Some(Value::None),
        _ => None,
    }
}

/// Attributes that exceptions have.
fn of_exception(object: &Value, instance: &Rc<Instance>, name: &str) -> Option<Value> {
    let state = instance.exception()?.borrow();
    let or_none = |value: &Option<Value>| Some(value.clone().unwrap_or(Value::None));
    let arg = |index: usize| Some(state.args.get(index).cloned().unwrap_or(Value::None));
    match name {
        "args" => Some(Value::tuple(state.args.clone())),
        "__cause__" => or_none(&state.cause),
        "__context__" => or_none(&state.context),
        "__suppress_context__" => Some(Value::Bool(state.suppress_context)),
        "__traceback__" => Some(Value::None),
        "value" if instance.class().exception_kind() == Some(Kind::StopIteration) => arg(0),
        "code" if instance.class().exception_kind() == Some(Kind::SystemExit) => arg(0),
        "msg" if matches!(instance.class().exception_kind(), Some(Kind::ImportError | Kind::ModuleNotFoundError)) => {
            arg(0)
        }
        "with_traceback" | "add_note" => {
            let (object, part) = (object.clone(), name == "with_traceback");
            Some(Value::native(name, move |_, args| {
                let _ = args.one("with_traceback")?;
                Ok(if part { object.clone() } else { Value::None }.into())
            }))
        }
        _ => None,
    }
}

pub(super) fn set(machine: &Machine, object: &Value, instance: &Rc<Instance>, name: &str, value: Value) -> HostResult {
    if let Some(setter) = special(machine, object, "__setattr__") {
        return machine.call_now(&setter, Args::of([Value::from(name), value]));
    }
    set_plain(machine, object, instance, name, value)
}

/// Writes an attribute as `object.__setattr__` does, past a `__setattr__` of the program.
pub(super) fn set_plain(
    machine: &Machine,
    object: &Value,
    instance: &Rc<Instance>,
    name: &str,
    value: Value,
) -> HostResult {
    match instance.class().find(name) {
        Some(Value::Decorated(decorated)) => {
            if let Decorated::Property(property) = &*decorated {
                let class = instance.class().qualified_name();
                return match &property.setter {
                    Some(setter) => machine.call_now(setter, Args::of([object.clone(), value])),
                    None => Err(Raise::attribute_error(format!("property '{name}' of '{class}' object has no setter"))),
                };
            }
        }
        Some(descriptor @ Value::Instance(_)) => {
            if let Some(setter) = special(machine, &descriptor, "__set__") {
                return machine.call_now(&setter, Args::of([object.clone(), value]));
            }
        }
        _ => {}
    }
    if let Some(state) = instance.exception() {
        match name {
            "__cause__" | "__context__" | "__suppress_context__" | "__traceback__" | "args" => {
                let mut state = state.borrow_mut();
                let or_none = |value: Value| if matches!(value, Value::None) { None } else { Some(value) };
                match name {
                    "__cause__" => {
                        state.cause = or_none(value);
                        state.suppress_context = true;
                    }
                    "__context__" => state.context = or_none(value),
                    "__suppress_context__" => state.suppress_context = matches!(value, Value::Bool(true)),
                    "args" => match &value {
                        Value::Tuple(items) => state.args = items.to_vec(),
                        _ => return Err(Raise::type_error("args must be a tuple")),
                    },
                    _ => {}
                }
                return Ok(Value::None.into());
            }
            _ => {}
        }
    }
    if let Some(host) = instance.class().host() {
        match Rc::clone(host).set_instance_attribute(machine, object, name, &value)? {
            Outcome::NotImplemented => {}
            outcome => return Ok(outcome),
        }
    }
    if name == "__dict__" {
        let Value::Dict(dict) = &value else {
            return Err(Raise::type_error("__dict__ must be set to a dictionary"));
        };
        instance.clear();
        for (key, value) in dict.entries() {
            if let Value::Str(key) = key {
                instance.set(key, value);
            }
        }
        return Ok(Value::None.into());
    }
    instance.set(name, value);
    instance.cover(machine)?;
    Ok(Value::None.into())
}

pub(super) fn delete(machine: &Machine, object: &Value, instance: &Rc<Instance>, name: &str) -> HostResult {
    if let Some(deleter) = special(machine, object, "__delattr__") {
        return machine.call_now(&deleter, Args::of([Value::from(name)]));
    }
    delete_plain(machine, object, instance, name)
}

pub(super) fn delete_plain(machine: &Machine, object: &Value, instance: &Rc<Instance>, name: &str) -> HostResult {
    if let Some(Value::Decorated(decorated)) = instance.class().find(name)
        && let Decorated::Property(property) = &*decorated
    {
        let class = instance.class().qualified_name();
        return match &property.deleter {
            Some(deleter) => machine.call_now(deleter, Args::of([object.clone()])),
            None => Err(Raise::attribute_error(format!("property '{name}' of '{class}' object has no deleter"))),
        };
    }
    match instance.remove(name) {
        Some(_) => Ok(Value::None.into()),
        None => Err(missing(object, name)),
    }
}

/// Returns the builtin type whose methods an object of a class inherits.
pub(super) fn builtin_base(instance: &Instance) -> Option<Type> {
    instance.class().builtin().filter(|kind| !super::is_object(*kind))
}
