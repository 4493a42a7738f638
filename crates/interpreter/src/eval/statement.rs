//! Runs statements.

use std::rc::Rc;

use program::ir::{self, Body, Expr, Span, Statement, StatementKind, Target};

use super::{Flow, Now, Run, to_raise};
use crate::attribute;
use crate::class::Class;
use crate::exceptions::Kind;
use crate::frame::Frame;
use crate::function::{Defaults, Function};
use crate::host::{Args, Block, Capture, HostObject, Outcome};
use crate::machine::grow;
use crate::operators;
use crate::raise::Raise;
use crate::teardown::Cyclic;
use crate::types;
use crate::value::Value;
use crate::{Machine, import};

type Ran<'a> = Result<Now<'a, Flow>, Raise>;

impl<'a> Run<'a> {
    /// Runs statements one after another, until one does not end or does not go on to the next.
    pub(super) fn body(self, body: &'a Body) -> Ran<'a> {
        self.rest(&body.statements)
    }

    fn rest(self, statements: &'a [Statement]) -> Ran<'a> {
        for (index, statement) in statements.iter().enumerate() {
            match self.statement(statement)? {
                Now::Done(Flow::Next) => {}
                Now::Done(flow) => return Ok(Now::Done(flow)),
                Now::Later(future) => {
                    let rest = &statements[index + 1..];
                    if rest.is_empty() {
                        return Ok(Now::Later(future));
                    }
                    return Ok(Now::later(async move {
                        let mut flow = future.await?;
                        // A loop, not a recursion: a long block of statements that each suspend stays shallow.
                        for statement in rest {
                            if !matches!(flow, Flow::Next) {
                                break;
                            }
                            flow = self.statement(statement)?.get().await?;
                        }
                        Ok(flow)
                    }));
                }
            }
        }
        Ok(Now::Done(Flow::Next))
    }

    fn statement(self, statement: &'a Statement) -> Ran<'a> {
        self.at(statement.span);
        if let Err(raise) = self.machine.charge_fuel(1) {
            return Err(self.pass(raise));
        }
        match &statement.kind {
            StatementKind::Pass => Ok(Now::Done(Flow::Next)),
            StatementKind::Break => Ok(Now::Done(Flow::Break)),
            StatementKind::Continue => Ok(Now::Done(Flow::Continue)),
            StatementKind::Expression(expr) => self.then_next(self.traced(self.eval(expr))),
            StatementKind::Assign { targets, value } => self.assign(targets, value),
            StatementKind::AugmentedAssign { target, operator, value } => {
                let span = statement.span;
                self.then_next(self.traced(self.augmented_assign(target, *operator, value, span)))
            }
            StatementKind::Return(None) => Ok(Now::Done(Flow::Return(Value::None))),
            StatementKind::Return(Some(expr)) => Ok(match self.traced(self.eval(expr))? {
                Now::Done(value) => Now::Done(Flow::Return(value)),
                Now::Later(future) => Now::later(async move { Ok(Flow::Return(future.await?)) }),
            }),
            StatementKind::If { branches, otherwise } => grow(|| self.branch(branches, otherwise)),
            StatementKind::While { test, body, otherwise } => Ok(Now::later(self.while_loop(test, body, otherwise))),
            StatementKind::For { target, iterable, body, otherwise } => {
                Ok(Now::later(self.for_loop(target, iterable, body, otherwise, statement.span)))
            }
            StatementKind::With { context, target, body } => {
                Ok(Now::later(self.with(context, target.as_ref(), body, statement.span)))
            }
            StatementKind::Try(node) => Ok(Now::later(self.try_statement(node))),
            StatementKind::Raise { exception, cause } => {
                Ok(Now::later(self.raise(exception.as_ref(), cause.as_ref(), statement.span)))
            }
            StatementKind::Match { subject, cases } => Ok(Now::later(self.match_statement(subject, cases))),
            StatementKind::Delete(targets) => self.then_next(self.traced(Ok(Now::later(self.delete(targets))))),
            StatementKind::Assert { test, message } => {
                self.then_next(self.traced(Ok(Now::later(self.assert(test, message.as_ref(), statement.span)))))
            }
            StatementKind::Function { definition, decorators, target } => {
                self.then_next(self.traced(Ok(Now::later(self.define(definition, decorators, *target)))))
            }
            StatementKind::Class(definition) => {
                self.then_next(self.traced(Ok(Now::later(self.define_class(definition)))))
            }
            StatementKind::Import { module, target, submodule } => {
                let imported = import::import(self.machine, module, *submodule);
                self.then_next(self.traced(imported.map(|value| {
                    self.frame.bind(*target, value);
                    Now::Done(())
                })))
            }
            StatementKind::ImportFrom { module, names } => {
                self.then_next(self.traced(Ok(Now::later(self.import_from(module, names)))))
            }
        }
    }

    fn then_next<T: 'a>(self, part: Result<Now<'a, T>, Raise>) -> Ran<'a> {
        Ok(match part? {
            Now::Done(_) => Now::Done(Flow::Next),
            Now::Later(future) => Now::later(async move { future.await.map(|_| Flow::Next) }),
        })
    }

    fn assign(self, targets: &'a [Target], value: &'a Expr) -> Ran<'a> {
        let value = self.traced(self.eval(value))?;
        if let ([Target::Name(name)], Now::Done(_)) = (targets, &value) {
            if let Now::Done(value) = value {
                self.frame.bind(*name, value);
            }
            return Ok(Now::Done(Flow::Next));
        }
        Ok(Now::later(async move {
            let value = value.get().await?;
            for target in targets {
                self.traced(self.store(target, value.clone()))?.get().await?;
            }
            Ok(Flow::Next)
        }))
    }

