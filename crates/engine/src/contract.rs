//! What a worker asks of an engine and hears back.
//!
//! Synchronous and single-threaded: one thread owns the engine, submits, cancels and steps. Time enters only
//! through [`Job::stop`], which a watchdog on another thread may set.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use ids::{JobId, TenantId};
use program::{Batching, Limits, Program, Saved};
use telemetry::trace::Trace;

use crate::progress::Progress;
use crate::shape::ShapeClass;

/// Executes jobs in steps; each step is at most one forward pass over all that are ready, and one slice of a job that
/// runs by itself, or one layer of a pass that takes long.
pub trait Engine {
    /// Takes a job. It begins at the next step; whatever is wrong with it comes back as [`Event::Failed`].
    fn submit(&mut self, job: Job);

    /// Says how to find out whether somebody waits for the end of a step: a job that is alone may take long ones only as
    /// long as nobody does.
    fn attend(&mut self, waits: Rc<dyn Fn() -> bool>);

    /// Drops a job before its next layer, or in the middle of its own code where that is long. Its end is an
    /// [`Event::Failed`] with [`Fault::Cancelled`], unless it ended already.
    fn cancel(&mut self, job: JobId);

    /// Does a bounded piece of work and returns what happened, in order.
    fn step(&mut self) -> Vec<Event>;

    /// Returns whether there is nothing to do.
    fn idle(&self) -> bool;

    /// Returns whether there is nothing to do until other threads are done with what jobs wait for: they unpark this one then.
    fn waits(&self) -> bool;
}

/// One program to run.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: JobId,
    pub tenant: TenantId,
    pub program: Program,
    pub limits: Limits,
    /// Set from outside to end the job: 0 runs, 1 is cancelled, 2 is out of time.
    pub stop: Arc<AtomicU8>,
    /// What its passes belong to, where the job is traced.
    pub trace: Option<Trace>,
    /// Where the thread notes how far it is.
    pub progress: Arc<Progress>,
}

/// What happened to a job. Exactly one of `Finished` and `Failed` comes last.
#[derive(Clone, Debug)]
pub enum Event {
    Started(JobId),
    /// One line that the program printed.
    Printed(JobId, String),
    Finished(JobId, Saved, Usage),
    Failed(JobId, Failure, Usage),
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub fault: Fault,
    /// What the user reads: a Python traceback where the program raised, else a sentence.
    pub message: String,
}

/// Whose doing a failure is: it decides who tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The program is wrong; running it again gives the same.
    User,
    /// The program needs more than its limits.
    Limit,
    /// The server broke.
    Server,
    Cancelled,
    /// Other jobs hold the memory that it needs: it can run, from its beginning, when some of them have ended.
    Crowded,
}

/// What a job cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Forward passes that carried rows of this job.
    pub forwards: u64,
    /// Traces over all those passes, of every job: divided by `forwards`, how full they were on average.
    pub shared: u64,
    /// Rows (sequences) over all forwards.
    pub rows: u64,
    /// Tokens over all forwards, padding included.
    pub tokens: u64,
    /// Rows that computed only what differs from an equal row before.
    pub forks: u64,
    /// Decoder layers that computed something of this job over all forwards, and those that had not to: nobody waited for
    /// them, or what they would have computed was kept.
    pub layers_run: u64,
    pub layers_skipped: u64,
    /// Whom it shared them with.
    pub batching: Batching,
    /// Which kernels computed it.
    pub shapes: ShapeClass,
    /// Interpreter steps.
    pub fuel: u64,
    /// Seconds of the model thread: those of the job's own code, and its share of each forward by what was computed of it.
    pub seconds: f64,
}

impl Usage {
    /// Adds what something else cost.
    pub fn add(&mut self, more: &Self) {
        self.forwards += more.forwards;
        self.shared += more.shared;
        self.rows += more.rows;
        self.tokens += more.tokens;
        self.forks += more.forks;
        self.layers_run += more.layers_run;
        self.layers_skipped += more.layers_skipped;
        self.shapes.extend(&more.shapes);
        self.fuel += more.fuel;
        self.seconds += more.seconds;
    }
}
