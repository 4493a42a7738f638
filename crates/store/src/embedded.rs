//! Metadata in one local file, for a server that is a single process.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::metadata::{Compare, Durability, Entry, Event, MetadataStore, Op, Revision, Txn, TxnOutcome, Watch};
use crate::watch::Watchers;

type Row = (u64, &'static [u8]);

/// Keys to the revision that wrote them and their values.
const ENTRIES: TableDefinition<'_, &str, Row> = TableDefinition::new("entries");
/// One row: the last revision.
const REVISION: TableDefinition<'_, (), u64> = TableDefinition::new("revision");

/// Writes that one commit may carry.
const GROUP: usize = 256;

/// Least time between two syncs while several write at once, so that more of them share one. A lone writer never waits
/// for others.
const WINDOW: Duration = Duration::from_millis(2);

/// Bytes of relaxed writes that a crash may undo; more are made durable without waiting for a durable one.
const UNSAVED_BYTES: usize = 1 << 20;

/// A [`MetadataStore`] over redb. Clones share the store; the last one closes it.
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
    path: PathBuf,
    /// What was last committed. Kept open, for opening it takes longer than reading. `None` where the file could not be
    /// opened afresh after a failure.
    view: RwLock<Option<View>>,
    watchers: Watchers,
}

type View = ReadOnlyTable<&'static str, Row>;

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
        let path = path.as_ref().to_owned();
        let (database, revision) = open_database(&path)?;
        sync_folder(&path).map_err(|error| Error::failed(path.display().to_string(), error))?;
        let view = RwLock::new(Some(view(&path, &database)?));
        let shared = Arc::new(Shared { path: path.clone(), view, watchers: Watchers::default() });
        let writer = Writer {
            shared: Arc::clone(&shared),
            database: Some(database),
            revision,
            unsaved: Vec::new(),
            unsaved_bytes: 0,
        };
        let (writes, inbox) = mpsc::channel(1024);
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || writer.run(inbox))
            .map_err(|error| Error::failed(path.display().to_string(), error))?;
        let writer = Mutex::new(Some(thread));
        Ok(Self { inner: Arc::new(Inner { shared, writes: Some(writes), writer }) })
    }
}

impl Drop for Inner {
    /// Waits for the writer, so that the file is whole and unlocked afterwards.
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
        self.inner.shared.read(|view| Ok(view.get(key)?.map(|row| entry(key, row.value()))))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        self.inner.shared.read(|view| {
            let mut entries = Vec::new();
            for row in view.range(prefix..)? {
                let (key, value) = row?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                entries.push(entry(key.value(), value.value()));
            }
            Ok(entries)
        })
    }

    async fn txns(&self, txns: Vec<Txn>) -> Result<Vec<TxnOutcome>, Error> {
        if txns.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        let writes = self.inner.writes.as_ref().ok_or(Error::Closed)?;
        writes.send(Write { txns, reply }).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    async fn watch(&self, prefix: &str) -> Result<Watch, Error> {
        Ok(self.inner.shared.watchers.watch(prefix).boxed())
    }
}

impl Shared {
    /// Runs a read on what was last committed. It comes from memory in microseconds, so it runs where it is called. While
    /// it runs, nothing newer can be shown.
    fn read<T>(&self, read: impl FnOnce(&View) -> Result<T, redb::StorageError>) -> Result<T, Error> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let found = view.as_ref().map_or(Err(redb::StorageError::PreviousIo), read);
        found.map_err(|error| failed(&self.path, error.into()))
    }

    /// Locks the view for writing: until that is given back, who reads waits.
    fn view(&self) -> RwLockWriteGuard<'_, Option<View>> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that waits for the disk.
struct Writer {
    shared: Arc<Shared>,
    /// `None` where the file could not be opened afresh after a failure.
    database: Option<Database>,
    revision: Revision,
    /// What was written since the last durable commit, to be written again where a failure undoes it: it was acknowledged.
    unsaved: Vec<Event>,
    unsaved_bytes: usize,
}