    fn branch(self, branches: &'a [(Expr, Body)], otherwise: &'a Body) -> Ran<'a> {
        for (index, (test, body)) in branches.iter().enumerate() {
            match self.traced(self.condition(test))? {
                Now::Done(true) => return self.body(body),
                Now::Done(false) => {}
                Now::Later(future) => {
                    return Ok(Now::later(async move {
                        let chosen = match future.await? {
                            true => self.body(body)?,
                            false => self.branch(&branches[index + 1..], otherwise)?,
                        };
                        chosen.get().await
                    }));
                }
            }
        }
        self.body(otherwise)
    }

    async fn while_loop(self, test: &'a Expr, body: &'a Body, otherwise: &'a Body) -> Result<Flow, Raise> {
        loop {
            self.machine.charge_fuel(1).map_err(|raise| self.pass(raise))?;
            if !self.traced(self.condition(test))?.get().await? {
                return self.body(otherwise)?.get().await;
            }
            match self.body(body)?.get().await? {
                Flow::Next | Flow::Continue => {}
                Flow::Break => return Ok(Flow::Next),
                Flow::Return(value) => return Ok(Flow::Return(value)),
            }
        }
    }

    async fn for_loop(
        self,
        target: &'a Target,
        iterable: &'a Expr,
        body: &'a Body,
        otherwise: &'a Body,
        span: Span,
    ) -> Result<Flow, Raise> {
        let values = self.traced(self.eval(iterable))?.get().await?;
        self.at(span);
        let iterator = self.traced(self.settle(operators::iterate(self.machine, &values)))?.get().await?;
        drop(values);
        loop {
            self.at(span);
            self.machine.charge_fuel(1).map_err(|raise| self.pass(raise))?;
            let Some(value) = self.advance(&iterator).await.map_err(|raise| self.pass(raise))? else {
                return self.body(otherwise)?.get().await;
            };
            match target {
                Target::Name(name) => self.frame.bind(*name, value),
                target => self.traced(self.store(target, value))?.get().await?,
            }
            match self.body(body)?.get().await? {
                Flow::Next | Flow::Continue => {}
                Flow::Break => return Ok(Flow::Next),
                Flow::Return(value) => return Ok(Flow::Return(value)),
            }
        }
    }

    /// Takes the next element of an iterator; `None` at its end.
    pub(super) async fn advance(self, iterator: &Value) -> Result<Option<Value>, Raise> {
        match operators::next(self.machine, iterator)? {
            None => Ok(None),
            Some(Outcome::Ready(value)) => Ok(Some(value)),
            Some(outcome) => match self.machine.settle(outcome).await {
                Ok(value) => Ok(Some(value)),
                Err(raise) if raise.is(Kind::StopIteration) => Ok(None),
                Err(raise) => Err(raise),
            },
        }
    }

    async fn with(
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
                            bind_in(self.machine, &fork, target, value.clone()).await.map_err(|raise| self.pass(raise))?;
                        }
                        self.traced(self.store(target, value))?.get().await?;
                    }
                    self.at(span);
                    // The body ran in a frame of its own; what it raised has its traceback already.
                    return match self.machine.settle(outcome).await {
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
                let args = vec![attribute::class_of(&value), value, Value::None];
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

    async fn managed_body(self, target: Option<&'a Target>, value: Value, body: &'a Body) -> Result<Flow, Raise> {
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

    async fn try_statement(self, node: &'a ir::Try) -> Result<Flow, Raise> {
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
        let handling = self.machine.handle(exception.clone());
        for handler in &node.handlers {
            if let Some(class) = &handler.class {
                let class_value = self.traced(self.eval(class))?.get().await?;
                self.at(class.span);
                if !catches(&raise, &class_value).map_err(|raise| self.pass(raise))? {
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

    async fn raise(self, exception: Option<&'a Expr>, cause: Option<&'a Expr>, span: Span) -> Result<Flow, Raise> {
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

    async fn assert(self, test: &'a Expr, message: Option<&'a Expr>, _span: Span) -> Result<(), Raise> {
        if self.condition(test)?.get().await? {
            return Ok(());
        }
        let args = match message {
            Some(message) => vec![self.eval(message)?.get().await?],
            None => Vec::new(),
        };
        self.at(test.span);
        Err(Raise::with_args(Kind::AssertionError, args))
    }

    /// Makes a function of a `def` or `lambda`.
    pub(super) async fn function(self, definition: &'a ir::Definition) -> Result<Value, Raise> {
        let mut defaults = Defaults::default();
        for default in &definition.defaults {
            defaults.positional.push(self.eval(default)?.get().await?);
        }
        for (name, default) in &definition.keyword_defaults {
            defaults.keyword.push((Rc::clone(name), self.eval(default)?.get().await?));
        }
        let surroundings = self.surroundings(definition.outward);
        let function = Function::new(self.machine, Rc::clone(&definition.code), surroundings, defaults)?;
        Ok(Value::Function(Rc::new(function)))
    }

    /// Returns the frame that scopes defined here see around them.
    pub(super) fn surroundings(self, outward: u32) -> Rc<Frame> {
        let mut frame = self.frame;
        for _ in 0..outward {
            match frame.parent() {
                Some(parent) => frame = parent,
                None => break,
            }
        }
        Rc::clone(frame)
    }

    async fn define(
        self,
        definition: &'a ir::Definition,
        decorators: &'a [Expr],
        target: ir::Name,
    ) -> Result<(), Raise> {
        let decorators = self.evaluated(decorators).await?;
        let function = self.function(definition).await?;
        let decorated = self.decorate(function, decorators).await?;
        self.frame.bind(target, decorated);
        Ok(())
    }

    async fn evaluated(self, exprs: &'a [Expr]) -> Result<Vec<(Value, Span)>, Raise> {
        let mut values = Vec::with_capacity(exprs.len());
        for expr in exprs {
            values.push((self.eval(expr)?.get().await?, expr.span));
        }
        Ok(values)
    }

    async fn decorate(self, mut value: Value, decorators: Vec<(Value, Span)>) -> Result<Value, Raise> {
        for (decorator, span) in decorators.into_iter().rev() {
            self.at(span);
            value = self.machine.call(&decorator, Args::of([value])).await?;
        }
        Ok(value)
    }

    async fn define_class(self, definition: &'a ir::ClassDefinition) -> Result<(), Raise> {
        let span = self.frame.position.get();
        let decorators = self.evaluated(&definition.decorators).await?;
        let bases = self.arguments(&definition.bases)?.get().await?;
        let mut keywords = Vec::new();
        for (name, value) in &definition.keywords {
            let value = self.eval(value)?.get().await?;
            match name.as_deref() {
                Some("metaclass") => {}
                Some(name) => keywords.push((Rc::from(name), value)),
                None => return Err(Raise::type_error("unpacking keywords of a class is not supported by this server")),
            }
        }
        self.at(span);
        let around = self.surroundings(definition.outward);
        let cell = Frame::inner(self.machine, &definition.cell, &around, None)?;
        let frame = Frame::inner(self.machine, &definition.code, &cell, None)?;
        let body = Run { machine: self.machine, frame: &frame };
        body.body(&definition.code.body)?.get().await?;
        let module = match self.frame.globals().borrow().get("__name__") {
            Some(Value::Str(name)) => Rc::clone(name),
            _ => "__main__".into(),
        };
        let mut attributes = frame.names();
        if let Some(text) = &definition.code.docstring {
            attributes.push(("__doc__".into(), Value::Str(Rc::clone(text))));
        }
        if !definition.annotations.is_empty() {
            let pairs = definition.annotations.iter();
            let pairs = pairs.map(|(name, text)| (Rc::clone(name), Value::Str(Rc::clone(text))));
            attributes.push(("__annotations__".into(), Value::dict(pairs)));
        }
        let class = Class::qualified(
            Rc::clone(&definition.name),
            Rc::clone(&definition.code.qualified_name),
            module,
            bases,
            attributes,
        )?;
        self.machine.register(Cyclic::Class(Rc::downgrade(&class)));
        let value = Value::Class(Rc::clone(&class));
        cell.fill(0, value.clone());
        for (name, attribute) in class.attributes() {
            if let Some(set_name) = attribute::special(self.machine, &attribute, "__set_name__") {
                self.machine.call(&set_name, Args::of([value.clone(), Value::Str(name)])).await?;
            }
        }
        let hook = class.lineage().skip(1).find_map(|class| class.own("__init_subclass__"));
        if let Some(hook) = hook {
            let hook = match &hook {
                Value::Decorated(decorated) => match &**decorated {
                    crate::Decorated::ClassMethod(function) | crate::Decorated::StaticMethod(function) => {
                        function.clone()
                    }
                    crate::Decorated::Property(_) => hook,
                },
                _ => hook,
            };
            let args = Args { positional: vec![value.clone()], keyword: keywords };
            self.machine.call(&hook, args).await?;
        }
        let decorated = self.decorate(value, decorators).await?;
        self.frame.bind(definition.target, decorated);
        Ok(())
    }

    async fn import_from(self, module: &'a str, names: &'a [(Rc<str>, ir::Name)]) -> Result<(), Raise> {
        let from = import::import(self.machine, module, true)?;
        for (name, target) in names {
            let value = match attribute::find(self.machine, &from, name) {
                Ok(Some(outcome)) => self.machine.settle(outcome).await,
                Ok(None) => Err(attribute::missing(&from, name)),
                Err(raise) => Err(raise),
            };
            let value = match value {
                Ok(value) => value,
                Err(raise) if raise.is(Kind::AttributeError) => {
                    // A submodule that nobody has imported before.
                    match import::module(self.machine, &format!("{module}.{name}")) {
                        Some(value) => value,
                        None => return Err(import::cannot_import(module, name, &raise)),
                    }
                }
                Err(raise) => return Err(raise),
            };
            self.frame.bind(*target, value);
        }
        Ok(())
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
fn catches(raise: &Raise, class: &Value) -> Result<bool, Raise> {
    match class {
        Value::Class(class) if class.exception_kind().is_some() => {
            Ok(raise.instance().is_some_and(|instance| instance.class().is_subclass(class)))
        }
        Value::Tuple(classes) => {
            for class in classes.iter() {
                if catches(raise, class)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Err(Raise::type_error("catching classes that do not inherit from BaseException is not allowed")),
    }
}
