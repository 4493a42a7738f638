//! `bytearray`.
//!
//! What looks at the bytes and changes nothing is what `bytes` has, called on a copy; bytes that it gives are a `bytearray`.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use crate::evaluation::format;
use crate::evaluation::operators;
use crate::library::methods::bytes;
use crate::values::effect::{Effect, Use};
use crate::values::host::{Args, HostObject, HostResult, Iteration, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::{self, Charge};
use crate::values::types::{MethodFn, Native, ledger, sequence, type_name};
use crate::values::value::Value;

/// Bytes charged for one with nothing in it.
const EMPTY: u64 = 96;

thread_local! {
    static CLASS: Value = charge::shared(|| Value::host(ByteArrayType));
}

/// Returns the type object.
pub fn class() -> Value {
    CLASS.with(Value::clone)
}

/// Returns a copy of the bytes that a `bytearray` has now; `None` for other values.
///
/// # Errors
/// Memory is spent.
pub fn bytes_of(machine: &Machine, value: &Value) -> Option<Result<Rc<[u8]>, Raise>> {
    let array = of(value)?;
    Some(array.bytes(machine))
}

struct ByteArrayType;

impl HostObject for ByteArrayType {
    fn type_name(&self) -> Cow<'static, str> {
        "type".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        Ok(match name {
            "__name__" | "__qualname__" => Value::from("bytearray").into(),
            "__module__" => Value::from("builtins").into(),
            "fromhex" => {
                Value::native("fromhex", |machine, args| changeable(machine, bytes::fromhex(machine, args)?)).into()
            }
            _ => Outcome::NotImplemented,
        })
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        let [source, encoding, errors] = args.bind("bytearray", ["source", "encoding", "errors"], 0)?;
        let given = [("source", source), ("encoding", encoding), ("errors", errors)];
        let keyword = given.into_iter().filter_map(|(name, value)| Some((Rc::from(name), value?))).collect();
        let made = bytes::construct(machine, Args { positional: Vec::new(), keyword }, "bytearray")?;
        operators::then(machine, Ok(made), |machine, made| changeable(machine, made.into()))
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some("<class 'bytearray'>".to_owned()))
    }

    fn instead_of_deriving(&self) -> Option<&'static str> {
        Some("keep one in an attribute")
    }

    fn class_name(&self) -> Option<Cow<'static, str>> {
        Some("bytearray".into())
    }
}

/// Bytes that change in place.
struct ByteArray {
    data: RefCell<Vec<u8>>,
    charge: Charge,
}

fn of(value: &Value) -> Option<&ByteArray> {
    match value {
        Value::Host(object) => object.as_any().downcast_ref(),
        _ => None,
    }
}

fn receiver(value: &Value) -> Result<&ByteArray, Raise> {
    of(value).ok_or_else(|| Raise::type_error("descriptor requires a 'bytearray' object"))
}

/// Makes a `bytearray` of bytes, and of each in a list or a tuple; other values stay as they are.
fn changeable(machine: &Machine, value: Outcome) -> HostResult {
    let Outcome::Ready(value) = value else { return Ok(value) };
    let each = |items: &[Value]| -> Result<Vec<Value>, Raise> {
        items
            .iter()
            .map(|item| match item {
                Value::Bytes(data) => made(machine, data.to_vec()),
                item => Ok(item.clone()),
            })
            .collect()
    };
    Ok(match &value {
        Value::Bytes(data) => made(machine, data.to_vec())?.into(),
        Value::List(items) => Value::list(each(&items.to_vec())?).into(),
        Value::Tuple(items) => Value::tuple(each(items)?).into(),
        _ => value.into(),
    })
}

fn made(machine: &Machine, data: Vec<u8>) -> Result<Value, Raise> {
    let array = ByteArray { data: RefCell::default(), charge: Charge::default() };
    array.put(machine, data)?;
    Ok(Value::host(array))
}

/// Reads what `append`, `insert` and an assignment to one place take.
fn byte(machine: &Machine, value: &Value) -> Result<u8, Raise> {
    u8::try_from(operators::index_fitting(machine, value)?)
        .map_err(|_| Raise::value_error("byte must be in range(0, 256)"))
}

impl ByteArray {
    fn len(&self) -> usize {
        self.data.borrow().len()
    }

