//! Reading programs and writing results, beside the session.

use std::sync::Arc;

use engine::Fault;
use program::{Program, Saved};
use store::{Blob, Objects, Place};
use tokio::sync::Semaphore;

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
        objects: &Objects,
        path: &str,
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
        let place = Place::parse(path).map_err(|error| server(error.to_string()))?;
        objects.keep(&place, bytes.into()).await.map_err(|error| {
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

/// Reads a job's program. The error is a sentence.
pub async fn read(objects: &Objects, payload: Option<Blob>) -> Result<Program, String> {
    let payload = payload.ok_or("the job came without its program")?;
    let bytes = objects.load(&payload).await.map_err(|error| format!("cannot read the job's program: {error}"))?;
    let decoded = aside(bytes.len() as u64, move || Program::decode(&bytes)).await;
    decoded.map_err(|error| error.to_string())?.map_err(|error| format!("cannot read the job's program: {error}"))
}

/// Bytes whose decoding or encoding takes too short a time to be worth another thread.
const SMALL: u64 = 64 << 10;

/// Does work on so many bytes: here when they are few, else beside the session.
async fn aside<T: Send + 'static>(
    bytes: u64,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    if bytes <= SMALL { Ok(work()) } else { tokio::task::spawn_blocking(work).await }
}

#[cfg(test)]
mod tests {
    use program::{Datum, Heap};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn b17_results_that_are_too_large_together_are_written_one_after_another() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::local(folder.path()).unwrap();
        let results = Results::new(4 * MIB);
        let saved = |bytes: usize| {
            let mut heap = Heap::default();
            let value = heap.push(Datum::Bytes(vec![7; bytes]));
            Saved { heap, names: vec![("x".into(), value)] }
        };
        let held = results.room.clone().acquire_many_owned(2).await.unwrap();
        let mut large = Box::pin(results.write(&objects, "results/a/b/1-1", false, saved(3 << 20)));
        let waited = tokio::time::timeout(std::time::Duration::from_secs(60), &mut large).await;
        assert!(waited.is_err(), "it was encoded beside what fills half the room");
        // One that is larger than the room has it for itself.
        drop(held);
        assert!(matches!(large.await, Ok(Blob::Object(_))));
        let whole = results.write(&objects, "results/a/b/2-1", false, saved(9 << 20)).await;
        assert!(matches!(whole, Ok(Blob::Object(object)) if object.bytes > 9 << 20));
        assert_eq!(results.room.available_permits(), 4);
    }
}
