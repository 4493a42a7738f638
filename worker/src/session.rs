//! One session with the scheduler.

use std::time::Duration;

use engine::{Event, Fault, Job, Usage};
use ids::{JobId, TenantId};
use program::{Program, Saved};
use proto::v1;
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Told;
use proto::v1::worker_sessions_client::WorkerSessionsClient;
use store::{Blob, Objects, Place};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::model::{Report, job_of};
use crate::wire;
use crate::worker::{Config, Error, Running, Worker};

/// An open session.
pub struct Session {
    inbox: Streaming<v1::ToWorker>,
    outbox: mpsc::Sender<v1::FromWorker>,
    objects: Objects,
    heartbeat: Duration,
    tasks: JoinSet<Done>,
}

/// Why there is no session.
pub enum NotOpened {
    /// Another attempt may do better.
    NotNow(String),
    Never(Error),
}

/// What a task beside the session made.
enum Done {
    /// A decoded job.
    Submit(Box<Job>),
    /// The end of a job.
    Tell(v1::FromWorker),
    /// A job that cannot begin.
    Unfit { job: JobId, fault: Fault, text: String },
}

/// How long a job runs before the scheduler is told that it does. Of one that ends sooner its end is told alone.
const PAUSE: Duration = Duration::from_millis(20);

/// How long dialling and the welcome may take.
const OPENING: Duration = Duration::from_secs(10);

/// Dials the scheduler and is welcomed.
pub async fn open(config: &Config) -> Result<Session, NotOpened> {
    let never = |_| NotOpened::Never(Error::Address(config.scheduler.clone()));
    let endpoint = Endpoint::from_shared(config.scheduler.clone()).map_err(never)?;
    let opened = tokio::time::timeout(OPENING, dial(endpoint.tcp_nodelay(true), config)).await;
    opened.unwrap_or_else(|_| Err(NotOpened::NotNow("it does not answer".into())))
}

async fn dial(endpoint: Endpoint, config: &Config) -> Result<Session, NotOpened> {
    let channel = endpoint.connect().await.map_err(|error| NotOpened::NotNow(error.to_string()))?;
    let (outbox, messages) = mpsc::channel(1024);
    let hello = v1::WorkerHello {
        worker_id: config.worker_id.clone(),
        token: config.token.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        slots: config.slots,
    };
    let not_now = |why: &str| NotOpened::NotNow(why.to_owned());
    outbox.send(wire::from_worker(Message::Hello(hello))).await.map_err(|_| not_now("the connection closed"))?;
    let refused = |status: tonic::Status| match status.code() {
        tonic::Code::Unauthenticated | tonic::Code::InvalidArgument => {
            NotOpened::Never(Error::Unwelcome(status.message().to_owned()))
        }
        _ => NotOpened::NotNow(status.message().to_owned()),
    };
    let reply = WorkerSessionsClient::new(channel).open(ReceiverStream::new(messages)).await.map_err(refused)?;
    let mut inbox = reply.into_inner();
    let first = inbox.message().await.map_err(refused)?.and_then(|message| message.message);
    let Some(Told::Welcome(welcome)) = first else { return Err(not_now("it gave no welcome")) };
    let objects = Objects::local(&welcome.objects_folder).map_err(|error| NotOpened::NotNow(error.to_string()))?;
    let heartbeat = Duration::from_millis(welcome.heartbeat_milliseconds.max(1).into());
    Ok(Session { inbox, outbox, objects, heartbeat, tasks: JoinSet::new() })
}

