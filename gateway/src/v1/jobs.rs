//! Jobs: of the caller's tenant, and for an operator of all.

use std::convert::Infallible;
use std::sync::Arc;

use auth::{Principal, Scope};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, TryStreamExt};
use ids::{ModelKey, TenantId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::{Fault, JobRecord, Outcome, State as JobState, Wanted};

use super::{page_length, time};
use crate::authenticate::Caller;
use crate::budget::Held;
use crate::submit::granted;
use crate::tensors::{self, Tensors};
use crate::trail::acted;
use crate::{Error, Gateway, job, progress, result, unix_millis};

/// What only a job's own tenant may.
pub const RESULTS: &str = "read another tenant's results, which only a key of that tenant may";

/// Bytes of a result that are handed on at once.
const PIECE: usize = 64 << 10;

/// Some jobs.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Jobs")]
pub struct Page {
    jobs: Vec<Shown>,
    /// The cursor of the page after; null after the last.
    next: Option<String>,
}

/// A job.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Job")]
pub struct Shown {
    id: String,
    tenant: String,
    /// The public part of the key that it was submitted with.
    key: String,
    project: Option<String>,
    model: String,
    /// How urgent it is: high, normal or low.
    class: &'static str,
    /// queued, dispatched, running, completed, failed, cancelled or expired.
    state: String,
    /// Counts from 1, whenever it is given to a worker.
    attempt: u32,
    accepted_at: Option<String>,
    started_at: Option<String>,
    /// About when it expires if it waits still. Null for one that does not wait, and where no scheduler has told.
    must_start_by: Option<String>,
    /// How long it may run, in seconds.
    run_time_s: f64,
    /// When it fails if it runs still.
    must_end_by: Option<String>,
    ended_at: Option<String>,
    request_bytes: u64,
    result_bytes: Option<u64>,
    failure: Option<Failure>,
}

/// Why a job failed.
#[derive(Serialize, JsonSchema)]
pub struct Failure {
    /// Whose doing it is: program, limit or server.
    fault: &'static str,
    /// Null for what a program of another tenant raised.
    text: Option<String>,
}

/// Which jobs are wanted. All of it may be left out.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// queued, dispatched, running, completed, failed, cancelled or expired.
    pub state: Option<String>,
    #[schemars(with = "Option<String>")]
    pub tenant: Option<TenantId>,
    /// `REPO_ID` or `REPO_ID@REVISION`.
    pub model: Option<String>,
    pub limit: Option<usize>,
    /// What `next` of the page before says.
    pub cursor: Option<String>,
}

/// `GET /v1/jobs?state=…&tenant=…&model=…&limit=…&cursor=…`: first those that have not ended, then the others by the hour
/// of their end, and of each the newest first. A page may have fewer than `limit`; where `next` is null it is the last.
pub async fn list(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    search: Result<Query<Search>, QueryRejection>,
) -> Result<Json<Page>, Error> {
    let principal = onlooker(caller)?;
    let Query(search) = search.map_err(|error| Error::Malformed(error.body_text()))?;
    let found = find(&gateway, &principal, search).await?;
    let jobs = found.jobs.iter().map(|record| shown(record, &principal, found.queue_time)).collect();
    Ok(Json(Page { jobs, next: found.next }))
}

/// Waits for a turn at searching through what there is of all tenants, fairly among those who do.
///
/// # Errors
/// [`Error::TooManyAtOnce`], [`Error::Busy`].
pub async fn search_turn(gateway: &Gateway, tenant: &TenantId) -> Result<Held, Error> {
    granted(gateway, gateway.searches.take(tenant, 1)).await
}

/// Some jobs, and what it takes to show them.
#[derive(Default)]
pub struct Found {
    pub jobs: Vec<JobRecord>,
    pub next: Option<String>,
    pub queue_time: Option<u64>,
}

