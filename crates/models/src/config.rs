//! Hugging Face's `config.json`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::LoadError;
use crate::families;
use crate::family::{Family, Whole};
use crate::quantization::Stored;

/// A checkpoint's settings: what its `config.json` says, and what its family fills in for what that leaves out.
#[derive(Clone, Debug)]
pub struct Config {
    file: PathBuf,
    values: Map<String, Value>,
    family: &'static Family,
    /// The settings of which these are a part, if they are one: see [`Family::whole`].
    whole: Option<Map<String, Value>>,
    stored: Option<Stored>,
}

impl Config {
    /// Reads a model folder's `config.json`.
    ///
    /// # Errors
    /// When there is none, it is no JSON object, or its `model_type` is not [supported](families::ALL).
    pub fn read(folder: &Path) -> Result<Self, LoadError> {
        let file = folder.join("config.json");
        if !file.is_file() {
            return Err(LoadError::NoConfig(folder.to_path_buf()));
        }
        let given = read_object(&file)?;
        let model_type = given.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let family = families::ALL.iter().find(|family| family.model_type == model_type);
        let Some(family) = family.copied() else {
            let supported = families::ALL.iter().map(|family| family.model_type).collect();
            return Err(LoadError::Unsupported { file, model_type: model_type.into(), supported });
        };
        let mut whole = None;
        let mut given = given;
        if let Some(about) = &family.whole {
            let (own, others) = take_part(&file, about, given)?;
            given = own;
            whole = Some(others);
        }
        let values = filled(&file, family.defaults, given)?;
        let all = whole.as_ref().unwrap_or(&values);
        let quantization = ["quantization_config", "compression_config"].iter().find_map(|key| {
            let value = all.get(*key).filter(|value| !value.is_null())?;
            Some((*key, Stored::read(value)))
        });
        let stored = match quantization {
            Some((key, Err(reason))) => return Err(LoadError::Config { file, key: key.into(), reason }),
            Some((_, Ok(stored))) => Some(stored),
            None => None,
        };
        let mut config = Self { file, values, family, whole, stored };
        config.refuse_tuples()?;
        (family.complete)(&mut config)?;
        if let (Some(about), Some(whole)) = (&family.whole, &mut config.whole) {
            whole.insert(about.key.into(), config.values.clone().into());
        }
        Ok(config)
    }

    /// Refuses what has base models return tuples, of which transformers' own models with a head then look for fields.
    fn refuse_tuples(&self) -> Result<(), LoadError> {
        let (key, refused) = ("return_dict", Value::Bool(false));
        let wholes = self.whole.as_ref().and_then(|whole| whole.get(key));
        if self.get(key) == Some(&refused) || wholes == Some(&refused) {
            let reason = "false is not supported: it is for single calls here, which may ask for tuples";
            return Err(self.wrong(key, reason));
        }
        Ok(())
    }

    /// Returns how the files have weights in few bits, if they do.
    #[must_use]
    pub fn stored(&self) -> Option<Stored> {
        self.stored
    }

    /// Returns the settings of which these are a part, completed, if they are one.
    #[must_use]
    pub fn whole(&self) -> Option<&Map<String, Value>> {
        self.whole.as_ref()
    }

    /// Returns a flag of the settings of which these are a part.
    ///
    /// # Errors
    /// For anything but `true` and `false`.
    pub fn whole_flag(&self, key: &str) -> Result<bool, LoadError> {
        let flag = self.whole.as_ref().and_then(|whole| whole.get(key)).and_then(Value::as_bool);
        flag.ok_or_else(|| self.wrong(key, "needs true or false"))
    }

    /// Returns a number of the settings of which these are a part.
    ///
    /// # Errors
    /// When it is missing, or no number.
    pub fn whole_size(&self, key: &str) -> Result<i64, LoadError> {
        let number = self.whole.as_ref().and_then(|whole| whole.get(key)).and_then(Value::as_i64);
        number.ok_or_else(|| self.wrong(key, "needs a number"))
    }

