//! The jobs that have not ended, by tenant: what bounds how much anybody may have waiting.
//!
//! Counted here and told by the store, so that jobs which other gateways accepted count, too. What is counted decides
//! only whether one more is taken; it may lag behind by a moment.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use ids::{JobId, TenantId};
use store::{Jobs, Presence, State as JobState};
use tokio::runtime::Handle;

use crate::{Error, Settings};

/// How long a store that failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// The counts of one gateway. Clones share them.
#[derive(Clone)]
pub struct Backlog {
    bounds: Bounds,
    counted: Arc<Mutex<Counted>>,
}

#[derive(Clone, Copy)]
struct Bounds {
    own: Load,
    all: Load,
}

/// Jobs, and the bytes of their requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    jobs: u64,
    bytes: u64,
}

#[derive(Default)]
struct Counted {
    jobs: HashMap<JobId, Job>,
    own: HashMap<TenantId, Load>,
    all: Load,
}

struct Job {
    tenant: TenantId,
    bytes: u64,
    /// Whether the store knows it.
    accepted: bool,
}

/// A job's place in the backlog before it is accepted; dropping it leaves.
pub struct Entered {
    backlog: Backlog,
    job: Option<JobId>,
}

impl Backlog {
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let own = Load { jobs: settings.queued_jobs_per_tenant, bytes: settings.queued_bytes_per_tenant };
        let all = Load { jobs: settings.queued_jobs, bytes: settings.queued_bytes };
        Self { bounds: Bounds { own, all }, counted: Arc::default() }
    }

    /// Refuses a job that would be one too many.
    ///
    /// # Errors
    /// [`Error::OwnQueueFull`], [`Error::QueueFull`].
    pub fn check(&self, tenant: &TenantId, bytes: u64) -> Result<(), Error> {
        self.lock().check(&self.bounds, tenant, bytes)
    }

    /// Returns how many bytes a tenant's jobs have waiting.
    #[must_use]
    pub fn bytes(&self, tenant: &TenantId) -> u64 {
        self.lock().own.get(tenant).map_or(0, |load| load.bytes)
    }

    /// Counts a job that is about to be accepted.
    ///
    /// # Errors
    /// As [`Backlog::check`].
    pub fn enter(&self, job: JobId, tenant: &TenantId, bytes: u64) -> Result<Entered, Error> {
        let mut counted = self.lock();
        counted.check(&self.bounds, tenant, bytes)?;
        counted.add(job, Job { tenant: tenant.clone(), bytes, accepted: false });
        drop(counted);
        Ok(Entered { backlog: self.clone(), job: Some(job) })
    }

    /// Refuses when nobody's job would be taken.
    ///
    /// # Errors
    /// [`Error::QueueFull`].
    pub fn has_room(&self) -> Result<(), Error> {
        let all = self.lock().all;
        let full = all.jobs >= self.bounds.all.jobs || all.bytes >= self.bounds.all.bytes;
        if full { Err(Error::QueueFull) } else { Ok(()) }
    }

    /// Keeps the counts true, for as long as it is polled.
    pub async fn track(&self, jobs: &Jobs) {
        loop {
            let Err(error) = self.follow(jobs).await;
            tracing::warn!(%error, "cannot follow the jobs that wait; trying again");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follow(&self, jobs: &Jobs) -> Result<std::convert::Infallible, store::Error> {
        let mut changes = jobs.presence().await?;
        self.recount(jobs).await?;
        while let Some(change) = changes.next().await {
            match change {
                Presence::Live(job) if self.knows(job) => {}
                Presence::Live(job) => {
                    if let Some((record, _)) = jobs.find(job).await?
                        && !record.state.terminal()
                    {
                        let (tenant, bytes) = (record.tenant, record.payload_bytes);
                        self.lock().add(job, Job { tenant, bytes, accepted: true });
                    }
                }
                Presence::Ended(job) => self.lock().remove(job),
                Presence::Recheck => self.recount(jobs).await?,
            }
        }
        Err(store::Error::Closed)
    }

    /// Counts afresh what the store has. What is about to be accepted stays counted.
    async fn recount(&self, jobs: &Jobs) -> Result<(), store::Error> {
        const LIVE: [JobState; 3] = [JobState::Queued, JobState::Dispatched, JobState::Running];
        // That reads every one of them, which would hold up whoever shares the thread.
        let (jobs, runtime) = (jobs.clone(), Handle::current());
        let listed = tokio::task::spawn_blocking(move || runtime.block_on(jobs.list(&LIVE)));
        let listed = listed.await.map_err(|_| store::Error::Closed)??;
        let mut counted = self.lock();
        let known: HashSet<JobId> = listed.iter().map(|record| record.id).collect();
        let ended = counted.jobs.iter().filter(|(id, job)| job.accepted && !known.contains(id));
        for id in ended.map(|(id, _)| *id).collect::<Vec<_>>() {
            counted.remove(id);
        }
        for record in listed {
            let (tenant, bytes) = (record.tenant, record.payload_bytes);
            counted.add(record.id, Job { tenant, bytes, accepted: true });
        }
        Ok(())
    }

    fn knows(&self, job: JobId) -> bool {
        match self.lock().jobs.get_mut(&job) {
            Some(job) => {
                job.accepted = true;
                true
            }
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn check(&self, bounds: &Bounds, tenant: &TenantId, bytes: u64) -> Result<(), Error> {
        let own = self.own.get(tenant).copied().unwrap_or_default();
        if own.jobs >= bounds.own.jobs || own.bytes.saturating_add(bytes) > bounds.own.bytes {
            return Err(Error::OwnQueueFull { jobs: own.jobs, bytes: own.bytes });
        }
        if self.all.jobs >= bounds.all.jobs || self.all.bytes.saturating_add(bytes) > bounds.all.bytes {
            return Err(Error::QueueFull);
        }
        Ok(())
    }

    fn add(&mut self, id: JobId, job: Job) {
        self.remove(id);
        for load in [&mut self.all, self.own.entry(job.tenant.clone()).or_default()] {
            load.jobs += 1;
            load.bytes += job.bytes;
        }
        self.jobs.insert(id, job);
    }

    fn remove(&mut self, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else { return };
        self.all.jobs -= 1;
        self.all.bytes -= job.bytes;
        if let Some(own) = self.own.get_mut(&job.tenant) {
            own.jobs -= 1;
            own.bytes -= job.bytes;
            if own.jobs == 0 {
                self.own.remove(&job.tenant);
            }
        }
    }
}

impl Entered {
    /// Leaves the job counted until it has ended.
    pub fn stay(mut self) {
        if let Some(job) = self.job.take() {
            self.backlog.knows(job);
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(job) = self.job {
            self.backlog.lock().remove(job);
        }
    }
}

#[cfg(test)]
mod tests {
    use ids::{KeyId, ModelKey};
    use store::job::Event;
    use store::{Blob, JobRecord, RedbStore};

    use super::*;

    fn bounds() -> Settings {
        Settings {
            queued_jobs: 3,
            queued_bytes: 1000,
            queued_jobs_per_tenant: 2,
            queued_bytes_per_tenant: 600,
            ..Settings::default()
        }
    }

    #[test]
    fn a_tenants_bound_is_its_own_and_the_whole_has_one_too() {
        let backlog = Backlog::new(&bounds());
        let (ada, bob) = (TenantId::new("ada"), TenantId::new("bob"));
        let first = backlog.enter(JobId::new(), &ada, 300).unwrap();
        assert!(matches!(backlog.check(&ada, 301), Err(Error::OwnQueueFull { jobs: 1, bytes: 300 })));
        let second = backlog.enter(JobId::new(), &ada, 300).unwrap();
        assert!(matches!(backlog.check(&ada, 0), Err(Error::OwnQueueFull { .. })));
        assert!(matches!(backlog.check(&bob, 401), Err(Error::QueueFull)));
        let theirs = backlog.enter(JobId::new(), &bob, 10).unwrap();
        assert!(matches!(backlog.has_room(), Err(Error::QueueFull)));
        assert!(matches!(backlog.check(&bob, 0), Err(Error::QueueFull)));
        drop(first);
        assert!(backlog.check(&ada, 300).is_ok() && backlog.has_room().is_ok());
        drop((second, theirs));
        assert_eq!(backlog.lock().all, Load::default());
        assert!(backlog.lock().own.is_empty());
    }

    #[tokio::test]
    async fn jobs_count_from_whoever_accepted_them_until_they_end() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = Jobs::new(Arc::new(RedbStore::open(folder.path().join("state")).unwrap()));
        let job = || {
            let blob = Blob::Inline(vec![0; 100].into());
            let (tenant, key, model) = (TenantId::new("ada"), KeyId::new("k"), ModelKey::new("o/n", None));
            JobRecord::queued(JobId::new(), tenant, key, model, blob, 1)
        };
        let (before, after) = (job(), job());
        jobs.accept(&before).await.unwrap();
        let backlog = Backlog::new(&bounds());
        let tracking = tokio::spawn({
            let (backlog, jobs) = (backlog.clone(), jobs.clone());
            async move { backlog.track(&jobs).await }
        });
        let until = |load: Load| {
            let backlog = backlog.clone();
            async move {
                while backlog.lock().all != load {
                    tokio::task::yield_now().await;
                }
            }
        };
        until(Load { jobs: 1, bytes: 100 }).await;
        jobs.accept(&after).await.unwrap();
        until(Load { jobs: 2, bytes: 200 }).await;
        jobs.transition(before.id, 0, &Event::Cancelled, 2).await.unwrap();
        until(Load { jobs: 1, bytes: 100 }).await;
        // One that this gateway accepts itself counts once.
        jobs.transition(after.id, 0, &Event::Cancelled, 2).await.unwrap();
        until(Load::default()).await;
        let own = job();
        let entered = backlog.enter(own.id, &own.tenant, 100).unwrap();
        jobs.accept(&own).await.unwrap();
        entered.stay();
        let other = job();
        jobs.accept(&other).await.unwrap();
        until(Load { jobs: 2, bytes: 200 }).await;
        jobs.transition(own.id, 0, &Event::Cancelled, 2).await.unwrap();
        until(Load { jobs: 1, bytes: 100 }).await;
        tracking.abort();
    }
}
