//! What happened in the last day, minute by minute, and whether a scheduler leads: written by the one that does, for people
//! to look at. Nothing is decided by it, and it may lag behind by seconds.

mod spread;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use ids::{ModelKey, TenantId, WorkerId};
use serde::Deserialize;

use crate::ROOT;
use crate::error::Error;
use crate::job::{Fault, JobRecord, Outcome, State};
use crate::metadata::{MetadataStore, Range};
use crate::mirror::{Mirror, Unsure};
use crate::stored;
use crate::txn::Txn;

pub use spread::Spread;

/// Minutes that are kept.
pub const KEPT: u64 = 24 * 60;

/// Pairs of tenant and model that are counted apart in a minute. What others do is counted together.
const TALLIES: usize = 32;

/// Happenings that are noted of one minute.
const HAPPENINGS: usize = 16;

/// Old minutes that are removed together.
const TOGETHER: usize = 64;

/// The history in a metadata store. Clones share what they keep in memory.
#[derive(Clone)]
pub struct History {
    store: Arc<dyn MetadataStore>,
    minutes: Mirror<(u64, Minute)>,
    pulse: Mirror<Pulse>,
}

/// What one scheduler saw in a minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    /// Jobs that workers had, the most at one time.
    pub running: u64,
    pub tallies: BTreeMap<Line, Tally>,
    pub happenings: Vec<Happening>,
}

/// Whose jobs are counted together: those of a tenant for a model. `None` stands for all that had no room of their own.
pub type Line = Option<(TenantId, ModelKey)>;

/// What became of the jobs of one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The most that waited at one time.
    pub waiting: u64,
    /// Given to a worker.
    pub given: u64,
    pub completed: u64,
    /// Failed by their programs' doing, for more than their limits, and by the server's doing.
    pub failed_program: u64,
    pub failed_limit: u64,
    pub failed_server: u64,
    pub cancelled: u64,
    pub expired: u64,
    /// From being accepted to being given out first.
    pub waits: Spread,
    /// From its first step to its end.
    pub runs: Spread,
    /// Of those that ended.
    pub passes: Passes,
}

/// What the forward passes of some jobs came to, as their workers told of each: a pass that several share counts for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Passes {
    pub forwards: u64,
    /// Traces in those passes, of every job.
    #[serde(skip)]
    pub traces: u64,
    pub rows: u64,
    /// Rows that computed only what differs from an equal row before.
    #[serde(rename = "forks")]
    pub forked_rows: u64,
    pub layers_run: u64,
    /// Layers that had not to be computed.
    pub layers_skipped: u64,
}

/// Something that is worth a mark on the axis of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    SchedulerBegan,
    WorkerCame(WorkerId),
    WorkerLeft(WorkerId),
    WorkerDied(WorkerId),
    WorkerSilent(WorkerId),
    /// A model on this worker gives other numbers than it gave.
    Drifted(WorkerId, ModelKey),
    /// The weights of a model on this worker had changed in memory.
    Corrupted(WorkerId, ModelKey),
}

/// Who led last, and when that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Milliseconds since the Unix epoch, by the scheduler's clock.
    pub at: u64,
    pub epoch: u64,
    /// How long a job may wait before it expires, in milliseconds; zero where that was not told.
    pub queue_time: u64,
}

