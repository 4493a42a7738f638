//! Sorting: stable, by any key, with the user's `__lt__` where there is one.

use crate::evaluation::operators;
use crate::values::host::Args;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::Items;
use crate::values::types::charge::Charge;
use crate::values::value::Value;

/// What `sorted` and `list.sort` take.
pub struct Options {
    key: Option<Value>,
    reverse: bool,
}

impl Options {
    /// Takes the keyword arguments `key` and `reverse`.
    ///
    /// # Errors
    /// `TypeError` for others.
    pub fn take(machine: &Machine, mut args: Args, name: &str) -> Result<Self, Raise> {
        let key = args.take_keyword("key").filter(|key| !matches!(key, Value::None));
        let reverse = match args.take_keyword("reverse") {
            Some(reverse) => operators::truth_sync(machine, &reverse)?,
            None => false,
        };
        args.no_more_keywords(name)?;
        Ok(Self { key, reverse })
    }
}

/// Sorts. Where comparing raises, all elements come back in their first order, with what was raised.
pub async fn sort(machine: Machine, items: Items, options: Options) -> (Items, Option<Raise>) {
    let keys = match &options.key {
        None => Ok(items.iter().cloned().collect()),
        Some(function) => keys(&machine, function, &items).await,
    };
    let order = match keys {
        Ok(keys) => order(&machine, &keys, options.reverse).await,
        Err(raise) => Err(raise),
    };
    match order {
        Ok(order) => (order.into_iter().map(|position| items[position].clone()).collect(), None),
        Err(raise) => (items, Some(raise)),
    }
}

async fn keys(machine: &Machine, function: &Value, items: &[Value]) -> Result<Items, Raise> {
    let mut keys = Items::from(Vec::with_capacity(items.len()));
    for item in items {
        machine.charge_fuel(1)?;
        keys.push(machine.call(function, Args::of([item.clone()])).await?);
    }
    Ok(keys)
}

/// Longest run that is sorted by insertion; longer inputs are merged from such runs.
const RUN: usize = 32;

/// Returns the positions of the keys in sorted order. (The standard library's sort may panic where the order is not
/// total, which Python allows.) What is compared first, and so raises first, is as in CPython.
///
/// # Errors
/// What comparing raises.
pub async fn order(machine: &Machine, keys: &[Value], reverse: bool) -> Result<Vec<usize>, Raise> {
    let length = keys.len();
    // With as much again for what is merged.
    let _charge = Charge::of(2 * (length * size_of::<usize>()) as u64);
    let mut order: Vec<usize> = (0..length).collect();
    if reverse {
        // Equal elements keep their order through both reversals.
        order.reverse();
    }
    let sorter = Sorter { machine, keys };
    let run = if length < 2 * RUN { length } else { RUN };
    for run in order.chunks_mut(run.max(1)) {
        sorter.insert(run).await?;
    }
    let mut merged = Vec::with_capacity(length);
    let mut width = run.max(1);
    while width < length {
        merged.clear();
        for pair in order.chunks(2 * width) {
            let (left, right) = pair.split_at(width.min(pair.len()));
            sorter.merge(left, right, &mut merged).await?;
        }
        std::mem::swap(&mut order, &mut merged);
        width *= 2;
    }
    if reverse {
        order.reverse();
    }
    Ok(order)
}

struct Sorter<'a> {
    machine: &'a Machine,
    keys: &'a [Value],
}

impl Sorter<'_> {
    async fn less(&self, left: usize, right: usize) -> Result<bool, Raise> {
        self.machine.charge_fuel(1)?;
        let (left, right) = (&self.keys[left], &self.keys[right]);
        match operators::less_now(self.machine, left, right)? {
            Some(less) => Ok(less),
            None => operators::less(self.machine, left, right).await,
        }
    }

    /// Sorts a short run: what already ascends or descends first, the rest by binary insertion.
    async fn insert(&self, run: &mut [usize]) -> Result<(), Raise> {
        let mut sorted = run.len().min(1);
        if run.len() > 1 {
            let descends = self.less(run[1], run[0]).await?;
            sorted = 2;
            while sorted < run.len() && self.less(run[sorted], run[sorted - 1]).await? == descends {
                sorted += 1;
            }
            if descends {
                run[..sorted].reverse();
            }
        }
        for next in sorted..run.len() {
            let (mut low, mut high) = (0, next);
            while low < high {
                let middle = usize::midpoint(low, high);
                if self.less(run[next], run[middle]).await? { high = middle } else { low = middle + 1 }
            }
            run[low..=next].rotate_right(1);
        }
        Ok(())
    }

    async fn merge(&self, mut left: &[usize], mut right: &[usize], merged: &mut Vec<usize>) -> Result<(), Raise> {
        while let ([first, left_rest @ ..], [second, right_rest @ ..]) = (left, right) {
            if self.less(*second, *first).await? {
                merged.push(*second);
                right = right_rest;
            } else {
                merged.push(*first);
                left = left_rest;
            }
        }
        merged.extend_from_slice(left);
        merged.extend_from_slice(right);
        Ok(())
    }
}
