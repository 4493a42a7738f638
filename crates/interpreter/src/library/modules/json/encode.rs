//! `json.dumps`.

use std::rc::Rc;

use futures::future::LocalBoxFuture;

use crate::evaluation::{format, operators, sort};
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::suspension::Nested;
use crate::values::types::{Items, int, ledger, type_name};
use crate::values::value::{Identity, Value};

/// What `dumps` was asked for.
struct Options {
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
    ensure_ascii: bool,
    allow_nan: bool,
    skip_keys: bool,
    default: Option<Value>,
}

/// Writes a value as JSON.
pub fn dumps(machine: &Machine, mut args: Args) -> HostResult {
    let mut given = |name: &str| args.take_keyword(name).filter(|value| !matches!(value, Value::None));
    let flag = |value: Option<Value>, default: bool| match value {
        Some(value) => operators::truth_sync(machine, &value),
        None => Ok(default),
    };
    let indent = match given("indent") {
        Some(Value::Str(text)) => Some(text.to_string()),
        Some(width) => {
            let width = usize::try_from(operators::index_fitting(machine, &width)?).unwrap_or(0);
            if width > 1024 {
                return Err(Raise::value_error("indent is too large for this server"));
            }
            Some(" ".repeat(width))
        }
        None => None,
    };
    let (item_separator, key_separator) = match given("separators") {
        Some(Value::Tuple(pair)) => match &pair[..] {
            [Value::Str(item), Value::Str(key)] => (item.to_string(), key.to_string()),
            _ => return Err(Raise::type_error("separators must be two strings")),
        },
        Some(_) => return Err(Raise::type_error("separators must be a tuple")),
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let options = Options {
        indent,
        item_separator,
        key_separator,
        sort_keys: flag(given("sort_keys"), false)?,
        ensure_ascii: flag(given("ensure_ascii"), true)?,
        allow_nan: flag(given("allow_nan"), true)?,
        skip_keys: flag(given("skipkeys"), false)?,
        default: given("default"),
    };
    args.no_more_keywords("dumps")?;
    let value = args.one("dumps")?;
    let (machine, state) = (machine.clone(), State { options: Rc::new(options), level: 0, open: Rc::default() });
    operators::later(async move {
        let text = write(machine.clone(), value, state).await?;
        ledger::text(&machine, text)
    })
}

#[derive(Clone)]
struct State {
    options: Rc<Options>,
    level: usize,
    /// The containers around this one.
    open: Rc<Vec<Identity>>,
}

impl State {
    /// Goes into a container.
    fn inside(&self, container: &Value) -> Result<Self, Raise> {
        let identity = container.identity();
        if self.open.contains(&identity) {
            return Err(Raise::value_error("Circular reference detected"));
        }
        let mut open = (*self.open).clone();
        open.push(identity);
        Ok(Self { options: Rc::clone(&self.options), level: self.level + 1, open: Rc::new(open) })
    }

    fn line(&self, level: usize) -> String {
        self.options.indent.as_ref().map_or_else(String::new, |indent| format!("\n{}", indent.repeat(level)))
    }

    /// Puts parts between brackets.
    fn wrap(&self, open: char, parts: &[String], close: char) -> String {
        if parts.is_empty() {
            return format!("{open}{close}");
        }
        let separator = format!("{}{}", self.options.item_separator, self.line(self.level + 1));
        format!("{open}{}{}{}{close}", self.line(self.level + 1), parts.join(&separator), self.line(self.level))
    }
}

fn float(number: f64, options: &Options) -> Result<String, Raise> {
    if number.is_finite() {
        return Ok(format::float_repr(number));
    }
    if !options.allow_nan {
        return Err(Raise::value_error("Out of range float values are not JSON compliant"));
    }
    Ok(if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
    .to_owned())
}

fn write(machine: Machine, value: Value, state: State) -> LocalBoxFuture<'static, Result<String, Raise>> {
    let simple = match operators::plain(&value) {
        Value::None => Ok(Some("null".to_owned())),
        Value::Bool(truth) => Ok(Some(truth.to_string())),
        Value::Int(number) => Ok(Some(number.to_string())),
        Value::Big(number) => int::decimal(&number).map(Some),
        Value::Float(number) => float(number, &state.options).map(Some),
        // `numpy.float64` is one.
        Value::Host(object) if object.is_instance("float") => match object.float(&machine) {
            Ok(Some(number)) => float(number, &state.options).map(Some),
            Ok(None) => Ok(None),
            Err(raise) => Err(raise),
        },
        Value::Str(text) => Ok(Some(quote(&text, state.options.ensure_ascii))),
        _ => Ok(None),
    };
    if let Some(done) = simple.and_then(|text| machine.charge_fuel(1).map(|()| text)).transpose() {
        return Box::pin(std::future::ready(done));
    }
    let handle = machine.clone();
    let text = Nested::new(machine, async move {
        let text = container(&handle, &value, &state).await?;
        ledger::reserve(&handle, text.len() as u64)?;
        Ok(Value::from(text))
    });
    Box::pin(async move {
        match text.await? {
            Value::Str(text) => Ok(text.to_string()),
            _ => Ok(String::new()),
        }
    })
}

async fn container(machine: &Machine, value: &Value, state: &State) -> Result<String, Raise> {
    let inner = state.inside(value)?;
    let items = match operators::plain(value) {
        Value::List(list) => list.to_vec(),
        Value::Tuple(tuple) => tuple.to_vec().into(),
        Value::Dict(dict) => return object(machine, dict.entries(), state, inner).await,
        // `torch.Size`, for example.
        Value::Host(host) if host.is_instance("tuple") => operators::collect(machine, value).await?,
        _ => {
            let Some(default) = &state.options.default else {
                let name = type_name(value);
                let name = name.rsplit('.').next().unwrap_or_default();
                return Err(Raise::type_error(format!("Object of type {name} is not JSON serializable")));
            };
            let replaced = machine.call(default, Args::of([value.clone()])).await?;
            return write(machine.clone(), replaced, State { level: state.level, ..inner }).await;
        }
    };
    let mut parts = Vec::with_capacity(items.len());
    for item in items {
        parts.push(write(machine.clone(), item, inner.clone()).await?);
    }
    Ok(state.wrap('[', &parts, ']'))
}

async fn object(
    machine: &Machine,
    mut entries: Items<(Value, Value)>,
    state: &State,
    inner: State,
) -> Result<String, Raise> {
    let options = &state.options;
    if options.sort_keys {
        let keys: Vec<Value> = entries.iter().map(|(key, _)| key.clone()).collect();
        let order = sort::order(machine, &keys, false).await?;
        entries = order.into_iter().filter_map(|position| entries.get(position).cloned()).collect();
    }
    let mut parts = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let name = match operators::plain(&key) {
            Value::Str(text) => text.to_string(),
            Value::None => "null".to_owned(),
            Value::Bool(truth) => truth.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Big(number) => int::decimal(&number)?,
            Value::Float(number) => float(number, options)?,
            _ if options.skip_keys => continue,
            _ => {
                let name = type_name(&key);
                return Err(Raise::type_error(format!("keys must be str, int, float, bool or None, not {name}")));
            }
        };
        let value = write(machine.clone(), value, inner.clone()).await?;
        parts.push(format!("{}{}{value}", quote(&name, options.ensure_ascii), options.key_separator));
    }
    Ok(state.wrap('{', &parts, '}'))
}

fn quote(text: &str, ensure_ascii: bool) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            char if (char as u32) < 0x20 || ensure_ascii && (char as u32) > 0x7e => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    quoted.push_str(&format!("\\u{unit:04x}"));
                }
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}