    /// Returns which family the checkpoint is of.
    #[must_use]
    pub fn family(&self) -> &'static Family {
        self.family
    }

    /// Sets what is missing, or null.
    pub fn fill(&mut self, key: &str, value: impl Into<Value>) {
        if self.is_null(key) {
            self.set(key, value);
        }
    }

    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.values.insert(key.into(), value.into());
    }

    /// Takes a setting out. `None` where it is missing or null.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.values.remove(key).filter(|value| !value.is_null())
    }

    /// Returns whether a setting is missing, or null.
    #[must_use]
    pub fn is_null(&self, key: &str) -> bool {
        self.get(key).is_none_or(Value::is_null)
    }

    /// Returns a value under its own name or the name that all families share: `hidden_size` for GPT-2's `n_embd`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).or_else(|| {
            let (_, own) = self.family.aliases.iter().find(|(alias, _)| *alias == key)?;
            self.values.get(*own)
        })
    }

    /// Returns all keys with their values.
    #[must_use]
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// Returns a positive size.
    ///
    /// # Errors
    /// For anything but an integer between 1 and 2³¹.
    pub fn size(&self, key: &str) -> Result<i64, LoadError> {
        match self.get(key).and_then(Value::as_i64) {
            Some(size) if (1..=i64::from(i32::MAX)).contains(&size) => Ok(size),
            _ => Err(self.wrong(key, "needs a positive integer")),
        }
    }

    /// Returns a finite number.
    ///
    /// # Errors
    /// For anything else.
    pub fn number(&self, key: &str) -> Result<f64, LoadError> {
        let number = self.get(key).and_then(Value::as_f64).filter(|number| number.is_finite());
        number.ok_or_else(|| self.wrong(key, "needs a number"))
    }

    /// Returns a size, if there is one.
    ///
    /// # Errors
    /// For what is neither null nor a positive integer.
    pub fn optional_size(&self, key: &str) -> Result<Option<i64>, LoadError> {
        if self.is_null(key) { Ok(None) } else { self.size(key).map(Some) }
    }

    /// Returns a number, if there is one.
    ///
    /// # Errors
    /// For what is neither null nor a finite number.
    pub fn optional_number(&self, key: &str) -> Result<Option<f64>, LoadError> {
        if self.is_null(key) { Ok(None) } else { self.number(key).map(Some) }
    }

    /// Returns a flag.
    ///
    /// # Errors
    /// For anything but `true` and `false`.
    pub fn flag(&self, key: &str) -> Result<bool, LoadError> {
        self.get(key).and_then(Value::as_bool).ok_or_else(|| self.wrong(key, "needs true or false"))
    }

    /// Returns a text.
    ///
    /// # Errors
    /// For anything else.
    pub fn text(&self, key: &str) -> Result<&str, LoadError> {
        self.get(key).and_then(Value::as_str).ok_or_else(|| self.wrong(key, "needs a text"))
    }

    /// Makes the error for a key whose value cannot be used.
    pub fn wrong(&self, key: &str, reason: impl Into<String>) -> LoadError {
        LoadError::Config { file: self.file.clone(), key: key.into(), reason: reason.into() }
    }
}

type Values = Map<String, Value>;

/// Fills in what a file leaves out.
fn filled(file: &Path, defaults: &str, given: Map<String, Value>) -> Result<Map<String, Value>, LoadError> {
    let mut values = Map::new();
    for defaults in [COMMON_DEFAULTS, defaults] {
        let defaults: Map<String, Value> = serde_json::from_str(defaults).map_err(|error| LoadError::Json {
            file: file.to_path_buf(),
            reason: format!("has wrong defaults: {error}"),
        })?;
        values.extend(defaults);
    }
    values.extend(given);
    if let Some(old) = values.remove("torch_dtype") {
        values.insert("dtype".into(), old);
    }
    Ok(values)
}

