//! The names that are known everywhere: `len`, `print`, `int`.

mod attributes;
pub mod bytearray;
mod iterators;
mod numbers;
pub(crate) mod text;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::evaluation::operators::{self, later, then, with_items};
use crate::evaluation::{format, mapping, set, sort};
use crate::library::methods::{bytes, counter, float, int, object, range};
use crate::values::class::{Decorated, Property};
use crate::values::effect::Effect;
use crate::values::exceptions;
use crate::values::host::{Args, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{self, Dict, List, Native, Slice, Type, charge, dict, sequence};
use crate::values::value::Value;

pub use attributes::{is_callable, is_instance, setattr};
pub use iterators::{Combine, gather, next, with_iterators};
pub use numbers::{abs, round, sum};

type Builtin = fn(&Machine, Args) -> HostResult;

const FUNCTIONS: &[(&str, Builtin)] = &[
    ("abs", numbers::abs),
    ("all", |machine, args| iterators::quantify(machine, args.one("all")?, false)),
    ("any", |machine, args| iterators::quantify(machine, args.one("any")?, true)),
    ("ascii", |machine, args| {
        let value = args.one("ascii")?;
        format::charged(machine, format::ascii(machine, &value))
    }),
    ("bin", |machine, args| numbers::radix(machine, args.one("bin")?, 2, "0b")),
    ("callable", attributes::callable),
    ("chr", text::chr),
    ("delattr", attributes::delattr),
    ("dir", attributes::dir),
    ("divmod", numbers::divmod),
    ("format", text::format),
    ("getattr", attributes::getattr),
    ("hasattr", attributes::hasattr),
    ("hash", |machine, args| {
        let (machine, value) = (machine.clone(), args.one("hash")?);
        later(async move { Ok(Value::Int(operators::hash(&machine, &value).await?)) })
    }),
    ("hex", |machine, args| numbers::radix(machine, args.one("hex")?, 16, "0x")),
    ("id", |_, args| Ok(Value::Int(format::id(&args.one("id")?)).into())),
    ("isinstance", attributes::isinstance),
    ("issubclass", attributes::issubclass),
    ("iter", iterators::iter),
    ("len", |machine, args| operators::length_outcome(machine, &args.one("len")?)),
    ("max", |machine, args| numbers::extreme(machine, args, "max")),
    ("min", |machine, args| numbers::extreme(machine, args, "min")),
    ("next", iterators::next),
    ("oct", |machine, args| numbers::radix(machine, args.one("oct")?, 8, "0o")),
    ("ord", text::ord),
    ("pow", numbers::pow),
    ("print", text::print),
    ("repr", |machine, args| {
        let value = args.one("repr")?;
        format::charged(machine, format::repr(machine, &value))
    }),
    ("round", numbers::round),
    ("setattr", attributes::setattr),
    ("sorted", sorted),
    ("sum", numbers::sum),
    ("vars", attributes::vars),
];

/// Functions that leave no marks, as long as the functions that they are given leave none.
const LOOKS: &[&str] = &[
    "abs",
    "all",
    "any",
    "ascii",
    "bin",
    "callable",
    "chr",
    "divmod",
    "format",
    "hash",
    "hex",
    "isinstance",
    "issubclass",
    "iter",
    "len",
    "max",
    "min",
    "oct",
    "ord",
    "pow",
    "repr",
    "round",
    "sorted",
    "sum",
];

/// Functions that reach out of the program: they are refused by name.
const REFUSED: &[&str] = &[
    "__import__",
    "breakpoint",
    "compile",
    "eval",
    "exec",
    "exit",
    "globals",
    "help",
    "input",
    "locals",
    "open",
    "quit",
];

thread_local! {
    /// Function objects by name, made once a thread, so that `len is len`. They hold nothing of any job.
    static MADE: RefCell<HashMap<&'static str, Value>> = RefCell::default();
}

/// Returns the names of the functions.
pub fn names() -> impl std::iter::Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(name, _)| *name)
}

