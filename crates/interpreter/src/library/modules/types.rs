//! `types` and `warnings`.

use std::rc::Rc;

use crate::evaluation::{attribute, operators};
use crate::library::modules::represent::represent;
use crate::library::modules::{Function, Members, class, functions, import};
use crate::values::class::Instance;
use crate::values::exceptions;
use crate::values::host::{Args, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::suspension::Nested;
use crate::values::types::Type;
use crate::values::value::Value;

pub fn members(_: &Machine) -> Result<Members, Raise> {
    let namespace = class(
        "SimpleNamespace",
        "types",
        vec![],
        &[("__init__", initialize), ("__repr__", show), ("__eq__", equal)],
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

fn show(machine: &Machine, args: Args) -> HostResult {
    let object = args.one("__repr__")?;
    let Value::Instance(namespace) = &object else { return Ok(Value::NotImplemented.into()) };
    let class = namespace.class();
    let name = if class.module() == "types" { "namespace".to_owned() } else { class.name().to_string() };
    let parts = namespace.attributes().into_iter().map(|(name, value)| (Some(name), value)).collect();
    represent(machine, object.clone(), name.clone(), parts, format!("{name}(...)"))
}

fn equal(machine: &Machine, args: Args) -> HostResult {
    let dict = |namespace: &Instance| Value::dict(namespace.attributes());
    match &args.between("__eq__", 2, 2)?[..] {
        [Value::Instance(left), Value::Instance(right)]
            if right
                .class()
                .find("__init__")
                .is_some_and(|own| left.class().find("__init__").is_some_and(|other| other.is(&own))) =>
        {
            let (left, right) = (dict(left), dict(right));
            let handle = machine.clone();
            Ok(Outcome::Later(Box::pin(Nested::new(machine.clone(), async move {
                Ok(Value::Bool(operators::equal(&handle, &left, &right).await?))
            }))))
        }
        _ => Ok(Value::NotImplemented.into()),
    }
}

/// Makes `warnings`, which warns nobody.
pub fn warnings(machine: &Machine) -> Result<Members, Raise> {
    let ignore: Function = |_, _| Ok(Value::None.into());
    let mut members =
        functions(&[("filterwarnings", ignore), ("resetwarnings", ignore), ("simplefilter", ignore), ("warn", ignore)]);
    if let Some(contextlib) = import(machine, "contextlib")?
        && let Ok(Some(Outcome::Ready(Value::Class(null)))) = attribute::find(machine, &contextlib, "nullcontext")
    {
        members.push((
            "catch_warnings",
            Value::native("catch_warnings", move |machine, _| {
                machine.call_now(&Value::Class(Rc::clone(&null)), Args::default())
            }),
        ));
    }
    for name in ["Warning", "DeprecationWarning", "FutureWarning", "RuntimeWarning", "UserWarning"] {
        members.extend(exceptions::lookup(name).map(|class| (name, class)));
    }
    Ok(members)
}
