//! Results with named fields: `torch.return_types.topk`.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Effect, HostObject, HostResult, Iteration, Machine, Operator, Outcome, Use, Value};

use crate::modules::class_named;
use crate::python::Items;

/// A tuple whose elements have names.
pub struct NamedTuple {
    name: Box<str>,
    fields: Vec<Box<str>>,
    items: Vec<Value>,
}

impl NamedTuple {
    /// Makes the result of an operator.
    pub fn new(name: &str, fields: &[Box<str>], items: Vec<Value>) -> Self {
        Self { name: name.into(), fields: fields.to_vec(), items }
    }

    /// Returns the name in `torch.return_types`.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn items(&self) -> &[Value] {
        &self.items
    }

    /// Returns the same with some elements replaced.
    pub fn with(&self, replace: impl Fn(&str, &Value) -> Result<Option<Value>, Raise>) -> Result<Self, Raise> {
        let items = self.fields.iter().zip(&self.items);
        let items = items.map(|(field, item)| Ok(replace(field, item)?.unwrap_or_else(|| item.clone())));
        Ok(Self { name: self.name.clone(), fields: self.fields.clone(), items: items.collect::<Result<_, Raise>>()? })
    }

    fn tuple(&self) -> Value {
        Value::tuple(self.items.clone())
    }
}

/// Returns the text of an element, which may itself be a tuple of tensors.
fn written(machine: &Machine, item: &Value) -> Result<String, Raise> {
    let text = match item {
        Value::Host(object) => object.repr(machine)?,
        Value::Tuple(items) => {
            let texts = items.iter().map(|item| written(machine, item)).collect::<Result<Vec<_>, _>>()?;
            let comma = if texts.len() == 1 { "," } else { "" };
            Some(format!("({}{comma})", texts.join(", ")))
        }
        item => interpreter::format::repr_now(item),
    };
    Ok(text.unwrap_or_default())
}

impl HostObject for NamedTuple {
    fn type_name(&self) -> Cow<'static, str> {
        format!("torch.return_types.{}", self.name).into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _: &Machine, name: &str, usage: Use<'_>) -> Effect {
        match usage {
            Use::Read if self.fields.iter().any(|field| **field == *name) => Effect::Looks,
            _ => Effect::Anything,
        }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(self.items.clone())
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        let at = self.fields.iter().position(|field| **field == *name);
        Ok(at.and_then(|at| self.items.get(at)).map_or(Outcome::NotImplemented, |item| item.clone().into()))
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        interpreter::operators::get_item(machine, &self.tuple(), key)
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        let (own, other) = (
            self.tuple(),
            match crate::python::host::<Self>(other) {
                Some(named) => named.tuple(),
                None => other.clone(),
            },
        );
        let (left, right) = if reflected { (other, own) } else { (own, other) };
        interpreter::operators::binary(machine, operator, &left, &right)
    }

    fn length(&self, _: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(self.items.len()))
    }

    fn iterate(self: Rc<Self>, _: &Machine) -> Result<Option<Box<dyn Iteration>>, Raise> {
        Ok(Some(Box::new(Items::new(self.items.clone()))))
    }

    fn repr(&self, machine: &Machine) -> Result<Option<String>, Raise> {
        let mut lines = Vec::with_capacity(self.items.len());
        for (field, item) in self.fields.iter().zip(&self.items) {
            lines.push(format!("{field}={}", written(machine, item)?));
        }
        Ok(Some(format!("torch.return_types.{}(\n{})", self.name, lines.join(",\n"))))
    }

    fn class(&self) -> Option<Value> {
        class_named(&format!("torch.return_types.{}", self.name))
    }

    fn is_instance(&self, class: &str) -> bool {
        class == "tuple" || class.strip_prefix("torch.return_types.").is_some_and(|name| name == &*self.name)
    }
}
