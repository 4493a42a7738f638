//! What lists and tuples share.

use std::rc::Rc;

use crate::host::{HostResult, Outcome};
use crate::machine::Machine;
use crate::operators;
use crate::raise::Raise;
use crate::types::{List, Tuple};
use crate::value::Value;

/// Bytes charged for one element: its slot, and the small object in it that is not charged alone.
const SLOT: u64 = 48;

/// Returns what a container of this many elements is charged.
pub fn bytes(length: usize) -> u64 {
    SLOT.saturating_mul(length as u64) + 64
}

/// Makes a charged list.
///
/// # Errors
/// Memory is spent.
pub fn list(machine: &Machine, items: Vec<Value>) -> HostResult {
    Ok(Value::List(Rc::new(List::charged(machine, items)?)).into())
}

/// Makes a charged tuple.
///
/// # Errors
/// Memory is spent.
pub fn tuple(machine: &Machine, items: Vec<Value>) -> HostResult {
    Ok(Value::Tuple(Rc::new(Tuple::charged(machine, items)?)).into())
}

/// Counts the elements that equal a value.
///
/// # Errors
/// What comparing raises.
pub fn count(machine: &Machine, items: Vec<Value>, value: Value) -> HostResult {
    let mut found = 0;
    for (position, item) in items.iter().enumerate() {
        machine.charge_fuel(1)?;
        match operators::same_or_equal_now(machine, item, &value)? {
            Some(equal) => found += i64::from(equal),
            None => {
                let machine = machine.clone();
                return Ok(Outcome::Later(Box::pin(async move {
                    for item in &items[position..] {
                        machine.charge_fuel(1)?;
                        found += i64::from(operators::same_or_equal(&machine, item, &value).await?);
                    }
                    Ok(Value::Int(found))
                })));
            }
        }
    }
    Ok(Value::Int(found).into())
}

/// Finds the first element that equals a value; `None` where there is none.
///
/// # Errors
/// What comparing raises.
pub fn position_of(machine: &Machine, items: Vec<Value>, value: Value) -> HostResult {
    for (position, item) in items.iter().enumerate() {
        machine.charge_fuel(1)?;
        match operators::same_or_equal_now(machine, item, &value)? {
            Some(true) => return Ok(Value::Int(position as i64).into()),
            Some(false) => {}
            None => {
                let machine = machine.clone();
                return Ok(Outcome::Later(Box::pin(async move {
                    for (later, item) in items.iter().enumerate().skip(position) {
                        machine.charge_fuel(1)?;
                        if operators::same_or_equal(&machine, item, &value).await? {
                            return Ok(Value::Int(later as i64));
                        }
                    }
                    Ok(Value::None)
                })));
            }
        }
    }
    Ok(Value::None.into())
}

/// `index(value[, start[, stop]])`.
///
/// # Errors
/// `ValueError` with this message where the value is not there; what comparing raises.
pub fn index(machine: &Machine, mut items: Vec<Value>, mut args: Vec<Value>, missing: &str) -> HostResult {
    let stop = match args.get(2) {
        Some(stop) => clamp(operators::index_clamped(machine, stop)?, items.len()),
        None => items.len(),
    };
    let start = match args.get(1) {
        Some(start) => clamp(operators::index_clamped(machine, start)?, items.len()),
        None => 0,
    };
    items.truncate(stop);
    items.drain(..start.min(stop));
    let missing = missing.to_owned();
    let found = position_of(machine, items, args.swap_remove(0));
    operators::then(machine, found, move |_, position| match position.as_int() {
        Some(position) => Ok(Value::Int(position + start as i64).into()),
        None => Err(Raise::value_error(missing)),
    })
}

/// Turns a Python index into a position; `None` if out of range.
pub fn position(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(length as i64)? } else { index };
    usize::try_from(index).ok().filter(|position| *position < length)
}

/// Turns a Python index into a position between 0 and the length.
pub fn clamp(index: i64, length: usize) -> usize {
    let index = if index < 0 { index.saturating_add(length as i64) } else { index };
    usize::try_from(index).unwrap_or(0).min(length)
}
