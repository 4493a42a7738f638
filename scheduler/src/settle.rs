//! Commits what happened to jobs, and cleans up behind those that ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use failpoints::Point;
use futures::StreamExt;
use ids::{JobId, Token};
use store::{Blob, Ended, Error, Found, JobRecord, Jobs, Objects, Outcome, Place, Replaced, Revision};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::clock::Clock;
use crate::known::Known;
use crate::metrics;
use crate::policy::{End, Told, result_place};
use crate::wire::Grants;
use placement::Seat;

/// Writes job records on behalf of the scheduler.
#[derive(Clone)]
pub struct Settler {
    pub jobs: Jobs,
    pub objects: Objects,
    pub clock: Arc<dyn Clock>,
    known: Arc<Mutex<Known>>,
    /// What removes objects beside everything else.
    removals: mpsc::Sender<Place>,
}

/// Objects that may wait to be removed.
const REMOVALS: usize = 16 << 10;

/// Objects that are removed at once.
const AT_ONCE: usize = 16;

/// What was told of a job's attempt.
#[derive(Clone, Debug)]
pub struct Report {
    pub job: JobId,
    /// The attempt. `None` stands for whichever is the current one.
    pub token: Option<Token>,
    pub told: Told,
    /// Who told it, and keeps it until it is settled.
    pub from: Option<Seat>,
}

impl Report {
    /// Returns a report of what happens to an attempt of itself, or by the scheduler's doing.
    pub fn of(job: JobId, token: Token, told: Told) -> Self {
        Self { job, token: Some(token), told, from: None }
    }

    /// Returns whether it says that nobody has this attempt any more, as far as the scheduler knows.
    pub fn misses(&self, job: JobId, token: Token) -> bool {
        self.job == job && self.token == Some(token) && matches!(self.told, Told::Lost | Told::Died { .. })
    }

    /// Returns the result that was kept before it was told.
    fn result(&self) -> Option<&Blob> {
        match &self.told {
            Told::Ended(End::Finished { result, .. }) => result.as_ref(),
            _ => None,
        }
    }

    /// Returns whether this is how that attempt ended on its worker.
    pub fn ends(&self, job: JobId, token: Token) -> bool {
        self.job == job && self.token == Some(token) && matches!(self.told, Told::Ended(_))
    }
}

/// A record to settle a report on.
struct Read {
    found: Found,
    /// Whether it is as it was last seen, and not as the store has it now.
    known: bool,
}

/// A record to be written.
struct Step {
    /// That of the one before.
    revision: Revision,
    after: Box<JobRecord>,
    /// Whether the payload is an object that goes with the job.
    payload: bool,
}

/// What became of a report.
#[derive(Debug)]
pub enum Settled {
    /// It counts; the record as it is now.
    Done(Box<JobRecord>),
    /// It is too late, or the job is gone: nothing changed.
    Refused,
    /// The store failed; the report has to be settled again.
    Later,
}

