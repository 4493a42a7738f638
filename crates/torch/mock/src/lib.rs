//! A stand-in for a GPU, for tests: see `mock.cpp`.

use std::path::Path;

/// Returns the folder to load `libtorch_cuda.so` from.
#[must_use]
pub fn folder() -> &'static Path {
    Path::new(concat!(env!("OUT_DIR"), "/lib"))
}
