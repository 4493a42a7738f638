//! Equality, order and hash.

use crate::evaluation::{mapping, set};
use crate::values::exceptions::Kind;
use crate::values::host::{HostResult, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::suspension::Deep;
use crate::values::types::key::{self, Key};
use crate::values::types::{Dict, Slice, dict, hash, ledger};
use crate::values::value::Value;

use super::arithmetic::{self, Number};
use super::{binary, call_special, counters, later, payload, special, truth};

/// Nested containers that are compared while user code takes part.
const DEPTH: usize = 400;

/// `==`, `<` and their like on plain values; `NotImplemented` where they have no order.
pub fn builtin(machine: &Machine, operator: Operator, left: &Value, right: &Value) -> HostResult {
    match compare_now(machine, operator, left, right)? {
        Compared::Answer(truth) => Ok(Value::Bool(truth).into()),
        Compared::Unordered => Ok(Outcome::NotImplemented),
        // An operand that decides itself is asked by whoever called this.
        Compared::Ask if [left, right].iter().any(|value| matches!(value, Value::Host(_) | Value::Instance(_))) => {
            Ok(Outcome::NotImplemented)
        }
        Compared::Ask => {
            let (machine, left, right) = (machine.clone(), left.clone(), right.clone());
            later(async move { compare(&machine, operator, &left, &right, 0).await })
        }
    }
}

/// `left == right` where no user code must be asked, else `None`.
///
/// # Errors
/// Nested too deeply; fuel is spent.
pub fn equal_now(machine: &Machine, left: &Value, right: &Value) -> Result<Option<bool>, Raise> {
    match compare_now(machine, Operator::Equal, left, right)? {
        Compared::Answer(truth) => Ok(Some(truth)),
        Compared::Unordered => Ok(Some(false)),
        Compared::Ask => Ok(None),
    }
}

/// `left is right or left == right`, as containers compare their elements.
///
/// # Errors
/// As [`equal_now`].
pub fn same_or_equal_now(machine: &Machine, left: &Value, right: &Value) -> Result<Option<bool>, Raise> {
    match (left, right) {
        (Value::Str(left), Value::Str(right)) => {
            pay(machine, left.len(), right.len())?;
            Ok(Some(left == right))
        }
        _ if left.is(right) => Ok(Some(true)),
        _ => equal_now(machine, left, right),
    }
}

/// Pays for comparing two texts, or numbers, of so many bytes.
fn pay(machine: &Machine, left: usize, right: usize) -> Result<(), Raise> {
    ledger::copied(machine, left.min(right) as u64)
}

/// `left == right`.
///
/// # Errors
/// What comparing raises.
pub async fn equal(machine: &Machine, left: &Value, right: &Value) -> Result<bool, Raise> {
    if let Some(equal) = equal_now(machine, left, right)? {
        return Ok(equal);
    }
    let outcome = binary(machine, Operator::Equal, left, right)?;
    let value = machine.settle(outcome).await?;
    truth(machine, &value).await
}

/// `left is right or left == right`.
///
/// # Errors
/// What comparing raises.
pub async fn same_or_equal(machine: &Machine, left: &Value, right: &Value) -> Result<bool, Raise> {
    if let Some(equal) = same_or_equal_now(machine, left, right)? {
        return Ok(equal);
    }
    equal(machine, left, right).await
}

/// `left < right` where no user code must be asked, else `None`.
///
/// # Errors
/// `TypeError` for values with no order.
pub fn less_now(machine: &Machine, left: &Value, right: &Value) -> Result<Option<bool>, Raise> {
    match compare_now(machine, Operator::Less, left, right)? {
        Compared::Answer(truth) => Ok(Some(truth)),
        Compared::Unordered => Err(super::unsupported(Operator::Less, left, right, "")),
        Compared::Ask => Ok(None),
    }
}

/// `left < right`.
///
/// # Errors
/// What comparing raises.
pub async fn less(machine: &Machine, left: &Value, right: &Value) -> Result<bool, Raise> {
    let outcome = binary(machine, Operator::Less, left, right)?;
    let value = machine.settle(outcome).await?;
    truth(machine, &value).await
}

enum Compared {
    Answer(bool),
    /// The types have no such order.
    Unordered,
    /// User or host code must be asked.
    Ask,
}

fn compare_now(machine: &Machine, operator: Operator, left: &Value, right: &Value) -> Result<Compared, Raise> {
    use Value::{Dict as D, List as L, Set as S, Tuple as T};
    let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
    if let (Value::Big(left), Value::Big(right)) = (left, right) {
        pay(machine, (left.bits() / 8) as usize, (right.bits() / 8) as usize)?;
    }
    if let (Some(left), Some(right)) = (Number::of(left), Number::of(right)) {
        return Ok(numbers(operator, &left, &right));
    }
    let order = match (left, right) {
        (Value::Instance(_), _) | (_, Value::Instance(_)) => {
            let simple = |value: &Value| match value {
                Value::Instance(_) => {
                    let own = ["__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"];
                    !own.iter().any(|name| special(value, name).is_some())
                }
                Value::Host(_) => false,
                _ => true,
            };
            if !simple(left) || !simple(right) {
                return Ok(Compared::Ask);
            }
            return match (payload(left), payload(right)) {
                (None, None) if equality => Ok(Compared::Answer(left.is(right) == (operator == Operator::Equal))),
                (None, None) => Ok(Compared::Unordered),
                (mine, yours) => {
                    compare_now(machine, operator, mine.as_ref().unwrap_or(left), yours.as_ref().unwrap_or(right)).map(
                        |compared| match compared {
                            // An instance without a value on the other side.
                            Compared::Ask => Compared::Unordered,
                            compared => compared,
                        },
                    )
                }
            };
        }
        (Value::Host(_), _) | (_, Value::Host(_)) => return Ok(Compared::Ask),
        (Value::Str(left), Value::Str(right)) => {
            pay(machine, left.len(), right.len())?;
            left.cmp(right)
        }
        (Value::Bytes(left), Value::Bytes(right)) => {
            pay(machine, left.len(), right.len())?;
            left.cmp(right)
        }
        (L(left), L(right)) => return sequences(machine, operator, &left.items(), &right.items()),
        (T(left), T(right)) => return sequences(machine, operator, left, right),
        (D(left), D(right)) if equality => {
            return dicts(machine, left, right).map(|equal| match equal {
                Some(equal) => Compared::Answer(equal == (operator == Operator::Equal)),
                None => Compared::Ask,
            });
        }
        (D(left), D(right)) if Comparison::of(left, right) == Comparison::Counts => return Ok(Compared::Ask),
        (S(left), S(right)) => {
            if left.has_user_keys() || right.has_user_keys() {
                return Ok(Compared::Ask);
            }
            return Ok(Compared::Answer(set::compare(machine, operator, left, right)?));
        }
        (Value::Range(left), Value::Range(right)) if equality => {
            return Ok(Compared::Answer((left == right) == (operator == Operator::Equal)));
        }
        (Value::Slice(left), Value::Slice(right)) => {
            let parts = |slice: &Slice| [slice.start.clone(), slice.stop.clone(), slice.step.clone()];
            return sequences(machine, operator, &parts(left), &parts(right));
        }
        (Value::Method(left), Value::Method(right)) if equality => {
            let same = left.function.is(&right.function) && left.receiver.is(&right.receiver);
            return Ok(Compared::Answer(same == (operator == Operator::Equal)));
        }
        _ if equality => return Ok(Compared::Answer(left.is(right) == (operator == Operator::Equal))),
        _ => return Ok(Compared::Unordered),
    };
    Ok(Compared::Answer(holds(operator, Some(order))))
}

fn numbers(operator: Operator, left: &Number, right: &Number) -> Compared {
    if let Number::Complex(..) = left {
        return complex(operator, left, right);
    }
    if let Number::Complex(..) = right {
        return complex(operator, right, left);
    }
    Compared::Answer(holds(operator, arithmetic::order(left, right)))
}

fn complex(operator: Operator, left: &Number, right: &Number) -> Compared {
    let Number::Complex(real, imaginary) = left else { return Compared::Unordered };
    let equal = match right {
        Number::Complex(other_real, other_imaginary) => real == other_real && imaginary == other_imaginary,
        other => {
            *imaginary == 0.0 && arithmetic::order(&Number::Float(*real), other) == Some(std::cmp::Ordering::Equal)
        }
    };
    match operator {
        Operator::Equal => Compared::Answer(equal),
        Operator::NotEqual => Compared::Answer(!equal),
        _ => Compared::Unordered,
    }
}

fn holds(operator: Operator, order: Option<std::cmp::Ordering>) -> bool {
    match operator {
        Operator::Equal => order.is_some_and(std::cmp::Ordering::is_eq),
        Operator::NotEqual => !order.is_some_and(std::cmp::Ordering::is_eq),
        Operator::Less => order.is_some_and(std::cmp::Ordering::is_lt),
        Operator::LessEqual => order.is_some_and(std::cmp::Ordering::is_le),
        Operator::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
        _ => order.is_some_and(std::cmp::Ordering::is_ge),
    }
}

fn sequences(machine: &Machine, operator: Operator, left: &[Value], right: &[Value]) -> Result<Compared, Raise> {
    let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
    if equality && left.len() != right.len() {
        return Ok(Compared::Answer(operator == Operator::NotEqual));
    }
    machine.recurse(|| {
        for (mine, yours) in left.iter().zip(right) {
            machine.charge_fuel(1)?;
            match same_or_equal_now(machine, mine, yours)? {
                Some(true) => {}
                None => return Ok(Compared::Ask),
                Some(false) if equality => return Ok(Compared::Answer(operator == Operator::NotEqual)),
                Some(false) => {
                    return match compare_now(machine, operator, mine, yours)? {
                        Compared::Unordered => Err(super::unsupported(operator, mine, yours, "")),
                        compared => Ok(compared),
                    };
                }
            }
        }
        Ok(Compared::Answer(holds(operator, Some(left.len().cmp(&right.len())))))
    })
}

fn dicts(machine: &Machine, left: &Dict, right: &Dict) -> Result<Option<bool>, Raise> {
    let comparison = Comparison::of(left, right);
    if comparison != Comparison::Counts && left.len() != right.len() {
        return Ok(Some(false));
    }
    machine.recurse(|| {
        let (ours, theirs) = (left.keyed_entries(), right.keyed_entries());
        if ours.iter().chain(&theirs).any(|(key, ..)| matches!(key, Key::User(..))) {
            return Ok(None);
        }
        if comparison == Comparison::Ordered && ours.iter().zip(&theirs).any(|((own, ..), (other, ..))| own != other) {
            return Ok(Some(false));
        }
        let counts = if comparison == Comparison::Counts { &theirs[..] } else { &[] };
        for (key, ..) in ours.iter().chain(counts) {
            machine.charge_fuel(1)?;
            ledger::scanned(machine, key.weight())?;
            let (Some(own), Some(other)) = (comparison.of_key(left, key), comparison.of_key(right, key)) else {
                return Ok(Some(false));
            };
            match same_or_equal_now(machine, &own, &other)? {
                Some(true) => {}
                answer => return Ok(answer),
            }
        }
        Ok(Some(true))
    })
}

/// What makes two dicts equal besides equal values under equal keys.
#[derive(Clone, Copy, PartialEq)]
enum Comparison {
    Plain,
    /// The order of the keys: both are `OrderedDict`s.
    Ordered,
    /// What is missing counts as none: both are `Counter`s.
    Counts,
}

impl Comparison {
    fn of(left: &Dict, right: &Dict) -> Self {
        match (left.kind(), right.kind()) {
            (dict::Kind::Ordered, dict::Kind::Ordered) => Self::Ordered,
            (dict::Kind::Counter, dict::Kind::Counter) => Self::Counts,
            _ => Self::Plain,
        }
    }

    fn of_key(self, dict: &Dict, key: &Key) -> Option<Value> {
        dict.get(key).or((self == Self::Counts).then_some(Value::Int(0)))
    }
}

/// Compares containers among whose elements user or host code must be asked.
fn compare<'a>(
    machine: &'a Machine,
    operator: Operator,
    left: &'a Value,
    right: &'a Value,
    depth: usize,
) -> Deep<'a, Result<Value, Raise>> {
    Deep::new(async move {
        if depth > DEPTH {
            return Err(too_deep());
        }
        let (left_items, right_items) = match (left, right) {
            (Value::List(left), Value::List(right)) => (left.to_vec(), right.to_vec()),
            (Value::Tuple(left), Value::Tuple(right)) => (left.to_vec().into(), right.to_vec().into()),
            (Value::Dict(left), Value::Dict(right)) if !matches!(operator, Operator::Equal | Operator::NotEqual) => {
                return counters::order(machine, operator, left, right).await.map(Value::Bool);
            }
            (Value::Dict(left), Value::Dict(right)) => {
                let equal = dicts_equal(machine, left, right, depth).await?;
                return Ok(Value::Bool(equal == (operator == Operator::Equal)));
            }
            (Value::Set(_), Value::Set(_)) => {
                let (left, right) = (Value::list(items(left)), Value::list(items(right)));
                let outcome = set::compare_items(machine, operator, left, right)?;
                return machine.settle(outcome).await;
            }
            _ => {
                let outcome = binary(machine, operator, left, right)?;
                return machine.settle(outcome).await;
            }
        };
        let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        if equality && left_items.len() != right_items.len() {
            return Ok(Value::Bool(operator == Operator::NotEqual));
        }
        for (mine, yours) in left_items.iter().zip(&right_items) {
            machine.charge_fuel(1)?;
            let same = match same_or_equal_now(machine, mine, yours)? {
                Some(same) => same,
                None => {
                    let equal = compare(machine, Operator::Equal, mine, yours, depth + 1).await?;
                    truth(machine, &equal).await?
                }
            };
            if same {
                continue;
            }
            return match equality {
                true => Ok(Value::Bool(operator == Operator::NotEqual)),
                false => compare(machine, operator, mine, yours, depth + 1).await,
            };
        }
        Ok(Value::Bool(holds(operator, Some(left_items.len().cmp(&right_items.len())))))
    })
}

