//! Signing in by a provider of OpenID Connect: what its tokens say of somebody, and the two ways to get one.
//!
//! [`Provider`] is a gateway's view of it. It reads the provider's description and its keys in one place, on its own time,
//! so that no request waits for a provider that is away, and no number of requests makes it ask more often. [`device`] is
//! what the command line does.

mod attempt;
mod claims;
pub mod device;
mod http;
mod keys;
mod metadata;
mod provider;
mod refusal;
mod settings;
#[cfg(any(test, feature = "testing"))]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
pub mod testing;
mod token;
mod tokens;

pub use attempt::Attempt;
pub use provider::Provider;
pub use refusal::Refusal;
pub use settings::Settings;
pub use token::looks_like_one;

/// Returns the seconds since 1970.
fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
