//! Metadata in memory, for tests: it keeps the whole contract, and breaks off where it is told to.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::Error;
use crate::lease::{Lease, LeaseId, Renewal};
use crate::metadata::{Entry, Event, Limits, MetadataStore, Page, Range, Revision, Watch};
use crate::txn::{self, Durability, Op, Txn, TxnOutcome};
use crate::watch::{PROGRESS, Watchers};

/// Those of etcd, so that what does not fit there shows here.
const LIMITS: Limits = Limits {
    value_bytes: 1 << 20,
    txn_ops: 128,
    txn_bytes: 1 << 20,
    inline_bytes: 1 << 10,
    keeps_programs: false,
    deadline: Duration::from_secs(5),
    forgets_relaxed: true,
};

/// Listings that can be gone on with.
const KEPT: usize = 16;

/// A [`MetadataStore`] in memory. Clones share it, and its faults.
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
    way: Arc<Mutex<Way>>,
}

/// What lies between a caller and the entries.
struct Way {
    faults: Faults,
    /// How the next commits end, whatever is drawn.
    planned: VecDeque<CommitFault>,
    random: fastrand::Rng,
}

/// What goes wrong, each with a probability from 0 to 1. By default, nothing does.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// A transaction with comparisons is refused as if another had come before and undone its own change.
    pub conflict: f64,
    /// A commit is answered by [`Error::Unavailable`]: half of those are done, half are not.
    pub unknown_outcome: f64,
    /// A call does nothing and says so.
    pub unavailable: f64,
    /// A commit's changes are dropped from all watches.
    pub gap: f64,
    /// A renewal finds its lease gone, with its entries.
    pub lease_lost: f64,
    /// The longest that a call takes; how long one does is drawn evenly.
    pub delay: Duration,
}

/// How one commit goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// Nothing is written, and the caller is told so.
    Refused,
    /// It is written, and the caller is not told.
    Unheard,
}

struct Inner {
    state: Mutex<State>,
    watchers: Watchers,
}

type Entries = BTreeMap<String, Entry>;

struct State {
    entries: Arc<Entries>,
    /// What was there before the writes that a crash undoes.
    undone: BTreeMap<String, Option<Entry>>,
    revision: Revision,
    kept: Vec<(Revision, Arc<Entries>)>,
    leases: HashMap<LeaseId, Held>,
    leased: BTreeMap<String, LeaseId>,
    last_lease: i64,
    writes: Writes,
    /// Whether a crash undoes nothing but what is under a lease.
    durable: bool,
}

struct Held {
    ttl: Duration,
    until: Instant,
}

/// What has been written so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Commits, however many transactions they had.
    pub commits: u64,
    /// Transactions that were applied.
    pub txns: u64,
    /// Bytes of the keys and values that were written.
    pub bytes: u64,
}

impl MemoryStore {
    /// Makes an empty store in which what is drawn at random follows from `seed`. Within a tokio runtime.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            entries: Arc::default(),
            undone: BTreeMap::new(),
            revision: 0,
            kept: Vec::new(),
            leases: HashMap::new(),
            leased: BTreeMap::new(),
            last_lease: 0,
            writes: Writes::default(),
            durable: false,
        };
        let inner = Arc::new(Inner { state: Mutex::new(state), watchers: Watchers::new(0) });
        tokio::spawn(tell_progress(Arc::downgrade(&inner)));
        Self { inner, way: Way::new(seed) }
    }

    /// Makes one that forgets nothing, as a store of several machines does not.
    #[must_use]
    pub fn durable(seed: u64) -> Self {
        let store = Self::new(seed);
        store.state().durable = true;
        store
    }

    /// Returns a store of the same entries that has faults of its own, as another process does.
    #[must_use]
    pub fn on_another_way(&self, seed: u64) -> Self {
        Self { inner: Arc::clone(&self.inner), way: Way::new(seed) }
    }

    /// Has calls fail from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.way().faults = faults;
    }

    /// Has the next commits on this way go wrong, one for each.
    pub fn plan(&self, faults: &[CommitFault]) {
        self.way().planned.extend(faults);
    }

    /// Undoes what a crash of the machine undoes: relaxed writes after the last durable one, and what is under a lease.
    /// Who still watches is told to list again.
    pub fn crash(&self) {
        let state = &mut *self.state();
        state.revision += 1;
        let entries = Arc::make_mut(&mut state.entries);
        for (key, before) in std::mem::take(&mut state.undone) {
            match before {
                Some(entry) => entries.insert(key, entry),
                None => entries.remove(&key),
            };
        }
        for key in std::mem::take(&mut state.leased).into_keys() {
            entries.remove(&key);
        }
        state.leases.clear();
        state.kept.clear();
        self.inner.watchers.resync(state.revision);
    }

    /// Returns what has been written so far.
    #[must_use]
    pub fn writes(&self) -> Writes {
        self.state().writes
    }

    /// Has every watch list again, as after a compaction.
    pub fn resync(&self) {
        let revision = self.state().revision;
        self.inner.watchers.resync(revision);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state()
    }

    fn way(&self) -> MutexGuard<'_, Way> {
        lock(&self.way)
    }

    /// Takes its time, and may say that the store cannot be reached.
    async fn reach(&self) -> Result<(), Error> {
        reach(&self.way).await
    }
}

