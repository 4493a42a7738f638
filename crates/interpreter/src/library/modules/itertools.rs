//! `itertools`.

use std::cell::RefCell;
use std::rc::Rc;

use crate::evaluation::operators::{self, Iter, with_items};
use crate::library::modules::lazy::{Steps, iterator, iters, sized};
use crate::library::modules::{Members, functions};
use crate::values::host::{Args, HostObject, HostResult, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{List, Made, sequence};
use crate::values::value::Value;

pub fn members(_: &Machine) -> Result<Members, Raise> {
    let mut members = functions(&[
        ("accumulate", accumulate),
        ("batched", batched),
        ("combinations", |machine, args| choose(machine, args, Order::Combinations)),
        ("combinations_with_replacement", |machine, args| choose(machine, args, Order::WithReplacement)),
        ("compress", |machine, args| {
            let [data, selectors] = args.bind("compress", ["data", "selectors"], 2)?.map(Option::unwrap_or_none);
            let iters = iters(machine, &[data, selectors])?;
            iterator(machine, "itertools.compress", Compress { iters })
        }),
        ("count", count),
        ("cycle", |machine, args| {
            let iter = Iter::of(machine, &args.one("cycle")?)?;
            let seen = List::new(Vec::new());
            iterator(machine, "itertools.cycle", Cycle { iter: Some(iter), seen, next: 0 })
        }),
        ("dropwhile", |machine, args| filter(machine, args, "dropwhile", "itertools.dropwhile", Test::Drop)),
        ("filterfalse", |machine, args| filter(machine, args, "filterfalse", "itertools.filterfalse", Test::Refuse)),
        ("groupby", groupby),
        ("islice", islice),
        ("pairwise", |machine, args| {
            let iter = Iter::of(machine, &args.one("pairwise")?)?;
            iterator(machine, "itertools.pairwise", Pairwise { iter, last: None })
        }),
        ("permutations", |machine, args| choose(machine, args, Order::Permutations)),
        ("product", product),
        ("repeat", repeat),
        ("starmap", |machine, args| {
            let args = args.between("starmap", 2, 2)?;
            let iter = Iter::of(machine, &args[1])?;
            iterator(machine, "itertools.starmap", Starmap { function: args[0].clone(), iter })
        }),
        ("takewhile", |machine, args| filter(machine, args, "takewhile", "itertools.takewhile", Test::Take)),
        ("tee", tee),
        ("zip_longest", zip_longest),
    ]);
    members.push(("chain", Value::host(ChainType)));
    Ok(members)
}

/// Absent arguments read as `None`.
trait OrNone {
    fn unwrap_or_none(self) -> Value;
}

impl OrNone for Option<Value> {
    fn unwrap_or_none(self) -> Value {
        self.unwrap_or(Value::None)
    }
}

/// `itertools.chain`, which has a class method.
struct ChainType;

impl HostObject for ChainType {
    fn type_name(&self) -> std::borrow::Cow<'static, str> {
        "type".into()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        match name {
            "from_iterable" => Ok(Value::native("from_iterable", |machine, args| {
                let outer = Iter::of(machine, &args.one("chain.from_iterable")?)?;
                iterator(machine, "itertools.chain", Chain { outer, inner: None })
            })
            .into()),
            "__name__" | "__qualname__" => Ok(Value::from("chain").into()),
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        args.no_keywords("chain")?;
        let outer = Iter::of(machine, &Value::tuple(args.positional))?;
        iterator(machine, "itertools.chain", Chain { outer, inner: None })
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some("<class 'itertools.chain'>".to_owned()))
    }
}

struct Chain {
    outer: Iter,
    inner: Option<Iter>,
}

impl Steps for Chain {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        loop {
            machine.charge_fuel(1)?;
            if let Some(inner) = &mut self.inner {
                if let Some(value) = inner.next(machine).await? {
                    return Ok(Some(value));
                }
                self.inner = None;
            }
            match self.outer.next(machine).await? {
                Some(iterable) => self.inner = Some(Iter::of(machine, &iterable)?),
                None => return Ok(None),
            }
        }
    }
}

