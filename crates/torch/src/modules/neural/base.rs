//! `torch.nn.Module` as the base of users' classes, and the methods that all modules share.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, HostObject, HostResult, Instance, Machine, Method, Outcome, Value};
use program::DType;

use super::{hooks, members as members_of};
use crate::allowed;
use crate::dispatch::{self, Argument};
use crate::dtype::{self, Device};
use crate::modules::{Class, written};
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

/// Says whether a value is an instance of a user's class that derives from `Module`, or from a layer.
pub fn is_instance(value: &Value) -> bool {
    let Value::Instance(instance) = value else { return false };
    let derives = |host: &dyn Any| host.is::<Module>() || host.downcast_ref::<Class>().is_some_and(Class::is_layer);
    instance.class().host().is_some_and(|host| derives(host.as_any()))
}

/// Returns the tensors and modules that an instance has registered, or simply holds.
pub fn members(value: &Value) -> Vec<(String, Value)> {
    let Value::Instance(instance) = value else { return Vec::new() };
    let plain = instance
        .attributes()
        .into_iter()
        .filter(|(_, value)| super::is_module(value) || Tensor::of(value).is_some_and(|tensor| tensor.is_parameter()))
        .map(|(name, value)| (name.to_string(), value));
    all_registered(instance).chain(plain).collect()
}

/// Returns what an instance has registered.
pub fn all_registered(instance: &Instance) -> impl Iterator<Item = (String, Value)> {
    let registers = REGISTERS.iter().filter_map(|register| match instance.own(register) {
        Some(Value::Dict(dict)) => Some(dict.entries()),
        _ => None,
    });
    registers.flatten().filter_map(|(name, value)| Some((name.as_str()?.to_owned(), value)))
}

fn registered(instance: &Instance, name: &str) -> Option<Value> {
    REGISTERS.iter().find_map(|register| match instance.own(register) {
        Some(Value::Dict(dict)) => dict.get_string(name),
        _ => None,
    })
}

/// Puts a value where an instance has registered another, and returns that.
///
/// # Errors
/// When memory is spent.
pub fn swap(machine: &Machine, module: &Value, name: &str, value: Value) -> Result<Option<Value>, Raise> {
    let Value::Instance(instance) = module else { return Ok(None) };
    for register in REGISTERS {
        if let Some(Value::Dict(dict)) = instance.own(register)
            && let Some(before) = dict.get_string(name)
        {
            let key = interpreter::types::key::Key::string(name);
            dict.insert(machine, key, Value::from(name), value)?;
            return Ok(Some(before));
        }
    }
    Ok(None)
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
        call_instance(machine, instance, args)
    }

    fn instance_attribute(self: Rc<Self>, machine: &Machine, instance: &Value, name: &str) -> HostResult {
        instance_attribute(machine, instance, name)
    }

    fn set_instance_attribute(
        self: Rc<Self>,
        machine: &Machine,
        instance: &Value,
        name: &str,
        value: &Value,
    ) -> HostResult {
        set_instance_attribute(machine, instance, name, value)
    }

    fn delete_instance_attribute(self: Rc<Self>, _: &Machine, instance: &Value, name: &str) -> HostResult {
        Ok(delete_instance_attribute(instance, name))
    }
}

/// Calls an instance of a user's class: its `forward`, between its hooks.
///
/// # Errors
/// What these raise.
pub fn call_instance(machine: &Machine, instance: &Value, args: Args) -> HostResult {
    let module = instance.clone();
    let forward: hooks::Forward = Rc::new(move |machine, args| {
        let (machine, module) = (machine.clone(), module.clone());
        Ok(Outcome::Later(Box::pin(async move {
            let forward = machine.get_attribute(&module, "forward").await?;
            machine.call(&forward, args).await
        })))
    });
    hooks::call(machine, instance, args, forward)
}

/// Reads an attribute that neither an instance of a user's class nor its own classes have.
///
/// # Errors
/// `AttributeError` for methods that this server does not have.
pub fn instance_attribute(machine: &Machine, instance: &Value, name: &str) -> HostResult {
    if let Value::Instance(own) = instance
        && let Some(value) = registered(own, name)
    {
        return Ok(value.into());
    }
    if name == "training" {
        return Ok(Value::Bool(true).into());
    }
    method(machine, instance, name)
}

