//! `contextlib`.

use std::rc::Rc;

use crate::evaluation::operators::{self, later};
use crate::library::builtins;
use crate::library::modules::{Members, class, functions};
use crate::values::class::Instance;
use crate::values::exceptions::{self, Kind};
use crate::values::function::Method;
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::value::Value;

pub fn members(_: &Machine) -> Result<Members, Raise> {
    let null = class(
        "nullcontext",
        "contextlib",
        vec![],
        &[
            ("__init__", |_, mut args| {
                let context = receiver(&mut args)?;
                let [result] = args.bind("nullcontext", ["enter_result"], 0)?;
                context.set("enter_result", result.unwrap_or(Value::None));
                Ok(Value::None.into())
            }),
            ("__enter__", |_, mut args| Ok(receiver(&mut args)?.own("enter_result").unwrap_or(Value::None).into())),
            ("__exit__", |_, _| Ok(Value::None.into())),
        ],
        &[],
    )?;
    let suppress = class(
        "suppress",
        "contextlib",
        vec![],
        &[
            ("__init__", |_, mut args| {
                let context = receiver(&mut args)?;
                context.set("_exceptions", Value::tuple(args.positional));
                Ok(Value::None.into())
            }),
            ("__enter__", |_, _| Ok(Value::None.into())),
            ("__exit__", |machine, mut args| {
                let context = receiver(&mut args)?;
                let raised = args.positional.get(1).cloned().unwrap_or(Value::None);
                let classes = context.own("_exceptions").unwrap_or(Value::None);
                let caught = !matches!(raised, Value::None) && builtins::is_instance(machine, &raised, &classes)?;
                Ok(Value::Bool(caught).into())
            }),
        ],
        &[],
    )?;
    let closing = class(
        "closing",
        "contextlib",
        vec![],
        &[
            ("__init__", |_, mut args| {
                let context = receiver(&mut args)?;
                context.set("thing", args.one("closing")?);
                Ok(Value::None.into())
            }),
            ("__enter__", |_, mut args| Ok(receiver(&mut args)?.own("thing").unwrap_or(Value::None).into())),
            ("__exit__", |machine, mut args| {
                let (machine, thing) = (machine.clone(), receiver(&mut args)?.own("thing").unwrap_or(Value::None));
                later(async move {
                    let close = machine.get_attribute(&thing, "close").await?;
                    machine.call(&close, Args::default()).await?;
                    Ok(Value::None)
                })
            }),
        ],
        &[],
    )?;
    let manager = class(
        "_GeneratorContextManager",
        "contextlib",
        vec![],
        &[("__enter__", enter_generator), ("__exit__", exit_generator), ("__call__", decorate)],
        &[],
    )?;
    let wrapper = class("function", "builtins", vec![], &[("__call__", call_wrapper), ("__get__", bind_wrapper)], &[])?;
    let mut members = functions(&[]);
    members.push((
        "contextmanager",
        Value::native("contextmanager", move |machine, args| {
            let (function, manager) = (args.one("contextmanager")?, Rc::clone(&manager));
            // A method of a class must stay one: what stands in for the function is bound as a function is.
            let helper = Value::native("contextmanager", {
                let function = function.clone();
                move |machine: &Machine, args: Args| {
                    let (again, manager) = ((function.clone(), args.clone()), Rc::clone(&manager));
                    let generator = machine.call_now(&function, args);
                    operators::then(machine, generator, move |machine, generator| {
                        let context = Instance::new(&manager);
                        context.set("gen", generator);
                        context.set("func", again.0);
                        context.set("args", Value::tuple(again.1.positional));
                        context.set("kwds", Value::dict(again.1.keyword));
                        context.cover(machine)?;
                        Ok(Value::Instance(context).into())
                    })
                }
            });
            let wrapper = Instance::new(&wrapper);
            wrapper.set("__wrapped__", function);
            wrapper.set(HELPER, helper);
            wrapper.cover(machine)?;
            Ok(Value::Instance(wrapper).into())
        }),
    ));
    members.extend([
        ("AbstractContextManager", Value::Class(class("AbstractContextManager", "contextlib", vec![], &[], &[])?)),
        ("closing", Value::Class(closing)),
        ("nullcontext", Value::Class(null)),
        ("suppress", Value::Class(suppress)),
    ]);
    Ok(members)
}

/// The attribute of a `@contextmanager` function that only this module reads.
const HELPER: &str = " helper";

fn receiver(args: &mut Args) -> Result<Rc<Instance>, Raise> {
    match args.positional.first() {
        Some(Value::Instance(instance)) => {
            let instance = Rc::clone(instance);
            args.positional.remove(0);
            Ok(instance)
        }
        _ => Err(Raise::type_error("descriptor requires an object of its own class")),
    }
}

