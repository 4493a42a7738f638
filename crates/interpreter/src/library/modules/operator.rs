//! `operator`.

use std::rc::Rc;

use crate::evaluation::elements;
use crate::evaluation::operators::{self, later};
use crate::library::builtins;
use crate::library::modules::{Members, functions};
use crate::values::host::{Args, HostResult, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::types::{Made, Native, sequence};
use crate::values::value::Value;

/// Operators with two operands, by the names of their functions.
const BINARY: &[(&str, Operator)] = &[
    ("add", Operator::Add),
    ("and_", Operator::BitAnd),
    ("concat", Operator::Add),
    ("eq", Operator::Equal),
    ("floordiv", Operator::FloorDiv),
    ("ge", Operator::GreaterEqual),
    ("gt", Operator::Greater),
    ("le", Operator::LessEqual),
    ("lshift", Operator::LeftShift),
    ("lt", Operator::Less),
    ("matmul", Operator::MatMul),
    ("mod", Operator::Mod),
    ("mul", Operator::Mul),
    ("ne", Operator::NotEqual),
    ("or_", Operator::BitOr),
    ("pow", Operator::Pow),
    ("rshift", Operator::RightShift),
    ("sub", Operator::Sub),
    ("truediv", Operator::Div),
    ("xor", Operator::BitXor),
];

const IN_PLACE: &[(&str, Operator)] = &[
    ("iadd", Operator::Add),
    ("iand", Operator::BitAnd),
    ("ifloordiv", Operator::FloorDiv),
    ("imatmul", Operator::MatMul),
    ("imod", Operator::Mod),
    ("imul", Operator::Mul),
    ("ior", Operator::BitOr),
    ("ipow", Operator::Pow),
    ("isub", Operator::Sub),
    ("itruediv", Operator::Div),
    ("ixor", Operator::BitXor),
];

const UNARY: &[(&str, Operator)] = &[
    ("inv", Operator::Invert),
    ("invert", Operator::Invert),
    ("neg", Operator::Negative),
    ("pos", Operator::Positive),
];

/// Makes the function of an operator with two operands; `None` for a name that is none.
pub(super) fn function(name: &str) -> Option<Value> {
    BINARY.iter().find(|(known, _)| *known == name).map(|(name, operator)| binary(name, *operator))
}

fn binary(name: &'static str, operator: Operator) -> Value {
    Value::native(name, move |machine, args| {
        let args = args.between(name, 2, 2)?;
        operators::binary(machine, operator, &args[0], &args[1])
    })
}

/// `attrgetter(*names)`.
pub(super) fn attrgetter(machine: &Machine, args: Args) -> HostResult {
    getter(machine, "attrgetter", args, read_path)
}

pub fn members(_: &Machine) -> Result<Members, Raise> {
    let mut members = functions(&[
        ("abs", builtins::abs),
        ("attrgetter", attrgetter),
        ("call", |machine, mut args| {
            if args.positional.is_empty() {
                return Err(Raise::type_error("call expected at least 1 argument, got 0"));
            }
            let function = args.positional.remove(0);
            machine.call_now(&function, args)
        }),
        ("contains", |machine, args| {
            let args = args.between("contains", 2, 2)?;
            operators::contains(machine, &args[0], &args[1])
        }),
        ("countOf", |machine, args| {
            let args = args.between("countOf", 2, 2)?;
            let wanted = args[1].clone();
            operators::with_items(machine, args[0].clone(), move |machine, items| {
                elements::count(machine, items, wanted)
            })
        }),
        ("indexOf", |machine, args| {
            let args = args.between("indexOf", 2, 2)?;
            let wanted = args[1].clone();
            operators::with_items(machine, args[0].clone(), move |machine, items| {
                for (at, item) in items.iter().enumerate() {
                    machine.charge_fuel(1)?;
                    if item.is(&wanted) || operators::equal_now(machine, item, &wanted)? == Some(true) {
                        return Ok(Value::Int(at as i64).into());
                    }
                }
                Err(Raise::value_error("sequence.index(x): x not in sequence"))
            })
        }),
        ("delitem", |machine, args| {
            let args = args.between("delitem", 2, 2)?;
            operators::delete_item(machine, &args[0], &args[1])
        }),
        ("getitem", |machine, args| {
            let args = args.between("getitem", 2, 2)?;
            operators::get_item(machine, &args[0], &args[1])
        }),
        ("index", |machine, args| {
            Ok(Value::Int(operators::index_fitting(machine, &args.one("operator.index")?)?).into())
        }),
        ("is_", |_, args| {
            let args = args.between("is_", 2, 2)?;
            Ok(Value::Bool(args[0].is(&args[1])).into())
        }),
        ("is_not", |_, args| {
            let args = args.between("is_not", 2, 2)?;
            Ok(Value::Bool(!args[0].is(&args[1])).into())
        }),
        ("itemgetter", |machine, args| {
            getter(machine, "itemgetter", args, |machine, object, key| operators::get_item(machine, &object, key))
        }),
        ("length_hint", |machine, args| operators::length_outcome(machine, &args.between("length_hint", 1, 2)?[0])),
        ("methodcaller", methodcaller),
        ("not_", |machine, args| truth(machine, args, "not_", true)),
        ("setitem", |machine, args| {
            let mut args = args.between("setitem", 3, 3)?;
            let value = args.pop().unwrap_or(Value::None);
            operators::set_item(machine, &args[0], &args[1], value)
        }),
        ("truth", |machine, args| truth(machine, args, "truth", false)),
    ]);
    members.extend(BINARY.iter().map(|(name, operator)| (*name, binary(name, *operator))));
    for (name, operator) in IN_PLACE {
        let (name, operator) = (*name, *operator);
        members.push((
            name,
            Value::native(name, move |machine, args| {
                let args = args.between(name, 2, 2)?;
                operators::in_place(machine, operator, &args[0], &args[1])
            }),
        ));
    }
    for (name, operator) in UNARY {
        let (name, operator) = (*name, *operator);
        members.push((
            name,
            Value::native(name, move |machine, args| {
                operators::unary(machine, operator, &args.one(&format!("operator.{name}"))?)
            }),
        ));
    }
    Ok(members)
}

fn truth(machine: &Machine, args: Args, name: &str, negate: bool) -> HostResult {
    let (machine, value) = (machine.clone(), args.one(&format!("operator.{name}"))?);
    later(async move { Ok(Value::Bool(operators::truth(&machine, &value).await? != negate)) })
}

type Read = fn(&Machine, Value, &Value) -> HostResult;

/// Makes a function that reads one part of an object, or a tuple of several.
fn getter(machine: &Machine, name: &'static str, args: Args, read: Read) -> HostResult {
    args.no_keywords(name)?;
    let charge = Charge::default();
    charge.cover(machine, sequence::bytes(args.positional.len() + 8))?;
    let keys: Rc<[Value]> = args.positional.into();
    if keys.is_empty() {
        return Err(Raise::type_error(format!("{name} expected at least 1 argument, got 0")));
    }
    if name == "attrgetter" && keys.iter().any(|key| !matches!(key, Value::Str(_))) {
        return Err(Raise::type_error("attribute name must be a string"));
    }
    let made = Made {
        class: if name == "attrgetter" { "operator.attrgetter" } else { "operator.itemgetter" },
        args: Rc::clone(&keys),
        keywords: Vec::new(),
    };
    let native = Native::function(name, move |machine, args| {
        let _ = &charge;
        let object = args.one(name)?;
        if let [key] = &keys[..] {
            return read(machine, object, key);
        }
        let (machine, keys) = (machine.clone(), Rc::clone(&keys));
        later(async move {
            let mut parts = Vec::with_capacity(keys.len());
            for key in keys.iter() {
                parts.push(match read(&machine, object.clone(), key)? {
                    Outcome::Ready(part) => part,
                    pending => machine.settle(pending).await?,
                });
            }
            Ok(Value::tuple(parts))
        })
    });
    Ok(Value::Native(Rc::new(native.made_by(made))).into())
}

/// Reads `object.a.b` for `"a.b"`.
fn read_path(machine: &Machine, object: Value, path: &Value) -> HostResult {
    let path: Rc<str> = path.as_str().unwrap_or_default().into();
    let machine = machine.clone();
    later(async move {
        let mut value = object;
        for name in path.split('.') {
            value = machine.get_attribute(&value, name).await?;
        }
        Ok(value)
    })
}

fn methodcaller(machine: &Machine, mut args: Args) -> HostResult {
    let name = match args.positional.first() {
        Some(Value::Str(name)) => Rc::clone(name),
        Some(_) => return Err(Raise::type_error("method name must be a string")),
        None => return Err(Raise::type_error("methodcaller needs at least one argument, the method name")),
    };
    args.positional.remove(0);
    let charge = Charge::default();
    charge.cover(machine, 2 * sequence::bytes(args.positional.len() + args.keyword.len() + 8))?;
    let shown = std::iter::once(Value::Str(Rc::clone(&name))).chain(args.positional.iter().cloned());
    let made = Made { class: "operator.methodcaller", args: shown.collect(), keywords: args.keyword.to_vec() };
    let native = Native::function("methodcaller", move |machine, object| {
        let _ = &charge;
        let object = object.one("methodcaller")?;
        let (machine, name, args) = (machine.clone(), Rc::clone(&name), args.clone());
        later(async move {
            let method = machine.get_attribute(&object, &name).await?;
            machine.call(&method, args).await
        })
    });
    Ok(Value::Native(Rc::new(native.made_by(made))).into())
}
