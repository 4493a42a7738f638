//! Modules that hold modules: `Sequential`, `ModuleList`, `ModuleDict`, `ParameterList`, `ParameterDict`, and `Identity`,
//! which takes anything.

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::types::charge::Charge;
use interpreter::{Args, Effect, HostObject, HostResult, Iteration, Machine, Operator, Outcome, Use, Value, operators};

use super::{State, base, hooks};
use crate::modules::{Construct, class_named};
use crate::python;
use crate::tensor::Tensor;

/// Which container.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sequential,
    List,
    Dict,
    Identity,
}

const NAMES: [(&str, Kind); 6] = [
    ("Sequential", Kind::Sequential),
    ("ModuleList", Kind::List),
    ("ParameterList", Kind::List),
    ("ModuleDict", Kind::Dict),
    ("ParameterDict", Kind::Dict),
    ("Identity", Kind::Identity),
];

/// Modules that are looked at to tell what a call does.
const PARTS: usize = 64;

/// Bytes charged for one member: its slot, and its number.
const MEMBER: u64 = 64;

/// Members whose names are looked at in the time of one step.
const LOOKED_AT: usize = 16;

/// Members that get a place in the time of one step.
const PLACED: usize = 2;

/// A module of modules, by name and in order.
pub struct Container {
    name: &'static str,
    kind: Kind,
    items: RefCell<Vec<(Box<str>, Value)>>,
    /// Bytes of the names that were given to members, other than in numbering them.
    letters: Cell<usize>,
    attributes: RefCell<Vec<(Box<str>, Value)>>,
    charge: Charge,
}

/// Finds a container's constructor.
pub fn constructor(name: &str) -> Option<Construct> {
    let (name, kind) = *NAMES.iter().find(|(known, _)| *known == name)?;
    Some(Rc::new(move |machine, args| {
        let container = Rc::new(Container::new(name, kind));
        if kind == Kind::Identity {
            // As PyTorch, whatever it is given.
            return Ok(Value::Host(container).into());
        }
        args.no_keywords(name)?;
        match (kind, args.positional.as_slice()) {
            (Kind::Sequential, [Value::Dict(dict)]) => {
                let mut known = HashSet::new();
                for (key, value) in dict.entries() {
                    let Some(key) = key.as_str() else {
                        let found = python::type_name(&key);
                        return Err(Raise::type_error(format!("module name should be a string. Got {found}")));
                    };
                    container.put_among(machine, &mut known, key, value)?;
                }
            }
            (Kind::Sequential, modules) => {
                let mut known = HashSet::new();
                for (at, module) in modules.iter().enumerate() {
                    container.put_among(machine, &mut known, &at.to_string(), module.clone())?;
                }
            }
            (Kind::List, [values]) => {
                let (machine, values) = (machine.clone(), values.clone());
                return Ok(Outcome::Later(Box::pin(async move {
                    container.extend(&machine, &values).await?;
                    Ok(Value::Host(container))
                })));
            }
            (Kind::Dict, [values]) => {
                let (machine, values) = (machine.clone(), values.clone());
                return Ok(Outcome::Later(Box::pin(async move {
                    container.fill(&machine, &values).await?;
                    Ok(Value::Host(container))
                })));
            }
            (Kind::List | Kind::Dict, []) => {}
            (_, given) => {
                let given = given.len() + 1;
                return Err(Raise::type_error(format!(
                    "{name}.__init__() takes from 1 to 2 positional arguments but {given} were given"
                )));
            }
        }
        Ok(Value::Host(container).into())
    }))
}

fn numbered(values: impl IntoIterator<Item = Value>) -> Vec<(Box<str>, Value)> {
    values.into_iter().enumerate().map(|(at, value)| (at.to_string().into(), value)).collect()
}

/// Rebuilds a container from what a request brings of it.
pub fn of_state(_: &Machine, name: &str, state: &State) -> Option<Result<Value, Raise>> {
    let (name, kind) = *NAMES.iter().find(|(known, _)| *known == name)?;
    let container = Container {
        items: RefCell::new(state.members.clone()),
        attributes: RefCell::new(state.plain.clone()),
        ..Container::new(name, kind)
    };
    container.letters.set(state.members.iter().map(|(name, _)| name.len()).sum());
    container.note();
    Some(Ok(Value::host(container)))
}

