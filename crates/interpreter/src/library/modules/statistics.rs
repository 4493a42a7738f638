//! `statistics`: exact sums of what the numbers are, rounded once.

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::evaluation::operators::{self, later, with_items};
use crate::evaluation::sort;
use crate::library::modules::{Members, class, signature};
use crate::values::class::Class;
use crate::values::exceptions;
use crate::values::host::{Args, HostResult, Operator};
use crate::values::machine::Machine;
use crate::values::raise::{Kind, Raise};
use crate::values::types::{Type, float, int, type_name};
use crate::values::value::Value;
use std::rc::Rc;

pub fn members(_: &Machine) -> Result<Members, Raise> {
    let value_error = Value::Class(exceptions::class(Kind::ValueError));
    let error = class("StatisticsError", "statistics", vec![value_error], &[], &[])?;
    let mut members: Members = vec![("StatisticsError", Value::Class(Rc::clone(&error)))];
    for (name, least, compute) in NUMERIC {
        let (name, least, compute, error) = (*name, *least, *compute, Rc::clone(&error));
        members.push((
            name,
            Value::native(name, move |machine, args| {
                let error = Rc::clone(&error);
                let second = match name {
                    "mean" | "fmean" => "weights",
                    "pstdev" | "pvariance" => "mu",
                    _ => "xbar",
                };
                let [data, given] = args.bind(name, ["data", second], 1)?;
                if given.is_some_and(|given| !matches!(given, Value::None)) {
                    return Err(signature::unsupported(name, second));
                }
                with_items(machine, data.unwrap_or(Value::None), move |machine, items| {
                    if items.len() < least {
                        return Err(few(&error, name, least));
                    }
                    compute(machine, &Sample::read(machine, &items)?)
                })
            }),
        ));
    }
    for (name, pick) in [("median", Pick::Middle), ("median_low", Pick::Low), ("median_high", Pick::High)] {
        let error = Rc::clone(&error);
        members.push((
            name,
            Value::native(name, move |machine, args| {
                let error = Rc::clone(&error);
                with_items(machine, args.one(name)?, move |machine, items| {
                    median(machine, &error, items.into_vec(), pick)
                })
            }),
        ));
    }
    for (name, all) in [("mode", false), ("multimode", true)] {
        let error = Rc::clone(&error);
        members.push((
            name,
            Value::native(name, move |machine, args| {
                let counter = Value::Type(Type::Counter);
                let counted = machine.call_now(&counter, Args::of([args.one(name)?]));
                let error = Rc::clone(&error);
                operators::then(machine, counted, move |_, counted| {
                    let Value::Dict(counts) = counted else { return Ok(Value::None.into()) };
                    let entries = counts.entries();
                    let most = entries.iter().filter_map(|(_, count)| count.as_int()).max();
                    let mut modes =
                        entries.into_iter().filter(|(_, count)| count.as_int() == most).map(|(value, _)| value);
                    if all {
                        return Ok(Value::list(modes.collect()).into());
                    }
                    modes.next().map(Into::into).ok_or_else(|| failed(&error, "no mode for empty data"))
                })
            }),
        ));
    }
    Ok(members)
}

type Compute = fn(&Machine, &Sample) -> HostResult;

/// Functions of numbers, with how many of them they need.
const NUMERIC: &[(&str, usize, Compute)] = &[
    ("fmean", 1, |_, sample| {
        let sum = sample.special.unwrap_or_else(|| sample.sum.to_float());
        Ok(Value::Float(sum / sample.count.to_f64().unwrap_or(f64::INFINITY)).into())
    }),
    ("mean", 1, |machine, sample| sample.shaped(machine, &sample.sum.over(&sample.count))),
    ("pstdev", 1, |_, sample| sample.deviation(0)),
    ("pvariance", 1, |machine, sample| sample.shaped(machine, &sample.variance(0))),
    ("stdev", 2, |_, sample| sample.deviation(1)),
    ("variance", 2, |machine, sample| sample.shaped(machine, &sample.variance(1))),
];

