//! A job's record, and the one function that says what may follow what.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ids::{Class, JobId, KeyId, ModelKey, TenantId, Token, WorkerId};
use program::Limits;
use serde::Deserialize;
use telemetry::trace::Trace;

use crate::metadata::Revision;
use crate::objects::Blob;

/// Everything that is remembered of a job. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    pub id: JobId,
    pub tenant: TenantId,
    /// The API key that asked.
    pub key: KeyId,
    /// The project of that key; empty for none.
    pub project: String,
    pub model: ModelKey,
    /// The client's session, which its statuses are pushed to. Empty when it polls.
    pub session: String,
    pub client: Client,
    pub limits: Limits,
    /// Lets the same submission arrive twice and count once.
    pub idempotency: Option<Idempotency>,
    /// The `program::Program`, encoded. Emptied when the job ends, unless it is kept; one that lies inline is empty, too, in
    /// what followers are shown.
    pub payload: Blob,
    /// How many bytes the payload has, or had.
    pub payload_bytes: u64,
    /// Whether the program stays as long as this record ([`crate::Jobs::keeps_program`]), and counts as what its tenant has stored.
    pub keeps_program: bool,
    /// Whether it counts against a quota.
    pub metered: bool,
    /// How many jobs of its tenant may be with workers at once; zero for any number.
    pub at_once: u32,
    /// How urgent it is, as its tenant and its key were when it was accepted.
    pub class: Class,
    /// What steps of it belong to, where it is traced.
    pub trace: Option<Trace>,

    pub state: State,
    /// Counts dispatches from 1.
    pub attempt: u32,
    /// That of the scheduler which gave the current attempt out.
    pub epoch: u64,
    /// Processes of workers that died while they had this job and no other.
    pub deaths: u32,
    pub worker: Option<WorkerId>,
    /// Set when, and only when, the state is [`State::Completed`] or [`State::Failed`].
    pub outcome: Option<Outcome>,
    /// What the job cost, as a JSON object; empty until it ended.
    pub meta: String,

    pub accepted_at: u64,
    pub dispatched_at: u64,
    pub started_at: u64,
    pub ended_at: u64,
}

impl JobRecord {
    /// Returns the fencing token of the current attempt.
    #[must_use]
    pub fn token(&self) -> Token {
        Token { epoch: self.epoch, attempt: self.attempt }
    }

    /// Makes the record of a job that was just accepted: of an nnsight 0.8 client that polls and wants its result
    /// uncompressed, under the default limits.
    #[must_use]
    pub fn queued(id: JobId, tenant: TenantId, key: KeyId, model: ModelKey, payload: Blob, accepted_at: u64) -> Self {
        Self {
            id,
            tenant,
            key,
            project: String::new(),
            model,
            session: String::new(),
            client: Client { generation: Generation::Nnsight08, compress: false },
            limits: Limits::default(),
            idempotency: None,
            payload_bytes: payload.len(),
            payload,
            keeps_program: false,
            metered: false,
            at_once: 0,
            class: Class::default(),
            trace: None,
            state: State::Queued,
            attempt: 0,
            epoch: 0,
            deaths: 0,
            worker: None,
            outcome: None,
            meta: String::new(),
            accepted_at,
            dispatched_at: 0,
            started_at: 0,
            ended_at: 0,
        }
    }
}

/// What changes of a job until it ends, and what is needed to decide about it: so little that the whole queue is read
/// at once. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    pub id: JobId,
    pub tenant: TenantId,
    pub model: ModelKey,
    /// Not a final one.
    pub state: State,
    /// As in [`JobRecord`].
    pub attempt: u32,
    pub epoch: u64,
    pub deaths: u32,
    pub worker: Option<WorkerId>,
    pub accepted_at: u64,
    pub dispatched_at: u64,
    pub started_at: u64,
    /// Under which it was submitted.
    pub submission_key: Option<String>,
    /// As in [`JobRecord`].
    pub at_once: u32,
    pub class: Class,
    /// What wrote it last: what [`crate::Jobs::replace`] compares. Not stored.
    pub revision: Revision,
}

impl Live {
    /// Returns the fencing token of the current attempt.
    #[must_use]
    pub fn token(&self) -> Token {
        Token { epoch: self.epoch, attempt: self.attempt }
    }
}

/// A job that has ended: what has to be known to forget it, and to account for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub id: JobId,
    pub tenant: TenantId,
    pub key: KeyId,
    pub project: String,
    /// `None` in what versions wrote that did not account for jobs.
    pub model: Option<ModelKey>,
    pub metered: bool,
    /// Milliseconds since the Unix epoch.
    pub ended_at: u64,
    /// Under which it was submitted.
    pub submission_key: Option<String>,
    /// Whether it failed; who cancelled it, or let it wait for too long, has no failed job.
    pub failed: bool,
    /// What it computed, in microseconds: [`JobRecord::ran`].
    pub ran: u64,
    pub request_bytes: u64,
    pub result_bytes: u64,
    /// Of its program, where that is kept.
    pub program_bytes: u64,
}

impl Ended {
    /// Returns how many bytes of it its tenant has stored.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        self.result_bytes.saturating_add(self.program_bytes)
    }
}

