//! Tenants: made, looked at, suspended and resumed. All of it takes an administrator's key.

use std::sync::Arc;

use auth::{Principal, Quota, Tenant, Terms};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use ids::{Class, TenantId};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{quota, read, time};
use crate::authenticate::Administrator;
use crate::trail::acted;
use crate::{Error, Gateway};

/// All tenants.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Tenants")]
pub struct List {
    tenants: Vec<Shown>,
}

/// A tenant.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Tenant")]
pub struct Shown {
    name: String,
    /// How many keys it has, those that have expired too.
    keys: usize,
    /// Null for one that is nothing but a name on keys.
    created_at: Option<String>,
    suspended_at: Option<String>,
    quota: Quota,
    /// The models that it may use; null for all.
    models: Option<Vec<String>>,
    /// How urgent its jobs are: high, normal or low.
    class: &'static str,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewTenant")]
#[serde(deny_unknown_fields)]
pub struct Create {
    #[schemars(with = "String")]
    pub name: TenantId,
    /// Default: no bounds.
    pub quota: Option<Quota>,
    /// Default: all.
    pub models: Option<Vec<String>>,
    /// high, normal or low. Default: normal.
    pub class: Option<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[schemars(rename = "TenantChange")]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub suspended: Option<bool>,
    /// Null for all.
    #[serde(default, deserialize_with = "given")]
    pub models: Option<Option<Vec<String>>>,
    /// high, normal or low. It counts for jobs that are accepted from then on.
    pub class: Option<String>,
}

/// `GET /v1/tenants`: all of them, in the order of their names.
pub async fn list(State(gateway): State<Arc<Gateway>>, _: Administrator) -> Result<Json<List>, Error> {
    Ok(Json(List { tenants: all(&gateway).await?.iter().map(shown).collect() }))
}

/// `POST /v1/tenants` with `{"name": …}`: makes one.
pub async fn create(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    body: Body,
) -> Result<Response, Error> {
    let create: Create = read(&gateway, body).await?;
    let name = create.name.clone();
    let what = make(&gateway, &principal, create).await?;
    let answer = (StatusCode::CREATED, Json(shown(&find(&gateway, name.as_str()).await?)));
    Ok(acted(what, answer))
}

/// `GET /v1/tenants/{tenant}`.
pub async fn show(
    State(gateway): State<Arc<Gateway>>,
    _: Administrator,
    Path(name): Path<String>,
) -> Result<Json<Shown>, Error> {
    Ok(Json(shown(&find(&gateway, &name).await?)))
}

/// `PATCH /v1/tenants/{tenant}` with `suspended`, true or false, `models` or `class`. Of a tenant that is suspended what runs goes on,
/// and nothing new is accepted.
pub async fn change(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Error> {
    let what = alter(&gateway, &principal, &name, read(&gateway, body).await?).await?;
    Ok(acted(what, Json(shown(&find(&gateway, &name).await?))))
}

/// Makes a tenant. Returns what was done, in words.
///
/// # Errors
/// [`Error::Conflict`] for one that there is, [`Error::Unfit`] for what none can be.
pub async fn make(gateway: &Gateway, principal: &Principal, create: Create) -> Result<String, Error> {
    let Create { name, quota, models, class } = create;
    let class = class.as_deref().map(self::class).transpose()?;
    quota.as_ref().map_or(Ok(()), quota::check)?;
    models.as_deref().map_or(Ok(()), Terms::check).map_err(Error::Unfit)?;
    // One that is a name on keys exists, too.
    let there = find(gateway, name.as_str()).await.is_ok();
    if there || !gateway.tenants.create(&name).await? {
        return Err(Error::Conflict(format!("there is a tenant {name} already; choose another name")));
    }
    if quota.is_some() || models.is_some() || class.is_some() {
        let terms = Terms { quota: quota.unwrap_or_default(), models, class, ..Terms::default() };
        gateway.tenants.give(&name, |given| given.clone_from(&terms)).await?;
    }
    Ok(format!("{} made the tenant {name}", principal.key))
}

/// Changes a tenant. Returns what was done, in words.
///
/// # Errors
/// [`Error::NoTenant`]; [`Error::Conflict`] for who would suspend their own; [`Error::Unfit`] where nothing is asked for.
pub async fn alter(gateway: &Gateway, principal: &Principal, name: &str, change: Change) -> Result<String, Error> {
    let Change { suspended, models, class } = change;
    let class = class.as_deref().map(self::class).transpose()?;
    models.iter().flatten().try_for_each(|models| Terms::check(models)).map_err(Error::Unfit)?;
    let tenant = find(gateway, name).await?.name;
    if suspended == Some(true) && tenant == principal.tenant {
        let refused = "the key that asks is this tenant's own and would be refused from then on; ask with another's";
        return Err(Error::Conflict(format!("tenant {tenant} is not suspended: {refused}")));
    }
    let mut done = Vec::new();
    if let Some(models) = models {
        gateway.tenants.give(&tenant, |terms| terms.models.clone_from(&models)).await?;
        done.push(format!("gave the tenant {tenant} {}", models_in_words(models.as_deref())));
    }
    if let Some(class) = class {
        gateway.tenants.give(&tenant, |terms| terms.class = Some(class)).await?;
        done.push(format!("gave the tenant {tenant} the class {class}"));
    }
    if let Some(suspended) = suspended {
        gateway.tenants.suspend(&tenant, suspended).await?;
        done.push(format!("{} the tenant {tenant}", if suspended { "suspended" } else { "resumed" }));
    }
    if done.is_empty() {
        return Err(Error::Unfit("nothing is to be changed: give suspended, models or class".into()));
    }
    Ok(format!("{} {}", principal.key, done.join(" and ")))
}

/// Returns the tenant of a name.
///
/// # Errors
/// [`Error::NoTenant`].
pub async fn find(gateway: &Gateway, name: &str) -> Result<Tenant, Error> {
    let found = all(gateway).await?.into_iter().find(|tenant| tenant.name.as_str() == name);
    found.ok_or_else(|| Error::NoTenant(name.to_owned()))
}

/// Reads how urgent jobs are to be.
///
/// # Errors
/// [`Error::Unfit`].
pub fn class(name: &str) -> Result<Class, Error> {
    name.parse().map_err(Error::Unfit)
}

/// Says which models somebody may use.
pub fn models_in_words(models: Option<&[String]>) -> String {
    match models {
        None => "all models".into(),
        Some([]) => "no models".into(),
        Some(models) => format!("the models {}", models.join(", ")),
    }
}

/// Tells a field that is null from one that is left out.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// Returns all tenants, in the order of their names.
///
/// # Errors
/// When the store fails.
pub async fn all(gateway: &Gateway) -> Result<Vec<Tenant>, Error> {
    Ok(gateway.tenants.list(&gateway.keys.list().await?).await?)
}

fn shown(tenant: &Tenant) -> Shown {
    Shown {
        name: tenant.name.to_string(),
        keys: tenant.keys,
        created_at: tenant.created_at.map(time),
        suspended_at: tenant.suspended_at.map(time),
        quota: tenant.terms.quota.clone(),
        models: tenant.terms.models.clone(),
        class: tenant.terms.class.unwrap_or_default().name(),
    }
}
