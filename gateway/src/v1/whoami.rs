//! Whose key a request came with.

use axum::Json;
use serde_json::{Value, json};

use super::time;
use crate::Error;
use crate::authenticate::Caller;

/// `GET /v1/whoami`: the caller's tenant and key, and what the key permits.
pub async fn whoami(caller: Caller) -> Result<Json<Value>, Error> {
    let principal = caller.known()?;
    let scopes: Vec<&str> = principal.scopes.iter().map(|scope| scope.name()).collect();
    Ok(Json(json!({
        "tenant": principal.tenant,
        "key": principal.key,
        "scopes": scopes,
        "batching": principal.batching.to_string(),
        "expires_at": principal.expires_at.map(time),
    })))
}
