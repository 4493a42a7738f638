//! What a scheduler counts. What it says of the whole cluster only the one that leads says.

use std::time::Duration;

use ids::ModelKey;
use placement::Move;
use store::{Fault, JobRecord, Outcome, State};
use telemetry::metrics::{Counter, Gauge, Histogram, Label, MODEL, Metrics, SECONDS, TENANT};

use crate::policy::{End, Told};

pub static LEADER: Gauge =
    Gauge::new("vitrine_scheduler_leader", "Is 1 where this scheduler leads, and 0 elsewhere.", &[]);
pub static QUEUE_DEPTH: Gauge = Gauge::new(
    "vitrine_queue_depth",
    "Says how many jobs wait to be given to a worker, by tenant and model.",
    &[TENANT, MODEL],
);
pub static QUEUE_OLDEST: Gauge = Gauge::new(
    "vitrine_queue_oldest_seconds",
    "Says how long ago the oldest job was accepted that waits, by tenant and model.",
    &[TENANT, MODEL],
);
pub static JOBS: Counter = Counter::new(
    "vitrine_jobs_total",
    "Counts jobs that ended, by whose doing it was: completed, a fault of the program (user), more than its limits (limit), a \
     fault of the server (server), cancelled, or expired in the queue.",
    &[TENANT, MODEL, Label::of("outcome", &["completed", "user", "limit", "server", "cancelled", "expired"])],
);
pub static QUEUED: Histogram = Histogram::new(
    "vitrine_job_queue_seconds",
    "Says how long jobs had waited since they were accepted when they were given to a worker.",
    &[MODEL],
    SECONDS,
);
pub static RAN: Histogram = Histogram::new(
    "vitrine_job_run_seconds",
    "Says how long the last attempt of jobs took from being given out to its end.",
    &[MODEL],
    SECONDS,
);
pub static WHOLE: Histogram = Histogram::new(
    "vitrine_job_seconds",
    "Says how long jobs took from being accepted to their end.",
    &[MODEL],
    SECONDS,
);
pub static DISPATCHED: Counter = Counter::new(
    "vitrine_scheduler_dispatches_total",
    "Counts the times that jobs were given to workers, by model.",
    &[MODEL],
);
pub static REQUEUED: Counter = Counter::new(
    "vitrine_scheduler_requeues_total",
    "Counts attempts that came to nothing so that the job runs again: its worker died, was lost, let it go, or failed.",
    &[Label::of("reason", &["worker_died", "worker_lost", "let_go", "server_fault"])],
);
pub static DECISIONS: Histogram = Histogram::new(
    "vitrine_scheduler_decision_seconds",
    "Says how long it took to choose what to do next.",
    &[],
    SECONDS,
);
pub static WORKERS: Gauge = Gauge::new(
    "vitrine_scheduler_workers",
    "Says how many workers are known, with a session or away for the moment.",
    &[Label::of("state", &["connected", "away"])],
);
pub static SLOTS: Gauge = Gauge::new(
    "vitrine_scheduler_slots",
    "Says how many jobs workers with a session take at once, and how many of these they have.",
    &[Label::of("state", &["busy", "free"])],
);
pub static REPLICAS: Gauge = Gauge::new(
    "vitrine_scheduler_replicas",
    "Says how many workers have a model, by how far they are with it; where it is warm, its weights are kept in memory and it is \
     on no device.",
    &[MODEL, Label::of("state", &["loading", "ready", "retiring", "unloading", "failed", "warm"])],
);
pub static PLACED: Counter = Counter::new(
    "vitrine_scheduler_placements_total",
    "Counts decisions about where models are: to load one on a worker, to have it take no more jobs there (retire), to unload it, \
     and to keep its weights in memory no longer (cool).",
    &[MODEL, Label::of("action", &["load", "retire", "unload", "cool"])],
);
pub static PENDING: Gauge = Gauge::new(
    "vitrine_scheduler_pending_gpus",
    "Says how many more workers, of one GPU each, the jobs would fill that wait beyond the free slots.",
    &[],
);
pub static DEPARTED: Counter = Counter::new(
    "vitrine_scheduler_worker_departures_total",
    "Counts processes of workers that are not waited for any more: they died, were silent, or said goodbye.",
    &[Label::of("reason", &["died", "silent", "goodbye"])],
);

