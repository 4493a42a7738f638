//! The ledger: what jobs came to.

use std::collections::BTreeMap;
use std::sync::Arc;

use auth::{Principal, Scope};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use ids::TenantId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::Usage;

use super::{day, read_day};
use crate::authenticate::Caller;
use crate::v1::jobs::{onlooker, search_turn};
use crate::{Error, Gateway, unix_seconds};

const DAY: u64 = 24 * 3600;
/// Days that are shown where nobody says which, and at most.
const DAYS: u64 = 30;
const MOST_DAYS: u64 = 400;

/// By what jobs are told apart.
const BY: [&str; 5] = ["day", "tenant", "project", "key", "model"];

/// What jobs came to between two days, both included.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Usage")]
pub struct Told {
    pub from: String,
    pub to: String,
    pub by: Vec<&'static str>,
    pub usage: Vec<Row>,
}

/// What some jobs came to. What they are not told apart by is left out.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UsageRow")]
pub struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Option<String>>,
    pub jobs: u64,
    pub failed_jobs: u64,
    pub compute_seconds: f64,
    pub request_bytes: u64,
    pub result_bytes: u64,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// The first day, as 2026-11-30.
    pub from: Option<String>,
    /// The last day.
    pub to: Option<String>,
    #[schemars(with = "Option<String>")]
    pub tenant: Option<TenantId>,
    /// Some of day, tenant, project, key and model, with commas between. Default: all.
    pub by: Option<String>,
}

#[derive(Default)]
struct Sum {
    jobs: u64,
    failed: u64,
    ran: u64,
    request_bytes: u64,
    result_bytes: u64,
}

/// `GET /v1/usage?from=…&to=…&tenant=…&by=…`: jobs that have ended, by the day of their end, which begins at 00:00 UTC.
pub async fn usage(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    search: Result<Query<Search>, QueryRejection>,
) -> Result<Json<Told>, Error> {
    let principal = onlooker(caller)?;
    let Query(search) = search.map_err(|error| Error::Malformed(error.body_text()))?;
    Ok(Json(tell(&gateway, &principal, search).await?))
}

/// Tells what somebody may know of.
///
/// # Errors
/// [`Error::Unfit`] for days and words that there are not, [`Error::Forbidden`] for another's usage.
pub async fn tell(gateway: &Gateway, principal: &Principal, search: Search) -> Result<Told, Error> {
    let to = search.to.as_deref().map_or(Ok(unix_seconds() / DAY), |text| read_day("to", text))?;
    let from = search.from.as_deref().map_or(Ok(to.saturating_sub(DAYS - 1)), |text| read_day("from", text))?;
    if from > to || to - from >= MOST_DAYS {
        return Err(Error::Unfit(format!("from must not be after to, nor {MOST_DAYS} days or more before it")));
    }
    let by = match &search.by {
        None => BY.to_vec(),
        Some(names) => names.split(',').map(known).collect::<Result<_, _>>()?,
    };
    let tenant = match search.tenant {
        asked if principal.may(Scope::Operate) => asked,
        Some(other) if other != principal.tenant => {
            let what = "read another tenant's usage, which takes one with the scope operate";
            return Err(Error::forbidden(principal, what));
        }
        _ => Some(principal.tenant.clone()),
    };
    let mut sums: BTreeMap<[Option<String>; 5], Sum> = BTreeMap::new();
    let searching = search_turn(gateway, &principal.tenant).await?;
    let rows = gateway.jobs.usage(from, to, tenant.as_ref()).await?;
    drop(searching);
    for row in rows {
        let sum = sums.entry(place(&row, &by)).or_default();
        sum.jobs += row.jobs;
        sum.failed += row.failed;
        sum.ran += row.ran;
        sum.request_bytes += row.request_bytes;
        sum.result_bytes += row.result_bytes;
    }
    let usage = sums.into_iter().map(|(place, sum)| shown(place, &sum, &by)).collect();
    Ok(Told { from: day(from), to: day(to), by, usage })
}

fn known(name: &str) -> Result<&'static str, Error> {
    let found = BY.into_iter().find(|by| *by == name);
    found.ok_or_else(|| Error::Unfit(format!("usage is told by {}, not by {name:?}", BY.join(", "))))
}

fn place(row: &Usage, by: &[&str]) -> [Option<String>; 5] {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let values = [
        Some(day(row.day)),
        some(row.tenant.as_str()),
        some(&row.project),
        some(row.key.as_str()),
        row.model.as_ref().map(ToString::to_string),
    ];
    let mut place = [const { None }; 5];
    for ((slot, value), name) in place.iter_mut().zip(values).zip(BY) {
        if by.contains(&name) {
            *slot = value;
        }
    }
    place
}

fn shown(place: [Option<String>; 5], sum: &Sum, by: &[&str]) -> Row {
    let mut names = BY.iter();
    let [day, tenant, project, key, model] =
        place.map(|value| names.next().filter(|name| by.contains(name)).map(|_| value));
    Row {
        day,
        tenant,
        project,
        key,
        model,
        jobs: sum.jobs,
        failed_jobs: sum.failed,
        compute_seconds: sum.ran as f64 / 1e6,
        request_bytes: sum.request_bytes,
        result_bytes: sum.result_bytes,
    }
}
