//! Results by link: the client fetches them without its key, so the link's signature stands for it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::TryStreamExt;
use ids::JobId;
use serde::Deserialize;
use store::{Blob, JobRecord};

use crate::strangers::Stranger;
use crate::{Error, Gateway, metrics, progress, unix_seconds};

/// The part of a link that proves that it was given out.
#[derive(Deserialize)]
pub struct Proof {
    expires: u64,
    signature: String,
}

/// `GET /results/{id}?expires=…&signature=…`: the bytes, in pieces, with their length.
pub async fn download(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    stranger: Option<Extension<Stranger>>,
    proof: Result<Query<Proof>, QueryRejection>,
) -> Result<Response, Error> {
    let (Ok(id), Ok(Query(proof))) = (id.parse::<JobId>(), proof) else { return Err(Error::BadLink) };
    if !gateway.links.verify(id, proof.expires, &proof.signature, unix_seconds()) {
        return Err(Error::BadLink);
    }
    if let Some(Extension(stranger)) = stranger {
        stranger.known();
    }
    // A link was only given out for a job that had a result, so a missing one was removed meanwhile.
    let record = gateway.jobs.shown(id).await?.ok_or(Error::NoResult(id))?;
    bytes(&gateway, &record).await
}

/// Answers with a job's result.
///
/// # Errors
/// [`Error::NoResult`]; failures of the objects.
pub async fn bytes(gateway: &Gateway, record: &JobRecord) -> Result<Response, Error> {
    let id = record.id;
    let blob = progress::result(record).ok_or(Error::NoResult(id))?;
    let body = match blob {
        Blob::Inline(bytes) => Body::from(bytes.clone()),
        Blob::Object(object) => {
            // Until it is read to its end, or given up.
            let held = gateway.downloads.try_take(&record.tenant, 1)?;
            let pieces = gateway.objects.stream(object).await;
            let pieces = pieces.map_err(|error| Error::objects(&gateway.objects, error))?;
            let pieces = pieces.inspect_ok(move |_| _ = &held);
            // What fails here fails after the headers were sent: the client sees a body cut short.
            Body::from_stream(pieces.inspect_err(move |error| tracing::error!(job = %id, %error, "download cut short")))
        }
    };
    metrics::RESULTS.with(&["link"]).one();
    metrics::RESULT_BYTES.with(&["link"]).add(blob.len());
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(blob.len()));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(response)
}
