//! `copy`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use futures::future::LocalBoxFuture;

use crate::evaluation::operators::{self, later};
use crate::evaluation::{mapping, set};
use crate::library::modules::{Members, functions};
use crate::values::class::Instance;
use crate::values::host::{Args, HostObject, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::{Kind, Raise};
use crate::values::suspension::Nested;
use crate::values::types::{List, Set, Tuple, sequence};
use crate::values::value::{Identity, Value};

pub fn members(_: &Machine) -> Result<Members, Raise> {
    Ok(functions(&[
        ("copy", |machine, args| {
            let (machine, value) = (machine.clone(), args.one("copy")?);
            later(async move { shallow(&machine, &value).await })
        }),
        ("deepcopy", |machine, args| {
            let [value, memo] = args.bind("deepcopy", ["x", "memo"], 1)?;
            let memo = match memo {
                Some(Value::Host(object)) => object.as_any().downcast_ref::<Memo>().map(|memo| memo.0.clone()),
                _ => None,
            };
            deep(machine.clone(), value.unwrap_or(Value::None), memo.unwrap_or_default())
        }),
        ("replace", |machine, mut args| {
            let keyword = std::mem::take(&mut args.keyword);
            let (machine, value) = (machine.clone(), args.one("replace")?);
            later(async move {
                let replace = machine.get_attribute(&value, "__replace__").await?;
                machine.call(&replace, Args { positional: vec![], keyword }).await
            })
        }),
    ]))
}

/// Copies of what was met, with the originals, which must stay alive so that their places stay theirs.
type Copies = Rc<RefCell<HashMap<Identity, (Value, Value)>>>;

/// The memo as users' `__deepcopy__` gets and passes it.
struct Memo(Copies);

impl HostObject for Memo {
    fn type_name(&self) -> std::borrow::Cow<'static, str> {
        "dict".into()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// Copies a host object by the method it has for that; what has none is one object everywhere.
async fn host(machine: &Machine, value: &Value) -> Result<Value, Raise> {
    for name in ["clone", "copy"] {
        match machine.get_attribute(value, name).await {
            Ok(method) => return machine.call(&method, Args::default()).await,
            Err(raise) if raise.is(Kind::AttributeError) => {}
            Err(raise) => return Err(raise),
        }
    }
    Ok(value.clone())
}

async fn shallow(machine: &Machine, value: &Value) -> Result<Value, Raise> {
    Ok(match value {
        Value::List(list) => ready(sequence::list(machine, list.to_vec().into_vec())?, value),
        Value::Dict(dict) => Value::Dict(Rc::new(dict.copy(machine)?)),
        Value::Set(set) if !set.is_frozen() => Value::Set(Rc::new(set.copy(machine, false)?)),
        Value::Host(_) => host(machine, value).await?,
        Value::Instance(instance) => {
            if let Some(method) = operators::special(value, "__copy__") {
                let outcome = operators::call_special(machine, &method, value, vec![])?;
                return machine.settle(outcome).await;
            }
            let copy = empty(machine, instance)?;
            for (name, attribute) in instance.attributes() {
                copy.set(name, attribute);
            }
            if let Some(payload) = instance.payload() {
                copy.set_payload(Box::pin(shallow(machine, &payload)).await?);
            }
            copy.cover(machine)?;
            Value::Instance(copy)
        }
        value => value.clone(),
    })
}

fn ready(outcome: Outcome, otherwise: &Value) -> Value {
    match outcome {
        Outcome::Ready(value) => value,
        _ => otherwise.clone(),
    }
}

/// Makes an object of the same class, with the arguments of an exception.
fn empty(machine: &Machine, instance: &Rc<Instance>) -> Result<Rc<Instance>, Raise> {
    let copy = Instance::new(instance.class());
    copy.cover(machine)?;
    if let (Some(from), Some(to)) = (instance.exception(), copy.exception()) {
        to.borrow_mut().args = from.borrow().args.clone();
    }
    Ok(copy)
}

fn deep(machine: Machine, value: Value, copies: Copies) -> HostResult {
    Ok(Outcome::Later(nested(machine, value, copies)))
}

fn nested(machine: Machine, value: Value, copies: Copies) -> LocalBoxFuture<'static, Result<Value, Raise>> {
    let compound = matches!(
        value,
        Value::List(_) | Value::Tuple(_) | Value::Dict(_) | Value::Set(_) | Value::Host(_) | Value::Instance(_)
    );
    if !compound {
        return Box::pin(std::future::ready(Ok(value)));
    }
    let handle = machine.clone();
    Box::pin(Nested::new(machine, async move {
        handle.charge_fuel(1)?;
        let known = copies.borrow().get(&value.identity()).map(|(_, copy)| copy.clone());
        match known {
            Some(copy) => Ok(copy),
            None => copy_anew(&handle, &value, &copies).await,
        }
    }))
}

async fn copy_anew(machine: &Machine, value: &Value, copies: &Copies) -> Result<Value, Raise> {
    let keep = |copy: &Value| {
        copies.borrow_mut().insert(value.identity(), (value.clone(), copy.clone()));
    };
    let inner = |value: Value| nested(machine.clone(), value, Rc::clone(copies));
    match value {
        Value::List(list) => {
            let made = Rc::new(List::new(Vec::new()));
            let copy = Value::List(Rc::clone(&made));
            keep(&copy);
            for item in list.to_vec() {
                made.push(machine, inner(item).await?)?;
            }
            Ok(copy)
        }
        Value::Tuple(tuple) => {
            let mut items = Vec::with_capacity(tuple.len());
            for item in tuple.iter() {
                items.push(inner(item.clone()).await?);
            }
            // A tuple that holds itself, through a list, has been copied on the way.
            if let Some((_, copy)) = copies.borrow().get(&value.identity()) {
                return Ok(copy.clone());
            }
            let same = items.iter().zip(tuple.iter()).all(|(copy, item)| copy.is(item));
            let copy = if same { value.clone() } else { Value::Tuple(Rc::new(Tuple::new(items))) };
            keep(&copy);
            Ok(copy)
        }
        Value::Dict(dict) => {
            let made = Rc::new(dict.copy(machine)?);
            made.clear();
            let copy = Value::Dict(Rc::clone(&made));
            keep(&copy);
            for (key, item) in dict.entries() {
                let (key, item) = (inner(key).await?, inner(item).await?);
                let found = mapping::resolve(machine, &made, &key).await?;
                made.insert(machine, found, key, item)?;
            }
            Ok(copy)
        }
        Value::Set(found) => {
            let items = set_items(found, &inner).await?;
            let outcome = set::build(machine, items, found.is_frozen())?;
            let copy = machine.settle(outcome).await?;
            keep(&copy);
            Ok(copy)
        }
        Value::Host(_) => {
            let copy = host(machine, value).await?;
            keep(&copy);
            Ok(copy)
        }
        Value::Instance(instance) => {
            if let Some(method) = operators::special(value, "__deepcopy__") {
                let memo = Value::host(Memo(Rc::clone(copies)));
                let outcome = operators::call_special(machine, &method, value, vec![memo])?;
                let copy = machine.settle(outcome).await?;
                keep(&copy);
                return Ok(copy);
            }
            // Members of an enumeration are one object each.
            if instance.class().find("_member_map_").is_some() {
                return Ok(value.clone());
            }
            let made = empty(machine, instance)?;
            let copy = Value::Instance(Rc::clone(&made));
            keep(&copy);
            if let Some(payload) = instance.payload() {
                made.set_payload(inner(payload).await?);
            }
            for (name, attribute) in instance.attributes() {
                made.set(name, inner(attribute).await?);
            }
            made.cover(machine)?;
            Ok(copy)
        }
        value => Ok(value.clone()),
    }
}

async fn set_items(
    found: &Set,
    inner: &impl Fn(Value) -> LocalBoxFuture<'static, Result<Value, Raise>>,
) -> Result<Vec<Value>, Raise> {
    let mut items = Vec::with_capacity(found.len());
    for item in found.items() {
        items.push(inner(item).await?);
    }
    Ok(items)
}

/// Copies a value with all it holds.
pub fn deepcopy(machine: &Machine, value: Value) -> LocalBoxFuture<'static, Result<Value, Raise>> {
    nested(machine.clone(), value, Copies::default())
}