/// Returns a builtin by name.
pub fn lookup(name: &str) -> Option<Value> {
    let visible = |kind: &Type| kind.module() == "builtins" && *kind as u8 != Type::NoneType as u8;
    let hidden = matches!(
        name,
        "function" | "method" | "generator" | "builtin_function_or_method" | "ellipsis" | "NotImplementedType"
    );
    if let Some(kind) = Type::ALL.iter().find(|kind| kind.name() == name && visible(kind) && !hidden) {
        return Some(Value::Type(*kind));
    }
    match name {
        "Ellipsis" => return Some(Value::Ellipsis),
        "bytearray" => return Some(bytearray::class()),
        "NotImplemented" => return Some(Value::NotImplemented),
        "__debug__" => return Some(Value::Bool(true)),
        "__name__" => return Some(Value::from("__main__")),
        _ => {}
    }
    if let Some(class) = exceptions::lookup(name) {
        return Some(class);
    }
    if let Some(made) = MADE.with(|made| made.borrow().get(name).cloned()) {
        return Some(made);
    }
    let (name, value) = charge::shared(|| match FUNCTIONS.iter().find(|(known, _)| *known == name) {
        Some((name, function)) => {
            let native = Native::function(*name, function);
            if LOOKS.contains(name) {
                native.declare(Effect::Looks);
            }
            Some((*name, Value::Native(Rc::new(native))))
        }
        None => {
            let name = REFUSED.iter().find(|known| **known == name)?;
            Some((*name, Value::native(*name, move |_, _| Err(refused(name)))))
        }
    })?;
    MADE.with(|made| made.borrow_mut().insert(name, value.clone()));
    Some(value)
}

fn refused(name: &str) -> Raise {
    Raise::name_error(format!("name '{name}' is not supported by this server"))
}

/// Calls a builtin type.
///
/// # Errors
/// As CPython.
pub fn construct(machine: &Machine, kind: Type, args: Args) -> HostResult {
    machine.charge_fuel(operators::UNCHARGED)?;
    match kind {
        Type::Object => {
            args.none("object").map_err(|_| Raise::type_error("object() takes no arguments"))?;
            Ok(Value::host(object::Plain).into())
        }
        Type::Type => attributes::make_type(machine, args),
        Type::Bool => int::construct_bool(machine, args),
        Type::Int => int::construct(machine, args),
        Type::Float => float::construct(machine, args),
        Type::Complex => float::construct_complex(machine, args),
        Type::Str => text::construct(machine, args),
        Type::Bytes => bytes::construct(machine, args, "bytes"),
        Type::List => match args.between("list", 0, 1)?.pop() {
            None => Ok(Value::List(Rc::new(List::new(Vec::new()))).into()),
            Some(iterable) => with_items(machine, iterable, |machine, items| sequence::list(machine, items.into_vec())),
        },
        Type::Tuple => match args.between("tuple", 0, 1)?.pop() {
            None => Ok(Value::tuple(Vec::new()).into()),
            Some(tuple @ Value::Tuple(_)) => Ok(tuple.into()),
            Some(iterable) => {
                with_items(machine, iterable, |machine, items| sequence::tuple(machine, items.into_vec()))
            }
        },
        Type::Dict | Type::OrderedDict | Type::DefaultDict | Type::Counter => construct_dict(machine, kind, args),
        Type::Set | Type::FrozenSet => {
            let frozen = kind == Type::FrozenSet;
            match args.between(kind.name(), 0, 1)?.pop() {
                Some(Value::Set(set)) if frozen && set.is_frozen() => Ok(Value::Set(set).into()),
                Some(Value::Set(set)) => Ok(Value::Set(Rc::new(set.copy(machine, frozen)?)).into()),
                Some(iterable) => set::construct(machine, iterable, frozen),
                None => set::build(machine, Vec::new(), frozen),
            }
        }
        Type::Range => Ok(Value::Range(Rc::new(range::construct(machine, args)?)).into()),
        Type::Slice => {
            let mut parts = args.between("slice", 1, 3)?;
            if parts.len() == 1 {
                parts.insert(0, Value::None);
            }
            parts.resize(3, Value::None);
            let mut parts = parts.into_iter();
            let mut part = || parts.next().unwrap_or(Value::None);
            Ok(Value::Slice(Rc::new(Slice::new(part(), part(), part()))).into())
        }
        Type::Enumerate => iterators::enumerate(machine, args),
        Type::Zip => iterators::zip(machine, args),
        Type::Map => iterators::map(machine, args),
        Type::Filter => iterators::filter(machine, args),
        Type::Reversed => iterators::reversed(machine, args),
        Type::Property => {
            let [getter, setter, deleter, doc] = args.bind("property", ["fget", "fset", "fdel", "doc"], 0)?;
            let given = |function: Option<Value>| function.filter(|function| !matches!(function, Value::None));
            let property =
                Property { getter: given(getter), setter: given(setter), deleter: given(deleter), doc: given(doc) };
            Ok(Value::Decorated(Rc::new(Decorated::Property(property))).into())
        }
        Type::StaticMethod => Ok(decorated(Decorated::StaticMethod(args.one("staticmethod")?)).into()),
        Type::ClassMethod => Ok(decorated(Decorated::ClassMethod(args.one("classmethod")?)).into()),
        Type::NoneType => Ok(Value::None.into()),
        _ => Err(Raise::type_error(format!("cannot create '{}' instances", kind.name()))),
    }
}

