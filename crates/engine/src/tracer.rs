//! `tracer`, `tracer.invoke(…)`, `tracer.iter[…]` and `tracer.barrier(n)`, as a block sees them.

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{
    Args, Block, Capture, Effect, HostObject, HostResult, Iteration, Machine, Outcome, Request, Siblings, Use, Value,
};

use crate::ask::{Ask, Barrier, TraceRequest, View};
use crate::cache;
use crate::deferral::Deferral;
use crate::job::JobState;
use crate::location::Location;
use crate::model::{Model, Site};
use crate::nnsight::{self, OUT_OF_ORDER};
use crate::python;

/// What the blocks of one trace share.
#[derive(Default)]
pub struct TraceState {
    /// Bodies of `tracer.invoke(…)`, in the order in which they were written.
    pub invokes: RefCell<Vec<Invoke>>,
    /// Names that those bodies bind, for one another.
    pub siblings: Rc<Siblings>,
    /// Set once the model runs: from then on no invoke can be added.
    pub running: Cell<bool>,
}

/// One `with tracer.invoke(…):`.
pub struct Invoke {
    pub args: Vec<Value>,
    pub kwargs: Vec<(Rc<str>, Value)>,
    pub body: Block,
}

/// The object after `as` in `with model.trace(…) as tracer:`.
pub struct Tracer<M: Model> {
    pub job: Rc<JobState<M>>,
    pub state: Rc<TraceState>,
    /// The trace to run when a `with` statement takes this object; `None` once it runs, or for the job's own tracer.
    pub request: RefCell<Option<TraceRequestParts>>,
}

/// Says what using a name of a tracer does; `None` for names that it does not have.
pub fn effect(name: &str, usage: Use<'_>) -> Option<Effect> {
    match (name, usage) {
        ("result", Use::Store) => Some(Effect::Changes),
        ("result", _) => Some(Effect::Looks),
        ("iter" | "stop" | "all" | "invoke" | "barrier" | "cache" | "local" | "apply", _) => Some(Effect::Anything),
        _ => None,
    }
}

/// What `model.trace(…)` was called with, until the body is known.
pub struct TraceRequestParts {
    pub function: program::Function,
    pub site: Site,
    pub args: Vec<Value>,
    pub kwargs: Vec<(Rc<str>, Value)>,
    pub edits: Vec<Block>,
}

