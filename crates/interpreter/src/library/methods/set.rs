//! `set` and `frozenset`.

use std::cell::RefCell;
use std::rc::Rc;

use crate::evaluation::operators::{self, later, with_items};
use crate::values::host::{Args, HostResult, Iteration, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::types::key::{self, Key, Keyed};
use crate::values::types::table::Table;
use crate::values::types::{Items, MethodFn, Type, ledger, trash};
use crate::values::value::Value;

/// Bytes charged for one element.
const ENTRY: u64 = 136;
/// Bytes charged for a set with no elements.
const EMPTY: u64 = 256;

fn bytes(entries: usize) -> u64 {
    EMPTY + ENTRY * entries as u64
}

/// A `set` or `frozenset`.
pub struct Set {
    table: RefCell<Table<()>>,
    charge: Charge,
    frozen: bool,
}

/// Methods of both by name.
pub const METHODS: &[(&str, MethodFn)] = &[
    ("copy", copy),
    ("difference", |machine, receiver, args| combine(machine, receiver, args, "difference")),
    ("intersection", |machine, receiver, args| combine(machine, receiver, args, "intersection")),
    ("isdisjoint", |machine, receiver, args| relate(machine, receiver, args, "isdisjoint")),
    ("issubset", |machine, receiver, args| relate(machine, receiver, args, "issubset")),
    ("issuperset", |machine, receiver, args| relate(machine, receiver, args, "issuperset")),
    ("symmetric_difference", |machine, receiver, args| relate(machine, receiver, args, "symmetric_difference")),
    ("union", |machine, receiver, args| combine(machine, receiver, args, "union")),
];

/// Methods of `set` alone.
pub const MUTABLE_METHODS: &[(&str, MethodFn)] = &[
    ("add", add),
    ("clear", clear),
    ("difference_update", |machine, receiver, args| update(machine, receiver, args, "difference")),
    ("discard", discard),
    ("intersection_update", |machine, receiver, args| update(machine, receiver, args, "intersection")),
    ("pop", pop),
    ("remove", remove),
    ("symmetric_difference_update", |machine, receiver, args| update(machine, receiver, args, "symmetric_difference")),
    ("update", |machine, receiver, args| update(machine, receiver, args, "union")),
];

impl Set {
    /// Makes an empty set.
    pub fn new(frozen: bool) -> Self {
        Self { table: RefCell::default(), charge: Charge::of(bytes(0)), frozen }
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

    /// Returns the elements in order of insertion.
    pub fn items(&self) -> Items {
        self.table.borrow().iter().map(|entry| entry.original.clone()).collect()
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
        copy.charge.cover(machine, bytes(self.len()))?;
        *copy.table.borrow_mut() = self.table.borrow().clone();
        Ok(copy)
    }

    async fn resolve(&self, machine: &Machine, value: &Value) -> Result<Key, Raise> {
        key::resolve(machine, value, |hash| self.table.borrow().candidates(hash)).await
    }

    fn replace(&self, machine: &Machine, other: &Self) -> Result<(), Raise> {
        self.charge.cover(machine, bytes(other.len()))?;
        let table = other.table.borrow().clone();
        drop(self.table.replace(table));
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
    position: usize,
    length: usize,
}

impl SetIteration {
    /// Starts before the first element.
    pub fn new(set: Rc<Set>) -> Self {
        let length = set.len();
        Self { set, position: 0, length }
    }
}

impl Iteration for SetIteration {
    fn next(&mut self, _: &Machine) -> Result<Option<Outcome>, Raise> {
        if self.set.len() != self.length {
            return Err(Raise::runtime_error("Set changed size during iteration"));
        }
        let mut table = self.set.table.borrow_mut();
        let Some((next, entry)) = table.after(self.position) else { return Ok(None) };
        self.position = next;
        Ok(Some(entry.original.clone().into()))
    }
}

/// Makes a set of elements.
///
/// # Errors
/// `TypeError` for what cannot be hashed; what user code raises; memory is spent.
pub fn build(machine: &Machine, items: impl Into<Items>, frozen: bool) -> HostResult {
    let set = Rc::new(Set::new(frozen));
    let added = add_all(machine, Rc::clone(&set), items.into());
    operators::then(machine, added, move |_, _| Ok(Value::Set(set).into()))
}

/// Goes on with the key of a value, at once where no user code must be asked. A `set` is looked for as a frozen one.
fn with_key(
    machine: &Machine,
    set: Rc<Set>,
    value: Value,
    go_on: impl FnOnce(&Machine, &Rc<Set>, Key, Value) -> HostResult + 'static,
) -> HostResult {
    match Key::of(machine, &value)? {
        Keyed::Now(key) => go_on(machine, &set, key, value),
        Keyed::Ask => {
            let machine = machine.clone();
            later(async move {
                let key = set.resolve(&machine, &value).await?;
                let outcome = go_on(&machine, &set, key, value)?;
                machine.settle(outcome).await
            })
        }
    }
}

/// `element in set`.
///
/// # Errors
/// `TypeError` for what cannot be hashed.
pub fn contains(machine: &Machine, set: Rc<Set>, element: Value) -> HostResult {
    let element = match &element {
        Value::Set(inner) if !inner.is_frozen() => Value::Set(Rc::new(inner.copy(machine, true)?)),
        _ => element,
    };
    with_key(machine, set, element, |_, set, key, _| Ok(Value::Bool(set.contains(&key)).into()))
}

/// A set operation by its method's name, on any iterables. The result of an operation on a `frozenset` is one.
///
/// # Errors
/// `TypeError` for what cannot be hashed; what user code raises.
pub fn operate(machine: &Machine, method: &'static str, left: Value, others: Vec<Value>) -> HostResult {
    let frozen = matches!(&left, Value::Set(set) if set.is_frozen());
    let machine = machine.clone();
    let work = {
        let machine = machine.clone();
        move |left: Rc<Set>, other: Rc<Set>| operate_sets(&machine, method, &left, &other, frozen)
    };
    // All sets of builtin elements: no need to wait for anything.
    if let Value::Set(left) = &left
        && let [Value::Set(other)] = &others[..]
        && !has_user_keys(left)
        && !has_user_keys(other)
    {
        return Ok(work(Rc::clone(left), Rc::clone(other))?.into());
    }
    later(async move {
        let mut left = as_set(&machine, left, None).await?;
        if others.is_empty() {
            return Ok(Value::Set(Rc::new(left.copy(&machine, frozen)?)));
        }
        let mut result = Value::None;
        for other in others {
            let other = as_set(&machine, other, Some(&left)).await?;
            result = work(Rc::clone(&left), other)?;
            if let Value::Set(set) = &result {
                left = Rc::clone(set);
            }
        }
        Ok(result)
    })
}

/// Compares two iterables as sets.
///
/// # Errors
/// As [`operate`].
pub fn compare_items(machine: &Machine, operator: Operator, left: Value, right: Value) -> HostResult {
    let machine = machine.clone();
    later(async move {
        let left = as_set(&machine, left, None).await?;
        let right = as_set(&machine, right, Some(&left)).await?;
        Ok(Value::Bool(compare(&machine, operator, &left, &right)?))
    })
}

/// Compares two sets: `<=` is inclusion.
///
/// # Errors
/// Fuel is spent.
pub fn compare(machine: &Machine, operator: Operator, left: &Set, right: &Set) -> Result<bool, Raise> {
    let within = |inner: &Set, outer: &Set| -> Result<bool, Raise> {
        if inner.len() > outer.len() {
            return Ok(false);
        }
        machine.charge_fuel(inner.len() as u64 / 4)?;
        for entry in inner.table.borrow().iter() {
            ledger::scanned(machine, entry.key.weight())?;
            if !outer.contains(&entry.key) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    Ok(match operator {
        Operator::Equal => left.len() == right.len() && within(left, right)?,
        Operator::NotEqual => left.len() != right.len() || !within(left, right)?,
        Operator::LessEqual => within(left, right)?,
        Operator::Less => left.len() < right.len() && within(left, right)?,
        Operator::GreaterEqual => within(right, left)?,
        Operator::Greater => right.len() < left.len() && within(right, left)?,
        _ => false,
    })
}

/// Says whether elements of a set have the user's own hash: then keys of two sets only match once resolved.
pub fn has_user_keys(set: &Set) -> bool {
    set.table.borrow().iter().any(|entry| matches!(entry.key, Key::User(..)))
}

/// Makes a set of any iterable, its user keys resolved against those of another.
async fn as_set(machine: &Machine, value: Value, against: Option<&Rc<Set>>) -> Result<Rc<Set>, Raise> {
    let items = match &value {
        Value::Set(set) if against.is_none() || !has_user_keys(set) => return Ok(Rc::clone(set)),
        value => operators::collect(machine, value).await?,
    };
    let set = Rc::new(Set::new(false));
    for item in items {
        machine.charge_fuel(1)?;
        let mut key = set.resolve(machine, &item).await?;
        if let (Key::User(..), Some(against)) = (&key, against) {
            let known = against.resolve(machine, &item).await?;
            if against.contains(&known) {
                key = known;
            }
        }
        set.insert(machine, key, item)?;
    }
    Ok(set)
}

fn operate_sets(
    machine: &Machine,
    method: &str,
    left: &Rc<Set>,
    other: &Rc<Set>,
    frozen: bool,
) -> Result<Value, Raise> {
    machine.charge_fuel((left.len() + other.len()) as u64 / 2)?;
    let result = match method {
        "issubset" => return Ok(Value::Bool(compare(machine, Operator::LessEqual, left, other)?)),
        "issuperset" => return Ok(Value::Bool(compare(machine, Operator::GreaterEqual, left, other)?)),
        "isdisjoint" => {
            return Ok(Value::Bool(!left.table.borrow().iter().any(|entry| other.contains(&entry.key))));
        }
        "union" => left.copy(machine, frozen)?,
        _ => Set::new(frozen),
    };
    let keep = |from: &Set, wanted: &dyn Fn(&Key) -> bool| -> Result<(), Raise> {
        for entry in from.table.borrow().iter() {
            ledger::scanned(machine, 2 * entry.key.weight())?;
            if !wanted(&entry.key) {
                continue;
            }
            result.insert(machine, entry.key.clone(), entry.original.clone())?;
        }
        Ok(())
    };
    match method {
        "union" => keep(other, &|_| true)?,
        "intersection" => keep(left, &|key| other.contains(key))?,
        "difference" => keep(left, &|key| !other.contains(key))?,
        _ => {
            keep(left, &|key| !other.contains(key))?;
            keep(other, &|key| !left.contains(key))?;
        }
    }
    Ok(Value::Set(Rc::new(result)))
}

fn add(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    with_key(machine, of(receiver, "add")?, args.one("set.add")?, |machine, set, key, original| {
        set.insert(machine, key, original)?;
        Ok(Value::None.into())
    })
}

fn clear(_: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("set.clear")?;
    drop(of(receiver, "clear")?.table.take());
    Ok(Value::None.into())
}

fn copy(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("set.copy")?;
    let set = of(receiver, "copy")?;
    if set.is_frozen() {
        return Ok(Value::Set(set).into());
    }
    Ok(Value::Set(Rc::new(set.copy(machine, false)?)).into())
}

fn discard(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    with_key(machine, of(receiver, "discard")?, args.one("set.discard")?, |_, set, key, _| {
        drop(set.remove(&key));
        Ok(Value::None.into())
    })
}

fn remove(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    with_key(machine, of(receiver, "remove")?, args.one("set.remove")?, |_, set, key, original| {
        match set.remove(&key) {
            Some(_) => Ok(Value::None.into()),
            None => Err(Raise::key_error(original)),
        }
    })
}

fn pop(_: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("set.pop")?;
    let set = of(receiver, "pop")?;
    let first = set.table.borrow_mut().after(0).map(|(_, entry)| entry.key.clone());
    match first.and_then(|key| set.remove(&key)) {
        Some(value) => Ok(value.into()),
        None => Err(Raise::key_error("pop from an empty set".into())),
    }
}

fn combine(machine: &Machine, receiver: &Value, args: Args, method: &'static str) -> HostResult {
    args.no_keywords(&format!("set.{method}"))?;
    operate(machine, method, Value::Set(of(receiver, method)?), args.positional)
}

fn relate(machine: &Machine, receiver: &Value, args: Args, method: &'static str) -> HostResult {
    let other = args.one(&format!("set.{method}"))?;
    operate(machine, method, Value::Set(of(receiver, method)?), vec![other])
}

fn update(machine: &Machine, receiver: &Value, args: Args, method: &'static str) -> HostResult {
    let set = of(receiver, "update")?;
    args.no_keywords("set.update")?;
    if method == "union"
        && let [other] = &args.positional[..]
    {
        return with_items(machine, other.clone(), move |machine, items| add_all(machine, set, items));
    }
    let result = operate(machine, method, Value::Set(Rc::clone(&set)), args.positional);
    operators::then(machine, result, move |machine, result| {
        if let Value::Set(result) = result {
            set.replace(machine, &result)?;
        }
        Ok(Value::None.into())
    })
}

fn add_all(machine: &Machine, set: Rc<Set>, items: Items) -> HostResult {
    let mut waiting = items.into_iter();
    while let Some(item) = waiting.next() {
        machine.charge_fuel(1)?;
        match Key::of(machine, &item)? {
            Keyed::Now(key) => set.insert(machine, key, item)?,
            Keyed::Ask => {
                let machine = machine.clone();
                return later(async move {
                    for item in std::iter::once(item).chain(waiting) {
                        machine.charge_fuel(1)?;
                        let key = set.resolve(&machine, &item).await?;
                        set.insert(&machine, key, item)?;
                    }
                    Ok(Value::None)
                });
            }
        }
    }
    Ok(Value::None.into())
}

fn of(receiver: &Value, method: &str) -> Result<Rc<Set>, Raise> {
    match operators::plain(receiver) {
        Value::Set(set) => Ok(set),
        _ => Err(crate::values::types::wrong_receiver(method, Type::Set, receiver)),
    }
}
