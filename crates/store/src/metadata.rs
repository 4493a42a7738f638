//! The seam to whatever keeps small records: a map with revisions, transactions, watches and leases.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::Error;
use crate::lease::Lease;
use crate::txn::{Txn, TxnOutcome};

/// Counts commits; a later change has a larger one.
pub type Revision = u64;

/// What a watch yields. It does not end by itself.
pub type Watch = BoxStream<'static, Event>;

/// A map from text keys to bytes, in which only [`MetadataStore::commit`] and the end of a lease write.
///
/// Transactions and reads are strictly serialisable. A watch delivers each committed change under its prefix once, in
/// the order of revisions and, within one, of keys; when it cannot, it says [`Event::Resync`].
///
/// No call waits for longer than [`Limits::deadline`]; then it is [`Error::Unavailable`], which says whether what was
/// asked may have been done.
#[async_trait]
pub trait MetadataStore: Send + Sync + 'static {
    /// Returns what one entry and one commit may hold.
    fn limits(&self) -> Limits;

    /// Returns the entries under `keys`, in their order, as of one instant.
    async fn read(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, Error>;

    /// Returns the next entries of a listing, in the order of their keys.
    ///
    /// # Errors
    /// [`Error::Compacted`] when the revision that the listing began at is no longer kept: begin again.
    async fn range(&self, range: Range) -> Result<Page, Error>;

    /// Applies several transactions, each by itself: all operations of one if every comparison of it holds, else none.
    /// They wait for the disk together, and nothing is promised of their order: what one writes, no other may name.
    ///
    /// # Errors
    /// Before anything is written: [`Error::KeyTwice`], [`Error::TooLarge`], [`Error::NoLease`].
    /// [`Error::Unavailable`] where some of them may have been applied.
    async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<TxnOutcome>, Error>;

    /// Follows the changes under `prefix` that come after a revision; without one, those from this call on. Changes that
    /// are older may come, too, where no revision was given.
    ///
    /// To miss nothing, list and then watch from the listing's revision. Where so old a revision is no longer known, the
    /// watch begins with [`Event::Resync`].
    async fn watch(&self, prefix: &str, after: Option<Revision>) -> Result<Watch, Error>;

    /// Grants a lease, which is kept until the returned value is dropped or cannot be kept.
    /// Entries that were put under it go with it.
    async fn lease(&self, ttl: Duration) -> Result<Lease, Error>;

    /// Returns the entry under `key`.
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.read(&[key.to_owned()]).await?.pop().flatten())
    }

    /// Returns all entries whose keys begin with `prefix`, as of one instant: for what is known to be little.
    async fn snapshot(&self, prefix: &str) -> Result<Page, Error> {
        'again: loop {
            let mut whole = Page::default();
            let mut next = Some(Range::of(prefix));
            while let Some(range) = next.take() {
                let page = match self.range(range.clone()).await {
                    Ok(page) => page,
                    // What was read so far is of another instant than what could still be read.
                    Err(Error::Compacted) => continue 'again,
                    Err(error) => return Err(error),
                };
                next = range.next(&page);
                whole.revision = page.revision;
                whole.entries.extend(page.entries);
            }
            return Ok(whole);
        }
    }

    /// Returns the entries of [`MetadataStore::snapshot`].
    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        Ok(self.snapshot(prefix).await?.entries)
    }

    /// Applies one transaction.
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, Error> {
        self.commit(vec![txn]).await?.pop().ok_or(Error::Closed)
    }

    /// Writes one entry durably, whatever was there.
    async fn put(&self, key: &str, value: Bytes) -> Result<(), Error> {
        self.txn(Txn::default().put(key, value)).await.map(|_| ())
    }

    /// Writes one entry durably unless the key is taken. Returns whether it did.
    async fn create(&self, key: &str, value: Bytes) -> Result<bool, Error> {
        let outcome = self.txn(Txn::default().absent(key).put(key, value)).await?;
        Ok(outcome.committed().is_some())
    }

    /// Removes one entry durably, if it is there.
    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.txn(Txn::default().delete(key)).await.map(|_| ())
    }
}

/// What a store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one value.
    pub value_bytes: usize,
    /// Comparisons, and operations, of one transaction.
    pub txn_ops: usize,
    /// Bytes of the keys and values of one transaction.
    pub txn_bytes: usize,
    /// Bytes of a payload or result that are better kept in a record than as an object.
    pub inline_bytes: usize,
    /// The longest wait of any call.
    pub deadline: Duration,
    /// Whether programs that lie in records may stay there when their jobs have ended.
    pub keeps_programs: bool,
    /// Whether a crash may undo what was written relaxed.
    pub forgets_relaxed: bool,
}

/// A key, its value, and the commit that wrote it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Bytes,
    pub revision: Revision,
}

/// A part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub prefix: String,
    /// Where to go on: only later keys are wanted.
    pub after: Option<String>,
    /// How many entries are wanted at most.
    pub limit: usize,
    /// The revision at which to look, one that a page of the same listing told; `None` is now.
    pub at: Option<Revision>,
}

impl Range {
    /// Entries that come together where nobody says otherwise.
    const LIMIT: usize = 1000;

    /// Begins a listing of the keys that begin with `prefix`.
    #[must_use]
    pub fn of(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), after: None, limit: Self::LIMIT, at: None }
    }

    /// Bounds the number of entries that come together.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit: limit.max(1), ..self }
    }

    /// Returns what comes after `page`, at the same revision; `None` after the last page.
    #[must_use]
    pub fn next(self, page: &Page) -> Option<Self> {
        let last = page.entries.last().filter(|_| page.more)?;
        Some(Self { after: Some(last.key.clone()), at: Some(page.revision), ..self })
    }
}

/// Entries of a listing, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// The state that the whole listing shows.
    pub revision: Revision,
    /// Whether more entries follow. A page may be shorter than was asked.
    pub more: bool,
}

/// One step of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Put(Entry),
    Delete {
        key: String,
        revision: Revision,
    },
    /// The watch is alive, and the store had come as far as this. It does not say that everything up to there has been
    /// delivered: etcd before 3.4.25 may tell it too early.
    Progress(Revision),
    /// Changes were dropped: list again. What comes after it was committed later than what such a listing shows, or
    /// is in it.
    Resync,
}

impl Event {
    /// Returns the key that changed; where none did, it is empty.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } => key,
            Self::Progress(_) | Self::Resync => "",
        }
    }

    /// Returns the revision of the change; that of a resync is zero.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put(entry) => entry.revision,
            Self::Delete { revision, .. } | Self::Progress(revision) => *revision,
            Self::Resync => 0,
        }
    }
}
