//! Context managers: `torch.no_grad()` and its like.

use std::any::Any;
use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, HostObject, HostResult, Machine, Outcome, Value};

use super::Native;
use crate::autograd;
use crate::job::Job;

/// Finds a function that makes a context manager.
pub fn function(name: &str) -> Option<Native> {
    Some(match name {
        "no_grad" => |_, args| decorated(args, Some(false)),
        "enable_grad" => |_, args| decorated(args, Some(true)),
        "inference_mode" => |_, args| {
            let [mode] = args.bind("inference_mode", ["mode"], 0)?;
            match mode {
                None | Some(Value::Bool(true)) => Ok(GradMode::value(Some(false)).into()),
                Some(Value::Bool(false)) => Ok(GradMode::value(None).into()),
                Some(function) => Ok(function.into()),
            }
        },
        "set_grad_enabled" => |machine, args| {
            let mode = args.one("set_grad_enabled")?;
            let Value::Bool(on) = mode else {
                return Err(Raise::type_error("set_grad_enabled(): argument 'mode' (position 1) must be bool"));
            };
            // It takes effect when called, and is undone when used as a context manager.
            let before = Job::of(machine).set_gradients(on);
            Ok(Value::host(GradMode { on: Some(on), before: Cell::new(Some(before)) }).into())
        },
        "is_grad_enabled" => |machine, args| {
            args.none("is_grad_enabled")?;
            Ok(Value::Bool(Job::of(machine).gradients()).into())
        },
        "is_inference_mode_enabled" => |_, args| {
            args.none("is_inference_mode_enabled")?;
            Ok(Value::Bool(false).into())
        },
        // Precision is the model's; the context is there so that code that has it runs.
        "autocast" => |_, _| Ok(GradMode::value(None).into()),
        _ => return None,
    })
}

/// Finds a function of `torch.autograd`.
pub fn autograd(name: &str) -> Option<Native> {
    match name {
        "grad" => Some(autograd::grad_called),
        "backward" => Some(autograd::backward_called),
        name => function(name),
    }
}

fn decorated(args: Args, on: Option<bool>) -> HostResult {
    let [function] = args.bind("no_grad", ["orig_func"], 0)?;
    Ok(function.unwrap_or_else(|| GradMode::value(on)).into())
}

/// Sets whether gradients are recorded, until left. `None` changes nothing.
struct GradMode {
    on: Option<bool>,
    before: Cell<Option<bool>>,
}

impl GradMode {
    fn value(on: Option<bool>) -> Value {
        Value::host(Self { on, before: Cell::new(None) })
    }
}

impl HostObject for GradMode {
    fn type_name(&self) -> Cow<'static, str> {
        "no_grad".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    /// As a decorator, it leaves the function as it is: decorators of shipped functions are not applied either.
    fn call(self: Rc<Self>, _: &Machine, args: Args) -> HostResult {
        Ok(args.one("no_grad")?.into())
    }

    fn enter(self: Rc<Self>, machine: &Machine) -> HostResult {
        if let Some(on) = self.on {
            let before = Job::of(machine).set_gradients(on);
            if self.before.get().is_none() {
                self.before.set(Some(before));
            }
        }
        Ok(Outcome::Ready(Value::None))
    }

    fn exit(self: Rc<Self>, machine: &Machine, _: Option<&Raise>) -> HostResult {
        if let Some(before) = self.before.take() {
            Job::of(machine).set_gradients(before);
        }
        Ok(Outcome::Ready(Value::Bool(false)))
    }
}