fn failed(error: &Rc<Class>, message: &str) -> Raise {
    Raise::of_class(error, vec![Value::from(message)])
}

fn few(error: &Rc<Class>, name: &str, least: usize) -> Raise {
    failed(
        error,
        &match least {
            1 => format!("{name} requires at least one data point"),
            _ => format!("{name} requires at least two data points"),
        },
    )
}

/// A fraction with a positive denominator.
struct Ratio {
    numerator: BigInt,
    denominator: BigInt,
}

impl Ratio {
    fn over(&self, divisor: &BigInt) -> Self {
        Self { numerator: self.numerator.clone(), denominator: &self.denominator * divisor }
    }

    fn whole(&self) -> Option<BigInt> {
        let (quotient, rest) = self.numerator.div_rem(&self.denominator);
        rest.is_zero().then_some(quotient)
    }

    /// Rounds to the nearest float, ties to even.
    fn to_float(&self) -> f64 {
        rounded(&self.numerator.abs(), &self.denominator).copysign(if self.numerator.is_negative() {
            -1.0
        } else {
            1.0
        })
    }

    /// Rounds the square root to the nearest float.
    fn root(&self) -> f64 {
        if !self.numerator.is_positive() {
            return 0.0;
        }
        // √(n/d) with 2·64 more bits than a float has, then a mark for what is left.
        let bits = self.denominator.bits() as i64 - self.numerator.bits() as i64 + 160;
        let shift = bits + bits.rem_euclid(2);
        let (numerator, denominator) = match shift {
            shift if shift >= 0 => (&self.numerator << shift, self.denominator.clone()),
            shift => (self.numerator.clone(), &self.denominator << -shift),
        };
        let (quotient, rest) = numerator.div_rem(&denominator);
        let root = quotient.sqrt();
        let exact = rest.is_zero() && &root * &root == quotient;
        let marked = (root << 1) + i32::from(!exact);
        let scale: BigInt = BigInt::one() << (shift.abs() / 2 + 1);
        match shift {
            shift if shift >= 0 => Self { numerator: marked, denominator: scale }.to_float(),
            shift => Self { numerator: marked << (-shift / 2), denominator: BigInt::from(2) }.to_float(),
        }
    }
}

/// Divides two positive numbers and rounds the quotient to 53 bits.
fn rounded(numerator: &BigInt, denominator: &BigInt) -> f64 {
    if numerator.is_zero() {
        return 0.0;
    }
    let shift = 55 - (numerator.bits() as i64 - denominator.bits() as i64);
    // Floats below 2^-1022 have fewer bits; 1076 places are enough for all of them.
    let shift = shift.min(1076);
    let (quotient, rest) = match shift {
        shift if shift >= 0 => (numerator << shift).div_rem(denominator),
        shift => numerator.div_rem(&(denominator << -shift)),
    };
    // A bit below the last stands for everything that was cut off.
    let marked: BigInt = (quotient << 1) + i32::from(!rest.is_zero());
    let digits = marked.to_u128().unwrap_or(u128::MAX);
    let scale = -(shift + 1);
    // `as` rounds to even; scaling is exact unless the result is subnormal, where the mark decides before.
    let kept = if scale < -1074 { halve(digits, (-1074 - scale) as u32) } else { digits };
    libm::ldexp(kept as f64, i32::try_from(scale.max(-1074)).unwrap_or(i32::MAX))
}

/// Divides by a power of two, rounding to even.
fn halve(digits: u128, bits: u32) -> u128 {
    let quotient = digits.checked_shr(bits).unwrap_or(0);
    let rest = digits - (quotient << bits.min(127));
    match rest.cmp(&(1_u128 << (bits.max(1) - 1))) {
        Ordering::Less => quotient,
        Ordering::Greater => quotient + 1,
        Ordering::Equal => quotient + quotient % 2,
    }
}

