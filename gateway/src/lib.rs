//! What clients talk to: requests in, statuses and results out. It holds nothing that is lost when it dies.

mod about;
mod app;
mod authenticate;
mod connections;
mod error;
mod hub;
mod job;
mod progress;
mod result;
mod session;
mod settings;
mod submit;
mod subscribe;

use std::sync::Arc;

use auth::{Keys, Links};
use store::{Jobs, Models, Objects};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use app::router;
pub use connections::serve;
pub use error::Error;
pub use settings::Settings;

/// Everything that the handlers share.
pub struct Gateway {
    jobs: Jobs,
    objects: Objects,
    models: Models,
    keys: Keys,
    links: Links,
    hub: hub::Hub,
    sessions: session::Sessions,
    settings: Settings,
    /// Bounds the requests whose bodies are in memory.
    submissions: Semaphore,
    /// Bounds the websockets that are open.
    sockets: Arc<Semaphore>,
    /// Bounds the results that websockets hold in memory: one permit for each mebibyte.
    inline_memory: Semaphore,
    /// Set when no new request is taken.
    draining: CancellationToken,
    /// Set when websockets have to end.
    closing: CancellationToken,
    followers: TaskTracker,
}

impl Gateway {
    /// Makes a gateway over the stores.
    #[must_use]
    pub fn new(
        jobs: Jobs,
        objects: Objects,
        models: Models,
        keys: Keys,
        links: Links,
        settings: Settings,
    ) -> Arc<Self> {
        Arc::new(Self {
            jobs,
            objects,
            models,
            keys,
            links,
            hub: hub::Hub::default(),
            sessions: session::Sessions::default(),
            submissions: Semaphore::new(settings.submissions),
            sockets: Arc::new(Semaphore::new(settings.sockets)),
            inline_memory: Semaphore::new(mebibytes(settings.inline_memory_bytes) as usize),
            settings,
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
            followers: TaskTracker::new(),
        })
    }

    /// Refuses new requests from now on; what was accepted can still be followed and fetched.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Lets websockets deliver what has happened so far, ends them, and waits until they have ended.
    pub async fn close(&self) {
        self.closing.cancel();
        self.followers.close();
        self.followers.wait().await;
    }
}

/// Bytes whose decoding or encoding takes too short a time to be worth another thread.
const SMALL: u64 = 64 << 10;

/// Does work on so many bytes: here when they are few, else where it holds up no socket.
async fn aside<T: Send + 'static>(
    bytes: u64,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    if bytes <= SMALL { Ok(work()) } else { tokio::task::spawn_blocking(work).await }
}

/// Returns how many begun mebibytes these bytes are.
fn mebibytes(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX)
}

/// Returns the seconds since 1970.
fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// Returns the milliseconds since 1970.
fn unix_millis() -> u64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
