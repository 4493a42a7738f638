//! `/admin/models`: the hosted models and how far each is.

use ids::ModelKey;
use maud::{Markup, html};
use store::ModelState;

use super::layout;
use super::now::Now;
use super::overview::search;
use super::units::nothing;

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
                        th scope="col" { "Model" } th scope="col" { "State" }
                        th scope="col" { "Device" } th scope="col" { "Type" }
                        th.number scope="col" { "Workers" } th.number scope="col" { "Jobs" }
                    } }
                    tbody { @for model in &now.models {
                        @let has = now.workers().iter().filter(|worker| {
                            worker.models.iter().any(|(key, state)| *key == model.key && *state == ModelState::Ready)
                        }).count();
                        tr {
                            td { a href=(search("model", &model.key.to_string())) { (model.key) } }
                            td.text { (state(&model.state)) }
                            td { @match &model.device { Some(device) => (device), None => (nothing()) } }
                            td { @match &model.dtype { Some(dtype) => (dtype), None => (nothing()) } }
                            td.number { (has) }
                            td.number { (busy(&model.key)) }
                        }
                    } }
                } }
            }
        }
    }
}

/// How far a model is.
pub fn state(state: &ModelState) -> Markup {
    match state {
        ModelState::Ready => layout::state("well", "ready"),
        ModelState::Waiting => layout::state("waiting", "no worker has it"),
        ModelState::Loading { fraction } => {
            let percent = format!("{:.0}", fraction * 100.0);
            html! { (layout::state("waiting", "loading")) " " progress max="100" value=(percent) aria-label="loaded" {} " " (percent) " %" }
        }
        ModelState::Failed(why) => html! { (layout::state("broken", "failed")) " " span.why title=(why) { (why) } },
    }
}
