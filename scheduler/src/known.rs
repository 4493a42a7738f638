//! Jobs' records as this scheduler last saw or wrote them. While it leads, nobody else changes a job that was accepted, so
//! they are seldom out of date; and as every change compares the revision, nothing comes of one that is.

use std::collections::HashMap;

use bytes::Bytes;
use ids::JobId;
use store::{Blob, JobRecord, Revision, State};

/// Bytes of records that are kept. What comes first is given out first, so the rest is read when its turn comes.
const BYTES: u64 = 64 << 20;

/// What a record has beside its program, about.
const RECORD_BYTES: u64 = 1 << 10;

/// Records by job.
#[derive(Default)]
pub struct Known {
    records: HashMap<JobId, (JobRecord, Revision)>,
    bytes: u64,
}

impl Known {
    /// Returns a job as it was last seen. Of one that is out, the program may be missing.
    pub fn get(&self, job: JobId) -> Option<&(JobRecord, Revision)> {
        self.records.get(&job)
    }

    /// Takes a job as it was last seen. Whoever changes it notes what it has become.
    pub fn take(&mut self, job: JobId) -> Option<(JobRecord, Revision)> {
        let known = self.records.remove(&job)?;
        self.bytes -= bytes(&known.0);
        Some(known)
    }

    /// Notes a record, if there will be any use for it and there is room.
    pub fn put(&mut self, record: &JobRecord, revision: Revision) {
        self.take(record.id);
        let whole = record.payload.len() == record.payload_bytes;
        // One that came back and lost its program has to be read before it is given out again.
        if record.state.terminal() || (record.state == State::Queued && !whole) {
            return;
        }
        let mut record = record.clone();
        if record.state != State::Queued && matches!(record.payload, Blob::Inline(_)) {
            record.payload = Blob::Inline(Bytes::new());
        }
        if self.bytes + bytes(&record) <= BYTES {
            self.bytes += bytes(&record);
            self.records.insert(record.id, (record, revision));
        }
    }
}

fn bytes(record: &JobRecord) -> u64 {
    let program = match &record.payload {
        Blob::Inline(bytes) => bytes.len() as u64,
        Blob::Object(_) => 0,
    };
    program + RECORD_BYTES
}

#[cfg(test)]
mod tests {
    use ids::{KeyId, ModelKey, TenantId, WorkerId};
    use store::job::Event;

    use super::*;

    fn queued(program: usize) -> JobRecord {
        let (tenant, key, model) = (TenantId::new("lab"), KeyId::new("key"), ModelKey::new("o/n", None));
        JobRecord::queued(JobId::new(), tenant, key, model, Blob::Inline(vec![7; program].into()), 1)
    }

    #[test]
    fn a_program_is_kept_until_it_is_given_out_and_a_record_until_it_ends() {
        let mut known = Known::default();
        let record = queued(100);
        known.put(&record, 1);
        assert_eq!(known.get(record.id), Some(&(record.clone(), 1)));
        let given = Event::Dispatched { worker: WorkerId::new("w"), epoch: 1 };
        let out = record.after(0, &given, 2).unwrap();
        known.put(&out, 2);
        let (kept, revision) = known.get(record.id).unwrap().clone();
        assert_eq!((kept.state, kept.payload.len(), revision, known.bytes), (State::Dispatched, 0, 2, RECORD_BYTES));
        // Whoever gives it out again has to have its program.
        known.put(&kept.after(1, &Event::Requeued { worker_died: false }, 3).unwrap(), 3);
        assert_eq!(known.get(record.id), None);
        known.put(&out.after(1, &Event::Requeued { worker_died: false }, 3).unwrap(), 3);
        assert_eq!(known.get(record.id).unwrap().0.payload.len(), 100);
        known.put(&record.after(0, &Event::Cancelled, 4).unwrap(), 4);
        assert_eq!((known.get(record.id), known.bytes), (None, 0));
    }

    #[test]
    fn there_is_room_for_so_much_and_the_first_have_it() {
        let mut known = Known::default();
        let large = |number: u8| queued((BYTES / 3) as usize + usize::from(number));
        let records: Vec<JobRecord> = (0..4).map(large).collect();
        records.iter().for_each(|record| known.put(record, 1));
        let kept: Vec<bool> = records.iter().map(|record| known.get(record.id).is_some()).collect();
        assert_eq!(kept, [true, true, false, false]);
        records.iter().for_each(|record| drop(known.take(record.id)));
        assert_eq!(known.bytes, 0);
    }
}
