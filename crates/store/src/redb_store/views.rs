//! What readers see: the state after the last commit, and for a while those that listings began at.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::file::View;
use crate::metadata::{Page, Range};

/// How long a state stays that a listing was last read from. It keeps its part of the file from being used again.
const KEPT: Duration = Duration::from_secs(30);
/// How many such states there are at most; the one that was not used for the longest time goes first.
const KEPT_VIEWS: usize = 8;

/// The states that can be read.
pub struct Views {
    /// After the last commit. Kept open, for opening it takes longer than reading. `None` where the file could not be
    /// opened afresh after a failure. The lock is held for one read, or one page, at a time.
    current: RwLock<Option<View>>,
    kept: Mutex<Vec<(View, Instant)>>,
}

impl Views {
    pub fn new(view: View) -> Self {
        Self { current: RwLock::new(Some(view)), kept: Mutex::default() }
    }

    /// Runs a read on what was last committed. It comes from memory in microseconds, so it runs where it is called.
    pub fn read<T>(&self, read: impl FnOnce(&View) -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map_or(Err(redb::Error::PreviousIo), read)
    }

    /// Reads a page, at the revision that the range names; `None` where that is no longer kept.
    pub fn page(&self, range: &Range) -> Result<Option<Page>, redb::Error> {
        // While it is held, the file is not opened afresh: kept states would stand in the way of that.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let Some(current) = current.as_ref() else { return Err(redb::Error::PreviousIo) };
        let view = match range.at {
            None => Some(current.clone()),
            Some(at) if at == current.revision => Some(current.clone()),
            Some(at) => self.kept().iter().find(|(view, _)| view.revision == at).map(|(view, _)| view.clone()),
        };
        let Some(view) = view else { return Ok(None) };
        let page = view.page(range)?;
        if page.more {
            self.keep(view);
        }
        Ok(Some(page))
    }

    /// Shows a newer state.
    pub fn show(&self, view: View) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(view);
        self.let_go();
    }

    /// Runs `reopen` while nobody can read, with all states let go; shows what it returns.
    pub fn renew<E>(&self, reopen: impl FnOnce() -> Result<View, E>) -> Result<(), E> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = None;
        self.kept().clear();
        *current = Some(reopen()?);
        Ok(())
    }

    /// Lets go of states that nobody has read for a while.
    pub fn let_go(&self) {
        self.kept().retain(|(_, used)| used.elapsed() < KEPT);
    }

    fn keep(&self, view: View) {
        let mut kept = self.kept();
        kept.retain(|(other, used)| other.revision != view.revision && used.elapsed() < KEPT);
        if kept.len() >= KEPT_VIEWS {
            kept.remove(0);
        }
        kept.push((view, Instant::now()));
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(View, Instant)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