fn accumulate(machine: &Machine, args: Args) -> HostResult {
    let [iterable, function, initial] = args.bind("accumulate", ["iterable", "func", "initial"], 1)?;
    let given = |value: Option<Value>| value.filter(|value| !matches!(value, Value::None));
    let iter = Iter::of(machine, &iterable.unwrap_or_none())?;
    let steps = Accumulate { iter, function: given(function), total: None, initial: given(initial) };
    iterator(machine, "itertools.accumulate", steps)
}

struct Accumulate {
    iter: Iter,
    function: Option<Value>,
    total: Option<Value>,
    initial: Option<Value>,
}

impl Steps for Accumulate {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        let next = match self.initial.take() {
            Some(initial) => initial,
            None => {
                let Some(value) = self.iter.next(machine).await? else { return Ok(None) };
                match (self.total.clone(), &self.function) {
                    (None, _) => value,
                    (Some(total), Some(function)) => machine.call(function, Args::of([total, value])).await?,
                    (Some(total), None) => {
                        let outcome = operators::binary(machine, Operator::Add, &total, &value)?;
                        machine.settle(outcome).await?
                    }
                }
            }
        };
        self.total = Some(next.clone());
        Ok(Some(next))
    }
}

fn batched(machine: &Machine, args: Args) -> HostResult {
    let [iterable, size] = args.bind("batched", ["iterable", "n"], 2)?.map(Option::unwrap_or_none);
    let size = operators::index_fitting(machine, &size)?;
    if size < 1 {
        return Err(Raise::value_error("n must be at least one"));
    }
    iterator(machine, "itertools.batched", Batched { iter: Iter::of(machine, &iterable)?, size: size as usize })
}

struct Batched {
    iter: Iter,
    size: usize,
}

impl Steps for Batched {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        let batch = List::new(Vec::new());
        while batch.len() < self.size {
            machine.charge_fuel(1)?;
            match self.iter.next(machine).await? {
                Some(value) => batch.push(machine, value)?,
                None => break,
            }
        }
        let batch = batch.to_vec();
        Ok((!batch.is_empty()).then(|| Value::tuple(batch.into_vec())))
    }
}

struct Compress {
    iters: Vec<Iter>,
}

impl Steps for Compress {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        let [data, selectors] = &mut self.iters[..] else { return Ok(None) };
        loop {
            machine.charge_fuel(1)?;
            let Some(value) = data.next(machine).await? else { return Ok(None) };
            let Some(selector) = selectors.next(machine).await? else { return Ok(None) };
            if operators::truth(machine, &selector).await? {
                return Ok(Some(value));
            }
        }
    }
}

fn count(machine: &Machine, args: Args) -> HostResult {
    let [start, step] = args.bind("count", ["start", "step"], 0)?;
    let (start, step) = (start.unwrap_or(Value::Int(0)), step.unwrap_or(Value::Int(1)));
    for number in [&start, &step] {
        if !matches!(
            operators::plain(number),
            Value::Int(_) | Value::Bool(_) | Value::Big(_) | Value::Float(_) | Value::Complex(..) | Value::Host(_)
        ) {
            return Err(Raise::type_error("a number is required"));
        }
    }
    iterator(machine, "itertools.count", Count { next: start, step })
}

struct Count {
    next: Value,
    step: Value,
}

impl Steps for Count {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        let outcome = operators::binary(machine, Operator::Add, &self.next, &self.step)?;
        let next = machine.settle(outcome).await?;
        Ok(Some(std::mem::replace(&mut self.next, next)))
    }

    fn made(&self) -> Option<Made> {
        let args = match self.step {
            Value::Int(1) => vec![self.next.clone()],
            _ => vec![self.next.clone(), self.step.clone()],
        };
        Some(Made { class: "count", args: args.into(), keywords: Vec::new() })
    }
}

struct Cycle {
    /// `None` once it has ended.
    iter: Option<Iter>,
    seen: List,
    next: usize,
}

impl Steps for Cycle {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        if let Some(iter) = &mut self.iter {
            if let Some(value) = iter.next(machine).await? {
                self.seen.push(machine, value.clone())?;
                return Ok(Some(value));
            }
            self.iter = None;
        }
        let value = self.seen.get(self.next);
        self.next = (self.next + 1) % self.seen.len().max(1);
        Ok(value)
    }
}

