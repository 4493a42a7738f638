//! Where state lives: metadata (job records, models, keys) and objects (payloads, results).
//!
//! Nothing else in Vitrine holds anything that would be missed after a crash.

mod aside;
mod audit;
mod bookings;
mod certificates;
mod election;
mod error;
mod etcd;
mod fenced;
pub mod history;
pub mod job;
mod jobs;
mod lease;
mod measured;
mod memory;
pub mod messages;
mod metadata;
pub mod metrics;
mod mirror;
mod models;
mod nodes;
mod objects;
mod pieces;
mod redb_store;
mod specifications;
mod stored;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod txn;
mod watch;

pub use aside::{SMALL, aside};
pub use audit::{Audit, AuditEntry, AuditPlace, AuditWanted};
pub use bookings::{Booking, Bookings};
pub use certificates::{CertificateEnd, CertificateHolder, Certificates};
pub use election::{Election, Leader, Leadership};
pub use error::{Error, NO_SPACE};
pub use etcd::{EtcdOptions, EtcdStore, EtcdTls};
pub use fenced::Fenced;
pub use history::History;
pub use job::{Client, Ended, Fault, Generation, Idempotency, JobRecord, Live, Outcome, Refused, State};
pub use jobs::{
    Accepted, Allowance, Before, Change, EndedJobs, Follow, Found, Jobs, Line, LiveJobs, Newest, Over, Position,
    Presence, Quota, Replaced, Unread, Usage, Use, Wanted, What, Whose, Work,
};
pub use lease::{Lease, LeaseId};
pub use measured::Measured;
pub use memory::{CommitFault, Faults, MemoryStore, Writes};
pub use metadata::{Entry, Event, Limits, MetadataStore, Page, Range, Revision, Watch};
pub use mirror::{Mirror, Unsure};
pub use models::{ModelRecord, ModelState, ModelWait, Models, ShownModels};
pub use nodes::{Cordon, DeviceMemory, JobProgress, NodeRecord, Nodes, ReplicaRecord, percent};
pub use objects::{Blob, Grant, INLINE_BYTES, ObjectRef, Objects, Place, S3Options};
pub use pieces::pieces;
pub use redb_store::RedbStore;
pub use specifications::{MOST_RANKS, Specification, Specifications};
pub use txn::{Compare, Durability, Op, Txn, TxnOutcome};

/// The root of every key. A later layout that cannot be read by this one gets another number.
pub const ROOT: &str = "/vitrine/v2/";
