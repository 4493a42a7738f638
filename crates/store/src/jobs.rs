//! Job records in the metadata store: accepted, moved on, ended, forgotten.

mod follow;
mod keys;
mod lives;
mod newest;
mod quota;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use ids::{JobId, TenantId};
use tokio::time::{Instant, sleep, timeout};

use crate::error::Error;
use crate::history::History;
use crate::job::{Ended, Event, JobRecord, Live, Outcome, State};
use crate::metadata::{self, Entry, MetadataStore, Range, Revision};
use crate::objects::{Blob, Place};
use crate::stored;
use crate::txn::{Op, Txn, TxnOutcome};

use lives::{Lives, Step};

pub use follow::{Change, Follow, Position};
pub use lives::Unread;
pub use newest::{Before, Newest, Wanted};
pub use quota::{Allowance, Over, Quota, Use, What, Whose};
pub use usage::Usage;

/// Bytes of text that lie in one entry of a log.
const LOG_BYTES: usize = 64 << 10;

/// Bytes of the largest program that is kept when its job has ended: who looks at one wants it drawn, which larger ones are not.
const PROGRAM_BYTES: u64 = 1 << 20;

/// Entries of a log that are read together.
const LOG_ENTRIES: usize = 16;

/// Entries that make up a record.
const PARTS: usize = 4;

/// Records that are read together.
const TOGETHER: usize = 100;

/// What the store has of a job: its record and the revision to change it from, if there is one.
pub type Found = Result<Option<(JobRecord, Revision)>, Error>;

/// The jobs of a metadata store.
#[derive(Clone)]
pub struct Jobs {
    store: Arc<dyn MetadataStore>,
    unreadable: Arc<AtomicU64>,
    turns: quota::Turns,
    /// Hours before this one are known to be added up.
    through: Arc<AtomicU64>,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// A new job, durable from now on.
    New,
    /// The same submission came before: this is its job.
    Before(JobId),
}

/// What became of a change to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It counts; this is the job's revision now.
    Done(Revision),
    /// The job has moved on since, or is gone: nothing was written.
    Changed,
}

/// What a job printed: one line or several, without the last line's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub job: JobId,
    pub attempt: u32,
    pub number: u32,
    pub text: String,
}

/// All jobs that have not ended, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveJobs {
    pub jobs: Vec<Live>,
    /// As of when: what comes after it is for a watch.
    pub revision: Revision,
    /// Records that this version cannot read, which were skipped.
    pub unreadable: usize,
}

/// Some jobs that have ended, by the hour of their end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndedJobs {
    pub jobs: Vec<Ended>,
    /// Where to go on; `None` when these are the last.
    pub next: Option<String>,
}

/// What a scheduler has to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// With the record and its revision, as they were then; `None` where they have to be read.
    Accepted(JobId, Option<Box<(JobRecord, Revision)>>),
    Cancel(JobId),
    Recheck,
}

/// What becomes of the jobs that wait or run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It waits or runs; it may have been told before. When it is accepted, its record may come with it.
    Live(JobId, Option<Box<Unread>>),
    Ended(JobId),
    Recheck,
}

