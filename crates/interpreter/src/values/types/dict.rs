//! `dict`, and its kin of `collections`.

use std::cell::RefCell;
use std::rc::Rc;

use crate::evaluation::operators::{self, Iter, later};
use crate::evaluation::view::Part;
use crate::values::host::{Args, HostResult, Iteration, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::types::key::{self, Key, Keyed};
use crate::values::types::table::Table;
use crate::values::types::{Items, Type, trash};
use crate::values::value::Value;

pub use crate::library::methods::counter::{COUNTER_METHODS, ORDERED_METHODS, count};
pub use crate::library::methods::dict::{METHODS, fromkeys};

/// Bytes charged for one entry: its slots, its place in the index, and the small objects in it.
const ENTRY: u64 = 160;
/// Bytes charged for a dict with no entries.
const EMPTY: u64 = 256;

fn bytes(entries: usize) -> u64 {
    EMPTY + ENTRY * entries as u64
}

/// A `dict`.
pub struct Dict {
    pub(crate) table: RefCell<Table<Value>>,
    charge: Charge,
    pub(crate) kind: Kind,
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
        let mut table = Table::new();
        for (name, value) in pairs {
            let name = name.into();
            table.insert(Key::Str(Rc::clone(&name)), Value::Str(name), value);
        }
        Self::holding(table, Kind::Plain)
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
        self.charge.cover(machine, bytes(self.len() + 1))?;
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
        copy.charge.cover(machine, bytes(self.len()))?;
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

    /// Finds the key of a value, asking user code where that is needed.
    ///
    /// # Errors
    /// `TypeError` for what cannot be hashed; what user code raises.
    pub async fn resolve(&self, machine: &Machine, value: &Value) -> Result<Key, Raise> {
        key::resolve(machine, value, |hash| self.table.borrow().candidates(hash)).await
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

/// Goes on with the key of a value, at once where no user code must be asked.
///
/// # Errors
/// `TypeError` for what cannot be hashed.
pub fn with_key(
    machine: &Machine,
    dict: Rc<Dict>,
    value: Value,
    go_on: impl FnOnce(&Machine, &Rc<Dict>, Key, Value) -> HostResult + 'static,
) -> HostResult {
    match Key::of(machine, &value)? {
        Keyed::Now(key) => go_on(machine, &dict, key, value),
        Keyed::Ask => {
            let machine = machine.clone();
            later(async move {
                let key = dict.resolve(&machine, &value).await?;
                let outcome = go_on(&machine, &dict, key, value)?;
                machine.settle(outcome).await
            })
        }
    }
}

/// `dict[key]`.
///
/// # Errors
/// `KeyError`; `TypeError` for what cannot be hashed.
pub fn get_item(machine: &Machine, dict: Rc<Dict>, key: Value) -> HostResult {
    with_key(machine, dict, key, |machine, dict, key, original| match dict.get(&key) {
        Some(value) => Ok(value.into()),
        None => missing(machine, dict, key, original),
    })
}

/// What `dict[key]` does without such a key.
fn missing(machine: &Machine, dict: &Rc<Dict>, key: Key, original: Value) -> HostResult {
    match &dict.kind {
        Kind::Counter => Ok(Value::Int(0).into()),
        Kind::Default(factory) if !matches!(&*factory.borrow(), Value::None) => {
            let factory = factory.borrow().clone();
            let dict = Rc::clone(dict);
            let made = operators::call(machine, &factory, Args::default());
            operators::then(machine, made, move |machine, value| {
                dict.insert(machine, key, original, value.clone())?;
                Ok(value.into())
            })
        }
        _ => Err(Raise::key_error(original)),
    }
}

/// `dict[key] = value`.
///
/// # Errors
/// `TypeError` for what cannot be hashed; memory is spent.
pub fn set_item(machine: &Machine, dict: Rc<Dict>, key: Value, value: Value) -> HostResult {
    with_key(machine, dict, key, move |machine, dict, key, original| {
        dict.insert(machine, key, original, value)?;
        Ok(Value::None.into())
    })
}

/// `del dict[key]`.
///
/// # Errors
/// `KeyError`; `TypeError` for what cannot be hashed.
pub fn delete_item(machine: &Machine, dict: Rc<Dict>, key: Value) -> HostResult {
    with_key(machine, dict, key, |_, dict, key, original| match dict.remove(&key) {
        Some(_) => Ok(Value::None.into()),
        None => Err(Raise::key_error(original)),
    })
}

/// `key in dict`.
///
/// # Errors
/// `TypeError` for what cannot be hashed.
pub fn contains(machine: &Machine, dict: Rc<Dict>, key: Value) -> HostResult {
    with_key(machine, dict, key, |_, dict, key, _| Ok(Value::Bool(dict.contains(&key)).into()))
}

/// Puts pairs and keyword arguments into a dict, as `dict(…)` and `update` do: `source` is a mapping or an
/// iterable of pairs.
///
/// # Errors
/// As CPython for what is neither; what user code raises.
pub fn merge(machine: &Machine, dict: Rc<Dict>, source: Option<Value>, keyword: Vec<(Rc<str>, Value)>) -> HostResult {
    for_each_pair(machine, source, keyword, move |machine, key, value| set_item(machine, Rc::clone(&dict), key, value))
}

/// Runs `body` on each pair of a mapping or iterable of pairs, then on the keyword arguments.
pub(crate) fn for_each_pair(
    machine: &Machine,
    source: Option<Value>,
    keyword: Vec<(Rc<str>, Value)>,
    body: impl Fn(&Machine, Value, Value) -> HostResult + 'static,
) -> HostResult {
    let source = source.map(|source| operators::plain(&source));
    let known = match &source {
        None => Some(Items::from(Vec::new())),
        Some(Value::Dict(dict)) => Some(dict.entries()),
        Some(_) => None,
    };
    let keyword = keyword.into_iter().map(|(name, value)| (Value::Str(name), value));
    let mapped = known.is_some();
    let pairs: Items<(Value, Value)> = known.into_iter().flatten().chain(keyword).collect();
    let mut waiting = pairs.into_iter();
    if mapped {
        while let Some((key, value)) = waiting.next() {
            machine.charge_fuel(1)?;
            let outcome = body(machine, key, value)?;
            if !matches!(outcome, Outcome::Ready(_)) {
                let machine = machine.clone();
                return later(async move {
                    machine.settle(outcome).await?;
                    for (key, value) in waiting {
                        machine.charge_fuel(1)?;
                        let outcome = body(&machine, key, value)?;
                        machine.settle(outcome).await?;
                    }
                    Ok(Value::None)
                });
            }
        }
        return Ok(Value::None.into());
    }
    let machine = machine.clone();
    later(async move {
        if let Some(source) = source {
            match operators::attribute_if_any(&machine, &source, "keys").await? {
                Some(keys) => {
                    let keys = machine.call(&keys, Args::default()).await?;
                    let mut keys = Iter::of(&machine, &keys)?;
                    while let Some(key) = keys.next(&machine).await? {
                        machine.charge_fuel(1)?;
                        let found = operators::get_item(&machine, &source, &key)?;
                        let value = machine.settle(found).await?;
                        let outcome = body(&machine, key, value)?;
                        machine.settle(outcome).await?;
                    }
                }
                None => {
                    let mut elements = Iter::of(&machine, &source)?;
                    let mut position = 0;
                    while let Some(element) = elements.next(&machine).await? {
                        machine.charge_fuel(1)?;
                        let (key, value) = pair(&machine, &element, position).await?;
                        let outcome = body(&machine, key, value)?;
                        machine.settle(outcome).await?;
                        position += 1;
                    }
                }
            }
        }
        for (key, value) in waiting {
            let outcome = body(&machine, key, value)?;
            machine.settle(outcome).await?;
        }
        Ok(Value::None)
    })
}

async fn pair(machine: &Machine, element: &Value, position: usize) -> Result<(Value, Value), Raise> {
    let Ok(iter) = Iter::of(machine, element) else {
        return Err(Raise::type_error(format!(
            "cannot convert dictionary update sequence element #{position} to a sequence"
        )));
    };
    let items = iter.collect(machine).await?;
    let length = items.len();
    match <[Value; 2]>::try_from(items.into_vec()) {
        Ok([key, value]) => Ok((key, value)),
        Err(_) => Err(Raise::value_error(format!(
            "dictionary update sequence element #{position} has length {length}; 2 is required"
        ))),
    }
}

/// The state of an iteration over a dict.
pub struct DictIteration {
    dict: Rc<Dict>,
    part: Part,
    position: usize,
    length: usize,
}

impl DictIteration {
    /// Starts before the first entry.
    pub fn new(dict: Rc<Dict>, part: Part) -> Self {
        let length = dict.len();
        Self { dict, part, position: 0, length }
    }
}

impl Iteration for DictIteration {
    fn next(&mut self, _: &Machine) -> Result<Option<Outcome>, Raise> {
        if self.dict.len() != self.length {
            return Err(Raise::runtime_error("dictionary changed size during iteration"));
        }
        let mut table = self.dict.table.borrow_mut();
        let Some((next, entry)) = table.after(self.position) else { return Ok(None) };
        self.position = next;
        Ok(Some(self.part.of(&entry.original, &entry.value).into()))
    }
}
