//! Keys that only user code can tell.

use crate::evaluation::operators;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::key::{Key, Keyed};
use crate::values::value::Value;

/// Finds the key of a value whose hash or equality is the user's, among the entries of one container:
/// `candidates` gives those whose user hash is the same.
///
/// # Errors
/// What the user's code raises, and `TypeError` for what cannot be hashed.
pub async fn resolve(
    machine: &Machine,
    value: &Value,
    candidates: impl Fn(i64) -> Vec<(Key, Value)>,
) -> Result<Key, Raise> {
    if let Keyed::Now(key) = Key::of(machine, value)? {
        return Ok(key);
    }
    let hash = operators::hash(machine, value).await?;
    for (key, stored) in candidates(hash) {
        machine.charge_fuel(1)?;
        if stored.is(value) || operators::equal(machine, &stored, value).await? {
            return Ok(key);
        }
    }
    Ok(Key::User(hash, value.identity()))
}
