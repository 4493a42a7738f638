//! Generators: functions that yield, and generator expressions.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use futures::future::LocalBoxFuture;

use crate::values::exceptions::Kind;
use crate::values::host::{HostResult, Outcome};
use crate::values::machine::{Machine, grow};
use crate::values::raise::Raise;
use crate::values::types::charge::Charge;
use crate::values::value::Value;

/// A suspended function, resumed for one value at a time.
pub struct Generator {
    machine: Machine,
    name: Rc<str>,
    channel: Rc<Channel>,
    state: RefCell<State>,
    charge: Charge,
}

/// Bytes charged for a generator and its suspended code.
const GENERATOR: u64 = 1024;

enum State {
    Suspended(LocalBoxFuture<'static, Result<Value, Raise>>),
    Running,
    Ended,
}

/// What a resumed generator came to.
pub enum Resumed {
    Yielded(Value),
    /// `return value`, or the end of the body.
    Returned(Value),
}

impl Generator {
    /// Wraps the body's future, whose `yield`s go through `channel`.
    ///
    /// # Errors
    /// Memory is spent.
    pub(crate) fn new(
        machine: &Machine,
        name: Rc<str>,
        channel: Rc<Channel>,
        body: LocalBoxFuture<'static, Result<Value, Raise>>,
    ) -> Result<Self, Raise> {
        let charge = Charge::default();
        charge.cover(machine, GENERATOR)?;
        Ok(Self { machine: machine.clone(), name, channel, state: RefCell::new(State::Suspended(body)), charge })
    }

    /// Returns the function's name.
    pub fn name(&self) -> &Rc<str> {
        &self.name
    }

    /// Goes on to the next `yield`. The outcome raises `StopIteration` at the end; `None` means ended before.
    ///
    /// # Errors
    /// What the body raises.
    pub fn step(self: &Rc<Self>, machine: &Machine) -> Result<Option<Outcome>, Raise> {
        if matches!(*self.state.borrow(), State::Ended) {
            return Ok(None);
        }
        let generator = Rc::clone(self);
        let machine = machine.clone();
        Ok(Some(Outcome::Later(Box::pin(async move {
            match generator.resume(&machine, Ok(Value::None)).await? {
                Resumed::Yielded(value) => Ok(value),
                Resumed::Returned(value) => Err(stop(value)),
            }
        }))))
    }

    /// `generator.send(value)`, which is also `next(generator)` for `None`.
    ///
    /// # Errors
    /// What the body raises; `StopIteration` with the body's value at its end.
    pub fn send(self: &Rc<Self>, machine: &Machine, value: Value) -> HostResult {
        if !self.channel.started.get() && !matches!(value, Value::None) {
            return Err(Raise::type_error("can't send non-None value to a just-started generator"));
        }
        self.resumed(machine, Ok(value))
    }

    /// `generator.throw(exception)`.
    ///
    /// # Errors
    /// As [`Generator::send`].
    pub fn throw(self: &Rc<Self>, machine: &Machine, raise: Raise) -> HostResult {
        self.resumed(machine, Err(raise))
    }

    /// `generator.close()`.
    ///
    /// # Errors
    /// What the body raises, apart from `GeneratorExit` and `StopIteration`; `RuntimeError` if it yields.
    pub fn close(self: &Rc<Self>, machine: &Machine) -> HostResult {
        if !self.channel.started.get() {
            self.end();
        }
        if matches!(*self.state.borrow(), State::Ended) {
            return Ok(Value::None.into());
        }
        let generator = Rc::clone(self);
        let machine = machine.clone();
        Ok(Outcome::Later(Box::pin(async move {
            let exit = Raise::with_args(Kind::GeneratorExit, Vec::new());
            match generator.resume(&machine, Err(exit)).await {
                Ok(Resumed::Yielded(_)) => Err(Raise::runtime_error("generator ignored GeneratorExit")),
                Ok(Resumed::Returned(_)) => Ok(Value::None),
                Err(raise) if raise.is(Kind::GeneratorExit) || raise.is(Kind::StopIteration) => Ok(Value::None),
                Err(raise) => Err(raise),
            }
        })))
    }

    fn resumed(self: &Rc<Self>, machine: &Machine, sent: Result<Value, Raise>) -> HostResult {
        let generator = Rc::clone(self);
        let machine = machine.clone();
        Ok(Outcome::Later(Box::pin(async move {
            match generator.resume(&machine, sent).await? {
                Resumed::Yielded(value) => Ok(value),
                Resumed::Returned(value) => Err(stop(value)),
            }
        })))
    }

