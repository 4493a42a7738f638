//! Methods of `tuple`.

use crate::evaluation::elements::Elements;
use crate::evaluation::operators;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{MethodFn, Type, wrong_receiver};
use crate::values::value::Value;

/// Methods by name.
pub const METHODS: &[(&str, MethodFn)] = &[("count", count), ("index", index)];

fn count(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    elements(receiver, "count")?.count(machine, args.one("tuple.count")?)
}

fn index(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let args = args.between("index", 1, 3)?;
    elements(receiver, "index")?.index(machine, args, |_, _| Ok("tuple.index(x): x not in tuple".to_owned()))
}

fn elements(receiver: &Value, method: &str) -> Result<Elements, Raise> {
    match operators::plain(receiver) {
        Value::Tuple(tuple) => Ok(Elements::Tuple(tuple)),
        _ => Err(wrong_receiver(method, Type::Tuple, receiver)),
    }
}
