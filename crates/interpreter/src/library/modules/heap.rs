//! `heapq` and `bisect`.

use std::rc::Rc;

use crate::evaluation::operators::{self, later};
use crate::evaluation::sort;
use crate::library::modules::{Members, functions};
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{Items, List, sequence, type_name};
use crate::values::value::Value;

/// Makes `heapq`.
pub fn heapq(_: &Machine) -> Result<Members, Raise> {
    Ok(functions(&[
        ("heapify", |machine, args| {
            let (machine, heap) = (machine.clone(), list(&args.one("heapify")?)?);
            later(async move {
                for at in (0..heap.len() / 2).rev() {
                    sink(&machine, &heap, at).await?;
                }
                Ok(Value::None)
            })
        }),
        ("heappop", |machine, args| {
            let (machine, heap) = (machine.clone(), list(&args.one("heappop")?)?);
            later(async move { pop(&machine, &heap).await })
        }),
        ("heappush", |machine, args| {
            let mut args = args.between("heappush", 2, 2)?;
            let (value, heap, machine) = (args.pop().unwrap_or(Value::None), list(&args[0])?, machine.clone());
            later(async move {
                push(&machine, &heap, value).await?;
                Ok(Value::None)
            })
        }),
        ("heappushpop", |machine, args| {
            let mut args = args.between("heappushpop", 2, 2)?;
            let (value, heap, machine) = (args.pop().unwrap_or(Value::None), list(&args[0])?, machine.clone());
            later(async move {
                let Some(first) = heap.get(0) else { return Ok(value) };
                if !less(&machine, &first, &value).await? {
                    return Ok(value);
                }
                heap.set(0, value);
                sink(&machine, &heap, 0).await?;
                Ok(first)
            })
        }),
        ("heapreplace", |machine, args| {
            let mut args = args.between("heapreplace", 2, 2)?;
            let (value, heap, machine) = (args.pop().unwrap_or(Value::None), list(&args[0])?, machine.clone());
            later(async move {
                let first = heap.get(0).ok_or_else(|| Raise::index_error("list index out of range"))?;
                heap.set(0, value);
                sink(&machine, &heap, 0).await?;
                Ok(first)
            })
        }),
        ("nlargest", |machine, args| extremes(machine, args, "nlargest", true)),
        ("nsmallest", |machine, args| extremes(machine, args, "nsmallest", false)),
    ]))
}

/// Makes `bisect`.
pub fn bisect(_: &Machine) -> Result<Members, Raise> {
    Ok(functions(&[
        ("bisect", |machine, args| search(machine, args, "bisect", Side::Right, false)),
        ("bisect_left", |machine, args| search(machine, args, "bisect_left", Side::Left, false)),
        ("bisect_right", |machine, args| search(machine, args, "bisect_right", Side::Right, false)),
        ("insort", |machine, args| search(machine, args, "insort", Side::Right, true)),
        ("insort_left", |machine, args| search(machine, args, "insort_left", Side::Left, true)),
        ("insort_right", |machine, args| search(machine, args, "insort_right", Side::Right, true)),
    ]))
}

fn list(value: &Value) -> Result<Rc<List>, Raise> {
    match operators::plain(value) {
        Value::List(list) => Ok(list),
        _ => Err(Raise::type_error(format!("heap argument must be a list, not {}", type_name(value)))),
    }
}

async fn less(machine: &Machine, left: &Value, right: &Value) -> Result<bool, Raise> {
    machine.charge_fuel(1)?;
    match operators::less_now(machine, left, right)? {
        Some(less) => Ok(less),
        None => operators::less(machine, left, right).await,
    }
}

/// Reads an element, which users' comparisons may have removed.
fn at(heap: &List, position: usize) -> Result<Value, Raise> {
    heap.get(position).ok_or_else(|| Raise::runtime_error("list changed size during iteration"))
}

async fn push(machine: &Machine, heap: &List, value: Value) -> Result<(), Raise> {
    heap.push(machine, value)?;
    rise(machine, heap, heap.len() - 1, 0).await
}

