//! The server that workers dial. One task reads each session and passes on what it says, in order.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::Stream;
use ids::{JobId, ModelKey, WorkerId};
use proto::v1::from_worker::Message as FromWorker;
use proto::v1::worker_sessions_server::WorkerSessions;
use proto::v1::{self, to_worker};
use store::{Blob, Fault};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use crate::decide::SessionId;
use crate::wire;

/// Messages that may wait for a worker. A worker that lets more pile up is cut off.
const OUTBOX: usize = 1024;

/// What sessions tell the leader.
#[derive(Debug)]
pub enum News {
    Opened {
        session: SessionId,
        worker: WorkerId,
        slots: usize,
        outbox: Outbox,
    },
    Model {
        session: SessionId,
        key: ModelKey,
        state: v1::model_state::State,
    },
    /// A job began to run.
    Started {
        session: SessionId,
        job: JobId,
        attempt: u32,
    },
    /// A job's program printed.
    Log {
        session: SessionId,
        job: JobId,
        attempt: u32,
        number: u32,
        text: String,
    },
    /// A worker no longer has a job.
    Ended {
        session: SessionId,
        job: JobId,
        attempt: u32,
        end: End,
    },
    Closed {
        session: SessionId,
    },
}

/// How a worker says that an attempt ended.
#[derive(Clone, Debug)]
pub enum End {
    /// `None` stands for a result that is none.
    Finished {
        result: Option<Blob>,
        usage: String,
    },
    Failed {
        fault: Fault,
        text: String,
        usage: String,
    },
    /// It was told to let go, or is about to stop.
    LetGo,
}

/// The way to one worker.
#[derive(Clone, Debug)]
pub struct Outbox {
    messages: mpsc::Sender<Result<v1::ToWorker, Status>>,
    closed: CancellationToken,
}

impl Outbox {
    /// Sends a message, or ends the session of a worker that does not read.
    pub fn send(&self, message: v1::ToWorker) {
        if self.messages.try_send(Ok(message)).is_err() {
            self.close();
        }
    }

    /// Ends the session.
    pub fn close(&self) {
        self.closed.cancel();
    }
}

/// The service.
pub struct Sessions {
    pub token: String,
    pub heartbeat: Duration,
    /// Where workers put large results.
    pub objects_folder: String,
    pub news: mpsc::Sender<News>,
    pub next: Arc<AtomicU64>,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
}

#[tonic::async_trait]
impl WorkerSessions for Sessions {
    type OpenStream = Pin<Box<dyn Stream<Item = Result<v1::ToWorker, Status>> + Send>>;

    async fn open(&self, request: Request<Streaming<v1::FromWorker>>) -> Result<Response<Self::OpenStream>, Status> {
        let mut inbox = request.into_inner();
        let first = tokio::time::timeout(self.silence(), inbox.message()).await;
        let hello = match first.map_err(|_| Status::deadline_exceeded("no hello came"))?? {
            Some(v1::FromWorker { message: Some(FromWorker::Hello(hello)) }) => hello,
            _ => return Err(Status::invalid_argument("the first message must be a hello")),
        };
        // Hashes compare in constant time.
        if self.token.is_empty() || blake3::hash(hello.token.as_bytes()) != blake3::hash(self.token.as_bytes()) {
            return Err(Status::unauthenticated("the worker's token is not this cluster's"));
        }
        let session = self.next.fetch_add(1, Ordering::Relaxed);
        let (messages, replies) = mpsc::channel(OUTBOX);
        let outbox = Outbox { messages, closed: self.stop.child_token() };
        outbox.send(wire::to_worker(to_worker::Message::Welcome(v1::Welcome {
            objects_folder: self.objects_folder.clone(),
            heartbeat_milliseconds: u32::try_from(self.heartbeat.as_millis()).unwrap_or(u32::MAX),
        })));
        let opened = News::Opened {
            session,
            worker: WorkerId::new(hello.worker_id),
            slots: usize::try_from(hello.slots).unwrap_or(1).max(1),
            outbox: outbox.clone(),
        };
        self.news.send(opened).await.map_err(|_| Status::unavailable("the scheduler is stopping"))?;
        let reader = Reader { session, news: self.news.clone(), heartbeat: self.heartbeat };
        self.tasks.spawn(reader.run(inbox, outbox));
        Ok(Response::new(Box::pin(ReceiverStream::new(replies))))
    }
}

