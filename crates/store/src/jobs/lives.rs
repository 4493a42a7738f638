//! The jobs that have not ended, as the watch tells of them: each with all of its record when it is accepted, so that nobody
//! need ask the store for what was only just written.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use ids::JobId;

use super::{joined, keys};
use crate::error::Error;
use crate::job::JobRecord;
use crate::metadata::{Entry, Event, MetadataStore, Revision, Watch};

/// Follows all jobs.
pub struct Lives {
    /// How far jobs are.
    live: Watch,
    /// All else of them. What was committed with an entry of `live` is here before that is there, for its key comes first.
    parts: Watch,
    /// What was read of `parts` and was committed later than what was told.
    next: Option<Event>,
    /// Requests and programs that were committed at one revision.
    told: HashMap<JobId, Told>,
    told_at: Revision,
}

/// What was committed of a job beside how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    request: Option<Entry>,
    payload: Option<Entry>,
}

/// A job as it was accepted, not read yet: not everybody who is told of it needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    id: JobId,
    live: Entry,
    told: Told,
}

impl Unread {
    /// Returns the record with its program, and the revision to change it from. `None` where not all of it is there.
    #[must_use]
    pub fn whole(self) -> Option<(JobRecord, Revision)> {
        let Self { id, live, told: Told { request, payload } } = self;
        let found = joined(id, &[request, Some(live), None, payload]).ok()??;
        // Who reads slowly may have missed a part of it.
        (found.0.payload.len() == found.0.payload_bytes).then_some(found)
    }

    /// Returns the record as followers are shown it.
    #[must_use]
    pub fn shown(self) -> Option<JobRecord> {
        let Self { id, live, told } = self;
        joined(id, &[told.request, Some(live), None]).ok()?.map(|(record, _)| record)
    }
}

/// One step of a job.
pub enum Step {
    /// It is as far as `entry` says. Where that was committed together with the request, all of it comes with it.
    Live {
        id: JobId,
        entry: Entry,
        accepted: Option<Box<Unread>>,
    },
    Ended(JobId),
    /// Some steps may be missing.
    Gap,
}

impl Lives {
    pub async fn open(store: &Arc<dyn MetadataStore>) -> Result<Self, Error> {
        // In this order: what is committed between the two is in both.
        let parts = store.watch(&keys::all_jobs(), None).await?;
        let live = store.watch(&keys::all_live(), None).await?;
        Ok(Self { live, parts, next: None, told: HashMap::new(), told_at: 0 })
    }

    /// Yields what comes from now on.
    pub fn stream(self) -> BoxStream<'static, Step> {
        futures::stream::unfold(self, |mut lives| async move { Some((lives.next().await?, lives)) }).boxed()
    }

    async fn next(&mut self) -> Option<Step> {
        loop {
            match self.live.next().await? {
                Event::Put(entry) => {
                    self.read_to(entry.revision);
                    if let Some(id) = keys::job_of(&entry.key) {
                        let told = self.told.remove(&id);
                        let accepted = told.map(|told| Box::new(Unread { id, live: entry.clone(), told }));
                        return Some(Step::Live { id, entry, accepted });
                    }
                }
                Event::Delete { key, revision } => {
                    self.read_to(revision);
                    if let Some(id) = keys::job_of(&key) {
                        return Some(Step::Ended(id));
                    }
                }
                Event::Progress(_) => {}
                Event::Resync => return Some(Step::Gap),
            }
        }
    }

    /// Reads what was told up to a revision, and keeps what was committed at it.
    fn read_to(&mut self, revision: Revision) {
        if revision > self.told_at {
            self.told.clear();
            self.told_at = revision;
        }
        loop {
            let event = self.next.take().or_else(|| self.parts.next().now_or_never().flatten());
            match event {
                None => return,
                Some(event) if event.revision() > revision => {
                    self.next = Some(event);
                    return;
                }
                Some(Event::Put(entry)) if entry.revision == revision => self.keep(entry),
                Some(_) => {}
            }
        }
    }

    fn keep(&mut self, entry: Entry) {
        let Some((id, part)) = keys::part(&entry.key) else { return };
        match part {
            keys::REQUEST => self.told.entry(id).or_default().request = Some(entry),
            keys::PAYLOAD => self.told.entry(id).or_default().payload = Some(entry),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::job::Event as JobEvent;
    use crate::jobs::tests::queued;
    use crate::jobs::{Jobs, Presence, Work};
    use crate::memory::MemoryStore;
    use crate::objects::Blob;

    async fn next(work: &mut BoxStream<'static, Work>) -> (JobId, Option<(JobRecord, Revision)>) {
        match work.next().await {
            Some(Work::Accepted(id, found)) => (id, found.map(|found| *found)),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_accepted_job_comes_with_the_record_that_a_reader_finds() {
        let store = Arc::new(MemoryStore::new(1));
        let jobs = Jobs::new(store.clone());
        let (mut work, mut presence) = (jobs.work().await.unwrap(), jobs.presence().await.unwrap());
        let (one, other) = (queued(), queued());
        jobs.accept(&one).await.unwrap();
        jobs.append_log(&[]).await.unwrap();
        jobs.transition(one.id, 0, &JobEvent::Cancelled, 2).await.unwrap();
        jobs.accept(&other).await.unwrap();
        let (id, found) = next(&mut work).await;
        assert_eq!((id, found.map(|(record, _)| record)), (one.id, Some(one.clone())), "though it has ended since");
        assert_eq!(next(&mut work).await, (other.id, jobs.find(other.id).await.unwrap()));
        for (record, ends) in [(one, true), (other, false)] {
            let id = record.id;
            let Some(Presence::Live(told, Some(unread))) = presence.next().await else { panic!("it was accepted") };
            let shown = JobRecord { payload: Blob::Inline(Bytes::new()), ..record };
            assert_eq!((told, unread.shown()), (id, Some(shown)));
            if ends {
                assert_eq!(presence.next().await, Some(Presence::Ended(id)));
            }
        }
    }

    #[tokio::test]
    async fn jobs_of_one_commit_come_each_with_their_own() {
        let store = Arc::new(MemoryStore::new(1));
        let jobs = Jobs::new(store.clone());
        let mut work = jobs.work().await.unwrap();
        let records: Vec<JobRecord> = (0..20u8)
            .map(|number| {
                let payload = Blob::Inline(vec![number; 10 + usize::from(number)].into());
                JobRecord { payload_bytes: payload.len(), payload, ..queued() }
            })
            .collect();
        let txns = records.iter().map(crate::jobs::acceptance).collect();
        store.commit(txns).await.unwrap();
        for record in records {
            let (id, found) = next(&mut work).await;
            assert_eq!((id, found.map(|(record, _)| record)), (record.id, Some(record)));
        }
    }

    #[tokio::test]
    async fn what_a_slow_reader_has_missed_of_jobs_it_is_told_to_read() {
        let store = Arc::new(MemoryStore::new(1));
        let jobs = Jobs::new(store.clone());
        let mut work = jobs.work().await.unwrap();
        // More entries than are kept for who does not read, of fewer jobs.
        let records: Vec<JobRecord> = (0..600).map(|_| queued()).collect();
        for record in &records {
            jobs.accept(record).await.unwrap();
        }
        let mut whole = 0;
        for record in &records {
            let (id, found) = next(&mut work).await;
            assert_eq!(id, record.id);
            if let Some((found, _)) = found {
                assert_eq!(found, *record);
                whole += 1;
            }
        }
        assert!((1..600).contains(&whole), "{whole} of 600");
    }
}
