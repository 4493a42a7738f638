//! What the stores count.

use telemetry::metrics::{Counter, Histogram, Label, Metrics, SECONDS};

const KIND: Label = Label::of("kind", &["read", "range", "commit", "lease"]);
const DIRECTION: Label = Label::of("direction", &["read", "written"]);

pub static REQUESTS: Histogram = Histogram::new(
    "vitrine_store_request_seconds",
    "Says how long requests to the metadata store took, failed ones included.",
    &[KIND],
    SECONDS,
);
pub static ERRORS: Counter = Counter::new(
    "vitrine_store_errors_total",
    "Counts requests to the metadata store that failed: nobody answered, nobody knows whether it was done, or another reason.",
    &[Label::of("reason", &["unavailable", "unknown", "no_space", "other"])],
);
pub static TRANSACTIONS: Counter = Counter::new(
    "vitrine_store_transactions_total",
    "Counts transactions by what came of them: written, or nothing was since a comparison failed.",
    &[Label::of("outcome", &["committed", "conflict"])],
);
pub static BYTES: Counter = Counter::new(
    "vitrine_store_bytes_total",
    "Counts bytes of values that were read from the metadata store, watches apart, or written to it.",
    &[DIRECTION],
);
pub static RESYNCS: Counter = Counter::new(
    "vitrine_store_watch_resyncs_total",
    "Counts watches that missed changes and had to list what there is.",
    &[],
);
pub static OBJECTS: Histogram = Histogram::new(
    "vitrine_store_object_seconds",
    "Says how long reading and writing whole objects took, failures included.",
    &[DIRECTION],
    SECONDS,
);
pub static OBJECT_BYTES: Counter = Counter::new(
    "vitrine_store_object_bytes_total",
    "Counts bytes of objects that were read or written as a whole.",
    &[DIRECTION],
);

/// All of them.
pub static METRICS: Metrics = &[&REQUESTS, &ERRORS, &TRANSACTIONS, &BYTES, &RESYNCS, &OBJECTS, &OBJECT_BYTES];
