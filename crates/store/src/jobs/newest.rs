//! Jobs as people look at them: first those that have not ended, then the others by the hour of their end, and of each the
//! newest first.

use std::fmt;
use std::str::FromStr;

use ids::{JobId, ModelKey, TenantId};

use super::{Jobs, TOGETHER, keys};
use crate::error::Error;
use crate::job::{JobRecord, State};
use crate::metadata::Range;
use crate::stored;

/// Jobs, and hours, that one call looks at. Where few of many are wanted, it returns what it has found by then.
const LOOKED: usize = 2000;

/// Which jobs are wanted. What is `None` may be any.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub tenant: Option<TenantId>,
    pub state: Option<State>,
    pub model: Option<ModelKey>,
}

/// A place in the listing: only what comes after it is wanted. Its text is what travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Older ones of those that have not ended, then all that have.
    Live(JobId),
    /// Older ones of those that ended in an hour, then those that ended earlier.
    Ended { hour: u64, id: JobId },
}

/// A part of the listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    pub jobs: Vec<JobRecord>,
    /// Where to go on; `None` when these are the last.
    pub next: Option<Before>,
}

impl Jobs {
    /// Returns up to `limit` jobs that come after a place that an earlier call told. There may be fewer, or none, and a
    /// place where to go on. One that ends between two calls may come twice. A record that this version cannot read is
    /// left out. `now` is in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn newest(
        &self,
        wanted: &Wanted,
        after: Option<Before>,
        limit: usize,
        now: u64,
    ) -> Result<Newest, Error> {
        let mut newest = Newest::default();
        // One that ends while it is looked at comes among those that have ended.
        let live = |record: &JobRecord| !record.state.terminal() && wanted.fits(record);
        let older = match after {
            None => Some(JobId::MAX),
            Some(Before::Live(id)) => Some(id),
            Some(Before::Ended { .. }) => None,
        };
        if let Some(older) = older.filter(|_| wanted.state.is_none_or(|state| !state.terminal())) {
            for ids in self.live_before(wanted, older).await?.chunks(TOGETHER) {
                for record in self.look(ids).await?.into_iter().filter(live) {
                    let id = record.id;
                    newest.jobs.push(record);
                    if newest.jobs.len() >= limit {
                        newest.next = Some(Before::Live(id));
                        return Ok(newest);
                    }
                }
            }
        }
        if wanted.state.is_some_and(|state| !state.terminal()) {
            return Ok(newest);
        }
        let oldest = self.store.range(Range::of(keys::all_ended()).limit(1)).await?;
        let Some(oldest) = oldest.entries.first().and_then(|entry| keys::ended_hour(&entry.key)) else {
            return Ok(newest);
        };
        let (last, mut older) = match after {
            Some(Before::Ended { hour, id }) => (hour, id),
            _ => (self.last_hour(now / keys::HOUR).await?, JobId::MAX),
        };
        let mut looked = 0;
        let mut next = Some(last).filter(|last| *last >= oldest);
        while let Some(hour) = next {
            for ids in self.ended_before(wanted, hour, older).await?.chunks(TOGETHER) {
                for record in self.look(ids).await?.into_iter().filter(|record| wanted.fits(record)) {
                    let id = record.id;
                    newest.jobs.push(record);
                    if newest.jobs.len() >= limit {
                        newest.next = Some(Before::Ended { hour, id });
                        return Ok(newest);
                    }
                }
                looked += ids.len();
                if let Some(id) = ids.last().filter(|_| looked >= LOOKED) {
                    newest.next = Some(Before::Ended { hour, id: *id });
                    return Ok(newest);
                }
            }
            looked += 1;
            older = JobId::MAX;
            next = self.hour_before(hour, oldest).await?;
            // Few of these hours may have had one that is wanted.
            if let Some(hour) = next.filter(|_| looked >= LOOKED) {
                newest.next = Some(Before::Ended { hour, id: older });
                return Ok(newest);
            }
        }
        Ok(newest)
    }

    /// Returns the last hour in which a job has ended, if it is later than one: the clock that told an end may have been ahead.
    async fn last_hour(&self, from: u64) -> Result<u64, Error> {
        let mut last = from;
        while let Some(hour) = self.hour_from(last + 1).await? {
            last = hour;
        }
        Ok(last)
    }

    /// Returns the last hour before one in which a job has ended, down to the oldest. Empty hours, as a clock that was ahead
    /// leaves them, are leapt over: that takes as many questions as their number has digits in base two, twice at most.
    async fn hour_before(&self, hour: u64, oldest: u64) -> Result<Option<u64>, Error> {
        if hour <= oldest {
            return Ok(None);
        }
        // In `found` one has ended, from `empty` until the hour none.
        let (mut found, mut empty, mut leap) = (oldest, hour, 1);
        while empty - found > 1 {
            let middle = empty - leap.min((empty - found) / 2);
            match self.hour_from(middle).await?.filter(|hour| *hour < empty) {
                Some(hour) => found = hour,
                None => (empty, leap) = (middle, leap * 2),
            }
        }
        Ok(Some(found))
    }

    /// Returns the first hour from one on in which a job has ended.
    async fn hour_from(&self, hour: u64) -> Result<Option<u64>, Error> {
        let after = Some(keys::ended_in(hour));
        let page = self.store.range(Range { after, ..Range::of(keys::all_ended()).limit(1) }).await?;
        Ok(page.entries.first().and_then(|entry| keys::ended_hour(&entry.key)))
    }

    /// Returns the wanted ones of those that have not ended and are older than one, the newest first.
    async fn live_before(&self, wanted: &Wanted, older: JobId) -> Result<Vec<JobId>, Error> {
        let live = self.live().await?.jobs.into_iter();
        let fit = live.filter(|live| live.id < older && wanted.of(&live.tenant));
        let mut ids: Vec<JobId> = fit.map(|live| live.id).collect();
        ids.sort_unstable_by(|left, right| right.cmp(left));
        Ok(ids)
    }

    /// Returns those of a wanted tenant that ended in an hour and are older than one, the newest first.
    async fn ended_before(&self, wanted: &Wanted, hour: u64, older: JobId) -> Result<Vec<JobId>, Error> {
        let entries = self.store.list(&keys::ended_in(hour)).await?;
        let mut ids = Vec::new();
        for entry in entries.iter().rev() {
            match keys::job_of(&entry.key).map(|id| stored::read_ended(id, entry)) {
                Some(Ok(ended)) if ended.id < older && wanted.of(&ended.tenant) => ids.push(ended.id),
                Some(Err(error)) => self.skip(&error),
                _ => {}
            }
        }
        Ok(ids)
    }
}

