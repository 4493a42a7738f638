//! Floats of other numbers.

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use crate::values::class::plain;
use crate::values::exceptions::Kind;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types;
use crate::values::value::Value;

/// Returns the float of a number, a host object that has one, or raises.
///
/// # Errors
/// `TypeError` for others, `OverflowError` for integers out of range.
pub fn real(machine: &Machine, value: &Value) -> Result<f64, Raise> {
    let wrong = || {
        let name = types::type_name(value);
        Raise::type_error(format!("float() argument must be a string or a real number, not '{name}'"))
    };
    match plain(value) {
        Value::Float(number) => Ok(number),
        Value::Int(number) => Ok(number as f64),
        Value::Bool(truth) => Ok(f64::from(u8::from(truth))),
        Value::Big(number) => from_big(&number),
        Value::Host(object) => match object.float(machine)? {
            Some(number) => Ok(number),
            None => match object.integer(machine, true)? {
                Some(Value::Int(number)) => Ok(number as f64),
                _ => Err(wrong()),
            },
        },
        _ => Err(wrong()),
    }
}

/// Rounds a large integer to the nearest float.
///
/// # Errors
/// `OverflowError` where it is out of range.
pub fn from_big(number: &BigInt) -> Result<f64, Raise> {
    match number.to_f64() {
        Some(number) if number.is_finite() => Ok(number),
        _ => Err(Raise::new(Kind::OverflowError, "int too large to convert to float")),
    }
}
