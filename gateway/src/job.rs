//! Looking at one's job, and ending it.

use std::sync::Arc;

use auth::{Principal, Scope};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use failpoints::Point;
use ids::{JobId, TenantId};
use nnsight::ResponseModel;
use store::JobRecord;

use crate::authenticate::Caller;
use crate::{Error, Gateway, progress};

/// `GET /response/{id}`: how far a job is. A result comes as a link, since JSON cannot carry bytes.
pub async fn response(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<ResponseModel>, Error> {
    let principal = caller.permitted(Scope::ReadOwn)?;
    let record = own(&gateway, &principal, &id).await?;
    Ok(Json(progress::response(&gateway, &record, &progress::origin(&gateway, &headers))))
}

/// `DELETE /request/{id}`: ends a job at its next layer. An operator may end any tenant's.
pub async fn cancel(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<ResponseModel>), Error> {
    let principal = caller.permitted(Scope::ReadOwn)?;
    let record = end(&gateway, &principal, &id).await?;
    let response = progress::response(&gateway, &record, &progress::origin(&gateway, &headers));
    Ok((StatusCode::ACCEPTED, Json(response)))
}

/// Asks for a job to be ended. Returns it as it is now.
///
/// # Errors
/// [`Error::NoJob`], also for a job that is not the caller's to end.
pub async fn end(gateway: &Gateway, principal: &Principal, id: &str) -> Result<JobRecord, Error> {
    let JobRecord { id, tenant, .. } = find(gateway, principal, id).await?;
    let record = gateway.jobs.cancel(&tenant, id).await?;
    failpoints::pass(Point::CancelCommitted);
    tracing::info!(job = %id, %tenant, by = %principal.key, "cancellation asked for");
    Ok(record)
}

/// Returns a job of the caller's tenant.
///
/// # Errors
/// As [`find`].
pub async fn own(gateway: &Gateway, principal: &Principal, id: &str) -> Result<JobRecord, Error> {
    look_up(gateway, id, |tenant| *tenant == principal.tenant).await
}

/// Returns a job that the caller may know of: one of their tenant's, and for an operator any.
///
/// # Errors
/// [`Error::NoJob`], and in the same words [`Error::NotYours`].
pub async fn find(gateway: &Gateway, principal: &Principal, id: &str) -> Result<JobRecord, Error> {
    look_up(gateway, id, |tenant| *tenant == principal.tenant || principal.may(Scope::Operate)).await
}

/// Returns the caller, and a job of which they want what only its own tenant may have. `what` says what that is.
///
/// # Errors
/// As [`find`]; [`Error::Forbidden`] for who operates and is of another tenant.
pub async fn private(
    gateway: &Gateway,
    caller: Caller,
    id: &str,
    what: &'static str,
) -> Result<(Principal, JobRecord), Error> {
    let principal = caller.permitted(Scope::ReadOwn)?;
    let record = find(gateway, &principal, id).await?;
    match record.tenant == principal.tenant {
        true => Ok((principal, record)),
        false => Err(Error::forbidden(&principal, what)),
    }
}

/// Reads a job, but for its program, if the caller may know of it. Of another's it is read whose it is, and of one that never
/// was that it is nobody's: that is the same question, so that the time until the answer tells nothing.
async fn look_up(gateway: &Gateway, id: &str, may: impl Fn(&TenantId) -> bool) -> Result<JobRecord, Error> {
    let id = id.parse::<JobId>().map_err(|_| Error::NoJob)?;
    let tenant = gateway.jobs.tenant(id).await?.ok_or(Error::NoJob)?;
    if !may(&tenant) {
        return Err(Error::NotYours);
    }
    gateway.jobs.shown(id).await?.ok_or(Error::NoJob)
}
