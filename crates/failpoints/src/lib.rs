//! Places between two durable steps, at which a test may end the process as `kill -9` would.
//!
//! Crates of failpoints let a place panic, return or wait, which tasks and their destructors see. Here nothing is seen:
//! the process is gone. Only programs that are built with the feature `on` have such places; in all others, to pass one
//! is to do nothing, and no variable of the environment is read.

#[cfg(feature = "on")]
mod armed;
mod point;

pub use point::Point;

/// Reads, before anything else is done, at which place this process is to end.
///
/// # Errors
/// A sentence, where the environment names no such place.
pub fn arm() -> Result<(), String> {
    #[cfg(feature = "on")]
    armed::arm()?;
    Ok(())
}

/// Ends the process, where it was to end here.
#[inline]
pub fn pass(point: Point) {
    #[cfg(feature = "on")]
    armed::pass(point);
    #[cfg(not(feature = "on"))]
    let _ = point;
}
