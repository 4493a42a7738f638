//! Classes of `torch.nn`: layers as objects of the host, and `Module` as the base of users' classes.

mod base;
mod container;
mod derived;
mod hooks;
mod layer;

use interpreter::raise::Raise;
use interpreter::{HostResult, Machine, Outcome, Value};

use super::{Class, written};
use crate::python;
use crate::tensor::Tensor;

pub use base::{call_instance, delete_instance_attribute, set_instance_attribute};
pub use container::Container;
pub use derived::{attribute as derived_attribute, initialize as initialize_derived};
pub use layer::{Layer, is_class as is_layer};

/// Finds a class by its name.
pub fn class(name: &str) -> Option<Value> {
    if name == "Module" {
        return Some(base::class());
    }
    let construct = container::constructor(name).or_else(|| layer::constructor(name))?;
    Some(Value::host(Class::dynamic(format!("torch.nn.{name}"), construct)))
}

/// Returns the module of PyTorch's that defines a layer or a container.
pub fn home(name: &str) -> &'static str {
    match name {
        "Linear" | "NonDynamicallyQuantizableLinear" | "Bilinear" | "Identity" => "torch.nn.modules.linear",
        "Flatten" | "Unflatten" => "torch.nn.modules.flatten",
        "Embedding" => "torch.nn.modules.sparse",
        "LayerNorm" | "RMSNorm" | "GroupNorm" => "torch.nn.modules.normalization",
        "CosineSimilarity" | "PairwiseDistance" => "torch.nn.modules.distance",
        name if container::constructor(name).is_some() => "torch.nn.modules.container",
        name if name.starts_with("BatchNorm") => "torch.nn.modules.batchnorm",
        name if name.starts_with("Conv") => "torch.nn.modules.conv",
        name if name.contains("Dropout") => "torch.nn.modules.dropout",
        name if name.ends_with("Loss") => "torch.nn.modules.loss",
        _ => "torch.nn.modules.activation",
    }
}

/// Says whether a name of `torch.nn` is that of a layer or a container.
pub fn is_class(name: &str) -> bool {
    container::constructor(name).is_some() || is_layer(name)
}

/// What a request brings of a module: the object's `__dict__`.
pub(super) struct State {
    /// Parameters, buffers and modules, by name and in order.
    members: Vec<(Box<str>, Value)>,
    /// All other attributes.
    plain: Vec<(Box<str>, Value)>,
}

/// Rebuilds a layer or a container from the state that a request brings.
pub fn of_state(machine: &Machine, class: &str, state: &Value) -> Option<Result<Value, Raise>> {
    let name = class.rsplit('.').next()?;
    let state = State::new(state);
    container::of_state(machine, name, &state).or_else(|| layer::of_state(name, state).map(Ok))
}

impl State {
    fn new(state: &Value) -> Self {
        let mut read = Self { members: Vec::new(), plain: Vec::new() };
        let Value::Dict(dict) = state else { return read };
        for (name, value) in dict.entries() {
            let Value::Str(name) = name else { continue };
            match (&*name, &value) {
                ("_parameters", Value::Dict(members)) => {
                    for (name, value) in members.entries() {
                        let value = match Tensor::of(&value) {
                            Some(tensor) if !tensor.is_parameter() => tensor.parameter().value(),
                            _ => value,
                        };
                        read.members.extend(name.as_str().map(|name| (name.into(), value)));
                    }
                }
                ("_buffers" | "_modules", Value::Dict(members)) => {
                    let named = members.entries().into_iter();
                    read.members.extend(named.filter_map(|(name, value)| Some((name.as_str()?.into(), value))));
                }
                (name, _)
                    if name.starts_with('_') && !hooks::KEPT.contains(&name) && !hooks::REFUSED.contains(&name) => {}
                _ => read.plain.push(((&*name).into(), value)),
            }
        }
        read
    }
}

/// Reads what a module has for itself: not its members, nor what its class has.
pub(super) fn own(module: &Value, name: &str) -> Option<Value> {
    use crate::python::host;
    if let Value::Instance(instance) = module {
        return instance.own(name);
    }
    host::<Layer>(module).map_or_else(|| host::<Container>(module)?.own(name), |layer| layer.get(name))
}

/// Sets what [`own`] reads.
pub(super) fn set_own(module: &Value, name: &str, value: Value) {
    use crate::python::host;
    if let Value::Instance(instance) = module {
        instance.set(name, value);
    } else if let Some(layer) = host::<Layer>(module) {
        layer.set(name, value);
    } else if let Some(container) = host::<Container>(module) {
        container.set_own(name, value);
    }
}

