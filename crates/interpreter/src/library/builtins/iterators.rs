//! `iter`, `next`, `enumerate`, `zip`, `map`, `filter`, `reversed`, `any`, `all`.

use std::cell::Cell;
use std::rc::Rc;

use crate::evaluation::operators::{self, call_special, iterate, later, special, then};
use crate::evaluation::view::View;
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostResult, Iteration, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{Iterator, List, Type, type_name};
use crate::values::value::Value;

/// Turns iterables into iterators, first to last, and goes on with them.
///
/// # Errors
/// `TypeError` for what cannot be iterated over; those of going on.
pub fn with_iterators(
    machine: &Machine,
    iterables: Vec<Value>,
    go_on: impl FnOnce(&Machine, Vec<Value>) -> HostResult + 'static,
) -> HostResult {
    let mut iterators = Vec::with_capacity(iterables.len());
    let mut waiting = iterables.into_iter();
    while let Some(iterable) = waiting.next() {
        match iterate(machine, &iterable)? {
            Outcome::Ready(iterator) => iterators.push(iterator),
            pending => {
                let machine = machine.clone();
                return later(async move {
                    iterators.push(machine.settle(pending).await?);
                    for iterable in waiting {
                        let outcome = iterate(&machine, &iterable)?;
                        iterators.push(machine.settle(outcome).await?);
                    }
                    let outcome = go_on(&machine, iterators)?;
                    machine.settle(outcome).await
                });
            }
        }
    }
    go_on(machine, iterators)
}

/// Takes one element of each iterator and goes on with them; `None` once one has ended.
///
/// # Errors
/// What iterating raises.
pub fn gather(
    machine: &Machine,
    iterators: &[Value],
    go_on: impl FnOnce(&Machine, Vec<Value>) -> HostResult + 'static,
) -> Result<Option<Outcome>, Raise> {
    let mut gathered = Vec::with_capacity(iterators.len());
    for (position, iterator) in iterators.iter().enumerate() {
        match operators::next(machine, iterator)? {
            None => return Ok(None),
            Some(Outcome::Ready(value)) => gathered.push(value),
            Some(pending) => {
                let rest = iterators[position + 1..].to_vec();
                let machine = machine.clone();
                return later(async move {
                    // `StopIteration` of any of them passes through and ends this one.
                    gathered.push(machine.settle(pending).await?);
                    for iterator in rest {
                        match operators::next(&machine, &iterator)? {
                            Some(outcome) => gathered.push(machine.settle(outcome).await?),
                            None => return Err(Raise::stop_iteration()),
                        }
                    }
                    let outcome = go_on(&machine, gathered)?;
                    machine.settle(outcome).await
                })
                .map(Some);
            }
        }
    }
    go_on(machine, gathered).map(Some)
}

/// Iterates over several iterators at once and makes one element of each round.
pub struct Combine<F> {
    iterators: Vec<Value>,
    make: F,
}

impl<F: Fn(&Machine, Vec<Value>) -> HostResult + Clone + 'static> Combine<F> {
    /// Makes the iterator object.
    pub fn object(type_name: &'static str, iterators: Vec<Value>, make: F) -> Value {
        Value::Iterator(Rc::new(Iterator::new(type_name, Self { iterators, make })))
    }
}

impl<F: Fn(&Machine, Vec<Value>) -> HostResult + Clone + 'static> Iteration for Combine<F> {
    fn next(&mut self, machine: &Machine) -> Result<Option<Outcome>, Raise> {
        machine.charge_fuel(1)?;
        gather(machine, &self.iterators, self.make.clone())
    }
}

