//! A request's body: held within its tenant's share, and only for as long as it arrives at a fair rate.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http_body_util::BodyExt;
use ids::TenantId;
use tokio::time::{Instant, timeout_at};

use crate::budget::Held;
use crate::submit::granted;
use crate::{Error, Gateway};

/// Parts of a form that are looked at; the client sends two.
const PARTS: usize = 16;
/// Bytes of the part `data`; a real one has a few hundred.
const DATA_BYTES: usize = 64 << 10;

/// A body that has arrived whole.
pub struct Upload {
    body: Bytes,
    boundary: String,
    /// Its bytes of the budget, for as long as anything of it is in memory.
    held: Held,
}

impl Upload {
    /// Reads a body. Room for all of it is taken first, so that no two wait for each other with halves in memory.
    ///
    /// # Errors
    /// [`Error::Busy`] and [`Error::TooManyAtOnce`] where there is no room in time, [`Error::TooSlow`],
    /// [`Error::TooLarge`], [`Error::Malformed`].
    pub async fn read(
        gateway: &Gateway,
        tenant: &TenantId,
        headers: &HeaderMap,
        announced: Option<u64>,
        body: Body,
    ) -> Result<Self, Error> {
        let settings = &gateway.settings;
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let boundary = boundary(kind)?;
        let limit = settings.body_bytes;
        let held = granted(gateway, gateway.uploads.take(tenant, announced.unwrap_or(limit as u64))).await?;
        let (mut body, mut read, began) = (body, BytesMut::new(), Instant::now());
        loop {
            // What has come pays for the time until the next.
            let paid = settings.upload_grace.as_secs_f64() + read.len() as f64 / settings.upload_rate.max(1) as f64;
            let due = began + Duration::from_secs_f64(paid);
            let frame = timeout_at(due, body.frame()).await.map_err(|_| Error::TooSlow)?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| Error::Malformed(format!("its body ended early: {error}")))?;
            let Ok(bytes) = frame.into_data() else { continue };
            if read.len() + bytes.len() > limit {
                return Err(Error::TooLarge { limit });
            }
            read.extend_from_slice(&bytes);
        }
        Ok(Self { body: read.freeze(), boundary, held })
    }

    /// Returns how many bytes have come.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.body.len() as u64
    }

    /// Takes the body apart. Blocks for as long as looking at each of its bytes takes.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn form(self) -> Result<Form, Error> {
        let Self { body, boundary, held } = self;
        let (data, blob) = apart(boundary, body)?;
        Ok(Form { data, blob, _held: held })
    }
}

/// The two parts of the form, in whichever order they came.
pub struct Form {
    pub data: Bytes,
    pub blob: Bytes,
    _held: Held,
}

/// Takes a body apart that came with this `Content-Type`: its parts `data` and `blob`.
///
/// # Errors
/// [`Error::Malformed`].
pub fn form(kind: &str, body: Bytes) -> Result<(Bytes, Bytes), Error> {
    apart(boundary(kind)?, body)
}

fn apart(boundary: String, body: Bytes) -> Result<(Bytes, Bytes), Error> {
    let whole = futures::stream::once(std::future::ready(Ok::<_, std::convert::Infallible>(body)));
    // All of it is here, so nothing is waited for.
    let parts = parts(multer::Multipart::new(whole, boundary)).now_or_never();
    parts.unwrap_or_else(|| Err(malformed("it ends in the middle")))
}

async fn parts(mut parts: multer::Multipart<'_>) -> Result<(Bytes, Bytes), Error> {
    let (mut data, mut blob) = (None, None);
    let mut seen = 0;
    while let Some(mut part) = parts.next_field().await.map_err(malformed)? {
        seen += 1;
        if seen > PARTS {
            return Err(malformed(format_args!("it has more than {PARTS} parts")));
        }
        // A later client may send more.
        let slot = match part.name() {
            Some("data") => Some(&mut data),
            Some("blob") => Some(&mut blob),
            _ => None,
        };
        // One piece, and no copy, since the whole is there.
        let mut bytes = Bytes::new();
        while let Some(piece) = part.chunk().await.map_err(malformed)? {
            bytes = if bytes.is_empty() { piece } else { [bytes, piece].concat().into() };
        }
        if let Some(slot) = slot {
            *slot = Some(bytes);
        }
    }
    let missing = |name: &str| Error::Malformed(format!("the form has no part `{name}`"));
    let (data, blob) = (data.ok_or_else(|| missing("data"))?, blob.ok_or_else(|| missing("blob"))?);
    if data.len() > DATA_BYTES {
        return Err(Error::Malformed(format!("the form's part `data` has more than {DATA_BYTES} bytes")));
    }
    Ok((data, blob))
}

fn malformed(why: impl std::fmt::Display) -> Error {
    Error::Malformed(format!("the body is not the multipart form that nnsight 0.8 sends: {why}"))
}

fn boundary(kind: &str) -> Result<String, Error> {
    multer::parse_boundary(kind).map_err(|error| {
        Error::Malformed(format!("the body is not a multipart form, which nnsight 0.8 sends: {error}"))
    })
}