impl Settler {
    /// Makes a settler, and what removes objects for it for as long as it is polled: an object store that is slow, or away,
    /// must hold up nobody's job.
    pub fn new(jobs: Jobs, objects: Objects, clock: Arc<dyn Clock>) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (removals, asked) = mpsc::channel(REMOVALS);
        let settler = Self { jobs, objects: objects.clone(), clock, known: Arc::default(), removals };
        let removing = ReceiverStream::new(asked).for_each_concurrent(AT_ONCE, move |place| {
            let objects = objects.clone();
            async move {
                if let Err(error) = objects.delete(&place).await {
                    tracing::warn!(%error, path = place.as_str(), "an object stays until its job is swept");
                }
            }
        });
        (settler, removing)
    }

    /// Lets a worker read a job's program and write its result, for a time.
    ///
    /// # Errors
    /// Failures of the object store.
    pub async fn grants(&self, record: &JobRecord, time: Duration) -> Result<Grants, Error> {
        let payload = match &record.payload {
            Blob::Inline(_) => None,
            Blob::Object(object) => Some(self.objects.grant_get(&Place::parse(&object.path)?, time).await?),
        };
        Ok(Grants { payload, result: self.objects.grant_put(&result_place(record), time).await? })
    }

    /// Commits what was told, all of it together. Returns what became of each, in order.
    pub async fn settle(&self, reports: &[Report]) -> Vec<Settled> {
        let mut settled: Vec<Option<Settled>> = reports.iter().map(|_| None).collect();
        // Again for those whose record is not as it was thought to be.
        while settled.iter().any(Option::is_none) {
            let mut open: Vec<_> = reports.iter().zip(&mut settled).filter(|(_, slot)| slot.is_none()).collect();
            let jobs: Vec<JobId> = open.iter().map(|(report, _)| report.job).collect();
            let read = match self.read(&jobs).await {
                Ok(read) => read,
                Err(error) => {
                    open.iter_mut().for_each(|(report, slot)| **slot = Some(later(report.job, &error)));
                    break;
                }
            };
            let mut steps = Vec::with_capacity(open.len());
            for ((report, slot), Read { found, known }) in open.into_iter().zip(read) {
                match self.step(report, found) {
                    Ok(step) => steps.push((step, slot)),
                    Err(_) if known => {}
                    Err(refused) => {
                        if let (Settled::Refused, Some(result)) = (&refused, report.result()) {
                            self.drop_result(report.job, result).await;
                        }
                        *slot = Some(refused);
                    }
                }
            }
            let records: Vec<_> = steps.iter().map(|(step, _)| (step.revision, &*step.after)).collect();
            let outcomes = self.jobs.replace(&records).await;
            for (index, (step, slot)) in steps.into_iter().enumerate() {
                *slot = match &outcomes {
                    Ok(replaced) => match replaced.get(index) {
                        Some(Replaced::Done(revision)) => Some(self.done(step, *revision)),
                        _ => None,
                    },
                    // It may have been written.
                    Err(error) => Some(later(step.after.id, error)),
                };
            }
        }
        settled.into_iter().flatten().collect()
    }

    /// Notes a record as it was at a revision, so that it need not be read. Returns whether it is the newest that is known.
    pub fn saw(&self, record: &JobRecord, revision: Revision) -> bool {
        let mut known = self.known();
        let newest = known.get(record.id).is_none_or(|(_, known)| *known <= revision);
        if newest {
            known.put(record, revision);
        }
        newest
    }

    /// Takes records as they were last seen; where they were not, reads them.
    async fn read(&self, jobs: &[JobId]) -> Result<Vec<Read>, Error> {
        let known: Vec<Option<(JobRecord, Revision)>> = {
            let mut known = self.known();
            jobs.iter().map(|job| known.take(*job)).collect()
        };
        let unknown: Vec<JobId> =
            jobs.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(job, _)| *job).collect();
        let mut found = self.jobs.find_all(&unknown).await?.into_iter();
        let read = known.into_iter().map(|known| match known {
            Some(known) => Some(Read { found: Ok(Some(known)), known: true }),
            None => found.next().map(|found| Read { found, known: false }),
        });
        Ok(read.flatten().collect())
    }

    /// Works out what a report makes of its record; what it cannot settle is why there is none.
    fn step(&self, report: &Report, found: Found) -> Result<Step, Settled> {
        let Report { job, token, told, .. } = report;
        let job = *job;
        let (before, revision) = match found {
            Ok(found) => found.ok_or(Settled::Refused)?,
            Err(error) => return Err(later(job, &error)),
        };
        let now = self.clock.unix_millis();
        let event = told.event(&before, now);
        let token = token.unwrap_or(before.token());
        let after = before.after(token.attempt, &event, now);
        match after {
            Ok(after) if token == before.token() => Ok(Step {
                revision,
                after: Box::new(after),
                payload: !before.keeps_program && matches!(before.payload, Blob::Object(_)),
            }),
            refused => {
                tracing::debug!(%job, %token, current = %before.token(), refused = ?refused.err(), "event refused");
                Err(Settled::Refused)
            }
        }
    }

    fn done(&self, Step { after, payload, .. }: Step, revision: Revision) -> Settled {
        self.known().put(&after, revision);
        metrics::committed(&after);
        if after.state.terminal() && payload {
            self.delete(Place::payload(&after.tenant, after.id));
        }
        Settled::Done(after)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a job that ended: its record and whatever any attempt left in the object store.
    pub async fn forget(&self, ended: &Ended) -> Result<(), Error> {
        self.objects.delete(&Place::payload(&ended.tenant, ended.id)).await?;
        self.objects.delete_all(&Place::results(&ended.tenant, ended.id)).await?;
        failpoints::pass(Point::ObjectsRemoved);
        self.jobs.forget(ended).await?;
        failpoints::pass(Point::RecordsRemoved);
        Ok(())
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
            self.delete(place);
        }
    }

    fn delete(&self, place: Place) {
        if let Err(refused) = self.removals.try_send(place) {
            let place = refused.into_inner();
            tracing::warn!(path = place.as_str(), "too much is to be removed: an object stays until its job is swept");
        }
    }
}

