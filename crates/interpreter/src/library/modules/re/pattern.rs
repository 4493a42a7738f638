//! `re.Pattern`.

use std::any::Any;
use std::borrow::Cow;
use std::rc::{Rc, Weak};

use crate::evaluation::format;
use crate::evaluation::operators::{self, later};
use crate::library::modules::lazy::{Steps, iterator};
use crate::library::modules::re::engine::{Anchor, Backtracking, HARD_PARTS, Linear, PROGRAM_BYTES};
use crate::library::modules::re::found::Match;
use crate::library::modules::re::template::{Replacement, Template};
use crate::library::modules::re::translate::{Refused, translate};
use crate::library::modules::re::{ASCII, FLAGS, UNICODE};
use crate::values::effect::{Effect, Use};
use crate::values::host::{Args, HostObject, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::types::{List, MethodFn, Native, ledger, string, type_name};
use crate::values::value::Value;

/// Bytes charged for a match, and for each of its groups.
const MATCH: u64 = 160;
const GROUP: u64 = 24;

/// `re.Pattern` itself, for `isinstance`.
pub struct PatternType;

impl HostObject for PatternType {
    fn type_name(&self) -> Cow<'static, str> {
        "type".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn class_name(&self) -> Option<Cow<'static, str>> {
        Some("re.Pattern".into())
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some("<class 're.Pattern'>".to_owned()))
    }
}

/// A compiled pattern.
pub struct Pattern {
    this: Weak<Pattern>,
    source: Rc<str>,
    flags: i64,
    /// Names of the groups that have one, with their numbers.
    names: Vec<(Rc<str>, usize)>,
    groups: usize,
    /// It has a `$` that also matches before a last end of line.
    looks_at_end: bool,
    /// Looks as long as it need not go back.
    linear: Option<Linear>,
    /// Looks else; `None` where it never has to.
    backtracking: Option<Backtracking>,
    _charge: Charge,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is no pattern, is not supported, or is too large.
    pub fn compile(machine: &Machine, source: Rc<str>, flags: i64) -> Result<Rc<Self>, Refused> {
        machine.charge_fuel(200 + 4 * source.len() as u64)?;
        if flags & !FLAGS.iter().fold(0, |all, (_, flag)| all | flag) != 0 {
            return Err(Raise::value_error("these flags of re are not supported by this server").into());
        }
        let translated = translate(&source, flags)?;
        if translated.flags & ASCII != 0 && translated.flags & UNICODE != 0 {
            return Err(Raise::value_error("ASCII and UNICODE flags are incompatible").into());
        }
        let hard = translated.hard > 0;
        let charge = Charge::default();
        let parts = if hard { 1 + translated.hard.min(HARD_PARTS) as u64 } else { 1 };
        charge.cover(machine, parts * PROGRAM_BYTES as u64 / 2 + source.len() as u64)?;
        machine.charge_fuel(parts * translated.weight.min(PROGRAM_BYTES as u64 / 64))?;
        let linear = if hard { None } else { Some(Linear::new(&translated, flags)?) };
        let careful = hard || translated.idles || translated.looks_at_end();
        let backtracking = if careful { Some(Backtracking::new(&translated, flags)?) } else { None };
        Ok(Rc::new_cyclic(|this| Self {
            this: this.clone(),
            source,
            // A pattern of text has one of the two.
            flags: translated.flags | if translated.flags & ASCII == 0 { UNICODE } else { 0 },
            groups: translated.groups,
            looks_at_end: translated.looks_at_end(),
            names: translated.names.into_iter().map(|(name, number)| (name.into(), number)).collect(),
            linear,
            backtracking,
            _charge: charge,
        }))
    }

    /// Returns the counted reference to this pattern.
    pub fn this(&self) -> Option<Rc<Self>> {
        self.this.upgrade()
    }

    /// Returns how many groups there are.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Returns the names of groups, with their numbers.
    pub fn names(&self) -> &[(Rc<str>, usize)] {
        &self.names
    }

    /// Returns the number of a named group.
    pub fn group_number(&self, name: &str) -> Option<usize> {
        self.names.iter().find(|(known, _)| &**known == name).map(|(_, number)| *number)
    }

    /// Looks for a match from a byte on.
    fn find(&self, machine: &Machine, subject: &Rc<str>, from: usize, anchor: Anchor) -> Result<Option<Match>, Raise> {
        let goes_back = anchor == Anchor::Further || self.looks_at_end && subject.ends_with('\n');
        let linear = self.linear.as_ref().filter(|_| self.backtracking.is_none() || !goes_back);
        let spans = match (linear, &self.backtracking) {
            (Some(linear), _) => linear.find(machine, subject, from, anchor)?,
            (None, Some(backtracking)) => backtracking.find(machine, subject, from, anchor)?,
            (None, None) => None,
        };
        let (Some(spans), Some(pattern)) = (spans, self.this()) else { return Ok(None) };
        let charge = Charge::default();
        charge.cover(machine, MATCH + GROUP * spans.len() as u64)?;
        Ok(Some(Match { pattern, subject: Rc::clone(subject), spans, _charge: charge }))
    }
}

