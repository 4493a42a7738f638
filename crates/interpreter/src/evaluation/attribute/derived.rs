//! Attributes of host objects that are of a program's own class.

use std::rc::Rc;

use super::instance::is_data_descriptor;
use super::{answer, bind_found, method};
use crate::values::class::Class;
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostObject, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::value::Value;

/// Reads an attribute: what the class has, what was set on the object, what the host says, and what the class's
/// `__getattr__` says at last.
pub(super) fn find(
    machine: &Machine,
    object: &Value,
    host: &Rc<dyn HostObject>,
    class: &Rc<Class>,
    name: &str,
) -> Result<Option<Outcome>, Raise> {
    let owner = Value::Class(Rc::clone(class));
    let on_class = class.find(name);
    let shadowed = !on_class.as_ref().is_some_and(is_data_descriptor);
    if shadowed && let Some(value) = host.own(name) {
        return Ok(Some(value.into()));
    }
    if let Some(found) = on_class {
        return bind_found(machine, found, Some(object), &owner).map(Some);
    }
    let answered = Rc::clone(host).get_attribute(machine, name);
    let Some(getter) = class.find("__getattr__") else { return answered.map(answer) };
    match answered {
        Err(raise) if !raise.is(Kind::AttributeError) => Err(raise),
        Ok(outcome) if !matches!(outcome, Outcome::NotImplemented) => Ok(Some(outcome)),
        _ => machine.call_now(&method(getter, object.clone()), Args::of([Value::from(name)])).map(Some),
    }
}
