//! `math`.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::evaluation::operators::{self, later, with_items};
use crate::library::methods;
use crate::library::modules::{Members, functions};
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostResult, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{float, int, ledger, type_name};
use crate::values::value::Value;

pub fn members(_: &Machine) -> Result<Members, Raise> {
    let mut members = functions(&[
        ("ceil", |machine, args| round(machine, args, "ceil", "__ceil__", f64::ceil)),
        ("floor", |machine, args| round(machine, args, "floor", "__floor__", f64::floor)),
        ("trunc", |machine, args| round(machine, args, "trunc", "__trunc__", f64::trunc)),
        ("comb", comb),
        ("dist", dist),
        ("factorial", factorial),
        ("frexp", frexp),
        ("fsum", fsum),
        ("gcd", |machine, args| fold_integers(machine, args, "gcd", BigInt::zero(), |left, right| left.gcd(right))),
        ("hypot", |machine, args| {
            let numbers: Result<Vec<f64>, Raise> = args.positional.iter().map(|value| real(machine, value)).collect();
            Ok(Value::from(norm(&numbers?)).into())
        }),
        ("isclose", isclose),
        ("isfinite", |machine, args| test(machine, args, "isfinite", f64::is_finite)),
        ("isinf", |machine, args| test(machine, args, "isinf", f64::is_infinite)),
        ("isnan", |machine, args| test(machine, args, "isnan", f64::is_nan)),
        ("isqrt", |machine, args| {
            let number = integer(machine, &args.one("math.isqrt")?)?;
            if number.is_negative() {
                return Err(Raise::value_error("isqrt() argument must be nonnegative"));
            }
            machine.charge_fuel(number.bits() / 64 * (number.bits() / 4096 + 1))?;
            Ok(int::charged(machine, number.sqrt())?.into())
        }),
        ("lcm", |machine, args| {
            fold_integers(machine, args, "lcm", BigInt::one(), |left, right| left.lcm(right).abs())
        }),
        ("ldexp", |machine, args| {
            let args = args.between("ldexp", 2, 2)?;
            let (number, exponent) = (real(machine, &args[0])?, operators::index_clamped(machine, &args[1])?);
            checked(scale(number, exponent), number)
        }),
        ("log", log),
        ("log10", |machine, args| Ok(Value::from(log_of(machine, &args.one("math.log10")?, f64::log10, 10.0)?).into())),
        ("log2", |machine, args| Ok(Value::from(log_of(machine, &args.one("math.log2")?, f64::log2, 2.0)?).into())),
        ("modf", |machine, args| {
            let number = real(machine, &args.one("math.modf")?)?;
            let fraction = if number.is_infinite() { 0.0_f64.copysign(number) } else { number.fract() };
            let pair = [fraction.copysign(number), number.trunc()];
            Ok(Value::tuple(pair.map(Value::Float).to_vec()).into())
        }),
        ("nextafter", |machine, args| {
            binary(machine, args, "nextafter", |from, towards| {
                if from == towards || from.is_nan() || towards.is_nan() {
                    return from + towards - from;
                }
                if from < towards { from.next_up() } else { from.next_down() }
            })
        }),
        ("perm", perm),
        ("pow", |machine, args| {
            let args = args.between("pow", 2, 2)?;
            let (base, exponent) = (real(machine, &args[0])?, real(machine, &args[1])?);
            let power = base.powf(exponent);
            if power.is_nan() && !base.is_nan() && !exponent.is_nan() || base == 0.0 && power.is_infinite() {
                return Err(domain());
            }
            checked(power, if exponent.is_finite() { base } else { exponent })
        }),
        ("prod", prod),
        ("ulp", |machine, args| {
            let number = real(machine, &args.one("math.ulp")?)?.abs();
            Ok(Value::from(match number {
                number if !number.is_finite() => number,
                f64::MAX => number - number.next_down(),
                number => number.next_up() - number,
            })
            .into())
        }),
    ]);
    for (name, function) in REAL {
        let (name, function) = (*name, *function);
        members.push((name, of_reals(name, move |machine, args| unary(machine, args, name, function))));
    }
    for (name, function) in PAIRS {
        let (name, function) = (*name, *function);
        members.push((name, of_reals(name, move |machine, args| binary(machine, args, name, function))));
    }
    members.extend([
        ("e", Value::Float(std::f64::consts::E)),
        ("inf", Value::Float(f64::INFINITY)),
        ("nan", Value::Float(f64::NAN)),
        ("pi", Value::Float(std::f64::consts::PI)),
        ("tau", Value::Float(std::f64::consts::TAU)),
    ]);
    Ok(members)
}

