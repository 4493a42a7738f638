//! The ledger: what jobs came to, by tenant, project, key, model and day.
//!
//! A job is entered by the transaction of its outcome, in what is kept of it then anyway (`ended/{hour}/{id}`), so that the
//! ledger costs a job nothing. Hours that are over are added up by the sweep, a tenant's in one entry a day, which says what
//! hours it has; a job that is forgotten before that is added up by itself, by the transaction that forgets it. Whatever is
//! tried again, each job is in the sum once.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use ids::{KeyId, ModelKey, TenantId};
use proto::stored as records;

use super::{Jobs, TOGETHER, keys};
use crate::error::Error;
use crate::job::Ended;
use crate::messages;
use crate::metadata::{Entry, Range, Revision};
use crate::stored;
use crate::txn::Txn;

const HOURS: u64 = 24;

/// Hours that are not added up before they are so long over: by then nobody's clock is in them any more.
const SLACK: u64 = 1;

/// What some jobs came to that ended on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Days since the Unix epoch, by UTC.
    pub day: u64,
    pub tenant: TenantId,
    /// Empty for none.
    pub project: String,
    pub key: KeyId,
    /// `None` for jobs of versions that did not say.
    pub model: Option<ModelKey>,
    /// Jobs that ended, however.
    pub jobs: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Microseconds that they computed.
    pub ran: u64,
    pub request_bytes: u64,
    pub result_bytes: u64,
}

/// What was added up of a tenant's day, and what wrote it.
type Added = BTreeMap<(u64, TenantId), (records::Usage, Revision)>;

impl Jobs {
    /// Returns what the jobs came to that ended between two days, both included, in order: of a tenant, or of all.
    ///
    /// # Errors
    /// Failures of the store; [`Error::Unreadable`].
    pub async fn usage(&self, from: u64, to: u64, tenant: Option<&TenantId>) -> Result<Vec<Usage>, Error> {
        let of = |name: &TenantId| tenant.is_none_or(|wanted| wanted == name);
        loop {
            let through = self.added_through().await?;
            let open = (from * HOURS).max(through)..(to + 1) * HOURS;
            let mut added = self.added(from, to).await?;
            added.retain(|(_, name), _| of(name));
            let mut ended = Vec::new();
            if let Some(last) = open.clone().last() {
                self.each_ended(open.start, last, |job| {
                    if of(&job.tenant) {
                        ended.push(job);
                    }
                })
                .await?;
                // What was added up meanwhile may be in both, or in neither.
                let mut again = self.added(open.start / HOURS, to).await?;
                again.retain(|(_, name), _| of(name));
                let before = added.range((open.start / HOURS, TenantId::new(""))..);
                if !before.map(|(place, (_, revision))| (place, *revision)).eq(again.iter().map(|(p, (_, r))| (p, *r)))
                {
                    continue;
                }
            }
            for job in ended {
                let (day, hour) = place(&job);
                let entry = added.entry((day, job.tenant.clone())).or_default();
                if entry.0.hours & (1 << hour) == 0 {
                    add(&mut entry.0, &job);
                }
            }
            return Ok(added.into_iter().flat_map(|((day, tenant), (usage, _))| rows(day, tenant, usage)).collect());
        }
    }

