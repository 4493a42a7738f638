//! A request's body: held within its tenant's share, and only for as long as it arrives at a fair rate. It is taken apart as
//! it comes, so that however large it is, little of it is in memory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use ids::TenantId;
use store::SMALL;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use crate::budget::Held;
use crate::spool::Spool;
use crate::submit::granted;
use crate::{Error, Gateway, Settings};

/// Parts of a form that are looked at; the client sends two.
const PARTS: usize = 16;
/// Bytes of the part `data`; a real one has a few hundred.
const DATA_BYTES: usize = 64 << 10;
/// Bytes that may come before they belong to a part or begin one: the head of a real one has a hundred. Whoever takes a form
/// apart holds all of them, and looks through them again whenever more have come. Of a part, fewer come before some are taken.
const APART_BYTES: u64 = 2 * SMALL;

/// What is about to arrive.
pub enum Coming {
    /// A form of two parts, `data` and `blob`, and the `Content-Type` that it came with.
    Form { kind: String, body: Body },
    /// The first part, and the other as it comes.
    Apart { data: Bytes, blob: Body },
}

/// What has arrived whole: the two parts, in whichever order they came.
pub struct Upload {
    pub data: Bytes,
    pub blob: Bytes,
    /// Its bytes of the budget, for as long as anything of it is here.
    _held: Held,
}

impl Upload {
    /// Reads a body. Room for all of it is taken first, so that no two wait for each other half read.
    ///
    /// # Errors
    /// [`Error::Busy`] and [`Error::TooManyAtOnce`] where there is no room in time, [`Error::TooSlow`],
    /// [`Error::TooLarge`], [`Error::Malformed`], [`Error::NoSpace`].
    pub async fn read(
        gateway: &Gateway,
        tenant: &TenantId,
        announced: Option<u64>,
        coming: Coming,
    ) -> Result<Self, Error> {
        let settings = &gateway.settings;
        let boundary = match &coming {
            Coming::Form { kind, .. } => Some(boundary(kind)?),
            Coming::Apart { .. } => None,
        };
        let held = granted(gateway, gateway.uploads.take(tenant, announced.unwrap_or(settings.body_bytes as u64)));
        let held = held.await?;
        let (data, blob) = match coming {
            Coming::Form { body, .. } => {
                apart(pieces(body, settings, None), boundary.unwrap_or_default(), &gateway.folder).await?
            }
            Coming::Apart { data, blob } => {
                let mut pieces = std::pin::pin!(pieces(blob, settings, announced));
                let mut bytes = Spool::new(&gateway.folder);
                while let Some(piece) = pieces.try_next().await? {
                    bytes.add(&piece).await.map_err(Error::disk)?;
                }
                (data, bytes.end().await.map_err(Error::disk)?)
            }
        };
        Ok(Self { data, blob, _held: held })
    }

    /// Returns how many bytes have come.
    #[must_use]
    pub fn len(&self) -> u64 {
        (self.data.len() + self.blob.len()) as u64
    }
}

/// Takes a short body apart that came with this `Content-Type`: its parts `data` and `blob`.
///
/// # Errors
/// [`Error::Malformed`].
pub fn form(kind: &str, body: Bytes) -> Result<(Bytes, Bytes), Error> {
    let boundary = boundary(kind)?;
    let whole = futures::stream::once(std::future::ready(Ok(body)));
    // All of it is here, so nothing is waited for, unless it were so long that it became a file.
    let parts = apart(whole, boundary, Path::new("")).now_or_never();
    parts.unwrap_or_else(|| Err(malformed("it ends in the middle")))
}

/// Yields a body as it comes, and ends with an error where it comes too slowly, or has more bytes than it may have or than it
/// was said to have.
fn pieces(
    body: Body,
    settings: &Settings,
    announced: Option<u64>,
) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static {
    let (limit, rate, grace) = (settings.body_bytes, settings.upload_rate.max(1) as f64, settings.upload_grace);
    let (began, came, ahead) = (Instant::now(), 0usize, 0u64);
    futures::stream::try_unfold((body, came, ahead), move |(mut body, mut came, mut ahead)| async move {
        // Whoever reads takes all that there is before any of it is looked at.
        if ahead >= SMALL {
            yield_now().await;
            ahead = 0;
        }
        loop {
            // What has come pays for the time until the next.
            let due = began + grace + Duration::from_secs_f64(came as f64 / rate);
            let frame = timeout_at(due, body.frame()).await.map_err(|_| Error::TooSlow)?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| Error::Malformed(format!("its body ended early: {error}")))?;
            let Ok(bytes) = frame.into_data() else { continue };
            came += bytes.len();
            if came > limit {
                return Err(Error::TooLarge { limit });
            }
            if announced.is_some_and(|announced| came as u64 > announced) {
                return Err(Error::Malformed("its payload has more bytes than its head says".into()));
            }
            ahead += bytes.len() as u64;
            return Ok(Some((bytes, (body, came, ahead))));
        }
    })
}

