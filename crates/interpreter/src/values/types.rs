//! Python's builtin types: their values and type objects.

pub mod arguments;
pub mod bytes;
pub mod charge;
pub mod dict;
pub mod float;
pub mod hash;
pub mod int;
pub mod items;
pub mod iterator;
pub mod key;
pub mod layout;
pub mod ledger;
pub mod list;
pub mod native;
pub mod opaque;
pub mod range;
pub mod sequence;
pub mod set;
pub mod shape;
pub mod slice;
pub mod string;
pub mod table;
pub mod trash;
pub mod tuple;

use std::borrow::Cow;
use std::rc::Rc;

use crate::values::class::Decorated;
use crate::values::effect::Effect;
use crate::values::raise::Raise;
use crate::values::value::Value;
use opaque::Opaque;

pub use dict::Dict;
pub use items::Items;
pub use iterator::Iterator;
pub use list::List;
pub use native::{Made, MethodFn, Native};
pub use range::Range;
pub use set::Set;
pub use slice::Slice;
pub use tuple::Tuple;

macro_rules! types {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// A builtin type object.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Type { $($variant),* }

        impl Type {
            /// Every type.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns `__name__`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

types! {
    Object "object",
    Type "type",
    NoneType "NoneType",
    NotImplementedType "NotImplementedType",
    EllipsisType "ellipsis",
    Bool "bool",
    Int "int",
    Float "float",
    Complex "complex",
    Str "str",
    Bytes "bytes",
    List "list",
    Tuple "tuple",
    Dict "dict",
    OrderedDict "OrderedDict",
    DefaultDict "defaultdict",
    Counter "Counter",
    Set "set",
    FrozenSet "frozenset",
    Range "range",
    Slice "slice",
    Function "function",
    Native "builtin_function_or_method",
    Method "method",
    Generator "generator",
    Enumerate "enumerate",
    Zip "zip",
    Map "map",
    Filter "filter",
    Reversed "reversed",
    Property "property",
    StaticMethod "staticmethod",
    ClassMethod "classmethod",
}

impl Type {
    /// Returns the module that defines it.
    pub fn module(self) -> &'static str {
        match self {
            Self::OrderedDict | Self::DefaultDict | Self::Counter => "collections",
            _ => "builtins",
        }
    }

    /// Returns the type below.
    pub fn base(self) -> Option<Self> {
        match self {
            Self::Object => None,
            Self::Bool => Some(Self::Int),
            Self::OrderedDict | Self::DefaultDict | Self::Counter => Some(Self::Dict),
            _ => Some(Self::Object),
        }
    }

    /// Says whether every value of this type is one of the other's.
    pub fn is_subtype(self, other: Self) -> bool {
        self == other || self.base().is_some_and(|base| base.is_subtype(other))
    }

    /// Returns what calling the type does: making a value of others, most often.
    #[must_use]
    pub fn effect_of_call(self) -> Effect {
        match self {
            Self::Bool
            | Self::Int
            | Self::Float
            | Self::Complex
            | Self::Str
            | Self::Bytes
            | Self::List
            | Self::Tuple
            | Self::Dict
            | Self::OrderedDict
            | Self::DefaultDict
            | Self::Counter
            | Self::Set
            | Self::FrozenSet
            | Self::Range
            | Self::Slice
            | Self::Enumerate
            | Self::Zip
            | Self::Map
            | Self::Filter
            | Self::Reversed => Effect::Looks,
            _ => Effect::Anything,
        }
    }

    /// Returns whether calling the type makes a new object, which only its elements share with what it is made of.
    #[must_use]
    pub fn makes_containers(self) -> bool {
        matches!(
            self,
            Self::List
                | Self::Dict
                | Self::OrderedDict
                | Self::DefaultDict
                | Self::Counter
                | Self::Set
                | Self::Enumerate
                | Self::Zip
                | Self::Map
                | Self::Filter
                | Self::Reversed
        )
    }
}

/// Returns the builtin type of a value; `None` for instances of classes and host objects.
pub fn builtin_type(value: &Value) -> Option<Type> {
    Some(match value {
        Value::None => Type::NoneType,
        Value::NotImplemented => Type::NotImplementedType,
        Value::Ellipsis => Type::EllipsisType,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) | Value::Big(_) => Type::Int,
        Value::Float(_) => Type::Float,
        Value::Complex(..) => Type::Complex,
        Value::Str(_) => Type::Str,
        Value::Bytes(_) => Type::Bytes,
        Value::List(_) => Type::List,
        Value::Tuple(_) => Type::Tuple,
        Value::Dict(dict) => dict.type_of(),
        Value::Set(set) if set.is_frozen() => Type::FrozenSet,
        Value::Set(_) => Type::Set,
        Value::Range(_) => Type::Range,
        Value::Slice(_) => Type::Slice,
        Value::Type(_) | Value::Class(_) => Type::Type,
        Value::Function(_) => Type::Function,
        Value::Native(_) => Type::Native,
        Value::Method(_) => Type::Method,
        Value::Iterator(iterator) => match iterator.type_name() {
            "generator" => Type::Generator,
            "enumerate" => Type::Enumerate,
            "zip" => Type::Zip,
            "map" => Type::Map,
            "filter" => Type::Filter,
            _ => return None,
        },
        Value::Decorated(decorated) => match &**decorated {
            Decorated::Property(_) => Type::Property,
            Decorated::StaticMethod(_) => Type::StaticMethod,
            Decorated::ClassMethod(_) => Type::ClassMethod,
        },
        Value::Instance(_) | Value::Host(_) => return None,
    })
}

/// Returns the name of a value's type, as in error messages.
pub fn type_name(value: &Value) -> Cow<'static, str> {
    match value {
        Value::Instance(instance) => Cow::Owned(instance.class().name().to_string()),
        Value::Host(object) => object.type_name(),
        Value::Iterator(iterator) => Cow::Borrowed(iterator.type_name()),
        Value::Dict(dict) => match dict.type_of() {
            Type::DefaultDict => Cow::Borrowed("collections.defaultdict"),
            Type::OrderedDict => Cow::Borrowed("collections.OrderedDict"),
            kind => Cow::Borrowed(kind.name()),
        },
        value => Cow::Borrowed(builtin_type(value).map_or("object", Type::name)),
    }
}

/// `type(value)`.
pub fn type_of(value: &Value) -> Value {
    match value {
        Value::Instance(instance) => Value::Class(Rc::clone(instance.class())),
        Value::Host(object) => object.class().unwrap_or_else(|| match object.type_name() {
            name if name == Type::Type.name() => Value::Type(Type::Type),
            name => Opaque::named(name),
        }),
        value => builtin_type(value).map_or_else(|| Opaque::named(type_name(value)), Value::Type),
    }
}

/// Raises for a method that was called on a value of another type.
pub fn wrong_receiver(method: &str, expected: Type, receiver: &Value) -> Raise {
    let (expected, given) = (expected.name(), type_name(receiver));
    Raise::type_error(format!("descriptor '{method}' for '{expected}' objects doesn't apply to a '{given}' object"))
}
