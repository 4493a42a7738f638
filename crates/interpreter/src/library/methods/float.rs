//! `float` and `complex`.

use std::borrow::Cow;

use num_bigint::BigInt;
use num_traits::{FromPrimitive, One, ToPrimitive};

use crate::evaluation::format;
use crate::evaluation::operators::{self, then};
use crate::library::methods::int;
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::float::real;
use crate::values::types::{self, MethodFn, Type, ledger};
use crate::values::value::Value;

/// Methods of `float` by name.
pub const METHODS: &[(&str, MethodFn)] = &[
    ("as_integer_ratio", as_integer_ratio),
    ("conjugate", |_, receiver, args| {
        args.none("float.conjugate")?;
        Ok(Value::Float(of(receiver, "conjugate")?).into())
    }),
    ("hex", hex),
    ("is_integer", |_, receiver, args| {
        args.none("float.is_integer")?;
        let number = of(receiver, "is_integer")?;
        Ok(Value::Bool(number.is_finite() && number.fract() == 0.0).into())
    }),
];

/// Methods of `complex` by name.
pub const COMPLEX_METHODS: &[(&str, MethodFn)] = &[("conjugate", |_, receiver, args| {
    args.none("complex.conjugate")?;
    match operators::plain(receiver) {
        Value::Complex(real, imaginary) => Ok(Value::Complex(real, -imaginary).into()),
        _ => Err(types::wrong_receiver("conjugate", Type::Complex, receiver)),
    }
})];

/// `real` and `imag`.
pub fn attribute(receiver: &Value, name: &str) -> Option<Value> {
    match (operators::plain(receiver), name) {
        (Value::Float(real) | Value::Complex(real, _), "real") => Some(Value::Float(real)),
        (Value::Complex(_, imaginary), "imag") => Some(Value::Float(imaginary)),
        (Value::Float(_), "imag") => Some(Value::Float(0.0)),
        _ => None,
    }
}

/// `float(…)`.
///
/// # Errors
/// As CPython.
pub fn construct(machine: &Machine, args: Args) -> HostResult {
    let Some(value) = args.between("float", 0, 1)?.pop() else { return Ok(Value::Float(0.0).into()) };
    for name in ["__float__", "__index__"] {
        let Some(method) = operators::special(&value, name) else { continue };
        let class = types::type_name(&value).into_owned();
        let number = operators::call_special(machine, &method, &value, vec![]);
        return then(machine, number, move |machine, number| match (name, operators::plain(&number)) {
            ("__float__", Value::Float(number)) => Ok(Value::Float(number).into()),
            ("__index__", whole @ (Value::Int(_) | Value::Bool(_) | Value::Big(_))) => {
                Ok(Value::Float(real(machine, &whole)?).into())
            }
            _ => {
                let kind = types::type_name(&number);
                Err(Raise::type_error(match name {
                    "__float__" => format!("{class}.__float__ returned non-float (type {kind})"),
                    _ => format!("__index__ returned non-int (type {kind})"),
                }))
            }
        });
    }
    let plain = operators::plain(&value);
    let text = match &plain {
        Value::Str(text) => Cow::Borrowed(&**text),
        Value::Bytes(bytes) => int::decoded(machine, bytes)?,
        _ => return Ok(Value::Float(real(machine, &plain)?).into()),
    };
    ledger::reserve(machine, 2 * text.len() as u64)?;
    ledger::scanned(machine, 8 * text.len() as u64)?;
    match parse(&text) {
        Some(number) => Ok(Value::from(number).into()),
        None => Err(Raise::value_error(format!("could not convert string to float: {}", int::shown(&plain)))),
    }
}

