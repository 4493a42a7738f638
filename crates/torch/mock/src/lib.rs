//! A stand-in for a GPU, and for what carries memory between several, for tests: see `mock.cpp` and `nccl.cpp`. Or a real one, on a machine that has it.

use std::env;
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
