//! `set` and `frozenset`.

use std::cell::RefCell;
use std::rc::Rc;

use crate::values::host::{Iteration, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::types::dict::HASHED;
use crate::values::types::key::Key;
use crate::values::types::layout::{Crowded, Layout};
use crate::values::types::table::{Entry, Table};
use crate::values::types::{Items, hash, trash};
use crate::values::value::Value;

/// Bytes charged for one element, and for a set with none, places of the layout apart.
const ENTRY: u64 = 136;
const EMPTY: u64 = 256;

/// Places that are passed by in one step.
const PASSED: usize = 64;

/// A `set` or `frozenset`.
pub struct Set {
    table: RefCell<Table<()>>,
    /// Where the elements lie in CPython's table, by their positions in this one; `None` once there has been one whose hash
    /// is another in each process.
    layout: RefCell<Option<Layout>>,
    charge: Charge,
    frozen: bool,
}

impl Set {
    /// Makes an empty set.
    pub fn new(frozen: bool) -> Self {
        let layout = RefCell::new(Some(Layout::default()));
        Self { table: RefCell::default(), layout, charge: Charge::of(EMPTY), frozen }
    }

    /// Says whether this is a `frozenset`.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.table.borrow().len()
    }

    /// Says whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says whether an element is there.
    pub fn contains(&self, key: &Key) -> bool {
        self.table.borrow().contains(key)
    }

    /// Adds an element.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn insert(&self, machine: &Machine, key: Key, original: Value) -> Result<(), Raise> {
        if self.contains(&key) {
            return Ok(());
        }
        self.cover(machine, self.len() + 1, Layout::bytes_with_one_more)?;
        let mut table = self.table.borrow_mut();
        if let Some(moved) = table.tighten() {
            self.lay(|layout| {
                layout.renumber(&moved);
                Ok(())
            });
        }
        let (hash, position) = (hash::of(&key), table.end());
        table.insert(key, original, ());
        self.lay(|layout| layout.put(hash.ok_or(Crowded)?, position));
        Ok(())
    }

    /// Removes an element.
    pub fn remove(&self, key: &Key) -> Option<Value> {
        let mut table = self.table.borrow_mut();
        let position = table.position(key)?;
        self.lay(|layout| {
            layout.take(hash::of(key).ok_or(Crowded)?, position);
            Ok(())
        });
        Some(table.remove(key)?.original)
    }

    /// Returns the elements in the order in which they are gone through: CPython's where their hashes are the same in every
    /// process, and else, where it is by chance there, as they were inserted.
    pub fn items(&self) -> Items {
        self.entries().into_iter().map(|(_, value)| value).collect()
    }

    /// Returns the elements with their keys, in that order.
    pub(crate) fn entries(&self) -> Vec<(Key, Value)> {
        let table = self.table.borrow();
        let copied = |entry: &Entry<()>| (entry.key.clone(), entry.original.clone());
        match &*self.layout.borrow() {
            Some(layout) => {
                let known = table.iter().map(|entry| Some((hash::of(&entry.key)?, table.position(&entry.key)?)));
                layout.numbers(known).into_iter().filter_map(|position| table.at(position)).map(copied).collect()
            }
            None => table.iter().map(copied).collect(),
        }
    }

    /// Returns the elements as the table knows them.
    pub fn keys(&self) -> Items<Key> {
        self.table.borrow().iter().map(|entry| entry.key.clone()).collect()
    }

    /// Copies the elements.
    ///
    /// # Errors
    /// Memory or fuel is spent.
    pub fn copy(&self, machine: &Machine, frozen: bool) -> Result<Self, Raise> {
        machine.charge_fuel(self.len() as u64 / 4)?;
        let copy = Self::new(frozen);
        copy.merge(machine, self)?;
        Ok(copy)
    }

    /// Adds the elements of another set, as CPython does where it knows that it is one: the table grows at once.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn merge(&self, machine: &Machine, other: &Self) -> Result<(), Raise> {
        if std::ptr::eq(self, other) || other.is_empty() {
            return Ok(());
        }
        self.expect(machine, other.len())?;
        let is_copied = match (&*self.layout.borrow(), &*other.layout.borrow()) {
            (Some(own), Some(others)) => others.is_copied_to(own),
            _ => false,
        };
        if is_copied {
            return self.replace(machine, other);
        }
        for (key, original) in other.entries() {
            self.insert(machine, key, original)?;
        }
        Ok(())
    }

    /// Makes room for so many more at once, as CPython does where it knows how many come.
    ///
    /// # Errors
    /// Memory is spent.
    pub(crate) fn expect(&self, machine: &Machine, others: usize) -> Result<(), Raise> {
        self.cover(machine, self.len(), |layout| layout.bytes_with(others))?;
        self.lay(|layout| layout.expect(others));
        Ok(())
    }

    /// What CPython does when another set was subtracted: see [`Layout::tidy`].
    pub(crate) fn tidy(&self) {
        self.lay(Layout::tidy);
    }

    /// Says whether elements of a set have the user's own hash: then keys of two sets only match once resolved.
    pub fn has_user_keys(&self) -> bool {
        self.table.borrow().iter().any(|entry| matches!(entry.key, Key::User(..)))
    }

    /// Goes through the elements with their keys, which must not be changed meanwhile.
    pub(crate) fn table(&self) -> std::cell::Ref<'_, Table<()>> {
        self.table.borrow()
    }

    /// Takes an element out: the one that CPython would, or the one that was inserted first.
    ///
    /// # Errors
    /// Fuel is spent.
    pub(crate) fn pop(&self, machine: &Machine) -> Result<Option<Value>, Raise> {
        let next = self.layout.borrow_mut().as_mut().map(Layout::next_to_pop);
        let key = match next {
            Some((passed, position)) => {
                machine.charge_fuel((passed / PASSED) as u64)?;
                position.and_then(|position| Some(self.table.borrow().at(position)?.key.clone()))
            }
            None => self.table.borrow_mut().after(0).map(|(_, entry)| entry.key.clone()),
        };
        Ok(key.and_then(|key| self.remove(&key)))
    }

    /// Takes all elements out.
    pub(crate) fn clear(&self) {
        drop(self.table.take());
        self.lie_as(Some(Layout::default()));
    }

    /// Returns the elements whose keys have this hash.
    ///
    /// # Errors
    /// Memory or fuel is spent.
    pub(crate) fn candidates(&self, machine: &Machine, hash: i64) -> Result<Vec<(Key, Value)>, Raise> {
        if !self.table.borrow().knows_hashes() {
            machine.charge_fuel(self.len() as u64)?;
            self.charge.cover(machine, EMPTY + (ENTRY + HASHED) * self.len() as u64)?;
        }
        Ok(self.table.borrow_mut().candidates(hash))
    }

    /// Says whether user code must tell whether an element is here.
    pub(crate) fn may_equal(&self, key: &Key) -> bool {
        self.table.borrow().may_equal(key)
    }

    /// Takes the elements of another set in the place of its own.
    ///
    /// # Errors
    /// Memory is spent.
    pub(crate) fn replace(&self, machine: &Machine, other: &Self) -> Result<(), Raise> {
        let laid = other.layout.borrow().clone();
        let places = laid.as_ref().map_or(0, Layout::bytes);
        self.charge.cover(machine, EMPTY + ENTRY * other.len() as u64 + places)?;
        let table = other.table.borrow().clone();
        drop(self.table.replace(table));
        self.lie_as(laid);
        Ok(())
    }

    fn lie_as(&self, laid: Option<Layout>) {
        let mut own = self.layout.borrow_mut();
        match (&mut *own, laid) {
            (Some(own), Some(laid)) => own.lie_as(laid),
            (own, laid) => *own = laid,
        }
    }

    /// Pays for so many elements and for what the places are going to take.
    fn cover(&self, machine: &Machine, elements: usize, places: impl Fn(&Layout) -> u64) -> Result<(), Raise> {
        let places = self.layout.borrow().as_ref().map_or(0, places);
        let hashed = if self.table.borrow().knows_hashes() { HASHED * elements as u64 } else { 0 };
        self.charge.cover(machine, EMPTY + ENTRY * elements as u64 + places + hashed)
    }

    /// Changes where elements lie. When that fails, nobody knows from then on.
    fn lay(&self, change: impl FnOnce(&mut Layout) -> Result<(), Crowded>) {
        let mut layout = self.layout.borrow_mut();
        if layout.as_mut().is_some_and(|known| change(known).is_err()) {
            *layout = None;
        }
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        trash::bury(self.table.get_mut().take().map(|entry| entry.original));
    }
}

/// The state of an iteration over a set.
pub struct SetIteration {
    set: Rc<Set>,
    /// A place of the layout, or a position in the table.
    next: usize,
    length: usize,
}

impl SetIteration {
    /// Starts before the first element.
    pub fn new(set: Rc<Set>) -> Self {
        let length = set.len();
        Self { set, next: 0, length }
    }
}

impl Iteration for SetIteration {
    fn next(&mut self, machine: &Machine) -> Result<Option<Outcome>, Raise> {
        if self.set.len() != self.length {
            return Err(Raise::runtime_error("Set changed size during iteration"));
        }
        let mut table = self.set.table.borrow_mut();
        let found = match &*self.set.layout.borrow() {
            Some(layout) => {
                let (next, number) = layout.after(self.next);
                (next, number.and_then(|number| Some(table.at(number)?.original.clone())))
            }
            None => match table.after(self.next) {
                Some((next, entry)) => (next, Some(entry.original.clone())),
                None => (self.next, None),
            },
        };
        let (next, element) = found;
        machine.charge_fuel((next.saturating_sub(self.next) / PASSED) as u64)?;
        self.next = next;
        Ok(element.map(Into::into))
    }
}
