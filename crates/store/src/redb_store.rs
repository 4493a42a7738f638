//! Metadata in one local file, for a server that is a single process.

mod file;
mod views;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::error::Error;
use crate::lease::{Lease, LeaseId, Renewal};
use crate::metadata::{Entry, Limits, MetadataStore, Page, Range, Revision, Watch};
use crate::txn::{self, Txn, TxnOutcome};
use crate::watch::Watchers;

use file::File;
use views::Views;
use writer::{Order, Writer};

const LIMITS: Limits = Limits {
    value_bytes: 8 << 20,
    txn_ops: 4096,
    txn_bytes: 32 << 20,
    inline_bytes: 32 << 10,
    keeps_programs: true,
    deadline: Duration::from_secs(30),
    forgets_relaxed: true,
};

/// A [`MetadataStore`] over redb. Clones share the store; the last one closes it.
///
/// Leases are kept in memory: who held one when the process ended holds it no more, and what was put under it is dropped
/// when the file is opened.
#[derive(Clone)]
pub struct RedbStore {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    /// `None` only while dropping.
    orders: Option<mpsc::Sender<Order>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What readers and the writer share.
struct Shared {
    path: PathBuf,
    views: Views,
    watchers: Watchers,
}

impl RedbStore {
    /// Opens the store in the file `path`, making it when there is none. Blocks.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it open, [`Error::NoSpace`], or a damaged file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let (file, revision) = File::create(&path)?;
        let view = file.view(revision).map_err(|error| file::failed(&path, error))?;
        let shared =
            Arc::new(Shared { path: path.clone(), views: Views::new(view), watchers: Watchers::new(revision) });
        let (orders, inbox) = mpsc::channel(1024);
        let failed = |error| Error::failed(path.display().to_string(), error);
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
        let writer = Writer::new(Arc::clone(&shared), file, revision);
        let thread = std::thread::Builder::new().name("store".into());
        let thread = thread.spawn(move || writer.run(inbox, &clock)).map_err(failed)?;
        let writer = Mutex::new(Some(thread));
        Ok(Self { inner: Arc::new(Inner { shared, orders: Some(orders), writer }) })
    }
}

impl Inner {
    /// Asks the writer, and waits for its answer.
    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let orders = self.orders.as_ref().ok_or(Error::Closed)?;
        let asked = async {
            orders.send(order(reply)).await.map_err(|_| Error::Closed)?;
            answer.await.map_err(|_| Error::Closed)
        };
        timeout(LIMITS.deadline, asked).await.unwrap_or_else(|_| {
            let reason = format!("the disk that holds {} does not answer", self.shared.path.display());
            Err(Error::Unavailable { maybe_done: true, reason })
        })
    }
}

impl Drop for Inner {
    /// Waits for the writer, so that the file is whole and unlocked afterwards.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

#[async_trait]
impl MetadataStore for RedbStore {
    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn read(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, Error> {
        let shared = &self.inner.shared;
        shared.views.read(|view| view.entries(keys)).map_err(|error| file::failed(&shared.path, error))
    }

    async fn range(&self, range: Range) -> Result<Page, Error> {
        let shared = &self.inner.shared;
        let page = shared.views.page(&range).map_err(|error| file::failed(&shared.path, error))?;
        page.ok_or(Error::Compacted)
    }

    async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<TxnOutcome>, Error> {
        txn::check(&txns, &LIMITS)?;
        if txns.is_empty() {
            return Ok(Vec::new());
        }
        self.inner.ask(|reply| Order::Commit { txns, reply }).await?
    }

    async fn watch(&self, prefix: &str, after: Option<Revision>) -> Result<Watch, Error> {
        Ok(self.inner.shared.watchers.watch(prefix, after).boxed())
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
        let asked = Instant::now();
        let id = self.inner.ask(|reply| Order::Grant { ttl, reply }).await?;
        // It does not hold the store open.
        Ok(Lease::keep(id, ttl, asked, Held { inner: Arc::downgrade(&self.inner), id }))
    }
}

struct Held {
    inner: Weak<Inner>,
    id: LeaseId,
}

#[async_trait]
impl Renewal for Held {
    async fn renew(&self) -> Result<bool, Error> {
        let Some(inner) = self.inner.upgrade() else { return Ok(false) };
        inner.ask(|reply| Order::Renew { id: self.id, reply }).await
    }

