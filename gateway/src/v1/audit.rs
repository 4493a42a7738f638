//! The audit trail, for those who may read it.

use std::sync::Arc;

use auth::Scope;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{AuditEntry, AuditWanted};

use super::{read_time, time};
use crate::authenticate::Caller;
use crate::{Error, Gateway};

/// Entries on a page, where nobody says how many, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1000;

/// Which entries are wanted. All of it may be left out.
#[derive(Deserialize)]
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
) -> Result<Json<Value>, Error> {
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
    let limit = search.limit.unwrap_or(PAGE).clamp(1, LONGEST_PAGE);
    let (entries, next) = gateway.trail.list(&wanted, after, limit).await?;
    let entries: Vec<Value> = entries.iter().map(shown).collect();
    Ok(Json(json!({ "entries": entries, "next": next.map(|next| next.to_string()) })))
}

fn shown(entry: &AuditEntry) -> Value {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "at": time(entry.at / 1000),
        "tenant": some(&entry.tenant),
        "key": some(&entry.key),
        "address": some(&entry.address),
        "action": some(&entry.action),
        "object": some(&entry.object),
        "outcome": if entry.refused() { "refused" } else { "done" },
        "status": entry.status,
        "what": some(&entry.what),
        "request_id": some(&entry.request_id),
        "count": entry.count,
    })
}
