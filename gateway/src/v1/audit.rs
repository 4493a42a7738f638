//! The audit trail, for those who may read it.

use std::sync::Arc;

use auth::Scope;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::{AuditEntry, AuditWanted};

use super::{page_length, read_time, time};
use crate::authenticate::Caller;
use crate::{Error, Gateway};

/// A part of the trail.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditPage")]
pub struct Page {
    entries: Vec<Entry>,
    /// The cursor of the page after; null after the last.
    next: Option<String>,
}

/// One thing that was done or refused.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub struct Entry {
    at: String,
    /// Who; null where no key of this server's was shown.
    tenant: Option<String>,
    key: Option<String>,
    address: Option<String>,
    /// A method and a route.
    action: Option<String>,
    /// The path.
    object: Option<String>,
    /// `done` or `refused`.
    outcome: &'static str,
    status: u16,
    what: Option<String>,
    request_id: Option<String>,
    /// How many such things it stands for.
    count: u32,
}

/// Which entries are wanted. All of it may be left out.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// A time, as RFC 3339 has it.
    from: Option<String>,
    /// Not included.
    to: Option<String>,
    tenant: Option<String>,
    key: Option<String>,
    /// `true` for what was refused alone, `false` for what was done.
    refused: Option<bool>,
    limit: Option<usize>,
    /// What `next` of the page before says.
    cursor: Option<String>,
}

/// `GET /v1/audit?from=…&to=…&tenant=…&key=…&refused=…&limit=…&cursor=…`: the newest first. A page may have fewer than
/// `limit`; where `next` is null it is the last.
pub async fn list(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    search: Result<Query<Search>, QueryRejection>,
) -> Result<Json<Page>, Error> {
    caller.permitted(Scope::Audit)?;
    let Query(search) = search.map_err(|error| Error::Malformed(error.body_text()))?;
    let moment = |name: &str, text: Option<String>| text.map(|text| read_time(name, &text)).transpose();
    let wanted = AuditWanted {
        from: moment("from", search.from)?,
        to: moment("to", search.to)?,
        tenant: search.tenant,
        key: search.key,
        refused: search.refused,
    };
    let after = search.cursor.map(|text| text.parse()).transpose().map_err(Error::Unfit)?;
    let limit = page_length(search.limit);
    let (entries, next) = gateway.trail.list(&wanted, after, limit).await?;
    let entries = entries.into_iter().map(shown).collect();
    Ok(Json(Page { entries, next: next.map(|next| next.to_string()) }))
}

fn shown(entry: AuditEntry) -> Entry {
    let outcome = if entry.refused() { "refused" } else { "done" };
    let some = |text: String| (!text.is_empty()).then_some(text);
    Entry {
        at: time(entry.at / 1000),
        tenant: some(entry.tenant),
        key: some(entry.key),
        address: some(entry.address),
        action: some(entry.action),
        object: some(entry.object),
        outcome,
        status: entry.status,
        what: some(entry.what),
        request_id: some(entry.request_id),
        count: entry.count,
    }
}
