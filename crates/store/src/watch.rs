//! Hands committed changes to those who watch, without ever waiting for them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::task::AtomicWaker;

use crate::metadata::{Event, Revision};

/// Events that a slow watcher may have outstanding before they are replaced by one [`Event::Resync`].
const OUTSTANDING: usize = 1024;

/// Past changes that are kept for those who begin to watch at an earlier revision.
const RECENT: usize = 4096;
const RECENT_BYTES: usize = 4 << 20;

/// How often a watch says that it is alive.
pub const PROGRESS: Duration = Duration::from_secs(2);

/// The watchers of one store.
#[derive(Clone)]
pub struct Watchers {
    state: Arc<Mutex<State>>,
}

struct State {
    /// By the length of the watched prefix, so that a change looks up one prefix of its key for each length, and by
    /// the prefix.
    watched: BTreeMap<usize, Queues>,
    recent: VecDeque<Event>,
    recent_bytes: usize,
    /// Every change after this one is among the recent ones.
    floor: Revision,
}

type Queues = HashMap<String, Vec<Weak<Queue>>>;

impl Watchers {
    /// Makes the watchers of a store of which everything after `revision` will be told.
    pub fn new(revision: Revision) -> Self {
        let (watched, recent) = (BTreeMap::new(), VecDeque::new());
        Self { state: Arc::new(Mutex::new(State { watched, recent, recent_bytes: 0, floor: revision })) }
    }

    /// Registers a watcher of every key that begins with `prefix`. Dropping the stream ends it.
    pub fn watch(&self, prefix: &str, after: Option<Revision>) -> Watcher {
        let queue = Arc::new(Queue { after: after.unwrap_or(0).into(), ..Queue::default() });
        let mut state = lock(&self.state);
        match after {
            Some(after) if after < state.floor => queue.push(Event::Resync),
            Some(_) => {
                for event in state.recent.iter().filter(|event| event.key().starts_with(prefix)) {
                    queue.push(event.clone());
                }
            }
            None => {}
        }
        let queues = state.watched.entry(prefix.len()).or_default().entry(prefix.to_owned()).or_default();
        queues.push(Arc::downgrade(&queue));
        Watcher { queue, prefix: prefix.to_owned(), watchers: self.clone() }
    }

    /// Delivers changes, which are in the order of their revisions, and within one in that of their keys. Whoever watches is
    /// woken once, when all of them are there: to wake a thread costs more than to tell it something.
    pub fn publish(&self, events: Vec<Event>) {
        let mut told: Vec<Arc<Queue>> = Vec::new();
        let mut state = lock(&self.state);
        for event in events {
            let key = event.key();
            for (length, prefixes) in &state.watched {
                let queues = key.get(..*length).and_then(|prefix| prefixes.get(prefix));
                for queue in queues.into_iter().flatten().filter_map(Weak::upgrade) {
                    if queue.put(event.clone()) {
                        told.push(queue);
                    }
                }
            }
            state.remember(event);
        }
        drop(state);
        told.iter().for_each(|queue| queue.waker.wake());
    }

    /// Tells every watcher that it is alive, at `revision`.
    pub fn progress(&self, revision: Revision) {
        lock(&self.state).queues().for_each(|queue| queue.push_progress(revision));
    }

    /// Tells every watcher to list again: what comes from now on is all that comes after `revision`, which may be before what
    /// was told.
    pub fn resync(&self, revision: Revision) {
        let mut state = lock(&self.state);
        state.recent.clear();
        state.recent_bytes = 0;
        state.floor = revision;
        state.queues().for_each(|queue| {
            queue.after.fetch_min(revision, Ordering::Relaxed);
            queue.push(Event::Resync);
        });
    }

    /// Removes the watchers of `prefix` that are gone.
    fn forget(&self, prefix: &str) {
        let watched = &mut lock(&self.state).watched;
        let Some(prefixes) = watched.get_mut(&prefix.len()) else { return };
        if let Some(queues) = prefixes.get_mut(prefix) {
            queues.retain(|queue| queue.strong_count() > 0);
            if queues.is_empty() {
                prefixes.remove(prefix);
            }
        }
        if prefixes.is_empty() {
            watched.remove(&prefix.len());
        }
    }
}

impl State {
    fn queues(&self) -> impl Iterator<Item = Arc<Queue>> {
        self.watched.values().flat_map(HashMap::values).flatten().filter_map(Weak::upgrade)
    }

    fn remember(&mut self, event: Event) {
        self.recent_bytes += size(&event);
        self.recent.push_back(event);
        while self.recent.len() > RECENT || self.recent_bytes > RECENT_BYTES {
            let Some(oldest) = self.recent.pop_front() else { return };
            self.recent_bytes -= size(&oldest);
            self.floor = oldest.revision();
        }
    }
}

/// Returns how many bytes a change holds.
pub fn size(event: &Event) -> usize {
    match event {
        Event::Put(entry) => entry.key.len() + entry.value.len(),
        other => other.key().len(),
    }
}

/// The receiving end: a stream of events that does not end.
pub struct Watcher {
    queue: Arc<Queue>,
    prefix: String,
    watchers: Watchers,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.queue = Arc::default();
        self.watchers.forget(&self.prefix);
    }
}

impl Stream for Watcher {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        // Register before looking, so that a change between the two is not slept through.
        self.queue.waker.register(context.waker());
        match lock(&self.queue.events).pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None => Poll::Pending,
        }
    }
}

#[derive(Default)]
struct Queue {
    events: Mutex<VecDeque<Event>>,
    waker: AtomicWaker,
    /// Changes up to here are not wanted.
    after: AtomicU64,
}

impl Queue {
    fn push(&self, event: Event) {
        self.put(event);
        self.waker.wake();
    }

    /// Adds an event without waking anybody. Returns whether it is the first that is to be read.
    fn put(&self, event: Event) -> bool {
        if matches!(&event, Event::Put(_) | Event::Delete { .. })
            && event.revision() <= self.after.load(Ordering::Relaxed)
        {
            return false;
        }
        let mut events = lock(&self.events);
        let first = events.is_empty();
        if events.len() >= OUTSTANDING || event == Event::Resync {
            events.clear();
            events.push_back(Event::Resync);
        } else {
            events.push_back(event);
        }
        first
    }

    /// Who has something to read knows already that the watch is alive.
    fn push_progress(&self, revision: Revision) {
        let mut events = lock(&self.events);
        if events.is_empty() {
            events.push_back(Event::Progress(revision));
            drop(events);
            self.waker.wake();
        }
    }
}

/// Takes a lock whose data stays valid even if a holder panicked: each critical section here is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
