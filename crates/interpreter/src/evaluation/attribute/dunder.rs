//! Special methods that programs call by name: those of `object` and of exceptions, and a generator's methods.

use std::rc::Rc;

use crate::evaluation::operators::later;
use crate::evaluation::{describe, eval, format};
use crate::values::generator::Generator;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types;
use crate::values::value::Value;

type Special = fn(&Machine, &Value, Args) -> HostResult;

/// Returns a special method of `object`, bound to a value.
pub(super) fn bound(object: &Value, name: &str) -> Option<Value> {
    if matches!(object, Value::Host(_)) {
        return None;
    }
    let (object, special) = (object.clone(), lookup(name)?);
    Some(Value::native(name, move |machine, args| special(machine, &object, args)))
}

/// Returns a special method of `object` that takes the object first.
pub(super) fn unbound(name: &str) -> Option<Value> {
    let (owned, special) = (name.to_owned(), lookup(name)?);
    Some(Value::native(name, move |machine, mut args: Args| {
        if args.positional.is_empty() {
            let message = format!("unbound method object.{owned}() needs an argument");
            return Err(Raise::type_error(message));
        }
        let object = args.positional.remove(0);
        if owned == "__repr__" && !matches!(object, Value::Instance(_)) {
            args.none("__repr__")?;
            return Ok(Value::from(format::plain_repr_of(&object)).into());
        }
        special(machine, &object, args)
    }))
}

fn lookup(name: &str) -> Option<Special> {
    Some(match name {
        // A program's own methods have been found before these, which therefore do not ask for them again.
        "__eq__" => |_, object, args| {
            let same = object.is(&args.one("__eq__")?);
            Ok(if same { Value::Bool(true) } else { Value::NotImplemented }.into())
        },
        "__ne__" => |_, object, args| {
            let same = object.is(&args.one("__ne__")?);
            Ok(if same { Value::Bool(false) } else { Value::NotImplemented }.into())
        },
        "__hash__" => |_, object, args| {
            args.none("__hash__")?;
            // As `id`, so that no address of this process shows.
            Ok(Value::Int(format::id(object) >> 4).into())
        },
        "__repr__" => |machine, object, args| {
            args.none("__repr__")?;
            repr(machine, object)
        },
        "__str__" => |machine, object, args| {
            args.none("__str__")?;
            text(machine, object)
        },
        "__format__" => |machine, object, args| match args.one("__format__")? {
            Value::Str(spec) if !spec.is_empty() => {
                let name = types::type_name(object);
                Err(Raise::type_error(format!("unsupported format string passed to {name}.__format__")))
            }
            _ => text(machine, object),
        },
        _ => return None,
    })
}

fn repr(machine: &Machine, object: &Value) -> HostResult {
    let Value::Instance(instance) = object else {
        let (machine, object) = (machine.clone(), object.clone());
        return later(async move { Ok(Value::from(&*format::repr(&machine, &object).await?)) });
    };
    if instance.exception().is_some() {
        let (machine, instance) = (machine.clone(), Rc::clone(instance));
        return later(async move { Ok(Value::from(describe::plain_repr(&machine, &instance).await?)) });
    }
    Ok(Value::from(format::plain_repr(object, instance)).into())
}

/// `BaseException.__str__`, and `object.__str__`, which is the object's own `__repr__`.
fn text(machine: &Machine, object: &Value) -> HostResult {
    let (machine, object) = (machine.clone(), object.clone());
    later(async move {
        if let Value::Instance(instance) = &object
            && instance.exception().is_some()
        {
            return Ok(Value::from(describe::plain_text(&machine, instance).await?));
        }
        Ok(Value::from(&*format::repr(&machine, &object).await?))
    })
}

/// Returns a method of a generator.
pub(super) fn of_generator(generator: &Rc<Generator>, name: &str) -> Option<Value> {
    let generator = Rc::clone(generator);
    Some(match name {
        "send" => Value::native("send", move |machine, args| generator.send(machine, args.one("generator.send")?)),
        "throw" => Value::native("throw", move |machine, args| {
            let thrown = args.between("throw", 1, 3)?.swap_remove(0);
            let generator = Rc::clone(&generator);
            let machine = machine.clone();
            later(async move {
                let raise = eval::to_raise(&machine, &thrown).await?;
                let outcome = generator.throw(&machine, raise)?;
                machine.settle(outcome).await
            })
        }),
        "close" => Value::native("close", move |machine, args| {
            args.none("generator.close")?;
            generator.close(machine)
        }),
        "__next__" => Value::native("__next__", move |machine, args| {
            args.none("__next__")?;
            generator.send(machine, Value::None)
        }),
        "__name__" | "__qualname__" => Value::Str(Rc::clone(generator.name())),
        _ => return None,
    })
}
