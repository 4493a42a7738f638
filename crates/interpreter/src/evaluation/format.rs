//! Text of values: `repr`, `str`, `format`, `%` and `str.format`.

mod float;
mod percent;
mod spec;
mod template;

use std::fmt::Write;
use std::rc::Rc;

use futures::future::LocalBoxFuture;

use crate::evaluation::operators::{self, call_special, later, payload, special};
use crate::evaluation::sort;
use crate::evaluation::view::View;
use crate::values::class::Instance;
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::suspension::Deep;
use crate::values::types::{Dict, Items, Made, Set, dict, int, ledger, type_name};
use crate::values::value::{Identity, Value};

pub use float::{complex_repr, float_repr};
pub use percent::{percent, percent_bytes};
pub use template::{format_map, format_method};

/// Containers inside each other that `repr` follows.
const DEPTH: usize = 900;

type Text = LocalBoxFuture<'static, Result<String, Raise>>;

/// `repr(value)`.
pub fn repr(machine: &Machine, value: &Value) -> Text {
    let (machine, value) = (machine.clone(), value.clone());
    Box::pin(async move {
        let mut text = String::new();
        write_repr(&machine, &value, &mut text, &mut Vec::new()).await?;
        Ok(text)
    })
}

/// `str(value)`.
pub fn str(machine: &Machine, value: &Value) -> Text {
    let (machine, value) = (machine.clone(), value.clone());
    Box::pin(async move {
        if let Value::Str(text) = &value {
            ledger::reserve(&machine, text.len() as u64)?;
            return Ok(text.to_string());
        }
        if let Value::Instance(instance) = &value {
            if let Some(method) = special(&value, "__str__") {
                return returned(&machine, &method, &value, "__str__").await;
            }
            if instance.exception().is_some() {
                return exception_text(&machine, instance).await;
            }
            // Those of sets and dicts show the class that they are of.
            if let (None, Some(payload)) = (special(&value, "__repr__"), payload(&value))
                && !matches!(payload, Value::Set(_) | Value::Dict(_))
            {
                return str(&machine, &payload).await;
            }
        }
        if let Value::Host(object) = &value
            && let Some(text) = object.str(&machine)?
        {
            return Ok(text);
        }
        repr(&machine, &value).await
    })
}

/// `ascii(value)`.
pub fn ascii(machine: &Machine, value: &Value) -> Text {
    let text = repr(machine, value);
    let machine = machine.clone();
    Box::pin(async move {
        let text = text.await?;
        ledger::scanned(&machine, 4 * text.len() as u64)?;
        ledger::reserve(&machine, 6 * text.len() as u64)?;
        Ok(text.chars().map(|char| if char.is_ascii() { char.to_string() } else { escape(char) }).collect())
    })
}

/// `format(value, spec)`.
pub fn format(machine: &Machine, value: &Value, spec: &str) -> Text {
    let (machine, value, spec) = (machine.clone(), value.clone(), spec.to_owned());
    Box::pin(async move {
        if let Some(method) = special(&value, "__format__") {
            let outcome = call_special(&machine, &method, &value, vec![Value::from(&*spec)])?;
            return match machine.settle(outcome).await? {
                Value::Str(text) => Ok(text.to_string()),
                other => {
                    let name = type_name(&other);
                    Err(Raise::type_error(format!("__format__ must return a str, not {name}")))
                }
            };
        }
        if let Value::Host(object) = &value
            && let Some(text) = object.format(&machine, &spec)?
        {
            return Ok(text);
        }
        if spec.is_empty() {
            return str(&machine, &value).await;
        }
        spec::format(&machine, &operators::plain(&value), &spec, &type_name(&value))
    })
}

/// `str(value)` as an outcome.
///
/// # Errors
/// What `__str__` raises.
pub fn str_outcome(machine: &Machine, value: &Value) -> HostResult {
    if let Value::Str(_) = value {
        return Ok(value.clone().into());
    }
    pay_for_digits(machine, value)?;
    if let Some(text) = simple(value)? {
        return Ok(ledger::text(machine, text)?.into());
    }
    charged(machine, str(machine, value))
}

/// Awaits a text and charges it.
///
/// # Errors
/// Those of the text.
pub fn charged(machine: &Machine, text: Text) -> HostResult {
    let machine = machine.clone();
    later(async move { ledger::text(&machine, text.await?) })
}

