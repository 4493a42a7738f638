//! Forgets jobs whose time is over.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures::StreamExt;
use store::Error;
use tokio_util::sync::CancellationToken;

use crate::clock::Steady;
use crate::settle::Settler;

/// Time between sweeps.
const INTERVAL: Duration = Duration::from_secs(600);

/// Sweeps between two searches for objects that nobody knows, which read the name of every object there is.
const SEARCH: u64 = 36;

/// How long an object may lie before somebody has to know it. Requests and results are kept before they are committed.
const UNKNOWN: Duration = Duration::from_secs(6 * 3600);

/// Sweeps until `stop`.
pub async fn run(settler: Settler, keep: Duration, stop: CancellationToken) {
    let mut interval = tokio::time::interval(INTERVAL);
    // What is deleted stays deleted: a clock that jumps ahead must not make everything old at once.
    let clock = Steady::start(Arc::clone(&settler.clock));
    for number in 1u64.. {
        if stop.run_until_cancelled(interval.tick()).await.is_none() {
            return;
        }
        if number.is_multiple_of(SEARCH) {
            match settler.jobs.audit().forget(clock.unix_millis()).await {
                Ok(0) => {}
                Ok(entries) => tracing::info!(entries, "removed what was in the audit trail for long enough"),
                Err(error) => tracing::warn!(%error, "the audit trail is not swept"),
            }
            match settler.jobs.recount().await {
                Ok(0) => {}
                Ok(accounts) => tracing::info!(accounts, "counted anew what is stored for tenants"),
                Err(error) => tracing::warn!(%error, "what is stored for tenants is not counted anew"),
            }
            match remove_unknown(&settler, UNKNOWN, clock.unix_millis()).await {
                Ok(0) => {}
                Ok(objects) => tracing::info!(objects, "removed objects that belonged to nobody"),
                Err(error) => tracing::warn!(%error, "the search for objects that belong to nobody stopped early"),
            }
        }
        add_up(&settler, clock.unix_millis()).await;
        match sweep(&settler, keep, clock.unix_millis()).await {
            Ok(0) => {}
            Ok(jobs) => tracing::info!(jobs, "forgot jobs whose results were kept long enough"),
            Err(error) => tracing::warn!(%error, "the sweep stopped early"),
        }
    }
}

/// Adds up what jobs came to, in the ledger and in the accounts of those who have quotas.
async fn add_up(settler: &Settler, now: u64) {
    if let Err(error) = settler.jobs.add_hours(now).await {
        tracing::warn!(%error, "the ledger is not added up; trying again");
    }
    if let Err(error) = settler.jobs.add_up(now).await {
        tracing::warn!(%error, "the accounts of quotas are not added up; trying again");
    }
}

/// Forgets the jobs that ended longer than `keep` before `now`. Returns how many.
pub async fn sweep(settler: &Settler, keep: Duration, now: u64) -> Result<usize, Error> {
    let before = now.saturating_sub(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
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

/// Removes the objects that are older than `age` at `now` and that no job needs: what requests that were cut off, and attempts that did not
/// count, left behind. Returns how many.
pub async fn remove_unknown(settler: &Settler, age: Duration, now: u64) -> Result<usize, Error> {
    let mut removed = 0;
    let before = UNIX_EPOCH + Duration::from_millis(now).saturating_sub(age);
    let mut old = settler.objects.older(before);
    while let Some(place) = old.next().await {
        let place = place?;
        if !settler.jobs.needs(&place).await? {
            settler.objects.delete(&place).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use ids::{JobId, KeyId, ModelKey, TenantId};
    use std::time::SystemTime;

    use store::job::Event;
    use store::{Blob, JobRecord, Jobs, MemoryStore, Objects, Place};

    use super::*;
    use crate::clock::{Clock, SystemClock};

    #[tokio::test]
    async fn a_sweep_forgets_whose_time_is_over_and_removes_what_belongs_to_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::local(folder.path()).unwrap();
        let jobs = Jobs::new(Arc::new(MemoryStore::new(1)));
        let (settler, _) = Settler::new(jobs.clone(), objects.clone(), Arc::new(SystemClock));
        let now = SystemClock.unix_millis();
        // A name that a provider gives, which looks like a job's.
        let lab = TenantId::new("7d444840-9dc0-11d1-b245-5ffdce74fad2");
        let mut places = Vec::new();
        for (ended, keeps_program) in [(1, true), (now, false), (now, true)] {
            let id = JobId::new();
            let payload = objects.put(&Place::payload(&lab, id), vec![1; 10].into()).await.unwrap();
            let (key, model) = (KeyId::new("k"), ModelKey::new("m", None));
            let queued = JobRecord::queued(id, lab.clone(), key, model, Blob::Object(payload), 1);
            let record = JobRecord { keeps_program, ..queued };
            jobs.accept(&record).await.unwrap();
            jobs.transition(id, 0, &Event::Dispatched { worker: ids::WorkerId::new("w"), epoch: 1 }, 1).await.unwrap();
            let result = objects.put(&Place::result(&lab, id, 1, 1), vec![2; 10].into()).await.unwrap();
            let finished = Event::Finished { result: Blob::Object(result), meta: String::new() };
            jobs.transition(id, 1, &finished, ended).await.unwrap();
            places.push((id, Place::payload(&lab, id), Place::result(&lab, id, 1, 1)));
        }
        let nobodys = Place::payload(&lab, JobId::new());
        objects.put(&nobodys, vec![3; 10].into()).await.unwrap();

        assert_eq!(sweep(&settler, Duration::from_secs(3600), now).await.unwrap(), 1);
        assert!(jobs.find(places[0].0).await.unwrap().is_none());
        assert!(jobs.find(places[1].0).await.unwrap().is_some());
        assert_eq!(remove_unknown(&settler, Duration::from_secs(3600), now).await.unwrap(), 0, "all is new");
        // The program of a job that has ended, where that is not kept, and what was never accepted.
        assert_eq!(remove_unknown(&settler, Duration::ZERO, now + 60_000).await.unwrap(), 2);
        let mut left: Vec<Place> = objects.older(SystemTime::now()).map(Result::unwrap).collect().await;
        let mut kept = vec![places[1].2.clone(), places[2].1.clone(), places[2].2.clone()];
        left.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        kept.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        assert_eq!(left, kept);
    }
}
