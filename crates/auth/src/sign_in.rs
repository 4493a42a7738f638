//! Tokens that browsers keep instead of a key: signed, with an end, and worth nothing once their key is revoked.

use ids::KeyId;
use subtle::ConstantTimeEq;

use crate::secret::{hex, random};
use crate::{Error, ServerSecret};

/// Makes and checks the tokens of one installation.
#[derive(Clone)]
pub struct SignIns {
    key: [u8; 32],
}

impl SignIns {
    /// Derives the signing key of an installation.
    pub(crate) fn new(secret: &ServerSecret) -> Self {
        Self { key: secret.derive("vitrine 2026 signature of sign-ins") }
    }

    /// Makes a token for the key with an id, of which a digest is stored, that is valid until `expires`.
    pub(crate) fn make(&self, key: &KeyId, digest: &[u8; 32], expires: u64) -> Result<String, Error> {
        let random = hex(&random::<8>()?);
        let signature = self.sign(expires, &random, key, digest);
        Ok(format!("{expires:x}.{random}.{signature}.{key}"))
    }

    /// Returns the key that a token names, whether or not it is ours.
    pub(crate) fn key(token: &str) -> Option<KeyId> {
        token.splitn(4, '.').nth(3).map(KeyId::new)
    }

    /// Returns whether a token is one of ours, for a key of which this digest is stored, and has not expired at `now`.
    pub(crate) fn verify(&self, token: &str, digest: &[u8; 32], now: u64) -> bool {
        let parts: Vec<&str> = token.splitn(4, '.').collect();
        let [expires, random, signature, key] = parts[..] else { return false };
        let Ok(expires) = u64::from_str_radix(expires, 16) else { return false };
        let ours = self.sign(expires, random, &KeyId::new(key), digest);
        bool::from(ours.as_bytes().ct_eq(signature.as_bytes())) && now < expires
    }

    /// Returns 64 hexadecimal digits that stand for all that a token says, and for the key's text.
    fn sign(&self, expires: u64, random: &str, key: &KeyId, digest: &[u8; 32]) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&expires.to_le_bytes()).update(digest);
        // Their lengths keep the parts apart.
        for part in [random, key.as_str()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hex(hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ids::TenantId;
    use store::{MemoryStore, MetadataStore};

    use super::*;
    use crate::{Grant, Keys, Scope};

    #[test]
    fn nothing_of_a_token_can_be_changed_and_it_ends() {
        let sign_ins = SignIns { key: [7; 32] };
        let (key, digest) = (KeyId::new("0123456789ab"), [1; 32]);
        let token = sign_ins.make(&key, &digest, 100).unwrap();
        assert_eq!(SignIns::key(&token), Some(key.clone()));
        assert!(sign_ins.verify(&token, &digest, 99));
        assert!(!sign_ins.verify(&token, &digest, 100), "expired");
        assert!(!sign_ins.verify(&token, &[2; 32], 99), "another key under the same id");
        assert!(!SignIns { key: [8; 32] }.verify(&token, &digest, 99), "another installation");
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            assert!(!sign_ins.verify(&String::from_utf8(other).unwrap(), &digest, 0), "at {at}");
        }
        for end in 0..token.len() {
            assert!(!sign_ins.verify(&token[..end], &digest, 0), "up to {end}");
        }
    }

    #[tokio::test]
    async fn a_token_stands_for_its_key_until_that_is_revoked() {
        let store: Arc<dyn MetadataStore> = Arc::new(MemoryStore::new(1));
        let keys = Keys::new(Arc::clone(&store), &ServerSecret::load(store.as_ref()).await.unwrap());
        let key = keys.create(Grant::new(TenantId::new("ada"), &[Scope::ReadOwn])).await.unwrap();
        let later = crate::unix_seconds() + 60;
        assert_eq!(keys.sign_in("wrong", later).await.unwrap(), None);
        let (principal, token) = keys.sign_in(key.reveal(), later).await.unwrap().unwrap();
        assert_eq!(keys.signed_in(&token).await.unwrap().as_ref(), Some(&principal));
        assert_eq!(keys.authenticate(&token).await.unwrap(), None, "it is no key");
        assert!(!token.contains(key.reveal()));
        for not in ["", "...", key.reveal()] {
            assert_eq!(keys.signed_in(not).await.unwrap(), None, "{not:?}");
        }
        let (_, over) = keys.sign_in(key.reveal(), crate::unix_seconds()).await.unwrap().unwrap();
        assert_eq!(keys.signed_in(&over).await.unwrap(), None);
        keys.revoke(&principal.key).await.unwrap();
        assert_eq!(keys.signed_in(&token).await.unwrap(), None);
    }
}
