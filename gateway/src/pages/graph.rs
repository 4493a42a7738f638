//! `/me/jobs/…/graph.svg`: what a job's program does, drawn; for its own tenant, and until the job has ended, for then the
//! program is kept no longer.

use std::sync::Arc;

use auth::Principal;
use maud::{Markup, html};
use program::Program;
use store::JobRecord;

use crate::explainer::Explainer;
use crate::spool::HELD;
use crate::submit::take_turn;
use crate::{Error, Gateway};

/// Shows the drawing of a job that has not ended, where it is there.
pub fn part(job: &JobRecord) -> Markup {
    let path = format!("/me/jobs/{}/graph.svg", job.id);
    html! {
        @if there(job) { section {
            h2 { "What its program does" }
            a.graph href=(path) { img src=(path) loading="lazy" alt="What the program reads, computes and saves, and which layers its passes run"; }
        } }
    }
}

fn there(job: &JobRecord) -> bool {
    !job.state.terminal() && job.payload_bytes <= HELD as u64
}

/// Draws it.
///
/// # Errors
/// [`Error::NoJob`] where the program is not kept, or is too large; failures of the stores.
pub async fn draw(gateway: &Arc<Gateway>, principal: &Principal, job: &JobRecord) -> Result<String, Error> {
    if !there(job) {
        return Err(Error::NoJob);
    }
    let turn = take_turn(gateway, principal).await?;
    let (whole, _) = gateway.jobs.find(job.id).await?.filter(|(whole, _)| there(whole)).ok_or(Error::NoJob)?;
    let bytes = gateway.objects.load(&whole.payload).await?;
    let (explainer, limits) = (Explainer::of(gateway, &job.model).await?, job.limits.clone());
    let drawn = tokio::task::spawn_blocking(move || {
        let program = Program::decode(&bytes).map_err(Error::internal)?;
        let (checked, _) = program::lowered(program, &limits).map_err(|error| Error::Program(error.to_string()))?;
        Ok::<_, Error>(explain::svg(&explainer.explain(&checked, &limits)))
    });
    let drawn = drawn.await.map_err(Error::internal)?;
    drop(turn);
    drawn
}