/// `repr` of values that need no other code to run, for error messages: long ones are paid for.
///
/// # Errors
/// Memory or fuel is spent.
pub fn repr_shown(machine: &Machine, value: &Value) -> Result<Option<String>, Raise> {
    pay_for_digits(machine, value)?;
    Ok(repr_now(value))
}

/// Pays for writing a value that holds no others, before it is written: a character may take ten.
fn pay_for_digits(machine: &Machine, value: &Value) -> Result<(), Raise> {
    let length = match value {
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => return Ok(()),
    };
    if length < 4096 {
        return Ok(());
    }
    ledger::scanned(machine, 4 * length as u64)?;
    ledger::reserve(machine, 6 * length as u64)
}

/// `repr` of values that need no other code to run, of which the text is short.
pub fn repr_now(value: &Value) -> Option<String> {
    match value {
        Value::Str(text) => Some(quote(text)),
        value => simple(value).ok().flatten(),
    }
}

/// `repr` of values of which `str` is the same and that hold no others.
fn simple(value: &Value) -> Result<Option<String>, Raise> {
    Ok(Some(match value {
        Value::None => "None".to_owned(),
        Value::NotImplemented => "NotImplemented".to_owned(),
        Value::Ellipsis => "Ellipsis".to_owned(),
        Value::Bool(truth) => if *truth { "True" } else { "False" }.to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Big(number) => int::decimal(number)?,
        Value::Float(number) => float_repr(*number),
        Value::Complex(real, imaginary) => complex_repr(*real, *imaginary),
        Value::Bytes(bytes) => quote_bytes(bytes),
        Value::Range(range) if range.step == 1 => format!("range({}, {})", range.start, range.stop),
        Value::Range(range) => format!("range({}, {}, {})", range.start, range.stop, range.step),
        Value::Type(kind) => match kind.module() {
            "builtins" => format!("<class '{}'>", kind.name()),
            module => format!("<class '{module}.{}'>", kind.name()),
        },
        Value::Class(class) if class.lineage().any(|class| class.module() == "enum" && &**class.name() == "Enum") => {
            let kind = if class.lineage().any(|class| class.module() == "enum" && &**class.name() == "Flag") {
                "flag"
            } else {
                "enum"
            };
            format!("<{kind} '{}'>", class.name())
        }
        Value::Class(class) => match class.module() {
            "builtins" => format!("<class '{}'>", class.name()),
            module => format!("<class '{module}.{}'>", class.qualified_name()),
        },
        Value::Function(function) => {
            format!("<function {} at {}>", function.code().qualified_name(), address(value))
        }
        Value::Native(native) if native.made().is_some() => return Ok(None),
        Value::Iterator(iterator) if iterator.made().is_some() => return Ok(None),
        Value::Native(native) => match native.receiver() {
            None => format!("<built-in function {}>", native.name()),
            Some(receiver) => {
                let (name, kind) = (native.name(), type_name(receiver));
                format!("<built-in method {name} of {kind} object at {}>", address(receiver))
            }
        },
        Value::Iterator(iterator) => match iterator.as_generator() {
            Some(generator) => format!("<generator object {} at {}>", generator.name(), address(value)),
            None => format!("<{} object at {}>", iterator.type_name(), address(value)),
        },
        Value::Decorated(_) => format!("<{} object at {}>", type_name(value), address(value)),
        _ => return Ok(None),
    }))
}

/// Returns what `id` and default `repr`s show: a number that no two objects have at one time, and no address of this process.
pub fn id(value: &Value) -> i64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let number = match value.identity() {
        Identity::Place(place) if place as u64 >> 48 == 0 => scattered(place as u64 >> 4),
        // What is one object by its value lies where nothing else does.
        other => {
            let mut hasher = DefaultHasher::new();
            other.hash(&mut hasher);
            (hasher.finish() & PLACES) | (PLACES + 1)
        }
    };
    (number << 4) as i64
}

/// Places that are multiples of 16, which all objects lie at.
const PLACES: u64 = (1 << 44) - 1;

/// Gives each place another, one to one.
fn scattered(place: u64) -> u64 {
    let once = place.wrapping_mul(0x9e37_79b9_7f4a_7c15) & PLACES;
    (once ^ (once >> 22)).wrapping_mul(0xbf58_476d_1ce4_e5b9) & PLACES
}

