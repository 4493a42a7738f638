//! What a GGUF file says of its model, in Hugging Face's words.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::tokenizer::SPECIAL;
use crate::error::LoadError;
use crate::gguf::{Format, Gguf, Info, Metadata};

/// A parsed file.
pub struct Source<'a> {
    path: &'a Path,
    pub gguf: &'a Gguf<'a>,
    architecture: &'static Architecture,
}

/// A kind of model that files can have.
struct Architecture {
    /// As files name it, which is `model_type` as well.
    name: &'static str,
    class: &'static str,
    /// llama.cpp has rows of queries and keys in an order of its own.
    permuted: bool,
    /// Queries, keys and values have biases.
    biased: bool,
    settings: &'static str,
}

const ARCHITECTURES: [Architecture; 2] = [
    Architecture {
        name: "llama",
        class: "LlamaForCausalLM",
        permuted: true,
        biased: false,
        settings: r#"{"attention_bias": false, "mlp_bias": false}"#,
    },
    Architecture {
        name: "qwen2",
        class: "Qwen2ForCausalLM",
        permuted: false,
        biased: true,
        settings: r#"{"use_sliding_window": false}"#,
    },
];

/// The tensor of what Llama 3.1 and its successors divide frequencies by.
const FREQUENCIES: &str = "rope_freqs.weight";

/// One tensor under its Hugging Face name. `heads` is given where rope's rotation has been permuted.
pub struct Renamed<'a> {
    pub name: String,
    pub info: &'a Info<'a>,
    pub heads: Option<usize>,
}

impl<'a> Source<'a> {
    /// Takes a file of a supported architecture.
    ///
    /// # Errors
    /// For one of another.
    pub fn new(path: &'a Path, gguf: &'a Gguf<'a>) -> Result<Self, LoadError> {
        let wrong = |reason: String| LoadError::corrupt(path, reason);
        let given = gguf.get("general.architecture").ok_or_else(|| wrong("it has no general.architecture".into()))?;
        let name = given.text().unwrap_or_default();
        let architecture = ARCHITECTURES.iter().find(|own| own.name == name);
        let Some(architecture) = architecture else {
            let names = ARCHITECTURES.map(|own| own.name).join(" and ");
            let reason = format!("its architecture is {name:?}; {names} are supported");
            return Err(LoadError::Gguf { file: path.to_path_buf(), reason });
        };
        Ok(Self { path, gguf, architecture })
    }

    pub fn wrong(&self, reason: impl Into<String>) -> LoadError {
        LoadError::Gguf { file: self.path.to_path_buf(), reason: reason.into() }
    }