/// All matches, one after another.
struct Scan {
    pattern: Rc<Pattern>,
    subject: Rc<str>,
    next: Option<usize>,
    /// The last match was empty, and stood here: the next must not.
    idle: Option<usize>,
}

impl Scan {
    fn new(pattern: &Pattern, subject: &Rc<str>) -> Result<Self, Raise> {
        let Some(pattern) = pattern.this() else { return Err(Raise::runtime_error("the pattern is gone")) };
        Ok(Self { pattern, subject: Rc::clone(subject), next: Some(0), idle: None })
    }

    fn step(&mut self, machine: &Machine) -> Result<Option<Match>, Raise> {
        let Some(from) = self.next else { return Ok(None) };
        let further = match self.idle.take().filter(|_| self.pattern.backtracking.is_some()) {
            Some(idle) => self.pattern.find(machine, &self.subject, idle, Anchor::Further)?,
            None => None,
        };
        let found = match further {
            None => self.pattern.find(machine, &self.subject, from, Anchor::Anywhere)?,
            further => further,
        };
        self.next = found.as_ref().and_then(|found| {
            let (start, end) = found.spans.first().copied().flatten()?;
            if start < end {
                return Some(end);
            }
            // After an empty match the search goes on one character further, unless something begins here.
            self.idle = Some(end);
            let next = self.subject.get(end..)?.chars().next()?;
            Some(end + next.len_utf8())
        });
        Ok(found)
    }
}

impl Steps for Scan {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        Ok(self.step(machine)?.map(Value::host))
    }
}

/// Methods by name. The functions of the module of the same names take the pattern first.
pub const METHODS: &[(&str, MethodFn)] = &[
    ("findall", |machine, receiver, args| {
        let pattern = of(receiver)?;
        let (subject, start) = window(machine, args, "findall")?;
        let mut scan = Scan { next: Some(start), ..Scan::new(pattern, &subject)? };
        let all = List::new(Vec::new());
        while let Some(found) = scan.step(machine)? {
            let empty = Value::from("");
            let value = match pattern.groups() {
                0 => found.value(machine, 0, &empty)?,
                1 => found.value(machine, 1, &empty)?,
                _ => Value::tuple(found.groups(machine, &empty)?),
            };
            machine.charge_fuel(1 + pattern.groups() as u64)?;
            all.push(machine, value)?;
        }
        Ok(Value::List(Rc::new(all)).into())
    }),
    ("finditer", |machine, receiver, args| {
        let (subject, start) = window(machine, args, "finditer")?;
        let scan = Scan { next: Some(start), ..Scan::new(of(receiver)?, &subject)? };
        iterator(machine, "callable_iterator", scan)
    }),
    ("fullmatch", |machine, receiver, args| once(machine, receiver, args, "fullmatch", Anchor::Whole)),
    ("match", |machine, receiver, args| once(machine, receiver, args, "match", Anchor::Start)),
    ("search", |machine, receiver, args| once(machine, receiver, args, "search", Anchor::Anywhere)),
    ("split", split),
    ("sub", |machine, receiver, args| {
        let replaced = substitute(machine, receiver, args, "sub");
        operators::then(machine, replaced, |_, pair| match &pair {
            Value::Tuple(pair) => Ok(pair.first().cloned().unwrap_or(Value::None).into()),
            _ => Ok(Value::None.into()),
        })
    }),
    ("subn", |machine, receiver, args| substitute(machine, receiver, args, "subn")),
];

fn of(receiver: &Value) -> Result<&Pattern, Raise> {
    let pattern = match receiver {
        Value::Host(object) => object.as_any().downcast_ref(),
        _ => None,
    };
    pattern.ok_or_else(|| Raise::type_error("descriptor requires an 're.Pattern' object"))
}

fn text(value: Option<Value>) -> Result<Rc<str>, Raise> {
    let value = value.unwrap_or(Value::None);
    match operators::plain(&value) {
        Value::Str(text) => Ok(text),
        Value::Bytes(_) => Err(Raise::type_error("cannot use a string pattern on a bytes-like object")),
        _ => Err(Raise::type_error(format!("expected string or bytes-like object, got '{}'", type_name(&value)))),
    }
}

/// Takes the text to look in, cut at `endpos`, and where to begin.
fn window(machine: &Machine, args: Args, name: &str) -> Result<(Rc<str>, usize), Raise> {
    let [subject, start, end] = args.bind(name, ["string", "pos", "endpos"], 1)?;
    let mut subject = text(subject)?;
    let clamp = |value: &Value, subject: &str| -> Result<usize, Raise> {
        let position = operators::index_clamped(machine, value)?;
        ledger::scanned(machine, 2 * subject.len() as u64)?;
        Ok(usize::try_from(position).unwrap_or(0).min(string::length(subject)))
    };
    if let Some(end) = end {
        machine.charge_fuel(subject.len() as u64 / 64)?;
        let end = clamp(&end, &subject)?;
        subject = string::substring(&subject, 0, end).into();
    }
    let start = match start {
        Some(start) => string::substring(&subject, 0, clamp(&start, &subject)?).len(),
        None => 0,
    };
    Ok((subject, start))
}