/// Copies a module of the library's own classes, `part` by `part`: `__deepcopy__`.
///
/// # Errors
/// `TypeError` for other objects; what copying a part raises.
pub(super) fn deepcopy(machine: &Machine, module: &Value, memo: &Value, part: Value) -> HostResult {
    use crate::python::host;
    let (made, attributes, members) = if let Some(layer) = host::<Layer>(module) {
        (Value::host(layer.emptied()), layer.attributes(), Vec::new())
    } else if let Some(container) = host::<Container>(module) {
        (Value::host(container.emptied()), container.attributes(), container.members())
    } else {
        return Err(Raise::type_error("a layer or a container is copied"));
    };
    let (machine, module, memo) = (machine.clone(), module.clone(), memo.clone());
    Ok(Outcome::Later(Box::pin(async move {
        // Before its parts, among which it may be itself.
        machine.call(&part, python::positional([module, memo.clone(), made.clone()])).await?;
        for (name, value) in attributes {
            let copied = machine.call(&part, python::positional([value, memo.clone()])).await?;
            set_own(&made, &name, copied);
        }
        for (name, value) in members {
            let copied = machine.call(&part, python::positional([value, memo.clone()])).await?;
            if let Some(container) = host::<Container>(&made) {
                container.set_member(&name, copied);
            }
        }
        Ok(made)
    })))
}

/// Puts a value where a module has another for itself or as a member, whatever it is, and returns that.
///
/// # Errors
/// `AttributeError` where it has none; when memory is spent.
pub(super) fn swap(machine: &Machine, module: &Value, name: &str, value: Value) -> Result<Value, Raise> {
    if let Some(before) = own(module, name) {
        set_own(module, name, value);
        return Ok(before);
    }
    if let Some(container) = python::host::<Container>(module)
        && let Some((_, before)) = container.members().into_iter().find(|(known, _)| known == name)
    {
        container.set_member(name, value);
        return Ok(before);
    }
    base::swap(machine, module, name, value)?
        .ok_or_else(|| Raise::attribute_error(format!("the module has no parameter or buffer {name}")))
}

/// Returns the tensors and modules directly inside a module: a layer, a container, or an instance of a user's class.
pub(super) fn members(module: &Value) -> Vec<(String, Value)> {
    use crate::python::host;
    if let Some(layer) = host::<Layer>(module) {
        return layer.members();
    }
    if let Some(container) = host::<Container>(module) {
        return container.members();
    }
    base::members(module)
}

/// Says whether a value is a module.
pub(super) fn is_module(value: &Value) -> bool {
    use crate::python::host;
    host::<Layer>(value).is_some() || host::<Container>(value).is_some() || base::is_instance(value)
}

/// Refuses to put anything but a parameter, or nothing, where a module has a parameter, and so with modules inside it.
pub(super) fn refuse_assignment(before: Option<&Value>, name: &str, value: &Value) -> Result<(), Raise> {
    let is_parameter = |value: &Value| Tensor::of(value).is_some_and(|tensor| tensor.is_parameter());
    if is_parameter(value) || matches!(value, Value::None) {
        return Ok(());
    }
    let (what, expected) = match before {
        Some(before) if is_parameter(before) => ("parameter", "torch.nn.Parameter"),
        Some(before) if is_module(before) && !is_module(value) => ("child module", "torch.nn.Module"),
        _ => return Ok(()),
    };
    let kind = type_name(value);
    Err(Raise::type_error(format!("cannot assign '{kind}' as {what} '{name}' ({expected} or None expected)")))
}

/// Names the type of a value as PyTorch does in messages.
pub(super) fn type_name(value: &Value) -> String {
    match Tensor::of(value) {
        Some(tensor) if tensor.is_parameter() => "torch.nn.parameter.Parameter".to_owned(),
        Some(tensor) => crate::tensor::legacy_name(&tensor).to_owned(),
        None => crate::python::type_name(value),
    }
}

/// Writes a module as PyTorch does: what describes it, and a line for each module inside; one for all that follow each other
/// and are written alike, where they are `gathered`.
pub(super) fn described(
    machine: &Machine,
    name: &str,
    extra: &str,
    members: Vec<(String, Value)>,
    gathered: bool,
) -> Result<String, Raise> {
    let mut texts: Vec<(String, String, String, usize)> = Vec::new();
    for (child, value) in members.into_iter().filter(|(_, value)| is_module(value)) {
        let text = match &value {
            Value::Host(object) => machine.recurse(|| object.repr(machine))?,
            Value::Instance(_) => match written::member(machine, "torch.nn.Module", "__repr__")? {
                Some(describe) => {
                    let made = machine.call_now(&describe, python::positional([value.clone()]))?;
                    interpreter::coroutine::finish(machine, made)?.as_str().map(str::to_owned)
                }
                None => None,
            },
            _ => None,
        };
        let text = text.unwrap_or_default().replace('\n', "\n  ");
        match texts.last_mut() {
            Some((_, last, before, count)) if gathered && *before == text => {
                *last = child;
                *count += 1;
            }
            _ => texts.push((child.clone(), child, text, 1)),
        }
    }
    let inside = texts.into_iter().map(|(first, last, text, count)| match count {
        1 => format!("({first}): {text}"),
        _ => format!("({first}-{last}): {count} x {text}"),
    });
    let lines: Vec<String> = extra.lines().map(str::to_owned).chain(inside).collect();
    Ok(match lines.as_slice() {
        [] => format!("{name}()"),
        [only] if *only == extra => format!("{name}({only})"),
        lines => format!("{name}(\n  {}\n)", lines.join("\n  ")),
    })
}
