//! `collections.deque`.

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use crate::evaluation::operators::{self, with_items};
use crate::evaluation::{elements, format};
use crate::library::modules::typing;
use crate::values::effect::{Effect, Use};
use crate::values::host::{Args, HostObject, HostResult, Iteration, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::types::{Items, MethodFn, Native, sequence, trash, type_name};
use crate::values::value::Value;

/// The type object.
pub struct DequeType;

impl HostObject for DequeType {
    fn type_name(&self) -> Cow<'static, str> {
        "type".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _: &Machine, name: &str, _: Use<'_>) -> Effect {
        if name == "__call__" { Effect::Looks } else { Effect::Anything }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        match name {
            "__name__" | "__qualname__" => Ok(Value::from("deque").into()),
            "__module__" => Ok(Value::from("collections").into()),
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn get_item(self: Rc<Self>, _: &Machine, key: &Value) -> HostResult {
        Ok(typing::alias(&Value::Host(self), key).into())
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        let [iterable, limit] = args.bind("deque", ["iterable", "maxlen"], 0)?;
        let limit = match limit {
            None | Some(Value::None) => None,
            Some(limit) => match usize::try_from(operators::index_fitting(machine, &limit)?) {
                Ok(limit) => Some(limit),
                Err(_) => return Err(Raise::value_error("maxlen must be non-negative")),
            },
        };
        let deque = Rc::new(Deque::new(Value::Host(self), limit));
        deque.charge.cover(machine, sequence::bytes(8))?;
        match iterable {
            None => Ok(Value::Host(deque).into()),
            Some(iterable) => with_items(machine, iterable, move |machine, items| {
                for item in items {
                    deque.push(machine, item, End::Right)?;
                }
                Ok(Value::Host(deque).into())
            }),
        }
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some("<class 'collections.deque'>".to_owned()))
    }

    fn instead_of_deriving(&self) -> Option<&'static str> {
        Some("keep one in an attribute")
    }

    fn class_name(&self) -> Option<Cow<'static, str>> {
        Some("collections.deque".into())
    }
}

/// A queue with two ends.
struct Deque {
    class: Value,
    items: RefCell<VecDeque<Value>>,
    limit: Option<usize>,
    /// Counts changes of length, which iterations look at.
    changes: Cell<u64>,
    charge: Charge,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Left,
    Right,
}

impl Deque {
    fn new(class: Value, limit: Option<usize>) -> Self {
        let (items, changes, charge) = (RefCell::default(), Cell::new(0), Charge::default());
        Self { class, items, limit, changes, charge }
    }

    fn to_vec(&self) -> Items {
        self.items.borrow().iter().cloned().collect()
    }

    fn len(&self) -> usize {
        self.items.borrow().len()
    }

    fn changed(&self) {
        self.changes.set(self.changes.get() + 1);
    }

    /// Appends; a full deque loses what is at the other end.
    fn push(&self, machine: &Machine, value: Value, end: End) -> Result<(), Raise> {
        self.changed();
        if self.limit == Some(0) {
            return Ok(());
        }
        let lost = match self.limit {
            Some(limit) if self.len() >= limit => self.take(if end == End::Left { End::Right } else { End::Left }),
            _ => None,
        };
        drop(lost);
        self.charge.cover(machine, sequence::bytes(self.len() + 1))?;
        let mut items = self.items.borrow_mut();
        match end {
            End::Left => items.push_front(value),
            End::Right => items.push_back(value),
        }
        Ok(())
    }

    fn take(&self, end: End) -> Option<Value> {
        self.changed();
        let mut items = self.items.borrow_mut();
        match end {
            End::Left => items.pop_front(),
            End::Right => items.pop_back(),
        }
    }

    /// Replaces all elements.
    fn replace(&self, machine: &Machine, items: Vec<Value>) -> Result<(), Raise> {
        self.changed();
        self.charge.cover(machine, sequence::bytes(items.len()))?;
        let old = self.items.replace(items.into());
        drop(old);
        Ok(())
    }

    /// Makes another with the same limit.
    fn like(&self, machine: &Machine, items: Vec<Value>) -> HostResult {
        let other = Self::new(self.class.clone(), self.limit);
        for item in items {
            other.push(machine, item, End::Right)?;
        }
        Ok(Value::host(other).into())
    }

    fn position(&self, machine: &Machine, key: &Value) -> Result<usize, Raise> {
        if matches!(key, Value::Slice(_) | Value::Str(_) | Value::None | Value::Float(_)) {
            let name = type_name(key);
            return Err(Raise::type_error(format!("sequence index must be integer, not '{name}'")));
        }
        sequence::position(operators::index_fitting(machine, key)?, self.len())
            .ok_or_else(|| Raise::index_error("deque index out of range"))
    }
}

