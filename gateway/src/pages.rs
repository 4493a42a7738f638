//! `/admin` and `/me`: the pages for people, who see and do there what `/v1` has for programs.
//!
//! They are whole without scripts. Whoever may do something is asked here as there, by the same scopes.

mod assets;
mod audit;
mod chart;
mod graph;
mod jobs;
mod keys;
mod layout;
mod live;
mod map;
mod me;
mod models;
mod now;
mod overview;
mod provider;
mod quota;
mod sign_in;
mod tenants;
mod units;
mod usage;
mod windows;
mod workers;

use std::sync::Arc;

use auth::{Principal, Scope};
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use ids::TenantId;
use maud::{Markup, html};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use store::{JobRecord, Wanted};

use crate::authenticate::{Administrator, Caller, Keyholder, Operator};
use crate::error::Sentence;
use crate::trail::acted;
use crate::v1::nodes::Act;
use crate::{Error, Gateway, job, progress, v1};

use chart::Reach;
use keys::Said;
use layout::{Reader, Tab};
use live::Parts;
use models::Typed;
use now::Now;
use quota::Own;
use windows::Booked;

pub use now::{Room, Shared};
pub use sign_in::token;

/// Jobs that a researcher's page shows.
const MINE: usize = 50;

/// Looks of a stream between two at the past.
const PAST_EVERY: u32 = 5;

/// Looks of a researcher's stream between two at quotas.
const QUOTA_EVERY: u32 = 5;

/// What pages are, as axum writes it.
const HTML: &str = "text/html; charset=utf-8";

/// What a browser may do with a page: nothing but show it, and talk to where it came from.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Returns the routes.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/-/{name}", get(assets::serve))
        .route("/", get(|| async { Redirect::to("/sign-in") }))
        .route("/sign-in", get(sign_in::show).post(sign_in::enter))
        .route(provider::BEGIN, get(provider::begin))
        .route(provider::BACK, get(provider::end))
        .route("/sign-out", post(sign_in::leave))
        .route("/admin", get(show_overview))
        .route("/admin/live", get(follow))
        .route("/admin/jobs", get(show_jobs))
        .route("/admin/jobs/{id}", get(show_job))
        .route("/admin/jobs/{id}/live", get(follow_job))
        .route("/admin/jobs/{id}/cancel", post(cancel_job))
        .route("/admin/jobs/{id}/graph.svg", get(show_any_graph))
        .route("/admin/models", get(show_models).post(host_model))
        .route("/admin/models/{name}/change", post(change_model))
        .route("/admin/models/{name}/evict", post(evict_model))
        .route("/admin/models/{name}/windows/{window}/remove", post(take_back))
        .route("/admin/windows", post(book_model))
        .route("/admin/workers", get(show_workers))
        .route("/admin/workers/{name}/{act}", post(alter_worker))
        .route("/admin/usage", get(show_usage))
        .route("/admin/usage.csv", get(download_usage))
        .route("/admin/tenants", get(show_tenants).post(create_tenant))
        .route("/admin/tenants/{name}", get(show_tenant))
        .route("/admin/tenants/{name}/quota", post(give_quota))
        .route("/admin/tenants/{name}/class", post(give_class))
        .route("/admin/tenants/{name}/suspend", post(suspend_tenant))
        .route("/admin/tenants/{name}/resume", post(resume_tenant))
        .route("/admin/keys", get(show_keys).post(create_key))
        .route("/admin/keys/{id}/revoke", post(revoke_key))
        .route("/admin/audit", get(show_audit))
        .route("/me", get(show_me))
        .route("/me/live", get(follow_me))
        .route("/me/jobs/{id}", get(show_my_job))
        .route("/me/jobs/{id}/live", get(follow_my_job))
        .route("/me/jobs/{id}/cancel", post(cancel_my_job))
        .route("/me/jobs/{id}/graph.svg", get(show_graph))
        .route("/me/jobs/{id}/result", get(result))
        .route("/me/keys", post(create_own_key))
        .route("/me/keys/{id}/revoke", post(revoke_own_key))
}

