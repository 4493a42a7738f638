//! The type that weights have in memory.

use std::fmt;
use std::str::FromStr;

use tch::Kind;

use crate::config::Config;
use crate::error::LoadError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    Float32,
    BFloat16,
}

impl DType {
    pub const ALL: [Self; 2] = [Self::Float32, Self::BFloat16];

    /// Returns a checkpoint's own type if that is bfloat16, and float32 otherwise.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        match config.get("dtype").and_then(serde_json::Value::as_str) {
            Some("bfloat16") => Self::BFloat16,
            _ => Self::Float32,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::BFloat16 => "bfloat16",
        }
    }

    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Float32 => Kind::Float,
            Self::BFloat16 => Kind::BFloat16,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for DType {
    type Err = LoadError;

    fn from_str(name: &str) -> Result<Self, LoadError> {
        let found = Self::ALL.into_iter().find(|dtype| dtype.name() == name);
        found.ok_or_else(|| LoadError::DType(name.into()))
    }
}
