//! What happens to a job, as it happens.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use store::{Change, Position};

use super::jobs::{queue_time, shown};
use crate::authenticate::Caller;
use crate::{Error, Gateway, job};

/// How often who follows is told that there is nothing to tell, so that connections are not taken for dead.
const ALIVE: Duration = Duration::from_secs(15);

/// Behind which event to go on, for who cannot set a header.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct After {
    after: Option<String>,
}

/// `GET /v1/jobs/{job}/events`: server-sent events. `state` has the job as it is then, `log` what it printed; the last is a
/// `state` that is an end. `Last-Event-ID`, or `after`, goes on behind an event, at whichever gateway; there is none behind the last, and
/// the answer is 204.
pub async fn events(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
    after: Result<Query<After>, QueryRejection>,
) -> Result<Response, Error> {
    let what = "follow another tenant's job, which only a key of that tenant may";
    let (principal, record) = job::private(&gateway, caller, &id, what).await?;
    let Query(After { after }) = after.map_err(|error| Error::Malformed(error.body_text()))?;
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
    let position = match last.or(after.as_deref()) {
        None | Some("") => Position::default(),
        Some(text) => text.parse::<Position>().map_err(Error::Unfit)?,
    };
    let queue_time = queue_time(&gateway).await?;
    // As a websocket that follows a job.
    let held = gateway.sockets.try_take(&principal.tenant, 1)?;
    let mut follow = gateway.jobs.follow(record.id, position).await?;
    let mut first = None;
    if record.state.terminal() {
        // It is all there, so that nothing is waited for.
        first = follow.next().await?;
        if first.is_none() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
    }
    let begun = first.map(|first| (first, follow.position()));
    let rest = futures::stream::unfold((follow, held), |(mut follow, held)| async move {
        match follow.next().await {
            Ok(Some(change)) => Some(((change, follow.position()), (follow, held))),
            Ok(None) => None,
            Err(error) => {
                // Who follows comes back, and goes on from where this ends.
                tracing::warn!(%error, "an event stream ends early");
                None
            }
        }
    });
    let events = futures::stream::iter(begun).chain(rest).map(move |(change, position)| {
        let event = Event::default().id(position.to_string());
        match change {
            Change::Record(record) => event.event("state").json_data(shown(&record, &principal, queue_time)),
            Change::Log { attempt, text } => event.event("log").json_data(json!({ "attempt": attempt, "text": text })),
        }
    });
    // A gateway that stops ends them; another goes on.
    let events = events.take_until(gateway.draining.clone().cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response())
}
