//! Jobs: `/admin/jobs` with filters; and one job, its way, what it cost, and how to end it, for its tenant at `/me/jobs/…`
//! and for who operates the server at `/admin/jobs/…`.

use std::cmp::Ordering;

use auth::{Principal, Scope};
use futures::StreamExt;
use ids::JobId;
use maud::{Markup, html};
use serde::Deserialize;
use store::{Before, JobProgress, JobRecord, Jobs, Newest, State, Wanted};

use super::graph::{self, Sees};
use super::layout::{self, column, empty, looking, numbers};
use super::now::Now;
use super::units::{ago, bytes, moment, nothing, short, span, until};
use crate::v1::jobs::{failure, model, must_end_by, must_start_by};
use crate::{Error, Gateway, progress, v1};

/// Jobs on a page.
const PAGE: usize = 50;
/// Bytes of what a job printed that are shown.
const PRINTED: usize = 32 << 10;

/// Which jobs are wanted. Forms send what is not wanted empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    /// A job, a tenant or a model.
    q: String,
    state: String,
    tenant: String,
    model: String,
    cursor: String,
}

/// What came of a search.
pub enum Found {
    /// The path of the one that was meant.
    One(String),
    Page(Markup),
}

/// Shows a page of jobs of all tenants.
///
/// # Errors
/// Failures of the store; [`Error::Unfit`] for a state or a place that there is not.
pub async fn search(gateway: &Gateway, now: &Now, mut search: Search) -> Result<Found, Error> {
    if let Ok(id) = search.q.trim().parse::<JobId>() {
        return Ok(Found::One(format!("/admin/jobs/{id}")));
    }
    if !search.q.trim().is_empty() {
        let word = std::mem::take(&mut search.q).trim().to_owned();
        let hosted = now.models.iter().map(|model| model.key.to_string());
        let fits = |name: &String| name.to_lowercase().contains(&word.to_lowercase());
        // A tenant's whole name goes first; a part of a model's is enough, where it is one model's.
        let known = v1::tenants::find(gateway, &word).await.is_ok();
        match hosted.filter(fits).collect::<Vec<_>>().as_slice() {
            [model] if !known => search.model.clone_from(model),
            _ => search.tenant = word,
        }
    }
    let given = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
    let wanted = Wanted {
        tenant: given(&search.tenant).map(ids::TenantId::new),
        state: given(&search.state).map(|name| name.parse()).transpose().map_err(Error::Unfit)?,
        model: given(&search.model).as_deref().map(model),
    };
    let after = given(&search.cursor).map(|text| text.parse()).transpose().map_err(Error::Unfit)?;
    let newest = gateway.jobs.newest(&wanted, after, PAGE, now.at).await?;
    Ok(Found::Page(html! {
        h1 { "Jobs" }
        div #live data-live="/admin/live?parts=status" { (layout::status(now.trouble().as_ref())) }
        (filters(&search, now))
        (listed(&newest, now, &search))
    }))
}

fn filters(search: &Search, now: &Now) -> Markup {
    html! {
        form.filters action="/admin/jobs" {
            label { "State"
                select name="state" {
                    option value="" { "any" }
                    @for state in State::ALL {
                        @let name = state.to_string();
                        option value=(name) selected[name == search.state] { (name) }
                    }
                }
            }
            label { "Tenant" input type="text" name="tenant" value=(search.tenant) autocomplete="off" spellcheck="false"; }
            label { "Model" input type="text" name="model" value=(search.model) list="hosted" autocomplete="off" spellcheck="false"; }
            datalist #hosted { @for model in &now.models { option value=(model.key) {} } }
            button type="submit" { "Filter" }
            a href="/admin/jobs" { "All" }
        }
    }
}

fn listed(newest: &Newest, now: &Now, search: &Search) -> Markup {
    let older = newest.next.map(|next: Before| {
        let Search { state, tenant, model, .. } = search;
        let cursor = next.to_string();
        let parts = [("state", state), ("tenant", tenant), ("model", model), ("cursor", &cursor)];
        format!("/admin/jobs?{}", serde_urlencoded::to_string(parts).unwrap_or_default())
    });
    html! {
        section #jobs aria-label="Jobs" {
            @if newest.jobs.is_empty() {
                (empty("No job is like that.", &html! {
                    @if older.is_some() { "There are older ones that were not looked at yet." }
                    @else { "Ask for less, or look at " a href="/admin/jobs" { "all of them" } "." }
                }))
            } @else { (rows(&newest.jobs, now)) }
            @if let Some(older) = older { p { a.older href=(older) { "Older" } } }
        }
    }
}

