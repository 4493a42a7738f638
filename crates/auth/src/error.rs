//! What can go wrong while keys are made or looked up. A wrong key is not an error: it is the answer "nobody".

/// A failure of the store, of the machine, or of what the store holds.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the record {0} cannot be read")]
    Unreadable(String),
    #[error("the operating system gave no random bytes: {0}")]
    Random(getrandom::Error),
    #[error(
        "an API key must have 1 to 512 characters that an HTTP header can carry: ASCII letters, digits, punctuation"
    )]
    UnfitKey,
    #[error(
        "{0:?} cannot be a tenant's name: it must have 1 to 63 characters, of lowercase letters, digits, '-', '.' and \
         '_', one of them at least a letter or digit"
    )]
    UnfitTenant(String),
}
