//! Calling, and binding arguments to parameters.

use std::rc::Rc;

use program::ir::{Code, Parameters};

use crate::evaluation::{attribute, eval};
use crate::values::class::{Class, Decorated, Instance, MEMBERS};
use crate::values::exceptions::Kind;
use crate::values::frame::Frame;
use crate::values::function::{Defaults, Function};
use crate::values::generator::{Channel, Generator};
use crate::values::host::{Args, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::suspension::Deep;
use crate::values::types::{self, Iterator, Type};
use crate::values::value::Value;

/// Calls anything. The outcome is never `NotImplemented`.
pub(crate) fn call(machine: &Machine, callee: &Value, mut args: Args) -> HostResult {
    machine.charge_fuel(1)?;
    match callee {
        Value::Function(function) => call_function(machine, function, args),
        Value::Native(native) => {
            let outcome = machine.recurse(|| native.call(machine, args))?;
            Ok(implemented(outcome).nested(machine))
        }
        Value::Method(method) => {
            args.positional.insert(0, method.receiver.clone());
            match &method.function {
                Value::Function(function) => call_function(machine, function, args),
                function => machine.recurse(|| call(machine, function, args)),
            }
        }
        // What stands for something else that is called may stand for its like, as often as a program nests them.
        callee => machine.recurse(|| call_by_way(machine, callee, args)),
    }
}

fn call_by_way(machine: &Machine, callee: &Value, args: Args) -> HostResult {
    match callee {
        Value::Class(class) => construct(machine, class, args),
        Value::Type(kind) => Ok(implemented(machine.language().construct(machine, *kind, args)?)),
        Value::Decorated(decorated) => match &**decorated {
            Decorated::StaticMethod(function) => call(machine, function, args),
            _ => Err(not_callable(callee)),
        },
        Value::Instance(instance) => match attribute::special(machine, callee, "__call__") {
            Some(bound) => call(machine, &bound, args),
            None => match instance.class().host() {
                Some(host) => match Rc::clone(host).call_instance(machine, callee, args)? {
                    Outcome::NotImplemented => Err(not_callable(callee)),
                    outcome => Ok(outcome),
                },
                None => Err(not_callable(callee)),
            },
        },
        Value::Host(object) => match Rc::clone(object).call(machine, args)? {
            Outcome::NotImplemented => Err(not_callable(callee)),
            outcome => Ok(outcome),
        },
        _ => Err(not_callable(callee)),
    }
}

fn not_callable(callee: &Value) -> Raise {
    Raise::type_error(format!("'{}' object is not callable", types::type_name(callee)))
}

/// A native function that answers `NotImplemented` means the Python value.
fn implemented(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::NotImplemented => Outcome::Ready(Value::NotImplemented),
        outcome => outcome,
    }
}

/// Calls a function with source: runs its body, or makes its generator.
fn call_function(machine: &Machine, function: &Rc<Function>, args: Args) -> HostResult {
    let code = Rc::clone(function.code());
    let Some(surroundings) = function.surroundings() else {
        return Err(Raise::runtime_error("the function's module is gone"));
    };
    let channel = code.generator.then(Rc::<Channel>::default);
    let frame = Frame::inner(machine, &code, &surroundings, channel.clone())?;
    bind(machine, &code, &function.borrow_defaults(), args, &frame)?;
    let machine = machine.clone();
    if let Some(channel) = channel {
        let name = Rc::clone(&code.name);
        let handle = machine.clone();
        let body = Box::pin(async move { eval::run_function(&handle, &code, &frame).await });
        let generator = Rc::new(Generator::new(&machine, name, channel, body)?);
        return Ok(Value::Iterator(Rc::new(Iterator::generator(generator))).into());
    }
    Ok(Outcome::Later(Box::pin(async move {
        let body = Deep::new(eval::run_function(&machine, &code, &frame));
        Counted { machine: &machine, body, started: false }.await
    })))
}

/// Counts an open call while it is being polled.
struct Counted<'a> {
    machine: &'a Machine,
    body: Deep<'a, Result<Value, Raise>>,
    started: bool,
}

impl Future for Counted<'_> {
    type Output = Result<Value, Raise>;

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        let entered = match self.machine.enter() {
            Ok(entered) => Some(entered),
            // A call that has begun goes on wherever it is resumed from.
            Err(raise) if !self.started => return std::task::Poll::Ready(Err(raise)),
            Err(_) => None,
        };
        self.started = true;
        let polled = std::pin::Pin::new(&mut self.body).poll(context);
        drop(entered);
        polled
    }
}

