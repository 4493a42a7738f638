//! `list`.

use std::cell::{Ref, RefCell};

use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::types::{Items, sequence, trash};
use crate::values::value::Value;

/// A `list`.
pub struct List {
    items: RefCell<Vec<Value>>,
    charge: Charge,
}

impl List {
    /// Holds these elements.
    pub fn new(items: Vec<Value>) -> Self {
        let charge = Charge::of(sequence::bytes(items.len()));
        Self { items: RefCell::new(items), charge }
    }

    /// Holds these elements, where there is memory for them.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn charged(machine: &Machine, items: Vec<Value>) -> Result<Self, Raise> {
        sequence::affordable(machine, items.len())?;
        Ok(Self::new(items))
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.items.borrow().len()
    }

    /// Says whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns an element.
    pub fn get(&self, position: usize) -> Option<Value> {
        self.items.borrow().get(position).cloned()
    }

    /// Returns all elements.
    pub fn to_vec(&self) -> Items {
        self.items.borrow().clone().into()
    }

    /// Returns the elements at these positions.
    pub fn select(&self, positions: impl Iterator<Item = usize>) -> Vec<Value> {
        let items = self.items.borrow();
        positions.filter_map(|position| items.get(position).cloned()).collect()
    }

    /// Looks at the elements. Nothing that may change the list may run meanwhile.
    pub(crate) fn items(&self) -> Ref<'_, Vec<Value>> {
        self.items.borrow()
    }

    /// Appends an element.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn push(&self, machine: &Machine, value: Value) -> Result<(), Raise> {
        self.charge.cover(machine, sequence::bytes(self.len() + 1))?;
        self.items.borrow_mut().push(value);
        Ok(())
    }

    /// Replaces an element; returns false where there is none.
    pub fn set(&self, position: usize, value: Value) -> bool {
        let old = match self.items.borrow_mut().get_mut(position) {
            Some(slot) => std::mem::replace(slot, value),
            None => return false,
        };
        drop(old);
        true
    }

    /// Replaces a range of elements.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn splice(
        &self,
        machine: &Machine,
        start: usize,
        stop: usize,
        with: impl Into<Vec<Value>>,
    ) -> Result<(), Raise> {
        let with = with.into();
        let length = self.len();
        let (start, stop) = (start.min(length), stop.clamp(start.min(length), length));
        machine.charge_fuel((length - stop + with.len()) as u64 / 16)?;
        self.charge.cover(machine, sequence::bytes(length - (stop - start) + with.len()))?;
        let removed: Vec<Value> = self.items.borrow_mut().splice(start..stop, with).collect();
        drop(removed);
        Ok(())
    }

    /// Removes and returns an element.
    pub fn remove(&self, position: usize) -> Option<Value> {
        let mut items = self.items.borrow_mut();
        (position < items.len()).then(|| items.remove(position))
    }

    /// Replaces all elements and returns the old ones.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn replace(&self, machine: &Machine, items: Vec<Value>) -> Result<Items, Raise> {
        self.charge.cover(machine, sequence::bytes(items.len()))?;
        Ok(std::mem::replace(&mut *self.items.borrow_mut(), items).into())
    }

    /// Reverses the order.
    pub fn reverse(&self) {
        self.items.borrow_mut().reverse();
    }
}

impl Drop for List {
    fn drop(&mut self) {
        trash::bury(std::mem::take(self.items.get_mut()));
    }
}
