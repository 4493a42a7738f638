//! Parts of pages that follow what happens: those that have changed are sent, once a second.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use auth::Principal;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use maud::Markup;
use serde_json::{Map, json};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{Error, Gateway, users};

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Parts of a page, by the ids of their elements.
pub type Parts = Vec<(&'static str, Markup)>;

/// One reader's stream.
struct Reader<L> {
    gateway: Arc<Gateway>,
    principal: Principal,
    look: L,
    looks: Interval,
    /// What the reader's page shows.
    sent: HashMap<&'static str, String>,
    over: bool,
}

/// Answers with what `look` returns again and again, until the reader's key is worth nothing or the server stops.
///
/// # Errors
/// When the tenant has as many streams open as it may.
pub fn stream<L, F>(gateway: &Arc<Gateway>, principal: Principal, look: L) -> Result<Response, Error>
where
    L: FnMut() -> F + Send + 'static,
    F: Future<Output = Result<Parts, Error>> + Send + 'static,
{
    // They stay open as websockets do, and count as such.
    let held = gateway.sockets.try_take(&principal.tenant, 1)?;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reader = Reader { gateway: Arc::clone(gateway), principal, look, looks, sent: HashMap::new(), over: false };
    let events = futures::stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let events = events.inspect(move |_| _ = &held).take_until(gateway.closing.clone().cancelled_owned());
    Ok(Sse::new(events).into_response())
}

impl<L, F> Reader<L>
where
    L: FnMut() -> F,
    F: Future<Output = Result<Parts, Error>>,
{
    async fn next(&mut self) -> Option<Event> {
        while !self.over {
            self.looks.tick().await;
            match self.changed().await {
                Ok(event) => return Some(event),
                Err(
                    error @ (Error::NoKey
                    | Error::WrongKey
                    | Error::Suspended(_)
                    | Error::Token(_)
                    | Error::Forbidden { .. }),
                ) => {
                    self.over = true;
                    return Some(Event::default().event("over").data(error.to_string()));
                }
                // The reader sees that nothing comes.
                Err(error) => tracing::debug!(%error, "a page is not brought up to date"),
            }
        }
        None
    }

    /// Returns the parts that are not as they were sent last.
    async fn changed(&mut self) -> Result<Event, Error> {
        if users::again(&self.gateway, &self.principal).await?.known()?.scopes != self.principal.scopes {
            return Err(Error::forbidden(&self.principal, "see this any longer; open the page again"));
        }
        let mut changed = Map::new();
        for (id, part) in (self.look)().await? {
            let part = part.into_string();
            if self.sent.get(id) != Some(&part) {
                changed.insert(id.into(), json!(part));
                self.sent.insert(id, part);
            }
        }
        Event::default().event("parts").json_data(changed).map_err(Error::internal)
    }
}