impl Jobs {
    /// Views the jobs of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn MetadataStore>) -> Self {
        Self { store, unreadable: Arc::default(), turns: quota::Turns::default(), through: Arc::default() }
    }

    /// Returns the history of the same store.
    #[must_use]
    pub fn history(&self) -> History {
        History::new(Arc::clone(&self.store))
    }

    /// Returns how many records were skipped so far because this version cannot read them.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    pub(crate) fn store(&self) -> &Arc<dyn MetadataStore> {
        &self.store
    }

    /// Returns how long a call of the store may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.store.limits().deadline
    }

    /// Says whether a program stays when its job has ended, as long as the job's record, for who wants to see what it did: where
    /// it is an object, or the store has room for such.
    #[must_use]
    pub fn keeps_program(&self, payload: &Blob) -> bool {
        let there = matches!(payload, Blob::Object(_)) || self.store.limits().keeps_programs;
        there && payload.len() <= PROGRAM_BYTES
    }

    /// Makes a queued job durable. Only after this returns may anyone be told that it was accepted.
    ///
    /// # Errors
    /// [`Error::KeyReused`] when its idempotency key names another submission; failures of the store.
    ///
    /// # Cancel safety
    /// Whoever drops the future does not know whether the job was accepted.
    pub async fn accept(&self, record: &JobRecord) -> Result<Accepted, Error> {
        let txn = acceptance(record);
        // A part of the store that is silent must not take all the time: another may answer. It is as if nobody could say.
        let patience = self.deadline() / 3;
        loop {
            let Some(TxnOutcome::Conflict(compared)) = self.certain(vec![txn.clone()], patience).await?.pop() else {
                return Ok(Accepted::New);
            };
            // What stood in its way may have been forgotten meanwhile.
            if let Some(before) = Self::before(record, compared)? {
                return Ok(before);
            }
        }
    }

    /// Returns the job that stands in the way of an acceptance, by what that compared; `None` where there is none.
    fn before(record: &JobRecord, compared: Vec<Option<Entry>>) -> Result<Option<Accepted>, Error> {
        let mut compared = compared.into_iter();
        // A job's name is given to one submission only, so this is the same one, told before.
        if compared.next().flatten().is_some() {
            return Ok(Some(Accepted::Before(record.id)));
        }
        let Some(idempotency) = &record.idempotency else { return Ok(None) };
        let Some(entry) = compared.next().flatten() else { return Ok(None) };
        match stored::read_submission(&entry)? {
            (id, digest) if digest.as_ref() == idempotency.digest => Ok(Some(Accepted::Before(id))),
            _ => Err(Error::KeyReused(idempotency.key.clone())),
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
    pub async fn find(&self, id: JobId) -> Found {
        let entries = self.store.read(&parts(id)).await?;
        joined(id, &entries)
    }

    /// Returns whose a job is. That of one that never was takes as long.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn tenant(&self, id: JobId) -> Result<Option<TenantId>, Error> {
        let entry = self.store.get(&keys::request(id)).await?;
        entry.map(|entry| Ok(stored::read_request(id, &entry)?.tenant)).transpose()
    }

    /// Returns a job but for its program, whoever's it is, as its followers are shown it.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn shown(&self, id: JobId) -> Result<Option<JobRecord>, Error> {
        let found = self.read(&[id], PARTS - 1).await?.pop();
        Ok(found.transpose()?.flatten().map(|(record, _)| record))
    }

    /// Returns several jobs as [`Jobs::find`] does, with fewer questions to the store. Of each, in order, what is known:
    /// a record that this version cannot read is an error of its own.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn find_all(&self, ids: &[JobId]) -> Result<Vec<Found>, Error> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(TOGETHER) {
            found.extend(self.read(ids, PARTS).await?);
        }
        Ok(found)
    }

    /// Returns the jobs in one of `states` but for their programs, oldest first; those that ended, by the hour of their end.
    /// A record that this version cannot read is left out.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn list(&self, states: &[State]) -> Result<Vec<JobRecord>, Error> {
        let mut ids = Vec::new();
        if states.iter().any(|state| !state.terminal()) {
            let wanted = |live: &Live| states.contains(&live.state).then_some(live.id);
            ids.extend(self.live().await?.jobs.iter().filter_map(wanted));
        }
        if states.iter().any(|state| state.terminal()) {
            let mut next = Some(String::new());
            while let Some(after) = next {
                let page = self.ended(u64::MAX, &after).await?;
                ids.extend(page.jobs.iter().map(|ended| ended.id));
                next = page.next;
            }
        }
        let mut records = Vec::new();
        for ids in ids.chunks(TOGETHER) {
            // All but the last, which is the program.
            records.extend(self.readable(self.read(ids, PARTS - 1).await?));
        }
        // A job may have moved on since its name was read.
        records.retain(|record| states.contains(&record.state));
        Ok(records)
    }

    /// Returns those of some jobs that exist, as their followers are shown them. A record that this version cannot read
    /// is left out.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn look(&self, ids: &[JobId]) -> Result<Vec<JobRecord>, Error> {
        let mut records = Vec::new();
        for ids in ids.chunks(TOGETHER) {
            // All but the last, which is the program.
            records.extend(self.readable(self.read(ids, PARTS - 1).await?));
            // They take a part of a millisecond of whoever's thread this is.
            tokio::task::yield_now().await;
        }
        Ok(records)
    }

    /// Reads so many parts of some records. Of each, in order, what is known.
    async fn read(&self, ids: &[JobId], count: usize) -> Result<Vec<Found>, Error> {
        let keys: Vec<String> = ids.iter().flat_map(|id| parts(*id).into_iter().take(count)).collect();
        let entries = self.store.read(&keys).await?;
        Ok(ids.iter().zip(entries.chunks(count)).map(|(id, entries)| joined(*id, entries)).collect())
    }

    /// Leaves out what is not there, and what this version cannot read.
    fn readable(&self, found: Vec<Found>) -> impl Iterator<Item = JobRecord> {
        found.into_iter().filter_map(|found| match found {
            Ok(found) => found.map(|(record, _)| record),
            Err(error) => {
                self.skip(&error);
                None
            }
        })
    }

    /// Returns all jobs that have not ended, as of one instant.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn live(&self) -> Result<LiveJobs, Error> {
        'again: loop {
            let mut live = LiveJobs::default();
            let mut next = Some(Range::of(keys::all_live()));
            while let Some(range) = next.take() {
                let page = match self.store.range(range.clone()).await {
                    Ok(page) => page,
                    Err(Error::Compacted) => continue 'again,
                    Err(error) => return Err(error),
                };
                for entry in &page.entries {
                    match keys::job_of(&entry.key).map(|id| stored::read_live(id, entry)) {
                        Some(Ok(job)) => live.jobs.push(job),
                        Some(Err(error)) => {
                            self.skip(&error);
                            live.unreadable += 1;
                        }
                        None => {}
                    }
                }
                live.revision = page.revision;
                next = range.next(&page);
                // A page takes a millisecond of whoever's thread this is.
                tokio::task::yield_now().await;
            }
            return Ok(live);
        }
    }

    /// Applies an event that was told for `attempt`, atomically. Returns the record as it is then.
    ///
    /// # Errors
    /// [`Error::NoJob`]; [`Error::Refused`] when another attempt is current or the state does not allow it.
    pub async fn transition(&self, id: JobId, attempt: u32, event: &Event, now: u64) -> Result<JobRecord, Error> {
        loop {
            let (before, revision) = self.find(id).await?.ok_or(Error::NoJob(id))?;
            let after = before.after(attempt, event, now).map_err(|refused| Error::Refused { id, refused })?;
            if let [Replaced::Done(_)] = self.replace(&[(revision, &after)]).await?[..] {
                return Ok(after);
            }
        }
    }

    /// Writes how far jobs are, each in place of what was found at a revision. Returns of each, in order, what came of
    /// it. They wait for the disk together.
    ///
    /// That a job is with a worker, and runs, is written relaxed. A crash that undoes it leaves the job queued; if it runs
    /// again, then under a token of another epoch, and the result lies elsewhere ([`crate::Place::result`]).
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn replace(&self, records: &[(Revision, &JobRecord)]) -> Result<Vec<Replaced>, Error> {
        let mut named = BTreeSet::new();
        // A record that comes twice has changed since it was found the second time.
        let first = records.iter().enumerate().filter(|(_, (_, record))| named.insert(record.id));
        let (places, txns): (Vec<usize>, Vec<Txn>) =
            first.map(|(place, (revision, record))| (place, replacement(*revision, record))).unzip();
        let outcomes = self.certain(txns, self.deadline()).await?;
        let mut replaced: Vec<Replaced> = records.iter().map(|_| Replaced::Changed).collect();
        for (place, outcome) in places.iter().zip(outcomes) {
            if let (Some(slot), Some(revision)) = (replaced.get_mut(*place), outcome.committed()) {
                *slot = Replaced::Done(revision);
            }
        }
        Ok(replaced)
    }

    /// Keeps what programs printed, in the order of `(attempt, number)`. What one attempt printed in between goes into
    /// as few entries as hold it. A crash may lose the last of it.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn append_log(&self, lines: &[Line]) -> Result<(), Error> {
        if lines.is_empty() {
            return Ok(());
        }
        // By attempt, and within one by number: a line that came twice counts once.
        let mut printed: BTreeMap<(JobId, u32), BTreeMap<u32, &str>> = BTreeMap::new();
        for Line { job, attempt, number, text } in lines {
            printed.entry((*job, *attempt)).or_default().insert(*number, text);
        }
        let mut txns = Vec::new();
        for ((job, attempt), texts) in printed {
            let mut texts = texts.into_iter().peekable();
            while let Some((number, text)) = texts.next() {
                let mut joined = text.to_owned();
                let mut last = number;
                // A gap in the numbers may yet be filled by what comes later.
                while let Some((next, text)) = texts.next_if(|(next, text)| {
                    last.checked_add(1) == Some(*next) && joined.len() + 1 + text.len() <= LOG_BYTES
                }) {
                    joined.push('\n');
                    joined.push_str(text);
                    last = next;
                }
                txns.push(Txn::default().put(keys::log(job, attempt, number), joined.into_bytes()).relaxed());
            }
        }
        self.store.commit(txns).await.map(|_| ())
    }

    /// Yields what an attempt of a job has printed so far, in its order, in pieces of whole lines.
    pub fn printed(&self, id: JobId, attempt: u32) -> BoxStream<'static, Result<Bytes, Error>> {
        let first = Range::of(keys::logs(id, attempt)).limit(LOG_ENTRIES);
        let store = Arc::clone(&self.store);
        let pages = futures::stream::try_unfold(Some(first), move |range| {
            let store = Arc::clone(&store);
            async move {
                let Some(range) = range else { return Ok(None) };
                let page = store.range(range.clone()).await?;
                let mut text = Vec::new();
                for entry in &page.entries {
                    text.extend_from_slice(&entry.value);
                    text.push(b'\n');
                }
                // A log only grows, so that each page may show it as it is then.
                let next = range.next(&page).map(|next| Range { at: None, ..next });
                Ok(Some((Bytes::from(text), next)))
            }
        });
        pages.boxed()
    }

    /// Asks for a tenant's job to be cancelled; the scheduler sees to it. Returns the record as it is now.
    ///
    /// # Errors
    /// [`Error::NoJob`], also when it is another tenant's; failures of the store.
    pub async fn cancel(&self, tenant: &TenantId, id: JobId) -> Result<JobRecord, Error> {
        let record = self.get(tenant, id).await?.ok_or(Error::NoJob(id))?;
        if !record.state.terminal() {
            self.store.put(&keys::cancel(id), Bytes::new()).await?;
        }
        Ok(record)
    }

    /// Drops the request to cancel a job that turned out to have ended already.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn drop_cancel(&self, id: JobId) -> Result<(), Error> {
        self.store.delete(&keys::cancel(id)).await
    }

    /// Returns jobs that ended before a time, those after a place that an earlier call told; the empty text is the
    /// first. A record that this version cannot read is left out.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn ended(&self, before: u64, after: &str) -> Result<EndedJobs, Error> {
        let range = Range { after: Some(after.to_owned()), ..Range::of(keys::all_ended()).limit(TOGETHER) };
        let page = self.store.range(range).await?;
        let until = keys::ended_until(before);
        let mut ended = EndedJobs::default();
        for entry in page.entries.iter().take_while(|entry| entry.key < until) {
            match keys::job_of(&entry.key).map(|id| stored::read_ended(id, entry)) {
                Some(Ok(job)) if job.ended_at < before => ended.jobs.push(job),
                Some(Err(error)) => self.skip(&error),
                _ => {}
            }
        }
        ended.next = page.entries.last().map(|entry| entry.key.clone()).filter(|last| page.more && *last < until);
        Ok(ended)
    }

    /// Returns jobs that were accepted since a time and have ended, those after a place that an earlier call told; the
    /// empty text is the first. A record that this version cannot read is left out.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn ended_since(&self, accepted: u64, after: &str) -> Result<EndedJobs, Error> {
        let after = keys::ended_since(accepted).max(after.to_owned());
        let range = Range { after: Some(after), ..Range::of(keys::all_ended()).limit(TOGETHER) };
        let page = self.store.range(range).await?;
        let mut ended = EndedJobs::default();
        for entry in page.entries.iter().filter(|entry| keys::ended_of(&entry.key, accepted).is_none()) {
            match keys::job_of(&entry.key).map(|id| stored::read_ended(id, entry)) {
                Some(Ok(job)) => ended.jobs.push(job),
                Some(Err(error)) => self.skip(&error),
                None => {}
            }
        }
        // Those of an hour that were accepted before are passed over.
        let next = |last: &Entry| keys::ended_of(&last.key, accepted).unwrap_or_else(|| last.key.clone());
        ended.next = page.entries.last().map(next).filter(|_| page.more);
        Ok(ended)
    }

    /// Forgets a job that has ended: record, log, and the key under which it was submitted. What it came to stays in the
    /// ledger.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn forget(&self, ended: &Ended) -> Result<(), Error> {
        let mut txn = Txn::default().delete_prefix(keys::job(ended.id)).delete(keys::cancel(ended.id));
        txn = txn.delete(keys::ended(ended.id, ended.ended_at));
        if let Some(key) = &ended.submission_key {
            txn = txn.delete(keys::submission(&ended.tenant, key));
        }
        txn = quota::free(txn, ended);
        // Where the ledger was written meanwhile, it is read again.
        while self.store.txn(self.charge(txn.clone(), ended).await?).await?.committed().is_none() {}
        Ok(())
    }

    /// Says whether somebody may yet need the object at `place`. What lies there for a while and nobody needs is left from
    /// a request that was never accepted, or from an attempt that did not count.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn needs(&self, place: &Place) -> Result<bool, Error> {
        // What was never put there for a job is not ours to judge.
        let Some(id) = place.job() else { return Ok(true) };
        match self.find(id).await {
            Ok(None) => Ok(false),
            Ok(Some((record, _))) => {
                let is = |blob: &Blob| matches!(blob, Blob::Object(object) if object.path == place.as_str());
                let result = matches!(&record.outcome, Some(Outcome::Result(blob)) if is(blob));
                Ok(!record.state.terminal() || result || is(&record.payload))
            }
            Err(error @ Error::Unreadable { .. }) => {
                self.skip(&error);
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Follows a job from just after `position`. It reads on until the job has ended.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn follow(&self, id: JobId, position: Position) -> Result<Follow, Error> {
        Follow::open(Arc::clone(&self.store), id, position).await
    }

    /// Follows a job that is not accepted yet: every state of it will be seen.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn follow_new(&self, id: JobId) -> Result<Follow, Error> {
        Follow::open_new(Arc::clone(&self.store), id).await
    }

    /// Yields the jobs that were accepted, and those whose cancellation was asked for, from now on. An item may
    /// come twice; [`Work::Recheck`] says that some may be missing.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn work(&self) -> Result<BoxStream<'static, Work>, Error> {
        let accepted = Lives::open(&self.store).await?.stream().filter_map(|step| async move {
            match step {
                Step::Live { id, entry, accepted } => {
                    // What comes with its request was accepted just now.
                    if let Some(found) = accepted.and_then(|unread| unread.whole()) {
                        return Some(Work::Accepted(id, Some(Box::new(found))));
                    }
                    let live = stored::read_live(id, &entry).ok()?;
                    // What happens to it later is the scheduler's own doing.
                    (live.state == State::Queued && live.attempt == 0).then_some(Work::Accepted(id, None))
                }
                Step::Ended(_) => None,
                Step::Gap => Some(Work::Recheck),
            }
        });
        let cancelled = self.store.watch(&keys::all_cancels(), None).await?.filter_map(|event| async move {
            match event {
                metadata::Event::Put(entry) => keys::job_of(&entry.key).map(Work::Cancel),
                metadata::Event::Delete { .. } | metadata::Event::Progress(_) => None,
                metadata::Event::Resync => Some(Work::Recheck),
            }
        });
        Ok(futures::stream::select(accepted, cancelled).boxed())
    }

    /// Yields the jobs that changed and those that ended, from now on; [`Presence::Recheck`] says that some may be
    /// missing.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn presence(&self) -> Result<BoxStream<'static, Presence>, Error> {
        let changes = Lives::open(&self.store).await?.stream().map(|step| match step {
            Step::Live { id, accepted, .. } => Presence::Live(id, accepted),
            Step::Ended(id) => Presence::Ended(id),
            Step::Gap => Presence::Recheck,
        });
        Ok(changes.boxed())
    }

    /// Returns the jobs whose cancellation was asked for and not yet seen to.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn cancels(&self) -> Result<Vec<JobId>, Error> {
        let entries = self.store.list(&keys::all_cancels()).await?;
        Ok(entries.iter().filter_map(|entry| keys::job_of(&entry.key)).collect())
    }

    /// Commits, and where nobody can say whether it was done, does so again until it is known. What then finds its own
    /// record was done. No commit is waited for longer than `patience`.
    async fn certain(&self, txns: Vec<Txn>, patience: Duration) -> Result<Vec<TxnOutcome>, Error> {
        // Long enough that a call that was given up is followed by one that can be answered.
        let until = Instant::now() + self.deadline() * 2;
        let mut pause = Duration::from_millis(20);
        let mut again = false;
        loop {
            let committed = timeout(patience, self.store.commit(txns.clone())).await;
            match committed.unwrap_or_else(|_| Err(Error::silent("it", true, patience))) {
                Ok(mut outcomes) => {
                    for (outcome, txn) in outcomes.iter_mut().zip(&txns).filter(|_| again) {
                        if let TxnOutcome::Conflict(compared) = outcome
                            && let Some(revision) = done_before(txn, compared)
                        {
                            *outcome = TxnOutcome::Committed(revision);
                        }
                    }
                    return Ok(outcomes);
                }
                Err(Error::Unavailable { maybe_done, reason }) if maybe_done || again => {
                    if Instant::now() + pause >= until {
                        return Err(Error::Unavailable { maybe_done: true, reason });
                    }
                    again = true;
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(500));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn skip(&self, error: &Error) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%error, "skipped");
    }
}

