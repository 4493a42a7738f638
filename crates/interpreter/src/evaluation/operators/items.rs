//! `object[key]`, `len(object)`, `element in object`, and indices.

use num_traits::Signed;

use crate::evaluation::elements::Elements;
use crate::evaluation::{attribute, mapping, set};
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::shape::Shape;
use crate::values::types::slice::Span;
use crate::values::types::{Items, List, Slice, bytes, ledger, sequence, type_name};
use crate::values::value::Value;

use super::{
    Iter, UNCHARGED, call_special, is_iterable, later, payload, plain, same_or_equal, special, then, truth_now,
};

/// `object[key]`. The outcome is never `NotImplemented`.
///
/// # Errors
/// As CPython; what the object raises.
pub fn get_item(machine: &Machine, object: &Value, key: &Value) -> HostResult {
    match object {
        Value::Type(_) | Value::Class(_) => machine.charge_fuel(UNCHARGED)?,
        _ => {}
    }
    match object {
        Value::List(list) => {
            if let Value::Int(index) = key {
                let found = sequence::position(*index, list.len()).and_then(|position| list.get(position));
                return found.map(Outcome::Ready).ok_or_else(|| Raise::index_error("list index out of range"));
            }
            pick(machine, key, "list", list.len(), |machine, picked| match picked {
                Picked::One(position) => Ok(list.get(position).unwrap_or(Value::None).into()),
                Picked::Span(positions) => sequence::list(machine, list.select(positions)),
            })
        }
        Value::Tuple(tuple) => pick(machine, key, "tuple", tuple.len(), |machine, picked| match picked {
            Picked::One(position) => Ok(tuple.get(position).cloned().unwrap_or(Value::None).into()),
            Picked::Span(positions) => {
                sequence::tuple(machine, positions.filter_map(|position| tuple.get(position).cloned()).collect())
            }
        }),
        Value::Dict(dict) => mapping::get_item(machine, dict.clone(), key.clone()),
        Value::Str(text) => {
            let shape = Shape::of(machine, text)?;
            if let Value::Slice(slice) = key {
                let span = span(machine, slice, shape.length())?;
                if span.step == 1 {
                    let start = span.start as usize;
                    return Ok(ledger::text(machine, shape.part(text, start, start + span.count))?.into());
                }
            }
            pick(machine, key, "string", shape.length(), |machine, picked| match picked {
                Picked::One(position) => Ok(shape.character(text, position).unwrap_or(Value::None).into()),
                Picked::Span(positions) => {
                    let part: String = match shape.as_bytes(text) {
                        Some(bytes) => positions.filter_map(|at| bytes.get(at)).map(|byte| char::from(*byte)).collect(),
                        None => {
                            ledger::reserve(machine, (shape.length() * size_of::<char>()) as u64)?;
                            ledger::scanned(machine, text.len() as u64)?;
                            let chars: Vec<char> = text.chars().collect();
                            positions.filter_map(|position| chars.get(position)).collect()
                        }
                    };
                    Ok(ledger::text(machine, part)?.into())
                }
            })
        }
        Value::Bytes(data) => pick(machine, key, "index", data.len(), |machine, picked| match picked {
            Picked::One(position) => Ok(Value::Int(data.get(position).copied().unwrap_or(0).into()).into()),
            Picked::Span(positions) => {
                Ok(ledger::bytes(machine, positions.filter_map(|position| data.get(position).copied()).collect())?
                    .into())
            }
        }),
        Value::Range(range) => match key {
            Value::Slice(slice) => {
                let part = range.slice(span(machine, slice, range.len())?);
                Ok(Value::Range(std::rc::Rc::new(part)).into())
            }
            key => pick(machine, key, "range object", range.len(), |_, picked| match picked {
                Picked::One(position) => Ok(range.get(position).unwrap_or(Value::None).into()),
                Picked::Span(_) => Ok(Value::None.into()),
            }),
        },
        Value::Host(host) => match host.clone().get_item(machine, key)? {
            Outcome::NotImplemented => Err(not_subscriptable(object)),
            outcome => Ok(outcome),
        },
        Value::Instance(_) => match (special(object, "__getitem__"), payload(object)) {
            (Some(method), _) => call_special(machine, &method, object, vec![key.clone()]),
            (None, Some(payload @ Value::Dict(_))) => {
                let Some(method) = special(object, "__missing__") else { return get_item(machine, &payload, key) };
                let (receiver, key) = (object.clone(), key.clone());
                let found = contains(machine, &payload, &key);
                then(machine, found, move |machine, found| match found {
                    Value::Bool(true) => get_item(machine, &payload, &key),
                    _ => call_special(machine, &method, &receiver, vec![key]),
                })
            }
            (None, Some(payload)) => get_item(machine, &payload, key),
            (None, None) => Err(not_subscriptable(object)),
        },
        Value::Type(_) => Ok(machine.language().parameterize(object, key).into()),
        Value::Class(class) => match class.find("__class_getitem__") {
            Some(method) => {
                let (machine, class, key) = (machine.clone(), object.clone(), key.clone());
                later(async move {
                    let bound = match &method {
                        Value::Decorated(_) => {
                            let bound = attribute::get(&machine, &class, "__class_getitem__")?;
                            return {
                                let bound = machine.settle(bound).await?;
                                machine.call(&bound, Args::of([key])).await
                            };
                        }
                        method => method.clone(),
                    };
                    machine.call(&bound, Args::of([class, key])).await
                })
            }
            None if class.own("__orig_bases__").is_some() => Ok(machine.language().parameterize(object, key).into()),
            None => Err(Raise::type_error(format!("type '{}' is not subscriptable", class.name()))),
        },
        _ => Err(not_subscriptable(object)),
    }
}

