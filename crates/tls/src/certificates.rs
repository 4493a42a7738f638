//! What an operator says about the certificates of a role.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Files;

/// A section of settings with PEM files: whom to trust, and how to be trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Certificates {
    /// The certificate of the authority that signed those of the other end.
    pub authority: PathBuf,
    /// This role's certificate.
    pub certificate: PathBuf,
    /// The key of that certificate.
    pub key: PathBuf,
}

impl Certificates {
    /// Returns the files, as either end of a connection takes them.
    #[must_use]
    pub fn files(&self) -> Files {
        let Self { authority, certificate, key } = self.clone();
        Files { certificate, key, authority: Some(authority) }
    }
}
