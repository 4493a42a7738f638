//! What is told of a job's steps: a line for the log, and a span where it is traced.

use std::time::Instant;

use store::JobRecord;
use telemetry::trace::{time_of, unix_millis};

/// Tells that a job waited, and that it was decided on and that this was committed.
pub fn decided(record: &JobRecord, began: Instant) {
    if let Some(trace) = &record.trace {
        let began = time_of(began);
        trace.step_since("queue", unix_millis(record.accepted_at)).end_at(began);
        trace.step_since("decide", began).with("attempt", i64::from(record.attempt)).end();
    }
}

/// Tells that a worker was given a job.
pub fn assigned(record: &JobRecord, began: Instant) {
    let JobRecord { id, tenant, model, attempt, .. } = record;
    let worker = record.worker.as_ref().map_or("", |worker| worker.as_str());
    tracing::info!(job = %id, %tenant, %model, worker, attempt, "given to a worker");
    if let Some(trace) = &record.trace {
        let assigning = trace.step_since("assign", time_of(began)).with("worker", worker.to_owned());
        assigning.with("attempt", i64::from(*attempt)).end();
    }
}

/// Tells that what became of a job was committed.
pub fn settled(record: &JobRecord, began: Instant) {
    let JobRecord { id, tenant, model, attempt, state, .. } = record;
    if state.terminal() {
        tracing::info!(job = %id, %tenant, %model, attempt, %state, "ended");
    }
    if let Some(trace) = &record.trace {
        trace.step_since("settle", time_of(began)).with("state", state.to_string()).end();
    }
}
