//! Payloads and results: blobs that are written once, read whole, and checked when read.

mod grants;
mod local;
mod s3;

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use futures::{FutureExt, TryFutureExt};
use ids::{JobId, TenantId};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use crate::aside::aside;
use crate::error::Error;
use crate::metrics;

pub use grants::Grant;
pub use s3::S3Options;

/// Blobs up to this many bytes lie in the job record instead of an object of their own, where nobody says otherwise:
/// one sync less.
pub const INLINE_BYTES: usize = 32 << 10;

/// Bytes of disk that are left free: metadata must still be writable when payloads no longer are.
const RESERVE_BYTES: u64 = 64 << 20;

/// The object store.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// The folder, when it is a local one.
    folder: Option<PathBuf>,
    /// What signs grants, when they are links.
    signer: Option<Arc<dyn Signer>>,
    inline_bytes: usize,
}

/// Bytes, here or elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Blob {
    Inline(Bytes),
    Object(ObjectRef),
}

impl Blob {
    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Object(object) => object.bytes,
        }
    }

    /// Returns whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where an object lies and what it must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    pub path: String,
    /// BLAKE3 of the bytes.
    pub digest: [u8; 32],
    pub bytes: u64,
}

/// The path of an object: each tenant's lie under a prefix of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// Where a job's payload lies.
    #[must_use]
    pub fn payload(tenant: &TenantId, job: JobId) -> Self {
        Self(Path::from_iter(["payloads", tenant.as_str(), &job.to_string()]).to_string())
    }

    /// Where one attempt's result lies. Attempts do not overwrite each other, not even where a crash made a scheduler
    /// count one twice, for the epoch is another then: only the committed one is linked.
    #[must_use]
    pub fn result(tenant: &TenantId, job: JobId, attempt: u32, epoch: u64) -> Self {
        let name = format!("{attempt}-{epoch}");
        Self(Path::from_iter(["results", tenant.as_str(), &job.to_string(), &name]).to_string())
    }

    /// What the places of all results of a job lie under.
    #[must_use]
    pub fn results(tenant: &TenantId, job: JobId) -> Self {
        Self(Path::from_iter(["results", tenant.as_str(), &job.to_string()]).to_string())
    }

    /// Returns whether `place` lies under this one.
    #[must_use]
    pub fn contains(&self, place: &Self) -> bool {
        place.0.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Returns the job whose payload or result lies there.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        // By its place and not by its looks: a tenant's name may look like a job's.
        let mut parts = self.0.split('/');
        parts.next().filter(|kind| matches!(*kind, "payloads" | "results"))?;
        parts.nth(1)?.parse().ok()
    }

    /// Takes a path that [`Place::as_str`] gave.
    ///
    /// # Errors
    /// [`Error::NoObject`] when it is no path of an object.
    pub fn parse(path: &str) -> Result<Self, Error> {
        Ok(Self(self::path(path)?.to_string()))
    }

    /// Returns the path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Objects {
    /// Keeps objects as files under `folder`, making it when there is none. A file appears under its name
    /// only when it is whole and synced, its folder too. Nobody but this user can read them.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn local(folder: impl AsRef<FilePath>) -> Result<Self, Error> {
        let folder = folder.as_ref().to_owned();
        let store = local::open(&folder).map_err(|error| Error::failed(folder.display().to_string(), error))?;
        Ok(Self { store, folder: Some(folder), signer: None, inline_bytes: INLINE_BYTES })
    }

    /// Keeps objects in a bucket of S3 or of what speaks its protocol.
    ///
    /// # Errors
    /// When the options cannot be.
    pub fn s3(options: S3Options) -> Result<Self, Error> {
        let place = format!("the bucket {}", options.bucket);
        let store = Arc::new(s3::open(options).map_err(|error| Error::failed(place, error))?);
        let signer: Arc<dyn Signer> = Arc::<object_store::aws::AmazonS3>::clone(&store);
        Ok(Self { store, folder: None, signer: Some(signer), inline_bytes: INLINE_BYTES })
    }

    /// Sets how many bytes stay inline: as many as the metadata store likes to hold ([`crate::Limits`]).
    #[must_use]
    pub fn with_inline_bytes(self, inline_bytes: usize) -> Self {
        Self { inline_bytes, ..self }
    }

    /// Returns whether they lie elsewhere, which can be away.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.folder.is_none()
    }

    /// Returns how many bytes stay inline.
    #[must_use]
    pub fn inline_bytes(&self) -> usize {
        self.inline_bytes
    }

    /// Refuses early: says whether `bytes` more would leave the reserve free.
    ///
    /// # Errors
    /// [`Error::NoSpace`].
    pub fn check_space(&self, bytes: u64) -> Result<(), Error> {
        self.folder.as_deref().map_or(Ok(()), |folder| local::check_space(folder, bytes))
    }

    /// Keeps `bytes` durably: in the returned value itself when they are few, else as an object.
    ///
    /// # Errors
    /// [`Error::NoSpace`], or a failure of the store.
    pub async fn keep(&self, place: &Place, bytes: Bytes) -> Result<Blob, Error> {
        if bytes.len() <= self.inline_bytes {
            return Ok(Blob::Inline(bytes));
        }
        self.check_space(bytes.len() as u64)?;
        Ok(Blob::Object(self.put(place, bytes).await?))
    }

    /// Writes an object durably.
    ///
    /// # Errors
    /// [`Error::NoSpace`]; [`Error::Unavailable`] where a bucket does not answer; or a failure of the store.
    pub async fn put(&self, place: &Place, bytes: Bytes) -> Result<ObjectRef, Error> {
        let digest = hash(&bytes).await?.into();
        let object = ObjectRef { path: place.0.clone(), digest, bytes: bytes.len() as u64 };
        let place = path(&object.path)?;
        let began = Instant::now();
        let put = self.store.put(&place, bytes.into()).map_err(|error| failed(&object.path, error));
        let put = self.in_time(object.bytes, &object.path, put).await;
        metrics::OBJECTS.with(&["written"]).time(began.elapsed());
        put?;
        metrics::OBJECT_BYTES.with(&["written"]).add(object.bytes);
        if let Some(folder) = &self.folder {
            local::hide(&folder.join(&object.path)).map_err(|error| Error::failed(&object.path, error))?;
        }
        Ok(object)
    }

    /// Reads a blob whole.
    ///
    /// # Errors
    /// Those of [`Objects::get`].
    pub async fn load(&self, blob: &Blob) -> Result<Bytes, Error> {
        match blob {
            Blob::Inline(bytes) => Ok(bytes.clone()),
            Blob::Object(object) => self.get(object).await,
        }
    }

    /// Reads an object whole.
    ///
    /// # Errors
    /// [`Error::NoObject`], [`Error::Damaged`], or a failure of the store.
    pub async fn get(&self, object: &ObjectRef) -> Result<Bytes, Error> {
        let path = path(&object.path)?;
        let read = async { self.store.get(&path).await?.bytes().await };
        let read = read.map_err(|error| read_failed(object, error));
        let began = Instant::now();
        let bytes = self.in_time(object.bytes, &object.path, read).await;
        metrics::OBJECTS.with(&["read"]).time(began.elapsed());
        let bytes = bytes?;
        metrics::OBJECT_BYTES.with(&["read"]).add(object.bytes);
        check(object, bytes.len() as u64, hash(&bytes).await?)?;
        Ok(bytes)
    }

    /// Reads an object in pieces. What is wrong with the bytes shows as the error that ends the stream.
    ///
    /// # Errors
    /// [`Error::NoObject`], or a failure of the store.
    pub async fn stream(&self, object: &ObjectRef) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let place = path(&object.path)?;
        let got = self.store.get(&place).map_err(|error| read_failed(object, error));
        let got = self.in_time(0, &object.path, got).await?;
        let state = (got.into_stream(), blake3::Hasher::new(), 0u64, object.clone());
        let pieces = futures::stream::try_unfold(state, |(mut pieces, mut hasher, read, object)| async move {
            match pieces.next().await {
                Some(piece) => {
                    let piece = piece.map_err(|error| read_failed(&object, error))?;
                    hasher.update(&piece);
                    let read = read + piece.len() as u64;
                    Ok(Some((piece, (pieces, hasher, read, object))))
                }
                None => check(&object, read, hasher.finalize()).map(|()| None),
            }
        });
        Ok(pieces.boxed())
    }

    /// Removes an object, if it is there.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn delete(&self, place: &Place) -> Result<(), Error> {
        let path = path(&place.0)?;
        let deleted = self.store.delete(&path).map(|deleted| match deleted {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(&place.0, error)),
        });
        self.in_time(0, &place.0, deleted).await
    }

    /// Gives up on a store elsewhere that says nothing, as one does that was stopped.
    async fn in_time<T>(
        &self,
        bytes: u64,
        place: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if !self.is_remote() {
            return work.await;
        }
        let patience = patience(bytes);
        let done = tokio::time::timeout(patience, work).await;
        done.unwrap_or_else(|_| Err(Error::silent(&format!("the object store, asked about {place},"), true, patience)))
    }

    /// Yields the objects that have not been written to since a time, whoever they belong to: those that nobody knows are
    /// left from a request or a result that was cut off.
    #[must_use]
    pub fn older(&self, before: SystemTime) -> BoxStream<'static, Result<Place, Error>> {
        let found = self.store.list(None).filter_map(move |object| async move {
            match object {
                Ok(object) => {
                    let old = SystemTime::from(object.last_modified) <= before;
                    old.then(|| Ok(Place(object.location.to_string())))
                }
                Err(object_store::Error::NotFound { .. }) => None,
                Err(error) => Some(Err(Error::failed("the objects", error))),
            }
        });
        found.boxed()
    }

    /// Lets whoever gets the grant read one object, for a time.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn grant_get(&self, place: &Place, lifetime: Duration) -> Result<Grant, Error> {
        self.grant(object_store::signer::Method::GET, place, lifetime).await
    }

    /// Lets whoever gets the grant write one object, for a time.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn grant_put(&self, place: &Place, lifetime: Duration) -> Result<Grant, Error> {
        self.grant(object_store::signer::Method::PUT, place, lifetime).await
    }

    /// Removes every object under a place.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn delete_all(&self, under: &Place) -> Result<(), Error> {
        let failed = |error| Error::failed(&under.0, error);
        let mut found = self.store.list(Some(&path(&under.0)?));
        while let Some(object) = found.next().await {
            match self.store.delete(&object.map_err(failed)?.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

/// Returns how long reading or writing so many bytes may take, elsewhere.
fn patience(bytes: u64) -> Duration {
    const LEAST: Duration = Duration::from_secs(20);
    /// Bytes in a second.
    const SLOWEST: u64 = 1 << 20;
    LEAST + Duration::from_secs(bytes / SLOWEST)
}

async fn hash(bytes: &Bytes) -> Result<blake3::Hash, Error> {
    let bytes = bytes.clone();
    aside(bytes.len() as u64, move || blake3::hash(&bytes)).await.map_err(|_| Error::Closed)
}

fn path(text: &str) -> Result<Path, Error> {
    Path::parse(text).map_err(|_| Error::NoObject(text.to_owned()))
}

fn check(object: &ObjectRef, bytes: u64, digest: blake3::Hash) -> Result<(), Error> {
    // The comparison of hashes takes constant time.
    if bytes == object.bytes && digest == object.digest { Ok(()) } else { Err(Error::Damaged(object.path.clone())) }
}

fn read_failed(object: &ObjectRef, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => Error::NoObject(object.path.clone()),
        other => failed(&object.path, other),
    }
}

/// Tells a bucket that does not answer, which passes, from what is wrong with what was asked of it.
fn failed(place: &str, error: object_store::Error) -> Error {
    match error {
        // It was asked several times: refusals have errors of their own.
        object_store::Error::Generic { store: "S3", source } => {
            Error::Unavailable { maybe_done: true, reason: format!("cannot access {place}: {source}") }
        }
        other => Error::failed(place, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Objects, Place) {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::local(folder.path()).unwrap();
        (folder, objects, Place::result(&TenantId::new("lab"), JobId::new(), 1, 1))
    }

    async fn pieces(objects: &Objects, object: &ObjectRef) -> Result<Vec<u8>, Error> {
        let mut stream = objects.stream(object).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn few_bytes_stay_inline_and_many_become_an_object() {
        let (_folder, objects, place) = store();
        let few = Bytes::from(vec![1; INLINE_BYTES]);
        assert_eq!(objects.keep(&place, few.clone()).await.unwrap(), Blob::Inline(few));
        let many = Bytes::from(vec![2; 3 << 20]);
        let blob = objects.keep(&place, many.clone()).await.unwrap();
        let Blob::Object(object) = &blob else { panic!("{} bytes lie inline", blob.len()) };
        assert_eq!(objects.load(&blob).await.unwrap(), many);
        assert_eq!(pieces(&objects, object).await.unwrap(), many);
        objects.delete(&place).await.unwrap();
        objects.delete(&place).await.unwrap();
        objects.delete_all(&place).await.unwrap();
        assert!(matches!(objects.load(&blob).await, Err(Error::NoObject(path)) if path == place.as_str()));
        assert!(matches!(objects.stream(object).await.err(), Some(Error::NoObject(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_says_nothing_is_not_waited_for_without_end() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let options = S3Options {
            bucket: "b".into(),
            region: "r".into(),
            endpoint: Some(format!("http://{}", silent.local_addr().unwrap())),
            key: Some(("k".into(), "s".into())),
            allow_http: true,
        };
        let objects = Objects::s3(options).unwrap();
        let (_folder, _, place) = store();
        let began = tokio::time::Instant::now();
        let put = objects.put(&place, Bytes::from(vec![1; 3 << 20])).await;
        assert!(matches!(put, Err(Error::Unavailable { maybe_done: true, .. })), "{put:?}");
        assert!(matches!(objects.delete(&place).await, Err(Error::Unavailable { .. })));
        assert!(began.elapsed() <= patience(3 << 20) + patience(0), "it took {:?}", began.elapsed());
    }

    #[tokio::test]
    async fn the_results_of_all_attempts_of_one_job_can_be_deleted() {
        let (_folder, objects, _) = store();
        let (lab, one, other) = (TenantId::new("lab"), JobId::new(), JobId::new());
        let place = |job, epoch| Place::result(&lab, job, 1, epoch);
        for place in [place(one, 1), place(one, 2), place(other, 1)] {
            objects.put(&place, Bytes::from_static(b"result")).await.unwrap();
        }
        objects.delete_all(&Place::results(&lab, one)).await.unwrap();
        let left: Vec<_> = objects.store.list(None).map(|object| object.unwrap().location.to_string()).collect().await;
        assert_eq!(left, [place(other, 1).as_str()]);
    }

    #[tokio::test]
    async fn s4_a_byte_that_rots_is_not_served() {
        let (folder, objects, place) = store();
        let object = objects.put(&place, Bytes::from(vec![0; 100_000])).await.unwrap();
        let file = folder.path().join(place.as_str());
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[77_777] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        assert!(matches!(objects.get(&object).await, Err(Error::Damaged(path)) if path == place.as_str()));
        assert!(matches!(pieces(&objects, &object).await, Err(Error::Damaged(_))));
        std::fs::write(&file, &bytes[..50_000]).unwrap();
        assert!(matches!(objects.get(&object).await, Err(Error::Damaged(_))));
    }

    #[tokio::test]
    async fn a_disk_without_room_refuses_before_anything_is_written() {
        let (folder, objects, place) = store();
        let error = objects.check_space(u64::MAX / 2).unwrap_err();
        assert_eq!(error.to_string(), format!("no space left on the disk that holds {}", folder.path().display()));
        assert!(matches!(error, Error::NoSpace { .. }));
        assert!(!folder.path().join(place.as_str()).exists());
    }

    #[tokio::test]
    async fn nobody_else_can_read_what_is_kept() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, _, place) = store();
        // One that was made when folders were open to all.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let objects = Objects::local(folder.path()).unwrap();
        objects.put(&place, Bytes::from(vec![1; 100])).await.unwrap();
        let mode = |path: &FilePath| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.path()), 0o700);
        assert_eq!(mode(&folder.path().join(place.as_str())), 0o600);
    }

    #[tokio::test]
    async fn objects_that_have_lain_for_a_while_are_found_and_name_their_job() {
        let (folder, objects, _) = store();
        let (lab, job) = (TenantId::new("lab"), JobId::new());
        let (old, new) = (Place::result(&lab, job, 1, 1), Place::payload(&lab, job));
        for place in [&old, &new] {
            objects.put(place, Bytes::from_static(b"x")).await.unwrap();
        }
        let file = std::fs::File::options().append(true).open(folder.path().join(old.as_str())).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
        let found: Vec<Place> =
            objects.older(SystemTime::now() - Duration::from_secs(3600)).map(|place| place.unwrap()).collect().await;
        assert_eq!(found, [old]);
        assert_eq!(found[0].job(), Some(job));
        assert_eq!(objects.older(SystemTime::now()).count().await, 2);
    }

    #[tokio::test]
    async fn a_local_grant_is_a_file_and_is_checked_when_it_is_read() {
        let (_folder, objects, place) = store();
        let hour = Duration::from_secs(3600);
        let bytes = Bytes::from(vec![5; 70_000]);
        let object = objects.grant_put(&place, hour).await.unwrap().put(&place, bytes.clone()).await.unwrap();
        assert_eq!(objects.get(&object).await.unwrap(), bytes);
        let grant = objects.grant_get(&place, hour).await.unwrap();
        assert_eq!(grant.get(&object).await.unwrap(), bytes);
        let other = ObjectRef { digest: [0; 32], ..object.clone() };
        assert!(matches!(grant.get(&other).await, Err(Error::Damaged(_))));
        objects.delete(&place).await.unwrap();
        assert!(matches!(grant.get(&object).await, Err(Error::NoObject(_))));
    }

    #[test]
    fn a_tenants_name_cannot_leave_its_folder() {
        let job = JobId::new();
        for name in ["../..", "a/b", "..", "%2e%2e", ""] {
            let place = Place::payload(&TenantId::new(name), job);
            assert!(!place.as_str().split('/').any(|part| part == ".." || part == "."), "{place:?}");
            assert_eq!(place.as_str().split('/').count() - usize::from(!name.is_empty()), 2, "{place:?}");
            assert_eq!(Place::parse(place.as_str()).unwrap(), place);
        }
        assert!(Place::parse("a/../b").is_err());
    }
}
