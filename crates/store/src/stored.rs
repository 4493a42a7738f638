//! Records as they are stored: messages of `proto::stored`, and what they mean here.

use std::time::Duration;

use bytes::Bytes;
use ids::{Class, JobId, KeyId, TenantId, WorkerId};
use proto::{Message, stored, v1};
use telemetry::trace::Trace;

use crate::election::Leader;
use crate::error::Error;
use crate::history::{Happening, Minute, Passes, Pulse, Spread, Tally, What};
use crate::job::{Client, Ended, Fault, Generation, Idempotency, JobRecord, Live, Outcome, State};
use crate::messages;
use crate::metadata::Entry;
use crate::models::{ModelRecord, ModelState, ModelWait};
use crate::objects::Blob;

/// Writes what was asked for.
pub fn request(record: &JobRecord) -> Vec<u8> {
    let JobRecord { tenant, key, model, session, client, limits, idempotency, payload, .. } = record;
    let Generation::Nnsight08 = client.generation;
    let message = stored::Request {
        tenant: tenant.to_string(),
        key: key.to_string(),
        model: Some(messages::model(model)),
        session: session.clone(),
        format: v1::ClientFormat::Nnsight08.into(),
        compress: client.compress,
        limits: Some(messages::limits(limits)),
        submission: idempotency.as_ref().map(|idempotency| stored::Submission {
            key: idempotency.key.clone(),
            digest: idempotency.digest.to_vec().into(),
            job: String::new(),
        }),
        payload: match payload {
            Blob::Inline(_) => None,
            Blob::Object(object) => Some(messages::object(object)),
        },
        payload_bytes: record.payload_bytes,
        accepted_at: record.accepted_at,
        project: record.project.clone(),
        metered: record.metered,
        trace: record.trace.map(|trace| trace.to_bytes().to_vec().into()).unwrap_or_default(),
        class: class_number(record.class),
        keeps_program: record.keeps_program,
    };
    message.encode_to_vec()
}

/// Writes how far a job is that has not ended.
pub fn live(record: &JobRecord) -> Vec<u8> {
    let message = stored::Live {
        state: state_number(record.state),
        tenant: record.tenant.to_string(),
        model: Some(messages::model(&record.model)),
        accepted_at: record.accepted_at,
        progress: Some(progress(record)),
        submission_key: submission_key(record),
        at_once: record.at_once,
        class: class_number(record.class),
    };
    message.encode_to_vec()
}

/// Writes how a job ended.
pub fn outcome(record: &JobRecord) -> Vec<u8> {
    let end = record.outcome.as_ref().map(|outcome| match outcome {
        Outcome::Result(blob) => stored::outcome::End::Result(messages::blob(blob)),
        Outcome::Failure { fault, text } => {
            let fault = match fault {
                Fault::User => v1::Fault::User,
                Fault::Limit => v1::Fault::Limit,
                Fault::Server => v1::Fault::Server,
            };
            stored::outcome::End::Failure(stored::Failure { fault: fault.into(), text: text.clone() })
        }
    });
    let message = stored::Outcome {
        state: state_number(record.state),
        progress: Some(progress(record)),
        ended_at: record.ended_at,
        end,
        meta: record.meta.clone(),
    };
    message.encode_to_vec()
}

/// Writes what has to be known to forget a job, and to account for it.
pub fn ended(record: &JobRecord) -> Vec<u8> {
    let ended = record.ended();
    let message = stored::Ended {
        tenant: ended.tenant.to_string(),
        ended_at: ended.ended_at,
        submission_key: ended.submission_key.unwrap_or_default(),
        key: ended.key.to_string(),
        project: ended.project,
        model: ended.model.as_ref().map(messages::model),
        metered: ended.metered,
        state: state_number(record.state),
        ran: ended.ran,
        request_bytes: ended.request_bytes,
        result_bytes: ended.result_bytes,
        program_bytes: ended.program_bytes,
    };
    message.encode_to_vec()
}