/// Says whether a page is at a path.
pub fn are_at(path: &str) -> bool {
    ["/admin", "/me", "/sign-in", "/sign-out"]
        .iter()
        .any(|page| path.strip_prefix(page).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// The middleware around the pages: refuses what another site sends in the reader's name, shows refusals as pages, and
/// tells browsers what they may do.
pub async fn guard(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let page = are_at(&path);
    if !page && !path.starts_with("/-/") {
        return next.run(request).await;
    }
    let looks = matches!(*request.method(), Method::GET | Method::HEAD);
    let whole = request.uri().path_and_query().map_or_else(|| path.clone(), ToString::to_string);
    let mut response = match looks || same_origin(&gateway, request.headers()) {
        true => next.run(request).await,
        false => Error::OtherSite.into_response(),
    };
    let said = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == HTML);
    if let Some(Sentence(sentence)) = response.extensions().get().cloned()
        && page
        && !said
        && !path.ends_with("/live")
    {
        let after = response.headers().get(header::RETRY_AFTER).cloned();
        let extensions = std::mem::take(response.extensions_mut());
        response = refused(response.status(), &sentence, if looks { &whole } else { "/me" }, &path);
        // Whoever counts refusals finds why.
        *response.extensions_mut() = extensions;
        if let Some(after) = after {
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Says whether a form was sent from a page of this server, by what browsers alone write into a head.
fn same_origin(gateway: &Gateway, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = text("origin") else { return false };
    let ours = gateway.settings.public_url.as_deref().map(|url| url.trim_end_matches('/'));
    let host = origin.split_once("://").map(|(_, host)| host);
    ours == Some(origin) || (host.is_some() && host == text("host"))
}

/// Shows a refusal; who is not signed in is asked to.
fn refused(status: StatusCode, sentence: &str, whole: &str, path: &str) -> Response {
    if status == StatusCode::UNAUTHORIZED {
        let next = serde_urlencoded::to_string([("next", whole)]).unwrap_or_default();
        return Redirect::to(&format!("/sign-in?{next}")).into_response();
    }
    let (back, name) = if path.starts_with("/admin") { ("/admin", "To the overview") } else { ("/me", "To your jobs") };
    let body = html! {
        div.refused {
            h1 { "That was not done" }
            p { (sentence) }
            p { a href=(back) { (name) } " · " a href="/me" { "Your page" } }
        }
    };
    (status, shown(layout::page("Refused", &Reader::Nobody, &body))).into_response()
}

/// Answers with a page.
fn shown(page: Markup) -> Response {
    Html(page.into_string()).into_response()
}

/// Makes a page that says a refusal be that refusal, for whoever notes and counts such.
fn refusing(page: Response, refusal: Error) -> Response {
    let (refused, _) = refusal.into_response().into_parts();
    let (mut parts, body) = page.into_parts();
    (parts.status, parts.extensions) = (refused.status, refused.extensions);
    Response::from_parts(parts, body)
}

/// The same, if anything was refused.
fn refused_if(page: Response, refusal: Option<Error>) -> Response {
    match refusal {
        Some(refusal) => refusing(page, refusal),
        None => page,
    }
}

/// Answers with one of the pages that one can go to.
fn page(title: &str, principal: &Principal, tab: Tab, body: &Markup) -> Response {
    shown(layout::page(title, &Reader::Somebody(principal, tab), body))
}

/// Reads a form.
async fn posted<T: DeserializeOwned>(gateway: &Gateway, body: Body) -> Result<T, Error> {
    let bytes = v1::small(gateway, body).await?;
    serde_urlencoded::from_bytes(&bytes)
        .map_err(|error| Error::Malformed(format!("the form is not as it should be: {error}")))
}

fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Error> {
    query.map(|Query(query)| query).map_err(|error| Error::Malformed(error.body_text()))
}

type Asked<T> = Result<Query<T>, QueryRejection>;

fn operator(caller: Caller) -> Result<Principal, Error> {
    caller.permitted(Scope::Operate)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wish {
    reach: String,
    /// Names of parts, between commas.
    parts: String,
}

async fn show_overview(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    wish: Asked<Wish>,
) -> Result<Response, Error> {
    let principal = operator(caller)?;
    let reach = Reach::named(&asked(wish)?.reach);
    let now = Now::of(&gateway).await?;
    let minutes = gateway.history.since(Reach::first(reach, now.at).min(now.at / 60_000 - 59)).await?;
    Ok(page("Overview", &principal, Tab::Overview, &overview::body(&now, &minutes, reach)))
}

/// Follows the parts that a page of operators asks for.
async fn follow(State(gateway): State<Arc<Gateway>>, caller: Caller, wish: Asked<Wish>) -> Result<Response, Error> {
    let principal = operator(caller)?;
    let Wish { reach, parts } = asked(wish)?;
    let (reach, here) = (Reach::named(&reach), Arc::clone(&gateway));
    let wanted: Vec<String> = parts.split(',').map(str::to_owned).collect();
    let mut looks = 0u32;
    live::stream(&gateway, principal, move || {
        let (gateway, mut wanted) = (Arc::clone(&here), wanted.clone());
        // A day is put together from many minutes, and changes every ten seconds.
        if !looks.is_multiple_of(PAST_EVERY) {
            wanted.retain(|part| part != "past");
        }
        looks = looks.wrapping_add(1);
        async move { parts_of(&gateway, &wanted, reach).await }
    })
}

async fn parts_of(gateway: &Gateway, wanted: &[String], reach: Reach) -> Result<Parts, Error> {
    let now = Now::of(gateway).await?;
    let minutes = gateway.history.since(reach.first(now.at).min(now.at / 60_000 - 59)).await?;
    let part = |name: &String| {
        Some(match name.as_str() {
            "status" => ("status", layout::status(now.trouble().as_ref())),
            "numbers" => ("numbers", overview::figures(&now, &minutes)),
            "queue" => ("queue", overview::queue(&now)),
            "workers" => ("workers", workers::table(&now, false)),
            // The same with what can be done to them.
            "acts" => ("workers", workers::table(&now, true)),
            "map" => ("map", map::part(&now)),
            "memory" => ("memory", map::memory(&now)),
            "work" => ("work", workers::work(&now)),
            "models" => ("models", models::table(&now, false)),
            "hosting" => ("models", models::table(&now, true)),
            "windows" => ("windows", windows::table(&now)),
            "past" => ("past", overview::past(&now, &minutes, reach)),
            _ => return None,
        })
    };
    Ok(wanted.iter().filter_map(part).collect())
}

async fn show_jobs(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    search: Asked<jobs::Search>,
) -> Result<Response, Error> {
    let principal = operator(caller)?;
    let now = Now::of(&gateway).await?;
    Ok(match jobs::search(&gateway, &now, asked(search)?).await? {
        jobs::Found::One(path) => Redirect::to(&path).into_response(),
        jobs::Found::Page(body) => page("Jobs", &principal, Tab::Jobs, &body),
    })
}

async fn show_job(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let principal = operator(caller)?;
    let record = job::find(&gateway, &principal, &id).await?;
    let (now, path) = (Now::of(&gateway).await?, format!("/admin/jobs/{}", record.id));
    let body = jobs::one(&gateway, &now, &principal, &record, &path).await?;
    Ok(page("Job", &principal, Tab::Jobs, &body))
}

async fn show_my_job(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let principal = caller.permitted(Scope::ReadOwn)?;
    let record = job::own(&gateway, &principal, &id).await?;
    let (now, path) = (Now::of(&gateway).await?, format!("/me/jobs/{}", record.id));
    let body = jobs::one(&gateway, &now, &principal, &record, &path).await?;
    Ok(page("Job", &principal, Tab::Me, &body))
}

async fn follow_job(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let principal = operator(caller)?;
    job::find(&gateway, &principal, &id).await?;
    follow_one(&gateway, principal, id)
}

async fn follow_my_job(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let principal = caller.permitted(Scope::ReadOwn)?;
    job::own(&gateway, &principal, &id).await?;
    follow_one(&gateway, principal, id)
}

/// Follows a job that the caller may know of.
fn follow_one(gateway: &Arc<Gateway>, principal: Principal, id: String) -> Result<Response, Error> {
    let (here, reader) = (Arc::clone(gateway), principal.clone());
    live::stream(gateway, principal, move || {
        let (gateway, principal, id) = (Arc::clone(&here), reader.clone(), id.clone());
        async move {
            let record = job::find(&gateway, &principal, &id).await?;
            let now = Now::of(&gateway).await?;
            Ok(vec![("job", jobs::part(&gateway, &now, &principal, &record).await?)])
        }
    })
}

async fn cancel_job(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let principal = operator(caller)?;
    let record = job::end(&gateway, &principal, &id).await?;
    Ok(v1::jobs::ended(&principal, &record, Redirect::to(&format!("/admin/jobs/{}", record.id))))
}

async fn cancel_my_job(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let principal = caller.permitted(Scope::ReadOwn)?;
    job::own(&gateway, &principal, &id).await?;
    let record = job::end(&gateway, &principal, &id).await?;
    Ok(v1::jobs::ended(&principal, &record, Redirect::to(&format!("/me/jobs/{}", record.id))))
}

async fn show_graph(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let principal = caller.permitted(Scope::ReadOwn)?;
    let record = job::own(&gateway, &principal, &id).await?;
    drawn(&gateway, &principal, &record).await
}

async fn show_any_graph(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let principal = operator(caller)?;
    let record = job::find(&gateway, &principal, &id).await?;
    drawn(&gateway, &principal, &record).await
}

async fn drawn(gateway: &Arc<Gateway>, principal: &Principal, record: &JobRecord) -> Result<Response, Error> {
    let drawn = graph::draw(gateway, principal, record, jobs::sees(principal, record)).await?;
    // A program never changes.
    let kept = (header::CACHE_CONTROL, "private, max-age=3600");
    Ok(([(header::CONTENT_TYPE, "image/svg+xml"), kept], drawn).into_response())
}

/// Leads to a result by a link that is as good as any other.
async fn result(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Redirect, Error> {
    let principal = caller.permitted(Scope::ReadOwn)?;
    let record = job::own(&gateway, &principal, &id).await?;
    progress::result(&record).ok_or(Error::NoResult(record.id))?;
    Ok(Redirect::to(&progress::link(&gateway, &record, &progress::origin(&gateway, &headers))))
}

async fn show_models(State(gateway): State<Arc<Gateway>>, caller: Caller) -> Result<Response, Error> {
    models_page(&gateway, &operator(caller)?, None, &Typed::default()).await
}

async fn host_model(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    body: Body,
) -> Result<Response, Error> {
    let form: models::New = posted(&gateway, body).await?;
    let done = host(&gateway, &principal, &form).await;
    after_models(&gateway, &principal, done, &Typed { host: form, ..Typed::default() }).await
}

/// Hosts a model that there is not: what one has that there is, this form does not show.
async fn host(gateway: &Gateway, principal: &Principal, form: &models::New) -> Result<String, Error> {
    let (name, deploy) = (form.model.trim(), form.asked()?);
    match v1::models::find(gateway, name).await {
        Err(Error::NoSuchModel(_)) => Ok(v1::models::host(gateway, principal, name, deploy).await?.1),
        Err(refusal) => Err(refusal),
        Ok(_) => {
            Err(Error::Conflict(format!("{name} is hosted already; change it where it stands, or evict it first")))
        }
    }
}

async fn change_model(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Error> {
    let form: models::Count = posted(&gateway, body).await?;
    let done = match form.asked() {
        Ok(change) => v1::models::alter(&gateway, &principal, &name, &change).await,
        Err(refusal) => Err(refusal),
    };
    after_models(&gateway, &principal, done, &Typed::default()).await
}

async fn evict_model(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    let done = v1::models::end(&gateway, &principal, &name).await.map(|(_, what)| what);
    after_models(&gateway, &principal, done, &Typed::default()).await
}

async fn book_model(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    body: Body,
) -> Result<Response, Error> {
    let book: Booked = posted(&gateway, body).await?;
    let done = match book.asked() {
        Ok(new) => v1::windows::booked(&gateway, &principal, &book.model, new).await.map(|(_, what)| what),
        Err(refusal) => Err(refusal),
    };
    after_models(&gateway, &principal, done, &Typed { book, ..Typed::default() }).await
}

async fn take_back(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path((name, window)): Path<(String, String)>,
) -> Result<Response, Error> {
    let done = v1::windows::taken_back(&gateway, &principal, &name, window).await.map(|(_, what)| what);
    after_models(&gateway, &principal, done, &Typed::default()).await
}

/// Shows the models as they are now, or why something was not done.
async fn after_models(
    gateway: &Gateway,
    principal: &Principal,
    done: Result<String, Error>,
    typed: &Typed,
) -> Result<Response, Error> {
    match done {
        Ok(what) => {
            // What was read a moment ago is not how it is.
            *gateway.now.lock().await = None;
            Ok(acted(what, Redirect::to("/admin/models")))
        }
        Err(refusal) => models_page(gateway, principal, Some(refusal), typed).await,
    }
}

async fn models_page(
    gateway: &Gateway,
    principal: &Principal,
    refusal: Option<Error>,
    typed: &Typed,
) -> Result<Response, Error> {
    let now = Now::of(gateway).await?;
    let sentence = refusal.as_ref().map(ToString::to_string);
    let page = page("Models", principal, Tab::Models, &models::body(&now, sentence.as_deref(), typed));
    Ok(refused_if(page, refusal))
}

async fn show_workers(State(gateway): State<Arc<Gateway>>, caller: Caller) -> Result<Response, Error> {
    let principal = operator(caller)?;
    let now = Now::of(&gateway).await?;
    Ok(page("Workers", &principal, Tab::Workers, &workers::body(&now)))
}

async fn show_usage(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    search: Asked<usage::Search>,
) -> Result<Response, Error> {
    let principal = operator(caller)?;
    let body = usage::search(&gateway, &principal, asked(search)?).await?;
    Ok(page("Usage", &principal, Tab::Usage, &body))
}

async fn download_usage(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    search: Asked<usage::Search>,
) -> Result<Response, Error> {
    let principal = operator(caller)?;
    let text = usage::csv(&gateway, &principal, &asked(search)?).await?;
    let kind = (header::CONTENT_TYPE, "text/csv; charset=utf-8");
    Ok(([kind, (header::CONTENT_DISPOSITION, "attachment; filename=\"usage.csv\"")], text).into_response())
}

async fn alter_worker(
    State(gateway): State<Arc<Gateway>>,
    Operator(principal): Operator,
    Path((name, act)): Path<(String, String)>,
) -> Result<Response, Error> {
    let act = Act::named(&act).ok_or_else(|| Error::NoRoute(format!("/admin/workers/{name}/{act}")))?;
    let (_, what) = v1::nodes::alter(&gateway, &principal, &name, act).await?;
    // What was read a moment ago is not how it is.
    *gateway.now.lock().await = None;
    Ok(acted(what, Redirect::to("/admin/workers")))
}

async fn show_tenants(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
) -> Result<Response, Error> {
    tenants_page(&gateway, &principal, None).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTenant {
    name: String,
}

async fn create_tenant(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    body: Body,
) -> Result<Response, Error> {
    let NewTenant { name } = posted(&gateway, body).await?;
    let create = v1::tenants::Create { name: TenantId::new(name.trim()), quota: None, models: None, class: None };
    let made = v1::tenants::make(&gateway, &principal, create).await;
    after_tenants(&gateway, &principal, made).await
}

async fn suspend_tenant(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    suspend(&gateway, &principal, &name, true).await
}

async fn resume_tenant(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    suspend(&gateway, &principal, &name, false).await
}

async fn suspend(gateway: &Gateway, principal: &Principal, name: &str, suspended: bool) -> Result<Response, Error> {
    let change = v1::tenants::Change { suspended: Some(suspended), ..v1::tenants::Change::default() };
    let done = v1::tenants::alter(gateway, principal, name, change).await;
    after_tenants(gateway, principal, done).await
}

/// Shows the tenants as they are now, or why something was not done.
async fn after_tenants(
    gateway: &Gateway,
    principal: &Principal,
    done: Result<String, Error>,
) -> Result<Response, Error> {
    match done {
        Ok(what) => Ok(acted(what, Redirect::to("/admin/tenants"))),
        Err(refusal) => tenants_page(gateway, principal, Some(refusal)).await,
    }
}

async fn tenants_page(gateway: &Gateway, principal: &Principal, refusal: Option<Error>) -> Result<Response, Error> {
    let (now, tenants) = (Now::of(gateway).await?, v1::tenants::all(gateway).await?);
    let sentence = refusal.as_ref().map(ToString::to_string);
    let page = page("Tenants", principal, Tab::Tenants, &tenants::body(&now, principal, &tenants, sentence.as_deref()));
    Ok(refused_if(page, refusal))
}

async fn show_tenant(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    tenant_page(&gateway, &principal, &name, None).await
}

async fn give_quota(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Error> {
    let form: quota::Form = posted(&gateway, body).await?;
    let given = match form.asked() {
        Ok(quota) => v1::quota::give(&gateway, &principal, &name, &quota).await,
        Err(refusal) => Err(refusal),
    };
    after_tenant(&gateway, &principal, &name, given.map(|(_, what)| what)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewClass {
    class: String,
}

async fn give_class(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Error> {
    let NewClass { class } = posted(&gateway, body).await?;
    let change = v1::tenants::Change { class: Some(class), ..v1::tenants::Change::default() };
    let done = v1::tenants::alter(&gateway, &principal, &name, change).await;
    after_tenant(&gateway, &principal, &name, done).await
}

/// Shows a tenant as it is now, or why something was not done.
async fn after_tenant(
    gateway: &Gateway,
    principal: &Principal,
    name: &str,
    done: Result<String, Error>,
) -> Result<Response, Error> {
    match done {
        Ok(what) => {
            let tenant = v1::tenants::find(gateway, name).await?;
            Ok(acted(what, Redirect::to(&tenants::path(&tenant))))
        }
        Err(refusal) => tenant_page(gateway, principal, name, Some(refusal)).await,
    }
}

async fn tenant_page(
    gateway: &Gateway,
    principal: &Principal,
    name: &str,
    refusal: Option<Error>,
) -> Result<Response, Error> {
    let (now, tenant) = (Now::of(gateway).await?, v1::tenants::find(gateway, name).await?);
    let shown = v1::quota::shown(gateway, &tenant.terms.quota, &tenant.name, None).await?;
    let sentence = refusal.as_ref().map(ToString::to_string);
    let body = tenants::one(&now, principal, &tenant, &shown, sentence.as_deref());
    Ok(refused_if(page(&format!("Tenant {name}"), principal, Tab::Tenants, &body), refusal))
}

async fn show_keys(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    search: Asked<keys::Search>,
) -> Result<Response, Error> {
    keys_page(&gateway, &principal, &asked(search)?.tenant, &Said::Nothing).await
}

async fn create_key(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    body: Body,
) -> Result<Response, Error> {
    let create: keys::Create = posted(&gateway, body).await?;
    match v1::keys::make(&gateway, &principal, create.asked()).await {
        Ok((key, record, what)) => {
            let page = keys_page(&gateway, &principal, "", &Said::Made(&record, key.reveal())).await?;
            Ok(acted(what, page))
        }
        Err(refusal) => {
            let page = keys_page(&gateway, &principal, "", &Said::Refused(&refusal.to_string())).await?;
            Ok(refusing(page, refusal))
        }
    }
}

async fn revoke_key(
    State(gateway): State<Arc<Gateway>>,
    Administrator(principal): Administrator,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    Ok(acted(v1::keys::end(&gateway, &principal, &id).await?, Redirect::to("/admin/keys")))
}

async fn keys_page(gateway: &Gateway, principal: &Principal, wanted: &str, said: &Said<'_>) -> Result<Response, Error> {
    let (now, tenants) = (Now::of(gateway).await?, v1::tenants::all(gateway).await?);
    let tenant = (!wanted.is_empty()).then(|| TenantId::new(wanted));
    let keys = v1::keys::all(gateway, tenant.as_ref()).await?;
    Ok(page("Keys", principal, Tab::Keys, &keys::body(&now, &principal.key, &tenants, &keys, wanted, said)))
}

async fn show_audit(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    search: Asked<audit::Search>,
) -> Result<Response, Error> {
    let principal = caller.permitted(Scope::Audit)?;
    let now = Now::of(&gateway).await?;
    Ok(page("Audit trail", &principal, Tab::Audit, &audit::search(&gateway, &now, asked(search)?).await?))
}

async fn show_me(State(gateway): State<Arc<Gateway>>, caller: Caller, headers: HeaderMap) -> Result<Response, Error> {
    let principal = caller.permitted(Scope::ReadOwn)?;
    me_page(&gateway, &principal, &headers, &Said::Nothing).await
}

async fn create_own_key(
    State(gateway): State<Arc<Gateway>>,
    Keyholder(principal): Keyholder,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let create: keys::CreateOwn = posted(&gateway, body).await?;
    match v1::keys::make(&gateway, &principal, create.asked()).await {
        Ok((key, record, what)) => {
            let page = me_page(&gateway, &principal, &headers, &Said::Made(&record, key.reveal())).await?;
            Ok(acted(what, page))
        }
        Err(refusal) => {
            let page = me_page(&gateway, &principal, &headers, &Said::Refused(&refusal.to_string())).await?;
            Ok(refusing(page, refusal))
        }
    }
}

async fn revoke_own_key(
    State(gateway): State<Arc<Gateway>>,
    Keyholder(principal): Keyholder,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    Ok(acted(v1::keys::end(&gateway, &principal, &id).await?, Redirect::to("/me")))
}

async fn me_page(
    gateway: &Gateway,
    principal: &Principal,
    headers: &HeaderMap,
    said: &Said<'_>,
) -> Result<Response, Error> {
    let now = Now::of(gateway).await?;
    let jobs = mine(gateway, &now, principal).await?;
    let keys = v1::keys::all(gateway, Some(&principal.tenant)).await?;
    let own = Own::of(gateway, principal).await?;
    let body = me::body(&now, principal, &jobs, &own, &keys, said, &progress::origin(gateway, headers));
    Ok(page("My jobs", principal, Tab::Me, &body))
}

async fn follow_me(State(gateway): State<Arc<Gateway>>, caller: Caller) -> Result<Response, Error> {
    let principal = caller.permitted(Scope::ReadOwn)?;
    let (here, reader) = (Arc::clone(&gateway), principal.clone());
    let mut looks = 0u32;
    live::stream(&gateway, principal, move || {
        let (gateway, principal) = (Arc::clone(&here), reader.clone());
        // What counts against a quota is a listing of what waits and runs.
        let counts = looks.is_multiple_of(QUOTA_EVERY);
        looks = looks.wrapping_add(1);
        async move {
            let now = Now::of(&gateway).await?;
            let jobs = mine(&gateway, &now, &principal).await?;
            let mut parts = vec![("status", me::status(&now)), ("mine", me::table(&now, &principal, &jobs))];
            if counts {
                parts.push(("quota", Own::of(&gateway, &principal).await?.part()));
            }
            Ok(parts)
        }
    })
}

async fn mine(gateway: &Gateway, now: &Now, principal: &Principal) -> Result<Vec<JobRecord>, Error> {
    let wanted = Wanted { tenant: Some(principal.tenant.clone()), ..Wanted::default() };
    let _searching = v1::jobs::search_turn(gateway, &principal.tenant).await?;
    Ok(gateway.jobs.newest(&wanted, None, MINE, now.at).await?.jobs)
}
