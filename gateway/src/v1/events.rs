//! What happens to a job, as it happens.

use std::sync::Arc;
use std::time::Duration;

use auth::{Principal, Scope};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use store::{Change, Position};
use tokio::time::{MissedTickBehavior, interval};

use super::jobs::{queue_time, shown};
use crate::authenticate::Caller;
use crate::{Error, Gateway, job, users};

/// How often who follows is told that there is nothing to tell, so that connections are not taken for dead.
const ALIVE: Duration = Duration::from_secs(15);

/// How often it is looked whether who follows still may.
const LOOK: Duration = Duration::from_secs(1);

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
    // Whoever may not is told that, whatever else is wrong.
    caller.clone().permitted(Scope::ReadOwn)?;
    let Query(After { after }) = after.map_err(|error| Error::Malformed(error.body_text()))?;
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
    let Some(Followed { principal, queue_time, changes }) =
        follow(&gateway, caller, &id, last.or(after.as_deref())).await?
    else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    // Who follows comes back, and goes on from where this ends.
    let told =
        changes.take_while(|change| std::future::ready(change.is_ok())).filter_map(|it| std::future::ready(it.ok()));
    let events = told.map(move |(change, position)| {
        let event = Event::default().id(position.to_string());
        match change {
            Change::Record(record) => event.event("state").json_data(shown(&record, &principal, queue_time)),
            Change::Log { attempt, text } => event.event("log").json_data(json!({ "attempt": attempt, "text": text })),
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response())
}

/// A job that somebody follows.
pub struct Followed {
    pub principal: Principal,
    /// As [`queue_time`] returns it.
    pub queue_time: Option<u64>,
    /// What happens to it, each with the place behind it. The last may be why they end early: whoever follows may no longer; or
    /// a gateway that stops ends them, and another goes on.
    pub changes: BoxStream<'static, Result<(Change, Position), Error>>,
}

/// Follows a job of the caller's own tenant from behind an event. `None` where nothing comes behind that.
///
/// # Errors
/// As [`job::private`]; [`Error::Unfit`] for what is no event; [`Error::TooManyAtOnce`], [`Error::Busy`].
pub async fn follow(
    gateway: &Arc<Gateway>,
    caller: Caller,
    id: &str,
    after: Option<&str>,
) -> Result<Option<Followed>, Error> {
    let what = "follow another tenant's job, which only a key of that tenant may";
    let (principal, record) = job::private(gateway, caller, id, what).await?;
    let position = match after {
        None | Some("") => Position::default(),
        Some(text) => text.parse::<Position>().map_err(Error::Unfit)?,
    };
    let queue_time = queue_time(gateway).await?;
    // As a websocket that follows a job.
    let held = (gateway.sockets.try_take(&principal.tenant, 1)?, gateway.gone.follow(record.id));
    let mut follow = gateway.jobs.follow(record.id, position).await?;
    let mut first = None;
    if record.state.terminal() {
        // It is all there, so that nothing is waited for.
        first = follow.next().await?;
        if first.is_none() {
            return Ok(None);
        }
    }
    let begun = first.map(|first| Ok((first, follow.position())));
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (here, reader) = (Arc::clone(gateway), principal.clone());
    let rest = stream::unfold(Some((follow, held, looks)), move |following| {
        let (gateway, principal) = (Arc::clone(&here), reader.clone());
        async move {
            let (mut follow, held, mut looks) = following?;
            let change = loop {
                // Cancel safe: what is not told stays to be.
                tokio::select! {
                    biased;
                    () = gateway.draining.cancelled() => return Some((Err(Error::Stopping), None)),
                    _ = looks.tick() => {
                        if let Err(refused) = may_still(&gateway, &principal).await {
                            return Some((Err(refused), None));
                        }
                    }
                    change = follow.next() => break change,
                }
            };
            match change {
                Ok(change) => change.map(|change| (Ok((change, follow.position())), Some((follow, held, looks)))),
                Err(error) => {
                    tracing::warn!(%error, "an event stream ends early");
                    Some((Err(error.into()), None))
                }
            }
        }
    });
    let changes = stream::iter(begun).chain(rest).boxed();
    Ok(Some(Followed { principal, queue_time, changes }))
}

/// Says whether who follows a job may read it still. Where nobody can say, they may: nothing new can be read then, either.
async fn may_still(gateway: &Gateway, principal: &Principal) -> Result<(), Error> {
    match users::again(gateway, principal).await {
        Ok(caller) => caller.permitted(Scope::ReadOwn).map(|_| ()),
        Err(error) => {
            tracing::debug!(%error, "it cannot be looked whether who follows a job may");
            Ok(())
        }
    }
}
