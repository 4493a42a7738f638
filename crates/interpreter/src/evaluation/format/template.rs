//! `str.format` and `str.format_map`.

use std::rc::Rc;

use crate::evaluation::operators::{self, later};
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{self, Type, ledger};
use crate::values::value::Value;

/// `str.format(*args, **kwargs)`.
pub fn format_method(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let (machine, template) = (machine.clone(), text(receiver)?);
    later(async move {
        let names = Names::Keywords(args.keyword);
        let mut filler = Filler { machine: &machine, positional: &args.positional, names, numbering: Numbering::Open };
        let text = filler.fill(&template, 2).await?;
        ledger::text(&machine, text)
    })
}

/// `str.format_map(mapping)`.
pub fn format_map(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let (machine, template) = (machine.clone(), text(receiver)?);
    let mapping = args.one("str.format_map")?;
    later(async move {
        let names = Names::Mapping(mapping);
        let mut filler = Filler { machine: &machine, positional: &[], names, numbering: Numbering::Open };
        let text = filler.fill(&template, 2).await?;
        ledger::text(&machine, text)
    })
}

fn text(receiver: &Value) -> Result<Rc<str>, Raise> {
    match operators::plain(receiver) {
        Value::Str(text) => Ok(text),
        _ => Err(types::wrong_receiver("format", Type::Str, receiver)),
    }
}

struct Filler<'a> {
    machine: &'a Machine,
    positional: &'a [Value],
    names: Names,
    numbering: Numbering,
}

enum Names {
    Keywords(Vec<(Rc<str>, Value)>),
    Mapping(Value),
}

enum Numbering {
    Open,
    Automatic(usize),
    Manual,
}

/// One replacement field, as written.
struct Field<'a> {
    name: &'a str,
    conversion: Option<char>,
    spec: &'a str,
}

impl Filler<'_> {
    async fn fill(&mut self, template: &str, depth: usize) -> Result<String, Raise> {
        if depth == 0 {
            return Err(Raise::value_error("Max string recursion exceeded"));
        }
        let mut filled = String::new();
        let mut rest = template;
        while let Some(brace) = rest.find(['{', '}']) {
            self.machine.charge_fuel(1)?;
            ledger::reserve(self.machine, filled.len() as u64)?;
            filled.push_str(&rest[..brace]);
            let after = &rest[brace + 1..];
            let char = &rest[brace..=brace];
            if after.starts_with(char) {
                filled.push_str(char);
                rest = &after[1..];
                continue;
            }
            if char == "}" {
                return Err(Raise::value_error("Single '}' encountered in format string"));
            }
            if after.is_empty() {
                return Err(Raise::value_error("Single '{' encountered in format string"));
            }
            let (field, next) = parse(after)?;
            let mut value = self.value(field.name).await?;
            match field.conversion {
                None => {}
                Some('r') => value = Value::from(super::repr(self.machine, &value).await?),
                Some('s') => value = Value::from(super::str(self.machine, &value).await?),
                Some('a') => value = Value::from(super::ascii(self.machine, &value).await?),
                Some(other) => {
                    return Err(Raise::value_error(format!("Unknown conversion specifier {other}")));
                }
            }
            let spec = match field.spec.contains('{') {
                true => Box::pin(self.fill(field.spec, depth - 1)).await?,
                false => field.spec.to_owned(),
            };
            filled.push_str(&super::format(self.machine, &value, &spec).await?);
            rest = next;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// Looks up `name.attribute[item]`.
    async fn value(&mut self, name: &str) -> Result<Value, Raise> {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut rest) = name.split_at(end);
        let mut value = match first.parse::<usize>() {
            Ok(position) => {
                if let Numbering::Automatic(_) = self.numbering {
                    return Err(Raise::value_error(
                        "cannot switch from automatic field numbering to manual field specification",
                    ));
                }
                self.numbering = Numbering::Manual;
                self.at(position)?
            }
            Err(_) if first.is_empty() => {
                let position = match self.numbering {
                    Numbering::Open => 0,
                    Numbering::Automatic(next) => next,
                    Numbering::Manual => {
                        return Err(Raise::value_error(
                            "cannot switch from manual field specification to automatic field numbering",
                        ));
                    }
                };
                self.numbering = Numbering::Automatic(position + 1);
                self.at(position)?
            }
            Err(_) => match &self.names {
                Names::Keywords(keywords) => match keywords.iter().find(|(keyword, _)| **keyword == *first) {
                    Some((_, value)) => value.clone(),
                    None => return Err(Raise::key_error(first.into())),
                },
                Names::Mapping(mapping) => {
                    let outcome = operators::get_item(self.machine, mapping, &first.into())?;
                    self.machine.settle(outcome).await?
                }
            },
        };
        while !rest.is_empty() {
            if let Some(attribute) = rest.strip_prefix('.') {
                let end = attribute.find(['.', '[']).unwrap_or(attribute.len());
                if end == 0 {
                    return Err(Raise::value_error("Empty attribute in format string"));
                }
                value = self.machine.get_attribute(&value, &attribute[..end]).await?;
                rest = &attribute[end..];
                continue;
            }
            let Some((key, next)) = rest.strip_prefix('[').and_then(|item| item.split_once(']')) else {
                return Err(Raise::value_error("Missing ']' in format string"));
            };
            if key.is_empty() {
                return Err(Raise::value_error("Empty attribute in format string"));
            }
            let key = key.parse::<i64>().map_or_else(|_| Value::from(key), Value::Int);
            let outcome = operators::get_item(self.machine, &value, &key)?;
            value = self.machine.settle(outcome).await?;
            rest = next;
        }
        Ok(value)
    }

    fn at(&self, position: usize) -> Result<Value, Raise> {
        if let Names::Mapping(_) = self.names {
            return Err(Raise::value_error("Format string contains positional fields"));
        }
        self.positional.get(position).cloned().ok_or_else(|| {
            Raise::index_error(format!("Replacement index {position} out of range for positional args tuple"))
        })
    }
}

/// Reads a field after its opening brace; returns what follows its closing one.
fn parse(text: &str) -> Result<(Field<'_>, &str), Raise> {
    let unclosed = || Raise::value_error("expected '}' before end of string");
    let mut bracket = false;
    let end = text
        .char_indices()
        .find(|(_, char)| {
            bracket = (bracket || *char == '[') && *char != ']';
            !bracket && matches!(char, '{' | '}' | ':' | '!')
        })
        .map(|(position, _)| position)
        .ok_or_else(unclosed)?;
    let (name, mut rest) = text.split_at(end);
    if rest.starts_with('{') {
        return Err(Raise::value_error("unexpected '{' in field name"));
    }
    let mut conversion = None;
    if let Some(after) = rest.strip_prefix('!') {
        let mut chars = after.chars();
        conversion = chars.next();
        rest = chars.as_str();
        if conversion.is_none_or(|char| char == '}') || rest.is_empty() {
            return Err(Raise::value_error("unmatched '{' in format spec"));
        }
        if !rest.starts_with([':', '}']) {
            return Err(Raise::value_error("expected ':' after conversion specifier"));
        }
    }
    if let Some(next) = rest.strip_prefix('}') {
        return Ok((Field { name, conversion, spec: "" }, next));
    }
    let spec = rest.strip_prefix(':').unwrap_or(rest);
    let mut open = 0;
    for (position, char) in spec.char_indices() {
        match char {
            '{' => open += 1,
            '}' if open == 0 => {
                return Ok((Field { name, conversion, spec: &spec[..position] }, &spec[position + 1..]));
            }
            '}' => open -= 1,
            _ => {}
        }
    }
    Err(unclosed())
}
