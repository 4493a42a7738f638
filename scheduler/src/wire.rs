//! The scheduler's words to and from workers, between their stored and their wire forms.

use std::time::Duration;

use ids::{JobId, ModelKey, Token};
use program::Limits;
use proto::v1;
use proto::v1::to_worker::Message;
use store::{Blob, Fault, Generation, JobRecord, ObjectRef};

use crate::config::HostedModel;
use crate::placement::result_place;
use crate::sessions::Hold;

/// Writes the assignment of a dispatched job.
pub fn assign(record: &JobRecord) -> Message {
    let format = match record.client.generation {
        Generation::Nnsight08 => v1::ClientFormat::Nnsight08,
    };
    Message::Assign(v1::Assign {
        job_id: record.id.to_string(),
        attempt: record.attempt,
        tenant: record.tenant.to_string(),
        model: Some(model(&record.model)),
        payload: Some(blob(&record.payload)),
        limits: Some(limits(&record.limits)),
        format: format.into(),
        compress: record.client.compress,
        result_path: result_place(record).as_str().to_owned(),
        epoch: record.epoch,
    })
}

/// Writes the order to load a model.
pub fn load_model(hosted: &HostedModel) -> Message {
    Message::LoadModel(v1::LoadModel {
        model: Some(model(&hosted.key)),
        folder: hosted.folder.display().to_string(),
        dtype: hosted.dtype.clone(),
        device: hosted.device.clone(),
    })
}

/// Wraps a message.
pub fn to_worker(message: Message) -> v1::ToWorker {
    v1::ToWorker { message: Some(message) }
}

/// Reads a model's name.
pub fn model_key(model: v1::Model) -> ModelKey {
    ModelKey::new(model.repo_id, model.revision)
}

/// Reads a result. `None` when it is none.
pub fn result(blob: Option<v1::Blob>) -> Option<Blob> {
    match blob?.blob? {
        v1::blob::Blob::Inline(bytes) => Some(Blob::Inline(bytes)),
        v1::blob::Blob::Object(object) => {
            let digest = object.digest.as_ref().try_into().ok()?;
            Some(Blob::Object(ObjectRef { path: object.path, digest, bytes: object.bytes }))
        }
    }
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

fn model(key: &ModelKey) -> v1::Model {
    v1::Model { repo_id: key.repo_id().to_owned(), revision: key.revision().map(str::to_owned) }
}

fn blob(blob: &Blob) -> v1::Blob {
    let blob = match blob {
        Blob::Inline(bytes) => v1::blob::Blob::Inline(bytes.clone()),
        Blob::Object(object) => v1::blob::Blob::Object(v1::Object {
            path: object.path.clone(),
            digest: object.digest.to_vec().into(),
            bytes: object.bytes,
        }),
    };
    v1::Blob { blob: Some(blob) }
}

fn limits(limits: &Limits) -> v1::Limits {
    v1::Limits {
        heap_nodes: limits.heap_nodes.into(),
        source_bytes: limits.source_bytes as u64,
        bracket_depth: limits.bracket_depth as u64,
        chain_length: limits.chain_length as u64,
        call_depth: limits.call_depth,
        fuel: limits.fuel,
        memory_bytes: limits.memory_bytes,
        tensor_bytes: limits.tensor_bytes,
        output_bytes: limits.output_bytes,
        saved_bytes: limits.saved_bytes,
        run_time_milliseconds: u64::try_from(limits.run_time.as_millis()).unwrap_or(u64::MAX),
        decoded_bytes: limits.decoded_bytes,
    }
}
