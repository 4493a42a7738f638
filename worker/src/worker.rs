//! The worker's life: one session after another, with the models kept between them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use engine::Event;
use ids::{JobId, ModelKey};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::Instant;

use crate::model::{self, Load, Loader, Order, Report, State, job_of};
use crate::session;

/// The worker's settings.
#[derive(Clone)]
pub struct Config {
    /// Where the scheduler listens, for example `http://127.0.0.1:7000`.
    pub scheduler: String,
    /// What it asks for.
    pub token: String,
    /// Names this worker among others.
    pub worker_id: String,
    /// Jobs that it takes at once. Default 32.
    pub slots: u32,
    /// How long a job may keep the model after it was told to stop; then the process cannot be trusted. Default 30 s.
    pub let_go: Duration,
}

impl Config {
    /// Settings with their defaults.
    #[must_use]
    pub fn new(scheduler: String, token: String, worker_id: String) -> Self {
        Self { scheduler, token, worker_id, slots: 32, let_go: Duration::from_secs(30) }
    }
}

/// Why a worker ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is no address of a scheduler")]
    Address(String),
    #[error("the scheduler refuses this worker: {0}")]
    Unwelcome(String),
    #[error("job {0} does not let go of the model")]
    Stuck(JobId),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// The wait before dialling again doubles from the first to the second while nobody answers.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Runs a worker until it has to end. It dials again whenever a session ends.
///
/// # Errors
/// When dialling again, or running on, would be no use.
pub async fn run(config: Config, loader: Loader) -> Result<(), Error> {
    let (report, reports) = mpsc::channel(256);
    let mut worker = Worker { config, loader, report, reports, models: HashMap::new(), jobs: HashMap::new() };
    let mut wait = BACKOFF.0;
    loop {
        match session::open(&worker.config).await {
            Ok(session) => {
                wait = BACKOFF.0;
                let why = session.run(&mut worker).await?;
                tracing::warn!(why, "the session with the scheduler ended");
                worker.quiesce().await?;
            }
            Err(session::NotOpened::Never(error)) => return Err(error),
            Err(session::NotOpened::NotNow(why)) => {
                tracing::info!(why, again_in = ?wait, "the scheduler cannot be reached");
                worker.listen(wait).await;
                wait = (wait * 2).min(BACKOFF.1);
            }
        }
    }
}

/// What outlives a session.
pub struct Worker {
    pub config: Config,
    loader: Loader,
    report: Sender<Report>,
    pub reports: Receiver<Report>,
    models: HashMap<ModelKey, Hosted>,
    /// The jobs that engines have, and those about to be given to one.
    pub jobs: HashMap<JobId, Running>,
}

struct Hosted {
    load: Load,
    orders: Sender<Order>,
    state: State,
}

/// A job on this worker.
pub struct Running {
    pub attempt: u32,
    pub model: ModelKey,
    /// As in [`engine::Job::stop`].
    pub stop: Arc<AtomicU8>,
    pub compress: bool,
    pub result_path: String,
    pub run_time: Duration,
    /// When it began, once it has.
    pub begun: Arc<OnceLock<std::time::Instant>>,
    /// When it must have stopped, once it was told to.
    pub stopping: Option<Instant>,
    /// Whether the scheduler was told that it runs.
    pub told: bool,
    /// Logs told so far.
    pub logs: u32,
    /// Whether an engine has it.
    pub submitted: bool,
}

impl Running {
    /// Returns whether its time is over.
    fn late(&self) -> bool {
        match (self.stopping, self.begun.get()) {
            (Some(deadline), _) => deadline <= Instant::now(),
            (None, Some(begun)) => begun.elapsed() >= self.run_time,
            (None, None) => false,
        }
    }
}

/// As in [`engine::Job::stop`].
const CANCELLED: u8 = 1;
const OUT_OF_TIME: u8 = 2;

impl Worker {
    /// Starts a model's thread, unless the very same is there. Returns how far the model is.
    pub fn load(&mut self, load: Load) -> Result<State, Error> {
        if let Some(hosted) = self.models.get(&load.key).filter(|hosted| hosted.load == load) {
            return Ok(hosted.state.clone());
        }
        let orders = model::start(load.clone(), Arc::clone(&self.loader), self.report.clone())?;
        let state = State::Loading(0.0);
        self.models.insert(load.key.clone(), Hosted { load, orders, state: state.clone() });
        Ok(state)
    }

    /// Notes how far a model is.
    pub fn note(&mut self, key: &ModelKey, state: State) {
        if let Some(hosted) = self.models.get_mut(key) {
            hosted.state = state;
        }
    }

    /// Gives a job to its engine. The error is a sentence saying why not.
    pub async fn submit(&mut self, job: engine::Job) -> Result<(), String> {
        let running = self.jobs.get_mut(&job.id).ok_or("the job was dropped before it began")?;
        let hosted = self.models.get(&running.model);
        let hosted = hosted.ok_or_else(|| format!("the model {} is not on this worker", running.model))?;
        let sent = hosted.orders.send(Order::Submit(Box::new(job), Arc::clone(&running.begun))).await;
        sent.map_err(|_| format!("the thread of the model {} ended", running.model))?;
        running.submitted = true;
        Ok(())
    }

    /// Makes a job stop at its next layer. Its end will be reported by the engine.
    pub async fn stop(&mut self, job: JobId, out_of_time: bool) {
        let Some(running) = self.jobs.get_mut(&job) else { return };
        running.stop.store(if out_of_time { OUT_OF_TIME } else { CANCELLED }, Ordering::Relaxed);
        running.stopping = Instant::now().checked_add(self.config.let_go);
        if !out_of_time && let Some(hosted) = self.models.get(&running.model) {
            // A thread that ended has no job to cancel.
            let _ = hosted.orders.send(Order::Cancel(job)).await;
        }
    }

    /// Stops the jobs whose time is over.
    pub async fn check_deadlines(&mut self) -> Result<(), Error> {
        let late: Vec<JobId> = self.jobs.iter().filter(|(_, running)| running.late()).map(|(job, _)| *job).collect();
        for job in late {
            if self.jobs.get(&job).is_some_and(|running| running.stop.load(Ordering::Relaxed) != 0) {
                return Err(Error::Stuck(job));
            }
            self.stop(job, true).await;
        }
        Ok(())
    }

    /// Ends what a session left behind: the scheduler gives those jobs out again, perhaps to this very worker, so
    /// none of them may be here still.
    async fn quiesce(&mut self) -> Result<(), Error> {
        self.jobs.retain(|_, running| running.submitted);
        for job in self.jobs.keys().copied().collect::<Vec<_>>() {
            self.stop(job, false).await;
        }
        while !self.jobs.is_empty() {
            self.listen(Duration::from_millis(100)).await;
            self.check_deadlines().await?;
        }
        Ok(())
    }

    /// Takes reports in while there is no session to pass them on to, for `time` or until one came.
    async fn listen(&mut self, time: Duration) {
        match tokio::time::timeout(time, self.reports.recv()).await {
            Ok(Some(Report::Model(key, state))) => self.note(&key, state),
            Ok(Some(Report::Jobs(events))) => {
                for event in &events {
                    if let Event::Finished(..) | Event::Failed(..) = event {
                        self.jobs.remove(&job_of(event));
                    }
                }
            }
            Ok(None) | Err(_) => {}
        }
    }
}
