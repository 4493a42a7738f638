//! Writing results, beside the session.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::Fault;
use failpoints::Point;
use program::Saved;
use proto::v1;
use store::{Blob, Grant, Place, aside, messages};
use tokio::sync::Semaphore;

use crate::patience::until_reached;

/// How long an object store that cannot be reached is waited for, which costs only that the result is kept in memory.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Where one attempt's result goes.
#[derive(Clone)]
pub struct Destination {
    place: Place,
    grant: Grant,
    /// Bytes up to which it travels with the news of its end.
    inline_bytes: usize,
}

impl Destination {
    /// Reads what an assignment says.
    ///
    /// # Errors
    /// A sentence, when it says nothing.
    pub fn read(path: &str, grant: Option<v1::Grant>, inline_bytes: usize) -> Result<Self, String> {
        let place = Place::parse(path).map_err(|error| error.to_string())?;
        let grant = grant.and_then(messages::read_grant).ok_or("the job came without leave to write its result")?;
        Ok(Self { place, grant, inline_bytes })
    }
}

/// Writes results, of so many bytes at once and no more.
#[derive(Clone)]
pub struct Results {
    /// One permit for each MiB.
    room: Arc<Semaphore>,
    most: u32,
}

const MIB: u64 = 1 << 20;

impl Results {
    /// Makes room for the encoding of `bytes` of saved values at once. A result that is larger has all of it.
    pub fn new(bytes: u64) -> Self {
        let most = u32::try_from((bytes / MIB).max(1)).unwrap_or(u32::MAX);
        Self { room: Arc::new(Semaphore::new(most as usize)), most }
    }

    /// Encodes what a job saved, and keeps it.
    ///
    /// # Errors
    /// Whose fault it is, and a sentence.
    pub async fn write(
        &self,
        destination: &Destination,
        compress: bool,
        saved: Saved,
    ) -> Result<Blob, (Fault, String)> {
        let server = |text: String| (Fault::Server, text);
        let bytes = saved.heap.bytes();
        let share = u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX).min(self.most);
        // Until the encoded bytes are gone, too. Who waits has waited longest when there is room.
        let _room = self.room.acquire_many(share).await.map_err(|error| server(error.to_string()))?;
        let encoded = aside(bytes, move || nnsight::encode_saved(&saved, compress)).await;
        let bytes = encoded.map_err(|error| server(error.to_string()))?.map_err(|error| match error {
            nnsight::EncodeError::Zstd(_) => server(error.to_string()),
            _ => (Fault::User, error.to_string()),
        })?;
        let bytes = Bytes::from(bytes);
        let Destination { place, grant, inline_bytes } = destination;
        if bytes.len() <= *inline_bytes {
            return Ok(Blob::Inline(bytes));
        }
        let put = until_reached(PATIENCE, || grant.put(place, bytes.clone())).await;
        if put.is_ok() {
            failpoints::pass(Point::ResultKept);
        }
        put.map(Blob::Object).map_err(|error| {
            server(match error {
                store::Error::NoSpace { .. } => {
                    "there is no disk space left for the result, which only the operator can mend; save less, or try \
                     again later"
                        .into()
                }
                error => format!("cannot keep the result: {error}"),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use program::{Datum, Heap};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn b17_results_that_are_too_large_together_are_written_one_after_another() {
        let folder = tempfile::tempdir().unwrap();
        let destination = |path: &str| Destination {
            place: Place::parse(path).unwrap(),
            grant: Grant::File(folder.path().join(path)),
            inline_bytes: 1 << 10,
        };
        let (one, two) = (destination("results/a/b/1-1"), destination("results/a/b/2-1"));
        let results = Results::new(4 * MIB);
        let saved = |bytes: usize| {
            let mut heap = Heap::default();
            let value = heap.push(Datum::Bytes(vec![7; bytes].into()));
            Saved { heap, names: vec![("x".into(), value)] }
        };
        let held = results.room.clone().acquire_many_owned(2).await.unwrap();
        let mut large = Box::pin(results.write(&one, false, saved(3 << 20)));
        let waited = tokio::time::timeout(std::time::Duration::from_secs(60), &mut large).await;
        assert!(waited.is_err(), "it was encoded beside what fills half the room");
        // One that is larger than the room has it for itself.
        drop(held);
        assert!(matches!(large.await, Ok(Blob::Object(_))));
        let whole = results.write(&two, false, saved(9 << 20)).await;
        assert!(matches!(whole, Ok(Blob::Object(object)) if object.bytes > 9 << 20));
        assert_eq!(results.room.available_permits(), 4);
    }
}
