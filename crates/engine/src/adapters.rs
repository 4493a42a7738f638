//! The adapters of a model, read from their files by a thread of their own, and kept for jobs that ask for them again.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use interpreter::raise::Raise;
use interpreter::{Machine, Pool};
use lru::LruCache;

use crate::adapter::Addition;

/// How long the model's thread waits for files before others have their turn.
const GLANCE: Duration = Duration::from_micros(500);

/// Adapters that are kept at most, whatever they weigh.
const MOST: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// An adapter that a model has.
pub struct Files {
    /// Another where the files have changed.
    pub stamp: String,
    /// Reads the files, on any thread.
    ///
    /// # Errors
    /// A sentence.
    pub read: Box<dyn FnOnce() -> Result<Vec<Addition>, String> + Send>,
}

/// What was read, within a budget.
pub struct Adapters {
    kept: LruCache<String, Kept>,
    budget: Pool,
    /// Whether one is being read: one after another, so that no more than one is in memory that nobody pays for.
    reading: bool,
}

struct Kept {
    stamp: String,
    bytes: u64,
    additions: Rc<[Addition]>,
}

impl Adapters {
    /// Makes a store of nothing.
    pub fn new(budget: Pool) -> Self {
        Self { kept: LruCache::new(MOST), budget, reading: false }
    }

    fn find(&mut self, name: &str, stamp: &str) -> Option<Rc<[Addition]>> {
        self.kept.get(name).filter(|kept| kept.stamp == stamp).map(|kept| Rc::clone(&kept.additions))
    }

    /// Keeps an adapter, and forgets for it those that were used longest ago.
    fn keep(&mut self, name: &str, stamp: String, additions: &Rc<[Addition]>) {
        let weigh = |one: &Addition| (one.down.bytes.len() + one.up.bytes.len()) as u64;
        let bytes = additions.iter().map(weigh).sum();
        if let Some(before) = self.kept.pop(name) {
            self.budget.give_back(before.bytes);
        }
        while !self.budget.take(bytes) {
            let Some((_, oldest)) = self.kept.pop_lru() else { return };
            self.budget.give_back(oldest.bytes);
        }
        let kept = Kept { stamp, bytes, additions: Rc::clone(additions) };
        if let Some((_, oldest)) = self.kept.push(name.to_owned(), kept) {
            self.budget.give_back(oldest.bytes);
        }
    }
}

impl Drop for Adapters {
    fn drop(&mut self) {
        self.kept.iter().for_each(|(_, kept)| self.budget.give_back(kept.bytes));
    }
}

/// Returns what an adapter adds. A job that has no stack of its own has to begin again with one where that must be read.
///
/// # Errors
/// `ValueError` for files that cannot be read or applied; fatal where the job is stopped, or has to begin again.
pub fn additions(
    adapters: &RefCell<Adapters>,
    machine: &Machine,
    name: &str,
    files: Files,
) -> Result<Rc<[Addition]>, Raise> {
    let _reading = loop {
        if let Some(known) = adapters.borrow_mut().find(name, &files.stamp) {
            return Ok(known);
        }
        machine.lasts()?;
        if let Some(reading) = Reading::begin(adapters) {
            break reading;
        }
        std::thread::park_timeout(GLANCE);
        machine.rest()?;
    };
    let (tell, told) = mpsc::sync_channel(1);
    let read = files.read;
    // Nobody may be there any more to be told.
    let begun = std::thread::Builder::new().name("adapter".into()).spawn(move || drop(tell.send(read())));
    begun.map_err(|error| Raise::runtime_error(format!("there is no thread to read the adapter {name:?}: {error}")))?;
    let read = loop {
        match told.recv_timeout(GLANCE) {
            Ok(read) => break read,
            Err(RecvTimeoutError::Timeout) => machine.rest()?,
            Err(RecvTimeoutError::Disconnected) => break Err(format!("reading the adapter {name:?} was given up")),
        }
    };
    let additions: Rc<[Addition]> = read.map_err(Raise::value_error)?.into();
    adapters.borrow_mut().keep(name, files.stamp, &additions);
    Ok(additions)
}

/// An adapter is being read, until this is dropped.
struct Reading<'a>(&'a RefCell<Adapters>);

impl<'a> Reading<'a> {
    fn begin(adapters: &'a RefCell<Adapters>) -> Option<Self> {
        let busy = std::mem::replace(&mut adapters.borrow_mut().reading, true);
        (!busy).then_some(Self(adapters))
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().reading = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Site;
    use program::{DType, TensorData};

    fn adapter(bytes: usize) -> Rc<[Addition]> {
        let matrix = |bytes: usize| {
            let bytes = vec![0; bytes].into();
            TensorData { dtype: DType::Float32, shape: Vec::new(), bytes, requires_grad: false }
        };
        [Addition { site: Site(1), down: matrix(bytes / 2), up: matrix(bytes / 2), scale: 1.0 }].into()
    }

    #[test]
    fn what_was_used_longest_ago_is_forgotten_where_the_budget_ends() {
        let pool = Pool::new(100);
        let mut adapters = Adapters::new(pool.clone());
        adapters.keep("a", "1".into(), &adapter(40));
        adapters.keep("b", "1".into(), &adapter(40));
        assert!(adapters.find("a", "1").is_some());
        adapters.keep("c", "1".into(), &adapter(40));
        assert!(adapters.find("b", "1").is_none() && adapters.find("a", "1").is_some());
        assert_eq!(pool.taken(), 80);
        adapters.keep("d", "1".into(), &adapter(200));
        assert_eq!((adapters.find("d", "1").is_none(), pool.taken()), (true, 0));
        drop(adapters);
        assert_eq!(pool.taken(), 0);
    }

    #[test]
    fn files_that_have_changed_are_read_again() {
        let pool = Pool::new(100);
        let mut adapters = Adapters::new(pool.clone());
        adapters.keep("a", "1".into(), &adapter(40));
        assert!(adapters.find("a", "2").is_none());
        adapters.keep("a", "2".into(), &adapter(20));
        assert_eq!((adapters.find("a", "2").is_some(), pool.taken()), (true, 20));
    }
}
