//! Searching in strings.

use std::rc::Rc;

use crate::evaluation::operators;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::shape::Shape;
use crate::values::types::string::length;
use crate::values::types::{self, ledger, sequence};
use crate::values::value::Value;

use super::of;

/// A part of a string to search in.
struct Area<'a> {
    text: &'a str,
    /// The byte of the whole string at which it begins.
    byte: usize,
    shape: Shape,
    /// `false` where the start lies beyond the end: then not even the empty string is found.
    valid: bool,
}

/// `find`, `rfind`, `index`, `rindex`.
pub fn find(machine: &Machine, receiver: &Value, args: Args, name: &str) -> HostResult {
    let text = of(receiver, name)?;
    let args = args.parsed(name, 1, 3)?;
    let wanted = wanted(&args[0])?;
    let area = area(machine, &text, &args)?;
    ledger::scanned(machine, area.text.len() as u64)?;
    let found = match name {
        _ if !area.valid => None,
        "find" | "index" => area.text.find(&*wanted),
        _ => area.text.rfind(&*wanted),
    };
    match found {
        Some(byte) => Ok(Value::Int(area.shape.position(&text, area.byte + byte) as i64).into()),
        None if name.ends_with("find") => Ok(Value::Int(-1).into()),
        None => Err(Raise::value_error("substring not found")),
    }
}

/// `count`.
pub fn count(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let text = of(receiver, "count")?;
    let args = args.parsed("count", 1, 3)?;
    let wanted = wanted(&args[0])?;
    let area = area(machine, &text, &args)?;
    ledger::scanned(machine, area.text.len() as u64)?;
    let found = match &*wanted {
        _ if !area.valid => 0,
        "" => length(area.text) + 1,
        wanted => area.text.matches(wanted).count(),
    };
    Ok(Value::Int(found as i64).into())
}

/// `startswith`, `endswith`.
pub fn affix(machine: &Machine, receiver: &Value, args: Args, name: &str) -> HostResult {
    let text = of(receiver, name)?;
    let args = args.parsed(name, 1, 3)?;
    let area = area(machine, &text, &args)?;
    let test = |affix: &str| -> Result<bool, Raise> {
        ledger::copied(machine, affix.len() as u64)?;
        Ok(area.valid && if name == "startswith" { area.text.starts_with(affix) } else { area.text.ends_with(affix) })
    };
    let wrong = |value: &Value, place: &str| {
        let kind = types::type_name(value);
        Raise::type_error(format!("{name} {place} must be str or a tuple of str, not {kind}"))
    };
    match operators::plain(&args[0]) {
        Value::Str(affix) => Ok(Value::Bool(test(&affix)?).into()),
        Value::Tuple(affixes) => {
            for affix in affixes.iter() {
                machine.charge_fuel(1)?;
                let Some(text) = affix.as_str() else {
                    let kind = types::type_name(affix);
                    return Err(Raise::type_error(format!("tuple for {name} must only contain str, not {kind}")));
                };
                if test(text)? {
                    return Ok(Value::Bool(true).into());
                }
            }
            Ok(Value::Bool(false).into())
        }
        other => Err(wrong(&other, "first arg")),
    }
}

fn wanted(value: &Value) -> Result<std::rc::Rc<str>, Raise> {
    match operators::plain(value) {
        Value::Str(text) => Ok(text),
        other => Err(Raise::type_error(format!("must be str, not {}", types::type_name(&other)))),
    }
}

fn area<'a>(machine: &Machine, text: &'a Rc<str>, args: &[Value]) -> Result<Area<'a>, Raise> {
    let bound = |position: usize| match args.get(position) {
        None | Some(Value::None) => Ok(None),
        Some(value) => operators::index_clamped(machine, value).map(Some),
    };
    let (start, stop) = (bound(1)?, bound(2)?);
    let shape = Shape::of(machine, text)?;
    if start.is_none() && stop.is_none() {
        return Ok(Area { text, byte: 0, shape, valid: true });
    }
    let total = shape.length();
    let raw_start = start.unwrap_or(0);
    let first = sequence::clamp(raw_start, total);
    let last = stop.map_or(total, |stop| sequence::clamp(stop, total));
    let valid = first <= last && raw_start <= total as i64;
    let byte = shape.byte(text, first);
    Ok(Area { text: shape.part(text, first, last), byte, shape, valid })
}