fn address(value: &Value) -> String {
    format!("{:#x}", id(value))
}

/// Returns a string with quotes and escapes.
pub fn quote(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(quote);
    for char in text.chars() {
        match char {
            '\\' => quoted.push_str("\\\\"),
            char if char == quote => {
                quoted.push('\\');
                quoted.push(char);
            }
            char if is_printable(char) => quoted.push(char),
            char => quoted.push_str(&escape(char)),
        }
    }
    quoted.push(quote);
    quoted
}

/// Writes a character as an escape.
pub fn escape(char: char) -> String {
    match char {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        char => match char as u32 {
            code @ ..0x100 => format!("\\x{code:02x}"),
            code @ ..0x1_0000 => format!("\\u{code:04x}"),
            code => format!("\\U{code:08x}"),
        },
    }
}

/// Says whether `repr` shows a character as it is.
pub fn is_printable(char: char) -> bool {
    if char.is_ascii() {
        return !char.is_ascii_control();
    }
    // Not first in the string, so that combining characters pass.
    let mut text = String::from("a");
    text.push(char);
    text.escape_debug().count() == 2
}

fn quote_bytes(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut quoted = format!("b{quote}");
    for byte in bytes {
        match *byte {
            b'\\' => quoted.push_str("\\\\"),
            b'\n' => quoted.push_str("\\n"),
            b'\r' => quoted.push_str("\\r"),
            b'\t' => quoted.push_str("\\t"),
            byte if char::from(byte) == quote => {
                quoted.push('\\');
                quoted.push(quote);
            }
            byte @ 0x20..0x7f => quoted.push(char::from(byte)),
            byte => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push(quote);
    quoted
}

/// Appends `repr(value)`. `open` are the containers around it: one of them again is written as dots.
fn write_repr<'a>(
    machine: &'a Machine,
    value: &'a Value,
    text: &'a mut String,
    open: &'a mut Vec<Identity>,
) -> Deep<'a, Result<(), Raise>> {
    Deep::new(async move {
        machine.charge_fuel(1)?;
        if let Some(own) = repr_scalar(machine, value)? {
            return append(machine, text, &own);
        }
        let place = value.identity();
        let (left, right) = match value {
            Value::List(_) => ("[", "]"),
            Value::Tuple(_) => ("(", ")"),
            Value::Dict(_) => ("{", "}"),
            Value::Set(_) => ("set(", ")"),
            _ => ("", ""),
        };
        if open.contains(&place) {
            match value {
                Value::Native(native) => {
                    write_to(text, format_args!("{}(...)", native.made().map_or("", |made| made.class)));
                }
                _ => write_to(text, format_args!("{left}...{right}")),
            }
            return Ok(());
        }
        if open.len() >= DEPTH {
            return Err(Raise::new(
                Kind::RecursionError,
                "maximum recursion depth exceeded while getting the repr of an object",
            ));
        }
        open.push(place);
        match value {
            Value::List(list) => items(machine, "[", &list.to_vec(), "]", text, open).await?,
            Value::Tuple(tuple) => {
                let right = if tuple.len() == 1 { ",)" } else { ")" };
                items(machine, "(", tuple, right, text, open).await?;
            }
            Value::Set(set) => repr_set(machine, set, None, text, open).await?,
            Value::Dict(dict) => repr_dict(machine, dict, None, text, open).await?,
            Value::Slice(slice) => {
                let parts = [slice.start.clone(), slice.stop.clone(), slice.step.clone()];
                items(machine, "slice(", &parts, ")", text, open).await?;
            }
            Value::Method(method) => {
                let name = match &method.function {
                    Value::Function(function) => function.code().qualified_name(),
                    _ => "?".to_owned(),
                };
                write_to(text, format_args!("<bound method {name} of "));
                write_repr(machine, &method.receiver, text, open).await?;
                text.push('>');
            }
            Value::Host(object) => match object.as_any().downcast_ref::<View>() {
                Some(view) => {
                    let left = format!("{}([", type_name(value));
                    items(machine, &left, &view.items(), "])", text, open).await?;
                }
                None => match object.repr(machine)? {
                    Some(own) => append(machine, text, &own)?,
                    None => {
                        let parts = object.repr_parts(machine)?;
                        match parts {
                            Some((left, parts, right)) => items(machine, &left, &parts, &right, text, open).await?,
                            None => write_to(text, format_args!("<{} object at {}>", type_name(value), address(value))),
                        }
                    }
                },
            },
            Value::Instance(instance) => repr_instance(machine, value, instance, text, open).await?,
            Value::Native(native) => {
                if let Some(made) = native.made() {
                    repr_made(machine, made, text, open).await?;
                }
            }
            Value::Iterator(iterator) => {
                if let Some(made) = iterator.made() {
                    repr_made(machine, &made, text, open).await?;
                }
            }
            _ => {}
        }
        open.pop();
        Ok(())
    })
}