impl Container {
    fn new(name: &'static str, kind: Kind) -> Self {
        let training = ("training".into(), Value::Bool(true));
        Self {
            name,
            kind,
            items: RefCell::default(),
            letters: Cell::new(0),
            attributes: RefCell::new(vec![training]),
            charge: Charge::default(),
        }
    }

    /// Makes a container of the same class that has nothing yet.
    pub fn emptied(&self) -> Self {
        Self { attributes: RefCell::default(), ..Self::new(self.name, self.kind) }
    }

    /// Returns all attributes that are no members.
    pub fn attributes(&self) -> Vec<(Box<str>, Value)> {
        self.attributes.borrow().clone()
    }

    /// Returns what is inside.
    pub fn members(&self) -> Vec<(String, Value)> {
        self.items.borrow().iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    /// Returns an attribute that is no member.
    pub fn own(&self, name: &str) -> Option<Value> {
        self.attributes.borrow().iter().find(|(known, _)| **known == *name).map(|(_, value)| value.clone())
    }

    /// Sets an attribute that is no member.
    pub fn set_own(&self, name: &str, value: Value) {
        let mut attributes = self.attributes.borrow_mut();
        match attributes.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, slot)) => *slot = value,
            None => attributes.push((name.into(), value)),
        }
    }

    /// Replaces a member, or adds one.
    pub fn set_member(&self, name: &str, value: Value) {
        if let Some((_, slot)) = self.items.borrow_mut().iter_mut().find(|(known, _)| **known == *name) {
            *slot = value;
            return;
        }
        self.push(name, value);
    }

    /// Adds a member whose name is new.
    fn push(&self, name: &str, value: Value) {
        self.items.borrow_mut().push((name.into(), value));
        self.letters.set(self.letters.get() + name.len());
        self.note();
    }

    fn len(&self) -> usize {
        self.items.borrow().len()
    }

    fn bytes(&self, members: usize) -> u64 {
        MEMBER.saturating_mul(members as u64).saturating_add(self.letters.get() as u64)
    }

    /// Charges what is held to whoever pays for it.
    fn note(&self) {
        self.charge.note(self.bytes(self.len()));
    }

    /// Pays for so many members, before they are placed.
    fn afford(&self, machine: &Machine, members: usize) -> Result<(), Raise> {
        machine.charge_fuel((members / PLACED) as u64)?;
        self.charge.cover(machine, self.bytes(members))
    }

    /// Holds these values, by their numbers, and nothing else.
    fn number(&self, machine: &Machine, values: Vec<Value>) -> Result<(), Raise> {
        self.letters.set(0);
        self.afford(machine, values.len())?;
        let before = self.items.replace(numbered(values));
        drop(before);
        Ok(())
    }

    /// Makes what a member is of a value: a module, or a parameter where such are held.
    fn held(&self, value: Value) -> Result<Value, Raise> {
        Ok(match (self.name.starts_with("Parameter"), Tensor::of(&value)) {
            (true, Some(tensor)) if !tensor.is_parameter() => {
                let parameter = tensor.parameter();
                parameter.set_requires_grad(true)?;
                parameter.value()
            }
            (true, _) => value,
            (false, _) if super::is_module(&value) || matches!(value, Value::None) => value,
            (false, _) => {
                let found = python::type_name(&value);
                return Err(Raise::type_error(format!("{found} is not a Module subclass")));
            }
        })
    }

    /// Puts a module or a parameter in.
    fn put(&self, machine: &Machine, name: &str, value: Value) -> Result<(), Raise> {
        machine.charge_fuel((self.len() / LOOKED_AT) as u64)?;
        let value = self.held(value)?;
        self.set_member(name, value);
        Ok(())
    }

    /// Puts one of many in: `known` are the names that are there.
    fn put_among(
        &self,
        machine: &Machine,
        known: &mut HashSet<Box<str>>,
        name: &str,
        value: Value,
    ) -> Result<(), Raise> {
        if known.contains(name) {
            return self.put(machine, name, value);
        }
        machine.charge_fuel(1)?;
        let value = self.held(value)?;
        known.insert(name.into());
        self.push(name, value);
        Ok(())
    }

    fn names(&self, machine: &Machine) -> Result<HashSet<Box<str>>, Raise> {
        machine.charge_fuel((self.len() / PLACED) as u64)?;
        Ok(self.items.borrow().iter().map(|(name, _)| name.clone()).collect())
    }

    async fn extend(&self, machine: &Machine, values: &Value) -> Result<(), Raise> {
        let list = interpreter::builtins::lookup("list").unwrap_or(Value::None);
        let listed = machine.call(&list, python::positional([values.clone()])).await?;
        let mut known = self.names(machine)?;
        for value in python::sequence(&listed).unwrap_or_default() {
            self.put_among(machine, &mut known, &self.len().to_string(), value)?;
        }
        Ok(())
    }

    /// Puts in what a mapping has, or pairs of names and values.
    async fn fill(&self, machine: &Machine, values: &Value) -> Result<(), Raise> {
        let pairs: Vec<(Value, Value)> = match (values, python::host::<Self>(values)) {
            (Value::Dict(dict), _) => dict.entries().into_iter().collect(),
            (_, Some(other)) if other.kind == Kind::Dict => {
                other.members().into_iter().map(|(name, value)| (name.into(), value)).collect()
            }
            _ => {
                let list = interpreter::builtins::lookup("list").unwrap_or(Value::None);
                let listed = machine.call(&list, python::positional([values.clone()])).await?;
                let mut pairs = Vec::new();
                for (at, pair) in python::sequence(&listed).unwrap_or_default().into_iter().enumerate() {
                    let Some([name, value]) =
                        python::sequence(&pair).and_then(|pair| <[Value; 2]>::try_from(pair).ok())
                    else {
                        let held = self.name;
                        return Err(Raise::value_error(format!(
                            "{held} update sequence element #{at} is no pair; 2 is required"
                        )));
                    };
                    pairs.push((name, value));
                }
                pairs
            }
        };
        let mut known = self.names(machine)?;
        for (name, value) in pairs {
            let Some(name) = name.as_str() else {
                let found = python::type_name(&name);
                return Err(Raise::type_error(format!("module name should be a string. Got {found}")));
            };
            self.put_among(machine, &mut known, name, value)?;
        }
        Ok(())
    }

    /// Returns a container of the same class that holds these values.
    fn holding(&self, machine: &Machine, values: Vec<Value>) -> Result<Self, Raise> {
        let made = Self::new(self.name, self.kind);
        made.number(machine, values)?;
        Ok(made)
    }

    /// Takes the member at a place out. The others of a list are numbered again.
    fn take(&self, machine: &Machine, place: usize) -> Result<Value, Raise> {
        machine.charge_fuel((self.len() / LOOKED_AT) as u64)?;
        let (name, taken) = self.items.borrow_mut().remove(place);
        if self.kind == Kind::Dict {
            self.letters.set(self.letters.get().saturating_sub(name.len()));
            self.note();
        } else {
            self.number(machine, self.values())?;
        }
        Ok(taken)
    }

    /// Returns where the member of a name is.
    fn named(&self, name: &Value) -> Option<usize> {
        self.items.borrow().iter().position(|(known, _)| name.as_str() == Some(known))
    }

    fn values(&self) -> Vec<Value> {
        self.items.borrow().iter().map(|(_, value)| value.clone()).collect()
    }

    /// Returns which member an index means.
    fn place(&self, index: &Value) -> Result<usize, Raise> {
        let length = self.len();
        let Some(index) = index.as_int() else {
            return Err(Raise::type_error("module indices must be integers"));
        };
        let at = if index < 0 { index + length as i64 } else { index };
        let place = usize::try_from(at).ok().filter(|at| *at < length);
        place.ok_or_else(|| Raise::index_error(format!("index {index} is out of range")))
    }

    /// Returns the modules that a call goes through and that are no containers themselves; `None` where a container's call
    /// does more than that, or there are too many to look at them for each call.
    fn plain_parts(&self) -> Option<Vec<Value>> {
        let is_plain = |container: &Self| {
            matches!(container.kind, Kind::Sequential | Kind::Identity) && hooks::are_none(|name| container.own(name))
        };
        let (mut parts, mut seen, mut open) = (Vec::new(), 0, self.values());
        if !is_plain(self) {
            return None;
        }
        while let Some(part) = open.pop() {
            seen += 1;
            if seen > PARTS {
                return None;
            }
            match python::host::<Self>(&part) {
                Some(container) if is_plain(&container) => open.extend(container.values()),
                Some(_) => return None,
                None => parts.push(part),
            }
        }
        Some(parts)
    }

    fn forward(&self, machine: &Machine, args: Args) -> HostResult {
        match self.kind {
            Kind::Identity => {
                let [input] = args.bind("Identity.forward", ["input"], 1)?;
                Ok(input.unwrap_or(Value::None).into())
            }
            Kind::Sequential => {
                let [input] = args.bind("Sequential.forward", ["input"], 1)?;
                let (machine, modules) = (machine.clone(), self.values());
                Ok(Outcome::Later(Box::pin(async move {
                    let mut last = input.unwrap_or(Value::None);
                    for module in &modules {
                        last = machine.call(module, python::positional([last])).await?;
                    }
                    Ok(last)
                })))
            }
            Kind::List | Kind::Dict => Err(Raise::new(
                interpreter::Kind::NotImplementedError,
                format!("Module [{}] is missing the required \"forward\" function", self.name),
            )),
        }
    }
}