    pub fn metadata(&self, key: &str) -> Result<&'a Metadata, LoadError> {
        self.gguf.get(key).ok_or_else(|| self.wrong(format!("it has no {key}")))
    }

    /// Returns what the file says of its architecture, if it does.
    fn own(&self, key: &str) -> Option<(String, &'a Metadata)> {
        let key = format!("{}.{key}", self.architecture.name);
        let value = self.gguf.get(&key)?;
        Some((key, value))
    }

    fn optional_size(&self, key: &str) -> Result<Option<usize>, LoadError> {
        let Some((key, value)) = self.own(key) else { return Ok(None) };
        let size = value.size().filter(|&size| size > 0);
        size.map(Some).ok_or_else(|| self.wrong(format!("{key} is no positive integer")))
    }

    pub fn size(&self, key: &str) -> Result<usize, LoadError> {
        let missing = || self.wrong(format!("it has no {}.{key}", self.architecture.name));
        self.optional_size(key)?.ok_or_else(missing)
    }

    fn optional_number(&self, key: &str) -> Result<Option<f64>, LoadError> {
        let Some((key, value)) = self.own(key) else { return Ok(None) };
        let number = value.number().ok_or_else(|| self.wrong(format!("{key} is no number")))?;
        // The file has 32 bits; the shortest decimal that means the same is what its maker wrote: 1e-5.
        Ok(Some((number as f32).to_string().parse().unwrap_or(number)))
    }

    fn heads(&self) -> Result<[usize; 2], LoadError> {
        let heads = self.size("attention.head_count")?;
        Ok([heads, self.optional_size("attention.head_count_kv")?.unwrap_or(heads)])
    }

    /// Writes down `config.json`.
    pub fn config(&self) -> Result<Value, LoadError> {
        let [heads, key_heads] = self.heads()?;
        let hidden = self.size("embedding_length")?;
        let head_dim = self.optional_size("attention.key_length")?.unwrap_or(hidden / heads);
        for (key, all) in [("attention.value_length", head_dim), ("rope.dimension_count", head_dim)] {
            if let Some(size) = self.optional_size(key)?
                && size != all
            {
                return Err(self.wrong(format!("{key} is {size}; only {all}, a head's dimensions, is supported")));
            }
        }
        let eps = self.optional_number("attention.layer_norm_rms_epsilon")?;
        let eps = eps.ok_or_else(|| self.wrong("it has no attention.layer_norm_rms_epsilon"))?;
        let mut config: Map<String, Value> = serde_json::from_str(self.architecture.settings).unwrap_or_default();
        config.extend(self.special_ids()?);
        let more = json!({
            "architectures": [self.architecture.class],
            "attention_dropout": 0.0,
            "dtype": self.dtype(),
            "head_dim": head_dim,
            "hidden_act": "silu",
            "hidden_size": hidden,
            "intermediate_size": self.size("feed_forward_length")?,
            "max_position_embeddings": self.size("context_length")?,
            "model_type": self.architecture.name,
            "num_attention_heads": heads,
            "num_hidden_layers": self.size("block_count")?,
            "num_key_value_heads": key_heads,
            "rms_norm_eps": eps,
            "rope_theta": self.optional_number("rope.freq_base")?.unwrap_or(10_000.0),
            "tie_word_embeddings": !self.gguf.tensors.iter().any(|info| info.name == "output.weight"),
            "use_cache": true,
            "vocab_size": self.tokens()?.len(),
        });
        config.extend(more.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
        if let Some(scaling) = self.rope_scaling()? {
            config.insert("rope_scaling".into(), scaling);
        }
        Ok(Value::Object(config))
    }

    /// Writes down `generation_config.json`.
    pub fn generation_config(&self) -> Result<Value, LoadError> {
        let mut config = self.special_ids()?;
        config.insert("_from_model_config".into(), true.into());
        Ok(Value::Object(config))
    }

    fn special_ids(&self) -> Result<Map<String, Value>, LoadError> {
        let mut ids = Map::new();
        for (name, own) in SPECIAL.into_iter().filter(|(name, _)| *name != "unknown") {
            ids.insert(format!("{own}_id"), self.token(name)?.into());
        }
        Ok(ids)
    }

    /// The type that most weights have: blocks of few bits become float16.
    fn dtype(&self) -> &'static str {
        let all =
            |format| self.gguf.tensors.iter().filter(|info| info.shape.len() > 1).all(|info| info.format == format);
        match (all(Format::BF16), all(Format::F32)) {
            (true, _) => "bfloat16",
            (_, true) => "float32",
            _ => "float16",
        }
    }

    fn rope_scaling(&self) -> Result<Option<Value>, LoadError> {
        let kind = self.own("rope.scaling.type").and_then(|(_, value)| value.text()).unwrap_or("none");
        let factors = self.gguf.tensors.iter().find(|info| info.name == FREQUENCIES);
        match (kind, factors) {
            ("none", None) => Ok(None),
            ("linear", None) => {
                let factor = self.optional_number("rope.scaling.factor")?;
                let factor = factor.ok_or_else(|| self.wrong("it has no rope.scaling.factor"))?;
                Ok(Some(json!({"rope_type": "linear", "factor": factor})))
            }
            ("none", Some(factors)) => self.llama3_scaling(&factors.values()).map(Some),
            (other, _) => Err(self.wrong(format!("rope.scaling.type {other:?} is not supported; linear is"))),
        }
    }

    /// Finds Llama 3.1's way to stretch frequencies in what they are divided by.
    fn llama3_scaling(&self, factors: &[f32]) -> Result<Value, LoadError> {
        let base = self.optional_number("rope.freq_base")?.unwrap_or(10_000.0);
        let factor = factors.iter().copied().fold(1.0, f32::max);
        let (low, high, positions) = (1.0, 4.0, 8192.0);
        let pairs = factors.len() as f64;
        let expected = (0..factors.len()).map(|pair| {
            let length = base.powf(pair as f64 / pairs) * std::f64::consts::TAU;
            let smooth = ((positions / length - low) / (high - low)).clamp(0.0, 1.0);
            1.0 / ((1.0 - smooth) / f64::from(factor) + smooth)
        });
        if factors.iter().zip(expected).any(|(found, expected)| (f64::from(*found) - expected).abs() > 1e-4 * expected)
        {
            return Err(self.wrong(format!("tensor {FREQUENCIES} stretches positions in a way that is not supported")));
        }
        Ok(json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
            "original_max_position_embeddings": positions as u64,
        }))
    }

    /// Returns all tensors under Hugging Face's names, in their order.
    pub fn tensors(&self) -> Result<Vec<Renamed<'a>>, LoadError> {
        let heads = self.heads()?;
        let mut tensors: Vec<Renamed<'_>> = Vec::with_capacity(self.gguf.tensors.len());
        for info in self.gguf.tensors.iter().filter(|info| info.name != FREQUENCIES) {
            let (name, heads) = self.architecture.renamed(&info.name, heads).ok_or_else(|| {
                self.wrong(format!("tensor {} has no place in a model of {}", info.name, self.architecture.name))
            })?;
            let fits = |heads: usize| matches!(info.shape.as_slice(), [out, _] if out % (2 * heads) == 0);
            if heads.is_some_and(|heads| !fits(heads)) {
                return Err(self.wrong(format!("tensor {} does not divide into its heads", info.name)));
            }
            tensors.push(Renamed { name, info, heads });
        }
        tensors.sort_by(|left, right| left.name.cmp(&right.name));
        if let Some(pair) = tensors.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(self.wrong(format!("tensor {} is there twice", pair[0].info.name)));
        }
        Ok(tensors)
    }
}

