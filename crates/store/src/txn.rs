//! Transactions: what is compared, what is written, and what came of it.

use std::collections::BTreeSet;
use std::ops::Bound;

use bytes::Bytes;

use crate::error::Error;
use crate::lease::LeaseId;
use crate::metadata::{Entry, Limits, Revision};

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

    /// Requires what `compare` says.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Writes an entry.
    #[must_use]
    pub fn put(self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.op(Op::Put { key: key.into(), value: value.into(), lease: None })
    }

    /// Writes an entry that goes with a lease.
    #[must_use]
    pub fn put_leased(self, key: impl Into<String>, value: impl Into<Bytes>, lease: LeaseId) -> Self {
        self.op(Op::Put { key: key.into(), value: value.into(), lease: Some(lease) })
    }

    /// Removes an entry.
    #[must_use]
    pub fn delete(self, key: impl Into<String>) -> Self {
        self.op(Op::Delete(key.into()))
    }

    /// Removes all entries whose keys begin with `prefix`.
    #[must_use]
    pub fn delete_prefix(self, prefix: impl Into<String>) -> Self {
        self.op(Op::DeletePrefix(prefix.into()))
    }

    /// Lets a crash undo the writes, for what a crash makes worthless anyway. A store that cannot write such things
    /// more cheaply writes them durably.
    #[must_use]
    pub fn relaxed(mut self) -> Self {
        self.durability = Durability::Relaxed;
        self
    }

    fn op(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }

    /// Returns how many bytes the keys and values have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let compares = self.compares.iter().map(|compare| compare.key().len());
        let ops = self.ops.iter().map(|op| match op {
            Op::Put { key, value, .. } => key.len() + value.len(),
            Op::Delete(key) | Op::DeletePrefix(key) => key.len(),
        });
        compares.chain(ops).sum()
    }
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
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

    /// Says whether it holds where the key was last written by `revision`, or has no entry.
    #[must_use]
    pub fn holds(&self, revision: Option<Revision>) -> bool {
        match self {
            Self::Absent(_) => revision.is_none(),
            Self::Unchanged(_, wanted) => revision == Some(*wanted),
        }
    }
}

/// A write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Put { key: String, value: Bytes, lease: Option<LeaseId> },
    Delete(String),
    DeletePrefix(String),
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    Committed(Revision),
    /// Some comparison failed and nothing was written. These are the entries of the compared keys, in the order of the
    /// comparisons.
    Conflict(Vec<Option<Entry>>),
}

impl TxnOutcome {
    /// Returns the revision of the writes, if they were made.
    #[must_use]
    pub fn committed(&self) -> Option<Revision> {
        match self {
            Self::Committed(revision) => Some(*revision),
            Self::Conflict(_) => None,
        }
    }
}

/// Refuses what no store may be asked: what is too large, and transactions whose order would matter.
pub(crate) fn check(txns: &[Txn], limits: &Limits) -> Result<(), Error> {
    for txn in txns {
        let count = txn.ops.len().max(txn.compares.len());
        if count > limits.txn_ops {
            return Err(too_large("a transaction's operations", count, limits.txn_ops));
        }
        for op in &txn.ops {
            if let Op::Put { key, value, .. } = op
                && value.len() > limits.value_bytes
            {
                return Err(too_large(key, value.len(), limits.value_bytes));
            }
        }
        let bytes = txn.bytes();
        if bytes > limits.txn_bytes {
            return Err(too_large("a transaction's bytes", bytes, limits.txn_bytes));
        }
    }
    check_disjoint(txns)
}

fn too_large(what: &str, size: usize, limit: usize) -> Error {
    Error::TooLarge { what: what.to_owned(), size, limit }
}

/// Refuses a key that is written twice, or written by one transaction and named by another.
fn check_disjoint(txns: &[Txn]) -> Result<(), Error> {
    let mut names = Names::default();
    txns.iter().try_for_each(|txn| names.admit(txn)).map_err(|key| Error::KeyTwice(key.to_owned()))
}

