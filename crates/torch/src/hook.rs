//! `tensor.register_hook(hook)`: a function of the program's that sees, and may replace, the gradient of a tensor.
//!
//! It is called from inside libtorch's walk, on the model's thread, and what it raises ends the backward pass: no other
//! hook is called, and whoever asked for the pass raises it.

use interpreter::raise::Raise;
use interpreter::{Args, Coroutine, HostResult, Machine, Outcome, Step, Value};

use crate::autograd;
use crate::deferred::Deferred;
use crate::handle::RemovableHandle;
use crate::job::Job;
use crate::python;
use crate::tensor::{Tensor, legacy_name};

/// Has a function see the gradients that come to a tensor.
///
/// # Errors
/// `RuntimeError` for a tensor that requires no gradient, as the served model's weights do not.
pub(crate) fn register(machine: &Machine, tensor: &Tensor, args: Args) -> HostResult {
    let [hook] = args.bind("register_hook", ["hook"], 1)?;
    let hook = hook.unwrap_or(Value::None);
    if tensor.is_read_only() {
        return Err(autograd::no_weight_gradients());
    }
    if !tensor.requires_grad() {
        return Err(Raise::runtime_error("cannot register a hook on a tensor that doesn't require gradient"));
    }
    let machine = machine.clone();
    let registered = tensor.on_gradient(Box::new(move |gradient| {
        let job = Job::of(&machine);
        if job.hooks_failed() {
            return None;
        }
        see(&machine, &hook, &gradient).unwrap_or_else(|raise| {
            job.fail_hooks(raise);
            None
        })
    }))?;
    let end = move || {
        // Where libtorch knows it no more, the tensor is gone.
        let _ = registered.remove();
    };
    Ok(Value::host(RemovableHandle::new(None, end)).into())
}

/// Calls a hook, and returns what is to take the gradient's place.
fn see(machine: &Machine, hook: &Value, gradient: &Tensor) -> Result<Option<Tensor>, Raise> {
    match during_walk(machine, hook, python::positional([gradient.value()]))? {
        Value::None => Ok(None),
        value => match Tensor::of(&value) {
            Some(replacement) => fits(&name_of(machine, hook), gradient, &replacement).map(|()| Some(replacement)),
            None => {
                let name = python::type_name(&value);
                Err(Raise::type_error(format!("expected Variable, but hook returned '{name}'")))
            }
        },
    }
}

/// Calls a function of the program's from inside libtorch's walk.
///
/// # Errors
/// What it raises; `RuntimeError` where it waits for the model.
pub(crate) fn during_walk(machine: &Machine, function: &Value, args: Args) -> Result<Value, Raise> {
    let job = Job::of(machine);
    // It is no part of a block beside the pass.
    let around = job.set_backward_block(None);
    let returned = machine.recurse(|| finish(machine, function, args));
    job.set_backward_block(around);
    returned
}

fn finish(machine: &Machine, function: &Value, args: Args) -> Result<Value, Raise> {
    let called = machine.call(function, args);
    let mut coroutine = Coroutine::of_future(machine, called);
    let mut answer = None;
    loop {
        let request = match coroutine.resume(answer.take()) {
            Step::Done(result) => return result,
            Step::Waiting(request) => request.0,
        };
        let Ok(deferred) = request.downcast::<Deferred>() else {
            return Err(Raise::runtime_error(
                "a hook of a gradient cannot wait for the model, which is at another place: read what it needs before",
            ));
        };
        answer = Deferred::resolve(vec![*deferred]).pop();
    }
}

fn name_of(machine: &Machine, hook: &Value) -> String {
    match interpreter::attribute::find(machine, hook, "__name__") {
        Ok(Some(Outcome::Ready(Value::Str(name)))) => name.to_string(),
        _ => "<unknown>".into(),
    }
}

/// Checks what a hook replaces a gradient by, in PyTorch's words.
///
/// # Errors
/// `RuntimeError` for another type or another shape.
pub(crate) fn fits(hook: &str, gradient: &Tensor, replacement: &Tensor) -> Result<(), Raise> {
    if replacement.dtype() != gradient.dtype() {
        let (was, got) = (legacy_name(gradient), legacy_name(replacement));
        let text = format!("hook '{hook}' has changed the type of value (was {was} got {got})");
        return Err(Raise::runtime_error(text));
    }
    if replacement.sizes() != gradient.sizes() {
        return Err(Raise::runtime_error(format!("hook '{hook}' has changed the size of value")));
    }
    Ok(())
}

/// Ends a backward pass with what a hook raised, if one did.
pub(crate) fn settle(machine: &Machine, walked: HostResult) -> HostResult {
    let raised = |machine: &Machine| Job::of(machine).take_failure_of_hooks().map_or(Ok(()), Err);
    match walked {
        Ok(Outcome::Wait(request)) => {
            let machine = machine.clone();
            Ok(Outcome::Later(Box::pin(async move {
                let walked = machine.settle(Outcome::Wait(request)).await;
                raised(&machine)?;
                walked
            })))
        }
        walked => {
            raised(machine)?;
            walked
        }
    }
}