    async fn revoke(&self) {
        if let Some(inner) = self.inner.upgrade() {
            // A store that closes meanwhile drops it, too.
            let _ = inner.ask(|reply| Order::Revoke { id: self.id, reply }).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use std::fs;

    #[tokio::test(flavor = "multi_thread")]
    async fn redb_keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let number = std::sync::atomic::AtomicU32::new(0);
        crate::testing::run_conformance(|| async {
            let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            RedbStore::open(folder.path().join(number.to_string())).unwrap()
        })
        .await;
    }

    #[tokio::test]
    async fn a_store_that_is_open_is_in_use_and_one_that_was_closed_has_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let store = RedbStore::open(&path).unwrap();
        store.put("/durable", Bytes::from_static(b"1")).await.unwrap();
        store.txn(Txn::default().put("/relaxed", "2").relaxed()).await.unwrap();
        assert!(matches!(RedbStore::open(&path), Err(Error::InUse(used)) if used == path));
        drop(store);
        let store = RedbStore::open(&path).unwrap();
        assert_eq!(store.list("/").await.unwrap().len(), 2);
    }

    #[test]
    fn a_file_that_was_never_finished_is_made_anew_and_a_foreign_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        fs::write(&path, [0; 5000]).unwrap();
        drop(RedbStore::open(&path).unwrap());
        fs::write(&path, "notes").unwrap();
        assert!(matches!(RedbStore::open(&path), Err(Error::Failed { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"notes");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = RedbStore::open("/nonexistent/state").err().unwrap().to_string();
        assert!(error.contains("/nonexistent/state"), "{error}");
    }

    #[test]
    fn nobody_else_can_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        drop(RedbStore::open(&path).unwrap());
        assert_eq!(mode(), 0o600);
        // One that was made when files were open to all.
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        drop(RedbStore::open(&path).unwrap());
        assert_eq!(mode(), 0o600);
    }

    #[tokio::test]
    async fn what_is_under_a_lease_is_gone_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let store = RedbStore::open(&path).unwrap();
        let lease = store.lease(Duration::from_secs(60)).await.unwrap();
        let put = |key: &str| Txn::default().put_leased(key, "", lease.id());
        store.txn(put("/leased")).await.unwrap();
        store.txn(put("/relaxed").relaxed()).await.unwrap();
        store.txn(put("/freed")).await.unwrap();
        store.put("/freed", Bytes::new()).await.unwrap();
        let last = store.snapshot("/").await.unwrap();
        assert_eq!(last.entries.len(), 3);
        // As a crash leaves it.
        let copy = folder.path().join("copy");
        fs::copy(&path, &copy).unwrap();
        let again = RedbStore::open(&copy).unwrap();
        let left = again.list("/").await.unwrap();
        assert_eq!(left.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["/freed"]);
        // Nothing is given a revision that something had before.
        let put = again.txn(Txn::default().put("/new", "")).await.unwrap();
        assert!(put.committed() > Some(last.revision));
    }

