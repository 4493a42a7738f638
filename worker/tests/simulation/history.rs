//! What ran when, and in which process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ids::{InstanceId, JobId};
use tokio::time::Instant;

/// Every run of every job.
#[derive(Default)]
pub struct History(Mutex<BTreeMap<JobId, Vec<Run>>>);

struct Run {
    instance: InstanceId,
    began: Instant,
    /// When it ended, or its process.
    ended: Option<Instant>,
}

impl History {
    pub fn begin(&self, job: JobId, instance: &InstanceId) {
        let run = Run { instance: instance.clone(), began: Instant::now(), ended: None };
        self.lock().entry(job).or_default().push(run);
    }

    /// Notes that a run ended. That of a process that died is ended by its death.
    pub fn end(&self, job: JobId, instance: &InstanceId) {
        let mut runs = self.lock();
        let own = |run: &&mut Run| run.instance == *instance && run.ended.is_none();
        if let Some(run) = runs.get_mut(&job).and_then(|runs| runs.iter_mut().find(own)) {
            run.ended = Some(Instant::now());
        }
    }

    pub fn begun(&self, job: JobId) -> usize {
        self.lock().get(&job).map_or(0, Vec::len)
    }

    pub fn no_job_ran_beside_itself(&self) {
        for (job, runs) in self.lock().iter() {
            for (before, after) in runs.iter().zip(runs.iter().skip(1)) {
                let ended = before.ended.expect("a run has ended when everything has");
                assert!(ended <= after.began, "{job} began again while it ran");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Vec<Run>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
