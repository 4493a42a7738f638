//! `super()`.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use super::{bind_found, class, method};
use crate::values::class::{Class, Decorated};
use crate::values::host::{HostObject, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types;
use crate::values::value::Value;

/// Makes what `super(class, receiver)` makes.
///
/// # Errors
/// `TypeError` where the receiver is no object of the class, and no class below it.
pub fn parent(class: &Value, receiver: &Value) -> Result<Value, Raise> {
    let Value::Class(class) = class else {
        return Err(Raise::type_error(
            "super() argument 1 must be a type, not ".to_owned() + types::type_name(class).as_ref(),
        ));
    };
    let of = match receiver {
        Value::Instance(instance) => Rc::clone(instance.class()),
        Value::Class(class) => Rc::clone(class),
        Value::Host(host) => host.derived().ok_or_else(mismatch)?,
        _ => return Err(mismatch()),
    };
    if !of.is_subclass(class) {
        return Err(mismatch());
    }
    Ok(Value::host(Parent { class: Rc::clone(class), of, receiver: receiver.clone() }))
}

fn mismatch() -> Raise {
    Raise::type_error("super(type, obj): obj must be an instance or subtype of type")
}

/// Sees an object's attributes from after one of its classes.
struct Parent {
    class: Rc<Class>,
    of: Rc<Class>,
    receiver: Value,
}

impl HostObject for Parent {
    fn type_name(&self) -> Cow<'static, str> {
        "super".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        let owner = Value::Class(Rc::clone(&self.of));
        let object = match &self.receiver {
            Value::Instance(_) | Value::Host(_) => Some(&self.receiver),
            _ => None,
        };
        if let Some(found) = self.of.find_after(&self.class, name) {
            if name == "__new__" {
                return Ok(unwrap_static(found).into());
            }
            return bind_found(machine, found, object, &owner);
        }
        if let Value::Host(host) = &self.receiver {
            return Rc::clone(host).get_attribute(machine, name);
        }
        if let Value::Instance(instance) = &self.receiver {
            if let Some(payload) = instance.payload()
                && let Some(value) = machine
                    .language()
                    .attribute(machine, super::instance::holder(&self.receiver, &payload, name), name)
                    .or_else(|| super::dunder::bound(&payload, name))
                && name != "__init__"
            {
                return Ok(value.into());
            }
            if !matches!(name, "__init__" | "__setattr__" | "__delattr__" | "__getattribute__")
                && let Some(host) = instance.class().host()
            {
                match Rc::clone(host).instance_attribute(machine, &self.receiver, name)? {
                    Outcome::NotImplemented => {}
                    outcome => return Ok(outcome),
                }
            }
        }
        Ok(match class::inherited(&self.of, name) {
            // `__new__` and class-level functions take the class from the caller.
            Some(found) if name == "__new__" || object.is_none() => found.into(),
            Some(found) => method(found, self.receiver.clone()).into(),
            None => Outcome::NotImplemented,
        })
    }
}

fn unwrap_static(found: Value) -> Value {
    match &found {
        Value::Decorated(decorated) => match &**decorated {
            Decorated::StaticMethod(function) => function.clone(),
            _ => found,
        },
        _ => found,
    }
}
