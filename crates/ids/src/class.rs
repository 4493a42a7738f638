//! How urgent a job is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A priority class of tenants, keys and jobs; the more urgent one is the lesser. Each has a floor: the part of the device time
/// that it gets at least while all classes have work. What a class does not use goes to the others. Records have the place of each in this
/// list: a new one goes to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    High,
    #[default]
    Normal,
    Low,
}

impl Class {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// Returns the floor in tenths.
    #[must_use]
    pub fn floor(self) -> u32 {
        match self {
            Self::High => 6,
            Self::Normal => 3,
            Self::Low => 1,
        }
    }

    /// Returns what it is called where it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// Returns its place among all.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Class {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|class| class.name() == name);
        found.ok_or_else(|| format!("a class is high, normal or low, not {name:?}"))
    }
}