impl Sessions {
    fn silence(&self) -> Duration {
        self.heartbeat.saturating_mul(3)
    }
}

/// Reads one session to its end.
struct Reader {
    session: SessionId,
    news: mpsc::Sender<News>,
    heartbeat: Duration,
}

impl Reader {
    async fn run(self, mut inbox: Streaming<v1::FromWorker>, outbox: Outbox) {
        let silence = self.heartbeat.saturating_mul(3);
        let mut beats = tokio::time::interval(self.heartbeat);
        let mut heard = tokio::time::Instant::now();
        let why = loop {
            // Each branch is cancel-safe: `message` keeps what it has of a frame.
            let message = tokio::select! {
                () = outbox.closed.cancelled() => break "it was closed".to_owned(),
                message = inbox.message() => message,
                _ = beats.tick() => {
                    if heard.elapsed() > silence {
                        break "the worker was silent".to_owned();
                    }
                    outbox.send(wire::to_worker(to_worker::Message::Heartbeat(v1::Heartbeat {})));
                    continue;
                }
            };
            heard = tokio::time::Instant::now();
            match message {
                Ok(Some(v1::FromWorker { message: Some(message) })) => {
                    if let Err(why) = self.handle(message).await {
                        break why;
                    }
                    // The leader may have been busy for a while, in which the worker could not be heard.
                    heard = tokio::time::Instant::now();
                }
                // A message that only a later version knows.
                Ok(Some(v1::FromWorker { message: None })) => {}
                Ok(None) => break "the worker left".to_owned(),
                Err(status) => break format!("the connection broke: {}", status.message()),
            }
        };
        outbox.close();
        tracing::info!(session = self.session, why, "worker session ended");
        // The leader is gone only when everything stops.
        let _ = self.news.send(News::Closed { session: self.session }).await;
    }

    /// Passes one message on. An error is why the session cannot go on.
    async fn handle(&self, message: FromWorker) -> Result<(), String> {
        let session = self.session;
        let news = match message {
            FromWorker::Hello(_) => return Err("the worker said hello twice".into()),
            FromWorker::Heartbeat(_) => return Ok(()),
            FromWorker::ModelState(v1::ModelState { model: Some(model), state: Some(state) }) => {
                News::Model { session, key: wire::model_key(model), state }
            }
            FromWorker::ModelState(_) => return Err("a model state came without model or state".into()),
            FromWorker::Started(v1::Started { job_id, attempt }) => {
                News::Started { session, job: parse(&job_id)?, attempt }
            }
            FromWorker::Log(v1::Log { job_id, attempt, number, text }) => {
                News::Log { session, job: parse(&job_id)?, attempt, number, text }
            }
            FromWorker::Finished(v1::Finished { job_id, attempt, result, usage }) => {
                let end = End::Finished { result: wire::result(result), usage };
                News::Ended { session, job: parse(&job_id)?, attempt, end }
            }
            FromWorker::Failed(failed) => {
                let (job, attempt) = (parse(&failed.job_id)?, failed.attempt);
                let end = match wire::fault(failed.fault()) {
                    Some(fault) => End::Failed { fault, text: failed.text, usage: failed.usage },
                    None => End::LetGo,
                };
                News::Ended { session, job, attempt, end }
            }
        };
        self.news.send(news).await.map_err(|_| "the scheduler is stopping".into())
    }
}

fn parse(job: &str) -> Result<JobId, String> {
    job.parse().map_err(|_| format!("{job:?} is no job's id"))
}
