//! `re.Match`.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use crate::evaluation::{format, operators};
use crate::library::modules::re::pattern::Pattern;
use crate::library::modules::re::template::Template;
use crate::values::host::{Args, HostObject, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::types::shape::Shape;
use crate::values::types::{MethodFn, Native, ledger};
use crate::values::value::Value;

/// `re.Match` itself, for `isinstance`.
pub struct MatchType;

impl HostObject for MatchType {
    fn type_name(&self) -> Cow<'static, str> {
        "type".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn class_name(&self) -> Option<Cow<'static, str>> {
        Some("re.Match".into())
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some("<class 're.Match'>".to_owned()))
    }
}

/// A match: the text and where its groups are, in bytes.
pub struct Match {
    pub pattern: Rc<Pattern>,
    pub subject: Rc<str>,
    pub spans: Vec<Option<(usize, usize)>>,
    pub _charge: Charge,
}

impl Match {
    /// Returns what a group took.
    pub fn text(&self, group: usize) -> Option<&str> {
        let (start, end) = (*self.spans.get(group)?)?;
        self.subject.get(start..end)
    }

    /// Returns what a group took as a value, `default` where it took no part.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn value(&self, machine: &Machine, group: usize, default: &Value) -> Result<Value, Raise> {
        self.text(group).map_or_else(|| Ok(default.clone()), |text| ledger::text(machine, text))
    }

    /// Returns what all groups but the whole took.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn groups(&self, machine: &Machine, default: &Value) -> Result<Vec<Value>, Raise> {
        (1..self.spans.len()).map(|group| self.value(machine, group, default)).collect()
    }

    fn number(&self, machine: &Machine, group: &Value) -> Result<usize, Raise> {
        let number = match group {
            Value::Str(name) => self.pattern.group_number(name),
            group => usize::try_from(operators::index_fitting(machine, group)?).ok(),
        };
        number.filter(|number| *number < self.spans.len()).ok_or_else(|| Raise::index_error("no such group"))
    }

    /// Returns where a group is, in characters; -1 where it took no part.
    fn span(&self, machine: &Machine, group: usize) -> Result<(i64, i64), Raise> {
        let Some((start, end)) = self.spans.get(group).copied().flatten() else { return Ok((-1, -1)) };
        let before = characters(machine, &self.subject, start)?;
        Ok((before, characters(machine, &self.subject, end)?))
    }
}

/// Counts the characters before a byte.
pub fn characters(machine: &Machine, text: &Rc<str>, byte: usize) -> Result<i64, Raise> {
    Ok(Shape::of(machine, text)?.position(text, byte) as i64)
}

const METHODS: &[(&str, MethodFn)] = &[
    ("end", |machine, receiver, args| span_part(machine, receiver, args, "end", |(_, end)| Value::Int(end))),
    ("expand", |machine, receiver, args| {
        let (found, template) = (of(receiver)?, args.one("expand")?);
        let Some(template) = template.as_str() else { return Err(Raise::type_error("expand() needs a str")) };
        let template = Template::parse(machine, &found.pattern, template)?;
        Ok(ledger::text(machine, template.expand(found))?.into())
    }),
    ("group", |machine, receiver, args| {
        let found = of(receiver)?;
        args.no_keywords("group")?;
        let mut parts = Vec::new();
        for group in &args.positional {
            parts.push(found.value(machine, found.number(machine, group)?, &Value::None)?);
        }
        Ok(match parts.len() {
            0 => found.value(machine, 0, &Value::None)?,
            1 => parts.swap_remove(0),
            _ => Value::tuple(parts),
        }
        .into())
    }),
    ("groupdict", |machine, receiver, args| {
        let found = of(receiver)?;
        let [default] = args.bind("groupdict", ["default"], 0)?;
        let default = default.unwrap_or(Value::None);
        let names = found.pattern.names();
        let mut pairs = Vec::with_capacity(names.len());
        for (name, group) in names {
            pairs.push((Rc::clone(name), found.value(machine, *group, &default)?));
        }
        Ok(Value::dict(pairs).into())
    }),
    ("groups", |machine, receiver, args| {
        let [default] = args.bind("groups", ["default"], 0)?;
        Ok(Value::tuple(of(receiver)?.groups(machine, &default.unwrap_or(Value::None))?).into())
    }),
    ("span", |machine, receiver, args| {
        span_part(machine, receiver, args, "span", |(start, end)| {
            Value::tuple(vec![Value::Int(start), Value::Int(end)])
        })
    }),
    ("start", |machine, receiver, args| span_part(machine, receiver, args, "start", |(start, _)| Value::Int(start))),
];

fn span_part(machine: &Machine, receiver: &Value, args: Args, name: &str, part: fn((i64, i64)) -> Value) -> HostResult {
    let found = of(receiver)?;
    let args = args.between(name, 0, 1)?;
    let group = args.first().map_or(Ok(0), |group| found.number(machine, group))?;
    Ok(part(found.span(machine, group)?).into())
}

fn of(receiver: &Value) -> Result<&Match, Raise> {
    let found = match receiver {
        Value::Host(object) => object.as_any().downcast_ref(),
        _ => None,
    };
    found.ok_or_else(|| Raise::type_error("descriptor requires an 're.Match' object"))
}

impl HostObject for Match {
    fn type_name(&self) -> Cow<'static, str> {
        "re.Match".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        if let Some((name, method)) = METHODS.iter().find(|(known, _)| *known == name) {
            return Ok(Value::Native(Rc::new(Native::bound(*name, Value::Host(self), *method))).into());
        }
        let last = self.spans.iter().skip(1).rposition(Option::is_some).map(|group| group + 1);
        Ok(match name {
            "string" => Value::Str(Rc::clone(&self.subject)),
            "re" => Value::Host(Rc::clone(&self.pattern) as Rc<dyn HostObject>),
            "pos" => Value::Int(0),
            "endpos" => Value::Int(characters(machine, &self.subject, self.subject.len())?),
            "regs" => {
                let spans = (0..self.spans.len()).map(|group| {
                    let (start, end) = match self.spans[group] {
                        Some(_) => self.span(machine, group)?,
                        None => (-1, -1),
                    };
                    Ok(Value::tuple(vec![Value::Int(start), Value::Int(end)]))
                });
                Value::tuple(spans.collect::<Result<Vec<_>, Raise>>()?)
            }
            "lastindex" => last.map_or(Value::None, |group| Value::Int(group as i64)),
            "lastgroup" => {
                let name = self.pattern.names().iter().find(|(_, group)| Some(*group) == last);
                name.map_or(Value::None, |(name, _)| Value::Str(Rc::clone(name)))
            }
            _ => return Ok(Outcome::NotImplemented),
        }
        .into())
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        Ok(self.value(machine, self.number(machine, key)?, &Value::None)?.into())
    }

    fn repr(&self, machine: &Machine) -> Result<Option<String>, Raise> {
        let (start, end) = self.span(machine, 0)?;
        let text: String = format::quote(self.text(0).unwrap_or_default()).chars().take(50).collect();
        Ok(Some(format!("<re.Match object; span=({start}, {end}), match={text}>")))
    }

    fn is_instance(&self, class: &str) -> bool {
        class == "re.Match"
    }
}
