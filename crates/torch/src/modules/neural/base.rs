//! `torch.nn.Module` as the base of users' classes, and the methods that all modules share.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, HostObject, HostResult, Instance, Machine, Outcome, Value};
use program::DType;

use super::members as members_of;
use crate::dispatch::{self, Argument};
use crate::dtype::{self, Device};
use crate::python;
use crate::tensor::Tensor;

/// Where a module keeps what it registers, as in PyTorch.
const REGISTERS: [&str; 3] = ["_parameters", "_buffers", "_modules"];

/// `torch.nn.Module`.
pub struct Module;

/// Shows `torch.nn.Module` to Python.
pub fn class() -> Value {
    thread_local! {
        static CLASS: Rc<Module> = Rc::new(Module);
    }
    CLASS.with(|class| Value::Host(class.clone()))
}

/// Says whether a value is an instance of a user's class that derives from `Module`.
pub fn is_instance(value: &Value) -> bool {
    let Value::Instance(instance) = value else { return false };
    instance.class().host().is_some_and(|host| host.as_any().is::<Module>())
}

/// Returns the tensors and modules that an instance has registered, or simply holds.
pub fn members(value: &Value) -> Vec<(String, Value)> {
    let Value::Instance(instance) = value else { return Vec::new() };
    let registered = REGISTERS.iter().filter_map(|register| match instance.own(register) {
        Some(Value::Dict(dict)) => Some(dict.entries()),
        _ => None,
    });
    let registered = registered.flatten().filter_map(|(name, value)| Some((name.as_str()?.to_owned(), value)));
    let plain = instance
        .attributes()
        .into_iter()
        .filter(|(_, value)| super::is_module(value) || Tensor::of(value).is_some_and(|tensor| tensor.is_parameter()))
        .map(|(name, value)| (name.to_string(), value));
    registered.chain(plain).collect()
}

fn registered(instance: &Instance, name: &str) -> Option<Value> {
    REGISTERS.iter().find_map(|register| match instance.own(register) {
        Some(Value::Dict(dict)) => dict.get_string(name),
        _ => None,
    })
}

impl HostObject for Module {
    fn type_name(&self) -> Cow<'static, str> {
        "type".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn class_name(&self) -> Option<Cow<'static, str>> {
        Some("torch.nn.Module".into())
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        Ok(match name {
            "__name__" | "__qualname__" => Value::from("Module").into(),
            "__module__" => Value::from("torch.nn.modules.module").into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some("<class 'torch.nn.modules.module.Module'>".into()))
    }

    fn initialize_instance(self: Rc<Self>, _: &Machine, instance: &Value, args: Args) -> HostResult {
        args.none("Module.__init__")?;
        if let Value::Instance(instance) = instance {
            instance.set("training", Value::Bool(true));
        }
        Ok(Value::None.into())
    }

    fn call_instance(self: Rc<Self>, machine: &Machine, instance: &Value, args: Args) -> HostResult {
        let (machine, instance) = (machine.clone(), instance.clone());
        Ok(Outcome::Later(Box::pin(async move {
            let forward = machine.get_attribute(&instance, "forward").await?;
            machine.call(&forward, args).await
        })))
    }

    fn instance_attribute(self: Rc<Self>, machine: &Machine, instance: &Value, name: &str) -> HostResult {
        if let Value::Instance(own) = instance
            && let Some(value) = registered(own, name)
        {
            return Ok(value.into());
        }
        if name == "training" {
            return Ok(Value::Bool(true).into());
        }
        Ok(method(machine, instance, name).map_or(Outcome::NotImplemented, Outcome::Ready))
    }

    fn set_instance_attribute(
        self: Rc<Self>,
        machine: &Machine,
        instance: &Value,
        name: &str,
        value: &Value,
    ) -> HostResult {
        // What a request's state registered stays registered under its name.
        if let Value::Instance(own) = instance {
            for register in REGISTERS {
                if let Some(Value::Dict(dict)) = own.own(register)
                    && dict.get_string(name).is_some()
                {
                    let key = interpreter::types::key::Key::string(name);
                    dict.insert(machine, key, Value::from(name), value.clone())?;
                    return Ok(Value::None.into());
                }
            }
        }
        Ok(Outcome::NotImplemented)
    }
}

