//! What can be wrong with certificates, keys and those who show them.

use std::io;
use std::path::PathBuf;

use crate::Role;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} holds no {what} in PEM form: {why}", .path.display())]
    Malformed { path: PathBuf, what: &'static str, why: String },
    #[error("the certificate {} and the key {} cannot be used: {why}", .certificate.display(), .key.display())]
    Unfit { certificate: PathBuf, key: PathBuf, why: String },
    #[error("the session was not agreed on: {0}")]
    Handshake(#[source] io::Error),
    /// The other end's certificate is genuine and not for this.
    #[error("the other end is not {}", roles(.wanted))]
    Role { wanted: Vec<Role> },
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("cannot write {}: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
}

fn roles(wanted: &[Role]) -> String {
    wanted.iter().map(|role| format!("a {role}")).collect::<Vec<_>>().join(" or ")
}
