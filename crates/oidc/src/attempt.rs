//! A sign-in under way: what the browser keeps while it is at the provider.

use serde::{Deserialize, Serialize};

/// What has to come back as it was, and what only the one who began knows. It is for the browser that began alone, and
/// nobody may change it there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Comes back with the browser.
    pub state: String,
    /// Comes back in the token.
    pub nonce: String,
    /// Shows the provider that who began asks for the token.
    pub verifier: String,
    /// Where the provider sends the browser.
    pub redirect: String,
    /// Where somebody wanted to go.
    pub next: String,
}
