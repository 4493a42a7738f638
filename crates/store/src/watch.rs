//! Hands committed changes to those who watch, without ever waiting for them.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use futures::Stream;
use futures::task::AtomicWaker;

use crate::metadata::Event;

/// Events that a slow watcher may have outstanding before they are replaced by one [`Event::Resync`].
const OUTSTANDING: usize = 1024;

/// The watchers of one store, by prefix.
#[derive(Default)]
pub struct Watchers {
    by_prefix: Mutex<HashMap<String, Vec<Weak<Queue>>>>,
}

impl Watchers {
    /// Registers a watcher of every key that begins with `prefix`. Dropping the stream ends it.
    pub fn watch(&self, prefix: &str) -> Watcher {
        let queue = Arc::new(Queue::default());
        let mut by_prefix = lock(&self.by_prefix);
        by_prefix.retain(|_, queues| {
            queues.retain(|queue| queue.strong_count() > 0);
            !queues.is_empty()
        });
        by_prefix.entry(prefix.to_owned()).or_default().push(Arc::downgrade(&queue));
        Watcher { queue }
    }

    /// Delivers one change of `key`.
    pub fn publish(&self, key: &str, event: &Event) {
        let by_prefix = lock(&self.by_prefix);
        for end in 0..=key.len() {
            let queues = key.get(..end).and_then(|prefix| by_prefix.get(prefix));
            for queue in queues.into_iter().flatten().filter_map(Weak::upgrade) {
                queue.push(event.clone());
            }
        }
    }
}

/// The receiving end: a stream of events that does not end.
pub struct Watcher {
    queue: Arc<Queue>,
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