/// Writes a call.
async fn repr_made(machine: &Machine, made: &Made, text: &mut String, open: &mut Vec<Identity>) -> Result<(), Raise> {
    items(machine, &format!("{}(", made.class), &made.args, "", text, open).await?;
    for (name, value) in &made.keywords {
        let between = if text.ends_with('(') { "" } else { ", " };
        write_to(text, format_args!("{between}{name}="));
        write_repr(machine, value, text, open).await?;
    }
    text.push(')');
    Ok(())
}

/// Appends to a text that grows: it takes up to twice its length, and is copied when it has grown so much.
fn append(machine: &Machine, text: &mut String, more: &str) -> Result<(), Raise> {
    if text.capacity() - text.len() < more.len() && text.len() + more.len() > 4096 {
        ledger::reserve(machine, 2 * (text.len() + more.len()) as u64)?;
    }
    ledger::copied(machine, more.len() as u64)?;
    text.push_str(more);
    Ok(())
}

fn repr_scalar(machine: &Machine, value: &Value) -> Result<Option<String>, Raise> {
    pay_for_digits(machine, value)?;
    match value {
        Value::Str(text) => Ok(Some(quote(text))),
        value => simple(value),
    }
}

fn write_to(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(arguments);
}

async fn items(
    machine: &Machine,
    left: &str,
    items: &[Value],
    right: &str,
    text: &mut String,
    open: &mut Vec<Identity>,
) -> Result<(), Raise> {
    text.push_str(left);
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            text.push_str(", ");
        }
        match repr_scalar(machine, item)? {
            Some(own) => {
                machine.charge_fuel(1)?;
                append(machine, text, &own)?;
            }
            None => write_repr(machine, item, text, open).await?,
        }
    }
    text.push_str(right);
    Ok(())
}

/// Writes a set, under the name of the program's class that it is of, if it is of one.
async fn repr_set(
    machine: &Machine,
    set: &Set,
    class: Option<&str>,
    text: &mut String,
    open: &mut Vec<Identity>,
) -> Result<(), Raise> {
    let name = class.unwrap_or(if set.is_frozen() { "frozenset" } else { "set" });
    match set.is_empty() {
        true => write_to(text, format_args!("{name}()")),
        false if class.is_none() && !set.is_frozen() => items(machine, "{", &set.items(), "}", text, open).await?,
        false => items(machine, &format!("{name}({{"), &set.items(), "})", text, open).await?,
    }
    Ok(())
}

/// Writes a dict; those of kinds of their own under the name of the program's class that they are of, if of one.
async fn repr_dict(
    machine: &Machine,
    dict: &Rc<Dict>,
    class: Option<&str>,
    text: &mut String,
    open: &mut Vec<Identity>,
) -> Result<(), Raise> {
    let name = class.unwrap_or(dict.type_of().name());
    let right = match dict.kind() {
        dict::Kind::Plain => "",
        dict::Kind::Ordered | dict::Kind::Counter if dict.is_empty() => {
            write_to(text, format_args!("{name}()"));
            return Ok(());
        }
        dict::Kind::Ordered => {
            let pairs: Items = dict.entries().into_iter().map(|(key, value)| Value::tuple(vec![key, value])).collect();
            return items(machine, &format!("{name}(["), &pairs, "])", text, open).await;
        }
        dict::Kind::Counter => {
            write_to(text, format_args!("{name}("));
            ")"
        }
        dict::Kind::Default(factory) => {
            let factory = factory.borrow().clone();
            write_to(text, format_args!("{name}("));
            write_repr(machine, &factory, text, open).await?;
            text.push_str(", ");
            ")"
        }
    };
    let mut entries = dict.entries();
    if let dict::Kind::Counter = dict.kind() {
        let counts: Items = entries.iter().map(|(_, count)| count.clone()).collect();
        // Counts that cannot be ordered are shown as they stand.
        if let Ok(order) = sort::order(machine, &counts, true).await {
            entries = order.into_iter().map(|position| entries[position].clone()).collect();
        }
    }
    text.push('{');
    for (position, (key, value)) in entries.iter().enumerate() {
        if position > 0 {
            text.push_str(", ");
        }
        write_repr(machine, key, text, open).await?;
        text.push_str(": ");
        write_repr(machine, value, text, open).await?;
    }
    text.push('}');
    text.push_str(right);
    Ok(())
}