/// Writes an attribute of an instance of a user's class. What a request's state registered stays registered under its name.
///
/// # Errors
/// `TypeError` where PyTorch refuses the value.
pub fn set_instance_attribute(machine: &Machine, instance: &Value, name: &str, value: &Value) -> HostResult {
    if let Value::Instance(own) = instance {
        let before = own.own(name).or_else(|| registered(own, name));
        super::refuse_assignment(before.as_ref(), name, value)?;
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

/// Unbinds what an instance of a user's class has registered under a name.
pub fn delete_instance_attribute(instance: &Value, name: &str) -> Outcome {
    let Value::Instance(own) = instance else { return Outcome::NotImplemented };
    for register in REGISTERS {
        if let Some(Value::Dict(dict)) = own.own(register)
            && dict.remove(&interpreter::types::key::Key::string(name)).is_some()
        {
            return Value::None.into();
        }
    }
    Outcome::NotImplemented
}

/// Methods that all modules share.
const METHODS: &[&str] = &[
    "add_module",
    "apply",
    "bfloat16",
    "buffers",
    "children",
    "cpu",
    "cuda",
    "double",
    "eval",
    "extra_repr",
    "float",
    "get_buffer",
    "get_parameter",
    "get_submodule",
    "half",
    "modules",
    "named_buffers",
    "named_children",
    "named_modules",
    "named_parameters",
    "parameters",
    "register_buffer",
    "register_forward_hook",
    "register_forward_pre_hook",
    "register_module",
    "register_parameter",
    "requires_grad_",
    "state_dict",
    "to",
    "train",
    "type",
    "zero_grad",
];

/// Methods that PyTorch's modules have besides.
const REFUSED: &[&str] = &[
    "compile",
    "get_extra_state",
    "ipu",
    "mtia",
    "register_backward_hook",
    "register_full_backward_hook",
    "register_full_backward_pre_hook",
    "register_load_state_dict_post_hook",
    "register_load_state_dict_pre_hook",
    "register_state_dict_post_hook",
    "register_state_dict_pre_hook",
    "set_extra_state",
    "set_submodule",
    "share_memory",
    "to_empty",
    "xpu",
];

/// Methods that are written in Python.
const WRITTEN: [&str; 3] = ["__deepcopy__", "__repr__", "load_state_dict"];

/// Where the names of buffers are that `state_dict` leaves out.
const PASSING: &str = "_non_persistent_buffers_set";

/// Reads a method of any module, bound; `NotImplemented` for other names.
///
/// # Errors
/// `AttributeError` for methods that this server does not have.
pub fn method(machine: &Machine, module: &Value, name: &str) -> HostResult {
    if WRITTEN.contains(&name)
        && let Some(function) = written::member(machine, "torch.nn.Module", name)?
    {
        return Ok(Value::Method(Rc::new(Method { function, receiver: module.clone() })).into());
    }
    if REFUSED.contains(&name) {
        return Err(allowed::refused("torch.nn.Module", name));
    }
    let Some(name) = METHODS.iter().find(|known| **known == name) else { return Ok(Outcome::NotImplemented) };
    let module = module.clone();
    Ok(Value::native(*name, move |machine, args| call(machine, &module, name, args)).into())
}

type Pairs = Vec<(String, Value)>;

fn iterator(machine: &Machine, values: Vec<Value>) -> Result<Value, Raise> {
    machine.charge_fuel(values.len() as u64 / 8)?;
    Ok(Value::Iterator(Rc::new(interpreter::Iterator::new("generator", python::Items::new(values)))))
}

fn values(machine: &Machine, pairs: Pairs) -> Result<Value, Raise> {
    iterator(machine, pairs.into_iter().map(|(_, value)| value).collect())
}

fn pairs(machine: &Machine, pairs: Pairs, prefix: Option<Value>) -> Result<Value, Raise> {
    let prefix = prefix.as_ref().and_then(Value::as_str).unwrap_or_default();
    let named = pairs.into_iter().map(|(name, value)| {
        let between = if prefix.is_empty() || name.is_empty() { "" } else { "." };
        Value::tuple(vec![format!("{prefix}{between}{name}").into(), value])
    });
    iterator(machine, named.collect())
}

fn flag(machine: &Machine, value: Option<Value>, default: bool) -> Result<bool, Raise> {
    value.map_or(Ok(default), |value| python::truth(machine, &value))
}

fn call(machine: &Machine, module: &Value, name: &str, args: Args) -> HostResult {
    let children = || members_of(module).into_iter().filter(|(_, value)| super::is_module(value)).collect::<Pairs>();
    Ok(match name {
        "parameters" | "buffers" => {
            let [deep] = args.bind(name, ["recurse"], 0)?;
            values(machine, tensors(machine, module, name == "parameters", flag(machine, deep, true)?)?)?
        }
        "named_parameters" | "named_buffers" => {
            let [prefix, deep, once] = args.bind(name, ["prefix", "recurse", "remove_duplicate"], 0)?;
            only_once(machine, name, once)?;
            let found = tensors(machine, module, name == "named_parameters", flag(machine, deep, true)?)?;
            pairs(machine, found, prefix)?
        }
        "children" | "named_children" => {
            args.none(name)?;
            if name == "children" { values(machine, children())? } else { pairs(machine, children(), None)? }
        }
        "modules" => {
            args.none(name)?;
            values(machine, modules(machine, module)?)?
        }
        "named_modules" => {
            let [memo, prefix, once] = args.bind(name, ["memo", "prefix", "remove_duplicate"], 0)?;
            only_once(machine, name, once)?;
            if python::given(memo).is_some() {
                return Err(Raise::runtime_error("named_modules(): argument 'memo' is not supported by this server"));
            }
            pairs(machine, modules(machine, module)?, prefix)?
        }
        "state_dict" => state_dict(machine, module, args)?,
        "get_parameter" | "get_submodule" | "get_buffer" => {
            let [target] = args.bind(name, ["target"], 1)?;
            let target = target.unwrap_or(Value::None);
            let target = target.as_str().unwrap_or_default();
            let all = match name {
                "get_submodule" => modules(machine, module)?,
                name => tensors(machine, module, name == "get_parameter", true)?,
            };
            let found = all.into_iter().find(|(name, _)| name == target);
            found.map(|(_, value)| value).ok_or_else(|| not_found(module, name, target))?
        }
        "eval" | "train" => {
            let mode = match name {
                "eval" => {
                    args.none("eval")?;
                    false
                }
                _ => {
                    let [mode] = args.bind("train", ["mode"], 0)?;
                    match mode {
                        None => true,
                        Some(Value::Bool(mode)) => mode,
                        Some(_) => return Err(Raise::value_error("training mode is expected to be boolean")),
                    }
                }
            };
            for (_, inner) in modules(machine, module)? {
                super::set_own(&inner, "training", Value::Bool(mode));
            }
            module.clone()
        }
        "requires_grad_" => {
            let [on] = args.bind("requires_grad_", ["requires_grad"], 0)?;
            let on = flag(machine, on, true)?;
            for (_, parameter) in tensors(machine, module, true, true)? {
                if let Some(tensor) = Tensor::of(&parameter).filter(|tensor| !tensor.is_read_only()) {
                    tensor.set_requires_grad(on)?;
                }
            }
            module.clone()
        }
        "zero_grad" => {
            let [to_none] = args.bind("zero_grad", ["set_to_none"], 0)?;
            let to_none = flag(machine, to_none, true)?;
            for (_, parameter) in tensors(machine, module, true, true)? {
                let Some(tensor) = Tensor::of(&parameter).filter(|tensor| !tensor.is_read_only()) else { continue };
                match tensor.grad()? {
                    Some(gradient) if !to_none => {
                        let plain = dispatch::tensor(machine, "detach", "", &[gradient.into()])?;
                        dispatch::tensor(machine, "zero_", "", &[(&plain).into()])?;
                        tensor.set_grad(Some(&plain))?;
                    }
                    _ => tensor.set_grad(None)?,
                }
            }
            Value::None
        }
        "to" | "cpu" | "cuda" | "float" | "double" | "half" | "bfloat16" | "type" => {
            convert(machine, module, name, &args)?;
            module.clone()
        }
        "register_buffer" => {
            let [key, tensor, persistent] = args.bind(name, ["name", "tensor", "persistent"], 2)?;
            let key = member_name("buffer", key)?;
            let tensor = tensor.unwrap_or(Value::None);
            only_new(module, &key, |value| Tensor::of(value).is_some_and(|tensor| !tensor.is_parameter()))?;
            if Tensor::of(&tensor).is_none() && !matches!(tensor, Value::None) {
                let found = super::type_name(&tensor);
                return Err(Raise::type_error(format!(
                    "cannot assign '{found}' object to buffer '{key}' (torch Tensor or None required)"
                )));
            }
            if !flag(machine, persistent, true)? {
                put(machine, module, PASSING, &key, Value::Bool(true))?;
            }
            match module {
                Value::Instance(_) => put(machine, module, "_buffers", &key, tensor)?,
                module => replace(machine, module, &key, tensor)?,
            }
            Value::None
        }
        "register_parameter" | "add_module" | "register_module" => {
            let second = if name == "register_parameter" { "param" } else { "module" };
            let [key, value] = args.bind(name, ["name", second], 2)?;
            let value = value.unwrap_or(Value::None);
            let of_parameter = second == "param";
            let is_parameter = |value: &Value| Tensor::of(value).is_some_and(|tensor| tensor.is_parameter());
            let key = member_name(if of_parameter { "parameter" } else { "module" }, key)?;
            only_new(module, &key, |value| if of_parameter { is_parameter(value) } else { super::is_module(value) })?;
            if !matches!(value, Value::None) {
                let found = super::type_name(&value);
                if of_parameter && !is_parameter(&value) {
                    return Err(Raise::type_error(format!(
                        "cannot assign '{found}' object to parameter '{key}' (torch.nn.Parameter or None required)"
                    )));
                }
                if !of_parameter && !super::is_module(&value) {
                    return Err(Raise::type_error(format!("{found} is not a Module subclass")));
                }
            }
            let (machine, module) = (machine.clone(), module.clone());
            return Ok(Outcome::Later(Box::pin(async move {
                machine.set_attribute(&module, &key, value).await?;
                Ok(Value::None)
            })));
        }
        "register_forward_hook" | "register_forward_pre_hook" => return hooks::register(machine, module, name, args),
        "apply" => {
            let [function] = args.bind("apply", ["fn"], 1)?;
            let (machine, module, function) = (machine.clone(), module.clone(), function.unwrap_or(Value::None));
            let all = modules(&machine, &module)?;
            return Ok(Outcome::Later(Box::pin(async move {
                // Children before what they are part of.
                for (_, inner) in inner_first(all) {
                    machine.call(&function, python::positional([inner])).await?;
                }
                Ok(module)
            })));
        }
        "extra_repr" => match python::host::<super::layer::Layer>(module) {
            Some(layer) => Value::from(layer.extra()),
            None => Value::from(""),
        },
        _ => return Ok(Outcome::NotImplemented),
    }
    .into())
}

/// Says at which part of a dotted name a search ended, as PyTorch does.
fn not_found(module: &Value, method: &str, target: &str) -> Raise {
    let mut within = module.clone();
    for part in target.split('.') {
        let inside = members_of(&within).into_iter().find(|(known, _)| known == part).map(|(_, value)| value);
        match inside {
            None => {
                let class = python::type_name(&within);
                return Raise::attribute_error(format!("{class} has no attribute `{part}`"));
            }
            Some(value) if super::is_module(&value) => within = value,
            Some(_) if method == "get_submodule" => {
                return Raise::attribute_error(format!("`{part}` is not an nn.Module"));
            }
            Some(_) => break,
        }
    }
    let last = target.rsplit('.').next().unwrap_or_default();
    let expected = if method == "get_parameter" { "an nn.Parameter" } else { "a buffer" };
    Raise::attribute_error(format!("`{last}` is not {expected}"))
}

/// Orders modules, which come depth first, so that each follows all inside it.
fn inner_first(all: Pairs) -> Pairs {
    let inside = |outer: &str, name: &str| outer.is_empty() || name.starts_with(&format!("{outer}."));
    let (mut open, mut ordered): (Pairs, Pairs) = (Vec::new(), Vec::new());
    for (name, module) in all {
        while let Some((last, _)) = open.last() {
            if inside(last, &name) {
                break;
            }
            ordered.extend(open.pop());
        }
        open.push((name, module));
    }
    open.reverse();
    ordered.extend(open);
    ordered
}

fn only_once(machine: &Machine, name: &str, once: Option<Value>) -> Result<(), Raise> {
    match flag(machine, once, true)? {
        true => Ok(()),
        false => {
            Err(Raise::runtime_error(format!("{name}(): argument 'remove_duplicate' is not supported by this server")))
        }
    }
}

fn member_name(what: &str, name: Option<Value>) -> Result<String, Raise> {
    let name = name.unwrap_or(Value::None);
    let refused = match name.as_str() {
        Some("") => format!("{what} name can't be empty string \"\""),
        Some(name) if name.contains('.') && what == "module" => {
            format!("module name can't contain \".\", got: {name}")
        }
        Some(name) if name.contains('.') => format!("{what} name can't contain \".\""),
        Some(name) => return Ok(name.to_owned()),
        None => {
            let found = python::type_name(&name);
            return Err(Raise::type_error(format!("{what} name should be a string. Got {found}")));
        }
    };
    Err(Raise::key_error(Value::from(refused.as_str())))
}

/// Refuses to register under a name that a module has for something else than what is registered, which `of_kind` tells.
fn only_new(module: &Value, name: &str, of_kind: impl Fn(&Value) -> bool) -> Result<(), Raise> {
    let had = members_of(module).into_iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let taken = match had.or_else(|| super::own(module, name)) {
        Some(Value::None) => false,
        Some(value) => !of_kind(&value),
        None => METHODS.contains(&name),
    };
    match taken {
        true => Err(Raise::key_error(Value::from(format!("attribute '{name}' already exists").as_str()))),
        false => Ok(()),
    }
}

/// `state_dict(*, destination=None, prefix="", keep_vars=False)`: tensors cut from their graphs unless they are to be kept.
fn state_dict(machine: &Machine, module: &Value, args: Args) -> Result<Value, Raise> {
    let [destination, prefix, keep] = args.bind("state_dict", ["destination", "prefix", "keep_vars"], 0)?;
    if python::given(destination).is_some() {
        return Err(Raise::runtime_error("state_dict(): argument 'destination' is not supported by this server"));
    }
    let prefix = prefix.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    let keep = flag(machine, keep, false)?;
    let mut state = Vec::new();
    for (path, inner) in modules(machine, module)? {
        let passing = passing(&inner);
        let (mut parameters, mut buffers) = (Vec::new(), Vec::new());
        for (name, value) in members_of(&inner) {
            let Some(tensor) = Tensor::of(&value).filter(|_| !passing.contains(&name)) else { continue };
            let value =
                if keep { value } else { dispatch::tensor(machine, "detach", "", &[(&tensor).into()])?.value() };
            let between = if path.is_empty() { "" } else { "." };
            let named = (format!("{prefix}{path}{between}{name}"), value);
            if tensor.is_parameter() { parameters.push(named) } else { buffers.push(named) }
        }
        state.extend(parameters);
        state.extend(buffers);
    }
    Ok(Value::Dict(Rc::new(interpreter::Dict::ordered(state))))
}

/// Returns the buffers of a module that its state does not have.
fn passing(module: &Value) -> Vec<String> {
    match super::own(module, PASSING) {
        Some(Value::Dict(names)) => names.keys().iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect(),
        Some(Value::Set(names)) => names.items().iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect(),
        _ => Vec::new(),
    }
}

/// Puts an entry into a dictionary that a module keeps.
pub fn put(machine: &Machine, module: &Value, register: &str, name: &str, value: Value) -> Result<(), Raise> {
    let dict = match super::own(module, register) {
        Some(Value::Dict(dict)) => dict,
        _ => {
            let dict = Rc::new(interpreter::Dict::new());
            super::set_own(module, register, Value::Dict(Rc::clone(&dict)));
            dict
        }
    };
    dict.insert(machine, interpreter::types::key::Key::string(name), Value::from(name), value)
}

/// Returns all tensors of a module and, where `deep`, those inside it, with dotted names.
pub fn tensors(machine: &Machine, module: &Value, parameters: bool, deep: bool) -> Result<Pairs, Raise> {
    let mut found = Vec::new();
    let owners = if deep { modules(machine, module)? } else { vec![(String::new(), module.clone())] };
    for (path, inner) in owners {
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
fn modules(machine: &Machine, module: &Value) -> Result<Pairs, Raise> {
    let mut found = vec![(String::new(), module.clone())];
    let mut next = 0;
    while let Some((path, inner)) = found.get(next).cloned() {
        machine.charge_fuel(1 + found.len() as u64 / 64)?;
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
    if let Some(wanted) = dtype.filter(|dtype| !dtype::is_floating(*dtype) && !dtype::is_complex(*dtype)) {
        let wanted = wanted.name();
        return Err(Raise::type_error(format!(
            "nn.Module.to only accepts floating point or complex dtypes, but got desired dtype=torch.{wanted}"
        )));
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
    } else if let Some(container) = python::host::<super::Container>(module) {
        container.set_member(name, value);
    }
    Ok(())
}
