//! The server that workers dial. One task reads each session and passes on what it says, in order.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use ids::{InstanceId, JobId, ModelKey, Token, WorkerId};
use proto::v1::from_worker::Message as FromWorker;
use proto::v1::worker_sessions_server::WorkerSessions;
use proto::v1::{self, to_worker};
use store::{CertificateEnd, DeviceMemory, JobProgress, messages};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use crate::config::Config;
use crate::policy::End;
use crate::wire;

/// Messages that may wait for a worker. A worker that lets more pile up is cut off, and may come back.
const OUTBOX: usize = 1024;

/// Messages without hurry that may wait for the next one to be sent with.
const UNHURRIED: usize = 256;

/// Heartbeats without a word after which a session is over.
const SILENCE: u32 = 3;

/// Names one session. A worker that comes back has another.
pub type SessionId = u64;

/// What a worker sends, however it gets here.
pub type Inbox = BoxStream<'static, Result<v1::FromWorker, Status>>;

/// What is sent to a worker.
pub type Replies = ReceiverStream<Result<v1::ToWorker, Status>>;

/// What sessions tell the leader.
#[derive(Debug)]
pub enum News {
    Hello(Hello),
    Model {
        session: SessionId,
        told: ToldModel,
    },
    /// A model on the session's worker is not what it was: it gives other numbers, or its weights in memory have changed.
    Drifted {
        session: SessionId,
        model: ModelKey,
        why: String,
        weights: bool,
    },
    /// How the worker is, for people to look at.
    Measured {
        session: SessionId,
        memory: Vec<DeviceMemory>,
        progress: Vec<JobProgress>,
        certificates: Vec<CertificateEnd>,
    },
    /// A job began to run.
    Started {
        session: SessionId,
        job: JobId,
        token: Token,
    },
    /// A job has run, and its result takes a while to be written.
    Ran {
        session: SessionId,
        job: JobId,
        token: Token,
    },
    /// A job's program printed.
    Log {
        session: SessionId,
        job: JobId,
        token: Token,
        number: u32,
        text: String,
    },
    /// A worker no longer runs a job.
    Ended {
        session: SessionId,
        job: JobId,
        token: Token,
        end: End,
    },
    /// The worker's process is about to end, because of these jobs if there are any.
    Goodbye {
        session: SessionId,
        culprits: Vec<JobId>,
        /// The model whose ranks were lost, and whether one gave no answer in time, where that is why.
        ranks_lost: Option<(ModelKey, bool)>,
    },
    Closed {
        session: SessionId,
        closed: Closed,
    },
    /// A process was seen to have ended.
    Gone(InstanceId),
}

/// The first thing that a worker says.
#[derive(Debug)]
pub struct Hello {
    pub session: SessionId,
    pub worker: WorkerId,
    pub instance: InstanceId,
    /// Counts the hellos of that process.
    pub dial: u64,
    pub slots: usize,
    /// The highest epoch that it was welcomed under.
    pub epoch: u64,
    pub holds: Vec<Hold>,
    pub version: String,
    /// Bytes for models, by device.
    pub devices: BTreeMap<String, u64>,
    pub models: Vec<ToldModel>,
    /// Bytes of its memory for weights that are kept.
    pub host: u64,
    /// Where it holds ranks of models that others serve; empty where it holds none.
    pub rank_address: String,
    pub outbox: Outbox,
}

/// How a model is on a worker, as that says.
#[derive(Clone, Debug)]
pub struct ToldModel {
    pub key: ModelKey,
    pub state: v1::model_state::State,
    pub hopeless: bool,
    /// What it takes; 0 where that is not known.
    pub bytes: u64,
    pub device: Option<String>,
    /// For gateways to read; empty where that is not known.
    pub outline: Bytes,
    /// What its weights take that are kept in memory; 0 where they are not.
    pub kept: u64,
    /// Whether it was loaded from such.
    pub warm: bool,
    /// The workers and devices that hold its other ranks, where it says so.
    pub beside: Vec<(WorkerId, String)>,
}

/// A job that a worker says it has.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    pub job: JobId,
    pub token: Token,
    pub state: v1::HeldState,
    pub ran: Duration,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The other side closed the connection, as the system does for a process that died.
    Left,
    /// Nothing was heard, or it was closed from here.
    Silent,
}

/// The way to one worker.
#[derive(Clone, Debug)]
pub struct Outbox {
    messages: mpsc::Sender<Result<v1::ToWorker, Status>>,
    /// What goes with the next one: a worker that is told of everything by itself wakes up for each.
    unhurried: Arc<Mutex<Vec<to_worker::Message>>>,
    closed: CancellationToken,
}

impl Outbox {
    fn new(messages: mpsc::Sender<Result<v1::ToWorker, Status>>, closed: CancellationToken) -> Self {
        Self { messages, unhurried: Arc::default(), closed }
    }

