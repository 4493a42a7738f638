//! Job records in the metadata store, and how they are followed.
//!
//! `jobs/{id}/record` is the record and `jobs/{id}/log/…` what the program printed: one prefix, so one watch sees
//! both in order. `live/{id}` exists while the job has not ended, so that a scheduler lists only those.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use ids::{JobId, TenantId};

use crate::ROOT;
use crate::error::Error;
use crate::job::{Event, JobRecord, State};
use crate::metadata::{self, Entry, MetadataStore, Revision, Txn, TxnOutcome, Watch};

/// The jobs of a metadata store.
#[derive(Clone)]
pub struct Jobs {
    store: Arc<dyn MetadataStore>,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// A new job, durable from now on.
    New,
    /// The same submission came before: this is its job.
    Before(JobId),
}

/// What a job printed: one line or several, without the last line's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub job: JobId,
    pub attempt: u32,
    pub number: u32,
    pub text: String,
}

/// How far a follower has read. Zero is before everything.
pub type Position = Revision;

/// One step of a job, as its followers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The record changed. Intermediate states may be missed by who looks late, the last one never.
    Record(Box<JobRecord>),
    /// The program printed: one line or several, without the last line's end.
    Log { attempt: u32, text: String },
}

impl Jobs {
    /// Views the jobs of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn MetadataStore>) -> Self {
        Self { store }
    }

    /// Makes a queued job durable. Only after this returns may anyone be told that it was accepted.
    ///
    /// # Errors
    /// [`Error::KeyReused`] when its idempotency key names another submission; failures of the store.
    pub async fn accept(&self, record: &JobRecord) -> Result<Accepted, Error> {
        let key = record_key(record.id);
        let mut txn = Txn::default().absent(&key).put(&key, record.encode()?).put(live_key(record.id), Bytes::new());
        let submission = record.idempotency.as_ref().map(|idempotency| {
            let key = format!("{ROOT}submissions/{}/{}", record.tenant, idempotency.key);
            let mut value = idempotency.digest.to_vec();
            value.extend_from_slice(record.id.to_string().as_bytes());
            (key, value)
        });
        if let Some((key, value)) = &submission {
            txn = txn.absent(key).put(key, value.clone());
        }
        if let TxnOutcome::Committed(_) = self.store.txn(txn).await? {
            return Ok(Accepted::New);
        }
        let (Some((key, _)), Some(idempotency)) = (&submission, &record.idempotency) else {
            return Ok(Accepted::Before(record.id));
        };
        let Some(entry) = self.store.get(key).await? else { return Ok(Accepted::Before(record.id)) };
        let id = std::str::from_utf8(entry.value.get(32..).unwrap_or_default()).ok().and_then(|text| text.parse().ok());
        match id {
            None => Err(Error::Unreadable { key: key.clone(), reason: "it names no job".into() }),
            Some(id) if entry.value.starts_with(&idempotency.digest) => Ok(Accepted::Before(id)),
            Some(_) => Err(Error::KeyReused(idempotency.key.clone())),
        }
    }

    /// Returns a tenant's job; another tenant's does not exist for them.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn get(&self, tenant: &TenantId, id: JobId) -> Result<Option<JobRecord>, Error> {
        Ok(self.find(id).await?.map(|(record, _)| record).filter(|record| record.tenant == *tenant))
    }

    /// Returns a job, whoever's it is: for the scheduler and for operators.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn find(&self, id: JobId) -> Result<Option<(JobRecord, Revision)>, Error> {
        let entry = self.store.get(&record_key(id)).await?;
        entry.map(|entry| Ok((JobRecord::decode(&entry.key, &entry.value)?, entry.revision))).transpose()
    }

    /// Returns the jobs in one of `states`, oldest first.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn list(&self, states: &[State]) -> Result<Vec<JobRecord>, Error> {
        let mut records = Vec::new();
        if states.iter().all(|state| !state.terminal()) {
            for entry in self.store.list(&format!("{ROOT}live/")).await? {
                let Some(id) = job_of(&entry.key) else { continue };
                records.extend(self.find(id).await?.map(|(record, _)| record));
            }
        } else {
            for entry in self.store.list(&format!("{ROOT}jobs/")).await? {
                if entry.key.ends_with("/record") {
                    records.push(JobRecord::decode(&entry.key, &entry.value)?);
                }
            }
        }
        records.retain(|record| states.contains(&record.state));
        Ok(records)
    }

    /// Applies an event that was told for `attempt`, atomically. Returns the record as it is then.
    ///
    /// # Errors
    /// [`Error::NoJob`]; [`Error::Refused`] when another attempt is current or the state does not allow it.
    pub async fn transition(&self, id: JobId, attempt: u32, event: &Event, now: u64) -> Result<JobRecord, Error> {
        loop {
            let (before, revision) = self.find(id).await?.ok_or(Error::NoJob(id))?;
            let after = before.after(attempt, event, now).map_err(|refused| Error::Refused { id, refused })?;
            if self.replace(&[(revision, &after)]).await? == [true] {
                return Ok(after);
            }
        }
    }

    /// Writes records, each in place of the one that was found at a revision. Returns of each whether that was done:
    /// `false` when the record has changed since. They wait for the disk together.
    ///
    /// That a job is with a worker, and runs, is written relaxed. A crash that undoes it leaves the job queued, and it
    /// runs again under an attempt of the same number; the session that the earlier one was given out on is gone with
    /// the crash, and its result, if it wrote one, lies elsewhere ([`crate::Place::result`]).
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn replace(&self, records: &[(Revision, &JobRecord)]) -> Result<Vec<bool>, Error> {
        let replacement = |(revision, record): &(Revision, &JobRecord)| {
            let (id, key) = (record.id, record_key(record.id));
            let mut txn = Txn::default().unchanged(&key, *revision).put(&key, record.encode()?);
            if record.state.terminal() {
                txn = txn.delete(live_key(id)).delete(cancel_key(id));
            }
            if matches!(record.state, State::Dispatched | State::Running) {
                txn = txn.relaxed();
            }
            Ok(txn)
        };
        let txns = records.iter().map(replacement).collect::<Result<_, Error>>()?;
        let outcomes = self.store.txns(txns).await?;
        Ok(outcomes.iter().map(|outcome| matches!(outcome, TxnOutcome::Committed(_))).collect())
    }

    /// Keeps what programs printed, in the order of `(attempt, number)`. A crash may lose the last of it.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn append_log(&self, lines: &[Line]) -> Result<(), Error> {
        let put = |Line { job, attempt, number, text }: &Line| {
            let key = format!("{ROOT}jobs/{job}/log/{attempt:04}/{number:08}");
            Txn::default().put(key, text.clone().into_bytes()).relaxed()
        };
        self.store.txns(lines.iter().map(put).collect()).await.map(|_| ())
    }

    /// Asks for a tenant's job to be cancelled; the scheduler sees to it. Returns the record as it is now.
    ///
    /// # Errors
    /// [`Error::NoJob`], also when it is another tenant's; failures of the store.
    pub async fn cancel(&self, tenant: &TenantId, id: JobId) -> Result<JobRecord, Error> {
        let record = self.get(tenant, id).await?.ok_or(Error::NoJob(id))?;
        if !record.state.terminal() {
            self.store.put(&cancel_key(id), Bytes::new()).await?;
        }
        Ok(record)
    }

    /// Drops the request to cancel a job that turned out to have ended already.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn drop_cancel(&self, id: JobId) -> Result<(), Error> {
        self.store.delete(&cancel_key(id)).await
    }

    /// Forgets a job that has ended: record, log, and the key under which it was submitted.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn forget(&self, record: &JobRecord) -> Result<(), Error> {
        let mut txn = Txn::default().delete(live_key(record.id)).delete(cancel_key(record.id));
        for entry in self.store.list(&format!("{ROOT}jobs/{}/", record.id)).await? {
            txn = txn.delete(entry.key);
        }
        if let Some(idempotency) = &record.idempotency {
            txn = txn.delete(format!("{ROOT}submissions/{}/{}", record.tenant, idempotency.key));
        }
        self.store.txn(txn).await.map(|_| ())
    }

    /// Follows a job from just after `position`. It reads on until the job has ended.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn follow(&self, id: JobId, position: Position) -> Result<Follow, Error> {
        let prefix = format!("{ROOT}jobs/{id}/");
        let watch = self.store.watch(&prefix).await?;
        let store = Arc::clone(&self.store);
        Ok(Follow { store, prefix, watch, position, pending: VecDeque::new(), listed: false, ended: false })
    }

    /// Follows a job that is not accepted yet: every state of it will be seen.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn follow_new(&self, id: JobId) -> Result<Follow, Error> {
        // There is nothing to list.
        Ok(Follow { listed: true, ..self.follow(id, 0).await? })
    }

    /// Yields the jobs that were accepted, and those whose cancellation was asked for, from now on. An item may
    /// come twice; [`Work::Recheck`] says that some may be missing.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn work(&self) -> Result<BoxStream<'static, Work>, Error> {
        let accepted = self.store.watch(&format!("{ROOT}live/")).await?.filter_map(|event| async move {
            match event {
                metadata::Event::Put(entry) => job_of(&entry.key).map(Work::Accepted),
                metadata::Event::Delete { .. } => None,
                metadata::Event::Resync => Some(Work::Recheck),
            }
        });
        let cancelled = self.store.watch(&format!("{ROOT}cancels/")).await?.filter_map(|event| async move {
            match event {
                metadata::Event::Put(entry) => job_of(&entry.key).map(Work::Cancel),
                metadata::Event::Delete { .. } => None,
                metadata::Event::Resync => Some(Work::Recheck),
            }
        });
        Ok(futures::stream::select(accepted, cancelled).boxed())
    }

    /// Returns the jobs whose cancellation was asked for and not yet seen to.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn cancels(&self) -> Result<Vec<JobId>, Error> {
        let entries = self.store.list(&format!("{ROOT}cancels/")).await?;
        Ok(entries.iter().filter_map(|entry| job_of(&entry.key)).collect())
    }
}

