//! The adapters of a model, read from their files by a thread of their own, and kept for jobs that ask for them again.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

use interpreter::Machine;
use interpreter::raise::Raise;

use crate::adapter::Addition;
use crate::bell::Bell;
use crate::kept::{Item, Kept, Name};

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

/// What was read and is kept.
pub struct Adapters {
    kept: Rc<RefCell<Kept>>,
    /// One is read after another, so that no more than one is in memory that nobody pays for.
    reading: Arc<Reading>,
}

impl Adapters {
    /// Begins with what is kept.
    pub fn new(kept: &Rc<RefCell<Kept>>) -> Self {
        Self { kept: Rc::clone(kept), reading: Arc::default() }
    }

    fn find(&self, name: &str, stamp: &str) -> Option<Rc<[Addition]>> {
        match self.kept.borrow_mut().find(&Name::Adapter(name.into())) {
            Some(Item::Adapter(known, additions)) if known == stamp => Some(Rc::clone(additions)),
            _ => None,
        }
    }

    fn keep(&self, name: &str, stamp: String, additions: &Rc<[Addition]>) {
        let weigh = |one: &Addition| (one.down.bytes.len() + one.up.bytes.len()) as u64;
        let (item, bytes) = (Item::Adapter(stamp, Rc::clone(additions)), additions.iter().map(weigh).sum());
        self.kept.borrow_mut().keep(Name::Adapter(name.into()), item, bytes);
    }
}

/// Returns what an adapter adds. A job that has no stack of its own has to begin again with one where that must be read.
///
/// # Errors
/// `ValueError` for files that cannot be read or applied; fatal where the job is stopped, or has to begin again.
pub fn additions(adapters: &Adapters, machine: &Machine, name: &str, files: Files) -> Result<Rc<[Addition]>, Raise> {
    let Files { stamp, read } = files;
    let begun = loop {
        if let Some(known) = adapters.find(name, &stamp) {
            return Ok(known);
        }
        if !machine.lasts()? {
            break None;
        }
        let free = Bell::here();
        let begun = BeingRead::begin(&adapters.reading, &free);
        if begun.is_some() {
            break begun;
        }
        machine.rest_until(&free.heard())?;
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
    adapters.keep(name, stamp, &additions);
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
    let done = Bell::here();
    let heard = done.heard();
    let task = move || {
        // Dropped last, also where reading panics.
        let _rings = Rings(done);
        let tell = tell;
        // Nobody may be there any more to be told: then what was read is gone with this.
        drop(tell.send((read(), being_read)));
    };
    let begun = std::thread::Builder::new().name("adapter".into()).spawn(task);
    begun.map_err(|error| Raise::runtime_error(format!("there is no thread to read the adapter {name:?}: {error}")))?;
    machine.rest_until(&heard)?;
    told.try_recv().map_err(|_| Raise::value_error(format!("reading the adapter {name:?} was given up")))
}

/// Rings a bell when it is dropped.
struct Rings(Bell);

impl Drop for Rings {
    fn drop(&mut self) {
        self.0.ring();
    }
}

/// Whether an adapter is being read, and who wants to know when it is not any more.
type Reading = Mutex<Option<Vec<Bell>>>;

/// An adapter is being read, until this is dropped. It goes with what is read, so that the next is not begun before this one
/// is kept or gone, even where the job that wanted it has ended.
struct BeingRead(Arc<Reading>);

impl BeingRead {
    /// Begins, unless another is being read: then the bell is rung when it is not any more.
    fn begin(reading: &Arc<Reading>, free: &Bell) -> Option<Self> {
        match &mut *reading.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(others) => {
                others.push(free.clone());
                None
            }
            none => {
                *none = Some(Vec::new());
                Some(Self(Arc::clone(reading)))
            }
        }
    }
}

impl Drop for BeingRead {
    fn drop(&mut self) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        waiting.into_iter().flatten().for_each(|bell| bell.ring());
    }
}

#[cfg(test)]
mod tests {
    use interpreter::Pool;

    use super::*;
    use crate::metrics::TRUNKS;
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
    fn files_that_have_changed_are_read_again() {
        let pool = Pool::new(100);
        let adapters = Adapters::new(&Rc::new(RefCell::new(Kept::new(pool.clone(), TRUNKS.with(&["test"])))));
        adapters.keep("a", "1".into(), &adapter(40));
        assert!(adapters.find("a", "1").is_some() && adapters.find("a", "2").is_none());
        adapters.keep("a", "2".into(), &adapter(20));
        assert_eq!((adapters.find("a", "2").is_some(), pool.taken()), (true, 20));
    }

    #[test]
    fn one_is_read_after_another_however_many_wait() {
        let (reading, free) = (Arc::default(), Bell::here());
        let begin = || BeingRead::begin(&reading, &free);
        let heard = free.heard();
        let first = begin();
        assert!(first.is_some());
        for _ in 0..2 {
            assert!(begin().is_none());
        }
        let (tell, told) = mpsc::sync_channel(1);
        assert!(tell.send(first).is_ok());
        assert!(begin().is_none() && !heard(), "it was read, and nobody has taken it");
        drop(told);
        assert!(heard() && begin().is_some());
    }
}