/// Parses what `float(text)` takes.
pub fn parse(text: &str) -> Option<f64> {
    let trimmed = text.trim();
    let lower = trimmed.to_ascii_lowercase();
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    if matches!(unsigned, "inf" | "infinity" | "nan") {
        let magnitude = if unsigned == "nan" { f64::NAN } else { f64::INFINITY };
        return Some(if lower.starts_with('-') { -magnitude } else { magnitude });
    }
    let plain = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && lower.chars().all(|char| char.is_ascii_digit() || matches!(char, '.' | 'e' | '+' | '-' | '_'));
    // An underscore may only stand between digits.
    let bytes = lower.as_bytes();
    let digit =
        |position: Option<usize>| position.and_then(|position| bytes.get(position)).is_some_and(u8::is_ascii_digit);
    let misplaced = (0..bytes.len())
        .any(|position| bytes[position] == b'_' && !(digit(position.checked_sub(1)) && digit(Some(position + 1))));
    if !plain || misplaced {
        return None;
    }
    lower.replace('_', "").parse().ok()
}

/// `complex(…)`.
///
/// # Errors
/// As CPython.
pub fn construct_complex(machine: &Machine, args: Args) -> HostResult {
    let [real_part, imaginary_part] = args.bind("complex", ["real", "imag"], 0)?;
    if imaginary_part.is_none()
        && let Some(value) = &real_part
        && let Some(method) = operators::special(value, "__complex__")
    {
        return operators::call_special(machine, &method, value, vec![]);
    }
    if let Some(Value::Str(text)) = &real_part {
        if imaginary_part.is_some() {
            return Err(Raise::type_error("complex() can't take second arg if first is a string"));
        }
        ledger::reserve(machine, 4 * text.len() as u64)?;
        ledger::scanned(machine, 16 * text.len() as u64)?;
        let malformed = || Raise::value_error("complex() arg is a malformed string");
        return parse_complex(text)
            .map(|(real, imaginary)| Value::Complex(real, imaginary).into())
            .ok_or_else(malformed);
    }
    if let Some(Value::Str(_)) = imaginary_part {
        return Err(Raise::type_error("complex() second arg can't be a string"));
    }
    let part = |value: Option<Value>| match value.as_ref().map(operators::plain) {
        None => Ok((0.0, 0.0)),
        Some(Value::Complex(real, imaginary)) => Ok((real, imaginary)),
        Some(value) => real(machine, &value).map(|real| (real, 0.0)).map_err(|_| {
            let name = types::type_name(&value);
            Raise::type_error(format!("complex() first argument must be a string or a number, not '{name}'"))
        }),
    };
    let first_is_real = !matches!(real_part.as_ref().map(operators::plain), Some(Value::Complex(..)));
    let (real, imaginary) = part(real_part)?;
    let Some(imaginary_part) = imaginary_part else { return Ok(Value::Complex(real, imaginary).into()) };
    let (more, less) = part(Some(imaginary_part))?;
    Ok(Value::Complex(real - less, if first_is_real { more } else { imaginary + more }).into())
}

fn parse_complex(text: &str) -> Option<(f64, f64)> {
    let text = text.trim();
    let text = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text).trim();
    let Some(body) = text.strip_suffix(['j', 'J']) else { return Some((parse(text)?, 0.0)) };
    let imaginary = |part: &str| match part {
        "" | "+" => Some(1.0),
        "-" => Some(-1.0),
        part => parse(part),
    };
    let bytes = body.as_bytes();
    let split = (1..bytes.len())
        .rev()
        .find(|position| matches!(bytes[*position], b'+' | b'-') && !matches!(bytes[position - 1], b'e' | b'E'));
    match split {
        Some(position) => Some((parse(&body[..position])?, imaginary(&body[position..])?)),
        None => Some((0.0, imaginary(body)?)),
    }
}

fn as_integer_ratio(_: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("float.as_integer_ratio")?;
    let number = of(receiver, "as_integer_ratio")?;
    if number.is_nan() {
        return Err(Raise::value_error("cannot convert NaN to integer ratio"));
    }
    if number.is_infinite() {
        return Err(Raise::new(Kind::OverflowError, "cannot convert Infinity to integer ratio"));
    }
    let mut numerator = number;
    let mut exponent = 0u32;
    while numerator.fract() != 0.0 {
        numerator *= 2.0;
        exponent += 1;
    }
    let numerator = BigInt::from_f64(numerator).unwrap_or_default();
    Ok(Value::tuple(vec![Value::integer(numerator), Value::integer(BigInt::one() << exponent)]).into())
}