/// Finds the jobs that a caller searches for.
///
/// # Errors
/// [`Error::Unfit`] for what nothing can be found by; failures of the store.
pub async fn find(gateway: &Gateway, principal: &Principal, search: Search) -> Result<Found, Error> {
    let state = search.state.map(|name| name.parse()).transpose().map_err(Error::Unfit)?;
    let after = search.cursor.map(|text| text.parse()).transpose().map_err(Error::Unfit)?;
    let limit = page_length(search.limit);
    let tenant = match search.tenant {
        asked if principal.may(Scope::Operate) => asked,
        // To others, another tenant's jobs are none.
        Some(other) if other != principal.tenant => return Ok(Found::default()),
        _ => Some(principal.tenant.clone()),
    };
    let wanted = Wanted { tenant, state, model: search.model.as_deref().map(model) };
    let searching = search_turn(gateway, &principal.tenant).await?;
    let newest = gateway.jobs.newest(&wanted, after, limit, unix_millis()).await?;
    drop(searching);
    let next = newest.next.map(|next| next.to_string());
    Ok(Found { jobs: newest.jobs, next, queue_time: queue_time(gateway).await? })
}

/// `GET /v1/jobs/{job}`.
pub async fn show(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Error> {
    let principal = onlooker(caller)?;
    let record = job::find(&gateway, &principal, &id).await?;
    Ok(Json(shown(&record, &principal, queue_time(&gateway).await?)))
}

/// `GET /v1/jobs/{job}/logs`: what the job has printed so far, as text; of an attempt that runs again, from its beginning.
/// That is for its own tenant, as its result is.
pub async fn logs(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let what = "read what another tenant's job printed, which only a key of that tenant may";
    let (_, record) = job::private(&gateway, caller, &id, what).await?;
    let id = record.id;
    let text = gateway.jobs.printed(id, record.attempt);
    let text = text.inspect_err(move |error| tracing::error!(job = %id, %error, "a log is cut short"));
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "private, no-store")];
    Ok((kind, Body::from_stream(text)).into_response())
}

/// `GET /v1/jobs/{job}/result`: the result's bytes, as the client that asked for it wanted them, or as safetensors, for who
/// accepts those by name. They are for the job's own tenant.
pub async fn result(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let (principal, record) = job::private(&gateway, caller, &id, RESULTS).await?;
    let mut response = if accepts(&headers, tensors::KIND) {
        let tensors = Tensors::of(&gateway, &principal, &record).await?;
        let kind = [(header::CONTENT_TYPE, tensors::KIND), (header::CACHE_CONTROL, "private, no-store")];
        let length = [(header::CONTENT_LENGTH, tensors.length())];
        let pieces = tensors.pieces(PIECE).map(Ok::<_, Infallible>);
        (kind, length, Body::from_stream(pieces)).into_response()
    } else {
        let mut response = result::bytes(&gateway, &record).await?;
        if record.client.compress {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("zstd"));
        }
        response
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// Says whether a kind of answer is asked for by its name.
fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let named = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|range| {
        let name = range.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case(kind)
    })
}

/// `DELETE /v1/jobs/{job}`: ends a job at its next step. The answer is the job as it is until then.
pub async fn cancel(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let principal = onlooker(caller)?;
    let record = job::end(&gateway, &principal, &id).await?;
    let answer = (StatusCode::ACCEPTED, Json(shown(&record, &principal, queue_time(&gateway).await?)));
    Ok(ended(&principal, &record, answer))
}

/// Answers that a job was asked to end.
pub fn ended(principal: &Principal, record: &JobRecord, answer: impl IntoResponse) -> Response {
    match act_of_ending(principal, record) {
        None => answer.into_response(),
        Some(act) => acted(act, answer),
    }
}

/// Returns what was done by asking for the end of a job of another tenant, which is an act of administration.
pub fn act_of_ending(principal: &Principal, record: &JobRecord) -> Option<String> {
    let theirs = record.tenant != principal.tenant;
    theirs.then(|| format!("{} asked for the end of the job {} of {}", principal.key, record.id, record.tenant))
}

