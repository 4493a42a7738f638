//! Memory that several share: the jobs of a process, or what its engines keep.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Jobs take memory of the pool in pieces of so many bytes, and give it back when they hold two less.
const PIECE: u64 = 4 << 20;

/// Bytes that several may hold together. Clones are the same pool.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: AtomicU64,
    taken: AtomicU64,
}

/// What one job, or a thread that works for it, has of a pool, until it is dropped.
#[derive(Debug)]
pub struct Share {
    pool: Pool,
    held: Mutex<u64>,
}

/// Why a pool has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// Others hold what is asked for.
    Now,
    /// There is less in all.
    Never,
}

impl Default for Pool {
    /// Makes a pool in which there is always room.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl Pool {
    /// Makes a pool of so many bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Inner { limit: AtomicU64::new(limit), taken: AtomicU64::new(0) }))
    }

    /// Sets how many bytes there are. What is taken stays taken.
    pub fn set_limit(&self, limit: u64) {
        self.0.limit.store(limit, Ordering::Relaxed);
    }

    /// Returns how many bytes there are.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Returns how many bytes are taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// Returns the part of one job, of which nothing is taken.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { pool: self.clone(), held: Mutex::new(0) }
    }

    /// Takes so many bytes, which are there already, whether there is room for them or not.
    #[must_use]
    pub fn note(&self, bytes: u64) -> Share {
        self.0.taken.fetch_add(bytes, Ordering::Relaxed);
        Share { pool: self.clone(), held: Mutex::new(bytes) }
    }

    /// Takes bytes, if there are so many left.
    #[must_use]
    pub fn take(&self, bytes: u64) -> bool {
        let limit = self.limit();
        let fits = |taken: u64| taken.checked_add(bytes).filter(|all| *all <= limit);
        self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Gives back bytes that were taken.
    pub fn give_back(&self, bytes: u64) {
        self.0.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Share {
    /// Returns what it is a share of.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.pool.clone()
    }

    /// Sees to it that the job has so many bytes of the pool, and not many more.
    ///
    /// # Errors
    /// [`Short`]; then it has what it had.
    pub fn cover(&self, bytes: u64) -> Result<(), Short> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes > self.pool.limit() {
            return Err(Short::Never);
        }
        let wanted = bytes.div_ceil(PIECE).saturating_mul(PIECE);
        if bytes > *held {
            // Where a whole piece is no longer there, less may do.
            let wanted = [wanted, bytes].into_iter().find(|wanted| self.pool.take(wanted - *held)).ok_or(Short::Now)?;
            *held = wanted;
        } else if *held >= wanted.saturating_add(2 * PIECE) {
            self.pool.give_back(*held - wanted);
            *held = wanted;
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.give_back(*self.held.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is() {
        let pool = Pool::new(10);
        assert!(pool.take(6) && !pool.take(5) && pool.take(4) && !pool.take(1) && !pool.take(u64::MAX));
        pool.give_back(6);
        assert!(pool.take(5));
        assert_eq!(pool.taken(), 9);
    }

    #[test]
    fn jobs_take_what_they_hold_and_are_told_whether_there_could_be_more() {
        let pool = Pool::new(10 * PIECE);
        let (one, two) = (pool.share(), pool.share());
        assert_eq!(one.cover(10 * PIECE + 1), Err(Short::Never));
        one.cover(6 * PIECE).unwrap();
        two.cover(PIECE + 1).unwrap();
        assert_eq!(pool.taken(), 8 * PIECE);
        assert_eq!(two.cover(4 * PIECE + 1), Err(Short::Now));
        two.cover(4 * PIECE).unwrap();
        assert_eq!(pool.taken(), 10 * PIECE);
        // A little less is not given back, for it is soon a little more.
        one.cover(5 * PIECE).unwrap();
        assert_eq!(pool.taken(), 10 * PIECE);
        one.cover(1).unwrap();
        assert_eq!(pool.taken(), 5 * PIECE);
        drop(two);
        assert_eq!(pool.taken(), PIECE);
        pool.set_limit(PIECE + 1);
        one.cover(PIECE + 1).unwrap();
        assert_eq!((pool.taken(), pool.share().cover(1)), (PIECE + 1, Err(Short::Now)));
        let noted = pool.note(100);
        assert_eq!(pool.taken(), PIECE + 101);
        drop((one, noted));
        assert_eq!(pool.taken(), 0);
    }
}
