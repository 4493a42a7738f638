//! `template % values`.

use std::rc::Rc;

use num_traits::Signed;

use crate::evaluation::operators::{self, later};
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::float::real;
use crate::values::types::{Items, Type, int, ledger, string, type_name};
use crate::values::value::Value;

use super::float as digits;

/// `template % values`.
///
/// # Errors
/// As CPython; what `__str__` and `__repr__` raise.
pub fn percent(machine: &Machine, template: &Rc<str>, values: &Value) -> HostResult {
    let (machine, template, values) = (machine.clone(), Rc::clone(template), values.clone());
    later(async move {
        let text = fill(&machine, &template, &values, false).await?;
        ledger::text(&machine, text)
    })
}

/// `template % values` of bytes, which go through it as letters of the same numbers.
///
/// # Errors
/// As CPython; what `__bytes__` and `__repr__` raise.
pub fn percent_bytes(machine: &Machine, template: &[u8], values: &Value) -> HostResult {
    ledger::reserve(machine, 4 * template.len() as u64)?;
    let template: String = template.iter().copied().map(char::from).collect();
    let (machine, values) = (machine.clone(), values.clone());
    later(async move {
        let text = fill(&machine, &template, &values, true).await?;
        ledger::reserve(&machine, text.len() as u64)?;
        ledger::bytes(&machine, text.chars().map(|letter| u32::from(letter) as u8).collect())
    })
}

