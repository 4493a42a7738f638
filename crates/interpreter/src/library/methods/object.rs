//! Attributes of builtin values and type objects that are no methods, and `object` itself.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use crate::evaluation::operators;
use crate::library::methods::{bytes, float, int, string};
use crate::values::host::HostObject;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{self, Native, Type, builtin_type, dict};
use crate::values::value::Value;

/// Attributes that are no methods.
pub fn attribute(receiver: &Value, plain: &Value, name: &str) -> Option<Value> {
    match (name, plain) {
        ("__class__", _) => return Some(types::type_of(receiver)),
        ("__doc__", Value::Native(_)) => return Some(Value::None),
        ("__name__" | "__qualname__", Value::Native(native)) => return Some(Value::Str(Rc::clone(native.name()))),
        ("__self__", Value::Native(native)) => return native.receiver().cloned(),
        ("start" | "stop" | "step", Value::Range(range)) => {
            return Some(Value::Int(match name {
                "start" => range.start,
                "stop" => range.stop,
                _ => range.step,
            }));
        }
        ("start", Value::Slice(slice)) => return Some(slice.start.clone()),
        ("stop", Value::Slice(slice)) => return Some(slice.stop.clone()),
        ("step", Value::Slice(slice)) => return Some(slice.step.clone()),
        ("default_factory", Value::Dict(dict)) => {
            if let dict::Kind::Default(factory) = dict.kind() {
                return Some(factory.borrow().clone());
            }
        }
        _ => {}
    }
    match plain {
        Value::Int(_) | Value::Bool(_) | Value::Big(_) => int::attribute(plain, name),
        Value::Float(_) | Value::Complex(..) => float::attribute(plain, name),
        Value::Dict(dict) if name == "fromkeys" => {
            let kind = dict.type_of();
            Some(Value::native("fromkeys", move |machine, args| super::dict::fromkeys(machine, kind, args)))
        }
        _ => None,
    }
}

/// Reads an attribute of a type object.
pub fn type_attribute(_: &Machine, kind: Type, name: &str) -> Option<Value> {
    match (kind, name) {
        (_, "__name__" | "__qualname__") => return Some(kind.name().into()),
        (_, "__module__") => return Some(kind.module().into()),
        (_, "__doc__") => return Some(Value::None),
        (_, "__class__") => return Some(Value::Type(Type::Type)),
        (_, "__base__") => return Some(kind.base().map_or(Value::None, Value::Type)),
        (_, "__bases__") => return Some(Value::tuple(kind.base().map(Value::Type).into_iter().collect())),
        (_, "__mro__") => {
            let line = std::iter::successors(Some(kind), |kind| kind.base());
            return Some(Value::tuple(line.map(Value::Type).collect()));
        }
        (Type::Dict | Type::OrderedDict | Type::DefaultDict | Type::Counter, "fromkeys") => {
            return Some(Value::native("fromkeys", move |machine, args| super::dict::fromkeys(machine, kind, args)));
        }
        (Type::Str, "maketrans") => return Some(Value::native("maketrans", string::maketrans)),
        (Type::Bytes, "maketrans") => return Some(Value::native("maketrans", bytes::maketrans)),
        (Type::Bytes, "fromhex") => return Some(Value::native("fromhex", bytes::fromhex)),
        (Type::Float, "fromhex") => return Some(Value::native("fromhex", float::fromhex)),
        (Type::Int, "from_bytes") => return Some(Value::native("from_bytes", int::from_bytes)),
        _ => {}
    }
    let method = super::find(kind, name)?;
    let (short, owner) = (name.to_owned(), kind);
    Some(Value::Native(Rc::new(Native::function(name, move |machine, mut args| {
        if args.positional.is_empty() {
            let kind = owner.name();
            return Err(Raise::type_error(format!("unbound method {kind}.{short}() needs an argument")));
        }
        let receiver = args.positional.remove(0);
        if !builtin_type(&operators::plain(&receiver)).is_some_and(|kind| kind.is_subtype(owner)) {
            return Err(types::wrong_receiver(&short, owner, &receiver));
        }
        method(machine, &receiver, args)
    }))))
}

/// A plain `object()`.
pub struct Plain;

impl HostObject for Plain {
    fn type_name(&self) -> Cow<'static, str> {
        "object".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn class(&self) -> Option<Value> {
        Some(Value::Type(Type::Object))
    }
}
