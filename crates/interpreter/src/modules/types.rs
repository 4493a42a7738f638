//! `types` and `warnings`.

use std::rc::Rc;

use crate::class::Instance;
use crate::exceptions;
use crate::host::{Args, HostResult};
use crate::machine::Machine;
use crate::modules::{Members, class, functions, import};
use crate::operators::{self, later};
use crate::raise::Raise;
use crate::types::{Type, ledger};
use crate::value::Value;

pub fn members(_: &Machine) -> Result<Members, Raise> {
    let namespace = class(
        "SimpleNamespace",
        "types",
        vec![],
        &[("__init__", initialize), ("__repr__", represent), ("__eq__", equal)],
        &[],
    )?;
    Ok(vec![
        ("SimpleNamespace", Value::Class(namespace)),
        ("BuiltinFunctionType", Value::Type(Type::Native)),
        ("FunctionType", Value::Type(Type::Function)),
        ("GeneratorType", Value::Type(Type::Generator)),
        ("LambdaType", Value::Type(Type::Function)),
        ("MethodType", Value::Type(Type::Method)),
        ("NoneType", Value::Type(Type::NoneType)),
        ("EllipsisType", Value::Type(Type::EllipsisType)),
        ("MappingProxyType", Value::Type(Type::Dict)),
    ])
}

fn initialize(machine: &Machine, args: Args) -> HostResult {
    match &args.positional[..] {
        [Value::Instance(namespace)] => {
            for (name, value) in args.keyword {
                namespace.set(name, value);
            }
            namespace.cover(machine)?;
            Ok(Value::None.into())
        }
        _ => Err(Raise::type_error("no positional arguments expected")),
    }
}

fn represent(machine: &Machine, args: Args) -> HostResult {
    let Value::Instance(namespace) = args.one("__repr__")? else { return Ok(Value::NotImplemented.into()) };
    let machine = machine.clone();
    later(async move {
        let mut parts = Vec::new();
        for (name, value) in namespace.attributes() {
            parts.push(format!("{name}={}", crate::format::repr(&machine, &value).await?));
        }
        let own = namespace.class().module() == "types";
        let name = if own { "namespace".into() } else { Rc::clone(namespace.class().name()) };
        ledger::text(&machine, format!("{name}({})", parts.join(", ")))
    })
}

fn equal(machine: &Machine, args: Args) -> HostResult {
    let dict = |namespace: &Instance| Value::dict(namespace.attributes());
    match &args.between("__eq__", 2, 2)?[..] {
        [Value::Instance(left), Value::Instance(right)] if right.class().find("__init__").is_some_and(|own| {
            left.class().find("__init__").is_some_and(|other| other.is(&own))
        }) =>
        {
            operators::binary(machine, crate::host::Operator::Equal, &dict(left), &dict(right))
        }
        _ => Ok(Value::NotImplemented.into()),
    }
}

/// Makes `warnings`, which warns nobody.
pub fn warnings(machine: &Machine) -> Result<Members, Raise> {
    let ignore: crate::modules::Function = |_, _| Ok(Value::None.into());
    let mut members = functions(&[
        ("filterwarnings", ignore),
        ("resetwarnings", ignore),
        ("simplefilter", ignore),
        ("warn", ignore),
    ]);
    if let Some(contextlib) = import(machine, "contextlib")
        && let Ok(Some(crate::host::Outcome::Ready(Value::Class(null)))) =
            crate::attribute::find(machine, &contextlib, "nullcontext")
    {
        members.push(("catch_warnings", Value::native("catch_warnings", move |machine, _| {
            machine.call_now(&Value::Class(Rc::clone(&null)), Args::default())
        })));
    }
    for name in ["Warning", "DeprecationWarning", "FutureWarning", "RuntimeWarning", "UserWarning"] {
        members.extend(exceptions::lookup(name).map(|class| (name, class)));
    }
    Ok(members)
}
