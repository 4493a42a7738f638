//! A worker between a scheduler and a model that a test plays.

use std::sync::Arc;

use engine::{Event, Failure, Fault, Job, Usage};
use futures::StreamExt;
use futures::future::BoxFuture;
use ids::JobId;
use proto::v1::from_worker::Message as FromWorker;
use proto::v1::to_worker::Message as ToWorker;
use proto::v1::{self, blob, grant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use worker::{Dial, Dialled, Order, Place, Report, State};

use super::obedient::saved;

/// The scheduler's end of each session, as it is dialled.
struct Line(mpsc::Sender<Session>);

impl Dial for Line {
    fn dial(&self, _: &str, messages: ReceiverStream<v1::FromWorker>) -> BoxFuture<'static, Dialled> {
        let (dialled, (replies, inbox)) = (self.0.clone(), mpsc::channel(64));
        Box::pin(async move {
            let gone = |_| Status::unavailable("the test is over");
            dialled.send(Session { messages, replies }).await.map_err(gone)?;
            Ok(ReceiverStream::new(inbox).map(Ok).boxed())
        })
    }
}

/// One session. Dropping it ends it.
pub struct Session {
    messages: ReceiverStream<v1::FromWorker>,
    replies: mpsc::Sender<v1::ToWorker>,
}

pub struct Play {
    dialled: mpsc::Receiver<Session>,
    /// What the model is to do.
    pub orders: mpsc::Receiver<Order>,
    reports: mpsc::Receiver<mpsc::Sender<Report>>,
    _worker: JoinHandle<Result<(), worker::Error>>,
}

impl Play {
    pub fn start() -> Self {
        let ((line, dialled), (ordered, orders), (reporters, reports)) =
            (mpsc::channel(1), mpsc::channel(64), mpsc::channel(1));
        let host: worker::Host = Arc::new(move |_, reporter| {
            reporters.try_send(reporter).map_err(std::io::Error::other)?;
            Ok(ordered.clone())
        });
        let config = worker::Config::new(vec!["http://played".into()], "token".into(), "w1".into());
        let worker = tokio::spawn(worker::run_over(config, Arc::new(Line(line)), host));
        Self { dialled, orders, reports, _worker: worker }
    }

    /// Welcomes the worker, keeps all that it has, and returns what that is.
    pub async fn welcome(&mut self) -> (Session, Vec<v1::Held>) {
        let mut session = self.dialled.recv().await.unwrap();
        let FromWorker::Hello(hello) = session.next().await else { panic!("no hello") };
        let keep = hello.holds.iter().map(|held| v1::Given {
            job_id: held.job_id.clone(),
            attempt: held.attempt,
            epoch: held.epoch,
        });
        let welcome = v1::Welcome {
            heartbeat_milliseconds: 2_000,
            epoch: 1,
            keep: keep.collect(),
            inline_bytes: 1 << 10,
            ..v1::Welcome::default()
        };
        session.tell(ToWorker::Welcome(welcome)).await;
        (session, hello.holds)
    }

    /// Has the worker load a model that does what the test does. Returns the way to tell what it did.
    pub async fn load(&mut self, session: &mut Session) -> mpsc::Sender<Report> {
        let load = v1::LoadModel { model: Some(model()), folder: "/models/tiny".into(), ..v1::LoadModel::default() };
        session.tell(ToWorker::LoadModel(load)).await;
        let reports = self.reports.recv().await.unwrap();
        let key = store::messages::read_model(model());
        reports.send(Report::Model(key, State::Ready(Place::default()))).await.unwrap();
        while !matches!(session.next().await, FromWorker::ModelState(state) if state.state == Some(READY)) {}
        reports
    }

    /// Waits until the model has a job.
    pub async fn begins(&mut self) -> Box<Job> {
        loop {
            // One that is to leave may be told so again.
            if let Order::Submit(job, begun) = self.orders.recv().await.unwrap() {
                begun.set(std::time::Instant::now()).unwrap();
                return job;
            }
        }
    }
}

const READY: v1::model_state::State = v1::model_state::State::Ready(true);

impl Session {
    pub async fn tell(&self, message: ToWorker) {
        self.replies.send(v1::ToWorker { message: Some(message) }).await.unwrap();
    }

    /// Waits for the next thing that the worker says, signs of life apart.
    pub async fn next(&mut self) -> FromWorker {
        loop {
            match self.messages.next().await.and_then(|message| message.message) {
                Some(FromWorker::Heartbeat(_)) => {}
                message => return message.expect("the worker ended the session"),
            }
        }
    }

    /// Gives a job out, whose program is inline, or has to be read from a link.
    pub async fn assign(&self, job: JobId, attempt: u32, program: v1::Blob, link: &str) {
        let link = || v1::Link { url: link.to_owned(), expires_milliseconds: u64::MAX / 4 };
        let grant = || Some(v1::Grant { grant: Some(grant::Grant::Link(link())) });
        self.tell(ToWorker::Assign(v1::Assign {
            job_id: job.to_string(),
            attempt,
            epoch: 1,
            tenant: "lab".into(),
            model: Some(model()),
            payload: Some(program),
            result_path: format!("results/lab/{job}/{attempt}-1"),
            payload_grant: grant(),
            result_grant: grant(),
            limits: Some(v1::Limits {
                run_time_milliseconds: 3_600_000,
                ..store::messages::limits(&program::Limits::default())
            }),
            ..v1::Assign::default()
        }))
        .await;
    }

    pub async fn cancel(&self, job: JobId, attempt: u32) {
        let job_id = job.to_string();
        self.tell(ToWorker::Cancel(v1::Cancel { job_id, attempt, epoch: 1, out_of_time: false })).await;
    }

    /// Waits until a job is let go, and returns which attempt.
    pub async fn let_go(&mut self, job: JobId) -> u32 {
        match self.next().await {
            FromWorker::Failed(failed) if failed.job_id == job.to_string() => {
                assert_eq!(failed.fault(), v1::Fault::Cancelled);
                failed.attempt
            }
            other => panic!("{job} is not let go: {other:?}"),
        }
    }
}

pub fn inline(bytes: Vec<u8>) -> v1::Blob {
    v1::Blob { blob: Some(blob::Blob::Inline(bytes.into())) }
}

/// A program that has to be read.
pub fn elsewhere(job: JobId) -> v1::Blob {
    let (path, digest) = (format!("payloads/lab/{job}"), vec![0; 32].into());
    v1::Blob { blob: Some(blob::Blob::Object(v1::Object { path, digest, bytes: 100_000 })) }
}

pub fn finished(job: JobId, bytes: usize) -> Report {
    Report::Jobs(vec![Event::Finished(job, saved(bytes), Usage::default())])
}

pub fn cancelled(job: JobId) -> Report {
    let failure = Failure { fault: Fault::Cancelled, message: String::new() };
    Report::Jobs(vec![Event::Failed(job, failure, Usage::default())])
}

fn model() -> v1::Model {
    v1::Model { repo_id: "test/tiny".into(), revision: None }
}
