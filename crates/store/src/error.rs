//! What can go wrong in the stores, by what a caller can do about it.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use ids::JobId;

use crate::job::Refused;

/// What writing meets when the disk, the user's share of it, or what one file may take of it is used up.
const NO_SPACE: [io::ErrorKind; 3] =
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
    #[error("the store is closed")]
    Closed,
    #[error("cannot access {place}: {source}")]
    Failed { place: String, source: Box<dyn StdError + Send + Sync> },
}

impl Error {
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
