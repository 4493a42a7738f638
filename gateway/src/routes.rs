//! The table of routes: what the router serves, the description of `/v1` tells, and tests go through.
//!
//! A placeholder in a path says what it names: `{job}`, `{tenant}`, `{key}`.

use std::sync::Arc;

use auth::Quota;
use axum::Router;
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use schemars::{JsonSchema, SchemaGenerator};

use crate::v1::{
    audit, check, events, jobs, keys, models, nodes, openapi, queue, quota, sign_in, tenants, usage, whoami, windows,
};
use crate::{Gateway, about, job, result, submit, subscribe, tensors};

/// One thing that can be asked.
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// What it does.
    pub what: &'static str,
    pub takes: Takes,
    pub shape: Shape,
    handler: fn() -> MethodRouter<Arc<Gateway>>,
}

/// What is asked and answered, for those who describe it.
#[derive(Clone, Copy, Default)]
pub struct Shape {
    pub query: Option<Schema>,
    pub body: Option<Schema>,
    /// Whether that is a form of several parts, and not JSON.
    pub form: bool,
    /// The status of the answer, and where it is JSON what that holds.
    pub answers: &'static [(u16, Answer)],
}

/// Makes the schema of a type.
pub type Schema = fn(&mut SchemaGenerator) -> schemars::Schema;

/// What an answer holds.
#[derive(Clone, Copy)]
pub enum Answer {
    Nothing,
    Json(Schema),
    /// Of one of these types.
    Other(&'static [&'static str]),
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
    Route { method, path, what, takes, shape: Shape { query: None, body: None, form: false, answers: &[] }, handler }
}

impl Route {
    const fn query(mut self, schema: Schema) -> Self {
        self.shape.query = Some(schema);
        self
    }

    const fn body(mut self, schema: Schema) -> Self {
        self.shape.body = Some(schema);
        self
    }

    const fn form(mut self, schema: Schema) -> Self {
        self.shape.body = Some(schema);
        self.shape.form = true;
        self
    }

    const fn answers(mut self, answers: &'static [(u16, Answer)]) -> Self {
        self.shape.answers = answers;
        self
    }
}

/// Returns a schema by itself, for what becomes parameters.
fn inline<T: JsonSchema>(schemas: &mut SchemaGenerator) -> schemars::Schema {
    T::json_schema(schemas)
}

