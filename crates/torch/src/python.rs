//! Reading and making Python values.

use std::any::Any;
use std::rc::Rc;

use futures::FutureExt;
use interpreter::raise::Raise;
use interpreter::types::{Type, float};
use interpreter::{Args, HostObject, HostResult, Iteration, Machine, Outcome, Value};
use num_bigint::BigInt;
use num_traits::ToPrimitive;

use crate::array::Array;
use crate::dispatch::{Number, Output};
use crate::size::Size;
use crate::tensor::Tensor;

/// Returns the host object of this type behind a value.
pub fn host<T: HostObject>(value: &Value) -> Option<Rc<T>> {
    let Value::Host(object) = value else { return None };
    let any: Rc<dyn Any> = object.clone();
    any.downcast().ok()
}

/// Makes a bound method, for `get_attribute`.
pub fn method<T: HostObject>(object: Rc<T>, name: &str) -> Value {
    let name: Rc<str> = name.into();
    let called = name.clone();
    Value::native(name, move |machine, args| object.clone().call_method(machine, &called, &args))
}

/// Returns `type(value).__name__` as PyTorch's messages print it.
pub fn type_name(value: &Value) -> String {
    interpreter::types::type_name(value).to_string()
}

/// Returns the elements of a list, a tuple or a `torch.Size`.
pub fn sequence(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::List(list) => Some(list.to_vec().into_vec()),
        Value::Tuple(tuple) => Some(tuple.to_vec()),
        _ => {
            if let Some(size) = host::<Size>(value) {
                return Some(size.sizes().iter().map(|&size| Value::Int(size)).collect());
            }
            host::<crate::named::NamedTuple>(value).map(|named| named.items().to_vec())
        }
    }
}

/// Returns the elements of anything that holds them already: a sequence, a range, or a tensor's rows.
///
/// # Errors
/// What indexing a tensor raises.
pub fn elements(machine: &Machine, value: &Value) -> Result<Option<Vec<Value>>, Raise> {
    if let Some(items) = sequence(value) {
        return Ok(Some(items));
    }
    match value {
        Value::Range(range) => {
            machine.charge_fuel(range.len() as u64)?;
            Ok(Some((0..range.len()).filter_map(|at| range.get(at)).collect()))
        }
        value => match Tensor::of(value) {
            Some(tensor) if !tensor.sizes().is_empty() => {
                let rows = tensor.unbind(machine)?;
                Ok(Some(rows.iter().map(Tensor::value).collect()))
            }
            _ => Ok(None),
        },
    }
}

/// Returns an `int`, not a `bool`.
pub fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

/// Returns a Python number that PyTorch's scalars hold: of integers, those of 64 bits, signed or not. See [`too_big`].
pub fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Bool(flag) => Some(Number::Bool(*flag)),
        Value::Int(number) => Some(Number::Int(*number)),
        Value::Big(number) => number.to_u64().map(Number::Unsigned),
        Value::Float(number) => Some(Number::Float(float::plain_bits(*number))),
        Value::Complex(real, imaginary) => {
            Some(Number::Complex(float::plain_bits(*real), float::plain_bits(*imaginary)))
        }
        // A numpy scalar counts as the number that it is.
        value => host::<Array>(value)
            .filter(|array| array.is_scalar())
            .and_then(|array| number(&array.unpaid().ok()?.item().ok()?)),
    }
}

/// Returns the error of an integer that PyTorch's scalars do not hold; `None` for all other values.
pub fn too_big(value: &Value) -> Option<Raise> {
    let Value::Big(number) = value else { return None };
    let text = match (number.sign(), number.to_u64()) {
        (_, Some(_)) => return None,
        (num_bigint::Sign::Minus, _) => "can't convert negative int to unsigned",
        _ => "int too big to convert",
    };
    Some(Raise::new(interpreter::Kind::OverflowError, text))
}

/// The error of an integer beyond 64 bits where PyTorch takes a C integer.
pub fn no_long() -> Raise {
    Raise::value_error("Overflow when unpacking long long")
}

/// Returns a real Python number.
pub fn float(value: &Value) -> Option<f64> {
    if let Value::Big(number) = value {
        return number.to_f64().filter(|number| number.is_finite());
    }
    match number(value)? {
        Number::Bool(flag) => Some(f64::from(u8::from(flag))),
        Number::Int(number) => Some(number as f64),
        Number::Unsigned(number) => Some(number as f64),
        Number::Float(number) => Some(number),
        Number::Complex(..) => None,
    }
}

