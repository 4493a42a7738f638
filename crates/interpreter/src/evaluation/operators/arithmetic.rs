//! Numbers: `int` of any size, `float`, `complex`, with Python's rounding and errors.

use std::borrow::Cow;
use std::cmp::Ordering;

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{FromPrimitive, One, Signed, ToPrimitive, Zero};

use crate::values::exceptions::Kind;
use crate::values::host::Operator;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::float::from_big;
use crate::values::types::{int, ledger};
use crate::values::value::Value;

/// A number.
#[derive(Clone)]
pub enum Number {
    Bool(bool),
    Int(i64),
    Big(std::rc::Rc<BigInt>),
    Float(f64),
    Complex(f64, f64),
}

impl Number {
    /// Reads a plain value.
    pub fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Int(number) => Self::Int(*number),
            Value::Big(number) => Self::Big(number.clone()),
            Value::Float(number) => Self::Float(*number),
            Value::Complex(real, imaginary) => Self::Complex(*real, *imaginary),
            _ => return None,
        })
    }

    fn big(&self) -> Option<Cow<'_, BigInt>> {
        match self {
            Self::Bool(truth) => Some(Cow::Owned(BigInt::from(u8::from(*truth)))),
            Self::Int(number) => Some(Cow::Owned(BigInt::from(*number))),
            Self::Big(number) => Some(Cow::Borrowed(number)),
            _ => None,
        }
    }

    fn float(&self) -> Result<f64, Raise> {
        match self {
            Self::Bool(truth) => Ok(f64::from(u8::from(*truth))),
            Self::Int(number) => Ok(*number as f64),
            Self::Big(number) => from_big(number),
            Self::Float(number) | Self::Complex(number, _) => Ok(*number),
        }
    }

    fn small(&self) -> Option<i64> {
        match self {
            Self::Bool(truth) => Some(i64::from(*truth)),
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }
}

/// Computes with integers of 64 bits; `None` where the result does not fit or another type is needed.
#[inline]
pub fn small(operator: Operator, left: i64, right: i64) -> Option<Result<Value, Raise>> {
    let number = match operator {
        Operator::Add => left.checked_add(right)?,
        Operator::Sub => left.checked_sub(right)?,
        Operator::Mul => left.checked_mul(right)?,
        Operator::FloorDiv => match right {
            0 => return Some(Err(zero_division("integer division or modulo by zero"))),
            _ => {
                let quotient = left.checked_div(right)?;
                if left % right != 0 && (left < 0) != (right < 0) { quotient - 1 } else { quotient }
            }
        },
        Operator::Mod => match right {
            0 => return Some(Err(zero_division("integer modulo by zero"))),
            _ => {
                let rest = left.checked_rem(right)?;
                if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest }
            }
        },
        Operator::Div => {
            if right == 0 {
                return Some(Err(zero_division("division by zero")));
            }
            if left.unsigned_abs() >= 1 << 53 || right.unsigned_abs() >= 1 << 53 {
                return None;
            }
            return Some(Ok(Value::Float(left as f64 / right as f64)));
        }
        Operator::Pow => left.checked_pow(u32::try_from(right).ok()?)?,
        Operator::BitAnd => left & right,
        Operator::BitOr => left | right,
        Operator::BitXor => left ^ right,
        Operator::RightShift if right >= 0 => left >> right.min(63),
        Operator::Equal => return Some(Ok(Value::Bool(left == right))),
        Operator::NotEqual => return Some(Ok(Value::Bool(left != right))),
        Operator::Less => return Some(Ok(Value::Bool(left < right))),
        Operator::LessEqual => return Some(Ok(Value::Bool(left <= right))),
        Operator::Greater => return Some(Ok(Value::Bool(left > right))),
        Operator::GreaterEqual => return Some(Ok(Value::Bool(left >= right))),
        _ => return None,
    };
    Some(Ok(Value::Int(number)))
}

