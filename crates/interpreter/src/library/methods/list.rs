//! Methods of `list`.

use std::rc::Rc;

use crate::evaluation::elements::Elements;
use crate::evaluation::operators::{self, with_items};
use crate::evaluation::{format, sort};
use crate::values::host::{Args, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{List, MethodFn, Type, sequence, wrong_receiver};
use crate::values::value::Value;

/// Methods by name.
pub const METHODS: &[(&str, MethodFn)] = &[
    ("append", append),
    ("clear", clear),
    ("copy", copy),
    ("count", count),
    ("extend", extend),
    ("index", index),
    ("insert", insert),
    ("pop", pop),
    ("remove", remove),
    ("reverse", reverse),
    ("sort", sort_in_place),
];

fn append(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    of(receiver, "append")?.push(machine, args.one("list.append")?)?;
    Ok(Value::None.into())
}

fn clear(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("list.clear")?;
    drop(of(receiver, "clear")?.replace(machine, Vec::new())?);
    Ok(Value::None.into())
}

fn copy(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("list.copy")?;
    let list = of(receiver, "copy")?;
    machine.charge_fuel(list.len() as u64 / 16)?;
    sequence::list(machine, list.to_vec().into_vec())
}

fn count(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    Elements::List(of(receiver, "count")?).count(machine, args.one("list.count")?)
}

fn extend(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let list = of(receiver, "extend")?;
    with_items(machine, args.one("list.extend")?, move |machine, items| {
        let end = list.len();
        list.splice(machine, end, end, items)?;
        Ok(Value::None.into())
    })
}

fn index(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let args = args.between("index", 1, 3)?;
    let list = of(receiver, "index")?;
    // CPython prints the element.
    Elements::List(list).index(machine, args, |machine, value| {
        Ok(match format::repr_shown(machine, value)? {
            Some(text) => format!("{text} is not in list"),
            None => "list.index(x): x not in list".to_owned(),
        })
    })
}

fn insert(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let list = of(receiver, "insert")?;
    let mut args = args.between("insert", 2, 2)?;
    let value = args.swap_remove(1);
    let position = operators::index_clamped(machine, &args[0])?;
    let position = sequence::clamp(position, list.len());
    list.splice(machine, position, position, vec![value])?;
    Ok(Value::None.into())
}

fn pop(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let list = of(receiver, "pop")?;
    let args = args.between("pop", 0, 1)?;
    let position = match args.first() {
        Some(position) => operators::index_fitting(machine, position)?,
        None => -1,
    };
    if list.is_empty() {
        return Err(Raise::index_error("pop from empty list"));
    }
    let position = sequence::position(position, list.len());
    machine.charge_fuel(position.map_or(0, |position| (list.len() - position) as u64 / 64))?;
    match position.and_then(|position| list.remove(position)) {
        Some(value) => Ok(value.into()),
        None => Err(Raise::index_error("pop index out of range")),
    }
}

fn remove(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let list = of(receiver, "remove")?;
    let value = args.one("list.remove")?;
    let found = Elements::List(Rc::clone(&list)).find(machine, value, 0, usize::MAX);
    operators::then(machine, found, move |_, position| match position.as_int() {
        Some(position) => {
            drop(usize::try_from(position).ok().and_then(|position| list.remove(position)));
            Ok(Value::None.into())
        }
        None => Err(Raise::value_error("list.remove(x): x not in list")),
    })
}

fn reverse(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    args.none("list.reverse")?;
    let list = of(receiver, "reverse")?;
    machine.charge_fuel(list.len() as u64 / 16)?;
    list.reverse();
    Ok(Value::None.into())
}

fn sort_in_place(machine: &Machine, receiver: &Value, args: Args) -> HostResult {
    let list = of(receiver, "sort")?;
    if !args.positional.is_empty() {
        return Err(Raise::type_error("sort() takes no positional arguments"));
    }
    let options = sort::Options::take(machine, args, "sort")?;
    // As in CPython, the list is empty while it is being sorted.
    let items = list.replace(machine, Vec::new())?;
    let sorted = sort::sort(machine.clone(), items, options);
    Ok(Outcome::Later(Box::pin({
        let machine = machine.clone();
        async move {
            let (items, raised) = sorted.await;
            let changed = !list.is_empty();
            list.replace(&machine, items.into_vec())?;
            match raised {
                Some(raised) => Err(raised),
                None if changed => Err(Raise::value_error("list modified during sort")),
                None => Ok(Value::None),
            }
        }
    })))
}

fn of(receiver: &Value, method: &str) -> Result<Rc<List>, Raise> {
    match operators::plain(receiver) {
        Value::List(list) => Ok(list),
        _ => Err(wrong_receiver(method, Type::List, receiver)),
    }
}