/// What the transactions of a commit name. Nothing that one of them writes may be named by another, for nothing is promised
/// of their order.
#[derive(Default)]
pub(crate) struct Names<'a> {
    written: BTreeSet<&'a str>,
    prefixes: Vec<&'a str>,
    compared: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    /// Takes in what a transaction names.
    ///
    /// # Errors
    /// The key that is in the way; then nothing of it is taken in.
    pub fn admit(&mut self, txn: &'a Txn) -> Result<(), &'a str> {
        let mut own = Names::default();
        for op in &txn.ops {
            match op {
                Op::Put { key, .. } | Op::Delete(key) => {
                    if self.names(key) || own.writes(key) {
                        return Err(key);
                    }
                    own.written.insert(key);
                }
                Op::DeletePrefix(prefix) => {
                    if self.names_below(prefix) || own.names_below(prefix) {
                        return Err(prefix);
                    }
                    own.prefixes.push(prefix);
                }
            }
        }
        own.compared.extend(txn.compares.iter().map(Compare::key));
        if let Some(key) = own.compared.iter().find(|key| self.writes(key)) {
            return Err(key);
        }
        // One by one: to append a set builds all of it anew.
        self.written.extend(own.written);
        self.prefixes.extend(own.prefixes);
        self.compared.extend(own.compared);
        Ok(())
    }

    fn names(&self, key: &str) -> bool {
        self.compared.contains(key) || self.writes(key)
    }

    fn writes(&self, key: &str) -> bool {
        self.written.contains(key) || self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }

    /// Says whether anything is named that begins with `prefix`, or written with all that begins as it does.
    fn names_below(&self, prefix: &str) -> bool {
        let below = |keys: &BTreeSet<&str>| {
            let first = keys.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)).next();
            first.is_some_and(|key| key.starts_with(prefix))
        };
        below(&self.written)
            || below(&self.compared)
            || self.prefixes.iter().any(|other| other.starts_with(prefix) || prefix.starts_with(other))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: Limits = Limits {
        value_bytes: 10,
        txn_ops: 3,
        txn_bytes: 40,
        inline_bytes: 1,
        keeps_programs: false,
        deadline: Duration::from_secs(1),
        forgets_relaxed: true,
    };

    fn refused(txns: &[Txn]) -> Option<String> {
        check(txns, &LIMITS).err().map(|error| error.to_string())
    }

    #[test]
    fn transactions_whose_order_would_matter_are_refused() {
        let put = |key: &str| Txn::default().put(key, "v");
        assert_eq!(refused(&[put("a"), put("b").absent("c"), Txn::default().delete("d").absent("c")]), None);
        assert_eq!(refused(&[put("a").absent("a")]), None);
        assert_eq!(refused(&[Txn::default().absent("p/1").delete_prefix("p/")]), None);
        let twice = "a commit names the key a twice";
        assert_eq!(refused(&[put("a"), put("a")]).as_deref(), Some(twice));
        assert_eq!(refused(&[put("a").delete("a")]).as_deref(), Some(twice));
        assert_eq!(refused(&[put("a"), put("b").unchanged("a", 1)]).as_deref(), Some(twice));
        assert_eq!(refused(&[put("b").absent("a"), Txn::default().delete("a")]).as_deref(), Some(twice));
        let prefix = |prefix: &str| Txn::default().delete_prefix(prefix);
        assert!(refused(&[put("p/1"), prefix("p/")]).is_some());
        assert!(refused(&[prefix("p/").put("p/1", "v")]).is_some());
        assert!(refused(&[prefix("p/"), prefix("p/q")]).is_some());
        assert!(refused(&[prefix("p/"), put("x").absent("p/1")]).is_some());
        assert_eq!(refused(&[prefix("p/"), put("p").absent("o")]), None);
        assert!(refused(&[put("x").absent("p/1"), prefix("p/")]).is_some());
        assert_eq!(refused(&[put("a").absent("c"), put("b").absent("c")]), None);
        assert_eq!(refused(&[put("a").absent("c"), put("c")]).as_deref(), Some("a commit names the key c twice"));
    }

    #[test]
    fn what_is_not_taken_in_leaves_nothing_behind() {
        let put = |key: &str| Txn::default().put(key, "v");
        let (first, both, other) = (put("a"), put("b").put("a", "v").absent("c"), put("b").put("c", "v"));
        let mut names = Names::default();
        assert_eq!(names.admit(&first), Ok(()));
        assert_eq!(names.admit(&both), Err("a"));
        assert_eq!(names.admit(&other), Ok(()));
    }

    #[test]
    fn what_is_too_large_is_refused_by_name() {
        let value = refused(&[Txn::default().put("k", "12345678901")]);
        assert_eq!(value.as_deref(), Some("k is too large for the metadata store: 11, of 10 at most"));
        assert!(refused(&[Txn::default().absent("a").absent("b").absent("c").absent("d")]).is_some());
        assert!(refused(&[Txn::default().put("a".repeat(20), "1234567890").put("b", "1234567890")]).is_some());
    }
}
