//! Session ids: the names of websockets, by which a request says who waits for it.
//!
//! Whichever gateway takes the request sees from the id alone that one of this installation's gateways opened the
//! websocket, which one, and for the tenant that asks.

use ids::TenantId;
use subtle::ConstantTimeEq;

use crate::secret::{hex, random};
use crate::{Error, ServerSecret};

/// Makes the session ids of one gateway, and reads those of all.
#[derive(Clone)]
pub struct SessionIds {
    key: [u8; 32],
    gateway: String,
}

/// What a session id says of its websocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionId {
    /// Whether the gateway that reads it has opened it, or one of the same name before.
    pub here: bool,
    /// Until when the websocket waits for its request, in seconds since 1970, by the clock of its gateway.
    pub expires: u64,
}

impl SessionIds {
    /// Derives the signing key of an installation. No two gateways of it may have one name.
    #[must_use]
    pub fn new(secret: &ServerSecret, gateway: impl Into<String>) -> Self {
        Self { key: secret.derive("vitrine 2026 signature of session ids"), gateway: gateway.into() }
    }

    /// Names a websocket of this gateway that waits until `expires`, in seconds since 1970. A request of `tenant` may
    /// name it; where that is nobody, none may.
    ///
    /// # Errors
    /// When the source of randomness fails.
    pub fn make(&self, tenant: Option<&TenantId>, expires: u64) -> Result<String, Error> {
        let random = hex(&random::<8>()?);
        let signature = self.sign(expires, &random, tenant, &self.gateway);
        Ok(format!("{expires:x}.{random}.{signature}.{}", self.gateway))
    }

    /// Reads a session id that a request of `tenant` names. `None` for one that no gateway of this installation made, or
    /// that is not this tenant's.
    #[must_use]
    pub fn read(&self, id: &str, tenant: &TenantId) -> Option<SessionId> {
        let mut parts = id.splitn(4, '.');
        let (expires, random) = (u64::from_str_radix(parts.next()?, 16).ok()?, parts.next()?);
        // What is left is the name, which may have dots in it.
        let (signature, gateway) = (parts.next()?, parts.next()?);
        let ours = self.sign(expires, random, Some(tenant), gateway);
        let ours = bool::from(ours.as_bytes().ct_eq(signature.as_bytes()));
        ours.then(|| SessionId { here: gateway == self.gateway, expires })
    }

    /// Returns 32 hexadecimal digits that stand for all that an id says, and whose it is.
    fn sign(&self, expires: u64, random: &str, tenant: Option<&TenantId>, gateway: &str) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&expires.to_le_bytes()).update(&[u8::from(tenant.is_some())]);
        // Their lengths keep the parts apart.
        for part in [random, tenant.map_or("", TenantId::as_str), gateway] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hex(&hasher.finalize().as_bytes()[..16])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(key: u8, gateway: &str) -> SessionIds {
        SessionIds { key: [key; 32], gateway: gateway.into() }
    }

    #[test]
    fn every_gateway_of_an_installation_reads_whose_a_websocket_is_and_where() {
        let (one, other) = (ids(7, "host.example-1"), ids(7, "host.example-2"));
        let (ada, bob) = (TenantId::new("ada"), TenantId::new("bob"));
        let id = one.make(Some(&ada), 1_790_000_000).unwrap();
        assert_eq!(one.read(&id, &ada), Some(SessionId { here: true, expires: 1_790_000_000 }));
        assert_eq!(other.read(&id, &ada), Some(SessionId { here: false, expires: 1_790_000_000 }));
        assert_eq!(other.read(&id, &bob), None, "another tenant's");
        assert_eq!(ids(8, "host.example-1").read(&id, &ada), None, "another installation's");
        let nobodys = one.make(None, 1_790_000_000).unwrap();
        for tenant in ["", "ada"] {
            assert_eq!(one.read(&nobodys, &TenantId::new(tenant)), None);
        }
        assert_ne!(one.make(Some(&ada), 1_790_000_000).unwrap(), id);
    }

    #[test]
    fn nothing_of_an_id_can_be_changed() {
        let ids = ids(7, "g.1");
        let ada = TenantId::new("ada");
        let id = ids.make(Some(&ada), 1_790_000_000).unwrap();
        for at in 0..id.len() {
            let mut other = id.clone().into_bytes();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(ids.read(&String::from_utf8(other).unwrap(), &ada), None, "at {at}");
        }
        for end in 0..id.len() {
            assert_eq!(ids.read(&id[..end], &ada), None, "up to {end}");
        }
        for other in [format!("{id}0"), format!(" {id}"), format!("0{id}x"), "...".into(), String::new()] {
            assert_eq!(ids.read(&other, &ada), None, "{other:?}");
        }
    }
}