/// How the client wants its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub generation: Generation,
    /// Whether the result is compressed.
    pub compress: bool,
}

/// The client's wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// nnsight 0.8: source text and pickled values; results as `torch.save` writes them.
    Nnsight08,
}

/// A name that a client gives to one submission, and what was submitted under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    pub key: String,
    /// BLAKE3 of the request's body.
    pub digest: [u8; 32],
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Queued,
    Dispatched,
    Running,
    Completed,
    Failed,
    Cancelled,
    Expired,
}

impl State {
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Dispatched, Self::Running, Self::Completed, Self::Failed, Self::Cancelled, Self::Expired];

    /// Returns whether the job ended: nothing follows.
    #[must_use]
    pub fn terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Expired)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Dispatched => "dispatched",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        })
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.to_string() == name);
        found.ok_or_else(|| {
            let names: Vec<String> = Self::ALL.iter().map(Self::to_string).collect();
            format!("a job is one of {}, not {name:?}", names.join(", "))
        })
    }
}

/// How a job ended, where there is more to say than its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Result(Blob),
    Failure { fault: Fault, text: String },
}

/// Whose doing a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The program is wrong.
    User,
    /// The program needs more than its limits.
    Limit,
    /// The server broke.
    Server,
}

/// What happens to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is given to a worker, under the next attempt.
    Dispatched {
        worker: WorkerId,
        /// Of the scheduler that gives it.
        epoch: u64,
    },
    /// Its first step runs.
    Started,
    Finished {
        result: Blob,
        meta: String,
    },
    Failed {
        fault: Fault,
        text: String,
        meta: String,
    },
    /// Its attempt came to nothing through no fault of its own; another may follow.
    Requeued {
        worker_died: bool,
    },
    Cancelled,
    /// It waited for too long.
    Expired,
}

/// Why an event cannot happen to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("attempt {told} is not the current attempt {current}")]
    Attempt { told: u32, current: u32 },
    #[error("not possible while it is {0}")]
    State(State),
}

/// Says which state follows, or that the event cannot happen in this one.
///
/// # Errors
/// [`Refused::State`].
pub fn next(state: State, event: &Event) -> Result<State, Refused> {
    use State::{Cancelled, Completed, Dispatched, Expired, Failed, Queued, Running};
    match (state, event) {
        (Queued, Event::Dispatched { .. }) => Ok(Dispatched),
        (Dispatched, Event::Started) => Ok(Running),
        // A start is written relaxed, so a crash may have undone it.
        (Dispatched | Running, Event::Finished { .. }) => Ok(Completed),
        (Dispatched | Running, Event::Requeued { .. }) => Ok(Queued),
        (Queued | Dispatched | Running, Event::Failed { .. }) => Ok(Failed),
        (Queued | Dispatched | Running, Event::Cancelled) => Ok(Cancelled),
        (Queued, Event::Expired) => Ok(Expired),
        (state, _) => Err(Refused::State(state)),
    }
}

impl JobRecord {
    /// Returns the record as it is after `event`, which was told for `attempt` at time `now`.
    ///
    /// # Errors
    /// [`Refused`] when another attempt is current or the state does not allow the event.
    pub fn after(&self, attempt: u32, event: &Event, now: u64) -> Result<Self, Refused> {
        let state = next(self.state, event)?;
        if attempt != self.attempt {
            return Err(Refused::Attempt { told: attempt, current: self.attempt });
        }
        let mut record = Self { state, ..self.clone() };
        match event {
            Event::Dispatched { worker, epoch } => {
                record.attempt += 1;
                record.epoch = *epoch;
                record.worker = Some(worker.clone());
                record.dispatched_at = now;
                record.started_at = 0;
            }
            Event::Started => record.started_at = now,
            Event::Requeued { worker_died } => {
                record.deaths += u32::from(*worker_died);
                record.worker = None;
            }
            Event::Finished { result, meta } => {
                record.outcome = Some(Outcome::Result(result.clone()));
                record.meta.clone_from(meta);
            }
            Event::Failed { fault, text, meta } => {
                record.outcome = Some(Outcome::Failure { fault: *fault, text: text.clone() });
                record.meta.clone_from(meta);
            }
            Event::Cancelled | Event::Expired => {}
        }
        if state.terminal() {
            record.ended_at = now;
            record.drop_program();
        }
        Ok(record)
    }

    /// Forgets the program of a job that has ended, unless it is kept.
    pub(crate) fn drop_program(&mut self) {
        if !self.keeps_program {
            self.payload = Blob::Inline(bytes::Bytes::new());
        }
    }

