//! Metadata in local files, for a server that is a single process: what is new in a journal, everything else in a table.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::journal::{Journal, ROOM};
use crate::metadata::{Durability, Entry, MetadataStore, Revision, Txn, TxnOutcome, Watch};
use crate::recent::{Done, Recent, Snapshot, Written};
use crate::table::{Mark, Table};
use crate::watch::Watchers;

/// Writes that one commit may carry.
const GROUP: usize = 256;

/// Least time between two syncs while several write at once, so that more of them share one. A lone writer never waits
/// for others.
const WINDOW: Duration = Duration::from_millis(2);

/// Time before the table is asked again to take over what it could not.
const RETRY: Duration = Duration::from_secs(1);

/// A [`MetadataStore`] over a redb file and a journal beside it. Clones share the store; the last one closes it.
///
/// A durable transaction is one write and one sync of the journal, and a relaxed one is neither. What was written so
/// lies in memory besides, until there is enough of it for the table to take it over at once: what was written twice
/// meanwhile is then written once.
#[derive(Clone)]
pub struct RedbStore {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    /// `None` only while dropping.
    writes: Option<mpsc::Sender<Write>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    /// Held for microseconds; never while the disk is waited for.
    recent: Mutex<Recent>,
    table: Table,
    watchers: Watchers,
}

struct Write {
    txns: Vec<Txn>,
    reply: oneshot::Sender<Result<Vec<TxnOutcome>, Error>>,
}

impl RedbStore {
    /// Opens the store in the file `path`, making it when there is none. Blocks.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it open, [`Error::NoSpace`], or a damaged file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path.as_ref(), ROOM)
    }

    /// Opens a store whose journal is taken over once it is longer than `journal_bytes`.
    fn open_with(path: &Path, journal_bytes: u64) -> Result<Self, Error> {
        let (table, Mark { revision, generation }) = Table::open(path)?;
        let journal_path = path.with_extension("journal");
        let place = journal_path.display().to_string();
        let (journal, entries) =
            Journal::open(&journal_path, generation).map_err(|error| Error::failed(place.clone(), error))?;
        let mut recent = Recent::at(revision);
        for entry in entries {
            if !recent.replay(entry.revision, &entry.bytes) {
                return Err(Error::Unreadable { key: place, reason: "an entry has another form".into() });
            }
        }
        let shared = Arc::new(Shared { recent: Mutex::new(recent), table, watchers: Watchers::default() });
        let (writes, inbox) = mpsc::channel(1024);
        let writer = Writer {
            shared: Arc::clone(&shared),
            journal,
            journal_path,
            journal_bytes,
            generation,
            failed: None,
            doubtful: None,
        };
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || writer.run(inbox))
            .map_err(|error| Error::failed(path.display().to_string(), error))?;
        let writer = Mutex::new(Some(thread));
        Ok(Self { inner: Arc::new(Inner { shared, writes: Some(writes), writer }) })
    }
}

impl Drop for Inner {
    /// Waits for the writer, so that the files are whole and unlocked afterwards.
    fn drop(&mut self) {
        self.writes = None;
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

#[async_trait]
impl MetadataStore for RedbStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.inner.shared.get(key)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        self.inner.shared.list(prefix)
    }

    async fn txns(&self, mut txns: Vec<Txn>) -> Result<Vec<TxnOutcome>, Error> {
        let mut outcomes = self.inner.shared.relaxed(&txns)?;
        let txns = txns.split_off(outcomes.len());
        if !txns.is_empty() {
            let (reply, answer) = oneshot::channel();
            let writes = self.inner.writes.as_ref().ok_or(Error::Closed)?;
            writes.send(Write { txns, reply }).await.map_err(|_| Error::Closed)?;
            outcomes.append(&mut answer.await.map_err(|_| Error::Closed)??);
        }
        Ok(outcomes)
    }

    async fn watch(&self, prefix: &str) -> Result<Watch, Error> {
        Ok(self.inner.shared.watchers.watch(prefix).boxed())
    }
}