impl Session {
    /// Works until the session ends, and returns why it did.
    ///
    /// # Errors
    /// When the worker cannot go on at all.
    pub async fn run(mut self, worker: &mut Worker) -> Result<String, Error> {
        let silence = self.heartbeat.saturating_mul(3);
        let mut beats = tokio::time::interval(self.heartbeat.min(Duration::from_millis(500)));
        let mut heard = Instant::now();
        let mut looks = tokio::time::interval(PAUSE);
        let mut looking = false;
        loop {
            let untold = worker.jobs.values().any(|running| running.submitted && !running.told);
            if untold && !looking {
                looks.reset();
            }
            looking = untold;
            // Each branch is cancel-safe: all of them receive from something that keeps what it has.
            let went_on = tokio::select! {
                message = self.inbox.message() => {
                    heard = Instant::now();
                    match message {
                        Ok(Some(v1::ToWorker { message: Some(message) })) => self.told(worker, message).await?,
                        // A message that only a later version knows.
                        Ok(Some(v1::ToWorker { message: None })) => Ok(()),
                        Ok(None) => return Ok("the scheduler ended it".into()),
                        Err(status) => return Ok(status.message().to_owned()),
                    }
                }
                Some(report) = worker.reports.recv() => self.report(worker, report).await,
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.done(worker, done).await,
                    // The job's end is lost with the task: another attempt is due.
                    Err(error) => Err(format!("a task failed: {error}")),
                },
                _ = looks.tick(), if looking => self.tell_started(worker).await,
                _ = beats.tick() => {
                    worker.check_deadlines().await?;
                    if heard.elapsed() > silence {
                        return Ok("the scheduler was silent".into());
                    }
                    self.tell(wire::from_worker(Message::Heartbeat(v1::Heartbeat {}))).await
                }
            };
            if let Err(why) = went_on {
                return Ok(why);
            }
        }
    }

    async fn tell(&self, message: v1::FromWorker) -> Result<(), String> {
        let sent = tokio::time::timeout(self.heartbeat.saturating_mul(3), self.outbox.send(message)).await;
        sent.map_err(|_| "the scheduler does not read")?.map_err(|_| "the connection closed".into())
    }

    /// Does what the scheduler says.
    async fn told(&mut self, worker: &mut Worker, message: Told) -> Result<Result<(), String>, Error> {
        match message {
            Told::Welcome(_) | Told::Heartbeat(_) => {}
            Told::LoadModel(load) => {
                let Some(load) = wire::load(load) else { return Ok(Err("a model without a name was ordered".into())) };
                let key = load.key.clone();
                let state = worker.load(load)?;
                return Ok(self.tell(wire::model_state(&key, &state)).await);
            }
            Told::Assign(assign) => return Ok(self.assigned(worker, assign)),
            Told::Cancel(cancel) => {
                let Ok(job) = cancel.job_id.parse() else { return Ok(Err("a job without an id was cancelled".into())) };
                if worker.jobs.get(&job).is_some_and(|running| running.attempt == cancel.attempt) {
                    worker.stop(job, cancel.out_of_time).await;
                }
            }
        }
        Ok(Ok(()))
    }

    fn assigned(&mut self, worker: &mut Worker, assign: v1::Assign) -> Result<(), String> {
        let job: JobId = assign.job_id.parse().map_err(|_| "a job without an id was assigned")?;
        let model = wire::model_key(assign.model.ok_or("a job without a model was assigned")?);
        let limits = wire::limits(assign.limits);
        let running = Running {
            attempt: assign.attempt,
            model,
            stop: std::sync::Arc::default(),
            compress: assign.compress,
            result_path: assign.result_path,
            run_time: limits.run_time,
            begun: std::sync::Arc::default(),
            stopping: None,
            told: false,
            logs: 0,
            submitted: false,
        };
        let stop = std::sync::Arc::clone(&running.stop);
        worker.jobs.insert(job, running);
        let payload = wire::blob(assign.payload);
        let objects = self.objects.clone();
        let tenant = TenantId::new(assign.tenant);
        self.tasks.spawn(async move {
            match read(&objects, payload).await {
                Ok(program) => Done::Submit(Box::new(Job { id: job, tenant, program, limits, stop })),
                Err(text) => Done::Unfit { job, fault: Fault::Server, text },
            }
        });
        Ok(())
    }

    /// Passes on what a model's thread told.
    async fn report(&mut self, worker: &mut Worker, report: Report) -> Result<(), String> {
        match report {
            Report::Model(key, state) => {
                let message = wire::model_state(&key, &state);
                worker.note(&key, state);
                self.tell(message).await
            }
            Report::Jobs(events) => {
                for event in events {
                    self.event(worker, event).await?;
                }
                Ok(())
            }
        }
    }

    async fn event(&mut self, worker: &mut Worker, event: Event) -> Result<(), String> {
        let job = job_of(&event);
        let Some(running) = worker.jobs.get_mut(&job) else { return Ok(()) };
        let attempt = running.attempt;
        let job_id = job.to_string();
        match event {
            // What begins is seen by its cell.
            Event::Started(_) => Ok(()),
            Event::Printed(_, text) => {
                let number = running.logs;
                running.logs += 1;
                // What a job prints comes after the news that it runs.
                if !std::mem::replace(&mut running.told, true) {
                    self.tell(wire::started(job, attempt)).await?;
                }
                self.tell(wire::from_worker(Message::Log(v1::Log { job_id, attempt, number, text }))).await
            }
            Event::Failed(_, failure, usage) => {
                worker.jobs.remove(&job);
                self.tell(wire::failed(job, attempt, failure.fault, &failure.message, &usage)).await
            }
            Event::Finished(_, saved, usage) => {
                if let Some(running) = worker.jobs.remove(&job) {
                    self.finish(job, running, saved, usage);
                }
                Ok(())
            }
        }
    }

    /// Tells of the jobs that have begun and were not told of.
    async fn tell_started(&self, worker: &mut Worker) -> Result<(), String> {
        for (job, running) in &mut worker.jobs {
            if running.begun.get().is_some() && !std::mem::replace(&mut running.told, true) {
                self.tell(wire::started(*job, running.attempt)).await?;
            }
        }
        Ok(())
    }

    /// Encodes and keeps a result beside the session, so that a large one holds nobody up.
    fn finish(&mut self, job: JobId, running: Running, saved: Saved, usage: Usage) {
        let objects = self.objects.clone();
        self.tasks.spawn(async move {
            let attempt = running.attempt;
            Done::Tell(match write(&objects, &running, saved).await {
                Ok(blob) => wire::finished(job, attempt, &blob, &usage),
                Err((fault, text)) => wire::failed(job, attempt, fault, &text, &usage),
            })
        });
    }

    async fn done(&mut self, worker: &mut Worker, done: Done) -> Result<(), String> {
        let (job, fault, text) = match done {
            Done::Tell(message) => return self.tell(message).await,
            Done::Unfit { job, fault, text } => (job, fault, text),
            Done::Submit(job) => {
                let id = job.id;
                match worker.submit(*job).await {
                    Ok(()) => return Ok(()),
                    Err(text) => (id, Fault::Server, text),
                }
            }
        };
        match worker.jobs.remove(&job) {
            Some(running) => {
                let usage = Usage::default();
                self.tell(wire::failed(job, running.attempt, fault, &text, &usage)).await
            }
            None => Ok(()),
        }
    }
}

