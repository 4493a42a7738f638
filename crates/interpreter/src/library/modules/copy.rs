//! `copy`.

use std::future::ready;
use std::rc::Rc;

use futures::future::LocalBoxFuture;

use crate::evaluation::{attribute, format, mapping, operators, set};
use crate::library::modules::deque::DequeType;
use crate::library::modules::written::Written;
use crate::library::modules::{Members, kept};
use crate::values::class::{Instance, MEMBERS};
use crate::values::host::{Args, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::suspension::Nested;
use crate::values::types::key::Key;
use crate::values::types::{Dict, List, Type};
use crate::values::value::Value;

pub const COPY: Written = Written { text: include_str!("../python/copy.py"), natives };

fn natives(_: &Machine) -> Result<Members, Raise> {
    Ok(vec![
        ("Counter", Value::Type(Type::Counter)),
        ("OrderedDict", Value::Type(Type::OrderedDict)),
        ("defaultdict", Value::Type(Type::DefaultDict)),
        ("deque", Value::host(DequeType)),
        ("_parts", Value::native("_parts", |machine, args| parts(machine, &args.one("_parts")?))),
        ("_fill", Value::native("_fill", fill)),
        ("_deepcopy", Value::native("_deepcopy", |_, args| Ok(deep_copier(args.one("_deepcopy")?).into()))),
    ])
}

/// Takes an object of a program's class apart: another of its class with nothing in it, its attributes, and the value of
/// its builtin base, if there is one. Gives `()` for an object of the server, `None` for what never changes.
fn parts(machine: &Machine, object: &Value) -> HostResult {
    let instance = match object {
        Value::Instance(instance) => instance,
        Value::Host(_) => return Ok(Value::tuple(Vec::new()).into()),
        _ => return Ok(Value::None.into()),
    };
    let made = Value::Instance(empty(machine, instance)?);
    let attributes = Value::dict(instance.attributes());
    let values = Value::list(instance.payload().into_iter().collect());
    Ok(Value::tuple(vec![made, attributes, values]).into())
}

/// Makes an object of the same class, with the arguments of an exception.
fn empty(machine: &Machine, instance: &Instance) -> Result<Rc<Instance>, Raise> {
    let made = Instance::new(instance.class());
    made.cover(machine)?;
    if let (Some(from), Some(to)) = (instance.exception(), made.exception()) {
        to.borrow_mut().args = from.borrow().args.clone();
    }
    Ok(made)
}

/// Puts attributes and a value into what [`parts`] has made.
fn fill(machine: &Machine, args: Args) -> HostResult {
    match &args.between("_fill", 3, 3)?[..] {
        [Value::Instance(made), Value::Dict(attributes), Value::List(values)] => {
            if let Some(value) = values.get(0) {
                made.set_payload(value);
            }
            for (name, value) in attributes.entries() {
                if let Value::Str(name) = name {
                    made.set(name, value);
                }
            }
            made.cover(machine)?;
            Ok(Value::Instance(Rc::clone(made)).into())
        }
        _ => Err(Raise::type_error("_fill() takes an object, a dict and a list")),
    }
}

/// Makes `deepcopy`, which has objects of the server copied by a function of the text. It is not written there itself:
/// programs copy whole sets of data.
fn deep_copier(host: Value) -> Value {
    Value::native("deepcopy", move |machine, args| {
        let [value, memo] = args.bind("deepcopy", ["x", "memo"], 1)?;
        let memo = match memo.as_ref().map(operators::plain) {
            None | Some(Value::None) => Rc::new(Dict::new()),
            Some(Value::Dict(memo)) => memo,
            Some(_) => return Err(Raise::type_error("the memo of deepcopy() must be a dict")),
        };
        // In CPython, too, this lies under the memo's own place.
        let place = format::id(&Value::Dict(Rc::clone(&memo)));
        let kept = match memo.get(&Key::Int(place)) {
            Some(Value::List(kept)) => kept,
            _ => Rc::new(List::new(Vec::new())),
        };
        memo.insert(machine, Key::Int(place), Value::Int(place), Value::List(Rc::clone(&kept)))?;
        let copying = Rc::new(Copying { machine: machine.clone(), host: host.clone(), memo, kept });
        Ok(Outcome::Later(copying.copy(value.unwrap_or(Value::None))))
    })
}

/// Methods by which a class says how its objects are copied.
const OWN_WAYS: [&str; 6] =
    ["__reduce_ex__", "__reduce__", "__getstate__", "__setstate__", "__getnewargs_ex__", "__getnewargs__"];

/// One `deepcopy`, as deep as it goes.
struct Copying {
    machine: Machine,
    /// What copies objects of the server.
    host: Value,
    /// Copies of what was met, by its place.
    memo: Rc<Dict>,
    /// What was copied stays, so that its place stays its own.
    kept: Rc<List>,
}

impl Copying {
    fn copy(self: &Rc<Self>, value: Value) -> LocalBoxFuture<'static, Result<Value, Raise>> {
        if !matches!(
            value,
            Value::List(_) | Value::Tuple(_) | Value::Dict(_) | Value::Set(_) | Value::Host(_) | Value::Instance(_)
        ) {
            return Box::pin(ready(Ok(value)));
        }
        let copying = Rc::clone(self);
        Box::pin(Nested::new(self.machine.clone(), async move {
            copying.machine.charge_fuel(1)?;
            if let Some(copy) = copying.memo.get(&Key::Int(format::id(&value))) {
                return Ok(copy);
            }
            let copy = copying.anew(&value).await?;
            if !copy.is(&value) {
                copying.kept.push(&copying.machine, value)?;
            }
            Ok(copy)
        }))
    }

    fn note(&self, value: &Value, copy: &Value) -> Result<(), Raise> {
        let place = format::id(value);
        self.memo.insert(&self.machine, Key::Int(place), Value::Int(place), copy.clone())
    }

    async fn anew(self: &Rc<Self>, value: &Value) -> Result<Value, Raise> {
        let machine = &self.machine;
        let copy = match value {
            Value::List(list) => {
                let made = Rc::new(List::new(Vec::new()));
                let copy = Value::List(Rc::clone(&made));
                self.note(value, &copy)?;
                for item in list.to_vec() {
                    made.push(machine, self.part(item).await?)?;
                }
                return Ok(copy);
            }
            Value::Dict(dict) => {
                let made = Rc::new(dict.copy(machine)?);
                made.clear();
                let copy = Value::Dict(Rc::clone(&made));
                self.note(value, &copy)?;
                for (key, item) in dict.entries() {
                    let (key, item) = (self.part(key).await?, self.part(item).await?);
                    let found = mapping::resolve(machine, &made, &key).await?;
                    made.insert(machine, found, key, item)?;
                }
                return Ok(copy);
            }
            Value::Tuple(tuple) => {
                let items = self.parts(tuple.iter().cloned()).await?;
                // A tuple that holds itself, through a list, has been copied on the way.
                if let Some(copy) = self.memo.get(&Key::Int(format::id(value))) {
                    return Ok(copy);
                }
                if items.iter().zip(tuple.iter()).all(|(copy, item)| copy.is(item)) {
                    return Ok(value.clone());
                }
                Value::tuple(items)
            }
            Value::Set(set) => {
                let items = self.parts(set.items().into_iter()).await?;
                machine.settle(set::build(machine, items, set.is_frozen())?).await?
            }
            Value::Instance(instance) => match attribute::special(machine, value, "__deepcopy__") {
                Some(method) => machine.call(&method, Args::of([Value::Dict(Rc::clone(&self.memo))])).await?,
                // Members of an enumeration are one object each.
                None if instance.class().find(MEMBERS).is_some() => return Ok(value.clone()),
                None if OWN_WAYS.iter().any(|name| instance.class().find(name).is_some()) => {
                    machine.call(&self.host, Args::of([value.clone(), Value::Dict(Rc::clone(&self.memo))])).await?
                }
                None => return self.instance(value, instance).await,
            },
            _ => machine.call(&self.host, Args::of([value.clone(), Value::Dict(Rc::clone(&self.memo))])).await?,
        };
        self.note(value, &copy)?;
        Ok(copy)
    }

    async fn instance(self: &Rc<Self>, value: &Value, instance: &Instance) -> Result<Value, Raise> {
        let made = empty(&self.machine, instance)?;
        let copy = Value::Instance(Rc::clone(&made));
        self.note(value, &copy)?;
        if let Some(payload) = instance.payload() {
            made.set_payload(self.part(payload).await?);
        }
        for (name, attribute) in instance.attributes() {
            made.set(name, self.part(attribute).await?);
        }
        made.cover(&self.machine)?;
        Ok(copy)
    }

    async fn parts(self: &Rc<Self>, values: impl ExactSizeIterator<Item = Value>) -> Result<Vec<Value>, Raise> {
        let mut parts = Vec::with_capacity(values.len());
        for value in values {
            parts.push(self.part(value).await?);
        }
        Ok(parts)
    }

    /// Copies a part: at once what is no container, as most parts are.
    async fn part(self: &Rc<Self>, value: Value) -> Result<Value, Raise> {
        if value.is_scalar() { Ok(value) } else { self.copy(value).await }
    }
}

/// Copies a value with all it holds.
pub fn deepcopy(machine: &Machine, value: Value) -> LocalBoxFuture<'static, Result<Value, Raise>> {
    match kept(machine, "copy", "deepcopy") {
        Ok(deepcopy) => machine.call(&deepcopy, Args::of([value])),
        Err(raise) => Box::pin(ready(Err(raise))),
    }
}
