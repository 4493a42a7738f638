//! libtorch, where `tch` does not reach: its dispatcher, its allocator and its autograd by C functions of our own (the
//! *shim*), who pays for memory, code of ours that it calls, and CUDA.
//!
//! Nothing here knows what is computed, or for whom.

pub mod account;
pub mod apart;
pub mod cuda;
mod failure;
pub mod ffi;
mod filled;
pub mod foreign;
mod passing;
pub mod stream;

use tch::Tensor;

pub use failure::{Failure, Problem, adopt};
pub use filled::filled;
pub use passing::{Passing, Spare, passing, spare};

/// Puts the accounting of memory in front of libtorch's allocator. Called before the first tensor is made, so that
/// weights too are freed by the allocator that made them; calling it again does nothing.
pub fn prepare() {
    // SAFETY: the shim guards against being called twice, and touches only libtorch's allocator registry.
    unsafe { ffi::vt_account_allocations() };
}

/// Says whether what this thread computes records what gradients need.
#[must_use]
pub fn recording() -> bool {
    // SAFETY: the function reads a flag of the thread.
    unsafe { ffi::vt_recording() }
}

/// Returns how often libtorch has written to a tensor's memory, by way of whatever view.
#[must_use]
pub fn writes(tensor: &Tensor) -> i64 {
    // SAFETY: the tensor is alive.
    unsafe { ffi::vt_version(tensor.as_ptr().cast()) }
}

/// Ends the process at once. Whatever else ends it takes libtorch apart first, which threads that compute meanwhile fall over.
pub fn end_process(status: i32) -> ! {
    // SAFETY: nothing of the process is used afterwards.
    unsafe { libc::_exit(status) }
}