pub fn enumerate(machine: &Machine, args: Args) -> HostResult {
    let [iterable, start] = args.bind("enumerate", ["iterable", "start"], 0)?;
    let Some(iterable) = iterable else {
        return Err(Raise::type_error("enumerate() missing required argument 'iterable'"));
    };
    let start = start.map_or(Ok(0), |start| operators::index_fitting(machine, &start))?;
    let next = Rc::new(std::cell::Cell::new(start));
    with_iterators(machine, vec![iterable], move |_, iterators| {
        let make = move |_: &Machine, mut values: Vec<Value>| {
            let position = next.get();
            next.set(position.saturating_add(1));
            Ok(Value::tuple(vec![Value::Int(position), values.pop().unwrap_or(Value::None)]).into())
        };
        Ok(Combine::object("enumerate", iterators, make).into())
    })
}

pub fn zip(machine: &Machine, mut args: Args) -> HostResult {
    let strict = match args.take_keyword("strict") {
        Some(strict) => operators::truth_sync(machine, &strict)?,
        None => false,
    };
    args.no_more_keywords("zip")?;
    with_iterators(machine, args.positional, move |_, iterators| {
        if iterators.is_empty() {
            return Ok(Value::Iterator(Rc::new(Iterator::new("zip", Nothing))).into());
        }
        if strict {
            return Ok(Value::Iterator(Rc::new(Iterator::new("zip", StrictZip { iterators }))).into());
        }
        let make = |_: &Machine, values: Vec<Value>| Ok(Value::tuple(values).into());
        Ok(Combine::object("zip", iterators, make).into())
    })
}

struct Nothing;

impl Iteration for Nothing {
    fn next(&mut self, _: &Machine) -> Result<Option<Outcome>, Raise> {
        Ok(None)
    }
}

struct StrictZip {
    iterators: Vec<Value>,
}

impl Iteration for StrictZip {
    fn next(&mut self, machine: &Machine) -> Result<Option<Outcome>, Raise> {
        machine.charge_fuel(1)?;
        let (machine, iterators) = (machine.clone(), self.iterators.clone());
        later(async move {
            let mut values = Vec::with_capacity(iterators.len());
            for (position, iterator) in iterators.iter().enumerate() {
                match advance(&machine, iterator).await? {
                    Some(value) if values.len() == position => values.push(value),
                    Some(_) => return Err(unequal("longer", position)),
                    None if position > 0 && values.len() == position => return Err(unequal("shorter", position)),
                    None => {}
                }
            }
            if values.is_empty() { Err(Raise::stop_iteration()) } else { Ok(Value::tuple(values)) }
        })
        .map(Some)
    }
}

fn unequal(how: &str, position: usize) -> Raise {
    let others = if position == 1 { "argument 1".to_owned() } else { format!("arguments 1-{position}") };
    Raise::value_error(format!("zip() argument {} is {how} than {others}", position + 1))
}

/// Takes the next element of an iterator; `None` at its end.
///
/// # Errors
/// What iterating raises.
pub async fn advance(machine: &Machine, iterator: &Value) -> Result<Option<Value>, Raise> {
    match operators::next(machine, iterator)? {
        None => Ok(None),
        Some(Outcome::Ready(value)) => Ok(Some(value)),
        Some(pending) => match machine.settle(pending).await {
            Ok(value) => Ok(Some(value)),
            Err(raise) if raise.is(Kind::StopIteration) => Ok(None),
            Err(raise) => Err(raise),
        },
    }
}

pub fn map(machine: &Machine, args: Args) -> HostResult {
    args.no_keywords("map")?;
    let mut positional = args.positional;
    if positional.len() < 2 {
        return Err(Raise::type_error("map() must have at least two arguments."));
    }
    let function = positional.remove(0);
    with_iterators(machine, positional, move |_, iterators| {
        let make = move |machine: &Machine, values: Vec<Value>| operators::call(machine, &function, Args::of(values));
        Ok(Combine::object("map", iterators, make).into())
    })
}

