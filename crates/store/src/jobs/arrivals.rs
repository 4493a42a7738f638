//! Jobs as they are accepted, each with its whole record as the watch tells it, so that who gives them out need not read
//! what was only just written.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use ids::JobId;

use super::{Work, joined, keys};
use crate::error::Error;
use crate::job::{JobRecord, State};
use crate::metadata::{Entry, Event, MetadataStore, Revision, Watch};
use crate::stored;

/// Follows acceptances.
pub struct Arrivals {
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

#[derive(Default)]
struct Told {
    request: Option<Entry>,
    payload: Option<Entry>,
}

impl Arrivals {
    pub async fn open(store: &Arc<dyn MetadataStore>) -> Result<Self, Error> {
        // In this order: what is committed between the two is in both.
        let parts = store.watch(&keys::all_jobs(), None).await?;
        let live = store.watch(&keys::all_live(), None).await?;
        Ok(Self { live, parts, next: None, told: HashMap::new(), told_at: 0 })
    }

    /// Yields what comes from now on.
    pub fn stream(self) -> BoxStream<'static, Work> {
        futures::stream::unfold(self, |mut arrivals| async move { Some((arrivals.next().await?, arrivals)) }).boxed()
    }

    async fn next(&mut self) -> Option<Work> {
        loop {
            match self.live.next().await? {
                Event::Put(entry) => {
                    self.read_to(entry.revision);
                    if let Some(arrived) = self.arrived(entry) {
                        return Some(arrived);
                    }
                }
                Event::Delete { revision, .. } => self.read_to(revision),
                Event::Progress(_) => {}
                Event::Resync => return Some(Work::Recheck),
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

    /// Says that a job was accepted, if this is what an entry means. What happens to it later is the scheduler's own doing.
    fn arrived(&mut self, entry: Entry) -> Option<Work> {
        let id = keys::job_of(&entry.key)?;
        let live = stored::read_live(id, &entry).ok()?;
        if live.state != State::Queued || live.attempt != 0 {
            return None;
        }
        let told = self.told.remove(&id).unwrap_or_default();
        let found = joined(id, &[told.request, Some(entry), None, told.payload]);
        // Who reads slowly may have missed a part of it.
        let whole = |(record, _): &(JobRecord, Revision)| record.payload.len() == record.payload_bytes;
        Some(Work::Accepted(id, found.ok().flatten().filter(whole).map(Box::new)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Event as JobEvent;
    use crate::jobs::Jobs;
    use crate::jobs::tests::queued;
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
        let mut work = jobs.work().await.unwrap();
        let (one, other) = (queued(), queued());
        jobs.accept(&one).await.unwrap();
        jobs.append_log(&[]).await.unwrap();
        jobs.transition(one.id, 0, &JobEvent::Cancelled, 2).await.unwrap();
        jobs.accept(&other).await.unwrap();
        let (id, found) = next(&mut work).await;
        assert_eq!((id, found.map(|(record, _)| record)), (one.id, Some(one)), "though it has ended since");
        assert_eq!(next(&mut work).await, (other.id, jobs.find(other.id).await.unwrap()));
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
