//! `POST /request`: foreign bytes become a durable job, or a refusal that says why.

use std::sync::Arc;

use auth::Scope;
use axum::Json;
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use ids::{JobId, ModelKey};
use nnsight::{DecodeError, RequestFields, ResponseModel, Status};
use program::{Batching, Limits, Program};
use store::{Accepted, Client, Generation, Idempotency, JobRecord, ModelState, Place, Position};
use tokio::time::timeout;

use crate::authenticate::Caller;
use crate::{Error, Gateway, aside, unix_millis};

/// Takes a request. Only after its job is durable is the client told `RECEIVED`.
pub async fn submit(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    request: Request,
) -> Result<Json<ResponseModel>, Error> {
    let principal = caller.permitted(Scope::Submit)?;
    if gateway.draining.is_cancelled() {
        return Err(Error::Stopping);
    }
    // From the address that the client was given.
    let batching = request.extensions().get::<Batching>().copied();
    check_length(&gateway, request.headers())?;
    // From here on the body is in memory, so the number of those is bounded. Clients do not try again: a burst waits.
    let turn = timeout(gateway.settings.submission_patience, gateway.submissions.acquire()).await;
    let _permit = turn.ok().and_then(Result::ok).ok_or(Error::Busy)?;
    let idempotency_key = idempotency_key(request.headers())?;
    let form = timeout(gateway.settings.body_patience, Form::read(&gateway, request)).await;
    let form = form.map_err(|_| Error::TooSlow)??;
    let fields = RequestFields::parse(&form.data).map_err(refused)?;
    let batching = batching.unwrap_or(principal.batching);
    let model = fields.model().map_err(refused)?;
    hosted(&gateway, &model).await?;
    // Claimed before the job exists: a request whose answer nobody can hear is not run.
    let claim = match fields.blocking() {
        true => Some(gateway.sessions.claim(&fields.session_id, &principal.tenant)?),
        false => None,
    };

    let id = JobId::new();
    let limits = gateway.settings.limits.clone();
    let (session, compress, blocking) = (fields.session_id.clone(), fields.compress, fields.blocking());
    let announced = fields.content_bytes(&form.blob).unwrap_or(u64::MAX);
    let encoded = aside(announced, {
        let limits = limits.clone();
        move || {
            let idempotency = idempotency_key.map(|key| Idempotency { key, digest: form.digest() });
            encode(&fields, &form.blob, batching, &limits).map(|payload| (payload, idempotency))
        }
    });
    let (payload, idempotency) = match encoded.await.map_err(Error::internal)? {
        Ok(encoded) => encoded,
        // The client shows this one as it shows what a running block raises.
        Err(Error::Program(text)) if blocking => {
            return Ok(Json(ResponseModel::new(id.to_string(), Status::Error, text)));
        }
        Err(error) => return Err(error),
    };
    let payload = gateway.objects.keep(&Place::payload(&principal.tenant, id), payload).await?;
    let record = JobRecord {
        session,
        client: Client { generation: Generation::Nnsight08, compress },
        limits,
        idempotency,
        ..JobRecord::queued(id, principal.tenant.clone(), principal.key.clone(), model, payload, unix_millis())
    };
    let new = gateway.jobs.follow_new(id).await?;
    let (id, follow) = match gateway.jobs.accept(&record).await? {
        Accepted::New => (id, new),
        Accepted::Before(earlier) => {
            gateway.objects.delete(&Place::payload(&principal.tenant, id)).await?;
            (earlier, gateway.jobs.follow(earlier, Position::default()).await?)
        }
    };
    tracing::info!(job = %id, tenant = %principal.tenant, model = %record.model, bytes = record.payload.len(), "accepted");
    if let Some(claim) = claim {
        claim.attach(id, follow);
    }
    Ok(Json(ResponseModel::new(id.to_string(), Status::Received, "Your job has been received.")))
}

/// The two parts of the form, in whichever order they came.
struct Form {
    data: Bytes,
    blob: Bytes,
}

impl Form {
    async fn read(gateway: &Gateway, request: Request) -> Result<Self, Error> {
        let failed = |error: MultipartError| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge { limit: gateway.settings.body_bytes },
            _ => Error::Malformed(format!(
                "the body is not the multipart form that nnsight 0.8 sends: {}",
                error.body_text()
            )),
        };
        let mut parts = Multipart::from_request(request, &()).await.map_err(|rejection| {
            Error::Malformed(format!(
                "the body is not a multipart form, which nnsight 0.8 sends: {}",
                rejection.body_text()
            ))
        })?;
        let (mut data, mut blob) = (None, None);
        while let Some(part) = parts.next_field().await.map_err(failed)? {
            let slot = match part.name() {
                Some("data") => &mut data,
                Some("blob") => &mut blob,
                // A later client may send more.
                _ => continue,
            };
            *slot = Some(part.bytes().await.map_err(failed)?);
        }
        let missing = |name: &str| Error::Malformed(format!("the form has no part `{name}`"));
        Ok(Self { data: data.ok_or_else(|| missing("data"))?, blob: blob.ok_or_else(|| missing("blob"))? })
    }

    fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        // The length keeps the two parts apart.
        hasher.update(&(self.data.len() as u64).to_le_bytes()).update(&self.data).update(&self.blob);
        hasher.finalize().into()
    }
}

/// Turns a payload into a checked program, encoded as the worker reads it.
///
/// What a request does not say of its batching is as the caller's address or key has it.
fn encode(fields: &RequestFields, blob: &[u8], batching: Batching, limits: &Limits) -> Result<Bytes, Error> {
    let mut program: Program = nnsight::decode(fields, blob, limits).map_err(refused)?;
    program.env.batching.get_or_insert(batching);
    let checked = program::check(program, limits).map_err(|error| Error::Program(error.to_string()))?;
    postcard::to_stdvec(checked.get()).map(Bytes::from).map_err(Error::internal)
}

/// Refuses by the announced length, before a byte of the body is read.
fn check_length(gateway: &Gateway, headers: &HeaderMap) -> Result<(), Error> {
    let limit = gateway.settings.body_bytes;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(Error::TooLarge { limit });
    }
    // Room for the payload, with what the store keeps in reserve.
    Ok(gateway.objects.check_space(announced.unwrap_or(0))?)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        // It becomes part of a key of the metadata store.
        Ok(text)
            if (1..=128).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) =>
        {
            Ok(Some(text.to_owned()))
        }
        _ => Err(Error::Malformed("Idempotency-Key must be 1 to 128 letters, digits, '-', '_' or '.'".into())),
    }
}

/// Refuses a model that is not hosted or cannot be. For one that is loading, or whose worker is being replaced, the
/// job waits in the queue.
async fn hosted(gateway: &Gateway, model: &ModelKey) -> Result<(), Error> {
    let Some(record) = gateway.models.get(model).await? else {
        let hosted = gateway.models.list().await?.into_iter().map(|record| record.key).collect();
        return Err(Error::UnknownModel { asked: model.clone(), hosted });
    };
    match record.state {
        ModelState::Ready | ModelState::Waiting | ModelState::Loading { .. } => Ok(()),
        ModelState::Failed(reason) => Err(Error::BrokenModel { model: model.clone(), reason }),
    }
}

fn refused(error: DecodeError) -> Error {
    match error {
        DecodeError::TooLarge { limit, .. } => Error::TooLarge { limit: usize::try_from(limit).unwrap_or(usize::MAX) },
        other => Error::Malformed(other.to_string()),
    }
}