/// Writes what a job takes of quotas: what is kept for it in microseconds, or when it has ended, what it took.
pub fn hold(record: &JobRecord, reserved: u64) -> Vec<u8> {
    let key = record.key.to_string();
    let message = match record.state.terminal() {
        false => stored::Hold { key, reserved, request_bytes: record.payload_bytes, ..stored::Hold::default() },
        true => {
            let ended = record.ended();
            let (ended_at, result_bytes) = (ended.ended_at.max(1), ended.kept_bytes());
            stored::Hold { key, ended_at, ran: ended.ran, result_bytes, ..stored::Hold::default() }
        }
    };
    message.encode_to_vec()
}

/// Writes a message.
pub fn encode(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}

/// Writes which job came of a submission.
pub fn submission(idempotency: &Idempotency, job: JobId) -> Vec<u8> {
    let digest = idempotency.digest.to_vec().into();
    stored::Submission { key: idempotency.key.clone(), digest, job: job.to_string() }.encode_to_vec()
}

/// Reads the record of a job as it was asked for; how far it is, is read from another entry.
pub fn read_request(id: JobId, entry: &Entry) -> Result<JobRecord, Error> {
    let unreadable = |reason: &str| unreadable(entry, reason);
    let message = decode::<stored::Request>(entry)?;
    match message.format() {
        v1::ClientFormat::Nnsight08 => {}
        v1::ClientFormat::Unspecified => return Err(unreadable("its client's format is not known to this server")),
    }
    let payload = match message.payload {
        None => Blob::Inline(Bytes::new()),
        Some(object) => {
            Blob::Object(messages::read_object(object).ok_or_else(|| unreadable("its payload's digest is none"))?)
        }
    };
    let idempotency = message.submission.map(|submission| {
        let digest = submission.digest.as_ref().try_into().map_err(|_| unreadable("its digest is none"))?;
        Ok::<_, Error>(Idempotency { key: submission.key, digest })
    });
    let model = messages::read_model(message.model.ok_or_else(|| unreadable("it names no model"))?);
    let limits = messages::read_limits(&message.limits.ok_or_else(|| unreadable("it has no limits"))?);
    Ok(JobRecord {
        session: message.session,
        client: Client { generation: Generation::Nnsight08, compress: message.compress },
        limits,
        idempotency: idempotency.transpose()?,
        payload_bytes: message.payload_bytes,
        keeps_program: message.keeps_program,
        project: message.project,
        metered: message.metered,
        class: class(message.class),
        trace: Trace::from_bytes(&message.trace),
        ..JobRecord::queued(
            id,
            TenantId::new(message.tenant),
            KeyId::new(message.key),
            model,
            payload,
            message.accepted_at,
        )
    })
}

/// Reads how far a job is.
pub fn read_live(id: JobId, entry: &Entry) -> Result<Live, Error> {
    let message = decode::<stored::Live>(entry)?;
    let state = state(message.state).filter(|state| !state.terminal());
    let progress = message.progress.unwrap_or_default();
    Ok(Live {
        id,
        tenant: TenantId::new(message.tenant),
        model: messages::read_model(message.model.ok_or_else(|| unreadable(entry, "it names no model"))?),
        state: state.ok_or_else(|| unreadable(entry, "its state is not known to this server"))?,
        attempt: progress.attempt,
        epoch: progress.epoch,
        deaths: progress.deaths,
        worker: (!progress.worker.is_empty()).then(|| WorkerId::new(progress.worker)),
        accepted_at: message.accepted_at,
        dispatched_at: progress.dispatched_at,
        started_at: progress.started_at,
        submission_key: (!message.submission_key.is_empty()).then_some(message.submission_key),
        class: class(message.class),
        at_once: message.at_once,
        revision: entry.revision,
    })
}

