//! Where state lives: metadata (job records, models, keys) and objects (payloads, results).
//!
//! Nothing else in Vitrine holds anything that would be missed after a crash.

mod embedded;
mod error;
pub mod job;
mod jobs;
mod metadata;
mod models;
mod objects;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod watch;

pub use embedded::RedbStore;
pub use error::Error;
pub use job::{Client, Fault, Generation, Idempotency, JobRecord, Outcome, Refused, State};
pub use jobs::{Accepted, Change, Follow, Jobs, Line, Live, Position, Work};
pub use metadata::{Compare, Durability, Entry, Event, MetadataStore, Op, Revision, Txn, TxnOutcome, Watch};
pub use models::{ModelRecord, ModelState, Models};
pub use objects::{Blob, INLINE_BYTES, ObjectRef, Objects, Place};

/// The root of every key. A later layout that cannot be read by this one gets another number.
pub const ROOT: &str = "/vitrine/v1/";
