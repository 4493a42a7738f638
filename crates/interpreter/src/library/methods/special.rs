//! Special methods of builtin types, for programs that call them by name: `x.__len__()`, `dict.__getitem__(d, k)`.
//! They work on the builtin value itself, so that `super().__getitem__(key)` in a class over `dict` ends here.

use crate::evaluation::operators::{self, later, plain};
use crate::library::builtins;
use crate::values::host::{Args, HostResult, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{MethodFn, Type};
use crate::values::value::Value;

/// A special method's name, what it does, and which types have it.
type Special = (&'static str, MethodFn, fn(Type) -> bool);

/// Finds a special method of a type.
pub fn find(kind: Type, name: &str) -> Option<MethodFn> {
    if !name.starts_with("__") {
        return None;
    }
    SPECIAL.iter().find(|(known, _, has)| *known == name && has(kind)).map(|(_, method, _)| *method)
}

/// Makes the method behind an operator; the second form has the operands the other way round.
macro_rules! operator {
    ($operator:ident) => {
        |machine, receiver, args| binary(machine, receiver, args, Operator::$operator, false)
    };
    (reflected $operator:ident) => {
        |machine, receiver, args| binary(machine, receiver, args, Operator::$operator, true)
    };
}

const SPECIAL: &[Special] = &[
    ("__abs__", |machine, receiver, _| builtins::abs(machine, Args::of([plain(receiver)])), number),
    ("__add__", operator!(Add), |kind| number(kind) || sequence(kind)),
    ("__and__", operator!(BitAnd), |kind| integer(kind) || set(kind)),
    ("__bool__", truth, number),
    ("__contains__", contains, container),
    ("__delitem__", delete_item, mutable),
    ("__eq__", operator!(Equal), any),
    ("__float__", |machine, receiver, _| super::float::construct(machine, Args::of([plain(receiver)])), number),
    ("__floordiv__", operator!(FloorDiv), number),
    ("__format__", format, any),
    ("__ge__", operator!(GreaterEqual), ordered),
    ("__getitem__", get_item, |kind| container(kind) && !set(kind)),
    ("__gt__", operator!(Greater), ordered),
    ("__hash__", hash, |kind| !mutable(kind) && kind != Type::Set),
    ("__iadd__", |machine, receiver, args| in_place(machine, receiver, args, Operator::Add), |kind| kind == Type::List),
    ("__index__", |machine, receiver, _| super::int::construct(machine, Args::of([plain(receiver)])), integer),
    ("__int__", |machine, receiver, _| super::int::construct(machine, Args::of([plain(receiver)])), number),
    ("__invert__", |machine, receiver, _| operators::unary(machine, Operator::Invert, &plain(receiver)), integer),
    ("__ior__", |machine, receiver, args| in_place(machine, receiver, args, Operator::BitOr), mapping),
    (
        "__iter__",
        |machine, receiver, _| operators::iterate(machine, &plain(receiver)),
        |kind| container(kind) || iterator(kind),
    ),
    ("__le__", operator!(LessEqual), ordered),
    ("__len__", |machine, receiver, _| operators::length_outcome(machine, &plain(receiver)), container),
    ("__lshift__", operator!(LeftShift), integer),
    ("__lt__", operator!(Less), ordered),
    ("__mod__", operator!(Mod), |kind| number(kind) || kind == Type::Str),
    ("__mul__", operator!(Mul), |kind| number(kind) || sequence(kind)),
    ("__ne__", operator!(NotEqual), any),
    ("__neg__", |machine, receiver, _| operators::unary(machine, Operator::Negative, &plain(receiver)), number),
    ("__next__", |machine, receiver, _| builtins::next(machine, Args::of([receiver.clone()])), iterator),
    ("__or__", operator!(BitOr), |kind| integer(kind) || set(kind) || mapping(kind)),
    ("__pos__", |machine, receiver, _| operators::unary(machine, Operator::Positive, &plain(receiver)), number),
    (
        "__pow__",
        |machine, receiver, args| match args.positional.as_slice() {
            [exponent, modulus] if !matches!(modulus, Value::None) => {
                Ok(operators::modular_power(machine, &plain(receiver), exponent, modulus)?.into())
            }
            [exponent, Value::None] => binary(machine, receiver, Args::of([exponent.clone()]), Operator::Pow, false),
            _ => binary(machine, receiver, args, Operator::Pow, false),
        },
        number,
    ),
    ("__radd__", operator!(reflected Add), number),
    (
        "__repr__",
        |machine, receiver, _| {
            crate::evaluation::format::charged(machine, crate::evaluation::format::repr(machine, &plain(receiver)))
        },
        any,
    ),
    (
        "__reversed__",
        |machine, receiver, _| builtins::construct(machine, Type::Reversed, Args::of([plain(receiver)])),
        |kind| kind == Type::List || kind == Type::Range || mapping(kind),
    ),
    ("__rmul__", operator!(reflected Mul), |kind| number(kind) || sequence(kind)),
    (
        "__round__",
        |machine, receiver, args| {
            let mut positional = vec![plain(receiver)];
            positional.extend(args.between("__round__", 0, 1)?);
            builtins::round(machine, Args::of(positional))
        },
        number,
    ),
    ("__rshift__", operator!(RightShift), integer),
    ("__rsub__", operator!(reflected Sub), number),
    ("__rtruediv__", operator!(reflected Div), number),
    ("__setitem__", set_item, mutable),
    ("__str__", |machine, receiver, _| crate::evaluation::format::str_outcome(machine, &plain(receiver)), any),
    ("__sub__", operator!(Sub), |kind| number(kind) || set(kind)),
    ("__truediv__", operator!(Div), number),
    ("__xor__", operator!(BitXor), |kind| integer(kind) || set(kind)),
];

fn any(_: Type) -> bool {
    true
}

fn integer(kind: Type) -> bool {
    matches!(kind, Type::Bool | Type::Int)
}

fn number(kind: Type) -> bool {
    integer(kind) || matches!(kind, Type::Float | Type::Complex)
}

fn sequence(kind: Type) -> bool {
    matches!(kind, Type::Str | Type::Bytes | Type::List | Type::Tuple)
}

fn set(kind: Type) -> bool {
    matches!(kind, Type::Set | Type::FrozenSet)
}

fn mapping(kind: Type) -> bool {
    kind.is_subtype(Type::Dict)
}

fn container(kind: Type) -> bool {
    sequence(kind) || set(kind) || mapping(kind) || kind == Type::Range
}

fn mutable(kind: Type) -> bool {
    kind == Type::List || mapping(kind)
}

fn ordered(kind: Type) -> bool {
    sequence(kind) || set(kind) || number(kind) && kind != Type::Complex
}

fn iterator(kind: Type) -> bool {
    matches!(kind, Type::Enumerate | Type::Zip | Type::Map | Type::Filter)
}

fn binary(machine: &Machine, receiver: &Value, args: Args, operator: Operator, reflected: bool) -> HostResult {
    let other = operand(args)?;
    match operators::attempt(machine, operator, &plain(receiver), &other, reflected)? {
        Outcome::NotImplemented => Ok(Value::NotImplemented.into()),
        outcome => Ok(outcome),
    }
}

/// Takes the other operand.
fn operand(mut args: Args) -> Result<Value, Raise> {
    let given = args.positional.len();
    match args.positional.pop() {
        Some(value) if given == 1 => Ok(value),
        _ => Err(Raise::type_error(format!("expected 1 argument, got {given}"))),
    }
}

fn in_place(machine: &Machine, receiver: &Value, args: Args, operator: Operator) -> HostResult {
    let own = receiver.clone();
    let done = operators::in_place(machine, operator, &plain(receiver), &operand(args)?);
    operators::then(machine, done, move |_, _| Ok(own.into()))
}

fn truth(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("__bool__")?;
    Ok(Value::Bool(operators::truth_sync(machine, &plain(receiver))?).into())
}

fn hash(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("__hash__")?;
    let (machine, value) = (machine.clone(), plain(receiver));
    later(async move { Ok(Value::Int(operators::hash(&machine, &value).await?)) })
}

fn format(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let spec = args.one("__format__")?;
    let spec = spec.as_str().unwrap_or_default();
    crate::evaluation::format::charged(machine, crate::evaluation::format::format(machine, &plain(receiver), spec))
}

fn contains(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    operators::contains(machine, &plain(receiver), &args.one("__contains__")?)
}

fn get_item(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    operators::get_item(machine, &plain(receiver), &args.one("__getitem__")?)
}

fn set_item(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let mut args = args.between("__setitem__", 2, 2)?;
    let value = args.swap_remove(1);
    operators::set_item(machine, &plain(receiver), &args[0], value)
}

fn delete_item(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    operators::delete_item(machine, &plain(receiver), &args.one("__delitem__")?)
}
