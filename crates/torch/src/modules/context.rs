//! Context managers that are decorators as well: `torch.no_grad()`, `torch.autocast(…)` and their like.

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use interpreter::function::{Defaults, Function};
use interpreter::raise::Raise;
use interpreter::{Args, HostObject, HostResult, Machine, Outcome, Value};
use program::DType;

use super::Native;
use crate::autograd;
use crate::dtype;
use crate::job::Job;
use crate::modes::{Autocast, Kind, Modes};
use crate::python;

/// Finds a function that makes a context manager, or says what is set.
pub fn function(name: &str) -> Option<Native> {
    Some(match name {
        "no_grad" => |machine, args| switched(machine, "no_grad", args, Change::Gradients(false)),
        "enable_grad" => |machine, args| switched(machine, "enable_grad", args, Change::Gradients(true)),
        "inference_mode" => |machine, args| {
            let [mode] = args.bind("inference_mode", ["mode"], 0)?;
            let inference = |on| Change::Inference { on, gradients: !on };
            match mode {
                None => Ok(Guard::value("inference_mode", inference(true)).into()),
                Some(Value::Bool(on)) => Ok(Guard::value("inference_mode", inference(on)).into()),
                // `@torch.inference_mode`, without brackets.
                Some(function) => decorate(machine, "inference_mode", inference(true), function).map(Outcome::from),
            }
        },
        "set_grad_enabled" => |machine, args| {
            let [mode] = args.bind("set_grad_enabled", ["mode"], 1)?;
            let mode = mode.unwrap_or(Value::None);
            let Value::Bool(on) = mode else {
                let name = python::type_name(&mode);
                return Err(Raise::type_error(format!(
                    "set_grad_enabled(): argument 'enabled' (position 1) must be bool, not {name}"
                )));
            };
            // It takes effect when called, and is undone when used as a context manager.
            let change = Change::Gradients(on);
            let before = change.apply(Job::of(machine).modes());
            Ok(Value::host(Guard { name: "set_grad_enabled", change, at_once: true, before: Cell::new(Some(before)) })
                .into())
        },
        "is_grad_enabled" => |machine, args| {
            args.none("is_grad_enabled")?;
            Ok(Value::Bool(Job::of(machine).gradients()).into())
        },
        "is_inference_mode_enabled" => |machine, args| {
            args.none("is_inference_mode_enabled")?;
            Ok(Value::Bool(Job::of(machine).modes().inference()).into())
        },
        "autocast" => autocast,
        "is_autocast_enabled" => |machine, args| {
            let [device] = args.bind("is_autocast_enabled", ["device_type"], 0)?;
            let kind = device.map_or(Ok(Kind::Cuda), |device| kind_of(&device))?;
            Ok(Value::Bool(Job::of(machine).modes().autocast(kind).enabled).into())
        },
        "get_autocast_dtype" => |machine, args| {
            let [device] = args.bind("get_autocast_dtype", ["device_type"], 1)?;
            let kind = kind_of(&device.unwrap_or(Value::None))?;
            Ok(dtype::value(Job::of(machine).modes().autocast(kind).dtype).into())
        },
        _ => return None,
    })
}

/// Finds a function of `torch.autograd`.
pub fn autograd(name: &str) -> Option<Native> {
    match name {
        "grad" => Some(autograd::grad_called),
        "backward" => Some(autograd::backward_called),
        "no_grad" | "enable_grad" | "inference_mode" | "set_grad_enabled" => function(name),
        _ => None,
    }
}

/// Finds a function of `torch.amp`.
pub fn amp(name: &str) -> Option<Native> {
    if name == "autocast" { function(name) } else { None }
}

/// `torch.cuda.amp.autocast(enabled=True, dtype=torch.float16, cache_enabled=True)`, and the same of `torch.cpu.amp`.
pub fn amp_of(device: &str, name: &str) -> Option<Native> {
    match (device, name) {
        ("cuda", "autocast") => Some(|machine, args| old_autocast(machine, args, Kind::Cuda)),
        ("cpu", "autocast") => Some(|machine, args| old_autocast(machine, args, Kind::Cpu)),
        _ => None,
    }
}

fn old_autocast(machine: &Machine, args: Args, kind: Kind) -> HostResult {
    let [enabled, dtype, cache] = args.bind("__init__", ["enabled", "dtype", "cache_enabled"], 0)?;
    autocast_of(machine, kind, dtype, enabled, cache)
}

/// `torch.autocast(device_type, dtype=None, enabled=True, cache_enabled=None)`.
fn autocast(machine: &Machine, args: Args) -> HostResult {
    let parameters = ["device_type", "dtype", "enabled", "cache_enabled"];
    let [device, dtype, enabled, cache] = args.bind("__init__", parameters, 1)?;
    let kind = kind_of(&device.unwrap_or(Value::None))?;
    autocast_of(machine, kind, dtype, enabled, cache)
}

/// Whether casts of weights are kept makes no difference to what is computed: they never are.
fn autocast_of(
    machine: &Machine,
    kind: Kind,
    dtype: Option<Value>,
    enabled: Option<Value>,
    _cache: Option<Value>,
) -> HostResult {
    let job = Job::of(machine);
    let dtype = match python::given(dtype) {
        None => job.modes().autocast(kind).dtype,
        Some(value) => dtype::of_value(&value).ok_or_else(|| {
            let name = python::type_name(&value);
            Raise::type_error(format!("autocast(): argument 'dtype' must be torch.dtype, not {name}"))
        })?,
    };
    let wanted = match enabled {
        None => true,
        Some(value) => python::truth(machine, &value)?,
    };
    // As PyTorch, which warns: nothing is cast to other types, nor for a GPU that is not there.
    let enabled = wanted
        && match kind {
            Kind::Cpu => matches!(dtype, DType::BFloat16 | DType::Float16),
            Kind::Cuda => job.device().is_cuda(),
        };
    Ok(Guard::value("autocast", Change::Autocast(kind, Autocast { enabled, dtype })).into())
}