fn of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> schemars::Schema {
    schemas.subschema_for::<T>()
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
    route("GET", "/v1/openapi.json", Takes::Nothing, "this description", || get(openapi::openapi))
        .answers(&[(200, Answer::Other(&["application/json"]))]),
    route("GET", "/v1/sign-in", Takes::Nothing, "how a command line signs in by this server's provider", || {
        get(sign_in::sign_in)
    })
    .answers(&[(200, Answer::Json(of::<sign_in::SignIn>))]),
    route(
        "GET",
        "/v1/whoami",
        Takes::Key,
        "the caller's tenant and key, their quotas, and what is used of them",
        || get(whoami::whoami),
    )
    .answers(&[(200, Answer::Json(of::<whoami::Whoami>))]),
    route(
        "POST",
        "/v1/check",
        SUBMIT,
        "what a program would do, and whether it would be taken; nothing runs and nothing is kept",
        || post(check::check),
    )
    .form(of::<check::Form>)
    .answers(&[(200, Answer::Json(of::<explain::Explanation>))]),
    route("GET", "/v1/tenants", ADMIN, "all tenants", || get(tenants::list))
        .answers(&[(200, Answer::Json(of::<tenants::List>))]),
    route("POST", "/v1/tenants", ADMIN, "make a tenant", || post(tenants::create))
        .body(of::<tenants::Create>)
        .answers(&[(201, Answer::Json(of::<tenants::Shown>))]),
    route("GET", "/v1/tenants/{tenant}", ADMIN, "one tenant", || get(tenants::show))
        .answers(&[(200, Answer::Json(of::<tenants::Shown>))]),
    route(
        "PATCH",
        "/v1/tenants/{tenant}",
        ADMIN,
        "suspend or resume it, say which models it may use, or how urgent its jobs are",
        || patch(tenants::change),
    )
    .body(of::<tenants::Change>)
    .answers(&[(200, Answer::Json(of::<tenants::Shown>))]),
    route("GET", "/v1/tenants/{tenant}/quota", ADMIN, "its quota, and what is used of it", || get(quota::of_tenant))
        .answers(&[(200, Answer::Json(of::<quota::Shown>))]),
    route("PUT", "/v1/tenants/{tenant}/quota", ADMIN, "give it another quota", || put(quota::give_tenant))
        .body(of::<Quota>)
        .answers(&[(200, Answer::Json(of::<quota::Shown>))]),
    route("GET", "/v1/keys", ADMIN, "all keys, and nothing of what they are made of; for a user, their own", || {
        get(keys::list)
    })
    .query(inline::<keys::Wanted>)
    .answers(&[(200, Answer::Json(of::<keys::List>))]),
    route(
        "POST",
        "/v1/keys",
        ADMIN,
        "make a key, whose text is in this answer only; a user may make their own",
        || post(keys::create),
    )
    .body(of::<keys::Create>)
    .answers(&[(201, Answer::Json(of::<keys::Made>))]),
    route("PATCH", "/v1/keys/{key}", ADMIN, "change what a key permits or is for", || patch(keys::change))
        .body(of::<keys::Change>)
        .answers(&[(200, Answer::Json(of::<keys::Shown>))]),
    route("DELETE", "/v1/keys/{key}", ADMIN, "revoke a key; a user may revoke their own", || delete(keys::revoke))
        .answers(&[(204, Answer::Nothing)]),
    route("POST", "/v1/keys/{key}/rotate", ADMIN, "make a key like it, and have it end after a while", || {
        post(keys::rotate)
    })
    .body(of::<keys::Rotate>)
    .answers(&[(201, Answer::Json(of::<keys::Made>))]),
    route("GET", "/v1/keys/{key}/quota", ADMIN, "a key's quota, and what is used of it", || get(quota::of_key))
        .answers(&[(200, Answer::Json(of::<quota::Shown>))]),
    route("PUT", "/v1/keys/{key}/quota", ADMIN, "give it another quota", || put(quota::give_key))
        .body(of::<Quota>)
        .answers(&[(200, Answer::Json(of::<quota::Shown>))]),
    route("GET", "/v1/jobs", READ, "a page of jobs; with the scope operate, of all tenants", || get(jobs::list))
        .query(inline::<jobs::Search>)
        .answers(&[(200, Answer::Json(of::<jobs::Page>))]),
    route("GET", "/v1/jobs/{job}", READ, "one job", || get(jobs::show))
        .answers(&[(200, Answer::Json(of::<jobs::Shown>))]),
    route("DELETE", "/v1/jobs/{job}", READ, "end a job at its next step", || delete(jobs::cancel))
        .answers(&[(202, Answer::Json(of::<jobs::Shown>))]),
    route("GET", "/v1/jobs/{job}/logs", READ, "what it has printed so far", || get(jobs::logs))
        .answers(&[(200, Answer::Other(&["text/plain"]))]),
    route("GET", "/v1/jobs/{job}/result", READ, "its result, as its client wanted it, or as safetensors", || {
        get(jobs::result)
    })
    .answers(&[(200, Answer::Other(&["application/octet-stream", tensors::KIND]))]),
    route("GET", "/v1/jobs/{job}/events", READ, "its states and what it prints, as they come", || get(events::events))
        .query(inline::<events::After>)
        .answers(&[(200, Answer::Other(&["text/event-stream"])), (204, Answer::Nothing)]),
    route(
        "GET",
        "/v1/queue",
        READ,
        "who waits and runs, by tenant and model; with the scope operate, of all tenants",
        || get(queue::queue),
    )
    .answers(&[(200, Answer::Json(of::<queue::Queue>))]),
    route("GET", "/v1/models", Takes::Key, "the hosted models, and where each is", || get(models::list))
        .answers(&[(200, Answer::Json(of::<models::List>))]),
    route("GET", "/v1/models/{model}", Takes::Key, "one model", || get(models::show))
        .answers(&[(200, Answer::Json(of::<models::Shown>))]),
    route("PUT", "/v1/models/{model}", OPERATE, "host a model, or change what it is", || put(models::deploy))
        .body(of::<models::Deploy>)
        .answers(&[(200, Answer::Json(of::<models::Shown>)), (201, Answer::Json(of::<models::Shown>))]),
    route("PATCH", "/v1/models/{model}", OPERATE, "change how many replicas it has, or pin it", || {
        patch(models::change)
    })
    .body(of::<models::Change>)
    .answers(&[(200, Answer::Json(of::<models::Shown>))]),
    route("POST", "/v1/models/{model}/windows", OPERATE, "book it for a time", || post(windows::add))
        .body(of::<windows::New>)
        .answers(&[(201, Answer::Json(of::<windows::Shown>))]),
    route("DELETE", "/v1/models/{model}/windows/{window}", OPERATE, "take a booking back", || delete(windows::remove))
        .answers(&[(200, Answer::Json(of::<windows::Shown>))]),
    route("DELETE", "/v1/models/{model}", OPERATE, "host it no longer", || delete(models::evict))
        .answers(&[(200, Answer::Json(of::<models::Shown>))]),
    route("GET", "/v1/nodes", Takes::Key, "the nodes, with what each has", || get(nodes::list))
        .answers(&[(200, Answer::Json(of::<nodes::List>))]),
    route("GET", "/v1/nodes/{node}", Takes::Key, "one node", || get(nodes::show))
        .answers(&[(200, Answer::Json(of::<nodes::Shown>))]),
    route("POST", "/v1/nodes/{node}/cordon", OPERATE, "give it nothing new", || post(nodes::cordon))
        .answers(&[(200, Answer::Json(of::<nodes::Shown>))]),
    route("POST", "/v1/nodes/{node}/drain", OPERATE, "empty it", || post(nodes::drain))
        .answers(&[(200, Answer::Json(of::<nodes::Shown>))]),
    route("POST", "/v1/nodes/{node}/uncordon", OPERATE, "let it take part again", || post(nodes::uncordon))
        .answers(&[(200, Answer::Json(of::<nodes::Shown>))]),
    route("GET", "/v1/usage", READ, "what jobs came to; with the scope operate, of all tenants", || get(usage::usage))
        .query(inline::<usage::Search>)
        .answers(&[(200, Answer::Json(of::<usage::Told>))]),
    route("GET", "/v1/audit", AUDIT, "what was done and refused, the newest first", || get(audit::list))
        .query(inline::<audit::Search>)
        .answers(&[(200, Answer::Json(of::<audit::Page>))]),
];

/// Makes a router of some routes.
pub fn router(routes: &[Route]) -> Router<Arc<Gateway>> {
    routes.iter().fold(Router::new(), |router, route| router.route(route.path, (route.handler)()))
}