impl Drop for Deque {
    fn drop(&mut self) {
        trash::bury(std::mem::take(self.items.get_mut()));
    }
}

const METHODS: &[(&str, MethodFn)] = &[
    ("append", |machine, receiver, args| {
        of(receiver)?.push(machine, args.one("deque.append")?, End::Right)?;
        Ok(Value::None.into())
    }),
    ("appendleft", |machine, receiver, args| {
        of(receiver)?.push(machine, args.one("deque.appendleft")?, End::Left)?;
        Ok(Value::None.into())
    }),
    ("clear", |machine, receiver, args| {
        args.none("deque.clear")?;
        of(receiver)?.replace(machine, Vec::new())?;
        Ok(Value::None.into())
    }),
    ("copy", |machine, receiver, args| {
        args.none("deque.copy")?;
        let deque = of(receiver)?;
        deque.like(machine, deque.to_vec().into_vec())
    }),
    ("count", |machine, receiver, args| elements::count(machine, of(receiver)?.to_vec(), args.one("deque.count")?)),
    ("extend", |machine, receiver, args| extend(machine, receiver, args.one("deque.extend")?, End::Right)),
    ("extendleft", |machine, receiver, args| extend(machine, receiver, args.one("deque.extendleft")?, End::Left)),
    ("index", |machine, receiver, args| {
        let args = args.between("index", 1, 3)?;
        elements::index(machine, of(receiver)?.to_vec(), args, |machine, value| {
            let text = format::repr_shown(machine, value)?.unwrap_or_else(|| "x".to_owned());
            Ok(format!("{text} is not in deque"))
        })
    }),
    ("insert", |machine, receiver, args| {
        let mut args = args.between("insert", 2, 2)?;
        let deque = of(receiver)?;
        if deque.limit == Some(deque.len()) {
            return Err(Raise::index_error("deque already at its maximum size"));
        }
        let value = args.pop().unwrap_or(Value::None);
        let mut items = deque.to_vec();
        machine.charge_fuel(items.len() as u64 / 16)?;
        let position = sequence::clamp(operators::index_clamped(machine, &args[0])?, items.len());
        items.insert(position, value);
        deque.replace(machine, items.into_vec())?;
        Ok(Value::None.into())
    }),
    ("pop", |_, receiver, args| {
        args.none("deque.pop")?;
        Ok(of(receiver)?.take(End::Right).ok_or_else(|| Raise::index_error("pop from an empty deque"))?.into())
    }),
    ("popleft", |_, receiver, args| {
        args.none("deque.popleft")?;
        Ok(of(receiver)?.take(End::Left).ok_or_else(|| Raise::index_error("pop from an empty deque"))?.into())
    }),
    ("remove", |machine, receiver, args| {
        let (value, owner) = (args.one("deque.remove")?, receiver.clone());
        let text = format::repr_shown(machine, &value)?.unwrap_or_else(|| "x".to_owned());
        let found = elements::position_of(machine, of(receiver)?.to_vec(), value);
        operators::then(machine, found, move |_, found| {
            let deque = of(&owner)?;
            match found.as_int().and_then(|found| deque.items.borrow_mut().remove(usize::try_from(found).ok()?)) {
                Some(_) => deque.changed(),
                None => return Err(Raise::value_error(format!("{text} is not in deque"))),
            }
            Ok(Value::None.into())
        })
    }),
    ("reverse", |machine, receiver, args| {
        args.none("deque.reverse")?;
        let deque = of(receiver)?;
        machine.charge_fuel(deque.len() as u64 / 16)?;
        deque.items.borrow_mut().make_contiguous().reverse();
        Ok(Value::None.into())
    }),
    ("rotate", |machine, receiver, args| {
        let args = args.between("rotate", 0, 1)?;
        let by = args.first().map_or(Ok(1), |by| operators::index_clamped(machine, by))?;
        let deque = of(receiver)?;
        let length = deque.len() as i64;
        if length > 0 {
            machine.charge_fuel(deque.len() as u64 / 16)?;
            deque.changed();
            deque.items.borrow_mut().rotate_right(by.rem_euclid(length) as usize);
        }
        Ok(Value::None.into())
    }),
];

fn extend(machine: &Machine, receiver: &Value, iterable: Value, end: End) -> HostResult {
    let owner = receiver.clone();
    with_items(machine, iterable, move |machine, items| {
        let deque = of(&owner)?;
        for item in items {
            machine.charge_fuel(1)?;
            deque.push(machine, item, end)?;
        }
        Ok(Value::None.into())
    })
}

fn of(receiver: &Value) -> Result<&Deque, Raise> {
    let deque = match receiver {
        Value::Host(object) => object.as_any().downcast_ref(),
        _ => None,
    };
    deque.ok_or_else(|| Raise::type_error("descriptor requires a 'collections.deque' object"))
}

