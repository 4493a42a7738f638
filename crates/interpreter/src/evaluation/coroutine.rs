//! Running code that stops at questions.

use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures::future::LocalBoxFuture;

use crate::evaluation::describe::describe;
use crate::values::host::{Block, Outcome, Request};
use crate::values::machine::{Machine, grow};
use crate::values::raise::Raise;
use crate::values::suspension::Mailbox;
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
        Self::of_future(machine, block.run(machine))
    }

    /// Makes a coroutine of host code.
    pub fn of_future(machine: &Machine, future: LocalBoxFuture<'static, Result<Value, Raise>>) -> Self {
        let handle = machine.clone();
        let future = Box::pin(async move {
            let result = future.await;
            if let Err(raise) = &result {
                describe(&handle, raise).await;
            }
            if !matches!(&result, Err(raise) if raise.as_fatal().is_some()) {
                handle.close_abandoned().await?;
            }
            result
        });
        Self { machine: machine.clone(), mailbox: Rc::default(), future: Some(future) }
    }

    /// Runs something of the host's under [the switches](Machine::switches) that the coroutine left.
    pub fn under<T>(&self, run: impl FnOnce() -> T) -> T {
        switched(&self.machine, &self.mailbox, run)
    }

    /// Goes on to the next question or to the end. `answer` is `None` at first, then the answer to the last question.
    pub fn resume(&mut self, answer: Option<Result<Value, Raise>>) -> Step {
        let Some(future) = self.future.as_mut() else {
            return Step::Done(Err(Raise::runtime_error("cannot resume a block that has ended")));
        };
        *self.mailbox.answer.borrow_mut() = answer;
        let _paying = self.machine.pays();
        let outer = self.machine.set_polled(Some(Rc::clone(&self.mailbox)));
        let poll = || grow(|| future.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        let polled = switched(&self.machine, &self.mailbox, poll);
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

/// Runs something under the switches of a coroutine, which keeps what becomes of them.
fn switched<T>(machine: &Machine, mailbox: &Mailbox, run: impl FnOnce() -> T) -> T {
    let switches = machine.switches();
    let around = switches.replace(mailbox.switches.get());
    let returned = run();
    mailbox.switches.set(switches.replace(around));
    returned
}

/// Returns what an outcome comes to, where that does not wait for the host.
///
/// # Errors
/// What it raises; `RuntimeError` where it waits.
pub fn finish(machine: &Machine, outcome: Outcome) -> Result<Value, Raise> {
    if let Outcome::Ready(value) = outcome {
        return Ok(value);
    }
    match machine.recurse(|| Ok(Coroutine::of_future(machine, machine.settle(outcome)).resume(None)))? {
        Step::Done(result) => result,
        Step::Waiting(_) => Err(Raise::runtime_error("what is called here may not wait for the model")),
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
