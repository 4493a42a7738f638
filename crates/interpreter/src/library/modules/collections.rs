//! `collections`.

use crate::evaluation::operators;
use crate::library::modules::deque::DequeType;
use crate::library::modules::written::{self, Written};
use crate::library::modules::{Members, import};
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::Type;
use crate::values::value::Value;

pub const COLLECTIONS: Written = Written { text: include_str!("../python/collections.py"), natives };

fn natives(machine: &Machine) -> Result<Members, Raise> {
    let mut natives = written::writer();
    natives.extend([
        ("Counter", Value::Type(Type::Counter)),
        ("OrderedDict", Value::Type(Type::OrderedDict)),
        ("defaultdict", Value::Type(Type::DefaultDict)),
        ("deque", Value::host(DequeType)),
        ("_field", Value::native("_field", field)),
        // Classes that programs derive from and that behave as the builtin: the wrapped object is the object itself.
        ("UserDict", Value::Type(Type::Dict)),
        ("UserList", Value::Type(Type::List)),
    ]);
    natives.extend(import(machine, "collections.abc")?.map(|module| ("abc", module)));
    Ok(natives)
}

/// Makes what reads an element of a named tuple: past a program's own `__getitem__`.
fn field(machine: &Machine, args: Args) -> HostResult {
    let index = operators::index_fitting(machine, &args.one("_field")?)?;
    let position = usize::try_from(index).unwrap_or(usize::MAX);
    Ok(Value::native("field", move |_, args| match operators::plain(&args.one("field")?) {
        Value::Tuple(items) => Ok(items.get(position).cloned().unwrap_or(Value::None).into()),
        _ => Err(Raise::type_error("descriptor requires a named tuple")),
    })
    .into())
}
