//! The standard modules that research code imports: written in Python where that is shorter, else in Rust.

mod collections;
mod contextlib;
mod copy;
mod dataclasses;
mod deque;
mod effects;
mod functools;
mod inspect;
mod itertools;
mod json;
mod lazy;
mod math;
mod operator;
pub mod random;
mod re;
mod time;
mod told;
pub mod typing;
pub mod warnings;
mod written;

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::values::class::{Class, Decorated, Property};
use crate::values::effect::{Effect, Use};
use crate::values::exceptions::Kind;
use crate::values::frame::Frame;
use crate::values::function::Method;
use crate::values::host::{Args, HostObject, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::teardown::Cyclic;
use crate::values::types::{Type, trash};
use crate::values::value::Value;

use Source::{Python, Rust};
pub use copy::deepcopy;
pub use written::{Written, alone};

/// A function of a module.
type Function = fn(&Machine, Args) -> HostResult;

/// What a module holds, by name.
pub type Members = Vec<(&'static str, Value)>;

/// What programs find in a module, by name.
type Found = Vec<(Rc<str>, Value)>;

/// Makes the members of a module.
pub type Make = fn(&Machine) -> Result<Members, Raise>;

/// What a module is written in.
#[derive(Clone, Copy)]
enum Source {
    Rust(Make),
    Python(Written),
}

/// Modules by name. Each is made once a machine.
const MODULES: &[(&str, Source)] = &[
    (
        "__future__",
        Rust(|_| Ok(["annotations", "division", "print_function"].map(|name| (name, Value::Bool(true))).to_vec())),
    ),
    ("abc", Python(alone(include_str!("python/abc.py")))),
    ("base64", Python(alone(include_str!("python/base64.py")))),
    ("bisect", Python(alone(include_str!("python/bisect.py")))),
    ("collections", Python(collections::COLLECTIONS)),
    ("collections.abc", Rust(typing::abstract_containers)),
    ("contextlib", Python(contextlib::CONTEXTLIB)),
    ("copy", Python(copy::COPY)),
    ("dataclasses", Python(dataclasses::DATACLASSES)),
    ("datetime", Python(alone(include_str!("python/datetime.py")))),
    ("decimal", Python(alone(include_str!("python/decimal.py")))),
    ("enum", Python(alone(include_str!("python/enum.py")))),
    ("exceptiongroup", Python(alone(include_str!("python/exceptiongroup.py")))),
    ("fractions", Python(alone(include_str!("python/fractions.py")))),
    ("functools", Python(functools::FUNCTOOLS)),
    ("gc", Python(alone(include_str!("python/gc.py")))),
    ("hashlib", Python(alone(include_str!("python/hashlib.py")))),
    ("heapq", Python(alone(include_str!("python/heapq.py")))),
    ("inspect", Python(inspect::INSPECT)),
    ("io", Python(alone(include_str!("python/io.py")))),
    ("itertools", Rust(itertools::members)),
    ("json", Python(json::JSON)),
    ("logging", Python(Written { text: include_str!("python/logging.py"), natives: |_| Ok(told::natives()) })),
    ("math", Rust(math::members)),
    ("numbers", Rust(typing::numbers)),
    ("operator", Rust(operator::members)),
    ("pathlib", Python(alone(include_str!("python/pathlib.py")))),
    ("pprint", Python(alone(include_str!("python/pprint.py")))),
    ("random", Python(random::RANDOM)),
    ("re", Python(re::RE)),
    (
        "statistics",
        Python(Written {
            text: include_str!("python/statistics.py"),
            natives: |_| Ok(vec![("Counter", Value::Type(Type::Counter))]),
        }),
    ),
    ("string", Python(alone(include_str!("python/string.py")))),
    ("struct", Python(alone(include_str!("python/struct.py")))),
    ("sys", Python(Written { text: include_str!("python/sys.py"), natives: |_| Ok(told::natives()) })),
    ("textwrap", Python(alone(include_str!("python/textwrap.py")))),
    ("time", Python(time::TIME)),
    ("tqdm", Python(alone(include_str!("python/tqdm.py")))),
    ("tqdm.asyncio", Python(TQDM_AUTO)),
    ("tqdm.auto", Python(TQDM_AUTO)),
    ("tqdm.autonotebook", Python(TQDM_AUTO)),
    ("tqdm.notebook", Python(TQDM_AUTO)),
    ("tqdm.std", Python(TQDM_AUTO)),
    ("traceback", Python(Written { text: include_str!("python/traceback.py"), natives: |_| Ok(told::natives()) })),
    ("types", Python(alone(include_str!("python/types.py")))),
    ("typing", Rust(typing::members)),
    ("typing_extensions", Rust(typing::members)),
    ("warnings", Python(warnings::WARNINGS)),
];

/// The same under other names, whichever of them is brought in.
const TQDM_AUTO: Written = alone(include_str!("python/tqdm_auto.py"));

/// Modules of Python that reach out of the program, with what to use instead where there is something.
const REFUSED: &[(&str, &str)] = &[
    ("asyncio", ""),
    ("cmath", "; torch's functions, and `abs` and `**` of Python's own, take complex numbers"),
    ("ctypes", ""),
    ("importlib", ""),
    ("multiprocessing", ""),
    ("os", ""),
    ("pickle", ""),
    ("shutil", ""),
    ("signal", ""),
    ("socket", ""),
    ("subprocess", ""),
    ("tempfile", ""),
    ("threading", ""),
    ("unicodedata", "; normalize texts before the trace, and let the block have the result"),
    ("urllib", ""),
    ("uuid", ""),
];

/// Returns a standard module by name, or `None` for any other. A machine always gives the same object.
///
/// # Errors
/// Fuel or memory is spent, or calls are too deep to make it here.
pub fn import(machine: &Machine, name: &str) -> Result<Option<Value>, Raise> {
    let Some((name, source)) = MODULES.iter().find(|(known, _)| *known == name) else { return Ok(None) };
    open(machine, name, *source).map(Some)
}

/// Returns what a module of the host's, which is a text, shows under a name or keeps for requests. A machine runs it once.
///
/// # Errors
/// As [`import`].
pub fn written(machine: &Machine, module: &'static str, text: Written, name: &str) -> Result<Option<Value>, Raise> {
    match open(machine, module, Python(text))? {
        Value::Host(module) => Ok(module.member(machine, name)),
        _ => Ok(None),
    }
}

/// Returns a module of the host's, which is a text.
///
/// # Errors
/// As [`import`].
pub fn module(machine: &Machine, name: &'static str, text: Written) -> Result<Value, Raise> {
    open(machine, name, Python(text))
}

/// Returns a module, made where that was not done before.
fn open(machine: &Machine, name: &'static str, source: Source) -> Result<Value, Raise> {
    let made = made(machine);
    if let Some(module) = made.borrow().get(name) {
        return Ok(module.clone());
    }
    let (members, variables) = source.members(machine, name)?;
    let members = members.into_iter().collect();
    effects::declare(name, &members);
    let module = Value::host(Module { name, members, variables });
    made.borrow_mut().insert(name, module.clone());
    Ok(module)
}

/// Returns what a module written in Python keeps under a name, which programs may not find there.
///
/// # Errors
/// As [`import`].
pub(crate) fn kept(machine: &Machine, module: &str, name: &str) -> Result<Value, Raise> {
    let found = import(machine, module)?;
    let variables = match &found {
        Some(Value::Host(module)) => {
            module.as_any().downcast_ref().and_then(|module: &Module| module.variables.clone())
        }
        _ => None,
    };
    let kept = variables.and_then(|variables| variables.get(name));
    kept.ok_or_else(|| Raise::runtime_error(format!("the module {module} has no {name}")))
}

/// Returns the names of all that programs find in the modules: `math.sqrt`.
///
/// # Errors
/// Memory is spent.
pub fn catalog(machine: &Machine) -> Result<Vec<String>, Raise> {
    let mut names = Vec::new();
    for (module, source) in MODULES {
        let (members, _) = source.members(machine, module)?;
        names.extend(members.into_iter().map(|(name, _)| format!("{module}.{name}")));
    }
    Ok(names)
}

impl Source {
    /// Makes what a program finds in the module, and the variables of one that has a text.
    fn members(self, machine: &Machine, name: &'static str) -> Result<(Found, Option<Rc<Frame>>), Raise> {
        match self {
            Rust(make) => Ok((named(make(machine)?), None)),
            Python(written) => {
                let variables = written.run(machine, name)?;
                Ok((Written::public(machine, &variables), Some(variables)))
            }
        }
    }
}

fn named(members: Members) -> Found {
    members.into_iter().map(|(name, value)| (Rc::from(name), value)).collect()
}

/// Makes of a class that came with a request, attribute by attribute, what its metaclass, `namedtuple` or `dataclass` made
/// of it where it was written: members of an enumeration, a named tuple's fields, and functions without a text.
///
/// # Errors
/// What an enumeration's `__init__` raises, and when the job's memory is spent.
pub fn revive(machine: &Machine, class: &Rc<Class>) -> HostResult {
    let revive = if class.lineage().skip(1).any(|base| base.module() == "enum") {
        // These only stand for the members' type.
        for name in ["__new__", "_new_member_"] {
            drop(class.remove(name));
        }
        kept(machine, "enum", "_enumerate")?
    } else if matches!(class.own("__dataclass_fields__"), Some(Value::Dict(_))) {
        kept(machine, "dataclasses", "_revive")?
    } else if class.builtin() == Some(Type::Tuple) && matches!(class.own("_fields"), Some(Value::Tuple(_))) {
        kept(machine, "collections", "_revive")?
    } else {
        return Ok(Value::None.into());
    };
    // The class and what it is given hold each other.
    machine.register(Cyclic::Class(Rc::downgrade(class)));
    machine.call_now(&revive, Args::of([Value::Class(Rc::clone(class))]))
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
    members: HashMap<Rc<str>, Value>,
    /// All that a text binds, what is its own included.
    variables: Option<Rc<Frame>>,
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
        self.members.get(name).cloned().or_else(|| Written::sent(self.variables.as_ref()?, name))
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