fn later(job: JobId, error: &Error) -> Settled {
    tracing::error!(%job, %error, "the store failed; trying again");
    Settled::Later
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ids::{KeyId, ModelKey, TenantId, WorkerId};
    use store::job::Event;
    use store::{Entry, Lease, Limits, MemoryStore, MetadataStore, Page, Range, State, Txn, TxnOutcome, Watch};

    use super::*;
    use crate::clock::SystemClock;

    /// A store that counts how many entries are read.
    struct Counting {
        store: MemoryStore,
        reads: AtomicUsize,
    }

    #[tonic::async_trait]
    impl MetadataStore for Counting {
        fn limits(&self) -> Limits {
            self.store.limits()
        }

        async fn read(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, Error> {
            self.reads.fetch_add(keys.len(), Ordering::Relaxed);
            self.store.read(keys).await
        }

        async fn range(&self, range: Range) -> Result<Page, Error> {
            self.store.range(range).await
        }

        async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<TxnOutcome>, Error> {
            self.store.commit(txns).await
        }

        async fn watch(&self, prefix: &str, after: Option<Revision>) -> Result<Watch, Error> {
            self.store.watch(prefix, after).await
        }

        async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
            self.store.lease(ttl).await
        }
    }

    struct Play {
        store: Arc<Counting>,
        /// What others see.
        jobs: Jobs,
        settler: Settler,
        _folder: tempfile::TempDir,
    }

    impl Play {
        fn new() -> Self {
            let (store, folder) = (MemoryStore::new(1), tempfile::tempdir().unwrap());
            let jobs = Jobs::new(Arc::new(store.clone()));
            let store = Arc::new(Counting { store, reads: AtomicUsize::new(0) });
            let objects = Objects::local(folder.path()).unwrap();
            let seen = Jobs::new(Arc::clone(&store) as Arc<dyn MetadataStore>);
            let (settler, _) = Settler::new(seen, objects, Arc::new(SystemClock));
            Self { store, jobs, settler, _folder: folder }
        }

        async fn accept(&self) -> (JobRecord, Revision) {
            let (tenant, key, model) = (TenantId::new("lab"), KeyId::new("key"), ModelKey::new("o/n", None));
            let record = JobRecord::queued(JobId::new(), tenant, key, model, Blob::Inline(vec![7; 100].into()), 1);
            self.jobs.accept(&record).await.unwrap();
            self.jobs.find(record.id).await.unwrap().unwrap()
        }

        async fn settle(&self, report: Report) -> Option<JobRecord> {
            match self.settler.settle(&[report]).await.pop() {
                Some(Settled::Done(record)) => Some(*record),
                Some(Settled::Refused) => None,
                other => panic!("{other:?}"),
            }
        }

        fn reads(&self) -> usize {
            self.store.reads.load(Ordering::Relaxed)
        }
    }

    fn given_out() -> Event {
        Event::Dispatched { worker: WorkerId::new("w"), epoch: 1 }
    }

    fn finished(job: JobId) -> Report {
        let end = End::Finished { result: Some(Blob::Inline(vec![1; 10].into())), usage: "{}".into() };
        Report::of(job, Token { epoch: 1, attempt: 1 }, Told::Ended(end))
    }

    #[tokio::test]
    async fn a_job_that_was_seen_to_come_is_settled_to_its_end_without_being_read() {
        let play = Play::new();
        let (record, revision) = play.accept().await;
        assert!(play.settler.saw(&record, revision));
        let given = play.settle(Report::of(record.id, record.token(), Told::Happened(given_out()))).await.unwrap();
        assert_eq!((given.state, &given.payload), (State::Dispatched, &record.payload), "the worker needs its program");
        assert!(!play.settler.saw(&record, revision), "what is told late is not taken for new");
        let end = play.settle(finished(record.id)).await.unwrap();
        assert_eq!((end.state, play.reads()), (State::Completed, 0));
        assert_eq!(play.jobs.find(record.id).await.unwrap().unwrap().0, end);
    }

    #[tokio::test]
    async fn what_is_out_of_date_is_read_before_anything_is_written_or_refused() {
        let play = Play::new();
        let (record, revision) = play.accept().await;
        play.settler.saw(&record, revision);
        play.jobs.transition(record.id, 0, &given_out(), 2).await.unwrap();
        let again = Report::of(record.id, record.token(), Told::Happened(given_out()));
        assert_eq!(play.settle(again.clone()).await, None, "it was given out before");
        play.settler.saw(&record, Revision::MAX);
        assert_eq!(play.settle(finished(record.id)).await.unwrap().state, State::Completed);
        play.settler.saw(&record, Revision::MAX);
        assert_eq!(play.settle(again).await, None, "it has ended");
    }

    #[tokio::test]
    async fn a_job_that_comes_back_is_given_out_with_its_program() {
        let play = Play::new();
        let (record, revision) = play.accept().await;
        play.settler.saw(&record, revision);
        let mut token = record.token();
        for attempt in 1..4 {
            let given = play.settle(Report::of(record.id, token, Told::Happened(given_out()))).await.unwrap();
            assert_eq!((given.attempt, &given.payload), (attempt, &record.payload));
            token = given.token();
            assert_eq!(play.settle(Report::of(record.id, token, Told::Lost)).await.unwrap().state, State::Queued);
        }
    }
}
