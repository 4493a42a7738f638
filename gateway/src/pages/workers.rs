//! `/admin/workers`: the workers, what each has, and what it can run.

use maud::{Markup, html};
use store::history::CrewMember;

use super::layout;
use super::models::state;
use super::now::Now;
use super::units::{ago, short};

/// Jobs that are listed of one worker.
const JOBS: usize = 20;

/// Shows all of them, with what they do.
pub fn body(now: &Now) -> Markup {
    html! {
        h1.hidden { "Workers" }
        div #live data-live="/admin/live?parts=status,workers,work" {
            (layout::status(now.trouble().as_ref()))
            (table(now))
            (work(now))
        }
    }
}

/// A row a worker.
pub fn table(now: &Now) -> Markup {
    html! {
        section #workers {
            h2 { "Workers" }
            @if now.workers().is_empty() {
                (layout::empty(
                    if now.crew.is_none() { "No scheduler leads, so nobody knows of a worker." } else { "No worker has come yet." },
                    &html! { "Start one with " code { "vitrine-worker run --scheduler ADDRESS" } "; " code { "vitrine up" } " starts its own." },
                ))
            } @else {
                div.scroll tabindex="0" role="group" aria-label="Workers" { table {
                    thead { tr {
                        th scope="col" { "Worker" } th scope="col" { "State" }
                        th.number scope="col" { "Jobs" } th scope="col" { "Places taken" } th scope="col" { "Models" }
                    } }
                    tbody { @for worker in now.workers() { tr {
                        td { a href="/admin/workers" { (worker.worker) } }
                        td { (condition(worker)) }
                        td.number { (worker.jobs) small { " of " (worker.slots) } }
                        td { meter min="0" max=(worker.slots.max(1)) value=(worker.jobs) aria-label="places taken" {} }
                        td.models { @for (key, how) in &worker.models { span { (key) " " (state(how)) } } }
                    } } }
                } }
            }
        }
    }
}

fn condition(worker: &CrewMember) -> Markup {
    if worker.away {
        layout::state("degraded", "connection lost")
    } else if worker.jobs >= worker.slots {
        layout::state("waiting", "full")
    } else if worker.jobs > 0 {
        layout::state("well", "busy")
    } else {
        layout::state("well", "idle")
    }
}

/// What each worker has.
pub fn work(now: &Now) -> Markup {
    html! {
        section #work {
            @for worker in now.workers() {
                @let jobs: Vec<_> = now.live.iter().filter(|job| job.worker.as_ref() == Some(&worker.worker)).collect();
                h2 { "What " (worker.worker) " has" }
                @if jobs.is_empty() { p.note { "Nothing." } }
                @else { div.scroll tabindex="0" role="group" aria-label={ "What " (worker.worker) " has" } { table {
                    thead { tr {
                        th scope="col" { "Job" } th scope="col" { "Tenant" } th scope="col" { "Model" }
                        th scope="col" { "State" } th.number scope="col" { "Given out" } th.number scope="col" { "Attempt" }
                    } }
                    tbody { @for job in jobs.iter().take(JOBS) { tr {
                        td { a.id href={ "/admin/jobs/" (job.id) } { (short(&job.id.to_string())) } }
                        td { (job.tenant) }
                        td { (job.model) }
                        td { (layout::state("well", &job.state.to_string())) }
                        td.number { (ago(job.dispatched_at, now.at)) }
                        td.number { (job.attempt) }
                    } } }
                } } @if jobs.len() > JOBS { p.note { (jobs.len() - JOBS) " more." } } }
            }
        }
    }
}
