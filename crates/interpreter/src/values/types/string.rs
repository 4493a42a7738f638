//! Characters of a text.

use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::ledger;
use crate::values::value::Value;

/// Returns a string's length in characters.
pub fn length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// Returns the characters from one position up to another.
pub fn substring(text: &str, start: usize, stop: usize) -> &str {
    if start >= stop {
        return "";
    }
    let byte = |position: usize| {
        if text.is_ascii() {
            position.min(text.len())
        } else {
            text.char_indices().nth(position).map_or(text.len(), |(byte, _)| byte)
        }
    };
    text.get(byte(start)..byte(stop)).unwrap_or_default()
}

/// Returns the only character of a string.
pub fn single(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

/// Repeats a string.
///
/// # Errors
/// Memory is spent.
pub fn repeat(machine: &Machine, text: &str, count: usize) -> Result<Value, Raise> {
    ledger::reserve(machine, (text.len() as u64).saturating_mul(count as u64))?;
    ledger::text(machine, text.repeat(count))
}
