//! Looking at one's job, and ending it.

use std::sync::Arc;

use auth::{Principal, Scope};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use failpoints::Point;
use ids::{JobId, TenantId};
use nnsight::ResponseModel;

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
    let id = id.parse::<JobId>().map_err(|_| Error::NoJob)?;
    let record = gateway.jobs.get(&principal.tenant, id).await?.ok_or(Error::NoJob)?;
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
    let id = id.parse::<JobId>().map_err(|_| Error::NoJob)?;
    let tenant = owner(&gateway, &principal, id).await?;
    let record = gateway.jobs.cancel(&tenant, id).await?;
    failpoints::pass(Point::CancelCommitted);
    tracing::info!(job = %id, %tenant, by = %principal.key, "cancellation asked for");
    let response = progress::response(&gateway, &record, &progress::origin(&gateway, &headers));
    Ok((StatusCode::ACCEPTED, Json(response)))
}

/// Returns the tenant in whose name the caller may touch a job.
async fn owner(gateway: &Gateway, principal: &Principal, id: JobId) -> Result<TenantId, Error> {
    if !principal.may(Scope::Operate) {
        return Ok(principal.tenant.clone());
    }
    gateway.jobs.find(id).await?.map(|(record, _)| record.tenant).ok_or(Error::NoJob)
}