fn kind_of(device: &Value) -> Result<Kind, Raise> {
    let Some(name) = device.as_str() else {
        let name = python::type_name(device);
        return Err(Raise::value_error(format!("Expected `device_type` of type `str`, got: `<class '{name}'>`")));
    };
    match name {
        "cpu" => Ok(Kind::Cpu),
        "cuda" => Ok(Kind::Cuda),
        other => Err(Raise::runtime_error(format!("User specified an unsupported autocast device_type '{other}'"))),
    }
}

/// What a context manager changes.
#[derive(Clone, Copy)]
enum Change {
    Gradients(bool),
    Inference { on: bool, gradients: bool },
    Autocast(Kind, Autocast),
}

impl Change {
    /// Makes the change, and returns the one that undoes it.
    fn apply(self, modes: &Modes) -> Self {
        match self {
            Self::Gradients(on) => Self::Gradients(modes.set_gradients(on)),
            Self::Inference { on, gradients } => {
                Self::Inference { on: modes.set_inference(on), gradients: modes.set_gradients(gradients) }
            }
            Self::Autocast(kind, autocast) => Self::Autocast(kind, modes.set_autocast(kind, autocast)),
        }
    }
}

/// `torch.no_grad()`, or `@torch.no_grad` without brackets.
fn switched(machine: &Machine, name: &'static str, args: Args, change: Change) -> HostResult {
    let [function] = args.bind(name, ["orig_func"], 0)?;
    match function {
        None => Ok(Guard::value(name, change).into()),
        Some(function) => decorate(machine, name, change, function).map(Outcome::from),
    }
}

/// Changes a mode, until left. As a decorator, it does so whenever the function is called.
struct Guard {
    name: &'static str,
    change: Change,
    /// It was changed when the object was made.
    at_once: bool,
    before: Cell<Option<Change>>,
}

impl Guard {
    fn value(name: &'static str, change: Change) -> Value {
        Value::host(Self { name, change, at_once: false, before: Cell::new(None) })
    }
}

impl HostObject for Guard {
    fn type_name(&self) -> Cow<'static, str> {
        self.name.into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        let function = args.one(self.name)?;
        if let Some(before) = self.before.take().filter(|_| self.at_once) {
            before.apply(Job::of(machine).modes());
        }
        decorate(machine, self.name, self.change, function).map(Outcome::from)
    }

    fn enter(self: Rc<Self>, machine: &Machine) -> HostResult {
        if !self.at_once {
            self.before.set(Some(self.change.apply(Job::of(machine).modes())));
        }
        Ok(Outcome::Ready(if self.name == "autocast" { Value::Host(self) } else { Value::None }))
    }

    fn exit(self: Rc<Self>, machine: &Machine, _: Option<&Raise>) -> HostResult {
        if let Some(before) = self.before.get() {
            before.apply(Job::of(machine).modes());
        }
        Ok(Outcome::Ready(Value::Bool(false)))
    }
}

/// As `torch.utils._contextlib.context_decorator`: a function of Python's, so that it can be a method, too.
const FUNCTION: &str = "def decorate_context(*args, **kwargs):
    with ctx_factory():
        return func(*args, **kwargs)
";

/// As `torch.utils._contextlib._wrap_generator`: the mode is left wherever the generator waits.
const GENERATOR: &str = "def generator_context(*args, **kwargs):
    gen = func(*args, **kwargs)
    try:
        with ctx_factory():
            response = gen.send(None)
        while True:
            try:
                request = yield response
            except GeneratorExit:
                with ctx_factory():
                    gen.close()
                raise
            except BaseException as raised:
                with ctx_factory():
                    response = gen.throw(raised)
            else:
                with ctx_factory():
                    response = gen.send(request)
    except StopIteration as stopped:
        return stopped.value
";

/// Makes a function that calls another in a mode.
fn decorate(machine: &Machine, name: &'static str, change: Change, function: Value) -> Result<Value, Raise> {
    let code = match &function {
        Value::Function(function) => Some(Rc::clone(function.code())),
        Value::Class(_) => {
            return Err(Raise::type_error(format!(
                "decorating a class with torch.{name} is not supported by this server"
            )));
        }
        _ => None,
    };
    let (source, made) = match code.is_some_and(|code| code.generator) {
        true => (GENERATOR, "generator_context"),
        false => (FUNCTION, "decorate_context"),
    };
    let globals = Rc::new(RefCell::default());
    let decorated = Function::from_source(
        machine,
        source,
        made,
        "torch/utils/_contextlib.py",
        1,
        Defaults::default(),
        Rc::clone(&globals),
    )?;
    {
        let mut globals = globals.borrow_mut();
        let factory = Value::native("ctx_factory", move |_, _| Ok(Guard::value(name, change).into()));
        globals.insert("ctx_factory".into(), factory);
        globals.insert("func".into(), function.clone());
    }
    if let Value::Function(decorated) = &decorated {
        if let Value::Function(function) = &function {
            decorated.set("__name__", Value::string(function.name()));
            for (name, value) in function.attributes() {
                decorated.set(name, value);
            }
        }
        decorated.set("__wrapped__", function);
    }
    Ok(decorated)
}
