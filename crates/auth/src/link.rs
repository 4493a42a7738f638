//! Links that carry their own permission: whoever has one may read one result until it expires.
//!
//! The client fetches a result's URL without its key, so the URL itself has to prove that it was given out.

use ids::JobId;
use subtle::ConstantTimeEq;

use crate::ServerSecret;
use crate::secret::hex;

/// Signs and checks links to results.
#[derive(Clone)]
pub struct Links {
    key: [u8; 32],
}

impl Links {
    /// Derives the signing key of an installation.
    #[must_use]
    pub fn new(secret: &ServerSecret) -> Self {
        Self { key: secret.derive("vitrine 2026 signature of result links") }
    }

    /// Returns the signature, 64 hexadecimal digits, of a link to one job's result.
    /// `expires` is in seconds since 1970.
    #[must_use]
    pub fn sign(&self, job: JobId, expires: u64) -> String {
        hex(blake3::keyed_hash(&self.key, format!("{job} {expires}").as_bytes()).as_bytes())
    }

    /// Returns whether a link is one of ours and has not expired at `now`, in seconds since 1970.
    #[must_use]
    pub fn verify(&self, job: JobId, expires: u64, signature: &str, now: u64) -> bool {
        let ours = bool::from(self.sign(job, expires).as_bytes().ct_eq(signature.as_bytes()));
        ours && now < expires
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_one_result_until_it_expires() {
        let links = Links { key: [7; 32] };
        let (mine, other) = (JobId::new(), JobId::new());
        let signature = links.sign(mine, 100);
        assert!(links.verify(mine, 100, &signature, 99));
        assert!(!links.verify(mine, 100, &signature, 100), "expired");
        assert!(!links.verify(mine, 200, &signature, 99), "a later end needs another signature");
        assert!(!links.verify(other, 100, &signature, 99), "another job");
        assert!(!links.verify(mine, 100, "", 99));
        assert!(!Links { key: [8; 32] }.verify(mine, 100, &signature, 99), "another installation");
    }
}
