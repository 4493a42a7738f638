//! The format specification mini-language: `>10.2f`.

use num_bigint::BigInt;
use num_traits::Signed;

use crate::values::exceptions::Kind;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::float::from_big;
use crate::values::types::string::{length, substring};
use crate::values::types::{int, ledger};
use crate::values::value::Value;

use super::float as digits;

/// A parsed specification.
#[derive(Default)]
pub struct Spec {
    pub fill: Option<char>,
    pub align: Option<char>,
    pub sign: Option<char>,
    pub no_negative_zero: bool,
    pub alternate: bool,
    pub width: usize,
    pub grouping: Option<char>,
    pub precision: Option<usize>,
    pub code: Option<char>,
}

/// Formats a builtin value; `name` is that of its type, for error messages.
///
/// # Errors
/// `ValueError` for a specification that the type does not take; memory is spent.
pub fn format(machine: &Machine, value: &Value, text: &str, name: &str) -> Result<String, Raise> {
    let kind = match value {
        Value::Str(_) | Value::Bool(_) | Value::Int(_) | Value::Big(_) | Value::Float(_) | Value::Complex(..) => name,
        _ => return Err(Raise::type_error(format!("unsupported format string passed to {name}.__format__"))),
    };
    let spec = Spec::parse(text, kind)?;
    ledger::reserve(machine, (spec.width as u64).saturating_mul(10))?;
    ledger::scanned(machine, spec.width as u64)?;
    ledger::reserve(machine, (spec.precision.unwrap_or(0) as u64).saturating_mul(4))?;
    if let Value::Str(text) = value {
        ledger::reserve(machine, 2 * text.len() as u64)?;
        ledger::scanned(machine, 2 * text.len() as u64)?;
    }
    match value {
        Value::Str(text) => spec.string(text),
        Value::Float(number) => spec.float(*number, kind),
        Value::Complex(real, imaginary) => spec.complex(*real, *imaginary, kind),
        value => {
            let number = int::shared(value).unwrap_or_default();
            // Digits, grouped, and filled to the width.
            ledger::reserve(machine, number.bits().saturating_mul(4))?;
            ledger::scanned(machine, number.bits())?;
            match spec.code {
                Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') => spec.float(from_big(&number)?, kind),
                _ => spec.integer(&number, kind),
            }
        }
    }
}

impl Spec {
    fn parse(text: &str, kind: &str) -> Result<Self, Raise> {
        let mut spec = Self::default();
        let chars: Vec<char> = text.chars().collect();
        let mut at = 0;
        let is_align = |char: Option<&char>| matches!(char, Some('<' | '>' | '=' | '^'));
        if is_align(chars.get(1)) {
            spec.fill = chars.first().copied();
            spec.align = chars.get(1).copied();
            at = 2;
        } else if is_align(chars.first()) {
            spec.align = chars.first().copied();
            at = 1;
        }
        let take = |at: &mut usize, wanted: &[char]| {
            let found = chars.get(*at).copied().filter(|char| wanted.contains(char));
            *at += usize::from(found.is_some());
            found
        };
        spec.sign = take(&mut at, &['+', '-', ' ']);
        spec.no_negative_zero = take(&mut at, &['z']).is_some();
        spec.alternate = take(&mut at, &['#']).is_some();
        if spec.fill.is_none() && take(&mut at, &['0']).is_some() {
            spec.fill = Some('0');
            if spec.align.is_none() && kind != "str" {
                spec.align = Some('=');
            }
        }
        spec.width = number(&chars, &mut at)?.unwrap_or(0);
        spec.grouping = take(&mut at, &[',', '_']);
        if let (Some(first), Some(second)) = (spec.grouping, take(&mut at, &[',', '_'])) {
            return Err(Raise::value_error(match first == second {
                true => format!("Cannot specify '{first}' with '{second}'."),
                false => "Cannot specify both ',' and '_'.".to_owned(),
            }));
        }
        if take(&mut at, &['.']).is_some() {
            let Some(precision) = number(&chars, &mut at)? else {
                return Err(Raise::value_error("Format specifier missing precision"));
            };
            spec.precision = Some(precision);
        }
        match chars.get(at..) {
            None | Some([]) => {}
            Some([code]) => spec.code = Some(*code),
            Some(_) => {
                return Err(Raise::value_error(format!(
                    "Invalid format specifier '{text}' for object of type '{kind}'"
                )));
            }
        }
        if let (Some(grouping), Some(code)) = (spec.grouping, spec.code.or((kind == "str").then_some('s'))) {
            let fits = matches!(code, 'd' | 'e' | 'f' | 'g' | 'E' | 'G' | '%' | 'F')
                || grouping == '_' && matches!(code, 'b' | 'o' | 'x' | 'X');
            if !fits {
                return Err(Raise::value_error(format!("Cannot specify '{grouping}' with '{code}'.")));
            }
        }
        Ok(spec)
    }

