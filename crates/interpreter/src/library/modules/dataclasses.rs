//! `dataclasses`.

use std::rc::Rc;

use crate::evaluation::operators::later;
use crate::library::modules::operator;
use crate::library::modules::written::{self, Written};
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::value::Value;

pub const DATACLASSES: Written = Written {
    text: include_str!("../python/dataclasses.py"),
    natives: |_| {
        let mut natives = written::writer();
        natives.extend([
            ("_set", Value::native("_set", set)),
            ("_attrgetter", Value::native("_attrgetter", operator::attrgetter)),
            (
                "_operator",
                Value::native("_operator", |_, args| {
                    let name = args.one("_operator")?;
                    let function = name.as_str().and_then(operator::function);
                    function
                        .map(Into::into)
                        .ok_or_else(|| Raise::value_error("_operator() takes the name of an operator"))
                }),
            ),
        ]);
        Ok(natives)
    },
};

/// Sets an attribute past a program's `__setattr__`.
fn set(machine: &Machine, args: Args) -> HostResult {
    let [object, Value::Str(name), value] = &args.between("_set", 3, 3)?[..] else {
        return Err(Raise::type_error("_set() takes an object, a name and a value"));
    };
    let Value::Instance(instance) = object else {
        let (machine, object, name, value) = (machine.clone(), object.clone(), Rc::clone(name), value.clone());
        return later(async move { machine.set_attribute(&object, &name, value).await.map(|()| Value::None) });
    };
    instance.set(Rc::clone(name), value.clone());
    instance.cover(machine)?;
    Ok(Value::None.into())
}
