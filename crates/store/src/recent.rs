//! What was written lately and is not in the table yet. Whoever reads looks here first. It does no I/O.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use bytes::Bytes;

use crate::error::Error;
use crate::metadata::{Compare, Entry, Event, Op, Revision, Txn, TxnOutcome};

/// Bytes of relaxed writes that may be unsaved; more are made durable without waiting for a durable one.
const UNSAVED_BYTES: usize = 1 << 20;

/// The newest writes of a store.
#[derive(Default)]
pub struct Recent {
    revision: Revision,
    written: Writes,
    /// Relaxed writes that the journal does not have yet, encoded.
    unsaved: Vec<u8>,
    /// The keys that are written by what is being made durable, and whether they exist then.
    promised: HashMap<String, bool>,
}

/// Keys with what was last written to them.
pub type Writes = BTreeMap<String, Written>;

/// What was written to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub revision: Revision,
    /// `None` for a key that was deleted.
    pub value: Option<Bytes>,
}

/// What one transaction writes: keys with their new values.
type Changes = Vec<(String, Option<Bytes>)>;

/// Looks up at which revision a key was written that was not written lately.
pub type Older<'a> = dyn Fn(&str) -> Result<Option<Revision>, Error> + 'a;

/// What became of a transaction, and what its watchers are to hear.
pub type Done = (TxnOutcome, Vec<Event>);

/// Transactions on their way to the disk: what each writes, or that it must not.
pub struct Staged {
    writes: Vec<Option<Changes>>,
    /// What the journal has to take in, and how much of that is no part of these transactions but was unsaved before.
    pub encoded: Vec<u8>,
    unsaved: usize,
    /// The revision that will have been reached.
    pub revision: Revision,
}

impl Recent {
    /// Begins at a revision, with nothing written.
    pub fn at(revision: Revision) -> Self {
        Self { revision, ..Self::default() }
    }

    /// Takes in what an earlier life encoded. Returns whether it could be read.
    pub fn replay(&mut self, revision: Revision, mut encoded: &[u8]) -> bool {
        self.revision = self.revision.max(revision);
        while !encoded.is_empty() {
            let Some((key, value, rest)) = decode(encoded) else { return false };
            self.written.insert(key, Written { revision, value });
            encoded = rest;
        }
        true
    }

    /// Returns what a key was written to, if it was.
    pub fn get(&self, key: &str) -> Option<&Written> {
        self.written.get(key)
    }

    /// Returns what was written to the keys that begin with `prefix`.
    pub fn list(&self, prefix: &str) -> Writes {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let found = self.written.range::<str, _>(from).take_while(|(key, _)| key.starts_with(prefix));
        found.map(|(key, written)| (key.clone(), written.clone())).collect()
    }

    /// Does a relaxed transaction at once. `None` when it meets what is being made durable, or when too much is
    /// unsaved: then it has to be staged.
    ///
    /// # Errors
    /// Those of `older`.
    pub fn relaxed(&mut self, txn: &Txn, older: &Older<'_>) -> Result<Option<Done>, Error> {
        let mut keys = txn.compares.iter().map(Compare::key).chain(txn.ops.iter().map(Op::key));
        if self.unsaved.len() > UNSAVED_BYTES || keys.any(|key| self.promised.contains_key(key)) {
            return Ok(None);
        }
        let writes = self.effects(txn, &mut HashMap::new(), older)?;
        for (key, value) in writes.iter().flatten() {
            encode(key, value.as_ref(), &mut self.unsaved);
        }
        Ok(Some(self.apply(writes)))
    }