/// Computes with floats; `None` for what only [`compute`] does.
#[inline]
pub fn float_now(operator: Operator, left: f64, right: f64) -> Option<Result<Value, Raise>> {
    Some(Ok(match operator {
        Operator::Add => Value::from(left + right),
        Operator::Sub => Value::from(left - right),
        Operator::Mul => Value::from(left * right),
        Operator::Div if right != 0.0 => Value::from(left / right),
        Operator::Equal => Value::Bool(left == right),
        Operator::NotEqual => Value::Bool(left != right),
        Operator::Less => Value::Bool(left < right),
        Operator::LessEqual => Value::Bool(left <= right),
        Operator::Greater => Value::Bool(left > right),
        Operator::GreaterEqual => Value::Bool(left >= right),
        _ => return None,
    }))
}

/// Computes; `None` for operators that numbers of these types do not have.
///
/// # Errors
/// As CPython; fuel or memory is spent.
pub fn compute(machine: &Machine, operator: Operator, left: Number, right: Number) -> Result<Option<Value>, Raise> {
    if let (Number::Bool(left), Number::Bool(right)) = (&left, &right) {
        match operator {
            Operator::BitAnd => return Ok(Some(Value::Bool(left & right))),
            Operator::BitOr => return Ok(Some(Value::Bool(left | right))),
            Operator::BitXor => return Ok(Some(Value::Bool(left ^ right))),
            _ => {}
        }
    }
    if let (Some(left), Some(right)) = (left.small(), right.small())
        && let Some(done) = small(operator, left, right)
    {
        return done.map(Some);
    }
    if matches!(left, Number::Complex(..)) || matches!(right, Number::Complex(..)) {
        return complex(operator, &left, &right);
    }
    match (left.big(), right.big()) {
        (Some(left), Some(right)) => integers(machine, operator, &left, &right),
        _ => floats(operator, left.float()?, right.float()?),
    }
}

fn limbs(number: &BigInt) -> u64 {
    number.bits() / 64 + 1
}

/// Steps for multiplying numbers of so many limbs.
pub fn multiplication(left: u64, right: u64) -> u64 {
    let (short, long) = (left.min(right), left.max(right));
    // Beyond some length, numbers are cut in pieces, which grows more slowly than the square of the length.
    let piece = if short <= 64 { short.saturating_mul(short) } else { ((short as f64).powf(1.6) * 6.0) as u64 };
    piece.saturating_mul(long / short + 1) / 32
}

/// Steps for dividing numbers of so many limbs.
pub fn division(left: u64, right: u64) -> u64 {
    (left.saturating_sub(right) + 1).saturating_mul(right) / 32
}

