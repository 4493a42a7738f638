//! What clients talk to: requests in, statuses and results out. It holds nothing that is lost when it dies.

mod about;
mod app;
mod authenticate;
mod backlog;
mod budget;
mod connections;
mod error;
mod explainer;
mod gone;
mod grpc;
mod hub;
mod job;
pub mod metrics;
mod pages;
mod presence;
mod progress;
mod rates;
mod result;
pub mod routes;
mod session;
mod settings;
mod spool;
pub mod spreadsheet;
pub mod stand_in;
mod strangers;
mod submit;
mod subscribe;
mod tensors;
mod tokens;
mod trail;
mod upload;
mod users;
mod v1;

use std::path::PathBuf;
use std::sync::Arc;

use auth::{Keys, Links, SessionIds, Tenants};
use store::{History, Jobs, Models, Objects, ShownModels};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use backlog::Backlog;
use budget::Budget;
use rates::Rates;
use trail::Trail;
use users::Users;

pub use app::router;
pub use connections::{serve, serve_grpc};
pub use error::Error;
pub use settings::Settings;
pub use upload::form;

/// Searches through what there is of all tenants, at once; of one tenant an eighth of them. Each costs the store what all jobs
/// take that wait or run, or that ended in an hour, whoever asks and however little is theirs.
const SEARCHES: u64 = 16;

/// Everything that the handlers share.
pub struct Gateway {
    jobs: Jobs,
    objects: Objects,
    models: ShownModels,
    history: History,
    keys: Keys,
    tenants: Tenants,
    users: Users,
    links: Links,
    hub: hub::Hub,
    sessions: session::Sessions,
    gone: gone::Gone,
    settings: Settings,
    /// Bytes of bodies that arrive or are read.
    uploads: Budget,
    /// Where they lie meanwhile when they are large.
    folder: PathBuf,
    /// Processors that read large requests.
    decodes: Budget,
    /// Open websockets of tenants.
    sockets: Budget,
    /// Open websockets of nobody.
    keyless_sockets: Arc<Semaphore>,
    /// Bytes of results that websockets hold.
    inline_memory: Budget,
    /// Results that are read by link.
    downloads: Budget,
    /// Searches through what there is of all tenants.
    searches: Budget,
    backlog: Backlog,
    rates: Rates,
    tokenizers: tokens::Tokenizers,
    /// What pages show alike to all who may look.
    now: pages::Shared,
    /// When there was none to keep something.
    room: pages::Room,
    trail: Trail,
    /// Set when no new request is taken.
    draining: CancellationToken,
    /// Set when websockets have to end.
    closing: CancellationToken,
    followers: TaskTracker,
    /// What makes jobs durable, and cleans up after what became none.
    submissions: TaskTracker,
}

impl Gateway {
    /// Makes a gateway over the stores. `sessions` has its name, which no other gateway of the installation has.
    #[must_use]
    pub fn new(
        jobs: Jobs,
        objects: Objects,
        models: Models,
        keys: Keys,
        links: Links,
        sessions: SessionIds,
        settings: Settings,
    ) -> Arc<Self> {
        let (draining, submissions) = (CancellationToken::new(), TaskTracker::new());
        Arc::new(Self {
            gone: gone::Gone::new(jobs.clone(), keys.clone(), draining.clone(), submissions.clone()),
            history: jobs.history(),
            trail: Trail::new(jobs.audit()),
            jobs,
            objects,
            models: models.shown(),
            tenants: keys.tenants(),
            users: Users::new(&settings, &keys),
            keys,
            links,
            hub: hub::Hub::default(),
            sessions: session::Sessions::new(sessions),
            uploads: Budget::new(settings.upload_bytes, settings.upload_bytes_per_tenant),
            folder: settings.upload_folder.clone().unwrap_or_else(std::env::temp_dir),
            decodes: Budget::new(settings.decodes.into(), u64::from(settings.decodes / 2)),
            sockets: Budget::new(settings.sockets as u64, settings.sockets_per_tenant as u64),
            keyless_sockets: Arc::new(Semaphore::new(settings.sockets_keyless)),
            inline_memory: Budget::new(settings.inline_memory_bytes, settings.inline_memory_bytes / 4),
            downloads: Budget::new(settings.downloads, settings.downloads_per_tenant),
            searches: Budget::new(SEARCHES, SEARCHES / 8),
            backlog: Backlog::new(&settings),
            rates: Rates::new(&settings),
            tokenizers: tokens::Tokenizers::default(),
            now: pages::Shared::default(),
            room: pages::Room::default(),
            settings,
            draining,
            closing: CancellationToken::new(),
            followers: TaskTracker::new(),
            submissions,
        })
    }

    /// Keeps what the gateway knows of jobs, keys, tenants and models as the store has it, for as long as it is polled.
    async fn keep(&self) {
        let (jobs, backlog, sessions) = (self.jobs.clone(), self.backlog.clone(), self.sessions.clone());
        let tracker = presence::Tracker { jobs, backlog, sessions, gone: self.gone.clone() };
        let (keys, tenants, models) = (self.keys.keep(), self.tenants.keep(), self.models.keep());
        tokio::join!(
            tracker.track(),
            self.rates.forget(),
            self.trail.keep(),
            keys,
            tenants,
            models,
            self.history.keep(),
            self.users.keep()
        );
    }

    /// Refuses new requests from now on; what was accepted can still be followed and fetched.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Lets websockets deliver what has happened so far, ends them, and waits until they have ended.
    pub async fn close(&self) {
        self.closing.cancel();
        for tasks in [&self.submissions, &self.followers] {
            tasks.close();
            tasks.wait().await;
        }
        self.trail.flush(u64::MAX).await;
    }

    /// Waits until no websocket follows a job, of those that are open and those that still come.
    pub async fn followed(&self) {
        self.followers.close();
        self.followers.wait().await;
    }

    /// Says why a job that came now would not be taken.
    ///
    /// # Errors
    /// What a client would be told.
    pub async fn ready(&self) -> Result<(), Error> {
        if self.draining.is_cancelled() {
            return Err(Error::Stopping);
        }
        self.models.list().await?;
        self.objects.check_space(0)?;
        self.backlog.has_room()
    }
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
