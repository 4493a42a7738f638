//! What a worker counts, beside its engines.

use engine::{Fault, Pool, Usage};
use ids::{ModelKey, TenantId};
use store::DeviceMemory;
use telemetry::metrics::{Counter, Gauge, Histogram, Label, MODEL, Metrics, SECONDS, SecondsCounter, TENANT, Values};

use crate::canary::Verdict;
use crate::held::{Phase, Running};
use crate::model::State;

pub static LOADED: Histogram = Histogram::new(
    "vitrine_model_load_seconds",
    "Says how long models took to load that could be loaded.",
    &[MODEL],
    SECONDS,
);
pub static MODELS: Gauge = Gauge::new(
    "vitrine_model_state",
    "Is 1 for the state that a model is in on this worker, and 0 for the others.",
    &[MODEL, Label::of("state", &["loading", "ready", "failed", "unloaded"])],
);
pub static PROGRESS: Gauge =
    Gauge::new("vitrine_model_loaded_ratio", "Says which part of a model's weights has been read.", &[MODEL]);
pub static WEIGHTS: Gauge =
    Gauge::new("vitrine_model_weights_bytes", "Says how many bytes the weights of a model have on disk.", &[MODEL]);
pub static KEPT: Gauge = Gauge::new(
    "vitrine_model_kept_bytes",
    "Says how many bytes the weights of a model take that are kept in memory, so that it comes back to a GPU sooner.",
    &[MODEL],
);
pub static MEMORY: Gauge = Gauge::new(
    "vitrine_worker_memory_bytes",
    "Says how many bytes jobs hold, what is kept of prompts that come again has, and the machine has free.",
    &[Label::of("kind", &["jobs", "kept", "free"])],
);
pub static DEVICE_MEMORY: Gauge = Gauge::new(
    "vitrine_device_memory_bytes",
    "Says how many bytes lie in the memory of a device, by what they are for: weights as kernels have them, copies of these for \
     gradients and for .weight, what is kept of prompts that come again (trunks), weights that are kept for a GPU (warm), all else, \
     as keys and values, activations, tensors of jobs and what other processes have (other), and what is free.",
    &[
        Label { name: "device", values: Values::First(65) },
        Label::of("kind", &["weights", "copies", "trunks", "warm", "other", "free"]),
    ],
);
pub static MEMORY_LIMIT: Gauge =
    Gauge::new("vitrine_worker_memory_limit_bytes", "Says how many bytes jobs may hold together.", &[]);
pub static HELD: Gauge = Gauge::new(
    "vitrine_worker_jobs",
    "Says how many jobs the worker has, by what is done with them: their program is read, they run or wait for a pass, their \
     result is written.",
    &[Label::of("phase", &["reading", "running", "writing"])],
);
pub static SLOTS: Gauge = Gauge::new("vitrine_worker_slots", "Says how many jobs the worker takes at once.", &[]);
pub static SESSION: Gauge =
    Gauge::new("vitrine_worker_session", "Is 1 while a scheduler has let the worker in, and 0 otherwise.", &[]);
pub static ENDED: Counter = Counter::new(
    "vitrine_worker_jobs_total",
    "Counts jobs that the engines ended, by whose doing it was; crowded ones found no memory beside others and run again.",
    &[MODEL, Label::of("outcome", &["finished", "user", "limit", "server", "cancelled", "crowded"])],
);
pub static SECONDS_USED: SecondsCounter = SecondsCounter::new(
    "vitrine_tenant_model_seconds_total",
    "Counts seconds of the model's thread that jobs took: those of their own code and their share of each pass.",
    &[TENANT, MODEL],
);
pub static STEPS: Counter = Counter::new(
    "vitrine_interpreter_steps_total",
    "Counts steps of the interpreter that jobs took, which is their fuel.",
    &[MODEL],
);
pub static RESULTS: Histogram = Histogram::new(
    "vitrine_worker_result_seconds",
    "Says how long it took to encode results and to keep them.",
    &[MODEL],
    SECONDS,
);

