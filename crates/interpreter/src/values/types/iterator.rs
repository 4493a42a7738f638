//! Iterators: over builtin containers, over host objects, and generators.

use std::cell::RefCell;
use std::rc::Rc;

use crate::values::generator::Generator;
use crate::values::host::{Iteration, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::types::{Made, trash};

/// One iterator object, as `iter(x)` returns it.
pub struct Iterator {
    type_name: &'static str,
    source: Source,
    _charge: Charge,
}

/// Bytes charged for an iterator and its state.
const ITERATOR: u64 = 96;

enum Source {
    /// `None` once it has ended: an iterator that has ended stays ended.
    Native(RefCell<Option<Box<dyn Iteration>>>),
    Generator(Rc<Generator>),
}

impl Iterator {
    /// Wraps an iteration under the name that CPython gives its type: `list_iterator`.
    pub fn new(type_name: &'static str, iteration: impl Iteration + 'static) -> Self {
        Self::boxed(type_name, Box::new(iteration))
    }

    /// The same for an iteration that is boxed already.
    pub fn boxed(type_name: &'static str, iteration: Box<dyn Iteration>) -> Self {
        Self { type_name, source: Source::Native(RefCell::new(Some(iteration))), _charge: Charge::of(ITERATOR) }
    }

    /// Wraps a generator.
    pub fn generator(generator: Rc<Generator>) -> Self {
        Self { type_name: "generator", source: Source::Generator(generator), _charge: Charge::of(ITERATOR) }
    }

    /// Returns the name of its type.
    pub fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// Returns the generator, for `send`, `throw` and `close`.
    pub fn as_generator(&self) -> Option<&Rc<Generator>> {
        match &self.source {
            Source::Generator(generator) => Some(generator),
            Source::Native(_) => None,
        }
    }

    /// Returns what makes another that goes on as this one, where `repr` says that.
    pub fn made(&self) -> Option<Made> {
        match &self.source {
            Source::Native(steps) => steps.try_borrow().ok()?.as_ref()?.made(),
            Source::Generator(_) => None,
        }
    }

    /// Goes one step on; `None` at the end. An outcome that is not ready and raises `StopIteration` is the end too.
    ///
    /// # Errors
    /// What iterating raises.
    pub fn step(&self, machine: &Machine) -> Result<Option<Outcome>, Raise> {
        match &self.source {
            Source::Generator(generator) => generator.step(machine),
            Source::Native(steps) => {
                let Ok(mut steps) = steps.try_borrow_mut() else {
                    return Err(Raise::value_error("iterator already executing"));
                };
                let Some(iteration) = steps.as_mut() else { return Ok(None) };
                let next = machine.recurse(|| iteration.next(machine))?;
                if next.is_none() {
                    *steps = None;
                }
                Ok(next.map(|outcome| outcome.nested(machine)))
            }
        }
    }
}

impl Drop for Iterator {
    fn drop(&mut self) {
        if let Source::Native(steps) = &mut self.source
            && let Some(iteration) = steps.get_mut().take()
        {
            trash::bury_object(Box::new(iteration));
        }
    }
}
