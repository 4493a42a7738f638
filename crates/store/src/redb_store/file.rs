//! The file: opened, read and written through redb.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::ops::Bound;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use redb::{AccessGuard, Database, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition};

use crate::error::Error;
use crate::lease::LeaseId;
use crate::metadata::{Entry, Event, Page, Range, Revision};
use crate::txn::{Compare, Op, Txn, TxnOutcome};

type Row = (u64, &'static [u8]);

/// Keys to the revision that wrote them and their values.
const ENTRIES: TableDefinition<'_, &str, Row> = TableDefinition::new("entries");
/// One row: the last revision.
const REVISION: TableDefinition<'_, (), u64> = TableDefinition::new("revision");
/// The keys of entries that go with a lease, which are dropped when the file is opened by another process, and the lease.
const LEASED: TableDefinition<'_, &str, i64> = TableDefinition::new("leased");

/// More than the revisions that a crash can undo: none of them is given to something else.
const UNSAVED: Revision = 1 << 24;

/// Bytes of values that a page holds, but for its last entry.
const PAGE_BYTES: usize = 1 << 20;

/// An open file, for writing.
pub struct File {
    database: Database,
}

/// The state after one commit, for reading.
#[derive(Clone)]
pub struct View {
    table: Arc<ReadOnlyTable<&'static str, Row>>,
    pub revision: Revision,
}

/// What a commit did.
#[derive(Default)]
pub struct Committed {
    pub outcomes: Vec<TxnOutcome>,
    /// By revision, and within one by key.
    pub events: Vec<Event>,
    pub revision: Revision,
    /// For each key that was written under a lease or had been: its lease from now on.
    pub leases: BTreeMap<String, Option<LeaseId>>,
}

impl File {
    /// Opens the file, making it when there is none; with a revision that is larger than any before.
    pub fn create(path: &Path) -> Result<(Self, Revision), Error> {
        hide(path).map_err(|error| Error::failed(path.display().to_string(), error))?;
        let database = match Database::create(path) {
            Err(redb::DatabaseError::Storage(_)) if unfinished(path) => {
                fs::remove_file(path).map_err(redb::DatabaseError::from).and_then(|()| Database::create(path))
            }
            opened => opened,
        };
        let (file, revision) = Self::opened(path, database, true)?;
        sync_folder(path).map_err(|error| Error::failed(path.display().to_string(), error))?;
        Ok((file, revision + UNSAVED))
    }

    /// Opens the file afresh. One that is not there is not made: a data folder that is away for a moment must not come
    /// back empty.
    pub fn reopen(path: &Path) -> Result<(Self, Revision), Error> {
        Self::opened(path, Database::open(path), false)
    }

    fn opened(
        path: &Path,
        database: Result<Database, redb::DatabaseError>,
        drop_leased: bool,
    ) -> Result<(Self, Revision), Error> {
        let database = database.map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Error::InUse(path.to_owned()),
            redb::DatabaseError::Storage(error) => failed(path, error.into()),
            other => Error::failed(path.display().to_string(), other),
        })?;
        let prepare = || -> Result<Revision, redb::Error> {
            let txn = database.begin_write()?;
            {
                let mut entries = txn.open_table(ENTRIES)?;
                let mut leased = txn.open_table(LEASED)?;
                if drop_leased {
                    for row in leased.iter()? {
                        entries.remove(row?.0.value())?;
                    }
                    leased.retain(|_, _| false)?;
                }
            }
            let revision = txn.open_table(REVISION)?.get(())?.map_or(0, |row| row.value());
            txn.commit()?;
            Ok(revision)
        };
        let revision = prepare().map_err(|error| failed(path, error))?;
        Ok((Self { database }, revision))
    }

    /// Views what was committed last, which is the state at `revision`.
    pub fn view(&self, revision: Revision) -> Result<View, redb::Error> {
        Ok(View { table: Arc::new(self.database.begin_read()?.open_table(ENTRIES)?), revision })
    }

    /// Applies transactions one after another and commits them as one. `leases` says which entries go with a lease.
    pub fn commit<'a>(
        &self,
        txns: impl IntoIterator<Item = &'a Txn>,
        mut revision: Revision,
        durable: bool,
        leases: &BTreeMap<String, LeaseId>,
    ) -> Result<Committed, redb::Error> {
        let mut committed = Committed::default();
        let mut txn = self.database.begin_write()?;
        txn.set_durability(if durable { redb::Durability::Immediate } else { redb::Durability::None })?;
        {
            let mut entries = txn.open_table(ENTRIES)?;
            for Txn { compares, ops, .. } in txns {
                if let Some(compared) = conflict(&entries, compares)? {
                    committed.outcomes.push(TxnOutcome::Conflict(compared));
                    continue;
                }
                revision += 1;
                let first = committed.events.len();
                for op in ops {
                    apply(&mut entries, op, revision, &mut committed)?;
                }
                if let Some(events) = committed.events.get_mut(first..) {
                    events.sort_by(|left, right| left.key().cmp(right.key()));
                }
                committed.outcomes.push(TxnOutcome::Committed(revision));
            }
            // An entry that nobody put under a lease, now or before, needs no mark.
            let Committed { events, leases: changed, .. } = &mut committed;
            for event in events.iter().filter(|event| !leases.is_empty() && leases.contains_key(event.key())) {
                changed.entry(event.key().to_owned()).or_insert(None);
            }
            if !changed.is_empty() {
                let mut leased = txn.open_table(LEASED)?;
                for (key, lease) in changed {
                    match lease {
                        Some(lease) => drop(leased.insert(key.as_str(), lease.0)?),
                        None => drop(leased.remove(key.as_str())?),
                    }
                }
            }
            if durable {
                txn.open_table(REVISION)?.insert((), revision)?;
            }
        }
        txn.commit()?;
        committed.revision = revision;
        Ok(committed)
    }

    /// Returns which entries go with which lease.
    pub fn leased(&self) -> Result<BTreeMap<String, LeaseId>, redb::Error> {
        let table = self.database.begin_read()?.open_table(LEASED)?;
        let row = |row: Result<(AccessGuard<'_, &str>, AccessGuard<'_, i64>), redb::StorageError>| {
            let (key, lease) = row?;
            Ok((key.value().to_owned(), LeaseId(lease.value())))
        };
        table.iter()?.map(row).collect()
    }

    /// Writes again what a failure has undone, as relaxed as before.
    pub fn restore(&self, undone: &[Event], leases: &BTreeMap<String, LeaseId>) -> Result<(), redb::Error> {
        let mut txn = self.database.begin_write()?;
        txn.set_durability(redb::Durability::None)?;
        {
            let mut entries = txn.open_table(ENTRIES)?;
            let mut leased = txn.open_table(LEASED)?;
            for event in undone {
                match event {
                    Event::Put(Entry { key, value, revision }) => {
                        entries.insert(key.as_str(), (*revision, value.as_ref()))?;
                        match leases.get(key) {
                            Some(lease) => drop(leased.insert(key.as_str(), lease.0)?),
                            None => drop(leased.remove(key.as_str())?),
                        }
                    }
                    Event::Delete { key, .. } => {
                        entries.remove(key.as_str())?;
                        leased.remove(key.as_str())?;
                    }
                    Event::Progress(_) | Event::Resync => {}
                }
            }
        }
        Ok(txn.commit()?)
    }
}