/// Methods that all modules share.
const METHODS: &[&str] = &[
    "parameters",
    "named_parameters",
    "buffers",
    "named_buffers",
    "children",
    "named_children",
    "modules",
    "named_modules",
    "state_dict",
    "eval",
    "train",
    "requires_grad_",
    "zero_grad",
    "to",
    "cpu",
    "cuda",
    "float",
    "double",
    "half",
    "bfloat16",
    "type",
    "register_buffer",
    "register_parameter",
    "add_module",
    "register_module",
    "extra_repr",
    "get_parameter",
    "get_submodule",
    "get_buffer",
];

/// Returns a method of any module, bound.
pub fn method(_: &Machine, module: &Value, name: &str) -> Option<Value> {
    let name = METHODS.iter().find(|known| **known == name)?;
    let module = module.clone();
    Some(Value::native(*name, move |machine, args| call(machine, &module, name, args)))
}

fn call(machine: &Machine, module: &Value, name: &str, mut args: Args) -> HostResult {
    let pairs = |pairs: Vec<(String, Value)>| {
        Value::list(pairs.into_iter().map(|(name, value)| Value::tuple(vec![name.into(), value])).collect())
    };
    let values = |pairs: Vec<(String, Value)>| Value::list(pairs.into_iter().map(|(_, value)| value).collect());
    let children = || members_of(module).into_iter().filter(|(_, value)| super::is_module(value)).collect::<Vec<_>>();
    Ok(match name {
        "parameters" => values(tensors(machine, module, true)?),
        "named_parameters" => pairs(tensors(machine, module, true)?),
        "buffers" => values(tensors(machine, module, false)?),
        "named_buffers" => pairs(tensors(machine, module, false)?),
        "children" => values(children()),
        "named_children" => pairs(children()),
        "modules" => values(modules(machine, module)?),
        "named_modules" => pairs(modules(machine, module)?),
        "state_dict" => {
            let mut all = tensors(machine, module, true)?;
            all.extend(tensors(machine, module, false)?);
            Value::dict(all)
        }
        "get_parameter" | "get_submodule" | "get_buffer" => {
            let target = args.one(name)?;
            let target = target.as_str().unwrap_or_default();
            let mut all = modules(machine, module)?;
            all.extend(tensors(machine, module, true)?);
            all.extend(tensors(machine, module, false)?);
            let found = all.into_iter().find(|(name, _)| name == target);
            found.map(|(_, value)| value).ok_or_else(|| Raise::attribute_error(format!("no member named {target}")))?
        }
        "eval" | "train" => {
            let mode = !matches!((name, args.positional.pop()), ("eval", _) | (_, Some(Value::Bool(false))));
            for (_, inner) in modules(machine, module)? {
                set_training(&inner, mode);
            }
            module.clone()
        }
        "requires_grad_" => {
            let on = !matches!(args.positional.pop(), Some(Value::Bool(false)));
            for (_, parameter) in tensors(machine, module, true)? {
                if let Some(tensor) = Tensor::of(&parameter).filter(|tensor| !tensor.is_read_only()) {
                    tensor.set_requires_grad(on)?;
                }
            }
            module.clone()
        }
        "zero_grad" => {
            for (_, parameter) in tensors(machine, module, true)? {
                if let Some(tensor) = Tensor::of(&parameter).filter(|tensor| !tensor.is_read_only()) {
                    tensor.set_grad(None)?;
                }
            }
            Value::None
        }
        "to" | "cpu" | "cuda" | "float" | "double" | "half" | "bfloat16" | "type" => {
            convert(machine, module, name, &args)?;
            module.clone()
        }
        "register_buffer" | "register_parameter" | "add_module" | "register_module" => {
            let [key, value, _] = args.bind(name, ["name", "value", "persistent"], 1)?;
            let key = key.unwrap_or(Value::None);
            let Some(key) = key.as_str() else { return Err(Raise::type_error("module names must be str")) };
            let (machine, module, key) = (machine.clone(), module.clone(), key.to_owned());
            let value = value.unwrap_or(Value::None);
            return Ok(Outcome::Later(Box::pin(async move {
                machine.set_attribute(&module, &key, value).await?;
                Ok(Value::None)
            })));
        }
        "extra_repr" => Value::from(""),
        _ => return Ok(Outcome::NotImplemented),
    }
    .into())
}