    fn string(&self, text: &str) -> Result<String, Raise> {
        let refused = match (self.sign, self.align) {
            _ if self.code.is_some_and(|code| code != 's') => return Err(self.unknown("str")),
            (Some(' '), _) => "Space not allowed in string format specifier",
            (Some(_), _) => "Sign not allowed in string format specifier",
            _ if self.no_negative_zero => "Negative zero coercion (z) not allowed in string format specifier",
            _ if self.alternate => "Alternate form (#) not allowed in string format specifier",
            (_, Some('=')) => "'=' alignment not allowed in string format specifier",
            _ => {
                let text = match self.precision {
                    Some(precision) => substring(text, 0, precision),
                    None => text,
                };
                return Ok(self.pad("", text, '<'));
            }
        };
        Err(Raise::value_error(refused))
    }

    fn unknown(&self, kind: &str) -> Raise {
        let code = self.code.unwrap_or(' ');
        Raise::value_error(format!("Unknown format code '{code}' for object of type '{kind}'"))
    }

    fn integer(&self, number: &BigInt, kind: &str) -> Result<String, Raise> {
        if self.precision.is_some() {
            return Err(Raise::value_error("Precision not allowed in integer format specifier"));
        }
        if self.no_negative_zero {
            return Err(Raise::value_error("Negative zero coercion (z) not allowed in integer format specifier"));
        }
        let (prefix, digits) = match self.code {
            None | Some('d' | 'n') => ("", int::decimal(&number.abs())?),
            Some('b') => ("0b", number.abs().to_str_radix(2)),
            Some('o') => ("0o", number.abs().to_str_radix(8)),
            Some('x') => ("0x", number.abs().to_str_radix(16)),
            Some('X') => ("0X", number.abs().to_str_radix(16).to_uppercase()),
            Some('c') => {
                if self.sign.is_some() {
                    return Err(Raise::value_error("Sign not allowed with integer format specifier 'c'"));
                }
                let char = u32::try_from(number)
                    .ok()
                    .and_then(char::from_u32)
                    .ok_or_else(|| Raise::new(Kind::OverflowError, "%c arg not in range(0x110000)"))?;
                return Ok(self.pad("", &char.to_string(), '<'));
            }
            Some(_) => return Err(self.unknown(kind)),
        };
        let prefix = if self.alternate { prefix } else { "" };
        let lead = format!("{}{prefix}", self.sign_of(number.is_negative()));
        let every = if matches!(self.code, Some('b' | 'o' | 'x' | 'X')) { 4 } else { 3 };
        Ok(self.number(&lead, &digits, "", every))
    }

    fn float(&self, number: f64, kind: &str) -> Result<String, Raise> {
        let (digits, number) = self.digits(number, kind)?;
        let lead = self.sign_of(number.is_sign_negative() && !number.is_nan());
        let (whole, rest) = digits.split_at(digits.find(|char: char| !char.is_ascii_digit()).unwrap_or(digits.len()));
        Ok(self.number(lead, whole, rest, 3))
    }