fn integers(machine: &Machine, operator: Operator, left: &BigInt, right: &BigInt) -> Result<Option<Value>, Raise> {
    let longer = left.bits().max(right.bits());
    let number = match operator {
        Operator::Add | Operator::Sub | Operator::BitAnd | Operator::BitOr | Operator::BitXor => {
            ledger::reserve(machine, longer / 8 + 8)?;
            // A sign has to be carried through.
            ledger::copied(machine, longer / 2)?;
            match operator {
                Operator::Add => left + right,
                Operator::Sub => left - right,
                Operator::BitAnd => left & right,
                Operator::BitOr => left | right,
                _ => left ^ right,
            }
        }
        Operator::Mul => {
            ledger::reserve(machine, (left.bits() + right.bits()) / 8)?;
            machine.charge_operation("a multiplication", multiplication(limbs(left), limbs(right)))?;
            left * right
        }
        Operator::Div => return divide(machine, left, right).map(Some),
        Operator::FloorDiv | Operator::Mod => {
            if right.is_zero() {
                return Err(zero_division(match operator {
                    Operator::Mod => "integer modulo by zero",
                    _ => "integer division or modulo by zero",
                }));
            }
            ledger::reserve(machine, 2 * longer / 8)?;
            machine.charge_operation("a division", division(limbs(left), limbs(right)))?;
            if operator == Operator::Mod { left.mod_floor(right) } else { left.div_floor(right) }
        }
        Operator::Pow => {
            if right.is_negative() {
                return floats(operator, from_big(left)?, from_big(right)?);
            }
            if left.is_zero() || left.is_one() || left.magnitude().is_one() {
                return Ok(Some(Value::Int(match (left, right.is_even()) {
                    (left, _) if left.is_zero() => i64::from(right.is_zero()),
                    (left, even) if even || left.is_one() => 1,
                    _ => -1,
                })));
            }
            let exponent = right.to_u64().unwrap_or(u64::MAX);
            let bits = left.bits().saturating_mul(exponent);
            ledger::reserve(machine, bits / 8)?;
            machine.charge_operation("a power", multiplication(bits / 64 + 1, bits / 64 + 1))?;
            left.pow(u32::try_from(exponent).unwrap_or(u32::MAX))
        }
        Operator::LeftShift | Operator::RightShift => {
            if right.is_negative() {
                return Err(Raise::value_error("negative shift count"));
            }
            let count = right.to_u64().unwrap_or(u64::MAX);
            if operator == Operator::RightShift {
                if count > left.bits() {
                    return Ok(Some(Value::Int(if left.is_negative() { -1 } else { 0 })));
                }
                ledger::reserve(machine, (left.bits() - count) / 8)?;
                left >> count
            } else if left.is_zero() {
                return Ok(Some(Value::Int(0)));
            } else {
                ledger::reserve(machine, left.bits().saturating_add(count) / 8)?;
                left << count
            }
        }
        _ => return Ok(None),
    };
    int::charged(machine, number).map(Some)
}

/// `left / right`, rounded once.
fn divide(machine: &Machine, left: &BigInt, right: &BigInt) -> Result<Value, Raise> {
    if right.is_zero() {
        return Err(zero_division("division by zero"));
    }
    // Only the first bits of a long quotient are asked for, but no shorter division is made.
    let (longer, shorter) = (limbs(left).max(limbs(right)), limbs(left).min(limbs(right)));
    ledger::reserve(machine, 3 * longer * 8)?;
    machine.charge_operation("a division", division(longer + 2, shorter).max(division(longer + 2, longer)))?;
    // The quotient of integers scaled to 66 bits or more, its last bit set where something was cut off.
    let shift = 66 + right.bits() as i64 - left.bits() as i64;
    let (numerator, denominator) =
        if shift >= 0 { (left.abs() << shift, right.abs()) } else { (left.abs(), right.abs() << -shift) };
    let (mut quotient, rest) = numerator.div_rem(&denominator);
    if !rest.is_zero() {
        quotient |= BigInt::one();
    }
    let magnitude = scale(quotient.to_f64().unwrap_or(f64::INFINITY), -shift);
    if magnitude.is_infinite() {
        return Err(Raise::new(Kind::OverflowError, "integer division result too large for a float"));
    }
    Ok(Value::Float(if left.is_negative() != right.is_negative() { -magnitude } else { magnitude }))
}

/// `number * 2**exponent`, in steps that do not overflow early.
pub fn scale(mut number: f64, mut exponent: i64) -> f64 {
    while exponent > 1000 && number.is_finite() && number != 0.0 {
        number *= 2f64.powi(1000);
        exponent -= 1000;
    }
    while exponent < -1000 && number != 0.0 {
        number *= 2f64.powi(-1000);
        exponent += 1000;
    }
    if number == 0.0 || !number.is_finite() { number } else { number * 2f64.powi(exponent as i32) }
}

fn floats(operator: Operator, left: f64, right: f64) -> Result<Option<Value>, Raise> {
    let number = match operator {
        Operator::Add => left + right,
        Operator::Sub => left - right,
        Operator::Mul => left * right,
        Operator::Div if right == 0.0 => return Err(zero_division("float division by zero")),
        Operator::Div => left / right,
        Operator::FloorDiv if right == 0.0 => return Err(zero_division("float floor division by zero")),
        Operator::FloorDiv => divmod(left, right).0,
        Operator::Mod if right == 0.0 => return Err(zero_division("float modulo")),
        Operator::Mod => divmod(left, right).1,
        Operator::Pow => return power(left, right).map(Some),
        _ => return Ok(None),
    };
    Ok(Some(number.into()))
}

