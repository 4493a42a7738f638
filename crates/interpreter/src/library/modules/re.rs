//! `re`: in time linear in the text, but for patterns that look around or refer back.

mod engine;
mod found;
mod measure;
mod pattern;
mod template;
mod translate;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::evaluation::operators;
use crate::library::modules::written::Written;
use crate::library::modules::{Members, class, functions};
use crate::values::class::Class;
use crate::values::exceptions;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::{Kind, Raise};
use crate::values::types::ledger;
use crate::values::value::Value;

use pattern::{METHODS, Pattern};

/// Compiled patterns that functions of the module keep.
const KEPT: usize = 64;

/// Flags, by their names: those this server knows, with CPython's numbers.
const FLAGS: &[(&str, i64)] = &[
    ("IGNORECASE", IGNORE_CASE),
    ("MULTILINE", MULTILINE),
    ("DOTALL", DOT_ALL),
    ("UNICODE", UNICODE),
    ("VERBOSE", VERBOSE),
    ("ASCII", ASCII),
];

const IGNORE_CASE: i64 = 2;
const MULTILINE: i64 = 8;
const DOT_ALL: i64 = 16;
const UNICODE: i64 = 32;
const VERBOSE: i64 = 64;
const ASCII: i64 = 256;

/// Patterns by source and flags.
type Compiled = HashMap<(Rc<str>, i64), Rc<Pattern>>;

/// What the module keeps for one machine.
struct State {
    error: Rc<Class>,
    compiled: RefCell<Compiled>,
}

pub const RE: Written = Written { text: include_str!("../python/re.py"), natives };

fn natives(machine: &Machine) -> Result<Members, Raise> {
    let base = Value::Class(exceptions::class(Kind::Exception));
    let state = Rc::new(State { error: class("error", "re", vec![base], &[], &[])?, compiled: RefCell::default() });
    machine.set_extension(state.clone());
    let mut members = functions(&[
        ("compile", |machine, args| {
            let [pattern, flags] = args.bind("compile", ["pattern", "flags"], 1)?;
            Ok(Value::Host(compiled(machine, &pattern.unwrap_or(Value::None), flags)?).into())
        }),
        ("escape", escape),
        ("purge", |_, _| Ok(Value::None.into())),
    ]);
    for (name, method) in METHODS {
        let (name, method) = (*name, *method);
        members.push((
            name,
            Value::native(name, move |machine, mut args| {
                let pattern = match args.take_keyword("pattern") {
                    Some(pattern) => pattern,
                    None if !args.positional.is_empty() => args.positional.remove(0),
                    None => {
                        return Err(Raise::type_error(format!(
                            "{name}() missing 1 required positional argument: 'pattern'"
                        )));
                    }
                };
                // Flags come last, after what the method itself takes.
                let most = match name {
                    "sub" | "subn" => 3,
                    "split" => 2,
                    _ => 1,
                };
                let flags = match args.take_keyword("flags") {
                    Some(flags) => Some(flags),
                    None if args.positional.len() > most => args.positional.pop(),
                    None => None,
                };
                let pattern = Value::Host(compiled(machine, &pattern, flags)?);
                method(machine, &pattern, args)
            }),
        ));
    }
    members.extend([
        ("error", Value::Class(Rc::clone(&state.error))),
        ("Match", Value::host(found::MatchType)),
        ("Pattern", Value::host(pattern::PatternType)),
    ]);
    Ok(members)
}

/// Compiles a pattern, or takes one that is compiled already.
fn compiled(machine: &Machine, pattern: &Value, flags: Option<Value>) -> Result<Rc<Pattern>, Raise> {
    let flags = flags.map_or(Ok(0), |flags| operators::index_fitting(machine, &flags))?;
    if let Value::Host(object) = pattern {
        let done = object.as_any().downcast_ref::<Pattern>().and_then(Pattern::this);
        return match done {
            Some(_) if flags != 0 => Err(Raise::value_error("cannot process flags argument with a compiled pattern")),
            Some(done) => Ok(done),
            None => Err(not_text(pattern)),
        };
    }
    let Value::Str(text) = operators::plain(pattern) else { return Err(not_text(pattern)) };
    let Some(state) = machine.extension::<State>() else { return Err(Raise::runtime_error("re is not loaded")) };
    let key = (Rc::clone(&text), flags);
    if let Some(known) = state.compiled.borrow().get(&key) {
        return Ok(Rc::clone(known));
    }
    let made = Pattern::compile(machine, Rc::clone(&text), flags).map_err(|refused| match refused {
        translate::Refused::Raise(raise) => raise,
        translate::Refused::Syntax(message, position) => {
            let whole = match position {
                Some(position) => format!("{message} at position {position}"),
                None => message.clone(),
            };
            let raise = Raise::of_class(&state.error, vec![Value::from(whole)]);
            if let Some(instance) = raise.instance() {
                instance.set("msg", Value::from(message));
                instance.set("pattern", pattern.clone());
                let before = position.map(|position| text.chars().take(position).collect::<String>());
                let line =
                    before.as_ref().map_or(Value::None, |text| Value::Int(text.matches('\n').count() as i64 + 1));
                let column = before
                    .as_ref()
                    .and_then(|text| text.rsplit('\n').next())
                    .map(|last| last.chars().count() as i64 + 1);
                instance.set("lineno", line);
                instance.set("colno", column.map_or(Value::None, Value::Int));
                instance.set("pos", position.map_or(Value::None, |position| Value::Int(position as i64)));
            }
            raise
        }
    })?;
    let mut kept = state.compiled.borrow_mut();
    if kept.len() >= KEPT {
        kept.clear();
    }
    kept.insert(key, Rc::clone(&made));
    Ok(made)
}

fn not_text(pattern: &Value) -> Raise {
    match pattern {
        Value::Bytes(_) => Raise::type_error("re: patterns of bytes are not supported by this server"),
        _ => Raise::type_error("first argument must be string or compiled pattern"),
    }
}

/// Makes an `re.error`.
fn error(machine: &Machine, message: String) -> Raise {
    match machine.extension::<State>() {
        Some(state) => Raise::of_class(&state.error, vec![Value::from(message)]),
        None => Raise::value_error(message),
    }
}

fn escape(machine: &Machine, args: Args) -> HostResult {
    let value = args.one("escape")?;
    let Some(text) = value.as_str() else { return Err(Raise::type_error("escape() needs a str")) };
    ledger::reserve(machine, 2 * text.len() as u64)?;
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if "()[]{}?*+-|^$\\.&~# \t\n\r\x0b\x0c".contains(char) {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    Ok(ledger::text(machine, escaped)?.into())
}