impl HostObject for Deque {
    fn type_name(&self) -> Cow<'static, str> {
        "collections.deque".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _: &Machine, name: &str, _: Use<'_>) -> Effect {
        match name {
            "copy" | "count" | "index" | "maxlen" => Effect::Looks,
            "append" | "appendleft" | "extend" | "extendleft" | "insert" | "__setitem__" => Effect::Changes,
            _ => Effect::Anything,
        }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(self.to_vec().into_vec())
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        if name == "maxlen" {
            return Ok(self.limit.map_or(Value::None, |limit| Value::Int(limit as i64)).into());
        }
        match METHODS.iter().find(|(known, _)| *known == name) {
            Some((name, method)) => Ok(Value::Native(Rc::new(Native::bound(*name, Value::Host(self), *method))).into()),
            None => Ok(Outcome::NotImplemented),
        }
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        match METHODS.iter().find(|(known, _)| *known == name) {
            Some((_, method)) => method(machine, &Value::Host(self), args.clone()),
            None => Ok(Outcome::NotImplemented),
        }
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        let position = self.position(machine, key)?;
        Ok(self.items.borrow().get(position).cloned().unwrap_or(Value::None).into())
    }

    fn set_item(self: Rc<Self>, machine: &Machine, key: &Value, value: Value) -> HostResult {
        let position = self.position(machine, key)?;
        let old = self.items.borrow_mut().get_mut(position).map(|slot| std::mem::replace(slot, value));
        drop(old);
        Ok(Value::None.into())
    }

    fn delete_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        let position = self.position(machine, key)?;
        self.changed();
        let old = self.items.borrow_mut().remove(position);
        drop(old);
        Ok(Value::None.into())
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        let items = || Value::list(self.to_vec().into_vec());
        if operator == Operator::Mul && other.as_int().is_some() {
            let repeated = operators::binary(machine, operator, &items(), other);
            return operators::then(machine, repeated, move |machine, repeated| match repeated {
                Value::List(repeated) => self.like(machine, repeated.to_vec().into_vec()),
                _ => Ok(Outcome::NotImplemented),
            });
        }
        let Ok(right) = of(other) else { return Ok(Outcome::NotImplemented) };
        let right = right.to_vec();
        match operator {
            Operator::Add => {
                let (mut all, more) = if reflected { (right, self.to_vec()) } else { (self.to_vec(), right) };
                all.extend(more);
                self.like(machine, all.into_vec())
            }
            Operator::Equal
            | Operator::NotEqual
            | Operator::Less
            | Operator::LessEqual
            | Operator::Greater
            | Operator::GreaterEqual => {
                let (left, right) = if reflected {
                    (Value::list(right.into_vec()), items())
                } else {
                    (items(), Value::list(right.into_vec()))
                };
                operators::binary(machine, operator, &left, &right)
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn in_place(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value) -> HostResult {
        if operator != Operator::Add {
            return Ok(Outcome::NotImplemented);
        }
        let own = Value::Host(self);
        let extended = extend(machine, &own, other.clone(), End::Right);
        operators::then(machine, extended, move |_, _| Ok(own.into()))
    }

    fn contains(self: Rc<Self>, machine: &Machine, element: &Value) -> HostResult {
        operators::contains(machine, &Value::list(self.to_vec().into_vec()), element)
    }

    fn length(&self, _: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(self.len()))
    }

    fn iterate(self: Rc<Self>, _: &Machine) -> Result<Option<Box<dyn Iteration>>, Raise> {
        let changes = self.changes.get();
        Ok(Some(Box::new(Elements { deque: self, next: 0, changes })))
    }

    fn hash(&self, _: &Machine) -> Result<Option<i64>, Raise> {
        Err(Raise::type_error("unhashable type: 'collections.deque'"))
    }

    fn repr_parts(&self, _: &Machine) -> Result<Option<(String, Vec<Value>, String)>, Raise> {
        let after = self.limit.map_or_else(|| "])".to_owned(), |limit| format!("], maxlen={limit})"));
        Ok(Some(("deque([".to_owned(), self.to_vec().into_vec(), after)))
    }

    fn is_instance(&self, class: &str) -> bool {
        class == "collections.deque"
    }

    fn class(&self) -> Option<Value> {
        Some(self.class.clone())
    }
}

struct Elements {
    deque: Rc<Deque>,
    next: usize,
    changes: u64,
}

impl Iteration for Elements {
    fn next(&mut self, _: &Machine) -> Result<Option<Outcome>, Raise> {
        if self.deque.changes.get() != self.changes {
            return Err(Raise::runtime_error("deque mutated during iteration"));
        }
        let value = self.deque.items.borrow().get(self.next).cloned();
        self.next += 1;
        Ok(value.map(Outcome::Ready))
    }
}
