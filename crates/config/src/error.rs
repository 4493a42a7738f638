//! What can be wrong with settings.

use std::path::PathBuf;

/// Why settings cannot be used. Each is a sentence for whoever wrote them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no settings file {}", .0.display())]
    NoFile(PathBuf),
    #[error("{key} must be {expected}, not {value:?}, in {place}")]
    Text { key: String, expected: &'static str, value: String, place: &'static str },
    #[error("--set takes KEY=VALUE, not {0:?}")]
    Set(String),
    #[error("{0}")]
    Layers(String),
    #[error("a setting cannot be printed: {0}")]
    Unprintable(String),
}

impl From<figment::Error> for Error {
    fn from(errors: figment::Error) -> Self {
        // One a line: all of them can be mended at once.
        Self::Layers(errors.into_iter().map(|error| error.to_string()).collect::<Vec<_>>().join("\n"))
    }
}
