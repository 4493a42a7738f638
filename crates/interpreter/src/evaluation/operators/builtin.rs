//! What builtin types other than numbers do with each other.

use std::cell::RefCell;
use std::rc::Rc;

use crate::evaluation::{format, mapping, set};
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostResult, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{Type, dict, ledger, sequence, string};
use crate::values::value::Value;

use super::{arithmetic, compare, counters, index_fitting, is_iterable, plain, special, then};

/// What builtin types do with each other; `NotImplemented` where they do not go together.
pub fn builtin(machine: &Machine, operator: Operator, left: &Value, right: &Value) -> HostResult {
    if let (Operator::BitOr, Some(owner)) = (operator, merging(left, right)) {
        let (right, left) = (right.clone(), plain(left));
        let made = mapping::another(machine, owner, left);
        return then(machine, made, move |machine, made| match plain(&made) {
            Value::Dict(dict) => {
                let done = mapping::merge(machine, dict, Some(right), Vec::new());
                then(machine, done, move |_, _| Ok(made.into()))
            }
            _ => Ok(made.into()),
        });
    }
    let (left, right) = (plain(left), plain(right));
    if matches!(
        operator,
        Operator::Equal
            | Operator::NotEqual
            | Operator::Less
            | Operator::LessEqual
            | Operator::Greater
            | Operator::GreaterEqual
    ) {
        return compare::builtin(machine, operator, &left, &right);
    }
    if let (Some(left), Some(right)) = (arithmetic::Number::of(&left), arithmetic::Number::of(&right)) {
        return Ok(match arithmetic::compute(machine, operator, left, right)? {
            Some(value) => Outcome::Ready(value),
            None => Outcome::NotImplemented,
        });
    }
    match (operator, &left, &right) {
        (Operator::Add, Value::Str(left), Value::Str(right)) => {
            ledger::reserve(machine, (left.len() + right.len()) as u64)?;
            let mut text = String::with_capacity(left.len() + right.len());
            text.push_str(left);
            text.push_str(right);
            Ok(ledger::text(machine, text)?.into())
        }
        (Operator::Add, Value::Bytes(left), Value::Bytes(right)) => {
            ledger::reserve(machine, (left.len() + right.len()) as u64)?;
            Ok(ledger::bytes(machine, [&left[..], &right[..]].concat())?.into())
        }
        (Operator::Add, Value::List(left), Value::List(right)) => {
            machine.charge_fuel((left.len() + right.len()) as u64 / 16)?;
            sequence::affordable(machine, left.len() + right.len())?;
            let mut items = left.to_vec();
            items.extend(right.items().iter().cloned());
            sequence::list(machine, items.into_vec())
        }
        (Operator::Add, Value::Tuple(left), Value::Tuple(right)) => {
            machine.charge_fuel((left.len() + right.len()) as u64 / 16)?;
            sequence::affordable(machine, left.len() + right.len())?;
            sequence::tuple(machine, [&left[..], &right[..]].concat())
        }
        (Operator::Mul, items, count) | (Operator::Mul, count, items)
            if matches!(count, Value::Int(_) | Value::Bool(_) | Value::Big(_)) =>
        {
            multiply(machine, items, count)
        }
        (Operator::Mul, items, count) | (Operator::Mul, count, items)
            if special(count, "__index__").is_some() && is_sequence(items) =>
        {
            multiply(machine, items, &Value::Int(index_fitting(machine, count)?))
        }
        (Operator::Mod, Value::Str(text), arguments) => format::percent(machine, text, arguments),
        (Operator::Mod, Value::Bytes(bytes), arguments) => format::percent_bytes(machine, bytes, arguments),
        (_, Value::Dict(left), Value::Dict(right))
            if left.type_of() == Type::Counter && right.type_of() == Type::Counter =>
        {
            counters::combine(machine, operator, left, right)
        }
        (Operator::BitOr, Value::Dict(first), Value::Dict(second)) => {
            use dict::Kind::{Counter, Default, Ordered, Plain};
            let kind = match (first.kind(), second.kind()) {
                (Ordered, _) | (Plain, Ordered) => Ordered,
                (Default(factory), _) | (Plain, Default(factory)) => Default(RefCell::new(factory.borrow().clone())),
                (Counter, Ordered) => Ordered,
                (Counter, Default(factory)) => Default(RefCell::new(factory.borrow().clone())),
                (Plain | Counter, Plain | Counter) => Plain,
            };
            let merged = Rc::new(dict::Dict::of_kind(kind));
            let (machine, left, right) = (machine.clone(), left.clone(), right.clone());
            let done = mapping::merge(&machine, Rc::clone(&merged), Some(left), Vec::new());
            then(&machine, done, move |machine, _| {
                let done = mapping::merge(machine, Rc::clone(&merged), Some(right), Vec::new());
                then(machine, done, move |_, _| Ok(Value::Dict(merged).into()))
            })
        }
        (_, Value::Set(_), Value::Set(_)) => {
            let method = match operator {
                Operator::BitOr => "union",
                Operator::BitAnd => "intersection",
                Operator::Sub => "difference",
                Operator::BitXor => "symmetric_difference",
                _ => return Ok(Outcome::NotImplemented),
            };
            set::operate(machine, method, left.clone(), vec![right.clone()])
        }
        (Operator::BitOr, left, right) => {
            Ok(machine.language().union(machine, left, right)?.map_or(Outcome::NotImplemented, Outcome::Ready))
        }
        _ => Ok(Outcome::NotImplemented),
    }
}