/// What a scheduler has to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Accepted(JobId),
    Cancel(JobId),
    Recheck,
}

/// Reads one job's changes in order.
pub struct Follow {
    store: Arc<dyn MetadataStore>,
    prefix: String,
    watch: Watch,
    position: Position,
    pending: VecDeque<Entry>,
    /// Whether what was there before the watch (or was dropped from it) has been read.
    listed: bool,
    ended: bool,
}

impl Follow {
    /// Returns the next change, or `None` after the record of a job that has ended (or was forgotten).
    ///
    /// # Errors
    /// Failures of the store.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Change>, Error> {
        while !self.ended {
            if let Some(entry) = self.pending.pop_front() {
                if entry.revision <= self.position {
                    // Read before; if it is the end of the job, nothing else will come.
                    self.ended =
                        entry.key.ends_with("/record") && JobRecord::decode(&entry.key, &entry.value)?.state.terminal();
                    continue;
                }
                self.position = entry.revision;
                return self.change(&entry).map(Some);
            }
            if self.listed {
                match self.watch.next().await {
                    Some(metadata::Event::Put(entry)) => self.pending.push_back(entry),
                    Some(metadata::Event::Delete { key, .. }) => self.ended = key.ends_with("/record"),
                    Some(metadata::Event::Resync) => self.listed = false,
                    None => self.ended = true,
                }
            } else {
                let mut entries = self.store.list(&self.prefix).await?;
                entries.sort_by_key(|entry| entry.revision);
                self.ended = entries.is_empty();
                self.pending = entries.into();
                self.listed = true;
            }
        }
        Ok(None)
    }

    /// Returns how far it has read: give it to [`Jobs::follow`] to go on from here.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    fn change(&mut self, entry: &Entry) -> Result<Change, Error> {
        let name = entry.key.get(self.prefix.len()..).unwrap_or_default();
        if let Some(log) = name.strip_prefix("log/") {
            let attempt = log.split('/').next().and_then(|text| text.parse().ok()).unwrap_or(0);
            return Ok(Change::Log { attempt, text: String::from_utf8_lossy(&entry.value).into_owned() });
        }
        let record = JobRecord::decode(&entry.key, &entry.value)?;
        self.ended = record.state.terminal();
        Ok(Change::Record(Box::new(record)))
    }
}

