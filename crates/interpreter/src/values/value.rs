//! Python values.

use std::rc::Rc;

use num_bigint::BigInt;

use crate::values::class::{Class, Decorated, Instance};
use crate::values::function::{Function, Method};
use crate::values::host::{Args, HostObject, HostResult};
use crate::values::machine::Machine;
use crate::values::types::{self, Dict, Iterator, List, Native, Range, Set, Slice, Tuple, Type, ledger};

/// One Python object. Cloning is cheap and keeps identity.
#[derive(Clone)]
pub enum Value {
    None,
    NotImplemented,
    Ellipsis,
    Bool(bool),
    /// An integer that fits; [`Value::Big`] holds only those that do not.
    Int(i64),
    Big(Rc<BigInt>),
    /// Of what is no number, the bits tell which object it is: see [`types::float::made`].
    Float(f64),
    Complex(f64, f64),
    Str(Rc<str>),
    Bytes(Rc<[u8]>),
    List(Rc<List>),
    Tuple(Rc<Tuple>),
    Dict(Rc<Dict>),
    Set(Rc<Set>),
    Range(Rc<Range>),
    Slice(Rc<Slice>),
    /// A builtin type object: `int`, `list`, `object`.
    Type(Type),
    /// A function or lambda with source.
    Function(Rc<Function>),
    /// A callable written in Rust.
    Native(Rc<Native>),
    /// A function bound to its first argument.
    Method(Rc<Method>),
    Class(Rc<Class>),
    Instance(Rc<Instance>),
    /// An iterator or generator.
    Iterator(Rc<Iterator>),
    /// `staticmethod`, `classmethod` and `property` objects inside class bodies.
    Decorated(Rc<Decorated>),
    /// An object of the outside: a tensor, an envoy, a tracer, an imported module.
    Host(Rc<dyn HostObject>),
}

/// What `is` compares: heap objects by place, small immutable ones by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    Place(usize),
    Int(i64),
    Float(u64),
    Complex(u64, u64),
    Singleton(u8),
}

impl Value {
    /// Says whether the value is one that cannot change and holds no others.
    #[must_use]
    pub fn is_scalar(&self) -> bool {
        matches!(
            self,
            Self::None
                | Self::NotImplemented
                | Self::Ellipsis
                | Self::Bool(_)
                | Self::Int(_)
                | Self::Big(_)
                | Self::Float(_)
                | Self::Complex(..)
                | Self::Str(_)
                | Self::Bytes(_)
                | Self::Range(_)
        )
    }

    /// Makes a string.
    pub fn string(text: impl Into<Rc<str>>) -> Self {
        Self::Str(ledger::noted_text(text.into()))
    }

    /// Makes a list.
    pub fn list(items: Vec<Value>) -> Self {
        Self::List(Rc::new(List::new(items)))
    }

    /// Makes a tuple.
    pub fn tuple(items: Vec<Value>) -> Self {
        Self::Tuple(Rc::new(Tuple::new(items)))
    }

    /// Makes a dict with string keys, in this order.
    pub fn dict<K: Into<Rc<str>>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self::Dict(Rc::new(Dict::from_strings(pairs)))
    }

    /// Makes a callable from a Rust function.
    pub fn native(name: impl Into<Rc<str>>, body: impl Fn(&Machine, Args) -> HostResult + 'static) -> Self {
        Self::Native(Rc::new(Native::function(name, body)))
    }

    /// Makes an integer, small where it fits.
    pub fn integer(number: impl Into<BigInt>) -> Self {
        let number = number.into();
        match i64::try_from(&number) {
            Ok(small) => Self::Int(small),
            Err(_) => Self::Big(ledger::noted_number(number)),
        }
    }

    /// Wraps a host object.
    pub fn host(object: impl HostObject) -> Self {
        Self::Host(Rc::new(object))
    }

    /// Returns the text of a `str`.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Returns an `int` or `bool` that fits 64 bits.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Bool(truth) => Some(i64::from(*truth)),
            _ => None,
        }
    }

    /// Returns what `is` compares.
    pub fn identity(&self) -> Identity {
        fn place<T: ?Sized>(object: &Rc<T>) -> Identity {
            Identity::Place(Rc::as_ptr(object).cast::<()>() as usize)
        }
        match self {
            Self::None => Identity::Singleton(0),
            Self::NotImplemented => Identity::Singleton(1),
            Self::Ellipsis => Identity::Singleton(2),
            Self::Bool(truth) => Identity::Singleton(3 + u8::from(*truth)),
            Self::Type(kind) => Identity::Singleton(8 + *kind as u8),
            Self::Int(number) => Identity::Int(*number),
            Self::Float(number) => Identity::Float(number.to_bits()),
            Self::Complex(real, imaginary) => Identity::Complex(real.to_bits(), imaginary.to_bits()),
            Self::Big(number) => place(number),
            Self::Str(text) if text.is_empty() => Identity::Singleton(5),
            Self::Str(text) => place(text),
            Self::Bytes(bytes) if bytes.is_empty() => Identity::Singleton(6),
            Self::Bytes(bytes) => place(bytes),
            Self::List(list) => place(list),
            Self::Tuple(tuple) if tuple.is_empty() => Identity::Singleton(7),
            Self::Tuple(tuple) => place(tuple),
            Self::Dict(dict) => place(dict),
            Self::Set(set) => place(set),
            Self::Range(range) => place(range),
            Self::Slice(slice) => place(slice),
            Self::Function(function) => place(function),
            Self::Native(native) => place(native),
            Self::Method(method) => place(method),
            Self::Class(class) => place(class),
            Self::Instance(instance) => place(instance),
            Self::Iterator(iterator) => place(iterator),
            Self::Decorated(decorated) => place(decorated),
            Self::Host(object) => place(object),
        }
    }

    /// Says whether two values are one object, as `is` does. Equal strings count as one: CPython keeps one object
    /// of every literal, and programs write `mode is "mean"`.
    pub fn is(&self, other: &Value) -> bool {
        match (self, other) {
            (Self::Str(left), Self::Str(right)) => left == right,
            _ => self.identity() == other.identity(),
        }
    }
}

impl std::fmt::Debug for Value {
    /// Shows the type alone: values may be large, and cyclic.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "<{}>", types::type_name(self))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(types::float::made(number))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::string(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::string(text)
    }
}
