//! `int` and `bool`.

use std::borrow::Cow;
use std::rc::Rc;

use num_bigint::{BigInt, Sign};
use num_traits::{Num, Signed, Zero};

use crate::evaluation::format;
use crate::evaluation::operators::{self, later};
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::int::{DIGITS, charged, from_float, shared};
use crate::values::types::{self, MethodFn, Type, ledger};
use crate::values::value::Value;

/// Characters of a text that an error message shows.
const SHOWN: usize = 200;

/// Methods by name.
pub const METHODS: &[(&str, MethodFn)] = &[
    ("as_integer_ratio", as_integer_ratio),
    ("bit_count", bit_count),
    ("bit_length", bit_length),
    ("conjugate", conjugate),
    ("to_bytes", to_bytes),
];

/// `int(…)`.
///
/// # Errors
/// As CPython.
pub fn construct(machine: &Machine, args: Args) -> HostResult {
    if let Some((keyword, _)) = args.keyword.iter().find(|(keyword, _)| **keyword != *"base") {
        return Err(Raise::type_error(format!("'{keyword}' is an invalid keyword argument for int()")));
    }
    let mut args = args;
    let base = args.take_keyword("base");
    if args.positional.len() > 2 {
        let given = args.positional.len();
        return Err(Raise::type_error(format!("int() takes at most 2 arguments ({given} given)")));
    }
    let base = args.positional.get(1).cloned().or(base);
    let Some(value) = args.positional.into_iter().next() else {
        return match base {
            Some(_) => Err(Raise::type_error("int() missing string argument")),
            None => Ok(Value::Int(0).into()),
        };
    };
    let plain = operators::plain(&value);
    if let Some(base) = base {
        let base = operators::index_fitting(machine, &base)?;
        let text = match &plain {
            Value::Str(text) => Cow::Borrowed(&**text),
            Value::Bytes(bytes) => decoded(machine, bytes)?,
            _ => return Err(Raise::type_error("int() can't convert non-string with explicit base")),
        };
        return Ok(parse(machine, &text, base, &plain)?.into());
    }
    for name in ["__int__", "__index__", "__trunc__"] {
        let Some(method) = operators::special(&value, name) else { continue };
        let number = operators::call_special(machine, &method, &value, vec![]);
        return operators::then(machine, number, move |machine, number| match operators::plain(&number) {
            Value::Bool(truth) => Ok(Value::Int(i64::from(truth)).into()),
            whole @ (Value::Int(_) | Value::Big(_)) => Ok(whole.into()),
            _ if name == "__trunc__" && operators::special(&number, "__index__").is_some() => {
                Ok(Value::Int(operators::index_fitting(machine, &number)?).into())
            }
            _ => {
                let (kind, wanted) = (types::type_name(&number), if name == "__trunc__" { "Integral" } else { "int" });
                Err(Raise::type_error(format!("{name} returned non-{wanted} (type {kind})")))
            }
        });
    }
    Ok(match &plain {
        Value::Int(_) | Value::Big(_) => plain,
        Value::Bool(truth) => Value::Int(i64::from(*truth)),
        Value::Float(number) => from_float(machine, *number)?,
        Value::Str(text) => parse(machine, text, 10, &plain)?,
        Value::Bytes(bytes) => parse(machine, &decoded(machine, bytes)?, 10, &plain)?,
        Value::Host(object) => match object.integer(machine, false)? {
            Some(number) => number,
            None => return Err(no_int(&plain)),
        },
        _ => return Err(no_int(&plain)),
    }
    .into())
}

/// Reads bytes as text.
pub(super) fn decoded<'a>(machine: &Machine, bytes: &'a [u8]) -> Result<Cow<'a, str>, Raise> {
    ledger::reserve(machine, 3 * bytes.len() as u64)?;
    ledger::scanned(machine, bytes.len() as u64)?;
    Ok(String::from_utf8_lossy(bytes))
}