    fn bytes(&self, machine: &Machine) -> Result<Rc<[u8]>, Raise> {
        ledger::reserve(machine, self.len() as u64)?;
        Ok(self.data.borrow().as_slice().into())
    }

    fn frozen(&self, machine: &Machine) -> Result<Value, Raise> {
        ledger::reserve(machine, self.len() as u64)?;
        let data = self.data.borrow().clone();
        ledger::bytes(machine, data)
    }

    fn put(&self, machine: &Machine, data: Vec<u8>) -> Result<(), Raise> {
        self.charge.cover(machine, EMPTY + data.len() as u64)?;
        self.data.replace(data);
        Ok(())
    }

    /// Replaces a range of bytes.
    fn splice(&self, machine: &Machine, start: usize, stop: usize, with: &[u8]) -> Result<(), Raise> {
        let length = self.len();
        let (start, stop) = (start.min(length), stop.clamp(start.min(length), length));
        ledger::copied(machine, (length - stop + with.len()) as u64)?;
        self.charge.cover(machine, EMPTY + (length - (stop - start) + with.len()) as u64)?;
        drop(self.data.borrow_mut().splice(start..stop, with.iter().copied()));
        Ok(())
    }

    fn position(&self, machine: &Machine, key: &Value) -> Result<usize, Raise> {
        let index = operators::index_if_any(machine, key)?.ok_or_else(|| {
            let name = type_name(key);
            Raise::type_error(format!("bytearray indices must be integers or slices, not {name}"))
        })?;
        sequence::position(index, self.len()).ok_or_else(|| Raise::index_error("bytearray index out of range"))
    }

    fn take(&self, machine: &Machine, position: usize) -> Result<Value, Raise> {
        ledger::copied(machine, self.len() as u64)?;
        Ok(Value::Int(self.data.borrow_mut().remove(position).into()))
    }
}

const METHODS: &[(&str, MethodFn)] = &[
    ("append", |machine, array, args| {
        let array = receiver(array)?;
        let byte = byte(machine, &args.one("bytearray.append")?)?;
        array.charge.cover(machine, EMPTY + array.len() as u64 + 1)?;
        array.data.borrow_mut().push(byte);
        Ok(Value::None.into())
    }),
    ("clear", |machine, array, args| {
        args.none("bytearray.clear")?;
        receiver(array)?.put(machine, Vec::new())?;
        Ok(Value::None.into())
    }),
    ("copy", |machine, array, args| {
        args.none("bytearray.copy")?;
        Ok(made(machine, receiver(array)?.bytes(machine)?.to_vec())?.into())
    }),
    ("extend", |machine, array, args| extend(machine, array, args.one("bytearray.extend")?)),
    ("insert", |machine, array, args| {
        let args = args.between("insert", 2, 2)?;
        let array = receiver(array)?;
        let (position, byte) = (operators::index_clamped(machine, &args[0])?, byte(machine, &args[1])?);
        let position = sequence::clamp(position, array.len());
        array.splice(machine, position, position, &[byte])?;
        Ok(Value::None.into())
    }),
    ("pop", |machine, array, args| {
        let args = args.between("pop", 0, 1)?;
        let array = receiver(array)?;
        if array.len() == 0 {
            return Err(Raise::index_error("pop from empty bytearray"));
        }
        let index = args.first().map_or(Ok(-1), |index| operators::index_fitting(machine, index))?;
        match sequence::position(index, array.len()) {
            Some(position) => Ok(array.take(machine, position)?.into()),
            None => Err(Raise::index_error("pop index out of range")),
        }
    }),
    ("remove", |machine, array, args| {
        let array = receiver(array)?;
        let byte = byte(machine, &args.one("bytearray.remove")?)?;
        let position = array.data.borrow().iter().position(|other| *other == byte);
        let position = position.ok_or_else(|| Raise::value_error("value not found in bytearray"))?;
        array.take(machine, position)?;
        Ok(Value::None.into())
    }),
    ("reverse", |machine, array, args| {
        args.none("bytearray.reverse")?;
        let array = receiver(array)?;
        ledger::copied(machine, array.len() as u64)?;
        array.data.borrow_mut().reverse();
        Ok(Value::None.into())
    }),
];