/// Completes a record by how the job ended.
pub fn read_outcome(mut record: JobRecord, entry: &Entry) -> Result<JobRecord, Error> {
    let unreadable = |reason: &str| unreadable(entry, reason);
    let message = decode::<stored::Outcome>(entry)?;
    let ended = state(message.state).filter(|state| state.terminal());
    record.state = ended.ok_or_else(|| unreadable("its state is not known to this server"))?;
    record.outcome = match message.end {
        None => None,
        Some(stored::outcome::End::Result(blob)) => {
            Some(Outcome::Result(messages::read_blob(blob).ok_or_else(|| unreadable("its result is none"))?))
        }
        Some(stored::outcome::End::Failure(failure)) => {
            let fault = match failure.fault() {
                v1::Fault::User => Fault::User,
                v1::Fault::Limit => Fault::Limit,
                v1::Fault::Server | v1::Fault::Unspecified | v1::Fault::Cancelled => Fault::Server,
            };
            Some(Outcome::Failure { fault, text: failure.text })
        }
    };
    let progress = message.progress.unwrap_or_default();
    record.attempt = progress.attempt;
    record.epoch = progress.epoch;
    record.deaths = progress.deaths;
    record.worker = (!progress.worker.is_empty()).then(|| WorkerId::new(progress.worker));
    record.dispatched_at = progress.dispatched_at;
    record.started_at = progress.started_at;
    record.ended_at = message.ended_at;
    record.meta = message.meta;
    record.drop_program();
    Ok(record)
}

/// Reads what has to be known to forget a job.
pub fn read_ended(id: JobId, entry: &Entry) -> Result<Ended, Error> {
    let message = decode::<stored::Ended>(entry)?;
    Ok(Ended {
        id,
        failed: state(message.state) == Some(State::Failed),
        tenant: TenantId::new(message.tenant),
        key: KeyId::new(message.key),
        project: message.project,
        model: message.model.map(messages::read_model),
        metered: message.metered,
        ended_at: message.ended_at,
        submission_key: (!message.submission_key.is_empty()).then_some(message.submission_key),
        ran: message.ran,
        request_bytes: message.request_bytes,
        result_bytes: message.result_bytes,
        program_bytes: message.program_bytes,
    })
}

/// Reads which job came of a submission, and the digest of what was submitted.
pub fn read_submission(entry: &Entry) -> Result<(JobId, Bytes), Error> {
    let message = decode::<stored::Submission>(entry)?;
    let job = message.job.parse().map_err(|_| unreadable(entry, "it names no job"))?;
    Ok((job, message.digest))
}

/// Writes a hosted model.
pub fn model(record: &ModelRecord) -> Vec<u8> {
    use stored::hosted_model::State;
    let message = stored::HostedModel {
        model: Some(messages::model(&record.key)),
        folder: record.folder.display().to_string(),
        dtype: record.dtype.clone(),
        device: record.device.clone(),
        state: Some(match &record.state {
            ModelState::Waiting => State::Waiting(true),
            ModelState::Loading { fraction } => State::Loading(*fraction),
            ModelState::Ready => State::Ready(true),
            ModelState::Failed(why) => State::Failed(why.clone()),
            ModelState::Cold => State::Cold(true),
        }),
        bytes: record.bytes,
        load_milliseconds: u64::try_from(record.load_time.as_millis()).unwrap_or(u64::MAX),
        replicas: record.replicas,
        wait: record
            .wait
            .as_ref()
            .map(|wait| stored::Wait { why: wait.why.clone(), expected_at: wait.expected_at.unwrap_or(0) }),
        warm: record.warm,
        warm_milliseconds: u64::try_from(record.warm_time.as_millis()).unwrap_or(u64::MAX),
        kept_bytes: record.kept_bytes,
        reservation: record
            .reservation
            .as_ref()
            .map(|(tenant, until)| stored::Reservation { tenant: tenant.to_string(), until: *until }),
        ranks: (record.ranks > 1).then_some(record.ranks),
    };
    message.encode_to_vec()
}

