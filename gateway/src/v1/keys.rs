//! Keys: made, listed and revoked. All of it takes an administrator's key.

use std::sync::Arc;
use std::time::Duration;

use auth::{Grant, KeyRecord, Keys, Principal, Scope, Secret};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use ids::{KeyId, TenantId};
use program::Batching;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{read, tenants, time};
use crate::authenticate::Administrator;
use crate::{Error, Gateway, unix_seconds};

/// The longest that a key with an end may be valid.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Characters of a note.
const NOTE: usize = 200;

/// What a key is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    pub tenant: TenantId,
    /// Default: submit and read-own.
    pub scopes: Option<Vec<String>>,
    /// A time as `30d`. Default: without end.
    pub expires_in: Option<String>,
    /// What it is for.
    pub note: Option<String>,
    /// Default: shared.
    pub batching: Option<String>,
}

/// Which keys are wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    tenant: Option<TenantId>,
}

/// `GET /v1/keys?tenant=…`: what is known of keys, and nothing of what they are made of.
pub async fn list(
    State(gateway): State<Arc<Gateway>>,
    _: Administrator,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Value>, Error> {
    let Query(wanted) = wanted.map_err(|error| Error::Malformed(error.body_text()))?;
    let keys: Vec<Value> = all(&gateway, wanted.tenant.as_ref()).await?.iter().map(shown).collect();
    Ok(Json(json!({ "keys": keys })))
}

/// `POST /v1/keys`: makes a key of a tenant that there is. Its text is in this answer and nowhere else.
pub async fn create(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Error> {
    let (key, record) = make(&gateway, &principal, read(&gateway, body).await?).await?;
    let mut answer = shown(&record);
    answer["key"] = key.reveal().into();
    Ok((StatusCode::CREATED, Json(answer)))
}

/// `DELETE /v1/keys/{id}`: ends a key, here at once and everywhere within 5 seconds.
pub async fn revoke(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    end(&gateway, &principal, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the keys of a tenant, or of all, by tenant and age.
///
/// # Errors
/// When the store fails.
pub async fn all(gateway: &Gateway, tenant: Option<&TenantId>) -> Result<Vec<KeyRecord>, Error> {
    let mut keys = gateway.keys.list().await?;
    keys.retain(|key| tenant.is_none_or(|tenant| *tenant == key.tenant));
    keys.sort_by(|left, right| {
        (&left.tenant, left.created_at, &left.id).cmp(&(&right.tenant, right.created_at, &right.id))
    });
    Ok(keys)
}

/// Makes a key of a tenant that there is. Its text is in what this returns, and nowhere else.
///
/// # Errors
/// [`Error::NoTenant`]; [`Error::Unfit`] for what no key can be.
pub async fn make(gateway: &Gateway, principal: &Principal, create: Create) -> Result<(Secret, KeyRecord), Error> {
    let tenant = tenants::find(gateway, create.tenant.as_str()).await?.name;
    let grant = create.grant()?;
    let key = Keys::make()?;
    let record = gateway.keys.register(&key, grant).await?;
    tracing::info!(key = %record.id, %tenant, by = %principal.key, "key created");
    Ok((key, record))
}

/// Ends a key.
///
/// # Errors
/// [`Error::NoSuchKey`].
pub async fn end(gateway: &Gateway, principal: &Principal, id: &str) -> Result<(), Error> {
    if !gateway.keys.revoke(&KeyId::new(id)).await? {
        return Err(Error::NoSuchKey(id.to_owned()));
    }
    tracing::info!(key = %id, by = %principal.key, "key revoked");
    Ok(())
}

impl Create {
    fn grant(self) -> Result<Grant, Error> {
        let scopes = match self.scopes {
            None => Scope::DEFAULT.to_vec(),
            Some(names) => names.iter().map(|name| name.parse()).collect::<Result<_, _>>().map_err(Error::Unfit)?,
        };
        if scopes.is_empty() {
            return Err(Error::Unfit(
                "a key without scopes would permit nothing; leave them out for the usual ones".into(),
            ));
        }
        let batching = self.batching.map(|name| name.parse::<Batching>()).transpose().map_err(Error::Unfit)?;
        if self.note.as_ref().is_some_and(|note| note.chars().count() > NOTE || note.chars().any(char::is_control)) {
            return Err(Error::Unfit(format!("a note is one line of at most {NOTE} characters")));
        }
        let expires_at = self.expires_in.map(|text| expiry(&text)).transpose()?;
        let batching = batching.unwrap_or_default();
        Ok(Grant { tenant: self.tenant, scopes, batching, expires_at, note: self.note })
    }
}

/// Returns the second at which a key ends that is valid for a while from now.
fn expiry(text: &str) -> Result<u64, Error> {
    match humantime::parse_duration(text) {
        Ok(time) if (1..=LONGEST.as_secs()).contains(&time.as_secs()) => Ok(unix_seconds() + time.as_secs()),
        Ok(_) => Err(Error::Unfit(format!("expires_in is {text:?}, but must be between 1s and 36500d"))),
        Err(error) => {
            Err(Error::Unfit(format!("expires_in is {text:?}, which is no time such as 12h or 30d: {error}")))
        }
    }
}

fn shown(key: &KeyRecord) -> Value {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.name()).collect();
    json!({
        "id": key.id,
        "tenant": key.tenant,
        "scopes": scopes,
        "batching": key.batching.to_string(),
        "created_at": time(key.created_at),
        "expires_at": key.expires_at.map(time),
        "note": key.note,
    })
}