fn extend(machine: &Machine, array: &Value, more: Value) -> HostResult {
    if matches!(more, Value::Str(_)) {
        return Err(Raise::type_error("expected iterable of integers; got: 'str'"));
    }
    let owner = array.clone();
    let more = bytes::construct(machine, Args::of([more]), "bytearray")?;
    operators::then(machine, Ok(more), move |machine, more| {
        let array = receiver(&owner)?;
        if let Value::Bytes(more) = more {
            array.splice(machine, array.len(), array.len(), &more)?;
        }
        Ok(Value::None.into())
    })
}

/// Finds a method: one that changes the array, or one of `bytes`, by which of them it is.
fn method(name: &str) -> Option<(&'static str, MethodFn)> {
    METHODS.iter().chain(bytes::METHODS).chain(bytes::TEXTUAL).find(|(known, _)| *known == name).copied()
}

impl HostObject for ByteArray {
    fn type_name(&self) -> Cow<'static, str> {
        "bytearray".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _: &Machine, name: &str, _: Use<'_>) -> Effect {
        match name {
            "append" | "extend" | "insert" | "__setitem__" => Effect::Changes,
            _ => Effect::Anything,
        }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        let Some((name, _)) = method(name) else { return Ok(Outcome::NotImplemented) };
        let array = self;
        Ok(Value::Native(Rc::new(Native::function(name, move |machine: &Machine, args| {
            Rc::clone(&array).call_method(machine, name, &args)
        })))
        .into())
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        let Some((name, body)) = method(name) else { return Ok(Outcome::NotImplemented) };
        if METHODS.iter().any(|(known, _)| *known == name) {
            return body(machine, &Value::Host(self), args.clone());
        }
        let done = body(machine, &self.frozen(machine)?, args.clone())?;
        operators::then(machine, Ok(done), |machine, done| changeable(machine, done.into()))
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        if let Value::Slice(slice) = key {
            let span = operators::span(machine, slice, self.len())?;
            ledger::reserve(machine, span.count as u64)?;
            let data = self.data.borrow();
            let part = span.positions().filter_map(|position| data.get(position).copied()).collect();
            return Ok(made(machine, part)?.into());
        }
        let position = self.position(machine, key)?;
        let byte = self.data.borrow().get(position).copied().unwrap_or_default();
        Ok(Value::Int(byte.into()).into())
    }

    fn set_item(self: Rc<Self>, machine: &Machine, key: &Value, value: Value) -> HostResult {
        let Value::Slice(slice) = key else {
            let position = self.position(machine, key)?;
            let byte = byte(machine, &value)?;
            if let Some(place) = self.data.borrow_mut().get_mut(position) {
                *place = byte;
            }
            return Ok(Value::None.into());
        };
        if matches!(value, Value::Str(_)) || value.as_int().is_some() {
            return Err(Raise::type_error("can assign only bytes, buffers, or iterables of ints in range(0, 256)"));
        }
        let slice = Rc::clone(slice);
        let with = bytes::construct(machine, Args::of([value]), "bytearray")?;
        operators::then(machine, Ok(with), move |machine, with| {
            let Value::Bytes(with) = with else { return Ok(Value::None.into()) };
            let span = operators::span(machine, &slice, self.len())?;
            if span.step == 1 {
                let start = sequence::clamp(span.start, self.len());
                self.splice(machine, start, start + span.count, &with)?;
                return Ok(Value::None.into());
            }
            if with.is_empty() {
                return Rc::clone(&self).delete_item(machine, &Value::Slice(slice));
            }
            if with.len() != span.count {
                let (given, wanted) = (with.len(), span.count);
                return Err(Raise::value_error(format!(
                    "attempt to assign bytes of size {given} to extended slice of size {wanted}"
                )));
            }
            ledger::scanned(machine, with.len() as u64)?;
            let mut data = self.data.borrow_mut();
            for (position, byte) in span.positions().zip(with.iter()) {
                if let Some(place) = data.get_mut(position) {
                    *place = *byte;
                }
            }
            Ok(Value::None.into())
        })
    }

    fn delete_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        let Value::Slice(slice) = key else {
            let position = self.position(machine, key)?;
            self.take(machine, position)?;
            return Ok(Value::None.into());
        };
        let span = operators::span(machine, slice, self.len())?;
        ledger::scanned(machine, self.len() as u64)?;
        ledger::reserve(machine, 2 * self.len() as u64)?;
        let mut gone = vec![false; self.len()];
        for position in span.positions() {
            if let Some(gone) = gone.get_mut(position) {
                *gone = true;
            }
        }
        let mut gone = gone.into_iter();
        self.data.borrow_mut().retain(|_| !gone.next().unwrap_or(false));
        Ok(Value::None.into())
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        let own = self.frozen(machine)?;
        let other_bytes = match bytes_of(machine, other) {
            Some(bytes) => Value::Bytes(bytes?),
            None => operators::plain(other),
        };
        match operator {
            Operator::Mul if other.as_int().is_some() => {
                let repeated = operators::binary(machine, operator, &own, other)?;
                operators::then(machine, Ok(repeated), |machine, repeated| changeable(machine, repeated.into()))
            }
            Operator::Add if matches!(other_bytes, Value::Bytes(_)) => {
                let (left, right) = if reflected { (&other_bytes, &own) } else { (&own, &other_bytes) };
                let joined = operators::binary(machine, operator, left, right)?;
                // What stands left says which of the two it is.
                if reflected {
                    Ok(joined)
                } else {
                    operators::then(machine, Ok(joined), |machine, joined| changeable(machine, joined.into()))
                }
            }
            Operator::Mod if !reflected => {
                let made = operators::binary(machine, operator, &own, other)?;
                operators::then(machine, Ok(made), |machine, made| changeable(machine, made.into()))
            }
            Operator::Add if !reflected => {
                let name = type_name(other);
                Err(Raise::type_error(format!("can't concat {name} to bytearray")))
            }
            Operator::Equal
            | Operator::NotEqual
            | Operator::Less
            | Operator::LessEqual
            | Operator::Greater
            | Operator::GreaterEqual
                if matches!(other_bytes, Value::Bytes(_)) =>
            {
                let (left, right) = if reflected { (&other_bytes, &own) } else { (&own, &other_bytes) };
                operators::binary(machine, operator, left, right)
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn in_place(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value) -> HostResult {
        let own = Value::Host(self);
        match (operator, operators::plain(other)) {
            (Operator::Add, Value::Bytes(_)) => {}
            (Operator::Add, _) if of(other).is_some() => {}
            (Operator::Add, _) => {
                let name = type_name(other);
                return Err(Raise::type_error(format!("can't concat {name} to bytearray")));
            }
            _ => return Ok(Outcome::NotImplemented),
        }
        let extended = extend(machine, &own, other.clone());
        operators::then(machine, extended, move |_, _| Ok(own.into()))
    }

    fn contains(self: Rc<Self>, machine: &Machine, element: &Value) -> HostResult {
        let element = match bytes_of(machine, element) {
            Some(bytes) => Value::Bytes(bytes?),
            None => element.clone(),
        };
        operators::contains(machine, &self.frozen(machine)?, &element)
    }

    fn length(&self, _: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(self.len()))
    }

    fn iterate(self: Rc<Self>, _: &Machine) -> Result<Option<Box<dyn Iteration>>, Raise> {
        Ok(Some(Box::new(Elements { array: self, next: 0 })))
    }

    fn hash(&self, _: &Machine) -> Result<Option<i64>, Raise> {
        Err(Raise::type_error("unhashable type: 'bytearray'"))
    }

    fn repr(&self, machine: &Machine) -> Result<Option<String>, Raise> {
        let data = self.frozen(machine)?;
        // Each byte may take four.
        ledger::reserve(machine, 8 * self.len() as u64)?;
        ledger::scanned(machine, self.len() as u64)?;
        Ok(format::repr_now(&data).map(|text| format!("bytearray({text})")))
    }

    fn is_instance(&self, class: &str) -> bool {
        class == "bytearray"
    }

    fn class(&self) -> Option<Value> {
        Some(class())
    }
}

struct Elements {
    array: Rc<ByteArray>,
    next: usize,
}

impl Iteration for Elements {
    fn next(&mut self, _: &Machine) -> Result<Option<Outcome>, Raise> {
        let byte = self.array.data.borrow().get(self.next).copied();
        self.next += 1;
        Ok(byte.map(|byte| Value::Int(byte.into()).into()))
    }
}
