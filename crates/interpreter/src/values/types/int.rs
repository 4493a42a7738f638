//! Integers of any size.

use std::rc::Rc;

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use crate::values::class::plain;
use crate::values::exceptions::Kind;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::ledger;
use crate::values::value::Value;

/// Decimal digits that conversions between `str` and `int` take on, as in CPython.
pub const DIGITS: usize = 4300;

/// Makes an integer whose size is charged.
///
/// # Errors
/// Memory is spent.
pub fn charged(machine: &Machine, number: BigInt) -> Result<Value, Raise> {
    if let Some(small) = number.to_i64() {
        return Ok(Value::Int(small));
    }
    let number = Rc::new(number);
    ledger::number(machine, &number)?;
    Ok(Value::Big(number))
}

/// Returns an integer of any size, also for `bool` and classes that derive from `int`.
pub fn big(value: &Value) -> Option<BigInt> {
    shared(value).map(Rc::unwrap_or_clone)
}

/// The same without a copy of a large one.
pub fn shared(value: &Value) -> Option<Rc<BigInt>> {
    match plain(value) {
        Value::Int(number) => Some(Rc::new(BigInt::from(number))),
        Value::Bool(truth) => Some(Rc::new(BigInt::from(u8::from(truth)))),
        Value::Big(number) => Some(number),
        _ => None,
    }
}

/// Writes an integer in decimal.
///
/// # Errors
/// `ValueError` for more digits than CPython converts.
pub fn decimal(number: &BigInt) -> Result<String, Raise> {
    // 3.32 bits a digit: a cheap bound before the quadratic conversion.
    let text = if number.bits() < 4 * DIGITS as u64 { number.to_string() } else { String::new() };
    if text.is_empty() || text.trim_start_matches('-').len() > DIGITS {
        return Err(Raise::value_error(format!(
            "Exceeds the limit ({DIGITS} digits) for integer string conversion; \
             use sys.set_int_max_str_digits() to increase the limit"
        )));
    }
    Ok(text)
}

/// Truncates a float.
///
/// # Errors
/// `OverflowError` for infinities, `ValueError` for NaN.
pub fn from_float(machine: &Machine, number: f64) -> Result<Value, Raise> {
    if number.is_nan() {
        return Err(Raise::value_error("cannot convert float NaN to integer"));
    }
    match num_traits::FromPrimitive::from_f64(number) {
        Some(number) => charged(machine, number),
        None => Err(Raise::new(Kind::OverflowError, "cannot convert float infinity to integer")),
    }
}
