//! Charges for strings, bytes and large integers. These have no `Drop` of their own to give bytes back, so
//! the ledger keeps weak references and looks through them now and then.

use std::collections::HashMap;
use std::rc::{Rc, Weak};

use num_bigint::BigInt;

use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::{self, Meter};
use crate::values::types::shape::Shape;
use crate::values::value::Value;

/// Smaller ones are covered by what the container's slot is charged.
const SMALL: usize = 64;
/// Bytes charged between two looks.
const INTERVAL: u64 = 4 << 20;
/// Bytes that are copied in the time of one step.
const COPY: u64 = 256;
/// Bytes that are looked at one by one in the time of one step.
const SCAN: u64 = 64;

/// What one job's program holds.
#[derive(Default)]
pub struct Ledger {
    entries: Vec<(Held, u64)>,
    /// Bytes of entries that were alive at the last look.
    alive: u64,
    /// Bytes charged since.
    recent: u64,
    /// What is known of long strings, by their places; each of them has an entry, which keeps its place from others.
    shapes: HashMap<*const u8, Shape>,
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

/// Charges a string that was made without its machine to whoever pays on this thread.
pub fn noted_text(text: Rc<str>) -> Rc<str> {
    if text.len() > SMALL {
        note(Held::Text(Rc::downgrade(&text)), text.len());
    }
    text
}

/// Returns the shape of a long string, which is found out once.
///
/// # Errors
/// Memory or fuel is spent.
pub fn shape(machine: &Machine, text: &Rc<str>) -> Result<Shape, Raise> {
    let meter = machine.meter();
    let place = text.as_ptr();
    let known = meter.ledger.borrow().shapes.get(&place).cloned();
    if let Some(shape) = known {
        return Ok(shape);
    }
    scanned(machine, text.len() as u64)?;
    let shape = Shape::read(text);
    let bytes = shape.bytes();
    if meter.ledger.borrow().is_due(bytes) {
        sweep(machine)?;
    }
    machine.charge_memory(bytes)?;
    let mut ledger = meter.ledger.borrow_mut();
    ledger.enter(Held::Text(Rc::downgrade(text)), bytes);
    ledger.shapes.insert(place, shape.clone());
    Ok(shape)
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

/// Charges a large integer that was made without its machine to whoever pays on this thread.
pub fn noted_number(number: BigInt) -> Rc<BigInt> {
    let number = Rc::new(number);
    let length = (number.bits() / 8) as usize;
    if length > SMALL {
        note(Held::Number(Rc::downgrade(&number)), length);
    }
    number
}

/// Fails where this many more bytes would not fit, before they are allocated, and pays for copying them.
///
/// # Errors
/// Memory or fuel is spent.
pub fn reserve(machine: &Machine, bytes: u64) -> Result<(), Raise> {
    if bytes > INTERVAL {
        sweep(machine)?;
    }
    machine.charge_memory(bytes)?;
    machine.release_memory(bytes);
    copied(machine, bytes)
}

/// Pays for bytes that are copied, compared or searched in whole words.
///
/// # Errors
/// Fuel is spent.
#[inline]
pub fn copied(machine: &Machine, bytes: u64) -> Result<(), Raise> {
    if bytes < COPY { Ok(()) } else { machine.charge_fuel(bytes / COPY) }
}

/// Pays for bytes that are looked at one by one.
///
/// # Errors
/// Fuel is spent.
#[inline]
pub fn scanned(machine: &Machine, bytes: u64) -> Result<(), Raise> {
    if bytes < SCAN { Ok(()) } else { machine.charge_fuel(bytes / SCAN) }
}

fn enter(machine: &Machine, held: Held, length: usize) -> Result<(), Raise> {
    let bytes = length as u64 + 64;
    let meter = machine.meter();
    if meter.ledger.borrow().is_due(bytes) {
        sweep(machine)?;
    }
    machine.charge_memory(bytes)?;
    meter.ledger.borrow_mut().enter(held, bytes);
    Ok(())
}

fn note(held: Held, length: usize) {
    let Some(meter) = charge::payer() else { return };
    let bytes = length as u64 + 64;
    let due = meter.ledger.borrow().is_due(bytes);
    if due {
        meter.ledger.borrow_mut().sweep(&meter);
    }
    meter.overdraw(bytes);
    meter.ledger.borrow_mut().enter(held, bytes);
}

/// Gives back what is no longer alive.
fn sweep(machine: &Machine) -> Result<(), Raise> {
    let meter = machine.meter();
    let looked_at = meter.ledger.borrow_mut().sweep(&meter);
    machine.charge_fuel(looked_at / 16)
}

impl Ledger {
    fn is_due(&self, bytes: u64) -> bool {
        self.recent + bytes > INTERVAL.max(self.alive / 4)
    }

    fn enter(&mut self, held: Held, bytes: u64) {
        self.recent += bytes;
        self.entries.push((held, bytes));
    }

    /// Returns how many entries there were.
    pub(crate) fn sweep(&mut self, meter: &Meter) -> u64 {
        let looked_at = self.entries.len() as u64;
        let mut freed = 0;
        let mut alive = 0;
        let shapes = &mut self.shapes;
        self.entries.retain(|(held, bytes)| {
            let living = match held {
                Held::Text(text) => {
                    let living = text.strong_count() > 0;
                    if !living && !shapes.is_empty() {
                        shapes.remove(&text.as_ptr().cast::<u8>());
                    }
                    living
                }
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
        self.alive = alive;
        self.recent = 0;
        meter.release(freed);
        looked_at
    }
}
