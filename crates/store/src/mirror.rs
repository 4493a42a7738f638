//! Entries kept in memory as the store has them: for what every request needs and little ever changes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::watch::Sender;
use tokio::time::{Instant, sleep, timeout};

use crate::error::Error;
use crate::metadata::{Entry, Event, MetadataStore, Revision};

/// How long what is shown is trusted after the watch last said that it is alive, or a listing began. A change is shown
/// everywhere sooner than that, or is read from the store.
const TRUST: Duration = Duration::from_secs(4);

/// Silence of a watch after which everything is listed: time enough before what is shown is no longer trusted.
const SILENCE: Duration = Duration::from_secs(3);

/// How long a store that failed is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// The entries under a prefix, each read once. Clones share them.
///
/// Somebody has to poll [`Mirror::keep`]; what is not kept is [`Unsure`] of everything.
pub struct Mirror<V> {
    store: Arc<dyn MetadataStore>,
    prefix: Arc<str>,
    read: fn(&Entry) -> Option<V>,
    shared: Arc<Shared<V>>,
}

/// The mirror cannot tell: the store has to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsure;

struct Shared<V> {
    shown: RwLock<Shown<V>>,
    /// Every change under the prefix up to here is shown.
    revision: Sender<Revision>,
    /// Who polls [`Mirror::keep`].
    keepers: AtomicUsize,
}

struct Shown<V> {
    /// `None` for an entry that this version cannot read.
    entries: BTreeMap<String, Option<Arc<V>>>,
    trusted: Option<Instant>,
}

impl<V> Clone for Mirror<V> {
    fn clone(&self) -> Self {
        let Self { store, prefix, read, shared } = self;
        Self { store: Arc::clone(store), prefix: Arc::clone(prefix), read: *read, shared: Arc::clone(shared) }
    }
}