fn once(machine: &Machine, receiver: &Value, args: Args, name: &str, anchor: Anchor) -> HostResult {
    let (subject, start) = window(machine, args, name)?;
    let found = of(receiver)?.find(machine, &subject, start, anchor)?;
    Ok(found.map_or(Value::None, Value::host).into())
}

fn split(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let pattern = of(receiver)?;
    let [subject, most] = args.bind("split", ["string", "maxsplit"], 1)?;
    let subject = text(subject)?;
    let most = most.map_or(Ok(0), |most| operators::index_clamped(machine, &most))?;
    let parts = List::new(Vec::new());
    let (mut scan, mut last, mut done) = (Scan::new(pattern, &subject)?, 0, 0);
    while most == 0 || done < most {
        let Some(found) = scan.step(machine)? else { break };
        let Some((start, end)) = found.spans.first().copied().flatten() else { break };
        parts.push(machine, ledger::text(machine, subject.get(last..start).unwrap_or_default())?)?;
        for group in found.groups(machine, &Value::None)? {
            parts.push(machine, group)?;
        }
        last = end;
        done += 1;
    }
    parts.push(machine, ledger::text(machine, subject.get(last..).unwrap_or_default())?)?;
    Ok(Value::List(Rc::new(parts)).into())
}

/// Replaces matches; gives the new text and how many were replaced.
fn substitute(machine: &Machine, receiver: &Value, args: Args, name: &str) -> HostResult {
    let pattern = of(receiver)?;
    let [replacement, subject, most] = args.bind(name, ["repl", "string", "count"], 2)?;
    let subject = text(subject)?;
    let most = most.map_or(Ok(0), |most| operators::index_clamped(machine, &most))?;
    let replacement = match replacement {
        Some(Value::Str(template)) => Replacement::Template(Rc::new(Template::parse(machine, pattern, &template)?)),
        other => Replacement::Function(other.unwrap_or(Value::None)),
    };
    let (mut scan, machine) = (Scan::new(pattern, &subject)?, machine.clone());
    later(async move {
        let (mut made, mut last, mut done) = (String::new(), 0, 0);
        let charge = Charge::default();
        while most == 0 || done < most {
            let Some(found) = scan.step(&machine)? else { break };
            let Some((start, end)) = found.spans.first().copied().flatten() else { break };
            made.push_str(subject.get(last..start).unwrap_or_default());
            match &replacement {
                Replacement::Template(template) => made.push_str(&template.expand(&found)),
                Replacement::Function(function) => {
                    match machine.call(function, Args::of([Value::host(found)])).await? {
                        Value::Str(text) => made.push_str(&text),
                        other => {
                            let name = type_name(&other);
                            return Err(Raise::type_error(format!("expected str instance, {name} found")));
                        }
                    }
                }
            }
            charge.cover(&machine, made.len() as u64)?;
            last = end;
            done += 1;
        }
        made.push_str(subject.get(last..).unwrap_or_default());
        Ok(Value::tuple(vec![ledger::text(&machine, made)?, Value::Int(done)]))
    })
}

impl HostObject for Pattern {
    fn type_name(&self) -> Cow<'static, str> {
        "re.Pattern".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _: &Machine, name: &str, _: Use<'_>) -> Effect {
        match name {
            "findall" | "fullmatch" | "match" | "pattern" | "search" | "split" | "sub" | "subn" => Effect::Looks,
            _ => Effect::Anything,
        }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        if let Some((name, method)) = METHODS.iter().find(|(known, _)| *known == name) {
            return Ok(Value::Native(Rc::new(Native::bound(*name, Value::Host(self), *method))).into());
        }
        Ok(match name {
            "pattern" => Value::Str(Rc::clone(&self.source)),
            "flags" => Value::Int(self.flags),
            "groups" => Value::Int(self.groups() as i64),
            "groupindex" => {
                Value::dict(self.names.iter().map(|(name, group)| (Rc::clone(name), Value::Int(*group as i64))))
            }
            _ => return Ok(Outcome::NotImplemented),
        }
        .into())
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        let flags: Vec<String> = FLAGS
            .iter()
            .filter(|(_, flag)| self.flags & flag != 0 && *flag != UNICODE)
            .map(|(name, _)| format!("re.{name}"))
            .collect();
        let source: String = format::quote(&self.source).chars().take(200).collect();
        Ok(Some(match flags.is_empty() {
            true => format!("re.compile({source})"),
            false => format!("re.compile({source}, {})", flags.join("|")),
        }))
    }

    fn is_instance(&self, class: &str) -> bool {
        class == "re.Pattern"
    }
}
