//! A job's program, on its way here.

use std::time::Duration;

use bytes::Bytes;
use program::{Limits, Program, frame};
use proto::v1;
use store::{Blob, Error, Grant, ObjectRef, aside, messages};

use crate::patience::until_reached;

/// How long an object store that cannot be reached is waited for. Then another worker may try.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where a program is.
pub enum Payload {
    Here(Bytes),
    There(ObjectRef, Grant),
}

/// Why there is no program.
#[derive(Debug)]
pub enum Unread {
    /// It cannot be reached from here, or not now.
    Unreached(Error),
    /// It is not what it should be.
    Unfit(String),
}

impl Payload {
    /// Reads what an assignment says.
    ///
    /// # Errors
    /// When it says nothing.
    pub fn read(blob: Option<v1::Blob>, grant: Option<v1::Grant>) -> Result<Self, Unread> {
        let unfit = |what: &str| Unread::Unfit(format!("the job came without {what}"));
        match blob.and_then(messages::read_blob).ok_or_else(|| unfit("its program"))? {
            Blob::Inline(bytes) => Ok(Self::Here(bytes)),
            Blob::Object(object) => {
                let grant = grant.and_then(messages::read_grant).ok_or_else(|| unfit("leave to read its program"))?;
                Ok(Self::There(object, grant))
            }
        }
    }

    /// Reads the program of a job with these limits.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn program(self, limits: &Limits) -> Result<Program, Unread> {
        let unfit = |why: &dyn std::fmt::Display| Unread::Unfit(format!("cannot read the job's program: {why}"));
        let bytes = match self {
            Self::Here(bytes) => bytes,
            Self::There(object, grant) => {
                until_reached(PATIENCE, || grant.get(&object)).await.map_err(|error| match error {
                    Error::Unavailable { .. } => Unread::Unreached(error),
                    error => unfit(&error),
                })?
            }
        };
        let (holds, limit) = (frame::content(&bytes).map_err(|error| unfit(&error))?, limits.program_bytes());
        let decoded = aside(holds, move || Program::decode(&bytes, limit)).await;
        decoded.map_err(|error| unfit(&error))?.map_err(|error| unfit(&error))
    }
}