async fn dicts_equal(machine: &Machine, left: &Dict, right: &Dict, depth: usize) -> Result<bool, Raise> {
    let comparison = Comparison::of(left, right);
    if comparison != Comparison::Counts && left.len() != right.len() {
        return Ok(false);
    }
    let (ours, theirs) = (left.keys(), right.keys());
    if comparison == Comparison::Ordered {
        for (own, other) in ours.iter().zip(&theirs) {
            machine.charge_fuel(1)?;
            if !same_or_equal(machine, own, other).await? {
                return Ok(false);
            }
        }
    }
    let counts = if comparison == Comparison::Counts { theirs.into_vec() } else { Vec::new() };
    for original in ours.into_iter().chain(counts) {
        machine.charge_fuel(1)?;
        let own = mapping::resolve(machine, left, &original).await?;
        let key = mapping::resolve(machine, right, &original).await?;
        let (Some(value), Some(other)) = (comparison.of_key(left, &own), comparison.of_key(right, &key)) else {
            return Ok(false);
        };
        let equal = match same_or_equal_now(machine, &value, &other)? {
            Some(equal) => equal,
            None => {
                let equal = compare(machine, Operator::Equal, &value, &other, depth + 1).await?;
                truth(machine, &equal).await?
            }
        };
        if !equal {
            return Ok(false);
        }
    }
    Ok(true)
}

