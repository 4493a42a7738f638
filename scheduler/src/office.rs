//! One of several schedulers: it answers workers for as long as it lives, and leads whenever it is elected.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::{Stream, StreamExt};
use proto::v1;
use proto::v1::worker_sessions_server::WorkerSessions;
use store::{Election, Fenced, Leadership, MetadataStore, Objects};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use crate::clock::Clock;
use crate::config::Config;
use crate::handle::{self, Error, Handle};
use crate::sessions::{Inbox, Replies, Role, Sessions};

/// The office that schedulers are elected to.
const OFFICE: &str = "scheduler";

/// Time before another attempt, where the store did not answer.
const AGAIN: Duration = Duration::from_millis(500);

/// How long what a leader has begun may take to end when it no longer leads.
const LINGER: Duration = Duration::from_secs(5);

/// A scheduler that may lead.
pub struct Candidate {
    pub config: Config,
    pub store: Arc<dyn MetadataStore>,
    pub objects: Objects,
    pub clock: Arc<dyn Clock>,
    /// Where workers reach it, as those that dial another one are told.
    pub address: String,
}

/// Why a candidate ends that nobody stopped.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("the scheduler failed, which is a fault of this program; jobs that were accepted are kept")]
    Failed,
    #[error(transparent)]
    Start(#[from] Error),
}

impl Candidate {
    /// Returns where workers come in, whoever leads.
    #[must_use]
    pub fn door(&self) -> Door {
        let (follows, followed) = watch::channel(Role::Follows(None));
        let standby = Sessions::standby(&self.config, followed);
        Door { sessions: Arc::new(RwLock::new(standby.clone())), standby, follows }
    }

    /// Stands for election, again and again, until `stop`; then the office is given up at once. What workers have goes on,
    /// and is taken up by whoever leads next. `role` shows what this one is.
    ///
    /// # Errors
    /// When a part that nothing works without fails: the process had better end.
    pub async fn stand(self, door: Door, role: watch::Sender<Role>, stop: CancellationToken) -> Result<(), Ended> {
        let election = Election::new(Arc::clone(&self.store), OFFICE);
        tokio::select! {
            ended = self.lead_whenever_elected(&election, &door, &role, &stop) => ended,
            never = follow(&election, &door, &role) => match never {},
        }
    }

    /// Stands for election, and answers the workers that dial in by gRPC.
    ///
    /// # Errors
    /// As [`Candidate::stand`].
    pub async fn serve<IO>(
        self,
        incoming: impl Stream<Item = io::Result<IO>> + Send + 'static,
        role: watch::Sender<Role>,
        stop: CancellationToken,
    ) -> Result<(), Ended>
    where
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let door = self.door();
        let mut answering = tokio::spawn(handle::answer(door.clone(), incoming, stop.clone()));
        let ended = tokio::select! {
            ended = self.stand(door, role, stop.clone()) => ended,
            _ = &mut answering => if stop.is_cancelled() { Ok(()) } else { Err(Ended::Failed) },
        };
        answering.abort();
        ended
    }

    async fn lead_whenever_elected(
        &self,
        election: &Election,
        door: &Door,
        role: &watch::Sender<Role>,
        stop: &CancellationToken,
    ) -> Result<(), Ended> {
        loop {
            role.send_replace(door.follows.borrow().clone());
            let Some(elected) = stop.run_until_cancelled(election.campaign(&self.address)).await else {
                return Ok(());
            };
            let leadership = match elected {
                Ok(leadership) => leadership,
                Err(error) => {
                    tracing::error!(%error, "the election failed; trying again");
                    sleep(AGAIN).await;
                    continue;
                }
            };
            tracing::info!(epoch = leadership.epoch(), "this scheduler leads");
            let handle = match self.begin(&leadership).await {
                Ok(handle) => handle,
                // Another may do better, or this one when the store is back.
                Err(error) => {
                    tracing::error!(%error, "this scheduler was elected and cannot lead; another is");
                    leadership.resign().await;
                    sleep(AGAIN).await;
                    continue;
                }
            };
            door.lead(Some(handle.sessions()));
            role.send_replace(Role::Leads);
            let (lost, failed) = tokio::select! {
                () = leadership.lost().cancelled_owned() => (true, false),
                () = handle.failed() => (false, true),
                () = stop.cancelled() => (false, false),
            };
            door.lead(None);
            tracing::info!(epoch = handle.epoch(), "this scheduler leads no longer");
            if lost {
                // There is nothing to give back, and what was begun can write nothing any more: it ends by itself, however
                // long the store is silent.
                continue;
            }
            if timeout(LINGER, handle.stop()).await.is_err() {
                tracing::warn!("what was begun as leader took too long to end");
            }
            leadership.resign().await;
            if failed {
                return Err(Ended::Failed);
            }
        }
    }

    /// Takes up what there is. Whatever it writes counts only while it leads.
    async fn begin(&self, leadership: &Leadership) -> Result<Handle, Error> {
        let store = Fenced::new(Arc::clone(&self.store), leadership.fence());
        let starting =
            handle::start(self.config.clone(), Arc::new(store), self.objects.clone(), Arc::clone(&self.clock));
        tokio::select! {
            started = starting => started,
            () = leadership.lost().cancelled_owned() => Err(store::Error::Deposed.into()),
        }
    }
}

/// Keeps it known who leads, for as long as it is polled.
async fn follow(election: &Election, door: &Door, role: &watch::Sender<Role>) -> Infallible {
    loop {
        match election.leaders().await {
            Ok(mut leaders) => {
                while let Some(leader) = leaders.next().await {
                    let leader = Role::Follows(leader.map(|leader| leader.address));
                    door.follows.send_replace(leader.clone());
                    role.send_if_modified(|role| {
                        let follows = *role != Role::Leads;
                        if follows {
                            *role = leader;
                        }
                        follows
                    });
                }
            }
            Err(error) => tracing::warn!(%error, "cannot tell who leads; trying again"),
        }
        sleep(AGAIN).await;
    }
}

/// Where workers come in: it lets them in while this process leads, and tells them who does otherwise. Clones share it.
#[derive(Clone)]
pub struct Door {
    /// What answers at the moment.
    sessions: Arc<RwLock<Sessions>>,
    standby: Sessions,
    /// Who leads, as others see it.
    follows: watch::Sender<Role>,
}

impl Door {
    /// Opens a session with whoever sends `inbox`, over whatever network.
    ///
    /// # Errors
    /// When the worker does not belong here.
    pub async fn accept(&self, inbox: Inbox) -> Result<Replies, Status> {
        self.sessions().accept(inbox).await
    }

    fn lead(&self, sessions: Option<Sessions>) {
        let sessions = sessions.unwrap_or_else(|| self.standby.clone());
        *self.sessions.write().unwrap_or_else(PoisonError::into_inner) = sessions;
    }

    fn sessions(&self) -> Sessions {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[tonic::async_trait]
impl WorkerSessions for Door {
    type OpenStream = Pin<Box<dyn Stream<Item = Result<v1::ToWorker, Status>> + Send>>;

    async fn open(&self, request: Request<Streaming<v1::FromWorker>>) -> Result<Response<Self::OpenStream>, Status> {
        self.sessions().open(request).await
    }
}
