//! Who may do what: API keys, and links that carry their own permission.
//!
//! A key's text is shown once, when it is made. Only its keyed hash is stored, so that a copy of the metadata
//! store opens nothing.

mod error;
mod key;
mod link;
mod secret;

pub use error::Error;
pub use key::{Grant, KeyRecord, Keys, Principal, Scope};
pub use link::Links;
pub use secret::{Secret, ServerSecret};
