//! `inspect`: how functions are called.

use crate::evaluation::annotation;
use crate::library::modules::Members;
use crate::library::modules::written::Written;
use crate::values::function::Function;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::value::Value;

pub const INSPECT: Written = Written { text: include_str!("../python/inspect.py"), natives };

fn natives(_: &Machine) -> Result<Members, Raise> {
    let described = Value::native("_described", |_, args| match args.one("_described")? {
        Value::Function(function) => Ok(described(&function).into()),
        _ => Ok(Value::None.into()),
    });
    let generates = Value::native("_generates", |_, args| {
        let generates = matches!(args.one("_generates")?, Value::Function(function) if function.code().generator);
        Ok(Value::Bool(generates).into())
    });
    // Evaluates a text where a function stands, or a class's methods; without any, where the program asks.
    let evaluated = Value::native("_evaluated", |machine, args| {
        let [owner, Value::Str(text)] = &args.between("_evaluated", 2, 2)?[..] else {
            return Err(Raise::type_error("_evaluated() takes an object and a text"));
        };
        let frame = match owner {
            Value::Function(function) => function.surroundings(),
            Value::Class(class) => class.attributes().into_iter().find_map(|(_, value)| match value {
                Value::Function(function) => function.surroundings(),
                _ => None,
            }),
            _ => None,
        };
        let frame = frame.or_else(|| machine.visible(0));
        Ok(annotation::evaluated(machine, frame.as_ref(), text)?.into())
    });
    Ok(vec![("_described", described), ("_evaluated", evaluated), ("_generates", generates)])
}

/// Returns a function's parameters, each with its name, the number of its kind, its default and its annotation, and the
/// annotation of what it returns. What there may be one of is a tuple of it, or of nothing.
fn described(function: &Function) -> Value {
    let (code, defaults) = (function.code(), function.defaults());
    let parameters = &code.parameters;
    let optional = |value: Option<Value>| Value::tuple(value.into_iter().collect());
    let annotations = annotation::of_function(function);
    let annotated = |name: &str| match &annotations {
        Value::Dict(known) => optional(known.get_string(name)),
        _ => optional(None),
    };
    let positional = parameters.positional_only + parameters.positional;
    let named = positional + parameters.keyword_only;
    let required = positional.saturating_sub(defaults.positional.len());
    let row = |slot: usize, kind: i64, default: Option<Value>| {
        let name = code.slots.get(slot).cloned().unwrap_or_default();
        let annotation = annotated(&name);
        Value::tuple(vec![Value::Str(name), Value::Int(kind), optional(default), annotation])
    };
    let mut rows: Vec<Value> = (0..positional)
        .map(|slot| {
            let kind = i64::from(slot >= parameters.positional_only);
            let default = slot.checked_sub(required).and_then(|at| defaults.positional.get(at).cloned());
            row(slot, kind, default)
        })
        .collect();
    if parameters.star {
        rows.push(row(named, 2, None));
    }
    rows.extend((positional..named).map(|slot| {
        let name = code.slots.get(slot);
        let default = defaults.keyword.iter().find(|(known, _)| Some(known) == name);
        row(slot, 3, default.map(|(_, value)| value.clone()))
    }));
    if parameters.double_star {
        rows.push(row(named + usize::from(parameters.star), 4, None));
    }
    Value::tuple(vec![Value::tuple(rows), annotated("return")])
}