fn items(value: &Value) -> Vec<Value> {
    match value {
        Value::Set(set) => set.items().into_vec(),
        _ => Vec::new(),
    }
}

fn too_deep() -> Raise {
    Raise::new(Kind::RecursionError, "maximum recursion depth exceeded in comparison")
}

/// `hash(value)`: CPython's own numbers for numbers and tuples of them.
///
/// # Errors
/// `TypeError` for what cannot be hashed; what `__hash__` raises.
pub async fn hash(machine: &Machine, value: &Value) -> Result<i64, Raise> {
    nested_hash(machine.clone(), value.clone(), 0).await
}

fn nested_hash(machine: Machine, value: Value, depth: usize) -> Deep<'static, Result<i64, Raise>> {
    Deep::new(async move {
        if depth > DEPTH {
            return Err(Raise::new(Kind::RecursionError, "maximum recursion depth exceeded"));
        }
        machine.charge_fuel(1)?;
        let value = match &value {
            Value::Host(object) => object.number().unwrap_or(value),
            _ => value,
        };
        Ok(match &value {
            Value::Bool(truth) => i64::from(*truth),
            Value::Int(number) => hash::small(*number),
            Value::Big(number) => {
                ledger::scanned(&machine, number.bits() / 8)?;
                hash::integer(number)
            }
            Value::Float(number) => hash::float(*number).unwrap_or_else(|| place(&value)),
            Value::Complex(real, imaginary) => hash::complex(*real, *imaginary).unwrap_or_else(|| place(&value)),
            Value::Str(text) => {
                ledger::scanned(&machine, text.len() as u64)?;
                hash::text(text.as_bytes())
            }
            Value::Bytes(bytes) => {
                ledger::scanned(&machine, bytes.len() as u64)?;
                hash::text(bytes)
            }
            Value::Tuple(items) => {
                let mut hashes = Vec::with_capacity(items.len());
                for item in items.iter() {
                    hashes.push(nested_hash(machine.clone(), item.clone(), depth + 1).await?);
                }
                hash::tuple(&hashes)
            }
            Value::Range(range) => {
                let (length, none) = (range.len(), hash::small(place(&Value::None)));
                let start = if length > 0 { hash::small(range.start) } else { none };
                let step = if length > 1 { hash::small(range.step) } else { none };
                hash::tuple(&[hash::small(length as i64), start, step])
            }
            Value::Set(set) if set.is_frozen() => {
                let mut hashes = Vec::with_capacity(set.len());
                for item in set.items() {
                    hashes.push(nested_hash(machine.clone(), item, depth + 1).await?);
                }
                hash::frozen(hashes)
            }
            Value::List(_) | Value::Dict(_) | Value::Set(_) | Value::Slice(_) => return Err(key::unhashable(&value)),
            Value::Instance(_) => match (special(&value, "__hash__"), payload(&value)) {
                (Some(Value::None), _) => return Err(key::unhashable(&value)),
                (Some(method), _) => {
                    let outcome = call_special(&machine, &method, &value, vec![])?;
                    match machine.settle(outcome).await? {
                        Value::Big(number) => hash::integer(&number),
                        number => match number.as_int() {
                            Some(number) => hash::not_minus_one(number),
                            None => return Err(Raise::type_error("__hash__ method should return an integer")),
                        },
                    }
                }
                (None, Some(payload)) => nested_hash(machine.clone(), payload, depth + 1).await?,
                (None, None) => place(&value),
            },
            Value::Host(object) => match object.hash(&machine)? {
                Some(hash) => hash,
                None => place(&value),
            },
            value => place(value),
        })
    })
}

fn place(value: &Value) -> i64 {
    hash::place(&value.identity())
}
