//! Modules that hold modules: `Sequential`, `ModuleList`, `ModuleDict`, `ParameterList`, `ParameterDict`, and the
//! layers without weights or table entry: `Identity`, `Flatten`.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, HostObject, HostResult, Iteration, Machine, Outcome, Value};

use super::base;
use crate::binding;
use crate::modules::Construct;
use crate::python;

/// Which container.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sequential,
    List,
    Dict,
    Identity,
    Flatten,
}

const NAMES: [(&str, Kind); 7] = [
    ("Sequential", Kind::Sequential),
    ("ModuleList", Kind::List),
    ("ParameterList", Kind::List),
    ("ModuleDict", Kind::Dict),
    ("ParameterDict", Kind::Dict),
    ("Identity", Kind::Identity),
    ("Flatten", Kind::Flatten),
];

/// A module of modules, by name and in order.
pub struct Container {
    name: &'static str,
    kind: Kind,
    items: RefCell<Vec<(Box<str>, Value)>>,
}

/// Finds a container's constructor.
pub fn constructor(name: &str) -> Option<Construct> {
    let (name, kind) = *NAMES.iter().find(|(known, _)| *known == name)?;
    Some(Rc::new(move |machine, args| {
        let items = match (kind, args.positional.as_slice()) {
            (Kind::Identity | Kind::Flatten, _) => {
                args.keyword.iter().map(|(name, value)| ((&**name).into(), value.clone())).collect()
            }
            (_, [Value::Dict(dict)]) => {
                dict.entries().into_iter().filter_map(|(name, value)| Some((name.as_str()?.into(), value))).collect()
            }
            (Kind::List, [list]) => numbered(python::elements(machine, list)?.unwrap_or_default()),
            _ => numbered(args.positional.clone()),
        };
        Ok(Value::host(Container { name, kind, items: RefCell::new(items) }).into())
    }))
}

fn numbered(values: Vec<Value>) -> Vec<(Box<str>, Value)> {
    values.into_iter().enumerate().map(|(at, value)| (at.to_string().into(), value)).collect()
}

/// Rebuilds a container from its attributes.
pub fn of_state(_: &Machine, name: &str, state: &[(Box<str>, Value)]) -> Option<Result<Value, Raise>> {
    let (name, kind) = *NAMES.iter().find(|(known, _)| *known == name)?;
    let keep =
        |value: &Value| kind == Kind::Flatten || super::is_module(value) || crate::tensor::Tensor::of(value).is_some();
    let items = state.iter().filter(|(_, value)| keep(value)).cloned().collect();
    Some(Ok(Value::host(Container { name, kind, items: RefCell::new(items) })))
}

impl Container {
    /// Returns what is inside.
    pub fn members(&self) -> Vec<(String, Value)> {
        self.items.borrow().iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    fn values(&self) -> Vec<Value> {
        self.items.borrow().iter().map(|(_, value)| value.clone()).collect()
    }

    fn forward(&self, machine: &Machine, args: Args) -> HostResult {
        match self.kind {
            Kind::Identity => Ok(args.positional.into_iter().next().unwrap_or(Value::None).into()),
            Kind::Flatten => {
                let own = |name: &str, default: i64| {
                    let items = self.items.borrow();
                    items
                        .iter()
                        .find(|(known, _)| **known == *name)
                        .map_or(Value::Int(default), |(_, value)| value.clone())
                };
                let mut all = args.positional;
                all.extend([own("start_dim", 1), own("end_dim", -1)]);
                binding::call(machine, "flatten", None, &python::positional(all)).map(Outcome::Ready)
            }
            Kind::Sequential => {
                let (machine, modules) = (machine.clone(), self.values());
                Ok(Outcome::Later(Box::pin(async move {
                    let mut args = args;
                    let mut last = args.positional.first().cloned().unwrap_or(Value::None);
                    for module in &modules {
                        last = machine.call(module, args).await?;
                        args = python::positional([last.clone()]);
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

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        let found = self.items.borrow().iter().find(|(known, _)| **known == *name).map(|(_, value)| value.clone());
        if let Some(value) = found {
            return Ok(value.into());
        }
        Ok(match name {
            "forward" => Value::native("forward", move |machine, args| self.forward(machine, args)).into(),
            "training" => Value::Bool(true).into(),
            "append" | "items" | "keys" | "values" => python::method(self, name).into(),
            _ => base::method(machine, &Value::Host(self), name).map_or(Outcome::NotImplemented, Outcome::Ready),
        })
    }

    fn call_method(self: Rc<Self>, _: &Machine, name: &str, args: &Args) -> HostResult {
        Ok(match name {
            "append" => {
                let value = args.clone().one("append")?;
                let name = self.items.borrow().len().to_string();
                self.items.borrow_mut().push((name.into(), value));
                Value::Host(self)
            }
            "keys" => Value::list(self.members().into_iter().map(|(name, _)| name.into()).collect()),
            "values" => Value::list(self.values()),
            "items" => Value::list(
                self.members().into_iter().map(|(name, value)| Value::tuple(vec![name.into(), value])).collect(),
            ),
            _ => return Ok(Outcome::NotImplemented),
        }
        .into())
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        self.forward(machine, args)
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        let items = self.items.borrow().clone();
        match key {
            Value::Str(name) => match items.into_iter().find(|(known, _)| **known == **name) {
                Some((_, value)) => Ok(value.into()),
                None => Err(Raise::key_error(key.clone())),
            },
            Value::Slice(slice) => {
                let span = slice.span(machine, items.len())?;
                let part: Vec<Value> =
                    span.positions().filter_map(|at| items.get(at)).map(|(_, value)| value.clone()).collect();
                let part = Self { name: self.name, kind: self.kind, items: RefCell::new(numbered(part)) };
                Ok(Value::host(part).into())
            }
            key => {
                let Some(index) = key.as_int() else {
                    return Err(Raise::type_error("module indices must be integers"));
                };
                let at = if index < 0 { index + items.len() as i64 } else { index };
                match usize::try_from(at).ok().and_then(|at| items.get(at)) {
                    Some((_, value)) => Ok(value.clone().into()),
                    None => Err(Raise::index_error(format!("index {index} is out of range"))),
                }
            }
        }
    }

    fn contains(self: Rc<Self>, _: &Machine, element: &Value) -> HostResult {
        let found = self.items.borrow().iter().any(|(name, value)| element.as_str() == Some(name) || value.is(element));
        Ok(Value::Bool(found).into())
    }

    fn length(&self, _: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(self.items.borrow().len()))
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

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("{}({} modules)", self.name, self.items.borrow().len())))
    }

    fn is_instance(&self, class: &str) -> bool {
        class == "torch.nn.Module" || class.strip_prefix("torch.nn.") == Some(self.name)
    }
}