/// Makes an object of a class.
fn construct(machine: &Machine, class: &Rc<Class>, args: Args) -> HostResult {
    if let Some(constructor) = class.find("__new__") {
        let constructor = match &constructor {
            Value::Decorated(decorated) => match &**decorated {
                Decorated::StaticMethod(function) => function.clone(),
                _ => constructor,
            },
            _ => constructor,
        };
        let (machine, class) = (machine.clone(), Rc::clone(class));
        return Ok(Outcome::Later(Box::pin(async move {
            let _held = args.held();
            let mut with_class = args.clone();
            with_class.positional.insert(0, Value::Class(Rc::clone(&class)));
            let made = machine.call(&constructor, with_class).await?;
            match &made {
                // A member of an enumeration was found, not made.
                Value::Instance(instance) if instance.class().is_subclass(&class) && class.find(MEMBERS).is_none() => {
                    let outcome = initialize(&machine, instance, args)?;
                    machine.settle(outcome).await?;
                    Ok(made)
                }
                _ => Ok(made),
            }
        })));
    }
    let instance = attribute::instantiate(machine, class)?;
    if let Some(kind) = class.builtin() {
        return construct_over(machine, instance, kind, args);
    }
    let made = Value::Instance(Rc::clone(&instance));
    then_value(machine, initialize(machine, &instance, args)?, made)
}

/// Makes the builtin value that an object of a class like `class Stack(list)` is over, then runs `__init__`.
fn construct_over(machine: &Machine, instance: Rc<Instance>, kind: Type, args: Args) -> HostResult {
    let has_init = instance.class().find("__init__").is_some();
    // Mutable builtins take their arguments in `__init__`, which the class may have replaced.
    let mutable = matches!(kind, Type::List | Type::Dict | Type::Set);
    let payload_args = if has_init && mutable { Args::default() } else { args.clone() };
    let machine = machine.clone();
    Ok(Outcome::Later(Box::pin(async move {
        let _held = args.held();
        let outcome = implemented(machine.language().construct(&machine, kind, payload_args)?);
        instance.set_payload(machine.settle(outcome).await?);
        if has_init {
            let outcome = initialize(&machine, &instance, args)?;
            machine.settle(outcome).await?;
        }
        Ok(Value::Instance(instance))
    })))
}

/// Runs `__init__`.
fn initialize(machine: &Machine, instance: &Rc<Instance>, mut args: Args) -> HostResult {
    let class = instance.class();
    if let Some(state) = instance.exception() {
        state.borrow_mut().args = args.positional.clone();
    }
    let Some(init) = class.find("__init__") else {
        if let Some(host) = class.host() {
            let host = Rc::clone(host);
            return match host.initialize_instance(machine, &Value::Instance(Rc::clone(instance)), args)? {
                Outcome::NotImplemented => Ok(Value::None.into()),
                outcome => Ok(outcome),
            };
        }
        let any = instance.exception().is_some() && args.keyword.is_empty() || class.find("__new__").is_some();
        let none = args.positional.is_empty() && args.keyword.is_empty();
        if !any && !none {
            return Err(Raise::type_error(format!("{}() takes no arguments", class.name())));
        }
        return Ok(Value::None.into());
    };
    args.positional.insert(0, Value::Instance(Rc::clone(instance)));
    let outcome = call(machine, &init, args)?;
    let check = |value: &Value| match value {
        Value::None => Ok(()),
        other => {
            let name = types::type_name(other);
            Err(Raise::type_error(format!("__init__() should return None, not '{name}'")))
        }
    };
    match outcome {
        Outcome::Ready(value) => check(&value).map(|()| Value::None.into()),
        outcome => {
            let machine = machine.clone();
            Ok(Outcome::Later(Box::pin(async move {
                check(&machine.settle(outcome).await?)?;
                Ok(Value::None)
            })))
        }
    }
}

/// Replaces the value of an outcome.
pub(crate) fn then_value(machine: &Machine, outcome: Outcome, value: Value) -> HostResult {
    Ok(match outcome {
        Outcome::Ready(_) => Outcome::Ready(value),
        outcome => {
            let machine = machine.clone();
            Outcome::Later(Box::pin(async move {
                machine.settle(outcome).await?;
                Ok(value)
            }))
        }
    })
}