pub static RANKS_LOST: Counter = Counter::new(
    "vitrine_ranks_lost_total",
    "Counts groups of ranks that were lost while they served a model, each with the process that led it: a rank lived and gave no \
     answer in time (timeout), or one ended or could not be reached (ended).",
    &[MODEL, Label::of("reason", &["timeout", "ended"])],
);

/// All of them.
pub static METRICS: Metrics = &[
    &LEADER,
    &QUEUE_DEPTH,
    &QUEUE_OLDEST,
    &JOBS,
    &QUEUED,
    &RAN,
    &WHOLE,
    &DISPATCHED,
    &REQUEUED,
    &DECISIONS,
    &WORKERS,
    &SLOTS,
    &REPLICAS,
    &PLACED,
    &PENDING,
    &DEPARTED,
    &RANKS_LOST,
];

/// Counts what became of a job by a commit.
pub fn committed(record: &JobRecord) {
    let model = record.model.to_string();
    let outcome = match (record.state, &record.outcome) {
        (State::Queued | State::Running, _) => return,
        (State::Dispatched, _) => {
            DISPATCHED.with(&[&model]).one();
            let waited = between(record.accepted_at, record.dispatched_at);
            return QUEUED.with(&[&model]).traced(waited, record.trace.as_ref());
        }
        (State::Completed, _) => "completed",
        (State::Failed, Some(Outcome::Failure { fault: Fault::User, .. })) => "user",
        (State::Failed, Some(Outcome::Failure { fault: Fault::Limit, .. })) => "limit",
        (State::Failed, _) => "server",
        (State::Cancelled, _) => "cancelled",
        (State::Expired, _) => "expired",
    };
    JOBS.with(&[record.tenant.as_str(), &model, outcome]).one();
    let trace = record.trace.as_ref();
    WHOLE.with(&[&model]).traced(between(record.accepted_at, record.ended_at), trace);
    if record.dispatched_at > 0 && matches!(record.state, State::Completed | State::Failed) {
        RAN.with(&[&model]).traced(between(record.dispatched_at, record.ended_at), trace);
    }
}

/// Counts an attempt that came to nothing.
pub fn requeued(told: &Told) {
    REQUEUED
        .with(&[match told {
            Told::Died { .. } => "worker_died",
            Told::Ended(End::LetGo) => "let_go",
            Told::Ended(_) => "server_fault",
            Told::Lost | Told::Withheld | Told::Happened(_) => "worker_lost",
        }])
        .one();
}

/// Begins to count losses of a model's ranks.
pub fn ranks(model: &ModelKey) {
    for reason in ["timeout", "ended"] {
        RANKS_LOST.with(&[&model.to_string(), reason]);
    }
}

/// Counts that a model's ranks were lost.
pub fn ranks_lost(model: &ModelKey, timeout: bool) {
    RANKS_LOST.with(&[&model.to_string(), if timeout { "timeout" } else { "ended" }]).one();
}

/// Counts what was decided of where a model is.
pub fn placed(decided: &Move) {
    let (model, action) = match decided {
        Move::Load { model, .. } => (model, "load"),
        Move::Retire { model, .. } => (model, "retire"),
        Move::Unload { model, .. } => (model, "unload"),
        Move::Cool { model, .. } => (model, "cool"),
    };
    PLACED.with(&[&model.to_string(), action]).one();
}

fn between(from: u64, to: u64) -> Duration {
    Duration::from_millis(to.saturating_sub(from))
}
