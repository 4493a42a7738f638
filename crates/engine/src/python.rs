//! Short ways to make and read Python values.

use std::rc::Rc;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use interpreter::raise::Raise;
use interpreter::{Args, Dict, HostResult, Iteration, List, Machine, Outcome, Value};
use num_bigint::BigInt;

/// Makes a `list`, its elements charged to the job.
///
/// # Errors
/// Fatal when memory is spent.
pub fn list(machine: &Machine, items: Vec<Value>) -> Result<Value, Raise> {
    Ok(Value::List(Rc::new(List::charged(machine, items)?)))
}

/// Makes a `dict` with keys of any kind.
///
/// # Errors
/// `TypeError` for unhashable keys.
pub fn dict(machine: &Machine, pairs: Vec<(Value, Value)>) -> Result<Value, Raise> {
    let dict = Value::Dict(Rc::new(Dict::new()));
    for (key, value) in pairs {
        insert(machine, &dict, key, value)?;
    }
    Ok(dict)
}

/// Appends to a list; anything else is left alone.
///
/// # Errors
/// Fatal when memory is spent.
pub fn append(machine: &Machine, list: &Value, item: Value) -> Result<(), Raise> {
    match list {
        Value::List(list) => list.push(machine, item),
        _ => Ok(()),
    }
}

/// Inserts into a dict; anything else is left alone.
///
/// # Errors
/// `TypeError` for an unhashable key.
pub fn insert(machine: &Machine, dict: &Value, key: Value, value: Value) -> Result<(), Raise> {
    match dict {
        Value::Dict(dict) => {
            let done = interpreter::mapping::set_item(machine, Rc::clone(dict), key, value)?;
            now(machine.settle(done)).map(drop)
        }
        _ => Ok(()),
    }
}

/// Makes a `set` or `frozenset`.
///
/// # Errors
/// `TypeError` for unhashable elements.
pub fn set(machine: &Machine, items: Vec<Value>, frozen: bool) -> Result<Value, Raise> {
    let made = interpreter::set::build(machine, items, frozen)?;
    now(machine.settle(made))
}

/// Returns a set's elements and whether it is frozen.
#[must_use]
pub fn set_items(value: &Value) -> (Vec<Value>, bool) {
    match value {
        Value::Set(set) => (set.items().into_vec(), set.is_frozen()),
        _ => (Vec::new(), false),
    }
}

/// Returns a dict's pairs.
#[must_use]
pub fn items(value: &Value) -> Vec<(Value, Value)> {
    match value {
        Value::Dict(dict) => dict.entries().into_vec(),
        _ => Vec::new(),
    }
}

/// Returns the pairs of a dict whose keys are all strings.
#[must_use]
pub fn string_items(value: &Value) -> Option<Vec<(Rc<str>, Value)>> {
    let Value::Dict(dict) = value else { return None };
    let pair = |(key, value)| match key {
        Value::Str(key) => Some((key, value)),
        _ => None,
    };
    dict.entries().into_iter().map(pair).collect()
}

/// Copies the dicts in a value, at any depth of dicts and tuples, so that it shows later what they held.
#[must_use]
pub fn held(value: &Value) -> Value {
    match (value, string_items(value)) {
        (_, Some(pairs)) => Value::dict(pairs.into_iter().map(|(key, value)| (key, held(&value)))),
        (Value::Tuple(items), _) => Value::tuple(items.iter().map(held).collect()),
        _ => value.clone(),
    }
}

/// Returns whether a value's dicts hold the same objects as when [`held`] copied them.
#[must_use]
pub fn holds(value: &Value, before: &Value) -> bool {
    match (value, before) {
        (Value::Dict(_), Value::Dict(_)) => {
            let (pairs, before) = (items(value), items(before));
            let same = |((key, value), (other, before)): (&(Value, Value), &(Value, Value))| {
                key.is(other) && holds(value, before)
            };
            pairs.len() == before.len() && pairs.iter().zip(&before).all(same)
        }
        (Value::Tuple(items), Value::Tuple(before)) => {
            items.len() == before.len() && items.iter().zip(before.iter()).all(|(item, before)| holds(item, before))
        }
        _ => value.is(before),
    }
}

/// Returns the elements of a list or tuple.
#[must_use]
pub fn sequence(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::List(list) => Some(list.to_vec().into_vec()),
        Value::Tuple(tuple) => Some(tuple.to_vec()),
        _ => None,
    }
}

/// Returns the text of a `str`.
#[must_use]
pub fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Returns the bounds of a slice without step whose bounds are integers or absent.
#[must_use]
pub fn slice_bounds(value: &Value) -> Option<(Option<i64>, Option<i64>)> {
    let Value::Slice(slice) = value else { return None };
    let bound = |value: &Value| match value {
        Value::None => Some(None),
        value => value.as_int().map(Some),
    };
    Some((bound(&slice.start)?, bound(&slice.stop)?))
}

/// Returns the start, stop and step of a range.
#[must_use]
pub fn range_bounds(value: &Value) -> [BigInt; 3] {
    match value {
        Value::Range(range) => [range.start, range.stop, range.step].map(BigInt::from),
        _ => [0, 0, 1].map(BigInt::from),
    }
}

/// Indexes a builtin container as Python does.
pub fn index(machine: &Machine, container: &Value, key: &Value) -> HostResult {
    interpreter::operators::get_item(machine, container, key)
}

/// Makes an iteration over values that are there already.
#[must_use]
pub fn iterate_all(items: Vec<Value>) -> Box<dyn Iteration> {
    Box::new(Items(items.into_iter()))
}

struct Items(std::vec::IntoIter<Value>);

impl Iteration for Items {
    fn next(&mut self, machine: &Machine) -> Result<Option<Outcome>, Raise> {
        machine.charge_fuel(1)?;
        Ok(self.0.next().map(Outcome::Ready))
    }
}

/// Completes Python code that must not suspend.
///
/// # Errors
/// What the code raises, and `RuntimeError` where it does suspend.
pub fn now(future: LocalBoxFuture<'_, Result<Value, Raise>>) -> Result<Value, Raise> {
    future
        .now_or_never()
        .unwrap_or_else(|| Err(Raise::runtime_error("this cannot wait for the model: the request is still being read")))
}

/// Returns an argument given by name.
#[must_use]
pub fn keyword(args: &Args, name: &str) -> Option<Value> {
    args.keyword.iter().find(|(keyword, _)| &**keyword == name).map(|(_, value)| value.clone())
}

/// Returns a boolean argument given by name.
#[must_use]
pub fn flag(args: &Args, name: &str) -> Option<bool> {
    match keyword(args, name)? {
        Value::Bool(flag) => Some(flag),
        _ => None,
    }
}

/// Returns an argument given by position or by name.
#[must_use]
pub fn parameter(args: &Args, position: usize, name: &str) -> Option<Value> {
    args.positional.get(position).cloned().or_else(|| keyword(args, name))
}

/// Returns the host object of a type behind a value.
#[must_use]
pub fn host<T: 'static>(value: &Value) -> Option<&T> {
    match value {
        Value::Host(object) => object.as_any().downcast_ref(),
        _ => None,
    }
}

/// Writes a shape as PyTorch's messages do.
#[must_use]
pub fn shape_text(shape: &[i64]) -> String {
    let sizes: Vec<_> = shape.iter().map(i64::to_string).collect();
    format!("[{}]", sizes.join(", "))
}
