//! The scheduler's words to and from workers, between their stored and their wire forms.

use std::time::Duration;

use ids::{JobId, ModelKey, Token, WorkerId};
use proto::v1;
use proto::v1::to_worker::Message;
use store::{Fault, Generation, Grant, JobRecord, Specification, messages};

use crate::policy::result_place;
use crate::sessions::{Hold, ToldModel};

/// What lets a worker read a job's program and write its result.
pub struct Grants {
    /// `None` for a program that comes with its assignment.
    pub payload: Option<Grant>,
    pub result: Grant,
}

/// Writes the assignment of a dispatched job.
pub fn assign(record: &JobRecord, grants: Grants) -> Message {
    let format = match record.client.generation {
        Generation::Nnsight08 => v1::ClientFormat::Nnsight08,
    };
    Message::Assign(v1::Assign {
        job_id: record.id.to_string(),
        attempt: record.attempt,
        tenant: record.tenant.to_string(),
        model: Some(messages::model(&record.model)),
        payload: Some(messages::blob(&record.payload)),
        limits: Some(messages::limits(&record.limits)),
        format: format.into(),
        compress: record.client.compress,
        result_path: result_place(record).as_str().to_owned(),
        epoch: record.epoch,
        payload_grant: grants.payload.map(messages::grant),
        result_grant: Some(messages::grant(grants.result)),
        traceparent: messages::traceparent(record.trace.as_ref()),
    })
}

/// Writes the order to load a model on a device, with its other ranks where they are to be, and to keep its weights in memory or
/// not.
pub fn load_model(
    specification: &Specification,
    device: Option<String>,
    keep: bool,
    rank_hosts: Vec<v1::RankHost>,
) -> Message {
    Message::LoadModel(v1::LoadModel {
        model: Some(messages::model(&specification.key)),
        folder: specification.folder.display().to_string(),
        dtype: specification.dtype.clone(),
        device: device.or_else(|| specification.device.clone()),
        ranks: (specification.ranks > 1).then_some(specification.ranks),
        keep,
        residency: specification.residency.clone(),
        rank_hosts,
    })
}

/// Writes the order to let go of a model.
pub fn unload_model(key: &ModelKey) -> Message {
    Message::UnloadModel(v1::UnloadModel { model: Some(messages::model(key)) })
}

/// Writes the order to keep a model's weights no longer.
pub fn cool_model(key: &ModelKey) -> Message {
    Message::CoolModel(v1::CoolModel { model: Some(messages::model(key)) })
}

/// Reads how a model is on a worker. `None` for a state that this version does not know.
pub fn model_state(told: v1::ModelState) -> Option<ToldModel> {
    let v1::ModelState { model, state, hopeless, bytes, device, outline, kept_bytes: kept, warm, rank_hosts } = told;
    let beside = rank_hosts.into_iter().map(|host| (WorkerId::new(host.worker), host.device)).collect();
    let device = Some(device).filter(|device| !device.is_empty());
    let key = messages::read_model(model?);
    Some(ToldModel { key, state: state?, hopeless, bytes, device, outline, kept, warm, beside })
}

/// Wraps a message.
pub fn to_worker(message: Message) -> v1::ToWorker {
    v1::ToWorker { message: Some(message) }
}

/// Reads a job's id.
pub fn job(id: &str) -> Result<JobId, String> {
    id.parse().map_err(|_| format!("{id:?} is no job's id"))
}

/// Reads what a worker says that it has.
pub fn hold(held: &v1::Held) -> Result<Hold, String> {
    Ok(Hold {
        job: job(&held.job_id)?,
        token: Token { epoch: held.epoch, attempt: held.attempt },
        state: held.state(),
        ran: Duration::from_millis(held.ran_milliseconds),
    })
}

/// Writes one time that a job was given out.
pub fn given(job: JobId, token: Token) -> v1::Given {
    v1::Given { job_id: job.to_string(), attempt: token.attempt, epoch: token.epoch }
}

/// Writes that the end of a job need not be kept.
pub fn settled(job: JobId, token: Token) -> Message {
    Message::Settled(v1::Settled { job_id: job.to_string(), attempt: token.attempt, epoch: token.epoch })
}

/// Writes that a job is to be let go.
pub fn cancel(job: JobId, token: Token, out_of_time: bool) -> Message {
    let Token { epoch, attempt } = token;
    Message::Cancel(v1::Cancel { job_id: job.to_string(), attempt, out_of_time, epoch })
}

/// Reads whose doing a failure is; `None` for a cancellation.
pub fn fault(fault: v1::Fault) -> Option<Fault> {
    match fault {
        v1::Fault::User => Some(Fault::User),
        v1::Fault::Limit => Some(Fault::Limit),
        v1::Fault::Server | v1::Fault::Unspecified => Some(Fault::Server),
        v1::Fault::Cancelled => None,
    }
}