impl View {
    /// Returns the entries under `keys`, in their order.
    pub fn entries(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, redb::Error> {
        let found = |key: &String| Ok(self.table.get(key.as_str())?.map(|row| entry(key, row.value())));
        keys.iter().map(found).collect()
    }

    /// Reads a page.
    pub fn page(&self, range: &Range) -> Result<Page, redb::Error> {
        let Range { prefix, after, limit, .. } = range;
        let from = match after {
            Some(after) if after.as_str() >= prefix.as_str() => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix.as_str()),
        };
        let mut page = Page { revision: self.revision, ..Page::default() };
        let mut bytes = 0;
        for row in self.table.range::<&str>((from, Bound::Unbounded))? {
            let (key, value) = row?;
            if !key.value().starts_with(prefix.as_str()) {
                break;
            }
            if page.entries.len() >= *limit || bytes >= PAGE_BYTES {
                page.more = true;
                break;
            }
            let entry = entry(key.value(), value.value());
            bytes += entry.key.len() + entry.value.len();
            page.entries.push(entry);
        }
        Ok(page)
    }
}

fn apply(
    entries: &mut Table<'_, &str, Row>,
    op: &Op,
    revision: Revision,
    Committed { events, leases, .. }: &mut Committed,
) -> Result<(), redb::Error> {
    match op {
        Op::Put { key, value, lease } => {
            entries.insert(key.as_str(), (revision, value.as_ref()))?;
            if let Some(lease) = lease {
                leases.insert(key.clone(), Some(*lease));
            } else if let Some(lease) = leases.get_mut(key) {
                *lease = None;
            }
            events.push(Event::Put(Entry { key: key.clone(), value: value.clone(), revision }));
        }
        Op::Delete(key) => {
            if entries.remove(key.as_str())?.is_some() {
                deleted(key.clone(), revision, events, leases);
            }
        }
        Op::DeletePrefix(prefix) => {
            let mut keys = BTreeSet::new();
            for row in entries.range::<&str>((Bound::Included(prefix.as_str()), Bound::Unbounded))? {
                let (key, _) = row?;
                if !key.value().starts_with(prefix.as_str()) {
                    break;
                }
                keys.insert(key.value().to_owned());
            }
            for key in keys {
                entries.remove(key.as_str())?;
                deleted(key, revision, events, leases);
            }
        }
    }
    Ok(())
}

fn deleted(key: String, revision: Revision, events: &mut Vec<Event>, leases: &mut BTreeMap<String, Option<LeaseId>>) {
    if let Some(lease) = leases.get_mut(&key) {
        *lease = None;
    }
    events.push(Event::Delete { key, revision });
}

/// Returns the compared entries where a comparison does not hold.
fn conflict(entries: &Table<'_, &str, Row>, compares: &[Compare]) -> Result<Option<Vec<Option<Entry>>>, redb::Error> {
    for compare in compares {
        let revision = entries.get(compare.key())?.map(|row| row.value().0);
        if !compare.holds(revision) {
            let compared = |compare: &Compare| {
                let key = compare.key();
                Ok(entries.get(key)?.map(|row| entry(key, row.value())))
            };
            return compares.iter().map(compared).collect::<Result<_, redb::Error>>().map(Some);
        }
    }
    Ok(None)
}

fn entry(key: &str, (revision, value): (u64, &[u8])) -> Entry {
    Entry { key: key.to_owned(), value: Bytes::copy_from_slice(value), revision }
}

/// Makes the file if there is none, and closes it to others: secrets lie in it.
fn hide(path: &Path) -> std::io::Result<()> {
    let file = fs::File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        tracing::warn!(file = %path.display(), "the metadata was open to others; it is closed now");
    }
    Ok(())
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

/// Names the file in a failure.
pub fn failed(path: &Path, error: redb::Error) -> Error {
    let place = path.display().to_string();
    match error {
        redb::Error::Io(io) => Error::failed(place, io),
        other => Error::failed(place, other),
    }
}