    /// Works out what transactions do, one after another. Nobody sees it before [`Recent::commit`].
    ///
    /// # Errors
    /// Those of `older`.
    pub fn stage<'t>(&mut self, txns: impl Iterator<Item = &'t Txn>, older: &Older<'_>) -> Result<Staged, Error> {
        let mut promised = HashMap::new();
        let writes = txns.map(|txn| self.effects(txn, &mut promised, older)).collect::<Result<Vec<_>, _>>()?;
        self.promised = promised;
        let mut encoded = self.unsaved.clone();
        for (key, value) in writes.iter().flatten().flatten() {
            encode(key, value.as_ref(), &mut encoded);
        }
        let revision = self.revision + writes.iter().flatten().count() as u64;
        Ok(Staged { writes, encoded, unsaved: self.unsaved.len(), revision })
    }

    /// Shows what was staged, now that it is durable.
    pub fn commit(&mut self, staged: Staged) -> Vec<Done> {
        self.unsaved.drain(..staged.unsaved);
        self.promised.clear();
        staged.writes.into_iter().map(|writes| self.apply(writes)).collect()
    }

    /// Gives up what was staged and could not be made durable.
    pub fn abandon(&mut self) {
        self.promised.clear();
    }

    /// Returns all writes, for the table to take over while more come; and what [`Recent::absorbed`] has to be told.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { revision: self.revision, written: self.written.clone(), unsaved: self.unsaved.len() }
    }

    /// Forgets what the table has taken over.
    pub fn absorbed(&mut self, snapshot: &Snapshot) {
        self.unsaved.drain(..snapshot.unsaved);
        self.written.retain(|_, written| written.revision > snapshot.revision);
    }

    /// Returns what a transaction writes, deletions of what is not there left out; `None` when a comparison fails.
    fn effects(
        &self,
        txn: &Txn,
        promised: &mut HashMap<String, bool>,
        older: &Older<'_>,
    ) -> Result<Option<Changes>, Error> {
        let revision = |key: &str| match self.written.get(key) {
            Some(written) => Ok(written.value.as_ref().map(|_| written.revision)),
            None => older(key),
        };
        for compare in &txn.compares {
            let holds = match (compare, promised.get(compare.key())) {
                (Compare::Absent(_), Some(exists)) => !exists,
                // Whatever revision the promise will have, the caller cannot know it.
                (Compare::Unchanged(..), Some(_)) => false,
                (Compare::Absent(key), None) => revision(key)?.is_none(),
                (Compare::Unchanged(key, told), None) => revision(key)? == Some(*told),
            };
            if !holds {
                return Ok(None);
            }
        }
        let mut writes = Vec::with_capacity(txn.ops.len());
        for op in &txn.ops {
            let (key, value) = match op {
                Op::Put(key, value) => (key, Some(value.clone())),
                Op::Delete(key) => {
                    let exists = match promised.get(key) {
                        Some(exists) => *exists,
                        None => revision(key)?.is_some(),
                    };
                    if !exists {
                        continue;
                    }
                    (key, None)
                }
            };
            promised.insert(key.clone(), value.is_some());
            writes.push((key.clone(), value));
        }
        Ok(Some(writes))
    }

    fn apply(&mut self, writes: Option<Changes>) -> Done {
        let Some(writes) = writes else { return (TxnOutcome::Conflict, Vec::new()) };
        self.revision += 1;
        let revision = self.revision;
        let mut events = Vec::with_capacity(writes.len());
        for (key, value) in writes {
            self.written.insert(key.clone(), Written { revision, value: value.clone() });
            events.push(match value {
                Some(value) => Event::Put(Entry { key, value, revision }),
                None => Event::Delete { key, revision },
            });
        }
        (TxnOutcome::Committed(revision), events)
    }
}

/// All recent writes at one moment.
pub struct Snapshot {
    pub revision: Revision,
    pub written: Writes,
    unsaved: usize,
}

/// Writes a key and its value down, each after its length.
fn encode(key: &str, value: Option<&Bytes>, into: &mut Vec<u8>) {
    let mut put = |bytes: &[u8]| {
        into.extend((bytes.len() as u64).to_le_bytes());
        into.extend(bytes);
    };
    put(key.as_bytes());
    match value {
        Some(value) => put(value),
        None => into.extend(DELETED.to_le_bytes()),
    }
}

/// Reads what [`encode`] wrote, and what comes after it.
fn decode(encoded: &[u8]) -> Option<(String, Option<Bytes>, &[u8])> {
    let length = |from: &[u8]| from.first_chunk().copied().map(u64::from_le_bytes);
    let part = |from| {
        let size = usize::try_from(length(from)?).ok()?;
        from.get(8..)?.split_at_checked(size)
    };
    let (key, rest) = part(encoded)?;
    let key = std::str::from_utf8(key).ok()?.to_owned();
    if length(rest)? == DELETED {
        return Some((key, None, rest.get(8..)?));
    }
    let (value, rest) = part(rest)?;
    Some((key, Some(Bytes::copy_from_slice(value)), rest))
}

/// Takes the place of a value's length.
const DELETED: u64 = u64::MAX;