/// What a predicate decides.
#[derive(Clone, Copy, PartialEq)]
enum Test {
    /// Where to stop.
    Take,
    /// Where to begin.
    Drop,
    /// What to leave out.
    Refuse,
}

fn filter(machine: &Machine, args: Args, name: &str, type_name: &'static str, test: Test) -> HostResult {
    let args = args.between(name, 2, 2)?;
    let iter = Iter::of(machine, &args[1])?;
    iterator(machine, type_name, Filter { predicate: args[0].clone(), iter, test, done: false })
}

struct Filter {
    predicate: Value,
    iter: Iter,
    test: Test,
    /// The end was reached, or the beginning.
    done: bool,
}

impl Steps for Filter {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        if self.done && self.test == Test::Take {
            return Ok(None);
        }
        while let Some(value) = self.iter.next(machine).await? {
            machine.charge_fuel(1)?;
            if self.done {
                return Ok(Some(value));
            }
            let answer = match &self.predicate {
                Value::None => value.clone(),
                predicate => machine.call(predicate, Args::of([value.clone()])).await?,
            };
            match (operators::truth(machine, &answer).await?, self.test) {
                (true, Test::Take) | (false, Test::Refuse) => return Ok(Some(value)),
                (false, Test::Take) => {
                    self.done = true;
                    return Ok(None);
                }
                (false, Test::Drop) => {
                    self.done = true;
                    return Ok(Some(value));
                }
                (true, _) => {}
            }
        }
        Ok(None)
    }
}

fn groupby(machine: &Machine, args: Args) -> HostResult {
    let [iterable, key] = args.bind("groupby", ["iterable", "key"], 1)?;
    let iter = Iter::of(machine, &iterable.unwrap_or_none())?;
    let key = key.filter(|key| !matches!(key, Value::None));
    let shared = Rc::new(RefCell::new(Some(Grouping { iter, key, current: None, group: 0 })));
    iterator(machine, "itertools.groupby", Groups { shared, last: None })
}

/// What an iterator over groups shares with the groups it gives.
struct Grouping {
    iter: Iter,
    key: Option<Value>,
    /// The element read last, with its key.
    current: Option<(Value, Value)>,
    /// Groups begun.
    group: u64,
}

impl Grouping {
    async fn advance(&mut self, machine: &Machine) -> Result<(), Raise> {
        machine.charge_fuel(1)?;
        self.current = match self.iter.next(machine).await? {
            Some(value) => {
                let key = match &self.key {
                    Some(function) => machine.call(function, Args::of([value.clone()])).await?,
                    None => value.clone(),
                };
                Some((key, value))
            }
            None => None,
        };
        Ok(())
    }
}

struct Groups {
    shared: Rc<RefCell<Option<Grouping>>>,
    /// The key of the group given last.
    last: Option<Value>,
}

impl Groups {
    async fn step(&mut self, machine: &Machine, grouping: &mut Grouping) -> Result<Option<Value>, Raise> {
        if grouping.group == 0 {
            grouping.advance(machine).await?;
        }
        let key = loop {
            let Some((key, _)) = &grouping.current else { return Ok(None) };
            let key = key.clone();
            let same = match &self.last {
                Some(last) => operators::same_or_equal(machine, last, &key).await?,
                None => false,
            };
            if !same {
                break key;
            }
            grouping.advance(machine).await?;
        };
        grouping.group += 1;
        self.last = Some(key.clone());
        let group = Group { shared: Rc::clone(&self.shared), number: grouping.group, key: key.clone() };
        let group = machine.settle(iterator(machine, "itertools._grouper", group)?).await?;
        Ok(Some(Value::tuple(vec![key, group])))
    }
}

impl Steps for Groups {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        let taken = self.shared.take();
        let Some(mut grouping) = taken else { return Err(Raise::value_error("iterator already executing")) };
        let step = self.step(machine, &mut grouping).await;
        self.shared.replace(Some(grouping));
        step
    }
}

struct Group {
    shared: Rc<RefCell<Option<Grouping>>>,
    number: u64,
    key: Value,
}

