//! `mappingproxy`: the `__dict__` of a class, as it is, and only for reading.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use crate::evaluation::{format, operators};
use crate::values::class::Class;
use crate::values::host::{Args, HostObject, HostResult, Iteration, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{Native, Type, trash};
use crate::values::value::Value;

/// Shows a class's attributes.
pub struct Proxy(Rc<Class>);

/// The dict's methods that it has.
const METHODS: [&str; 5] = ["copy", "get", "items", "keys", "values"];

impl Proxy {
    /// Shows the attributes of this very class.
    pub fn of(class: &Rc<Class>) -> Value {
        Value::host(Self(Rc::clone(class)))
    }

    /// Returns the attributes as they are now.
    fn dict(&self) -> Value {
        Value::dict(self.0.attributes())
    }
}

impl HostObject for Proxy {
    fn type_name(&self) -> Cow<'static, str> {
        "mappingproxy".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        let Some(name) = METHODS.into_iter().find(|known| *known == name) else { return Ok(Outcome::NotImplemented) };
        let method = move |machine: &Machine, args: Args| Rc::clone(&self).call_method(machine, name, &args);
        Ok(Value::Native(Rc::new(Native::function(name, method))).into())
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        match machine.language().method(Type::Dict, name).filter(|_| METHODS.contains(&name)) {
            Some(method) => {
                machine.charge_fuel(self.0.attributes().len() as u64)?;
                method(machine, &self.dict(), args.clone())
            }
            None => Ok(Outcome::NotImplemented),
        }
    }

    fn get_item(self: Rc<Self>, _: &Machine, key: &Value) -> HostResult {
        match key.as_str().and_then(|name| self.0.own(name)) {
            Some(value) => Ok(value.into()),
            None => Err(Raise::key_error(key.clone())),
        }
    }

    fn contains(self: Rc<Self>, _: &Machine, element: &Value) -> HostResult {
        Ok(Value::Bool(element.as_str().is_some_and(|name| self.0.own(name).is_some())).into())
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        if !matches!(operator, Operator::Equal | Operator::NotEqual | Operator::BitOr) {
            return Ok(Outcome::NotImplemented);
        }
        let other = match other {
            Value::Host(host) => match host.as_any().downcast_ref::<Self>() {
                Some(other) => other.dict(),
                None => return Ok(Outcome::NotImplemented),
            },
            other => other.clone(),
        };
        let (left, right) = if reflected { (other, self.dict()) } else { (self.dict(), other) };
        operators::binary(machine, operator, &left, &right)
    }

    fn length(&self, _: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(self.0.attributes().len()))
    }

    fn iterate(self: Rc<Self>, _: &Machine) -> Result<Option<Box<dyn Iteration>>, Raise> {
        let names: Vec<Value> = self.0.attributes().into_iter().map(|(name, _)| Value::Str(name)).collect();
        Ok(Some(Box::new(Names(names.into_iter()))))
    }

    fn hash(&self, _: &Machine) -> Result<Option<i64>, Raise> {
        Err(Raise::type_error("unhashable type: 'mappingproxy'"))
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        let names = self.0.attributes();
        let pairs: Vec<String> = names
            .iter()
            .map(|(name, value)| {
                let value = format::repr_now(value).unwrap_or_else(|| "...".into());
                format!("{}: {value}", format::repr_now(&Value::Str(Rc::clone(name))).unwrap_or_default())
            })
            .collect();
        Ok(Some(format!("mappingproxy({{{}}})", pairs.join(", "))))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        trash::bury([Value::Class(Rc::clone(&self.0))]);
    }
}

/// Goes through the names as they were at the start.
struct Names(std::vec::IntoIter<Value>);

impl Iteration for Names {
    fn next(&mut self, machine: &Machine) -> Result<Option<Outcome>, Raise> {
        machine.charge_fuel(1)?;
        Ok(self.0.next().map(Into::into))
    }
}
