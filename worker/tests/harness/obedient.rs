//! An engine that does what a job's source says, and jobs for it.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::{Engine, Event, Failure, Job, Usage};
use ids::{JobId, KeyId, ModelKey, TenantId};
use program::{Datum, Entry, Env, Heap, Limits, Program, Saved, Source};
use store::{JobRecord, Objects, Place};
use worker::{Load, Loader};

/// Obeys words: `print N`, `line N` (bytes), `save N` (bytes), `raise`, `panic`, `endless` (step by step), `spin` (within one step),
/// `crowded` (there is memory for it only the second time).
#[derive(Default)]
struct Obedient {
    jobs: VecDeque<(Job, bool)>,
    /// Those that found no memory.
    crowded: BTreeSet<JobId>,
}

impl Engine for Obedient {
    fn submit(&mut self, job: Job) {
        self.jobs.push_back((job, false));
    }

    fn attend(&mut self, _: Rc<dyn Fn() -> bool>) {}

    fn cancel(&mut self, job: JobId) {
        for (known, _) in &self.jobs {
            if known.id == job {
                let _ = known.stop.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    fn step(&mut self) -> Vec<Event> {
        let Some((job, started)) = self.jobs.pop_front() else { return Vec::new() };
        let mut events = Vec::new();
        if !started {
            events.push(Event::Started(job.id));
        }
        let usage = Usage { tokens: 7, ..Usage::default() };
        let failed = |fault, message: &str| Event::Failed(job.id, Failure { fault, message: message.into() }, usage);
        let words: Vec<&str> = job.program.source.text.split(' ').collect();
        let end = match (words.as_slice(), job.stop.load(Ordering::Relaxed)) {
            (_, 1) => failed(engine::Fault::Cancelled, "cancelled"),
            (_, 2) => failed(engine::Fault::Limit, "the job ran out of time"),
            (["print", count], _) => {
                let count: usize = count.parse().unwrap();
                events.extend((0..count).map(|number| Event::Printed(job.id, format!("line {number}"))));
                Event::Finished(job.id, saved(0), usage)
            }
            (["line", bytes], _) => {
                events.push(Event::Printed(job.id, "x".repeat(bytes.parse().unwrap())));
                Event::Finished(job.id, saved(0), usage)
            }
            (["save", bytes], _) => Event::Finished(job.id, saved(bytes.parse().unwrap()), usage),
            (["spin"], _) => {
                while job.stop.load(Ordering::Relaxed) == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                self.jobs.push_back((job, true));
                return events;
            }
            (["raise"], _) => failed(engine::Fault::User, "Traceback …\nValueError: no"),
            // The first time.
            (["crowded"], _) if self.crowded.insert(job.id) => failed(engine::Fault::Crowded, "others hold the memory"),
            (["crowded"], _) => Event::Finished(job.id, saved(0), usage),
            (["panic"], _) => panic!("an index was out of range"),
            (["endless"], _) => {
                std::thread::sleep(Duration::from_millis(1));
                self.jobs.push_back((job, true));
                return events;
            }
            _ => failed(engine::Fault::Server, "no such word"),
        };
        events.push(end);
        events
    }

    fn idle(&self) -> bool {
        self.jobs.is_empty()
    }

    fn waits(&self) -> bool {
        false
    }
}

pub fn saved(bytes: usize) -> Saved {
    let mut heap = Heap::default();
    let value = heap.push(Datum::Bytes(vec![7; bytes].into()));
    Saved { heap, names: vec![("x".into(), value)] }
}

/// Loads an obedient engine. Counts that, and fails while it is told to.
pub fn obedient(loads: &Arc<AtomicU32>, broken: &Arc<AtomicBool>) -> Loader {
    let (loads, broken) = (Arc::clone(loads), Arc::clone(broken));
    Arc::new(move |load: &Load, progress: &mut dyn FnMut(f32)| {
        assert_eq!(load.folder, PathBuf::from("/models/tiny"));
        progress(0.5);
        loads.fetch_add(1, Ordering::Relaxed);
        if broken.load(Ordering::Relaxed) {
            return Err("model.safetensors is not there".to_owned().into());
        }
        Ok(Box::<Obedient>::default().into())
    })
}

pub fn model() -> ModelKey {
    ModelKey::new("test/tiny", None)
}

/// Makes a program of these words.
pub fn program(words: &str) -> Program {
    Program {
        model: model(),
        env: Env::default(),
        entry: Entry::Session,
        modules: Vec::new(),
        source: Source { text: words.into(), ..Source::default() },
        heap: Heap::default(),
        locals: Vec::new(),
        globals: Vec::new(),
    }
}

/// Makes a job of these words, with its program in its place.
pub async fn queued(objects: &Objects, words: &str, limits: Limits) -> JobRecord {
    let (id, tenant) = (JobId::new(), TenantId::new("lab"));
    let bytes = program(words).encode().unwrap();
    let payload = objects.keep(&Place::payload(&tenant, id), bytes.into()).await.unwrap();
    // What waits must not expire, however long ago it says it was accepted.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap();
    JobRecord { limits, ..JobRecord::queued(id, tenant, KeyId::new("key"), model(), payload, now) }
}