/// Returns the revision at which a transaction was applied, where what it compared has become what it writes.
fn done_before(txn: &Txn, compared: &[Option<Entry>]) -> Option<Revision> {
    let mut revision = None;
    for (compare, found) in txn.compares.iter().zip(compared) {
        let written = txn.ops.iter().find_map(|op| match op {
            Op::Put { key, value, .. } if key == compare.key() => Some(value),
            _ => None,
        });
        if let Some(value) = written {
            revision = Some(found.as_ref().filter(|entry| entry.value == value)?.revision);
        }
    }
    revision
}

/// Returns the transaction that makes a queued job durable.
fn acceptance(record: &JobRecord) -> Txn {
    let request = keys::request(record.id);
    let mut txn = Txn::default().absent(&request).put(&request, stored::request(record));
    txn = txn.put(keys::live(record.id), stored::live(record));
    if let Blob::Inline(bytes) = &record.payload {
        txn = txn.put(keys::payload(record.id), bytes.clone());
    }
    if let Some(idempotency) = &record.idempotency {
        let key = keys::submission(&record.tenant, &idempotency.key);
        txn = txn.absent(&key).put(&key, stored::submission(idempotency, record.id));
    }
    txn
}

/// Returns the transaction that makes a job what `record` says.
fn replacement(revision: Revision, record: &JobRecord) -> Txn {
    let (id, live) = (record.id, keys::live(record.id));
    let txn = Txn::default().unchanged(&live, revision);
    if record.state.terminal() {
        // Compared so that a conflict shows it.
        let txn = txn.absent(keys::outcome(id)).put(keys::outcome(id), stored::outcome(record));
        let txn = txn.put(keys::ended(id, record.ended_at), stored::ended(record));
        let txn = txn.delete(live).delete(keys::cancel(id));
        let txn = if record.keeps_program { txn } else { txn.delete(keys::payload(id)) };
        return quota::settle(txn, record);
    }
    let txn = txn.put(live, stored::live(record));
    if matches!(record.state, State::Dispatched | State::Running) { txn.relaxed() } else { txn }
}

