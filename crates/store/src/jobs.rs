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
            let key = record_key(id);
            let mut txn = Txn::default().unchanged(&key, revision).put(&key, after.encode()?);
            if after.state.terminal() {
                txn = txn.delete(live_key(id)).delete(cancel_key(id));
            }
            if after.state == State::Running {
                txn = txn.relaxed();
            }
            if let TxnOutcome::Committed(_) = self.store.txn(txn).await? {
                return Ok(after);
            }
        }
    }

    /// Keeps what a program printed, in the order of `(attempt, number)`. A crash may lose the last of it.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn append_log(&self, id: JobId, attempt: u32, number: u32, text: String) -> Result<(), Error> {
        let key = format!("{ROOT}jobs/{id}/log/{attempt:04}/{number:08}");
        self.store.txn(Txn::default().put(key, text.into_bytes()).relaxed()).await.map(|_| ())
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