pub fn filter(machine: &Machine, args: Args) -> HostResult {
    let mut args = args.between("filter", 2, 2)?;
    let iterable = args.pop().unwrap_or(Value::None);
    let function = args.pop().unwrap_or(Value::None);
    with_iterators(machine, vec![iterable], move |_, mut iterators| {
        let iterator = iterators.pop().unwrap_or(Value::None);
        Ok(Value::Iterator(Rc::new(Iterator::new("filter", Filter { function, iterator }))).into())
    })
}

struct Filter {
    function: Value,
    iterator: Value,
}

impl Iteration for Filter {
    fn next(&mut self, machine: &Machine) -> Result<Option<Outcome>, Raise> {
        let (machine, function, iterator) = (machine.clone(), self.function.clone(), self.iterator.clone());
        later(async move {
            while let Some(value) = advance(&machine, &iterator).await? {
                machine.charge_fuel(1)?;
                let answer = match &function {
                    Value::None | Value::Type(Type::Bool) => value.clone(),
                    function => machine.call(function, Args::of([value.clone()])).await?,
                };
                if operators::truth(&machine, &answer).await? {
                    return Ok(value);
                }
            }
            Err(Raise::stop_iteration())
        })
        .map(Some)
    }
}

pub fn reversed(machine: &Machine, args: Args) -> HostResult {
    let value = args.one("reversed")?;
    if let Some(method) = special(&value, "__reversed__") {
        return call_special(machine, &method, &value, vec![]);
    }
    let length = match operators::plain(&value) {
        Value::List(list) => {
            let end = list.len();
            let iteration = Backwards { list, next: end };
            return Ok(Value::Iterator(Rc::new(Iterator::new("list_reverseiterator", iteration))).into());
        }
        Value::Range(range) => {
            return Ok(Value::Iterator(Rc::new(Iterator::new("range_iterator", range.reversed()))).into());
        }
        Value::Tuple(_) | Value::Str(_) | Value::Bytes(_) | Value::Dict(_) => None,
        Value::Host(object) if object.as_any().is::<View>() => None,
        Value::Host(object) => match object.clone().get_attribute(machine, "__reversed__") {
            Ok(Outcome::Ready(own)) => return machine.call_now(&own, Args::default()),
            _ => Some(object.length(machine)?),
        },
        Value::Instance(_) if special(&value, "__getitem__").is_some() && special(&value, "__len__").is_some() => {
            let machine = machine.clone();
            return later(async move {
                let length = operators::length(&machine, &value).await?;
                let mut items = Vec::with_capacity(length.min(1024));
                for position in (0..length).rev() {
                    machine.charge_fuel(1)?;
                    let outcome = operators::get_item(&machine, &value, &Value::Int(position as i64))?;
                    items.push(machine.settle(outcome).await?);
                }
                let outcome = iterate(&machine, &Value::list(items))?;
                machine.settle(outcome).await
            });
        }
        _ => return Err(Raise::type_error(format!("'{}' object is not reversible", type_name(&value)))),
    };
    if let Some(None) = length {
        return Err(Raise::type_error(format!("'{}' object is not reversible", type_name(&value))));
    }
    operators::with_items(machine, value, |_, items| {
        let end = items.len();
        let iteration = Backwards { list: Rc::new(List::new(items.into_vec())), next: end };
        Ok(Value::Iterator(Rc::new(Iterator::new("reversed", iteration))).into())
    })
}

struct Backwards {
    list: Rc<List>,
    next: usize,
}

impl Iteration for Backwards {
    fn next(&mut self, _: &Machine) -> Result<Option<Outcome>, Raise> {
        self.next = match self.next.checked_sub(1) {
            Some(next) => next,
            None => return Ok(None),
        };
        Ok(self.list.get(self.next).map(Outcome::Ready))
    }
}