type Real = fn(f64) -> f64;
type Pair = fn(f64, f64) -> f64;

/// Functions of one real number.
const REAL: &[(&str, Real)] = &[
    ("acos", f64::acos),
    ("acosh", f64::acosh),
    ("asin", f64::asin),
    ("asinh", f64::asinh),
    ("atan", f64::atan),
    ("atanh", f64::atanh),
    ("cbrt", libm::cbrt),
    ("cos", f64::cos),
    ("cosh", f64::cosh),
    ("degrees", |number| number * (180.0 / std::f64::consts::PI)),
    ("erf", libm::erf),
    ("erfc", libm::erfc),
    ("exp", f64::exp),
    ("exp2", f64::exp2),
    ("expm1", f64::exp_m1),
    ("fabs", f64::abs),
    ("gamma", |number| if number <= 0.0 && number.fract() == 0.0 { f64::NAN } else { libm::tgamma(number) }),
    ("lgamma", |number| if number <= 0.0 && number.fract() == 0.0 { f64::NAN } else { libm::lgamma(number) }),
    ("log1p", |number| if number <= -1.0 { f64::NAN } else { number.ln_1p() }),
    ("radians", |number| number * (std::f64::consts::PI / 180.0)),
    ("sin", f64::sin),
    ("sinh", f64::sinh),
    ("sqrt", f64::sqrt),
    ("tan", f64::tan),
    ("tanh", f64::tanh),
];

/// Functions of two real numbers.
const PAIRS: &[(&str, Pair)] = &[
    ("atan2", f64::atan2),
    ("copysign", f64::copysign),
    ("fmod", |left, right| left % right),
    ("remainder", |left, right| {
        if left.is_finite() && right.is_infinite() {
            return left;
        }
        let rest = left.abs() % right.abs();
        let other = right.abs() - rest;
        // Halfway, the even quotient wins.
        let even = ((left.abs() - rest) / right.abs()) % 2.0 == 0.0;
        let closest = if rest < other || rest == other && even { rest } else { -other };
        closest.copysign(if left.is_sign_negative() { -closest } else { closest })
    }),
];

/// A function of real numbers, to which it makes objects that have `__float__` or `__index__` first.
fn of_reals(name: &'static str, function: impl Fn(&Machine, Args) -> HostResult + Clone + 'static) -> Value {
    let asks = |value: &Value| ["__float__", "__index__"].iter().any(|name| operators::special(value, name).is_some());
    Value::native(name, move |machine, args: Args| {
        if !args.positional.iter().any(asks) {
            return function(machine, args);
        }
        let (machine, function) = (machine.clone(), function.clone());
        later(async move {
            let mut args = args;
            for value in args.positional.iter_mut().filter(|value| asks(value)) {
                let number = methods::float::construct(&machine, Args::of([value.clone()]))?;
                *value = machine.settle(number).await?;
            }
            machine.settle(function(&machine, args)?).await
        })
    })
}

/// Reads a real number.
fn real(machine: &Machine, value: &Value) -> Result<f64, Raise> {
    match operators::plain(value) {
        Value::Str(_) | Value::Bytes(_) | Value::None => Err(no_real(value)),
        plain => {
            float::real(machine, &plain).map_err(|raise| if raise.is(Kind::TypeError) { no_real(value) } else { raise })
        }
    }
}

fn no_real(value: &Value) -> Raise {
    Raise::type_error(format!("must be real number, not {}", type_name(value)))
}

/// Reads an integer.
fn integer(machine: &Machine, value: &Value) -> Result<BigInt, Raise> {
    if let Some(number) = int::big(value) {
        return Ok(number);
    }
    if let Value::Host(object) = value
        && let Some(number) = object.integer(machine, true)?
        && let Some(number) = int::big(&number)
    {
        return Ok(number);
    }
    Err(Raise::type_error(format!("'{}' object cannot be interpreted as an integer", type_name(value))))
}

