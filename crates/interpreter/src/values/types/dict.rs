//! `dict`, and its kin of `collections`.

use std::cell::RefCell;
use std::rc::Rc;

use crate::values::host::{Iteration, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::types::key::{self, Key, Keyed};
use crate::values::types::table::Table;
use crate::values::types::{Items, Type, trash};
use crate::values::value::Value;

/// Bytes charged for one entry: its slots, its place in the index, and the small objects in it.
const ENTRY: u64 = 160;
/// Bytes charged for a dict with no entries.
const EMPTY: u64 = 256;
/// Bytes charged more for an entry that is found by its hash as well.
pub(crate) const HASHED: u64 = 160;

fn bytes(entries: usize) -> u64 {
    EMPTY + ENTRY * entries as u64
}

/// A `dict`.
pub struct Dict {
    table: RefCell<Table<Value>>,
    charge: Charge,
    kind: Kind,
}

/// What a missing key does, and what the type is called.
pub enum Kind {
    Plain,
    Ordered,
    Counter,
    /// With the `default_factory`.
    Default(RefCell<Value>),
}

impl Dict {
    /// Makes an empty dict.
    pub fn new() -> Self {
        Self::of_kind(Kind::Plain)
    }

    /// Makes an empty dict of a kind.
    pub fn of_kind(kind: Kind) -> Self {
        Self::holding(Table::new(), kind)
    }

    fn holding(table: Table<Value>, kind: Kind) -> Self {
        let charge = Charge::of(bytes(table.len()));
        Self { table: RefCell::new(table), charge, kind }
    }

    /// Makes a dict with string keys.
    pub fn from_strings<K: Into<Rc<str>>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self::holding(Self::table_of(pairs), Kind::Plain)
    }

    fn table_of<K: Into<Rc<str>>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Table<Value> {
        let mut table = Table::new();
        for (name, value) in pairs {
            let name = name.into();
            table.insert(Key::Str(Rc::clone(&name)), Value::Str(name), value);
        }
        table
    }

    /// Makes an `OrderedDict` with string keys.
    pub fn ordered<K: Into<Rc<str>>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self::holding(Self::table_of(pairs), Kind::Ordered)
    }

    /// Makes a dict of pairs whose keys need no user code.
    ///
    /// # Errors
    /// `TypeError` for a key that cannot be hashed, or only by user code.
    pub fn from_pairs(machine: &Machine, pairs: impl IntoIterator<Item = (Value, Value)>) -> Result<Self, Raise> {
        let mut table = Table::new();
        for (original, value) in pairs {
            let Keyed::Now(key) = Key::of(machine, &original)? else { return Err(key::unhashable(&original)) };
            table.insert(key, original, value);
        }
        Ok(Self::holding(table, Kind::Plain))
    }

    /// Returns the kind.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Returns the type.
    pub fn type_of(&self) -> Type {
        match self.kind {
            Kind::Plain => Type::Dict,
            Kind::Ordered => Type::OrderedDict,
            Kind::Counter => Type::Counter,
            Kind::Default(_) => Type::DefaultDict,
        }
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.table.borrow().len()
    }

    /// Says whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the value under a key.
    pub fn get(&self, key: &Key) -> Option<Value> {
        self.table.borrow().get(key).map(|entry| entry.value.clone())
    }

    /// Returns the value under a string.
    pub fn get_string(&self, name: &str) -> Option<Value> {
        self.get(&Key::string(name))
    }

    /// Puts a value under a string; [`Dict::cover`] charges for it.
    pub(crate) fn set_string(&self, name: Rc<str>, value: Value) {
        let replaced = self.table.borrow_mut().insert(Key::Str(Rc::clone(&name)), Value::Str(name), value);
        drop(replaced);
    }

    /// Removes the value under a string.
    pub(crate) fn remove_string(&self, name: &str) -> Option<Value> {
        self.remove(&Key::string(name)).map(|(_, value)| value)
    }

    /// Charges for the dict as it is now.
    ///
    /// # Errors
    /// Memory is spent.
    pub(crate) fn cover(&self, machine: &Machine) -> Result<(), Raise> {
        self.charge.cover(machine, ENTRY * self.len() as u64)
    }

    /// Says whether a key is there.
    pub fn contains(&self, key: &Key) -> bool {
        self.table.borrow().contains(key)
    }

    /// Inserts or replaces.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn insert(&self, machine: &Machine, key: Key, original: Value, value: Value) -> Result<(), Raise> {
        let entries = self.len() + 1;
        let hashed = if self.table.borrow().knows_hashes() { HASHED * entries as u64 } else { 0 };
        self.charge.cover(machine, bytes(entries) + hashed)?;
        let replaced = self.table.borrow_mut().insert(key, original, value);
        drop(replaced);
        Ok(())
    }

    /// Removes an entry; returns its key and value.
    pub fn remove(&self, key: &Key) -> Option<(Value, Value)> {
        let entry = self.table.borrow_mut().remove(key)?;
        Some((entry.original, entry.value))
    }

    /// Removes all entries.
    pub fn clear(&self) {
        let entries = self.table.take();
        drop(entries);
    }

    /// Returns keys and values in order.
    pub fn entries(&self) -> Items<(Value, Value)> {
        self.table.borrow().iter().map(|entry| (entry.original.clone(), entry.value.clone())).collect()
    }

    /// Returns keys as the table knows them, with the keys and values, in order.
    pub fn keyed_entries(&self) -> Items<(Key, Value, Value)> {
        let table = self.table.borrow();
        table.iter().map(|entry| (entry.key.clone(), entry.original.clone(), entry.value.clone())).collect()
    }

    /// Returns the keys in order.
    pub fn keys(&self) -> Items {
        self.table.borrow().iter().map(|entry| entry.original.clone()).collect()
    }

    /// Returns the values in order.
    pub fn values(&self) -> Items {
        self.table.borrow().iter().map(|entry| entry.value.clone()).collect()
    }

    /// Copies keys and values into a dict of the same kind.
    ///
    /// # Errors
    /// Memory or fuel is spent.
    pub fn copy(&self, machine: &Machine) -> Result<Self, Raise> {
        machine.charge_fuel(self.len() as u64 / 4)?;
        let copy = Self::of_kind(match &self.kind {
            Kind::Plain => Kind::Plain,
            Kind::Ordered => Kind::Ordered,
            Kind::Counter => Kind::Counter,
            Kind::Default(factory) => Kind::Default(RefCell::new(factory.borrow().clone())),
        });
        let hashed = if self.table.borrow().knows_hashes() { HASHED * self.len() as u64 } else { 0 };
        copy.charge.cover(machine, bytes(self.len()) + hashed)?;
        *copy.table.borrow_mut() = self.table.borrow().clone();
        Ok(copy)
    }

    /// Puts an entry last, or first; false where there is none.
    pub fn move_to_end(&self, key: &Key, last: bool) -> bool {
        let found = self.contains(key);
        self.table.borrow_mut().move_to_end(key, last);
        found
    }

    /// Returns the first entry, with its key as the table knows it.
    pub(crate) fn first(&self) -> Option<(Key, Value, Value)> {
        let mut table = self.table.borrow_mut();
        let (_, entry) = table.after(0)?;
        Some((entry.key.clone(), entry.original.clone(), entry.value.clone()))
    }

    /// Returns the key of the last entry, as the table knows it.
    pub(crate) fn last(&self) -> Option<Key> {
        self.table.borrow_mut().last().map(|entry| entry.key.clone())
    }

    /// Returns the entries whose keys have this hash.
    ///
    /// # Errors
    /// Memory or fuel is spent.
    pub(crate) fn candidates(&self, machine: &Machine, hash: i64) -> Result<Vec<(Key, Value)>, Raise> {
        if !self.table.borrow().knows_hashes() {
            machine.charge_fuel(self.len() as u64)?;
            self.charge.cover(machine, bytes(self.len()) + HASHED * self.len() as u64)?;
        }
        Ok(self.table.borrow_mut().candidates(hash))
    }

    /// Says whether user code must tell whether a key is here.
    pub(crate) fn may_equal(&self, key: &Key) -> bool {
        self.table.borrow().may_equal(key)
    }
}

