//! Source that cannot run, and bytes that are no program.

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

/// Says why stored bytes are no program.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    #[error("its frames are not whole, or do not hold what they say")]
    Frame,
    #[error("it holds {bytes} bytes, and may hold {limit}")]
    TooLarge { bytes: u64, limit: u64 },
    #[error("what it holds is no program: {0}")]
    Encoding(#[from] postcard::Error),
}