fn domain() -> Raise {
    Raise::value_error("math domain error")
}

fn range() -> Raise {
    Raise::new(Kind::OverflowError, "math range error")
}

/// Turns what a finite number cannot give into CPython's errors.
fn checked(result: f64, number: f64) -> HostResult {
    if result.is_nan() && !number.is_nan() {
        return Err(domain());
    }
    if result.is_infinite() && number.is_finite() {
        return Err(range());
    }
    Ok(Value::from(result).into())
}

fn unary(machine: &Machine, args: Args, name: &str, function: fn(f64) -> f64) -> HostResult {
    let number = real(machine, &args.one(&format!("math.{name}"))?)?;
    let result = function(number);
    if name == "atanh" && number.abs() == 1.0 {
        return Err(domain());
    }
    checked(result, number)
}

fn binary(machine: &Machine, args: Args, name: &str, function: fn(f64, f64) -> f64) -> HostResult {
    let args = args.between(name, 2, 2)?;
    let (left, right) = (real(machine, &args[0])?, real(machine, &args[1])?);
    let result = function(left, right);
    if result.is_nan() && !left.is_nan() && !right.is_nan() {
        return Err(domain());
    }
    Ok(Value::from(result).into())
}

fn test(machine: &Machine, args: Args, name: &str, function: fn(f64) -> bool) -> HostResult {
    let number = real(machine, &args.one(&format!("math.{name}"))?)?;
    Ok(Value::Bool(function(number)).into())
}

/// `floor`, `ceil` and `trunc`, which give integers.
fn round(machine: &Machine, args: Args, name: &str, special: &str, function: fn(f64) -> f64) -> HostResult {
    let value = args.one(&format!("math.{name}"))?;
    if let Some(method) = operators::special(&value, special) {
        return operators::call_special(machine, &method, &value, vec![]);
    }
    match operators::plain(&value) {
        number @ (Value::Int(_) | Value::Big(_)) => return Ok(number.into()),
        Value::Bool(truth) => return Ok(Value::Int(i64::from(truth)).into()),
        _ => {}
    }
    let undefined = || Raise::type_error(format!("type {} doesn't define __trunc__ method", type_name(&value)));
    // Of what is no number of Python's, the other two take the float.
    if matches!(&value, Value::Host(object) if name == "trunc" && !object.is_instance("float")) {
        return Err(undefined());
    }
    let number = real(machine, &value).map_err(|raise| match (name, raise.is(Kind::TypeError)) {
        ("trunc", true) => undefined(),
        _ => raise,
    })?;
    Ok(int::from_float(machine, function(number))?.into())
}

/// `number * 2 ** exponent`.
fn scale(number: f64, exponent: i64) -> f64 {
    libm::ldexp(number, exponent.clamp(-5000, 5000) as i32)
}

fn frexp(machine: &Machine, args: Args) -> HostResult {
    let number = real(machine, &args.one("math.frexp")?)?;
    let (fraction, exponent) = if number == 0.0 || !number.is_finite() { (number, 0) } else { libm::frexp(number) };
    Ok(Value::tuple(vec![Value::Float(fraction), Value::Int(exponent.into())]).into())
}

fn log(machine: &Machine, args: Args) -> HostResult {
    let args = args.between("log", 1, 2)?;
    let number = log_of(machine, &args[0], f64::ln, std::f64::consts::E)?;
    let Some(base) = args.get(1) else { return Ok(Value::from(number).into()) };
    let base = log_of(machine, base, f64::ln, std::f64::consts::E)?;
    if base == 0.0 {
        return Err(Raise::new(Kind::ZeroDivisionError, "float division by zero"));
    }
    Ok(Value::from(number / base).into())
}

/// Takes a logarithm, also of integers that no float holds.
fn log_of(machine: &Machine, value: &Value, function: fn(f64) -> f64, base: f64) -> Result<f64, Raise> {
    if let Value::Big(number) = operators::plain(value)
        && number.is_positive()
    {
        let shift = number.bits().saturating_sub(64);
        let head = (&*number >> shift).to_f64().unwrap_or(f64::INFINITY);
        let unit = if base == 2.0 { 1.0 } else { function(2.0) };
        return Ok(function(head) + shift as f64 * unit);
    }
    let number = real(machine, value)?;
    if number <= 0.0 { Err(domain()) } else { Ok(function(number)) }
}

