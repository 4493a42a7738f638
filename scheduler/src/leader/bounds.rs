//! Tenants that may have only so many jobs with workers at once: the rest of theirs wait outside the queue, oldest first, and
//! come into it one by one as others end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use ids::{JobId, TenantId};
use store::Live;

/// The jobs of tenants with such a bound.
#[derive(Default)]
pub struct Bounds {
    tenants: BTreeMap<TenantId, Lot>,
    /// Whose each of the jobs is.
    owners: HashMap<JobId, TenantId>,
    /// Those that wait outside, by when they expire.
    expiries: BTreeSet<(Duration, JobId)>,
}

/// The jobs of one tenant.
#[derive(Default)]
struct Lot {
    /// In the queue, or with workers.
    inside: BTreeSet<JobId>,
    /// With when each expires.
    outside: BTreeMap<JobId, (Live, Duration)>,
}

impl Bounds {
    /// Says whether a job may be in the queue. Where it may not, it is kept until it may.
    pub fn admit(&mut self, live: &Live, expires_at: Duration) -> bool {
        let bound = live.at_once as usize;
        if bound == 0 {
            return true;
        }
        let lot = self.tenants.entry(live.tenant.clone()).or_default();
        self.owners.insert(live.id, live.tenant.clone());
        // What is older and waits comes first.
        let first = lot.outside.keys().next().is_none_or(|oldest| live.id <= *oldest);
        if lot.inside.contains(&live.id) || (lot.inside.len() < bound && first) {
            if let Some((_, expires_at)) = lot.outside.remove(&live.id) {
                self.expiries.remove(&(expires_at, live.id));
            }
            lot.inside.insert(live.id);
            return true;
        }
        if let Some((_, before)) = lot.outside.insert(live.id, (live.clone(), expires_at)) {
            self.expiries.remove(&(before, live.id));
        }
        self.expiries.insert((expires_at, live.id));
        false
    }

    /// Notes a job that is with a worker, however many are.
    pub fn has(&mut self, live: &Live) {
        if live.at_once > 0 {
            self.owners.insert(live.id, live.tenant.clone());
            let lot = self.tenants.entry(live.tenant.clone()).or_default();
            lot.inside.insert(live.id);
            if let Some((_, expires_at)) = lot.outside.remove(&live.id) {
                self.expiries.remove(&(expires_at, live.id));
            }
        }
    }

    /// Forgets a job that has ended. Returns the one that may be in the queue for it.
    pub fn leave(&mut self, job: JobId) -> Option<Live> {
        let tenant = self.owners.remove(&job)?;
        let lot = self.tenants.get_mut(&tenant)?;
        lot.inside.remove(&job);
        if let Some((_, expires_at)) = lot.outside.remove(&job) {
            self.expiries.remove(&(expires_at, job));
        }
        let next = lot.outside.values().next().map(|(live, _)| live.clone());
        if lot.inside.is_empty() && next.is_none() {
            self.tenants.remove(&tenant);
        }
        next
    }

    /// Takes out a job that has waited outside for too long.
    pub fn expired(&mut self, now: Duration) -> Option<Live> {
        let (expires_at, job) = self.expiries.first().copied().filter(|(expires_at, _)| *expires_at <= now)?;
        self.expiries.remove(&(expires_at, job));
        let lot = self.tenants.get_mut(self.owners.get(&job)?)?;
        lot.outside.remove(&job).map(|(live, _)| live)
    }
}

#[cfg(test)]
mod tests {
    use ids::{KeyId, ModelKey};
    use store::{Blob, JobRecord};

    use super::*;

    fn job(tenant: &str, at_once: u32) -> Live {
        let (key, model) = (KeyId::new("k"), ModelKey::new("o/n", None));
        let blob = Blob::Inline(Vec::new().into());
        let record = JobRecord::queued(JobId::new(), TenantId::new(tenant), key, model, blob, 1);
        JobRecord { at_once, ..record }.live(1)
    }

    #[test]
    fn a_tenants_jobs_come_into_the_queue_one_by_one_and_nobody_elses_wait_for_them() {
        let (mut bounds, late) = (Bounds::default(), Duration::from_secs(9));
        let jobs: Vec<Live> = (0..5).map(|_| job("ada", 2)).collect();
        // One that came before runs already, and counts.
        bounds.has(&jobs[0]);
        let admitted: Vec<bool> = jobs[1..].iter().map(|job| bounds.admit(job, late)).collect();
        assert_eq!(admitted, [true, false, false, false]);
        assert!(bounds.admit(&jobs[1], late), "it came back");
        assert!(bounds.admit(&job("bob", 1), late) && bounds.admit(&job("cy", 0), late));
        let next = bounds.leave(jobs[1].id).unwrap();
        assert_eq!(next.id, jobs[2].id);
        assert!(!bounds.admit(&jobs[3], late), "the oldest comes first");
        assert!(bounds.admit(&next, late) && !bounds.admit(&jobs[4], late));
        // One that waits outside is cancelled, and another has waited for too long.
        assert_eq!(bounds.leave(jobs[3].id).unwrap().id, jobs[4].id, "it is asked for, and does not fit yet");
        assert!(!bounds.admit(&jobs[4], late));
        assert_eq!(bounds.expired(Duration::from_secs(8)), None);
        assert_eq!(bounds.expired(late).unwrap().id, jobs[4].id);
        assert_eq!(bounds.expired(late), None);
        for job in [&jobs[0], &jobs[2], &jobs[4]] {
            assert_eq!(bounds.leave(job.id), None);
        }
        assert_eq!(bounds.tenants.len(), 1, "bob's alone");
    }

    #[test]
    fn a_job_that_a_worker_turns_out_to_have_waits_no_longer_outside() {
        let (mut bounds, late) = (Bounds::default(), Duration::from_secs(9));
        let jobs: Vec<Live> = (0..3).map(|_| job("ada", 1)).collect();
        assert!(bounds.admit(&jobs[0], late) && !bounds.admit(&jobs[1], late) && !bounds.admit(&jobs[2], late));
        bounds.has(&jobs[1]);
        assert_eq!(bounds.leave(jobs[0].id).unwrap().id, jobs[2].id, "it is the next that waits");
        assert!(!bounds.admit(&jobs[2], late), "the other has the place");
        assert_eq!(bounds.expired(late).unwrap().id, jobs[2].id, "what runs does not expire");
        assert_eq!(bounds.expired(late), None);
    }
}