/// Floor division and its rest, the rest with the divisor's sign.
fn divmod(left: f64, right: f64) -> (f64, f64) {
    let mut rest = left % right;
    let mut quotient = (left - rest) / right;
    if rest == 0.0 {
        rest = 0f64.copysign(right);
    } else if (right < 0.0) != (rest < 0.0) {
        rest += right;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (0f64.copysign(left / right), rest);
    }
    let floor = quotient.floor();
    (if quotient - floor > 0.5 { floor + 1.0 } else { floor }, rest)
}

fn power(left: f64, right: f64) -> Result<Value, Raise> {
    if left == 0.0 && right < 0.0 {
        return Err(zero_division("0.0 cannot be raised to a negative power"));
    }
    if left < 0.0 && left.is_finite() && right.is_finite() && right.fract() != 0.0 {
        let (real, imaginary) = complex_power((left, 0.0), (right, 0.0));
        return Ok(Value::Complex(real, imaginary));
    }
    let result = left.powf(right);
    if result.is_infinite() && left.is_finite() && right.is_finite() {
        return Err(out_of_range());
    }
    Ok(result.into())
}

/// The `OverflowError` of C's mathematics.
pub fn out_of_range() -> Raise {
    Raise::with_args(Kind::OverflowError, vec![Value::Int(34), "Numerical result out of range".into()])
}

fn complex(operator: Operator, left: &Number, right: &Number) -> Result<Option<Value>, Raise> {
    let pair = |number: &Number| match number {
        Number::Complex(real, imaginary) => Ok((*real, *imaginary)),
        number => Ok((number.float()?, 0.0)),
    };
    let ((a, b), (c, d)) = (pair(left)?, pair(right)?);
    let (real, imaginary) = match operator {
        Operator::Add => (a + c, b + d),
        Operator::Sub => (a - c, b - d),
        Operator::Mul => (a * c - b * d, a * d + b * c),
        Operator::Div => {
            if c == 0.0 && d == 0.0 {
                return Err(zero_division("complex division by zero"));
            }
            // Smith's method, as in CPython.
            if c.abs() >= d.abs() {
                let ratio = d / c;
                let scale = c + d * ratio;
                ((a + b * ratio) / scale, (b - a * ratio) / scale)
            } else {
                let ratio = c / d;
                let scale = c * ratio + d;
                ((a * ratio + b) / scale, (b * ratio - a) / scale)
            }
        }
        Operator::Pow => {
            if a == 0.0 && b == 0.0 && (c < 0.0 || d != 0.0) {
                return Err(zero_division("0.0 to a negative or complex power"));
            }
            complex_power((a, b), (c, d))
        }
        _ => return Ok(None),
    };
    Ok(Some(Value::Complex(real, imaginary)))
}

fn complex_power((a, b): (f64, f64), (c, d): (f64, f64)) -> (f64, f64) {
    if c == 0.0 && d == 0.0 {
        return (1.0, 0.0);
    }
    if a == 0.0 && b == 0.0 {
        return (0.0, 0.0);
    }
    if d == 0.0 && c.fract() == 0.0 && c.abs() <= 100.0 {
        let (mut real, mut imaginary) = (1.0, 0.0);
        for _ in 0..c.abs() as u32 {
            (real, imaginary) = (real * a - imaginary * b, real * b + imaginary * a);
        }
        if c < 0.0 {
            let norm = real * real + imaginary * imaginary;
            return (real / norm, -imaginary / norm);
        }
        return (real, imaginary);
    }
    let (length, angle) = (a.hypot(b), b.atan2(a));
    let mut result_length = length.powf(c);
    let mut result_angle = angle * c;
    if d != 0.0 {
        result_length *= (-d * angle).exp();
        result_angle += d * length.ln();
    }
    (result_length * result_angle.cos(), result_length * result_angle.sin())
}

