//! The names that travel between the parts of Vitrine, each with a type of its own,
//! so that a tenant cannot be passed where a job is meant.

mod class;
mod model;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use class::Class;
pub use model::ModelKey;

/// Names one accepted request for as long as anything of it exists.
///
/// Time-ordered (UUID version 7), so that listing jobs by key lists them by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(Uuid);

impl JobId {
    /// No id comes after it.
    pub const MAX: Self = Self(Uuid::max());

    /// Makes the id of a new job.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// Returns when it was made, in milliseconds since 1970.
    #[must_use]
    pub fn unix_millis(&self) -> u64 {
        let (seconds, nanos) = self.0.get_timestamp().map_or((0, 0), |made| made.to_unix());
        seconds.saturating_mul(1000).saturating_add(u64::from(nanos / 1_000_000))
    }

    /// How many bytes its text has.
    pub const LENGTH: usize = uuid::fmt::Hyphenated::LENGTH;

    /// Writes its text into a buffer.
    pub fn text<'a>(&self, buffer: &'a mut [u8; Self::LENGTH]) -> &'a str {
        self.0.hyphenated().encode_lower(buffer)
    }
}

impl Default for JobId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(String);

        impl $name {
            /// Wraps a name that came from outside.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// Returns the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// Names the owner of keys, jobs and results: the unit of isolation.
    TenantId
}
text_id! {
    /// Names an API key without revealing it.
    KeyId
}
text_id! {
    /// Names a worker among those of a cluster, whichever process it is.
    WorkerId
}
text_id! {
    /// Names one process of a worker, from its start to its end. Nobody else knows it before the process has said so.
    InstanceId
}

impl InstanceId {
    /// Makes the name of a new process.
    #[must_use]
    pub fn unique() -> Self {
        Self(Uuid::now_v7().to_string())
    }
}

/// Names one time that a job was given out: the fencing token of whoever runs it.
///
/// The epoch is that of the scheduler that gave it out, and the attempt counts within the job. A crash may undo that an
/// attempt was counted, but never that an epoch was, and one that begins after a store was restored is higher than those that
/// it has forgotten, so no two are alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token {
    pub epoch: u64,
    pub attempt: u32,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.attempt)
    }
}
