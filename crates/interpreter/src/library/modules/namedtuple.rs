//! `collections.namedtuple` and `typing.NamedTuple`.

use std::rc::Rc;

use crate::evaluation::operators::{self, with_items};
use crate::library::modules::represent::represent;
use crate::library::modules::signature::{self, Parameter};
use crate::library::modules::{Function, class, class_method, method};
use crate::values::class::{Class, Decorated, Instance, Property};
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{self, Items, Tuple, Type};
use crate::values::value::Value;

/// Fields in order, with their defaults.
type Fields = Vec<(Rc<str>, Option<Value>)>;

const KEYWORDS: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// `namedtuple(name, fields, *, rename=False, defaults=None, module=None)`.
///
/// # Errors
/// `ValueError` for names that cannot be fields.
pub fn namedtuple(machine: &Machine, mut args: Args) -> HostResult {
    let rename = args.take_keyword("rename").map_or(Ok(false), |rename| operators::truth_sync(machine, &rename))?;
    let defaults = args.take_keyword("defaults").filter(|defaults| !matches!(defaults, Value::None));
    let module = args.take_keyword("module").and_then(|module| Some(module.as_str()?.to_owned()));
    let [name, names] =
        args.bind("namedtuple", ["typename", "field_names"], 2)?.map(|value| value.unwrap_or(Value::None));
    let Some(name) = name.as_str().map(Rc::<str>::from) else {
        return Err(Raise::type_error("Type names and field names must be strings"));
    };
    let names = match &names {
        Value::Str(text) => {
            let words = text.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
            Value::list(words.map(Value::from).collect())
        }
        _ => names,
    };
    with_items(machine, names, move |machine, names| {
        with_items(machine, defaults.unwrap_or_else(|| Value::tuple(vec![])), move |_, defaults| {
            let mut fields: Fields = Vec::with_capacity(names.len());
            for (position, field) in names.iter().enumerate() {
                let Value::Str(field) = field else {
                    return Err(Raise::type_error("Type names and field names must be strings"));
                };
                let problem = refusal(field, &fields);
                let field =
                    if rename && problem.is_some() { Rc::from(format!("_{position}")) } else { Rc::clone(field) };
                match problem {
                    Some(problem) if !rename => return Err(Raise::value_error(problem)),
                    _ => fields.push((field, None)),
                }
            }
            if defaults.len() > fields.len() {
                return Err(Raise::type_error("Got more default values than field names"));
            }
            let first = fields.len() - defaults.len();
            for ((_, slot), default) in fields[first..].iter_mut().zip(defaults) {
                *slot = Some(default);
            }
            let module = module.unwrap_or_else(|| "__main__".to_owned());
            let class = Class::new(name, module, vec![Value::Type(Type::Tuple)], [])?;
            equip(&class, fields);
            Ok(Value::Class(class).into())
        })
    })
}

fn refusal(field: &str, before: &Fields) -> Option<String> {
    let identifier = field
        .chars()
        .enumerate()
        .all(|(position, char)| char == '_' || char.is_alphabetic() || position > 0 && char.is_alphanumeric());
    if field.is_empty() || !identifier {
        return Some(format!("Type names and field names must be valid identifiers: '{field}'"));
    }
    if KEYWORDS.contains(&field) {
        return Some(format!("Type names and field names cannot be a keyword: '{field}'"));
    }
    if field.starts_with('_') {
        return Some(format!("Field names cannot start with an underscore: '{field}'"));
    }
    before.iter().any(|(known, _)| **known == *field).then(|| format!("Encountered duplicate field name: '{field}'"))
}

