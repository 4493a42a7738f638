//! Settings that come as bare texts: of the environment, and of flags.

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use serde::Serialize;

use crate::Error;

/// What variables of the environment begin with.
const PREFIX: &str = "VITRINE_";

/// The settings there are, by which a text becomes a number where a number is wanted, and stays a text elsewhere.
pub struct Texts {
    defaults: Value,
}

/// Some of them with values.
struct Layer {
    place: &'static str,
    values: Dict,
}

impl Texts {
    /// Learns the settings from their defaults.
    ///
    /// # Errors
    /// When they cannot be written down.
    pub fn known(defaults: &impl Serialize) -> Result<Self, Error> {
        Ok(Self { defaults: Value::serialize(defaults)? })
    }

    /// Returns whether there is a setting outside of sections of this name, whether or not it has a default.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.defaults.find_ref(path).is_some()
    }

    /// Returns which setting a variable of the environment stands for. Others may have variables that begin like ours;
    /// what names a section is meant for it.
    #[must_use]
    pub fn named_by(&self, variable: &str) -> Option<String> {
        let path = variable.strip_prefix(PREFIX)?.to_ascii_lowercase().replace("__", ".");
        (self.has(&path) || path.contains('.')).then_some(path)
    }

    /// Makes a layer of settings out of texts. What no setting has is kept, to be refused by its name.
    ///
    /// # Errors
    /// [`Error::Text`] for a text that is not what its setting takes.
    pub fn layer(
        &self,
        place: &'static str,
        texts: impl IntoIterator<Item = (String, String)>,
    ) -> Result<impl Provider, Error> {
        let mut values = Dict::new();
        for (path, text) in texts {
            let value = self.value(place, &path, text)?;
            insert(&mut values, &path, value);
        }
        Ok(Layer { place, values })
    }

    fn value(&self, place: &'static str, path: &str, text: String) -> Result<Value, Error> {
        let refused = |expected, value: String| Error::Text { key: path.to_owned(), expected, value, place };
        match self.defaults.find_ref(path) {
            Some(Value::Num(..)) => match text.replace('_', "").parse::<u64>() {
                Ok(number) => Ok(Value::from(number)),
                Err(_) => Err(refused("a whole number", text)),
            },
            Some(Value::Bool(..)) => match text.parse::<bool>() {
                Ok(answer) => Ok(Value::from(answer)),
                Err(_) => Err(refused("true or false", text)),
            },
            Some(Value::Array(..)) => {
                let listed = toml::from_str::<toml::Table>(&format!("list = {text}"));
                match listed.ok().and_then(|table| Value::serialize(table.get("list")?.as_array()?).ok()) {
                    Some(list) => Ok(list),
                    None => Err(refused("a list such as [\"a\", \"b\"]", text)),
                }
            }
            _ => Ok(Value::from(text)),
        }
    }
}

/// Puts a value where `section.key` says.
fn insert(values: &mut Dict, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(values.insert(path.to_owned(), value)),
        Some((section, rest)) => {
            let inner = values.entry(section.to_owned()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.place)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}
