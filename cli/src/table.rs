//! Answers as people read them.

use anyhow::Result;
use serde_json::Value;

use crate::serving;

/// Prints rows under their heads, each column as wide as it needs.
///
/// # Errors
/// When stdout is closed.
pub fn rows(heads: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let heads: Vec<String> = heads.iter().map(|head| head.to_uppercase()).collect();
    let mut widths: Vec<usize> = heads.iter().map(|head| head.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(&heads).chain(rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        serving::say(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// Prints one thing, a line for each of what it has.
///
/// # Errors
/// When stdout is closed.
pub fn fields(fields: &[(&str, String)]) -> Result<()> {
    let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    fields.iter().try_for_each(|(name, text)| serving::say(&format!("{name:width$}  {text}")))
}

/// Prints an answer for scripts.
///
/// # Errors
/// When stdout is closed.
pub fn json(answer: &Value) -> Result<()> {
    serving::say(&format!("{answer:#}"))
}

/// Returns what a person reads of a value: a list by its words, and a dash for nothing.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Returns what a person reads of a number of bytes.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(value: &Value) -> String {
    match value.as_u64() {
        None => "-".into(),
        Some(unknown) if unknown >= 1 << 62 => "?".into(),
        Some(large) if large >= 1_000_000_000 => format!("{:.2} GB", large as f64 / 1e9),
        Some(small) => format!("{:.1} MB", small as f64 / 1e6),
    }
}

/// Returns the items of a list in an answer.
pub fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map_or(&[], Vec::as_slice)
}
