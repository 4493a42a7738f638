//! How weights are kept in memory.

use std::fmt;
use std::str::FromStr;

use kernels::Scheme;
use serde::{Deserialize, Serialize};
use tch::Kind;

use crate::config::Config;
use crate::error::LoadError;
use crate::quantization::Stored;

/// What an operator asks for: a type of floats, which is computed in, too; or few bits for the matrices of layers, which are
/// made of floats while they are read. All else is then of the checkpoint's own type, and computed in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    Float32,
    BFloat16,
    /// See [`Scheme::Int8`].
    Int8,
    /// See [`Scheme::Nf4`].
    Nf4,
}

impl DType {
    pub const ALL: [Self; 4] = [Self::Float32, Self::BFloat16, Self::Int8, Self::Nf4];

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
            Self::Int8 => "int8",
            Self::Nf4 => "nf4",
        }
    }

    /// Returns how matrices are brought into few bits, if they are.
    #[must_use]
    pub fn scheme(self) -> Option<Scheme> {
        match self {
            Self::Float32 | Self::BFloat16 => None,
            Self::Int8 => Some(Scheme::Int8),
            Self::Nf4 => Some(Scheme::Nf4),
        }
    }

    /// Returns the type of floats that is computed in, of a checkpoint whose own type is another.
    #[must_use]
    pub fn float(self, own: Self) -> Self {
        if self.scheme().is_some() { own } else { self }
    }
}

/// How a checkpoint's weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precision {
    /// What is computed in.
    float: DType,
    asked: DType,
    /// How the files have matrices in few bits already.
    pub stored: Option<Stored>,
}

impl Precision {
    /// Returns what becomes of a checkpoint's weights where somebody asks for a type, or nobody does.
    ///
    /// # Errors
    /// When they are to be brought into few bits, and are.
    pub fn new(config: &Config, asked: Option<DType>) -> Result<Self, LoadError> {
        let own = DType::of(config);
        let asked = asked.unwrap_or(own);
        let stored = config.stored();
        if let (Some(_), Some(stored)) = (asked.scheme(), stored) {
            return Err(config.wrong(
                "quantization_config",
                format!(
                    "the weights are quantized already, by {stored}: leave out dtype={asked}, or ask for float32 or bfloat16, \
                     which is then what is computed in"
                ),
            ));
        }
        Ok(Self { float: asked.float(own), asked, stored })
    }

    #[must_use]
    pub fn kind(self) -> Kind {
        if self.float == DType::BFloat16 { Kind::BFloat16 } else { Kind::Float }
    }

    #[must_use]
    pub fn scheme(self) -> Option<Scheme> {
        self.asked.scheme()
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
