//! `torch.Size`.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, Effect, HostObject, HostResult, Iteration, Machine, Operator, Outcome, Use, Value, operators};

use crate::modules::class_named;
use crate::python::{self, Items};

/// A `torch.Size`: a tuple of ints that prints as one.
pub struct Size(Box<[i64]>);

impl Size {
    pub fn new(sizes: impl Into<Box<[i64]>>) -> Self {
        Self(sizes.into())
    }

    pub fn sizes(&self) -> &[i64] {
        &self.0
    }

    /// Returns the text that Python prints.
    pub fn text(&self) -> String {
        let sizes: Vec<String> = self.0.iter().map(i64::to_string).collect();
        format!("torch.Size([{}])", sizes.join(", "))
    }

    /// Shows sizes to Python.
    pub fn value(sizes: &[i64]) -> Value {
        Value::host(Self::new(sizes))
    }

    /// Calls `torch.Size(sequence)`.
    ///
    /// # Errors
    /// `TypeError` for elements that are no ints.
    pub fn construct(machine: &Machine, args: Args) -> Result<Self, Raise> {
        let mut args = args.between("torch.Size", 0, 1)?;
        let items = match args.pop() {
            None => Vec::new(),
            Some(value) => python::elements(machine, &value)?
                .ok_or_else(|| Raise::type_error(format!("'{}' object is not iterable", python::type_name(&value))))?,
        };
        let sizes = items.iter().enumerate().map(|(at, item)| {
            item.as_int().ok_or_else(|| {
                let name = python::type_name(item);
                Raise::type_error(format!("torch.Size() takes an iterable of 'int' (item {at} is '{name}')"))
            })
        });
        Ok(Self(sizes.collect::<Result<_, _>>()?))
    }

    fn tuple(&self) -> Value {
        Value::tuple(self.0.iter().map(|&size| Value::Int(size)).collect())
    }
}

impl HostObject for Size {
    fn type_name(&self) -> Cow<'static, str> {
        "torch.Size".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _: &Machine, name: &str, usage: Use<'_>) -> Effect {
        match (name, usage) {
            (_, Use::Store) => Effect::Anything,
            ("numel" | "count" | "index", _) => Effect::Looks,
            _ => Effect::Anything,
        }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        Ok(match name {
            "numel" | "count" | "index" => python::method(self, name).into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        match name {
            "numel" => {
                args.none("numel")?;
                // As PyTorch's own, which wraps around.
                Ok(Value::Int(self.0.iter().fold(1, |product, &size| product.wrapping_mul(size))).into())
            }
            "count" | "index" => {
                let called = machine.get_attribute(&self.tuple(), name);
                let (machine, args) = (machine.clone(), args.clone());
                Ok(Outcome::Later(Box::pin(async move { machine.call(&called.await?, args).await })))
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        if let Value::Slice(slice) = key {
            let span = operators::span(machine, slice, self.0.len())?;
            let part: Vec<i64> = span.positions().filter_map(|at| self.0.get(at).copied()).collect();
            return Ok(Self::value(&part).into());
        }
        let Some(index) = key.as_int() else {
            let name = python::type_name(key);
            return Err(Raise::type_error(format!("tuple indices must be integers or slices, not {name}")));
        };
        let at = if index < 0 { index + self.0.len() as i64 } else { index };
        match usize::try_from(at).ok().and_then(|at| self.0.get(at)) {
            Some(&size) => Ok(Value::Int(size).into()),
            None => Err(Raise::index_error("tuple index out of range")),
        }
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        let own = self.tuple();
        if let (Operator::Mul, Some(times)) = (operator, other.as_int()) {
            let times = usize::try_from(times).unwrap_or(0);
            machine.charge_memory((self.0.len() as u64).saturating_mul(times as u64).saturating_mul(8))?;
            return Ok(Self::value(&self.0.repeat(times)).into());
        }
        let other = match other {
            Value::Tuple(_) => other.clone(),
            other => match python::host::<Self>(other) {
                Some(size) => size.tuple(),
                None => return Ok(Outcome::NotImplemented),
            },
        };
        let (left, right) = if reflected { (other, own) } else { (own, other) };
        if operator == Operator::Add {
            let mut items = python::sequence(&left).unwrap_or_default();
            items.extend(python::sequence(&right).unwrap_or_default());
            // A sum is a Size where its parts are ints, else a plain tuple.
            let ints: Option<Vec<i64>> = items.iter().map(python::int).collect();
            return Ok(ints.map_or_else(|| Value::tuple(items), |ints| Self::value(&ints)).into());
        }
        interpreter::operators::binary(machine, operator, &left, &right)
    }

    fn contains(self: Rc<Self>, _: &Machine, element: &Value) -> HostResult {
        let found = python::float(element).is_some_and(|number| self.0.iter().any(|&size| size as f64 == number));
        Ok(Value::Bool(found).into())
    }

    fn length(&self, _: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(self.0.len()))
    }

    fn iterate(self: Rc<Self>, _: &Machine) -> Result<Option<Box<dyn Iteration>>, Raise> {
        Ok(Some(Box::new(Items::new(self.0.iter().map(|&size| Value::Int(size)).collect()))))
    }

    fn number(&self) -> Option<Value> {
        Some(self.tuple())
    }

    fn is_callable(&self) -> bool {
        false
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(self.text()))
    }

    fn class(&self) -> Option<Value> {
        class_named("torch.Size")
    }

    fn is_instance(&self, class: &str) -> bool {
        matches!(class, "torch.Size" | "tuple")
    }
}
