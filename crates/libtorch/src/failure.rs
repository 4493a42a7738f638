//! What comes back from the shim: tensors, and why there are none.

use std::ffi::{CStr, c_void};

use crate::ffi;

/// What the shim said about a failed call.
pub struct Failure(ffi::Error);

impl Failure {
    /// Nothing has failed yet.
    pub fn none() -> Self {
        Self(ffi::Error { kind: 0, text: std::ptr::null_mut() })
    }

    /// Where the shim writes.
    pub fn out(&mut self) -> *mut ffi::Error {
        &raw mut self.0
    }

    /// Says whether something failed.
    pub fn is_set(&self) -> bool {
        !self.0.text.is_null()
    }

    /// Takes what was said, for any thread.
    pub fn problem(self) -> Problem {
        let text = if self.0.text.is_null() {
            String::from("libtorch gave no reason")
        } else {
            // SAFETY: a non-null text is NUL-terminated.
            unsafe { CStr::from_ptr(self.0.text) }.to_string_lossy().into_owned()
        };
        Problem { kind: self.0.kind, text }
    }
}

/// Why an operator failed.
pub struct Problem {
    /// Which exception PyTorch raises: see [`crate::ffi::error`].
    pub kind: i32,
    pub text: String,
}

impl Drop for Failure {
    fn drop(&mut self) {
        // SAFETY: the text is malloc'ed by the shim, or null.
        unsafe { ffi::vt_free(self.0.text.cast()) };
    }
}

/// Takes over a tensor that the shim made.
pub fn adopt(tensor: *mut c_void) -> Option<tch::Tensor> {
    if tensor.is_null() {
        return None;
    }
    // SAFETY: the shim hands out `at::Tensor`s made by `new`, which is what tch owns.
    Some(unsafe { tch::Tensor::from_ptr(tensor.cast()) })
}
