//! Who may do what: tenants, their API keys, users whom a provider vouches for, and links and session ids that carry their
//! own permission.
//!
//! A key's text is shown once, when it is made. Only its keyed hash is stored, so that whoever has a copy of the metadata
//! store cannot act under a key. They can read results: the secret that signs links lies there, too, and so the store is
//! for its owner's eyes.

mod error;
mod key;
mod link;
mod scope;
mod seal;
mod secret;
mod session;
mod sign_in;
mod tenant;
mod terms;
mod user;

pub use error::Error;
pub use key::{Grant, KeyRecord, Keys, Principal};
pub use link::Links;
pub use scope::{Role, Scope};
pub use seal::Seals;
pub use secret::{Secret, ServerSecret};
pub use session::{SessionId, SessionIds};
pub use store::Quota;
pub use tenant::{Tenant, Tenants};
pub use terms::Terms;
pub use user::User;

/// Returns the seconds since 1970.
fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
