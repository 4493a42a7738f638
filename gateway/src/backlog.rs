//! The jobs that have not ended, by tenant: what bounds how much anybody may have waiting.
//!
//! Counted here and told by the store ([`crate::presence`]), so that jobs which other gateways accepted count, too. What
//! is counted decides only whether one more is taken; it may lag behind by a moment.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ids::{JobId, ModelKey, TenantId};
use store::JobRecord;

use crate::{Error, Settings, metrics};

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
    model: ModelKey,
    bytes: u64,
    /// Whether the store knows it.
    accepted: bool,
}

/// A job's place in the backlog before it is accepted; dropping it leaves, unless the store has told of the job.
pub struct Entered {
    backlog: Backlog,
    job: Option<JobId>,
}

impl Backlog {
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let own = Load { jobs: settings.queued_jobs_per_tenant, bytes: settings.queued_bytes_per_tenant };
        let all = Load { jobs: settings.queued_jobs, bytes: settings.queued_bytes };
        #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
        metrics::BACKLOG_LIMIT.set(settings.queued_jobs as f64);
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
    pub fn enter(&self, record: &JobRecord) -> Result<Entered, Error> {
        let (job, mut counted) = (record.id, self.lock());
        counted.check(&self.bounds, &record.tenant, record.payload_bytes)?;
        counted.add(job, Job { accepted: false, ..Job::accepted(record) });
        drop(counted);
        Ok(Entered { backlog: self.clone(), job: Some(job) })
    }

    /// Returns how many jobs for a model have not ended, and how many of them are a tenant's.
    #[must_use]
    pub fn before(&self, model: &ModelKey, tenant: &TenantId) -> (u64, u64) {
        let counted = self.lock();
        counted
            .jobs
            .values()
            .filter(|job| job.model == *model)
            .fold((0, 0), |(all, own), job| (all + 1, own + u64::from(job.tenant == *tenant)))
    }

    /// Returns a tenant who has as many jobs as a tenant may, and how many these are.
    #[must_use]
    pub fn full(&self) -> Option<(TenantId, u64)> {
        let counted = self.lock();
        let own = &self.bounds.own;
        let full = counted.own.iter().filter(|(_, load)| load.jobs >= own.jobs || load.bytes >= own.bytes);
        full.max_by_key(|(tenant, load)| (load.jobs, *tenant)).map(|(tenant, load)| (tenant.clone(), load.jobs))
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

    /// Counts a job that another gateway accepted.
    pub fn add(&self, record: &JobRecord) {
        self.lock().add(record.id, Job::accepted(record));
    }

    /// Counts a job no longer.
    pub fn remove(&self, job: JobId) {
        self.lock().remove(job);
    }

    /// Counts afresh what the store has. What is about to be accepted stays counted.
    pub fn recount(&self, listed: &[JobRecord]) {
        let mut counted = self.lock();
        let known: HashSet<JobId> = listed.iter().map(|record| record.id).collect();
        let ended = counted.jobs.iter().filter(|(id, job)| job.accepted && !known.contains(id));
        for id in ended.map(|(id, _)| *id).collect::<Vec<_>>() {
            counted.remove(id);
        }
        for record in listed {
            counted.add(record.id, Job::accepted(record));
        }
    }

    /// Says whether a job is counted, which the store has told of.
    #[must_use]
    pub fn knows(&self, job: JobId) -> bool {
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

impl Job {
    fn accepted(record: &JobRecord) -> Self {
        let (tenant, model) = (record.tenant.clone(), record.model.clone());
        Self { tenant, model, bytes: record.payload_bytes, accepted: true }
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
        self.show();
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
        self.show();
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    fn show(&self) {
        metrics::BACKLOG.set(self.all.jobs as f64);
        metrics::BACKLOG_BYTES.set(self.all.bytes as f64);
    }
}

impl Entered {
    /// Leaves the job counted until it has ended.
    pub fn stay(mut self) {
        if let Some(job) = self.job.take() {
            let _ = self.backlog.knows(job);
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let Some(job) = self.job else { return };
        let mut counted = self.backlog.lock();
        if counted.jobs.get(&job).is_some_and(|job| !job.accepted) {
            counted.remove(job);
        }
    }
}

#[cfg(test)]
mod tests {
    use ids::{KeyId, ModelKey};
    use store::Blob;

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

    fn record(tenant: &str, bytes: usize) -> JobRecord {
        let blob = Blob::Inline(vec![0; bytes].into());
        let (tenant, key, model) = (TenantId::new(tenant), KeyId::new("k"), ModelKey::new("o/n", None));
        JobRecord::queued(JobId::new(), tenant, key, model, blob, 1)
    }

    fn counted(backlog: &Backlog) -> (u64, u64) {
        let all = backlog.lock().all;
        (all.jobs, all.bytes)
    }

    #[test]
    fn each_job_counts_once_whoever_accepted_it_until_it_ends() {
        let backlog = Backlog::new(&bounds());
        let (own, theirs) = (record("ada", 100), record("ada", 100));
        let entered = backlog.enter(&own).unwrap();
        backlog.recount(&[]);
        assert_eq!(counted(&backlog), (1, 100), "the store need not know it yet");
        backlog.add(&theirs);
        backlog.recount(&[own.clone(), theirs.clone()]);
        assert_eq!(counted(&backlog), (2, 200));
        entered.stay();
        backlog.remove(own.id);
        backlog.recount(&[]);
        assert_eq!(counted(&backlog), (0, 0));
        // Nobody could say whether it was accepted; then the store tells that it was.
        let unknown = backlog.enter(&own).unwrap();
        assert!(backlog.knows(own.id) && !backlog.knows(theirs.id));
        drop(unknown);
        assert_eq!(counted(&backlog), (1, 100));
    }

    #[test]
    fn a_tenants_bound_is_its_own_and_the_whole_has_one_too() {
        let backlog = Backlog::new(&bounds());
        let (ada, bob) = (TenantId::new("ada"), TenantId::new("bob"));
        let first = backlog.enter(&record("ada", 300)).unwrap();
        assert!(matches!(backlog.check(&ada, 301), Err(Error::OwnQueueFull { jobs: 1, bytes: 300 })));
        let second = backlog.enter(&record("ada", 300)).unwrap();
        assert!(matches!(backlog.check(&ada, 0), Err(Error::OwnQueueFull { .. })));
        assert!(matches!(backlog.check(&bob, 401), Err(Error::QueueFull)));
        let theirs = backlog.enter(&record("bob", 10)).unwrap();
        let model = ModelKey::new("o/n", None);
        assert_eq!((backlog.before(&model, &ada), backlog.before(&model, &bob)), ((3, 2), (3, 1)));
        assert_eq!(backlog.before(&ModelKey::new("o/other", None), &ada), (0, 0));
        assert!(matches!(backlog.has_room(), Err(Error::QueueFull)));
        assert!(matches!(backlog.check(&bob, 0), Err(Error::QueueFull)));
        drop(first);
        assert!(backlog.check(&ada, 300).is_ok() && backlog.has_room().is_ok());
        drop((second, theirs));
        assert_eq!(backlog.lock().all, Load::default());
        assert!(backlog.lock().own.is_empty());
    }
}
