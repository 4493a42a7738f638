//! Charges for strings, bytes and large integers. These have no `Drop` of their own to give bytes back, so
//! the ledger keeps weak references and looks through them now and then.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use num_bigint::BigInt;

use crate::machine::Machine;
use crate::raise::Raise;
use crate::value::Value;

/// Smaller ones are covered by what the container's slot is charged.
const SMALL: usize = 64;
/// Bytes charged between two looks.
const INTERVAL: u64 = 4 << 20;

/// What one machine's program holds.
#[derive(Default)]
struct Ledger {
    entries: Vec<(Held, u64)>,
    /// Bytes of entries that were alive at the last look.
    alive: u64,
    /// Bytes charged since.
    recent: u64,
}

enum Held {
    Text(Weak<str>),
    Bytes(Weak<[u8]>),
    Number(Weak<BigInt>),
}

/// Makes a charged string.
///
/// # Errors
/// Memory is spent.
pub fn text(machine: &Machine, text: impl Into<Rc<str>> + AsRef<str>) -> Result<Value, Raise> {
    let length = text.as_ref().len();
    if length <= SMALL {
        return Ok(Value::Str(text.into()));
    }
    reserve(machine, length as u64)?;
    let text: Rc<str> = text.into();
    enter(machine, Held::Text(Rc::downgrade(&text)), length)?;
    Ok(Value::Str(text))
}

/// Makes charged bytes.
///
/// # Errors
/// Memory is spent.
pub fn bytes(machine: &Machine, bytes: Vec<u8>) -> Result<Value, Raise> {
    let bytes: Rc<[u8]> = bytes.into();
    if bytes.len() > SMALL {
        enter(machine, Held::Bytes(Rc::downgrade(&bytes)), bytes.len())?;
    }
    Ok(Value::Bytes(bytes))
}

/// Charges a large integer.
///
/// # Errors
/// Memory is spent.
pub fn number(machine: &Machine, number: &Rc<BigInt>) -> Result<(), Raise> {
    let length = (number.bits() / 8) as usize;
    if length > SMALL { enter(machine, Held::Number(Rc::downgrade(number)), length) } else { Ok(()) }
}

/// Fails where this many more bytes would not fit, before they are allocated.
///
/// # Errors
/// Memory is spent.
pub fn reserve(machine: &Machine, bytes: u64) -> Result<(), Raise> {
    if bytes > INTERVAL {
        sweep(machine)?;
    }
    machine.charge_memory(bytes)?;
    machine.release_memory(bytes);
    // A copy of a large object is work, too.
    machine.charge_fuel(bytes / 256)
}

fn enter(machine: &Machine, held: Held, length: usize) -> Result<(), Raise> {
    let bytes = length as u64 + 64;
    let ledger = ledger(machine);
    let due = {
        let ledger = ledger.borrow();
        ledger.recent + bytes > INTERVAL.max(ledger.alive / 4)
    };
    if due {
        sweep(machine)?;
    }
    machine.charge_memory(bytes)?;
    let mut ledger = ledger.borrow_mut();
    ledger.recent += bytes;
    ledger.entries.push((held, bytes));
    Ok(())
}

/// Gives back what is no longer alive.
fn sweep(machine: &Machine) -> Result<(), Raise> {
    let ledger = ledger(machine);
    let mut ledger = ledger.borrow_mut();
    let looked_at = ledger.entries.len() as u64;
    let mut freed = 0;
    let mut alive = 0;
    ledger.entries.retain(|(held, bytes)| {
        let living = match held {
            Held::Text(text) => text.strong_count() > 0,
            Held::Bytes(bytes) => bytes.strong_count() > 0,
            Held::Number(number) => number.strong_count() > 0,
        };
        if living {
            alive += bytes
        } else {
            freed += bytes
        }
        living
    });
    ledger.alive = alive;
    ledger.recent = 0;
    machine.release_memory(freed);
    machine.charge_fuel(looked_at / 16)
}

fn ledger(machine: &Machine) -> Rc<RefCell<Ledger>> {
    if let Some(ledger) = machine.extension::<RefCell<Ledger>>() {
        return ledger;
    }
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    machine.set_extension(ledger.clone());
    ledger
}