    /// Writes the digits without a sign; returns the number too, which may have lost its sign.
    fn digits(&self, number: f64, kind: &str) -> Result<(String, f64), Raise> {
        let magnitude = number.abs();
        let code = self.code;
        if !matches!(code, None | Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'n' | '%')) {
            return Err(self.unknown(kind));
        }
        let mut text = match (digits::special(magnitude), code) {
            (Some(special), Some('%')) => special + "%",
            (Some(special), _) => special,
            (None, Some('e' | 'E')) => digits::exponential(magnitude, self.precision.unwrap_or(6)),
            (None, Some('f' | 'F')) => digits::fixed(magnitude, self.precision.unwrap_or(6)),
            (None, Some('%')) => digits::fixed(magnitude * 100.0, self.precision.unwrap_or(6)) + "%",
            (None, Some(_)) => digits::general(magnitude, self.precision.unwrap_or(6), self.alternate, 0),
            (None, None) => match self.precision {
                None => digits::float_repr(magnitude),
                Some(precision) => {
                    let text = digits::general(magnitude, precision, self.alternate, 1);
                    if text.contains(['.', 'e']) { text } else { text + ".0" }
                }
            },
        };
        if self.alternate && !text.contains('.') && magnitude.is_finite() {
            let place = text.find(['e', '%']).unwrap_or(text.len());
            text.insert(place, '.');
        }
        if matches!(code, Some('E' | 'F' | 'G')) {
            text = text.to_uppercase();
        }
        let zero = self.no_negative_zero && text.chars().all(|char| matches!(char, '0' | '.' | '%'));
        Ok((text, if zero { 0.0 } else { number }))
    }

    fn complex(&self, real: f64, imaginary: f64, kind: &str) -> Result<String, Raise> {
        if self.code == Some('%') {
            return Err(self.unknown(kind));
        }
        if self.fill == Some('0') {
            return Err(Raise::value_error("Zero padding is not allowed in complex format specifier"));
        }
        if self.align == Some('=') {
            return Err(Raise::value_error("'=' alignment flag is not allowed in complex format specifier"));
        }
        let plain = self.code.is_none() && self.precision.is_none();
        // With a precision, a part is written as by `g`.
        let general = Self { code: Some('g'), precision: self.precision, alternate: self.alternate, ..Self::default() };
        let part = |number: f64| -> Result<String, Raise> {
            let written = if self.code.is_none() && !plain { &general } else { self };
            let (text, _) = written.digits(number, kind)?;
            Ok(if plain { text.strip_suffix(".0").map(str::to_owned).unwrap_or(text) } else { text })
        };
        let (first, second) = (part(real)?, part(imaginary)?);
        let sign = if imaginary.is_sign_negative() { "-" } else { "+" };
        let lead = self.sign_of(real.is_sign_negative());
        let text = match self.code.is_none() && real == 0.0 && real.is_sign_positive() {
            true => format!("{}{second}j", self.sign_of(imaginary.is_sign_negative())),
            false if self.code.is_none() => format!("({lead}{first}{sign}{second}j)"),
            false => format!("{lead}{first}{sign}{second}j"),
        };
        Ok(self.pad("", &text, '>'))
    }

    fn sign_of(&self, negative: bool) -> &'static str {
        match (negative, self.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(' ')) => " ",
            _ => "",
        }
    }

    /// Puts a number together: sign and prefix, digits in groups, rest, filled to the width.
    fn number(&self, lead: &str, digits: &str, rest: &str, every: usize) -> String {
        let Some(separator) = self.grouping else {
            return self.pad(lead, &format!("{digits}{rest}"), '>');
        };
        let mut digits = digits.to_owned();
        // Zeros that fill a number are grouped like its digits.
        if self.align == Some('=') && self.fill == Some('0') {
            let room = self.width.saturating_sub(lead.len() + rest.len());
            let grouped = |count: usize| count + (count - 1) / every;
            // Of every group, one place less is a digit.
            let mut count = digits.len().max(1).max(room / (every + 1) * every);
            while count > digits.len().max(1) && grouped(count - 1) >= room {
                count -= 1;
            }
            while grouped(count) < room {
                count += 1;
            }
            digits = "0".repeat(count - digits.len().min(count)) + &digits;
        }
        let mut grouped = String::with_capacity(digits.len() * 4 / 3);
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position).is_multiple_of(every) {
                grouped.push(separator);
            }
            grouped.push(digit);
        }
        self.pad(lead, &format!("{grouped}{rest}"), '>')
    }

    /// Fills to the width. `lead` stays left of what `=` fills in.
    fn pad(&self, lead: &str, text: &str, default: char) -> String {
        let missing = self.width.saturating_sub(length(lead) + length(text));
        let fill = |count: usize| std::iter::repeat_n(self.fill.unwrap_or(' '), count).collect::<String>();
        match self.align.unwrap_or(default) {
            '<' => format!("{lead}{text}{}", fill(missing)),
            '^' => format!("{}{lead}{text}{}", fill(missing / 2), fill(missing - missing / 2)),
            '=' => format!("{lead}{}{text}", fill(missing)),
            _ => format!("{}{lead}{text}", fill(missing)),
        }
    }
}

fn number(chars: &[char], at: &mut usize) -> Result<Option<usize>, Raise> {
    let start = *at;
    let mut value = 0usize;
    while let Some(digit) = chars.get(*at).and_then(|char| char.to_digit(10)) {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(digit as usize))
            .filter(|value| i64::try_from(*value).is_ok())
            .ok_or_else(|| Raise::value_error("Too many decimal digits in format string"))?;
        *at += 1;
    }
    Ok((*at > start).then_some(value))
}
