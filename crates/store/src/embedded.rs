//! Metadata in one local file, for a server that is a single process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::metadata::{Compare, Durability, Entry, Event, MetadataStore, Op, Revision, Txn, TxnOutcome, Watch};
use crate::watch::Watchers;

/// Keys to the revision that wrote them and their values.
const ENTRIES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("entries");
/// One row: the last revision.
const REVISION: TableDefinition<'_, (), u64> = TableDefinition::new("revision");

/// Transactions that one commit may carry. What has arrived when the writer looks is committed together;
/// it never waits for more, so a lone transaction pays one sync and a crowd shares it.
const GROUP: usize = 64;

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
    database: RwLock<Database>,
    watchers: Watchers,
}

struct Write {
    txn: Txn,
    reply: oneshot::Sender<Result<TxnOutcome, Error>>,
}

impl RedbStore {
    /// Opens the store in the file `path`, making it when there is none. Blocks.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it open, [`Error::NoSpace`], or a damaged file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let shared = Arc::new(Shared {
            database: RwLock::new(open_database(&path)?),
            watchers: Watchers::default(),
            path: path.clone(),
        });
        let (writes, inbox) = mpsc::channel(1024);
        let writer = std::thread::Builder::new()
            .name("store".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || write_groups(&shared, inbox)
            })
            .map_err(|error| Error::failed(path.display().to_string(), error))?;
        let writer = Mutex::new(Some(writer));
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
        self.inner.shared.read(|table| {
            let found = table.get(key)?;
            Ok(found.map(|row| entry(key, row.value())))
        })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        self.inner.shared.read(|table| {
            let mut entries = Vec::new();
            for row in table.range(prefix..)? {
                let (key, value) = row?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                entries.push(entry(key.value(), value.value()));
            }
            Ok(entries)
        })
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, Error> {
        let (reply, answer) = oneshot::channel();
        let writes = self.inner.writes.as_ref().ok_or(Error::Closed)?;
        writes.send(Write { txn, reply }).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    async fn watch(&self, prefix: &str) -> Result<Watch, Error> {
        Ok(self.inner.shared.watchers.watch(prefix).boxed())
    }
}

impl Shared {
    /// Runs a read on a snapshot. Reads come from the page cache in microseconds, so they run where they are called.
    fn read<T>(
        &self,
        read: impl FnOnce(redb::ReadOnlyTable<&'static str, (u64, &'static [u8])>) -> Result<T, redb::Error>,
    ) -> Result<T, Error> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let table = (|| Ok(database.begin_read()?.open_table(ENTRIES)?))();
        table.and_then(read).map_err(|error: redb::Error| self.failed(error))
    }

    fn failed(&self, error: redb::Error) -> Error {
        let place = self.path.display().to_string();
        match error {
            redb::Error::Io(io) => Error::failed(place, io),
            other => Error::failed(place, other),
        }
    }

    /// Opens the file afresh: after an I/O failure (a full disk) redb refuses every further write.
    fn reopen(&self) -> Result<(), Error> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // Two openings of one file exclude each other, so the old one must go first.
        let nowhere = Database::builder()
            .create_with_backend(redb::backends::InMemoryBackend::new())
            .map_err(|error| self.failed(error.into()))?;
        drop(std::mem::replace(&mut *database, nowhere));
        *database = open_database(&self.path)?;
        Ok(())
    }
}

fn entry(key: &str, (revision, value): (u64, &[u8])) -> Entry {
    Entry { key: key.to_owned(), value: Bytes::copy_from_slice(value), revision }
}

fn open_database(path: &Path) -> Result<Database, Error> {
    let database = Database::create(path).map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => Error::InUse(path.to_owned()),
        redb::DatabaseError::Storage(redb::StorageError::Io(io)) => Error::failed(path.display().to_string(), io),
        other => Error::failed(path.display().to_string(), other),
    })?;
    let prepare = || -> Result<(), redb::Error> {
        let txn = database.begin_write()?;
        txn.open_table(ENTRIES)?;
        txn.open_table(REVISION)?;
        Ok(txn.commit()?)
    };
    prepare().map_err(|error| Error::failed(path.display().to_string(), error))?;
    Ok(database)
}

/// The writer thread: takes what has arrived, commits it as one, answers, tells the watchers.
fn write_groups(shared: &Shared, mut inbox: mpsc::Receiver<Write>) {
    let mut healthy = true;
    while let Some(first) = inbox.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = inbox.try_recv()
        {
            group.push(next);
        }
        let result = (if healthy { Ok(()) } else { shared.reopen() }).and_then(|()| {
            let database = shared.database.read().unwrap_or_else(PoisonError::into_inner);
            commit(&database, &group).map_err(|error| shared.failed(error))
        });
        healthy = result.is_ok();
        match result {
            Ok((outcomes, events)) => {
                for (key, event) in &events {
                    shared.watchers.publish(key, event);
                }
                for (write, outcome) in group.into_iter().zip(outcomes) {
                    // Whoever asked may have gone away; the write stands.
                    let _ = write.reply.send(Ok(outcome));
                }
            }
            Err(error) => {
                tracing::error!(%error, "a commit failed");
                for write in group {
                    let _ = write.reply.send(Err(again(&error)));
                }
            }
        }
    }
    // Puts the last relaxed writes on disk.
    let database = shared.database.read().unwrap_or_else(PoisonError::into_inner);
    let flushed = database.begin_write().map_err(redb::Error::from).and_then(|txn| Ok(txn.commit()?));
    if let Err(error) = flushed {
        tracing::error!(%error, "the last commit failed");
    }
}

type Committed = (Vec<TxnOutcome>, Vec<(String, Event)>);

fn commit(database: &Database, group: &[Write]) -> Result<Committed, redb::Error> {
    let mut outcomes = Vec::with_capacity(group.len());
    let mut events = Vec::new();
    let mut durability = redb::Durability::None;
    let mut txn = database.begin_write()?;
    {
        let mut entries = txn.open_table(ENTRIES)?;
        let mut last = txn.open_table(REVISION)?;
        let mut revision: Revision = last.get(())?.map_or(0, |row| row.value());
        for Write { txn, .. } in group {
            if !holds(&entries, &txn.compares)? {
                outcomes.push(TxnOutcome::Conflict);
                continue;
            }
            revision += 1;
            if txn.durability == Durability::Durable {
                durability = redb::Durability::Immediate;
            }
            for op in &txn.ops {
                let event = match op {
                    Op::Put(key, value) => {
                        entries.insert(key.as_str(), (revision, value.as_ref()))?;
                        let entry = Entry { key: key.clone(), value: value.clone(), revision };
                        (key.clone(), Event::Put(entry))
                    }
                    Op::Delete(key) => {
                        if entries.remove(key.as_str())?.is_none() {
                            continue;
                        }
                        (key.clone(), Event::Delete { key: key.clone(), revision })
                    }
                };
                events.push(event);
            }
            outcomes.push(TxnOutcome::Committed(revision));
        }
        last.insert((), revision)?;
    }
    txn.set_durability(durability)?;
    txn.commit()?;
    Ok((outcomes, events))
}

fn holds(entries: &Table<'_, &str, (u64, &[u8])>, compares: &[Compare]) -> Result<bool, redb::Error> {
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
    fn a_folder_that_is_not_there_is_named() {
        let error = RedbStore::open("/nonexistent/state").err().unwrap().to_string();
        assert!(error.contains("/nonexistent/state"), "{error}");
    }
}
