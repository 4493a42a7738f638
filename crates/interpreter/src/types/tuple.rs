//! `tuple`.

use std::ops::Deref;

use crate::host::{Args, HostResult};
use crate::machine::Machine;
use crate::operators;
use crate::raise::Raise;
use crate::types::charge::Charge;
use crate::types::sequence::{self, Elements};
use crate::types::{MethodFn, Type, trash};
use crate::value::Value;

/// A `tuple`.
pub struct Tuple {
    items: Box<[Value]>,
    charge: Charge,
}

/// Methods by name.
pub const METHODS: &[(&str, MethodFn)] = &[("count", count), ("index", index)];

impl Tuple {
    /// Holds these elements, not charged.
    pub fn new(items: Vec<Value>) -> Self {
        Self { items: items.into(), charge: Charge::default() }
    }

    /// Holds these elements, charged to the machine.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn charged(machine: &Machine, items: Vec<Value>) -> Result<Self, Raise> {
        let tuple = Self::new(items);
        tuple.charge.cover(machine, sequence::bytes(tuple.len()))?;
        Ok(tuple)
    }
}

impl Deref for Tuple {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.items
    }
}

impl Drop for Tuple {
    fn drop(&mut self) {
        trash::bury(std::mem::take(&mut self.items));
    }
}

fn count(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    elements(receiver, "count")?.count(machine, args.one("tuple.count")?)
}

fn index(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let args = args.between("index", 1, 3)?;
    elements(receiver, "index")?.index(machine, args, "tuple.index(x): x not in tuple")
}

fn elements(receiver: &Value, method: &str) -> Result<Elements, Raise> {
    match operators::plain(receiver) {
        Value::Tuple(tuple) => Ok(Elements::Tuple(tuple)),
        _ => Err(super::wrong_receiver(method, Type::Tuple, receiver)),
    }
}
