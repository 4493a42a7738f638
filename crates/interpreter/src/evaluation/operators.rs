//! Operators on any two values: builtin types here, host objects and users' special methods by asking them.
//!
//! What may have to run other code returns a [`HostResult`], ready where it did not, or is `async`.

mod arithmetic;
mod builtin;
mod compare;
mod counters;
mod items;
mod iterate;
mod names;

use std::future::Future;

use futures::FutureExt;

use crate::values::class::Decorated;
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostResult, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{self, Type, dict, type_name};
use crate::values::value::Value;

use builtin::{builtin, grow_in_place};
use names::{Form, special_name, unsupported};

pub use crate::values::class::{payload, plain, special};
pub use compare::{equal, equal_now, hash, less, less_now, same_or_equal, same_or_equal_now};
pub use items::{
    contains, delete_item, get_item, index_clamped, index_fitting, index_if_any, length, length_now, length_outcome,
    mapping_entries, set_item, slice_index, span,
};
pub use iterate::{Iter, Stepped, collect, collect_now, is_iterable, iterate, next, with_items};
pub use names::symbol;

/// Fuel for making a small object whose bytes are not counted (an iterator, a bound method), so that fuel bounds how
/// many there can be.
pub const UNCHARGED: u64 = 8;

/// Strings that are compared as fast as a step is done.
const LONG: usize = 1024;

/// Computes numbers, where that needs no large integer; `None` for everything else.
#[inline]
pub fn binary_now(operator: Operator, left: &Value, right: &Value) -> Option<Result<Value, Raise>> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => arithmetic::small(operator, *left, *right),
        (Value::Float(left), Value::Float(right)) => arithmetic::float_now(operator, *left, *right),
        (Value::Float(left), Value::Int(right)) if right.unsigned_abs() < 1 << 53 => {
            arithmetic::float_now(operator, *left, *right as f64)
        }
        (Value::Int(left), Value::Float(right)) if left.unsigned_abs() < 1 << 53 => {
            arithmetic::float_now(operator, *left as f64, *right)
        }
        // Comparing long ones has to be paid for.
        (Value::Str(left), Value::Str(right)) if left.len() != right.len() || left.len() < LONG => match operator {
            Operator::Equal => Some(Ok(Value::Bool(left == right))),
            Operator::NotEqual => Some(Ok(Value::Bool(left != right))),
            _ => None,
        },
        _ => None,
    }
}

/// `left ⋄ right`. The outcome is never `NotImplemented`.
///
/// # Errors
/// `TypeError` for operands that do not go together; what the operands raise.
pub fn binary(machine: &Machine, operator: Operator, left: &Value, right: &Value) -> HostResult {
    if let Some(done) = binary_now(operator, left, right) {
        return done.map(Outcome::Ready);
    }
    try_both(machine, operator, left, right, "")
}

/// `left ⋄= right`. The outcome is never `NotImplemented`.
///
/// # Errors
/// As [`binary`].
pub fn in_place(machine: &Machine, operator: Operator, left: &Value, right: &Value) -> HostResult {
    if let Some(done) = binary_now(operator, left, right) {
        return done.map(Outcome::Ready);
    }
    let first = match left {
        Value::Host(object) => object.clone().in_place(machine, operator, right),
        Value::Instance(_) => match special(left, &special_name(operator, Form::InPlace)) {
            Some(method) => call_special(machine, &method, left, vec![right.clone()]),
            None => grow_in_place(machine, operator, &plain(left), right, left),
        },
        _ => grow_in_place(machine, operator, left, right, left),
    };
    let (left, right) = (left.clone(), right.clone());
    chain(machine, first, move |machine| try_both(machine, operator, &left, &right, "="))
}

/// Returns a sequence and how often it is to be repeated, where that is an object of the host's.
fn repeated(machine: &Machine, left: &Value, right: &Value) -> Option<(Value, Value)> {
    let pair = |sequence: &Value, count: &Value| match (plain(sequence), count) {
        (sequence @ (Value::Str(_) | Value::Bytes(_) | Value::List(_) | Value::Tuple(_)), Value::Host(count)) => {
            Some((sequence, count.integer(machine, true).ok().flatten()?))
        }
        _ => None,
    };
    pair(left, right).or_else(|| pair(right, left))
}

