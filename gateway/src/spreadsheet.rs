//! Comma-separated values, which people open as spreadsheets.

use std::borrow::Cow;

/// What a cell begins with that a spreadsheet computes, in place of showing it.
const COMPUTED: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Returns a text for a cell. What somebody named may have been named to be computed by whoever opens the file: with an
/// apostrophe before it, it is shown.
#[must_use]
pub fn cell(text: &str) -> Cow<'_, str> {
    if text.starts_with(COMPUTED) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}