pub static CANARY: Counter = Counter::new(
    "vitrine_canary_runs_total",
    "Counts runs of the program by which a worker notices that passes compute what they did: those that had the same bits, were \
     the first of their kernels, drifted, and were not run.",
    &[MODEL, Label::of("outcome", Verdict::NAMES)],
);

pub static SCRUBS: Counter = Counter::new(
    "vitrine_weights_scrubs_total",
    "Counts rounds in which all of a model's weights in memory were compared with what was loaded, while nobody computed with \
     them: those that found the same, and those that found others.",
    &[MODEL, Label::of("outcome", &["same", "changed"])],
);

/// All of them.
pub static METRICS: Metrics = &[
    &LOADED,
    &MODELS,
    &PROGRESS,
    &WEIGHTS,
    &KEPT,
    &MEMORY,
    &DEVICE_MEMORY,
    &MEMORY_LIMIT,
    &HELD,
    &SLOTS,
    &SESSION,
    &ENDED,
    &SECONDS_USED,
    &STEPS,
    &RESULTS,
    &CANARY,
    &SCRUBS,
];

/// Counts the end of a job with its engine; `None` stands for a result.
pub fn ended(model: &ModelKey, tenant: &TenantId, fault: Option<Fault>, usage: &Usage) {
    let model = model.to_string();
    let outcome = match fault {
        None => "finished",
        Some(Fault::User) => "user",
        Some(Fault::Limit) => "limit",
        Some(Fault::Server) => "server",
        Some(Fault::Cancelled) => "cancelled",
        Some(Fault::Crowded) => "crowded",
    };
    ENDED.with(&[&model, outcome]).one();
    SECONDS_USED.with(&[tenant.as_str(), &model]).add(usage.seconds);
    STEPS.with(&[&model]).add(usage.fuel);
}

/// Begins to count the runs of a model's canary.
pub fn canary(model: &ModelKey) {
    for name in Verdict::NAMES {
        CANARY.with(&[&model.to_string(), name]);
    }
}

/// Begins to count comparisons of a model's weights.
pub fn scrub(model: &ModelKey) {
    for outcome in ["same", "changed"] {
        SCRUBS.with(&[&model.to_string(), outcome]);
    }
}

/// Shows how far a model is.
pub fn model(key: &ModelKey, state: &State) {
    let (is, part) = match state {
        State::Loading(part) => ("loading", *part),
        State::Ready(_) => ("ready", 1.0),
        State::Failed(_) => ("failed", 0.0),
        State::Unloaded => ("unloaded", 0.0),
    };
    let model = key.to_string();
    for state in ["loading", "ready", "failed", "unloaded"] {
        MODELS.with(&[&model, state]).set(f64::from(u8::from(state == is)));
    }
    PROGRESS.with(&[&model]).set(part.into());
}

/// Shows what a model's weights take that are kept.
#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
pub fn kept(key: &ModelKey, bytes: u64) {
    KEPT.with(&[&key.to_string()]).set(bytes as f64);
}

/// Shows the jobs that the worker has.
pub fn jobs<'a>(running: impl Iterator<Item = &'a Running>) {
    HELD.set_all(running.map(|running| {
        let phase = match running.phase {
            Phase::Reading => "reading",
            Phase::Submitted => "running",
            Phase::Writing => "writing",
        };
        (vec![phase], 1.0)
    }));
}

/// Shows what lies in the devices' memory.
#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
pub fn device_memory(devices: &[DeviceMemory]) {
    let all = devices.iter().flat_map(|memory| {
        memory.kinds.iter().map(|(kind, bytes)| (vec![memory.device.as_str(), kind.as_str()], *bytes as f64))
    });
    DEVICE_MEMORY.set_all(all);
}

/// Shows what is held of the memory.
#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
pub fn memory(jobs: &Pool, kept: &Pool, free: u64) {
    let kinds = [("jobs", jobs.taken()), ("kept", kept.taken()), ("free", free)];
    MEMORY.set_all(kinds.map(|(kind, bytes)| (vec![kind], bytes as f64)));
    MEMORY_LIMIT.set(jobs.limit() as f64);
}