impl<M: Model> HostObject for Tracer<M> {
    fn type_name(&self) -> Cow<'static, str> {
        "InterleavingTracer".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _machine: &Machine, name: &str, usage: Use<'_>) -> Effect {
        effect(name, usage).unwrap_or(Effect::Anything)
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _machine: &Machine, name: &str) -> HostResult {
        match name {
            "result" => self.job.read(Location::Result, View::Whole),
            "iter" => Ok(Value::Host(Rc::new(Iterations::open(Rc::clone(&self.job)))).into()),
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn set_attribute(self: Rc<Self>, _machine: &Machine, name: &str, value: Value) -> HostResult {
        match name {
            "result" => self.job.write(Location::Result, value),
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        match name {
            "stop" => Err(Raise::fatal(interpreter::raise::Fatal::Stopped)),
            "all" => Ok(Value::Host(Rc::new(Iterations::open(Rc::clone(&self.job)))).into()),
            "invoke" => {
                if self.state.running.get() {
                    return Err(Raise::value_error("Cannot invoke while the model is already running."));
                }
                Ok(Value::Host(Rc::new(Invoker {
                    state: Rc::clone(&self.state),
                    args: RefCell::new(Some(args.clone())),
                }))
                .into())
            }
            "barrier" => {
                let count = python::parameter(args, 0, "n")
                    .and_then(|value| Value::as_int(&value))
                    .and_then(|count| usize::try_from(count).ok())
                    .ok_or_else(|| Raise::type_error("barrier() takes the number of blocks that will call it"))?;
                let barrier = Barrier { count, waiting: RefCell::default() };
                Ok(Value::Host(Rc::new(BarrierObject { job: Rc::clone(&self.job), barrier: Rc::new(barrier) })).into())
            }
            "cache" => {
                let (job, machine, args) = (Rc::clone(&self.job), machine.clone(), args.clone());
                Ok(Outcome::Later(Box::pin(async move {
                    let modules = match python::parameter(&args, 0, "modules") {
                        None | Some(Value::None) => None,
                        Some(modules) => Some(interpreter::operators::collect(&machine, &modules).await?.into_vec()),
                    };
                    cache::open(&job, &machine, &args, modules)
                })))
            }
            "local" | "apply" => {
                Err(Raise::attribute_error(format!("tracer.{name}() is not supported by this server")))
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn capture(self: Rc<Self>, machine: &Machine, body: Block) -> Result<Capture, Raise> {
        let Some(parts) = self.request.borrow_mut().take() else {
            return Err(Raise::value_error("this trace has been opened already"));
        };
        // A trace without input of its own runs its body before the model does.
        let simple = parts.function == program::Function::Call
            && parts.site == Site(0)
            && !parts.args.is_empty()
            && parts.edits.is_empty()
            && !self.job.hooks.any();
        let arguments: Vec<Value> =
            parts.args.iter().chain(parts.kwargs.iter().map(|(_, value)| value)).cloned().collect();
        let deferral = if simple { Deferral::of(machine) } else { None };
        let put_off = deferral.and_then(|deferral| deferral.put_off(&body, &arguments, &self.state.siblings));
        let body = put_off.as_ref().map_or(body, |put_off| put_off.block.clone());
        self.job.model.opens(machine, parts.function);
        let request = Box::new(TraceRequest {
            function: parts.function,
            site: parts.site,
            args: parts.args,
            kwargs: parts.kwargs,
            edits: parts.edits,
            body,
            tracer: Rc::clone(&self.state),
            recording: self.job.model.recording(machine),
        });
        let ask = match put_off {
            Some(put_off) => Ask::PutOff(request, put_off),
            None => Ask::Trace(request),
        };
        let outcome = Outcome::Wait(Request::new(ask));
        Ok(Capture::Takes { target: Value::Host(self), outcome })
    }
}

/// `tracer.invoke(…)`, until its `with` statement hands over the body.
struct Invoker {
    state: Rc<TraceState>,
    args: RefCell<Option<Args>>,
}

impl HostObject for Invoker {
    fn type_name(&self) -> Cow<'static, str> {
        "Invoker".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn capture(self: Rc<Self>, _machine: &Machine, body: Block) -> Result<Capture, Raise> {
        let Some(Args { positional: args, keyword: kwargs }) = self.args.borrow_mut().take() else {
            return Err(Raise::value_error("this invoke has been opened already"));
        };
        // Snapshot now: a loop around the invoke rebinds its names before the body runs.
        let body = Block { code: body.code, frame: body.frame.fork(&self.state.siblings) };
        self.state.invokes.borrow_mut().push(Invoke { args, kwargs, body });
        Ok(Capture::Takes { target: Value::Host(self), outcome: Outcome::Ready(Value::None) })
    }
}

/// `tracer.iter`, `tracer.iter[…]` and `tracer.all()`.
pub struct Iterations<M: Model> {
    job: Rc<JobState<M>>,
    steps: Steps,
}

#[derive(Clone)]
enum Steps {
    Range { start: i64, stop: Option<i64> },
    List(Vec<i64>),
}

impl<M: Model> Iterations<M> {
    /// Selects every step.
    pub fn open(job: Rc<JobState<M>>) -> Self {
        Self { job, steps: Steps::Range { start: 0, stop: None } }
    }
}

impl<M: Model> HostObject for Iterations<M> {
    fn type_name(&self) -> Cow<'static, str> {
        "Iterations".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_item(self: Rc<Self>, _machine: &Machine, key: &Value) -> HostResult {
        let bad = || Raise::type_error("tracer.iter takes a slice, an int or a list of ints");
        let steps = if let Some((start, stop)) = python::slice_bounds(key) {
            Steps::Range { start: start.unwrap_or(0), stop }
        } else if let Some(items) = python::sequence(key) {
            Steps::List(items.iter().map(|item| Value::as_int(item).ok_or_else(bad)).collect::<Result<_, _>>()?)
        } else {
            let step = Value::as_int(key).ok_or_else(bad)?;
            Steps::Range { start: step, stop: step.checked_add(1) }
        };
        Ok(Value::Host(Rc::new(Self { job: Rc::clone(&self.job), steps })).into())
    }

    fn iterate(self: Rc<Self>, _machine: &Machine) -> Result<Option<Box<dyn Iteration>>, Raise> {
        let mediator = self.job.mediator("tracer.iter")?;
        let previous = mediator.iteration.get();
        let steps = self.steps.clone();
        Ok(Some(Box::new(Pin { mediator, previous, steps, next: 0 })))
    }

    fn capture(self: Rc<Self>, machine: &Machine, body: Block) -> Result<Capture, Raise> {
        // The deprecated block form: the body once per step, ending where the run does.
        let mut steps = Self { job: Rc::clone(&self.job), steps: self.steps.clone() };
        let target = Value::Host(self);
        let machine_of_loop = machine.clone();
        let outcome = Outcome::Later(Box::pin(async move {
            let machine = machine_of_loop;
            nnsight::deprecated(
                &machine,
                "The `with tracer.iter[...]:` / `with tracer.all():` block form is deprecated; use `for step in \
                 tracer.iter[...]:` instead.",
            )?;
            let mediator = steps.job.mediator("tracer.iter")?;
            let previous = mediator.iteration.get();
            let mut pin = Pin {
                mediator,
                previous,
                steps: std::mem::replace(&mut steps.steps, Steps::List(Vec::new())),
                next: 0,
            };
            while pin.next(&machine)?.is_some() {
                match body.run(&machine).await {
                    Ok(_) => {}
                    Err(raise) if raise.type_name() == OUT_OF_ORDER => break,
                    Err(raise) => return Err(raise),
                }
            }
            Ok(Value::None)
        }));
        Ok(Capture::Takes { target, outcome })
    }
}

/// Walks a block's iteration over the selected steps; dropping it restores what was before.
struct Pin {
    mediator: Rc<crate::mediator::MediatorState>,
    previous: Option<i64>,
    steps: Steps,
    next: i64,
}

impl Iteration for Pin {
    fn next(&mut self, machine: &Machine) -> Result<Option<Outcome>, Raise> {
        machine.charge_fuel(1)?;
        let step = match &self.steps {
            Steps::Range { start, stop } => {
                let step = start.saturating_add(self.next);
                (stop.is_none_or(|stop| step < stop)).then_some(step)
            }
            Steps::List(steps) => usize::try_from(self.next).ok().and_then(|index| steps.get(index)).copied(),
        };
        self.next += 1;
        let Some(step) = step else { return Ok(None) };
        if step < 0 {
            return Err(Raise::value_error(format!("tracer.iter step cannot be negative: {step}")));
        }
        self.mediator.iteration.set(Some(step));
        Ok(Some(Outcome::Ready(Value::Int(step))))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.mediator.iteration.set(self.previous);
    }
}

struct BarrierObject<M: Model> {
    job: Rc<JobState<M>>,
    barrier: Rc<Barrier>,
}

impl<M: Model> HostObject for BarrierObject<M> {
    fn type_name(&self) -> Cow<'static, str> {
        "Barrier".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn call(self: Rc<Self>, _machine: &Machine, _args: Args) -> HostResult {
        self.job.mediator("tracer.barrier()")?;
        Ok(Outcome::Wait(Request::new(Ask::Barrier(Rc::clone(&self.barrier)))))
    }
}
