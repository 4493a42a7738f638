//! How long a job may have the thread while others wait.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use interpreter::Fatal;

use crate::fiber;

/// What a job's own code may take of the thread before others have their turn.
const SLICE: Duration = Duration::from_millis(25);

/// The same in interpreter steps, whichever comes first: so that how often a program is interrupted at least does not
/// depend on the machine.
const SLICE_STEPS: u64 = 1 << 20;

/// Who else wants the thread.
#[derive(Default)]
pub struct Crowd {
    /// Jobs of the engine.
    pub jobs: Cell<usize>,
    /// Tells whether somebody waits outside the engine.
    pub outside: RefCell<Option<Rc<dyn Fn() -> bool>>>,
}

impl Crowd {
    fn waits(&self) -> bool {
        self.jobs.get() > 1 || self.outside.borrow().as_ref().is_some_and(|waits| waits())
    }
}

/// One job's turns at the thread.
pub struct Turn {
    place: Place,
    epoch: Instant,
    /// For how long the job was paused.
    paused: Cell<Duration>,
    /// When, by [`Turn::clock`], the job was given the thread, and what it had used of its turn before.
    since: Cell<Duration>,
    used: Cell<Duration>,
    steps: Cell<u64>,
    spent: Cell<bool>,
}

enum Place {
    /// Its blocks run while others' wait: where its turn is over, it has to go.
    Company(Rc<Crowd>),
    /// It has a fiber, which is paused.
    Lane,
}

impl Turn {
    /// Makes the turns of a job that shares passes.
    pub fn in_company(crowd: &Rc<Crowd>) -> Self {
        Self::new(Place::Company(Rc::clone(crowd)))
    }

    /// Makes the turns of a job that runs in a fiber.
    pub fn in_lane() -> Self {
        Self::new(Place::Lane)
    }

    fn new(place: Place) -> Self {
        Self {
            place,
            epoch: Instant::now(),
            paused: Cell::default(),
            since: Cell::default(),
            used: Cell::default(),
            steps: Cell::default(),
            spent: Cell::new(false),
        }
    }

    /// Returns the time that the job was not paused.
    pub fn clock(&self) -> Duration {
        self.epoch.elapsed().saturating_sub(self.paused.get())
    }

    /// Begins the turn of a job that shares passes: what its code does between them, or in one.
    pub fn begin(&self) {
        if matches!(self.place, Place::Company(_)) {
            self.renew();
        }
    }

    fn renew(&self) {
        self.since.set(self.clock());
        self.used.set(Duration::ZERO);
        self.steps.set(0);
    }

    /// Notes that the job's own code begins to run.
    pub fn enter(&self) -> Stint {
        let now = self.clock();
        if matches!(self.place, Place::Company(_)) {
            self.since.set(now);
        }
        Stint(now)
    }

    /// Notes that it has ended, and returns what it took.
    pub fn leave(&self, stint: Stint) -> Duration {
        let took = self.clock().saturating_sub(stint.0);
        if matches!(self.place, Place::Company(_)) {
            self.used.set(self.used.get() + took);
        }
        took
    }

    /// Hears that the job's code has come some steps further. In a lane, pauses it where its turn is over, unless it is
    /// `held`.
    ///
    /// # Errors
    /// [`Fatal::Apart`] where it must make way for others.
    pub fn pace(&self, steps: u64, held: bool) -> Result<(), Fatal> {
        let steps = self.steps.get().saturating_add(steps);
        self.steps.set(steps);
        if steps < SLICE_STEPS && self.used.get() + self.clock().saturating_sub(self.since.get()) < SLICE {
            return Ok(());
        }
        match &self.place {
            Place::Company(crowd) if crowd.waits() => {
                self.spent.set(true);
                Err(Fatal::Apart)
            }
            Place::Lane if !held => {
                self.rest();
                Ok(())
            }
            Place::Company(_) | Place::Lane => Ok(()),
        }
    }

    /// Lets others have the thread, and begins another turn when it is back.
    pub fn rest(&self) {
        let began = Instant::now();
        if fiber::pause() {
            self.paused.set(self.paused.get() + began.elapsed());
        }
        self.renew();
    }

    /// Returns whether the job took longer than it may in company: whatever it came to does not count.
    pub fn spent(&self) -> bool {
        self.spent.get()
    }
}

/// When a job's own code began to run.
#[derive(Clone, Copy)]
pub struct Stint(Duration);
