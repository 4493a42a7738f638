//! The seam to whatever keeps small records: a map with revisions, transactions and watches.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::Error;

/// Counts committed transactions; a later change has a larger one.
pub type Revision = u64;

/// What a watch yields. It does not end by itself.
pub type Watch = BoxStream<'static, Event>;

/// A map from text keys to bytes, in which only [`MetadataStore::txns`] writes.
///
/// Transactions are strictly serialisable. A watch delivers each committed change under its prefix once, in
/// order, after its commit; when it cannot, it says [`Event::Resync`].
#[async_trait]
pub trait MetadataStore: Send + Sync + 'static {
    /// Returns the entry under `key`.
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// Returns all entries whose keys begin with `prefix`, in the order of their keys, as of one instant.
    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error>;

    /// Applies several transactions, each by itself, in order: all operations of one if every comparison of it holds,
    /// else none. They wait for the disk together.
    async fn txns(&self, txns: Vec<Txn>) -> Result<Vec<TxnOutcome>, Error>;

    /// Applies one transaction.
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, Error> {
        let outcomes = self.txns(vec![txn]).await?;
        Ok(outcomes.into_iter().next().unwrap_or(TxnOutcome::Conflict))
    }

    /// Follows the changes under `prefix` from this call on. To miss nothing, watch first and list then;
    /// changes with revisions not above those listed are already in the listing.
    async fn watch(&self, prefix: &str) -> Result<Watch, Error>;

    /// Writes one entry durably, whatever was there.
    async fn put(&self, key: &str, value: Bytes) -> Result<(), Error> {
        self.txn(Txn::default().put(key, value)).await.map(|_| ())
    }

    /// Writes one entry durably unless the key is taken. Returns whether it did.
    async fn create(&self, key: &str, value: Bytes) -> Result<bool, Error> {
        let outcome = self.txn(Txn::default().absent(key).put(key, value)).await?;
        Ok(matches!(outcome, TxnOutcome::Committed(_)))
    }

    /// Removes one entry durably, if it is there.
    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.txn(Txn::default().delete(key)).await.map(|_| ())
    }
}

/// A key, its value, and the transaction that wrote it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Bytes,
    pub revision: Revision,
}

/// A set of writes that happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub ops: Vec<Op>,
    pub durability: Durability,
}

impl Txn {
    /// Requires that `key` has no entry.
    #[must_use]
    pub fn absent(mut self, key: impl Into<String>) -> Self {
        self.compares.push(Compare::Absent(key.into()));
        self
    }

    /// Requires that the entry of `key` was last written by `revision`.
    #[must_use]
    pub fn unchanged(mut self, key: impl Into<String>, revision: Revision) -> Self {
        self.compares.push(Compare::Unchanged(key.into(), revision));
        self
    }

    /// Writes an entry.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Put(key.into(), value.into()));
        self
    }

    /// Removes an entry.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.ops.push(Op::Delete(key.into()));
        self
    }

    /// Lets a crash undo the writes, for what a crash makes worthless anyway.
    #[must_use]
    pub fn relaxed(mut self) -> Self {
        self.durability = Durability::Relaxed;
        self
    }
}

/// A condition of a transaction.
#[derive(Clone, Debug)]
pub enum Compare {
    Absent(String),
    Unchanged(String, Revision),
}

impl Compare {
    /// Returns the key that is looked at.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Absent(key) | Self::Unchanged(key, _) => key,
        }
    }
}

/// A write of a transaction.
#[derive(Clone, Debug)]
pub enum Op {
    Put(String, Bytes),
    Delete(String),
}

impl Op {
    /// Returns the key that is written.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

/// What survives a crash after the commit was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    #[default]
    Durable,
    /// Visible at once; on disk with the next durable commit.
    Relaxed,
}

/// Whether a transaction's comparisons held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    Committed(Revision),
    /// Some comparison failed and nothing was written.
    Conflict,
}

/// One step of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Put(Entry),
    Delete {
        key: String,
        revision: Revision,
    },
    /// Changes were dropped: list again.
    Resync,
}

impl Event {
    /// Returns the key that changed; that of a resync is empty.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } => key,
            Self::Resync => "",
        }
    }
}
