//! `tuple`.

use std::ops::Deref;

use crate::values::types::charge::Charge;
use crate::values::types::{sequence, trash};
use crate::values::value::Value;

/// A `tuple`.
pub struct Tuple {
    items: Box<[Value]>,
    _charge: Charge,
}

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
