//! What a GPU computes in order, and how far it has come. CUDA must have been loaded.

use std::ffi::c_void;

use tch::{TchError, Tensor};

use crate::failure::{Failure, adopt};
use crate::ffi;

/// Returns CUDA's name for the stream on which this thread computes on a GPU.
///
/// # Errors
/// What the driver says.
pub fn handle(index: i32) -> Result<usize, String> {
    let mut handle = std::ptr::null_mut();
    let mut failure = Failure::none();
    // SAFETY: a plain argument, and locals that are written to.
    let done = unsafe { ffi::vt_stream(index, &raw mut handle, failure.out()) };
    if done { Ok(handle.addr()) } else { Err(failure.problem().text) }
}

/// Runs something while a GPU is the thread's own.
pub fn with_device(index: i32, run: &mut dyn FnMut()) {
    let _before = Current::exchange(index);
    run();
}

/// A place in what a GPU computes.
pub struct Mark(*mut c_void);

impl Mark {
    /// Marks what comes behind all that this thread has given a GPU to do.
    ///
    /// # Errors
    /// What the driver says.
    pub fn new(index: i32) -> Result<Self, String> {
        let mut failure = Failure::none();
        // SAFETY: a plain argument.
        let made = unsafe { ffi::vt_mark(index, failure.out()) };
        if made.is_null() { Err(failure.problem().text) } else { Ok(Self(made)) }
    }

    /// Returns whether the GPU has come there.
    ///
    /// # Errors
    /// What the driver says where the GPU is lost.
    pub fn reached(&self) -> Result<bool, String> {
        let (mut reached, mut failure) = (false, Failure::none());
        // SAFETY: the mark lives.
        let done = unsafe { ffi::vt_mark_reached(self.0, &raw mut reached, failure.out()) };
        if done { Ok(reached) } else { Err(failure.problem().text) }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // SAFETY: the mark lives, and nobody looks at it any more.
        unsafe { ffi::vt_mark_free(self.0) };
    }
}

// SAFETY: a mark is asked for, and given back, by whichever thread; it was made by one call.
unsafe impl Send for Mark {}

/// A tensor on its way to a GPU, beside what that computes.
pub struct Upload {
    tensor: Tensor,
    mark: Mark,
    index: i32,
}

impl Upload {
    /// Begins to copy a tensor of the host's, which stays as it is until it is there: in pinned memory, or it is copied at once.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn start(host: &Tensor, index: i32) -> Result<Self, TchError> {
        let mut mark = std::ptr::null_mut();
        let mut failure = Failure::none();
        // SAFETY: the tensor is alive, and the mark is written to.
        let made = unsafe { ffi::vt_upload(host.as_ptr().cast(), index, &raw mut mark, failure.out()) };
        match adopt(made) {
            Some(tensor) => Ok(Self { tensor, mark: Mark(mark), index }),
            None => Err(TchError::Torch(failure.problem().text)),
        }
    }

    /// Returns the tensor, which this thread may use on its GPU from now on.
    ///
    /// # Errors
    /// What the driver says.
    pub fn finish(self) -> Result<Tensor, TchError> {
        self.wait()?;
        Ok(self.tensor.shallow_clone())
    }

    fn wait(&self) -> Result<(), TchError> {
        let mut failure = Failure::none();
        // SAFETY: the mark lives.
        let done = unsafe { ffi::vt_wait_for_mark(self.mark.0, self.index, failure.out()) };
        if done { Ok(()) } else { Err(TchError::Torch(failure.problem().text)) }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Whoever gets its memory next comes behind the copy; a GPU that does not answer is found out by who needs it.
        let _ = self.wait();
    }
}

/// The GPU that was the thread's own before, which it is again when this is dropped.
struct Current(Option<i32>);

impl Current {
    fn exchange(index: i32) -> Self {
        let (mut before, mut failure) = (0, Failure::none());
        // SAFETY: a plain argument, and locals that are written to.
        let done = unsafe { ffi::vt_exchange_device(index, &raw mut before, failure.out()) };
        Self(done.then_some(before))
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            // What cannot be put back is found out by whoever computes next.
            std::mem::forget(Self::exchange(before));
        }
    }
}
