//! The queue: who waits and runs, by tenant and model.

use std::collections::BTreeMap;
use std::sync::Arc;

use auth::Scope;
use axum::Json;
use axum::extract::State;
use ids::{ModelKey, TenantId};
use schemars::JsonSchema;
use serde::Serialize;
use store::{Live, State as JobState};

use super::jobs::{onlooker, search_turn};
use crate::authenticate::Caller;
use crate::{Error, Gateway, unix_millis};

/// Who waits and runs: who waits longest comes first, and who waits for nothing last.
#[derive(Serialize, JsonSchema)]
pub struct Queue {
    lines: Vec<Shown>,
}

/// The jobs of one tenant for one model.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "QueueLine")]
struct Shown {
    tenant: String,
    model: String,
    waiting: u64,
    /// How long the one that waits longest has waited, in seconds; null where none waits.
    oldest_waits_s: Option<f64>,
    /// Jobs that a worker has.
    running: u64,
}

/// `GET /v1/queue`: of the caller's tenant, and for an operator of all.
pub async fn queue(State(gateway): State<Arc<Gateway>>, caller: Caller) -> Result<Json<Queue>, Error> {
    let principal = onlooker(caller)?;
    let searching = search_turn(&gateway, &principal.tenant).await?;
    let mut live = gateway.jobs.live().await?.jobs;
    drop(searching);
    live.retain(|job| principal.may(Scope::Operate) || job.tenant == principal.tenant);
    let now = unix_millis();
    let shown = |((tenant, model), line): ((TenantId, ModelKey), Line)| Shown {
        tenant: tenant.to_string(),
        model: model.to_string(),
        waiting: line.waiting,
        oldest_waits_s: line.oldest.map(|oldest| now.saturating_sub(oldest) as f64 / 1000.0),
        running: line.running,
    };
    Ok(Json(Queue { lines: lines(&live).into_iter().map(shown).collect() }))
}

/// Those who wait or run of one tenant for one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub waiting: u64,
    pub running: u64,
    /// When the one that waits longest was accepted; none waits where it is `None`.
    pub oldest: Option<u64>,
}

/// Returns who waits and runs, by tenant and model; who waits longest comes first.
pub fn lines(live: &[Live]) -> Vec<((TenantId, ModelKey), Line)> {
    let mut lines: BTreeMap<(TenantId, ModelKey), Line> = BTreeMap::new();
    for job in live {
        let line = lines.entry((job.tenant.clone(), job.model.clone())).or_default();
        if job.state == JobState::Queued {
            line.waiting += 1;
            line.oldest = Some(line.oldest.map_or(job.accepted_at, |oldest| oldest.min(job.accepted_at)));
        } else {
            line.running += 1;
        }
    }
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort_by_key(|(_, line)| line.oldest.unwrap_or(u64::MAX));
    lines
}
