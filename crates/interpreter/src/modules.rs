//! The standard modules that research code imports.

pub mod typing;

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use indexmap::IndexMap;

use crate::host::{HostObject, HostResult, Outcome};
use crate::machine::Machine;
use crate::raise::Raise;
use crate::types::trash;
use crate::value::Value;

/// Returns a standard module by name, or `None` for any other.
pub fn import(machine: &Machine, name: &str) -> Option<Value> {
    let loaded = machine.extension::<Loaded>().unwrap_or_else(|| {
        let loaded = Rc::new(Loaded::default());
        machine.set_extension(loaded.clone());
        loaded
    });
    if let Some(module) = loaded.0.borrow().get(name) {
        return Some(module.clone());
    }
    let module = match name {
        "typing" | "typing_extensions" | "collections.abc" => typing::module(),
        _ => return None,
    };
    let module = Value::host(module);
    loaded.0.borrow_mut().insert(name.to_owned(), module.clone());
    Some(module)
}

/// Modules that one job has imported.
#[derive(Default)]
struct Loaded(RefCell<HashMap<String, Value>>);

/// A module.
pub struct Module {
    name: &'static str,
    attributes: RefCell<IndexMap<Rc<str>, Value>>,
}

impl Module {
    /// Makes an empty module.
    pub fn new(name: &'static str) -> Self {
        Self { name, attributes: RefCell::default() }
    }

    /// Binds a name.
    pub fn set(&mut self, name: &str, value: Value) {
        self.attributes.get_mut().insert(name.into(), value);
    }
}

impl HostObject for Module {
    fn type_name(&self) -> Cow<'static, str> {
        "module".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        if name == "__name__" {
            return Ok(Value::from(self.name).into());
        }
        match self.attributes.borrow().get(name) {
            Some(value) => Ok(value.clone().into()),
            None if name.starts_with("__") => Ok(Outcome::NotImplemented),
            None => Err(Raise::attribute_error(format!("module '{}' has no attribute '{name}'", self.name))),
        }
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("<module '{}'>", self.name)))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        trash::bury(std::mem::take(self.attributes.get_mut()).into_values());
    }
}