/// Reads a seed: any integer that fits 64 bits, signed or not.
///
/// # Errors
/// `RuntimeError` for larger ones, `TypeError` for anything else.
pub fn seed(value: Option<&Value>) -> Result<u64, Raise> {
    match value {
        Some(Value::Int(seed)) => Ok(*seed as u64),
        Some(Value::Bool(seed)) => Ok(u64::from(*seed)),
        Some(Value::Float(seed)) => Ok(*seed as i64 as u64),
        Some(Value::Big(seed)) => {
            seed.to_u64().ok_or_else(|| Raise::runtime_error("Overflow when unpacking long long"))
        }
        Some(other) => match Tensor::of(other) {
            Some(tensor) => Ok(tensor.item()?.as_int().unwrap_or_default() as u64),
            None => Err(Raise::type_error(format!("manual_seed expected a long, but got {}", type_name(other)))),
        },
        None => Err(Raise::type_error("manual_seed() missing 1 required positional argument: 'seed'")),
    }
}

/// Makes an integer of 64 unsigned bits.
pub fn unsigned(number: u64) -> Value {
    Value::integer(BigInt::from(number))
}

/// Returns `bool(value)` for values whose truth needs no user code.
pub fn truth(machine: &Machine, value: &Value) -> Result<bool, Raise> {
    Ok(match value {
        Value::None => false,
        Value::Bool(flag) => *flag,
        Value::Int(number) => *number != 0,
        Value::Float(number) => *number != 0.0,
        Value::Str(text) => !text.is_empty(),
        Value::List(list) => !list.is_empty(),
        Value::Tuple(tuple) => !tuple.is_empty(),
        Value::Host(object) => match object.truth(machine)? {
            Some(truth) => truth,
            None => object.length(machine)?.is_none_or(|length| length != 0),
        },
        _ => true,
    })
}

/// Returns which of Python's number types a type object is.
pub fn number_type(value: &Value) -> Option<program::DType> {
    match value {
        Value::Type(Type::Float) => Some(program::DType::Float64),
        Value::Type(Type::Int) => Some(program::DType::Int64),
        Value::Type(Type::Bool) => Some(program::DType::Bool),
        Value::Type(Type::Complex) => Some(program::DType::Complex128),
        _ => None,
    }
}

/// Shows an operator's result to Python.
pub fn value_of(output: Output) -> Value {
    match output {
        Output::None => Value::None,
        Output::Tensor(tensor) => tensor.value(),
        Output::Tensors(tensors) => Value::tuple(tensors.iter().map(Tensor::value).collect()),
        Output::Number(number) => number.into(),
        Output::Ints(ints) => Value::tuple(ints.into_iter().map(Value::Int).collect()),
        Output::Str(text) => text.into(),
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        match number {
            Number::Int(number) => Self::Int(number),
            Number::Unsigned(number) => unsigned(number),
            Number::Float(number) => Self::from(number),
            Number::Bool(flag) => Self::Bool(flag),
            Number::Complex(real, imaginary) => Self::Complex(real, imaginary),
        }
    }
}

/// Takes an argument's value; `None` stands for one that was not given.
pub fn given(value: Option<Value>) -> Option<Value> {
    value.filter(|value| !matches!(value, Value::None))
}

/// Makes positional arguments.
pub fn positional(values: impl Into<Vec<Value>>) -> Args {
    Args { positional: values.into(), keyword: Vec::new() }
}

/// Makes arguments with keywords; those that are `None` in the Rust sense are left out.
pub fn arguments<const N: usize>(positional: Vec<Value>, keywords: [(&str, Option<Value>); N]) -> Args {
    let keyword = keywords.into_iter().filter_map(|(name, value)| Some((name.into(), value?))).collect();
    Args { positional, keyword }
}

/// Iterates over values that exist already.
pub struct Items(std::vec::IntoIter<Value>);

impl Items {
    pub fn new(items: Vec<Value>) -> Self {
        Self(items.into_iter())
    }
}

impl Iteration for Items {
    fn next(&mut self, _: &Machine) -> Result<Option<Outcome>, Raise> {
        Ok(self.0.next().map(Outcome::Ready))
    }
}

/// Returns `format(number, spec)`.
///
/// # Errors
/// `ValueError` for a spec that numbers do not know.
pub fn format(machine: &Machine, number: &Value, spec: &str) -> Result<String, Raise> {
    // Formatting a builtin number runs no user code, so it never suspends.
    let text = interpreter::format::format(machine, number, spec).now_or_never();
    text.unwrap_or_else(|| Err(Raise::type_error("unsupported format string"))).map(|text| text.to_string())
}

/// Ends an operation with a tensor.
pub fn ready(tensor: Tensor) -> HostResult {
    Ok(tensor.value().into())
}
