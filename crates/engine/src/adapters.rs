//! The adapters of a model, read from their files by a thread of their own, and kept for jobs that ask for them again.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    pub read: Box<dyn FnOnce() -> Read + Send>,
}

/// What files hold, or why they cannot be read.
type Read = Result<Vec<Addition>, String>;

/// What was read, within a budget.
pub struct Adapters {
    kept: LruCache<String, Kept>,
    budget: Pool,
    /// Whether one is being read: one after another, so that no more than one is in memory that nobody pays for.
    reading: Arc<AtomicBool>,
}

struct Kept {
    stamp: String,
    bytes: u64,
    additions: Rc<[Addition]>,
}

impl Adapters {
    /// Makes a store of nothing.
    pub fn new(budget: Pool) -> Self {
        Self { kept: LruCache::new(MOST), budget, reading: Arc::default() }
    }

    fn find(&mut self, name: &str, stamp: &str) -> Option<Rc<[Addition]>> {
        self.kept.get(name).filter(|kept| kept.stamp == stamp).map(|kept| Rc::clone(&kept.additions))
    }

    /// Keeps an adapter, and forgets for it those that were used longest ago.
    fn keep(&mut self, name: &str, stamp: String, additions: &Rc<[Addition]>) {
        let weigh = |one: &Addition| (one.down.bytes.len() + one.up.bytes.len()) as u64;
        let bytes: u64 = additions.iter().map(weigh).sum();
        if let Some(before) = self.kept.pop(name) {
            self.budget.give_back(before.bytes);
        }
        let own: u64 = self.kept.iter().map(|(_, kept)| kept.bytes).sum();
        if bytes > self.budget.limit().saturating_sub(self.budget.taken()).saturating_add(own) {
            return;
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
    let Files { stamp, read } = files;
    let begun = loop {
        if let Some(known) = adapters.borrow_mut().find(name, &stamp) {
            return Ok(known);
        }
        if !machine.lasts()? {
            break None;
        }
        let begun = BeingRead::begin(&adapters.borrow().reading);
        if begun.is_some() {
            break begun;
        }
        std::thread::park_timeout(GLANCE);
        machine.rest()?;
    };
    let (read, being_read) = match begun {
        Some(begun) => {
            let (read, being_read) = beside(machine, name, read, begun)?;
            (read, Some(being_read))
        }
        // Whoever must not be kept waiting reads here and now.
        None => (read(), None),
    };
    let additions: Rc<[Addition]> = read.map_err(Raise::value_error)?.into();
    adapters.borrow_mut().keep(name, stamp, &additions);
    // Others who wait for it find it from now on.
    drop(being_read);
    Ok(additions)
}

/// Reads files on another thread while others have this one.
fn beside(
    machine: &Machine,
    name: &str,
    read: impl FnOnce() -> Read + Send + 'static,
    being_read: BeingRead,
) -> Result<(Read, BeingRead), Raise> {
    let (tell, told) = mpsc::sync_channel(1);
    // Nobody may be there any more to be told: then what was read is gone with this.
    let task = move || drop(tell.send((read(), being_read)));
    let begun = std::thread::Builder::new().name("adapter".into()).spawn(task);
    begun.map_err(|error| Raise::runtime_error(format!("there is no thread to read the adapter {name:?}: {error}")))?;
    loop {
        match told.recv_timeout(GLANCE) {
            Ok(read) => return Ok(read),
            Err(RecvTimeoutError::Timeout) => machine.rest()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Raise::value_error(format!("reading the adapter {name:?} was given up")));
            }
        }
    }
}

/// An adapter is being read, until this is dropped. It goes with what is read, so that the next is not begun before this one
/// is kept or gone, even where the job that wanted it has ended.
struct BeingRead(Arc<AtomicBool>);

impl BeingRead {
    /// Begins, unless another is being read.
    fn begin(reading: &Arc<AtomicBool>) -> Option<Self> {
        let busy = reading.swap(true, Ordering::AcqRel);
        (!busy).then(|| Self(Arc::clone(reading)))
    }
}

impl Drop for BeingRead {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
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
        assert_eq!((adapters.find("d", "1").is_none(), pool.taken()), (true, 80), "nothing is forgotten in vain");
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

    #[test]
    fn one_is_read_after_another_however_many_wait() {
        let reading = Arc::default();
        let begin = || BeingRead::begin(&reading);
        let first = begin();
        assert!(first.is_some());
        for _ in 0..2 {
            assert!(begin().is_none());
        }
        let (tell, told) = mpsc::sync_channel(1);
        assert!(tell.send(first).is_ok());
        assert!(begin().is_none(), "it was read, and nobody has taken it");
        drop(told);
        assert!(begin().is_some());
    }
}
