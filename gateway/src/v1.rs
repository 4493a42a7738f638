//! `/v1`: what administers a server and looks at its jobs, as JSON, for the command line and for scripts.
//!
//! A refusal is `{"error": sentence}`. Times are texts as RFC 3339 has them, in UTC.

pub mod jobs;
pub mod keys;
pub mod tenants;
mod whoami;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::error::Sentence;
use crate::{Error, Gateway};

/// Bytes of a body, of which each says a few words.
const BODY_BYTES: usize = 64 << 10;

/// Returns the routes.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/v1/whoami", get(whoami::whoami))
        .route("/v1/tenants", get(tenants::list).post(tenants::create))
        .route("/v1/tenants/{name}", get(tenants::show).patch(tenants::change))
        .route("/v1/keys", get(keys::list).post(keys::create))
        .route("/v1/keys/{id}", delete(keys::revoke))
        .route("/v1/jobs", get(jobs::list))
        .route("/v1/jobs/{id}", get(jobs::show).delete(jobs::cancel))
        .route("/v1/jobs/{id}/logs", get(jobs::logs))
}

/// The middleware that gives refusals the form which they have here, whoever refuses.
pub async fn refusals(request: Request, next: Next) -> Response {
    let here = request.uri().path().starts_with("/v1/");
    let response = next.run(request).await;
    let Some(Sentence(sentence)) = response.extensions().get().filter(|_| here) else { return response };
    let body = Json(json!({ "error": sentence })).into_response().into_body();
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, body)
}

/// Reads a small body. It is read by who has found out that the caller may ask.
async fn read<T: DeserializeOwned>(gateway: &Gateway, body: Body) -> Result<T, Error> {
    serde_json::from_slice(&small(gateway, body).await?)
        .map_err(|error| Error::Malformed(format!("the body is not as it should be: {error}")))
}

/// Returns the bytes of a small body.
///
/// # Errors
/// [`Error::TooSlow`], [`Error::TooLarge`].
pub async fn small(gateway: &Gateway, body: Body) -> Result<Bytes, Error> {
    let bytes = timeout(gateway.settings.upload_patience, to_bytes(body, BODY_BYTES)).await;
    bytes.map_err(|_| Error::TooSlow)?.map_err(|_| Error::TooLarge { limit: BODY_BYTES })
}

/// Writes a time that is given in seconds since 1970.
fn time(seconds: u64) -> Value {
    // Who set a clock later than that is not helped by a date.
    let seconds = seconds.min(LAST_SECOND);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string().into()
}

/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;
