//! Starting and stopping the scheduler.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use failpoints::Point;
use futures::{FutureExt, Stream, StreamExt};
use ids::InstanceId;
use proto::v1::worker_sessions_server::{WorkerSessions, WorkerSessionsServer};
use store::{Jobs, MetadataStore, Objects};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpIncoming};

use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::history::{self, Ledger};
use crate::leader::Leader;
use crate::roster::Roster;
use crate::sessions::{News, Role, Sessions};
use crate::settle::Settler;
use crate::{epoch, sweep};

/// Why the scheduler did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen for workers on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot read the jobs: {0}")]
    Store(#[from] store::Error),
}

/// A running scheduler. Dropping it stops it; [`Handle::stop`] waits until it has.
pub struct Handle {
    address: SocketAddr,
    epoch: u64,
    sessions: Sessions,
    drains: mpsc::Sender<oneshot::Sender<()>>,
    stop: CancellationToken,
    /// Whether a part that nothing works without has ended by itself.
    failed: CancellationToken,
    tasks: TaskTracker,
}

/// Tells a scheduler of processes that ended. Whoever starts workers sees it first.
#[derive(Clone, Debug)]
pub struct Departures(mpsc::Sender<News>);

impl Departures {
    /// Tells that a worker's process was seen to end, so that nobody waits for it to come back.
    pub async fn gone(&self, instance: InstanceId) {
        // A scheduler that has stopped waits for nobody.
        let _ = self.0.send(News::Gone(instance)).await;
    }
}

/// Starts the scheduler: takes up the jobs that an earlier one left, then listens for workers.
///
/// # Errors
/// When the address is taken or the store cannot be read.
pub async fn run(config: Config, store: Arc<dyn MetadataStore>, objects: Objects) -> Result<Handle, Error> {
    let listen_failed = |source| Error::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listen_failed)?;
    let address = listener.local_addr().map_err(listen_failed)?;
    let mut handle = start(config, store, objects, Arc::new(SystemClock)).await?;
    handle.address = address;
    handle.serve(plaintext(listener));
    Ok(handle)
}

/// Starts a scheduler that nobody can reach before [`Handle::serve`] or [`Handle::sessions`] say how.
///
/// # Errors
/// When the store cannot be read.
pub async fn start(
    config: Config,
    store: Arc<dyn MetadataStore>,
    objects: Objects,
    clock: Arc<dyn Clock>,
) -> Result<Handle, Error> {
    let epoch = epoch::begin(store.as_ref(), clock.unix_millis()).await?;
    failpoints::pass(Point::EpochCounted);
    let (stop, failed, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
    let (settler, removing) = Settler::new(Jobs::new(Arc::clone(&store)), objects, clock);
    let (news, inbox) = mpsc::channel(1024);
    let (drains, drain_requests) = mpsc::channel(1);
    // Whoever has an epoch leads.
    let (_, role) = watch::channel(Role::Leads);
    let sessions = Sessions {
        token: config.token.clone(),
        heartbeat: config.heartbeat,
        news,
        next: Arc::new(AtomicU64::new(1)),
        role,
        stop: stop.clone(),
        tasks: tasks.clone(),
    };
    let keep = config.result_time;
    let address = config.listen;
    let roster = Roster::load(Arc::clone(&store)).await?;
    let (ledger, seen) = Ledger::new(epoch, settler.clock.unix_millis(), config.queue_time);
    let history = history::write(settler.jobs.history(), seen);
    let mut leader = Leader::new(config, settler.clone(), store, roster, ledger, epoch);
    let watches = leader.recover().await?;
    let handle = Handle { address, epoch, sessions, drains, stop: stop.clone(), failed, tasks };
    handle.essential("leader", leader.run(watches, inbox, drain_requests, stop.clone()));
    handle.essential("sweep", sweep::run(settler, keep, stop.clone()));
    handle.essential("historian", {
        let stop = stop.clone();
        async move {
            stop.run_until_cancelled(history).await;
        }
    });
    handle.essential("remover", async move {
        stop.run_until_cancelled(removing).await;
    });
    Ok(handle)
}

impl Handle {
    /// Returns where workers dial in.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of this start, which is part of the token of whatever it gives out.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns what opens sessions, for a network of the caller's own.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        self.sessions.clone()
    }

    /// Serves the workers that dial in by gRPC.
    pub fn serve<IO>(&self, incoming: impl Stream<Item = io::Result<IO>> + Send + 'static)
    where
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        self.essential("server for workers", answer(self.sessions.clone(), incoming, self.stop.clone()));
    }

    /// Returns the way to tell of processes that ended.
    #[must_use]
    pub fn departures(&self) -> Departures {
        Departures(self.sessions.news.clone())
    }

    /// Gives out no more jobs and waits until the workers have none, for `limit` at most. Jobs that wait stay
    /// in the store, for the next start. Returns whether the workers were done in time.
    pub async fn drain(&self, limit: Duration) -> bool {
        let (done, wait) = oneshot::channel();
        let drained = async { self.drains.send(done).await.is_ok() && wait.await.is_ok() };
        tokio::time::timeout(limit, drained).await.unwrap_or(false)
    }

    /// Resolves when a part that nothing works without has ended by itself, which is a fault. Then everything has stopped,
    /// and the process had better end.
    pub fn failed(&self) -> impl Future<Output = ()> + Send + 'static {
        self.failed.clone().cancelled_owned()
    }

    /// Stops everything and waits for it. What workers have goes on, and is taken up again at the next start.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn essential(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (stop, failed) = (self.stop.clone(), self.failed.clone());
        self.tasks.spawn(async move {
            // A panic has said where it was. What it left behind is not used again.
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            if !stop.is_cancelled() {
                tracing::error!(
                    name,
                    panicked = ended.is_err(),
                    "a part of the scheduler ended, and with it all of it"
                );
                failed.cancel();
                stop.cancel();
            }
        });
    }
}

/// Yields the connections of a port, in plain text.
#[must_use]
pub fn plaintext(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

/// Answers the workers that dial in by gRPC, until `stop`.
pub(crate) async fn answer<IO>(
    sessions: impl WorkerSessions,
    incoming: impl Stream<Item = io::Result<IO>> + Send + 'static,
    stop: CancellationToken,
) where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let service = WorkerSessionsServer::new(sessions);
    let server = Server::builder().add_service(service);
    // Its accepting ends with the stream; one connection that fails ends nobody else's.
    let incoming = incoming.boxed();
    if let Err(error) = server.serve_with_incoming_shutdown(incoming, stop.cancelled()).await {
        tracing::error!(%error, "the server for workers failed");
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("address", &self.address).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
