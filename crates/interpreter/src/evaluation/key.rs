//! Keys that only user code can tell.

use crate::evaluation::operators;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::hash;
use crate::values::types::key::{Key, Keyed};
use crate::values::value::Value;

/// Finds the key of a value among the entries of one container, where its hash or equality is the user's, or theirs are:
/// `candidates` gives those whose hash is the same.
///
/// # Errors
/// What the user's code raises, and `TypeError` for what cannot be hashed.
pub async fn resolve(
    machine: &Machine,
    value: &Value,
    may_equal: impl Fn(&Key) -> bool,
    candidates: impl Fn(i64) -> Result<Vec<(Key, Value)>, Raise>,
) -> Result<Key, Raise> {
    let (own, hash) = match Key::of(machine, value)? {
        Keyed::Now(key) if !may_equal(&key) => return Ok(key),
        Keyed::Now(key) => {
            let hash = hash::here(&key);
            (key, hash)
        }
        Keyed::Ask => {
            let hash = operators::hash(machine, value).await?;
            (Key::User(hash, value.identity()), Some(hash))
        }
    };
    let Some(hash) = hash else { return Ok(own) };
    for (key, stored) in candidates(hash)? {
        machine.charge_fuel(1)?;
        if stored.is(value) || operators::equal(machine, &stored, value).await? {
            return Ok(key);
        }
    }
    Ok(own)
}
