//! `slice`.

use crate::values::types::trash;
use crate::values::value::Value;

/// A `slice`.
pub struct Slice {
    pub start: Value,
    pub stop: Value,
    pub step: Value,
}

/// The positions that a slice takes from a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: i64,
    pub stop: i64,
    pub step: i64,
    pub count: usize,
}

impl Slice {
    /// Makes a slice of its three parts, each `None` or an index.
    pub fn new(start: Value, stop: Value, step: Value) -> Self {
        Self { start, stop, step }
    }
}

impl Span {
    /// Returns the positions in order.
    pub fn positions(self) -> impl DoubleEndedIterator<Item = usize> {
        (0..self.count as i64).map(move |turn| (self.start + turn * self.step) as usize)
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        trash::bury([&mut self.start, &mut self.stop, &mut self.step].map(|part| std::mem::replace(part, Value::None)));
    }
}