/// Makes `typing.NamedTuple`, whose subclasses get their fields from annotations.
///
/// # Errors
/// Never.
pub fn base() -> Result<Rc<Class>, Raise> {
    let special: &[(&'static str, Function)] = &[("__init_subclass__", from_annotations), ("__new__", from_pairs)];
    class("NamedTuple", "typing", vec![Value::Type(Type::Tuple)], special, &[])
}

fn from_annotations(_: &Machine, args: Args) -> HostResult {
    let Some(Value::Class(class)) = args.positional.into_iter().next() else {
        return Err(Raise::type_error("NamedTuple needs a class"));
    };
    if class.find("_fields").is_some() {
        return Ok(Value::None.into());
    }
    let names = match class.own("__annotations__") {
        Some(Value::Dict(annotations)) => annotations.keys(),
        _ => Items::default(),
    };
    let fields: Fields =
        names.iter().filter_map(|name| Some((Rc::from(name.as_str()?), class.own(name.as_str()?)))).collect();
    if let Some(at) = fields.windows(2).position(|pair| pair[0].1.is_some() && pair[1].1.is_none()) {
        let (default, field) = (&fields[at].0, &fields[at + 1].0);
        return Err(Raise::type_error(format!(
            "non-default namedtuple field {field} cannot follow default field {default}"
        )));
    }
    equip(&class, fields);
    Ok(Value::None.into())
}

/// `NamedTuple("Point", [("x", int)])`.
fn from_pairs(machine: &Machine, args: Args) -> HostResult {
    let mut args = args.between("NamedTuple", 2, 3)?;
    let pairs = args.get(2).cloned().unwrap_or_else(|| Value::tuple(vec![]));
    let name = args.swap_remove(1);
    with_items(machine, pairs, move |machine, pairs| {
        let names = pairs.iter().map(|pair| match pair {
            Value::Tuple(pair) => pair.first().cloned().unwrap_or(Value::None),
            _ => Value::None,
        });
        namedtuple(machine, Args::of([name, Value::list(names.collect())]))
    })
}

/// Gives a class that has the marks of a named tuple, and nothing that can run, what it had.
pub fn revive(class: &Rc<Class>) {
    let (Some(Type::Tuple), Some(Value::Tuple(names))) = (class.builtin(), class.own("_fields")) else { return };
    let defaults = match class.own("_field_defaults") {
        Some(Value::Dict(defaults)) => defaults.entries(),
        _ => Items::default(),
    };
    let field = |name: &Value| {
        let name = name.as_str()?;
        let default = defaults.iter().find(|(known, _)| known.as_str() == Some(name)).map(|(_, value)| value.clone());
        Some((Rc::from(name), default))
    };
    equip(class, names.iter().filter_map(field).collect());
}

/// Gives a class below `tuple` its fields.
fn equip(class: &Rc<Class>, fields: Fields) {
    let names: Vec<Rc<str>> = fields.iter().map(|(name, _)| Rc::clone(name)).collect();
    let tuple = || Value::tuple(names.iter().map(|name| Value::Str(Rc::clone(name))).collect());
    class.set("_fields", tuple());
    class.set("__match_args__", tuple());
    let defaults = fields.iter().filter_map(|(name, default)| Some((Rc::clone(name), default.clone()?)));
    class.set("_field_defaults", Value::dict(defaults.collect::<Vec<_>>()));
    for (position, name) in names.iter().enumerate() {
        let getter = Value::native(Rc::clone(name), move |_, args| {
            let object = args.one("__get__")?;
            Ok(items(&object)?.get(position).cloned().unwrap_or(Value::None).into())
        });
        let property = Property { getter: Some(getter), ..Property::default() };
        class.set(Rc::clone(name), Value::Decorated(Rc::new(Decorated::Property(property))));
    }
    let parameters: Vec<Parameter> = fields
        .iter()
        .map(|(name, default)| Parameter { name: Rc::clone(name), optional: default.is_some(), keyword_only: false })
        .collect();
    let defaults: Vec<Option<Value>> = fields.into_iter().map(|(_, default)| default).collect();
    class.set(
        "__new__",
        Value::native("__new__", move |machine, mut args| {
            let Some(Value::Class(class)) = (!args.positional.is_empty()).then(|| args.positional.remove(0)) else {
                return Err(Raise::type_error("__new__() needs a class"));
            };
            let bound = signature::bind(&format!("{}.__new__", class.name()), &parameters, args)?;
            let values = bound.into_iter().zip(&defaults);
            make(
                machine,
                &class,
                values.map(|(value, default)| value.or_else(|| default.clone()).unwrap_or(Value::None)).collect(),
            )
        }),
    );
    class.set("__repr__", Value::native("__repr__", show));
    class.set(
        "_make",
        class_method("_make", |machine, args| {
            let mut args = args.between("_make", 2, 2)?;
            let (iterable, class) = (args.pop().unwrap_or(Value::None), args.pop().unwrap_or(Value::None));
            with_items(machine, iterable, move |machine, items| match &class {
                Value::Class(owner) => {
                    let expected = field_names(owner).len();
                    if items.len() != expected {
                        let given = items.len();
                        return Err(Raise::type_error(format!("Expected {expected} arguments, got {given}")));
                    }
                    make(machine, owner, items.into_vec())
                }
                _ => Err(Raise::type_error("_make() needs a class")),
            })
        }),
    );
    class.set(
        "_asdict",
        method("_asdict", |_, args| {
            let object = args.one("_asdict")?;
            let names = object_names(&object);
            Ok(Value::dict(names.into_iter().zip(items(&object)?.iter().cloned())).into())
        }),
    );
    class.set(
        "_replace",
        method("_replace", |machine, mut args| {
            let keyword = std::mem::take(&mut args.keyword);
            let object = args.one("_replace")?;
            let (names, mut values) = (object_names(&object), items(&object)?.to_vec());
            for (name, value) in keyword {
                match names.iter().position(|known| *known == name) {
                    Some(position) => values[position] = value,
                    None => return Err(Raise::value_error(format!("Got unexpected field names: ['{name}']"))),
                }
            }
            match &object {
                Value::Instance(instance) => make(machine, instance.class(), values),
                _ => Err(Raise::type_error("_replace() needs a named tuple")),
            }
        }),
    );
}

fn make(machine: &Machine, class: &Rc<Class>, values: Vec<Value>) -> HostResult {
    let instance = Instance::new(class);
    instance.set_payload(Value::Tuple(Rc::new(Tuple::new(values))));
    instance.cover(machine)?;
    Ok(Value::Instance(instance).into())
}

fn items(object: &Value) -> Result<Rc<Tuple>, Raise> {
    match operators::plain(object) {
        Value::Tuple(items) => Ok(items),
        _ => Err(Raise::type_error("descriptor requires a named tuple")),
    }
}

fn field_names(class: &Rc<Class>) -> Vec<Rc<str>> {
    match class.find("_fields") {
        Some(Value::Tuple(names)) => names.iter().filter_map(|name| Some(Rc::from(name.as_str()?))).collect(),
        _ => Vec::new(),
    }
}

fn object_names(object: &Value) -> Vec<Rc<str>> {
    match object {
        Value::Instance(instance) => field_names(instance.class()),
        _ => Vec::new(),
    }
}

fn show(machine: &Machine, args: Args) -> HostResult {
    let object = args.one("__repr__")?;
    let parts = object_names(&object).into_iter().map(Some).zip(items(&object)?.iter().cloned()).collect();
    let name = types::type_name(&object).into_owned();
    represent(machine, object, name, parts, "...".to_owned())
}
