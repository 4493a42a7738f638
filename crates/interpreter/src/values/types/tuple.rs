//! `tuple`.

use std::ops::Deref;

use crate::evaluation::operators;
use crate::evaluation::sequence::{self, Elements};
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::types::{MethodFn, Type, trash};
use crate::values::value::Value;

/// A `tuple`.
pub struct Tuple {
    items: Box<[Value]>,
    _charge: Charge,
}

/// Methods by name.
pub const METHODS: &[(&str, MethodFn)] = &[("count", count), ("index", index)];

impl Tuple {
    /// Holds these elements.
    pub fn new(items: Vec<Value>) -> Self {
        let _charge = Charge::of(sequence::bytes(items.len()));
        Self { items: items.into(), _charge }
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
    elements(receiver, "index")?.index(machine, args, |_, _| Ok("tuple.index(x): x not in tuple".to_owned()))
}

fn elements(receiver: &Value, method: &str) -> Result<Elements, Raise> {
    match operators::plain(receiver) {
        Value::Tuple(tuple) => Ok(Elements::Tuple(tuple)),
        _ => Err(super::wrong_receiver(method, Type::Tuple, receiver)),
    }
}