/// A row a job.
fn rows(jobs: &[JobRecord], now: &Now) -> Markup {
    let columns = [
        column("Job"),
        column("Tenant"),
        looking("long", "Model"),
        column("State"),
        numbers("Accepted"),
        numbers("Waited"),
        numbers("Ran"),
        numbers("Result"),
    ];
    let rows = jobs.iter().map(|job| {
        vec![
            html! { a.id href={ "/admin/jobs/" (job.id) } title=(job.id) { (short(&job.id.to_string())) } },
            html! { (job.tenant) },
            html! { (job.model) },
            state(job),
            ago(job.accepted_at, now.at),
            waited(job, now.at),
            ran(job, now.at),
            progress::result(job).map_or_else(nothing, |result| html! { (bytes(result.len())) }),
        ]
    });
    layout::table("Jobs", &columns, rows)
}

/// How far a job is; of one that failed, by whose fault.
pub fn state(job: &JobRecord) -> Markup {
    use store::{Fault, Outcome};
    let word = job.state.to_string();
    match (job.state, &job.outcome) {
        (State::Queued | State::Dispatched, _) => layout::state("waiting", &word),
        (State::Running | State::Completed, _) => layout::state("well", &word),
        (State::Failed, Some(Outcome::Failure { fault: Fault::User, .. })) => {
            layout::state("degraded", "failed: program")
        }
        (State::Failed, Some(Outcome::Failure { fault: Fault::Limit, .. })) => {
            layout::state("degraded", "failed: limit")
        }
        (State::Failed, _) => layout::state("broken", "failed: server"),
        (State::Cancelled | State::Expired, _) => layout::state("ended", &word),
    }
}

/// How long a job has waited, or did.
pub fn waited(job: &JobRecord, now: u64) -> Markup {
    let until = [job.dispatched_at, job.ended_at].into_iter().find(|time| *time > 0).unwrap_or(now);
    html! { (span(until.saturating_sub(job.accepted_at))) }
}

/// How long a job has run, or did.
pub fn ran(job: &JobRecord, now: u64) -> Markup {
    if job.started_at == 0 {
        return nothing();
    }
    let until = if job.ended_at > 0 { job.ended_at } else { now };
    html! { (span(until.saturating_sub(job.started_at))) }
}

/// One job, for who may know of it. `path` is where it is shown.
///
/// # Errors
/// Failures of the store.
pub async fn one(
    gateway: &Gateway,
    now: &Now,
    principal: &Principal,
    job: &JobRecord,
    path: &str,
) -> Result<Markup, Error> {
    Ok(html! {
        h1 { "Job " span.id data-copy=(job.id) { (job.id) } span #stale.stale hidden {} }
        div #live data-live={ (path) "/live" } { (part(gateway, now, principal, job).await?) }
        (graph::part(job, path, sees(principal, job)))
        @if !job.state.terminal() { (end(path)) }
    })
}

/// The part of it that changes.
///
/// # Errors
/// Failures of the store.
pub async fn part(gateway: &Gateway, now: &Now, principal: &Principal, job: &JobRecord) -> Result<Markup, Error> {
    let own = is_own(principal, job);
    let printed = if own { printed(&gateway.jobs, job).await? } else { String::new() };
    Ok(html! {
        div #job {
            p.line {
                (state(job))
                @if job.state == State::Queued { " " span.why { (place(now, principal, job)) } }
            }
            (way(job, now.at))
            @if !job.state.terminal() && let Some(at) = now.progress(job) { (far(&at)) }
            div.columns {
                section { h2 { "What it is" } (facts(job, now)) }
                section { h2 { "What it cost" } (cost(job)) }
            }
            @if let Some((fault, text)) = failure(job, principal) { section {
                h2 { "Why it failed" }
                @match text {
                    Some(text) => pre tabindex="0" { (text) },
                    None => p.note { "By the " (fault) "'s doing. What a program raised is for its own tenant to read." },
                }
            } }
            @if own && progress::result(job).is_some() { section {
                h2 { "Its result" }
                p { a href={ "/me/jobs/" (job.id) "/result" } { "Download" }
                    " " span.note { "as " code { "torch.load" } " reads it" } }
            } }
            @if own { section {
                h2 { "What it printed" }
                @if printed.is_empty() { p.note { "Nothing so far." } } @else { pre tabindex="0" { (printed) } }
            } }
        }
    })
}