fn try_both(machine: &Machine, operator: Operator, left: &Value, right: &Value, suffix: &'static str) -> HostResult {
    let dynamic = |value: &Value| matches!(value, Value::Host(_) | Value::Instance(_));
    let (own_left, own_right) = (left.clone(), right.clone());
    let last = move |machine: &Machine| match operator {
        // What stands for a whole number repeats: a tensor of one.
        Operator::Mul if let Some((sequence, count)) = repeated(machine, &own_left, &own_right) => {
            builtin(machine, operator, &sequence, &count)
        }
        Operator::Equal => Ok(Value::Bool(own_left.is(&own_right)).into()),
        Operator::NotEqual => Ok(Value::Bool(!own_left.is(&own_right)).into()),
        _ => Err(unsupported(operator, &own_left, &own_right, suffix)),
    };
    if !dynamic(left) && !dynamic(right) {
        return chain(machine, builtin(machine, operator, left, right), last);
    }
    let (first, second) = (left.clone(), right.clone());
    if derives(right, left) && special(right, &special_name(operator, Form::Reflected)).is_some() {
        let attempted = attempt(machine, operator, right, left, true);
        return chain(machine, attempted, move |machine| {
            chain(machine, attempt(machine, operator, &first, &second, false), last)
        });
    }
    chain(machine, attempt(machine, operator, left, right, false), move |machine| {
        chain(machine, attempt(machine, operator, &second, &first, true), last)
    })
}

/// Says whether the class of one instance derives from, and is not, that of the other.
fn derives(value: &Value, other: &Value) -> bool {
    match (value, other) {
        (Value::Instance(value), Value::Instance(other)) => {
            !std::rc::Rc::ptr_eq(value.class(), other.class()) && value.class().is_subclass(other.class())
        }
        _ => false,
    }
}

/// Asks one operand: `receiver ⋄ other`, or `other ⋄ receiver` where `reflected`.
///
/// # Errors
/// What the operand raises.
pub fn attempt(machine: &Machine, operator: Operator, receiver: &Value, other: &Value, reflected: bool) -> HostResult {
    match receiver {
        Value::Host(object) => object.clone().binary(machine, operator, other, reflected),
        Value::Instance(_) => {
            let form = if reflected { Form::Reflected } else { Form::Direct };
            if let Some(method) = special(receiver, &special_name(operator, form)) {
                if matches!(method, Value::None) {
                    return Ok(Outcome::NotImplemented);
                }
                return call_special(machine, &method, receiver, vec![other.clone()]);
            }
            if operator == Operator::NotEqual
                && let Some(method) = special(receiver, "__eq__")
            {
                let equal = call_special(machine, &method, receiver, vec![other.clone()]);
                return then(machine, equal, |machine, equal| match equal {
                    Value::NotImplemented => Ok(Value::NotImplemented.into()),
                    equal => not(machine, equal),
                });
            }
            match payload(receiver) {
                Some(_) if reflected => builtin(machine, operator, other, receiver),
                Some(_) => builtin(machine, operator, receiver, other),
                None => Ok(Outcome::NotImplemented),
            }
        }
        _ if reflected => builtin(machine, operator, other, receiver),
        _ => builtin(machine, operator, receiver, other),
    }
}

fn not(machine: &Machine, value: Value) -> HostResult {
    if let Some(truth) = truth_now(machine, &value)? {
        return Ok(Value::Bool(!truth).into());
    }
    let machine = machine.clone();
    later(async move { Ok(Value::Bool(!truth(&machine, &value).await?)) })
}

