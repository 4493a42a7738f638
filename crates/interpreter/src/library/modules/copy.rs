//! `copy`.

use std::rc::Rc;

use futures::future::LocalBoxFuture;

use crate::library::modules::deque::DequeType;
use crate::library::modules::written::Written;
use crate::library::modules::{Members, kept};
use crate::values::class::Instance;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::Type;
use crate::values::value::Value;

pub const COPY: Written = Written { text: include_str!("../python/copy.py"), natives };

fn natives(_: &Machine) -> Result<Members, Raise> {
    Ok(vec![
        ("Counter", Value::Type(Type::Counter)),
        ("OrderedDict", Value::Type(Type::OrderedDict)),
        ("defaultdict", Value::Type(Type::DefaultDict)),
        ("deque", Value::host(DequeType)),
        ("_parts", Value::native("_parts", |machine, args| parts(machine, &args.one("_parts")?))),
        ("_fill", Value::native("_fill", fill)),
    ])
}

/// Takes an object of a program's class apart: another of its class with nothing in it, its attributes, and the value of
/// its builtin base, if there is one. Gives `()` for an object of the server, `None` for what never changes.
fn parts(machine: &Machine, object: &Value) -> HostResult {
    let instance = match object {
        Value::Instance(instance) => instance,
        Value::Host(_) => return Ok(Value::tuple(Vec::new()).into()),
        _ => return Ok(Value::None.into()),
    };
    let made = Instance::new(instance.class());
    made.cover(machine)?;
    if let (Some(from), Some(to)) = (instance.exception(), made.exception()) {
        to.borrow_mut().args = from.borrow().args.clone();
    }
    let attributes = Value::dict(instance.attributes());
    let values = Value::list(instance.payload().into_iter().collect());
    Ok(Value::tuple(vec![Value::Instance(made), attributes, values]).into())
}

/// Puts attributes and a value into what [`parts`] has made.
fn fill(machine: &Machine, args: Args) -> HostResult {
    match &args.between("_fill", 3, 3)?[..] {
        [Value::Instance(made), Value::Dict(attributes), Value::List(values)] => {
            if let Some(value) = values.get(0) {
                made.set_payload(value);
            }
            for (name, value) in attributes.entries() {
                if let Value::Str(name) = name {
                    made.set(name, value);
                }
            }
            made.cover(machine)?;
            Ok(Value::Instance(Rc::clone(made)).into())
        }
        _ => Err(Raise::type_error("_fill() takes an object, a dict and a list")),
    }
}

/// Copies a value with all it holds.
pub fn deepcopy(machine: &Machine, value: Value) -> LocalBoxFuture<'static, Result<Value, Raise>> {
    match kept(machine, "copy", "deepcopy") {
        Ok(deepcopy) => machine.call(&deepcopy, Args::of([value])),
        Err(raise) => Box::pin(std::future::ready(Err(raise))),
    }
}
