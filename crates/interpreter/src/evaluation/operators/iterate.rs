//! Iteration.

use std::cell::Cell;
use std::rc::Rc;

use futures::future::LocalBoxFuture;

use crate::evaluation::view::View;
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostResult, Iteration, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::dict::{DictIteration, Part};
use crate::values::types::set::SetIteration;
use crate::values::types::{Items, Iterator, List, Tuple, ledger, sequence, string, type_name};
use crate::values::value::Value;

use super::{UNCHARGED, call_special, get_item, later, payload, special};

/// A `for` loop's way through an iterable.
pub struct Iter(Source);

enum Source {
    Native(Rc<Iterator>),
    /// An object whose `__iter__` was not called yet.
    Unstarted(Value),
    /// An object with `__next__`.
    User(Value),
}

impl Iter {
    /// Starts; `__iter__` of the user's own classes runs with the first step.
    ///
    /// # Errors
    /// `TypeError` for what cannot be iterated over.
    pub fn of(machine: &Machine, value: &Value) -> Result<Self, Raise> {
        match native(machine, value)? {
            Some(iterator) => Ok(Self(Source::Native(iterator))),
            None => Ok(Self(Source::Unstarted(value.clone()))),
        }
    }

    /// Returns the next element, or `None` at the end.
    ///
    /// # Errors
    /// What iterating raises.
    pub async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        if let Source::Unstarted(value) = &self.0 {
            let Some(method) = special(value, "__iter__") else { return Err(not_iterable(value)) };
            let outcome = call_special(machine, &method, value, vec![])?;
            let iterator = machine.settle(outcome).await?;
            self.0 = match &iterator {
                Value::Iterator(iterator) => Source::Native(Rc::clone(iterator)),
                Value::Host(_) => Source::Native(native(machine, &iterator)?.ok_or_else(|| not_iterable(&iterator))?),
                Value::Instance(_) if special(&iterator, "__next__").is_some() => Source::User(iterator),
                other => {
                    let name = type_name(other);
                    return Err(Raise::type_error(format!("iter() returned non-iterator of type '{name}'")));
                }
            };
        }
        let step = match &self.0 {
            Source::Native(iterator) => iterator.step(machine),
            Source::User(object) => match special(object, "__next__") {
                Some(method) => call_special(machine, &method, object, vec![]).map(Some),
                None => Ok(None),
            },
            Source::Unstarted(_) => Ok(None),
        };
        match step {
            Ok(None) => Ok(None),
            Ok(Some(Outcome::Ready(value))) => Ok(Some(value)),
            Ok(Some(pending)) => ended(machine.settle(pending).await),
            Err(raise) => ended(Err(raise)),
        }
    }

    /// Returns the next element where no code must be waited for: `Ok(None)` where it must.
    ///
    /// # Errors
    /// What iterating raises.
    pub fn next_now(&mut self, machine: &Machine) -> Result<Option<Stepped>, Raise> {
        let Source::Native(iterator) = &self.0 else { return Ok(None) };
        match iterator.step(machine) {
            Ok(None) => Ok(Some(Stepped::End)),
            Ok(Some(Outcome::Ready(value))) => Ok(Some(Stepped::Value(value))),
            Ok(Some(pending)) => Ok(Some(Stepped::Pending(pending))),
            Err(raise) => ended(Err(raise)).map(|_| Some(Stepped::End)),
        }
    }

    /// Returns all remaining elements.
    ///
    /// # Errors
    /// What iterating raises; memory is spent.
    pub async fn collect(mut self, machine: &Machine) -> Result<Items, Raise> {
        // A list, so that what was gathered is charged while it grows.
        let gathered = List::new(Vec::new());
        while let Some(value) = self.next(machine).await? {
            machine.charge_fuel(1)?;
            gathered.push(machine, value)?;
        }
        gathered.replace(machine, Vec::new())
    }
}

/// What [`Iter::next_now`] found.
pub enum Stepped {
    Value(Value),
    End,
    /// The step was made, but its outcome must be settled; `StopIteration` is the end.
    Pending(Outcome),
}

/// Turns `StopIteration` into the end.
fn ended(result: Result<Value, Raise>) -> Result<Option<Value>, Raise> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(raise) if raise.is(Kind::StopIteration) => Ok(None),
        Err(raise) => Err(raise),
    }
}

/// `iter(value)`.
///
/// # Errors
/// `TypeError` for what cannot be iterated over; what `__iter__` raises.
pub fn iterate(machine: &Machine, value: &Value) -> HostResult {
    if let Some(iterator) = native(machine, value)? {
        return Ok(Value::Iterator(iterator).into());
    }
    match special(value, "__iter__") {
        Some(method) => call_special(machine, &method, value, vec![]),
        None => Err(not_iterable(value)),
    }
}

