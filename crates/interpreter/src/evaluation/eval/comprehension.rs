//! Runs comprehensions and generator expressions.

use std::rc::Rc;

use program::ir::{Collect, Comprehension, Expr, Loop, Span};

use super::{Now, Run};
use crate::evaluation::{operators, set};
use crate::values::frame::Frame;
use crate::values::generator::{Channel, Generator};
use crate::values::host::Args;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{Iterator, List};
use crate::values::value::Value;

/// Where a comprehension's elements go.
enum Sink<'a> {
    List(Rc<List>, &'a Expr),
    /// The `add` method of the set.
    Set(Value, &'a Expr),
    Dict(Value, &'a Expr, &'a Expr),
    Yield(&'a Expr),
}

impl<'a> Run<'a> {
    pub(super) async fn comprehension(self, node: &'a Rc<Comprehension>, span: Span) -> Result<Value, Raise> {
        let first = self.eval(&node.first)?.get().await?;
        self.at(span);
        let iterator = self.settle(operators::iterate(self.machine, &first))?.get().await?;
        let around = self.surroundings(node.outward);
        if matches!(node.kind, Collect::Generator(_)) {
            return self.generator_expression(node, around, iterator, span);
        }
        let frame = Frame::inner(self.machine, &node.code, &around, None)?;
        let (sink, collected) = match &node.kind {
            Collect::List(element) | Collect::Generator(element) => {
                let list = Rc::new(List::new(Vec::new()));
                (Sink::List(Rc::clone(&list), element), Value::List(list))
            }
            Collect::Set(element) => {
                let set = self.settle(set::build(self.machine, Vec::new(), false))?.get().await?;
                let add = self.machine.language().attribute(self.machine, &set, "add").unwrap_or(Value::None);
                (Sink::Set(add, element), set)
            }
            Collect::Dict(key, value) => {
                let dict = Value::dict(Vec::<(Rc<str>, Value)>::new());
                (Sink::Dict(dict.clone(), key, value), dict)
            }
        };
        run_loops(self.machine, &frame, &node.loops, iterator, &sink, span).await?;
        Ok(collected)
    }

    /// Makes the generator of `(element for …)`.
    fn generator_expression(
        self,
        node: &'a Rc<Comprehension>,
        around: Rc<Frame>,
        iterator: Value,
        span: Span,
    ) -> Result<Value, Raise> {
        let channel = Rc::<Channel>::default();
        let frame = Frame::inner(self.machine, &node.code, &around, Some(Rc::clone(&channel)))?;
        let machine = self.machine.clone();
        let node = Rc::clone(node);
        let name = Rc::clone(&node.code.name);
        let body = Box::pin(async move {
            let Collect::Generator(element) = &node.kind else { return Ok(Value::None) };
            run_loops(&machine, &frame, &node.loops, iterator, &Sink::Yield(element), span).await?;
            Ok(Value::None)
        });
        let generator = Generator::new(self.machine, name, channel, body)?;
        Ok(Value::Iterator(Rc::new(Iterator::generator(Rc::new(generator)))))
    }

    /// Runs the loops from the outermost of `loops` in, over an iterator that is there already.
    async fn loops(self, loops: &'a [Loop], iterator: Value, sink: &Sink<'a>, span: Span) -> Result<(), Raise> {
        let Some((outer, inner)) = loops.split_first() else { return Ok(()) };
        'elements: loop {
            if self.machine.has_abandoned() {
                self.machine.close_abandoned().await?;
            }
            self.at(span);
            let Some(value) = self.advance(&iterator).await? else { return Ok(()) };
            self.machine.charge_fuel(1)?;
            self.store(&outer.target, value)?.get().await?;
            for condition in &outer.conditions {
                if !self.condition(condition)?.get().await? {
                    continue 'elements;
                }
            }
            match inner.first() {
                None => self.collect(sink)?.get().await?,
                Some(Loop { iterable: Some(iterable), .. }) => {
                    let values = self.eval(iterable)?.get().await?;
                    self.at(span);
                    let iterator = self.settle(operators::iterate(self.machine, &values))?.get().await?;
                    Now::later(self.loops(inner, iterator, sink, span)).get().await?;
                }
                Some(_) => {}
            }
        }
    }

    fn collect(self, sink: &Sink<'a>) -> Result<Now<'a, ()>, Raise> {
        match sink {
            Sink::List(list, element) => {
                let list = Rc::clone(list);
                match self.eval(element)? {
                    Now::Done(value) => list.push(self.machine, value).map(Now::Done),
                    Now::Later(future) => Ok(Now::later(async move { list.push(self.machine, future.await?) })),
                }
            }
            Sink::Set(add, element) => {
                let (add, element) = (add.clone(), *element);
                Ok(Now::later(async move {
                    let value = self.eval(element)?.get().await?;
                    self.settle(self.machine.call_now(&add, Args::of([value])))?.get().await.map(|_| ())
                }))
            }
            Sink::Dict(dict, key, value) => {
                let (dict, key, value) = (dict.clone(), *key, *value);
                Ok(Now::later(async move {
                    let key = self.eval(key)?.get().await?;
                    let value = self.eval(value)?.get().await?;
                    self.settle(operators::set_item(self.machine, &dict, &key, value))?.get().await.map(|_| ())
                }))
            }
            Sink::Yield(element) => {
                let element = *element;
                Ok(Now::later(async move {
                    let value = self.eval(element)?.get().await?;
                    self.yields(value).await.map(|_| ())
                }))
            }
        }
    }
}

/// Runs all loops of a comprehension in its own frame, which shows in tracebacks.
async fn run_loops(
    machine: &Machine,
    frame: &Rc<Frame>,
    loops: &[Loop],
    iterator: Value,
    sink: &Sink<'_>,
    span: Span,
) -> Result<(), Raise> {
    let run = Run { machine, frame };
    run.loops(loops, iterator, sink, span).await.map_err(|raise| run.pass(raise))
}
