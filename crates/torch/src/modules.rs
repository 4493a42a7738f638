//! Importable modules of the host: `torch` and what belongs to it, `einops`, the common part of `numpy`.

pub mod context;
pub mod einops;
pub mod functions;
mod limits;
mod neural;
pub mod written;

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, Effect, HostObject, HostResult, Kind, Machine, Operator, Outcome, Use, Value};
use program::DType;

use crate::dtype::{self, Device};
use crate::generator::Generator;
use crate::job::{self, Job};
use crate::signatures::{self, Signature};
use crate::size::Size;
use crate::tensor::Tensor;
use crate::{allowed, array, binding, create, effects, python};

/// Modules that can be imported, submodules included.
const MODULES: &[&str] = &[
    "torch",
    "torch.autograd",
    "torch.autograd.functional",
    "torch.cuda",
    "torch.distributions",
    "torch.fft",
    "torch.func",
    "torch.functional",
    "torch.linalg",
    "torch.nn",
    "torch.nn.functional",
    "torch.nn.init",
    "torch.nn.utils",
    "torch.nn.utils.rnn",
    "torch.optim",
    "torch.optim.lr_scheduler",
    "torch.special",
    "torch.random",
    "torch.utils",
    "torch.utils.data",
    "torch.amp",
    "torch.cpu",
    "torch.cpu.amp",
    "torch.cuda.amp",
    "einops",
    "numpy",
    "numpy.linalg",
    "numpy.random",
];

/// Finds a module by its name.
#[must_use]
pub fn import(_: &Machine, module: &str) -> Option<Value> {
    let name = MODULES.iter().copied().find(|name| *name == module).or_else(|| written::module(module))?;
    thread_local! {
        // One object a module, so that `is` holds between two imports.
        static SHOWN: RefCell<Vec<Rc<Module>>> = const { RefCell::new(Vec::new()) };
    }
    let shown = SHOWN.with_borrow_mut(|shown| match shown.iter().find(|module| module.name == name) {
        Some(module) => module.clone(),
        None => {
            let module = Rc::new(Module { name });
            shown.push(module.clone());
            module
        }
    });
    Some(Value::Host(shown))
}

/// Finds what a request refers to by module and name: `torch` `float32`, `torch.nn.functional` `softmax`.
#[must_use]
pub fn global(machine: &Machine, module: &str, name: &str) -> Option<Value> {
    // Functions that torch defines in C are found under private classes, Python ones under the file they are in.
    let home = match module {
        "torch._C"
        | "torch._C._VariableFunctions"
        | "torch._VF"
        | "torch.functional"
        | "torch._tensor"
        | "torch.storage" => "torch",
        "torch._C._nn" => "torch.nn.functional",
        "torch._C._linalg" => "torch.linalg",
        "torch._C._special" => "torch.special",
        "torch._C._fft" => "torch.fft",
        "torch.nn.parameter" => "torch.nn",
        module if module.starts_with("torch.nn.modules") => "torch.nn",
        module if module.starts_with("torch._functorch.") => "torch.func",
        "torch._lowrank" => "torch",
        module if module.starts_with("torch.utils.data.") => "torch.utils.data",
        "torch.nn.utils.rnn" => module,
        module if module.starts_with("torch.nn.utils.") => "torch.nn.utils",
        "torch.optim.lr_scheduler" => module,
        module if module.starts_with("torch.optim.") => "torch.optim",
        "torch.autograd.function" => "torch.autograd",
        "torch.autograd.grad_mode" => "torch",
        "torch.amp.autocast_mode" => "torch.amp",
        "torch.cpu.amp.autocast_mode" => "torch.cpu.amp",
        "torch.cuda.amp.autocast_mode" => "torch.cuda.amp",
        "einops.einops" | "einops.einsum" => "einops",
        "numpy.core"
        | "numpy.core.multiarray"
        | "numpy._core"
        | "numpy._core.multiarray"
        | "numpy.core.fromnumeric"
        | "numpy._core.fromnumeric" => "numpy",
        module => module,
    };
    if home == "torch" && name == "_VariableFunctionsClass" {
        return import(machine, "torch");
    }
    let mut value = import(machine, home)?;
    for part in name.split('.') {
        // A class of C functions, as in `torch._C._VariableFunctionsClass.relu`.
        if part == "_VariableFunctionsClass" {
            continue;
        }
        let found = match &value {
            Value::Host(object) => object.clone().get_attribute(machine, part).ok()?,
            _ => return None,
        };
        value = match found {
            Outcome::Ready(value) => value,
            _ => return None,
        };
    }
    Some(value)
}

