//! `set` and `frozenset`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::values::host::{Iteration, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::types::key::Key;
use crate::values::types::table::Table;
use crate::values::types::{Items, order, trash};
use crate::values::value::Value;

/// Bytes charged for one element.
const ENTRY: u64 = 136;

/// Bytes charged for a set with no elements.
const EMPTY: u64 = 256;

/// Elements of sets whose first one is looked for each time that one is taken out.
const SMALL: usize = 1024;

fn bytes(entries: usize) -> u64 {
    EMPTY + ENTRY * entries as u64
}

/// A `set` or `frozenset`.
pub struct Set {
    table: RefCell<Table<()>>,
    /// Places of CPython's table before the first element came: see [`order`].
    places: Cell<usize>,
    charge: Charge,
    frozen: bool,
}

impl Set {
    /// Makes an empty set.
    pub fn new(frozen: bool) -> Self {
        Self { table: RefCell::default(), places: Cell::new(0), charge: Charge::of(bytes(0)), frozen }
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
        self.charge.cover(machine, bytes(self.len() + 1))?;
        self.table.borrow_mut().insert(key, original, ());
        Ok(())
    }

    /// Removes an element.
    pub fn remove(&self, key: &Key) -> Option<Value> {
        let entry = self.table.borrow_mut().remove(key)?;
        Some(entry.original)
    }

    /// Returns the elements in the order in which they are gone through: whole numbers in CPython's, which depends on their
    /// values, and others, whose order is by chance there, as they were inserted. Elements that were taken out leave no
    /// gaps here, as they do in CPython's table, so that the others may then be gone through in another order than there.
    pub fn items(&self) -> Items {
        self.entries().into_iter().map(|(_, value)| value).collect()
    }

    /// Returns the elements with their keys, in that order.
    pub(crate) fn entries(&self) -> Vec<(Key, Value)> {
        let laid = self.laid();
        let table = self.table.borrow();
        let inserted: Vec<_> = table.iter().map(|entry| (entry.key.clone(), entry.original.clone())).collect();
        match laid {
            Some((order, _)) => order.into_iter().filter_map(|at| inserted.get(at).cloned()).collect(),
            None => inserted,
        }
    }

    /// Returns how whole numbers lie in CPython's table.
    fn laid(&self) -> Option<(Vec<usize>, usize)> {
        order::of(self.table.borrow().iter().map(|entry| &entry.key), self.places.get())
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
        if let (Some((_, own)), Some((_, others))) = (self.laid(), other.laid()) {
            if let Some(places) = order::before_merging(self.len(), other.len(), own) {
                let mut table = Table::new();
                for (key, original) in self.entries() {
                    table.insert(key, original, ());
                }
                *self.table.borrow_mut() = table;
                self.places.set(places);
            }
            let now = self.laid().map(|(_, places)| places);
            if self.is_empty() && now == Some(others) {
                return self.replace(machine, other);
            }
        }
        for (key, original) in other.entries() {
            self.insert(machine, key, original)?;
        }
        Ok(())
    }

    /// Says whether elements of a set have the user's own hash: then keys of two sets only match once resolved.
    pub fn has_user_keys(&self) -> bool {
        self.table.borrow().iter().any(|entry| matches!(entry.key, Key::User(..)))
    }

    /// Goes through the elements with their keys, which must not be changed meanwhile.
    pub(crate) fn table(&self) -> std::cell::Ref<'_, Table<()>> {
        self.table.borrow()
    }

    /// Takes the first element out: of a large set, the one that was inserted first.
    pub(crate) fn pop(&self) -> Option<Value> {
        let first = match self.len() {
            0..=SMALL => self.laid().and_then(|(order, _)| order.first().copied()),
            _ => None,
        };
        let key = match first {
            Some(first) => self.table.borrow().iter().nth(first).map(|entry| entry.key.clone()),
            None => self.table.borrow_mut().after(0).map(|(_, entry)| entry.key.clone()),
        };
        key.and_then(|key| self.remove(&key))
    }

    /// Takes all elements out.
    pub(crate) fn clear(&self) {
        drop(self.table.take());
        self.places.set(0);
    }

    /// Returns the elements whose keys have this hash of the user's own.
    pub(crate) fn candidates(&self, hash: i64) -> Vec<(Key, Value)> {
        self.table.borrow().candidates(hash)
    }

    pub(crate) fn replace(&self, machine: &Machine, other: &Self) -> Result<(), Raise> {
        self.charge.cover(machine, bytes(other.len()))?;
        let table = other.table.borrow().clone();
        drop(self.table.replace(table));
        self.places.set(other.places.get());
        Ok(())
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
    /// The elements, where their order is not that of their insertion.
    ordered: Option<std::vec::IntoIter<Value>>,
    position: usize,
    length: usize,
}

impl SetIteration {
    /// Starts before the first element.
    pub fn new(set: Rc<Set>) -> Self {
        let length = set.len();
        let is_ordered = set.laid().is_some();
        let ordered = is_ordered.then(|| set.items().into_vec().into_iter());
        Self { set, ordered, position: 0, length }
    }
}

impl Iteration for SetIteration {
    fn next(&mut self, _: &Machine) -> Result<Option<Outcome>, Raise> {
        if self.set.len() != self.length {
            return Err(Raise::runtime_error("Set changed size during iteration"));
        }
        if let Some(ordered) = &mut self.ordered {
            return Ok(ordered.next().map(Outcome::Ready));
        }
        let mut table = self.set.table.borrow_mut();
        let Some((next, entry)) = table.after(self.position) else { return Ok(None) };
        self.position = next;
        Ok(Some(entry.original.clone().into()))
    }
}
