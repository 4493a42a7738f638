//! What syntax does with sets: displays, operators, and keys that user code may have to find.

use std::rc::Rc;

use crate::evaluation::key;
use crate::evaluation::operators::{self, later};
use crate::values::host::{HostResult, Operator};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::key::{Key, Keyed};
use crate::values::types::{Items, Set, ledger};
use crate::values::value::Value;

/// Makes a set of elements.
///
/// # Errors
/// `TypeError` for what cannot be hashed; what user code raises; memory is spent.
pub fn build(machine: &Machine, items: impl Into<Items>, frozen: bool) -> HostResult {
    let set = Rc::new(Set::new(frozen));
    let added = add_all(machine, Rc::clone(&set), items.into());
    operators::then(machine, added, move |_, _| Ok(Value::Set(set).into()))
}

/// Makes the set of a display. One of three constants or more is a copy of one that CPython keeps.
///
/// # Errors
/// As [`build`].
pub fn display(machine: &Machine, items: Vec<Value>, constant: bool) -> HostResult {
    let built = build(machine, items, false);
    if !constant {
        return built;
    }
    operators::then(machine, built, |machine, built| {
        let Value::Set(first) = built else { return Ok(built.into()) };
        // It keeps one that is made again of the first.
        let kept = Set::new(true);
        for (key, original) in first.entries() {
            kept.insert(machine, key, original)?;
        }
        Ok(Value::Set(Rc::new(kept.copy(machine, false)?)).into())
    })
}

/// Goes on with the key of a value, at once where no user code must be asked. A `set` is looked for as a frozen one.
pub fn with_key(
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
                let key = resolve(&machine, &set, &value).await?;
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
        move |left: Rc<Set>, other: Rc<Set>, given: bool| {
            operate_sets(&machine, method, &left, Other { set: &other, given }, frozen)
        }
    };
    // All sets of builtin elements: no need to wait for anything.
    if let Value::Set(left) = &left
        && let [Value::Set(other)] = &others[..]
        && !left.has_user_keys()
        && !other.has_user_keys()
    {
        return Ok(work(Rc::clone(left), Rc::clone(other), true)?.into());
    }
    later(async move {
        let mut left = as_set(&machine, left, None).await?;
        if others.is_empty() {
            return Ok(Value::Set(Rc::new(left.copy(&machine, frozen)?)));
        }
        let mut result = Value::None;
        for other in others {
            let given = matches!(other, Value::Set(_));
            let other = as_set(&machine, other, Some(&left)).await?;
            result = work(Rc::clone(&left), other, given)?;
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
        for entry in inner.table().iter() {
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

/// Makes a set of any iterable, its user keys resolved against those of another.
async fn as_set(machine: &Machine, value: Value, against: Option<&Rc<Set>>) -> Result<Rc<Set>, Raise> {
    let items = match &value {
        Value::Set(set) if against.is_none() || !set.has_user_keys() => return Ok(Rc::clone(set)),
        value => operators::collect(machine, value).await?,
    };
    let set = Rc::new(Set::new(false));
    for item in items {
        machine.charge_fuel(1)?;
        let mut key = resolve(machine, &set, &item).await?;
        if let (Key::User(..), Some(against)) = (&key, against) {
            let known = resolve(machine, against, &item).await?;
            if against.contains(&known) {
                key = known;
            }
        }
        set.insert(machine, key, item)?;
    }
    Ok(set)
}

/// What a method is given: a set, or the set of an iterable that is none, which is gone through in its own order.
struct Other<'a> {
    set: &'a Set,
    given: bool,
}

impl Other<'_> {
    fn entries(&self) -> Vec<(Key, Value)> {
        match self.given {
            true => self.set.entries(),
            false => self.set.table().iter().map(|entry| (entry.key.clone(), entry.original.clone())).collect(),
        }
    }
}

fn operate_sets(machine: &Machine, method: &str, left: &Set, right: Other<'_>, frozen: bool) -> Result<Value, Raise> {
    let other = right.set;
    machine.charge_fuel((left.len() + other.len()) as u64 / 2)?;
    let result = match method {
        "issubset" => return Ok(Value::Bool(compare(machine, Operator::LessEqual, left, other)?)),
        "issuperset" => return Ok(Value::Bool(compare(machine, Operator::GreaterEqual, left, other)?)),
        "isdisjoint" => {
            return Ok(Value::Bool(!left.table().iter().any(|entry| other.contains(&entry.key))));
        }
        "union" => left.copy(machine, frozen)?,
        _ => Set::new(frozen),
    };
    let keep = |from: Vec<(Key, Value)>, wanted: &dyn Fn(&Key) -> bool| -> Result<(), Raise> {
        for (key, original) in from {
            ledger::scanned(machine, 2 * key.weight())?;
            if wanted(&key) {
                result.insert(machine, key, original)?;
            }
        }
        Ok(())
    };
    match method {
        "union" if right.given => result.merge(machine, other)?,
        "union" => keep(right.entries(), &|_| true)?,
        // The smaller of two sets is gone through, the right one where they are equally large.
        "intersection" if right.given && other.len() > left.len() => keep(left.entries(), &|key| other.contains(key))?,
        "intersection" => keep(right.entries(), &|key| left.contains(key))?,
        "difference" => keep(left.entries(), &|key| !other.contains(key))?,
        _ => {
            result.merge(machine, other)?;
            for (key, original) in left.entries() {
                if result.remove(&key).is_none() {
                    result.insert(machine, key, original)?;
                }
            }
        }
    }
    Ok(Value::Set(Rc::new(result)))
}

pub fn add_all(machine: &Machine, set: Rc<Set>, items: Items) -> HostResult {
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
                        let key = resolve(&machine, &set, &item).await?;
                        set.insert(&machine, key, item)?;
                    }
                    Ok(Value::None)
                });
            }
        }
    }
    Ok(Value::None.into())
}

async fn resolve(machine: &Machine, set: &Set, value: &Value) -> Result<Key, Raise> {
    key::resolve(machine, value, |hash| set.candidates(hash)).await
}
