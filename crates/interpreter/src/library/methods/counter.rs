//! Methods of `OrderedDict` and `Counter`.

use std::rc::Rc;

use crate::evaluation::mapping::{for_each_pair, with_key};
use crate::evaluation::operators::{self, later, with_items};
use crate::evaluation::sort;
use crate::library::builtins;
use crate::values::host::{Args, HostResult, Operator};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::dict::Dict;
use crate::values::types::{MethodFn, sequence};
use crate::values::value::Value;

use super::dict::of;

/// Methods of `OrderedDict` by name, besides those of `dict`.
pub const ORDERED_METHODS: &[(&str, MethodFn)] = &[("move_to_end", move_to_end)];

fn move_to_end(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let dict = of(receiver, "move_to_end")?;
    let [key, last] = args.bind("move_to_end", ["key", "last"], 1)?;
    let last = last.map_or(Ok(true), |last| operators::truth_sync(machine, &last))?;
    machine.charge_fuel(if last { 1 } else { dict.len() as u64 })?;
    with_key(machine, dict, key.unwrap_or(Value::None), move |_, dict, key, original| {
        if dict.move_to_end(&key, last) { Ok(Value::None.into()) } else { Err(Raise::key_error(original)) }
    })
}

/// Methods of `Counter` by name, besides those of `dict`.
pub const COUNTER_METHODS: &[(&str, MethodFn)] =
    &[("elements", elements), ("most_common", most_common), ("subtract", subtract), ("total", total)];

fn elements(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("elements")?;
    let mut items = Vec::new();
    for (key, count) in of(receiver, "elements")?.entries() {
        let count = usize::try_from(count.as_int().unwrap_or(0)).unwrap_or(0);
        machine.charge_fuel(count as u64)?;
        items.extend(std::iter::repeat_n(key, count));
    }
    operators::iterate(machine, &Value::list(items))
}

fn most_common(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let dict = of(receiver, "most_common")?;
    let [count] = args.bind("most_common", ["n"], 0)?;
    let entries = dict.entries();
    machine.charge_fuel(entries.len() as u64 * 4)?;
    let count = match count.filter(|count| !matches!(count, Value::None)) {
        Some(count) => usize::try_from(operators::index_fitting(machine, &count)?).unwrap_or(0),
        None => entries.len(),
    };
    let machine = machine.clone();
    later(async move {
        let counts: Vec<Value> = entries.iter().map(|(_, count)| count.clone()).collect();
        let order = sort::order(&machine, &counts, true).await?;
        let pair = |position: usize| Value::tuple(vec![entries[position].0.clone(), entries[position].1.clone()]);
        let pairs: Vec<Value> = order.into_iter().take(count).map(pair).collect();
        machine.settle(sequence::list(&machine, pairs)?).await
    })
}

fn subtract(machine: &Machine, receiver: &Value, mut args: Args) -> HostResult {
    let dict = of(receiver, "subtract")?;
    let keyword = std::mem::take(&mut args.keyword);
    let source = args.between("subtract", 0, 1)?.pop();
    count(machine, dict, source, keyword, -1)
}

fn total(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("total")?;
    let values = Value::list(of(receiver, "total")?.values().into_vec());
    builtins::sum(machine, Args::of([values]))
}

/// Adds counts to a `Counter`: of a mapping its values, of an iterable one for each element.
///
/// # Errors
/// What user code raises.
pub fn count(
    machine: &Machine,
    dict: Rc<Dict>,
    source: Option<Value>,
    keyword: Vec<(Rc<str>, Value)>,
    sign: i64,
) -> HostResult {
    let add = {
        let dict = Rc::clone(&dict);
        move |machine: &Machine, key: Value, value: Value| {
            with_key(machine, Rc::clone(&dict), key, move |machine, dict, key, original| {
                let old = dict.get(&key).unwrap_or(Value::Int(0));
                let operator = if sign < 0 { Operator::Sub } else { Operator::Add };
                let sum = operators::binary(machine, operator, &old, &value);
                let dict = Rc::clone(dict);
                operators::then(machine, sum, move |machine, sum| {
                    dict.insert(machine, key, original, sum)?;
                    Ok(Value::None.into())
                })
            })
        }
    };
    match source.map(|source| operators::plain(&source)) {
        Some(mapping @ Value::Dict(_)) => for_each_pair(machine, Some(mapping), keyword, add),
        None => for_each_pair(machine, None, keyword, add),
        Some(iterable) => with_items(machine, iterable, move |machine, items| {
            let pairs = items.into_iter().map(|item| Value::tuple(vec![item, Value::Int(1)])).collect();
            for_each_pair(machine, Some(Value::list(pairs)), keyword, add)
        }),
    }
}