    /// Sends a message, or ends the session of a worker that does not read.
    pub fn send(&self, message: to_worker::Message) {
        let unhurried = std::mem::take(&mut *self.unhurried());
        for message in unhurried.into_iter().chain([message]) {
            if self.messages.try_send(Ok(wire::to_worker(message))).is_err() {
                return self.close();
            }
        }
    }

    /// Sends a message with the next one, or else with the next heartbeat.
    pub fn send_along(&self, message: to_worker::Message) {
        let mut unhurried = self.unhurried();
        if unhurried.len() < UNHURRIED {
            return unhurried.push(message);
        }
        drop(unhurried);
        self.send(message);
    }

    /// Says why there is no session, and ends it.
    pub fn refuse(&self, status: Status) {
        // Who does not read learns nothing.
        let _ = self.messages.try_send(Err(status));
        self.close();
    }

    /// Ends the session.
    pub fn close(&self) {
        self.closed.cancel();
    }

    fn unhurried(&self) -> MutexGuard<'_, Vec<to_worker::Message>> {
        self.unhurried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a scheduler gives out jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    Leads,
    /// Another one does, at this address if it is known.
    Follows(Option<String>),
}

/// The service.
#[derive(Clone)]
pub struct Sessions {
    pub(crate) token: String,
    pub(crate) heartbeat: Duration,
    pub(crate) news: mpsc::Sender<News>,
    pub(crate) next: Arc<AtomicU64>,
    pub(crate) role: watch::Receiver<Role>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

#[tonic::async_trait]
impl WorkerSessions for Sessions {
    type OpenStream = Pin<Box<dyn Stream<Item = Result<v1::ToWorker, Status>> + Send>>;

    async fn open(&self, request: Request<Streaming<v1::FromWorker>>) -> Result<Response<Self::OpenStream>, Status> {
        let replies = self.accept(request.into_inner().boxed()).await?;
        Ok(Response::new(Box::pin(replies)))
    }
}

impl Sessions {
    /// Answers workers for a scheduler that may lead one day: they are sent to the one that does.
    #[must_use]
    pub fn standby(config: &Config, role: watch::Receiver<Role>) -> Self {
        let (token, heartbeat) = (config.token.clone(), config.heartbeat);
        // Nobody listens: while it follows, nobody is let in.
        let (news, _) = mpsc::channel(1);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        Self { token, heartbeat, news, next: Arc::default(), role, stop, tasks }
    }

    /// Opens a session with whoever sends `inbox`, over whatever network. The leader's answer comes first.
    ///
    /// # Errors
    /// When the worker does not belong here.
    pub async fn accept(&self, mut inbox: Inbox) -> Result<Replies, Status> {
        let first = tokio::time::timeout(self.heartbeat.saturating_mul(SILENCE), inbox.next()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no hello came"))?.transpose()?;
        // A line that broke is nothing wrong with the worker.
        let first = first.ok_or_else(|| Status::unavailable("the connection ended before a hello came"))?;
        let v1::FromWorker { message: Some(FromWorker::Hello(hello)) } = first else {
            return Err(Status::invalid_argument("the first message must be a hello"));
        };
        // Hashes compare in constant time.
        if self.token.is_empty() || blake3::hash(hello.token.as_bytes()) != blake3::hash(self.token.as_bytes()) {
            return Err(Status::unauthenticated("the worker's token is not this cluster's"));
        }
        if hello.worker_id.is_empty() || hello.instance.is_empty() {
            return Err(Status::invalid_argument("a worker must say its name and that of its process"));
        }
        let (messages, replies) = mpsc::channel(OUTBOX);
        let outbox = Outbox::new(messages, self.stop.child_token());
        if let Role::Follows(leader) = &*self.role.borrow() {
            let address = leader.clone().unwrap_or_default();
            outbox.send(to_worker::Message::NotLeader(v1::NotLeader { address }));
            return Ok(ReceiverStream::new(replies));
        }
        let session = self.next.fetch_add(1, Ordering::Relaxed);
        let holds = hello.holds.iter().map(wire::hold).collect::<Result<_, _>>().map_err(Status::invalid_argument)?;
        let hello = Hello {
            session,
            worker: WorkerId::new(hello.worker_id),
            instance: InstanceId::new(hello.instance),
            dial: hello.dial,
            slots: usize::try_from(hello.slots).unwrap_or(1).max(1),
            epoch: hello.epoch,
            holds,
            version: hello.version,
            devices: hello.devices.into_iter().map(|device| (device.name, device.model_bytes)).collect(),
            host: hello.warm_bytes,
            rank_address: hello.rank_address,
            models: hello.models.into_iter().filter_map(wire::model_state).collect(),
            outbox: outbox.clone(),
        };
        self.news.send(News::Hello(hello)).await.map_err(|_| Status::unavailable("the scheduler is stopping"))?;
        // The hello is the first.
        let reader = Reader { session, news: self.news.clone(), heartbeat: self.heartbeat, received: 1 };
        self.tasks.spawn(reader.run(inbox, outbox));
        Ok(ReceiverStream::new(replies))
    }
}

/// Reads one session to its end.
struct Reader {
    session: SessionId,
    news: mpsc::Sender<News>,
    heartbeat: Duration,
    /// Messages taken in.
    received: u64,
}

impl Reader {
    async fn run(mut self, mut inbox: Inbox, outbox: Outbox) {
        let mut beats = tokio::time::interval_at(Instant::now() + self.heartbeat, self.heartbeat);
        // Where this process was stopped for a while, that is one beat: what came meanwhile is read before the next.
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut quiet = 0;
        let (closed, why) = loop {
            // Each branch is cancel-safe: the stream keeps what it has of a frame. A flood must not keep beats back.
            let message = tokio::select! {
                biased;
                () = outbox.closed.cancelled() => break (Closed::Silent, "it was closed".to_owned()),
                _ = beats.tick() => {
                    quiet += 1;
                    if quiet > SILENCE {
                        break (Closed::Silent, "the worker was silent".to_owned());
                    }
                    outbox.send(to_worker::Message::Heartbeat(v1::Heartbeat { received: self.received }));
                    continue;
                }
                message = inbox.next() => message,
            };
            match message {
                Some(Ok(v1::FromWorker { message: Some(message) })) => {
                    if let Err(why) = self.handle(message).await {
                        break (Closed::Silent, why);
                    }
                }
                // A message that only a later version knows.
                Some(Ok(v1::FromWorker { message: None })) => {}
                None => break (Closed::Left, "the worker left".to_owned()),
                Some(Err(status)) => break (Closed::Left, format!("the connection broke: {}", status.message())),
            }
            self.received += 1;
            quiet = 0;
        };
        outbox.close();
        tracing::info!(session = self.session, why, "worker session ended");
        // The leader is gone only when everything stops.
        let _ = self.news.send(News::Closed { session: self.session, closed }).await;
    }

