//! What lists and tuples share: their price, and positions in them.

use std::rc::Rc;

use crate::values::host::HostResult;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{List, Tuple};
use crate::values::value::Value;

/// Bytes charged for one element: its slot, and the small object in it that is not charged alone.
const SLOT: u64 = 48;

/// Returns what a container of this many elements is charged.
pub fn bytes(length: usize) -> u64 {
    SLOT.saturating_mul(length as u64).saturating_add(64)
}

/// Makes a charged list.
///
/// # Errors
/// Memory is spent.
pub fn list(machine: &Machine, items: Vec<Value>) -> HostResult {
    affordable(machine, items.len())?;
    Ok(Value::List(Rc::new(List::new(items))).into())
}

/// Makes a charged tuple.
///
/// # Errors
/// Memory is spent.
pub fn tuple(machine: &Machine, items: Vec<Value>) -> HostResult {
    affordable(machine, items.len())?;
    Ok(Value::Tuple(Rc::new(Tuple::new(items))).into())
}

/// Fails where a container of so many elements would not fit, before they are made.
///
/// # Errors
/// Memory is spent.
pub fn affordable(machine: &Machine, length: usize) -> Result<(), Raise> {
    machine.charge_memory(bytes(length))?;
    machine.release_memory(bytes(length));
    Ok(())
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