fn record_key(id: JobId) -> String {
    format!("{ROOT}jobs/{id}/record")
}

fn live_key(id: JobId) -> String {
    format!("{ROOT}live/{id}")
}

fn cancel_key(id: JobId) -> String {
    format!("{ROOT}cancels/{id}")
}

fn job_of(key: &str) -> Option<JobId> {
    key.rsplit('/').next()?.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use ids::{KeyId, ModelKey, WorkerId};

    use super::*;
    use crate::embedded::RedbStore;
    use crate::job::{Fault, Idempotency, Refused};
    use crate::objects::Blob;

    pub fn queued() -> JobRecord {
        JobRecord::queued(
            JobId::new(),
            TenantId::new("lab"),
            KeyId::new("key"),
            ModelKey::new("test/tiny", None),
            Blob::Inline(Bytes::from_static(b"program")),
            1,
        )
    }

    fn jobs(folder: &tempfile::TempDir) -> Jobs {
        Jobs::new(Arc::new(RedbStore::open(folder.path().join("state.redb")).unwrap()))
    }

    fn line(job: JobId, number: u32, text: String) -> Line {
        Line { job, attempt: 1, number, text }
    }

    fn dispatched() -> Event {
        Event::Dispatched { worker: WorkerId::new("w"), epoch: 1 }
    }

    fn finished() -> Event {
        Event::Finished { result: Blob::Inline(Bytes::from_static(b"42")), meta: "{}".into() }
    }

    #[tokio::test]
    async fn j4_the_same_submission_twice_is_one_job() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(&folder);
        let submitted =
            |digest| JobRecord { idempotency: Some(Idempotency { key: "k".into(), digest: [digest; 32] }), ..queued() };
        let first = submitted(1);
        assert_eq!(jobs.accept(&first).await.unwrap(), Accepted::New);
        assert_eq!(jobs.accept(&submitted(1)).await.unwrap(), Accepted::Before(first.id));
        assert!(matches!(jobs.accept(&submitted(2)).await, Err(Error::KeyReused(key)) if key == "k"));
        let other = JobRecord { tenant: TenantId::new("other"), ..submitted(2) };
        assert_eq!(jobs.accept(&other).await.unwrap(), Accepted::New);
        jobs.forget(&first).await.unwrap();
        assert_eq!(jobs.accept(&submitted(2)).await.unwrap(), Accepted::New);
    }

    #[tokio::test]
    async fn i1_a_job_exists_for_its_tenant_alone() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(&folder);
        let record = queued();
        jobs.accept(&record).await.unwrap();
        let stranger = TenantId::new("stranger");
        assert_eq!(jobs.get(&record.tenant, record.id).await.unwrap().as_ref(), Some(&record));
        assert_eq!(jobs.get(&stranger, record.id).await.unwrap(), None);
        assert!(matches!(jobs.cancel(&stranger, record.id).await, Err(Error::NoJob(_))));
        assert_eq!(jobs.cancels().await.unwrap(), []);
    }

    #[tokio::test]
    async fn j3_a_late_result_of_an_old_attempt_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(&folder);
        let record = queued();
        let id = record.id;
        jobs.accept(&record).await.unwrap();
        jobs.transition(id, 0, &dispatched(), 2).await.unwrap();
        jobs.transition(id, 1, &Event::Requeued { worker_died: true }, 3).await.unwrap();
        jobs.transition(id, 1, &dispatched(), 4).await.unwrap();
        let late = jobs.transition(id, 1, &finished(), 5).await;
        let attempt = Refused::Attempt { told: 1, current: 2 };
        assert!(matches!(late, Err(Error::Refused { refused, .. }) if refused == attempt));
        let done = jobs.transition(id, 2, &finished(), 6).await.unwrap();
        assert_eq!((done.state, done.deaths, done.ended_at), (State::Completed, 1, 6));
        let again = jobs.transition(id, 2, &Event::Cancelled, 7).await;
        assert!(matches!(again, Err(Error::Refused { refused: Refused::State(State::Completed), .. })));
    }

    #[tokio::test]
    async fn j3_of_two_ends_at_once_one_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(&folder);
        for _ in 0..20 {
            let record = queued();
            jobs.accept(&record).await.unwrap();
            jobs.transition(record.id, 0, &dispatched(), 2).await.unwrap();
            let failed = Event::Failed { fault: Fault::User, text: "x".into(), meta: String::new() };
            let (finished, cancelled) = (finished(), Event::Cancelled);
            let (one, two, three) = tokio::join!(
                jobs.transition(record.id, 1, &finished, 3),
                jobs.transition(record.id, 1, &cancelled, 3),
                jobs.transition(record.id, 1, &failed, 3),
            );
            assert_eq!([one, two, three].iter().filter(|end| end.is_ok()).count(), 1);
        }
    }

    #[tokio::test]
    async fn lists_tell_live_jobs_from_ended_ones() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(&folder);
        let (waits, ends) = (queued(), queued());
        jobs.accept(&waits).await.unwrap();
        jobs.accept(&ends).await.unwrap();
        jobs.append_log(&[line(ends.id, 0, "line".into())]).await.unwrap();
        jobs.cancel(&ends.tenant, ends.id).await.unwrap();
        assert_eq!(jobs.cancels().await.unwrap(), [ends.id]);
        jobs.transition(ends.id, 0, &Event::Cancelled, 2).await.unwrap();
        assert_eq!(jobs.cancels().await.unwrap(), []);
        let names = |records: Vec<JobRecord>| records.iter().map(|record| record.id).collect::<Vec<_>>();
        assert_eq!(names(jobs.list(&[State::Queued]).await.unwrap()), [waits.id]);
        assert_eq!(names(jobs.list(&[State::Cancelled]).await.unwrap()), [ends.id]);
        assert_eq!(jobs.list(&[State::Running]).await.unwrap(), []);
    }

    /// Writes what one job does, and returns it as followers should see it.
    async fn live(jobs: &Jobs, record: &JobRecord) -> Vec<Change> {
        let seen = |record: JobRecord| Change::Record(Box::new(record));
        let id = record.id;
        let mut changes = vec![seen(jobs.transition(id, 0, &dispatched(), 2).await.unwrap())];
        changes.push(seen(jobs.transition(id, 1, &Event::Started, 3).await.unwrap()));
        for number in 0..3 {
            let text = format!("line {number}");
            jobs.append_log(&[line(id, number, text.clone())]).await.unwrap();
            changes.push(Change::Log { attempt: 1, text });
        }
        changes.push(seen(jobs.transition(id, 1, &finished(), 4).await.unwrap()));
        changes
    }

    async fn rest(follow: &mut Follow) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some(change) = follow.next().await.unwrap() {
            changes.push(change);
        }
        changes
    }

    #[tokio::test]
    async fn a_follower_sees_every_change_in_order_and_then_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(&folder);
        let record = queued();
        jobs.accept(&record).await.unwrap();
        let mut follow = jobs.follow(record.id, 0).await.unwrap();
        assert_eq!(follow.next().await.unwrap(), Some(Change::Record(Box::new(record.clone()))));
        let changes = live(&jobs, &record).await;
        assert_eq!(rest(&mut follow).await, changes);
        assert_eq!(follow.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn who_follows_before_a_job_is_accepted_sees_every_change_however_late_it_looks() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(&folder);
        let record = queued();
        let mut follow = jobs.follow_new(record.id).await.unwrap();
        jobs.accept(&record).await.unwrap();
        let mut changes = vec![Change::Record(Box::new(record.clone()))];
        changes.extend(live(&jobs, &record).await);
        assert_eq!(rest(&mut follow).await, changes);
    }

    #[tokio::test]
    async fn a_follower_goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(&folder);
        let record = queued();
        jobs.accept(&record).await.unwrap();
        let changes = live(&jobs, &record).await;
        // Late, it sees the lines and the last record; from each place where it may have stopped, what is after it.
        let late: Vec<Change> = changes.into_iter().skip(2).collect();
        for stop in 0..=late.len() {
            let mut follow = jobs.follow(record.id, 0).await.unwrap();
            for change in late.iter().take(stop) {
                assert_eq!(follow.next().await.unwrap().as_ref(), Some(change));
            }
            let mut resumed = jobs.follow(record.id, follow.position()).await.unwrap();
            assert_eq!(rest(&mut resumed).await, late[stop..]);
        }
        let mut nobody = jobs.follow(JobId::new(), 0).await.unwrap();
        assert_eq!(nobody.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_follower_that_sleeps_through_a_flood_misses_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(&folder);
        let record = queued();
        jobs.accept(&record).await.unwrap();
        let mut follow = jobs.follow(record.id, 0).await.unwrap();
        follow.next().await.unwrap();
        for number in 0..3000 {
            jobs.append_log(&[line(record.id, number, number.to_string())]).await.unwrap();
        }
        let end = jobs.transition(record.id, 0, &Event::Cancelled, 2).await.unwrap();
        let mut expected: Vec<Change> =
            (0..3000).map(|number| Change::Log { attempt: 1, text: number.to_string() }).collect();
        expected.push(Change::Record(Box::new(end)));
        assert_eq!(rest(&mut follow).await, expected);
    }
}
