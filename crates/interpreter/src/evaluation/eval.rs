//! Runs lowered code.
//!
//! Performance-critical: what can end at once does, without a future; only what may suspend is boxed.

mod call;
mod comprehension;
mod define;
mod expression;
mod matching;
mod now;
mod protect;
mod statement;
mod target;
mod yields;

use std::pin::Pin;
use std::rc::Rc;

use program::ir::{Code, Span};

use crate::evaluation::eval::now::Now;
use crate::values::class::Instance;
use crate::values::frame::Frame;
use crate::values::host::{Args, Block, Request};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::value::Value;

/// Code running in one frame.
#[derive(Clone, Copy)]
struct Run<'a> {
    machine: &'a Machine,
    frame: &'a Rc<Frame>,
}

/// How a statement ends.
enum Flow {
    Next,
    Break,
    Continue,
    Return(Value),
}

/// Runs a block; its value is `None`, or what a `return` in it returns.
pub(crate) async fn run_block(machine: &Machine, block: &Block) -> Result<Value, Raise> {
    let frame = &block.frame;
    let body = std::pin::pin!(async { Run { machine, frame }.body(&block.code)?.get().await });
    match running(machine, frame, body).await? {
        Flow::Return(value) => Ok(value),
        _ => Ok(Value::None),
    }
}

/// Awaits code of a frame, which is known to run while it is polled.
async fn running<F: Future>(machine: &Machine, frame: &Rc<Frame>, mut code: Pin<&mut F>) -> F::Output {
    std::future::poll_fn(|context| {
        let _running = machine.runs(frame);
        code.as_mut().poll(context)
    })
    .await
}

/// Runs a function's body in its frame.
pub(crate) async fn run_function(machine: &Machine, code: &Rc<Code>, frame: &Rc<Frame>) -> Result<Value, Raise> {
    let body = std::pin::pin!(async { Run { machine, frame }.body(&code.body)?.get().await });
    let flow = running(machine, frame, body).await?;
    if machine.has_abandoned() {
        machine.close_abandoned().await?;
    }
    match flow {
        Flow::Return(value) => Ok(value),
        _ => Ok(Value::None),
    }
}

/// Makes what `raise value` raises: an exception, or an object of an exception class.
///
/// # Errors
/// `TypeError` for other values, or what the class's `__init__` raises.
pub(crate) async fn to_raise(machine: &Machine, value: &Value) -> Result<Raise, Raise> {
    if let Some(raise) = Raise::from_value(value) {
        return Ok(raise);
    }
    let class = match value {
        Value::Class(class) if class.exception_kind().is_some() => class,
        _ => return Err(Raise::type_error("exceptions must derive from BaseException")),
    };
    let plain = class.find("__init__").is_none() && class.find("__new__").is_none();
    let made = if plain { Value::Instance(Instance::new(class)) } else { machine.call(value, Args::default()).await? };
    Raise::from_value(&made).ok_or_else(|| Raise::type_error("exceptions must derive from BaseException"))
}

impl<'a> Run<'a> {
    /// Notes where the frame stands, for tracebacks.
    #[inline]
    fn at(self, span: Span) {
        self.frame.position.set(span);
    }

    /// Adds this frame to the traceback of something raised in it or passing through it.
    #[cold]
    fn pass(self, raise: Raise) -> Raise {
        self.frame.pass(raise)
    }

    /// Asks the driver for something that has to be done first.
    async fn ask(self, request: Request) -> Result<(), Raise> {
        match self.machine.wait(request).await {
            Ok(_) => Ok(()),
            // It happened elsewhere, and says where.
            Err(raise) if raise.has_traceback() => Err(raise),
            Err(raise) => Err(self.pass(raise)),
        }
    }

    /// Adds this frame to what a part of a statement raises.
    fn traced<T: 'a>(self, part: Result<Now<'a, T>, Raise>) -> Result<Now<'a, T>, Raise> {
        match part {
            Ok(Now::Done(value)) => Ok(Now::Done(value)),
            Ok(Now::Later(future)) => Ok(Now::later(async move { future.await.map_err(|raise| self.pass(raise)) })),
            Err(raise) => Err(self.pass(raise)),
        }
    }
}
