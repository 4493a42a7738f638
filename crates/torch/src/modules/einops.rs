//! `einops`.

use super::Native;

/// Finds a function of `einops`.
pub fn function(_: &str) -> Option<Native> {
    None
}
