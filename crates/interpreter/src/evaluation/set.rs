//! What syntax does with sets: displays, operators, and keys that user code may have to find.

use std::rc::Rc;

use crate::evaluation::key;
use crate::evaluation::operators::{self, later};
use crate::values::host::{HostResult, Operator};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::key::{Key, Keyed};
use crate::values::types::{Items, Set, Type, ledger};
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
        Keyed::Now(key) if !set.may_equal(&key) => go_on(machine, &set, key, value),
        _ => {
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
    // All sets of builtin elements: no need to wait for anything.
    if let Value::Set(left) = &left
        && let [other] = &others[..]
        && let Some(other) = plain_set(left, other)
    {
        return Ok(made_of(machine, method, left, &other, frozen)?.into());
    }
    let machine = machine.clone();
    later(async move {
        let mut left = as_set(&machine, left, None).await?;
        if others.is_empty() {
            return Ok(Value::Set(Rc::new(left.copy(&machine, frozen)?)));
        }
        let mut result = Value::None;
        for other in others {
            let other = Other::of(&machine, other, &left).await?;
            result = made_of(&machine, method, &left, &other, frozen)?;
            if let Value::Set(set) = &result {
                left = Rc::clone(set);
            }
        }
        Ok(result)
    })
}

/// The same in place: `difference_update` for `difference`.
///
/// # Errors
/// As [`operate`].
pub fn change(machine: &Machine, method: &'static str, set: Rc<Set>, others: Vec<Value>) -> HostResult {
    if let [other] = &others[..]
        && let Some(other) = plain_set(&set, other)
    {
        change_by(machine, method, &set, &other)?;
        return Ok(Value::None.into());
    }
    let machine = machine.clone();
    later(async move {
        for other in others {
            let other = Other::of(&machine, other, &set).await?;
            change_by(&machine, method, &set, &other)?;
        }
        Ok(Value::None)
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
        Value::Set(set) if against.is_none_or(|other| !set.has_user_keys() && !other.has_user_keys()) => {
            return Ok(Rc::clone(set));
        }
        value => operators::collect(machine, value).await?,
    };
    let set = Rc::new(Set::new(false));
    for item in items {
        machine.charge_fuel(1)?;
        let mut key = resolve(machine, &set, &item).await?;
        if let Some(against) = against {
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
struct Other {
    set: Rc<Set>,
    given: bool,
}

impl Other {
    async fn of(machine: &Machine, value: Value, against: &Rc<Set>) -> Result<Self, Raise> {
        let given = matches!(value, Value::Set(_));
        Ok(Self { set: as_set(machine, value, Some(against)).await?, given })
    }

    fn entries(&self) -> Vec<(Key, Value)> {
        match self.given {
            true => self.set.entries(),
            false => self.set.table().iter().map(|entry| (entry.key.clone(), entry.original.clone())).collect(),
        }
    }

    /// Says whether this is a set that is more than so many times larger than another.
    fn outweighs(&self, set: &Set, times: usize) -> bool {
        self.given && self.set.len() / times > set.len()
    }
}

/// Returns a value that is a set, where no user code need be asked about it and another.
fn plain_set(set: &Set, other: &Value) -> Option<Other> {
    match other {
        Value::Set(other) if !set.has_user_keys() && !other.has_user_keys() => {
            Some(Other { set: Rc::clone(other), given: true })
        }
        _ => None,
    }
}

/// What a method returns. Which set is gone through, and what is put into which, is as in CPython: the order of the
/// elements depends on it.
fn made_of(machine: &Machine, method: &str, left: &Rc<Set>, right: &Other, frozen: bool) -> Result<Value, Raise> {
    let other = &right.set;
    machine.charge_fuel((left.len() + other.len()) as u64 / 2)?;
    let made = match method {
        "issubset" => return Ok(Value::Bool(compare(machine, Operator::LessEqual, left, other)?)),
        "issuperset" => return Ok(Value::Bool(compare(machine, Operator::GreaterEqual, left, other)?)),
        "isdisjoint" => {
            return Ok(Value::Bool(!left.table().iter().any(|entry| other.contains(&entry.key))));
        }
        "union" => {
            let union = left.copy(machine, frozen)?;
            if !Rc::ptr_eq(left, other) {
                join(machine, &union, right)?;
            }
            union
        }
        "intersection" => common(machine, left, right, frozen)?,
        "difference" if right.given && left.len() / 4 <= other.len() => {
            chosen(machine, left.entries(), |key| !other.contains(key), frozen)?
        }
        "difference" => {
            let rest = left.copy(machine, frozen)?;
            subtract(machine, &rest, right)?;
            rest
        }
        _ => {
            let either = Set::new(frozen);
            join(machine, &either, right)?;
            toggle(machine, &either, left)?;
            either
        }
    };
    Ok(Value::Set(Rc::new(made)))
}

fn change_by(machine: &Machine, method: &str, set: &Rc<Set>, right: &Other) -> Result<(), Raise> {
    machine.charge_fuel((set.len() + right.set.len()) as u64 / 2)?;
    match method {
        "union" => join(machine, set, right),
        "intersection" => set.replace(machine, &common(machine, set, right, false)?),
        _ if Rc::ptr_eq(set, &right.set) => {
            set.clear();
            Ok(())
        }
        "difference" => subtract(machine, set, right),
        _ => toggle(machine, set, &right.set),
    }
}

fn join(machine: &Machine, set: &Set, right: &Other) -> Result<(), Raise> {
    if right.given {
        return set.merge(machine, &right.set);
    }
    for (key, original) in right.entries() {
        ledger::scanned(machine, 2 * key.weight())?;
        set.insert(machine, key, original)?;
    }
    Ok(())
}

/// What two sets have both: the smaller one is gone through, the right one where they are equally large, unless they are one.
fn common(machine: &Machine, left: &Set, right: &Other, frozen: bool) -> Result<Set, Raise> {
    if std::ptr::eq(left, &*right.set) {
        return left.copy(machine, frozen);
    }
    match right.outweighs(left, 1) {
        true => chosen(machine, left.entries(), |key| right.set.contains(key), frozen),
        false => chosen(machine, right.entries(), |key| left.contains(key), frozen),
    }
}

fn subtract(machine: &Machine, set: &Set, right: &Other) -> Result<(), Raise> {
    let taken = match right.outweighs(set, 8) {
        true => common(machine, set, right, false)?.entries(),
        false => right.entries(),
    };
    for (key, _) in taken {
        ledger::scanned(machine, 2 * key.weight())?;
        drop(set.remove(&key));
    }
    set.tidy();
    Ok(())
}

/// Takes out of a set what another has, too, and puts the rest of that one into it.
fn toggle(machine: &Machine, set: &Set, other: &Set) -> Result<(), Raise> {
    for (key, original) in other.entries() {
        ledger::scanned(machine, 2 * key.weight())?;
        if set.remove(&key).is_none() {
            set.insert(machine, key, original)?;
        }
    }
    Ok(())
}

fn chosen(
    machine: &Machine,
    from: Vec<(Key, Value)>,
    wanted: impl Fn(&Key) -> bool,
    frozen: bool,
) -> Result<Set, Raise> {
    let set = Set::new(frozen);
    for (key, original) in from {
        ledger::scanned(machine, 2 * key.weight())?;
        if wanted(&key) {
            set.insert(machine, key, original)?;
        }
    }
    Ok(set)
}

/// `set(iterable)`.
///
/// # Errors
/// As [`build`].
pub fn construct(machine: &Machine, iterable: Value, frozen: bool) -> HostResult {
    let set = Rc::new(Set::new(frozen));
    let filled = fill(machine, Rc::clone(&set), iterable);
    operators::then(machine, filled, move |_, _| Ok(Value::Set(set).into()))
}

/// Adds what an iterable gives. How much a dict gives is known before.
///
/// # Errors
/// As [`build`].
pub fn fill(machine: &Machine, set: Rc<Set>, iterable: Value) -> HostResult {
    if let Value::Dict(dict) = &iterable
        && dict.type_of() == Type::Dict
    {
        set.expect(machine, dict.len())?;
    }
    operators::with_items(machine, iterable, move |machine, items| add_all(machine, set, items))
}

fn add_all(machine: &Machine, set: Rc<Set>, items: Items) -> HostResult {
    let mut waiting = items.into_iter();
    while let Some(item) = waiting.next() {
        machine.charge_fuel(1)?;
        match Key::of(machine, &item)? {
            Keyed::Now(key) if !set.may_equal(&key) => set.insert(machine, key, item)?,
            _ => {
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
    key::resolve(machine, value, |key| set.may_equal(key), |hash| set.candidates(machine, hash)).await
}