impl<V: Send + Sync + 'static> Mirror<V> {
    /// Views the entries whose keys begin with `prefix`. `read` returns nothing for what this version cannot read.
    #[must_use]
    pub fn new(store: Arc<dyn MetadataStore>, prefix: &str, read: fn(&Entry) -> Option<V>) -> Self {
        let shown = RwLock::new(Shown { entries: BTreeMap::new(), trusted: None });
        let shared = Shared { shown, revision: Sender::new(0), keepers: AtomicUsize::new(0) };
        Self { store, prefix: prefix.into(), read, shared: Arc::new(shared) }
    }

    /// Returns the entry under `key`.
    ///
    /// # Errors
    /// [`Unsure`], also of an entry that this version cannot read.
    pub fn get(&self, key: &str) -> Result<Option<Arc<V>>, Unsure> {
        match self.trusted()?.entries.get(key) {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(Arc::clone(value))),
            Some(None) => Err(Unsure),
        }
    }

    /// Returns all entries that this version can read, in the order of their keys.
    ///
    /// # Errors
    /// [`Unsure`].
    pub fn all(&self) -> Result<Vec<Arc<V>>, Unsure> {
        Ok(self.trusted()?.entries.values().flatten().cloned().collect())
    }

    /// Waits until what was written under the prefix at `revision` is shown, if somebody keeps this mirror; and for no
    /// longer than something older could be.
    pub async fn shows(&self, revision: Revision) {
        if self.shared.keepers.load(Ordering::Relaxed) > 0 {
            let mut shown = self.shared.revision.subscribe();
            // The sender is ours. Where the time is over, nothing that is shown is trusted.
            let _ = timeout(TRUST, shown.wait_for(|shown| *shown >= revision)).await;
        }
    }

    /// Keeps it as the store has it, for as long as it is polled.
    pub async fn keep(&self) -> Infallible {
        let _keeper = Keeper::new(&self.shared.keepers);
        loop {
            let Err(error) = self.follow().await;
            tracing::warn!(%error, prefix = %self.prefix, "cannot follow entries of the store; trying again");
            sleep(PAUSE).await;
        }
    }

    async fn follow(&self) -> Result<Infallible, Error> {
        // Begun before the listing, so that no change falls between the two.
        let mut watch = self.store.watch(&self.prefix, None).await?;
        let mut listed = self.list().await?;
        loop {
            match timeout(SILENCE, watch.next()).await {
                Ok(Some(Event::Resync)) => {
                    self.write().trusted = None;
                    listed = self.list().await?;
                }
                Ok(Some(event)) => self.apply(&event, listed),
                Ok(None) => return Err(Error::Closed),
                Err(_) => listed = self.list().await?,
            }
        }
    }

    /// Reads what is there, and returns as of when.
    async fn list(&self) -> Result<Revision, Error> {
        let began = Instant::now();
        let page = self.store.snapshot(&self.prefix).await?;
        let entries = page.entries.iter().map(|entry| (entry.key.clone(), self.value(entry))).collect();
        *self.write() = Shown { entries, trusted: Some(began + TRUST) };
        self.shared.revision.send_replace(page.revision);
        Ok(page.revision)
    }

    /// Takes in what the watch told, unless a listing had it already.
    fn apply(&self, event: &Event, listed: Revision) {
        let mut shown = self.write();
        shown.trusted = Some(Instant::now() + TRUST);
        match event {
            Event::Put(entry) if entry.revision > listed => {
                shown.entries.insert(entry.key.clone(), self.value(entry));
            }
            Event::Delete { key, revision } if *revision > listed => {
                shown.entries.remove(key);
            }
            Event::Put(_) | Event::Delete { .. } | Event::Progress(_) | Event::Resync => return,
        }
        drop(shown);
        self.shared.revision.send_replace(event.revision());
    }

    fn value(&self, entry: &Entry) -> Option<Arc<V>> {
        (self.read)(entry).map(Arc::new)
    }

    fn trusted(&self) -> Result<RwLockReadGuard<'_, Shown<V>>, Unsure> {
        let shown = self.shared.shown.read().unwrap_or_else(PoisonError::into_inner);
        match shown.trusted {
            Some(until) if Instant::now() < until => Ok(shown),
            _ => Err(Unsure),
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shown<V>> {
        self.shared.shown.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts among those who keep a mirror until it is dropped.
struct Keeper<'a>(&'a AtomicUsize);

impl<'a> Keeper<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Faults, MemoryStore};
    use crate::txn::Txn;

    fn text(entry: &Entry) -> Option<String> {
        String::from_utf8(entry.value.to_vec()).ok()
    }

    /// Returns a mirror that is kept, and has read what is there.
    async fn kept(store: &MemoryStore) -> (Mirror<String>, tokio::task::JoinHandle<Infallible>) {
        let mirror = Mirror::new(Arc::new(store.clone()), "/k/", text);
        assert_eq!(mirror.get("/k/a"), Err(Unsure), "nothing was read yet");
        let keeping = tokio::spawn({
            let mirror = mirror.clone();
            async move { mirror.keep().await }
        });
        let mut shown = mirror.shared.revision.subscribe();
        shown.changed().await.unwrap();
        (mirror, keeping)
    }

    fn of(mirror: &Mirror<String>) -> Vec<String> {
        mirror.all().unwrap().iter().map(|value| value.to_string()).collect()
    }

    async fn put(store: &MemoryStore, key: &str, value: &'static [u8]) -> Revision {
        store.txn(Txn::default().put(key, value)).await.unwrap().committed().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn it_shows_what_was_there_and_what_is_written_and_removed_later() {
        let store = MemoryStore::new(1);
        put(&store, "/k/a", b"one").await;
        put(&store, "/other", b"two").await;
        let (mirror, _keeping) = kept(&store).await;
        assert_eq!(of(&mirror), ["one"]);
        mirror.shows(put(&store, "/k/b", b"two").await).await;
        assert_eq!(of(&mirror), ["one", "two"]);
        assert_eq!(mirror.get("/k/b").unwrap().as_deref(), Some(&"two".to_owned()));
        assert_eq!(mirror.get("/k/c"), Ok(None));
        let removed = store.txn(Txn::default().delete("/k/a")).await.unwrap().committed().unwrap();
        mirror.shows(removed).await;
        assert_eq!(of(&mirror), ["two"]);
        mirror.shows(put(&store, "/k/b", &[0xff]).await).await;
        assert_eq!((mirror.get("/k/b"), of(&mirror)), (Err(Unsure), vec![]), "who cannot read it asks the store");
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_in_the_watch_hides_nothing() {
        let store = MemoryStore::new(1);
        let (mirror, _keeping) = kept(&store).await;
        store.set_faults(Faults { gap: 1.0, ..Faults::default() });
        for (key, value) in [("/k/a", b"one"), ("/k/b", b"two")] {
            mirror.shows(put(&store, key, value).await).await;
        }
        mirror.shows(store.txn(Txn::default().delete("/k/a")).await.unwrap().committed().unwrap()).await;
        assert_eq!(of(&mirror), ["two"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_heard_of_for_a_while_is_not_told_until_the_store_is_back() {
        let store = MemoryStore::new(1);
        put(&store, "/k/a", b"one").await;
        let (mirror, keeping) = kept(&store).await;
        // However long nothing changes.
        sleep(Duration::from_secs(1000)).await;
        assert_eq!(of(&mirror), ["one"]);
        keeping.abort();
        sleep(TRUST).await;
        assert_eq!(mirror.all(), Err(Unsure));
        store.set_faults(Faults { unavailable: 1.0, ..Faults::default() });
        let _keeping = tokio::spawn({
            let mirror = mirror.clone();
            async move { mirror.keep().await }
        });
        sleep(Duration::from_secs(1000)).await;
        assert_eq!(mirror.all(), Err(Unsure));
        store.set_faults(Faults::default());
        sleep(PAUSE * 2).await;
        assert_eq!(of(&mirror), ["one"]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_mirror_that_nobody_keeps() {
        let store = MemoryStore::new(1);
        let mirror = Mirror::new(Arc::new(store.clone()), "/k/", text);
        let began = Instant::now();
        mirror.shows(put(&store, "/k/a", b"one").await).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
