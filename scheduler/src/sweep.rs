//! Forgets jobs whose time is over.

use std::time::Duration;

use store::Error;
use tokio_util::sync::CancellationToken;

use crate::settle::{Settler, now};

/// Time between sweeps.
const INTERVAL: Duration = Duration::from_secs(600);

/// Sweeps until `stop`.
pub async fn run(settler: Settler, keep: Duration, stop: CancellationToken) {
    let mut interval = tokio::time::interval(INTERVAL);
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        match sweep(&settler, keep).await {
            Ok(0) => {}
            Ok(jobs) => tracing::info!(jobs, "forgot jobs whose results were kept long enough"),
            Err(error) => tracing::warn!(%error, "the sweep stopped early"),
        }
    }
}

/// Forgets the jobs that ended longer than `keep` ago. Returns how many.
pub async fn sweep(settler: &Settler, keep: Duration) -> Result<usize, Error> {
    let before = now().saturating_sub(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
    let mut forgotten = 0;
    let mut next = Some(String::new());
    while let Some(after) = next {
        let ended = settler.jobs.ended(before, &after).await?;
        for job in &ended.jobs {
            settler.forget(job).await?;
            forgotten += 1;
        }
        next = ended.next;
    }
    Ok(forgotten)
}
