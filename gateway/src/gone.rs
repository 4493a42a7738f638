//! Jobs that nobody waits for any more, which are ended where their key wants that.
//!
//! A blocking client waits at a websocket. Where that is closed, or breaks, before the job has ended, the job has a grace;
//! whoever follows it at this gateway when that is over keeps it. A gateway that stops has left its clients, and not
//! they it: it ends none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use auth::Keys;
use ids::JobId;
use store::{JobRecord, Jobs};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;

/// How long a store that failed is left alone.
const AWAY: Duration = Duration::from_secs(1);

/// Who follows what at one gateway. Clones share it.
#[derive(Clone)]
pub struct Gone {
    jobs: Jobs,
    keys: Keys,
    /// Set when the gateway stops.
    stopping: CancellationToken,
    tasks: TaskTracker,
    /// How many follow each job.
    followed: Arc<Mutex<HashMap<JobId, usize>>>,
}

/// Somebody who follows a job, until this is dropped.
pub struct Following {
    gone: Gone,
    job: JobId,
}

impl Gone {
    #[must_use]
    pub fn new(jobs: Jobs, keys: Keys, stopping: CancellationToken, tasks: TaskTracker) -> Self {
        Self { jobs, keys, stopping, tasks, followed: Arc::default() }
    }

    /// Takes in that somebody follows a job.
    #[must_use]
    pub fn follow(&self, job: JobId) -> Following {
        *self.followed().entry(job).or_default() += 1;
        Following { gone: self.clone(), job }
    }

    /// Takes in that the websocket of a job that had not ended is gone.
    pub fn left(&self, job: JobId) {
        let gone = self.clone();
        self.tasks.spawn(async move {
            let stopping = gone.stopping.clone();
            stopping.run_until_cancelled(gone.end_after_grace(job)).await;
        });
    }

    async fn end_after_grace(&self, job: JobId) {
        let Some(grace) = certain(|| self.grace(job)).await else { return };
        sleep(grace).await;
        if self.followed().contains_key(&job) {
            return;
        }
        if certain(|| self.end(job)).await {
            tracing::info!(%job, grace = %humantime::format_duration(grace), "ended, for the client that waited for it is gone");
        }
    }

    /// Returns how long a job is let go on that nobody waits for, if it is not to go on to its end.
    async fn grace(&self, job: JobId) -> Result<Option<Duration>, Error> {
        let Some(record) = self.live(job).await? else { return Ok(None) };
        let terms = self.keys.principal(&record.key).await?.map(|principal| principal.terms);
        Ok(terms.and_then(|terms| terms.cancel_when_gone).map(Duration::from_secs))
    }

    /// Asks for a job's end. Returns whether it had not come to that by itself.
    async fn end(&self, job: JobId) -> Result<bool, Error> {
        let Some(record) = self.live(job).await? else { return Ok(false) };
        self.jobs.cancel(&record.tenant, job).await?;
        Ok(true)
    }

    async fn live(&self, job: JobId) -> Result<Option<JobRecord>, Error> {
        Ok(self.jobs.find(job).await?.map(|(record, _)| record).filter(|record| !record.state.terminal()))
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<JobId, usize>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut followed = self.gone.followed();
        if let Some(count) = followed.get_mut(&self.job) {
            *count -= 1;
            if *count == 0 {
                followed.remove(&self.job);
            }
        }
    }
}

/// Asks the store until it answers. Where it fails for good, the job goes on.
async fn certain<T: Default, F: Future<Output = Result<T, Error>>>(ask: impl Fn() -> F) -> T {
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(Error::StoreAway) => sleep(AWAY).await,
            Err(error) => {
                tracing::warn!(%error, "a job that nobody waits for goes on");
                return T::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use auth::{Grant, Scope, Secret, ServerSecret, Terms};
    use bytes::Bytes;
    use ids::{KeyId, ModelKey, TenantId};
    use store::job::Event;
    use store::{Blob, Faults, MemoryStore};

    use super::*;

    struct Fixture {
        store: MemoryStore,
        gone: Gone,
        patient: KeyId,
        indifferent: KeyId,
    }

    impl Fixture {
        async fn new() -> Self {
            let store = MemoryStore::new(1);
            let secret = ServerSecret::load(&store).await.unwrap();
            let keys = Keys::new(Arc::new(store.clone()), &secret);
            let grant = Grant::new(TenantId::new("ada"), &[Scope::Submit]);
            let terms = Terms { cancel_when_gone: Some(30), ..Terms::default() };
            let indifferent = keys.register(&Secret::new("one"), grant.clone()).await.unwrap().id;
            let patient = keys.register(&Secret::new("other"), Grant { terms, ..grant }).await.unwrap().id;
            let jobs = Jobs::new(Arc::new(store.clone()));
            let gone = Gone::new(jobs, keys, CancellationToken::new(), TaskTracker::new());
            Self { store, gone, patient, indifferent }
        }

        async fn job(&self, key: &KeyId) -> JobId {
            let (id, tenant, model) = (JobId::new(), TenantId::new("ada"), ModelKey::new("o/n", None));
            let record = JobRecord::queued(id, tenant, key.clone(), model, Blob::Inline(Bytes::new()), 1);
            self.gone.jobs.accept(&record).await.unwrap();
            id
        }

        /// Returns the jobs whose end was asked for, once nothing is to come.
        async fn ended(&self) -> Vec<JobId> {
            self.gone.tasks.close();
            self.gone.tasks.wait().await;
            self.gone.jobs.cancels().await.unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_ends_when_its_client_has_been_gone_for_as_long_as_its_key_says() {
        let fixture = Fixture::new().await;
        let (job, other) = (fixture.job(&fixture.patient).await, fixture.job(&fixture.indifferent).await);
        fixture.gone.left(job);
        fixture.gone.left(other);
        sleep(Duration::from_secs(29)).await;
        assert!(fixture.gone.jobs.cancels().await.unwrap().is_empty());
        assert_eq!(fixture.ended().await, [job], "the other's key lets jobs go on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_goes_on_that_somebody_follows_again_or_that_has_ended_or_whose_gateway_stops() {
        let fixture = Fixture::new().await;
        let (followed, left) = (fixture.job(&fixture.patient).await, fixture.job(&fixture.patient).await);
        let done = fixture.job(&fixture.patient).await;
        fixture.gone.jobs.transition(done, 0, &Event::Cancelled, 2).await.unwrap();
        for job in [followed, left, done] {
            fixture.gone.left(job);
        }
        drop(fixture.gone.follow(left));
        let _follows = fixture.gone.follow(followed);
        drop(fixture.gone.follow(followed));
        assert_eq!(fixture.ended().await, [left]);

        let fixture = Fixture::new().await;
        fixture.gone.left(fixture.job(&fixture.patient).await);
        sleep(Duration::from_secs(1)).await;
        fixture.gone.stopping.cancel();
        assert!(fixture.ended().await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_is_asked_until_it_is_back() {
        let fixture = Fixture::new().await;
        let job = fixture.job(&fixture.patient).await;
        fixture.store.set_faults(Faults { unavailable: 1.0, ..Faults::default() });
        fixture.gone.left(job);
        sleep(Duration::from_secs(100)).await;
        fixture.store.set_faults(Faults::default());
        assert_eq!(fixture.ended().await, [job]);
    }
}