impl History {
    /// Views the history of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn MetadataStore>) -> Self {
        let minutes = Mirror::new(Arc::clone(&store), &minutes(), |entry| {
            Some((minute_of(&entry.key)?, stored::read_minute(entry).ok()?))
        });
        let pulse = Mirror::new(Arc::clone(&store), &pulse(), |entry| stored::read_pulse(entry).ok());
        Self { store, minutes, pulse }
    }

    /// Keeps it in memory as the store has it, for as long as it is polled.
    pub async fn keep(&self) -> Infallible {
        tokio::join!(self.minutes.keep(), self.pulse.keep()).0
    }

    /// Returns what is known of the minutes from one on, by their number since the Unix epoch; what several schedulers saw
    /// of one is put together. What this version cannot read is left out.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn since(&self, first: u64) -> Result<BTreeMap<u64, Minute>, Error> {
        let mut found: BTreeMap<u64, Minute> = BTreeMap::new();
        match self.minutes.all() {
            Ok(minutes) => {
                for minute in minutes.iter().filter(|minute| minute.0 >= first) {
                    found.entry(minute.0).or_default().add(&minute.1);
                }
            }
            Err(Unsure) => {
                for entry in self.store.list(&minutes()).await? {
                    if let (Some(number), Ok(minute)) = (minute_of(&entry.key), stored::read_minute(&entry))
                        && number >= first
                    {
                        found.entry(number).or_default().add(&minute);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Returns who led last; `None` where no scheduler has led yet.
    ///
    /// # Errors
    /// Failures of the store, also for a record that this version cannot read.
    pub async fn pulse(&self) -> Result<Option<Pulse>, Error> {
        match self.pulse.get(&pulse()) {
            Ok(found) => Ok(found.map(|pulse| Pulse::clone(&pulse))),
            Err(Unsure) => self.store.get(&pulse()).await?.as_ref().map(stored::read_pulse).transpose(),
        }
    }

    /// Writes what the scheduler of an epoch saw of a minute, in place of what it wrote of it before. A crash may lose it.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn put(&self, number: u64, epoch: u64, minute: &Minute) -> Result<(), Error> {
        let key = format!("{}{number:010}/{epoch:010}", minutes());
        self.store.txn(Txn::default().put(key, stored::minute(minute)).relaxed()).await.map(|_| ())
    }

    /// Writes who leads. A crash may lose it.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn put_pulse(&self, now: Pulse) -> Result<(), Error> {
        self.store.txn(Txn::default().put(pulse(), stored::pulse(now)).relaxed()).await.map(|_| ())
    }

    /// Removes what is older than a minute by more than is kept: some of it, the oldest first.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn forget(&self, number: u64) -> Result<(), Error> {
        let page = self.store.range(Range::of(minutes()).limit(TOGETHER)).await?;
        let old = |key: &str| minute_of(key).is_none_or(|minute| minute + KEPT < number);
        let old: Vec<Txn> = page
            .entries
            .into_iter()
            .filter(|entry| old(&entry.key))
            .map(|entry| Txn::default().delete(entry.key).relaxed())
            .collect();
        if !old.is_empty() {
            self.store.commit(old).await?;
        }
        Ok(())
    }
}

impl Minute {
    /// Counts that a job was given out.
    pub fn given(&mut self, record: &JobRecord) {
        let tally = self.line(&record.tenant, &record.model);
        tally.given += 1;
        if record.attempt == 1 {
            tally.waits.add(record.dispatched_at.saturating_sub(record.accepted_at));
        }
    }

    /// Counts that a job ended.
    pub fn ended(&mut self, record: &JobRecord) {
        let tally = self.line(&record.tenant, &record.model);
        let count = match (record.state, &record.outcome) {
            (State::Completed, _) => &mut tally.completed,
            (State::Failed, Some(Outcome::Failure { fault: Fault::User, .. })) => &mut tally.failed_program,
            (State::Failed, Some(Outcome::Failure { fault: Fault::Limit, .. })) => &mut tally.failed_limit,
            (State::Failed, _) => &mut tally.failed_server,
            (State::Cancelled, _) => &mut tally.cancelled,
            (State::Expired, _) => &mut tally.expired,
            (State::Queued | State::Dispatched | State::Running, _) => return,
        };
        *count += 1;
        tally.passes.add(&Passes::told(&record.meta));
        if record.started_at > 0 {
            tally.runs.add(record.ended_at.saturating_sub(record.started_at));
        }
    }

    /// Notes how many wait in a line just now.
    pub fn waits(&mut self, tenant: &TenantId, model: &ModelKey, jobs: u64) {
        let tally = self.line(tenant, model);
        tally.waiting = tally.waiting.max(jobs);
    }

