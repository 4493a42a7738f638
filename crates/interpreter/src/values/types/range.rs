//! `range`.

use num_bigint::BigInt;
use num_traits::{Signed, Zero};

use crate::values::host::{Iteration, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::key::Key;
use crate::values::types::slice::Span;
use crate::values::value::Value;

/// A `range`. Its bounds fit 64 bits; larger ones are refused.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub start: i64,
    pub stop: i64,
    pub step: i64,
}

impl Range {
    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        let (low, high) = if self.step > 0 { (self.start, self.stop) } else { (self.stop, self.start) };
        if low >= high {
            return 0;
        }
        let distance = high.wrapping_sub(low) as u64;
        usize::try_from((distance - 1) / self.step.unsigned_abs() + 1).unwrap_or(usize::MAX)
    }

    /// Says whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns an element.
    pub fn get(&self, position: usize) -> Option<Value> {
        if position >= self.len() {
            return None;
        }
        Some(Value::Int(self.at(position)))
    }

    /// Says whether an integer is an element, and where.
    pub fn find(&self, number: i64) -> Option<usize> {
        let ahead = if self.step > 0 {
            self.start <= number && number < self.stop
        } else {
            self.stop < number && number <= self.start
        };
        let distance = BigInt::from(number) - BigInt::from(self.start);
        let step = BigInt::from(self.step);
        if !ahead || !(&distance % &step).is_zero() {
            return None;
        }
        usize::try_from((distance / step).abs()).ok()
    }

    /// Returns a part of it.
    pub fn slice(&self, span: Span) -> Self {
        let at = |turn: i64| self.start.saturating_add(turn.saturating_mul(self.step));
        Self { start: at(span.start), stop: at(span.stop), step: span.step.saturating_mul(self.step) }
    }

    /// Returns what equality and hash look at: start, step and length, as far as they matter.
    pub fn canonical(&self) -> (Key, Key, Key) {
        let length = self.len();
        let none = || Key::Object(Value::None.identity());
        let count = Key::Int(length as i64);
        match length {
            0 => (none(), none(), count),
            1 => (Key::Int(self.start), none(), count),
            _ => (Key::Int(self.start), Key::Int(self.step), count),
        }
    }

    /// Iterates over it.
    pub fn iteration(&self) -> RangeIteration {
        RangeIteration { range: *self, next: 0, end: self.len() }
    }

    /// Iterates over it from the end.
    pub fn reversed(&self) -> RangeIteration {
        let length = self.len();
        if length == 0 {
            return self.iteration();
        }
        let last = self.at(length - 1);
        let step = self.step.saturating_neg();
        RangeIteration { range: Self { start: last, stop: self.start, step }, next: 0, end: length }
    }

    fn at(&self, position: usize) -> i64 {
        self.start.wrapping_add((position as i64).wrapping_mul(self.step))
    }
}

impl PartialEq for Range {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

/// The state of an iteration over a range.
pub struct RangeIteration {
    range: Range,
    next: usize,
    end: usize,
}

impl Iteration for RangeIteration {
    fn next(&mut self, _: &Machine) -> Result<Option<Outcome>, Raise> {
        if self.next >= self.end {
            return Ok(None);
        }
        let value = self.range.at(self.next);
        self.next += 1;
        Ok(Some(Value::Int(value).into()))
    }
}
