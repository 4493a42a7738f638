//! Permission to read or write one object, for who has no access to the others.

use std::fmt;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use object_store::signer::Method;
use reqwest::StatusCode;

use super::{ObjectRef, Objects, Place, check, hash, local, path, patience};
use crate::error::Error;

/// A permission.
#[derive(Clone, PartialEq, Eq)]
pub enum Grant {
    /// The file itself, on the same machine.
    File(PathBuf),
    /// A link that needs no other proof, until it expires.
    Link { url: String, expires_at: SystemTime },
}

impl fmt::Debug for Grant {
    /// Leaves out what makes a link valid.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.debug_tuple("File").field(file).finish(),
            Self::Link { url, expires_at } => {
                let place = url.split('?').next();
                f.debug_struct("Link").field("url", &place).field("expires_at", expires_at).finish()
            }
        }
    }
}

/// Returns the one pool of connections for all who have grants.
fn client() -> Result<&'static reqwest::Client, Error> {
    static CLIENT: LazyLock<Result<reqwest::Client, String>> = LazyLock::new(|| {
        // Without a bound on silence: while a large object is written, nothing is said until its end.
        let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(5));
        client.build().map_err(|error| error.to_string())
    });
    CLIENT.as_ref().map_err(|reason| Error::Failed { place: "objects".into(), source: reason.clone().into() })
}

impl Objects {
    pub(super) async fn grant(&self, method: Method, place: &Place, lifetime: Duration) -> Result<Grant, Error> {
        let path = path(place.as_str())?;
        if let Some(folder) = &self.folder {
            return Ok(Grant::File(folder.join(path.as_ref())));
        }
        let signer = self.signer.as_ref().ok_or(Error::Closed)?;
        let signed = signer.signed_url(method, &path, lifetime).await;
        let url = signed.map_err(|error| Error::failed(place.as_str(), error))?.to_string();
        Ok(Grant::Link { url, expires_at: SystemTime::now() + lifetime })
    }
}

impl Grant {
    /// Reads the object whole.
    ///
    /// # Errors
    /// [`Error::NoObject`], [`Error::Damaged`]; [`Error::Unavailable`] where it may go better in a moment; or a failure of
    /// the store, of which a link that has expired is one.
    pub async fn get(&self, object: &ObjectRef) -> Result<Bytes, Error> {
        let bytes = match self {
            Self::File(file) => match tokio::fs::read(file).await {
                Ok(bytes) => Bytes::from(bytes),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(Error::NoObject(object.path.clone()));
                }
                Err(error) => return Err(Error::failed(&object.path, error)),
            },
            Self::Link { url, .. } => {
                let failed = |error| failed(&object.path, error);
                let answer = client()?.get(url).timeout(patience(object.bytes)).send().await.map_err(failed)?;
                if answer.status() == StatusCode::NOT_FOUND {
                    return Err(Error::NoObject(object.path.clone()));
                }
                answer.error_for_status().map_err(failed)?.bytes().await.map_err(failed)?
            }
        };
        check(object, bytes.len() as u64, hash(&bytes).await?)?;
        Ok(bytes)
    }

    /// Writes the object, which lies at `place`.
    ///
    /// # Errors
    /// [`Error::NoSpace`]; [`Error::Unavailable`] where it may go better in a moment; or a failure of the store, of which a
    /// link that has expired is one.
    pub async fn put(&self, place: &Place, bytes: Bytes) -> Result<ObjectRef, Error> {
        let digest = hash(&bytes).await?.into();
        let object = ObjectRef { path: place.0.clone(), digest, bytes: bytes.len() as u64 };
        match self {
            Self::File(file) => {
                local::check_space(file, object.bytes)?;
                let (file, failed) = (file.clone(), |error| Error::failed(place.as_str(), error));
                let written = tokio::task::spawn_blocking(move || local::write(&file, &bytes)).await;
                written.map_err(std::io::Error::other).map_err(failed)?.map_err(failed)?;
            }
            Self::Link { url, .. } => {
                let failed = |error| failed(place.as_str(), error);
                let patience = patience(object.bytes);
                client()?
                    .put(url)
                    .timeout(patience)
                    .body(bytes)
                    .send()
                    .await
                    .map_err(failed)?
                    .error_for_status()
                    .map_err(failed)?;
            }
        }
        Ok(object)
    }
}

/// Tells what may pass from what will not.
fn failed(place: &str, error: reqwest::Error) -> Error {
    let error = error.without_url();
    let lasts =
        error.status().is_some_and(|status| status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS);
    if lasts || error.is_builder() {
        return Error::failed(place, error);
    }
    Error::Unavailable { maybe_done: true, reason: format!("cannot access {place}: {error}") }
}