/// Takes a form apart: its parts `data` and `blob`. What is large of it lies in `folder`, without a name.
async fn apart(
    pieces: impl Stream<Item = Result<Bytes, Error>> + Send,
    boundary: String,
    folder: &Path,
) -> Result<(Bytes, Bytes), Error> {
    let ahead = Arc::new(AtomicU64::new(0));
    let taken = || ahead.store(0, Ordering::Relaxed);
    let mut parts = multer::Multipart::new(within(pieces, Arc::clone(&ahead)), boundary);
    let (mut data, mut blob) = (None, None);
    let mut seen = 0;
    while let Some(mut part) = parts.next_field().await.map_err(unread)? {
        taken();
        seen += 1;
        if seen > PARTS {
            return Err(malformed(format_args!("it has more than {PARTS} parts")));
        }
        match part.name() {
            Some("data") => {
                let mut bytes = BytesMut::new();
                while let Some(piece) = part.chunk().await.map_err(unread)? {
                    taken();
                    if bytes.len() + piece.len() > DATA_BYTES {
                        return Err(Error::Malformed(format!(
                            "the form's part `data` has more than {DATA_BYTES} bytes"
                        )));
                    }
                    bytes.extend_from_slice(&piece);
                }
                data = Some(bytes.freeze());
            }
            Some("blob") => {
                let mut bytes = Spool::new(folder);
                while let Some(piece) = part.chunk().await.map_err(unread)? {
                    taken();
                    bytes.add(&piece).await.map_err(Error::disk)?;
                }
                blob = Some(bytes.end().await.map_err(Error::disk)?);
            }
            // A later client may send more.
            _ => {
                while part.chunk().await.map_err(unread)?.is_some() {
                    taken();
                }
            }
        }
    }
    let missing = |name: &str| Error::Malformed(format!("the form has no part `{name}`"));
    Ok((data.ok_or_else(|| missing("data"))?, blob.ok_or_else(|| missing("blob"))?))
}

/// Ends a body of which too much has come that nobody has taken; `ahead` counts that, and whoever takes some sets it back.
fn within(
    pieces: impl Stream<Item = Result<Bytes, Error>> + Send,
    ahead: Arc<AtomicU64>,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    pieces.map(move |piece| {
        let piece = piece?;
        let before = ahead.fetch_add(piece.len() as u64, Ordering::Relaxed);
        match before > APART_BYTES {
            true => Err(malformed(format_args!("more than {APART_BYTES} bytes of it belong to no part"))),
            false => Ok(piece),
        }
    })
}

/// Tells why a body could not be read from what is wrong with it.
fn unread(error: multer::Error) -> Error {
    match error {
        multer::Error::StreamReadFailed(source) => match source.downcast::<Error>() {
            Ok(error) => *error,
            Err(other) => malformed(other),
        },
        other => malformed(other),
    }
}

fn malformed(why: impl std::fmt::Display) -> Error {
    Error::Malformed(format!("the body is not the multipart form that nnsight 0.8 sends: {why}"))
}

fn boundary(kind: &str) -> Result<String, Error> {
    multer::parse_boundary(kind).map_err(|error| {
        Error::Malformed(format!("the body is not a multipart form, which nnsight 0.8 sends: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Takes a form apart that comes in pieces of 16 KiB, the first of them this one and many more after it. Returns how many
    /// were asked for.
    async fn take(first: &str) -> (Result<(Bytes, Bytes), Error>, usize) {
        let came = AtomicUsize::new(0);
        let first = Bytes::copy_from_slice(first.as_bytes());
        let rest = (0..1000).map(|_| Bytes::from_static(&[b'x'; 16 << 10]));
        let end = Bytes::from_static(b"\r\n--b--\r\n");
        let pieces = futures::stream::iter([first].into_iter().chain(rest).chain([end])).map(|piece| {
            came.fetch_add(1, Ordering::Relaxed);
            Ok(piece)
        });
        // Whoever reads takes no more than that at once.
        let pieces = pieces.then(|piece| async move {
            yield_now().await;
            piece
        });
        let taken = apart(pieces, "b".into(), &std::env::temp_dir()).await;
        (taken, came.into_inner())
    }

    #[tokio::test]
    async fn what_of_a_form_belongs_to_no_part_is_not_gathered_however_much_comes() {
        for endless in ["", "--b\r\nContent-Disposition: form-data; name=\"blob\"\r\nX-More: "] {
            let (taken, came) = take(endless).await;
            let refused = taken.unwrap_err().to_string();
            assert!(refused.contains("more than 131072 bytes of it belong to no part"), "{refused}");
            assert!(came <= 11, "{came} pieces were taken of {endless:?}");
        }
        let head = |name: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        for name in ["blob", "another"] {
            let (taken, came) = take(&format!("{}{{}}\r\n{}", head("data"), head(name))).await;
            assert_eq!(came, 1002, "a part may be as long as it is");
            assert_eq!(taken.is_ok(), name == "blob", "another part is let pass, and then one is missing");
        }
    }
}
