//! Hands committed changes to those who watch, without ever waiting for them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use futures::Stream;
use futures::task::AtomicWaker;

use crate::metadata::Event;

/// Events that a slow watcher may have outstanding before they are replaced by one [`Event::Resync`].
const OUTSTANDING: usize = 1024;

/// The watchers of one store.
#[derive(Clone, Default)]
pub struct Watchers {
    /// By the length of the watched prefix, so that a change looks up one prefix of its key for each length, and by
    /// the prefix.
    watched: Arc<Mutex<BTreeMap<usize, Queues>>>,
}

type Queues = HashMap<String, Vec<Weak<Queue>>>;

impl Watchers {
    /// Registers a watcher of every key that begins with `prefix`. Dropping the stream ends it.
    pub fn watch(&self, prefix: &str) -> Watcher {
        let queue = Arc::new(Queue::default());
        let mut watched = lock(&self.watched);
        let queues = watched.entry(prefix.len()).or_default().entry(prefix.to_owned()).or_default();
        queues.push(Arc::downgrade(&queue));
        Watcher { queue, prefix: prefix.to_owned(), watchers: self.clone() }
    }

    /// Delivers one change.
    pub fn publish(&self, event: Event) {
        let key = event.key();
        for (length, prefixes) in lock(&self.watched).iter() {
            let queues = key.get(..*length).and_then(|prefix| prefixes.get(prefix));
            for queue in queues.into_iter().flatten().filter_map(Weak::upgrade) {
                queue.push(event.clone());
            }
        }
    }

    /// Tells every watcher to list again.
    pub fn resync(&self) {
        for queue in lock(&self.watched).values().flat_map(HashMap::values).flatten().filter_map(Weak::upgrade) {
            queue.push(Event::Resync);
        }
    }

    /// Removes the watchers of `prefix` that are gone.
    fn forget(&self, prefix: &str) {
        let mut watched = lock(&self.watched);
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
}

impl Queue {
    fn push(&self, event: Event) {
        let mut events = lock(&self.events);
        if events.len() < OUTSTANDING {
            events.push_back(event);
        } else {
            events.clear();
            events.push_back(Event::Resync);
        }
        drop(events);
        self.waker.wake();
    }
}

/// Takes a lock whose data stays valid even if a holder panicked: each critical section here is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
