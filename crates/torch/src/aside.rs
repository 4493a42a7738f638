//! What the thread holds for the code that runs on it, while other code does.

use std::rc::Rc;

use libtorch::account::{self, Pays};
use libtorch::ffi;

/// Everything of ours and of libtorch that is set for a thread and unset when a frame ends: who pays for memory,
/// and whether gradients are recorded. Frames of libtorch's own set more, so code that runs inside a backward pass
/// [must not be left](interpreter::Machine::hold).
pub struct Aside {
    payer: Option<Rc<dyn Pays>>,
    recording: bool,
}

impl Aside {
    /// Takes what the thread holds. From here on nobody pays.
    #[must_use]
    pub fn take() -> Self {
        Self { payer: account::install(None), recording: libtorch::recording() }
    }

    /// Gives it back to the thread.
    pub fn bring_back(self) {
        // SAFETY: the function sets a flag of the thread.
        unsafe { ffi::vt_set_recording(self.recording) };
        drop(account::install(self.payer));
    }
}
