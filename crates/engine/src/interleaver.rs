//! The engine: many jobs' programs over one model, sharing its forward passes.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ids::JobId;

use crate::active::Active;
use crate::common::Common;
use crate::contract::{Engine, Event, Job};
use crate::lane::Lanes;
use crate::model::Model;
use crate::settings::Settings;
use crate::together::Together;
use crate::turn::Crowd;

/// Runs jobs over one model.
pub struct Interleaver<M: Model> {
    common: Rc<Common<M>>,
    together: Together<M>,
    lanes: Lanes<M>,
    crowd: Rc<Crowd>,
    /// How much longer lanes have had the thread than those who share passes, since these last had nothing to do.
    ahead: Duration,
}

impl<M: Model> Interleaver<M> {
    /// Makes an engine over a loaded model.
    pub fn new(model: M) -> Self {
        Self::with_settings(model, Settings::default())
    }

    /// Makes an engine with settings of its own.
    pub fn with_settings(model: M, settings: Settings) -> Self {
        Self::over(Rc::new(model), settings)
    }

    /// Makes an engine over a model that others compute with too.
    pub fn over(model: Rc<M>, settings: Settings) -> Self {
        let crowd = Rc::new(Crowd::new(settings.slice));
        let common = Rc::new(Common::new(model, settings));
        let (together, lanes) = (Together::company(&common), Lanes::new(&common));
        Self { common, together, lanes, crowd, ahead: Duration::ZERO }
    }

    /// Sets [`Settings::slice`], before the first job.
    #[must_use]
    pub fn with_slice(self, slice: Duration) -> Self {
        self.with(|settings| settings.slice = slice)
    }

    /// Sets [`Settings::shared_tokens`], before the first job.
    #[must_use]
    pub fn with_shared_tokens(self, tokens: i64) -> Self {
        self.with(|settings| settings.shared_tokens = tokens)
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.common.settings.clone();
        change(&mut settings);
        Self::over(Rc::clone(&self.common.model), settings)
    }
}

impl<M: Model> Engine for Interleaver<M> {
    fn submit(&mut self, job: Job) {
        let active = Active::new(job, &self.crowd);
        if active.leaves() {
            self.lanes.push(active);
        } else {
            self.together.active.push_back(active);
        }
    }

    fn attend(&mut self, waits: Rc<dyn Fn() -> bool>) {
        *self.crowd.outside.borrow_mut() = Some(waits);
    }

    fn cancel(&mut self, job: JobId) {
        let together = self.together.active.iter().find(|active| active.job.id == job);
        if let Some(stop) = together.map(|active| &*active.job.stop).or_else(|| self.lanes.stop_flag(job)) {
            // Why it was told to stop before counts.
            let _ = stop.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn step(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.crowd.jobs.set(self.together.active.len() + self.lanes.len());
        let began = Instant::now();
        let passed = self.together.step(&mut self.lanes, &mut events);
        for active in self.together.leaving() {
            self.lanes.push(active);
        }
        // What has a stack of its own has half of the thread at most, where others have passes to run.
        self.ahead = if passed { self.ahead.saturating_sub(began.elapsed()) } else { Duration::ZERO };
        if self.ahead == Duration::ZERO || self.lanes.any_stopped() {
            let began = Instant::now();
            let back = self.lanes.step(&mut events);
            self.ahead += began.elapsed();
            self.together.take_back(back, &mut self.lanes, &mut events);
            for active in self.together.leaving() {
                self.lanes.push(active);
            }
        }
        events
    }

    fn idle(&self) -> bool {
        self.together.active.is_empty() && self.lanes.len() == 0
    }

    fn waits(&self) -> bool {
        self.together.active.is_empty() && self.lanes.all_wait()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use program::Function;

    use super::*;
    use crate::bell::Bell;
    use crate::conformance::Subject;
    use crate::fake;

    /// Time for whatever must happen sooner or later.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Has a lane that waits for a bell.
    fn waiting(engine: &mut fake::FakeEngine, bell: &Bell) -> JobId {
        let (job, heard) = (JobId::new(), bell.heard());
        engine.lanes.run(job, move |turn, stop| {
            while !heard() && stop.load(Ordering::Relaxed) == 0 {
                turn.rest_until(&heard);
            }
        });
        job
    }

    #[test]
    fn an_engine_waits_while_all_that_it_has_waits_for_other_threads_which_wake_it() {
        let mut engine = fake::engine();
        assert!(engine.idle() && !engine.waits());
        let (one, other) = (Bell::here(), Bell::here());
        waiting(&mut engine, &one);
        assert!(!engine.waits(), "it has not begun");
        engine.step();
        assert!(engine.waits() && !engine.idle());
        let stopped = waiting(&mut engine, &other);
        engine.step();
        // What shares passes is served meanwhile.
        let toy = Subject { layers: "model.layers", head: "model.head", engine: &|| Box::new(fake::engine()) };
        engine.submit(toy.job("Hello", Function::Call, "x = nnsight.save(LAYERS[0].output)", &[]));
        assert!(!engine.waits());
        let mut finished = false;
        while !engine.waits() {
            finished |= engine.step().iter().any(|event| matches!(event, Event::Finished(..)));
        }
        assert!(finished);
        // Who has to stop does not wait for the bell.
        engine.cancel(stopped);
        assert!(!engine.waits());
        engine.step();
        assert!(engine.waits() && !engine.idle());
        let began = Instant::now();
        let ringer = thread::spawn(move || one.ring());
        while engine.waits() {
            assert!(began.elapsed() < PATIENCE, "nobody wakes it");
            thread::park_timeout(PATIENCE);
        }
        assert!(began.elapsed() < PATIENCE, "nobody woke it");
        engine.step();
        assert!(engine.idle() && !engine.waits() && ringer.join().is_ok());
    }
}