/// `⋄ operand`. The outcome is never `NotImplemented`.
///
/// # Errors
/// `TypeError` for operands without the operator; what the operand raises.
pub fn unary(machine: &Machine, operator: Operator, operand: &Value) -> HostResult {
    let outcome = match operand {
        Value::Host(object) => object.clone().unary(machine, operator)?,
        Value::Instance(_) => {
            let name = match operator {
                Operator::Negative => "__neg__",
                Operator::Positive => "__pos__",
                _ => "__invert__",
            };
            match (special(operand, name), payload(operand)) {
                (Some(method), _) => return call_special(machine, &method, operand, vec![]),
                (None, Some(payload)) => return unary(machine, operator, &payload),
                (None, None) => Outcome::NotImplemented,
            }
        }
        Value::Dict(dict) if dict.type_of() == Type::Counter => {
            let empty = dict::Dict::of_kind(dict::Kind::Counter);
            let (left, right) = match operator {
                Operator::Negative => (&empty, &**dict),
                _ => (&**dict, &empty),
            };
            let sign = if operator == Operator::Negative { Operator::Sub } else { Operator::Add };
            return counters::combine(machine, sign, left, right);
        }
        _ => match arithmetic::Number::of(operand) {
            Some(number) => match arithmetic::unary(machine, operator, number)? {
                Some(value) => value.into(),
                None => Outcome::NotImplemented,
            },
            None => Outcome::NotImplemented,
        },
    };
    if !matches!(outcome, Outcome::NotImplemented) {
        return Ok(outcome);
    }
    let (symbol, name) = (symbol(operator), type_name(operand));
    Err(Raise::type_error(format!("bad operand type for unary {symbol}: '{name}'")))
}

pub use arithmetic::{division, multiplication};

/// `pow(base, exponent, modulus)` of integers.
///
/// # Errors
/// As CPython.
pub fn modular_power(machine: &Machine, base: &Value, exponent: &Value, modulus: &Value) -> Result<Value, Raise> {
    arithmetic::modular_power(machine, base, exponent, modulus)
}

/// `bool(value)` without running user code; `None` where that must run.
///
/// # Errors
/// What a host object raises.
#[inline]
pub fn truth_now(machine: &Machine, value: &Value) -> Result<Option<bool>, Raise> {
    Ok(Some(match value {
        Value::Bool(truth) => *truth,
        Value::None => false,
        Value::Int(number) => *number != 0,
        Value::Float(number) => *number != 0.0,
        Value::Complex(real, imaginary) => *real != 0.0 || *imaginary != 0.0,
        Value::Str(text) => !text.is_empty(),
        Value::Bytes(bytes) => !bytes.is_empty(),
        Value::List(list) => !list.is_empty(),
        Value::Tuple(items) => !items.is_empty(),
        Value::Dict(dict) => !dict.is_empty(),
        Value::Set(set) => !set.is_empty(),
        Value::Range(range) => !range.is_empty(),
        Value::Host(object) => match object.truth(machine)? {
            Some(truth) => truth,
            None => object.length(machine)?.is_none_or(|length| length > 0),
        },
        Value::Instance(_) => {
            if special(value, "__bool__").is_some() || special(value, "__len__").is_some() {
                return Ok(None);
            }
            return payload(value).map_or(Ok(Some(true)), |payload| truth_now(machine, &payload));
        }
        _ => true,
    }))
}

/// `bool(value)`.
///
/// # Errors
/// What the value raises.
pub async fn truth(machine: &Machine, value: &Value) -> Result<bool, Raise> {
    if let Some(truth) = truth_now(machine, value)? {
        return Ok(truth);
    }
    if let Some(method) = special(value, "__bool__") {
        let truth = machine.settle(call_special(machine, &method, value, vec![])?).await?;
        return match truth {
            Value::Bool(truth) => Ok(truth),
            other => {
                let name = type_name(&other);
                Err(Raise::type_error(format!("__bool__ should return bool, returned {name}")))
            }
        };
    }
    Ok(length(machine, value).await? != 0)
}

