//! `/v1`: what administers a server and looks at its jobs, as JSON, for the command line and for scripts.
//!
//! A refusal is `{"error": sentence}`. Times are texts as RFC 3339 has them, in UTC.

pub mod audit;
pub mod check;
pub mod events;
pub mod jobs;
pub mod keys;
pub mod models;
pub mod nodes;
pub mod openapi;
pub mod queue;
pub mod quota;
pub mod sign_in;
pub mod tenants;
pub mod usage;
pub mod whoami;
pub mod windows;

use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

use crate::error::Sentence;
use crate::{Error, Gateway};

/// Bytes of a body, of which each says a few words.
const BODY_BYTES: usize = 64 << 10;

/// Entries on a page, where nobody says how many, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1000;

/// Returns how many entries a page has for who asks for so many.
fn page_length(limit: Option<usize>) -> usize {
    limit.unwrap_or(PAGE).clamp(1, LONGEST_PAGE)
}

/// The middleware that gives refusals the form which they have here, whoever refuses.
pub async fn refusals(request: Request, next: Next) -> Response {
    let asked = format!("{} {}", request.method(), request.uri().path());
    let here = request.uri().path().starts_with("/v1/");
    let response = next.run(request).await;
    let refused = response.status().is_client_error() || response.status().is_server_error();
    if !here || !refused {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let sentence = match parts.extensions.get() {
        Some(Sentence(sentence)) => sentence.clone(),
        // What the router refuses by itself.
        None if parts.status == StatusCode::METHOD_NOT_ALLOWED => format!("{asked} is nothing that is served"),
        None => String::from_utf8_lossy(&to_bytes(body, BODY_BYTES).await.unwrap_or_default()).into_owned(),
    };
    let (said, body) = Json(json!({ "error": sentence })).into_response().into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(said.headers);
    Response::from_parts(parts, body)
}

/// Reads a small body. It is read by who has found out that the caller may ask.
async fn read<T: DeserializeOwned>(gateway: &Gateway, body: Body) -> Result<T, Error> {
    let body = small(gateway, body).await?;
    // A list of what fields have would be read as well, and whoever sends one means something else.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::Malformed("the body is not a JSON object".into()));
    }
    serde_json::from_slice(&body).map_err(|error| Error::Malformed(format!("the body is not as it should be: {error}")))
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
pub fn time(seconds: u64) -> String {
    // Who set a clock later than that is not helped by a date.
    let seconds = seconds.min(LAST_SECOND);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// Reads a time, and returns it in milliseconds since 1970.
fn read_time(name: &str, text: &str) -> Result<u64, Error> {
    let time = humantime::parse_rfc3339_weak(text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let millis = time.and_then(|time| u64::try_from(time.as_millis()).ok());
    millis.ok_or_else(|| Error::Unfit(format!("{name} is {text:?}, which is no time such as 2026-11-30T12:00:00Z")))
}

/// Writes a day that is given as a number of days since 1970.
fn day(days: u64) -> String {
    let time = time(days.saturating_mul(24 * 3600));
    time.split('T').next().unwrap_or_default().to_owned()
}

/// Reads such a day.
fn read_day(name: &str, text: &str) -> Result<u64, Error> {
    let unfit = || Error::Unfit(format!("{name} is {text:?}, which is no day such as 2026-11-30"));
    if text.len() != 10 {
        return Err(unfit());
    }
    Ok(read_time(name, &format!("{text}T00:00:00Z")).map_err(|_| unfit())? / (24 * 3600 * 1000))
}

/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;
