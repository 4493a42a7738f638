//! Who may do what: API keys, and links and session ids that carry their own permission.
//!
//! A key's text is shown once, when it is made. Only its keyed hash is stored, so that whoever has a copy of the metadata
//! store cannot act under a key. They can read results: the secret that signs links lies there, too, and so the store is
//! for its owner's eyes.

mod error;
mod key;
mod link;
mod secret;
mod session;

pub use error::Error;
pub use key::{Grant, KeyRecord, Keys, Principal, Scope};
pub use link::Links;
pub use secret::{Secret, ServerSecret};
pub use session::{SessionId, SessionIds};