/// `bool(value)` for options of builtin functions.
///
/// # Errors
/// What the value raises; `RuntimeError` where its `__bool__` has to wait for the model.
pub fn truth_sync(machine: &Machine, value: &Value) -> Result<bool, Raise> {
    match truth_now(machine, value)? {
        Some(truth) => Ok(truth),
        None => match truth(machine, value).now_or_never() {
            Some(truth) => truth,
            None => Err(waits()),
        },
    }
}

/// Returns the value of an outcome that has to be there at once, as an index has.
///
/// # Errors
/// What the outcome raises; `RuntimeError` where it has to wait for the model.
pub fn at_once(machine: &Machine, outcome: Outcome) -> Result<Value, Raise> {
    match outcome {
        Outcome::Ready(value) => Ok(value),
        Outcome::Wait(_) => Err(waits()),
        pending => machine.settle(pending).now_or_never().unwrap_or_else(|| Err(waits())),
    }
}

fn waits() -> Raise {
    Raise::runtime_error("this special method cannot wait for the model here")
}

/// `left is right`.
pub fn is(left: &Value, right: &Value) -> bool {
    left.is(right)
}

/// Calls a special method that [`special`] found.
///
/// # Errors
/// What it raises.
pub fn call_special(machine: &Machine, method: &Value, receiver: &Value, args: Vec<Value>) -> HostResult {
    let mut positional = Vec::with_capacity(args.len() + 1);
    match method {
        Value::Decorated(decorated) => match &**decorated {
            Decorated::StaticMethod(function) => return call(machine, function, Args::of(args)),
            Decorated::ClassMethod(function) => {
                positional.push(types::type_of(receiver));
                positional.extend(args);
                return call(machine, function, Args::of(positional));
            }
            Decorated::Property(_) => {}
        },
        Value::Function(_) | Value::Native(_) => positional.push(receiver.clone()),
        _ => {}
    }
    positional.extend(args);
    call(machine, method, Args::of(positional))
}

/// Calls any callable.
///
/// # Errors
/// What it raises.
pub fn call(machine: &Machine, callee: &Value, args: Args) -> HostResult {
    crate::evaluation::call::call(machine, callee, args)
}

/// Reads an attribute, or finds that there is none.
///
/// # Errors
/// What reading raises, `AttributeError` apart.
pub async fn attribute_if_any(machine: &Machine, object: &Value, name: &str) -> Result<Option<Value>, Raise> {
    match machine.get_attribute(object, name).await {
        Ok(value) => Ok(Some(value)),
        Err(raise) if raise.is(Kind::AttributeError) => Ok(None),
        Err(raise) => Err(raise),
    }
}

/// Wraps a future as an outcome.
///
/// # Errors
/// Never: the type is that of the functions that end with this.
pub fn later(future: impl Future<Output = Result<Value, Raise>> + 'static) -> HostResult {
    Ok(Outcome::Later(Box::pin(future)))
}

/// Goes on with the value of an outcome, at once where it is ready.
///
/// # Errors
/// Those of the outcome and of going on.
pub fn then(
    machine: &Machine,
    outcome: HostResult,
    go_on: impl FnOnce(&Machine, Value) -> HostResult + 'static,
) -> HostResult {
    match outcome? {
        Outcome::Ready(value) => go_on(machine, value),
        pending => {
            let machine = machine.clone();
            later(async move {
                let value = machine.settle(pending).await?;
                let outcome = go_on(&machine, value)?;
                machine.settle(outcome).await
            })
        }
    }
}

/// Tries the next way where an outcome is, or resolves to, `NotImplemented`.
fn chain(machine: &Machine, first: HostResult, next: impl FnOnce(&Machine) -> HostResult + 'static) -> HostResult {
    match first? {
        Outcome::NotImplemented | Outcome::Ready(Value::NotImplemented) => next(machine),
        ready @ Outcome::Ready(_) => Ok(ready),
        pending => {
            let machine = machine.clone();
            later(async move {
                match machine.settle(pending).await? {
                    Value::NotImplemented => {
                        let outcome = next(&machine)?;
                        machine.settle(outcome).await
                    }
                    value => Ok(value),
                }
            })
        }
    }
}
