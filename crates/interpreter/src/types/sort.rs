//! Sorting: stable, by any key, with the user's `__lt__` where there is one.

use crate::host::Args;
use crate::machine::Machine;
use crate::operators;
use crate::raise::Raise;
use crate::value::Value;

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
pub async fn sort(machine: Machine, items: Vec<Value>, options: Options) -> (Vec<Value>, Option<Raise>) {
    let keys = match &options.key {
        None => Ok(items.clone()),
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

async fn keys(machine: &Machine, function: &Value, items: &[Value]) -> Result<Vec<Value>, Raise> {
    let mut keys = Vec::with_capacity(items.len());
    for item in items {
        machine.charge_fuel(1)?;
        keys.push(machine.call(function, Args::of([item.clone()])).await?);
    }
    Ok(keys)
}

/// Returns the positions of the keys in sorted order, by merging ever longer runs. (The standard library's sort
/// may panic where the order is not total, which Python allows.)
///
/// # Errors
/// What comparing raises.
pub async fn order(machine: &Machine, keys: &[Value], reverse: bool) -> Result<Vec<usize>, Raise> {
    let length = keys.len();
    let mut from: Vec<usize> = (0..length).collect();
    let mut into = Vec::with_capacity(length);
    let mut width = 1;
    while width < length {
        into.clear();
        for start in (0..length).step_by(2 * width) {
            let (middle, end) = ((start + width).min(length), (start + 2 * width).min(length));
            let (mut left, mut right) = (start, middle);
            while left < middle && right < end {
                machine.charge_fuel(1)?;
                let (earlier, later) = (&keys[from[left]], &keys[from[right]]);
                let (first, second) = if reverse { (earlier, later) } else { (later, earlier) };
                let swap = match operators::less_now(machine, first, second)? {
                    Some(less) => less,
                    None => operators::less(machine, first, second).await?,
                };
                let taken = if swap { &mut right } else { &mut left };
                into.push(from[*taken]);
                *taken += 1;
            }
            into.extend_from_slice(&from[left..middle]);
            into.extend_from_slice(&from[right..end]);
        }
        std::mem::swap(&mut from, &mut into);
        width *= 2;
    }
    Ok(from)
}