async fn read(objects: &Objects, payload: Option<Blob>) -> Result<Program, String> {
    let payload = payload.ok_or("the job came without its program")?;
    let bytes = objects.load(&payload).await.map_err(|error| format!("cannot read the job's program: {error}"))?;
    let decoded = aside(bytes.len() as u64, move || Program::decode(&bytes)).await;
    decoded.map_err(|error| error.to_string())?.map_err(|error| format!("cannot read the job's program: {error}"))
}

async fn write(objects: &Objects, running: &Running, saved: Saved) -> Result<Blob, (Fault, String)> {
    let server = |text: String| (Fault::Server, text);
    let compress = running.compress;
    let encoded = aside(saved.heap.bytes(), move || nnsight::encode_saved(&saved, compress)).await;
    let bytes = encoded.map_err(|error| server(error.to_string()))?.map_err(|error| match error {
        nnsight::EncodeError::Zstd(_) => server(error.to_string()),
        _ => (Fault::User, error.to_string()),
    })?;
    let place = Place::parse(&running.result_path).map_err(|error| server(error.to_string()))?;
    objects.keep(&place, bytes.into()).await.map_err(|error| {
        server(match error {
            store::Error::NoSpace { .. } => {
                "there is no disk space left for the result, which only the operator can mend; save less, or try again \
                 later"
                    .into()
            }
            error => format!("cannot keep the result: {error}"),
        })
    })
}

/// Bytes whose decoding or encoding takes too short a time to be worth another thread.
const SMALL: u64 = 64 << 10;

/// Does work on so many bytes: here when they are few, else beside the session.
async fn aside<T: Send + 'static>(
    bytes: u64,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    if bytes <= SMALL { Ok(work()) } else { tokio::task::spawn_blocking(work).await }
}