/// An importable module.
pub struct Module {
    name: &'static str,
}

impl HostObject for Module {
    fn type_name(&self) -> Cow<'static, str> {
        "module".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, machine: &Machine, name: &str, usage: Use<'_>) -> Effect {
        if let Some(body) = find(self.name, name) {
            return body.effect(self.name, name, usage);
        }
        match (member(machine, self.name, name), usage) {
            (Ok(Some(Value::Host(member))), Use::Call { .. }) => member.effect(machine, "__call__", usage),
            (Ok(Some(Value::Host(member))), Use::Read) if member.class_name().is_some() => {
                member.effect(machine, "__call__", usage)
            }
            (Ok(Some(_)), Use::Read) => Effect::Looks,
            _ => Effect::Anything,
        }
    }

    fn member(self: Rc<Self>, machine: &Machine, name: &str) -> Option<Value> {
        member(machine, self.name, name).ok().flatten()
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        if let Some(value) = member(machine, self.name, name)? {
            return Ok(value.into());
        }
        match name {
            "__name__" => Ok(Value::from(self.name).into()),
            name if name.starts_with("__") => Ok(Outcome::NotImplemented),
            name => Err(allowed::refused(self.name, name)),
        }
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        // A function of a module is called without making an object of it first.
        match find(self.name, name) {
            Some(body) => body.call(machine, name, args),
            None => Ok(Outcome::NotImplemented),
        }
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("<module '{}'>", self.name)))
    }
}

/// Returns a member of a module.
fn member(machine: &Machine, module: &'static str, name: &str) -> Result<Option<Value>, Raise> {
    if let Some(body) = find(module, name) {
        return Ok(Some(Value::host(Function { module, name: name.into(), body })));
    }
    if let Some(inner) = import(machine, &format!("{module}.{name}")) {
        return Ok(Some(inner));
    }
    if let Some(class) = class_named(&format!("{module}.{name}")) {
        return Ok(Some(class));
    }
    if let Some(value) = written::member(machine, module, name)? {
        return Ok(Some(value));
    }
    Ok(match (module, name) {
        ("torch", "pi") | ("numpy", "pi") => Some(Value::Float(std::f64::consts::PI)),
        ("torch", "e") | ("numpy", "e") => Some(Value::Float(std::f64::consts::E)),
        ("torch", "inf") | ("numpy", "inf") => Some(Value::Float(f64::INFINITY)),
        ("torch", "nan") | ("numpy", "nan") => Some(Value::Float(f64::NAN)),
        ("torch" | "numpy", "newaxis") => Some(Value::None),
        ("torch", "__version__") => Some(Value::from("2.11.0")),
        ("torch", name) => DType::from_name(name).map(dtype::value).or_else(|| dtype::constant(name)),
        ("numpy", name) => array::types::class(name),
        _ => None,
    })
}

/// A function of a module, as an object: passed around, called later.
pub struct Function {
    module: &'static str,
    name: Box<str>,
    body: Body,
}