impl Wanted {
    fn of(&self, tenant: &TenantId) -> bool {
        self.tenant.as_ref().is_none_or(|wanted| wanted == tenant)
    }

    fn fits(&self, record: &JobRecord) -> bool {
        self.of(&record.tenant)
            && self.state.is_none_or(|state| state == record.state)
            && self.model.as_ref().is_none_or(|model| *model == record.model)
    }
}

impl fmt::Display for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live(id) => write!(f, "live.{id}"),
            Self::Ended { hour, id } => write!(f, "{hour}.{id}"),
        }
    }
}

impl FromStr for Before {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (hour, id) = text.split_once('.')?;
            let id = id.parse().ok()?;
            if hour == "live" { Some(Self::Live(id)) } else { Some(Self::Ended { hour: hour.parse().ok()?, id }) }
        };
        read().ok_or_else(|| format!("{text:?} is no cursor that this server gave out"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ids::WorkerId;

    use super::super::tests::queued;
    use super::*;
    use crate::job::Event;
    use crate::memory::MemoryStore;

    const HOUR: u64 = keys::HOUR;

    async fn all(jobs: &Jobs, wanted: &Wanted, limit: usize) -> Vec<JobId> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let newest = jobs.newest(wanted, after, limit, 10 * HOUR).await.unwrap();
            assert!(newest.jobs.len() <= limit);
            found.extend(newest.jobs.iter().map(|record| record.id));
            let Some(next) = newest.next else { return found };
            let text = next.to_string();
            after = Some(text.parse().unwrap());
            assert_eq!(after, Some(next), "{text}");
        }
    }

    #[tokio::test]
    async fn jobs_are_listed_newest_first_page_by_page_and_by_what_is_wanted() {
        let jobs = Jobs::new(Arc::new(MemoryStore::new(1)));
        let mut ids = Vec::new();
        // Two that wait, one that is with a worker, and three that ended: two in one hour, one in another.
        for (number, tenant) in ["ada", "bob", "ada", "ada", "bob", "ada"].into_iter().enumerate() {
            let record = JobRecord { id: JobId::new(), tenant: TenantId::new(tenant), ..queued() };
            jobs.accept(&record).await.unwrap();
            let dispatched = Event::Dispatched { worker: WorkerId::new("w"), epoch: 1 };
            match number {
                0 => drop(jobs.transition(record.id, 0, &Event::Cancelled, 9 * HOUR).await.unwrap()),
                1 | 2 => drop(jobs.transition(record.id, 0, &Event::Expired, 3 * HOUR).await.unwrap()),
                3 => drop(jobs.transition(record.id, 0, &dispatched, HOUR).await.unwrap()),
                _ => {}
            }
            ids.push(record.id);
        }
        let pick = |places: &[usize]| places.iter().map(|place| ids[*place]).collect::<Vec<_>>();
        for limit in [1, 2, 100] {
            let wanted = Wanted::default();
            assert_eq!(all(&jobs, &wanted, limit).await, pick(&[5, 4, 3, 0, 2, 1]));
            let of_ada = Wanted { tenant: Some(TenantId::new("ada")), ..Wanted::default() };
            assert_eq!(all(&jobs, &of_ada, limit).await, pick(&[5, 3, 0, 2]));
            let in_state = async |state| all(&jobs, &Wanted { state: Some(state), ..Wanted::default() }, limit).await;
            assert_eq!(in_state(State::Queued).await, pick(&[5, 4]));
            assert_eq!(in_state(State::Dispatched).await, pick(&[3]));
            assert_eq!(in_state(State::Expired).await, pick(&[2, 1]));
            assert_eq!(in_state(State::Completed).await, []);
            let other = Wanted { model: Some(ModelKey::new("other", None)), ..Wanted::default() };
            assert_eq!(all(&jobs, &other, limit).await, []);
        }
        // By a clock that was a year ahead.
        jobs.transition(ids[5], 0, &Event::Expired, 8_770 * HOUR).await.unwrap();
        assert_eq!(all(&jobs, &Wanted::default(), 2).await, pick(&[4, 3, 5, 0, 2, 1]));
        for text in ["", "live", "live.x", "x.y", "1.2"] {
            assert!(text.parse::<Before>().is_err(), "{text}");
        }
        assert_eq!("running".parse(), Ok(State::Running));
        assert!("runs".parse::<State>().is_err());
    }
}