/// Returns where a job's record lies.
fn parts(id: JobId) -> [String; PARTS] {
    [keys::request(id), keys::live(id), keys::outcome(id), keys::payload(id)]
}

/// Puts a job's record together from what lies there.
fn joined(id: JobId, entries: &[Option<Entry>]) -> Found {
    let [Some(request), live, outcome, payload @ ..] = entries else { return Ok(None) };
    let record = stored::read_request(id, request)?;
    let (mut record, revision) = match (live, outcome) {
        (_, Some(outcome)) => (stored::read_outcome(record, outcome)?, outcome.revision),
        (Some(live), None) => {
            let live = stored::read_live(id, live)?;
            (record.at(&live), live.revision)
        }
        (None, None) => return Ok(None),
    };
    if let [Some(payload)] = payload {
        record.payload = Blob::Inline(payload.value.clone());
    }
    Ok(Some((record, revision)))
}

#[cfg(test)]
pub(crate) mod tests {
    use ids::{KeyId, ModelKey, Token, WorkerId};

    use super::*;
    use crate::job::{Fault, Idempotency, Refused};
    use crate::memory::{Faults, MemoryStore};
    use crate::objects::{Blob, ObjectRef};
    use crate::redb_store::RedbStore;

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

    fn forgettable(record: &JobRecord) -> Ended {
        record.ended()
    }

