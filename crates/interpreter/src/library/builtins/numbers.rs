//! `abs`, `round`, `divmod`, `pow`, `sum`, `min`, `max`, `hex`.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Pow, Signed, Zero};

use crate::evaluation::operators::{self, call_special, later, special, then};
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostResult, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{int, ledger, type_name};
use crate::values::value::Value;

use super::iterators::{advance, with_iterators};

/// `abs(value)`.
///
/// # Errors
/// `TypeError` for what has no absolute value.
pub fn abs(machine: &Machine, args: Args) -> HostResult {
    let value = args.one("abs")?;
    if let Some(method) = special(&value, "__abs__") {
        return call_special(machine, &method, &value, vec![]);
    }
    match operators::plain(&value) {
        Value::Float(number) => Ok(Value::from(number.abs()).into()),
        Value::Complex(real, imaginary) => Ok(Value::from(real.hypot(imaginary)).into()),
        Value::Host(object) => {
            for name in ["__abs__", "abs"] {
                match object.clone().call_method(machine, name, &Args::default())? {
                    Outcome::NotImplemented => {}
                    outcome => return Ok(outcome),
                }
            }
            Err(no_abs(&value))
        }
        Value::Big(number) if !number.is_negative() => Ok(Value::Big(number).into()),
        plain => match int::shared(&plain) {
            Some(number) => {
                ledger::reserve(machine, number.bits() / 8)?;
                Ok(int::charged(machine, number.abs())?.into())
            }
            None => Err(no_abs(&value)),
        },
    }
}

fn no_abs(value: &Value) -> Raise {
    Raise::type_error(format!("bad operand type for abs(): '{}'", type_name(value)))
}

/// `round(number[, ndigits])`.
///
/// # Errors
/// `TypeError` for what cannot be rounded.
pub fn round(machine: &Machine, args: Args) -> HostResult {
    let [value, digits] = args.bind("round", ["number", "ndigits"], 1)?;
    let value = value.unwrap_or(Value::None);
    let digits = digits.filter(|digits| !matches!(digits, Value::None));
    if let Some(method) = special(&value, "__round__") {
        return call_special(machine, &method, &value, digits.into_iter().collect());
    }
    let undefined = || Raise::type_error(format!("type {} doesn't define __round__ method", type_name(&value)));
    match operators::plain(&value) {
        Value::Float(number) => match digits {
            None => Ok(int::from_float(machine, number.round_ties_even())?.into()),
            Some(digits) => {
                let digits = operators::index_clamped(machine, &digits)?;
                Ok(Value::from(round_float(number, digits)?).into())
            }
        },
        Value::Host(object) => match object.get_attribute(machine, "__round__") {
            Ok(Outcome::Ready(round)) => {
                let positional = digits.into_iter().collect();
                machine.call_now(&round, Args { positional, keyword: Vec::new() })
            }
            _ => Err(undefined()),
        },
        plain => {
            let Some(number) = int::shared(&plain) else { return Err(undefined()) };
            let digits = digits.map_or(Ok(0), |digits| operators::index_clamped(machine, &digits))?;
            if digits >= 0 {
                return Ok(match plain {
                    Value::Bool(truth) => Value::Int(i64::from(truth)),
                    plain => plain,
                }
                .into());
            }
            let places = digits.unsigned_abs();
            if places > number.bits() {
                return Ok(Value::Int(0).into());
            }
            let (long, short) = (number.bits() / 64 + 1, places / 16 + 1);
            let work = operators::multiplication(short, short).saturating_add(operators::division(long, short));
            ledger::reserve(machine, long * 32)?;
            machine.charge_operation("rounding", work.saturating_add(long))?;
            let unit: BigInt = Pow::pow(BigInt::from(10), places);
            let (mut quotient, rest) = number.div_mod_floor(&unit);
            let twice = rest * 2;
            if twice > unit || twice == unit && quotient.is_odd() {
                quotient += 1;
            }
            Ok(int::charged(machine, quotient * unit)?.into())
        }
    }
}

