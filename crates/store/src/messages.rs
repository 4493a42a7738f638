//! The parts of a job that records and the workers' protocol have in common, between what they mean and their messages.

use std::time::{Duration, UNIX_EPOCH};

use ids::{JobId, ModelKey};
use program::Limits;
use proto::v1;
use telemetry::trace::Trace;

use crate::certificates::CertificateEnd;
use crate::nodes::{DeviceMemory, JobProgress};
use crate::objects::{Blob, Grant, ObjectRef};

/// Writes a model's name.
#[must_use]
pub fn model(key: &ModelKey) -> v1::Model {
    v1::Model { repo_id: key.repo_id().to_owned(), revision: key.revision().map(str::to_owned) }
}

/// Reads a model's name.
#[must_use]
pub fn read_model(model: v1::Model) -> ModelKey {
    ModelKey::new(model.repo_id, model.revision)
}

/// Writes what lies in a device's memory.
#[must_use]
pub fn memory(memory: &DeviceMemory) -> v1::DeviceMemory {
    let lying = |(kind, bytes): &(String, u64)| v1::Lying { kind: kind.clone(), bytes: *bytes };
    v1::DeviceMemory { device: memory.device.clone(), kinds: memory.kinds.iter().map(lying).collect() }
}

/// Reads what lies in a device's memory.
#[must_use]
pub fn read_memory(memory: v1::DeviceMemory) -> DeviceMemory {
    let kinds = memory.kinds.into_iter().map(|v1::Lying { kind, bytes }| (kind, bytes)).collect();
    DeviceMemory { device: memory.device, kinds }
}

/// Writes when a certificate ends.
#[must_use]
pub fn certificate(end: &CertificateEnd) -> v1::CertificateEnd {
    v1::CertificateEnd { certificate: end.certificate.clone(), at: end.at }
}

/// Reads when a certificate ends.
#[must_use]
pub fn read_certificate(end: v1::CertificateEnd) -> CertificateEnd {
    let v1::CertificateEnd { certificate, at } = end;
    CertificateEnd { certificate, at }
}

/// Writes how far a job is.
#[must_use]
pub fn progress(progress: &JobProgress) -> v1::JobProgress {
    let JobProgress { job, passes, layer, layers } = *progress;
    v1::JobProgress { job_id: job.to_string(), passes, layer, layers }
}

/// Reads how far a job is. `None` for one without a name.
#[must_use]
pub fn read_progress(progress: &v1::JobProgress) -> Option<JobProgress> {
    let v1::JobProgress { job_id, passes, layer, layers } = progress;
    Some(JobProgress { job: job_id.parse::<JobId>().ok()?, passes: *passes, layer: *layer, layers: *layers })
}

/// Writes what a job's steps belong to, where it is traced.
#[must_use]
pub fn traceparent(trace: Option<&Trace>) -> String {
    trace.map(Trace::header).unwrap_or_default()
}

/// Writes bytes, or where they are.
#[must_use]
pub fn blob(blob: &Blob) -> v1::Blob {
    let blob = match blob {
        Blob::Inline(bytes) => v1::blob::Blob::Inline(bytes.clone()),
        Blob::Object(object) => v1::blob::Blob::Object(self::object(object)),
    };
    v1::Blob { blob: Some(blob) }
}

/// Reads bytes, or where they are. `None` when they are nowhere.
#[must_use]
pub fn read_blob(blob: v1::Blob) -> Option<Blob> {
    match blob.blob? {
        v1::blob::Blob::Inline(bytes) => Some(Blob::Inline(bytes)),
        v1::blob::Blob::Object(object) => read_object(object).map(Blob::Object),
    }
}

/// Writes where an object is.
#[must_use]
pub fn object(object: &ObjectRef) -> v1::Object {
    v1::Object { path: object.path.clone(), digest: object.digest.to_vec().into(), bytes: object.bytes }
}

/// Reads where an object is. `None` when its digest is none.
#[must_use]
pub fn read_object(object: v1::Object) -> Option<ObjectRef> {
    let digest = object.digest.as_ref().try_into().ok()?;
    Some(ObjectRef { path: object.path, digest, bytes: object.bytes })
}

/// Writes a grant.
#[must_use]
pub fn grant(grant: Grant) -> v1::Grant {
    let grant = match grant {
        Grant::File(file) => v1::grant::Grant::File(file.display().to_string()),
        Grant::Link { url, expires_at } => {
            let since = expires_at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let expires_milliseconds = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            v1::grant::Grant::Link(v1::Link { url, expires_milliseconds })
        }
    };
    v1::Grant { grant: Some(grant) }
}

/// Reads a grant. `None` when it permits nothing.
#[must_use]
pub fn read_grant(grant: v1::Grant) -> Option<Grant> {
    Some(match grant.grant? {
        v1::grant::Grant::File(file) => Grant::File(file.into()),
        v1::grant::Grant::Link(v1::Link { url, expires_milliseconds }) => {
            let expires_at = UNIX_EPOCH.checked_add(Duration::from_millis(expires_milliseconds))?;
            Grant::Link { url, expires_at }
        }
    })
}

/// Writes limits.
#[must_use]
pub fn limits(limits: &Limits) -> v1::Limits {
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

/// Reads limits. What this side cannot count so far is as good as no limit.
#[must_use]
pub fn read_limits(limits: &v1::Limits) -> Limits {
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Limits {
        decoded_bytes: limits.decoded_bytes,
        heap_nodes: u32::try_from(limits.heap_nodes).unwrap_or(u32::MAX),
        source_bytes: size(limits.source_bytes),
        bracket_depth: size(limits.bracket_depth),
        chain_length: size(limits.chain_length),
        call_depth: limits.call_depth,
        fuel: limits.fuel,
        memory_bytes: limits.memory_bytes,
        tensor_bytes: limits.tensor_bytes,
        output_bytes: limits.output_bytes,
        saved_bytes: limits.saved_bytes,
        run_time: Duration::from_millis(limits.run_time_milliseconds),
    }
}