    /// Returns a change as followers see it, who have no use for the program.
    fn shown(record: JobRecord) -> Change {
        Change::Record(Box::new(JobRecord { payload: Blob::Inline(Bytes::new()), ..record }))
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
        let end = jobs.transition(first.id, 0, &Event::Cancelled, 2).await.unwrap();
        jobs.forget(&forgettable(&end)).await.unwrap();
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
        let again = Event::Dispatched { worker: WorkerId::new("w"), epoch: 2 };
        let given = jobs.transition(id, 1, &again, 4).await.unwrap();
        assert_eq!(given.token(), Token { epoch: 2, attempt: 2 });
        assert_eq!(jobs.find(id).await.unwrap().unwrap().0, given);
        assert_eq!(jobs.live().await.unwrap().jobs[0].token(), given.token());
        let late = jobs.transition(id, 1, &finished(), 5).await;
        let attempt = Refused::Attempt { told: 1, current: 2 };
        assert!(matches!(late, Err(Error::Refused { refused, .. }) if refused == attempt));
        let done = jobs.transition(id, 2, &finished(), 6).await.unwrap();
        assert_eq!((done.state, done.deaths, done.ended_at), (State::Completed, 1, 6));
        assert_eq!(jobs.find(id).await.unwrap().unwrap().0, done);
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
        let id = record.id;
        let mut changes = vec![shown(jobs.transition(id, 0, &dispatched(), 2).await.unwrap())];
        changes.push(shown(jobs.transition(id, 1, &Event::Started, 3).await.unwrap()));
        for number in 0..3 {
            let text = format!("line {number}");
            jobs.append_log(&[line(id, number, text.clone())]).await.unwrap();
            changes.push(Change::Log { attempt: 1, text });
        }
        changes.push(shown(jobs.transition(id, 1, &finished(), 4).await.unwrap()));
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
        let mut follow = jobs.follow(record.id, Position::default()).await.unwrap();
        assert_eq!(follow.next().await.unwrap(), Some(shown(record.clone())));
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
        let mut changes = vec![shown(record.clone())];
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
            let mut follow = jobs.follow(record.id, Position::default()).await.unwrap();
            for change in late.iter().take(stop) {
                assert_eq!(follow.next().await.unwrap().as_ref(), Some(change));
            }
            let mut resumed = jobs.follow(record.id, follow.position()).await.unwrap();
            assert_eq!(rest(&mut resumed).await, late[stop..]);
        }
        let mut nobody = jobs.follow(JobId::new(), Position::default()).await.unwrap();
        assert_eq!(nobody.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_follower_that_sleeps_through_a_flood_misses_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(&folder);
        let record = queued();
        jobs.accept(&record).await.unwrap();
        let mut follow = jobs.follow(record.id, Position::default()).await.unwrap();
        follow.next().await.unwrap();
        for number in 0..3000 {
            jobs.append_log(&[line(record.id, number, number.to_string())]).await.unwrap();
        }
        let end = jobs.transition(record.id, 0, &Event::Cancelled, 2).await.unwrap();
        let mut expected: Vec<Change> =
            (0..3000).map(|number| Change::Log { attempt: 1, text: number.to_string() }).collect();
        expected.push(shown(end));
        assert_eq!(rest(&mut follow).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn b19_whatever_answers_are_lost_each_job_is_accepted_once_and_ends_once() {
        for seed in 0..200 {
            let store = MemoryStore::new(seed);
            store.set_faults(Faults {
                unknown_outcome: 0.4,
                conflict: 0.2,
                gap: 0.1,
                delay: Duration::from_millis(20),
                ..Faults::default()
            });
            let jobs = Jobs::new(Arc::new(store.clone()));
            let record = JobRecord { idempotency: Some(Idempotency { key: "k".into(), digest: [1; 32] }), ..queued() };
            let id = record.id;
            let mut follow = jobs.follow_new(id).await.unwrap();
            assert_eq!(jobs.accept(&record).await.unwrap(), Accepted::New, "seed {seed}");
            let again = JobRecord { idempotency: record.idempotency.clone(), ..queued() };
            assert_eq!(jobs.accept(&again).await.unwrap(), Accepted::Before(id), "seed {seed}");
            // Whoever is told that it happened goes on; nobody is told that something else did.
            jobs.transition(id, 0, &dispatched(), 2).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            jobs.transition(id, 1, &Event::Started, 3).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let (finished, cancelled) = (finished(), Event::Cancelled);
            let (one, other) =
                tokio::join!(jobs.transition(id, 1, &finished, 4), jobs.transition(id, 1, &cancelled, 4),);
            assert_eq!([&one, &other].iter().filter(|end| end.is_ok()).count(), 1, "seed {seed}: {one:?} {other:?}");
            let end = one.or(other).unwrap().state;
            let changes = rest(&mut follow).await;
            let Some(Change::Record(last)) = changes.last() else { panic!("seed {seed}: no end") };
            assert_eq!(last.state, end, "seed {seed}");
            assert!(jobs.live().await.unwrap().jobs.is_empty(), "seed {seed}");
        }
    }

    #[tokio::test]
    async fn a15_what_cannot_be_read_is_skipped_and_counted_and_hides_nothing_else() {
        let store = Arc::new(MemoryStore::new(1));
        let jobs = Jobs::new(store.clone());
        let (waits, ends) = (queued(), queued());
        jobs.accept(&waits).await.unwrap();
        jobs.accept(&ends).await.unwrap();
        jobs.transition(ends.id, 0, &Event::Cancelled, 2).await.unwrap();
        let broken = || Bytes::from_static(&[0xff, 0xff, 0xff]);
        for key in [keys::live(JobId::new()), keys::live(JobId::new()), keys::ended(JobId::new(), 1)] {
            store.put(&key, broken()).await.unwrap();
        }
        let live = jobs.live().await.unwrap();
        assert_eq!((live.jobs.len(), live.unreadable), (1, 2));
        let queued = jobs.list(&[State::Queued]).await.unwrap();
        assert_eq!(queued.iter().map(|job| job.id).collect::<Vec<_>>(), [waits.id]);
        let ended = jobs.ended(10, "").await.unwrap();
        assert_eq!(ended.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [ends.id]);
        assert_eq!(jobs.unreadable(), 5);
        assert!(jobs.find(live.jobs[0].id).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a2_what_has_ended_is_found_by_its_time_and_forgotten_without_a_trace() {
        let store = Arc::new(MemoryStore::new(1));
        let jobs = Jobs::new(store.clone());
        const HOUR: u64 = 3_600_000;
        let mut records = Vec::new();
        for number in 0..250u64 {
            let submission = Idempotency { key: number.to_string(), digest: [0; 32] };
            let record = JobRecord { idempotency: Some(submission), ..queued() };
            jobs.accept(&record).await.unwrap();
            jobs.append_log(&[line(record.id, 0, "printed".into())]).await.unwrap();
            // One in ten ends later than the others.
            let end = if number % 10 == 0 { 7 * HOUR } else { 5 * HOUR + number };
            records.push(jobs.transition(record.id, 0, &Event::Cancelled, end).await.unwrap());
        }
        let waits = queued();
        jobs.accept(&waits).await.unwrap();
        let (mut next, mut pages) = (Some(String::new()), 0);
        while let Some(after) = next {
            let page = jobs.ended(5 * HOUR + 200, &after).await.unwrap();
            for job in &page.jobs {
                jobs.forget(job).await.unwrap();
            }
            (next, pages) = (page.next, pages + 1);
        }
        assert!(pages <= 4, "{pages} pages were read for 250 jobs");
        let old = |record: &JobRecord| record.ended_at < 5 * HOUR + 200;
        for record in &records {
            assert_eq!(jobs.find(record.id).await.unwrap().is_none(), old(record));
        }
        let (gone, kept): (Vec<_>, Vec<_>) = records.iter().partition(|record| old(record));
        let all = store.list("").await.unwrap();
        assert!(!all.iter().any(|entry| gone.iter().any(|record| entry.key.contains(&record.id.to_string()))));
        // Request, log, outcome, the time of its end, and its submission; request, payload and live of who waits; and what the
        // ledger has of those that are forgotten.
        assert_eq!(all.len(), kept.len() * 5 + 3 + 1);
    }

    #[tokio::test]
    async fn what_was_accepted_since_a_time_and_has_ended_is_found_without_reading_what_is_older() {
        const HOUR: u64 = 3_600_000;
        let store = Arc::new(MemoryStore::new(1));
        let jobs = Jobs::new(store.clone());
        let began = 500_000 * HOUR + 1234;
        // Names as they would be made so much before or after a time.
        let made = |at: u64, number: u64| -> JobId {
            let (high, low) = (at >> 16, at & 0xffff);
            format!("{high:08x}-{low:04x}-7000-8000-{number:012x}").parse().unwrap()
        };
        let mut expected = Vec::new();
        for number in 0..300u64 {
            let lives = [
                (began - 1, began + 5),
                (began - HOUR, began + HOUR),
                (began + number, began + number + 1),
                (began + number, began + 2 * HOUR),
            ];
            for (way, (accepted, ended)) in (0..).zip(lives) {
                let id = made(accepted, number * 4 + way);
                let record = JobRecord { id, accepted_at: accepted, ..queued() };
                jobs.accept(&record).await.unwrap();
                jobs.transition(id, 0, &Event::Cancelled, ended).await.unwrap();
                if accepted >= began {
                    expected.push(id);
                }
            }
        }
        jobs.accept(&JobRecord { id: made(began + 9, 9), ..queued() }).await.unwrap();
        let (mut found, mut next, mut pages) = (Vec::new(), Some(String::new()), 0);
        while let Some(after) = next {
            let page = jobs.ended_since(began, &after).await.unwrap();
            found.extend(page.jobs.iter().map(|job| job.id));
            (next, pages) = (page.next, pages + 1);
        }
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert!(pages <= 9, "{pages} pages were read for 600 jobs of two hours");
        let records = jobs.look(&expected).await.unwrap();
        assert_eq!(records.iter().map(|record| record.id).collect::<Vec<_>>(), expected);
        assert!(records.iter().all(|record| record.state == State::Cancelled && record.payload.is_empty()));
    }

    #[tokio::test]
    async fn a_jobs_life_is_four_commits_of_four_kibibytes_and_its_changing_part_is_small() {
        let store = Arc::new(MemoryStore::new(1));
        let jobs = Jobs::new(store.clone());
        let inline = store.limits().inline_bytes;
        let record = JobRecord {
            tenant: TenantId::new("t".repeat(40)),
            key: KeyId::new("0123456789ab"),
            model: ModelKey::new(
                "meta-llama/Llama-3.1-70B-Instruct",
                Some("0123456789abcdef0123456789abcdef01234567".into()),
            ),
            session: "s".repeat(100),
            idempotency: Some(Idempotency { key: "8d1c5c4e-8d0c-4a3e-9a9f-3b6f4d1c5c4e".into(), digest: [7; 32] }),
            payload: Blob::Inline(vec![1; inline].into()),
            payload_bytes: inline as u64,
            accepted_at: 1_790_000_000_000,
            trace: Some(telemetry::trace::Trace::new()),
            ..queued()
        };
        let id = record.id;
        jobs.accept(&record).await.unwrap();
        assert_eq!(jobs.find(id).await.unwrap().unwrap().0.trace, record.trace);
        let worker = WorkerId::new("gpu-node-17.cluster.example.org/0123456789abcdef");
        jobs.transition(id, 0, &Event::Dispatched { worker, epoch: 1_000 }, 1_790_000_001_000).await.unwrap();
        jobs.transition(id, 1, &Event::Started, 1_790_000_002_000).await.unwrap();
        let live = store.get(&keys::live(id)).await.unwrap().unwrap();
        assert!(live.value.len() <= 300, "{} bytes", live.value.len());
        let meta =
            r#"{"execution_time_s": 12.345678, "tokens": 123456, "queue_time_s": 1.25, "attempt": 1, "fuel": 1234567}"#;
        let result = Blob::Inline(vec![2; inline].into());
        jobs.transition(id, 1, &Event::Finished { result, meta: meta.into() }, 1_790_000_003_000).await.unwrap();
        let writes = store.writes();
        assert_eq!(writes.commits, 4);
        assert!(writes.bytes <= 4096, "{} bytes", writes.bytes);
        let submission = keys::submission(&record.tenant, "8d1c5c4e-8d0c-4a3e-9a9f-3b6f4d1c5c4e");
        assert!(store.get(&submission).await.unwrap().is_some());
        assert_eq!(store.get(&keys::payload(id)).await.unwrap(), None, "a program is not kept longer than its job");
    }

    #[tokio::test]
    async fn lines_that_are_kept_together_are_few_entries_and_all_there() {
        let store = Arc::new(MemoryStore::new(1));
        let jobs = Jobs::new(store.clone());
        let (one, other) = (queued(), queued());
        jobs.accept(&one).await.unwrap();
        let before = store.writes();
        let mut lines: Vec<Line> = (0..1000).map(|number| line(one.id, number, format!("line {number}"))).collect();
        lines.push(line(one.id, 7, "line 7".into()));
        lines.push(line(one.id, 2000, "x".repeat(LOG_BYTES)));
        lines.push(line(one.id, 2001, "after a gap".into()));
        lines.push(line(other.id, 0, "another's".into()));
        jobs.append_log(&lines).await.unwrap();
        assert_eq!(store.writes().txns - before.txns, 4);
        let end = jobs.transition(one.id, 0, &Event::Cancelled, 2).await.unwrap();
        let mut follow = jobs.follow(one.id, Position::default()).await.unwrap();
        let mut text = Vec::new();
        for change in rest(&mut follow).await {
            match change {
                Change::Log { text: more, attempt: 1 } => text.extend(more.split('\n').map(str::to_owned)),
                Change::Record(record) => assert_eq!(record.state, end.state),
                other => panic!("unexpected {other:?}"),
            }
        }
        let mut expected: Vec<String> = (0..1000).map(|number| format!("line {number}")).collect();
        expected.extend(["x".repeat(LOG_BYTES), "after a gap".into()]);
        assert_eq!(text, expected);
    }

    #[tokio::test]
    async fn two_entries_of_one_commit_are_both_told_to_who_resumes_between_them() {
        let store = Arc::new(MemoryStore::new(1));
        let jobs = Jobs::new(store.clone());
        let record = queued();
        jobs.accept(&record).await.unwrap();
        let txn = (0..5).fold(Txn::default(), |txn, number| {
            txn.put(keys::log(record.id, 1, number), format!("line {number}").into_bytes())
        });
        store.txn(txn).await.unwrap();
        jobs.transition(record.id, 0, &Event::Cancelled, 2).await.unwrap();
        let mut position = Position::default();
        let mut told = 0;
        loop {
            let mut follow = jobs.follow(record.id, position.clone()).await.unwrap();
            match follow.next().await.unwrap() {
                Some(Change::Log { text, .. }) => {
                    assert_eq!(text, format!("line {told}"));
                    told += 1;
                }
                Some(Change::Record(record)) => {
                    assert_eq!((record.state, told), (State::Cancelled, 5));
                    break;
                }
                None => panic!("it has an end"),
            }
            position = follow.position();
        }
    }

    #[tokio::test]
    async fn a6_an_object_is_needed_by_a_job_that_runs_and_by_its_committed_result() {
        let store = Arc::new(MemoryStore::new(1));
        let jobs = Jobs::new(store.clone());
        let record = queued();
        let (id, lab) = (record.id, record.tenant.clone());
        let (payload, kept, late) =
            (Place::payload(&lab, id), Place::result(&lab, id, 1, 2), Place::result(&lab, id, 2, 9));
        let needed = async || {
            let mut needed = Vec::new();
            for place in [&payload, &kept, &late] {
                needed.push(jobs.needs(place).await.unwrap());
            }
            needed
        };
        assert_eq!(needed().await, [false, false, false], "no such job was accepted");
        jobs.accept(&record).await.unwrap();
        jobs.transition(id, 0, &dispatched(), 2).await.unwrap();
        assert_eq!(needed().await, [true, true, true]);
        let object = ObjectRef { path: kept.as_str().into(), digest: [1; 32], bytes: 5 };
        let end = Event::Finished { result: Blob::Object(object), meta: "{}".into() };
        let end = jobs.transition(id, 1, &end, 3).await.unwrap();
        assert_eq!(needed().await, [false, true, false]);
        store.put(&keys::outcome(id), Bytes::from_static(&[0xff])).await.unwrap();
        assert_eq!(needed().await, [true, true, true], "who cannot read it cannot tell");
        jobs.forget(&forgettable(&end)).await.unwrap();
        assert_eq!(needed().await, [false, false, false]);
        assert!(jobs.needs(&Place::parse("models/weights").unwrap()).await.unwrap());
    }
}
