//! Commits what happened to jobs, and cleans up behind those that ended.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ids::JobId;
use store::job::Event;
use store::{Blob, Error, JobRecord, Jobs, Objects, Outcome, Place};

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
    /// Commits one event, told for `attempt`.
    pub async fn settle(&self, job: JobId, attempt: u32, event: &Event) -> Settled {
        self.settle_with(job, attempt, |_| event.clone()).await
    }

    /// Commits the event that `decide` makes of the record as it is.
    pub async fn settle_with(&self, job: JobId, attempt: u32, decide: impl FnOnce(&JobRecord) -> Event) -> Settled {
        let before = match self.jobs.find(job).await {
            Ok(Some((record, _))) => record,
            Ok(None) => return Settled::Refused,
            Err(error) => return later(job, &error),
        };
        let event = decide(&before);
        match self.jobs.transition(job, attempt, &event, now()).await {
            Ok(after) => {
                if after.state.terminal() && matches!(before.payload, Blob::Object(_)) {
                    self.delete(&Place::payload(&after.tenant, job)).await;
                }
                Settled::Done(Box::new(after))
            }
            Err(Error::Refused { refused, .. }) => {
                tracing::debug!(%job, attempt, %refused, "event refused");
                self.drop_result(&event).await;
                Settled::Refused
            }
            Err(Error::NoJob(_)) => {
                self.drop_result(&event).await;
                Settled::Refused
            }
            Err(error) => later(job, &error),
        }
    }

    /// Forgets a job that ended: its record and whatever any attempt left in the object store.
    pub async fn forget(&self, record: &JobRecord) -> Result<(), Error> {
        self.objects.delete(&Place::payload(&record.tenant, record.id)).await?;
        for attempt in 1..=record.attempt {
            self.objects.delete(&Place::result(&record.tenant, record.id, attempt)).await?;
        }
        self.jobs.forget(record).await
    }

    /// Deletes the result that a refused report brought, unless it is the very one that was committed.
    async fn drop_result(&self, event: &Event) {
        let Event::Finished { result: Blob::Object(object), .. } = event else { return };
        let Ok(place) = Place::parse(&object.path) else { return };
        let Some(job) = object.path.rsplit('/').nth(1).and_then(|name| name.parse().ok()) else { return };
        let committed = match self.jobs.find(job).await {
            Ok(found) => found.is_some_and(
                |(record, _)| matches!(record.outcome, Some(Outcome::Result(Blob::Object(kept))) if kept.path == object.path),
            ),
            // Not known, so it stays; the sweep deletes it.
            Err(_) => true,
        };
        if !committed {
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
