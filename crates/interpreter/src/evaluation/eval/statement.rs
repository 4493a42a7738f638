//! Runs statements.

use program::ir::{Body, Expr, Span, Statement, StatementKind, Target};

use super::{Flow, Now, Run};
use crate::evaluation::{import, operators};
use crate::values::exceptions::Kind;
use crate::values::function::Defaults;
use crate::values::host::Outcome;
use crate::values::machine::grow;
use crate::values::raise::Raise;
use crate::values::value::Value;
use crate::values::watch::{Compound, Part};

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
        if self.machine.has_abandoned() {
            return Ok(Now::later(async move {
                self.machine.close_abandoned().await.map_err(|raise| self.pass(raise))?;
                self.go_on(statement)?.get().await
            }));
        }
        self.go_on(statement)
    }

    fn go_on(self, statement: &'a Statement) -> Ran<'a> {
        self.at(statement.span);
        if let Err(raise) = self.machine.charge_fuel(1) {
            return Err(self.pass(raise));
        }
        if let Some(request) = self.machine.before(self.frame, Part::Statement(statement), None) {
            return Ok(Now::later(async move {
                self.ask(request).await?;
                self.at(statement.span);
                self.perform(statement)?.get().await
            }));
        }
        self.perform(statement)
    }

    fn perform(self, statement: &'a Statement) -> Ran<'a> {
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
            StatementKind::Function { definition, decorators, target }
                if decorators.is_empty() && definition.has_no_defaults() =>
            {
                let function = self.closed(definition, Defaults::default());
                self.then_next(self.traced(function.map(|function| {
                    self.frame.bind(*target, function);
                    Now::Done(())
                })))
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
            if let Some(request) = self.machine.before(self.frame, Part::Test, None) {
                self.ask(request).await?;
            }
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
        let opened = self.machine.open(self.frame, Compound::Loop(iterable));
        let values = self.traced(self.eval(iterable))?.get().await?;
        self.at(span);
        let iterator = self.traced(self.settle(operators::iterate(self.machine, &values)))?.get().await?;
        drop(values);
        loop {
            self.at(span);
            self.machine.charge_fuel(1).map_err(|raise| self.pass(raise))?;
            if let Some(request) = self.machine.before(self.frame, Part::Turn(target), opened.as_deref()) {
                self.ask(request).await?;
                self.at(span);
            }
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
}