/// Returns the start of a text as error messages show it.
pub(super) fn shown(value: &Value) -> String {
    let text = match value {
        Value::Str(text) => format::quote(&text.chars().take(SHOWN).collect::<String>()),
        Value::Bytes(bytes) => {
            let start: Rc<[u8]> = bytes.iter().copied().take(SHOWN).collect();
            format::repr_now(&Value::Bytes(start)).unwrap_or_default()
        }
        value => format::repr_now(value).unwrap_or_default(),
    };
    text.chars().take(SHOWN).collect()
}

fn no_int(value: &Value) -> Raise {
    let name = types::type_name(value);
    Raise::type_error(format!("int() argument must be a string, a bytes-like object or a real number, not '{name}'"))
}

fn parse(machine: &Machine, text: &str, base: i64, original: &Value) -> Result<Value, Raise> {
    if base != 0 && !(2..=36).contains(&base) {
        return Err(Raise::value_error("int() base must be >= 2 and <= 36, or 0"));
    }
    let invalid = || Raise::value_error(format!("invalid literal for int() with base {base}: {}", shown(original)));
    ledger::reserve(machine, 3 * text.len() as u64)?;
    ledger::scanned(machine, 4 * text.len() as u64)?;
    let trimmed = text.trim();
    let (negative, digits) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find(|(prefix, radix)| (base == 0 || base == *radix) && lower.starts_with(prefix));
    let (radix, digits) = match prefixed {
        Some((_, radix)) => (radix, lower[2..].strip_prefix('_').unwrap_or(&lower[2..])),
        None => (if base == 0 { 10 } else { base }, lower.as_str()),
    };
    let well_formed = !digits.is_empty()
        && !digits.starts_with('_')
        && !digits.ends_with('_')
        && !digits.contains("__")
        && digits.chars().all(|digit| digit == '_' || digit.is_digit(radix as u32));
    // With base 0, as in source, "010" is refused.
    let octal =
        base == 0 && prefixed.is_none() && digits.starts_with('0') && !digits.trim_matches(['0', '_']).is_empty();
    if !well_formed || octal {
        return Err(invalid());
    }
    let digits: String = digits.chars().filter(|digit| *digit != '_').collect();
    if digits.len() > DIGITS && !matches!(radix, 2 | 4 | 8 | 16 | 32) {
        return Err(Raise::value_error(format!(
            "Exceeds the limit ({DIGITS} digits) for integer string conversion: value has {} digits; \
             use sys.set_int_max_str_digits() to increase the limit",
            digits.len()
        )));
    }
    machine.charge_fuel(digits.len() as u64)?;
    let number = BigInt::from_str_radix(&digits, radix as u32).map_err(|_| invalid())?;
    charged(machine, if negative { -number } else { number })
}

/// `int.from_bytes(bytes, byteorder="big", *, signed=False)`.
///
/// # Errors
/// As CPython.
pub fn from_bytes(machine: &Machine, args: Args) -> HostResult {
    let [bytes, order, signed] = args.bind("from_bytes", ["bytes", "byteorder", "signed"], 1)?;
    let little = little_endian(order.as_ref())?;
    let signed = signed.map_or(Ok(false), |signed| operators::truth_sync(machine, &signed))?;
    let bytes = bytes.unwrap_or(Value::None);
    operators::with_items(machine, bytes, move |machine, items| {
        ledger::reserve(machine, 2 * items.len() as u64)?;
        let mut raw = Vec::with_capacity(items.len());
        for item in &items {
            let byte = operators::index_fitting(machine, item)?;
            raw.push(u8::try_from(byte).map_err(|_| Raise::value_error("bytes must be in range(0, 256)"))?);
        }
        machine.charge_fuel(raw.len() as u64)?;
        let number = match (little, signed) {
            (true, false) => BigInt::from_bytes_le(Sign::Plus, &raw),
            (false, false) => BigInt::from_bytes_be(Sign::Plus, &raw),
            (true, true) => BigInt::from_signed_bytes_le(&raw),
            (false, true) => BigInt::from_signed_bytes_be(&raw),
        };
        Ok(charged(machine, number)?.into())
    })
}

