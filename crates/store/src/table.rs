//! The redb file that holds everything but the newest writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};

use crate::error::Error;
use crate::metadata::Revision;
use crate::recent::{Snapshot, Written};

type Row = (u64, &'static [u8]);

/// Keys to the revision that wrote them and their values.
const ENTRIES: TableDefinition<'_, &str, Row> = TableDefinition::new("entries");
/// One row: the last revision.
const REVISION: TableDefinition<'_, (), u64> = TableDefinition::new("revision");
/// One row: the generation of the journal that holds what came after.
const GENERATION: TableDefinition<'_, (), u64> = TableDefinition::new("generation");

/// Entries on disk, sorted by key.
pub struct Table {
    path: PathBuf,
    /// Locked while it writes.
    database: Mutex<Database>,
    /// What was last written. Kept open, for opening it takes longer than reading.
    view: RwLock<Arc<View>>,
}

/// Up to where a table has everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub revision: Revision,
    pub generation: u64,
}

/// A table as it was at one moment.
pub struct View {
    path: PathBuf,
    entries: ReadOnlyTable<&'static str, Row>,
}

impl Table {
    /// Opens the file, making it when there is none.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it open, [`Error::NoSpace`], or a damaged file.
    pub fn open(path: &Path) -> Result<(Self, Mark), Error> {
        let (database, mark) = open(path)?;
        let view = RwLock::new(view(path, &database)?);
        Ok((Self { path: path.to_owned(), database: Mutex::new(database), view }, mark))
    }

    /// Returns the table as it is now. Reads come from the page cache in microseconds, so they run where they are called.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over recent writes, durably, all of them or none.
    ///
    /// # Errors
    /// Those of the disk; then [`Table::reopen`] has to be called before it is tried again.
    pub fn absorb(&self, snapshot: &Snapshot, generation: u64) -> Result<(), Error> {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let absorb = || -> Result<(), redb::Error> {
            let mut txn = database.begin_write()?;
            txn.set_durability(Durability::Immediate)?;
            {
                let mut entries = txn.open_table(ENTRIES)?;
                for (key, Written { revision, value }) in &snapshot.written {
                    match value {
                        Some(value) => drop(entries.insert(key.as_str(), (*revision, value.as_ref()))?),
                        None => drop(entries.remove(key.as_str())?),
                    }
                }
                txn.open_table(REVISION)?.insert((), snapshot.revision)?;
                txn.open_table(GENERATION)?.insert((), generation)?;
            }
            Ok(txn.commit()?)
        };
        absorb().map_err(|error| failed(&self.path, error))?;
        self.show(view(&self.path, &database)?);
        Ok(())
    }

    /// Opens the file afresh: after an I/O failure (a full disk) redb refuses every further write, and whether the last
    /// one was done is not known.
    ///
    /// # Errors
    /// Those of [`Table::open`].
    pub fn reopen(&self) -> Result<Mark, Error> {
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        // Two openings of one file exclude each other, so the old one must go first.
        let nowhere = Database::builder().create_with_backend(redb::backends::InMemoryBackend::new());
        let nowhere = nowhere.map_err(|error| failed(&self.path, error.into()))?;
        mark(&nowhere).map_err(|error| failed(&self.path, error))?;
        self.show(view(&self.path, &nowhere)?);
        drop(std::mem::replace(&mut *database, nowhere));
        let (opened, mark) = open(&self.path)?;
        self.show(view(&self.path, &opened)?);
        *database = opened;
        Ok(mark)
    }

    fn show(&self, view: Arc<View>) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
    }
}

impl View {
    /// Returns what was written to a key last.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn get(&self, key: &str) -> Result<Option<(Revision, Bytes)>, Error> {
        let found = self.entries.get(key).map_err(|error| self.failed(error))?;
        Ok(found.map(|row| {
            let (revision, value) = row.value();
            (revision, Bytes::copy_from_slice(value))
        }))
    }

    /// Returns when a key was written last.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn revision(&self, key: &str) -> Result<Option<Revision>, Error> {
        Ok(self.entries.get(key).map_err(|error| self.failed(error))?.map(|row| row.value().0))
    }

    /// Returns the entries whose keys begin with `prefix`.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn list(&self, prefix: &str) -> Result<BTreeMap<String, (Revision, Bytes)>, Error> {
        let mut entries = BTreeMap::new();
        for row in self.entries.range(prefix..).map_err(|error| self.failed(error))? {
            let (key, row) = row.map_err(|error| self.failed(error))?;
            if !key.value().starts_with(prefix) {
                break;
            }
            let (revision, value) = row.value();
            entries.insert(key.value().to_owned(), (revision, Bytes::copy_from_slice(value)));
        }
        Ok(entries)
    }

    fn failed(&self, error: redb::StorageError) -> Error {
        failed(&self.path, error.into())
    }
}

fn open(path: &Path) -> Result<(Database, Mark), Error> {
    let database = Database::create(path).map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => Error::InUse(path.to_owned()),
        redb::DatabaseError::Storage(error) => failed(path, error.into()),
        other => Error::failed(path.display().to_string(), other),
    })?;
    let mark = mark(&database).map_err(|error| failed(path, error))?;
    Ok((database, mark))
}

/// Reads a table's mark, making what a new file lacks. What it reads is on disk when it returns.
fn mark(database: &Database) -> Result<Mark, redb::Error> {
    let txn = database.begin_write()?;
    txn.open_table(ENTRIES)?;
    let revision = txn.open_table(REVISION)?.get(())?.map_or(0, |row| row.value());
    let generation = txn.open_table(GENERATION)?.get(())?.map_or(0, |row| row.value());
    txn.commit()?;
    Ok(Mark { revision, generation })
}

fn view(path: &Path, database: &Database) -> Result<Arc<View>, Error> {
    let entries = (|| Ok(database.begin_read()?.open_table(ENTRIES)?))();
    let entries = entries.map_err(|error: redb::Error| failed(path, error))?;
    Ok(Arc::new(View { path: path.to_owned(), entries }))
}

fn failed(path: &Path, error: redb::Error) -> Error {
    let place = path.display().to_string();
    match error {
        redb::Error::Io(io) => Error::failed(place, io),
        other => Error::failed(place, other),
    }
}
