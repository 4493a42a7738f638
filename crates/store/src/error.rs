//! What can go wrong in the stores, by what a caller can do about it.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ids::JobId;

use crate::job::Refused;
use crate::jobs::Over;

/// What writing meets when the disk, the user's share of it, or what one file may take of it is used up.
pub const NO_SPACE: [io::ErrorKind; 3] =
    [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];

/// A failure of a store, or its refusal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was written; it may be tried again once there is room.
    #[error("no space left on the disk that holds {place}")]
    NoSpace { place: String },
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    #[error("no object {0}")]
    NoObject(String),
    /// The bytes read are not those that were written.
    #[error("object {0} is damaged: its bytes do not match their digest")]
    Damaged(String),
    /// The record was written by a version that this one does not know, or is damaged.
    #[error("cannot read the record {key}: {reason}")]
    Unreadable { key: String, reason: String },
    #[error("no job {0}")]
    NoJob(JobId),
    /// The job moved on: another attempt runs, or it has ended.
    #[error("job {id}: {refused}")]
    Refused { id: JobId, refused: Refused },
    /// The idempotency key was used for another request.
    #[error("idempotency key {0:?} was already used for another request")]
    KeyReused(String),
    /// Nothing was written: a quota is used up.
    #[error("{0}")]
    OverQuota(Over),
    /// Nothing was written: too many jobs of one tenant are about to be accepted.
    #[error("too many jobs of one tenant are about to be accepted")]
    Crowded,
    #[error("the store is closed")]
    Closed,
    /// The store did not answer in time. Whoever asks again must bear that the first time counted.
    #[error(
        "the store cannot be reached: {reason}{}",
        if *maybe_done { "; what was asked of it may have been done" } else { "" }
    )]
    Unavailable { maybe_done: bool, reason: String },
    /// The state that a listing began at is gone; it has to begin again.
    #[error("that state of the metadata store is no longer kept")]
    Compacted,
    /// Nothing was written.
    #[error("{what} is too large for the metadata store: {size}, of {limit} at most")]
    TooLarge { what: String, size: usize, limit: usize },
    /// Nothing was written: what one transaction writes, no other of the same commit may name.
    #[error("a commit names the key {0} twice")]
    KeyTwice(String),
    /// Nothing was written: an entry was to go with a lease that has ended.
    #[error("the lease has ended")]
    NoLease,
    /// Nothing was written: another leads now.
    #[error("another process leads now")]
    Deposed,
    #[error("cannot access {place}: {source}")]
    Failed { place: String, source: Box<dyn StdError + Send + Sync> },
}

impl Error {
    /// Says that somebody who was asked was silent for too long.
    pub(crate) fn silent(who: &str, maybe_done: bool, patience: Duration) -> Self {
        Self::Unavailable { maybe_done, reason: format!("{who} did not answer within {} s", patience.as_secs_f64()) }
    }

    /// Wraps a failure of `place`; a full disk is told apart, wherever in the chain of causes it shows.
    pub(crate) fn failed(place: impl Into<String>, source: impl StdError + Send + Sync + 'static) -> Self {
        let place = place.into();
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&source);
        while let Some(error) = cause {
            if error.downcast_ref::<io::Error>().is_some_and(|io| NO_SPACE.contains(&io.kind())) {
                return Self::NoSpace { place };
            }
            cause = error.source();
        }
        Self::Failed { place, source: Box::new(source) }
    }
}