#[derive(Default)]
struct Directive {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

async fn fill(machine: &Machine, template: &str, values: &Value, binary: bool) -> Result<String, Raise> {
    let mut arguments = match values {
        Value::Tuple(items) => Items::from(items.to_vec()),
        value => vec![value.clone()].into(),
    }
    .into_iter();
    let mut by_name = false;
    ledger::reserve(machine, (template.len() * size_of::<char>()) as u64)?;
    let chars: Items<char> = template.chars().collect();
    let mut filled = String::new();
    let mut at = 0;
    while at < chars.len() {
        machine.charge_fuel(1)?;
        let char = chars[at];
        at += 1;
        if char != '%' {
            filled.push(char);
            continue;
        }
        let mut named = None;
        if chars.get(at) == Some(&'(') {
            let Some(length) = chars[at..].iter().position(|char| *char == ')') else {
                return Err(Raise::value_error("incomplete format key"));
            };
            let name: String = chars[at + 1..at + length].iter().collect();
            at += length + 1;
            by_name = true;
            if matches!(
                values,
                Value::Tuple(_) | Value::Str(_) | Value::Bytes(_) | Value::List(_) | Value::Int(_) | Value::Float(_)
            ) {
                return Err(Raise::type_error("format requires a mapping"));
            }
            let key = match binary {
                true => ledger::bytes(machine, name.chars().map(|letter| u32::from(letter) as u8).collect())?,
                false => Value::from(name),
            };
            let outcome = operators::get_item(machine, values, &key)?;
            named = Some(machine.settle(outcome).await?);
        }
        let mut directive = Directive::default();
        while let Some(flag) = chars.get(at) {
            match flag {
                '-' => directive.left = true,
                '+' => directive.plus = true,
                ' ' => directive.space = true,
                '#' => directive.alternate = true,
                '0' => directive.zero = true,
                _ => break,
            }
            at += 1;
        }
        let mut next = || arguments.next().ok_or_else(|| Raise::type_error("not enough arguments for format string"));
        let mut size = |at: &mut usize| -> Result<Option<i64>, Raise> {
            if chars.get(*at) == Some(&'*') {
                *at += 1;
                return match next()? {
                    Value::Int(size) => Ok(Some(size)),
                    _ => Err(Raise::type_error("* wants int")),
                };
            }
            let start = *at;
            while chars.get(*at).is_some_and(char::is_ascii_digit) {
                *at += 1;
            }
            if *at == start {
                return Ok(None);
            }
            let text: String = chars[start..*at].iter().collect();
            text.parse().map(Some).map_err(|_| Raise::value_error("width too big"))
        };
        if let Some(width) = size(&mut at)? {
            directive.left |= width < 0;
            directive.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
        }
        if chars.get(at) == Some(&'.') {
            at += 1;
            directive.precision = Some(usize::try_from(size(&mut at)?.unwrap_or(0)).unwrap_or(0));
        }
        let size = (directive.width as u64).saturating_add(directive.precision.unwrap_or(0) as u64);
        ledger::reserve(machine, size.saturating_mul(4).saturating_add(filled.capacity() as u64))?;
        while matches!(chars.get(at), Some('l' | 'L' | 'h')) {
            at += 1;
        }
        let Some(code) = chars.get(at).copied() else { return Err(Raise::value_error("incomplete format")) };
        at += 1;
        if code == '%' {
            filled.push('%');
            continue;
        }
        let value = match named {
            Some(value) => value,
            None => arguments.next().ok_or_else(|| Raise::type_error("not enough arguments for format string"))?,
        };
        let text = match (binary, code) {
            (true, 's' | 'b') => directive.cut(&bytes(machine, &value).await?),
            (true, 'r') => directive.format(machine, 'a', at - 1, &value).await?,
            (true, 'c') => directive.pad("", &byte(&value)?, false),
            _ => directive.format(machine, code, at - 1, &value).await?,
        };
        if filled.capacity() - filled.len() < text.len() {
            ledger::reserve(machine, 2 * (filled.len() + text.len()) as u64)?;
        }
        filled.push_str(&text);
    }
    let kind = if binary { "bytes" } else { "string" };
    let left_over = arguments.next().is_some() && !by_name;
    if left_over && !matches!(operators::plain(values), Value::Dict(_) | Value::List(_)) {
        return Err(Raise::type_error(format!("not all arguments converted during {kind} formatting")));
    }
    if left_over && matches!(values, Value::List(_)) {
        return Err(Raise::type_error(format!("not all arguments converted during {kind} formatting")));
    }
    Ok(filled)
}

impl Directive {
    async fn format(&self, machine: &Machine, code: char, at: usize, value: &Value) -> Result<String, Raise> {
        let text = match code {
            's' => super::str(machine, value).await?,
            'r' => super::repr(machine, value).await?,
            'a' => super::ascii(machine, value).await?,
            'c' => return Ok(self.pad("", &character(value)?, false)),
            'd' | 'i' | 'u' | 'x' | 'X' | 'o' => return self.integer(machine, code, value),
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => return self.float(machine, code, value),
            other => {
                return Err(Raise::value_error(format!(
                    "unsupported format character '{other}' (0x{:x}) at index {at}",
                    other as u32
                )));
            }
        };
        Ok(self.cut(&text))
    }

    /// Pads a text, of which so much is taken as the precision says.
    fn cut(&self, text: &str) -> String {
        match self.precision {
            Some(precision) => self.pad("", string::substring(text, 0, precision), false),
            None => self.pad("", text, false),
        }
    }

    fn integer(&self, machine: &Machine, code: char, value: &Value) -> Result<String, Raise> {
        let name = type_name(value);
        let number = match operators::plain(value) {
            Value::Float(number) if matches!(code, 'd' | 'i' | 'u') => int::big(&int::from_float(machine, number)?),
            Value::Host(object) => match object.integer(machine, !matches!(code, 'd' | 'i' | 'u'))? {
                Some(number) => int::big(&number),
                None => None,
            },
            value => int::big(&value),
        };
        let Some(number) = number else {
            return Err(Raise::type_error(match code {
                'd' | 'i' | 'u' => format!("%{code} format: a real number is required, not {name}"),
                code => format!("%{code} format: an integer is required, not {name}"),
            }));
        };
        ledger::reserve(machine, number.bits().saturating_mul(2))?;
        ledger::scanned(machine, number.bits())?;
        let magnitude = number.abs();
        let (prefix, digits) = match code {
            'x' => ("0x", magnitude.to_str_radix(16)),
            'X' => ("0X", magnitude.to_str_radix(16).to_uppercase()),
            'o' => ("0o", magnitude.to_str_radix(8)),
            _ => ("", int::decimal(&magnitude)?),
        };
        let zeros = "0".repeat(self.precision.unwrap_or(0).saturating_sub(digits.len()));
        let prefix = if self.alternate { prefix } else { "" };
        let lead = format!("{}{prefix}", self.sign(number.is_negative()));
        Ok(self.pad(&lead, &format!("{zeros}{digits}"), true))
    }

