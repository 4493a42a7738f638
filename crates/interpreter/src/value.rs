//! Python values.

use std::cell::RefCell;
use std::rc::Rc;

use num_bigint::BigInt;

use crate::host::HostObject;

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
    Float(f64),
    Complex(f64, f64),
    Str(Rc<str>),
    Bytes(Rc<[u8]>),
    List(Rc<List>),
    Tuple(Rc<[Value]>),
    Dict(Rc<Dict>),
    Set(Rc<Set>),
    Range(Rc<Range>),
    Slice(Rc<Slice>),
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
    Singleton(u8),
}