    /// Hands a value or an exception to the `yield` where the body stands, and runs it to the next.
    ///
    /// # Errors
    /// What the body raises; a `StopIteration` out of it becomes a `RuntimeError`.
    pub async fn resume(&self, machine: &Machine, sent: Result<Value, Raise>) -> Result<Resumed, Raise> {
        machine.charge_fuel(1)?;
        let state = std::mem::replace(&mut *self.state.borrow_mut(), State::Running);
        let mut body = match state {
            State::Suspended(body) => body,
            State::Running => return Err(Raise::value_error("generator already executing")),
            State::Ended => {
                self.end();
                return sent.map(|_| Resumed::Returned(Value::None));
            }
        };
        if !self.channel.started.get()
            && let Err(raise) = sent
        {
            self.end();
            return Err(raise);
        }
        self.channel.started.set(true);
        *self.channel.sent.borrow_mut() = Some(sent);
        let mut first = true;
        let result = poll_fn(|context| {
            // The depth counts once per poll, so that a chain of generators cannot outgrow the stack.
            let entered = match machine.enter() {
                Ok(entered) => Some(entered),
                Err(raise) if first => return Poll::Ready(Err(raise)),
                Err(_) => None,
            };
            first = false;
            let polled = grow(|| body.as_mut().poll(context));
            drop(entered);
            match polled {
                Poll::Ready(result) => Poll::Ready(result.map(Resumed::Returned)),
                Poll::Pending => match self.channel.yielded.borrow_mut().take() {
                    Some(value) => Poll::Ready(Ok(Resumed::Yielded(value))),
                    None => Poll::Pending,
                },
            }
        })
        .await;
        match result {
            Ok(Resumed::Yielded(value)) => {
                *self.state.borrow_mut() = State::Suspended(body);
                Ok(Resumed::Yielded(value))
            }
            Ok(returned) => {
                self.end();
                Ok(returned)
            }
            Err(raise) => {
                self.end();
                Err(if raise.is(Kind::StopIteration) { stopped_inside(raise) } else { raise })
            }
        }
    }

    /// Lets go of the body, without running what is left of it.
    pub(crate) fn end(&self) {
        let state = std::mem::replace(&mut *self.state.borrow_mut(), State::Ended);
        drop(state);
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // A generator that waits inside others drops as deep as it was resumed.
        let state = std::mem::replace(self.state.get_mut(), State::Ended);
        if self.channel.guards.get() > 0
            && matches!(state, State::Suspended(_))
            && !self.channel.abandoned.replace(true)
        {
            let (name, channel) = (Rc::clone(&self.name), Rc::clone(&self.channel));
            let (machine, charge) = (self.machine.clone(), std::mem::take(&mut self.charge));
            self.machine.abandon(Self { machine, name, channel, state: RefCell::new(state), charge });
            return;
        }
        grow(|| drop(state));
    }
}

fn stop(value: Value) -> Raise {
    let args = if matches!(value, Value::None) { Vec::new() } else { vec![value] };
    Raise::with_args(Kind::StopIteration, args)
}

fn stopped_inside(raise: Raise) -> Raise {
    let outer = Raise::runtime_error("generator raised StopIteration");
    if let (Some(state), Some(cause)) = (outer.instance().and_then(|instance| instance.exception()), raise.value()) {
        let mut state = state.borrow_mut();
        state.cause = Some(cause.clone());
        state.context = Some(cause);
        state.suppress_context = true;
    }
    outer
}

/// Connects a generator's body with whoever resumes it.
#[derive(Default)]
pub(crate) struct Channel {
    started: Cell<bool>,
    yielded: RefCell<Option<Value>>,
    sent: RefCell<Option<Result<Value, Raise>>>,
    /// What the body is inside of that does something when it ends.
    guards: Cell<u32>,
    /// Nobody can resume it any more.
    abandoned: Cell<bool>,
}

/// While it lives, a generator's body is inside a `try` or `with`.
pub(crate) struct Guard(Rc<Channel>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.guards.update(|guards| guards - 1);
    }
}

impl Channel {
    pub(crate) fn guard(self: &Rc<Self>) -> Guard {
        self.guards.update(|guards| guards + 1);
        Guard(Rc::clone(self))
    }

    /// Hands out a value and resolves to what `send` or `throw` hands in.
    pub(crate) async fn yields(&self, value: Value) -> Result<Value, Raise> {
        let mut value = Some(value);
        self.sent.borrow_mut().take();
        poll_fn(|_| {
            if let Some(value) = value.take() {
                *self.yielded.borrow_mut() = Some(value);
                return Poll::Pending;
            }
            match self.sent.borrow_mut().take() {
                Some(sent) => Poll::Ready(sent),
                None => Poll::Pending,
            }
        })
        .await
    }
}
