//! `…/graph.svg` of a job: what its program does, drawn, for its own tenant; for who operates the server how far its passes go, and
//! nothing of its text, until the job has ended. Its tenant sees it for as long as the program is kept.

use std::sync::Arc;

use auth::Principal;
use explain::Explanation;
use explain::answer::Trace;
use maud::{Markup, html};
use program::Program;
use store::JobRecord;

use crate::explainer::{Explainer, drawable};
use crate::spool::HELD;
use crate::submit::take_turn;
use crate::{Error, Gateway};

/// Who looks at a drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// All of it: they are of the job's tenant.
    All,
    /// What its passes take of the model.
    Passes,
}

/// Shows the drawing of a job, where it is there. `path` is where the job is shown.
pub fn part(job: &JobRecord, path: &str, sees: Sees) -> Markup {
    let path = format!("{path}/graph.svg");
    let (title, alt) = match sees {
        Sees::All => {
            ("What its program does", "What the program reads, computes and saves, and which layers its passes run")
        }
        Sees::Passes => ("How far its passes go", "Which layers the passes of the program run"),
    };
    html! {
        @if there(job, sees) { section {
            h2 { (title) }
            @if sees == Sees::Passes { p.note { "As read off its program before it runs. What that reads and computes is for its own tenant to see." } }
            a.graph href=(path) { img src=(path) loading="lazy" alt=(alt); }
        } }
    }
}

fn there(job: &JobRecord, sees: Sees) -> bool {
    let kept = !job.state.terminal() || (job.keeps_program && sees == Sees::All);
    kept && job.payload_bytes <= HELD as u64
}

/// Draws it.
///
/// # Errors
/// [`Error::NoJob`] where the program is not kept, or is too large; failures of the stores.
pub async fn draw(gateway: &Arc<Gateway>, principal: &Principal, job: &JobRecord, sees: Sees) -> Result<String, Error> {
    // With its program, and as it is now.
    let (job, _) = gateway
        .jobs
        .find(job.id)
        .await?
        .filter(|(job, _)| there(job, sees) && !job.payload.is_empty())
        .ok_or(Error::NoJob)?;
    let turn = take_turn(gateway, principal).await?;
    let bytes = match gateway.objects.load(&job.payload).await {
        // It went with its job meanwhile.
        Err(store::Error::NoObject(_)) => return Err(Error::NoJob),
        loaded => loaded?,
    };
    if !drawable(&bytes) {
        return Err(Error::NoJob);
    }
    let (explainer, limits) = (Explainer::of(gateway, &job.model).await?, job.limits.clone());
    let drawn = tokio::task::spawn_blocking(move || {
        let program = Program::decode(&bytes, limits.program_bytes()).map_err(Error::internal)?;
        let (checked, _) = program::lowered(program, &limits).map_err(|error| Error::Program(error.to_string()))?;
        let told = explainer.explain(&checked, &limits);
        Ok::<_, Error>(explain::svg(&if sees == Sees::All { told } else { passes(told) }))
    });
    let drawn = drawn.await.map_err(Error::internal)?;
    drop(turn);
    drawn
}

/// Leaves nothing of the program's text but how far its passes go.
fn passes(told: Explanation) -> Explanation {
    let bare = |trace: Trace| Trace { inputs: Vec::new(), accesses: Vec::new(), stops_after: None, ..trace };
    let traces = told.traces.into_iter().map(bare).collect();
    let (nodes, saved, warnings) = Default::default();
    Explanation { file: "A program".into(), traces, nodes, saved, warnings, ..told }
}