impl Writer {
    /// Takes what has arrived, commits it as one, tells the watchers, answers.
    fn run(mut self, mut inbox: mpsc::Receiver<Write>) {
        let mut group = Vec::new();
        let (mut crowd, mut began) = (false, Instant::now());
        while let Some(first) = inbox.blocking_recv() {
            if crowd && durable(&first) {
                std::thread::sleep(WINDOW.saturating_sub(began.elapsed()));
            }
            group.push(first);
            while group.len() < GROUP
                && let Ok(next) = inbox.try_recv()
            {
                group.push(next);
            }
            let durable = self.unsaved_bytes > UNSAVED_BYTES || group.iter().any(durable);
            if durable {
                (crowd, began) = (group.len() > 1, Instant::now());
            }
            match self.write(&group, durable) {
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
        }
        if !self.unsaved.is_empty()
            && let Err(error) = self.write(&[], true)
        {
            tracing::error!(%error, "the last commit failed");
        }
    }

    fn write(&mut self, group: &[Write], durable: bool) -> Result<Vec<TxnOutcome>, Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => self.reopen()?,
        };
        let committed = commit(&database, group, self.revision, durable)
            .map_err(|error| failed(&self.shared.path, error))
            .and_then(|committed| Ok((committed, view(&self.shared.path, &database)?)));
        let (Committed { outcomes, events, revision }, view) = match committed {
            Ok(committed) => committed,
            Err(error) => {
                drop(database);
                // Not only when somebody writes again: what was there can be read meanwhile.
                self.database = self.reopen().ok();
                return Err(error);
            }
        };
        self.database = Some(database);
        self.revision = revision;
        *self.shared.view() = Some(view);
        if durable {
            self.saved();
        } else {
            self.unsaved_bytes += events.iter().map(size).sum::<usize>();
            self.unsaved.extend(events.iter().cloned());
        }
        for event in events {
            self.shared.watchers.publish(event);
        }
        Ok(outcomes)
    }

    /// Opens the file afresh: after an I/O failure (a full disk) redb refuses everything.
    fn reopen(&mut self) -> Result<Database, Error> {
        let shared = Arc::clone(&self.shared);
        // Two openings of one file exclude each other, and a view keeps its own alive.
        let mut shown = shared.view();
        *shown = None;
        let (database, revision) = open_database(&shared.path)?;
        if revision > self.revision {
            // What failed was done all the same, and nobody was told.
            self.revision = revision;
            self.saved();
            shared.watchers.resync();
        }
        restore(&database, &self.unsaved).map_err(|error| failed(&shared.path, error))?;
        *shown = Some(view(&shared.path, &database)?);
        Ok(database)
    }

    fn saved(&mut self) {
        self.unsaved.clear();
        self.unsaved_bytes = 0;
    }
}

fn durable(write: &Write) -> bool {
    write.txns.iter().any(|txn| txn.durability == Durability::Durable)
}

fn size(event: &Event) -> usize {
    match event {
        Event::Put(entry) => entry.key.len() + entry.value.len(),
        other => other.key().len(),
    }
}

fn entry(key: &str, (revision, value): (u64, &[u8])) -> Entry {
    Entry { key: key.to_owned(), value: Bytes::copy_from_slice(value), revision }
}

/// Opens the file, making it when there is none; with the last revision.
fn open_database(path: &Path) -> Result<(Database, Revision), Error> {
    let database = match Database::create(path) {
        Err(redb::DatabaseError::Storage(_)) if unfinished(path) => {
            fs::remove_file(path).map_err(redb::DatabaseError::from).and_then(|()| Database::create(path))
        }
        opened => opened,
    };
    let database = database.map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => Error::InUse(path.to_owned()),
        redb::DatabaseError::Storage(error) => failed(path, error.into()),
        other => Error::failed(path.display().to_string(), other),
    })?;
    let prepare = || -> Result<Revision, redb::Error> {
        let txn = database.begin_write()?;
        txn.open_table(ENTRIES)?;
        let revision = txn.open_table(REVISION)?.get(())?.map_or(0, |row| row.value());
        txn.commit()?;
        Ok(revision)
    };
    let revision = prepare().map_err(|error| failed(path, error))?;
    Ok((database, revision))
}

