//! The part of `transformers` that blocks use, written in Python.

use interpreter::modules::{self, Written, alone};
use interpreter::{Class, Machine, Value};

use crate::families;
use crate::family::Family;

const TRANSFORMERS: Written = alone(include_str!("python/transformers.py"));

/// Finds a module by its name.
pub fn import(machine: &Machine, module: &str) -> Option<Value> {
    (module == "transformers" || module.starts_with("transformers.generation"))
        .then(|| modules::module(machine, "transformers", TRANSFORMERS).ok())
        .flatten()
}

/// Finds what a request refers to by module and name.
pub fn global(machine: &Machine, module: &str, name: &str) -> Option<Value> {
    if module.starts_with("transformers.models.") {
        return families::ALL
            .iter()
            .find(|family| family.config_class == name)
            .and_then(|it| configuration(machine, it));
    }
    let inside = module == "transformers" || module.starts_with("transformers.generation.");
    inside.then(|| kept(machine, name)).flatten()
}

/// Makes the class of a family's settings, as requests send them.
fn configuration(machine: &Machine, family: &Family) -> Option<Value> {
    let base = kept(machine, "PreTrainedConfig")?;
    let aliases = family.aliases.iter().map(|(alias, own)| (*alias, Value::from(*own)));
    let attributes = [("model_type", Value::from(family.model_type)), ("attribute_map", Value::dict(aliases))];
    let attributes = attributes.map(|(name, value)| (name.into(), value));
    Class::new(family.config_class, "transformers", vec![base], attributes).ok().map(Value::Class)
}

fn kept(machine: &Machine, name: &str) -> Option<Value> {
    modules::written(machine, "transformers", TRANSFORMERS, name).ok().flatten()
}