fn hex(_: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("float.hex")?;
    let number = of(receiver, "hex")?;
    if !number.is_finite() {
        return Ok(Value::from(format::float_repr(number)).into());
    }
    let bits = number.to_bits();
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i64, bits & ((1 << 52) - 1));
    let (lead, exponent) = match (exponent, fraction) {
        (0, 0) => return Ok(Value::from(format!("{sign}0x0.0p+0")).into()),
        (0, _) => (0, -1022),
        _ => (1, exponent - 1023),
    };
    Ok(Value::from(format!("{sign}0x{lead}.{fraction:013x}p{exponent:+}")).into())
}

fn of(receiver: &Value, method: &str) -> Result<f64, Raise> {
    match operators::plain(receiver) {
        Value::Float(number) => Ok(number),
        _ => Err(types::wrong_receiver(method, Type::Float, receiver)),
    }
}

/// `float.fromhex(text)`.
///
/// # Errors
/// `ValueError` for a text that is no such number, `OverflowError` for one that is too large.
pub fn fromhex(machine: &Machine, args: Args) -> HostResult {
    let value = args.one("float.fromhex")?;
    let Some(text) = value.as_str() else { return Err(Raise::type_error("bad argument type for built-in operation")) };
    ledger::scanned(machine, text.len() as u64)?;
    let invalid = || Raise::value_error("invalid hexadecimal floating-point string");
    let lower = text.trim().to_ascii_lowercase();
    let (negative, unsigned) = match lower.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, lower.strip_prefix('+').unwrap_or(&lower)),
    };
    let magnitude = match unsigned {
        "inf" | "infinity" => f64::INFINITY,
        "nan" => f64::NAN,
        digits => {
            let digits = digits.strip_prefix("0x").unwrap_or(digits);
            let (digits, exponent) = match digits.split_once('p') {
                Some((digits, exponent)) => (digits, exponent.parse::<i64>().map_err(|_| invalid())?),
                None => (digits, 0),
            };
            let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
            if whole.is_empty() && part.is_empty() {
                return Err(invalid());
            }
            let read = BigInt::parse_bytes(format!("0{whole}{part}").as_bytes(), 16).ok_or_else(invalid)?;
            let exponent = exponent.saturating_sub(4 * part.len() as i64);
            scaled(&read, exponent)
                .ok_or_else(|| Raise::new(Kind::OverflowError, "hexadecimal value too large to represent as a float"))?
        }
    };
    Ok(Value::from(if negative { -magnitude } else { magnitude }).into())
}

/// Returns `number * 2**exponent`, rounded once; `None` where it is too large.
fn scaled(number: &BigInt, exponent: i64) -> Option<f64> {
    let bits = number.bits() as i64;
    if bits == 0 || bits.saturating_add(exponent) < -1080 {
        return Some(0.0);
    }
    if bits.saturating_add(exponent) > 1024 {
        return None;
    }
    // As many bits as a float of this size has, half to even.
    let kept = 53.min(bits + exponent + 1074).max(0);
    let dropped = (bits - kept).max(0);
    let mut top = number >> dropped;
    let rest = number - (&top << dropped);
    let half = BigInt::from(1) << (dropped - 1).max(0);
    if dropped > 0 && (rest > half || rest == half && top.bit(0)) {
        top += 1;
    }
    let value = top.to_f64()?;
    // In two steps: neither factor is out of range.
    let power = dropped + exponent;
    let value = value * 2_f64.powi((power / 2) as i32) * 2_f64.powi((power - power / 2) as i32);
    value.is_finite().then_some(value)
}