/// Reads a hosted model.
pub fn read_model(entry: &Entry) -> Result<ModelRecord, Error> {
    use stored::hosted_model::State;
    let message = decode::<stored::HostedModel>(entry)?;
    Ok(ModelRecord {
        key: messages::read_model(message.model.ok_or_else(|| unreadable(entry, "it names no model"))?),
        folder: message.folder.into(),
        dtype: message.dtype,
        device: message.device,
        state: match message.state.ok_or_else(|| unreadable(entry, "its state is not known to this server"))? {
            State::Waiting(_) => ModelState::Waiting,
            State::Loading(fraction) => ModelState::Loading { fraction },
            State::Ready(_) => ModelState::Ready,
            State::Failed(why) => ModelState::Failed(why),
            State::Cold(_) => ModelState::Cold,
        },
        bytes: message.bytes,
        load_time: Duration::from_millis(message.load_milliseconds),
        replicas: message.replicas,
        wait: message.wait.map(|stored::Wait { why, expected_at }| ModelWait {
            why,
            expected_at: Some(expected_at).filter(|at| *at > 0),
        }),
        warm: message.warm,
        warm_time: Duration::from_millis(message.warm_milliseconds),
        kept_bytes: message.kept_bytes,
        reservation: message.reservation.map(|stored::Reservation { tenant, until }| (TenantId::new(tenant), until)),
        ranks: message.ranks.unwrap_or(1).max(1),
    })
}

/// Writes who leads.
pub fn leader(candidacy: &str, address: &str) -> Vec<u8> {
    stored::Leader { candidacy: candidacy.to_owned(), address: address.to_owned() }.encode_to_vec()
}

/// Reads who leads.
pub fn read_leader(entry: &Entry) -> Result<Leader, Error> {
    let stored::Leader { address, .. } = decode::<stored::Leader>(entry)?;
    Ok(Leader { address, epoch: entry.revision })
}

/// Writes what was seen of a minute.
pub fn minute(minute: &Minute) -> Vec<u8> {
    let tallies = minute.tallies.iter().map(|(line, tally)| {
        let Tally { waiting, given, completed, failed_program, failed_limit, .. } = *tally;
        let Tally { failed_server, cancelled, expired, .. } = *tally;
        let Passes { forwards, traces, rows, forked_rows, layers_run, layers_skipped } = tally.passes;
        let (waits, runs) = (tally.waits.counts().to_vec(), tally.runs.counts().to_vec());
        let (tenant, model) = line.as_ref().map(|(tenant, model)| (tenant.to_string(), messages::model(model))).unzip();
        stored::Tally {
            tenant: tenant.unwrap_or_default(),
            model,
            waiting,
            given,
            completed,
            failed_program,
            failed_limit,
            failed_server,
            cancelled,
            expired,
            waits,
            runs,
            passes: Some(stored::Passes { forwards, traces, rows, forked_rows, layers_run, layers_skipped }),
        }
    });
    let happenings = minute.happenings.iter().map(|Happening { at, what }| {
        use stored::HappeningKind as Kind;
        let (kind, subject, model) = match what {
            What::SchedulerBegan => (Kind::SchedulerBegan, None, None),
            What::WorkerCame(worker) => (Kind::WorkerCame, Some(worker), None),
            What::WorkerLeft(worker) => (Kind::WorkerLeft, Some(worker), None),
            What::WorkerDied(worker) => (Kind::WorkerDied, Some(worker), None),
            What::WorkerSilent(worker) => (Kind::WorkerSilent, Some(worker), None),
            What::Drifted(worker, model) => (Kind::Drifted, Some(worker), Some(messages::model(model))),
            What::Corrupted(worker, model) => (Kind::Corrupted, Some(worker), Some(messages::model(model))),
        };
        let subject = subject.map(ToString::to_string).unwrap_or_default();
        stored::Happening { kind: kind.into(), at: *at, subject, model }
    });
    let (tallies, happenings) = (tallies.collect(), happenings.collect());
    stored::Minute { running: minute.running, tallies, happenings }.encode_to_vec()
}

