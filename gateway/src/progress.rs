//! A job's record in the client's terms.

use axum::http::HeaderMap;
use failpoints::Point;
use nnsight::{ResponseModel, Status};
use serde_json::{Map, Value, json};
use store::{Blob, Fault, JobRecord, ModelState, Outcome, State};

use crate::{Gateway, unix_millis, unix_seconds};

/// Returns a job's status for a client that polls or whose websocket carries text.
/// A result is given as a link that begins with `origin`.
pub fn response(gateway: &Gateway, record: &JobRecord, origin: &str) -> ResponseModel {
    let description = description(gateway, record);
    let mut response = ResponseModel::new(record.id.to_string(), status(record.state), description);
    if record.state.terminal() {
        response.meta = Some(meta(record));
    }
    if let Some(Outcome::Result(_)) = &record.outcome {
        response.data = Some(Value::String(link(gateway, record, origin)));
    }
    response
}

/// Returns what a job cost, as scheduler and worker told it.
pub fn meta(record: &JobRecord) -> Map<String, Value> {
    let mut meta = serde_json::from_str::<Map<String, Value>>(&record.meta).unwrap_or_default();
    meta.insert("request_bytes".into(), json!(record.payload_bytes));
    if let Some(Outcome::Result(result)) = &record.outcome {
        meta.insert("result_bytes".into(), json!(result.len()));
    }
    meta
}

/// Returns the result of a completed job.
pub fn result(record: &JobRecord) -> Option<&Blob> {
    match &record.outcome {
        Some(Outcome::Result(blob)) => Some(blob),
        _ => None,
    }
}

/// Returns what links of this server begin with: what the operator says, else as the client that sent `headers` sees
/// it. A client that lies about the host gets links to where it said.
pub fn origin(gateway: &Gateway, headers: &HeaderMap) -> String {
    if let Some(url) = &gateway.settings.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let host = headers.get("host").and_then(|host| host.to_str().ok()).filter(|host| is_host(host));
    let scheme = if gateway.settings.https { "https" } else { "http" };
    format!("{scheme}://{}", host.unwrap_or("localhost"))
}

/// Says whether a text is a name or an address, perhaps with a port, and nothing that a link could begin or end with.
fn is_host(text: &str) -> bool {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(named)
}

fn status(state: State) -> Status {
    match state {
        State::Queued => Status::Queued,
        State::Dispatched => Status::Dispatched,
        State::Running => Status::Running,
        State::Completed => Status::Completed,
        State::Failed | State::Cancelled | State::Expired => Status::Error,
    }
}

/// Says why a job waits for its model, and for how long about, where that is what it waits for.
pub fn wait(gateway: &Gateway, record: &JobRecord) -> Option<String> {
    if record.state != State::Queued {
        return None;
    }
    let model = gateway.models.seen(&record.model)?;
    let key = &model.key;
    let booked =
        model.reservation.as_ref().filter(|(tenant, until)| *tenant != record.tenant && *until > unix_millis());
    if let Some((_, until)) = booked {
        let until = crate::v1::time(until / 1000);
        return Some(format!(
            "{key} is booked for another tenant until {until}; your job runs when that time is over."
        ));
    }
    let why = match (&model.state, &model.wait) {
        (ModelState::Ready, _) | (ModelState::Failed(_), _) => return None,
        (ModelState::Loading { fraction }, _) => format!("is being loaded ({:.0} %)", fraction * 100.0),
        (ModelState::Cold, None) if model.warm > 0 => "is to be loaded from memory".into(),
        (_, Some(wait)) => format!("is not loaded: {}", wait.why),
        (ModelState::Waiting, None) => "waits for a worker".into(),
        (ModelState::Cold, None) => "is to be loaded".into(),
    };
    // A client that is told every second learns no more than one that is told now and then.
    let expected =
        model.wait.and_then(|wait| wait.expected_at).map(|at| at.saturating_sub(unix_millis()).div_ceil(5_000) * 5);
    Some(match expected {
        Some(seconds) if seconds > 0 => format!("{key} {why}; it should be ready in about {seconds} s."),
        _ => format!("{key} {why}."),
    })
}

fn description(gateway: &Gateway, record: &JobRecord) -> String {
    match (record.state, &record.outcome) {
        (State::Queued, _) => {
            let text = match record.attempt {
                0 => "Your job is queued.",
                _ => "The server could not finish this attempt; your job is queued again.",
            };
            wait(gateway, record).map_or_else(|| text.into(), |why| format!("{text} {why}"))
        }
        (State::Dispatched, _) => "Your job has been sent to the model.".into(),
        (State::Running, _) => "Your job is running.".into(),
        (State::Completed, _) => "Your job has been completed.".into(),
        (State::Failed, Some(Outcome::Failure { fault: Fault::Server, text })) => {
            format!("The server failed, which is no fault of your code: {text}")
        }
        (State::Failed, Some(Outcome::Failure { text, .. })) => text.clone(),
        (State::Failed, _) => "Your job failed.".into(),
        (State::Cancelled, _) => "Your job was cancelled.".into(),
        (State::Expired, _) => "Your job waited for too long and was given up; submit it again.".into(),
    }
}

/// Returns a fresh link to a job's result.
pub fn link(gateway: &Gateway, record: &JobRecord, origin: &str) -> String {
    let expires = unix_seconds() + gateway.settings.link_lifetime.as_secs();
    let signature = gateway.links.sign(record.id, expires);
    failpoints::pass(Point::ResultLinked);
    format!("{origin}/results/{}?expires={expires}&signature={signature}", record.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_a_port() {
        for good in ["localhost", "vitrine.example.org", "127.0.0.1:8000", "[::1]:8000", "a_b"] {
            assert!(is_host(good), "{good}");
        }
        let long = "x".repeat(256);
        for bad in ["", "evil/", "a b", "user@host", "host?x", "host#x", "h\\h", "hüst", &long] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
