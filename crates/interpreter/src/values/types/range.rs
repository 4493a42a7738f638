//! `range`.

use num_bigint::BigInt;
use num_traits::{Signed, Zero};

use crate::evaluation::{operators, sequence};
use crate::values::host::{Args, HostResult, Iteration, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::key::Key;
use crate::values::types::{MethodFn, Slice, Type};
use crate::values::value::Value;

/// A `range`. Its bounds fit 64 bits; larger ones are refused.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub start: i64,
    pub stop: i64,
    pub step: i64,
}

/// Methods by name.
pub const METHODS: &[(&str, MethodFn)] = &[("count", count), ("index", index)];

impl Range {
    /// Calls `range(…)`.
    ///
    /// # Errors
    /// `TypeError`, `ValueError` as CPython; `OverflowError` for bounds beyond 64 bits.
    pub fn construct(machine: &Machine, args: Args) -> Result<Self, Raise> {
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
        Ok(Self { start, stop, step })
    }

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
    ///
    /// # Errors
    /// As [`Slice::span`].
    pub fn slice(&self, machine: &Machine, slice: &Slice) -> Result<Self, Raise> {
        let span = slice.span(machine, self.len())?;
        let at = |turn: i64| self.start.saturating_add(turn.saturating_mul(self.step));
        Ok(Self { start: at(span.start), stop: at(span.stop), step: span.step.saturating_mul(self.step) })
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
            let text = crate::evaluation::format::repr_shown(machine, &value)?
                .unwrap_or_else(|| "sequence.index(x): x".to_owned());
            let _ = (machine, sequence::bytes(0));
            Err(Raise::value_error(format!("{text} is not in range")))
        }
    }
}

fn of(receiver: &Value, method: &str) -> Result<Range, Raise> {
    match receiver {
        Value::Range(range) => Ok(**range),
        _ => Err(super::wrong_receiver(method, Type::Range, receiver)),
    }
}
