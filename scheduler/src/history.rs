//! What people can look at of the last day: counted by the leader, written beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use ids::{ModelKey, TenantId};
use placement::Queue;
use store::history::{Minute, Pulse, What};
use store::{History, JobRecord};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Milliseconds of a minute.
const MINUTE: u64 = 60_000;

/// How often it is looked at what there is to write.
const LOOK: Duration = Duration::from_secs(1);
/// Time between two writes by which one sees that a scheduler leads.
const PULSE: Duration = Duration::from_secs(5);
/// Time between two writes of a minute that is not over.
const PROGRESS: Duration = Duration::from_secs(10);

/// What the leader counts. It writes nothing itself, and waits for nobody.
pub struct Ledger {
    epoch: u64,
    /// How long a job may wait, in milliseconds.
    queue_time: u64,
    number: u64,
    minute: Minute,
    seen: watch::Sender<Seen>,
}

/// What is to be written: the latest that was seen.
#[derive(Clone, Default)]
pub struct Seen {
    pulse: Option<Pulse>,
    /// The minute that it is and the one before, by their numbers.
    minutes: BTreeMap<u64, Minute>,
}

impl Ledger {
    /// Begins at a time, in milliseconds since the Unix epoch, of a scheduler that lets jobs wait for so long. Returns what
    /// [`write`] takes.
    pub fn new(epoch: u64, now: u64, queue_time: Duration) -> (Self, watch::Receiver<Seen>) {
        let (seen, written) = watch::channel(Seen::default());
        let queue_time = u64::try_from(queue_time.as_millis()).unwrap_or(u64::MAX);
        let mut ledger = Self { epoch, queue_time, number: now / MINUTE, minute: Minute::default(), seen };
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

    /// Looks at how everything is, with how many jobs workers have: to be called several times a second.
    pub fn look(&mut self, now: u64, queue: &Queue, running: usize) {
        self.minute.run(running as u64);
        // A tenant may have a line of each class.
        let mut waiting: BTreeMap<(&TenantId, &ModelKey), u64> = BTreeMap::new();
        for (model, lines) in queue.lines() {
            for (tenant, line) in lines.0.iter().flat_map(|lane| &lane.by_tenant) {
                *waiting.entry((tenant, model)).or_default() += line.len() as u64;
            }
        }
        for ((tenant, model), jobs) in waiting {
            self.minute.waits(tenant, model, jobs);
        }
        let (number, epoch, queue_time) = (self.number, self.epoch, self.queue_time);
        let current = now / MINUTE;
        self.seen.send_modify(|seen| {
            seen.pulse = Some(Pulse { at: now, epoch, queue_time });
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
    let (mut pulse_at, mut minutes_at): (Option<Instant>, Option<Instant>) = (None, None);
    let due = |at: Option<Instant>, time| at.is_none_or(|at| at.elapsed() >= time);
    loop {
        looks.tick().await;
        let Seen { pulse: Some(pulse), minutes } = seen.borrow_and_update().clone() else { continue };
        let Some((&current, _)) = minutes.last_key_value() else { continue };
        let epoch = pulse.epoch;
        if written.pulse.as_ref() != Some(&pulse) && due(pulse_at, PULSE) {
            // What fails is written again at the next look, or is out of date by then.
            if let Err(error) = history.put_pulse(pulse.clone()).await {
                tracing::debug!(%error, "it is not shown that this scheduler leads");
                continue;
            }
            pulse_at = Some(Instant::now());
            written.pulse = Some(pulse);
        }
        let over = !written.minutes.contains_key(&current);
        if !over && !due(minutes_at, PROGRESS) {
            continue;
        }
        minutes_at = Some(Instant::now());
        let fresh = minutes.iter().filter(|(number, minute)| written.minutes.get(*number) != Some(*minute));
        let mut failed = false;
        for (number, minute) in fresh {
            if let Err(error) = history.put(*number, epoch, minute).await {
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

    use ids::{JobId, KeyId, WorkerId};
    use store::job::Event;
    use store::{Blob, MemoryStore};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_a_leader_counts_is_written_minute_by_minute_and_the_last_of_each_is_not_lost() {
        let store = Arc::new(MemoryStore::new(1));
        let (mut ledger, seen) = Ledger::new(7, 59_000, Duration::from_secs(60));
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
        ledger.look(59_000, &queue, 0);
        tokio::time::sleep(2 * LOOK).await;
        // Counted just before the minute ends, when the minute was written a moment ago.
        let given = record.after(0, &Event::Dispatched { worker: WorkerId::new("w"), epoch: 7 }, 59_500).unwrap();
        ledger.given(&given);
        ledger.look(60_100, &queue, 0);
        ledger.ended(&given.after(1, &Event::Cancelled, 60_200).unwrap());
        ledger.look(60_500, &queue, 0);
        tokio::time::sleep(2 * LOOK).await;
        let found = history.since(0).await.unwrap();
        let line = Some((tenant, model));
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [0, 1]);
        assert_eq!((found[&0].tallies[&line].given, found[&1].tallies[&line].cancelled), (1, 1));
        assert_eq!(found[&0].happenings[0].what, What::SchedulerBegan);
        assert_eq!(history.pulse().await.unwrap().unwrap().epoch, 7);
        // Nothing new is told, and it is seen all the same that somebody leads.
        ledger.look(70_000, &queue, 0);
        tokio::time::sleep(2 * PULSE).await;
        assert_eq!(history.pulse().await.unwrap().unwrap().at, 70_000);
        writing.abort();
    }
}
