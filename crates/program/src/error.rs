//! Source that cannot run.

use thiserror::Error;

/// Says what is wrong with a piece of source, and where the user has it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("  File \"{filename}\", line {line}\nSyntaxError: {message}")]
pub struct SyntaxError {
    pub message: String,
    pub filename: String,
    /// As tracebacks count lines; 0 where the whole text is meant.
    pub line: u32,
    /// The text of that line.
    pub text: Option<String>,
}