    #[tokio::test]
    async fn a10_a_store_whose_file_was_away_is_there_again_when_the_file_is_and_never_empty() {
        let folder = tempfile::tempdir().unwrap();
        let (path, away) = (folder.path().join("state"), folder.path().join("away"));
        let store = RedbStore::open(&path).unwrap();
        store.put("/kept", Bytes::from_static(b"1")).await.unwrap();
        store.txn(Txn::default().put("/relaxed", "2").relaxed()).await.unwrap();
        fs::rename(&path, &away).unwrap();
        // As after a commit that failed: the file has to be opened afresh.
        store.inner.ask(|reply| Order::Reopen { reply }).await.unwrap();
        assert!(matches!(store.get("/kept").await, Err(Error::Failed { .. })));
        assert!(matches!(store.put("/other", Bytes::new()).await, Err(Error::Failed { .. })));
        assert!(!path.exists(), "an empty file took its place");
        fs::rename(&away, &path).unwrap();
        // Nobody writes: who reads finds it again all the same.
        let back = async {
            while store.get("/kept").await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), back).await.unwrap();
        let value = |entry: Option<Entry>| entry.map(|entry| entry.value);
        assert_eq!(value(store.get("/kept").await.unwrap()).as_deref(), Some(&b"1"[..]));
        assert_eq!(value(store.get("/relaxed").await.unwrap()).as_deref(), Some(&b"2"[..]));
        store.put("/other", Bytes::new()).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a2_a_long_listing_holds_up_no_write() {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(folder.path().join("state")).unwrap();
        for batch in 0..20 {
            let txns = (0..200).map(|number| {
                Txn::default().put(format!("/history/{batch:02}/{number:03}"), vec![7; 4 << 10]).relaxed()
            });
            store.commit(txns.collect()).await.unwrap();
        }
        // Between any two pages somebody writes, and the listing stays what it was.
        let (mut next, mut entries, mut pages) = (Some(Range::of("/history/").limit(500)), 0, 0);
        while let Some(range) = next {
            let page = store.range(range.clone()).await.unwrap();
            entries += page.entries.len();
            pages += 1;
            store.put(&format!("/history/00/{pages:03}x"), Bytes::new()).await.unwrap();
            next = range.next(&page);
        }
        assert_eq!(entries, 4000);
        assert!(pages >= 16, "a page holds a mebibyte at most, so these are more than {pages}");
    }

    /// A write of a value, or a deletion; and whether it is durable.
    fn writes() -> impl Strategy<Value = Vec<(u8, Option<u8>, bool)>> {
        proptest::collection::vec((0u8..6, any::<Option<u8>>(), any::<bool>()), 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// J1: whenever it stops, what is on disk is all that was written up to the last durable write, in order.
        #[test]
        fn j1_a_crash_loses_nothing_durable_and_brings_nothing_back(writes in writes()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let folder = tempfile::tempdir().unwrap();
            let store = RedbStore::open(folder.path().join("state")).unwrap();
            let mut expected: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            let mut durable = expected.clone();
            let mut last = 0;
            for (key, value, is_durable) in writes {
                let key = format!("/{key}");
                let txn = match value {
                    Some(value) => {
                        expected.insert(key.clone(), vec![value; 20]);
                        Txn::default().put(&key, vec![value; 20])
                    }
                    None => {
                        expected.remove(&key);
                        Txn::default().delete(&key)
                    }
                };
                let outcome = runtime.block_on(store.txn(if is_durable { txn } else { txn.relaxed() })).unwrap();
                let TxnOutcome::Committed(revision) = outcome else { panic!("nothing was compared") };
                assert!(revision > last);
                last = revision;
                prop_assert_eq!(&values(&runtime, &store), &expected);
                if is_durable {
                    durable.clone_from(&expected);
                }
            }
            let copy = folder.path().join("copy");
            std::fs::copy(folder.path().join("state"), &copy).unwrap();
            let crashed = RedbStore::open(&copy).unwrap();
            let found = values(&runtime, &crashed);
            prop_assert!(found == durable || found == expected, "{found:?} is neither {durable:?} nor {expected:?}");
        }
    }

    fn values(runtime: &tokio::runtime::Runtime, store: &RedbStore) -> BTreeMap<String, Vec<u8>> {
        let entries = runtime.block_on(store.list("/")).unwrap();
        entries.into_iter().map(|entry| (entry.key, entry.value.to_vec())).collect()
    }
}
