//! Classes of `torch.nn`: layers as objects of the host, and `Module` as the base of users' classes.

mod base;
mod container;
mod layer;

use interpreter::raise::Raise;
use interpreter::{Machine, Value};

use super::Class;
use crate::tensor::Tensor;

pub use container::Container;
pub use layer::Layer;

/// Finds a class by its name.
pub fn class(name: &str) -> Option<Value> {
    if name == "Module" {
        return Some(base::class());
    }
    let construct = container::constructor(name).or_else(|| layer::constructor(name))?;
    Some(Value::host(Class::dynamic(format!("torch.nn.{name}"), construct)))
}

/// Rebuilds a layer or a container from the state that a request brings: the object's `__dict__`.
pub fn of_state(machine: &Machine, class: &str, state: &Value) -> Option<Result<Value, Raise>> {
    let name = class.rsplit('.').next()?;
    let state = flattened(state);
    container::of_state(machine, name, &state).or_else(|| layer::of_state(name, state).map(Ok))
}

/// Returns a module's attributes in order, with its parameters, buffers and submodules among them.
fn flattened(state: &Value) -> Vec<(Box<str>, Value)> {
    let mut flat = Vec::new();
    let Value::Dict(dict) = state else { return flat };
    for (name, value) in dict.entries() {
        let Value::Str(name) = name else { continue };
        match (&*name, &value) {
            ("_parameters", Value::Dict(members)) => {
                for (name, value) in members.entries() {
                    let value = match Tensor::of(&value) {
                        Some(tensor) if !tensor.is_parameter() => tensor.parameter().value(),
                        _ => value,
                    };
                    flat.extend(name.as_str().map(|name| (name.into(), value)));
                }
            }
            ("_buffers" | "_modules", Value::Dict(members)) => {
                flat.extend(
                    members.entries().into_iter().filter_map(|(name, value)| Some((name.as_str()?.into(), value))),
                );
            }
            (name, _) if name.starts_with('_') => {}
            _ => flat.push(((&*name).into(), value)),
        }
    }
    flat
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
