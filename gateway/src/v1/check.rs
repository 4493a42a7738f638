//! `POST /v1/check`: a submission that is looked at and not taken.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use explain::Explanation;
use explain::answer::Queue;
use ids::JobId;
use schemars::JsonSchema;

use crate::authenticate::Caller;
use crate::explainer::Explainer;
use crate::submit::{Arrival, Sent, queued, take_turn};
use crate::{Error, Gateway, progress};

/// What nnsight's clients send to `POST /request`.
#[derive(JsonSchema)]
#[schemars(rename = "Submission")]
#[expect(dead_code, reason = "only described")]
pub struct Form {
    /// JSON: the model's key, whether the other part is compressed, and how the model is to be set up.
    data: String,
    /// The traced block and the values that it refers to, as the client pickles them.
    blob: String,
}

/// Tells what a program would do. Whatever a submission is refused for, this is refused for, in the same words: it comes by
/// the same way, and turns back where the job would be made.
pub async fn check(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    request: Request,
) -> Result<Json<Explanation>, Error> {
    let arrival = Arrival::take(&gateway, caller, Sent::form(request), None).await?;
    let Arrival { principal, model, reading, upload, turn } = arrival;
    let turn = match turn {
        Some(turn) => turn,
        None => take_turn(&gateway, &principal).await?,
    };
    let explainer = Explainer::of(&gateway, &model).await?;
    let looked = tokio::task::spawn_blocking(move || {
        let (program, payload) = reading.checked(&reading.limits)?;
        Ok::<_, Error>((explainer.explain(&program, &reading.limits), payload.len()))
    });
    let (mut told, bytes) = looked.await.map_err(Error::internal)??;
    drop((upload, turn));
    let (record, allowance) = (queued(&principal, JobId::new(), model, bytes), principal.allowance());
    gateway.backlog.check(&record.tenant, record.payload_bytes)?;
    if record.metered {
        gateway.jobs.would_accept(&record, &allowance).await?;
    }
    let (all, own) = gateway.backlog.before(&record.model, &record.tenant);
    told.queue = Some(Queue { model: all, own, waits_for: progress::wait(&gateway, &record) });
    Ok(Json(told))
}