/// Takes the language model's settings out of those of which they are a part. They have the type of the others where they do
/// not say.
fn take_part(file: &Path, about: &Whole, mut given: Values) -> Result<(Values, Values), LoadError> {
    let mut own = match given.remove(about.key) {
        Some(Value::Object(own)) => own,
        None | Some(Value::Null) => Map::new(),
        Some(_) => {
            let (key, reason) = (about.key.into(), "needs an object".into());
            return Err(LoadError::Config { file: file.to_path_buf(), key, reason });
        }
    };
    let whole = filled(file, about.defaults, given)?;
    let typed = ["dtype", "torch_dtype"].iter().any(|key| own.get(*key).is_some_and(|value| !value.is_null()));
    if !typed {
        own.insert("dtype".into(), whole.get("dtype").cloned().unwrap_or(Value::Null));
    }
    Ok((own, whole))
}

/// Reads a file that holds one JSON object.
pub(crate) fn read_object(file: &Path) -> Result<Map<String, Value>, LoadError> {
    let text = fs::read(file).map_err(LoadError::io(file))?;
    match serde_json::from_slice(&text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(LoadError::Json { file: file.to_path_buf(), reason: "is not a JSON object".into() }),
        Err(error) => Err(LoadError::Json { file: file.to_path_buf(), reason: format!("is not valid JSON: {error}") }),
    }
}

/// As [`read_object`], but empty where there is no such file.
pub(crate) fn read_optional(file: &Path) -> Result<Map<String, Value>, LoadError> {
    if file.is_file() { read_object(file) } else { Ok(Map::new()) }
}

const COMMON_DEFAULTS: &str = r#"{
    "architectures": null, "output_hidden_states": false, "output_attentions": false, "return_dict": true,
    "dtype": null, "chunk_size_feed_forward": 0, "is_encoder_decoder": false, "problem_type": null,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}
}"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, LoadError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), text).unwrap();
        Config::read(folder.path())
    }

    #[test]
    fn defaults_and_shared_names_fill_the_gaps() {
        let config = read(r#"{"model_type": "gpt2", "n_embd": 64}"#).unwrap();
        assert_eq!(config.size("hidden_size").unwrap(), 64);
        assert_eq!(config.size("num_hidden_layers").unwrap(), 12);
        let config = read(r#"{"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "rope_theta": 5.0}"#);
        let config = config.unwrap();
        assert_eq!((config.size("head_dim").unwrap(), config.size("num_key_value_heads").unwrap()), (16, 4));
        assert_eq!(config.get("rope_parameters").unwrap()["rope_theta"], 5.0);
    }

    #[test]
    fn what_cannot_be_served_is_named() {
        let error = read(r#"{"model_type": "t5"}"#).unwrap_err().to_string();
        assert!(error.contains(r#"model_type "t5" is not supported; supported are gpt2, llama"#), "{error}");
        let quantized = r#"{"model_type": "llama", "quantization_config": {"quant_method": "mxfp4"}}"#;
        let error = read(quantized).unwrap_err().to_string();
        assert!(error.contains("quantization_config: weights quantized by mxfp4 are not served"), "{error}");
        let error = read("[1]").unwrap_err().to_string();
        assert!(error.ends_with("is not a JSON object"), "{error}");
        let error = read(r#"{"model_type": "llama", "return_dict": false}"#).unwrap_err().to_string();
        assert!(error.contains("return_dict: false is not supported"), "{error}");
        let config = read(r#"{"model_type": "gpt2", "n_head": 0}"#).unwrap();
        let error = config.size("n_head").unwrap_err().to_string();
        assert!(error.ends_with("n_head: needs a positive integer"), "{error}");
        let nothing = tempfile::tempdir().unwrap();
        assert!(matches!(Config::read(nothing.path()), Err(LoadError::NoConfig(_))));
    }
}