pub fn iter(machine: &Machine, args: Args) -> HostResult {
    let mut args = args.between("iter", 1, 2)?;
    if args.len() == 1 {
        let iterator = iterate(machine, &args[0]);
        return then(machine, iterator, |_, iterator| match &iterator {
            Value::Instance(_) if special(&iterator, "__next__").is_none() => {
                let name = type_name(&iterator);
                Err(Raise::type_error(format!("iter() returned non-iterator of type '{name}'")))
            }
            _ => Ok(iterator.into()),
        });
    }
    let sentinel = args.pop().unwrap_or(Value::None);
    let function = args.pop().unwrap_or(Value::None);
    if !super::is_callable(&function) {
        return Err(Raise::type_error("iter(v, w): v must be callable"));
    }
    let iteration = Until { function, sentinel, ended: Rc::default() };
    Ok(Value::Iterator(Rc::new(Iterator::new("callable_iterator", iteration))).into())
}

struct Until {
    function: Value,
    sentinel: Value,
    ended: Rc<Cell<bool>>,
}

impl Iteration for Until {
    fn next(&mut self, machine: &Machine) -> Result<Option<Outcome>, Raise> {
        if self.ended.get() {
            return Ok(None);
        }
        let (machine, function, sentinel) = (machine.clone(), self.function.clone(), self.sentinel.clone());
        let ended = Rc::clone(&self.ended);
        later(async move {
            let value = match machine.call(&function, Args::default()).await {
                Ok(value) if operators::same_or_equal(&machine, &value, &sentinel).await? => {
                    Err(Raise::stop_iteration())
                }
                result => result,
            };
            if let Err(raise) = &value {
                ended.set(ended.get() || raise.is(Kind::StopIteration));
            }
            value
        })
        .map(Some)
    }
}

/// `next(iterator[, default])`.
///
/// # Errors
/// `StopIteration` at the end without a default; what iterating raises.
pub fn next(machine: &Machine, args: Args) -> HostResult {
    let mut args = args.between("next", 1, 2)?;
    let default = if args.len() == 2 { args.pop() } else { None };
    let iterator = args.pop().unwrap_or(Value::None);
    match operators::next(machine, &iterator)? {
        Some(Outcome::Ready(value)) => Ok(value.into()),
        None => match default {
            Some(default) => Ok(default.into()),
            None => Err(Raise::stop_iteration()),
        },
        Some(pending) => {
            let machine = machine.clone();
            later(async move {
                match (machine.settle(pending).await, default) {
                    (Err(raise), Some(default)) if raise.is(Kind::StopIteration) => Ok(default),
                    (result, _) => result,
                }
            })
        }
    }
}

/// `any` (`wanted` is true) and `all` (`wanted` is false): looks for the first element with this truth.
pub fn quantify(machine: &Machine, iterable: Value, wanted: bool) -> HostResult {
    if let Some(items) = operators::collect_now(machine, &iterable)? {
        let mut rest = items.into_iter();
        while let Some(item) = rest.next() {
            machine.charge_fuel(1)?;
            match operators::truth_now(machine, &item)? {
                Some(truth) if truth == wanted => return Ok(Value::Bool(wanted).into()),
                Some(_) => {}
                None => {
                    let machine = machine.clone();
                    return later(async move {
                        for item in std::iter::once(item).chain(rest) {
                            machine.charge_fuel(1)?;
                            if operators::truth(&machine, &item).await? == wanted {
                                return Ok(Value::Bool(wanted));
                            }
                        }
                        Ok(Value::Bool(!wanted))
                    });
                }
            }
        }
        return Ok(Value::Bool(!wanted).into());
    }
    let machine = machine.clone();
    with_iterators(&machine.clone(), vec![iterable], move |_, iterators| {
        later(async move {
            let iterator = iterators.into_iter().next().unwrap_or(Value::None);
            while let Some(value) = advance(&machine, &iterator).await? {
                machine.charge_fuel(1)?;
                if operators::truth(&machine, &value).await? == wanted {
                    return Ok(Value::Bool(wanted));
                }
            }
            Ok(Value::Bool(!wanted))
        })
    })
}