    fn float(&self, machine: &Machine, code: char, value: &Value) -> Result<String, Raise> {
        let number = real(machine, value).map_err(|raise| {
            if raise.is(Kind::TypeError) {
                return Raise::type_error(format!("must be real number, not {}", type_name(value)));
            }
            raise
        })?;
        let precision = self.precision.unwrap_or(6);
        let magnitude = number.abs();
        let mut text = match (digits::special(magnitude), code.to_ascii_lowercase()) {
            (Some(special), _) => special,
            (None, 'e') => digits::exponential(magnitude, precision),
            (None, 'f') => digits::fixed(magnitude, precision),
            (None, _) => digits::general(magnitude, precision, self.alternate, 0),
        };
        if code.is_ascii_uppercase() {
            text = text.to_uppercase();
        }
        Ok(self.pad(self.sign(number.is_sign_negative() && !number.is_nan()), &text, true))
    }

    fn sign(&self, negative: bool) -> &'static str {
        match negative {
            true => "-",
            false if self.plus => "+",
            false if self.space => " ",
            false => "",
        }
    }

    fn pad(&self, lead: &str, text: &str, number: bool) -> String {
        let missing = self.width.saturating_sub(string::length(lead) + string::length(text));
        if self.left {
            format!("{lead}{text}{}", " ".repeat(missing))
        } else if self.zero && number {
            format!("{lead}{}{text}", "0".repeat(missing))
        } else {
            format!("{}{lead}{text}", " ".repeat(missing))
        }
    }
}

fn character(value: &Value) -> Result<String, Raise> {
    match operators::plain(value) {
        Value::Str(text) if string::single(&text).is_some() => Ok(text.to_string()),
        Value::Int(code) => match u32::try_from(code).ok().and_then(char::from_u32) {
            Some(char) => Ok(char.to_string()),
            None => Err(Raise::new(Kind::OverflowError, "%c arg not in range(0x110000)")),
        },
        _ => Err(Raise::type_error("%c requires int or char")),
    }
}

/// Returns the bytes of a value as letters: of what is bytes, or says what bytes it is.
async fn bytes(machine: &Machine, value: &Value) -> Result<String, Raise> {
    let wrong = || {
        let name = type_name(value);
        Raise::type_error(format!(
            "%b requires a bytes-like object, or an object that implements __bytes__, not '{name}'"
        ))
    };
    let made = match value {
        Value::Bytes(bytes) => Value::Bytes(bytes.clone()),
        Value::Host(_) | Value::Instance(_) => {
            let args = Args::of([value.clone()]);
            let made = machine.language().construct(machine, Type::Bytes, args).map_err(|_| wrong())?;
            machine.settle(made).await?
        }
        _ => return Err(wrong()),
    };
    match made {
        Value::Bytes(bytes) => {
            ledger::reserve(machine, 2 * bytes.len() as u64)?;
            Ok(bytes.iter().copied().map(char::from).collect())
        }
        _ => Err(wrong()),
    }
}

fn byte(value: &Value) -> Result<String, Raise> {
    match operators::plain(value) {
        Value::Bytes(bytes) if bytes.len() == 1 => Ok(bytes.iter().copied().map(char::from).collect()),
        Value::Int(code) => match u8::try_from(code) {
            Ok(code) => Ok(char::from(code).to_string()),
            Err(_) => Err(Raise::new(Kind::OverflowError, "%c arg not in range(256)")),
        },
        _ => Err(Raise::type_error("%c requires an integer in range(256) or a single byte")),
    }
}
