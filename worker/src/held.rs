//! What a worker has of the scheduler's jobs: those that run, and the ends that are not settled yet.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU8;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use engine::{Fault, Progress, Share, Usage, Whereabouts};
use ids::{JobId, ModelKey, TenantId, Token};
use proto::v1;
use store::JobProgress;
use telemetry::trace::{Step, Trace};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::metrics;
use crate::results::Destination;

/// How long a job has run of which people are shown how far it is.
const A_WHILE: Duration = Duration::from_millis(500);

/// The jobs of a worker. They outlive every session.
#[derive(Default)]
pub struct Held {
    pub running: BTreeMap<JobId, Running>,
    ended: BTreeMap<JobId, Ended>,
}

/// A job that has not ended here.
pub struct Running {
    pub token: Token,
    pub model: ModelKey,
    pub tenant: TenantId,
    /// As in [`engine::Job::stop`].
    pub stop: Arc<AtomicU8>,
    pub compress: bool,
    /// Where its result goes; the error says why it can go nowhere.
    pub result: Result<Destination, String>,
    pub run_time: Duration,
    /// When it began, once it has.
    pub begun: Arc<OnceLock<std::time::Instant>>,
    /// How far it is in the model.
    pub progress: Arc<Progress>,
    /// When it must have stopped, once it was told to.
    pub stopping: Option<Instant>,
    pub phase: Phase,
    /// What reads its program or writes its result, while nothing else has it.
    pub task: Option<AbortHandle>,
    /// Whether the scheduler was told that it runs, and that it has run.
    pub told: bool,
    pub ran_told: bool,
    /// What its program, and then what it saved, takes of the memory of all jobs.
    pub memory: Option<Share>,
    /// Logs told so far.
    pub logs: u32,
    /// A later attempt, which was given to this very worker. It begins when this one is out.
    pub next: Option<v1::Assign>,
    /// What its steps belong to, where it is traced, and the step that the engine makes of it.
    pub trace: Option<Trace>,
    pub run: Option<Step>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its program is read.
    Reading,
    /// An engine has it.
    Submitted,
    /// Its result is written.
    Writing,
}

/// The end of a job, as it is told until it is settled.
struct Ended {
    token: Token,
    message: v1::FromWorker,
}

impl Running {
    /// Tells that the engine is done with it, and by whose doing where it failed.
    pub fn ran(&mut self, job: JobId, fault: Option<Fault>, usage: &Usage) {
        let Self { tenant, model, .. } = self;
        tracing::info!(%job, %tenant, %model, ?fault, forwards = usage.forwards, seconds = usage.seconds, "ran");
        metrics::ended(model, tenant, fault, usage);
        if let Some(run) = self.run.take() {
            let forwards = i64::try_from(usage.forwards).unwrap_or(i64::MAX);
            run.with("forwards", forwards).with("seconds", usage.seconds).end();
        }
    }

    /// Returns how far it is, once it has run for a while.
    pub fn whereabouts(&self, job: JobId) -> Option<JobProgress> {
        self.begun.get().filter(|begun| self.phase == Phase::Submitted && begun.elapsed() >= A_WHILE)?;
        let Whereabouts { passes, layer, layers } = self.progress.look();
        Some(JobProgress { job, passes, layer, layers })
    }

    /// Returns whether its time with the engine is over.
    pub fn late(&self) -> bool {
        match (self.phase, self.stopping, self.begun.get()) {
            (Phase::Reading | Phase::Writing, ..) | (Phase::Submitted, None, None) => false,
            (Phase::Submitted, Some(deadline), _) => deadline <= Instant::now(),
            (Phase::Submitted, None, Some(begun)) => begun.elapsed() >= self.run_time,
        }
    }
}

impl Held {
    /// Says what is here.
    pub fn list(&self) -> Vec<v1::Held> {
        let held = |job: &JobId, token: Token, state: v1::HeldState, ran: Duration| v1::Held {
            job_id: job.to_string(),
            attempt: token.attempt,
            epoch: token.epoch,
            state: state.into(),
            ran_milliseconds: u64::try_from(ran.as_millis()).unwrap_or(u64::MAX),
        };
        let running = self.running.iter().map(|(job, running)| match running.begun.get() {
            Some(begun) if running.phase == Phase::Writing => {
                held(job, running.token, v1::HeldState::Writing, begun.elapsed())
            }
            Some(begun) => held(job, running.token, v1::HeldState::Running, begun.elapsed()),
            None => held(job, running.token, v1::HeldState::Waiting, Duration::ZERO),
        });
        let ended = self.ended.iter().map(|(job, ended)| held(job, ended.token, v1::HeldState::Ended, Duration::ZERO));
        // A job that runs again while an older end of it is kept is the later of the two.
        running
            .chain(ended.filter(|held| !held.job_id.parse().is_ok_and(|job| self.running.contains_key(&job))))
            .collect()
    }

    /// Returns a job that runs under a token.
    pub fn current(&mut self, job: JobId, token: Token) -> Option<&mut Running> {
        self.running.get_mut(&job).filter(|running| running.token == token)
    }

    /// Notes the end of a job, which is kept until it is settled. Returns a later attempt of it that waits here.
    pub fn end(&mut self, job: JobId, token: Token, message: v1::FromWorker) -> Option<v1::Assign> {
        let running = self.running.remove(&job);
        self.ended.insert(job, Ended { token, message });
        running?.next
    }

    /// Lets a later attempt go that waits here for an older one. Returns whether it did.
    pub fn let_go_of_next(&mut self, job: JobId, token: Token) -> bool {
        let meant = |next: &mut v1::Assign| (next.epoch, next.attempt) == (token.epoch, token.attempt);
        self.running.get_mut(&job).is_some_and(|running| running.next.take_if(meant).is_some())
    }

    /// Forgets the attempts that wait here for older ones. Who is told what is here is not told of them, and gives them out
    /// again.
    pub fn forget_next(&mut self) {
        self.running.values_mut().for_each(|running| running.next = None);
    }

    /// Returns the ends that are to be told.
    pub fn ends(&self) -> impl Iterator<Item = &v1::FromWorker> {
        self.ended.values().map(|ended| &ended.message)
    }

    /// Forgets the end of an attempt.
    pub fn settle(&mut self, job: JobId, token: Token) {
        if self.ended.get(&job).is_some_and(|ended| ended.token == token) {
            self.ended.remove(&job);
        }
    }

    /// Forgets the ends of attempts before one that was given out later: they do not count.
    pub fn supersede(&mut self, job: JobId) {
        self.ended.remove(&job);
    }
}
