//! The order in which CPython goes through a set of whole numbers: that of the places where they lie in its table.
//!
//! The hash of a number is the number itself, so that the order is the same in every process. It is found by putting the
//! elements into such a table, in the order of their insertion (`Objects/setobject.c`).

use std::collections::BTreeMap;

use crate::values::types::key::Key;

/// Places of the smallest table.
const SMALLEST: usize = 8;
/// Places that are looked at behind the one that a hash names, where the table has so many.
const PROBES: usize = 9;
/// From so many elements on, a table grows to twice as many places as there are elements, and to four times before.
const LARGE: usize = 50_000;
/// A table with more than this many places for each element is not laid out whole.
const SPARSE: usize = 16;
/// Hashes are remainders by this.
const MODULUS: i64 = (1 << 61) - 1;

/// Returns the numbers of elements in the order of their places, and how many places there are, where all are whole numbers
/// that 64 bits hold. The table had `start` places before the first element came.
pub fn of<'k>(keys: impl Iterator<Item = &'k Key>, start: usize) -> Option<(Vec<usize>, usize)> {
    let hashes: Vec<u64> =
        keys.map(|key| if let Key::Int(number) = key { Some(hash(*number)) } else { None }).collect::<Option<_>>()?;
    let start = start.max(SMALLEST);
    if start / SPARSE > hashes.len() {
        return Some((sparse(&hashes, start), start));
    }
    let mut places = vec![None; start];
    for (at, hash) in hashes.iter().enumerate() {
        put(&mut places, *hash, at);
        let used = at + 1;
        if is_full(used, places.len()) {
            let size = places_for(if used > LARGE { used * 2 } else { used * 4 });
            let before = std::mem::replace(&mut places, vec![None; size]);
            for at in before.into_iter().flatten() {
                put(&mut places, hashes.get(at).copied().unwrap_or_default(), at);
            }
        }
    }
    let size = places.len();
    Some((places.into_iter().flatten().collect(), size))
}

/// Returns the numbers of a few elements in the order of their places in a large table, which they do not fill.
fn sparse(hashes: &[u64], places: usize) -> Vec<usize> {
    let mut taken = BTreeMap::<usize, usize>::new();
    for (at, hash) in hashes.iter().enumerate() {
        let place = free(places, *hash, |place| !taken.contains_key(&place));
        taken.insert(place, at);
    }
    taken.into_values().collect()
}

/// Returns how many places a table gets before as many elements are put into it as another set has, if it gets others.
pub fn before_merging(used: usize, others: usize, places: usize) -> Option<usize> {
    is_full(used + others, places.max(SMALLEST)).then(|| places_for((used + others) * 2))
}

fn is_full(used: usize, places: usize) -> bool {
    used * 5 >= (places - 1) * 3
}

fn places_for(wanted: usize) -> usize {
    let mut size = SMALLEST;
    while size <= wanted {
        size *= 2;
    }
    size
}

fn hash(number: i64) -> u64 {
    match number % MODULUS {
        -1 => -2_i64 as u64,
        rest => rest as u64,
    }
}

fn put(places: &mut [Option<usize>], hash: u64, element: usize) {
    let place = free(places.len(), hash, |place| places[place].is_none());
    places[place] = Some(element);
}

/// Returns the first free place of those that a hash names.
fn free(places: usize, hash: u64, is_free: impl Fn(usize) -> bool) -> usize {
    let mask = places - 1;
    let (mut perturb, mut at) = (hash as usize, hash as usize & mask);
    loop {
        let last = if at + PROBES <= mask { at + PROBES } else { at };
        if let Some(place) = (at..=last).find(|place| is_free(*place)) {
            return place;
        }
        perturb >>= 5;
        at = (at.wrapping_mul(5).wrapping_add(1).wrapping_add(perturb)) & mask;
    }
}