/// How a function is computed.
#[derive(Clone, Copy)]
enum Body {
    /// By an operator, under its schema.
    Operator(&'static str),
    /// By an operator, under PyTorch's Python signature.
    Signature(&'static Signature),
    Native(Native),
}

/// A function written in Rust.
pub type Native = fn(&Machine, Args) -> HostResult;

impl Body {
    fn call(self, machine: &Machine, _: &str, args: &Args) -> HostResult {
        match self {
            Self::Operator(operator) => binding::call(machine, operator, None, args).map(Outcome::Ready),
            Self::Signature(signature) => signature.call(machine, args).map(Outcome::Ready),
            Self::Native(native) => native(machine, args.clone()),
        }
    }
}

impl Body {
    /// Returns what calling it does.
    fn effect(self, module: &str, name: &str, usage: Use<'_>) -> Effect {
        match self {
            Self::Operator(operator) => effects::of_function(operator),
            Self::Signature(signature) if signature.writes(usage) => Effect::Anything,
            Self::Signature(signature) => effects::of_function(signature.operator()),
            Self::Native(_) => effects::of_native(module, name, usage),
        }
    }
}

/// Finds a function: first those written in Rust, then signatures, then the list of operators.
fn find(module: &str, name: &str) -> Option<Body> {
    let natives = match module {
        "torch" | "torch.functional" => functions::torch(name).or_else(|| context::function(name)),
        "torch.nn.functional" => functions::functional(name),
        "torch.linalg" => functions::linalg(name),
        "torch.autograd" => context::autograd(name),
        "torch.cuda" => functions::cuda(name),
        "torch.random" => functions::torch(name),
        "torch.amp" => context::amp(name),
        "torch.cpu.amp" => context::amp_of("cpu", name),
        "torch.cuda.amp" => context::amp_of("cuda", name),
        "einops" => einops::function(name),
        "numpy" => array::function(module, name),
        _ => None,
    };
    natives
        .map(Body::Native)
        .or_else(|| signatures::find(module, name).map(Body::Signature))
        .or_else(|| allowed::function(module, name).map(Body::Operator))
}

/// Returns what calling a function of a module does that is told to work in place nowhere.
fn effect_of(module: &str, name: &str) -> Effect {
    let usage = Use::Call { positional: 1, keywords: &[] };
    find(module, name).map_or(Effect::Anything, |body| body.effect(module, name, usage))
}

/// Says whether a module has a function of this name.
#[cfg(test)]
pub fn has_function(module: &str, name: &str) -> bool {
    find(module, name).is_some()
}

impl HostObject for Function {
    fn type_name(&self) -> Cow<'static, str> {
        "builtin_function_or_method".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _: &Machine, name: &str, usage: Use<'_>) -> Effect {
        match name {
            "__call__" => self.body.effect(self.module, &self.name, usage),
            "__name__" => Effect::Looks,
            _ => Effect::Anything,
        }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        Ok(match name {
            "__name__" | "__qualname__" => Value::from(&*self.name).into(),
            "__module__" => Value::from(self.module).into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        self.body.call(machine, &self.name, &args)
    }

    fn binary(self: Rc<Self>, _: &Machine, operator: Operator, other: &Value, _: bool) -> HostResult {
        let same =
            python::host::<Self>(other).is_some_and(|other| other.name == self.name && other.module == self.module);
        Ok(match operator {
            Operator::Equal => Value::Bool(same).into(),
            Operator::NotEqual => Value::Bool(!same).into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("<built-in function {}>", self.name)))
    }
}

/// A class of the host, for `isinstance` and as a constructor.
pub struct Class {
    /// With its module: `torch.Tensor`.
    name: Cow<'static, str>,
    construct: Construct,
}

/// Makes an instance of a class.
pub type Construct = Rc<dyn Fn(&Machine, Args) -> HostResult>;

impl Class {
    /// Makes a class of a table.
    pub fn dynamic(name: String, construct: Construct) -> Self {
        Self { name: name.into(), construct }
    }

    /// Returns the name in `torch.nn` of a layer.
    fn layer(&self) -> Option<&str> {
        self.name.strip_prefix("torch.nn.").filter(|name| neural::is_layer(name))
    }

    /// Says whether the class is that of a layer.
    pub fn is_layer(&self) -> bool {
        self.layer().is_some()
    }

    /// Returns the name under which the class shows itself: with the module that defines it.
    fn shown(&self) -> Cow<'_, str> {
        match self.name.strip_prefix("torch.nn.") {
            Some("Parameter") => "torch.nn.parameter.Parameter".into(),
            Some(name) => format!("{}.{name}", neural::home(name)).into(),
            None => (&*self.name).into(),
        }
    }
}

/// Calls a function of a module from Rust.
///
/// # Errors
/// `AttributeError` for a name that the module lacks; what the function raises.
pub fn call_function(machine: &Machine, module: &'static str, name: &str, args: &Args) -> HostResult {
    match find(module, name) {
        Some(body) => body.call(machine, name, args),
        None => Err(allowed::refused(module, name)),
    }
}

/// Rebuilds an object of an importable class from a request: its arguments, or the state that unpickling sets.
#[must_use]
pub fn instance(machine: &Machine, class: &str, args: &[Value], state: Option<&Value>) -> Option<Result<Value, Raise>> {
    let first = args.first().cloned().unwrap_or(Value::None);
    let ready = |outcome: HostResult| match outcome {
        Ok(Outcome::Ready(value)) => Ok(value),
        Ok(_) => Err(Raise::runtime_error("the object cannot be made at once")),
        Err(raise) => Err(raise),
    };
    Some(match class {
        "torch.Size" => Size::construct(machine, python::positional(args)).map(Value::host),
        "torch.device" => ready(device(machine, python::positional(args))),
        "torch.nn.parameter.Parameter" | "torch.nn.Parameter" => {
            ready(functions::parameter(machine, python::positional(args)))
        }
        "torch._C.Generator" | "torch.Generator" => Generator::rebuild(machine, &first, state),
        "numpy.ndarray" | "numpy.generic" => match Tensor::of(&first) {
            Some(tensor) => Ok(array::of_request(tensor, class == "numpy.generic")),
            None => Err(Raise::type_error("an array needs its data")),
        },
        class if let Some(name) = class.strip_prefix("torch.return_types.") => {
            return crate::data::make_named(name, python::sequence(&first).unwrap_or_default()).map(Ok);
        }
        class if class.starts_with("torch.nn.modules.") => match state {
            Some(state) => return neural::of_state(machine, class, state),
            None => return None,
        },
        _ => return None,
    })
}

/// Returns the class object of a name with its module. There is one of each, so that `type(x) is torch.Tensor` holds.
#[must_use]
pub fn class_named(name: &str) -> Option<Value> {
    thread_local! {
        static SHOWN: RefCell<Vec<(Box<str>, Value)>> = const { RefCell::new(Vec::new()) };
    }
    let known =
        |shown: &Vec<(Box<str>, Value)>| shown.iter().find(|(known, _)| **known == *name).map(|(_, it)| it.clone());
    if let Some(class) = SHOWN.with_borrow(known) {
        return Some(class);
    }
    let class = make_class(name)?;
    SHOWN.with_borrow_mut(|shown| shown.push((name.into(), class.clone())));
    Some(class)
}

fn make_class(name: &str) -> Option<Value> {
    let typed =
        |dtype: DType| -> Construct { Rc::new(move |machine, args| functions::legacy_typed(machine, args, dtype)) };
    let construct: Construct = match name {
        "torch.Tensor" | "torch.FloatTensor" => Rc::new(functions::legacy_tensor),
        "torch.DoubleTensor" => typed(DType::Float64),
        "torch.HalfTensor" => typed(DType::Float16),
        "torch.CharTensor" => typed(DType::Int8),
        "torch.LongTensor" => typed(DType::Int64),
        "torch.ShortTensor" => typed(DType::Int16),
        "torch.IntTensor" => typed(DType::Int32),
        "torch.BoolTensor" => typed(DType::Bool),
        "torch.ByteTensor" => typed(DType::UInt8),
        "torch.Size" => Rc::new(|machine, args| Ok(Value::host(Size::construct(machine, args)?).into())),
        "torch.device" => Rc::new(device),
        "torch.Generator" => Rc::new(generator),
        "torch.finfo" => Rc::new(functions::finfo),
        "torch.iinfo" => Rc::new(functions::iinfo),
        "torch.nn.Parameter" => Rc::new(functions::parameter),
        "torch.dtype" | "torch.layout" | "torch.memory_format" | "numpy.ndarray" => abstract_class(name),
        "numpy.dtype" => Rc::new(array::types::make_element_type),
        name if array::types::ABSTRACT.contains(&name) => abstract_class(name),
        name if let Some(dtype) = numpy_type(name) => {
            Rc::new(move |machine, args| array::types::scalar(machine, args, dtype))
        }
        name => match name.strip_prefix("torch.nn.") {
            Some(short) => return neural::class(short),
            None if name.starts_with("torch.return_types.") => abstract_class(name),
            None => return None,
        },
    };
    Some(Value::host(Class::dynamic(name.into(), construct)))
}

/// Returns the element type of a class of numpy scalars, by the class's own name alone.
fn numpy_type(class: &str) -> Option<DType> {
    let name = class.strip_prefix("numpy.")?;
    array::types::of_name(name).filter(|dtype| dtype.name() == name)
}

fn abstract_class(name: &str) -> Construct {
    let name = String::from(name);
    Rc::new(move |_, _| Err(Raise::type_error(format!("cannot create '{name}' instances"))))
}

fn device(_: &Machine, args: Args) -> HostResult {
    let [kind, index] = args.bind("device", ["type", "index"], 1)?;
    let kind = kind.unwrap_or(Value::None);
    let Some(mut device) = Device::of_value(&kind)? else {
        return Err(Raise::type_error(format!(
            "device(): argument 'type' must be str, not {}",
            python::type_name(&kind)
        )));
    };
    if let Some(index) = index.as_ref().and_then(Value::as_int) {
        device.index = i32::try_from(index).unwrap_or(-1);
    }
    Ok(device.value().into())
}

fn generator(machine: &Machine, args: Args) -> HostResult {
    let [device] = args.bind("Generator", ["device"], 0)?;
    let job = Job::of(machine);
    let device = match python::given(device) {
        Some(device) => Device::of_value(&device)?.unwrap_or(Device::CPU),
        None => job.device(),
    };
    Ok(Value::host(Generator::new(&job, device, job::DEFAULT_SEED)?).into())
}

impl HostObject for Class {
    fn type_name(&self) -> Cow<'static, str> {
        "type".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn class_name(&self) -> Option<Cow<'static, str>> {
        Some(self.name.clone())
    }

    fn is_below(&self, class: &str) -> bool {
        match numpy_type(&self.name) {
            Some(dtype) => array::types::is_of(dtype, class),
            None if array::types::ABSTRACT.contains(&&*self.name) => array::types::is_abstract_below(&self.name, class),
            None if matches!(&*self.name, "torch.Tensor" | "torch.nn.Parameter") => {
                let does = ["Collection", "Container", "Iterable", "Reversible", "Sized"];
                let known = class.strip_prefix("collections.abc.").or_else(|| class.strip_prefix("typing."));
                class == "torch.Tensor" || known.is_some_and(|name| does.contains(&name))
            }
            None => class == "torch.nn.Module" && self.name.strip_prefix("torch.nn.").is_some_and(neural::is_class),
        }
    }

    fn effect(&self, _: &Machine, name: &str, _: Use<'_>) -> Effect {
        match name {
            "__call__" if effects::makes_plain_objects(&self.name) => Effect::Looks,
            "__name__" => Effect::Looks,
            _ => Effect::Anything,
        }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        let shown = self.shown();
        let (module, short) = shown.rsplit_once('.').unwrap_or(("", &self.name));
        if name == "__name__" || name == "__qualname__" {
            return Ok(Value::from(short).into());
        }
        if name == "__module__" {
            return Ok(Value::from(module).into());
        }
        // `torch.Tensor.add`: a method taken from the class, given its receiver when called.
        if &*self.name == "torch.Tensor" && crate::tensor::has_method(name) {
            let name: Rc<str> = name.into();
            return Ok(Value::native(name.clone(), move |machine, mut args| {
                let receiver = match args.positional.is_empty() {
                    true => None,
                    false => Tensor::of(&args.positional.remove(0)),
                };
                match receiver {
                    Some(tensor) => crate::tensor::call_method(machine, &tensor, &name, &args),
                    None => Err(Raise::type_error(format!("unbound method TensorBase.{name}() needs an argument"))),
                }
            })
            .into());
        }
        Ok(Outcome::NotImplemented)
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        (self.construct)(machine, args)
    }

    fn instead_of_deriving(&self) -> Option<&'static str> {
        let container = !self.is_layer() && self.name.strip_prefix("torch.nn.").is_some_and(neural::is_class);
        container.then_some("derive from torch.nn.Module, and keep one in an attribute")
    }