fn isclose(machine: &Machine, args: Args) -> HostResult {
    let [left, right, relative, absolute] = args.bind("isclose", ["a", "b", "rel_tol", "abs_tol"], 2)?;
    let read = |value: Option<Value>, default: f64| value.map_or(Ok(default), |value| real(machine, &value));
    let (left, right) = (read(left, 0.0)?, read(right, 0.0)?);
    let (relative, absolute) = (read(relative, 1e-9)?, read(absolute, 0.0)?);
    if relative < 0.0 || absolute < 0.0 {
        return Err(Raise::value_error("tolerances must be non-negative"));
    }
    let apart = (left - right).abs();
    let close = left == right
        || left.is_finite() && right.is_finite() && apart <= (relative * left.abs().max(right.abs())).max(absolute);
    Ok(Value::Bool(close).into())
}

/// Length of a vector, scaled so that squares neither overflow nor vanish.
fn norm(numbers: &[f64]) -> f64 {
    if numbers.iter().any(|number| number.is_infinite()) {
        return f64::INFINITY;
    }
    let largest = numbers.iter().fold(0.0_f64, |largest, number| largest.max(number.abs()));
    if largest == 0.0 {
        return numbers.iter().map(|number| number.abs()).sum();
    }
    // A power of two scales exactly, and squares are kept with what rounding them loses.
    let exponent = libm::frexp(largest).1;
    let squares = numbers.iter().flat_map(|number| {
        let scaled = libm::ldexp(*number, -exponent);
        let square = scaled * scaled;
        [square, scaled.mul_add(scaled, -square)]
    });
    libm::ldexp(exact_sum(squares).sqrt(), exponent)
}

fn dist(machine: &Machine, args: Args) -> HostResult {
    let mut args = args.between("dist", 2, 2)?;
    let (to, from) = (args.pop().unwrap_or(Value::None), args.pop().unwrap_or(Value::None));
    with_items(machine, from, move |machine, from| {
        with_items(machine, to, move |machine, to| {
            if from.len() != to.len() {
                return Err(Raise::value_error("both points must have the same number of dimensions"));
            }
            let mut parts = Vec::with_capacity(from.len());
            for (from, to) in from.iter().zip(&to) {
                parts.push(real(machine, from)? - real(machine, to)?);
            }
            Ok(Value::from(norm(&parts)).into())
        })
    })
}

fn fsum(machine: &Machine, args: Args) -> HostResult {
    with_items(machine, args.one("math.fsum")?, |machine, items| {
        machine.charge_fuel(items.len() as u64)?;
        let numbers: Result<Vec<f64>, Raise> = items.iter().map(|value| real(machine, value)).collect();
        let numbers = numbers?;
        let plain: f64 = numbers.iter().sum();
        // Infinities and their differences are not a matter of rounding.
        if !plain.is_finite() && numbers.iter().any(|number| !number.is_finite()) {
            let opposite = numbers.contains(&f64::INFINITY) && numbers.contains(&f64::NEG_INFINITY);
            return if opposite {
                Err(Raise::value_error("-inf + inf in fsum"))
            } else {
                Ok(Value::from(plain).into())
            };
        }
        match exact_sum(numbers) {
            sum if sum.is_finite() => Ok(Value::from(sum).into()),
            _ => Err(Raise::new(Kind::OverflowError, "intermediate overflow in fsum")),
        }
    })
}