/// Numbers, as exact sums.
struct Sample {
    sum: Ratio,
    squares: BigInt,
    count: BigInt,
    /// Some were floats, so that the result is one.
    float: bool,
    /// What no exact sum holds.
    special: Option<f64>,
}

impl Sample {
    fn read(machine: &Machine, items: &[Value]) -> Result<Self, Raise> {
        let mut parts: Vec<(BigInt, i64)> = Vec::with_capacity(items.len());
        let (mut is_float, mut special) = (false, None);
        for item in items {
            machine.charge_fuel(1)?;
            if let Some(number) = int::big(item) {
                machine.charge_fuel(number.bits() / 64)?;
                parts.push((number, 0));
                continue;
            }
            let number = match item {
                Value::Str(_) | Value::Bytes(_) | Value::None => {
                    return Err(Raise::type_error(format!(
                        "can't convert type '{}' to numerator/denominator",
                        type_name(item)
                    )));
                }
                item => float::real(machine, item)?,
            };
            is_float = true;
            if !number.is_finite() {
                special = Some(special.unwrap_or(0.0) + number);
                continue;
            }
            let (fraction, exponent) = libm::frexp(number);
            parts.push((BigInt::from((fraction * 9_007_199_254_740_992.0) as i64), i64::from(exponent) - 53));
        }
        let lowest = parts.iter().map(|(_, exponent)| *exponent).min().unwrap_or(0).min(0);
        let (mut sum, mut squares) = (BigInt::zero(), BigInt::zero());
        for (digits, exponent) in parts {
            let scaled = digits << (exponent - lowest);
            machine.charge_fuel(1 + sum.bits() / 512 + scaled.bits() * scaled.bits() / (1 << 16))?;
            squares += &scaled * &scaled;
            sum += scaled;
        }
        let sum = Ratio { numerator: sum, denominator: BigInt::one() << -lowest };
        Ok(Self { sum, squares, count: BigInt::from(items.len()), float: is_float, special })
    }

    /// The sum of squared distances from the mean, over the count less `freedom`.
    fn variance(&self, freedom: u32) -> Ratio {
        let numerator = &self.squares * &self.count - &self.sum.numerator * &self.sum.numerator;
        let square = &self.sum.denominator * &self.sum.denominator;
        Ratio { numerator, denominator: square * &self.count * (&self.count - freedom) }
    }

    fn deviation(&self, freedom: u32) -> HostResult {
        let deviation = self.special.map_or_else(|| self.variance(freedom).root(), |_| f64::NAN);
        Ok(Value::Float(deviation).into())
    }

    /// Gives an integer where all numbers were integers and the result is one.
    fn shaped(&self, machine: &Machine, result: &Ratio) -> HostResult {
        if let Some(special) = self.special {
            return Ok(Value::Float(special).into());
        }
        match result.whole() {
            Some(whole) if !self.float => Ok(int::charged(machine, whole)?.into()),
            _ => Ok(Value::Float(result.to_float()).into()),
        }
    }
}

#[derive(Clone, Copy)]
enum Pick {
    Low,
    Middle,
    High,
}

fn median(machine: &Machine, error: &Rc<Class>, items: Vec<Value>, pick: Pick) -> HostResult {
    if items.is_empty() {
        return Err(failed(error, "no median for empty data"));
    }
    let machine = machine.clone();
    later(async move {
        let order = sort::order(&machine, &items, false).await?;
        let at =
            |position: usize| order.get(position).and_then(|place| items.get(*place)).cloned().unwrap_or(Value::None);
        let middle = order.len() / 2;
        if order.len() % 2 == 1 {
            return Ok(at(middle));
        }
        match pick {
            Pick::Low => Ok(at(middle - 1)),
            Pick::High => Ok(at(middle)),
            Pick::Middle => {
                let sum = operators::binary(&machine, Operator::Add, &at(middle - 1), &at(middle))?;
                let sum = machine.settle(sum).await?;
                let half = operators::binary(&machine, Operator::Div, &sum, &Value::Int(2))?;
                machine.settle(half).await
            }
        }
    })
}