impl Steps for Group {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        let taken = self.shared.take();
        let Some(mut grouping) = taken else { return Err(Raise::value_error("iterator already executing")) };
        let step = async {
            if grouping.group != self.number {
                return Ok(None);
            }
            let Some((key, value)) = grouping.current.clone() else { return Ok(None) };
            if !operators::same_or_equal(machine, &self.key, &key).await? {
                return Ok(None);
            }
            grouping.advance(machine).await?;
            Ok(Some(value))
        };
        let step = step.await;
        self.shared.replace(Some(grouping));
        step
    }
}

fn islice(machine: &Machine, args: Args) -> HostResult {
    let args = args.between("islice", 2, 4)?;
    let iter = Iter::of(machine, &args[0])?;
    let bound = |value: Option<&Value>, default: u64, what: &str| match value {
        None | Some(Value::None) => Ok(Some(default)),
        Some(value) => match value.as_int() {
            Some(number) if number >= 0 => Ok(Some(number as u64)),
            _ => Err(Raise::value_error(what.to_owned())),
        },
    };
    let indices = "Indices for islice() must be None or an integer: 0 <= x <= sys.maxsize.";
    let stop_message = "Stop argument for islice() must be None or an integer: 0 <= x <= sys.maxsize.";
    let (start, stop) = match args.len() {
        2 => (Some(0), bound(args.get(1), u64::MAX, stop_message)?),
        _ => (bound(args.get(1), 0, indices)?, bound(args.get(2), u64::MAX, indices)?),
    };
    let step = match args.get(3) {
        None | Some(Value::None) => 1,
        Some(value) => match value.as_int() {
            Some(number) if number >= 1 => number as u64,
            _ => return Err(Raise::value_error("Step for islice() must be a positive integer or None.")),
        },
    };
    let steps = Islice { iter, next: start.unwrap_or(0), stop: stop.unwrap_or(u64::MAX), step, read: 0 };
    iterator(machine, "itertools.islice", steps)
}

struct Islice {
    iter: Iter,
    /// Position of the next element to give.
    next: u64,
    stop: u64,
    step: u64,
    /// Elements read.
    read: u64,
}

impl Steps for Islice {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        let wanted = self.next.min(self.stop);
        while self.read < wanted {
            machine.charge_fuel(1)?;
            self.read += 1;
            if self.iter.next(machine).await?.is_none() {
                return Ok(None);
            }
        }
        if self.next >= self.stop {
            return Ok(None);
        }
        self.read += 1;
        self.next = self.next.saturating_add(self.step);
        self.iter.next(machine).await
    }
}

struct Pairwise {
    iter: Iter,
    last: Option<Value>,
}

impl Steps for Pairwise {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        let first = match self.last.take() {
            Some(last) => last,
            None => match self.iter.next(machine).await? {
                Some(first) => first,
                None => return Ok(None),
            },
        };
        let Some(second) = self.iter.next(machine).await? else { return Ok(None) };
        self.last = Some(second.clone());
        Ok(Some(Value::tuple(vec![first, second])))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Combinations,
    WithReplacement,
    Permutations,
}

fn choose(machine: &Machine, args: Args, order: Order) -> HostResult {
    let (name, required) = match order {
        Order::Combinations => ("combinations", 2),
        Order::WithReplacement => ("combinations_with_replacement", 2),
        Order::Permutations => ("permutations", 1),
    };
    let [iterable, length] = args.bind(name, ["iterable", "r"], required)?;
    let length = match length {
        None | Some(Value::None) => None,
        Some(length) => match operators::index_fitting(machine, &length)? {
            length if length < 0 => return Err(Raise::value_error("r must be non-negative")),
            length => Some(length as usize),
        },
    };
    with_items(machine, iterable.unwrap_or_none(), move |machine, pool| {
        let length = length.unwrap_or(pool.len());
        let empty = length > pool.len() && (order != Order::WithReplacement || pool.is_empty());
        if !empty {
            machine.charge_memory(sequence::bytes(length))?;
            machine.release_memory(sequence::bytes(length));
        }
        let indices = match order {
            _ if empty => Vec::new(),
            Order::WithReplacement => vec![0; length],
            _ => (0..length).collect(),
        };
        let pool = List::new(pool.into_vec());
        let type_name = match order {
            Order::Combinations => "itertools.combinations",
            Order::WithReplacement => "itertools.combinations_with_replacement",
            Order::Permutations => "itertools.permutations",
        };
        sized(machine, type_name, indices.len(), Choose { pool, indices, order, started: false, empty })
    })
}

