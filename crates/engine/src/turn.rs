//! How long a job may have the thread while others wait.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use interpreter::Fatal;

use crate::fiber;

/// What a lane has of the thread before others have their turn.
const SLICE: Duration = Duration::from_millis(25);

/// The same in interpreter steps, whichever comes first: so that how often a program is interrupted at least does not
/// depend on the machine.
const SLICE_STEPS: u64 = 1 << 18;

/// Who else wants the thread.
pub struct Crowd {
    /// What a job's own code may take of it while they wait.
    pub slice: Duration,
    /// Jobs of the engine.
    pub jobs: Cell<usize>,
    /// Tells whether somebody waits outside the engine.
    pub outside: RefCell<Option<Rc<dyn Fn() -> bool>>>,
}

impl Crowd {
    /// Makes a crowd of nobody.
    pub fn new(slice: Duration) -> Self {
        Self { slice, jobs: Cell::default(), outside: RefCell::default() }
    }

    fn waits(&self) -> bool {
        self.jobs.get() > 1 || self.outside.borrow().as_ref().is_some_and(|waits| waits())
    }
}

/// One job's turns at the thread.
pub struct Turn {
    place: Place,
    epoch: Instant,
    began: SystemTime,
    /// For how long the job was paused.
    paused: Cell<Duration>,
    /// When, by [`Turn::clock`], the job was given the thread; `None` while the time is not its own: in company, where its
    /// code does not run. And what it had used of its turn before.
    since: Cell<Option<Duration>>,
    used: Cell<Duration>,
    steps: Cell<u64>,
    spent: Cell<bool>,
    /// Whether what runs of the job has a stack of its own, though it shares passes otherwise.
    rides: Cell<bool>,
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
        Self::new(Place::Company(Rc::clone(crowd)), None)
    }

    /// Makes the turns of a job that runs in a fiber.
    pub fn in_lane() -> Self {
        Self::new(Place::Lane, Some(Duration::ZERO))
    }

    fn new(place: Place, since: Option<Duration>) -> Self {
        Self {
            place,
            epoch: Instant::now(),
            began: SystemTime::now(),
            paused: Cell::default(),
            since: Cell::new(since),
            used: Cell::default(),
            steps: Cell::default(),
            spent: Cell::new(false),
            rides: Cell::new(false),
        }
    }

    /// Returns the time that the job was not paused.
    pub fn clock(&self) -> Duration {
        self.epoch.elapsed().saturating_sub(self.paused.get())
    }

    /// Returns the time of day at which [`Turn::clock`] began.
    pub fn began(&self) -> SystemTime {
        self.began
    }

    /// Begins the turn of a job that shares passes: what its code does between them, or in one.
    pub fn begin(&self) {
        if matches!(self.place, Place::Company(_)) {
            self.renew();
        }
    }

    fn renew(&self) {
        self.since.set(self.since.get().map(|_| self.clock()));
        self.used.set(Duration::ZERO);
        self.steps.set(0);
    }

    /// Says whether what runs of a job that shares passes has a stack of its own from now on. There its code pauses where
    /// its turn is over, as in a lane.
    pub fn ride(&self, on: bool) {
        self.rides.set(on);
    }

    /// Notes that the job's own code begins to run. It may be part of code that runs already.
    pub fn enter(&self) -> Stint {
        let began = self.clock();
        let outermost = self.since.get().is_none();
        if outermost {
            self.since.set(Some(began));
        }
        Stint { began, outermost }
    }

    /// Notes that it has ended, and returns what it took.
    pub fn leave(&self, stint: Stint) -> Duration {
        let now = self.clock();
        if stint.outermost {
            let since = self.since.take().unwrap_or(now);
            self.used.set(self.used.get() + now.saturating_sub(since));
        }
        now.saturating_sub(stint.began)
    }

    /// Computes what the job's code waits for. That is the model's work, as a pass is, and not of the job's turn.
    pub fn wait<T>(&self, compute: impl FnOnce() -> T) -> T {
        let running = self.since.take();
        if let Some(since) = running {
            self.used.set(self.used.get() + self.clock().saturating_sub(since));
        }
        let computed = compute();
        self.since.set(running.map(|_| self.clock()));
        computed
    }

    /// Hears that the job's code has come some steps further. On a stack of its own, pauses it where its turn is over,
    /// unless it is `held`.
    ///
    /// # Errors
    /// [`Fatal::Apart`] where it must make way for others.
    pub fn pace(&self, steps: u64, held: bool) -> Result<(), Fatal> {
        let steps = self.steps.get().saturating_add(steps);
        self.steps.set(steps);
        let running = self.since.get().map_or(Duration::ZERO, |since| self.clock().saturating_sub(since));
        let slice = match &self.place {
            Place::Company(crowd) => crowd.slice,
            Place::Lane => SLICE,
        };
        if steps < SLICE_STEPS && self.used.get() + running < slice {
            return Ok(());
        }
        match &self.place {
            Place::Company(crowd) if !crowd.waits() => Ok(()),
            Place::Company(_) if !self.rides.get() => {
                self.spent.set(true);
                Err(Fatal::Apart)
            }
            Place::Company(_) | Place::Lane => {
                if !held {
                    self.rest();
                }
                Ok(())
            }
        }
    }

    /// Hears that the job's code is about to begin something long, which another thread can do. Returns whether it may wait
    /// for that.
    ///
    /// # Errors
    /// [`Fatal::Apart`] in company, without a stack of its own: whoever comes meanwhile would wait for it.
    pub fn lasts(&self) -> Result<bool, Fatal> {
        match self.place {
            Place::Company(_) if !self.rides.get() => {
                self.spent.set(true);
                Err(Fatal::Apart)
            }
            Place::Company(_) | Place::Lane => Ok(true),
        }
    }

    /// Lets others have the thread, and begins another turn when it is back.
    pub fn rest(&self) {
        self.leave_thread(None);
    }

    /// The same where the job has nothing to do until something is so. Whoever makes it so wakes the thread.
    pub fn rest_until(&self, until: &Rc<dyn Fn() -> bool>) {
        self.leave_thread(Some(until));
    }

    fn leave_thread(&self, until: Option<&Rc<dyn Fn() -> bool>>) {
        let began = Instant::now();
        if fiber::pause(until) {
            self.paused.set(self.paused.get() + began.elapsed());
        }
        self.renew();
    }

    /// Returns what may be done of something that is not the job's own code, before others have the thread.
    fn piece(&self) -> Duration {
        match &self.place {
            Place::Company(crowd) => crowd.slice / 5,
            Place::Lane => SLICE / 5,
        }
    }

    /// Returns whether the job took longer than it may in company: whatever it came to does not count.
    pub fn spent(&self) -> bool {
        self.spent.get()
    }
}

