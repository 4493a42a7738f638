//! Commits what happened to jobs, and cleans up behind those that ended.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ids::JobId;
use store::job::Event;
use store::{Blob, Error, JobRecord, Jobs, Objects, Outcome, Place};

use crate::policy::Told;

/// Writes job records on behalf of the scheduler.
#[derive(Clone)]
pub struct Settler {
    pub jobs: Jobs,
    pub objects: Objects,
}

/// What became of an event.
#[derive(Debug)]
pub enum Settled {
    /// It happened; the record as it is now.
    Done(Box<JobRecord>),
    /// It is too late, or the job is gone: nothing changed.
    Refused,
    /// The store failed; the event has to be told again.
    Later,
}

impl Settler {
    /// Commits what was told of an attempt.
    pub async fn settle(&self, job: JobId, attempt: u32, told: &Told) -> Settled {
        loop {
            let (before, revision) = match self.jobs.find(job).await {
                Ok(Some(found)) => found,
                Ok(None) => return Settled::Refused,
                Err(error) => return later(job, &error),
            };
            let now = now();
            let event = told.event(&before, now);
            let after = match before.after(attempt, &event, now) {
                Ok(after) => after,
                Err(refused) => {
                    tracing::debug!(%job, attempt, %refused, "event refused");
                    if let Event::Finished { result, .. } = &event {
                        self.drop_result(job, result).await;
                    }
                    return Settled::Refused;
                }
            };
            match self.jobs.replace(revision, &after).await {
                Ok(true) => {
                    if after.state.terminal() && matches!(before.payload, Blob::Object(_)) {
                        self.delete(&Place::payload(&after.tenant, job)).await;
                    }
                    return Settled::Done(Box::new(after));
                }
                // It changed meanwhile.
                Ok(false) => {}
                Err(error) => return later(job, &error),
            }
        }
    }

    /// Forgets a job that ended: its record and whatever any attempt left in the object store.
    pub async fn forget(&self, record: &JobRecord) -> Result<(), Error> {
        self.objects.delete(&Place::payload(&record.tenant, record.id)).await?;
        self.objects.delete_all(&Place::results(&record.tenant, record.id)).await?;
        self.jobs.forget(record).await
    }

    /// Deletes a result that came too late, unless it is the very one that was committed.
    pub async fn drop_result(&self, job: JobId, result: &Blob) {
        let Blob::Object(object) = result else { return };
        // What is not known to be this job's stays; if it is, the sweep deletes it.
        let Ok(Some((record, _))) = self.jobs.find(job).await else { return };
        let committed =
            matches!(&record.outcome, Some(Outcome::Result(Blob::Object(kept))) if kept.path == object.path);
        let Ok(place) = Place::parse(&object.path) else { return };
        if !committed && Place::results(&record.tenant, job).contains(&place) {
            self.delete(&place).await;
        }
    }

    async fn delete(&self, place: &Place) {
        if let Err(error) = self.objects.delete(place).await {
            tracing::warn!(%error, path = place.as_str(), "an object stays until its job is swept");
        }
    }
}

fn later(job: JobId, error: &Error) -> Settled {
    tracing::error!(%job, %error, "the store failed; trying again");
    Settled::Later
}

/// Returns the milliseconds since the Unix epoch.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
