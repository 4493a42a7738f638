//! Forgets jobs whose time is over.

use std::sync::Arc;
use std::time::Duration;

use store::{Error, State};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::clock::Steady;
use crate::settle::Settler;

/// Time between sweeps.
const INTERVAL: Duration = Duration::from_secs(600);

/// Sweeps until `stop`.
pub async fn run(settler: Settler, keep: Duration, stop: CancellationToken) {
    let mut interval = tokio::time::interval(INTERVAL);
    // What is deleted stays deleted: a clock that jumps ahead must not make everything old at once.
    let clock = Steady::start(Arc::clone(&settler.clock));
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        match sweep(&settler, keep, clock.unix_millis()).await {
            Ok(0) => {}
            Ok(jobs) => tracing::info!(jobs, "forgot jobs whose results were kept long enough"),
            Err(error) => tracing::warn!(%error, "the sweep stopped early"),
        }
    }
}

/// Forgets the jobs that ended longer than `keep` before `now`. Returns how many.
pub async fn sweep(settler: &Settler, keep: Duration, now: u64) -> Result<usize, Error> {
    let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
    let ended = [State::Completed, State::Failed, State::Cancelled, State::Expired];
    // That reads every record there is, which would hold up whoever shares the thread.
    let (jobs, runtime) = (settler.jobs.clone(), Handle::current());
    let listed = tokio::task::spawn_blocking(move || runtime.block_on(jobs.list(&ended)));
    let mut forgotten = 0;
    for record in listed.await.map_err(|_| Error::Closed)?? {
        if record.ended_at.saturating_add(keep) <= now {
            settler.forget(&record).await?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}