    fn initialize_instance(self: Rc<Self>, machine: &Machine, instance: &Value, args: Args) -> HostResult {
        match self.layer() {
            Some(name) => neural::initialize_derived(machine, name, instance, &args),
            None => Ok(Outcome::NotImplemented),
        }
    }

    fn call_instance(self: Rc<Self>, machine: &Machine, instance: &Value, args: Args) -> HostResult {
        match self.is_layer() {
            true => neural::call_instance(machine, instance, args),
            false => Ok(Outcome::NotImplemented),
        }
    }

    fn instance_attribute(self: Rc<Self>, machine: &Machine, instance: &Value, name: &str) -> HostResult {
        match self.layer() {
            Some(layer) => neural::derived_attribute(machine, layer, instance, name),
            None => Ok(Outcome::NotImplemented),
        }
    }

    fn set_instance_attribute(
        self: Rc<Self>,
        machine: &Machine,
        instance: &Value,
        name: &str,
        value: &Value,
    ) -> HostResult {
        match self.is_layer() {
            true => neural::set_instance_attribute(machine, instance, name, value),
            false => Ok(Outcome::NotImplemented),
        }
    }

    fn delete_instance_attribute(self: Rc<Self>, _: &Machine, instance: &Value, name: &str) -> HostResult {
        match self.is_layer() {
            true => Ok(neural::delete_instance_attribute(instance, name)),
            false => Ok(Outcome::NotImplemented),
        }
    }

