//! What another thread does for a job, which waits for it on the model's.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};

/// Rung once, for the thread that made it. Clones are one bell.
#[derive(Clone)]
pub struct Bell(Arc<Rung>);

struct Rung {
    rung: AtomicBool,
    thread: Thread,
}

impl Bell {
    /// Makes a bell for the thread that calls.
    pub fn here() -> Self {
        Self(Arc::new(Rung { rung: AtomicBool::new(false), thread: thread::current() }))
    }

    /// Wakes who waits.
    pub fn ring(&self) {
        self.0.rung.store(true, Ordering::Release);
        self.0.thread.unpark();
    }

    /// Tells whether it was rung, as who waits asks it.
    pub fn heard(&self) -> Rc<dyn Fn() -> bool> {
        let own = self.clone();
        Rc::new(move || own.0.rung.load(Ordering::Acquire))
    }
}
