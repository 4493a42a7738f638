//! `typing`: annotations, which mean nothing when a program runs.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use crate::host::{Args, HostObject, HostResult, Operator, Outcome};
use crate::machine::Machine;
use crate::raise::Raise;
use crate::types::{self, Type};
use crate::value::Value;

use super::Module;

/// Names that stand for any annotation.
const NAMES: &[&str] = &[
    "Any", "AnyStr", "Awaitable", "Callable", "ClassVar", "Collection", "Concatenate", "Container", "Dict", "Final",
    "FrozenSet", "Generator", "Generic", "Hashable", "Iterable", "Iterator", "List", "Literal", "Mapping",
    "MutableMapping", "MutableSequence", "MutableSet", "NoReturn", "Optional", "ParamSpec", "Protocol", "Self",
    "Sequence", "Set", "Sized", "SupportsFloat", "SupportsInt", "Text", "Tuple", "Type", "TypeAlias", "TypeVar",
    "Union", "Annotated", "Counter", "DefaultDict", "Deque", "OrderedDict", "NewType", "Never", "Required",
    "NotRequired", "Unpack", "Reversible", "SupportsAbs", "SupportsIndex",
];

/// Makes the module.
pub fn module() -> Module {
    let mut module = Module::new("typing");
    for name in NAMES {
        module.set(name, Value::host(Annotation { text: format!("typing.{name}"), name }));
    }
    module.set("TYPE_CHECKING", Value::Bool(false));
    module.set("cast", Value::native("cast", |_, args| Ok(args.between("cast", 2, 2)?.swap_remove(1).into())));
    for name in ["overload", "final", "no_type_check", "runtime_checkable", "override"] {
        module.set(name, Value::native(name, move |_, args| Ok(args.one(name)?.into())));
    }
    module
}

/// A name of `typing`, with or without parameters.
struct Annotation {
    text: String,
    name: &'static str,
}

impl HostObject for Annotation {
    fn type_name(&self) -> Cow<'static, str> {
        "_GenericAlias".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        match name {
            "__name__" | "_name" => Ok(Value::from(self.name).into()),
            _ => Ok(Outcome::NotImplemented),
        }
    }

    /// `TypeVar("T")` and `NewType("Name", base)`.
    fn call(self: Rc<Self>, _: &Machine, args: Args) -> HostResult {
        match (self.name, &args.positional[..]) {
            ("TypeVar" | "ParamSpec", [Value::Str(name), ..]) => {
                Ok(Value::host(Annotation { text: format!("~{name}"), name: self.name }).into())
            }
            ("NewType", [_, base, ..]) => Ok(base.clone().into()),
            (name, _) => Err(Raise::type_error(format!("Type {name} cannot be instantiated"))),
        }
    }

    fn get_item(self: Rc<Self>, _: &Machine, key: &Value) -> HostResult {
        let parameters = match key {
            Value::Tuple(items) => items.iter().map(written).collect::<Vec<_>>().join(", "),
            key => written(key),
        };
        Ok(Value::host(Annotation { text: format!("{}[{parameters}]", self.text), name: self.name }).into())
    }

    fn binary(self: Rc<Self>, _: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        if operator != Operator::BitOr || !is_annotation(other) {
            return Ok(Outcome::NotImplemented);
        }
        let own = Value::Host(self);
        Ok(union(if reflected { vec![other.clone(), own] } else { vec![own, other.clone()] }).into())
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(self.text.clone()))
    }
}

/// `isinstance(value, annotation)` for those that are also abstract classes; `None` for others.
pub fn instance_of(annotation: &dyn Any, value: &Value) -> Option<bool> {
    let annotation = annotation.downcast_ref::<Annotation>()?;
    Some(match annotation.name {
        "Any" => true,
        "Callable" => crate::builtins::is_callable(value),
        "Iterable" | "Collection" | "Container" => crate::operators::is_iterable(value),
        "Sequence" | "MutableSequence" => match crate::operators::plain(value) {
            Value::List(_) => true,
            Value::Tuple(_) | Value::Str(_) | Value::Bytes(_) | Value::Range(_) => annotation.name == "Sequence",
            _ => false,
        },
        "Mapping" | "MutableMapping" | "Dict" => matches!(crate::operators::plain(value), Value::Dict(_)),
        "List" => matches!(crate::operators::plain(value), Value::List(_)),
        "Tuple" => matches!(crate::operators::plain(value), Value::Tuple(_)),
        "Set" | "MutableSet" => matches!(crate::operators::plain(value), Value::Set(_)),
        "Iterator" | "Generator" => {
            matches!(value, Value::Iterator(_)) || crate::operators::special(value, "__next__").is_some()
        }
        _ => return None,
    })
}