fn set_training(module: &Value, mode: bool) {
    match module {
        Value::Instance(instance) => instance.set("training", Value::Bool(mode)),
        module => {
            if let Some(layer) = python::host::<super::Layer>(module) {
                layer.set("training", Value::Bool(mode));
            }
        }
    }
}

/// Returns all tensors of a module and those inside it, with dotted names.
pub fn tensors(machine: &Machine, module: &Value, parameters: bool) -> Result<Vec<(String, Value)>, Raise> {
    let mut found = Vec::new();
    for (path, inner) in modules(machine, module)? {
        for (name, value) in members_of(&inner) {
            if Tensor::of(&value).is_some_and(|tensor| tensor.is_parameter() == parameters) {
                let name = if path.is_empty() { name } else { format!("{path}.{name}") };
                if !found.iter().any(|(_, known): &(String, Value)| known.is(&value)) {
                    found.push((name, value));
                }
            }
        }
    }
    Ok(found)
}

/// Returns a module and all modules inside it, each once, with dotted names.
fn modules(machine: &Machine, module: &Value) -> Result<Vec<(String, Value)>, Raise> {
    let mut found = vec![(String::new(), module.clone())];
    let mut next = 0;
    while let Some((path, inner)) = found.get(next).cloned() {
        machine.charge_fuel(1)?;
        let children = members_of(&inner).into_iter().filter(|(_, value)| super::is_module(value));
        let mut at = next + 1;
        for (name, child) in children {
            if found.iter().all(|(_, known)| !known.is(&child)) {
                let name = if path.is_empty() { name } else { format!("{path}.{name}") };
                // Depth first: a module's children follow it.
                found.insert(at, (name, child));
                at += 1;
            }
        }
        next += 1;
    }
    Ok(found)
}

/// Converts all floating-point tensors of a module in place, by giving them new memory.
fn convert(machine: &Machine, module: &Value, name: &str, args: &Args) -> Result<(), Raise> {
    let given = args.positional.iter().chain(args.keyword.iter().map(|(_, value)| value));
    let (mut dtype, mut device) = (None, None);
    for value in given {
        dtype = dtype.or_else(|| dtype::of_value(value));
        if dtype.is_none() {
            device = Device::of_value(value)?.or(device);
        }
    }
    match name {
        "float" => dtype = Some(DType::Float32),
        "double" => dtype = Some(DType::Float64),
        "half" => dtype = Some(DType::Float16),
        "bfloat16" => dtype = Some(DType::BFloat16),
        "cpu" => device = Some(Device::CPU),
        "cuda" => device = Some(Device::cuda(-1)),
        _ => {}
    }
    for (_, inner) in modules(machine, module)? {
        for (name, value) in members_of(&inner) {
            let Some(tensor) = Tensor::of(&value) else { continue };
            let floating = dtype::is_floating(tensor.dtype());
            let plain = dispatch::tensor(machine, "detach", "", &[Argument::from(&tensor)])?;
            let converted = crate::create::convert(machine, plain.clone(), dtype.filter(|_| floating), device)?;
            if converted.is_same(&plain) {
                continue;
            }
            let converted = if tensor.is_parameter() { converted.parameter() } else { converted };
            if tensor.requires_grad() {
                converted.set_requires_grad(true)?;
            }
            replace(machine, &inner, &name, converted.value())?;
        }
    }
    Ok(())
}

fn replace(machine: &Machine, module: &Value, name: &str, value: Value) -> Result<(), Raise> {
    if let Value::Instance(instance) = module {
        for register in REGISTERS {
            if let Some(Value::Dict(dict)) = instance.own(register)
                && dict.get_string(name).is_some()
            {
                return dict.insert(machine, interpreter::types::key::Key::string(name), Value::from(name), value);
            }
        }
        instance.set(name, value);
    } else if let Some(layer) = python::host::<super::Layer>(module) {
        layer.set(name, value);
    }
    Ok(())
}