/// Finds the one of two dicts whose kind is that of what `|` makes of them, where a program's class derives from it.
fn merging<'a>(left: &'a Value, right: &'a Value) -> Option<&'a Value> {
    let kind = |value: &Value| match plain(value) {
        Value::Dict(dict) => Some(dict.type_of()),
        _ => None,
    };
    let (first, second) = (kind(left)?, kind(right)?);
    let merges = |kind| matches!(kind, Type::OrderedDict | Type::DefaultDict);
    let owner = if merges(first) { Some(left) } else { merges(second).then_some(right) };
    owner.filter(|owner| matches!(owner, Value::Instance(_)))
}

fn is_sequence(value: &Value) -> bool {
    matches!(value, Value::Str(_) | Value::Bytes(_) | Value::List(_) | Value::Tuple(_))
}

fn multiply(machine: &Machine, items: &Value, count: &Value) -> HostResult {
    if !is_sequence(items) {
        return Ok(Outcome::NotImplemented);
    }
    let Some(count) = count.as_int() else {
        return Err(Raise::new(Kind::OverflowError, "cannot fit 'int' into an index-sized integer"));
    };
    match items {
        Value::Str(text) => Ok(string::repeat(machine, text, usize::try_from(count).unwrap_or(0))?.into()),
        Value::Bytes(bytes) => {
            let count = usize::try_from(count).unwrap_or(0);
            ledger::reserve(machine, (bytes.len() as u64).saturating_mul(count as u64))?;
            Ok(ledger::bytes(machine, bytes.repeat(count))?.into())
        }
        Value::List(list) => sequence::list(machine, repeat(machine, &list.to_vec(), count)?),
        Value::Tuple(tuple) => sequence::tuple(machine, repeat(machine, tuple, count)?),
        _ => Ok(Outcome::NotImplemented),
    }
}

fn repeat(machine: &Machine, items: &[Value], count: i64) -> Result<Vec<Value>, Raise> {
    let count = usize::try_from(count).unwrap_or(0);
    let length = items.len().saturating_mul(count);
    sequence::affordable(machine, length)?;
    machine.charge_fuel(length as u64 / 16)?;
    let mut repeated = Vec::with_capacity(length);
    for _ in 0..if items.is_empty() { 0 } else { count } {
        repeated.extend_from_slice(items);
    }
    Ok(repeated)
}

/// What mutable builtin containers do with `+=` and its like; `bound` is what the target is bound to.
pub fn grow_in_place(machine: &Machine, operator: Operator, left: &Value, right: &Value, bound: &Value) -> HostResult {
    let bound = bound.clone();
    let method = match (operator, left) {
        (Operator::Add, Value::List(_)) => "extend",
        (Operator::Mul, Value::List(list)) => {
            let Some(count) = right.as_int() else { return Ok(Outcome::NotImplemented) };
            let items = list.to_vec();
            let repeated = repeat(machine, &items, count)?;
            drop(list.replace(machine, repeated)?);
            return Ok(bound.into());
        }
        (Operator::BitOr, Value::Dict(_)) if is_iterable(right) => "update",
        (Operator::BitOr, Value::Set(set)) if !set.is_frozen() && matches!(plain(right), Value::Set(_)) => "update",
        (Operator::BitAnd, Value::Set(set)) if !set.is_frozen() => "intersection_update",
        (Operator::Sub, Value::Set(set)) if !set.is_frozen() => "difference_update",
        (Operator::BitXor, Value::Set(set)) if !set.is_frozen() => "symmetric_difference_update",
        _ => return Ok(Outcome::NotImplemented),
    };
    if matches!(left, Value::Set(_)) && !matches!(plain(right), Value::Set(_)) {
        return Ok(Outcome::NotImplemented);
    }
    match machine.language().call_method(machine, left, method, Args::of([right.clone()])) {
        Some(done) => then(machine, done, move |_, _| Ok(bound.into())),
        None => Ok(Outcome::NotImplemented),
    }
}
