//! Taking up what an earlier scheduler left.

use std::sync::Arc;

use store::{Error, State};

use super::{Leader, Orphan, Watches};

impl Leader {
    /// Takes up what an earlier scheduler left. What it gave out may run still: whoever has it has some time to come back
    /// with it, and it runs again only then. So it is with what is queued, as far as a crash may have made it so.
    pub async fn recover(&mut self) -> Result<Watches, Error> {
        let config = Arc::clone(&self.config);
        let wishes = self.hosted.recover(&config.models, self.settler.clock.unix_millis()).await?;
        self.look_at_wishes().await?;
        self.forget_unhosted().await?;
        self.awaited = self.roster.names().clone();
        let work = self.settler.jobs.work().await?;
        let live = self.settler.jobs.live().await?.jobs;
        // What runs counts before what waits.
        live.iter().filter(|live| live.state != State::Queued).for_each(|live| self.bounds.has(live));
        for live in live {
            if live.state == State::Queued && self.roster.has_doubts() {
                self.unsure.insert(live.id, live);
            } else if live.state == State::Queued {
                self.enqueue(&live, None);
            } else {
                let orphan = Orphan { token: live.token(), worker: live.worker };
                self.orphans.insert(live.id, orphan);
            }
        }
        self.settle_doubts();
        for job in self.settler.jobs.cancels().await? {
            self.cancel(job);
        }
        Ok(Watches { work, wishes })
    }

    /// Queues what was found in the queue, if nobody can have it any more.
    pub(super) fn settle_doubts(&mut self) {
        if self.awaited.is_empty() {
            for live in std::mem::take(&mut self.unsure).into_values() {
                self.enqueue(&live, None);
            }
        }
    }
}
