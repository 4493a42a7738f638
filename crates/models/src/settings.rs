//! `model.config` and `model.generation_config` as Python objects.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, Effect, HostObject, HostResult, Machine, Outcome, Use, Value};
use serde_json::Value as Json;

use crate::config::Config;

/// A checkpoint's settings, read-only.
pub struct Settings {
    class: &'static str,
    config: Rc<Config>,
    /// Keys that come before the configuration's; only these where `complete` is set.
    own: Vec<(&'static str, Json)>,
    complete: bool,
}

impl Settings {
    /// Shows `config.json`.
    #[must_use]
    pub fn of_config(class: &'static str, config: Rc<Config>) -> Self {
        Self { class, config, own: Vec::new(), complete: false }
    }

    /// Shows what `generate()` starts from.
    #[must_use]
    pub fn of_generation(config: Rc<Config>, own: Vec<(&'static str, Json)>) -> Self {
        Self { class: "GenerationConfig", config, own, complete: true }
    }

    fn find(&self, machine: &Machine, name: &str) -> Option<Value> {
        if let Some((_, value)) = self.own.iter().find(|(key, _)| *key == name) {
            return Some(value_of(value));
        }
        if self.complete {
            return None;
        }
        match (name, self.config.get(name)) {
            // A type, where the file has its name.
            ("dtype" | "torch_dtype", Some(Json::String(dtype))) => torch::global(machine, "torch", dtype),
            (_, Some(value)) => Some(value_of(value)),
            ("num_labels", None) => Some(Value::Int(2)),
            ("_attn_implementation", None) => Some("sdpa".into()),
            _ => None,
        }
    }
}

/// Shows a JSON value to Python.
#[must_use]
pub fn value_of(json: &Json) -> Value {
    match json {
        Json::Null => Value::None,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::Int(integer),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Value::list(items.iter().map(value_of).collect()),
        Json::Object(pairs) => Value::dict(pairs.iter().map(|(key, value)| (key.as_str(), value_of(value)))),
    }
}

impl HostObject for Settings {
    fn type_name(&self) -> Cow<'static, str> {
        self.class.into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _: &Machine, _: &str, usage: Use<'_>) -> Effect {
        // Read-only throughout.
        if let Use::Store = usage { Effect::Anything } else { Effect::Looks }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        if name == "to_dict" {
            return Ok(Value::native("to_dict", move |machine, args| {
                Rc::clone(&self).call_method(machine, "to_dict", &args)
            })
            .into());
        }
        Ok(self.find(machine, name).map_or(Outcome::NotImplemented, Outcome::Ready))
    }

    fn set_attribute(self: Rc<Self>, _: &Machine, name: &str, _: Value) -> HostResult {
        Err(Raise::attribute_error(format!("{name} of the hosted model's {} cannot be set", self.class)))
    }

    fn call_method(self: Rc<Self>, _: &Machine, name: &str, _: &Args) -> HostResult {
        if name != "to_dict" {
            return Ok(Outcome::NotImplemented);
        }
        let mut pairs: Vec<(&str, Value)> = self.own.iter().map(|(key, value)| (*key, value_of(value))).collect();
        if !self.complete {
            pairs.extend(self.config.values().iter().map(|(key, value)| (key.as_str(), value_of(value))));
        }
        Ok(Value::dict(pairs).into())
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        let own = self.own.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        let mut all: serde_json::Map<String, Json> = own.collect();
        if !self.complete {
            all.extend(self.config.values().clone());
        }
        let text = serde_json::to_string_pretty(&all).unwrap_or_default();
        Ok(Some(format!("{} {text}\n", self.class)))
    }
}
