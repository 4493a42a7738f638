//! A result as safetensors: what a worker wrote for nnsight's client, told in other words. However large it is, little of it is
//! in memory: what was written and what it becomes lie in files without names.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use auth::Principal;
use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};
use nnsight::{DecodeError, TellError};
use store::{Blob, JobRecord};

use crate::budget::Held;
use crate::spool::Spool;
use crate::submit::{granted, take_turn};
use crate::{Error, Gateway, progress, result};

/// What such a result is called where it is asked for, and answered, by HTTP.
pub const KIND: &str = "application/vnd.safetensors";

/// A result, and the room that it takes meanwhile.
pub struct Tensors {
    bytes: Bytes,
    held: Held,
}

impl Tensors {
    /// Makes safetensors of a job's result.
    ///
    /// # Errors
    /// [`Error::NoResult`]; [`Error::Unfit`] for what has no such form, [`Error::Busy`] and [`Error::TooManyAtOnce`] where there
    /// is no room for it; failures of the objects and of the disk.
    pub async fn of(gateway: &Arc<Gateway>, principal: &Principal, record: &JobRecord) -> Result<Self, Error> {
        let length = progress::result(record).map_or(0, Blob::len);
        let whole = result::bytes(gateway, record).await?;
        // What it becomes is about as much again.
        let held = granted(gateway, gateway.uploads.take(&record.tenant, length.saturating_mul(2))).await?;
        let mut written = Spool::new(&gateway.folder);
        let mut pieces = whole.into_body().into_data_stream();
        while let Some(piece) = pieces.try_next().await.map_err(Error::internal)? {
            written.add(&piece).await.map_err(Error::disk)?;
        }
        let written = written.end().await.map_err(Error::disk)?;
        let turn = take_turn(gateway, principal).await?;
        let telling = Telling {
            folder: gateway.folder.clone(),
            compressed: record.client.compress,
            bytes: record.limits.saved_bytes,
            values: record.limits.heap_nodes,
        };
        let told = tokio::task::spawn_blocking(move || telling.tell(&written)).await.map_err(Error::internal)??;
        drop(turn);
        Ok(Self { bytes: told, held })
    }

    pub fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Returns all of it in pieces. Its room is taken until they are read, or given up.
    pub fn pieces(self, length: usize) -> impl Stream<Item = Bytes> + Send {
        let Self { mut bytes, held } = self;
        stream::iter(std::iter::from_fn(move || {
            _ = &held;
            let length = bytes.len().min(length);
            (length > 0).then(|| bytes.split_to(length))
        }))
    }
}

struct Telling {
    folder: PathBuf,
    compressed: bool,
    /// What it may come to.
    bytes: u64,
    values: u32,
}

impl Telling {
    fn tell(&self, written: &Bytes) -> Result<Bytes, Error> {
        let plain = match self.compressed {
            true => {
                let mut plain = Spool::new(&self.folder);
                // Beside what was saved there is what says what it is.
                let limit = self.bytes.saturating_mul(2).max(written.len() as u64 * 2);
                nnsight::decompress_to(written, limit, |piece| plain.write_all(piece).map_err(Error::disk))?;
                plain.finish().map_err(Error::disk)?
            }
            false => written.clone(),
        };
        let saved = nnsight::decode_saved(&plain, self.values).map_err(|error| match error {
            DecodeError::TooManyValues { limit } => Error::Unfit(format!(
                "the result has more than {limit} values, which are too many for safetensors; fetch it in the client's own \
                 form"
            )),
            other => Error::internal(other),
        })?;
        let mut told = Spool::new(&self.folder);
        let outcome = nnsight::write_safetensors(&saved, self.bytes, &mut told);
        // Why it could not be written, if that is it.
        let told = told.finish().map_err(Error::disk)?;
        match outcome {
            Ok(()) => Ok(told),
            Err(error @ (TellError::Malformed(_) | TellError::Io(_))) => Err(Error::internal(error)),
            Err(other) => Err(Error::Unfit(other.to_string())),
        }
    }
}