/// Binds arguments to the slots of a new frame, with CPython's messages.
///
/// # Errors
/// `TypeError` for arguments that do not fit.
pub(crate) fn bind(
    machine: &Machine,
    code: &Code,
    defaults: &Defaults,
    args: Args,
    frame: &Frame,
) -> Result<(), Raise> {
    let parameters = &code.parameters;
    let positional = parameters.positional_only + parameters.positional;
    let named = positional + parameters.keyword_only;
    let given = args.positional.len();
    let mut bound = vec![false; named];
    let mut extra = Vec::new();
    for (index, value) in args.positional.into_iter().enumerate() {
        if index < positional {
            frame.fill(index, value);
            bound[index] = true;
        } else {
            extra.push(value);
        }
    }
    // Each name is looked for among the parameters.
    machine.charge_fuel(args.keyword.len() as u64 * named as u64 / 32)?;
    if !extra.is_empty() && !parameters.star {
        return Err(too_many(code, parameters, defaults, given, &args.keyword));
    }
    let mut unknown = Vec::new();
    for (name, value) in args.keyword {
        let slot = code.slots.iter().take(named).skip(parameters.positional_only).position(|slot| *slot == name);
        match slot.map(|slot| slot + parameters.positional_only) {
            Some(slot) if bound[slot] => {
                return Err(Raise::type_error(format!(
                    "{}() got multiple values for argument '{name}'",
                    code.qualified_name()
                )));
            }
            Some(slot) => {
                frame.fill(slot, value);
                bound[slot] = true;
            }
            None if parameters.double_star => unknown.push((name, value)),
            None if code.slots.iter().take(parameters.positional_only).any(|slot| *slot == name) => {
                return Err(Raise::type_error(format!(
                    "{}() got some positional-only arguments passed as keyword arguments: '{name}'",
                    code.qualified_name()
                )));
            }
            None => {
                return Err(Raise::type_error(format!(
                    "{}() got an unexpected keyword argument '{name}'",
                    code.qualified_name()
                )));
            }
        }
    }
    let without_default = positional.saturating_sub(defaults.positional.len());
    let mut missing = Vec::new();
    let unbound = code.slots.iter().enumerate().zip(&bound).filter(|(_, bound)| !**bound).map(|(slot, _)| slot);
    for (slot, name) in unbound.clone().take_while(|(slot, _)| *slot < positional) {
        match slot.checked_sub(without_default).and_then(|index| defaults.positional.get(index)) {
            Some(value) => frame.fill(slot, value.clone()),
            None => missing.push(name),
        }
    }
    if !missing.is_empty() {
        return Err(missing_arguments(code, "positional", &missing));
    }
    for (slot, name) in unbound.skip_while(|(slot, _)| *slot < positional) {
        match defaults.keyword.iter().find(|(other, _)| other == name) {
            Some((_, value)) => frame.fill(slot, value.clone()),
            None => missing.push(name),
        }
    }
    if !missing.is_empty() {
        return Err(missing_arguments(code, "keyword-only", &missing));
    }
    let mut slot = named;
    if parameters.star {
        machine.charge_fuel(extra.len() as u64)?;
        frame.fill(slot, Value::tuple(extra));
        slot += 1;
    }
    if parameters.double_star {
        frame.fill(slot, Value::dict(unknown));
    }
    Ok(())
}

fn too_many(
    code: &Code,
    parameters: &Parameters,
    defaults: &Defaults,
    given: usize,
    keyword: &[(Rc<str>, Value)],
) -> Raise {
    let positional = parameters.positional_only + parameters.positional;
    let required = positional.saturating_sub(defaults.positional.len());
    let takes =
        if required == positional { positional.to_string() } else { format!("from {required} to {positional}") };
    let plural = if positional == 1 && required == positional { "" } else { "s" };
    let keyword_only = code.slots.iter().skip(positional).take(parameters.keyword_only);
    let keyword_given = keyword_only.filter(|name| keyword.iter().any(|(other, _)| other == *name)).count();
    let were = if given == 1 && keyword_given == 0 { "was" } else { "were" };
    let given = if keyword_given > 0 {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        format!(
            "{given} positional argument{} (and {keyword_given} keyword-only argument{})",
            plural(given),
            plural(keyword_given)
        )
    } else {
        given.to_string()
    };
    Raise::type_error(format!(
        "{}() takes {takes} positional argument{plural} but {given} {were} given",
        code.qualified_name()
    ))
}

fn missing_arguments(code: &Code, kind: &str, names: &[&Rc<str>]) -> Raise {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    let list = match quoted.as_slice() {
        [one] => one.clone(),
        [first, second] => format!("{first} and {second}"),
        [rest @ .., last] => format!("{}, and {last}", rest.join(", ")),
        [] => String::new(),
    };
    let plural = if names.len() == 1 { "" } else { "s" };
    Raise::new(
        Kind::TypeError,
        format!("{}() missing {} required {kind} argument{plural}: {list}", code.qualified_name(), names.len()),
    )
}
