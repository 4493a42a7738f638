//! Work on bytes that would hold up the thread that serves sockets.

use tokio::task::{JoinError, spawn_blocking};

/// Bytes that are read, written or hashed in too short a time to be worth another thread: an upper bound of what is
/// done of such work on the threads that serve sockets.
pub const SMALL: u64 = 64 << 10;

/// Does work on so many bytes: here when they are few, else where it holds up no socket.
///
/// # Errors
/// When the work panicked elsewhere.
pub async fn aside<T: Send + 'static>(bytes: u64, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    if bytes <= SMALL { Ok(work()) } else { spawn_blocking(work).await }
}
