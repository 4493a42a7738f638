//! Taking up what an earlier scheduler left.

use std::sync::Arc;

use futures::stream::BoxStream;
use store::{Error, ModelState, State, Work};

use super::{Leader, Orphan, model_record};
use crate::placement::Hosting;

impl Leader {
    /// Takes up what an earlier scheduler left. What it gave out may run still: whoever has it has some time to come back
    /// with it, and it runs again only then. So it is with what is queued, as far as a crash may have made it so.
    pub async fn recover(&mut self) -> Result<BoxStream<'static, Work>, Error> {
        for record in self.models.list().await? {
            if !self.config.models.iter().any(|hosted| hosted.key == record.key) {
                self.models.remove(&record.key).await?;
            }
        }
        for hosted in Arc::clone(&self.config).models.iter() {
            self.view.host(hosted.key.clone(), Hosting::Served);
            self.models.put(&model_record(hosted, ModelState::Waiting)).await?;
        }
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
        Ok(work)
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
