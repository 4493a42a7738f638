//! `/admin/workers`: the workers, what each has, and what it can run.

use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use store::{Live, ReplicaRecord};

use super::layout::{self, column, looking, numbers, unnamed};
use super::map;
use super::now::{Certificate, Now};
use super::units::{ago, bytes, date, nothing, short, span};
use crate::v1::nodes::Node;

/// Certificates that are listed, those that end first.
const CERTIFICATES: usize = 20;

/// Jobs that are listed of one worker.
const JOBS: usize = 20;

/// Shows all of them, with what they do.
pub fn body(now: &Now) -> Markup {
    html! {
        h1.hidden { "Workers" }
        div #live data-live="/admin/live?parts=status,map,acts,memory,work" {
            (layout::status(now.trouble().as_ref()))
            (map::part(now))
            (table(now, true))
            (map::memory(now))
            (work(now))
        }
        (certificates(now))
    }
}

/// When the certificates end that roles use, the first first; nothing where none uses any.
fn certificates(now: &Now) -> Markup {
    let columns = [column("Whose"), column("For"), column("Ends"), numbers("In")];
    let mut all: Vec<&Certificate> = now.certificates.iter().collect();
    all.sort_by_key(|certificate| certificate.end.at);
    let row = |Certificate { holder, end }: &&Certificate| {
        let at = u64::try_from(end.at).unwrap_or(0).saturating_mul(1000);
        let left = if at > now.at {
            html! { (span(at - now.at)) }
        } else {
            layout::state("broken", "has ended")
        };
        vec![html! { (holder) }, html! { (end.certificate.replace('_', " ")) }, date(at / 1000), left]
    };
    html! {
        @if !all.is_empty() {
            section #certificates {
                h2 { "Certificates" }
                (layout::table("Certificates", &columns, all.iter().take(CERTIFICATES).map(row)))
                @if all.len() > CERTIFICATES { p.note { (all.len() - CERTIFICATES) " more, which end later." } }
            }
        }
    }
}

/// A row a worker, with what can be done to it or without.
pub fn table(now: &Now, acts: bool) -> Markup {
    html! {
        section #workers {
            h2 { "Workers" }
            @if now.workers().is_empty() {
                (layout::empty(
                    if !now.led { "No scheduler leads, so nobody knows of a worker." } else { "No worker has come yet." },
                    &html! { "Start one with " code { "vitrine-worker run --scheduler ADDRESS" } "; " code { "vitrine up" } " starts its own." },
                ))
            } @else {
                (rows(now, acts))
            }
        }
    }
}

fn rows(now: &Now, acts: bool) -> Markup {
    let mut columns = vec![
        column("Worker"),
        column("State"),
        numbers("Jobs"),
        column("Places taken"),
        looking("models", "Memory for models"),
        looking("models wraps", "Models"),
    ];
    if acts {
        columns.push(unnamed("acts", "Acts"));
    }
    let rows = now.workers().iter().map(|worker| {
        let jobs = now.busy(&worker.name);
        let mut cells = vec![html! { a href="/admin/workers" { (worker.name) } }, condition(now, worker)];
        match &worker.record {
            None => cells.extend([(); 4].map(|()| nothing())),
            Some(record) => cells.extend([
                html! { (jobs) small { " of " (record.slots) } },
                html! { meter min="0" max=(record.slots.max(1)) value=(jobs) aria-label="places taken" {} },
                html! { @if record.devices.is_empty() { (nothing()) } @for (name, all, used) in worker.devices() { span {
                    (name) " "
                    meter min="0" max=(all.max(1)) value=(used.min(all)) aria-label={ "memory of " (name) } {}
                    " " (bytes(used)) small { " of " (bytes(all)) }
                } } },
                html! { @for replica in &record.replicas { span { (replica.model) " " (stage(replica)) } } },
            ]),
        }
        if acts {
            cells.push(act(worker));
        }
        cells
    });
    layout::table("Workers", &columns, rows)
}

/// What an operator can do to a worker.
fn act(worker: &Node) -> Markup {
    let path = format!("/admin/workers/{}", utf8_percent_encode(worker.name.as_str(), NON_ALPHANUMERIC));
    let cordon = worker.cordon.as_ref();
    html! {
        @if cordon.is_some() {
            form method="post" action={ (path) "/uncordon" } { button type="submit" { "Uncordon" span.hidden { " " (worker.name) } } }
        }
        @if worker.record.is_some() && !cordon.is_some_and(|cordon| cordon.drain) {
            form method="post" action={ (path) "/drain" } { details {
                summary { "Take out" span.hidden { " " (worker.name) } }
                p { "A cordoned worker is given nothing new, and keeps its models. Of a drained one they leave as well, when \
                    their jobs have ended. Uncordoning undoes either." }
                @if cordon.is_none() { button type="submit" formaction={ (path) "/cordon" } { "Cordon " (worker.name) } " " }
                button.danger type="submit" { "Drain " (worker.name) }
            } }
        }
    }
}

fn condition(now: &Now, worker: &Node) -> Markup {
    let jobs = now.busy(&worker.name);
    match (worker.state(), &worker.record) {
        ("draining", _) => layout::state("waiting", "draining"),
        ("drained", None) => layout::state("ended", "drained, not there"),
        ("drained", _) => layout::state("ended", "drained"),
        ("cordoned", None) => layout::state("ended", "cordoned, not there"),
        ("cordoned", _) => layout::state("waiting", "cordoned"),
        ("away", _) | (_, None) => layout::state("degraded", "connection lost"),
        (_, Some(record)) if jobs >= record.slots as usize => layout::state("waiting", "full"),
        (_, Some(_)) if jobs > 0 => layout::state("well", "busy"),
        (_, Some(_)) => layout::state("well", "idle"),
    }
}

/// How far a model is on a worker.
fn stage(replica: &ReplicaRecord) -> Markup {
    let level = match replica.stage.as_str() {
        "ready" | "rank" => "well",
        "loading" => "waiting",
        "failed" => "broken",
        _ => "ended",
    };
    layout::state(level, &replica.stage)
}

/// What each worker has.
pub fn work(now: &Now) -> Markup {
    let columns = [
        column("Job"),
        column("Tenant"),
        looking("long", "Model"),
        column("State"),
        numbers("Given out"),
        numbers("Attempt"),
    ];
    let row = |job: &Live| {
        vec![
            html! { a.id href={ "/admin/jobs/" (job.id) } { (short(&job.id.to_string())) } },
            html! { (job.tenant) },
            html! { (job.model) },
            layout::state("well", &job.state.to_string()),
            ago(job.dispatched_at, now.at),
            html! { (job.attempt) },
        ]
    };
    html! {
        section #work {
            @for worker in now.workers() {
                @let jobs: Vec<_> = now.live.iter().filter(|job| job.worker.as_ref() == Some(&worker.name)).collect();
                h2 { "What " (worker.name) " has" }
                @if jobs.is_empty() { p.note { "Nothing." } }
                @else { (layout::table(&format!("What {} has", worker.name), &columns, jobs.iter().take(JOBS).map(|job| row(job)))) @if jobs.len() > JOBS { p.note { (jobs.len() - JOBS) " more." } } }
            }
        }
    }
}