    fn binary(self: Rc<Self>, _: &Machine, operator: Operator, other: &Value, _: bool) -> HostResult {
        let Some(other) = python::host::<Self>(other) else { return Ok(Outcome::NotImplemented) };
        Ok(match operator {
            Operator::Equal => Value::Bool(other.name == self.name).into(),
            Operator::NotEqual => Value::Bool(other.name != self.name).into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("<class '{}'>", self.shown())))
    }
}

/// Makes a tensor from a call's `data`, `dtype`, `device` and `requires_grad`.
pub(crate) fn construct(
    machine: &Machine,
    data: Option<Value>,
    dtype: Option<Value>,
    device: Option<Value>,
    requires_grad: Option<Value>,
) -> HostResult {
    let dtype = match python::given(dtype) {
        None => None,
        Some(dtype) => Some(dtype::of_value(&dtype).ok_or_else(|| {
            let name = python::type_name(&dtype);
            Raise::type_error(format!("tensor(): argument 'dtype' must be torch.dtype, not {name}"))
        })?),
    };
    let data = data.unwrap_or(Value::None);
    let device = match python::given(device) {
        // A tensor stays where it is.
        None => Tensor::of(&data).is_none().then(|| Job::of(machine).device()),
        Some(device) => Device::of_value(&device)?,
    };
    let made = create::of_data(machine, &data, dtype, device)?;
    if matches!(requires_grad, Some(Value::Bool(true))) {
        if !dtype::is_floating(made.dtype()) && !dtype::is_complex(made.dtype()) {
            return Err(Raise::new(
                Kind::RuntimeError,
                "Only Tensors of floating point and complex dtype can require gradients",
            ));
        }
        made.set_requires_grad(true)?;
    }
    python::ready(made)
}
