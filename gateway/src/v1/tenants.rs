//! Tenants: made, looked at, suspended and resumed. All of it takes an administrator's key.

use std::sync::Arc;

use auth::{Principal, Tenant};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use ids::TenantId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{read, time};
use crate::authenticate::Administrator;
use crate::{Error, Gateway};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: TenantId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    suspended: bool,
}

/// `GET /v1/tenants`: all of them, in the order of their names.
pub async fn list(State(gateway): State<Arc<Gateway>>, _: Administrator) -> Result<Json<Value>, Error> {
    let tenants: Vec<Value> = all(&gateway).await?.iter().map(shown).collect();
    Ok(Json(json!({ "tenants": tenants })))
}

/// `POST /v1/tenants` with `{"name": …}`: makes one.
pub async fn create(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Error> {
    let Create { name } = read(&gateway, body).await?;
    make(&gateway, &principal, &name).await?;
    Ok((StatusCode::CREATED, Json(shown(&find(&gateway, name.as_str()).await?))))
}

/// `GET /v1/tenants/{name}`.
pub async fn show(
    State(gateway): State<Arc<Gateway>>,
    _: Administrator,
    Path(name): Path<String>,
) -> Result<Json<Value>, Error> {
    Ok(Json(shown(&find(&gateway, &name).await?)))
}

/// `PATCH /v1/tenants/{name}` with `{"suspended": true}` or `false`. What runs goes on; nothing new is accepted.
pub async fn change(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>, Error> {
    let Change { suspended } = read(&gateway, body).await?;
    suspend(&gateway, &principal, &name, suspended).await?;
    Ok(Json(shown(&find(&gateway, &name).await?)))
}

/// Makes a tenant.
///
/// # Errors
/// [`Error::Conflict`] for one that there is, [`Error::Unfit`] for a name that none can have.
pub async fn make(gateway: &Gateway, principal: &Principal, name: &TenantId) -> Result<(), Error> {
    // One that is a name on keys exists, too.
    let there = find(gateway, name.as_str()).await.is_ok();
    if there || !gateway.tenants.create(name).await? {
        return Err(Error::Conflict(format!("there is a tenant {name} already; choose another name")));
    }
    tracing::info!(tenant = %name, by = %principal.key, "tenant created");
    Ok(())
}

/// Suspends a tenant, or ends that.
///
/// # Errors
/// [`Error::NoTenant`]; [`Error::Conflict`] for the tenant of who asks.
pub async fn suspend(gateway: &Gateway, principal: &Principal, name: &str, suspended: bool) -> Result<(), Error> {
    let tenant = find(gateway, name).await?.name;
    if suspended && tenant == principal.tenant {
        let refused = "the key that asks is this tenant's own and would be refused from then on; ask with another's";
        return Err(Error::Conflict(format!("tenant {tenant} is not suspended: {refused}")));
    }
    gateway.tenants.suspend(&tenant, suspended).await?;
    tracing::info!(%tenant, suspended, by = %principal.key, "tenant changed");
    Ok(())
}

/// Returns the tenant of a name.
///
/// # Errors
/// [`Error::NoTenant`].
pub async fn find(gateway: &Gateway, name: &str) -> Result<Tenant, Error> {
    let found = all(gateway).await?.into_iter().find(|tenant| tenant.name.as_str() == name);
    found.ok_or_else(|| Error::NoTenant(name.to_owned()))
}

/// Returns all tenants, in the order of their names.
///
/// # Errors
/// When the store fails.
pub async fn all(gateway: &Gateway) -> Result<Vec<Tenant>, Error> {
    Ok(gateway.tenants.list(&gateway.keys.list().await?).await?)
}

fn shown(tenant: &Tenant) -> Value {
    json!({
        "name": tenant.name,
        "keys": tenant.keys,
        "created_at": tenant.created_at.map(time),
        "suspended_at": tenant.suspended_at.map(time),
    })
}
