//! Hugging Face's `config.json`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::LoadError;

/// Architecture families with an implementation here, by `model_type`.
pub const SUPPORTED: &[&str] = &["gpt2", "llama"];

/// A checkpoint's settings: what its `config.json` says, and the family's defaults for what it leaves out.
#[derive(Clone, Debug)]
pub struct Config {
    file: PathBuf,
    values: Map<String, Value>,
    family: Family,
}

/// Which implementation a checkpoint needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Gpt2,
    Llama,
}

impl Config {
    /// Reads a model folder's `config.json`.
    ///
    /// # Errors
    /// When there is none, it is no JSON object, or its `model_type` is not in [`SUPPORTED`].
    pub fn read(folder: &Path) -> Result<Self, LoadError> {
        let file = folder.join("config.json");
        if !file.is_file() {
            return Err(LoadError::NoConfig(folder.to_path_buf()));
        }
        let given = read_object(&file)?;
        let model_type = given.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let (family, defaults) = match model_type {
            "gpt2" => (Family::Gpt2, GPT2_DEFAULTS),
            "llama" => (Family::Llama, LLAMA_DEFAULTS),
            other => {
                let model_type = other.to_owned();
                return Err(LoadError::Unsupported { file, model_type, supported: SUPPORTED });
            }
        };
        let mut values = Map::new();
        for defaults in [COMMON_DEFAULTS, defaults] {
            let defaults: Map<String, Value> = serde_json::from_str(defaults).map_err(|error| LoadError::Json {
                file: file.clone(),
                reason: format!("has wrong defaults: {error}"),
            })?;
            values.extend(defaults);
        }
        values.extend(given);
        if let Some(old) = values.remove("torch_dtype") {
            values.insert("dtype".into(), old);
        }
        if let Some(quantization) = values.get("quantization_config").filter(|value| !value.is_null()) {
            let method = quantization.get("quant_method").and_then(Value::as_str).unwrap_or("?");
            let reason = format!(
                "quantized checkpoints ({method}) are not served: convert the weights to float32, bfloat16 or float16"
            );
            return Err(LoadError::Config { file, key: "quantization_config".into(), reason });
        }
        let mut config = Self { file, values, family };
        if family == Family::Llama {
            config.complete_llama()?;
        }
        Ok(config)
    }

    /// Fills in what Llama's configuration derives from other keys.
    fn complete_llama(&mut self) -> Result<(), LoadError> {
        let heads = self.size("num_attention_heads")?;
        if self.values.get("head_dim").is_none_or(Value::is_null) {
            let head = self.size("hidden_size")? / heads;
            self.values.insert("head_dim".into(), head.into());
        }
        if self.values.get("num_key_value_heads").is_none_or(Value::is_null) {
            self.values.insert("num_key_value_heads".into(), heads.into());
        }
        // Older files say `rope_theta` and `rope_scaling` where newer ones have one `rope_parameters`.
        let theta = self.values.remove("rope_theta").unwrap_or(Value::from(10_000.0));
        let scaling = self.values.remove("rope_scaling");
        let given = self.values.remove("rope_parameters").filter(Value::is_object).or(scaling);
        let mut rope = match given {
            Some(Value::Object(rope)) => rope,
            _ => Map::new(),
        };
        if let Some(kind) = rope.remove("type") {
            rope.entry("rope_type").or_insert(kind);
        }
        rope.entry("rope_type").or_insert("default".into());
        rope.entry("rope_theta").or_insert(theta);
        self.values.insert("rope_parameters".into(), Value::Object(rope));
        Ok(())
    }

    /// Returns which implementation the checkpoint needs.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Returns a value under its own name or the name that all families share: `hidden_size` for GPT-2's `n_embd`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).or_else(|| {
            let (_, own) = self.aliases().iter().find(|(alias, _)| *alias == key)?;
            self.values.get(*own)
        })
    }

    /// Returns all keys with their values.
    #[must_use]
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    fn aliases(&self) -> &'static [(&'static str, &'static str)] {
        match self.family {
            Family::Gpt2 => &[
                ("hidden_size", "n_embd"),
                ("max_position_embeddings", "n_positions"),
                ("num_attention_heads", "n_head"),
                ("num_hidden_layers", "n_layer"),
                ("torch_dtype", "dtype"),
            ],
            Family::Llama => &[("rope_scaling", "rope_parameters"), ("torch_dtype", "dtype")],
        }
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

const GPT2_DEFAULTS: &str = r#"{
    "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": null,
    "activation_function": "gelu_new", "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1,
    "layer_norm_epsilon": 1e-05, "initializer_range": 0.02, "summary_type": "cls_index", "summary_use_proj": true,
    "summary_activation": null, "summary_proj_to_labels": true, "summary_first_dropout": 0.1,
    "scale_attn_weights": true, "use_cache": true, "bos_token_id": 50256, "eos_token_id": 50256,
    "pad_token_id": null, "scale_attn_by_inverse_layer_idx": false, "reorder_and_upcast_attn": false,
    "add_cross_attention": false, "tie_word_embeddings": true
}"#;

const LLAMA_DEFAULTS: &str = r#"{
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": null, "hidden_act": "silu", "max_position_embeddings": 2048,
    "initializer_range": 0.02, "rms_norm_eps": 1e-06, "use_cache": true, "pad_token_id": null, "bos_token_id": 1,
    "eos_token_id": 2, "pretraining_tp": 1, "tie_word_embeddings": false, "attention_bias": false,
    "attention_dropout": 0.0, "mlp_bias": false, "head_dim": null
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
        let quantized = r#"{"model_type": "llama", "quantization_config": {"quant_method": "compressed-tensors"}}"#;
        let error = read(quantized).unwrap_err().to_string();
        assert!(
            error.contains("quantization_config: quantized checkpoints (compressed-tensors) are not served"),
            "{error}"
        );
        let error = read("[1]").unwrap_err().to_string();
        assert!(error.ends_with("is not a JSON object"), "{error}");
        let config = read(r#"{"model_type": "gpt2", "n_head": 0}"#).unwrap();
        let error = config.size("n_head").unwrap_err().to_string();
        assert!(error.ends_with("n_head: needs a positive integer"), "{error}");
        let nothing = tempfile::tempdir().unwrap();
        assert!(matches!(Config::read(nothing.path()), Err(LoadError::NoConfig(_))));
    }
}