/// Positions chosen from a pool, in lexicographic order.
struct Choose {
    pool: List,
    indices: Vec<usize>,
    order: Order,
    started: bool,
    empty: bool,
}

impl Choose {
    /// Goes on to the next choice; false after the last.
    fn advance(&mut self) -> bool {
        let (count, length) = (self.pool.len(), self.indices.len());
        match self.order {
            Order::Combinations => {
                let Some(at) = (0..length).rev().find(|&at| self.indices[at] != at + count - length) else {
                    return false;
                };
                let first = self.indices[at] + 1;
                for (step, index) in self.indices[at..].iter_mut().enumerate() {
                    *index = first + step;
                }
            }
            Order::WithReplacement => {
                let Some(at) = (0..length).rev().find(|&at| self.indices[at] + 1 != count) else { return false };
                let next = self.indices[at] + 1;
                self.indices[at..].fill(next);
            }
            Order::Permutations => {
                let mut used = vec![false; count];
                for &index in &self.indices {
                    used[index] = true;
                }
                for at in (0..length).rev() {
                    used[self.indices[at]] = false;
                    let Some(next) = (self.indices[at] + 1..count).find(|&next| !used[next]) else { continue };
                    self.indices[at] = next;
                    used[next] = true;
                    let mut free = (0..count).filter(|&index| !used[index]);
                    for slot in &mut self.indices[at + 1..] {
                        *slot = free.next().unwrap_or(0);
                    }
                    return true;
                }
                return false;
            }
        }
        true
    }
}

impl Steps for Choose {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        machine.charge_fuel(1 + (self.indices.len() + self.pool.len()) as u64 / 4)?;
        if self.empty || std::mem::replace(&mut self.started, true) && !self.advance() {
            return Ok(None);
        }
        tuple(machine, self.indices.iter().filter_map(|&index| self.pool.get(index)).collect()).map(Some)
    }
}

fn tuple(machine: &Machine, items: Vec<Value>) -> Result<Value, Raise> {
    sequence::affordable(machine, items.len())?;
    Ok(Value::tuple(items))
}

fn product(machine: &Machine, mut args: Args) -> HostResult {
    let repeat = args.take_keyword("repeat").map_or(Ok(1), |repeat| operators::index_fitting(machine, &repeat))?;
    args.no_more_keywords("product")?;
    if repeat < 0 {
        return Err(Raise::value_error("repeat argument cannot be negative"));
    }
    let iterables = args.positional;
    let slots = iterables.len().saturating_mul(repeat as usize);
    machine.charge_memory(sequence::bytes(slots))?;
    machine.release_memory(sequence::bytes(slots));
    let machine = machine.clone();
    operators::later(async move {
        let mut pools = Vec::with_capacity(iterables.len());
        for iterable in &iterables {
            pools.push(List::new(operators::collect(&machine, iterable).await?.into_vec()));
        }
        let steps = Product { indices: vec![0; slots], pools, started: false };
        machine.settle(sized(&machine, "itertools.product", slots, steps)?).await
    })
}

/// Positions in each pool, the last running fastest. `repeat` runs through the pools again.
struct Product {
    pools: Vec<List>,
    indices: Vec<usize>,
    started: bool,
}

impl Product {
    fn pool(&self, slot: usize) -> Option<&List> {
        self.pools.get(slot % self.pools.len().max(1))
    }

    fn advance(&mut self) -> bool {
        for slot in (0..self.indices.len()).rev() {
            self.indices[slot] += 1;
            if self.indices[slot] < self.pool(slot).map_or(0, List::len) {
                return true;
            }
            self.indices[slot] = 0;
        }
        false
    }
}

impl Steps for Product {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        machine.charge_fuel(1 + self.indices.len() as u64 / 4)?;
        let started = std::mem::replace(&mut self.started, true);
        let empty = !self.indices.is_empty() && self.pools.iter().any(List::is_empty);
        if empty || started && !self.advance() {
            return Ok(None);
        }
        let indices = self.indices.iter().enumerate();
        tuple(machine, indices.filter_map(|(slot, &index)| self.pool(slot)?.get(index)).collect()).map(Some)
    }
}

