//! `/me`: a researcher's jobs, live, with their results; what they may take and take; their keys; and a cell to begin with.

use auth::{KeyRecord, Principal};
use maud::{Markup, html};
use store::{JobRecord, ModelRecord, ModelState, State};

use super::jobs::{self, place, ran, state, waited};
use super::keys::{self, Acts, Said};
use super::layout::{self, column, empty, looking, numbers};
use super::now::Now;
use super::quota::Own;
use super::units::{ago, bytes, nothing, short};
use crate::progress;
use crate::v1::jobs::failure;
use crate::v1::nodes::Node;

/// Shows all of it. `origin` is how this server is reached from where the page is looked at.
pub fn body(
    now: &Now,
    principal: &Principal,
    jobs: &[JobRecord],
    own: &Own,
    own_keys: &[KeyRecord],
    said: &Said<'_>,
    origin: &str,
) -> Markup {
    html! {
        h1 { "My jobs" }
        div #live data-live="/me/live" {
            (status(now))
            (table(now, principal, jobs))
            (own.part())
        }
        section {
            h2 { "In a notebook" }
            (cell(now, principal, origin))
        }
        section #keys-of-mine {
            h2 { "Keys of " (principal.tenant) }
            (keys::told(said))
            @match &principal.user {
                None => {
                    (keys::table(own_keys, &Acts::None))
                    p.note { "An administrator makes and revokes keys." }
                }
                Some(user) => {
                    p.note { "A notebook shows a key: make one for each place that you work from. It permits what you may, and ends." }
                    (keys::own_form())
                    (keys::table(own_keys, &Acts::Own(user)))
                    p.note { "You can revoke those that you have made yourself, and an administrator all." }
                }
            }
        }
    }
}

/// Says whether jobs can run, and nothing of others.
pub fn status(now: &Now) -> Markup {
    let none_runs = !now.workers().iter().any(Node::connected);
    html! {
        p #status.status data-level=(if none_runs { "degraded" } else { "well" }) role="status" {
            @if none_runs {
                span.mark aria-hidden="true" { "▲" }
                " Jobs are accepted and kept, and none runs at the moment; the operator sees why."
            } @else { span.mark aria-hidden="true" { "●" } " Jobs are taken and run" }
            span #stale.stale hidden {}
        }
    }
}

/// A row a job.
pub fn table(now: &Now, principal: &Principal, jobs: &[JobRecord]) -> Markup {
    html! {
        section #mine aria-label="My jobs" {
            @if jobs.is_empty() {
                (empty("You have no jobs yet.", &html! { "Copy the cell below into a notebook and run it." }))
            } @else {
                (rows(now, principal, jobs))
            }
        }
    }
}

fn rows(now: &Now, principal: &Principal, jobs: &[JobRecord]) -> Markup {
    let columns = [
        column("Job"),
        column("State"),
        looking("why", "What comes next"),
        looking("long", "Model"),
        numbers("Accepted"),
        numbers("Waited"),
        numbers("Ran"),
        numbers("Result"),
    ];
    let rows = jobs.iter().map(|job| {
        vec![
            html! { a.id href={ "/me/jobs/" (job.id) } title=(job.id) { (short(&job.id.to_string())) } },
            state(job),
            next(now, principal, job),
            html! { (job.model) },
            ago(job.accepted_at, now.at),
            waited(job, now.at),
            ran(job, now.at),
            progress::result(job).map_or_else(nothing, |result| {
                html! { a href={ "/me/jobs/" (job.id) "/result" } { (bytes(result.len())) } }
            }),
        ]
    });
    layout::table("My jobs", &columns, rows)
}

/// Says where a job that waits is, and of one that failed the last line of why.
fn next(now: &Now, principal: &Principal, job: &JobRecord) -> Markup {
    match (job.state, &job.worker) {
        (State::Queued, _) => return html! { (place(now, principal, job)) },
        (State::Dispatched | State::Running, Some(worker)) => {
            return html! { "with " (worker) @if let Some(at) = now.progress(job) { ": " (jobs::whereabouts(&at)) } };
        }
        _ => {}
    }
    match failure(job, principal) {
        Some((_, Some(text))) => {
            html! { code { (text.trim_end().lines().next_back().unwrap_or_default()) } }
        }
        _ => nothing(),
    }
}

/// A cell that works when it is pasted, but for the key, which this page does not know.
fn cell(now: &Now, principal: &Principal, origin: &str) -> Markup {
    // One that is cold is loaded when somebody asks for it.
    let usable = |model: &&ModelRecord| {
        matches!(model.state, ModelState::Ready | ModelState::Cold) && principal.admitted(&model.key)
    };
    // What is ready answers at once.
    let mut models: Vec<&ModelRecord> = now.models.iter().filter(usable).collect();
    models.sort_by_key(|model| model.state != ModelState::Ready);
    let Some(first) = models.first().map(|model| &model.key) else {
        return empty("No model can be used now.", &html! { "Come back when the operator has loaded one." });
    };
    html! {
        p { "Models that can be used now: "
            @for (index, model) in models.iter().enumerate() { @if index > 0 { ", " } code { (model.key) } } "." }
        pre.cell #cell tabindex="0" data-copy { (snippet(origin, first.repo_id(), first.revision())) }
        p.note { "It asks for your key when it runs. Needs " code { "pip install nnsight==0.8.1 transformers==5.22.2" } "." }
    }
}

/// Writes the cell. It asks for a module that every family has under its own name.
fn snippet(origin: &str, repo_id: &str, revision: Option<&str>) -> String {
    let revision = revision.map(|revision| format!(", revision=\"{revision}\"")).unwrap_or_default();
    format!(
        r#"import getpass, os
os.environ.update(HF_ENDPOINT="{origin}", NDIF_HOST="{origin}")
os.environ.setdefault("NDIF_API_KEY", "") or os.environ.update(NDIF_API_KEY=getpass.getpass("API key: "))
from nnsight import TransformersModel

model = TransformersModel("{repo_id}"{revision}, task="text-generation")
with model.trace("The capital of France is", remote=True):
    token = model.lm_head.output[0, -1].argmax().save()
print(model.tokenizer.decode(token))
"#
    )
}