/// Moves an element towards `top` until its parent is no larger.
async fn rise(machine: &Machine, heap: &List, mut position: usize, top: usize) -> Result<(), Raise> {
    let value = at(heap, position)?;
    while position > top {
        let parent = (position - 1) / 2;
        let above = at(heap, parent)?;
        if !less(machine, &value, &above).await? {
            break;
        }
        heap.set(position, above);
        position = parent;
    }
    heap.set(position, value);
    Ok(())
}

/// Moves the smaller children up from `top`, then the element there from the bottom: fewer comparisons, as in CPython.
async fn sink(machine: &Machine, heap: &List, top: usize) -> Result<(), Raise> {
    let value = at(heap, top)?;
    let mut position = top;
    loop {
        let left = 2 * position + 1;
        if left >= heap.len() {
            break;
        }
        let right = left + 1;
        let child = match right < heap.len() && !less(machine, &at(heap, left)?, &at(heap, right)?).await? {
            true => right,
            false => left,
        };
        heap.set(position, at(heap, child)?);
        position = child;
    }
    heap.set(position, value);
    rise(machine, heap, position, top).await
}

async fn pop(machine: &Machine, heap: &List) -> Result<Value, Raise> {
    let last = heap.len().checked_sub(1).and_then(|last| heap.remove(last));
    let Some(last) = last else { return Err(Raise::index_error("index out of range")) };
    let Some(first) = heap.get(0) else { return Ok(last) };
    heap.set(0, last);
    sink(machine, heap, 0).await?;
    Ok(first)
}

fn extremes(machine: &Machine, args: Args, name: &'static str, largest: bool) -> HostResult {
    let [count, iterable, key] = args.bind(name, ["n", "iterable", "key"], 2)?;
    let count = operators::index_clamped(machine, &count.unwrap_or(Value::None))?;
    let key = key.filter(|key| !matches!(key, Value::None));
    operators::with_items(machine, iterable.unwrap_or(Value::None), move |machine, items| {
        let machine = machine.clone();
        later(async move {
            let mut keys: Items = items.iter().cloned().collect();
            if let Some(key) = key {
                for slot in keys.iter_mut() {
                    machine.charge_fuel(1)?;
                    *slot = machine.call(&key, Args::of([slot.clone()])).await?;
                }
            }
            let order = sort::order(&machine, &keys, largest).await?;
            let taken = order.into_iter().take(usize::try_from(count).unwrap_or(0));
            let found = taken.filter_map(|position| items.get(position).cloned()).collect();
            machine.settle(sequence::list(&machine, found)?).await
        })
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
}

/// Finds where a value belongs in a sorted sequence, and puts it there where asked.
fn search(machine: &Machine, args: Args, name: &'static str, side: Side, insert: bool) -> HostResult {
    let [sorted, value, low, high, key] = args.bind(name, ["a", "x", "lo", "hi", "key"], 2)?;
    let (sorted, value) = (sorted.unwrap_or(Value::None), value.unwrap_or(Value::None));
    let key = key.filter(|key| !matches!(key, Value::None));
    let low = low.map_or(Ok(0), |low| operators::index_fitting(machine, &low))?;
    if low < 0 {
        return Err(Raise::value_error("lo must be non-negative"));
    }
    let machine = machine.clone();
    later(async move {
        let length = operators::length(&machine, &sorted).await? as i64;
        let mut high = match high.filter(|high| !matches!(high, Value::None)) {
            Some(high) => operators::index_fitting(&machine, &high)?,
            None => length,
        };
        let mut low = low;
        let wanted = match &key {
            // What is inserted is compared by its key; what is looked for is a key.
            Some(key) if insert => machine.call(key, Args::of([value.clone()])).await?,
            _ => value.clone(),
        };
        while low < high {
            let middle = low + (high - low) / 2;
            let outcome = operators::get_item(&machine, &sorted, &Value::Int(middle))?;
            let mut there = machine.settle(outcome).await?;
            if let Some(key) = &key {
                there = machine.call(key, Args::of([there])).await?;
            }
            let after = match side {
                Side::Left => less(&machine, &there, &wanted).await?,
                Side::Right => !less(&machine, &wanted, &there).await?,
            };
            if after { low = middle + 1 } else { high = middle }
        }
        if !insert {
            return Ok(Value::Int(low));
        }
        let method = machine.get_attribute(&sorted, "insert").await?;
        machine.call(&method, Args::of([Value::Int(low), value])).await
    })
}