/// Reads what was seen of a minute. A happening of a kind that is not known is left out.
pub fn read_minute(entry: &Entry) -> Result<Minute, Error> {
    let stored::Minute { running, tallies, happenings } = decode::<stored::Minute>(entry)?;
    let tallies = tallies.into_iter().map(|it| {
        let line = it.model.map(|model| (TenantId::new(it.tenant), messages::read_model(model)));
        let stored::Passes { forwards, traces, rows, forked_rows, layers_run, layers_skipped } =
            it.passes.unwrap_or_default();
        let tally = Tally {
            waiting: it.waiting,
            given: it.given,
            completed: it.completed,
            failed_program: it.failed_program,
            failed_limit: it.failed_limit,
            failed_server: it.failed_server,
            cancelled: it.cancelled,
            expired: it.expired,
            waits: Spread::from_counts(it.waits),
            runs: Spread::from_counts(it.runs),
            passes: Passes { forwards, traces, rows, forked_rows, layers_run, layers_skipped },
        };
        (line, tally)
    });
    let happenings = happenings.into_iter().filter_map(|it| {
        use stored::HappeningKind as Kind;
        let kind = it.kind();
        let worker = WorkerId::new(it.subject);
        let what = match kind {
            Kind::Unspecified => return None,
            Kind::SchedulerBegan => What::SchedulerBegan,
            Kind::WorkerCame => What::WorkerCame(worker),
            Kind::WorkerLeft => What::WorkerLeft(worker),
            Kind::WorkerDied => What::WorkerDied(worker),
            Kind::WorkerSilent => What::WorkerSilent(worker),
            Kind::Drifted => What::Drifted(worker, messages::read_model(it.model?)),
            Kind::Corrupted => What::Corrupted(worker, messages::read_model(it.model?)),
        };
        Some(Happening { at: it.at, what })
    });
    Ok(Minute { running, tallies: tallies.collect(), happenings: happenings.collect() })
}

/// Writes who led last.
pub fn pulse(pulse: Pulse) -> Vec<u8> {
    let Pulse { at, epoch, queue_time } = pulse;
    stored::Pulse { at, epoch, queue_time }.encode_to_vec()
}

/// Reads who led last.
pub fn read_pulse(entry: &Entry) -> Result<Pulse, Error> {
    let stored::Pulse { at, epoch, queue_time } = decode::<stored::Pulse>(entry)?;
    Ok(Pulse { at, epoch, queue_time })
}

/// Reads a message.
pub fn decode<M: Message + Default>(entry: &Entry) -> Result<M, Error> {
    M::decode(entry.value.clone()).map_err(|error| unreadable(entry, &error.to_string()))
}

pub fn unreadable(entry: &Entry, reason: &str) -> Error {
    Error::Unreadable { key: entry.key.clone(), reason: reason.to_owned() }
}

fn progress(record: &JobRecord) -> stored::Progress {
    stored::Progress {
        attempt: record.attempt,
        deaths: record.deaths,
        worker: record.worker.as_ref().map(ToString::to_string).unwrap_or_default(),
        dispatched_at: record.dispatched_at,
        started_at: record.started_at,
        epoch: record.epoch,
    }
}

fn submission_key(record: &JobRecord) -> String {
    record.idempotency.as_ref().map(|it| it.key.clone()).unwrap_or_default()
}

fn state_number(state: State) -> i32 {
    let state = match state {
        State::Queued => stored::State::Queued,
        State::Dispatched => stored::State::Dispatched,
        State::Running => stored::State::Running,
        State::Completed => stored::State::Completed,
        State::Failed => stored::State::Failed,
        State::Cancelled => stored::State::Cancelled,
        State::Expired => stored::State::Expired,
    };
    state.into()
}

fn class_number(class: Class) -> i32 {
    let class = match class {
        Class::High => stored::Class::High,
        Class::Normal => stored::Class::Normal,
        Class::Low => stored::Class::Low,
    };
    class.into()
}

/// Reads a class. One that only a newer version knows is as none: its job waits no longer than most.
fn class(number: i32) -> Class {
    match stored::Class::try_from(number) {
        Ok(stored::Class::High) => Class::High,
        Ok(stored::Class::Low) => Class::Low,
        Ok(stored::Class::Normal) | Err(_) => Class::Normal,
    }
}

fn state(number: i32) -> Option<State> {
    match stored::State::try_from(number).ok()? {
        stored::State::Unspecified => None,
        stored::State::Queued => Some(State::Queued),
        stored::State::Dispatched => Some(State::Dispatched),
        stored::State::Running => Some(State::Running),
        stored::State::Completed => Some(State::Completed),
        stored::State::Failed => Some(State::Failed),
        stored::State::Cancelled => Some(State::Cancelled),
        stored::State::Expired => Some(State::Expired),
    }
}
