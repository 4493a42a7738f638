//! Running code that stops at questions.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures::future::LocalBoxFuture;

use crate::values::host::{Block, Outcome, Request};
use crate::values::machine::{Machine, grow};
use crate::values::raise::Raise;
use crate::values::value::Value;

/// A piece of running Python. Dropping it cancels it.
pub struct Coroutine {
    machine: Machine,
    mailbox: Rc<Mailbox>,
    future: Option<LocalBoxFuture<'static, Result<Value, Raise>>>,
}

/// Where a coroutine has got to.
pub enum Step {
    /// It goes on once this is answered.
    Waiting(Request),
    /// It ended.
    Done(Result<Value, Raise>),
}

impl Coroutine {
    /// Makes a coroutine that runs a block. Its value is `None`, or what a `return` in the block returns.
    pub fn of_block(machine: &Machine, block: Block) -> Self {
        let handle = machine.clone();
        Self::of_future(machine, Box::pin(async move { crate::evaluation::eval::run_block(&handle, &block).await }))
    }

    /// Makes a coroutine of host code.
    pub fn of_future(machine: &Machine, future: LocalBoxFuture<'static, Result<Value, Raise>>) -> Self {
        let handle = machine.clone();
        let future = Box::pin(async move {
            let result = future.await;
            if let Err(raise) = &result {
                raise.describe(&handle).await;
            }
            result
        });
        Self { machine: machine.clone(), mailbox: Rc::default(), future: Some(future) }
    }

    /// Goes on to the next question or to the end. `answer` is `None` at first, then the answer to the last question.
    pub fn resume(&mut self, answer: Option<Result<Value, Raise>>) -> Step {
        let Some(future) = self.future.as_mut() else {
            return Step::Done(Err(Raise::runtime_error("cannot resume a block that has ended")));
        };
        *self.mailbox.answer.borrow_mut() = answer;
        let _paying = self.machine.pays();
        let outer = self.machine.set_polled(Some(Rc::clone(&self.mailbox)));
        let switches = self.machine.switches();
        let around = switches.replace(self.mailbox.switches.get());
        let polled = grow(|| future.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        self.mailbox.switches.set(switches.replace(around));
        self.machine.set_polled(outer);
        match polled {
            Poll::Ready(result) => {
                self.future = None;
                Step::Done(result)
            }
            Poll::Pending => match self.mailbox.request.borrow_mut().take() {
                Some(request) => Step::Waiting(request),
                None => {
                    Step::Done(Err(Raise::runtime_error("a host object suspended a block without asking anything")))
                }
            },
        }
    }
}

impl Drop for Coroutine {
    fn drop(&mut self) {
        // A suspended coroutine is a nest of futures as deep as its calls, each of which sees to its own stack.
        if let Some(future) = self.future.take() {
            grow(|| drop(future));
        }
    }
}

/// What passes between a coroutine and its driver.
#[derive(Default)]
pub(crate) struct Mailbox {
    request: RefCell<Option<Request>>,
    answer: RefCell<Option<Result<Value, Raise>>>,
    /// Exceptions being handled, outermost first: what a bare `raise` raises and what new ones name as their context.
    pub(crate) handled: RefCell<Vec<Value>>,
    /// See [`Machine::switches`], while the coroutine does not run.
    switches: Cell<u64>,
}

impl Mailbox {
    pub(crate) fn ask(&self, request: Request) {
        *self.request.borrow_mut() = Some(request);
    }

    pub(crate) fn answer(&self) -> Option<Result<Value, Raise>> {
        self.answer.borrow_mut().take()
    }
}

/// Polls and drops a boxed future with stack enough for it: what awaits another of its kind, as an expression does its parts and
/// a call the function's body, may nest as deep as a program likes.
pub(crate) struct Deep<'a, T>(Option<LocalBoxFuture<'a, T>>);

impl<'a, T> Deep<'a, T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<'a, T> From<LocalBoxFuture<'a, T>> for Deep<'a, T> {
    fn from(future: LocalBoxFuture<'a, T>) -> Self {
        Self(Some(future))
    }
}

impl<T> Future for Deep<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(future) = self.0.as_mut() else { return Poll::Pending };
        grow(|| future.as_mut().poll(context))
    }
}

impl<T> Drop for Deep<'_, T> {
    fn drop(&mut self) {
        if let Some(future) = self.0.take() {
            grow(|| drop(future));
        }
    }
}

/// A future that may poll others like it in turn: counted as a call, with stack enough for it.
pub(crate) struct Nested {
    machine: Machine,
    step: Deep<'static, Result<Value, Raise>>,
    started: bool,
}

impl Nested {
    pub(crate) fn new(machine: Machine, step: impl Future<Output = Result<Value, Raise>> + 'static) -> Self {
        Self { machine, step: Deep::new(step), started: false }
    }
}

impl Future for Nested {
    type Output = Result<Value, Raise>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let machine = self.machine.clone();
        let entered = match machine.enter() {
            Ok(entered) => Some(entered),
            // What has begun goes on wherever it is resumed from.
            Err(raise) if !self.started => return Poll::Ready(Err(raise)),
            Err(_) => None,
        };
        self.started = true;
        let polled = Pin::new(&mut self.step).poll(context);
        drop(entered);
        polled
    }
}

impl Outcome {
    /// Counts what is still to come as a call: natives may await each other as deep as a program nests them.
    pub(crate) fn nested(self, machine: &Machine) -> Self {
        match self {
            Self::Later(step) => {
                Self::Later(Box::pin(Nested { machine: machine.clone(), step: step.into(), started: false }))
            }
            outcome => outcome,
        }
    }
}