fn repeat(machine: &Machine, args: Args) -> HostResult {
    let [object, times] = args.bind("repeat", ["object", "times"], 1)?;
    let left = times.map(|times| operators::index_clamped(machine, &times)).transpose()?;
    iterator(machine, "itertools.repeat", Repeat { object: object.unwrap_or_none(), left })
}

struct Repeat {
    object: Value,
    left: Option<i64>,
}

impl Steps for Repeat {
    async fn next(&mut self, _: &Machine) -> Result<Option<Value>, Raise> {
        if let Some(left) = &mut self.left {
            if *left <= 0 {
                return Ok(None);
            }
            *left -= 1;
        }
        Ok(Some(self.object.clone()))
    }

    fn made(&self) -> Option<Made> {
        let args = std::iter::once(self.object.clone()).chain(self.left.map(|left| Value::Int(left.max(0))));
        Some(Made { class: "repeat", args: args.collect(), keywords: Vec::new() })
    }
}

struct Starmap {
    function: Value,
    iter: Iter,
}

impl Steps for Starmap {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        let Some(args) = self.iter.next(machine).await? else { return Ok(None) };
        let args = operators::collect(machine, &args).await?;
        machine.call(&self.function, Args::of(args)).await.map(Some)
    }
}

fn tee(machine: &Machine, args: Args) -> HostResult {
    let args = args.between("tee", 1, 2)?;
    let count = args.get(1).map_or(Ok(2), |count| operators::index_fitting(machine, count))?;
    let Ok(count) = usize::try_from(count) else { return Err(Raise::value_error("n must be >= 0")) };
    let shared = Rc::new(Tee { iter: RefCell::new(Some(Iter::of(machine, &args[0])?)), read: List::new(Vec::new()) });
    let mut branches = Vec::new();
    for _ in 0..count {
        machine.charge_fuel(1)?;
        match iterator(machine, "itertools._tee", Branch { shared: Rc::clone(&shared), next: 0 })? {
            Outcome::Ready(branch) => branches.push(branch),
            _ => continue,
        }
    }
    sequence::tuple(machine, branches)
}

/// What the branches of a `tee` share: the iterator, and all that was read of it.
struct Tee {
    iter: RefCell<Option<Iter>>,
    read: List,
}

struct Branch {
    shared: Rc<Tee>,
    next: usize,
}

impl Steps for Branch {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        if self.next == self.shared.read.len() {
            let taken = self.shared.iter.take();
            let Some(mut iter) = taken else { return Err(Raise::runtime_error("reentrant call of itertools.tee")) };
            let step = iter.next(machine).await;
            self.shared.iter.replace(Some(iter));
            match step? {
                Some(value) => self.shared.read.push(machine, value)?,
                None => return Ok(None),
            }
        }
        let value = self.shared.read.get(self.next);
        self.next += 1;
        Ok(value)
    }
}

fn zip_longest(machine: &Machine, mut args: Args) -> HostResult {
    let fill = args.take_keyword("fillvalue").unwrap_or_none();
    args.no_more_keywords("zip_longest")?;
    let slots = args.positional.len();
    let iters = iters(machine, &args.positional)?.into_iter().map(Some).collect();
    sized(machine, "itertools.zip_longest", slots, ZipLongest { iters, fill })
}

struct ZipLongest {
    /// `None` for those that have ended.
    iters: Vec<Option<Iter>>,
    fill: Value,
}

impl Steps for ZipLongest {
    async fn next(&mut self, machine: &Machine) -> Result<Option<Value>, Raise> {
        let mut items = Vec::with_capacity(self.iters.len());
        let mut alive = false;
        for slot in &mut self.iters {
            machine.charge_fuel(1)?;
            let value = match slot {
                Some(iter) => iter.next(machine).await?,
                None => None,
            };
            match value {
                Some(value) => {
                    alive = true;
                    items.push(value);
                }
                None => {
                    *slot = None;
                    items.push(self.fill.clone());
                }
            }
        }
        if alive { tuple(machine, items).map(Some) } else { Ok(None) }
    }
}