    /// Passes one message on. An error is why the session cannot go on.
    async fn handle(&self, message: FromWorker) -> Result<(), String> {
        let session = self.session;
        let news = match message {
            FromWorker::Hello(_) => return Err("the worker said hello twice".into()),
            FromWorker::Heartbeat(_) => return Ok(()),
            // A state that only a later version knows is none.
            FromWorker::ModelState(state) if state.model.is_some() => match wire::model_state(state) {
                Some(told) => News::Model { session, told },
                None => return Ok(()),
            },
            FromWorker::ModelState(_) => return Err("a model state came without a model".into()),
            FromWorker::Drifted(v1::Drifted { model: Some(model), why, weights }) => {
                News::Drifted { session, model: messages::read_model(model), why, weights }
            }
            FromWorker::Drifted(_) => return Err("drift was told of no model".into()),
            FromWorker::Started(v1::Started { job_id, attempt, epoch }) => {
                News::Started { session, job: wire::job(&job_id)?, token: Token { epoch, attempt } }
            }
            FromWorker::Ran(v1::Ran { job_id, attempt, epoch }) => {
                News::Ran { session, job: wire::job(&job_id)?, token: Token { epoch, attempt } }
            }
            FromWorker::Log(v1::Log { job_id, attempt, number, text, epoch }) => {
                News::Log { session, job: wire::job(&job_id)?, token: Token { epoch, attempt }, number, text }
            }
            FromWorker::Finished(v1::Finished { job_id, attempt, result, usage, epoch }) => {
                let end = End::Finished { result: result.and_then(messages::read_blob), usage };
                News::Ended { session, job: wire::job(&job_id)?, token: Token { epoch, attempt }, end }
            }
            FromWorker::Failed(failed) => {
                let token = Token { epoch: failed.epoch, attempt: failed.attempt };
                let job = wire::job(&failed.job_id)?;
                let end = match wire::fault(failed.fault()) {
                    Some(fault) => End::Failed { fault, text: failed.text, usage: failed.usage },
                    None => End::LetGo,
                };
                News::Ended { session, job, token, end }
            }
            FromWorker::Goodbye(v1::Goodbye { culprits, ranks_lost }) => {
                let culprits = culprits.iter().map(|job| wire::job(job)).collect::<Result<_, _>>()?;
                let lost = |lost: v1::RanksLost| Some((messages::read_model(lost.model?), lost.timeout));
                News::Goodbye { session, culprits, ranks_lost: ranks_lost.and_then(lost) }
            }
            FromWorker::Measured(v1::Measured { memory, jobs, certificates }) => News::Measured {
                session,
                memory: memory.into_iter().map(messages::read_memory).collect(),
                progress: jobs.iter().filter_map(messages::read_progress).collect(),
                certificates: certificates.into_iter().map(messages::read_certificate).collect(),
            },
        };
        self.news.send(news).await.map_err(|_| "the scheduler is stopping".into())
    }
}
