//! Runs `with`, `try` and `raise`.

use std::any::Any;
use std::rc::Rc;

use program::ir::{self, Body, Expr, Span, Target};

use super::{Flow, Run, to_raise};
use crate::evaluation::{attribute, operators};
use crate::values::frame::Frame;
use crate::values::generator::{Channel, Guard};
use crate::values::host::{Args, Block, Capture, HostObject, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::trace::Trace;
use crate::values::types;
use crate::values::value::Value;
use crate::values::watch::Compound;

impl<'a> Run<'a> {
    pub(super) async fn with(
        self,
        context: &'a Expr,
        target: Option<&'a Target>,
        body: &'a Rc<Body>,
        span: Span,
    ) -> Result<Flow, Raise> {
        let manager = self.traced(self.eval(context))?.get().await?;
        self.at(span);
        if let Value::Host(host) = &manager {
            let block = Block { code: Rc::clone(body), frame: Rc::clone(self.frame) };
            drop(self.frame.take_forks());
            let capture = Rc::clone(host).capture(self.machine, block).map_err(|raise| self.pass(raise))?;
            match capture {
                Capture::Takes { target: value, outcome } => {
                    if let Some(target) = target {
                        // A body that will run in a snapshot of this frame sees the target too.
                        for fork in self.frame.take_forks() {
                            bind_in(self.machine, &fork, target, value.clone())
                                .await
                                .map_err(|raise| self.pass(raise))?;
                        }
                        self.traced(self.store(target, value))?.get().await?;
                    }
                    self.at(span);
                    // The body ran in a frame of its own; what it raised has its traceback already.
                    let outcome = self.machine.settle(outcome).await;
                    // It may have run in this frame.
                    self.at(span);
                    return match outcome {
                        Ok(_) => Ok(Flow::Next),
                        Err(raise) if raise.has_traceback() => Err(raise),
                        Err(raise) => Err(self.pass(raise)),
                    };
                }
                Capture::Inline(block) => return self.with_host(host, target, block, span).await,
            }
        }
        let lacks = |what: &str| {
            let name = types::type_name(&manager);
            let what = if what == "__exit__" { " (missed __exit__ method)" } else { "" };
            Raise::type_error(format!("'{name}' object does not support the context manager protocol{what}"))
        };
        let enter = self.method_of(&manager, "__enter__").await.map_err(|raise| self.pass(raise))?;
        let enter = enter.ok_or_else(|| self.pass(lacks("__enter__")))?;
        let exit = self.method_of(&manager, "__exit__").await.map_err(|raise| self.pass(raise))?;
        let exit = exit.ok_or_else(|| self.pass(lacks("__exit__")))?;
        let entered = self.machine.call(&enter, Args::default()).await.map_err(|raise| self.pass(raise))?;
        let result = self.managed_body(target, entered, body).await;
        self.at(span);
        match result {
            Err(raise) if raise.as_fatal().is_some() => Err(raise),
            Err(raise) => {
                let value = raise.value().unwrap_or(Value::None);
                let handling = self.machine.handle(value.clone());
                let args = vec![types::type_of(&value), value.clone(), Trace::of(&value)];
                let swallowed = self.machine.call(&exit, Args::of(args)).await.map_err(|raise| self.pass(raise))?;
                let swallowed = operators::truth(self.machine, &swallowed).await.map_err(|raise| self.pass(raise))?;
                drop(handling);
                if swallowed { Ok(Flow::Next) } else { Err(raise) }
            }
            Ok(flow) => {
                let none = Args::of([Value::None, Value::None, Value::None]);
                self.machine.call(&exit, none).await.map_err(|raise| self.pass(raise))?;
                Ok(flow)
            }
        }
    }

    /// Tells who watches, and the generator whose body this is, that something is to be done when what follows ends.
    fn guard(self) -> (Option<Box<dyn Any>>, Option<Guard>) {
        let watched = self.machine.open(self.frame, Compound::Guard);
        (watched, self.frame.channel.as_ref().map(Channel::guard))
    }

    async fn managed_body(self, target: Option<&'a Target>, value: Value, body: &'a Body) -> Result<Flow, Raise> {
        let _guard = self.guard();
        if let Some(target) = target {
            self.traced(self.store(target, value))?.get().await?;
        }
        self.body(body)?.get().await
    }

    /// Finds a special method of an object of a program's class, or the attribute of another.
    async fn method_of(self, object: &Value, name: &str) -> Result<Option<Value>, Raise> {
        if let Some(method) = attribute::special(self.machine, object, name) {
            return Ok(Some(method));
        }
        match attribute::find(self.machine, object, name)? {
            None => Ok(None),
            Some(outcome) => self.machine.settle(outcome).await.map(Some),
        }
    }

    async fn with_host(
        self,
        host: &Rc<dyn HostObject>,
        target: Option<&'a Target>,
        block: Block,
        span: Span,
    ) -> Result<Flow, Raise> {
        let _guard = self.guard();
        let entered = match Rc::clone(host).enter(self.machine).map_err(|raise| self.pass(raise))? {
            Outcome::NotImplemented => {
                let name = host.type_name();
                let raise = format!("'{name}' object does not support the context manager protocol");
                return Err(self.pass(Raise::type_error(raise)));
            }
            outcome => self.machine.settle(outcome).await.map_err(|raise| self.pass(raise))?,
        };
        let result = match target {
            Some(target) => match self.traced(self.store(target, entered)) {
                Ok(stored) => stored.get().await,
                Err(raise) => Err(raise),
            },
            None => Ok(()),
        };
        let result = match result {
            Ok(()) => run_inline(self.machine, &block).await,
            Err(raise) => Err(raise),
        };
        self.at(span);
        if let Err(raise) = &result
            && raise.as_fatal().is_some()
        {
            // Nothing of the program runs any more, but a host's own state is put back.
            let _ = Rc::clone(host).exit(self.machine, Some(raise));
            return result;
        }
        let outcome = Rc::clone(host).exit(self.machine, result.as_ref().err()).map_err(|raise| self.pass(raise))?;
        let left = self.machine.settle(outcome).await.map_err(|raise| self.pass(raise))?;
        match result {
            Err(_) if operators::truth(self.machine, &left).await? => Ok(Flow::Next),
            result => result,
        }
    }

    pub(super) async fn try_statement(self, node: &'a ir::Try) -> Result<Flow, Raise> {
        let _guard = self.guard();
        let result = self.guarded(node).await;
        if node.finally.statements.is_empty() {
            return result;
        }
        match result {
            Err(raise) if raise.as_fatal().is_some() => Err(raise),
            Err(raise) => {
                let handling = self.machine.handle(raise.value().unwrap_or(Value::None));
                let flow = self.run(&node.finally).await?;
                drop(handling);
                // `return`, `break` and `continue` in `finally` swallow the exception.
                if matches!(flow, Flow::Next) { Err(raise) } else { Ok(flow) }
            }
            Ok(flow) => {
                let after = self.run(&node.finally).await?;
                Ok(if matches!(after, Flow::Next) { flow } else { after })
            }
        }
    }

    async fn run(self, body: &'a Body) -> Result<Flow, Raise> {
        self.body(body)?.get().await
    }

    /// Runs a `try` statement up to its `finally`.
    async fn guarded(self, node: &'a ir::Try) -> Result<Flow, Raise> {
        let raise = match self.run(&node.body).await {
            Ok(Flow::Next) => return self.run(&node.otherwise).await,
            Ok(flow) => return Ok(flow),
            Err(raise) => raise,
        };
        let Some(exception) = raise.value() else { return Err(raise) };
        if node.star {
            return self.parts(node, exception).await;
        }
        let handling = self.machine.handle(exception.clone());
        for handler in &node.handlers {
            if let Some(class) = &handler.class {
                let class_value = self.traced(self.eval(class))?.get().await?;
                self.at(class.span);
                if !catches(self.machine, &raise, &class_value).map_err(|raise| self.pass(raise))? {
                    continue;
                }
            }
            if let Some(target) = handler.target {
                self.frame.bind(target, exception.clone());
            }
            let result = self.run(&handler.body).await;
            if let Some(target) = handler.target {
                // The program may have deleted it.
                let _ = self.frame.unbind(target);
            }
            drop(handling);
            return result;
        }
        Err(raise)
    }

    /// Gives each handler of `except*` its part of what was raised.
    async fn parts(self, node: &'a ir::Try, exception: Value) -> Result<Flow, Raise> {
        let kept = |name| self.machine.language().kept(self.machine, "exceptiongroup", name);
        let (mut rest, mut raised, mut again) = (exception.clone(), Vec::new(), Vec::new());
        for handler in &node.handlers {
            let Some(class) = &handler.class else { continue };
            let class_value = self.traced(self.eval(class))?.get().await?;
            self.at(class.span);
            let args = Args::of([rest.clone(), class_value]);
            let parts = self.machine.call(&kept("_caught")?, args).await.map_err(|raise| self.pass(raise))?;
            let Value::Tuple(parts) = parts else { continue };
            let [part, left] = &parts[..] else { continue };
            if matches!(part, Value::None) {
                continue;
            }
            rest = left.clone();
            let handling = self.machine.handle(part.clone());
            if let Some(target) = handler.target {
                self.frame.bind(target, part.clone());
            }
            let result = self.run(&handler.body).await;
            if let Some(target) = handler.target {
                let _ = self.frame.unbind(target);
            }
            drop(handling);
            match result {
                Ok(Flow::Next) => {}
                Ok(flow) => return Ok(flow),
                Err(raise) => match raise.value() {
                    None => return Err(raise),
                    Some(value) if value.is(part) => again.push(value),
                    Some(value) => raised.push(value),
                },
            }
            if matches!(rest, Value::None) {
                break;
            }
        }
        let args = Args::of([exception, Value::list(raised), Value::list(again), rest]);
        let left = self.machine.call(&kept("_left")?, args).await.map_err(|raise| self.pass(raise))?;
        match Raise::from_value(&left) {
            Some(raise) if raise.has_traceback() => Err(raise),
            Some(raise) => Err(self.pass(raise)),
            None => Ok(Flow::Next),
        }
    }

    pub(super) async fn raise(
        self,
        exception: Option<&'a Expr>,
        cause: Option<&'a Expr>,
        span: Span,
    ) -> Result<Flow, Raise> {
        let Some(exception) = exception else {
            // Raised again as it is: its traceback has this frame already.
            return Err(match self.machine.handled().as_ref().and_then(Raise::from_value) {
                Some(raise) => raise,
                None => self.pass(Raise::runtime_error("No active exception to reraise")),
            });
        };
        let value = self.traced(self.eval(exception))?.get().await?;
        self.at(span);
        let raise = to_raise(self.machine, &value).await.map_err(|raise| self.pass(raise))?;
        drop(value);
        if let Some(cause) = cause {
            let cause = match self.traced(self.eval(cause))?.get().await? {
                Value::None => None,
                value => {
                    self.at(span);
                    let fail = || Raise::type_error("exception causes must derive from BaseException");
                    let cause = to_raise(self.machine, &value).await.map_err(|_| self.pass(fail()))?;
                    cause.value()
                }
            };
            if let Some(state) = raise.instance().and_then(|instance| instance.exception()) {
                let mut state = state.borrow_mut();
                state.cause = cause;
                state.suppress_context = true;
            }
        }
        if let Some(handled) = self.machine.handled() {
            raise.set_context(self.machine, &handled);
        }
        self.at(span);
        let mut raise = raise;
        raise.pass(self.frame.code(), span);
        Err(raise)
    }
}

async fn bind_in(machine: &Machine, frame: &Rc<Frame>, target: &Target, value: Value) -> Result<(), Raise> {
    if let Target::Name(ir::Name { depth: 0, slot }) = target {
        // Not by way of the siblings: each body has its own.
        frame.fill(*slot as usize, value);
        return Ok(());
    }
    Run { machine, frame }.store(target, value)?.get().await
}

async fn run_inline(machine: &Machine, block: &Block) -> Result<Flow, Raise> {
    // The block owns its code and frame, which the futures made here borrow.
    let run = Run { machine, frame: &block.frame };
    run.body(&block.code)?.get().await
}

/// Says whether `except class` catches an exception.
fn catches(machine: &Machine, raise: &Raise, class: &Value) -> Result<bool, Raise> {
    let raised = raise.instance().map(|instance| instance.class());
    let catch = |class: &Value| match class {
        Value::Class(class) if class.exception_kind().is_some() => {
            Ok(raised.is_some_and(|raised| raised.is_subclass(class)))
        }
        _ => Err(Raise::type_error("catching classes that do not inherit from BaseException is not allowed")),
    };
    let Value::Tuple(classes) = class else { return catch(class) };
    machine.charge_fuel(classes.len() as u64)?;
    // All of them are looked at, and tuples in the tuple are no classes.
    let mut caught = false;
    for class in classes.iter() {
        caught |= catch(class)?;
    }
    Ok(caught)
}
