//! `import`: modules of the evaluator, then those of the environment.

use crate::evaluation::attribute;
use crate::values::exceptions::Kind;
use crate::values::host::Outcome;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::value::Value;

/// Runs `import module`: the module itself where `submodule`, else the package that its first name stands for.
///
/// # Errors
/// `ModuleNotFoundError` for what this server does not have.
pub fn import(machine: &Machine, name: &str, submodule: bool) -> Result<Value, Raise> {
    machine.charge_fuel(1)?;
    let Some(found) = find(machine, name)? else {
        return Err(machine.language().refused(name).unwrap_or_else(|| {
            Raise::new(Kind::ModuleNotFoundError, format!("No module named '{name}' on this server"))
        }));
    };
    match name.split_once('.') {
        Some((package, _)) if !submodule => Ok(find(machine, package)?.unwrap_or(found)),
        _ => Ok(found),
    }
}

/// Returns a module by its full name, where nothing keeps it from being made.
pub fn module(machine: &Machine, name: &str) -> Option<Value> {
    find(machine, name).ok().flatten()
}

fn find(machine: &Machine, name: &str) -> Result<Option<Value>, Raise> {
    let found = machine.language().import(machine, name)?;
    Ok(found.or_else(|| machine.environment().import(machine, name)))
}

/// Returns what `from module import name` binds, where finding it needs no user code.
///
/// It may be what only requests name: `dataclasses._FIELD`.
/// What a standard module has from CPython's C code names that as its module: `functools.reduce` is `_functools.reduce`.
pub fn member(machine: &Machine, name: &str, member: &str) -> Option<Value> {
    let inner = || machine.language().import(machine, name.strip_prefix('_')?).ok()?;
    let mut value = module(machine, name).or_else(inner)?;
    for part in member.split('.') {
        value = match attribute::find(machine, &value, part) {
            Ok(Some(Outcome::Ready(value))) => value,
            _ => match value {
                Value::Host(host) => host.member(machine, part)?,
                _ => return None,
            },
        };
    }
    Some(value)
}

/// Says that a module lacks a name.
pub(crate) fn cannot_import(module: &str, name: &str, cause: &Raise) -> Raise {
    // A host's module says more about what it lacks than CPython does.
    let message = cause.message();
    let message = if message.is_empty() || message.contains("object has no attribute") {
        format!("cannot import name '{name}' from '{module}'")
    } else {
        format!("cannot import name '{name}' from '{module}' ({message})")
    };
    Raise::new(Kind::ImportError, message)
}
