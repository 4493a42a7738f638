//! Operators on any two values: builtin types here, host objects and users' special methods by asking them.
//!
//! What may have to run other code returns a [`HostResult`], ready where it did not, or is `async`.

mod arithmetic;
mod compare;
mod items;
mod iterate;

use std::future::Future;

use futures::FutureExt;

use crate::class::Decorated;
use crate::exceptions::Kind;
use crate::host::{Args, HostResult, Operator, Outcome};
use crate::machine::Machine;
use crate::modules::typing;
use crate::raise::Raise;
use crate::types::{self, Type, dict, ledger, sequence, set, string, type_name};
use crate::value::Value;

pub use compare::{equal, equal_now, hash, less, less_now, same_or_equal, same_or_equal_now};
pub use items::{
    contains, delete_item, get_item, index_clamped, index_fitting, length, length_now, length_outcome, mapping_entries,
    set_item, slice_index,
};
pub use iterate::{Iter, Stepped, collect, collect_now, is_iterable, iterate, next, with_items};

/// Fuel for making a small object whose bytes are not counted (an iterator, a bound method), so that fuel bounds how
/// many there can be.
pub const UNCHARGED: u64 = 8;

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
        (Value::Str(left), Value::Str(right)) => match operator {
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

/// What mutable builtin containers do with `+=` and its like; `bound` is what the target is bound to.
fn grow_in_place(machine: &Machine, operator: Operator, left: &Value, right: &Value, bound: &Value) -> HostResult {
    let bound = bound.clone();
    let method = match (operator, left) {
        (Operator::Add, Value::List(_)) => "extend",
        (Operator::Mul, Value::List(list)) => {
            let Some(count) = right.as_int() else { return Ok(Outcome::NotImplemented) };
            let repeated = repeat(machine, &list.to_vec(), count)?;
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
    match crate::types::call_method(machine, left, method, Args::of([right.clone()])) {
        Some(done) => then(machine, done, move |_, _| Ok(bound.into())),
        None => Ok(Outcome::NotImplemented),
    }
}

fn try_both(machine: &Machine, operator: Operator, left: &Value, right: &Value, suffix: &'static str) -> HostResult {
    let dynamic = |value: &Value| matches!(value, Value::Host(_) | Value::Instance(_));
    let (own_left, own_right) = (left.clone(), right.clone());
    let last = move |_: &Machine| match operator {
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
                Some(payload) if reflected => builtin(machine, operator, other, &payload),
                Some(payload) => builtin(machine, operator, &payload, other),
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

/// What builtin types do with each other; `NotImplemented` where they do not go together.
fn builtin(machine: &Machine, operator: Operator, left: &Value, right: &Value) -> HostResult {
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
            let mut items = left.to_vec();
            items.extend(right.to_vec());
            sequence::list(machine, items)
        }
        (Operator::Add, Value::Tuple(left), Value::Tuple(right)) => {
            machine.charge_fuel((left.len() + right.len()) as u64 / 16)?;
            sequence::tuple(machine, [&left[..], &right[..]].concat())
        }
        (Operator::Mul, items, count) | (Operator::Mul, count, items)
            if matches!(count, Value::Int(_) | Value::Bool(_) | Value::Big(_)) =>
        {
            multiply(machine, items, count)
        }
        (Operator::Mul, items, count) if special(count, "__index__").is_some() => {
            multiply(machine, items, &Value::Int(index_fitting(machine, count)?))
        }
        (Operator::Mod, Value::Str(text), arguments) => crate::format::percent(machine, text, arguments),
        (Operator::BitOr, Value::Dict(left), Value::Dict(_)) => {
            let merged = std::rc::Rc::new(left.copy(machine)?);
            let done = dict::merge(machine, merged.clone(), Some(right.clone()), Vec::new());
            then(machine, done, move |_, _| Ok(Value::Dict(merged).into()))
        }
        (_, Value::Dict(left), Value::Dict(right))
            if left.type_of() == Type::Counter && right.type_of() == Type::Counter =>
        {
            combine_counters(machine, operator, left, right)
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
        (Operator::BitOr, left, right) if typing::is_annotation(left) && typing::is_annotation(right) => {
            Ok(typing::union(machine, vec![left.clone(), right.clone()])?.into())
        }
        _ => Ok(Outcome::NotImplemented),
    }
}

fn multiply(machine: &Machine, items: &Value, count: &Value) -> HostResult {
    let is_sequence = matches!(items, Value::Str(_) | Value::Bytes(_) | Value::List(_) | Value::Tuple(_));
    if !is_sequence {
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
    machine.charge_memory(sequence::bytes(length))?;
    machine.release_memory(sequence::bytes(length));
    machine.charge_fuel(length as u64 / 16)?;
    let mut repeated = Vec::with_capacity(length);
    for _ in 0..if items.is_empty() { 0 } else { count } {
        repeated.extend_from_slice(items);
    }
    Ok(repeated)
}

/// `+`, `-`, `|` and `&` of counters keep positive counts only.
fn combine_counters(machine: &Machine, operator: Operator, left: &dict::Dict, right: &dict::Dict) -> HostResult {
    let result = dict::Dict::of_kind(dict::Kind::Counter);
    let zero = || Value::Int(0);
    let mut entries = left.keyed_entries();
    entries.extend(right.keyed_entries().into_iter().filter(|(key, ..)| !left.contains(key)));
    for (key, original, _) in entries {
        let (mine, yours) = (left.get(&key).unwrap_or_else(zero), right.get(&key).unwrap_or_else(zero));
        let count = match operator {
            Operator::Add | Operator::Sub => match binary(machine, operator, &mine, &yours)? {
                Outcome::Ready(count) => count,
                _ => return Ok(Outcome::NotImplemented),
            },
            Operator::BitOr | Operator::BitAnd => {
                let less = less_now(machine, &mine, &yours)?.unwrap_or(false);
                if less == (operator == Operator::BitOr) { yours } else { mine }
            }
            _ => return Ok(Outcome::NotImplemented),
        };
        if less_now(machine, &zero(), &count)?.unwrap_or(false) {
            result.insert(machine, key, original, count)?;
        }
    }
    Ok(Value::Dict(std::rc::Rc::new(result)).into())
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
            return combine_counters(machine, sign, left, right);
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

/// Returns the builtin value that an instance of a class like `class Stack(list)` stands for, or the value itself.
pub fn plain(value: &Value) -> Value {
    payload(value).unwrap_or_else(|| value.clone())
}

/// Returns the builtin value that an instance stands for.
pub fn payload(value: &Value) -> Option<Value> {
    match value {
        Value::Instance(instance) => instance.payload(),
        _ => None,
    }
}

/// Finds a special method in the class of an instance.
pub fn special(value: &Value, name: &str) -> Option<Value> {
    match value {
        Value::Instance(instance) => instance.class().find(name),
        _ => None,
    }
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
    crate::call::call(machine, callee, args)
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Direct,
    Reflected,
    InPlace,
}

/// Returns the name of the special method behind an operator: `__add__`, `__radd__`, `__iadd__`.
fn special_name(operator: Operator, form: Form) -> String {
    let (name, mirrored) = match operator {
        Operator::Equal => ("eq", Some("eq")),
        Operator::NotEqual => ("ne", Some("ne")),
        Operator::Less => ("lt", Some("gt")),
        Operator::LessEqual => ("le", Some("ge")),
        Operator::Greater => ("gt", Some("lt")),
        Operator::GreaterEqual => ("ge", Some("le")),
        Operator::Add => ("add", None),
        Operator::Sub => ("sub", None),
        Operator::Mul => ("mul", None),
        Operator::MatMul => ("matmul", None),
        Operator::Div => ("truediv", None),
        Operator::FloorDiv => ("floordiv", None),
        Operator::Mod => ("mod", None),
        Operator::Pow => ("pow", None),
        Operator::LeftShift => ("lshift", None),
        Operator::RightShift => ("rshift", None),
        Operator::BitAnd => ("and", None),
        Operator::BitOr => ("or", None),
        Operator::BitXor => ("xor", None),
        Operator::Negative => ("neg", None),
        Operator::Positive => ("pos", None),
        Operator::Invert => ("invert", None),
    };
    match (form, mirrored) {
        (Form::Direct, _) => format!("__{name}__"),
        (Form::Reflected, Some(mirrored)) => format!("__{mirrored}__"),
        (Form::Reflected, None) => format!("__r{name}__"),
        (Form::InPlace, _) => format!("__i{name}__"),
    }
}

/// Returns an operator as it is written.
pub fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Add | Operator::Positive => "+",
        Operator::Sub | Operator::Negative => "-",
        Operator::Mul => "*",
        Operator::MatMul => "@",
        Operator::Div => "/",
        Operator::FloorDiv => "//",
        Operator::Mod => "%",
        Operator::Pow => "**",
        Operator::LeftShift => "<<",
        Operator::RightShift => ">>",
        Operator::BitAnd => "&",
        Operator::BitOr => "|",
        Operator::BitXor => "^",
        Operator::Equal => "==",
        Operator::NotEqual => "!=",
        Operator::Less => "<",
        Operator::LessEqual => "<=",
        Operator::Greater => ">",
        Operator::GreaterEqual => ">=",
        Operator::Invert => "~",
    }
}

fn unsupported(operator: Operator, left: &Value, right: &Value, suffix: &str) -> Raise {
    let symbol = symbol(operator);
    let (left_name, right_name) = (type_name(left), type_name(right));
    let is_sequence =
        |value: &Value| matches!(plain(value), Value::Str(_) | Value::Bytes(_) | Value::List(_) | Value::Tuple(_));
    let message = match (operator, plain(left)) {
        (Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual, _) => {
            format!("'{symbol}' not supported between instances of '{left_name}' and '{right_name}'")
        }
        (Operator::Add, Value::Str(_) | Value::List(_) | Value::Tuple(_)) => {
            let kind = crate::types::builtin_type(&plain(left)).map_or("sequence", Type::name);
            format!("can only concatenate {kind} (not \"{right_name}\") to {kind}")
        }
        (Operator::Add, Value::Bytes(_)) => format!("can't concat {right_name} to bytes"),
        (Operator::Mul, _) if is_sequence(left) => {
            format!("can't multiply sequence by non-int of type '{right_name}'")
        }
        (Operator::Mul, _) if is_sequence(right) => {
            format!("can't multiply sequence by non-int of type '{left_name}'")
        }
        (Operator::Pow, _) if suffix.is_empty() => {
            format!("unsupported operand type(s) for ** or pow(): '{left_name}' and '{right_name}'")
        }
        _ => format!("unsupported operand type(s) for {symbol}{suffix}: '{left_name}' and '{right_name}'"),
    };
    Raise::type_error(message)
}