/// `int | None`.
pub struct Union {
    members: Vec<Value>,
}

impl Union {
    /// Returns the alternatives.
    pub fn members(&self) -> &[Value] {
        &self.members
    }
}

impl HostObject for Union {
    fn type_name(&self) -> Cow<'static, str> {
        "UnionType".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn binary(self: Rc<Self>, _: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        if operator != Operator::BitOr || !is_annotation(other) {
            return Ok(Outcome::NotImplemented);
        }
        let mut members = self.members.clone();
        members.insert(if reflected { 0 } else { members.len() }, other.clone());
        Ok(union(members).into())
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(self.members.iter().map(written).collect::<Vec<_>>().join(" | ")))
    }
}

/// Makes `a | b`.
pub fn union(members: Vec<Value>) -> Value {
    Value::host(Union { members })
}

/// `list[int]`: an annotation that calls like the type.
pub fn alias(class: &Value, parameters: &Value) -> Value {
    let parameters = match parameters {
        Value::Tuple(items) => items.iter().map(written).collect::<Vec<_>>().join(", "),
        parameter => written(parameter),
    };
    Value::host(Alias { text: format!("{}[{parameters}]", written(class)), class: class.clone() })
}

struct Alias {
    text: String,
    class: Value,
}

impl HostObject for Alias {
    fn type_name(&self) -> Cow<'static, str> {
        "GenericAlias".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        match name {
            "__origin__" => Ok(self.class.clone().into()),
            name => crate::attribute::get(machine, &self.class, name),
        }
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        crate::operators::call(machine, &self.class, args)
    }

    fn binary(self: Rc<Self>, _: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        if operator != Operator::BitOr || !is_annotation(other) {
            return Ok(Outcome::NotImplemented);
        }
        let own = Value::Host(self);
        Ok(union(if reflected { vec![other.clone(), own] } else { vec![own, other.clone()] }).into())
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(self.text.clone()))
    }
}

/// Says whether `value | other` makes a union of types.
pub fn is_annotation(value: &Value) -> bool {
    match value {
        Value::None | Value::Type(_) | Value::Class(_) => true,
        Value::Host(object) => {
            let object_any = object.as_any();
            object_any.is::<Annotation>()
                || object_any.is::<Union>()
                || object_any.is::<Alias>()
                || object.class_name().is_some()
        }
        _ => false,
    }
}

/// Writes a type as in an annotation.
fn written(value: &Value) -> String {
    match value {
        Value::Type(Type::NoneType) | Value::None => "None".to_owned(),
        Value::Type(kind) => kind.name().to_owned(),
        Value::Class(class) => match class.module() {
            "builtins" => class.name().to_string(),
            module => format!("{module}.{}", class.qualified_name()),
        },
        Value::Ellipsis => "...".to_owned(),
        Value::List(list) => format!("[{}]", list.to_vec().iter().map(written).collect::<Vec<_>>().join(", ")),
        Value::Host(object) => {
            let object_any = object.as_any();
            if let Some(annotation) = object_any.downcast_ref::<Annotation>() {
                annotation.text.clone()
            } else if let Some(alias) = object_any.downcast_ref::<Alias>() {
                alias.text.clone()
            } else if let Some(union) = object_any.downcast_ref::<Union>() {
                union.members.iter().map(written).collect::<Vec<_>>().join(" | ")
            } else {
                object.class_name().map_or_else(|| types::type_name(value).into_owned(), Cow::into_owned)
            }
        }
        value => crate::format::repr_now(value).unwrap_or_else(|| types::type_name(value).into_owned()),
    }
}