impl HostObject for Container {
    fn type_name(&self) -> Cow<'static, str> {
        self.name.into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, machine: &Machine, name: &str, usage: Use<'_>) -> Effect {
        if name != "__call__" || !matches!(usage, Use::Call { .. }) {
            return Effect::Anything;
        }
        let Some(parts) = self.plain_parts() else { return Effect::Anything };
        parts.iter().map(|part| Effect::of(machine, part, usage)).max().unwrap_or(Effect::Looks)
    }

    fn looked_at_by_calls(&self) -> Option<Vec<Value>> {
        let mut seen = Vec::new();
        for part in self.plain_parts()? {
            let Value::Host(part) = part else { return None };
            seen.extend(part.looked_at_by_calls()?);
        }
        Some(seen)
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        let member = self.items.borrow().iter().find(|(known, _)| **known == *name).map(|(_, value)| value.clone());
        if let Some(value) = member.or_else(|| self.own(name)) {
            return Ok(value.into());
        }
        let listed = match self.kind {
            Kind::List if self.name == "ParameterList" => matches!(name, "append" | "extend"),
            Kind::Sequential | Kind::List => matches!(name, "append" | "extend" | "insert" | "pop"),
            Kind::Dict if self.name == "ParameterDict" && name == "get" => true,
            Kind::Dict => matches!(name, "items" | "keys" | "values" | "update" | "pop" | "clear"),
            Kind::Identity => false,
        };
        if listed {
            return Ok(python::method(self, name).into());
        }
        match name {
            "forward" => Ok(Value::native("forward", move |machine, args| self.forward(machine, args)).into()),
            _ => base::method(machine, &Value::Host(self), name),
        }
    }

    fn set_attribute(self: Rc<Self>, _: &Machine, name: &str, value: Value) -> HostResult {
        let before = self.items.borrow().iter().find(|(known, _)| **known == *name).map(|(_, value)| value.clone());
        super::refuse_assignment(before.as_ref(), name, &value)?;
        let registered = super::is_module(&value) || Tensor::of(&value).is_some_and(|tensor| tensor.is_parameter());
        match registered || before.is_some() {
            true => self.set_member(name, value),
            false => self.set_own(name, value),
        }
        Ok(Value::None.into())
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        if self.own(name).is_some() {
            return Ok(Outcome::NotImplemented);
        }
        Ok(match (self.kind, name) {
            (Kind::Sequential | Kind::List, "append") => {
                let value = args.clone().one("append")?;
                self.put(machine, &self.len().to_string(), value)?;
                Value::Host(self).into()
            }
            (Kind::Sequential | Kind::List, "extend") => {
                let (machine, values) = (machine.clone(), args.clone().one("extend")?);
                Outcome::Later(Box::pin(async move {
                    self.extend(&machine, &values).await?;
                    Ok(Value::Host(self))
                }))
            }
            (Kind::Sequential | Kind::List, "insert") => {
                let [index, module] = args.clone().bind("insert", ["index", "module"], 2)?;
                let length = self.len();
                let index = index.as_ref().and_then(Value::as_int).unwrap_or(0);
                let at = if index < 0 { index + length as i64 } else { index };
                let at = usize::try_from(at).unwrap_or(0).min(length);
                self.put(machine, &length.to_string(), module.unwrap_or(Value::None))?;
                let mut values = self.values();
                if let Some(last) = values.pop() {
                    values.insert(at, last);
                }
                self.number(machine, values)?;
                Value::Host(self).into()
            }
            (Kind::Sequential | Kind::List, "pop") => {
                let place = self.place(&args.clone().one("pop")?)?;
                self.take(machine, place)?.into()
            }
            (Kind::Dict, "keys" | "values" | "items") => {
                args.clone().none(name)?;
                let dict = Value::dict(self.members());
                let (machine, name) = (machine.clone(), name.to_owned());
                Outcome::Later(Box::pin(async move {
                    let view = machine.get_attribute(&dict, &name).await?;
                    machine.call(&view, python::positional([])).await
                }))
            }
            (Kind::Dict, "update") => {
                let (machine, values) = (machine.clone(), args.clone().one("update")?);
                Outcome::Later(Box::pin(async move {
                    self.fill(&machine, &values).await?;
                    Ok(Value::None)
                }))
            }
            (Kind::Dict, "pop") => {
                let key = args.clone().one("pop")?;
                let place = self.named(&key).ok_or_else(|| Raise::key_error(key))?;
                self.take(machine, place)?.into()
            }
            (Kind::Dict, "get") => {
                let [key, default] = args.clone().bind("get", ["key", "default"], 1)?;
                let place = key.as_ref().and_then(|key| self.named(key));
                let found = place.and_then(|place| self.values().get(place).cloned());
                found.or(default).unwrap_or(Value::None).into()
            }
            (Kind::Dict, "clear") => {
                args.clone().none("clear")?;
                self.number(machine, Vec::new())?;
                Value::None.into()
            }
            _ => return Ok(Outcome::NotImplemented),
        })
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        let module = Value::Host(self.clone());
        hooks::call(machine, &module, args, Rc::new(move |machine, args| self.forward(machine, args)))
    }

    fn set_item(self: Rc<Self>, machine: &Machine, key: &Value, value: Value) -> HostResult {
        match key {
            Value::Str(name) => self.put(machine, name, value)?,
            key => {
                let place = self.place(key)?;
                let name = self.items.borrow().get(place).map(|(name, _)| name.clone());
                self.put(machine, &name.unwrap_or_default(), value)?;
            }
        }
        Ok(Value::None.into())
    }

    fn delete_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        match (self.kind, key) {
            (Kind::Dict, key) => {
                let place = self.named(key).ok_or_else(|| Raise::key_error(key.clone()))?;
                self.take(machine, place)?;
            }
            (_, Value::Slice(slice)) => {
                let values = self.values();
                let mut stays = vec![true; values.len()];
                for at in operators::span(machine, slice, values.len())?.positions() {
                    stays[at] = false;
                }
                let kept = values.into_iter().zip(stays).filter_map(|(value, stays)| stays.then_some(value));
                self.number(machine, kept.collect())?;
            }
            (_, key) => {
                let place = self.place(key)?;
                self.take(machine, place)?;
            }
        }
        Ok(Value::None.into())
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        match (self.kind, operator, other) {
            (Kind::Sequential, Operator::Add, other) if !reflected => {
                Ok(Value::host(self.holding(machine, [self.values(), sequential(other)?].concat())?).into())
            }
            (Kind::Sequential, Operator::Mul, Value::Int(times)) => {
                let times = usize::try_from(*times).ok().filter(|times| *times > 0).ok_or_else(|| {
                    let class = "<class 'torch.nn.modules.container.Sequential'>";
                    Raise::value_error(format!("Non-positive multiplication factor {times} for {class}"))
                })?;
                let (values, product) = (self.values(), Self::new(self.name, self.kind));
                product.afford(machine, values.len().saturating_mul(times))?;
                *product.items.borrow_mut() = numbered(std::iter::repeat_n(values, times).flatten());
                Ok(Value::host(product).into())
            }
            (Kind::List, Operator::Add, other) if !reflected && self.name == "ModuleList" => {
                let (machine, other) = (machine.clone(), other.clone());
                Ok(Outcome::Later(Box::pin(async move {
                    let sum = Rc::new(self.holding(&machine, self.values())?);
                    sum.extend(&machine, &other).await?;
                    Ok(Value::Host(sum))
                })))
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn in_place(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value) -> HostResult {
        match (self.kind, operator) {
            (Kind::Sequential, Operator::Add) => {
                let values = [self.values(), sequential(other)?].concat();
                self.number(machine, values)?;
                Ok(Value::Host(self).into())
            }
            (Kind::List, Operator::Add) => {
                let (machine, other) = (machine.clone(), other.clone());
                Ok(Outcome::Later(Box::pin(async move {
                    self.extend(&machine, &other).await?;
                    Ok(Value::Host(self))
                })))
            }
            (Kind::Dict, Operator::BitOr) => {
                let (machine, other) = (machine.clone(), other.clone());
                Ok(Outcome::Later(Box::pin(async move {
                    self.fill(&machine, &other).await?;
                    Ok(Value::Host(self))
                })))
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        match key {
            Value::Str(name) => {
                let items = self.items.borrow();
                let found = items.iter().find(|(known, _)| **known == **name).map(|(_, value)| value.clone());
                Ok(found.ok_or_else(|| Raise::key_error(key.clone()))?.into())
            }
            Value::Slice(slice) => {
                let span = operators::span(machine, slice, self.len())?;
                let items = self.items.borrow();
                let part: Vec<_> = span.positions().filter_map(|at| items.get(at)).cloned().collect();
                if self.kind != Kind::Sequential {
                    let values = part.into_iter().map(|(_, value)| value).collect();
                    return Ok(Value::host(self.holding(machine, values)?).into());
                }
                // Names stay, as in PyTorch.
                let made = Self::new(self.name, self.kind);
                made.letters.set(part.iter().map(|(name, _)| name.len()).sum());
                made.afford(machine, part.len())?;
                *made.items.borrow_mut() = part;
                Ok(Value::host(made).into())
            }
            key => {
                let place = self.place(key)?;
                let items = self.items.borrow();
                Ok(items.get(place).map_or(Value::None, |(_, value)| value.clone()).into())
            }
        }
    }

    fn contains(self: Rc<Self>, _: &Machine, element: &Value) -> HostResult {
        let found = self.items.borrow().iter().any(|(name, value)| element.as_str() == Some(name) || value.is(element));
        Ok(Value::Bool(found).into())
    }

    fn length(&self, _: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(self.len()))
    }

    fn truth(&self, _: &Machine) -> Result<Option<bool>, Raise> {
        Ok(Some(!matches!(self.kind, Kind::List | Kind::Dict | Kind::Sequential) || !self.items.borrow().is_empty()))
    }

    fn iterate(self: Rc<Self>, _: &Machine) -> Result<Option<Box<dyn Iteration>>, Raise> {
        let items = match self.kind {
            Kind::Dict => self.members().into_iter().map(|(name, _)| name.into()).collect(),
            _ => self.values(),
        };
        Ok(Some(Box::new(python::Items::new(items))))
    }

    fn repr(&self, machine: &Machine) -> Result<Option<String>, Raise> {
        let members = self.members();
        let extra = match self.name.starts_with("Parameter") {
            true => described_parameters(self.kind, &members),
            false => String::new(),
        };
        super::described(machine, self.name, &extra, members, self.name == "ModuleList").map(Some)
    }

    fn class(&self) -> Option<Value> {
        class_named(&format!("torch.nn.{}", self.name))
    }

    fn is_instance(&self, class: &str) -> bool {
        class == "torch.nn.Module" || class.strip_prefix("torch.nn.") == Some(self.name)
    }
}

/// Returns the modules of what is added to a `Sequential`.
fn sequential(other: &Value) -> Result<Vec<Value>, Raise> {
    match python::host::<Container>(other).filter(|other| other.kind == Kind::Sequential) {
        Some(other) => Ok(other.values()),
        None => {
            let found = python::type_name(other);
            Err(Raise::value_error(format!(
                "add operator supports only objects of Sequential class, but <class '{found}'> is given."
            )))
        }
    }
}

/// Lists parameters as PyTorch does: by type and size.
fn described_parameters(kind: Kind, members: &[(String, Value)]) -> String {
    let lines = members.iter().map(|(key, value)| {
        let Some(tensor) = Tensor::of(value) else {
            return format!("  ({key}): Object of type: {}", python::type_name(value));
        };
        // A list names the type of the elements, a dict that of the object.
        let of = match kind {
            Kind::List => format!("torch.{}", tensor.dtype().name()),
            _ if tensor.is_parameter() => crate::tensor::legacy_name(&tensor).to_owned(),
            _ => super::type_name(value),
        };
        let sizes: Vec<String> = tensor.sizes().iter().map(ToString::to_string).collect();
        let what = if tensor.is_parameter() { "Parameter" } else { "Tensor" };
        format!("  ({key}): {what} containing: [{of} of size {}]", sizes.join("x"))
    });
    lines.collect::<Vec<_>>().join("\n")
}
