//! `model.config` and `model.generation_config` as Python objects.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, Effect, HostObject, HostResult, Machine, Outcome, Use, Value};
use serde_json::{Map, Value as Json};

use crate::config::Config;

/// Settings, read-only.
pub struct Settings {
    class: &'static str,
    config: Rc<Config>,
    of: Of,
}

/// Which settings there are to see.
enum Of {
    /// The language model's.
    Model,
    /// Those of which the language model's are a part.
    Whole,
    /// A part of those that is not served.
    Other(&'static str),
    /// What `generate()` starts from.
    Generation(Map<String, Json>),
}

impl Settings {
    /// Shows the language model's settings.
    #[must_use]
    pub fn of_config(config: &Rc<Config>) -> Self {
        Self { class: config.family().config_class, config: Rc::clone(config), of: Of::Model }
    }

    /// Shows `config.json`.
    #[must_use]
    pub fn of_whole(config: &Rc<Config>) -> Self {
        match &config.family().whole {
            Some(whole) => Self { class: whole.config_class, config: Rc::clone(config), of: Of::Whole },
            None => Self::of_config(config),
        }
    }

    /// Shows what `generate()` starts from.
    #[must_use]
    pub fn of_generation(config: Rc<Config>, own: Vec<(&'static str, Json)>) -> Self {
        let own = own.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Self { class: "GenerationConfig", config, of: Of::Generation(own) }
    }

    fn values(&self) -> Option<&Map<String, Json>> {
        match &self.of {
            Of::Model => Some(self.config.values()),
            Of::Whole => self.config.whole(),
            Of::Other(key) => self.config.whole()?.get(*key)?.as_object(),
            Of::Generation(own) => Some(own),
        }
    }

    fn find(&self, machine: &Machine, name: &str) -> Option<Value> {
        let value = match self.of {
            Of::Model => self.config.get(name),
            Of::Whole => match self.part(name) {
                Some(part) => return Some(part),
                None => whole_value(&self.config, name),
            },
            Of::Other(_) | Of::Generation(_) => self.values()?.get(name),
        };
        match (name, value) {
            (_, Some(value)) if matches!(self.of, Of::Generation(_)) => Some(value_of(value)),
            (_, None) if matches!(self.of, Of::Generation(_)) => None,
            // A type, where the file has its name.
            ("dtype" | "torch_dtype", Some(Json::String(dtype))) => torch::global(machine, "torch", dtype),
            (_, Some(value)) => Some(value_of(value)),
            ("num_labels", None) => Some(Value::Int(2)),
            ("_attn_implementation", None) => Some("sdpa".into()),
            _ => None,
        }
    }

    /// Shows settings that are a part of these.
    fn part(&self, name: &str) -> Option<Value> {
        let whole = self.config.family().whole.as_ref()?;
        if name == whole.key {
            return Some(Value::host(Self::of_config(&self.config)));
        }
        let (key, class) = *whole.others.iter().find(|(key, _)| *key == name)?;
        self.config.whole()?.get(key)?.as_object()?;
        Some(Value::host(Self { class, config: Rc::clone(&self.config), of: Of::Other(key) }))
    }
}

fn whole_value<'a>(config: &'a Config, name: &str) -> Option<&'a Json> {
    let values = config.whole()?;
    values.get(name).or_else(|| {
        let (_, own) = config.family().whole.as_ref()?.aliases.iter().find(|(alias, _)| *alias == name)?;
        values.get(*own)
    })
}

/// Returns whether some settings of a model have a name.
#[must_use]
pub fn has(config: &Config, name: &str) -> bool {
    config.get(name).is_some() || whole_value(config, name).is_some() || METHODS.contains(&name)
}

const METHODS: [&str; 2] = ["to_dict", "get_text_config"];

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
        if METHODS.contains(&name) {
            let method = name.to_owned();
            let call = move |machine: &Machine, args: Args| Rc::clone(&self).call_method(machine, &method, &args);
            return Ok(Value::native(name, call).into());
        }
        Ok(self.find(machine, name).map_or(Outcome::NotImplemented, Outcome::Ready))
    }

    fn set_attribute(self: Rc<Self>, _: &Machine, name: &str, _: Value) -> HostResult {
        Err(Raise::attribute_error(format!("{name} of the hosted model's {} cannot be set", self.class)))
    }

    fn call_method(self: Rc<Self>, _: &Machine, name: &str, _: &Args) -> HostResult {
        match (name, &self.of) {
            ("to_dict", _) => {
                let pairs = self.values().into_iter().flatten();
                Ok(Value::dict(pairs.map(|(key, value)| (key.as_str(), value_of(value)))).into())
            }
            ("get_text_config", Of::Model | Of::Whole) => Ok(Value::host(Self::of_config(&self.config)).into()),
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        let text = serde_json::to_string_pretty(&self.values()).unwrap_or_default();
        Ok(Some(format!("{} {text}\n", self.class)))
    }
}