/// Says how far a job is in the model.
pub fn whereabouts(at: &JobProgress) -> String {
    let JobProgress { passes, layer, layers, .. } = at;
    match (layer, passes) {
        (0, 0) => "before its first pass".into(),
        (0, 1) => "after 1 pass, in its own code or before its turn".into(),
        (0, passes) => format!("after {passes} passes, in its own code or before its turn"),
        (layer, passes) => format!("in pass {}, at layer {layer} of {layers}", passes + 1),
    }
}

/// Shows how far a job is, layer by layer.
fn far(at: &JobProgress) -> Markup {
    let JobProgress { layer, layers, .. } = *at;
    let look = |one: u32| match one.cmp(&layer) {
        Ordering::Less => "done",
        Ordering::Equal => "at",
        Ordering::Greater => "to-come",
    };
    html! {
        section {
            h2 { "Where it is" }
            p.line { (whereabouts(at)) }
            @if layer > 0 {
                svg.layers viewBox={ "0 0 " (layers * 10) " 12" } preserveAspectRatio="none" role="img" aria-label={ "layer " (layer) " of " (layers) } {
                    @for one in 1..=layers { rect class=(look(one)) x=((one - 1) * 10) width="8" height="12" {} }
                }
            }
        }
    }
}

/// Returns how much of a job's program somebody sees.
pub fn sees(principal: &Principal, job: &JobRecord) -> Sees {
    if is_own(principal, job) { Sees::All } else { Sees::Passes }
}

fn is_own(principal: &Principal, job: &JobRecord) -> bool {
    job.tenant == principal.tenant && principal.may(Scope::ReadOwn)
}

/// The way to end a job: what comes of it is said first.
fn end(path: &str) -> Markup {
    html! {
        form.act method="post" action={ (path) "/cancel" } {
            details {
                summary { "Cancel this job" }
                p { "It ends at its next step and gives no result, and that cannot be undone." }
                button.danger type="submit" { "Cancel the job" }
            }
        }
    }
}

/// Says why a job waits, and what comes before it.
pub fn place(now: &Now, principal: &Principal, job: &JobRecord) -> String {
    let whose = if job.tenant == principal.tenant { "yours" } else { "the same tenant" };
    let ahead = now.before(job.id, &job.tenant, &job.model, job.class);
    let place = match (ahead.own, ahead.others) {
        (0, 0) => "next".to_owned(),
        (own, 0) => format!("after {own} of {whose}"),
        (0, others) => format!("after about {others} of others"),
        (own, others) => format!("after {own} of {whose} and about {others} of others"),
    };
    format!("{place}; {}", now.why(&job.model))
}

/// The steps of a job in time.
fn way(job: &JobRecord, now: u64) -> Markup {
    let end = if job.ended_at > 0 { job.ended_at } else { now.max(job.accepted_at) };
    let all = end.saturating_sub(job.accepted_at).max(1);
    let steps = [
        ("waiting", job.accepted_at, if job.dispatched_at > 0 { job.dispatched_at } else { end }),
        ("given out", job.dispatched_at, if job.started_at > 0 { job.started_at } else { end }),
        ("running", job.started_at, end),
    ];
    let shown = || steps.iter().filter(|(_, from, _)| *from > 0);
    #[expect(clippy::cast_precision_loss, reason = "places on a screen")]
    let percent = |time: u64| format!("{:.2}%", time as f64 / all as f64 * 100.0);
    let said: Vec<String> =
        shown().map(|(name, from, to)| format!("{name} {}", span(to.saturating_sub(*from)))).collect();
    html! {
        figure.way {
            svg role="img" aria-label=(said.join(", ")) {
                @for (index, (_, from, to)) in shown().enumerate() {
                    rect class={ "step" (index) } x=(percent(from.saturating_sub(job.accepted_at)))
                        width=(percent(to.saturating_sub(*from))) y="0" height="100%" {}
                }
            }
            ol.steps {
                (event("accepted", job.accepted_at, job.accepted_at))
                @if job.dispatched_at > 0 { (event(&given(job), job.dispatched_at, job.accepted_at)) }
                @if job.started_at > 0 { (event("its first step ran", job.started_at, job.accepted_at)) }
                @if job.ended_at > 0 { (event(&job.state.to_string(), job.ended_at, job.accepted_at)) }
            }
        }
    }
}