impl Default for Dict {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Dict {
    fn drop(&mut self) {
        for entry in self.table.get_mut().take() {
            trash::bury([entry.original, entry.value]);
        }
        if let Kind::Default(factory) = &mut self.kind {
            trash::bury([std::mem::replace(factory.get_mut(), Value::None)]);
        }
    }
}

/// The state of an iteration over a dict.
pub struct DictIteration {
    dict: Rc<Dict>,
    part: Part,
    position: usize,
    length: usize,
    left: usize,
}

impl DictIteration {
    /// Starts before the first entry.
    pub fn new(dict: Rc<Dict>, part: Part) -> Self {
        let length = dict.len();
        Self { dict, part, position: 0, length, left: length }
    }
}

impl Iteration for DictIteration {
    fn next(&mut self, _: &Machine) -> Result<Option<Outcome>, Raise> {
        if self.dict.len() != self.length {
            return Err(Raise::runtime_error("dictionary changed size during iteration"));
        }
        let mut table = self.dict.table.borrow_mut();
        let Some((next, entry)) = table.after(self.position) else { return Ok(None) };
        let Some(left) = self.left.checked_sub(1) else {
            return Err(Raise::runtime_error("dictionary keys changed during iteration"));
        };
        (self.position, self.left) = (next, left);
        Ok(Some(self.part.of(&entry.original, &entry.value).into()))
    }
}

/// What of each entry a view or iteration shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Key,
    Value,
    Item,
}

impl Part {
    /// Picks the part of an entry.
    pub fn of(self, key: &Value, value: &Value) -> Value {
        match self {
            Self::Key => key.clone(),
            Self::Value => value.clone(),
            Self::Item => Value::tuple(vec![key.clone(), value.clone()]),
        }
    }

    /// Returns the name of the type of a dict's view.
    pub(crate) fn name(self, dict: &Dict) -> &'static str {
        match (dict.kind(), self) {
            (Kind::Ordered, Self::Key) => "odict_keys",
            (Kind::Ordered, Self::Value) => "odict_values",
            (Kind::Ordered, Self::Item) => "odict_items",
            (_, Self::Key) => "dict_keys",
            (_, Self::Value) => "dict_values",
            (_, Self::Item) => "dict_items",
        }
    }

    /// Returns the name of the iterator's type.
    pub fn iterator_name(self) -> &'static str {
        match self {
            Self::Key => "dict_keyiterator",
            Self::Value => "dict_valueiterator",
            Self::Item => "dict_itemiterator",
        }
    }
}
