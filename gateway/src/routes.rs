//! The table of routes: what the router serves, the description of `/v1` tells, and tests go through.
//!
//! A placeholder in a path says what it names: `{job}`, `{tenant}`, `{key}`.

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, delete, get, patch, post, put};

use crate::v1::{audit, events, jobs, keys, models, nodes, quota, tenants, usage, whoami};
use crate::{Gateway, about, job, result, submit, subscribe};

/// One thing that can be asked.
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// What it does.
    pub what: &'static str,
    pub takes: Takes,
    handler: fn() -> MethodRouter<Arc<Gateway>>,
}

/// What a caller has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    /// Any key.
    Key,
    /// A key with a scope, or more: see the description.
    Scope(&'static str),
    /// A link that this server gave out.
    Link,
}

const fn route(
    method: &'static str,
    path: &'static str,
    takes: Takes,
    what: &'static str,
    handler: fn() -> MethodRouter<Arc<Gateway>>,
) -> Route {
    Route { method, path, what, takes, handler }
}

const SUBMIT: Takes = Takes::Scope("submit");
const READ: Takes = Takes::Scope("read-own");
const OPERATE: Takes = Takes::Scope("operate");
const ADMIN: Takes = Takes::Scope("admin");
const AUDIT: Takes = Takes::Scope("audit");

/// What nnsight's clients ask, and probes.
pub const CLIENTS: &[Route] = &[
    route("POST", "/request", SUBMIT, "submit a job", || post(submit::submit)),
    route("DELETE", "/request/{job}", READ, "end a job at its next step", || delete(job::cancel)),
    route("GET", "/subscribe", Takes::Nothing, "open a websocket", || get(subscribe::subscribe)),
    route("GET", "/response/{job}", READ, "how far a job is", || get(job::response)),
    route("GET", "/results/{job}", Takes::Link, "a job's result", || get(result::download)),
    route("GET", "/status", Takes::Nothing, "the hosted models", || get(about::status)),
    route("GET", "/env", Takes::Nothing, "the versions that this server reproduces", || get(about::env)),
    route("GET", "/whoami", Takes::Nothing, "whose key this is", || get(about::whoami)),
    route("GET", "/ping", Takes::Nothing, "pong", || get(about::ping)),
    route("GET", "/healthz", Takes::Nothing, "whether the process answers", || get(about::healthz)),
    route("GET", "/readyz", Takes::Nothing, "whether a job would be taken", || get(about::readyz)),
];

/// What administers the server and looks at its jobs.
pub const V1: &[Route] = &[
    route(
        "GET",
        "/v1/whoami",
        Takes::Key,
        "the caller's tenant and key, their quotas, and what is used of them",
        || get(whoami::whoami),
    ),
    route("GET", "/v1/tenants", ADMIN, "all tenants", || get(tenants::list)),
    route("POST", "/v1/tenants", ADMIN, "make a tenant", || post(tenants::create)),
    route("GET", "/v1/tenants/{tenant}", ADMIN, "one tenant", || get(tenants::show)),
    route("PATCH", "/v1/tenants/{tenant}", ADMIN, "suspend or resume it, or say which models it may use", || {
        patch(tenants::change)
    }),
    route("GET", "/v1/tenants/{tenant}/quota", ADMIN, "its quota, and what is used of it", || get(quota::of_tenant)),
    route("PUT", "/v1/tenants/{tenant}/quota", ADMIN, "give it another quota", || put(quota::give_tenant)),
    route("GET", "/v1/keys", ADMIN, "all keys, and nothing of what they are made of", || get(keys::list)),
    route("POST", "/v1/keys", ADMIN, "make a key, whose text is in this answer only", || post(keys::create)),
    route("PATCH", "/v1/keys/{key}", ADMIN, "change what a key permits or is for", || patch(keys::change)),
    route("DELETE", "/v1/keys/{key}", ADMIN, "revoke a key", || delete(keys::revoke)),
    route("POST", "/v1/keys/{key}/rotate", ADMIN, "make a key like it, and have it end after a while", || {
        post(keys::rotate)
    }),
    route("GET", "/v1/keys/{key}/quota", ADMIN, "a key's quota, and what is used of it", || get(quota::of_key)),
    route("PUT", "/v1/keys/{key}/quota", ADMIN, "give it another quota", || put(quota::give_key)),
    route("GET", "/v1/jobs", READ, "a page of jobs; with the scope operate, of all tenants", || get(jobs::list)),
    route("GET", "/v1/jobs/{job}", READ, "one job", || get(jobs::show)),
    route("DELETE", "/v1/jobs/{job}", READ, "end a job at its next step", || delete(jobs::cancel)),
    route("GET", "/v1/jobs/{job}/logs", READ, "what it has printed so far", || get(jobs::logs)),
    route("GET", "/v1/jobs/{job}/result", READ, "its result, as bytes", || get(jobs::result)),
    route("GET", "/v1/jobs/{job}/events", READ, "its states and what it prints, as they come", || get(events::events)),
    route("GET", "/v1/models", Takes::Key, "the hosted models, and where each is", || get(models::list)),
    route("GET", "/v1/models/{model}", Takes::Key, "one model", || get(models::show)),
    route("PUT", "/v1/models/{model}", OPERATE, "host a model, or change what it is", || put(models::deploy)),
    route("PATCH", "/v1/models/{model}", OPERATE, "change how many replicas it has, or pin it", || {
        patch(models::change)
    }),
    route("DELETE", "/v1/models/{model}", OPERATE, "host it no longer", || delete(models::evict)),
    route("GET", "/v1/nodes", Takes::Key, "the nodes, with what each has", || get(nodes::list)),
    route("GET", "/v1/nodes/{node}", Takes::Key, "one node", || get(nodes::show)),
    route("POST", "/v1/nodes/{node}/cordon", OPERATE, "give it nothing new", || post(nodes::cordon)),
    route("POST", "/v1/nodes/{node}/drain", OPERATE, "empty it", || post(nodes::drain)),
    route("POST", "/v1/nodes/{node}/uncordon", OPERATE, "let it take part again", || post(nodes::uncordon)),
    route("GET", "/v1/usage", READ, "what jobs came to; with the scope operate, of all tenants", || get(usage::usage)),
    route("GET", "/v1/audit", AUDIT, "what was done and refused, the newest first", || get(audit::list)),
];

/// Makes a router of some routes.
pub fn router(routes: &[Route]) -> Router<Arc<Gateway>> {
    routes.iter().fold(Router::new(), |router, route| router.route(route.path, (route.handler)()))
}