/// Makes it durable that a file is there.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if folder != Path::new("") => fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Returns whether redb was killed while it made a file, which it then refuses: what marks a file as its own comes last.
fn unfinished(path: &Path) -> bool {
    let mut mark = [1; 9];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut mark));
    read.is_ok() && mark == [0; 9]
}

fn view(path: &Path, database: &Database) -> Result<View, Error> {
    let view = (|| Ok(database.begin_read()?.open_table(ENTRIES)?))();
    view.map_err(|error: redb::Error| failed(path, error))
}

fn failed(path: &Path, error: redb::Error) -> Error {
    let place = path.display().to_string();
    match error {
        redb::Error::Io(io) => Error::failed(place, io),
        other => Error::failed(place, other),
    }
}

/// What a commit did.
struct Committed {
    outcomes: Vec<TxnOutcome>,
    events: Vec<Event>,
    revision: Revision,
}

/// Applies transactions one after another and commits them as one.
fn commit(
    database: &Database,
    group: &[Write],
    mut revision: Revision,
    durable: bool,
) -> Result<Committed, redb::Error> {
    let mut outcomes = Vec::with_capacity(group.len());
    let mut events = Vec::new();
    let mut txn = database.begin_write()?;
    txn.set_durability(if durable { redb::Durability::Immediate } else { redb::Durability::None })?;
    {
        let mut entries = txn.open_table(ENTRIES)?;
        for Txn { compares, ops, .. } in group.iter().flat_map(|write| &write.txns) {
            if !holds(&entries, compares)? {
                outcomes.push(TxnOutcome::Conflict);
                continue;
            }
            revision += 1;
            for op in ops {
                events.push(match op {
                    Op::Put(key, value) => {
                        entries.insert(key.as_str(), (revision, value.as_ref()))?;
                        Event::Put(Entry { key: key.clone(), value: value.clone(), revision })
                    }
                    Op::Delete(key) => {
                        if entries.remove(key.as_str())?.is_none() {
                            continue;
                        }
                        Event::Delete { key: key.clone(), revision }
                    }
                });
            }
            outcomes.push(TxnOutcome::Committed(revision));
        }
        if durable {
            txn.open_table(REVISION)?.insert((), revision)?;
        }
    }
    txn.commit()?;
    Ok(Committed { outcomes, events, revision })
}

/// Writes again what a failure has undone, as relaxed as before.
fn restore(database: &Database, undone: &[Event]) -> Result<(), redb::Error> {
    let mut txn = database.begin_write()?;
    txn.set_durability(redb::Durability::None)?;
    {
        let mut entries = txn.open_table(ENTRIES)?;
        for event in undone {
            match event {
                Event::Put(Entry { key, value, revision }) => {
                    entries.insert(key.as_str(), (*revision, value.as_ref()))?;
                }
                Event::Delete { key, .. } => drop(entries.remove(key.as_str())?),
                Event::Resync => {}
            }
        }
    }
    Ok(txn.commit()?)
}

fn holds(entries: &Table<'_, &str, Row>, compares: &[Compare]) -> Result<bool, redb::Error> {
    for compare in compares {
        let holds = match compare {
            Compare::Absent(key) => entries.get(key.as_str())?.is_none(),
            Compare::Unchanged(key, revision) => {
                entries.get(key.as_str())?.is_some_and(|row| row.value().0 == *revision)
            }
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
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

    /// A write of a value, or a deletion; and whether it is durable.
    fn writes() -> impl Strategy<Value = Vec<(u8, Option<u8>, bool)>> {
        proptest::collection::vec((0u8..6, any::<Option<u8>>(), any::<bool>()), 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// J1: whenever it stops, what is on disk is all that was written up to the last durable write, in order.
        #[test]
        fn j1_a_crash_loses_nothing_durable_and_brings_nothing_back(writes in writes()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
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
