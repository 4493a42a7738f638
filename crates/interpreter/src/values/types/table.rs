//! The hash table of `dict` and `set`: insertion ordered, keyed by Python's equality.

use std::collections::HashMap;

use crate::values::types::hash;
use crate::values::types::key::Key;
use crate::values::value::Value;

/// Entries in order of insertion. A set's `V` is `()`.
#[derive(Clone)]
pub struct Table<V> {
    index: HashMap<Key, usize>,
    /// `None` where an entry was removed.
    entries: Vec<Option<Entry<V>>>,
    /// Position of the first entry that is not removed, or less.
    first: usize,
    /// All keys by their hashes, once one with the user's own was put here or looked for: it may equal a key of any kind.
    hashes: Option<HashMap<i64, Vec<Key>>>,
}

/// One entry, with the key as it was first inserted.
#[derive(Clone)]
pub struct Entry<V> {
    pub key: Key,
    pub original: Value,
    pub value: V,
}

impl<V: Clone> Table<V> {
    /// Makes an empty table.
    pub fn new() -> Self {
        Self { index: HashMap::new(), entries: Vec::new(), first: 0, hashes: None }
    }

    /// Returns how many entries there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Says whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Finds an entry.
    pub fn get(&self, key: &Key) -> Option<&Entry<V>> {
        self.entries.get(*self.index.get(key)?)?.as_ref()
    }

    /// Says whether a key is there.
    pub fn contains(&self, key: &Key) -> bool {
        self.index.contains_key(key)
    }

    /// Returns the entry at a position.
    pub fn at(&self, position: usize) -> Option<&Entry<V>> {
        self.entries.get(position)?.as_ref()
    }

    /// Returns where an entry is, until [`Table::tighten`] moves it.
    pub fn position(&self, key: &Key) -> Option<usize> {
        self.index.get(key).copied()
    }

    /// Returns the position at which the next new entry is put.
    pub fn end(&self) -> usize {
        self.entries.len()
    }

    /// Inserts or replaces; the original key and its position stay. Returns the replaced value.
    pub fn insert(&mut self, key: Key, original: Value, value: V) -> Option<V> {
        if let Some(entry) = self.index.get(&key).and_then(|position| self.entries.get_mut(*position)?.as_mut()) {
            return Some(std::mem::replace(&mut entry.value, value));
        }
        self.tighten();
        if matches!(key, Key::User(..)) {
            self.know_hashes();
        }
        if let (Some(hashes), Some(hash)) = (&mut self.hashes, hash::here(&key)) {
            hashes.entry(hash).or_default().push(key.clone());
        }
        self.index.insert(key.clone(), self.entries.len());
        self.entries.push(Some(Entry { key, original, value }));
        None
    }

    /// Removes an entry.
    pub fn remove(&mut self, key: &Key) -> Option<Entry<V>> {
        let position = self.index.remove(key)?;
        if let (Some(hashes), Some(hash)) = (&mut self.hashes, hash::here(key))
            && let Some(keys) = hashes.get_mut(&hash)
        {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                hashes.remove(&hash);
            }
        }
        let entry = self.entries.get_mut(position)?.take();
        if position == self.first {
            self.first += 1;
        }
        // What goes through the table has its place behind those that are gone.
        entry
    }

    /// Puts an entry last, or first.
    pub fn move_to_end(&mut self, key: &Key, last: bool) {
        let Some(entry) = self.remove(key) else { return };
        if last {
            self.insert(entry.key, entry.original, entry.value);
            return;
        }
        let rest = std::mem::take(self);
        self.insert(entry.key, entry.original, entry.value);
        for entry in rest.entries.into_iter().flatten() {
            self.insert(entry.key, entry.original, entry.value);
        }
    }

    /// Returns the first entry at or after a position, and the position after it.
    pub fn after(&mut self, position: usize) -> Option<(usize, &Entry<V>)> {
        let mut position = position.max(self.first);
        while matches!(self.entries.get(position), Some(None)) {
            position += 1;
            if position - 1 == self.first {
                self.first = position;
            }
        }
        Some((position + 1, self.entries.get(position)?.as_ref()?))
    }

    /// Returns the last entry.
    pub fn last(&mut self) -> Option<&Entry<V>> {
        while matches!(self.entries.last(), Some(None)) {
            self.entries.pop();
        }
        self.first = self.first.min(self.entries.len());
        self.entries.last()?.as_ref()
    }

    /// Returns the entries in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry<V>> {
        self.entries.iter().flatten()
    }

    /// Takes all entries out.
    pub fn take(&mut self) -> impl Iterator<Item = Entry<V>> + use<V> {
        std::mem::take(self).entries.into_iter().flatten()
    }

    /// Returns the entries whose hash is this, which may equal a key with the user's own.
    pub fn candidates(&mut self, hash: i64) -> Vec<(Key, Value)> {
        self.know_hashes();
        let keys = self.hashes.as_ref().and_then(|hashes| hashes.get(&hash)).map(Vec::as_slice).unwrap_or_default();
        keys.iter().filter_map(|key| Some((key.clone(), self.get(key)?.original.clone()))).collect()
    }

    /// Says whether the keys are known by their hashes as well, which takes its room.
    pub fn knows_hashes(&self) -> bool {
        self.hashes.is_some()
    }

    /// Says whether a key that is not here has the hash of one that is, so that user code must say whether they are equal.
    pub fn may_equal(&self, key: &Key) -> bool {
        let Some(hashes) = &self.hashes else { return false };
        !self.contains(key) && hash::here(key).is_some_and(|hash| hashes.contains_key(&hash))
    }

    fn know_hashes(&mut self) {
        if self.hashes.is_some() {
            return;
        }
        let mut hashes: HashMap<i64, Vec<Key>> = HashMap::new();
        for entry in self.entries.iter().flatten() {
            if let Some(hash) = hash::here(&entry.key) {
                hashes.entry(hash).or_default().push(entry.key.clone());
            }
        }
        self.hashes = Some(hashes);
    }

    /// Closes the gaps that removed entries left, once these are most of all. Returns where each entry is then, by its
    /// position before.
    pub fn tighten(&mut self) -> Option<Vec<usize>> {
        if self.entries.len() <= 16 || self.entries.len() <= 2 * self.index.len() {
            return None;
        }
        let mut kept = 0;
        let moved = self.entries.iter().map(|entry| {
            let position = kept;
            kept += usize::from(entry.is_some());
            position
        });
        let moved = moved.collect();
        self.entries.retain(Option::is_some);
        self.first = 0;
        for (position, entry) in self.entries.iter().enumerate() {
            if let Some(entry) = entry {
                self.index.insert(entry.key.clone(), position);
            }
        }
        Some(moved)
    }
}

impl<V: Clone> Default for Table<V> {
    fn default() -> Self {
        Self::new()
    }
}
