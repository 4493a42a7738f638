//! How urgent a job is.

use std::fmt;
use std::str::FromStr;

/// A priority class. Each has a floor: the part of the cluster's time that it gets at least while all classes have work.
/// What a class does not use goes to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// Returns the class that a job moves up to when it has waited for long. None gets to be urgent by that: else who sends
    /// much, of which the most waits for long, would come before who sends little.
    #[must_use]
    pub fn above(self) -> Option<Self> {
        match self {
            Self::High | Self::Normal => None,
            Self::Low => Some(Self::Normal),
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

    pub(crate) fn index(self) -> usize {
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
        found.ok_or_else(|| format!("a priority is high, normal or low, not {name:?}"))
    }
}
