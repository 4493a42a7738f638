//! `/admin/models`: the hosted models and how far each is.

use ids::ModelKey;
use maud::{Markup, html};
use store::{ModelRecord, ModelState};

use super::layout;
use super::now::Now;
use super::overview::search;
use super::units::{bytes, nothing, span};

/// Shows all of them.
pub fn body(now: &Now) -> Markup {
    html! {
        h1.hidden { "Models" }
        div #live data-live="/admin/live?parts=status,models" { (layout::status(now.trouble().as_ref())) (table(now)) }
    }
}

/// A row a model.
pub fn table(now: &Now) -> Markup {
    let busy = |key: &ModelKey| now.live.iter().filter(|job| job.model == *key).count();
    html! {
        section #models {
            h2 { "Models" }
            @if now.models.is_empty() {
                (layout::empty("No model is hosted.", &html! {
                    "Name one when the server starts: " code { "--model REPO_ID=FOLDER" } "."
                }))
            } @else {
                div.scroll tabindex="0" role="group" aria-label="Models" { table {
                    thead { tr {
                        th scope="col" { "Model" } th scope="col" { "State" } th.number scope="col" { "Replicas" }
                        th scope="col" { "Device" } th scope="col" { "Type" } th.number scope="col" { "Memory" }
                        th.number scope="col" { "Jobs" }
                    } }
                    tbody { @for model in &now.models { tr {
                        td { a href=(search("model", &model.key.to_string())) { (model.key) } }
                        td.text { (state(now, model)) }
                        td.number { (replicas(now, model)) }
                        td { @match &model.device { Some(device) => (device), None => (nothing()) } }
                        td { @match &model.dtype { Some(dtype) => (dtype), None => (nothing()) } }
                        td.number { @if model.bytes > 0 { (bytes(model.bytes)) } @else { (nothing()) } }
                        td.number { (busy(&model.key)) }
                    } } }
                } }
            }
        }
    }
}

/// How many replicas are ready, and how many there are to be.
fn replicas(now: &Now, model: &ModelRecord) -> Markup {
    let specification = now.specifications.iter().find(|specification| specification.key == model.key);
    html! {
        (model.replicas)
        @if let Some(specification) = specification { small {
            @match (specification.replicas_min, specification.replicas_max) {
                (0, None) => {}
                (min, None) => { " of at least " (min) }
                (0, Some(max)) => { " of up to " (max) }
                (min, Some(max)) if min == max => { " of " (max) }
                (min, Some(max)) => { " of " (min) " to " (max) }
            }
            @if specification.pinned { ", pinned" }
        } }
    }
}

/// How far a model is; of one that is not loaded why, and when it should be.
fn state(now: &Now, model: &ModelRecord) -> Markup {
    let why = html! {
        @if let Some(wait) = &model.wait { " " span.why { (wait.why) } }
        @if let Some(left) = now.expected(model) { " " span.why { "ready in about " (span(left)) } }
    };
    match &model.state {
        ModelState::Ready => layout::state("well", "ready"),
        ModelState::Waiting => html! { (layout::state("waiting", "no worker has it")) (why) },
        // It leaves no job waiting while nobody asks for it.
        ModelState::Cold => {
            html! { (layout::state(if model.wait.is_some() { "waiting" } else { "ended" }, "cold")) (why) }
        }
        ModelState::Loading { fraction } => {
            let percent = format!("{:.0}", fraction * 100.0);
            html! {
                (layout::state("waiting", "loading")) " "
                progress max="100" value=(percent) aria-label="loaded" {} " " (percent) " %" (why)
            }
        }
        ModelState::Failed(why) => html! { (layout::state("broken", "failed")) " " span.why title=(why) { (why) } },
    }
}