/// Rounds correctly, as the decimal expansion says.
///
/// # Errors
/// `OverflowError` where what it is rounded to is larger than the largest float.
fn round_float(number: f64, digits: i64) -> Result<f64, Raise> {
    if !number.is_finite() || number == 0.0 || digits > 323 {
        return Ok(number);
    }
    if digits < -308 {
        return Ok(0f64.copysign(number));
    }
    if digits >= 0 {
        return Ok(format!("{number:.*}", digits as usize).parse().unwrap_or(number));
    }
    // Left of the point, the exact value is an integer and a fraction that only breaks ties.
    let exact: BigInt = num_traits::FromPrimitive::from_f64(number.trunc()).unwrap_or_default();
    let unit_big: BigInt = Pow::pow(BigInt::from(10), digits.unsigned_abs());
    let (quotient, rest) = exact.abs().div_rem(&unit_big);
    let twice: BigInt = rest * 2;
    let above = twice > unit_big || twice == unit_big && (number.fract() != 0.0 || quotient.is_odd());
    let rounded = (quotient + if above { BigInt::one() } else { BigInt::zero() }) * unit_big;
    let magnitude: f64 = num_traits::ToPrimitive::to_f64(&rounded).unwrap_or(f64::INFINITY);
    match magnitude.is_finite() {
        true => Ok(magnitude.copysign(number)),
        false => Err(Raise::new(Kind::OverflowError, "rounded value too large to represent")),
    }
}

pub fn divmod(machine: &Machine, args: Args) -> HostResult {
    let args = args.between("divmod", 2, 2)?;
    let (left, right) = (args[0].clone(), args[1].clone());
    if let Some(method) = special(&left, "__divmod__") {
        return call_special(machine, &method, &left, vec![right]);
    }
    let is_float = |value: &Value| matches!(operators::plain(value), Value::Float(_));
    if is_float(&left) || is_float(&right) {
        let zero = match operators::plain(&right) {
            Value::Float(number) => number == 0.0,
            value => value.as_int() == Some(0),
        };
        if zero {
            return Err(Raise::new(Kind::ZeroDivisionError, "float divmod()"));
        }
    }
    let unsupported = || {
        let (left, right) = (type_name(&left), type_name(&right));
        Raise::type_error(format!("unsupported operand type(s) for divmod(): '{left}' and '{right}'"))
    };
    if [&left, &right].iter().any(|value| matches!(value, Value::Host(object) if !object.has_divmod())) {
        return Err(unsupported());
    }
    let quotient = operators::binary(machine, Operator::FloorDiv, &left, &right)
        .map_err(|raise| if raise.is(Kind::TypeError) { unsupported() } else { raise });
    then(machine, quotient, move |machine, quotient| {
        let rest = operators::binary(machine, Operator::Mod, &left, &right);
        then(machine, rest, move |_, rest| Ok(Value::tuple(vec![quotient, rest]).into()))
    })
}

pub fn pow(machine: &Machine, args: Args) -> HostResult {
    let [base, exponent, modulus] = args.bind("pow", ["base", "exp", "mod"], 2)?;
    let (base, exponent) = (base.unwrap_or(Value::None), exponent.unwrap_or(Value::None));
    match modulus {
        None | Some(Value::None) => operators::binary(machine, Operator::Pow, &base, &exponent),
        Some(modulus) if let Some(method) = special(&base, "__pow__") => {
            call_special(machine, &method, &base, vec![exponent, modulus])
        }
        Some(modulus) => Ok(operators::modular_power(machine, &base, &exponent, &modulus)?.into()),
    }
}