impl Architecture {
    /// Returns a tensor's Hugging Face name, and its heads where rope's permutation must be undone.
    fn renamed(&self, name: &str, [heads, key_heads]: [usize; 2]) -> Option<(String, Option<usize>)> {
        match name {
            "token_embd.weight" => return Some(("model.embed_tokens.weight".into(), None)),
            "output_norm.weight" => return Some(("model.norm.weight".into(), None)),
            "output.weight" => return Some(("lm_head.weight".into(), None)),
            _ => {}
        }
        let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
        let layer: u32 = layer.parse().ok()?;
        let (part, parameter) = part.split_once('.')?;
        let (module, heads) = match part {
            "attn_q" => ("self_attn.q_proj", Some(heads)),
            "attn_k" => ("self_attn.k_proj", Some(key_heads)),
            "attn_v" => ("self_attn.v_proj", None),
            "attn_output" => ("self_attn.o_proj", None),
            "ffn_gate" => ("mlp.gate_proj", None),
            "ffn_up" => ("mlp.up_proj", None),
            "ffn_down" => ("mlp.down_proj", None),
            "attn_norm" => ("input_layernorm", None),
            "ffn_norm" => ("post_attention_layernorm", None),
            _ => return None,
        };
        let biased = self.biased && matches!(part, "attn_q" | "attn_k" | "attn_v");
        let known = parameter == "weight" || parameter == "bias" && biased;
        known.then(|| (format!("model.layers.{layer}.{module}.{parameter}"), heads.filter(|_| self.permuted)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_hugging_faces() {
        let [llama, qwen2] = &ARCHITECTURES;
        let name = |name| llama.renamed(name, [9, 3]);
        assert_eq!(name("blk.7.attn_k.weight"), Some(("model.layers.7.self_attn.k_proj.weight".into(), Some(3))));
        assert_eq!(name("token_embd.weight"), Some(("model.embed_tokens.weight".into(), None)));
        assert_eq!((name("blk.x.attn_k.weight"), name("blk.0.attn_k.bias")), (None, None));
        let bias = qwen2.renamed("blk.0.attn_k.bias", [9, 3]);
        assert_eq!(bias, Some(("model.layers.0.self_attn.k_proj.bias".into(), None)));
        assert_eq!(qwen2.renamed("blk.0.attn_output.bias", [9, 3]), None);
    }
}