    /// Notes how many workers have just now.
    pub fn run(&mut self, jobs: u64) {
        self.running = self.running.max(jobs);
    }

    /// Notes something, if not too much has happened.
    pub fn happened(&mut self, at: u64, what: What) {
        if self.happenings.len() < HAPPENINGS {
            self.happenings.push(Happening { at, what });
        }
    }

    /// Adds what else was seen, of the same time or of another.
    pub fn add(&mut self, other: &Self) {
        self.running = self.running.max(other.running);
        for (line, tally) in &other.tallies {
            self.tallies.entry(line.clone()).or_default().add(tally);
        }
        self.happenings.extend(other.happenings.iter().cloned());
    }

    fn line(&mut self, tenant: &TenantId, model: &ModelKey) -> &mut Tally {
        let line = Some((tenant.clone(), model.clone()));
        let room = self.tallies.len() < TALLIES || self.tallies.contains_key(&line);
        self.tallies.entry(if room { line } else { None }).or_default()
    }
}

impl Tally {
    /// Adds what else was counted.
    pub fn add(&mut self, other: &Self) {
        // At different times or of different lines, the most at once is no sum; what it was at least is what is known.
        self.waiting = self.waiting.max(other.waiting);
        self.given += other.given;
        self.completed += other.completed;
        self.failed_program += other.failed_program;
        self.failed_limit += other.failed_limit;
        self.failed_server += other.failed_server;
        self.cancelled += other.cancelled;
        self.expired += other.expired;
        self.waits.merge(&other.waits);
        self.runs.merge(&other.runs);
        self.passes.add(&other.passes);
    }

    /// Returns how many jobs ended, however they did.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.completed + self.failed_program + self.failed_limit + self.failed_server + self.cancelled + self.expired
    }
}

impl Passes {
    /// Reads what a worker told of a job that ended; of one that none told of, there is nothing.
    fn told(meta: &str) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Told {
            occupancy: f64,
            #[serde(flatten)]
            passes: Passes,
        }
        let Told { occupancy, passes } = serde_json::from_str(meta).unwrap_or_default();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "counts that are shown, and `as` saturates"
        )]
        let traces = (occupancy * passes.forwards as f64).round() as u64;
        Self { traces, ..passes }
    }

    /// Adds what else was told.
    pub fn add(&mut self, other: &Self) {
        self.forwards += other.forwards;
        self.traces += other.traces;
        self.rows += other.rows;
        self.forked_rows += other.forked_rows;
        self.layers_run += other.layers_run;
        self.layers_skipped += other.layers_skipped;
    }
}

fn minutes() -> String {
    format!("{ROOT}history/")
}

fn pulse() -> String {
    format!("{ROOT}pulse")
}