fn little_endian(order: Option<&Value>) -> Result<bool, Raise> {
    match order.map(Value::as_str) {
        None | Some(Some("big")) => Ok(false),
        Some(Some("little")) => Ok(true),
        Some(_) => Err(Raise::value_error("byteorder must be either 'little' or 'big'")),
    }
}

/// `real`, `imag`, `numerator`, `denominator`.
pub fn attribute(receiver: &Value, name: &str) -> Option<Value> {
    match name {
        "real" | "numerator" => Some(own(receiver)),
        "imag" => Some(Value::Int(0)),
        "denominator" => Some(Value::Int(1)),
        _ => None,
    }
}

fn as_integer_ratio(_: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("int.as_integer_ratio")?;
    of(receiver, "as_integer_ratio")?;
    Ok(Value::tuple(vec![own(receiver), Value::Int(1)]).into())
}

fn bit_count(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("int.bit_count")?;
    let number = of(receiver, "bit_count")?;
    ledger::copied(machine, number.bits() / 8)?;
    let ones: u64 = number.iter_u64_digits().map(|digit| u64::from(digit.count_ones())).sum();
    Ok(Value::Int(ones as i64).into())
}

fn bit_length(_: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("int.bit_length")?;
    Ok(Value::Int(of(receiver, "bit_length")?.bits() as i64).into())
}

fn conjugate(_: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("int.conjugate")?;
    of(receiver, "conjugate")?;
    Ok(own(receiver).into())
}

/// Returns an integer itself: `int` of a `bool` or of an object of a class over `int`.
fn own(receiver: &Value) -> Value {
    match operators::plain(receiver) {
        Value::Bool(truth) => Value::Int(i64::from(truth)),
        plain => plain,
    }
}

fn to_bytes(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let number = of(receiver, "to_bytes")?;
    let [length, order, signed] = args.bind("to_bytes", ["length", "byteorder", "signed"], 0)?;
    let length = length.map_or(Ok(1), |length| operators::index_fitting(machine, &length))?;
    let length = usize::try_from(length).map_err(|_| Raise::value_error("length argument must be non-negative"))?;
    let little = little_endian(order.as_ref())?;
    let signed = signed.map_or(Ok(false), |signed| operators::truth_sync(machine, &signed))?;
    if number.is_negative() && !signed {
        return Err(Raise::new(Kind::OverflowError, "can't convert negative int to unsigned"));
    }
    ledger::scanned(machine, length as u64)?;
    ledger::reserve(machine, (length as u64).saturating_add(number.bits() / 8))?;
    let mut raw = if signed { number.to_signed_bytes_le() } else { number.to_bytes_le().1 };
    if !signed && number.is_zero() {
        raw.clear();
    }
    if raw.len() > length {
        return Err(Raise::new(Kind::OverflowError, "int too big to convert"));
    }
    raw.resize(length, if number.is_negative() { 0xff } else { 0 });
    if !little {
        raw.reverse();
    }
    Ok(Outcome::Ready(ledger::bytes(machine, raw)?))
}

fn of(receiver: &Value, method: &str) -> Result<Rc<BigInt>, Raise> {
    shared(receiver).ok_or_else(|| types::wrong_receiver(method, Type::Int, receiver))
}

/// `bool(…)`.
///
/// # Errors
/// What `__bool__` raises.
pub fn construct_bool(machine: &Machine, args: Args) -> HostResult {
    let Some(value) = args.between("bool", 0, 1)?.pop() else { return Ok(Value::Bool(false).into()) };
    if let Some(truth) = operators::truth_now(machine, &value)? {
        return Ok(Value::Bool(truth).into());
    }
    let machine = machine.clone();
    later(async move { Ok(Value::Bool(operators::truth(&machine, &value).await?)) })
}