fn given(job: &JobRecord) -> String {
    let attempt = if job.attempt > 1 { format!(", attempt {}", job.attempt) } else { String::new() };
    match &job.worker {
        Some(worker) => format!("given to {worker}{attempt}"),
        None => format!("given out{attempt}"),
    }
}

fn event(what: &str, at: u64, from: u64) -> Markup {
    html! { li {
        time datetime=(moment(at)) title=(moment(at)) { "+" (span(at.saturating_sub(from))) }
        " " (what)
    } }
}

fn facts(job: &JobRecord, now: &Now) -> Markup {
    html! { dl {
        dt { "Tenant" } dd { (job.tenant) }
        dt { "Key" } dd.id { (job.key) }
        dt { "Model" } dd { (job.model) }
        dt { "Class" } dd { (job.class) }
        dt { "Accepted" } dd { (ago(job.accepted_at, now.at)) }
        dt { "Waited" } dd { (waited(job, now.at)) }
        @if let Some(at) = must_start_by(job, now.queue_time) { dt { "Expires if it waits still" } dd { (until(at, now.at)) } }
        dt { "Ran" } dd { (ran(job, now.at)) }
        dt { "May run" } dd { (span(u64::try_from(job.limits.run_time.as_millis()).unwrap_or(u64::MAX))) }
        @if let Some(at) = must_end_by(job) { dt { "Fails if it runs still" } dd { (until(at, now.at)) } }
        dt { "Attempts" } dd { (job.attempt) }
        @if job.deaths > 0 { dt { "Workers that died with it" } dd { (job.deaths) } }
        dt { "Request" } dd { (bytes(job.payload_bytes)) }
        dt { "Result" } dd { @match progress::result(job) { Some(result) => (bytes(result.len())), None => (nothing()) } }
    } }
}

/// What the worker told of the job's cost, each in the word under which the client finds it in `meta`.
fn cost(job: &JobRecord) -> Markup {
    if !job.state.terminal() {
        return html! { p.note { "It is told when the job has ended." } };
    }
    let meta = progress::meta(job);
    let told = meta.iter().filter(|(name, _)| !matches!(name.as_str(), "request_bytes" | "result_bytes"));
    let told: Vec<_> = told.collect();
    html! {
        @if told.is_empty() { p.note { "It ended before a worker had anything to tell." } }
        @else { dl { @for (name, value) in told { dt { (name.trim_end_matches("_s").replace('_', " ")) } dd { (told_value(name, value)) } } } }
    }
}

fn told_value(name: &str, value: &serde_json::Value) -> String {
    match (value, value.as_u64()) {
        (_, Some(number)) if name.ends_with("bytes") => bytes(number),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times are short and not negative")]
        (serde_json::Value::Number(seconds), _) if name.ends_with("_s") => {
            span((seconds.as_f64().unwrap_or_default() * 1000.0).round() as u64)
        }
        (serde_json::Value::String(text), _) => text.clone(),
        (_, Some(number)) => super::units::count(number),
        (other, _) => other.to_string(),
    }
}

/// Returns the last of what a job has printed.
async fn printed(jobs: &Jobs, job: &JobRecord) -> Result<String, Error> {
    let mut text = jobs.printed(job.id, job.attempt).boxed();
    let mut last = Vec::new();
    let mut cut = false;
    while let Some(piece) = text.next().await {
        last.extend_from_slice(piece?.as_ref());
        if last.len() > 2 * PRINTED {
            last.drain(..last.len() - PRINTED);
            cut = true;
        }
    }
    let text = String::from_utf8_lossy(&last).into_owned();
    Ok(if cut { format!("… {text}") } else { text })
}
