//! `dict_keys`, `dict_values` and `dict_items`.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use crate::evaluation::{mapping, operators, set};
use crate::values::effect::{Effect, Use};
use crate::values::host::{HostObject, HostResult, Iteration, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::dict::{Dict, DictIteration, Part};
use crate::values::types::{Items, trash};
use crate::values::value::Value;

/// A live view of a dict.
pub struct View {
    dict: Rc<Dict>,
    part: Part,
}

impl View {
    fn name(&self) -> &'static str {
        self.part.name(&self.dict)
    }

    /// Looks at a dict.
    pub fn new(dict: Rc<Dict>, part: Part) -> Self {
        Self { dict, part }
    }

    /// Returns how many elements there are.
    pub fn len(&self) -> usize {
        self.dict.len()
    }

    /// Says whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.dict.is_empty()
    }

    /// Returns the elements.
    pub fn items(&self) -> Items {
        match self.part {
            Part::Key => self.dict.keys(),
            Part::Value => self.dict.values(),
            Part::Item => self.dict.entries().into_iter().map(|(key, value)| Value::tuple(vec![key, value])).collect(),
        }
    }
}

impl HostObject for View {
    fn type_name(&self) -> Cow<'static, str> {
        self.name().into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _: &Machine, name: &str, _: Use<'_>) -> Effect {
        if name == "isdisjoint" { Effect::Looks } else { Effect::Anything }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(vec![Value::Dict(Rc::clone(&self.dict))])
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        if name == "isdisjoint" && self.part != Part::Value {
            return Ok(Value::native("isdisjoint", move |machine, args| {
                let other = args.one("isdisjoint")?;
                set::operate(machine, "isdisjoint", Value::list(self.items().into_vec()), vec![other])
            })
            .into());
        }
        let _ = machine;
        Ok(Outcome::NotImplemented)
    }

    fn length(&self, _: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(self.dict.len()))
    }

    fn iterate(self: Rc<Self>, _: &Machine) -> Result<Option<Box<dyn Iteration>>, Raise> {
        Ok(Some(Box::new(DictIteration::new(Rc::clone(&self.dict), self.part))))
    }

    fn contains(self: Rc<Self>, machine: &Machine, element: &Value) -> HostResult {
        match self.part {
            Part::Key => mapping::contains(machine, Rc::clone(&self.dict), element.clone()),
            Part::Value => Ok(Outcome::NotImplemented),
            Part::Item => {
                let Value::Tuple(pair) = element else { return Ok(Value::Bool(false).into()) };
                let [key, value] = &pair[..] else { return Ok(Value::Bool(false).into()) };
                let value = value.clone();
                mapping::with_key(machine, Rc::clone(&self.dict), key.clone(), move |machine, dict, key, _| match dict
                    .get(&key)
                {
                    Some(found) => operators::binary(machine, Operator::Equal, &found, &value),
                    None => Ok(Value::Bool(false).into()),
                })
            }
        }
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        if self.part == Part::Value {
            return Ok(Outcome::NotImplemented);
        }
        let own = Value::list(self.items().into_vec());
        let (left, right) = if reflected { (other.clone(), own) } else { (own, other.clone()) };
        let method = match operator {
            Operator::BitAnd => "intersection",
            Operator::BitOr => "union",
            Operator::Sub => "difference",
            Operator::BitXor => "symmetric_difference",
            Operator::Equal
            | Operator::NotEqual
            | Operator::Less
            | Operator::LessEqual
            | Operator::Greater
            | Operator::GreaterEqual => {
                let alike = match other {
                    Value::Set(_) => true,
                    Value::Host(other) => other.as_any().is::<Self>(),
                    _ => false,
                };
                if !alike {
                    return Ok(Outcome::NotImplemented);
                }
                return set::compare_items(machine, operator, left, right);
            }
            _ => return Ok(Outcome::NotImplemented),
        };
        set::operate(machine, method, left, vec![right])
    }

    fn hash(&self, _: &Machine) -> Result<Option<i64>, Raise> {
        match self.part {
            Part::Value => Ok(None),
            _ => Err(Raise::type_error(format!("unhashable type: '{}'", self.name()))),
        }
    }

    fn repr(&self, machine: &Machine) -> Result<Option<String>, Raise> {
        let _ = machine;
        Ok(None)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        trash::bury([Value::Dict(Rc::clone(&self.dict))]);
    }
}
