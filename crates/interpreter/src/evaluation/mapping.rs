//! What syntax does with a dict: keys that user code may have to find, and pairs of any source.

use std::rc::Rc;

use crate::evaluation::key;
use crate::evaluation::operators::{self, Iter, later};
use crate::values::host::{Args, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::Items;
use crate::values::types::dict::{Dict, Kind};
use crate::values::types::key::{Key, Keyed};
use crate::values::value::Value;

/// Goes on with the key of a value, at once where no user code must be asked.
///
/// # Errors
/// `TypeError` for what cannot be hashed.
pub fn with_key(
    machine: &Machine,
    dict: Rc<Dict>,
    value: Value,
    go_on: impl FnOnce(&Machine, &Rc<Dict>, Key, Value) -> HostResult + 'static,
) -> HostResult {
    match Key::of(machine, &value)? {
        Keyed::Now(key) if !dict.may_equal(&key) => go_on(machine, &dict, key, value),
        _ => {
            let machine = machine.clone();
            later(async move {
                let key = resolve(&machine, &dict, &value).await?;
                let outcome = go_on(&machine, &dict, key, value)?;
                machine.settle(outcome).await
            })
        }
    }
}

/// `dict[key]`.
///
/// # Errors
/// `KeyError`; `TypeError` for what cannot be hashed.
pub fn get_item(machine: &Machine, dict: Rc<Dict>, key: Value) -> HostResult {
    with_key(machine, dict, key, |machine, dict, key, original| match dict.get(&key) {
        Some(value) => Ok(value.into()),
        None => missing(machine, dict, key, original),
    })
}

/// What `dict[key]` does without such a key.
fn missing(machine: &Machine, dict: &Rc<Dict>, key: Key, original: Value) -> HostResult {
    match dict.kind() {
        Kind::Counter => Ok(Value::Int(0).into()),
        Kind::Default(factory) if !matches!(&*factory.borrow(), Value::None) => {
            let factory = factory.borrow().clone();
            let dict = Rc::clone(dict);
            let made = operators::call(machine, &factory, Args::default());
            operators::then(machine, made, move |machine, value| {
                dict.insert(machine, key, original, value.clone())?;
                Ok(value.into())
            })
        }
        _ => Err(Raise::key_error(original)),
    }
}

/// `dict[key] = value`.
///
/// # Errors
/// `TypeError` for what cannot be hashed; memory is spent.
pub fn set_item(machine: &Machine, dict: Rc<Dict>, key: Value, value: Value) -> HostResult {
    with_key(machine, dict, key, move |machine, dict, key, original| {
        dict.insert(machine, key, original, value)?;
        Ok(Value::None.into())
    })
}

/// `del dict[key]`.
///
/// # Errors
/// `KeyError`; `TypeError` for what cannot be hashed.
pub fn delete_item(machine: &Machine, dict: Rc<Dict>, key: Value) -> HostResult {
    with_key(machine, dict, key, |_, dict, key, original| match dict.remove(&key) {
        Some(_) => Ok(Value::None.into()),
        None => Err(Raise::key_error(original)),
    })
}

/// `key in dict`.
///
/// # Errors
/// `TypeError` for what cannot be hashed.
pub fn contains(machine: &Machine, dict: Rc<Dict>, key: Value) -> HostResult {
    with_key(machine, dict, key, |_, dict, key, _| Ok(Value::Bool(dict.contains(&key)).into()))
}

/// Puts pairs and keyword arguments into a dict, as `dict(…)` and `update` do: `source` is a mapping or an
/// iterable of pairs.
///
/// # Errors
/// As CPython for what is neither; what user code raises.
pub fn merge(machine: &Machine, dict: Rc<Dict>, source: Option<Value>, keyword: Vec<(Rc<str>, Value)>) -> HostResult {
    for_each_pair(machine, source, keyword, move |machine, key, value| set_item(machine, Rc::clone(&dict), key, value))
}

/// Makes another dict of the kind of `owner`, and of the program's class that it is of, with what a mapping has.
///
/// # Errors
/// What the class raises; memory is spent.
pub fn another(machine: &Machine, owner: &Value, source: Value) -> HostResult {
    let Value::Dict(dict) = operators::plain(owner) else { return Ok(Outcome::NotImplemented) };
    match (owner, dict.kind()) {
        (Value::Instance(instance), Kind::Ordered | Kind::Counter | Kind::Default(_)) => {
            let factory = match dict.kind() {
                Kind::Default(factory) => Some(factory.borrow().clone()),
                _ => None,
            };
            let positional = factory.into_iter().chain([source]).collect();
            operators::call(
                machine,
                &Value::Class(Rc::clone(instance.class())),
                Args { positional, keyword: Vec::new() },
            )
        }
        _ => Ok(Value::Dict(Rc::new(dict.copy(machine)?)).into()),
    }
}

/// Runs `body` on each pair of a mapping or iterable of pairs, then on the keyword arguments.
pub fn for_each_pair(
    machine: &Machine,
    source: Option<Value>,
    keyword: Vec<(Rc<str>, Value)>,
    body: impl Fn(&Machine, Value, Value) -> HostResult + 'static,
) -> HostResult {
    let source = source.map(|source| operators::plain(&source));
    let known = match &source {
        None => Some(Items::from(Vec::new())),
        Some(Value::Dict(dict)) => Some(dict.entries()),
        Some(_) => None,
    };
    let keyword = keyword.into_iter().map(|(name, value)| (Value::Str(name), value));
    let mapped = known.is_some();
    let pairs: Items<(Value, Value)> = known.into_iter().flatten().chain(keyword).collect();
    let mut waiting = pairs.into_iter();
    if mapped {
        while let Some((key, value)) = waiting.next() {
            machine.charge_fuel(1)?;
            let outcome = body(machine, key, value)?;
            if !matches!(outcome, Outcome::Ready(_)) {
                let machine = machine.clone();
                return later(async move {
                    machine.settle(outcome).await?;
                    for (key, value) in waiting {
                        machine.charge_fuel(1)?;
                        let outcome = body(&machine, key, value)?;
                        machine.settle(outcome).await?;
                    }
                    Ok(Value::None)
                });
            }
        }
        return Ok(Value::None.into());
    }
    let machine = machine.clone();
    later(async move {
        if let Some(source) = source {
            match operators::attribute_if_any(&machine, &source, "keys").await? {
                Some(keys) => {
                    let keys = machine.call(&keys, Args::default()).await?;
                    let mut keys = Iter::of(&machine, &keys)?;
                    while let Some(key) = keys.next(&machine).await? {
                        machine.charge_fuel(1)?;
                        let found = operators::get_item(&machine, &source, &key)?;
                        let value = machine.settle(found).await?;
                        let outcome = body(&machine, key, value)?;
                        machine.settle(outcome).await?;
                    }
                }
                None => {
                    let mut elements = Iter::of(&machine, &source)?;
                    let mut position = 0;
                    while let Some(element) = elements.next(&machine).await? {
                        machine.charge_fuel(1)?;
                        let (key, value) = pair(&machine, &element, position).await?;
                        let outcome = body(&machine, key, value)?;
                        machine.settle(outcome).await?;
                        position += 1;
                    }
                }
            }
        }
        for (key, value) in waiting {
            let outcome = body(&machine, key, value)?;
            machine.settle(outcome).await?;
        }
        Ok(Value::None)
    })
}

async fn pair(machine: &Machine, element: &Value, position: usize) -> Result<(Value, Value), Raise> {
    let Ok(iter) = Iter::of(machine, element) else {
        return Err(Raise::type_error(format!(
            "cannot convert dictionary update sequence element #{position} to a sequence"
        )));
    };
    let items = iter.collect(machine).await?;
    let length = items.len();
    match <[Value; 2]>::try_from(items.into_vec()) {
        Ok([key, value]) => Ok((key, value)),
        Err(_) => Err(Raise::value_error(format!(
            "dictionary update sequence element #{position} has length {length}; 2 is required"
        ))),
    }
}

/// Finds the key of a value in a dict, asking user code where that is needed.
///
/// # Errors
/// `TypeError` for what cannot be hashed; what user code raises.
pub async fn resolve(machine: &Machine, dict: &Dict, value: &Value) -> Result<Key, Raise> {
    key::resolve(machine, value, |key| dict.may_equal(key), |hash| dict.candidates(machine, hash)).await
}
