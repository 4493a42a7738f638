//! The part of `transformers` that blocks use, written in Python.

use interpreter::modules::{self, Written, alone};
use interpreter::{Machine, Value};

const TRANSFORMERS: Written = alone(include_str!("python/transformers.py"));

/// Finds a module by its name.
pub fn import(machine: &Machine, module: &str) -> Option<Value> {
    (module == "transformers" || module.starts_with("transformers.generation"))
        .then(|| modules::module(machine, "transformers", TRANSFORMERS).ok())
        .flatten()
}

/// Finds what a request refers to by module and name.
pub fn global(machine: &Machine, module: &str, name: &str) -> Option<Value> {
    let inside = module == "transformers" || module.starts_with("transformers.generation.");
    inside.then(|| modules::written(machine, "transformers", TRANSFORMERS, name).ok()).flatten().flatten()
}
