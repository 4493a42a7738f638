//! Quotas of tenants and of keys, and what is used of them.

use std::sync::Arc;

use auth::{KeyRecord, Principal, Quota};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use ids::{KeyId, TenantId};
use schemars::JsonSchema;
use serde::Serialize;

use super::{keys, read, tenants};
use crate::authenticate::Administrator;
use crate::trail::acted;
use crate::{Error, Gateway, unix_millis};

/// A quota.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "QuotaAndUse")]
pub struct Shown {
    pub quota: Quota,
    /// Null where nothing is bounded, and so nothing counted.
    pub used: Option<Used>,
}

/// What is used of a quota.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Use")]
pub struct Used {
    pub device_seconds_today: f64,
    /// Kept for jobs that wait or run.
    pub device_seconds_reserved: f64,
    pub queued_jobs: u64,
    pub stored_bytes: u64,
}

/// `GET /v1/tenants/{tenant}/quota`.
pub async fn of_tenant(
    State(gateway): State<Arc<Gateway>>,
    _: Administrator,
    Path(name): Path<String>,
) -> Result<Json<Shown>, Error> {
    let tenant = tenants::find(&gateway, &name).await?;
    Ok(Json(shown(&gateway, &tenant.terms.quota, &tenant.name, None).await?))
}

/// `PUT /v1/tenants/{tenant}/quota` with a quota: what it leaves out is not bounded from then on.
pub async fn give_tenant(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Error> {
    let quota: Quota = read(&gateway, body).await?;
    let (tenant, what) = give(&gateway, &principal, &name, &quota).await?;
    Ok(acted(what, Json(shown(&gateway, &quota, &tenant, None).await?)))
}

/// Gives a tenant a quota. Returns the tenant, and what was done, in words.
///
/// # Errors
/// [`Error::NoTenant`]; [`Error::Unfit`] for a quota that would shut the tenant out.
pub async fn give(
    gateway: &Gateway,
    principal: &Principal,
    name: &str,
    quota: &Quota,
) -> Result<(TenantId, String), Error> {
    check(quota)?;
    let tenant = tenants::find(gateway, name).await?.name;
    gateway.tenants.give(&tenant, |terms| terms.quota = quota.clone()).await?;
    let what = format!("{} gave the tenant {tenant} the quota {}", principal.key, words(quota));
    Ok((tenant, what))
}

/// `GET /v1/keys/{key}/quota`.
pub async fn of_key(
    State(gateway): State<Arc<Gateway>>,
    _: Administrator,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Error> {
    let KeyRecord { id, tenant, terms, .. } = keys::find(&gateway, &id).await?;
    Ok(Json(shown(&gateway, &terms.quota, &tenant, Some(&id)).await?))
}

/// `PUT /v1/keys/{key}/quota` with a quota, which is within that of its tenant.
pub async fn give_key(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Error> {
    let quota: Quota = read(&gateway, body).await?;
    check(&quota)?;
    if quota.running_jobs.is_some() {
        return Err(Error::Unfit("a key has no quota of running_jobs: give one to its tenant".into()));
    }
    let id = keys::find(&gateway, &id).await?.id;
    let changed = gateway.keys.change(&id, |record| Arc::make_mut(&mut record.terms).quota = quota.clone()).await?;
    let tenant = changed.ok_or_else(|| Error::NoSuchKey(id.to_string()))?.tenant;
    let what = format!("{} gave the key {id} of {tenant} the quota {}", principal.key, words(&quota));
    Ok(acted(what, Json(shown(&gateway, &quota, &tenant, Some(&id)).await?)))
}

/// Shows a quota and what is used of it, which is counted only where there is one.
pub async fn shown(gateway: &Gateway, quota: &Quota, tenant: &TenantId, key: Option<&KeyId>) -> Result<Shown, Error> {
    let used = match *quota == Quota::default() {
        true => None,
        false => {
            let used = gateway.jobs.used(tenant, key, unix_millis()).await?;
            Some(Used {
                device_seconds_today: used.computed as f64 / 1e6,
                device_seconds_reserved: used.reserved as f64 / 1e6,
                queued_jobs: used.jobs,
                stored_bytes: used.bytes,
            })
        }
    };
    Ok(Shown { quota: quota.clone(), used })
}

/// Refuses a quota that would shut its owner out.
pub fn check(quota: &Quota) -> Result<(), Error> {
    match quota.requests_per_second {
        Some(0) => Err(Error::Unfit(
            "requests_per_second must be at least 1: who may ask for nothing cannot be told so; suspend the tenant"
                .into(),
        )),
        _ => match quota.running_jobs {
            Some(0) => Err(Error::Unfit(
                "running_jobs must be at least 1: jobs would wait for ever; queued_jobs of 0 refuses them".into(),
            )),
            _ => Ok(()),
        },
    }
}

/// Writes a quota for people.
pub fn words(quota: &Quota) -> String {
    let parts = [
        (quota.device_seconds_per_day, "device seconds a day"),
        (quota.running_jobs, "running jobs"),
        (quota.queued_jobs, "jobs that wait or run"),
        (quota.stored_bytes, "bytes"),
        (quota.requests_per_second, "requests a second"),
    ];
    let parts: Vec<String> =
        parts.iter().filter_map(|(some, of)| some.map(|number| format!("{number} {of}"))).collect();
    if parts.is_empty() { "none, so that nothing is bounded".into() } else { parts.join(", ") }
}
