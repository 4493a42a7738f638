//! What follows when something was told of a job: another attempt, or the end. Pure.

use std::time::Duration;

use serde::Deserialize;
use store::job::Event;
use store::{Blob, Fault, JobRecord, Place};

/// Processes that may die under a job that they had alone before it is taken for the cause.
const DEATHS: u32 = 3;

/// Attempts that end in a fault of the server before the job fails of it.
const ATTEMPTS: u32 = 3;

/// Attempts that may come to nothing, for whatever reason, before the job fails of that.
const ATTEMPTS_IN_ALL: u32 = 20;

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
    /// It was told to let go, or cannot run it now.
    LetGo,
}

/// What may be told of a job's attempt.
#[derive(Clone, Debug)]
pub enum Told {
    Happened(Event),
    /// The worker said so.
    Ended(End),
    /// The process that had it ended. One that had others beside it says nothing about any of them.
    Died {
        alone: bool,
    },
    /// Whoever had it is gone, or never got it, through no fault of the job.
    Lost,
    /// It could not be handed to the worker that it was for.
    Withheld,
}

impl Told {
    /// Says what happens to `record` by it at time `now`.
    pub fn event(&self, record: &JobRecord, now: u64) -> Event {
        match self {
            Self::Happened(event) => event.clone(),
            Self::Ended(end) => after_end(record, end, now),
            Self::Died { alone: true } if record.deaths + 1 >= DEATHS => {
                let text =
                    format!("the worker died {DEATHS} times while it ran this job, so the job is not tried again");
                Event::Failed { fault: Fault::Server, text, meta: String::new() }
            }
            Self::Died { alone } => again(record, *alone),
            Self::Lost | Self::Withheld => again(record, false),
        }
    }

    /// Returns whether the next attempt should not follow at once: what made this one come to nothing may last.
    pub fn rests(&self) -> bool {
        matches!(self, Self::Ended(_) | Self::Withheld)
    }

    /// Returns whether the job may be what ended the process that had it.
    pub fn suspicious(&self) -> bool {
        matches!(self, Self::Died { .. })
    }
}

fn after_end(record: &JobRecord, end: &End, now: u64) -> Event {
    match end {
        End::Finished { result: Some(result), usage } if belongs(result, record) => {
            Event::Finished { result: result.clone(), meta: meta(record, usage, now) }
        }
        End::Finished { usage, .. } => {
            let text = "the worker reported a result that is not where it belongs";
            after_failure(record, Fault::Server, text.into(), meta(record, usage, now))
        }
        End::Failed { fault, text, usage } => after_failure(record, *fault, text.clone(), meta(record, usage, now)),
        // Where someone asked for it, the record is cancelled already and this is refused.
        End::LetGo => again(record, false),
    }
}

fn after_failure(record: &JobRecord, fault: Fault, text: String, meta: String) -> Event {
    match fault {
        Fault::Server if record.attempt < ATTEMPTS => Event::Requeued { worker_died: false },
        // Run again, the program would do the same.
        Fault::User | Fault::Limit | Fault::Server => Event::Failed { fault, text, meta },
    }
}

fn again(record: &JobRecord, worker_died: bool) -> Event {
    if record.attempt < ATTEMPTS_IN_ALL {
        return Event::Requeued { worker_died };
    }
    let text = format!(
        "the job was given to workers {ATTEMPTS_IN_ALL} times and none came to an end with it, which is the server's \
         fault; submit it again when the workers are well"
    );
    Event::Failed { fault: Fault::Server, text, meta: String::new() }
}

/// Returns whether a result is where the record's current attempt may put it.
fn belongs(result: &Blob, record: &JobRecord) -> bool {
    match result {
        Blob::Inline(_) => true,
        Blob::Object(object) => object.path == result_place(record).as_str(),
    }
}

/// Returns where a large result of a dispatched job belongs.
pub fn result_place(record: &JobRecord) -> Place {
    Place::result(&record.tenant, record.id, record.attempt, record.epoch)
}

/// What is looked at in a worker's account of what a job cost.
#[derive(Deserialize)]
struct Account {
    execution_time_s: Option<f64>,
}

/// Returns how long a job had its device, as its worker accounts for it.
pub fn took(usage: &str) -> Option<Duration> {
    let seconds = serde_json::from_str::<Account>(usage).ok()?.execution_time_s?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Completes a worker's account of what a job cost. An account that is no JSON object is left out.
fn meta(record: &JobRecord, usage: &str, now: u64) -> String {
    let account = serde_json::from_str::<Account>(usage).ok().filter(|_| usage.starts_with('{'));
    let queued = match record.started_at {
        // Over before anybody was told that it had begun.
        0 => {
            let ran = account.as_ref().and_then(|account| account.execution_time_s).unwrap_or(0.0);
            seconds(now.saturating_sub(record.accepted_at)) - ran
        }
        started => seconds(started.saturating_sub(record.accepted_at)),
    };
    let own = format!("\"queue_time_s\":{:?},\"attempt\":{}}}", queued.max(0.0), record.attempt);
    // Its text is kept as it came, and goes on before its last brace.
    let theirs = account.and_then(|_| usage.trim_end().strip_suffix('}')).unwrap_or("{");
    let comma = if theirs.trim_end().ends_with('{') { "" } else { "," };
    [theirs, comma, &own].concat()
}

fn seconds(milliseconds: u64) -> f64 {
    Duration::from_millis(milliseconds).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use ids::{JobId, KeyId, ModelKey, TenantId};

    use super::*;

    #[test]
    fn a_workers_account_is_completed_and_what_is_no_account_is_left_out() {
        let (tenant, key, model) = (TenantId::new("lab"), KeyId::new("key"), ModelKey::new("o/n", None));
        let record = JobRecord::queued(JobId::new(), tenant, key, model, Blob::Inline(Vec::new().into()), 1_000);
        let completed =
            |usage: &str| -> serde_json::Value { serde_json::from_str(&meta(&record, usage, 3_500)).unwrap() };
        let own = serde_json::json!({"queue_time_s": 2.5, "attempt": 0});
        assert_eq!(
            completed(r#"{"execution_time_s": 0.5, "shape_class": null}"#),
            serde_json::json!({"execution_time_s": 0.5, "shape_class": null, "queue_time_s": 2.0, "attempt": 0})
        );
        for none in ["{}", " { } ", "", "nonsense", "[1]", "7", r#"{"a": 1"#, r#"{"a": 1}}"#] {
            assert_eq!(completed(none), own, "{none:?}");
        }
    }
}