async fn repr_instance(
    machine: &Machine,
    value: &Value,
    instance: &Rc<Instance>,
    text: &mut String,
    open: &mut Vec<Identity>,
) -> Result<(), Raise> {
    if special(value, "__repr__").is_none()
        && let Some(host) = instance.class().host()
        && let Outcome::Ready(method) = Rc::clone(host).instance_attribute(machine, value, "__repr__")?
        && let Value::Str(own) = machine.call(&method, Args::default()).await?
    {
        return append(machine, text, &own);
    }
    if let Some(method) = special(value, "__repr__") {
        let own = returned(machine, &method, value, "__repr__").await?;
        return append(machine, text, &own);
    }
    if let Some(state) = instance.exception() {
        let args = state.borrow().args.clone();
        return items(machine, &format!("{}(", instance.class().name()), &args, ")", text, open).await;
    }
    let class = instance.class().name();
    match instance.payload() {
        Some(Value::Set(set)) => repr_set(machine, &set, Some(class), text, open).await,
        Some(Value::Dict(dict)) => repr_dict(machine, &dict, Some(class), text, open).await,
        Some(payload) => write_repr(machine, &payload, text, open).await,
        None => {
            text.push_str(&plain_repr(value, instance));
            Ok(())
        }
    }
}

/// `object.__repr__(value)` of a value of no program's class.
pub(crate) fn plain_repr_of(value: &Value) -> String {
    format!("<{} object at {}>", type_name(value), address(value))
}

/// `object.__repr__(value)`.
pub(crate) fn plain_repr(value: &Value, instance: &Instance) -> String {
    let class = instance.class();
    match class.module() {
        "builtins" => format!("<{} object at {}>", class.name(), address(value)),
        module => format!("<{module}.{} object at {}>", class.qualified_name(), address(value)),
    }
}

/// Calls `__repr__` or `__str__`.
async fn returned(machine: &Machine, method: &Value, value: &Value, name: &str) -> Result<String, Raise> {
    let outcome = call_special(machine, method, value, vec![])?;
    match operators::plain(&machine.settle(outcome).await?) {
        Value::Str(text) => Ok(text.to_string()),
        other => {
            let kind = type_name(&other);
            Err(Raise::type_error(format!("{name} returned non-string (type {kind})")))
        }
    }
}

async fn exception_text(machine: &Machine, instance: &Instance) -> Result<String, Raise> {
    let args = instance.exception().map(|state| state.borrow().args.clone()).unwrap_or_default();
    match &args[..] {
        [] => Ok(String::new()),
        [one] if instance.class().exception_kind() == Some(Kind::KeyError) => repr(machine, one).await,
        [one] => str(machine, one).await,
        [number @ Value::Int(_), text @ Value::Str(_)]
            if instance.class().exception_kind().is_some_and(|kind| kind == Kind::OSError) =>
        {
            Ok(format!("[Errno {}] {}", str(machine, number).await?, str(machine, text).await?))
        }
        _ => repr(machine, &Value::tuple(args)).await,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_places_get_one_number() {
        // As a heap lies: close together, in two regions far apart. Hashed to so many bits, some of them would be alike.
        let near = (0..1 << 20).map(|at| 0x5_5aa0_0000_0000 / 16 + at);
        let far = (0..1 << 20).map(|at| 0x7fff_0000_0000 / 16 + 3 * at);
        let places: HashSet<u64> = near.chain(far).map(scattered).collect();
        assert_eq!(places.len(), 1 << 21);
        assert!(places.iter().all(|place| *place <= PLACES));
    }
}