/// `sum(iterable, start=0)`.
///
/// # Errors
/// `TypeError` for strings; what adding raises.
pub fn sum(machine: &Machine, args: Args) -> HostResult {
    if args.positional.is_empty() {
        let given = args.keyword.len();
        return Err(Raise::type_error(format!("sum() takes at least 1 positional argument ({given} given)")));
    }
    let [iterable, start] = args.bind("sum", ["iterable", "start"], 1)?;
    let start = start.unwrap_or(Value::Int(0));
    match &start {
        Value::Str(_) => return Err(Raise::type_error("sum() can't sum strings [use ''.join(seq) instead]")),
        Value::Bytes(_) => return Err(Raise::type_error("sum() can't sum bytes [use b''.join(seq) instead]")),
        _ => {}
    }
    with_iterators(machine, vec![iterable.unwrap_or(Value::None)], move |machine, iterators| {
        let iterator = iterators.into_iter().next().unwrap_or(Value::None);
        let mut total = start;
        loop {
            machine.charge_fuel(1)?;
            let pending = match operators::next(machine, &iterator)? {
                None => return Ok(total.into()),
                Some(Outcome::Ready(value)) => match operators::binary(machine, Operator::Add, &total, &value)? {
                    Outcome::Ready(sum) => {
                        total = sum;
                        continue;
                    }
                    pending => pending,
                },
                Some(pending) => {
                    let own = machine.clone();
                    return later(async move {
                        let value = match own.settle(pending).await {
                            Err(raise) if raise.is(Kind::StopIteration) => return Ok(total),
                            value => value?,
                        };
                        let sum = operators::binary(&own, Operator::Add, &total, &value)?;
                        let total = own.settle(sum).await?;
                        rest_of_sum(&own, &iterator, total).await
                    });
                }
            };
            let own = machine.clone();
            return later(async move {
                let total = own.settle(pending).await?;
                rest_of_sum(&own, &iterator, total).await
            });
        }
    })
}

async fn rest_of_sum(machine: &Machine, iterator: &Value, mut total: Value) -> Result<Value, Raise> {
    while let Some(value) = advance(machine, iterator).await? {
        machine.charge_fuel(1)?;
        let sum = operators::binary(machine, Operator::Add, &total, &value)?;
        total = machine.settle(sum).await?;
    }
    Ok(total)
}

pub fn extreme(machine: &Machine, mut args: Args, name: &'static str) -> HostResult {
    let key = args.take_keyword("key").filter(|key| !matches!(key, Value::None));
    let default = args.take_keyword("default");
    args.no_more_keywords(name)?;
    let iterable = match args.positional.len() {
        0 => return Err(Raise::type_error(format!("{name} expected at least 1 argument, got 0"))),
        1 => args.positional.remove(0),
        _ if default.is_some() => {
            return Err(Raise::type_error(format!(
                "Cannot specify a default for {name}() with multiple positional arguments"
            )));
        }
        _ => Value::list(args.positional),
    };
    with_iterators(machine, vec![iterable], move |machine, iterators| {
        let machine = machine.clone();
        later(async move {
            let iterator = iterators.into_iter().next().unwrap_or(Value::None);
            let mut best: Option<(Value, Value)> = None;
            while let Some(value) = advance(&machine, &iterator).await? {
                machine.charge_fuel(1)?;
                let rank = match &key {
                    Some(key) => machine.call(key, Args::of([value.clone()])).await?,
                    None => value.clone(),
                };
                let better = match &best {
                    None => true,
                    Some((_, best)) => {
                        let operator = if name == "max" { Operator::Greater } else { Operator::Less };
                        let outcome = operators::binary(&machine, operator, &rank, best)?;
                        let answer = machine.settle(outcome).await?;
                        operators::truth(&machine, &answer).await?
                    }
                };
                if better {
                    best = Some((value, rank));
                }
            }
            match (best, default) {
                (Some((value, _)), _) => Ok(value),
                (None, Some(default)) => Ok(default),
                (None, None) => Err(Raise::value_error(format!("{name}() arg is an empty sequence"))),
            }
        })
    })
}

/// `hex`, `oct`, `bin`.
pub fn radix(machine: &Machine, value: Value, radix: u32, prefix: &'static str) -> HostResult {
    if let Some(method) = special(&value, "__index__") {
        let index = call_special(machine, &method, &value, vec![]);
        return then(machine, index, move |machine, index| self::radix(machine, index, radix, prefix));
    }
    let plain = match operators::plain(&value) {
        Value::Host(object) => object.integer(machine, true)?,
        plain => Some(plain),
    };
    let Some(number) = plain.as_ref().and_then(int::shared) else {
        return Err(Raise::type_error(format!("'{}' object cannot be interpreted as an integer", type_name(&value))));
    };
    machine.charge_fuel(number.bits() / 64)?;
    ledger::reserve(machine, number.bits() * 3)?;
    let sign = if number.is_negative() { "-" } else { "" };
    Ok(ledger::text(machine, format!("{sign}{prefix}{}", number.abs().to_str_radix(radix)))?.into())
}
