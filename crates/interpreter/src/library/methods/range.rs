//! Methods of `range`.

use crate::evaluation::{format, operators};
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{MethodFn, Range, Type, sequence, wrong_receiver};
use crate::values::value::Value;

/// Methods by name.
pub const METHODS: &[(&str, MethodFn)] = &[("count", count), ("index", index)];

fn count(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let range = of(receiver, "count")?;
    let value = args.one("range.count")?;
    let _ = machine;
    Ok(Value::Int(i64::from(value.as_int().is_some_and(|number| range.find(number).is_some()))).into())
}

fn index(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let range = of(receiver, "index")?;
    let value = args.one("range.index")?;
    match value.as_int().and_then(|number| range.find(number)) {
        Some(position) => Ok(Value::Int(position as i64).into()),
        None => {
            let text = format::repr_shown(machine, &value)?.unwrap_or_else(|| "sequence.index(x): x".to_owned());
            let _ = (machine, sequence::bytes(0));
            Err(Raise::value_error(format!("{text} is not in range")))
        }
    }
}

fn of(receiver: &Value, method: &str) -> Result<Range, Raise> {
    match receiver {
        Value::Range(range) => Ok(**range),
        _ => Err(wrong_receiver(method, Type::Range, receiver)),
    }
}

/// Calls `range(…)`.
///
/// # Errors
/// `TypeError`, `ValueError` as CPython; `OverflowError` for bounds beyond 64 bits.
pub fn construct(machine: &Machine, args: Args) -> Result<Range, Raise> {
    args.no_keywords("range")?;
    let given = args.positional.len();
    if given == 0 {
        return Err(Raise::type_error("range expected at least 1 argument, got 0"));
    }
    if given > 3 {
        return Err(Raise::type_error(format!("range expected at most 3 arguments, got {given}")));
    }
    let mut parts = Vec::with_capacity(3);
    for value in &args.positional {
        parts.push(operators::index_fitting(machine, value)?);
    }
    let (start, stop, step) = match parts[..] {
        [stop] => (0, stop, 1),
        [start, stop] => (start, stop, 1),
        [start, stop, step, ..] => (start, stop, step),
        [] => (0, 0, 1),
    };
    if step == 0 {
        return Err(Raise::value_error("range() arg 3 must not be zero"));
    }
    Ok(Range { start, stop, step })
}