/// Goes one step on with an iterator; `None` at the end. An outcome that is not ready and raises `StopIteration` is
/// the end too.
///
/// # Errors
/// `TypeError` for what is no iterator; what iterating raises.
pub fn next(machine: &Machine, iterator: &Value) -> Result<Option<Outcome>, Raise> {
    match iterator {
        Value::Iterator(iterator) => iterator.step(machine),
        Value::Host(object) => match Rc::clone(object).call_method(machine, "__next__", &Args::default()) {
            Ok(Outcome::NotImplemented) => Err(no_iterator(iterator)),
            Ok(outcome) => Ok(Some(outcome)),
            Err(raise) if raise.is(Kind::StopIteration) => Ok(None),
            Err(raise) => Err(raise),
        },
        _ => match special(iterator, "__next__") {
            Some(method) => match call_special(machine, &method, iterator, vec![]) {
                Err(raise) if raise.is(Kind::StopIteration) => Ok(None),
                outcome => outcome.map(Some),
            },
            None => Err(no_iterator(iterator)),
        },
    }
}

fn no_iterator(value: &Value) -> Raise {
    Raise::type_error(format!("'{}' object is not an iterator", type_name(value)))
}

/// Says whether `iter(value)` would work, as far as that shows without trying.
pub fn is_iterable(value: &Value) -> bool {
    match value {
        Value::Str(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Tuple(_)
        | Value::Dict(_)
        | Value::Set(_)
        | Value::Range(_)
        | Value::Iterator(_)
        | Value::Host(_) => true,
        Value::Class(class) => class.members().is_some(),
        Value::Instance(_) => {
            special(value, "__iter__").is_some()
                || special(value, "__getitem__").is_some()
                || payload(value).is_some_and(|payload| is_iterable(&payload))
        }
        _ => false,
    }
}

/// Makes the iterator of everything but objects with the user's own `__iter__`: `None` for those.
fn native(machine: &Machine, value: &Value) -> Result<Option<Rc<Iterator>>, Raise> {
    machine.charge_fuel(UNCHARGED)?;
    Ok(Some(Rc::new(match value {
        Value::Iterator(iterator) => return Ok(Some(Rc::clone(iterator))),
        Value::Class(class) if let Some(members) = class.members() => {
            return native(machine, &Value::tuple(members));
        }
        Value::List(list) => Iterator::new("list_iterator", ListIteration { list: Rc::clone(list), next: 0 }),
        Value::Tuple(items) => Iterator::new("tuple_iterator", TupleIteration { items: Rc::clone(items), next: 0 }),
        Value::Range(range) => Iterator::new("range_iterator", range.iteration()),
        Value::Dict(dict) => Iterator::new(Part::Key.iterator_name(), DictIteration::new(Rc::clone(dict), Part::Key)),
        Value::Set(set) => Iterator::new("set_iterator", SetIteration::new(Rc::clone(set))),
        Value::Str(text) => {
            let ascii = text.is_ascii();
            let name = if ascii { "str_ascii_iterator" } else { "str_iterator" };
            Iterator::new(name, TextIteration { text: Rc::clone(text), byte: 0 })
        }
        Value::Bytes(bytes) => Iterator::new("bytes_iterator", BytesIteration { bytes: Rc::clone(bytes), next: 0 }),
        Value::Host(object) => {
            let name = match object.as_any().downcast_ref::<View>() {
                Some(_) => "dict_view_iterator",
                None => "iterator",
            };
            match Rc::clone(object).iterate(machine)? {
                Some(iteration) => Iterator::boxed(name, iteration),
                None => return Err(not_iterable(value)),
            }
        }
        Value::Instance(_) => {
            if special(value, "__iter__").is_some_and(|method| !matches!(method, Value::None)) {
                return Ok(None);
            }
            // A builtin base has its own way of iterating, whatever becomes of its items.
            if let Some(payload) = payload(value) {
                return native(machine, &payload);
            } else if special(value, "__getitem__").is_some() {
                Iterator::new("iterator", ItemIteration { object: value.clone(), next: 0, ended: Rc::default() })
            } else {
                return Err(not_iterable(value));
            }
        }
        _ => return Err(not_iterable(value)),
    })))
}

fn not_iterable(value: &Value) -> Raise {
    Raise::type_error(format!("'{}' object is not iterable", type_name(value)))
}

/// Returns all elements of a builtin container, without running other code; `None` for other iterables.
///
/// # Errors
/// Memory or fuel is spent.
pub fn collect_now(machine: &Machine, value: &Value) -> Result<Option<Items>, Raise> {
    // Lists and their like hold their elements already; of others, the elements are made.
    let afford = |length: usize| {
        machine.charge_fuel(length as u64 / 4)?;
        sequence::affordable(machine, length)
    };
    let items = match value {
        Value::List(list) => list.to_vec(),
        Value::Tuple(items) => items.to_vec().into(),
        Value::Dict(dict) => dict.keys(),
        Value::Set(set) => set.items(),
        Value::Str(text) => {
            ledger::scanned(machine, text.len() as u64)?;
            afford(string::length(text))?;
            return Ok(Some(text.chars().map(|char| Value::from(char.encode_utf8(&mut [0; 4]) as &str)).collect()));
        }
        Value::Range(range) => {
            afford(range.len())?;
            return Ok(Some((0..range.len()).filter_map(|position| range.get(position)).collect()));
        }
        Value::Bytes(bytes) => {
            afford(bytes.len())?;
            return Ok(Some(bytes.iter().map(|byte| Value::Int(i64::from(*byte))).collect()));
        }
        Value::Host(object) => match object.as_any().downcast_ref::<View>() {
            Some(view) => {
                afford(view.len())?;
                view.items()
            }
            None => return Ok(None),
        },
        Value::Instance(_) if special(value, "__iter__").is_none() => match payload(value) {
            Some(payload) => return collect_now(machine, &payload),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    machine.charge_fuel(items.len() as u64 / 4)?;
    Ok(Some(items))
}

/// Returns all elements of an iterable.
///
/// # Errors
/// `TypeError` for what cannot be iterated over; what iterating raises.
pub fn collect(machine: &Machine, value: &Value) -> LocalBoxFuture<'static, Result<Items, Raise>> {
    let (machine, value) = (machine.clone(), value.clone());
    Box::pin(async move {
        match collect_now(&machine, &value)? {
            Some(items) => Ok(items),
            None => Iter::of(&machine, &value)?.collect(&machine).await,
        }
    })
}

/// Goes on with all elements of an iterable, at once where no other code must run.
///
/// # Errors
/// `TypeError` for what cannot be iterated over; those of going on.
pub fn with_items(
    machine: &Machine,
    iterable: Value,
    go_on: impl FnOnce(&Machine, Items) -> HostResult + 'static,
) -> HostResult {
    if let Some(items) = collect_now(machine, &iterable)? {
        return go_on(machine, items);
    }
    let iter = Iter::of(machine, &iterable)?;
    let machine = machine.clone();
    later(async move {
        let items = iter.collect(&machine).await?;
        let outcome = go_on(&machine, items)?;
        machine.settle(outcome).await
    })
}

struct ListIteration {
    list: Rc<List>,
    next: usize,
}

impl Iteration for ListIteration {
    fn next(&mut self, _: &Machine) -> Result<Option<Outcome>, Raise> {
        let value = self.list.get(self.next);
        self.next += 1;
        Ok(value.map(Outcome::Ready))
    }
}

struct TupleIteration {
    items: Rc<Tuple>,
    next: usize,
}

impl Iteration for TupleIteration {
    fn next(&mut self, _: &Machine) -> Result<Option<Outcome>, Raise> {
        let value = self.items.get(self.next).cloned();
        self.next += 1;
        Ok(value.map(Outcome::Ready))
    }
}

struct TextIteration {
    text: Rc<str>,
    byte: usize,
}

impl Iteration for TextIteration {
    fn next(&mut self, _: &Machine) -> Result<Option<Outcome>, Raise> {
        let Some(char) = self.text.get(self.byte..).and_then(|rest| rest.chars().next()) else { return Ok(None) };
        self.byte += char.len_utf8();
        Ok(Some(Value::from(char.encode_utf8(&mut [0; 4]) as &str).into()))
    }
}

struct BytesIteration {
    bytes: Rc<[u8]>,
    next: usize,
}

impl Iteration for BytesIteration {
    fn next(&mut self, _: &Machine) -> Result<Option<Outcome>, Raise> {
        let value = self.bytes.get(self.next).map(|byte| Value::Int(i64::from(*byte)));
        self.next += 1;
        Ok(value.map(Outcome::Ready))
    }
}

/// Iterates over an object that only has `__getitem__`, until `IndexError`.
struct ItemIteration {
    object: Value,
    next: i64,
    ended: Rc<Cell<bool>>,
}

impl Iteration for ItemIteration {
    fn next(&mut self, machine: &Machine) -> Result<Option<Outcome>, Raise> {
        if self.ended.get() {
            return Ok(None);
        }
        let index = Value::Int(self.next);
        self.next += 1;
        let (machine, object, ended) = (machine.clone(), self.object.clone(), Rc::clone(&self.ended));
        let step = later(async move {
            let outcome = get_item(&machine, &object, &index)?;
            match machine.settle(outcome).await {
                Err(raise) if raise.is(Kind::IndexError) || raise.is(Kind::StopIteration) => {
                    ended.set(true);
                    Err(Raise::stop_iteration())
                }
                result => result,
            }
        });
        step.map(Some)
    }
}
