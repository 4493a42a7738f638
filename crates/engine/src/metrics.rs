//! What an engine counts.
//!
//! Performance-critical: the series of a model are found once, when its engine is made.

use std::time::Duration;

use telemetry::metrics::{
    Count, Counter, Distribution, Gauge, Histogram, Label, Level, MODEL, Metrics, SECONDS, SecondsCount,
    SecondsCounter, buckets,
};

use crate::contract::Usage;

pub static PASSES: Histogram = Histogram::new(
    "vitrine_engine_pass_seconds",
    "Says how long forward passes took, blocks included.",
    &[MODEL],
    SECONDS,
);
pub static PHASES: SecondsCounter = SecondsCounter::new(
    "vitrine_engine_pass_phase_seconds_total",
    "Counts seconds of forward passes by what they went to: putting traces together and computing what is to be kept of their \
     prompts (prepare), the model's arithmetic (model), users' code beside it (blocks), and what came of it (finish).",
    &[MODEL, Label::of("phase", &["prepare", "model", "blocks", "finish"])],
);
pub static FAILED: Counter =
    Counter::new("vitrine_engine_failed_passes_total", "Counts forward passes whose arithmetic failed.", &[MODEL]);
pub static JOBS: Histogram =
    Histogram::new("vitrine_batch_jobs", "Says how many jobs shared a forward pass.", &[MODEL], buckets::COUNTS);
pub static ROWS: Histogram =
    Histogram::new("vitrine_batch_rows", "Says how many rows a forward pass had.", &[MODEL], buckets::COUNTS);
pub static OCCUPANCY: Histogram = Histogram::new(
    "vitrine_batch_occupancy_ratio",
    "Says which part a forward pass had of the tokens up to which jobs share one.",
    &[MODEL],
    buckets::RATIOS,
);
pub static TOKENS: Counter = Counter::new(
    "vitrine_engine_tokens_total",
    "Counts tokens of forward passes, padding included: those of prompts, those that generations add one by one (decode), and \
     those of prompts that came before, of which only what differs is computed (kept).",
    &[MODEL, Label::of("kind", &["prompt", "decode", "kept"])],
);
pub static TRUNKS: Gauge = Gauge::new(
    "vitrine_engine_trunks_bytes",
    "Says how many bytes are kept of prompts that come again: their hidden states, keys and values.",
    &[MODEL],
);
pub static FORKED: Counter = Counter::new(
    "vitrine_engine_forked_rows_total",
    "Counts rows that computed only what differs from an equal row before.",
    &[MODEL],
);
pub static LAYERS_RUN: Counter = Counter::new(
    "vitrine_engine_layers_run_total",
    "Counts layers that computed something of a trace, for each trace and pass.",
    &[MODEL],
);
pub static LAYERS_SAVED: Counter = Counter::new(
    "vitrine_engine_layers_saved_total",
    "Counts layers that had not to, since nobody waited for them or what they would have computed was kept.",
    &[MODEL],
);

/// All of them.
pub static METRICS: Metrics =
    &[&PASSES, &PHASES, &FAILED, &JOBS, &ROWS, &OCCUPANCY, &TOKENS, &TRUNKS, &FORKED, &LAYERS_RUN, &LAYERS_SAVED];

/// How a pass's time went by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Phases {
    pub prepare: Duration,
    pub model: Duration,
    pub blocks: Duration,
    pub finish: Duration,
}

/// What a pass's tokens were.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokens {
    pub prompt: u64,
    pub decode: u64,
    pub kept: u64,
}

/// The series of one model.
pub struct Series {
    passes: &'static Distribution,
    phases: [&'static SecondsCount; 4],
    failed: &'static Count,
    jobs: &'static Distribution,
    rows: &'static Distribution,
    occupancy: &'static Distribution,
    tokens: [&'static Count; 3],
    pub trunks: &'static Level,
    forked: &'static Count,
    layers_run: &'static Count,
    layers_saved: &'static Count,
}

impl Series {
    /// Finds those of a model.
    pub fn of(model: &str) -> Self {
        Self {
            passes: PASSES.with(&[model]),
            phases: ["prepare", "model", "blocks", "finish"].map(|phase| PHASES.with(&[model, phase])),
            failed: FAILED.with(&[model]),
            jobs: JOBS.with(&[model]),
            rows: ROWS.with(&[model]),
            occupancy: OCCUPANCY.with(&[model]),
            tokens: ["prompt", "decode", "kept"].map(|kind| TOKENS.with(&[model, kind])),
            trunks: TRUNKS.with(&[model]),
            forked: FORKED.with(&[model]),
            layers_run: LAYERS_RUN.with(&[model]),
            layers_saved: LAYERS_SAVED.with(&[model]),
        }
    }

    /// Counts a pass by what it cost each of its traces, with the number of the trace's job. `most` is how many tokens a
    /// pass may have that jobs share.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    pub fn passed(&self, phases: Phases, tokens: Tokens, traces: &[(usize, &Usage)], most: i64) {
        let all = traces.iter().fold(Usage::default(), |mut all, (_, usage)| {
            all.add(usage);
            all
        });
        // Traces of one job stand together.
        let jobs = traces.chunk_by(|(left, _), (right, _)| left == right).count();
        let Phases { prepare, model, blocks, finish } = phases;
        self.passes.time(prepare + model + blocks + finish);
        for (counted, time) in self.phases.iter().zip([prepare, model, blocks, finish]) {
            counted.time(time);
        }
        self.jobs.observe(jobs as f64);
        self.rows.observe(all.rows as f64);
        self.occupancy.observe(all.tokens as f64 / most.max(1) as f64);
        for (counted, tokens) in self.tokens.iter().zip([tokens.prompt, tokens.decode, tokens.kept]) {
            counted.add(tokens);
        }
        self.forked.add(all.forks);
        self.layers_run.add(all.layers_run);
        self.layers_saved.add(all.layers_skipped);
    }

    /// Counts a pass that failed.
    pub fn failed(&self) {
        self.failed.one();
    }
}