/// Adds without losing what rounding each step would lose (Shewchuk): the sum, rounded once.
pub(super) fn exact_sum(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut partials: Vec<f64> = Vec::new();
    for mut number in numbers {
        let mut kept = 0;
        for index in 0..partials.len() {
            let mut partial = partials[index];
            if number.abs() < partial.abs() {
                std::mem::swap(&mut number, &mut partial);
            }
            let high = number + partial;
            let low = partial - (high - number);
            if low != 0.0 {
                partials[kept] = low;
                kept += 1;
            }
            number = high;
        }
        partials.truncate(kept);
        partials.push(number);
    }
    let Some(mut high) = partials.pop() else { return 0.0 };
    let mut low = 0.0;
    while let Some(partial) = partials.pop() {
        let sum = high + partial;
        low = partial - (sum - high);
        high = sum;
        if low != 0.0 {
            break;
        }
    }
    // Round half to even over all remaining partials.
    if let Some(next) = partials.last()
        && (low < 0.0 && *next < 0.0 || low > 0.0 && *next > 0.0)
    {
        let twice = low * 2.0;
        let sum = high + twice;
        if twice == sum - high {
            high = sum;
        }
    }
    high
}

fn prod(machine: &Machine, mut args: Args) -> HostResult {
    let start = args.take_keyword("start").unwrap_or(Value::Int(1));
    args.no_more_keywords("prod")?;
    with_items(machine, args.one("math.prod")?, move |machine, items| {
        let machine = machine.clone();
        later(async move {
            let mut product = start;
            for item in &items {
                machine.charge_fuel(1)?;
                product = match operators::binary(&machine, Operator::Mul, &product, item)? {
                    Outcome::Ready(value) => value,
                    pending => machine.settle(pending).await?,
                };
            }
            Ok(product)
        })
    })
}

/// Combines integers into one.
fn fold_integers(
    machine: &Machine,
    args: Args,
    name: &str,
    start: BigInt,
    combine: fn(&BigInt, &BigInt) -> BigInt,
) -> HostResult {
    args.no_keywords(&format!("math.{name}"))?;
    let mut result = start;
    for value in &args.positional {
        let number = integer(machine, value)?;
        // A bit at a time, over all limbs.
        let bits = result.bits().max(number.bits());
        let limbs = bits / 64 + 1;
        machine.charge_operation(name, 1 + bits.saturating_mul(limbs) / 64)?;
        ledger::reserve(machine, 4 * bits / 8)?;
        result = combine(&result, &number);
    }
    Ok(int::charged(machine, result)?.into())
}

/// Multiplies `first * (first + 1) * … * last`, charging as the product grows.
fn product(machine: &Machine, first: u64, last: u64) -> Result<BigInt, Raise> {
    let mut product = BigInt::one();
    for factor in first..=last {
        machine.charge_fuel(1 + product.bits() / 4096)?;
        if factor % 1024 == 0 {
            ledger::reserve(machine, product.bits() / 8)?;
        }
        product *= factor;
    }
    Ok(product)
}

fn natural(machine: &Machine, value: &Value, name: &str) -> Result<u64, Raise> {
    let number = integer(machine, value)?;
    if number.is_negative() {
        return Err(Raise::value_error(match name {
            "factorial" => "factorial() not defined for negative values".to_owned(),
            name => format!("{name} must be a non-negative integer"),
        }));
    }
    number
        .to_u64()
        .ok_or_else(|| Raise::new(Kind::OverflowError, format!("{name}() argument should not exceed {}", i64::MAX)))
}

fn factorial(machine: &Machine, args: Args) -> HostResult {
    let number = natural(machine, &args.one("math.factorial")?, "factorial")?;
    Ok(int::charged(machine, product(machine, 2, number)?)?.into())
}

fn perm(machine: &Machine, args: Args) -> HostResult {
    let args = args.between("perm", 1, 2)?;
    let count = natural(machine, &args[0], "n")?;
    let taken = match args.get(1) {
        Some(Value::None) | None => count,
        Some(taken) => natural(machine, taken, "k")?,
    };
    let number = if taken > count { BigInt::zero() } else { product(machine, count - taken + 1, count)? };
    Ok(int::charged(machine, number)?.into())
}

fn comb(machine: &Machine, args: Args) -> HostResult {
    let args = args.between("comb", 2, 2)?;
    let (count, taken) = (natural(machine, &args[0], "n")?, natural(machine, &args[1], "k")?);
    if taken > count {
        return Ok(Value::Int(0).into());
    }
    let taken = taken.min(count - taken);
    let mut result = BigInt::one();
    for step in 0..taken {
        machine.charge_fuel(1 + result.bits() / 2048)?;
        result = result * (count - step) / (step + 1);
    }
    Ok(int::charged(machine, result)?.into())
}
