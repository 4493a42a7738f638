//! Floats of other numbers.

use std::cell::Cell;

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use crate::values::class::plain;
use crate::values::exceptions::Kind;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types;
use crate::values::value::Value;

/// Of what is no number, the sign and what says that it is none. The other bits are free.
const SIGN: u64 = 1 << 63;
const NO_NUMBER: u64 = 0x7ff8 << 48;

/// Returns a float that was made just now. In Python every NaN is an object of its own, which containers take for equal to
/// itself and to no other: here its last bits say which one it is.
#[must_use]
pub fn made(number: f64) -> f64 {
    thread_local! {
        static LAST: Cell<u64> = const { Cell::new(0) };
    }
    if !number.is_nan() {
        return number;
    }
    let next = (LAST.get() + 1) & !(SIGN | NO_NUMBER);
    LAST.set(next);
    f64::from_bits(number.to_bits() & SIGN | NO_NUMBER | next)
}

/// Returns a float without what only [`made`] knows, for whoever looks at its bits.
#[must_use]
pub fn plain_bits(number: f64) -> f64 {
    if number.is_nan() { f64::from_bits(number.to_bits() & SIGN | NO_NUMBER) } else { number }
}

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
