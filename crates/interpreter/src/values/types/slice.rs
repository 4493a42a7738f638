//! `slice`.

use crate::evaluation::operators;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{MethodFn, Type, trash};
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

/// Methods by name.
pub const METHODS: &[(&str, MethodFn)] = &[("indices", indices)];

impl Slice {
    /// Makes a slice of its three parts, each `None` or an index.
    pub fn new(start: Value, stop: Value, step: Value) -> Self {
        Self { start, stop, step }
    }

    /// Computes the positions in a sequence of this length.
    ///
    /// # Errors
    /// `TypeError` for a part that is no index, `ValueError` for a step of zero.
    pub fn span(&self, machine: &Machine, length: usize) -> Result<Span, Raise> {
        let length = length as i64;
        let part = |value: &Value| match value {
            Value::None => Ok(None),
            value => operators::slice_index(machine, value).map(Some),
        };
        let step = part(&self.step)?.unwrap_or(1).max(-i64::MAX);
        if step == 0 {
            return Err(Raise::value_error("slice step cannot be zero"));
        }
        let (lowest, highest) = if step < 0 { (-1, length - 1) } else { (0, length) };
        let clamp = |index: Option<i64>, default: i64| match index {
            None => default,
            Some(index) if index < 0 => index.saturating_add(length).max(lowest),
            Some(index) => index.min(highest),
        };
        let start = clamp(part(&self.start)?, if step < 0 { highest } else { lowest });
        let stop = clamp(part(&self.stop)?, if step < 0 { lowest } else { highest });
        let count = if step < 0 && stop < start {
            (start - stop - 1) / -step + 1
        } else if step > 0 && start < stop {
            (stop - start - 1) / step + 1
        } else {
            0
        };
        Ok(Span { start, stop, step, count: count as usize })
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

fn indices(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let Value::Slice(slice) = receiver else { return Err(super::wrong_receiver("indices", Type::Slice, receiver)) };
    let length = operators::index_fitting(machine, &args.one("slice.indices")?)?;
    let length = usize::try_from(length).map_err(|_| Raise::value_error("length should not be negative"))?;
    let span = slice.span(machine, length)?;
    Ok(Value::tuple(vec![span.start.into(), span.stop.into(), span.step.into()]).into())
}