impl Way {
    fn new(seed: u64) -> Arc<Mutex<Self>> {
        let (faults, planned, random) = (Faults::default(), VecDeque::new(), fastrand::Rng::with_seed(seed));
        Arc::new(Mutex::new(Self { faults, planned, random }))
    }

    fn draw(&mut self, probability: impl Fn(&Faults) -> f64) -> bool {
        let probability = probability(&self.faults);
        probability > 0.0 && self.random.f64() < probability
    }
}

async fn reach(way: &Mutex<Way>) -> Result<(), Error> {
    let (delay, away) = {
        let way = &mut *lock(way);
        let delay = way.faults.delay.mul_f64(way.random.f64());
        (delay, way.draw(|faults| faults.unavailable))
    };
    if !delay.is_zero() {
        sleep(delay).await;
    }
    if away { Err(unavailable(false)) } else { Ok(()) }
}

#[async_trait]
impl MetadataStore for MemoryStore {
    fn limits(&self) -> Limits {
        Limits { forgets_relaxed: !self.state().durable, ..LIMITS }
    }

    async fn read(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, Error> {
        self.reach().await?;
        let state = self.state();
        Ok(keys.iter().map(|key| state.entries.get(key).cloned()).collect())
    }

    async fn range(&self, range: Range) -> Result<Page, Error> {
        self.reach().await?;
        let mut state = self.state();
        let revision = range.at.unwrap_or(state.revision);
        let entries = match revision == state.revision {
            true => Some(Arc::clone(&state.entries)),
            false => state.kept.iter().find(|(kept, _)| *kept == revision).map(|(_, entries)| Arc::clone(entries)),
        };
        let entries = entries.ok_or(Error::Compacted)?;
        let from = match &range.after {
            Some(after) if *after >= range.prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(range.prefix.as_str()),
        };
        let found = entries.range::<str, _>((from, Bound::Unbounded)).map(|(_, entry)| entry);
        let mut found = found.take_while(|entry| entry.key.starts_with(&range.prefix));
        let page = found.by_ref().take(range.limit).cloned().collect();
        let more = found.next().is_some();
        if more {
            state.kept.retain(|(kept, _)| *kept != revision);
            state.kept.push((revision, entries));
            if state.kept.len() > KEPT {
                state.kept.remove(0);
            }
        }
        Ok(Page { entries: page, revision, more })
    }

    async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<TxnOutcome>, Error> {
        txn::check(&txns, &LIMITS)?;
        self.reach().await?;
        if txns.is_empty() {
            return Ok(Vec::new());
        }
        let way = &mut *self.way();
        match way.planned.pop_front() {
            None => {}
            Some(CommitFault::Refused) => return Err(unavailable(false)),
            Some(CommitFault::Unheard) => {
                self.inner.apply(way, &txns)?;
                return Err(unavailable(true));
            }
        }
        let unknown = way.draw(|faults| faults.unknown_outcome);
        if unknown && way.random.bool() {
            return Err(unavailable(true));
        }
        let outcomes = self.inner.apply(way, &txns)?;
        if unknown { Err(unavailable(true)) } else { Ok(outcomes) }
    }

    async fn watch(&self, prefix: &str, after: Option<Revision>) -> Result<Watch, Error> {
        self.reach().await?;
        Ok(self.inner.watchers.watch(prefix, after).boxed())
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
        let asked = Instant::now();
        self.reach().await?;
        let id = {
            let state = &mut *self.state();
            state.last_lease += 1;
            let id = LeaseId(state.last_lease);
            state.leases.insert(id, Held { ttl, until: Instant::now() + ttl });
            id
        };
        tokio::spawn(end_when_due(Arc::downgrade(&self.inner), id));
        Ok(Lease::keep(id, ttl, asked, Renew { store: Arc::downgrade(&self.inner), way: Arc::clone(&self.way), id }))
    }
}

impl State {
    fn compared(&self, txn: &Txn) -> Vec<Option<Entry>> {
        txn.compares.iter().map(|compare| self.entries.get(compare.key()).cloned()).collect()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn apply(&self, way: &mut Way, txns: &[Txn]) -> Result<Vec<TxnOutcome>, Error> {
        let state = &mut *self.state();
        let mut named = txns.iter().flat_map(|txn| &txn.ops).filter_map(|op| match op {
            Op::Put { lease, .. } => *lease,
            Op::Delete(_) | Op::DeletePrefix(_) => None,
        });
        if named.any(|lease| !state.leases.contains_key(&lease)) {
            return Err(Error::NoLease);
        }
        let gap = way.draw(|faults| faults.gap);
        state.writes.commits += 1;
        let mut outcomes = Vec::with_capacity(txns.len());
        let mut changes = Vec::new();
        for txn in txns {
            let holds = |compare: &txn::Compare| compare.holds(state.entries.get(compare.key()).map(|it| it.revision));
            let held = txn.compares.iter().all(holds);
            if !held || (!txn.compares.is_empty() && way.draw(|faults| faults.conflict)) {
                outcomes.push(TxnOutcome::Conflict(state.compared(txn)));
                continue;
            }
            state.revision += 1;
            state.writes.txns += 1;
            let mut events = Vec::new();
            for op in &txn.ops {
                state.apply(op, &mut events);
            }
            if txn.durability == Durability::Durable || state.durable {
                state.undone.clear();
            }
            events.sort_by(|left: &Event, right| left.key().cmp(right.key()));
            changes.append(&mut events);
            outcomes.push(TxnOutcome::Committed(state.revision));
        }
        // Published under the lock, so that the order is that of the commits.
        match gap {
            true => self.watchers.resync(state.revision),
            false => self.watchers.publish(changes),
        }
        Ok(outcomes)
    }

    fn end(&self, lease: LeaseId) {
        let state = &mut *self.state();
        if state.leases.remove(&lease).is_none() {
            return;
        }
        let mut events = Vec::new();
        state.revision += 1;
        let keys: Vec<String> =
            state.leased.iter().filter(|(_, held)| **held == lease).map(|(key, _)| key.clone()).collect();
        for key in keys {
            state.apply(&Op::Delete(key), &mut events);
        }
        self.watchers.publish(events);
    }
}

impl State {
    fn apply(&mut self, op: &Op, events: &mut Vec<Event>) {
        let revision = self.revision;
        let entries = Arc::make_mut(&mut self.entries);
        let undone = &mut self.undone;
        match op {
            Op::Put { key, value, lease } => {
                self.writes.bytes += (key.len() + value.len()) as u64;
                let entry = Entry { key: key.clone(), value: value.clone(), revision };
                let before = entries.insert(key.clone(), entry.clone());
                undone.entry(key.clone()).or_insert(before);
                match lease {
                    Some(lease) => self.leased.insert(key.clone(), *lease),
                    None => self.leased.remove(key),
                };
                events.push(Event::Put(entry));
            }
            Op::Delete(key) => {
                self.leased.remove(key);
                if let Some(before) = entries.remove(key) {
                    undone.entry(key.clone()).or_insert(Some(before));
                    events.push(Event::Delete { key: key.clone(), revision });
                }
            }
            Op::DeletePrefix(prefix) => {
                let within = entries.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
                let keys: Vec<String> =
                    within.map(|(key, _)| key.clone()).take_while(|key| key.starts_with(prefix)).collect();
                for key in keys {
                    let before = entries.remove(&key);
                    undone.entry(key.clone()).or_insert(before);
                    self.leased.remove(&key);
                    events.push(Event::Delete { key, revision });
                }
            }
        }
    }
}

struct Renew {
    store: Weak<Inner>,
    way: Arc<Mutex<Way>>,
    id: LeaseId,
}

#[async_trait]
impl Renewal for Renew {
    async fn renew(&self) -> Result<bool, Error> {
        let Some(inner) = self.store.upgrade() else { return Ok(false) };
        reach(&self.way).await?;
        if lock(&self.way).draw(|faults| faults.lease_lost) {
            inner.end(self.id);
        }
        let state = &mut *inner.state();
        let held = state.leases.get_mut(&self.id);
        Ok(held.map(|held| held.until = Instant::now() + held.ttl).is_some())
    }

