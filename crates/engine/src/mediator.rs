//! One block of a trace, between the model and the interpreter.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Coroutine, Step, Value};

use crate::ask::{Ask, Barrier, View};
use crate::cache::Cache;
use crate::job::JobState;
use crate::location::Location;
use crate::model::{Model, Tensor};

/// What a block's own objects may change while it runs.
pub struct MediatorState {
    /// Which occurrence of a location the block wants: `tracer.iter` pins it, the first hit of a pinned step after
    /// the first relaxes it to "the next one" (`None`). Zero without `tracer.iter`.
    pub iteration: Cell<Option<i64>>,
    /// Whether it has waited for the model, or for another block.
    pub waited: Cell<bool>,
    /// What it asked to have kept before it did.
    pub caches: RefCell<Vec<Rc<Cache>>>,
}

/// What a parked block waits for.
pub struct Pending {
    pub wish: Wish,
    /// Which visit of the location it means.
    pub occurrence: i64,
    /// Which visit it asked for: of all rounds, where the location is in a loop.
    pub asked: i64,
}

/// The ways of waiting.
pub enum Wish {
    Read(Location, View),
    Write(Location, Value),
    WriteFirst(Location, Value),
    Skip(Location, Value),
    Barrier(Rc<Barrier>),
    /// A [`Tensor::Deferred`](crate::Tensor::Deferred): computed with those of other blocks.
    Deferred(Box<dyn Any>),
}

impl Wish {
    fn location_mut(&mut self) -> Option<&mut Location> {
        match self {
            Self::Read(location, _)
            | Self::Write(location, _)
            | Self::WriteFirst(location, _)
            | Self::Skip(location, _) => Some(location),
            Self::Barrier(_) | Self::Deferred(_) => None,
        }
    }

    /// Returns the location waited for; a barrier has none.
    pub fn location(&self) -> Option<Location> {
        match self {
            Self::Read(location, _)
            | Self::Write(location, _)
            | Self::WriteFirst(location, _)
            | Self::Skip(location, _) => Some(*location),
            Self::Barrier(_) | Self::Deferred(_) => None,
        }
    }
}

/// How a block stands.
pub enum Status {
    Parked(Pending),
    Done,
}

/// Which of the blocks that wait for one moment go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precedence {
    First,
    Own,
    Last,
}

/// A block of a trace: a coroutine, the rows it sees, and what it waits for.
pub struct Mediator {
    pub state: Rc<MediatorState>,
    pub status: Status,
    /// First row and number of rows within the job's batch; `None` sees all.
    pub group: Option<(i64, i64)>,
    /// Whether it may wait for what never comes, as what an adapter adds to a module that does not run.
    pub beside: bool,
    pub precedence: Precedence,
    coroutine: Coroutine,
}

impl Mediator {
    /// Makes a block that has not begun.
    pub fn new(coroutine: Coroutine, group: Option<(i64, i64)>) -> Self {
        let iteration = Cell::new(Some(0));
        let state = Rc::new(MediatorState { iteration, waited: Cell::new(false), caches: RefCell::default() });
        Self { state, status: Status::Done, group, beside: false, precedence: Precedence::Own, coroutine }
    }

    /// Runs something under what the block's code has set for itself, as [`Coroutine::under`] has it.
    pub fn under<T>(&self, run: impl FnOnce() -> T) -> T {
        self.coroutine.under(run)
    }

    /// Returns what the block waits for.
    pub fn pending(&self) -> Option<&Pending> {
        match &self.status {
            Status::Parked(pending) => Some(pending),
            Status::Done => None,
        }
    }

    /// Runs the block until it waits again or ends. `occurrence` tells how often a location has been reached.
    ///
    /// # Errors
    /// What the block raised.
    pub fn resume<M: Model>(
        &mut self,
        job: &JobState<M>,
        answer: Option<Result<Value, Raise>>,
        occurrence: impl Fn(Location) -> i64,
    ) -> Result<(), Raise> {
        self.status = Status::Done;
        let mut answer = answer;
        let mut wish = loop {
            let before = job.enter_mediator(Some(Rc::clone(&self.state)));
            let step = self.coroutine.resume(answer.take());
            job.enter_mediator(before);
            let request = match step {
                Step::Done(result) => return result.map(drop),
                Step::Waiting(request) => request,
            };
            break match request.0.downcast::<Ask>().map(|ask| *ask) {
                Ok(Ask::Read(location, view)) => Wish::Read(location, view),
                Ok(Ask::Write(location, value)) => Wish::Write(location, value),
                Ok(Ask::WriteFirst(location, value)) => Wish::WriteFirst(location, value),
                Ok(Ask::Skip(location, value)) => Wish::Skip(location, value),
                Ok(Ask::Barrier(barrier)) => Wish::Barrier(barrier),
                Ok(Ask::Trace(_) | Ask::PutOff(..)) => {
                    let refusal = "Cannot open a trace while the model is already running.";
                    answer = Some(Err(Raise::value_error(refusal)));
                    continue;
                }
                Err(request) if job.gathering.get() && request.is::<<M::Tensor as Tensor>::Deferred>() => {
                    Wish::Deferred(request)
                }
                Err(request) => {
                    answer = Some(job.turn.wait(|| deferred::<M::Tensor>(request)));
                    continue;
                }
            };
        };
        if !matches!(wish, Wish::Deferred(_)) {
            self.state.waited.set(true);
        }
        let (mut asked, mut wanted) = (0, 0);
        if let Some(location) = wish.location_mut() {
            let rounds = location.rounds(job.model.schema());
            let count = i64::try_from(rounds.len()).unwrap_or(1).max(1);
            asked = self.state.iteration.get().unwrap_or_else(|| rounds.iter().map(|&round| occurrence(round)).sum());
            wanted = asked.div_euclid(count);
            let round = usize::try_from(asked.rem_euclid(count)).unwrap_or(0);
            *location = rounds.get(round).copied().unwrap_or(*location);
        }
        self.status = Status::Parked(Pending { wish, occurrence: wanted, asked });
        Ok(())
    }
}

/// Computes what a block waits for by itself.
///
/// # Errors
/// What the computation raises; `RuntimeError` for requests that no driver knows.
pub fn deferred<T: Tensor>(request: Box<dyn Any>) -> Result<Value, Raise> {
    let unknown = || Raise::runtime_error("the block waits for something that nobody can answer");
    let one = request.downcast::<T::Deferred>().map_err(|_| unknown())?;
    T::resolve(vec![*one]).pop().unwrap_or_else(|| Err(unknown()))
}