fn call_wrapper(machine: &Machine, mut args: Args) -> HostResult {
    let helper = receiver(&mut args)?.own(HELPER).unwrap_or(Value::None);
    machine.call_now(&helper, args)
}

fn bind_wrapper(_: &Machine, mut args: Args) -> HostResult {
    let wrapper = Value::Instance(receiver(&mut args)?);
    Ok(match args.positional.into_iter().next() {
        None | Some(Value::None) => wrapper,
        Some(receiver) => Value::Method(Rc::new(Method { function: wrapper, receiver })),
    }
    .into())
}

fn enter_generator(machine: &Machine, mut args: Args) -> HostResult {
    let generator = receiver(&mut args)?.own("gen").unwrap_or(Value::None);
    let machine = machine.clone();
    later(async move {
        match advance(&machine, &generator).await? {
            Some(value) => Ok(value),
            None => Err(Raise::runtime_error("generator didn't yield")),
        }
    })
}

async fn advance(machine: &Machine, generator: &Value) -> Result<Option<Value>, Raise> {
    match operators::next(machine, generator) {
        Ok(None) => Ok(None),
        Ok(Some(outcome)) => match machine.settle(outcome).await {
            Ok(value) => Ok(Some(value)),
            Err(raise) if raise.is(Kind::StopIteration) => Ok(None),
            Err(raise) => Err(raise),
        },
        Err(raise) if raise.is(Kind::StopIteration) => Ok(None),
        Err(raise) => Err(raise),
    }
}

fn exit_generator(machine: &Machine, mut args: Args) -> HostResult {
    let generator = receiver(&mut args)?.own("gen").unwrap_or(Value::None);
    let raised = args.positional.get(1).cloned().unwrap_or(Value::None);
    let machine = machine.clone();
    later(async move {
        let Some(raise) = Raise::from_value(&raised) else {
            return match advance(&machine, &generator).await? {
                None => Ok(Value::Bool(false)),
                Some(_) => Err(Raise::runtime_error("generator didn't stop")),
            };
        };
        let Value::Iterator(iterator) = &generator else { return Ok(Value::Bool(false)) };
        let Some(generator) = iterator.as_generator() else { return Ok(Value::Bool(false)) };
        let passed = frames_passed(&raised, None);
        let thrown = match generator.throw(&machine, raise) {
            Ok(outcome) => machine.settle(outcome).await,
            Err(raise) => Err(raise),
        };
        match thrown {
            Ok(_) => Err(Raise::runtime_error("generator didn't stop after throw()")),
            Err(again) => match again.value() {
                // The exception came back unhandled: the `with` statement goes on raising it.
                Some(value) if value.is(&raised) => {
                    frames_passed(&raised, Some(passed));
                    Ok(Value::Bool(false))
                }
                Some(Value::Instance(stop)) if stop.class().is_subclass(&exceptions::class(Kind::StopIteration)) => {
                    Ok(Value::Bool(true))
                }
                _ => Err(again),
            },
        }
    })
}

/// Counts the frames that an exception has passed, after cutting its traceback back to so many.
fn frames_passed(exception: &Value, keep: Option<usize>) -> usize {
    let Value::Instance(instance) = exception else { return 0 };
    let Some(state) = instance.exception() else { return 0 };
    let mut state = state.borrow_mut();
    if let Some(keep) = keep {
        state.traceback.truncate(keep);
    }
    state.traceback.len()
}

/// A context manager as a decorator: each call runs inside a fresh one.
fn decorate(_: &Machine, mut args: Args) -> HostResult {
    let context = receiver(&mut args)?;
    let function = args.one("contextmanager")?;
    let positional = match context.own("args") {
        Some(Value::Tuple(items)) => items.to_vec(),
        _ => Vec::new(),
    };
    let make = context.own("func").unwrap_or(Value::None);
    let class = Rc::clone(context.class());
    Ok(Value::native("inner", move |machine, args| {
        let (machine, make, function, positional) =
            (machine.clone(), make.clone(), function.clone(), positional.clone());
        let class = Rc::clone(&class);
        later(async move {
            let context = Instance::new(&class);
            context.set("gen", machine.call(&make, Args::of(positional)).await?);
            let context = Value::Instance(context);
            let entered = enter_generator(&machine, Args::of([context.clone()]))?;
            machine.settle(entered).await?;
            let result = machine.call(&function, args).await;
            let raised = match &result {
                Err(raise) => raise.value(),
                Ok(_) => Some(Value::None),
            };
            // What ends the job runs no `__exit__`.
            let Some(raised) = raised else { return result };
            let exit = exit_generator(&machine, Args::of([context, Value::None, raised, Value::None]))?;
            match (machine.settle(exit).await?, result) {
                (Value::Bool(true), Err(_)) => Ok(Value::None),
                (_, result) => result,
            }
        })
    })
    .into())
}
