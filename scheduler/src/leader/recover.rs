//! Taking up what an earlier scheduler left.

use std::sync::Arc;

use futures::stream::BoxStream;
use store::{Error, ModelState, State, Work};

use super::{Leader, Orphan, model_record};
use crate::placement::Hosting;

impl Leader {
    /// Takes up what an earlier scheduler left. What it gave out may run still: whoever has it has some time to come back
    /// with it, and it runs again only then.
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
        let work = self.settler.jobs.work().await?;
        for record in self.settler.jobs.list(&[State::Queued, State::Dispatched, State::Running]).await? {
            if record.state == State::Queued {
                self.enqueue(&record, None);
            } else {
                let orphan = Orphan { token: record.token(), worker: record.worker.clone() };
                self.orphans.insert(record.id, orphan);
            }
        }
        for job in self.settler.jobs.cancels().await? {
            self.cancel(job);
        }
        Ok(work)
    }
}
