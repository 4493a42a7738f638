//! `dataclasses`.

use std::rc::Rc;

use crate::evaluation::operators::{self, later};
use crate::library::modules::written::Written;
use crate::library::modules::{operator, signature};
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::value::Value;

pub const DATACLASSES: Written = Written {
    text: include_str!("../python/dataclasses.py"),
    natives: |_| {
        let mut natives = signature::natives();
        natives.extend([
            ("_assigner", Value::native("_assigner", assigner)),
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

/// Makes what gives an object those attributes that a dict has, in the order of a list; past `__setattr__` where the
/// class is frozen.
fn assigner(machine: &Machine, args: Args) -> HostResult {
    let [names, frozen] = args.bind("_assigner", ["names", "frozen"], 2)?;
    let names: Rc<[Rc<str>]> = match names {
        Some(Value::List(names)) => {
            machine.charge_fuel(names.len() as u64)?;
            let name = |name: Value| match name {
                Value::Str(name) => Some(name),
                _ => None,
            };
            names.to_vec().into_iter().filter_map(name).collect()
        }
        _ => return Err(Raise::type_error("_assigner() takes a list of names")),
    };
    let frozen = operators::truth_sync(machine, &frozen.unwrap_or(Value::None))?;
    Ok(Value::native("assign", move |machine, args| {
        let [object, Value::Dict(given)] = &args.between("assign", 2, 2)?[..] else {
            return Err(Raise::type_error("assign() takes an object and a dict"));
        };
        if let (true, Value::Instance(instance)) = (frozen, object) {
            for name in names.iter() {
                if let Some(value) = given.get_string(name) {
                    instance.set(Rc::clone(name), value);
                }
            }
            instance.cover(machine)?;
            return Ok(Value::None.into());
        }
        let (machine, object, given, names) = (machine.clone(), object.clone(), Rc::clone(given), Rc::clone(&names));
        later(async move {
            for name in names.iter() {
                if let Some(value) = given.get_string(name) {
                    machine.set_attribute(&object, name, value).await?;
                }
            }
            Ok(Value::None)
        })
    })
    .into())
}
