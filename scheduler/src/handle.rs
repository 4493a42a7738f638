//! Starting and stopping the scheduler.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use proto::v1::worker_sessions_server::WorkerSessionsServer;
use store::{Jobs, MetadataStore, Models, Objects};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::config::Config;
use crate::leader::Leader;
use crate::sessions::Sessions;
use crate::settle::Settler;
use crate::sweep;

/// Why the scheduler did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen for workers on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot read the jobs: {0}")]
    Store(#[from] store::Error),
}

/// A running scheduler. Dropping it stops it; [`Handle::stop`] waits until it has.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    drains: mpsc::Sender<oneshot::Sender<()>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Starts the scheduler: takes up the jobs that an earlier one left, then listens for workers.
///
/// # Errors
/// When the address is taken or the store cannot be read.
pub async fn run(config: Config, store: Arc<dyn MetadataStore>, objects: Objects) -> Result<Handle, Error> {
    let listen_failed = |source| Error::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listen_failed)?;
    let address = listener.local_addr().map_err(listen_failed)?;

    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let settler = Settler { jobs: Jobs::new(Arc::clone(&store)), objects };
    let (news, inbox) = mpsc::channel(1024);
    let (drains, drain_requests) = mpsc::channel(1);

    let sessions = Sessions {
        token: config.token.clone(),
        heartbeat: config.heartbeat,
        objects_folder: settler.objects.folder().map(|folder| folder.display().to_string()).unwrap_or_default(),
        news,
        next: Arc::new(AtomicU64::new(1)),
        stop: stop.clone(),
        tasks: tasks.clone(),
    };
    let keep = config.result_time;
    let mut leader = Leader::new(config, settler.clone(), Models::new(store));
    let work = leader.recover().await?;
    tasks.spawn(leader.run(work, inbox, drain_requests, stop.clone()));
    tasks.spawn(sweep::run(settler, keep, stop.clone()));
    tasks.spawn({
        let stop = stop.clone();
        async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let server = Server::builder().add_service(WorkerSessionsServer::new(sessions));
            if let Err(error) = server.serve_with_incoming_shutdown(incoming, stop.cancelled()).await {
                tracing::error!(%error, "the server for workers ended");
            }
        }
    });
    Ok(Handle { address, drains, stop, tasks })
}

impl Handle {
    /// Returns where workers dial in.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives out no more jobs and waits until the workers have none, for `limit` at most. Jobs that wait stay
    /// in the store, for the next start. Returns whether the workers were done in time.
    pub async fn drain(&self, limit: Duration) -> bool {
        let (done, wait) = oneshot::channel();
        let drained = async { self.drains.send(done).await.is_ok() && wait.await.is_ok() };
        tokio::time::timeout(limit, drained).await.unwrap_or(false)
    }

    /// Stops everything and waits for it. What workers had is taken up again at the next start.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
