//! Whose key a request came with.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{quota, time};
use crate::authenticate::Caller;
use crate::{Error, Gateway};

/// `GET /v1/whoami`: the caller's tenant and key, what the key permits, and how much.
pub async fn whoami(State(gateway): State<Arc<Gateway>>, caller: Caller) -> Result<Json<Value>, Error> {
    let principal = caller.known()?;
    let scopes: Vec<&str> = principal.scopes.iter().map(|scope| scope.name()).collect();
    let of_tenant = quota::shown(&gateway, &principal.tenants.quota, &principal.tenant, None).await?;
    let of_key = quota::shown(&gateway, &principal.terms.quota, &principal.tenant, Some(&principal.key)).await?;
    Ok(Json(json!({
        "tenant": principal.tenant,
        "key": principal.key,
        "project": principal.project,
        "scopes": scopes,
        "batching": principal.batching.to_string(),
        "expires_at": principal.expires_at.map(time),
        "models": principal.tenants.models,
        "key_models": principal.terms.models,
        "quota": of_tenant["quota"],
        "used": of_tenant["used"],
        "key_quota": of_key["quota"],
        "key_used": of_key["used"],
    })))
}
