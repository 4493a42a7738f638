//! What an engine may take of its machine, and how long one job may keep others waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use interpreter::Pool;

/// The settings of an engine. The defaults are for tests: a worker has its own.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a job's own code may keep those waiting that it shares passes with. Where only steps count, what shares a
    /// pass does not depend on the machine, and neither do last bits.
    pub slice: Duration,
    /// Tokens of one forward pass beyond which no further trace joins it.
    pub pass_tokens: i64,
    /// Tokens of one pass beyond which no other job joins it, [`Settings::pass_tokens`] at most. Where more together are no
    /// less work, fewer have each wait for less.
    pub shared_tokens: i64,
    /// Tokens of a pass beyond which it gives way to shorter ones between two layers.
    pub long_tokens: i64,
    /// Bytes of one forward pass, as the model estimates them, beyond which no further trace joins it.
    pub pass_bytes: u64,
    /// Bytes of all passes together that give way to others, and are under way at one time. One that takes more has them
    /// to itself.
    pub long_bytes: u64,
    /// What is kept of rows for later passes: engines of one worker have one budget.
    pub kept: Arc<Budget>,
    /// What jobs hold together: engines of one worker have one pool.
    pub memory: Pool,
    /// Traces of one session that wait for each other at most: their states are held together.
    pub waiting_traces: usize,
    /// Jobs and passes that have a stack of their own at one time; further ones wait. A tenant has a quarter of them.
    pub lanes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            slice: Duration::from_millis(25),
            pass_tokens: 4096,
            shared_tokens: 4096,
            long_tokens: 4096,
            pass_bytes: 2 << 30,
            long_bytes: 4 << 30,
            kept: Arc::new(Budget::new(1 << 30)),
            memory: Pool::default(),
            waiting_traces: 1024,
            lanes: 64,
        }
    }
}

/// Bytes that several engines may keep together.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    taken: AtomicU64,
}

impl Budget {
    /// Makes a budget of which nothing is taken.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { limit, taken: AtomicU64::new(0) }
    }

    /// Returns all bytes that there are.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the bytes that are taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes bytes, if there are so many left.
    #[must_use]
    pub fn take(&self, bytes: u64) -> bool {
        let more = |taken: u64| taken.checked_add(bytes).filter(|all| *all <= self.limit);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Gives back bytes that were taken.
    pub fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is() {
        let budget = Budget::new(10);
        assert!(budget.take(6) && !budget.take(5) && budget.take(4) && !budget.take(1) && !budget.take(u64::MAX));
        budget.give_back(6);
        assert!(budget.take(5));
        assert_eq!(budget.taken(), 9);
    }
}