fn minute_of(key: &str) -> Option<u64> {
    key.strip_prefix(&minutes())?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use ids::{JobId, KeyId};

    use super::*;
    use crate::job::Event;
    use crate::memory::MemoryStore;
    use crate::objects::Blob;

    fn queued(tenant: &str) -> JobRecord {
        let blob = Blob::Inline(vec![7; 10].into());
        let (key, model) = (KeyId::new("k"), ModelKey::new("o/n", Some("main".into())));
        JobRecord::queued(JobId::new(), TenantId::new(tenant), key, model, blob, 1_000)
    }

    fn given(record: &JobRecord) -> JobRecord {
        record.after(0, &Event::Dispatched { worker: WorkerId::new("w"), epoch: 1 }, 1_200).unwrap()
    }

    #[test]
    fn a_minute_counts_jobs_by_tenant_and_model_and_by_whose_fault_they_ended() {
        let mut minute = Minute::default();
        let given = given(&queued("ada"));
        minute.given(&given);
        let started = given.after(1, &Event::Started, 1_300).unwrap();
        let failed = |fault| Event::Failed { fault, text: "no".into(), meta: String::new() };
        for event in [failed(Fault::User), failed(Fault::Limit), failed(Fault::Server), Event::Cancelled] {
            minute.ended(&started.after(1, &event, 1_400).unwrap());
        }
        minute.ended(&queued("ada").after(0, &Event::Expired, 1_400).unwrap());
        minute.ended(&started);
        let tally = &minute.tallies[&Some((given.tenant.clone(), given.model.clone()))];
        let faults = [tally.failed_program, tally.failed_limit, tally.failed_server, tally.cancelled, tally.expired];
        assert_eq!((tally.given, tally.completed, faults, tally.ended()), (1, 0, [1; 5], 5));
        assert_eq!((tally.waits.count(), tally.runs.count()), (1, 4), "who never ran has no running time");
        assert!((170..=230).contains(&tally.waits.quantile(0.5).unwrap()), "{:?}", tally.waits.quantile(0.5));
        assert_eq!(tally.passes, Passes::default(), "nobody told of any");
        let meta = r#"{"execution_time_s":0.1,"forwards":4,"occupancy":2.5,"rows":8,"forks":3,"layers_run":9,"layers_skipped":3}"#;
        let result = Blob::Inline(vec![1].into());
        let finished = started.after(1, &Event::Finished { result, meta: meta.into() }, 1_400).unwrap();
        minute.ended(&finished);
        minute.ended(&finished);
        let passes = Passes { forwards: 8, traces: 20, rows: 16, forked_rows: 6, layers_run: 18, layers_skipped: 6 };
        assert_eq!(minute.tallies[&Some((given.tenant, given.model))].passes, passes);
    }

    #[test]
    fn what_has_no_line_of_its_own_is_counted_together() {
        let mut minute = Minute::default();
        for tenant in 0..100 {
            minute.given(&given(&queued(&format!("t{tenant:03}"))));
        }
        assert_eq!(minute.tallies.len(), TALLIES + 1);
        assert_eq!(minute.tallies.values().map(|tally| tally.given).sum::<u64>(), 100);
        assert_eq!(minute.tallies[&None].given, 100 - TALLIES as u64);
    }

    #[tokio::test]
    async fn a_day_is_kept_put_together_from_all_schedulers_and_then_forgotten() {
        let store = Arc::new(MemoryStore::new(1));
        let history = History::new(store.clone());
        let mut minute = Minute { running: 3, ..Minute::default() };
        let first = queued("ada");
        minute.given(&given(&first));
        minute.line(&first.tenant, &first.model).passes =
            Passes { forwards: 6, traces: 5, rows: 4, forked_rows: 3, layers_run: 2, layers_skipped: 1 };
        minute.waits(&TenantId::new("bob"), &ModelKey::new("o/n", None), 7);
        minute.happened(5, What::WorkerDied(WorkerId::new("w")));
        minute.happened(6, What::Drifted(WorkerId::new("w"), ModelKey::new("o/n", Some("main".into()))));
        minute.happened(7, What::Corrupted(WorkerId::new("w"), ModelKey::new("o/n", None)));
        for (number, epoch) in [(10, 1), (11, 1), (11, 2)] {
            history.put(number, epoch, &minute).await.unwrap();
        }
        let pulse = Pulse { at: 5, epoch: 2, queue_time: 60_000 };
        history.put_pulse(pulse.clone()).await.unwrap();
        let mut twice = minute.clone();
        twice.add(&minute);
        let keeper = history.clone();
        for kept in [false, true] {
            let found = history.since(10).await.unwrap();
            assert_eq!(found, BTreeMap::from([(10, minute.clone()), (11, twice.clone())]));
            assert_eq!(history.since(11).await.unwrap().len(), 1);
            assert_eq!(history.pulse().await.unwrap().as_ref(), Some(&pulse));
            if !kept {
                let keeper = keeper.clone();
                tokio::spawn(async move { keeper.keep().await });
                while history.minutes.all() == Err(Unsure) || history.pulse.all() == Err(Unsure) {
                    tokio::task::yield_now().await;
                }
            }
        }
        history.forget(11 + KEPT).await.unwrap();
        assert_eq!(History::new(store.clone()).since(0).await.unwrap(), BTreeMap::from([(11, twice)]));
    }
}
