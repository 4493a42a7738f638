//! Whose key a request came with.

use std::sync::Arc;

use auth::Quota;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::{quota, time};
use crate::authenticate::Caller;
use crate::{Error, Gateway};

/// The caller.
#[derive(Serialize, JsonSchema)]
pub struct Whoami {
    tenant: String,
    /// The public part of the key; of a user who showed none, `user:` and their name.
    key: String,
    /// Who signed in by the server's provider; null for a key.
    user: Option<String>,
    project: Option<String>,
    scopes: Vec<String>,
    batching: String,
    /// How urgent its jobs are: high, normal or low.
    class: &'static str,
    /// Null for a key without end; of a user, until when they are signed in.
    expires_at: Option<String>,
    /// The models that the tenant may use; null for all.
    models: Option<Vec<String>>,
    /// Those of them that the key may use; null for all.
    key_models: Option<Vec<String>>,
    quota: Quota,
    /// Null where nothing is bounded.
    used: Option<quota::Used>,
    key_quota: Quota,
    key_used: Option<quota::Used>,
}

/// `GET /v1/whoami`: the caller's tenant and key, what the key permits, and how much.
pub async fn whoami(State(gateway): State<Arc<Gateway>>, caller: Caller) -> Result<Json<Whoami>, Error> {
    let principal = caller.known()?;
    let of_tenant = quota::shown(&gateway, &principal.tenants.quota, &principal.tenant, None).await?;
    let of_key = quota::shown(&gateway, &principal.terms.quota, &principal.tenant, Some(&principal.key)).await?;
    let class = principal.class().name();
    Ok(Json(Whoami {
        tenant: principal.tenant.to_string(),
        key: principal.key.to_string(),
        user: principal.user.as_deref().map(str::to_owned),
        project: principal.project,
        scopes: principal.scopes.iter().map(|scope| scope.name().to_owned()).collect(),
        batching: principal.batching.to_string(),
        class,
        expires_at: principal.expires_at.map(time),
        models: principal.tenants.models.clone(),
        key_models: principal.terms.models.clone(),
        quota: of_tenant.quota,
        used: of_tenant.used,
        key_quota: of_key.quota,
        key_used: of_key.used,
    }))
}