    async fn revoke(&self) {
        let Some(inner) = self.store.upgrade() else { return };
        if reach(&self.way).await.is_ok() {
            inner.end(self.id);
        }
    }
}

async fn end_when_due(store: Weak<Inner>, lease: LeaseId) {
    loop {
        let until = store.upgrade().and_then(|inner| inner.state().leases.get(&lease).map(|held| held.until));
        let Some(until) = until else { return };
        if until > Instant::now() {
            sleep_until(until).await;
        } else if let Some(inner) = store.upgrade() {
            inner.end(lease);
        }
    }
}

async fn tell_progress(store: Weak<Inner>) {
    loop {
        sleep(PROGRESS).await;
        let Some(inner) = store.upgrade() else { return };
        let state = inner.state();
        inner.watchers.progress(state.revision);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unavailable(maybe_done: bool) -> Error {
    Error::Unavailable { maybe_done, reason: "a test wants it so".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn memory_keeps_the_contract() {
        crate::testing::run_conformance(|| async { MemoryStore::new(1) }).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_undoes_what_was_written_relaxed_since_the_last_durable_write() {
        let store = MemoryStore::new(1);
        let value = |text: &'static str| bytes::Bytes::from_static(text.as_bytes());
        let keys = ["kept", "changed", "made", "deleted"].map(str::to_owned);
        store.txn(Txn::default().put("kept", "relaxed, then synced").relaxed()).await.unwrap();
        for key in ["changed", "deleted"] {
            store.put(key, value("durable")).await.unwrap();
        }
        let before = store.read(&keys).await.unwrap();
        for text in ["one", "two"] {
            store.txn(Txn::default().put("changed", text).put("made", text).relaxed()).await.unwrap();
        }
        store.txn(Txn::default().delete("deleted").relaxed()).await.unwrap();
        let mut watch = store.watch("", None).await.unwrap();
        store.crash();
        assert_eq!(store.read(&keys).await.unwrap(), before);
        assert_eq!(watch.next().await, Some(Event::Resync));
        store.crash();
        assert_eq!(store.read(&keys).await.unwrap(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn a_planned_fault_happens_to_the_next_commit_and_to_no_other() {
        let store = MemoryStore::new(1);
        store.plan(&[CommitFault::Refused, CommitFault::Unheard]);
        for (maybe, written) in [(false, false), (true, true)] {
            let told = store.put("key", bytes::Bytes::new()).await;
            assert!(matches!(told, Err(Error::Unavailable { maybe_done, .. }) if maybe_done == maybe), "{told:?}");
            assert_eq!(store.get("key").await.unwrap().is_some(), written);
        }
        store.put("key", bytes::Bytes::new()).await.unwrap();
    }
}
