//! Attributes of objects of programs' classes.

use std::rc::Rc;

use super::{bind_found, class, dunder, missing, special};
use crate::evaluation::operators::later;
use crate::values::class::{Class, Decorated, Instance};
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::trace::Trace;
use crate::values::types::{self, List, Type};
use crate::values::value::Value;

pub(super) fn find(
    machine: &Machine,
    object: &Value,
    instance: &Rc<Instance>,
    name: &str,
) -> Result<Option<Outcome>, Raise> {
    if !instance.class().intercepts() {
        return find_past(machine, object, instance, name, true);
    }
    let Some(reader) = special(machine, object, "__getattribute__") else {
        return find_past(machine, object, instance, name, true);
    };
    let read = machine.call_now(&reader, Args::of([Value::from(name)]));
    let Some(getter) = special(machine, object, "__getattr__") else { return read.map(Some) };
    let instead = move |machine: &Machine, name: Rc<str>, raise: Raise| match raise.is(Kind::AttributeError) {
        true => machine.call_now(&getter, Args::of([Value::Str(name)])),
        false => Err(raise),
    };
    let name: Rc<str> = name.into();
    match read {
        Err(raise) => instead(machine, name, raise).map(Some),
        Ok(ready @ Outcome::Ready(_)) => Ok(Some(ready)),
        Ok(outcome) => {
            let (machine, outcome) = (machine.clone(), machine.settle(outcome));
            later(async move {
                match outcome.await {
                    Ok(value) => Ok(value),
                    Err(raise) => {
                        let read = instead(&machine, name, raise)?;
                        machine.settle(read).await
                    }
                }
            })
            .map(Some)
        }
    }
}

/// Reads an attribute as `object.__getattribute__` does, past a `__getattribute__` of the program; `hook` says that the
/// program's `__getattr__` is asked at last.
pub(super) fn find_past(
    machine: &Machine,
    object: &Value,
    instance: &Rc<Instance>,
    name: &str,
    hook: bool,
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
    if name == "__dict__" && class.allows(name) {
        return Ok(Some(Value::Dict(instance.dict(machine)?).into()));
    }
    if let Some(value) = of_object(instance, name).or_else(|| of_exception(object, instance, name)) {
        return Ok(Some(value.into()));
    }
    if let Some(payload) = instance.payload()
        && let Some(value) = machine.language().attribute(machine, holder(object, &payload, name), name)
    {
        return Ok(Some(value.into()));
    }
    if let Some(value) = machine.environment().attribute(machine, object, name) {
        return Ok(Some(value.into()));
    }
    if let Some(getter) = special(machine, object, "__getattr__").filter(|_| hook) {
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

/// Returns what a builtin's method is bound to: the dict in an object, or the object, whose class a copy is of. Special
/// methods would come back to those of the class.
pub(super) fn holder<'a>(object: &'a Value, payload: &'a Value, name: &str) -> &'a Value {
    match payload {
        Value::Dict(_) if !name.starts_with("__") => object,
        payload => payload,
    }
}

pub(super) fn is_data_descriptor(found: &Value) -> bool {
    match found {
        Value::Decorated(decorated) => matches!(&**decorated, Decorated::Property(_)),
        Value::Instance(descriptor) => {
            let class = descriptor.class();
            class.find("__set__").is_some() || class.find("__delete__").is_some()
        }
        _ => false,
    }
}

fn of_object(instance: &Rc<Instance>, name: &str) -> Option<Value> {
    let class = instance.class();
    match name {
        "__class__" => Some(Value::Class(Rc::clone(class))),
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
        "__traceback__" => Some(Trace::of(object)),
        "value" if instance.class().exception_kind() == Some(Kind::StopIteration) => arg(0),
        "code" if instance.class().exception_kind() == Some(Kind::SystemExit) => arg(0),
        "msg" if matches!(instance.class().exception_kind(), Some(Kind::ImportError | Kind::ModuleNotFoundError)) => {
            arg(0)
        }
        "with_traceback" => {
            let object = object.clone();
            Some(Value::native(name, move |_, args| {
                // A traceback is where the exception has been, which nothing changes.
                let _traceback = args.one("with_traceback")?;
                Ok(object.clone().into())
            }))
        }
        "add_note" => {
            let instance = Rc::clone(instance);
            Some(Value::native(name, move |machine, args| add_note(machine, &instance, args.one("add_note")?)))
        }
        _ => None,
    }
}

/// `exception.add_note(note)`.
fn add_note(machine: &Machine, instance: &Rc<Instance>, note: Value) -> HostResult {
    if !matches!(note, Value::Str(_)) {
        let name = types::type_name(&note);
        return Err(Raise::type_error(format!("note must be a str, not '{name}'")));
    }
    let notes = match instance.own("__notes__") {
        Some(Value::List(notes)) => notes,
        Some(_) => return Err(Raise::type_error("Cannot add note: __notes__ is not a list")),
        None => {
            let notes = Rc::new(List::charged(machine, Vec::new())?);
            instance.set("__notes__", Value::List(Rc::clone(&notes)));
            instance.cover(machine)?;
            notes
        }
    };
    notes.push(machine, note)?;
    Ok(Value::None.into())
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
    if let Some(setter) = setter(machine, instance.class(), name)? {
        return set_by(machine, &setter, object, value);
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
        instance.set_dict(Rc::clone(dict));
        return Ok(Value::None.into());
    }
    if !instance.class().allows(name) {
        return Err(missing(object, name));
    }
    instance.set(name, value);
    instance.cover(machine)?;
    Ok(Value::None.into())
}

/// Returns what a class has writes of an attribute go to: a property's setter, or a descriptor's `__set__`.
///
/// # Errors
/// `AttributeError` for a property without a setter.
pub(super) fn setter(machine: &Machine, class: &Rc<Class>, name: &str) -> Result<Option<Value>, Raise> {
    match class.find(name) {
        Some(Value::Decorated(decorated)) => match &*decorated {
            Decorated::Property(property) => property.setter.clone().map(Some).ok_or_else(|| {
                let class = class.qualified_name();
                Raise::attribute_error(format!("property '{name}' of '{class}' object has no setter"))
            }),
            _ => Ok(None),
        },
        Some(descriptor @ Value::Instance(_)) => Ok(special(machine, &descriptor, "__set__")),
        _ => Ok(None),
    }
}

pub(super) fn set_by(machine: &Machine, setter: &Value, object: &Value, value: Value) -> HostResult {
    machine.call_now(setter, Args::of([object.clone(), value]))
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
    if let Some(descriptor @ Value::Instance(_)) = instance.class().find(name)
        && let Some(deleter) = special(machine, &descriptor, "__delete__")
    {
        return machine.call_now(&deleter, Args::of([object.clone()]));
    }
    if instance.remove(name).is_some() {
        return Ok(Value::None.into());
    }
    if let Some(host) = instance.class().host() {
        match Rc::clone(host).delete_instance_attribute(machine, object, name)? {
            Outcome::NotImplemented => {}
            outcome => return Ok(outcome),
        }
    }
    Err(missing(object, name))
}

/// Returns the builtin type whose methods an object of a class inherits.
pub(super) fn builtin_base(instance: &Instance) -> Option<Type> {
    instance.class().builtin().filter(|kind| !super::is_object(*kind))
}