fn decorated(decorated: Decorated) -> Value {
    Value::Decorated(Rc::new(decorated))
}

fn construct_dict(machine: &Machine, kind: Type, mut args: Args) -> HostResult {
    let mut positional = std::mem::take(&mut args.positional);
    let made = Rc::new(Dict::of_kind(match kind {
        Type::OrderedDict => dict::Kind::Ordered,
        Type::Counter => dict::Kind::Counter,
        Type::DefaultDict => {
            let factory = if positional.is_empty() { Value::None } else { positional.remove(0) };
            if !matches!(factory, Value::None) && !attributes::is_callable(&factory) {
                return Err(Raise::type_error("first argument must be callable or None"));
            }
            dict::Kind::Default(RefCell::new(factory))
        }
        _ => dict::Kind::Plain,
    }));
    if positional.len() > 1 {
        let (name, given) = (kind.name(), positional.len());
        return Err(Raise::type_error(format!("{name} expected at most 1 argument, got {given}")));
    }
    let source = positional.pop();
    let filled = match kind {
        Type::Counter => counter::count(machine, Rc::clone(&made), source, args.keyword, 1),
        _ => mapping::merge(machine, Rc::clone(&made), source, args.keyword),
    };
    then(machine, filled, move |_, _| Ok(Value::Dict(made).into()))
}

fn sorted(machine: &Machine, mut args: Args) -> HostResult {
    let keyword = std::mem::take(&mut args.keyword);
    let iterable = args.between("sorted", 1, 1)?.pop().unwrap_or(Value::None);
    let options = sort::Options::take(machine, Args { positional: Vec::new(), keyword }, "sort")?;
    with_items(machine, iterable, move |machine, items| {
        let sorted = sort::sort(machine.clone(), items, options);
        let machine = machine.clone();
        later(async move {
            match sorted.await {
                (items, None) => match sequence::list(&machine, items.into_vec())? {
                    Outcome::Ready(list) => Ok(list),
                    other => machine.settle(other).await,
                },
                (_, Some(raise)) => Err(raise),
            }
        })
    })
}

/// Returns the name of a value's type, for messages of the modules.
pub fn name_of(value: &Value) -> String {
    types::type_name(value).into_owned()
}