/// When a job's own code began to run.
#[derive(Clone, Copy)]
pub struct Stint {
    began: Duration,
    outermost: bool,
}

/// What a job's request carries, read value by value. That may take long, and is not of the job's turn.
pub struct Reading {
    turn: Rc<Turn>,
    since: Cell<Instant>,
    read: Cell<u32>,
}

impl Reading {
    /// Values that are read before somebody looks at the clock, and before others have the thread whatever it says.
    const LOOK: u32 = 1 << 8;
    const MOST: u32 = 1 << 16;

    /// Bytes of a text that count for a value.
    const TEXT: usize = 1 << 12;

    /// Begins to read.
    pub fn new(turn: &Rc<Turn>) -> Self {
        Self { turn: Rc::clone(turn), since: Cell::new(Instant::now()), read: Cell::new(0) }
    }

    /// Notes that a value was read. Returns whether others are to have the thread now, after which another piece begins.
    pub fn is_due(&self) -> bool {
        self.is_due_after(0)
    }

    /// The same for a value with so many bytes of text.
    fn is_due_after(&self, bytes: usize) -> bool {
        let before = self.read.get();
        let read = before.saturating_add(1).saturating_add(u32::try_from(bytes / Self::TEXT).unwrap_or(u32::MAX));
        self.read.set(read);
        let looks = read / Self::LOOK > before / Self::LOOK;
        let due = looks && (read >= Self::MOST || self.since.get().elapsed() >= self.turn.piece());
        if due {
            self.read.set(0);
        }
        due
    }