/// `-x`, `+x`, `~x`; `None` where the number has no such operator.
///
/// # Errors
/// Memory is spent.
pub fn unary(machine: &Machine, operator: Operator, number: Number) -> Result<Option<Value>, Raise> {
    Ok(Some(match (operator, number) {
        (Operator::Negative, Number::Float(number)) => Value::from(-number),
        (Operator::Negative, Number::Complex(real, imaginary)) => Value::Complex(-real, -imaginary),
        (Operator::Positive, Number::Float(number)) => Value::Float(number),
        (Operator::Positive, Number::Complex(real, imaginary)) => Value::Complex(real, imaginary),
        (_, Number::Float(_) | Number::Complex(..)) => return Ok(None),
        (Operator::Positive, Number::Big(number)) => Value::Big(number),
        (_, number) => {
            let Some(number) = number.big() else { return Ok(None) };
            ledger::reserve(machine, number.bits() / 8)?;
            let result = match operator {
                Operator::Negative => -&*number,
                Operator::Positive => number.into_owned(),
                _ => -(&*number + BigInt::one()),
            };
            int::charged(machine, result)?
        }
    }))
}

/// `pow(base, exponent, modulus)`.
pub fn modular_power(machine: &Machine, base: &Value, exponent: &Value, modulus: &Value) -> Result<Value, Raise> {
    let (Some(base), Some(exponent), Some(modulus)) = (int::big(base), int::big(exponent), int::big(modulus)) else {
        return Err(Raise::type_error("pow() 3rd argument not allowed unless all arguments are integers"));
    };
    if modulus.is_zero() {
        return Err(Raise::value_error("pow() 3rd argument cannot be 0"));
    }
    let (long, short) = (limbs(&base).max(limbs(&modulus)), limbs(&modulus));
    let inverse = if exponent.is_negative() { long.saturating_mul(long).saturating_mul(4) } else { 0 };
    let square = short.saturating_mul(short).saturating_mul(exponent.bits() + 1) / 8;
    let work = division(long, short).saturating_add(square).saturating_add(inverse);
    machine.charge_operation("a power with a modulus", work)?;
    let (base, exponent) = if exponent.is_negative() {
        match base.modinv(&modulus) {
            Some(inverse) => (inverse, -exponent),
            None => return Err(Raise::value_error("base is not invertible for the given modulus")),
        }
    } else {
        (base, exponent)
    };
    int::charged(machine, base.modpow(&exponent, &modulus))
}

/// Compares two real numbers exactly; `None` where one is NaN.
pub fn order(left: &Number, right: &Number) -> Option<Ordering> {
    match (left, right) {
        (Number::Big(left), Number::Big(right)) => Some(left.cmp(right)),
        // What is not small lies beyond all that are, on the side of its sign.
        (Number::Big(left), right) if right.small().is_some() => Some(sign(left)),
        (left, Number::Big(right)) if left.small().is_some() => Some(sign(right).reverse()),
        _ => match (left.big(), right.big()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            (None, None) => left.float().ok()?.partial_cmp(&right.float().ok()?),
            (Some(left), None) => order_mixed(&left, right.float().ok()?),
            (None, Some(right)) => order_mixed(&right, left.float().ok()?).map(Ordering::reverse),
        },
    }
}

fn sign(number: &BigInt) -> Ordering {
    if number.is_negative() { Ordering::Less } else { Ordering::Greater }
}

fn order_mixed(integer: &BigInt, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    let Some(whole) = BigInt::from_f64(float.trunc()) else {
        return 0f64.partial_cmp(&float);
    };
    Some(integer.cmp(&whole).then(0f64.partial_cmp(&float.fract())?))
}

fn zero_division(message: &str) -> Raise {
    Raise::new(Kind::ZeroDivisionError, message)
}
