//! A stand-in for a GPU, and for what carries memory between several, for tests: see `mock.cpp` and `nccl.cpp`. Or a real one, on a machine that has it.

use std::env;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::PathBuf;

/// Returns the folder to load `libtorch_cuda.so` from: a real one's, where `VITRINE_TORCH_LIB` names it.
#[must_use]
pub fn folder() -> PathBuf {
    real().unwrap_or_else(|| concat!(env!("OUT_DIR"), "/lib").into())
}

/// Returns the stand-in for `libnccl.so.2`.
#[must_use]
pub fn nccl() -> PathBuf {
    concat!(env!("OUT_DIR"), "/lib/libnccl.so.2").into()
}

/// Returns whether the tests run on a real GPU.
#[must_use]
pub fn is_real() -> bool {
    real().is_some()
}

fn real() -> Option<PathBuf> {
    env::var_os("VITRINE_TORCH_LIB").map(PathBuf::from)
}

/// Returns what the stand-in, which must have been loaded, was asked for since the last question: each operator that would
/// launch a kernel, and where the host would wait. It begins to note that with the first question.
///
/// # Panics
/// When it was not loaded.
#[must_use]
pub fn launches() -> Vec<String> {
    // SAFETY: the function of this name takes a buffer and its length.
    let read: unsafe extern "C" fn(*mut c_char, usize) -> usize =
        unsafe { std::mem::transmute(function(c"mock_launches")) };
    // SAFETY: nothing is written where there is no room.
    let length = unsafe { read(std::ptr::null_mut(), 0) };
    let mut lines = vec![0_u8; length];
    // SAFETY: there is as much room as is said.
    unsafe { read(lines.as_mut_ptr().cast(), lines.len()) };
    // SAFETY: the function of this name takes nothing.
    let list: unsafe extern "C" fn() = unsafe { std::mem::transmute(function(c"mock_list_launches")) };
    // SAFETY: a plain call.
    unsafe { list() };
    String::from_utf8_lossy(&lines).lines().map(str::to_owned).collect()
}

/// Finds a function of the stand-in by its name.
fn function(name: &CStr) -> *mut c_void {
    const NOW: c_int = 2;
    const LOADED: c_int = 4;
    let library = CString::new(folder().join("libtorch_cuda.so").into_os_string().into_encoded_bytes());
    let library = library.unwrap_or_default();
    // SAFETY: the name is a text with an end; nothing is loaded that is not there.
    let handle = unsafe { dlopen(library.as_ptr(), NOW | LOADED) };
    // SAFETY: so is this name.
    let found = if handle.is_null() { handle } else { unsafe { dlsym(handle, name.as_ptr()) } };
    assert!(!found.is_null(), "the stand-in was not loaded");
    found
}

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}