fn not_subscriptable(object: &Value) -> Raise {
    Raise::type_error(format!("'{}' object is not subscriptable", type_name(object)))
}

enum Picked<'a> {
    One(usize),
    Span(&'a mut dyn Iterator<Item = usize>),
}

/// Reads a key of a sequence: an index or a slice.
fn pick(
    machine: &Machine,
    key: &Value,
    what: &str,
    length: usize,
    read: impl FnOnce(&Machine, Picked<'_>) -> HostResult,
) -> HostResult {
    if let Value::Slice(slice) = key {
        let span = span(machine, slice, length)?;
        machine.charge_fuel(span.count as u64 / 8)?;
        if matches!(what, "list" | "tuple") {
            sequence::affordable(machine, span.count)?;
        }
        return read(machine, Picked::Span(&mut span.positions()));
    }
    let Some(index) = index_if_any(machine, key)? else {
        let name = type_name(key);
        let kind = if what == "index" { "byte" } else { what };
        return Err(Raise::type_error(match kind {
            "string" => format!("string indices must be integers, not '{name}'"),
            kind => format!("{} indices must be integers or slices, not {name}", kind.trim_end_matches(" object")),
        }));
    };
    if matches!(key, Value::Big(_)) {
        return Err(Raise::index_error("cannot fit 'int' into an index-sized integer"));
    }
    match sequence::position(index, length) {
        Some(position) => read(machine, Picked::One(position)),
        None => Err(Raise::index_error(format!("{what} index out of range").replace("index index", "index"))),
    }
}

/// `object[key] = value`. The outcome is never `NotImplemented`.
///
/// # Errors
/// As CPython; what the object raises.
pub fn set_item(machine: &Machine, object: &Value, key: &Value, value: Value) -> HostResult {
    match object {
        Value::List(list) => {
            if let Value::Slice(slice) = key {
                return set_slice(machine, list.clone(), slice.clone(), value);
            }
            let Some(index) = index_if_any(machine, key)? else {
                let name = type_name(key);
                return Err(Raise::type_error(format!("list indices must be integers or slices, not {name}")));
            };
            match sequence::position(index, list.len()) {
                Some(position) if list.set(position, value) => Ok(Value::None.into()),
                _ => Err(Raise::index_error("list assignment index out of range")),
            }
        }
        Value::Dict(dict) => mapping::set_item(machine, dict.clone(), key.clone(), value),
        Value::Host(host) => match host.clone().set_item(machine, key, value)? {
            Outcome::NotImplemented => Err(no_item_assignment(object)),
            outcome => Ok(outcome),
        },
        Value::Instance(_) => match (special(object, "__setitem__"), payload(object)) {
            (Some(method), _) => call_special(machine, &method, object, vec![key.clone(), value]),
            (None, Some(payload @ (Value::List(_) | Value::Dict(_)))) => set_item(machine, &payload, key, value),
            _ => Err(no_item_assignment(object)),
        },
        _ => Err(no_item_assignment(object)),
    }
}

fn no_item_assignment(object: &Value) -> Raise {
    Raise::type_error(format!("'{}' object does not support item assignment", type_name(object)))
}

fn set_slice(machine: &Machine, list: std::rc::Rc<List>, slice: std::rc::Rc<Slice>, value: Value) -> HostResult {
    let simple = match &slice.step {
        Value::None => true,
        step => slice_index(machine, step)? == 1,
    };
    if !is_iterable(&value) {
        return Err(Raise::type_error(if simple {
            "can only assign an iterable"
        } else {
            "must assign iterable to extended slice"
        }));
    }
    super::with_items(machine, value, move |machine, items| {
        let span = span(machine, &slice, list.len())?;
        if simple {
            let start = span.start as usize;
            list.splice(machine, start, start + span.count, items)?;
            return Ok(Value::None.into());
        }
        if items.len() != span.count {
            return Err(Raise::value_error(format!(
                "attempt to assign sequence of size {} to extended slice of size {}",
                items.len(),
                span.count
            )));
        }
        for (position, item) in span.positions().zip(items) {
            list.set(position, item);
        }
        Ok(Value::None.into())
    })
}

/// `del object[key]`. The outcome is never `NotImplemented`.
///
/// # Errors
/// As CPython; what the object raises.
pub fn delete_item(machine: &Machine, object: &Value, key: &Value) -> HostResult {
    let unsupported = || Raise::type_error(format!("'{}' object doesn't support item deletion", type_name(object)));
    match object {
        Value::List(list) => {
            if let Value::Slice(slice) = key {
                let span = span(machine, slice, list.len())?;
                machine.charge_fuel(list.len() as u64 / 8)?;
                if span.step == 1 {
                    let start = span.start as usize;
                    list.splice(machine, start, start + span.count, Vec::new())?;
                    return Ok(Value::None.into());
                }
                // Positions in rising order, whichever way the slice goes.
                let mut rising = span.positions();
                let mut next = || if span.step > 0 { rising.next() } else { rising.next_back() };
                let mut removed = next();
                let mut kept = Vec::with_capacity(list.len() - span.count);
                for (position, item) in list.to_vec().into_iter().enumerate() {
                    if removed == Some(position) {
                        removed = next();
                    } else {
                        kept.push(item);
                    }
                }
                drop(list.replace(machine, kept)?);
                return Ok(Value::None.into());
            }
            let Some(index) = index_if_any(machine, key)? else {
                let name = type_name(key);
                return Err(Raise::type_error(format!("list indices must be integers or slices, not {name}")));
            };
            machine.charge_fuel(list.len() as u64 / 64)?;
            match sequence::position(index, list.len()).and_then(|position| list.remove(position)) {
                Some(_) => Ok(Value::None.into()),
                None => Err(Raise::index_error("list assignment index out of range")),
            }
        }
        Value::Dict(dict) => mapping::delete_item(machine, dict.clone(), key.clone()),
        Value::Host(host) => match host.clone().delete_item(machine, key)? {
            Outcome::NotImplemented => Err(unsupported()),
            outcome => Ok(outcome),
        },
        Value::Instance(_) => match (special(object, "__delitem__"), payload(object)) {
            (Some(method), _) => call_special(machine, &method, object, vec![key.clone()]),
            (None, Some(payload)) => delete_item(machine, &payload, key),
            (None, None) => Err(unsupported()),
        },
        _ => Err(unsupported()),
    }
}

/// `len(object)` of builtin values and host objects.
///
/// # Errors
/// `TypeError` for what has no length.
pub fn length_now(machine: &Machine, object: &Value) -> Result<usize, Raise> {
    let length = match object {
        Value::Str(text) => Some(Shape::of(machine, text)?.length()),
        Value::Bytes(bytes) => Some(bytes.len()),
        Value::List(list) => Some(list.len()),
        Value::Tuple(items) => Some(items.len()),
        Value::Dict(dict) => Some(dict.len()),
        Value::Set(set) => Some(set.len()),
        Value::Range(range) => Some(range.len()),
        Value::Host(host) => host.length(machine)?,
        Value::Class(class) => class.members().map(|members| members.len()),
        Value::Instance(_) => match payload(object) {
            Some(payload) => return length_now(machine, &payload),
            None => None,
        },
        _ => None,
    };
    length.ok_or_else(|| Raise::type_error(format!("object of type '{}' has no len()", type_name(object))))
}

/// `len(object)` as an outcome.
///
/// # Errors
/// As [`length`].
pub fn length_outcome(machine: &Machine, object: &Value) -> HostResult {
    let Some(method) = special(object, "__len__") else {
        return match i64::try_from(length_now(machine, object)?) {
            Ok(length) => Ok(Value::Int(length).into()),
            Err(_) => Err(Raise::new(Kind::OverflowError, "Python int too large to convert to C ssize_t")),
        };
    };
    let answer = call_special(machine, &method, object, vec![]);
    then(machine, answer, |machine, answer| {
        let length = index_fitting(machine, &answer)?;
        if length < 0 {
            return Err(Raise::value_error("__len__() should return >= 0"));
        }
        Ok(Value::Int(length).into())
    })
}

/// `len(object)`.
///
/// # Errors
/// `TypeError` for what has no length; what `__len__` raises.
pub async fn length(machine: &Machine, object: &Value) -> Result<usize, Raise> {
    let outcome = length_outcome(machine, object)?;
    let length = machine.settle(outcome).await?;
    Ok(length.as_int().and_then(|length| usize::try_from(length).ok()).unwrap_or(0))
}

/// `element in container`, before `bool` of the answer.
///
/// # Errors
/// As CPython; what comparing raises.
pub fn contains(machine: &Machine, container: &Value, element: &Value) -> HostResult {
    match container {
        Value::Dict(dict) => return mapping::contains(machine, dict.clone(), element.clone()),
        Value::Set(set) => return set::contains(machine, set.clone(), element.clone()),
        Value::Str(text) => {
            let Value::Str(part) = plain(element) else {
                let name = type_name(element);
                return Err(Raise::type_error(format!("'in <string>' requires string as left operand, not {name}")));
            };
            ledger::scanned(machine, text.len() as u64)?;
            return Ok(Value::Bool(text.contains(&*part)).into());
        }
        Value::Bytes(data) => {
            ledger::scanned(machine, data.len() as u64)?;
            return match plain(element) {
                Value::Bytes(part) => Ok(Value::Bool(bytes::find(data, &part).is_some()).into()),
                Value::Int(byte) => match u8::try_from(byte) {
                    Ok(byte) => Ok(Value::Bool(data.contains(&byte)).into()),
                    Err(_) => Err(Raise::value_error("byte must be in range(0, 256)")),
                },
                other => {
                    let name = type_name(&other);
                    Err(Raise::type_error(format!("a bytes-like object is required, not '{name}'")))
                }
            };
        }
        Value::Range(range) => {
            let whole = match element {
                Value::Float(number) if number.fract() == 0.0 => Some(*number as i64),
                element => element.as_int(),
            };
            if let Some(number) = whole {
                return Ok(Value::Bool(range.find(number).is_some()).into());
            }
        }
        Value::List(list) => return found(machine, Elements::List(list.clone()), element),
        Value::Tuple(items) => return found(machine, Elements::Tuple(items.clone()), element),
        Value::Host(host) => match host.clone().contains(machine, element)? {
            Outcome::NotImplemented => {}
            outcome => return Ok(outcome),
        },
        Value::Instance(_) => {
            if let Some(method) = special(container, "__contains__") {
                let answer = call_special(machine, &method, container, vec![element.clone()]);
                return then(machine, answer, |machine, answer| match truth_now(machine, &answer)? {
                    Some(truth) => Ok(Value::Bool(truth).into()),
                    None => Ok(answer.into()),
                });
            }
            let iterates = special(container, "__iter__").or_else(|| special(container, "__getitem__")).is_some();
            if let (false, Some(payload)) = (iterates, payload(container)) {
                return contains(machine, &payload, element);
            }
        }
        _ => {}
    }
    if !is_iterable(container) {
        let name = type_name(container);
        return Err(Raise::type_error(format!("argument of type '{name}' is not iterable")));
    }
    let (machine, container, element) = (machine.clone(), container.clone(), element.clone());
    later(async move {
        let mut items = Iter::of(&machine, &container)?;
        while let Some(item) = items.next(&machine).await? {
            machine.charge_fuel(1)?;
            if same_or_equal(&machine, &item, &element).await? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    })
}

fn found(machine: &Machine, elements: Elements, element: &Value) -> HostResult {
    let position = elements.find(machine, element.clone(), 0, usize::MAX);
    then(machine, position, |_, position| Ok(Value::Bool(!matches!(position, Value::None)).into()))
}

/// Returns an integer, or what stands for one, cut to 64 bits; `None` for what is no index.
pub fn index_if_any(machine: &Machine, value: &Value) -> Result<Option<i64>, Raise> {
    let cut = |number: &num_bigint::BigInt| if number.is_negative() { i64::MIN } else { i64::MAX };
    Ok(match plain(value) {
        Value::Int(number) => Some(number),
        Value::Bool(truth) => Some(i64::from(truth)),
        Value::Big(number) => Some(cut(&number)),
        Value::Host(host) => match host.integer(machine, true)? {
            Some(Value::Big(number)) => Some(cut(&number)),
            Some(number) => number.as_int(),
            None => None,
        },
        Value::Instance(_) => match special(value, "__index__") {
            Some(method) => match super::at_once(machine, call_special(machine, &method, value, vec![])?)? {
                number if matches!(plain(&number), Value::Int(_) | Value::Bool(_) | Value::Big(_)) => {
                    return index_if_any(machine, &plain(&number));
                }
                other => {
                    let name = type_name(&other);
                    return Err(Raise::type_error(format!("__index__ returned non-int (type {name})")));
                }
            },
            None => None,
        },
        _ => None,
    })
}

/// Returns an index, cut to 64 bits.
///
/// # Errors
/// `TypeError` for what is no integer.
pub fn index_clamped(machine: &Machine, value: &Value) -> Result<i64, Raise> {
    index_if_any(machine, value)?
        .ok_or_else(|| Raise::type_error(format!("'{}' object cannot be interpreted as an integer", type_name(value))))
}

/// Returns an integer that fits 64 bits.
///
/// # Errors
/// `TypeError` for what is no integer, `OverflowError` for one that does not fit.
pub fn index_fitting(machine: &Machine, value: &Value) -> Result<i64, Raise> {
    if let Value::Big(_) = plain(value) {
        return Err(Raise::new(Kind::OverflowError, "Python int too large to convert to C ssize_t"));
    }
    index_clamped(machine, value)
}

/// Returns one part of a slice, cut to 64 bits.
///
/// # Errors
/// `TypeError` for what is no index.
pub fn slice_index(machine: &Machine, value: &Value) -> Result<i64, Raise> {
    index_if_any(machine, value)?
        .ok_or_else(|| Raise::type_error("slice indices must be integers or None or have an __index__ method"))
}

/// Returns the entries of what `**mapping` unpacks.
///
/// # Errors
/// `TypeError` for what is no mapping; what user code raises.
pub async fn mapping_entries(machine: &Machine, mapping: &Value) -> Result<Items<(Value, Value)>, Raise> {
    if let Value::Dict(dict) = plain(mapping) {
        machine.charge_fuel(dict.len() as u64 / 4)?;
        return Ok(dict.entries());
    }
    let Some(keys) = super::attribute_if_any(machine, mapping, "keys").await? else {
        return Err(Raise::type_error(format!("'{}' object is not a mapping", type_name(mapping))));
    };
    let keys = machine.call(&keys, Args::default()).await?;
    let keys = super::collect(machine, &keys).await?;
    let mut values = Vec::with_capacity(keys.len());
    for key in &keys {
        machine.charge_fuel(1)?;
        let outcome = get_item(machine, mapping, key)?;
        values.push(machine.settle(outcome).await?);
    }
    Ok(keys.into_iter().zip(values).collect())
}

/// Computes the positions in a sequence of this length.
///
/// # Errors
/// `TypeError` for a part that is no index, `ValueError` for a step of zero.
pub fn span(machine: &Machine, slice: &Slice, length: usize) -> Result<Span, Raise> {
    let length = length as i64;
    let part = |value: &Value| match value {
        Value::None => Ok(None),
        value => slice_index(machine, value).map(Some),
    };
    let step = part(&slice.step)?.unwrap_or(1).max(-i64::MAX);
    if step == 0 {
        return Err(Raise::value_error("slice step cannot be zero"));
    }
    let (lowest, highest) = if step < 0 { (-1, length - 1) } else { (0, length) };
    let clamp = |index: Option<i64>, default: i64| match index {
        None => default,
        Some(index) if index < 0 => index.saturating_add(length).max(lowest),
        Some(index) => index.min(highest),
    };
    let start = clamp(part(&slice.start)?, if step < 0 { highest } else { lowest });
    let stop = clamp(part(&slice.stop)?, if step < 0 { lowest } else { highest });
    let count = if step < 0 && stop < start {
        (start - stop - 1) / -step + 1
    } else if step > 0 && start < stop {
        (stop - start - 1) / step + 1
    } else {
        0
    };
    Ok(Span { start, stop, step, count: count as usize })
}