    /// Begins another piece.
    pub fn go_on(&self) {
        self.since.set(Instant::now());
    }

    /// Notes that a value was read with so many bytes of text, and lets others have the thread where that is due.
    pub fn pace(&self, bytes: usize) {
        if self.is_due_after(bytes) {
            self.turn.rest();
            self.go_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets a slice pass.
    fn compute() {
        let began = Instant::now();
        while began.elapsed() <= SLICE {
            std::hint::spin_loop();
        }
    }

    fn crowd(jobs: usize) -> Rc<Crowd> {
        let crowd = Rc::new(Crowd::new(SLICE));
        crowd.jobs.set(jobs);
        crowd
    }

    #[test]
    fn a_turn_is_over_after_a_time_or_some_steps_where_others_wait() {
        let others = crowd(2);
        let steps = Turn::in_company(&others);
        assert_eq!(steps.pace(SLICE_STEPS - 1, false), Ok(()));
        assert!(!steps.spent());
        assert_eq!(steps.pace(1, true), Err(Fatal::Apart));
        assert!(steps.spent());
        let time = Turn::in_company(&others);
        let _running = time.enter();
        compute();
        assert_eq!(time.pace(1, false), Err(Fatal::Apart));
        let alone = Turn::in_company(&crowd(1));
        assert_eq!(alone.pace(SLICE_STEPS, false), Ok(()));
        *others.outside.borrow_mut() = Some(Rc::new(|| true));
        others.jobs.set(1);
        assert_eq!(Turn::in_company(&others).pace(SLICE_STEPS, false), Err(Fatal::Apart), "somebody waits outside");
    }

    #[test]
    fn who_is_alone_on_a_stack_pauses_and_need_not_go() {
        let turn = Turn::in_company(&crowd(2));
        turn.ride(true);
        assert_eq!(turn.pace(SLICE_STEPS, false), Ok(()));
        assert!(!turn.spent());
        turn.ride(false);
        assert_eq!(turn.pace(SLICE_STEPS, false), Err(Fatal::Apart));
    }

    #[test]
    fn what_a_request_carries_is_read_in_pieces() {
        let turn = |slice| Rc::new(Turn::in_company(&Rc::new(Crowd::new(slice))));
        let due = |reading: &Reading, values: u32| (0..values).filter(|_| reading.is_due()).count();
        let by_count = Reading::new(&turn(Duration::MAX));
        assert_eq!(due(&by_count, Reading::MOST - 1), 0);
        assert_eq!(due(&by_count, 1 + Reading::MOST), 2);
        let values = Reading::MOST as usize;
        assert!(
            !by_count.is_due_after(Reading::TEXT * (values - 2)) && by_count.is_due_after(0),
            "a long text is many"
        );
        let by_time = Reading::new(&turn(Duration::ZERO));
        assert_eq!(due(&by_time, 3 * Reading::LOOK), 3);
    }

    #[test]
    fn what_lasts_is_begun_in_a_lane() {
        let alone = Turn::in_company(&crowd(1));
        assert_eq!(alone.lasts(), Err(Fatal::Apart));
        assert!(alone.spent());
        assert_eq!(Turn::in_lane().lasts(), Ok(true));
    }

    #[test]
    fn only_a_jobs_own_code_takes_of_its_turn() {
        let turn = Turn::in_company(&crowd(2));
        let before = turn.enter();
        turn.leave(before);
        // The model's arithmetic, or others' blocks.
        compute();
        assert_eq!(turn.pace(1, false), Ok(()));
        // What is used in pieces, some inside others, adds up once.
        let outer = turn.enter();
        let inner = turn.enter();
        compute();
        assert!(turn.leave(inner) >= SLICE);
        assert!(turn.leave(outer) >= SLICE);
        assert!(turn.used.get() >= SLICE);
        assert_eq!(turn.since.get(), None);
        turn.begin();
        assert_eq!((turn.used.get(), turn.steps.get()), (Duration::ZERO, 0));
        // What it waits for is not of its turn either, even where somebody computes it for this job alone.
        let waiting = turn.enter();
        turn.wait(compute);
        assert!(turn.leave(waiting) >= SLICE);
        assert_eq!(turn.pace(1, false), Ok(()));
    }
}