impl Shared {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let entry = |revision, value| Entry { key: key.to_owned(), value, revision };
        if let Some(Written { revision, value }) = self.recent().get(key) {
            return Ok(value.clone().map(|value| entry(*revision, value)));
        }
        // What was taken over since then is in the table.
        Ok(self.table.view().get(key)?.map(|(revision, value)| entry(revision, value)))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        let (written, view) = {
            let recent = self.recent();
            // Both as of now: nothing leaves the one for the other while the lock is held.
            (recent.list(prefix), self.table.view())
        };
        let mut entries = view.list(prefix)?;
        for (key, Written { revision, value }) in written {
            match value {
                Some(value) => drop(entries.insert(key, (revision, value))),
                None => drop(entries.remove(&key)),
            }
        }
        let entry = |(key, (revision, value))| Entry { key, value, revision };
        Ok(entries.into_iter().map(entry).collect())
    }

    /// Does relaxed transactions, up to the first that is not or that has to wait for the disk.
    fn relaxed(&self, txns: &[Txn]) -> Result<Vec<TxnOutcome>, Error> {
        let mut outcomes = Vec::with_capacity(txns.len());
        let mut recent = self.recent();
        for txn in txns.iter().take_while(|txn| txn.durability == Durability::Relaxed) {
            match recent.relaxed(txn, &|key| self.older(key))? {
                Some(done) => outcomes.push(self.tell(done)),
                None => break,
            }
        }
        Ok(outcomes)
    }

    fn older(&self, key: &str) -> Result<Option<Revision>, Error> {
        self.table.view().revision(key)
    }

    /// Tells the watchers what happened. To be called before anyone can change more.
    fn tell(&self, (outcome, events): Done) -> TxnOutcome {
        for event in events {
            self.watchers.publish(event);
        }
        outcome
    }
}

/// The thread that waits for the disk.
struct Writer {
    shared: Arc<Shared>,
    journal: Journal,
    journal_path: PathBuf,
    journal_bytes: u64,
    generation: u64,
    /// When the table last failed to take the journal over, and what it failed to take, or perhaps did not fail to.
    failed: Option<Instant>,
    doubtful: Option<Snapshot>,
}

impl Writer {
    /// Takes what has arrived, commits it as one, tells the watchers, answers.
    fn run(mut self, mut inbox: mpsc::Receiver<Write>) {
        let mut group = Vec::new();
        let (mut crowd, mut began) = (false, Instant::now());
        while let Some(first) = inbox.blocking_recv() {
            if crowd {
                std::thread::sleep(WINDOW.saturating_sub(began.elapsed()));
            }
            began = Instant::now();
            group.push(first);
            while group.len() < GROUP
                && let Ok(next) = inbox.try_recv()
            {
                group.push(next);
            }
            crowd = group.len() > 1;
            match self.commit(&group) {
                Ok(mut outcomes) => {
                    for write in group.drain(..) {
                        // Whoever asked may have gone away; the writes stand.
                        let _ = write.reply.send(Ok(outcomes.drain(..write.txns.len()).collect()));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "a commit failed");
                    for write in group.drain(..) {
                        let _ = write.reply.send(Err(again(&error)));
                    }
                }
            }
            let failed_lately = self.failed.is_some_and(|failed| failed.elapsed() < RETRY);
            if self.journal.len() > self.journal_bytes && !failed_lately {
                self.take_over();
            }
        }
        self.take_over();
    }

    fn commit(&mut self, group: &[Write]) -> Result<Vec<TxnOutcome>, Error> {
        self.resolve()?;
        let shared = &self.shared;
        let txns = group.iter().flat_map(|write| &write.txns);
        let staged = shared.recent().stage(txns, &|key| shared.older(key))?;
        if !staged.encoded.is_empty()
            && let Err(error) = self.journal.append(staged.revision, &staged.encoded)
        {
            shared.recent().abandon();
            return Err(Error::failed(self.journal_path.display().to_string(), error));
        }
        let mut recent = shared.recent();
        Ok(recent.commit(staged).into_iter().map(|done| shared.tell(done)).collect())
    }