/// Returns a caller who may look at jobs: their tenant's, or all.
///
/// # Errors
/// As [`Caller::permitted`].
pub fn onlooker(caller: Caller) -> Result<Principal, Error> {
    match caller {
        Caller::Known(principal) if principal.may(Scope::Operate) => Ok(principal),
        other => other.permitted(Scope::ReadOwn),
    }
}

/// Reads `REPO_ID` or `REPO_ID@REVISION`.
pub fn model(text: &str) -> ModelKey {
    match text.split_once('@') {
        Some((repo_id, revision)) => ModelKey::new(repo_id, Some(revision.to_owned())),
        None => ModelKey::new(text, None),
    }
}

/// Returns how long a job may wait, in milliseconds, as the scheduler that led last told.
///
/// # Errors
/// Failures of the store.
pub async fn queue_time(gateway: &Gateway) -> Result<Option<u64>, Error> {
    Ok(gateway.history.pulse().await?.map(|pulse| pulse.queue_time).filter(|time| *time > 0))
}

/// Shows a job. `queue_time` is what [`queue_time`] returns.
pub fn shown(record: &JobRecord, principal: &Principal, queue_time: Option<u64>) -> Shown {
    let failure = failure(record, principal);
    let failure = failure.map(|(fault, text)| Failure { fault, text: text.map(str::to_owned) });
    Shown {
        id: record.id.to_string(),
        tenant: record.tenant.to_string(),
        key: record.key.to_string(),
        project: (!record.project.is_empty()).then(|| record.project.clone()),
        model: record.model.to_string(),
        class: record.class.name(),
        state: record.state.to_string(),
        attempt: record.attempt,
        accepted_at: moment(record.accepted_at),
        started_at: moment(record.started_at),
        must_start_by: must_start_by(record, queue_time).and_then(moment),
        run_time_s: record.limits.run_time.as_secs_f64(),
        must_end_by: must_end_by(record).and_then(moment),
        ended_at: moment(record.ended_at),
        request_bytes: record.payload_bytes,
        result_bytes: progress::result(record).map(store::Blob::len),
        failure,
    }
}

/// Returns whose doing a failure is, and in whatever words the caller may read what it was.
pub fn failure<'a>(record: &'a JobRecord, principal: &Principal) -> Option<(&'static str, Option<&'a str>)> {
    let Some(Outcome::Failure { fault, text }) = &record.outcome else { return None };
    // What a program raised may quote what its tenant sent.
    let told = record.tenant == principal.tenant || *fault == Fault::Server;
    Some((fault_name(*fault), told.then_some(text.as_str())))
}

/// Writes a time in milliseconds since 1970, of which zero is not yet.
fn moment(milliseconds: u64) -> Option<String> {
    (milliseconds > 0).then(|| time(milliseconds / 1000))
}

/// Returns when a job that waits will have waited for as long as it may, in milliseconds since 1970. A scheduler that has
/// just begun lets it wait for longer.
pub fn must_start_by(record: &JobRecord, queue_time: Option<u64>) -> Option<u64> {
    let waits = record.state == JobState::Queued;
    queue_time.filter(|_| waits).map(|time| record.accepted_at.saturating_add(time))
}

/// Returns when a job that runs will have run for as long as it may, in milliseconds since 1970.
pub fn must_end_by(record: &JobRecord) -> Option<u64> {
    let time = u64::try_from(record.limits.run_time.as_millis()).unwrap_or(u64::MAX);
    (record.state == JobState::Running).then(|| record.started_at.saturating_add(time))
}

fn fault_name(fault: Fault) -> &'static str {
    match fault {
        Fault::User => "program",
        Fault::Limit => "limit",
        Fault::Server => "server",
    }
}
