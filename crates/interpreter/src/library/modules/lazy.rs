//! Iterators whose steps may run user code.

use std::cell::RefCell;
use std::rc::Rc;

use crate::evaluation::operators::Iter;
use crate::values::host::{HostResult, Iteration, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::types::{Iterator, Made};
use crate::values::value::Value;

/// Bytes charged for an iterator with its state.
const ITERATOR: u64 = 320;
/// Bytes charged for one position, or one iterator that this one draws from.
const SLOT: u64 = 96;

/// The state of an iterator.
pub(super) trait Steps: 'static {
    /// Returns the next element, or `None` at the end.
    ///
    /// # Errors
    /// What iterating raises.
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise>;

    /// As [`Iteration::made`].
    fn made(&self) -> Option<Made> {
        None
    }
}

/// Makes an iterator object of a state.
///
/// # Errors
/// Memory is spent.
pub(super) fn iterator(machine: &Machine, type_name: &'static str, steps: impl Steps) -> HostResult {
    sized(machine, type_name, 0, steps)
}

/// The same for a state that holds this many values or positions besides.
///
/// # Errors
/// Memory is spent.
pub(super) fn sized(machine: &Machine, type_name: &'static str, slots: usize, steps: impl Steps) -> HostResult {
    let charge = Charge::default();
    charge.cover(machine, ITERATOR.saturating_add(SLOT.saturating_mul(slots as u64)))?;
    let lazy = Lazy { steps: Rc::new(RefCell::new(Slot::Idle(steps))), _charge: charge };
    Ok(Value::Iterator(Rc::new(Iterator::new(type_name, lazy))).into())
}

/// Starts to iterate over each of several iterables.
///
/// # Errors
/// `TypeError` for what cannot be iterated over.
pub(super) fn iters(machine: &Machine, iterables: &[Value]) -> Result<Vec<Iter>, Raise> {
    iterables.iter().map(|iterable| Iter::of(machine, iterable)).collect()
}

struct Lazy<S> {
    steps: Rc<RefCell<Slot<S>>>,
    _charge: Charge,
}

/// Where the state is: away while a step runs.
enum Slot<S> {
    Idle(S),
    Running,
    Ended,
}

impl<S: Steps> Iteration for Lazy<S> {
    fn made(&self) -> Option<Made> {
        match &*self.steps.borrow() {
            Slot::Idle(steps) => steps.made(),
            Slot::Running | Slot::Ended => None,
        }
    }

    fn next(&mut self, machine: &Machine) -> Result<Option<Outcome>, Raise> {
        machine.charge_fuel(1)?;
        let mut steps = match self.steps.replace(Slot::Running) {
            Slot::Idle(steps) => steps,
            Slot::Running => return Err(Raise::value_error("iterator already executing")),
            Slot::Ended => {
                self.steps.replace(Slot::Ended);
                return Ok(None);
            }
        };
        let (slot, handle) = (Rc::clone(&self.steps), machine.clone());
        let step = async move {
            let next = steps.next(&handle).await;
            let ended = matches!(next, Ok(None));
            slot.replace(if ended { Slot::Ended } else { Slot::Idle(steps) });
            next?.ok_or_else(Raise::stop_iteration)
        };
        Ok(Some(Outcome::Later(Box::pin(step))))
    }
}