    /// Moves what was written into the table. Where that fails, it stays where it is, and the next time may do better.
    fn take_over(&mut self) {
        let taken = self.resolve().and_then(|()| {
            let snapshot = self.shared.recent().snapshot();
            let absorbed = self.shared.table.absorb(&snapshot, self.generation + 1);
            match absorbed {
                Ok(()) => self.taken_over(&snapshot),
                Err(_) => self.doubtful = Some(snapshot),
            }
            absorbed
        });
        self.failed = taken.is_err().then(Instant::now);
        if let Err(error) = taken {
            tracing::error!(%error, "the journal could not be taken over");
        }
    }

    /// Finds out whether the table took over what it seemed to fail to. The journal must not grow before: had it done so,
    /// what is appended would belong to the generation before the table's.
    fn resolve(&mut self) -> Result<(), Error> {
        if self.doubtful.is_some() {
            let mark = self.shared.table.reopen()?;
            if let Some(snapshot) = self.doubtful.take()
                && mark.generation > self.generation
            {
                self.taken_over(&snapshot);
            }
        }
        Ok(())
    }

    fn taken_over(&mut self, snapshot: &Snapshot) {
        self.generation += 1;
        self.journal.begin(self.generation);
        self.shared.recent().absorbed(snapshot);
    }
}

/// Says the same failure to each of a group.
fn again(error: &Error) -> Error {
    match error {
        Error::NoSpace { place } => Error::NoSpace { place: place.clone() },
        Error::InUse(path) => Error::InUse(path.clone()),
        Error::Failed { place, source } => Error::Failed { place: place.clone(), source: source.to_string().into() },
        other => Error::Failed { place: "the store".into(), source: other.to_string().into() },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn redb_keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let number = std::sync::atomic::AtomicU32::new(0);
        // Everything is read from the journal's memory, or from both, or, with no room in the journal, from the table.
        for journal_bytes in [ROOM, 300, 0] {
            crate::testing::run_conformance(|| async {
                let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                RedbStore::open_with(&folder.path().join(number.to_string()), journal_bytes).unwrap()
            })
            .await;
        }
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
    fn a_folder_that_is_not_there_is_named() {
        let error = RedbStore::open("/nonexistent/state").err().unwrap().to_string();
        assert!(error.contains("/nonexistent/state"), "{error}");
    }

    /// A write of a value, or a deletion; and whether it is durable.
    fn writes() -> impl Strategy<Value = Vec<(u8, Option<u8>, bool)>> {
        proptest::collection::vec((0u8..6, any::<Option<u8>>(), any::<bool>()), 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// J1: whenever it stops, what is on disk is all that was written up to the last durable write, in order.
        #[test]
        fn j1_a_crash_loses_nothing_durable_and_brings_nothing_back(writes in writes(), journal_bytes in 0u64..600) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let folder = tempfile::tempdir().unwrap();
            let store = RedbStore::open_with(&folder.path().join("state"), journal_bytes).unwrap();
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
            // The writer answers before it takes the journal over, so it may be at that while the files are copied:
            // first the journal, which is begun anew only after the table has what was in it.
            let copy = tempfile::tempdir().unwrap();
            for name in ["state.journal", "state"] {
                std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
            }
            let crashed = RedbStore::open_with(&copy.path().join("state"), journal_bytes).unwrap();
            let found = values(&runtime, &crashed);
            prop_assert!(found == durable || found == expected, "{found:?} is neither {durable:?} nor {expected:?}");
        }
    }

    fn values(runtime: &tokio::runtime::Runtime, store: &RedbStore) -> BTreeMap<String, Vec<u8>> {
        let entries = runtime.block_on(store.list("/")).unwrap();
        entries.into_iter().map(|entry| (entry.key, entry.value.to_vec())).collect()
    }
}