    /// Returns what a job that has ended computed, in microseconds: what its worker measured, or where that did not tell,
    /// how long it ran as the scheduler saw it. Attempts that came to nothing through no fault of the job do not count.
    #[must_use]
    pub fn ran(&self) -> u64 {
        #[derive(Deserialize)]
        struct Account {
            execution_time_s: Option<f64>,
        }
        let told = serde_json::from_str::<Account>(&self.meta).ok().and_then(|account| account.execution_time_s);
        match told.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
            Some(ran) => u64::try_from(ran.as_micros()).unwrap_or(u64::MAX),
            // Of what the server broke, nobody pays for what was not told.
            None if matches!(self.outcome, Some(Outcome::Failure { fault: Fault::Server, .. })) => 0,
            None if self.started_at > 0 && self.worker.is_some() => {
                self.ended_at.saturating_sub(self.started_at).saturating_mul(1000)
            }
            None => 0,
        }
    }

    /// Returns what is kept of a job that has ended, to forget it and to account for it.
    #[must_use]
    pub fn ended(&self) -> Ended {
        Ended {
            id: self.id,
            tenant: self.tenant.clone(),
            key: self.key.clone(),
            project: self.project.clone(),
            model: Some(self.model.clone()),
            metered: self.metered,
            ended_at: self.ended_at,
            submission_key: self.idempotency.as_ref().map(|it| it.key.clone()),
            failed: self.state == State::Failed,
            ran: self.ran(),
            request_bytes: self.payload_bytes,
            result_bytes: match &self.outcome {
                Some(Outcome::Result(blob)) => blob.len(),
                _ => 0,
            },
            program_bytes: if self.keeps_program { self.payload_bytes } else { 0 },
        }
    }

    /// Returns the part that changes, as of `revision`.
    #[must_use]
    pub fn live(&self, revision: Revision) -> Live {
        Live {
            id: self.id,
            tenant: self.tenant.clone(),
            model: self.model.clone(),
            state: self.state,
            attempt: self.attempt,
            epoch: self.epoch,
            deaths: self.deaths,
            worker: self.worker.clone(),
            accepted_at: self.accepted_at,
            dispatched_at: self.dispatched_at,
            started_at: self.started_at,
            submission_key: self.idempotency.as_ref().map(|it| it.key.clone()),
            at_once: self.at_once,
            class: self.class,
            revision,
        }
    }

    /// Returns the record as far as `live` says that it is.
    #[must_use]
    pub fn at(self, live: &Live) -> Self {
        Self {
            state: live.state,
            attempt: live.attempt,
            epoch: live.epoch,
            deaths: live.deaths,
            worker: live.worker.clone(),
            dispatched_at: live.dispatched_at,
            started_at: live.started_at,
            at_once: live.at_once,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = Event> {
        let fault = prop_oneof![Just(Fault::User), Just(Fault::Limit), Just(Fault::Server)];
        prop_oneof![
            any::<u64>().prop_map(|epoch| Event::Dispatched { worker: WorkerId::new("w"), epoch }),
            Just(Event::Started),
            any::<u8>().prop_map(|byte| Event::Finished {
                result: Blob::Inline(Bytes::from(vec![byte])),
                meta: byte.to_string(),
            }),
            fault.prop_map(|fault| Event::Failed { fault, text: "why".into(), meta: String::new() }),
            any::<bool>().prop_map(|worker_died| Event::Requeued { worker_died }),
            Just(Event::Cancelled),
            Just(Event::Expired),
        ]
    }

    fn told() -> impl Strategy<Value = Vec<(u32, Event)>> {
        proptest::collection::vec((0u32..2, event()), 0..40)
    }

    proptest! {
        /// J2: whatever is told, in whatever order, a job ends at most once and stays as it ended.
        #[test]
        fn j2_an_end_is_for_ever(history in told()) {
            let mut record = crate::jobs::tests::queued();
            let mut ended: Option<JobRecord> = None;
            for (time, (behind, event)) in history.into_iter().enumerate() {
                let attempt = record.attempt.saturating_sub(behind);
                match record.after(attempt, &event, time as u64) {
                    Ok(after) => {
                        prop_assert!(ended.is_none(), "{event:?} happened after the end");
                        prop_assert_eq!(attempt, record.attempt, "an old attempt was heard");
                        let dispatched = matches!(event, Event::Dispatched { .. });
                        prop_assert_eq!(after.attempt, record.attempt + u32::from(dispatched));
                        prop_assert!(dispatched || after.token() == record.token());
                        prop_assert!(after.deaths >= record.deaths);
                        let told = matches!(after.state, State::Completed | State::Failed);
                        prop_assert_eq!(after.outcome.is_some(), told);
                        prop_assert_eq!(after.payload.is_empty(), after.state.terminal());
                        record = after;
                        if record.state.terminal() {
                            ended = Some(record.clone());
                        }
                    }
                    Err(Refused::Attempt { told, current }) => prop_assert_ne!(told, current),
                    Err(Refused::State(state)) => prop_assert_eq!(state, record.state),
                }
            }
            if let Some(ended) = ended {
                prop_assert_eq!(ended, record);
            }
        }

        /// Every state that is not an end has a way to one.
        #[test]
        fn a_job_can_always_end(history in told()) {
            let mut record = crate::jobs::tests::queued();
            for (_, event) in history {
                record = record.after(record.attempt, &event, 1).unwrap_or(record);
            }
            let failed = Event::Failed { fault: Fault::Server, text: String::new(), meta: String::new() };
            prop_assert_eq!(record.after(record.attempt, &failed, 2).is_ok(), !record.state.terminal());
        }
    }
}
