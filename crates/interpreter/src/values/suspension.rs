//! What a coroutine leaves where it stops, and futures that nest as deep as a program does.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::LocalBoxFuture;

use crate::values::host::{Outcome, Request};
use crate::values::machine::{Machine, grow};
use crate::values::raise::Raise;
use crate::values::value::Value;

/// What passes between a coroutine and its driver.
#[derive(Default)]
pub(crate) struct Mailbox {
    pub(crate) request: RefCell<Option<Request>>,
    pub(crate) answer: RefCell<Option<Result<Value, Raise>>>,
    /// Exceptions being handled, outermost first: what a bare `raise` raises and what new ones name as their context.
    pub(crate) handled: RefCell<Vec<Value>>,
    /// See [`Machine::switches`], while the coroutine does not run.
    pub(crate) switches: Cell<u64>,
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
