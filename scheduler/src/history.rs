//! What people can look at of the last day: counted by the leader, written beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use store::history::{Crew, Minute, What};
use store::{History, JobRecord};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::crew::Member;
use crate::placement::Queue;

/// Milliseconds of a minute.
const MINUTE: u64 = 60_000;

/// How often it is looked at what there is to write.
const LOOK: Duration = Duration::from_secs(1);
/// Time between two writes of the crew that says nothing new, by which one sees that a scheduler leads.
const CREW: Duration = Duration::from_secs(5);
/// Time between two writes of a minute that is not over.
const PROGRESS: Duration = Duration::from_secs(10);

/// What the leader counts. It writes nothing itself, and waits for nobody.
pub struct Ledger {
    epoch: u64,
    number: u64,
    minute: Minute,
    seen: watch::Sender<Seen>,
}

/// What is to be written: the latest that was seen.
#[derive(Clone, Default)]
pub struct Seen {
    crew: Crew,
    /// The minute that it is and the one before, by their numbers.
    minutes: BTreeMap<u64, Minute>,
}

impl Ledger {
    /// Begins at a time, in milliseconds since the Unix epoch. Returns what [`write`] takes.
    pub fn new(epoch: u64, now: u64) -> (Self, watch::Receiver<Seen>) {
        let (seen, written) = watch::channel(Seen::default());
        let mut ledger = Self { epoch, number: now / MINUTE, minute: Minute::default(), seen };
        ledger.minute.happened(now, What::SchedulerBegan);
        (ledger, written)
    }

    /// Counts that a job was given out.
    pub fn given(&mut self, record: &JobRecord) {
        self.minute.given(record);
    }

    /// Counts that a job ended.
    pub fn ended(&mut self, record: &JobRecord) {
        self.minute.ended(record);
    }

    /// Notes something.
    pub fn happened(&mut self, now: u64, what: What) {
        self.minute.happened(now, what);
    }

    /// Shows how everything is: to be called several times a second.
    pub fn look<'a>(&mut self, now: u64, queue: &Queue, crew: impl Iterator<Item = &'a Member>) {
        let members: Vec<_> = crew.map(Member::told).collect();
        self.minute.run(members.iter().map(|member| member.jobs).sum());
        for (model, lines) in queue.lines() {
            for (tenant, jobs) in &lines.by_tenant {
                self.minute.waits(tenant, model, jobs.len() as u64);
            }
        }
        let (number, epoch) = (self.number, self.epoch);
        let current = now / MINUTE;
        self.seen.send_modify(|seen| {
            seen.crew = Crew { told_at: now, epoch, members };
            seen.minutes.insert(number, self.minute.clone());
            while seen.minutes.len() > 2 {
                seen.minutes.pop_first();
            }
        });
        // A clock that was set back does not reopen what is written.
        if current > self.number {
            self.number = current;
            self.minute = Minute::default();
        }
    }
}

/// Writes what is seen, for as long as it is polled: a store that is slow, or away, holds up nobody's job.
pub async fn write(history: History, mut seen: watch::Receiver<Seen>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written = Seen::default();
    let (mut crew_at, mut minutes_at): (Option<Instant>, Option<Instant>) = (None, None);
    let due = |at: Option<Instant>, time| at.is_none_or(|at| at.elapsed() >= time);
    loop {
        looks.tick().await;
        let Seen { crew, minutes } = seen.borrow_and_update().clone();
        let Some((&current, _)) = minutes.last_key_value() else { continue };
        if crew.members != written.crew.members || due(crew_at, CREW) {
            // What fails is written again at the next look, or is out of date by then.
            if let Err(error) = history.put_crew(&crew).await {
                tracing::debug!(%error, "the workers are not shown as they are");
                continue;
            }
            crew_at = Some(Instant::now());
            written.crew = crew.clone();
        }
        let over = !written.minutes.contains_key(&current);
        if !over && !due(minutes_at, PROGRESS) {
            continue;
        }
        minutes_at = Some(Instant::now());
        let fresh = minutes.iter().filter(|(number, minute)| written.minutes.get(*number) != Some(*minute));
        let mut failed = false;
        for (number, minute) in fresh {
            if let Err(error) = history.put(*number, crew.epoch, minute).await {
                tracing::debug!(%error, "a minute of the history is not written");
                failed = true;
            }
        }
        if over && let Err(error) = history.forget(current).await {
            tracing::debug!(%error, "an old part of the history stays");
        }
        if !failed {
            written.minutes = minutes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ids::{JobId, KeyId, ModelKey, TenantId, WorkerId};
    use store::job::Event;
    use store::{Blob, MemoryStore};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_a_leader_counts_is_written_minute_by_minute_and_the_last_of_each_is_not_lost() {
        let store = Arc::new(MemoryStore::new(1));
        let (mut ledger, seen) = Ledger::new(7, 59_000);
        let history = History::new(store.clone());
        let writing = tokio::spawn(write(history.clone(), seen));
        let (tenant, model) = (TenantId::new("ada"), ModelKey::new("o/n", None));
        let record = JobRecord::queued(
            JobId::new(),
            tenant.clone(),
            KeyId::new("k"),
            model.clone(),
            Blob::Inline(vec![7].into()),
            58_000,
        );
        let queue = Queue::default();
        ledger.look(59_000, &queue, std::iter::empty());
        tokio::time::sleep(2 * LOOK).await;
        // Counted just before the minute ends, when the minute was written a moment ago.
        let given = record.after(0, &Event::Dispatched { worker: WorkerId::new("w"), epoch: 7 }, 59_500).unwrap();
        ledger.given(&given);
        ledger.look(60_100, &queue, std::iter::empty());
        ledger.ended(&given.after(1, &Event::Cancelled, 60_200).unwrap());
        ledger.look(60_500, &queue, std::iter::empty());
        tokio::time::sleep(2 * LOOK).await;
        let found = history.since(0).await.unwrap();
        let line = Some((tenant, model));
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [0, 1]);
        assert_eq!((found[&0].tallies[&line].given, found[&1].tallies[&line].cancelled), (1, 1));
        assert_eq!(found[&0].happenings[0].what, What::SchedulerBegan);
        assert_eq!(history.crew().await.unwrap().unwrap().epoch, 7);
        // Nothing new is told, and it is seen all the same that somebody leads.
        ledger.look(70_000, &queue, std::iter::empty());
        tokio::time::sleep(2 * CREW).await;
        assert_eq!(history.crew().await.unwrap().unwrap().told_at, 70_000);
        writing.abort();
    }
}