    /// Adds up the hours that are over. `now` is in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// Failures of the store; then it can be done again.
    pub async fn add_hours(&self, now: u64) -> Result<(), Error> {
        let until = (now / keys::HOUR).saturating_sub(SLACK);
        let oldest = self.store.range(Range::of(keys::all_ended()).limit(1)).await?;
        let Some(oldest) = oldest.entries.first().and_then(|entry| keys::ended_hour(&entry.key)) else { return Ok(()) };
        for hour in self.added_through().await?.max(oldest)..until {
            while !self.add_hour(hour).await? {}
            self.store.put(&keys::usage_through(), (hour + 1).to_be_bytes().to_vec().into()).await?;
            self.through.fetch_max(hour + 1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Adds up an hour. Returns whether nobody was in its way.
    async fn add_hour(&self, hour: u64) -> Result<bool, Error> {
        let (day, bit) = (hour / HOURS, 1 << (hour % HOURS));
        // Read before the jobs are: who forgets one of them meanwhile writes what was read here.
        let added = self.added(day, day).await?;
        // One row a key, project and model, so that an hour of many jobs takes little memory.
        let mut tenants: BTreeMap<TenantId, records::Usage> = BTreeMap::new();
        self.each_ended(hour, hour, |job| add(tenants.entry(job.tenant.clone()).or_default(), &job)).await?;
        let mut alone = true;
        for (tenant, usage) in tenants {
            let path = keys::usage(day, &tenant);
            let (mut whole, txn) = match added.get(&(day, tenant)) {
                Some((whole, _)) if whole.hours & bit != 0 => continue,
                Some((whole, revision)) => (whole.clone(), Txn::default().unchanged(&path, *revision)),
                None => (records::Usage::default(), Txn::default().absent(&path)),
            };
            whole.hours |= bit;
            usage.rows.into_iter().for_each(|row| merge(&mut whole, row));
            alone &= self.store.txn(txn.put(&path, stored::encode(&whole))).await?.committed().is_some();
        }
        Ok(alone)
    }

    /// Adds to what forgets a job that it is added up, unless it is, or is forgotten already.
    pub(super) async fn charge(&self, txn: Txn, ended: &Ended) -> Result<Txn, Error> {
        let (day, hour) = place(ended);
        if day * HOURS + hour < self.through.load(Ordering::Relaxed) {
            return Ok(txn);
        }
        let (usage, own) = (keys::usage(day, &ended.tenant), keys::ended(ended.id, ended.ended_at));
        let [found, Some(there)] = &self.store.read(&[usage.clone(), own.clone()]).await?[..] else { return Ok(txn) };
        let mut whole: records::Usage = found.as_ref().map(stored::decode).transpose()?.unwrap_or_default();
        let txn = Txn { compares: since(&usage, found.as_ref()).compares, ..txn }.unchanged(own, there.revision);
        if whole.hours & (1 << hour) != 0 {
            return Ok(txn);
        }
        add(&mut whole, ended);
        Ok(txn.put(usage, stored::encode(&whole)))
    }

    /// Returns the first hour, since the Unix epoch, that is not added up.
    async fn added_through(&self) -> Result<u64, Error> {
        if let Some(entry) = self.store.get(&keys::usage_through()).await?
            && let Ok(bytes) = entry.value.as_ref().try_into()
        {
            self.through.fetch_max(u64::from_be_bytes(bytes), Ordering::Relaxed);
        }
        Ok(self.through.load(Ordering::Relaxed))
    }

    /// Reads what was added up of some days.
    async fn added(&self, from: u64, to: u64) -> Result<Added, Error> {
        let mut added = Added::new();
        let first = Range { after: Some(keys::usage_of(from)), ..Range::of(keys::all_usage()).limit(TOGETHER) };
        let mut next = Some(first);
        while let Some(range) = next.take() {
            let page = self.store.range(range.clone()).await?;
            for entry in &page.entries {
                let Some((day, tenant)) = keys::usage_place(&entry.key) else { continue };
                if day > to {
                    return Ok(added);
                }
                added.insert((day, TenantId::new(tenant)), (stored::decode(entry)?, entry.revision));
            }
            next = range.next(&page).map(|next| Range { at: None, ..next });
        }
        Ok(added)
    }

    /// Looks at the jobs that ended in some hours, the last included.
    async fn each_ended(&self, first: u64, last: u64, mut look: impl FnMut(Ended)) -> Result<(), Error> {
        let range = Range { after: Some(keys::ended_in(first)), ..Range::of(keys::all_ended()) };
        let mut next = Some(range);
        while let Some(range) = next.take() {
            let page = self.store.range(range.clone()).await?;
            for entry in &page.entries {
                if keys::ended_hour(&entry.key).is_none_or(|hour| hour > last) {
                    return Ok(());
                }
                match keys::job_of(&entry.key).map(|id| stored::read_ended(id, entry)) {
                    Some(Ok(job)) => look(job),
                    Some(Err(error)) => self.skip(&error),
                    None => {}
                }
            }
            next = range.next(&page).map(|next| Range { at: None, ..next });
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// Requires that an entry is as it was found.
fn since(path: &str, found: Option<&Entry>) -> Txn {
    match found {
        Some(entry) => Txn::default().unchanged(path, entry.revision),
        None => Txn::default().absent(path),
    }
}

/// Returns on which day a job ended, and in which hour of it.
fn place(job: &Ended) -> (u64, u64) {
    let hour = job.ended_at / keys::HOUR;
    (hour / HOURS, hour % HOURS)
}

fn add(usage: &mut records::Usage, job: &Ended) {
    merge(
        usage,
        records::usage::Row {
            project: job.project.clone(),
            key: job.key.to_string(),
            model: job.model.as_ref().map(messages::model),
            jobs: 1,
            failed: job.failed.into(),
            ran: job.ran,
            request_bytes: job.request_bytes,
            result_bytes: job.result_bytes,
        },
    );
}

fn merge(usage: &mut records::Usage, more: records::usage::Row) {
    let same =
        |row: &&mut records::usage::Row| row.key == more.key && row.project == more.project && row.model == more.model;
    match usage.rows.iter_mut().find(same) {
        None => usage.rows.push(more),
        Some(row) => {
            row.jobs += more.jobs;
            row.failed += more.failed;
            row.ran = row.ran.saturating_add(more.ran);
            row.request_bytes = row.request_bytes.saturating_add(more.request_bytes);
            row.result_bytes = row.result_bytes.saturating_add(more.result_bytes);
        }
    }
}

fn rows(day: u64, tenant: TenantId, usage: records::Usage) -> impl Iterator<Item = Usage> {
    usage.rows.into_iter().map(move |row| Usage {
        day,
        tenant: tenant.clone(),
        project: row.project,
        key: KeyId::new(row.key),
        model: row.model.map(messages::read_model),
        jobs: row.jobs,
        failed: row.failed,
        ran: row.ran,
        request_bytes: row.request_bytes,
        result_bytes: row.result_bytes,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ids::{JobId, WorkerId};

    use super::super::tests::queued;
    use super::*;
    use crate::job::{Event, Fault, JobRecord};
    use crate::memory::{Faults, MemoryStore};
    use crate::objects::Blob;

    const HOUR: u64 = keys::HOUR;
    const DAY: u64 = HOURS * HOUR;

    /// Has a job of a tenant that computed so many milliseconds and ended at a time, and returns what is kept of it.
    async fn ran(jobs: &Jobs, tenant: &str, seconds: f64, at: u64) -> Ended {
        let record = JobRecord { id: JobId::new(), tenant: TenantId::new(tenant), project: "p".into(), ..queued() };
        jobs.accept(&record).await.unwrap();
        let given = Event::Dispatched { worker: WorkerId::new("w"), epoch: 1 };
        jobs.transition(record.id, 0, &given, at).await.unwrap();
        let meta = format!("{{\"execution_time_s\": {seconds}}}");
        let end = match (seconds * 1000.0) as u64 % 2 {
            0 => Event::Finished { result: Blob::Inline(vec![1; 10].into()), meta },
            _ => Event::Failed { fault: Fault::User, text: "x".into(), meta },
        };
        jobs.transition(record.id, 1, &end, at).await.unwrap().ended()
    }

    fn sum(usage: &[Usage]) -> (u64, u64, u64, u64) {
        usage.iter().fold((0, 0, 0, 0), |sum, row| {
            (sum.0 + row.jobs, sum.1 + row.failed, sum.2 + row.ran, sum.3 + row.result_bytes)
        })
    }

    #[tokio::test]
    async fn each_job_is_in_the_ledger_once_before_and_after_it_is_added_up_and_forgotten() {
        let store = MemoryStore::new(1);
        let jobs = Jobs::new(Arc::new(store.clone()));
        let (mut ended, mut expected) = (Vec::new(), (0, 0, 0, 0));
        for number in 0..240u64 {
            let at = 20_000 * DAY + number * HOUR / 4 + 1;
            let job = ran(&jobs, ["ada", "bob"][number as usize % 2], number as f64 / 1000.0, at).await;
            expected.0 += 1;
            expected.1 += u64::from(number % 2 == 1);
            expected.2 += number * 1000;
            expected.3 += if number % 2 == 0 { 10 } else { 0 };
            ended.push(job);
        }
        let all = async || sum(&jobs.usage(20_000, 20_010, None).await.unwrap());
        assert_eq!(all().await, expected);
        // Some are forgotten before their hour is added up, some after; and it is asked for again and again.
        for job in ended.iter().skip(200) {
            jobs.forget(job).await.unwrap();
            jobs.forget(job).await.unwrap();
            assert_eq!(all().await, expected);
        }
        for hours in [1, 7, 31, 100] {
            for _ in 0..2 {
                // Another process, which knows nothing of what was added up.
                Jobs::new(Arc::new(store.clone())).add_hours(20_000 * DAY + hours * HOUR).await.unwrap();
                assert_eq!(all().await, expected, "after {hours} hours");
            }
        }
        for job in &ended {
            jobs.forget(job).await.unwrap();
        }
        assert_eq!(all().await, expected);
        let rows = jobs.usage(20_001, 20_001, Some(&TenantId::new("bob"))).await.unwrap();
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert_eq!((row.day, row.tenant.as_str(), row.project.as_str(), row.jobs), (20_001, "bob", "p", 48));
        assert_eq!(row.model, Some(queued().model));
        assert!(jobs.usage(1, 19_999, None).await.unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_answers_are_lost_no_job_is_counted_twice_or_not_at_all() {
        for seed in 0..50 {
            let store = MemoryStore::new(seed);
            let jobs = Jobs::new(Arc::new(store.clone()));
            store.set_faults(Faults {
                unknown_outcome: 0.3,
                conflict: 0.2,
                delay: Duration::from_millis(5),
                ..Faults::default()
            });
            let mut ended = Vec::new();
            for number in 0..6 {
                ended.push(ran(&jobs, "ada", 0.002, 20_000 * DAY + number * HOUR).await);
            }
            // What failed is done again, as the sweep does it.
            while jobs.add_hours(20_000 * DAY + 5 * HOUR).await.is_err() {}
            for job in &ended {
                while jobs.forget(job).await.is_err() {}
            }
            while jobs.add_hours(20_000 * DAY + 9 * HOUR).await.is_err() {}
            store.set_faults(Faults::default());
            assert_eq!(sum(&jobs.usage(20_000, 20_000, None).await.unwrap()), (6, 0, 12_000, 60), "seed {seed}");
        }
    }
}
