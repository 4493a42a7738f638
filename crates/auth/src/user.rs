//! Users: people whom a provider vouches for, and who show no key.

use std::sync::Arc;

use ids::{KeyId, TenantId};
use program::Batching;
use serde::{Deserialize, Serialize};

use crate::{Principal, Scope};

/// Somebody whom a provider vouches for, with what they may do here. Nothing is stored of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    pub tenant: TenantId,
    pub scopes: Vec<Scope>,
    /// Until when that counts, in seconds since 1970.
    pub expires_at: u64,
}

impl User {
    /// Returns what stands in a key's place where a user acted without one: no key's id has a colon.
    #[must_use]
    pub fn id(name: &str) -> KeyId {
        KeyId::new(format!("user:{name}"))
    }

    /// Returns who sends a request in this user's name. The terms of the tenant are for whoever knows tenants to add.
    #[must_use]
    pub fn principal(&self) -> Principal {
        Principal {
            key: Self::id(&self.name),
            user: Some(self.name.as_str().into()),
            tenant: self.tenant.clone(),
            scopes: self.scopes.clone(),
            batching: Batching::default(),
            expires_at: Some(self.expires_at),
            project: None,
            terms: Arc::default(),
            tenants: Arc::default(),
        }
    }
}
