//! The standard modules that research code imports, written in Rust.

mod abc;
mod collections;
mod contextlib;
mod copy;
mod dataclasses;
mod deque;
mod effects;
pub(crate) mod enums;
mod functools;
mod heap;
mod itertools;
mod json;
mod lazy;
mod math;
mod namedtuple;
mod operator;
mod re;
mod represent;
mod signature;
mod statistics;
mod text;
mod types;
pub mod typing;

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::values::class::{Class, Decorated, Property};
use crate::values::effect::{Effect, Use};
use crate::values::exceptions::Kind;
use crate::values::function::Method;
use crate::values::host::{Args, HostObject, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::trash;
use crate::values::value::Value;

pub use copy::deepcopy;

/// A function of a module.
type Function = fn(&Machine, Args) -> HostResult;

/// What a module holds, by name.
type Members = Vec<(&'static str, Value)>;

/// Makes the members of a module.
type Make = fn(&Machine) -> Result<Members, Raise>;

/// Modules by name, with what makes their members. Each is made once a machine.
const MODULES: &[(&str, Make)] = &[
    ("__future__", |_| {
        Ok(["annotations", "division", "print_function"].map(|name| (name, Value::Bool(true))).to_vec())
    }),
    ("abc", abc::members),
    ("bisect", heap::bisect),
    ("collections", collections::members),
    ("collections.abc", typing::abstract_containers),
    ("contextlib", contextlib::members),
    ("copy", copy::members),
    ("dataclasses", dataclasses::members),
    ("enum", enums::members),
    ("functools", functools::members),
    ("heapq", heap::heapq),
    ("itertools", itertools::members),
    ("json", json::members),
    ("math", math::members),
    ("numbers", typing::numbers),
    ("operator", operator::members),
    ("re", re::members),
    ("statistics", statistics::members),
    ("string", text::members),
    ("types", types::members),
    ("typing", typing::members),
    ("typing_extensions", typing::members),
    ("warnings", types::warnings),
];

/// Modules of Python that reach out of the program, with what to use instead where there is something.
const REFUSED: &[(&str, &str)] = &[
    ("asyncio", ""),
    ("ctypes", ""),
    ("datetime", ""),
    ("gc", ""),
    ("importlib", ""),
    ("inspect", ""),
    ("io", ""),
    ("logging", "; use print"),
    ("multiprocessing", ""),
    ("os", ""),
    ("pathlib", ""),
    ("pickle", ""),
    ("random", "; use torch's generator"),
    ("shutil", ""),
    ("signal", ""),
    ("socket", ""),
    ("subprocess", ""),
    ("sys", ""),
    ("tempfile", ""),
    ("threading", ""),
    ("time", ""),
    ("urllib", ""),
];

/// Returns a standard module by name, or `None` for any other. A machine always gives the same object.
pub fn import(machine: &Machine, name: &str) -> Option<Value> {
    let (name, make) = MODULES.iter().find(|(known, _)| *known == name)?;
    let made = made(machine);
    if let Some(module) = made.borrow().get(name) {
        return Some(module.clone());
    }
    // Making a module only fails where the job's memory is spent, which the next charge reports again.
    let members: HashMap<_, _> = make(machine).ok()?.into_iter().collect();
    effects::declare(name, &members);
    let module = Value::host(Module { name, members });
    made.borrow_mut().insert(name, module.clone());
    Some(module)
}

/// Returns the names of the modules, each with those of its members.
///
/// # Errors
/// Memory is spent.
pub fn catalog(machine: &Machine) -> Result<Vec<(&'static str, Vec<&'static str>)>, Raise> {
    let names = |(module, make): &(&'static str, Make)| {
        Ok((*module, make(machine)?.into_iter().map(|(name, _)| name).collect()))
    };
    MODULES.iter().map(names).collect()
}

/// Makes of a class that came with a request, attribute by attribute, what its metaclass or `namedtuple` made of it where
/// it was written: members of an enumeration, and a named tuple's fields and constructor.
///
/// # Errors
/// What an enumeration's `__init__` raises, and when the job's memory is spent.
pub fn revive(machine: &Machine, class: &Rc<Class>) -> HostResult {
    if class.lineage().skip(1).any(|base| base.module() == "enum") {
        // These only stand for the members' type.
        for name in ["__new__", "_new_member_"] {
            drop(class.remove(name));
        }
        return enums::enumerate(machine, Args::of([Value::Class(Rc::clone(class))]));
    }
    namedtuple::revive(class);
    Ok(Value::None.into())
}

/// Says that this server does not offer a module of Python's own; `None` for modules that are not known.
pub(crate) fn refused(name: &str) -> Option<Raise> {
    let package = name.split('.').next().unwrap_or(name);
    let (_, instead) = REFUSED.iter().find(|(known, _)| *known == package)?;
    Some(Raise::new(
        Kind::ModuleNotFoundError,
        format!("No module named '{name}': this server does not offer Python's '{package}'{instead}"),
    ))
}

/// Modules made so far.
type Made = RefCell<HashMap<&'static str, Value>>;

fn made(machine: &Machine) -> Rc<Made> {
    if let Some(made) = machine.extension::<Made>() {
        return made;
    }
    let made = Rc::new(Made::default());
    machine.set_extension(made.clone());
    made
}

/// A module object.
struct Module {
    name: &'static str,
    members: HashMap<&'static str, Value>,
}

impl HostObject for Module {
    fn type_name(&self) -> Cow<'static, str> {
        "module".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, machine: &Machine, name: &str, usage: Use<'_>) -> Effect {
        self.members.get(name).map_or(Effect::Anything, |member| Effect::of(machine, member, usage))
    }

    fn member(self: Rc<Self>, _: &Machine, name: &str) -> Option<Value> {
        self.members.get(name).cloned()
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        match (self.members.get(name), name) {
            (Some(value), _) => Ok(value.clone().into()),
            (None, "__name__") => Ok(Value::from(self.name).into()),
            (None, "__doc__") => Ok(Value::None.into()),
            _ => Err(Raise::attribute_error(format!("module '{}' has no attribute '{name}'", self.name))),
        }
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("<module '{}' (built-in)>", self.name)))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        trash::bury(std::mem::take(&mut self.members).into_values());
    }
}

/// Makes members of a table of functions.
fn functions(table: &[(&'static str, Function)]) -> Members {
    table.iter().map(|(name, function)| (*name, Value::native(*name, *function))).collect()
}

/// Makes a class of a module from its methods and other attributes.
fn class(
    name: &'static str,
    module: &'static str,
    bases: Vec<Value>,
    special: &[(&'static str, Function)],
    methods: &[(&'static str, Function)],
) -> Result<Rc<Class>, Raise> {
    let special = special.iter().map(|(name, body)| (Rc::from(*name), Value::native(*name, *body)));
    let methods = methods.iter().map(|(name, body)| (Rc::from(*name), method(name, *body)));
    Class::new(name, module, bases, special.chain(methods))
}

/// Makes a class attribute that is bound to the object it is read from. (Native functions alone are not, as in CPython.)
fn method(name: &str, body: Function) -> Value {
    let function = Value::native(name, body);
    let getter = Value::native(name, move |_, args| {
        let receiver = args.one("__get__")?;
        Ok(Value::Method(Rc::new(Method { function: function.clone(), receiver })).into())
    });
    Value::Decorated(Rc::new(Decorated::Property(Property { getter: Some(getter), ..Property::default() })))
}

/// Makes a class attribute that is bound to the class.
fn class_method(name: &str, body: Function) -> Value {
    Value::Decorated(Rc::new(Decorated::ClassMethod(Value::native(name, body))))
}
