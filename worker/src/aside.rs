//! Work that would hold up the session.

use tokio::task::{JoinError, spawn_blocking};

/// Bytes whose decoding or encoding takes too short a time to be worth another thread.
const SMALL: u64 = 64 << 10;

/// Does work on so many bytes: here when they are few, else beside the session.
///
/// # Errors
/// When the work panicked elsewhere.
pub async fn aside<T: Send + 'static>(bytes: u64, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    if bytes <= SMALL { Ok(work()) } else { spawn_blocking(work).await }
}
