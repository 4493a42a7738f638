//! Imports SmolLM2, or another Llama in a GGUF file, as a Hugging Face folder.
//!
//! The weights become f16 once; they are what the file's few bits say, not the checkpoint that was quantised.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use half::f16;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::error::LoadError;
use crate::gguf::{Gguf, Info, Metadata};

/// What an import wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// SHA-256 of the GGUF file, in hexadecimal.
    pub source: String,
    /// Names and SHA-256 digests of the files written, as `SHA256SUMS` has them too.
    pub files: Vec<(String, String)>,
}

/// Writes `config.json`, `generation_config.json`, `model.safetensors`, `tokenizer.json`, `tokenizer_config.json` and
/// `SHA256SUMS` to a folder that does not exist yet. Tells the progress in tensors: done, of all.
/// The folder appears when it is complete, or not at all.
///
/// # Errors
/// When the file is no GGUF of a Llama with a byte-level BPE tokenizer, or the folder cannot be written.
pub fn import(gguf: &Path, to: &Path, progress: &mut dyn FnMut(usize, usize)) -> Result<Imported, LoadError> {
    let bytes = fs::read(gguf).map_err(LoadError::io(gguf))?;
    let parsed = Gguf::parse(&bytes).map_err(|error| LoadError::corrupt(gguf, error.to_string()))?;
    let source = Source { path: gguf, gguf: &parsed };
    let partial = to.with_extension("partial");
    let folder = Partial::new(&partial)?;
    let mut files = vec![
        folder.write("config.json", &source.config()?)?,
        folder.write("generation_config.json", &source.generation_config()?)?,
        folder.write("tokenizer.json", &source.tokenizer()?)?,
        folder.write("tokenizer_config.json", &source.tokenizer_config()?)?,
        folder.write_weights("model.safetensors", &source.tensors()?, progress)?,
    ];
    files.sort();
    let sums: String = files.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
    fs::write(partial.join("SHA256SUMS"), sums).map_err(LoadError::io(&partial))?;
    folder.finish(to)?;
    Ok(Imported { source: hexadecimal(Sha256::digest(&bytes).as_slice()), files })
}

struct Source<'a> {
    path: &'a Path,
    gguf: &'a Gguf<'a>,
}

/// One tensor under its Hugging Face name. `heads` is given where rope's rotation has been permuted.
struct Renamed<'a> {
    name: String,
    info: &'a Info<'a>,
    heads: Option<usize>,
}

impl<'a> Source<'a> {
    fn wrong(&self, reason: impl Into<String>) -> LoadError {
        LoadError::corrupt(self.path, reason)
    }

    fn metadata(&self, key: &str) -> Result<&'a Metadata, LoadError> {
        self.gguf.get(key).ok_or_else(|| self.wrong(format!("it has no {key}")))
    }

    fn size(&self, key: &str) -> Result<usize, LoadError> {
        let size = self.metadata(key)?.size().filter(|&size| size > 0);
        size.ok_or_else(|| self.wrong(format!("{key} is no positive integer")))
    }

    fn config(&self) -> Result<Value, LoadError> {
        let architecture = self.metadata("general.architecture")?.text().unwrap_or_default();
        if architecture != "llama" {
            return Err(self.wrong(format!("its architecture is {architecture:?}; llama is supported")));
        }
        let single = |key: &str| {
            let number = self.metadata(key)?.number().ok_or_else(|| self.wrong(format!("{key} is no number")))?;
            // The file has 32 bits; the shortest decimal that means the same is what its maker wrote: 1e-5.
            Ok::<f64, LoadError>((number as f32).to_string().parse().unwrap_or(number))
        };
        let heads = self.size("llama.attention.head_count")?;
        let hidden = self.size("llama.embedding_length")?;
        Ok(json!({
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": false,
            "attention_dropout": 0.0,
            "bos_token_id": self.token("bos")?,
            "dtype": "float16",
            "eos_token_id": self.token("eos")?,
            "head_dim": hidden / heads,
            "hidden_act": "silu",
            "hidden_size": hidden,
            "intermediate_size": self.size("llama.feed_forward_length")?,
            "max_position_embeddings": self.size("llama.context_length")?,
            "mlp_bias": false,
            "model_type": "llama",
            "num_attention_heads": heads,
            "num_hidden_layers": self.size("llama.block_count")?,
            "num_key_value_heads": self.size("llama.attention.head_count_kv")?,
            "pad_token_id": self.token("padding")?,
            "rms_norm_eps": single("llama.attention.layer_norm_rms_epsilon")?,
            "rope_theta": single("llama.rope.freq_base")?,
            "tie_word_embeddings": !self.gguf.tensors.iter().any(|info| info.name == "output.weight"),
            "use_cache": true,
            "vocab_size": self.tokens()?.len(),
        }))
    }

    fn generation_config(&self) -> Result<Value, LoadError> {
        Ok(json!({
            "_from_model_config": true,
            "bos_token_id": self.token("bos")?,
            "eos_token_id": self.token("eos")?,
            "pad_token_id": self.token("padding")?,
        }))
    }

    /// Returns a special token's id.
    fn token(&self, name: &str) -> Result<usize, LoadError> {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let id = self.metadata(&key)?.size().filter(|&id| self.tokens().is_ok_and(|tokens| id < tokens.len()));
        id.ok_or_else(|| self.wrong(format!("{key} is no token")))
    }

    fn tokens(&self) -> Result<&'a [Metadata], LoadError> {
        self.metadata("tokenizer.ggml.tokens")?.list().ok_or_else(|| self.wrong("its tokens are no list"))
    }

    fn token_text(&self, id: usize) -> Result<&'a str, LoadError> {
        let text = self.tokens()?.get(id).and_then(Metadata::text);
        text.ok_or_else(|| self.wrong(format!("token {id} is no text")))
    }

    /// Writes down the tokenizer as the `tokenizers` library does.
    fn tokenizer(&self) -> Result<Value, LoadError> {
        let (model, split) = (self.metadata("tokenizer.ggml.model")?, self.metadata("tokenizer.ggml.pre")?);
        if model.text() != Some("gpt2") || split.text() != Some("smollm") {
            return Err(self.wrong("its tokenizer is not SmolLM's"));
        }
        let count = self.tokens()?.len();
        let kinds = self.metadata("tokenizer.ggml.token_type")?.list().unwrap_or_default();
        let merges = self.metadata("tokenizer.ggml.merges")?.list().unwrap_or_default();
        let mut vocabulary = Map::with_capacity(count);
        let mut added = Vec::new();
        for id in 0..count {
            let token = self.token_text(id)?;
            vocabulary.insert(token.into(), id.into());
            // 3 marks control tokens: text is never split into them unless it names one.
            if kinds.get(id).and_then(Metadata::size) == Some(3) {
                added.push(json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true,
                }));
            }
        }
        let pair = |merge: &Metadata| {
            let (left, right) = merge.text()?.split_once(' ')?;
            Some(json!([left, right]))
        };
        let merges: Option<Vec<Value>> = merges.iter().map(pair).collect();
        let merges = merges.ok_or_else(|| self.wrong("its merges are no pairs of tokens"))?;
        let byte_level =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        Ok(json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [{"type": "Digits", "individual_digits": true}, byte_level],
            },
            "post_processor": null,
            "decoder": byte_level,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocabulary, "merges": merges,
            },
        }))
    }

    fn tokenizer_config(&self) -> Result<Value, LoadError> {
        let text = |name: &str| self.token(name).and_then(|id| self.token_text(id));
        Ok(json!({
            "add_prefix_space": false,
            "bos_token": text("bos")?,
            "chat_template": self.gguf.get("tokenizer.chat_template").and_then(Metadata::text),
            "clean_up_tokenization_spaces": false,
            "eos_token": text("eos")?,
            "model_max_length": self.size("llama.context_length")?,
            "pad_token": text("padding")?,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "unk_token": text("unknown")?,
        }))
    }

    fn tensors(&self) -> Result<Vec<Renamed<'a>>, LoadError> {
        let heads = self.size("llama.attention.head_count")?;
        let key_heads = self.size("llama.attention.head_count_kv")?;
        let mut tensors: Vec<Renamed<'_>> = Vec::with_capacity(self.gguf.tensors.len());
        for info in &self.gguf.tensors {
            let (name, heads) = renamed(&info.name, heads, key_heads)
                .ok_or_else(|| self.wrong(format!("tensor {} has no place in a Llama", info.name)))?;
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

/// Returns a tensor's Hugging Face name, and its heads where rope's permutation must be undone.
fn renamed(name: &str, heads: usize, key_heads: usize) -> Option<(String, Option<usize>)> {
    match name {
        "token_embd.weight" => return Some(("model.embed_tokens.weight".into(), None)),
        "output_norm.weight" => return Some(("model.norm.weight".into(), None)),
        "output.weight" => return Some(("lm_head.weight".into(), None)),
        _ => {}
    }
    let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let (module, heads) = match part.strip_suffix(".weight")? {
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
    Some((format!("model.layers.{layer}.{module}.weight"), heads))
}

/// Undoes llama.cpp's order of a head's rows: it pairs neighbours for rope, Hugging Face pairs halves.
fn unpermute(values: &[f32], heads: usize, columns: usize) -> Vec<f32> {
    let rows = values.len() / columns.max(1);
    let half = rows / heads / 2;
    let mut undone = Vec::with_capacity(values.len());
    for row in 0..rows {
        let (head, within) = (row / (2 * half), row % (2 * half));
        let (side, index) = (within / half, within % half);
        let from = (head * 2 * half + 2 * index + side) * columns;
        undone.extend_from_slice(values.get(from..from + columns).unwrap_or_default());
    }
    undone
}

/// A folder under another name until it is complete; removed if it never is.
struct Partial<'a> {
    folder: &'a Path,
}

impl<'a> Partial<'a> {
    fn new(folder: &'a Path) -> Result<Self, LoadError> {
        // What an import left that was killed is of no use.
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(LoadError::io(folder))?;
        }
        fs::create_dir_all(folder).map_err(LoadError::io(folder))?;
        Ok(Self { folder })
    }

    fn write(&self, name: &str, value: &Value) -> Result<(String, String), LoadError> {
        let path = self.folder.join(name);
        let mut text = serde_json::to_vec_pretty(value).map_err(|error| LoadError::Json {
            file: path.clone(),
            reason: format!("cannot be written as JSON: {error}"),
        })?;
        text.push(b'\n');
        fs::write(&path, &text).map_err(LoadError::io(&path))?;
        Ok((name.into(), hexadecimal(Sha256::digest(&text).as_slice())))
    }

    /// Writes a safetensors file of f16, one tensor in memory at a time.
    fn write_weights(
        &self,
        name: &str,
        tensors: &[Renamed<'_>],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(String, String), LoadError> {
        let path = self.folder.join(name);
        let mut header = Map::new();
        header.insert("__metadata__".into(), json!({"format": "pt"}));
        let mut offset = 0;
        for tensor in tensors {
            let end = offset + 2 * tensor.info.shape.iter().product::<usize>();
            let entry = json!({"dtype": "F16", "shape": tensor.info.shape, "data_offsets": [offset, end]});
            header.insert(tensor.name.clone(), entry);
            offset = end;
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let file = File::create(&path).map_err(LoadError::io(&path))?;
        let mut file = Hashing { file: BufWriter::new(file), hasher: Sha256::new(), path: &path };
        file.write(&(header.len() as u64).to_le_bytes())?;
        file.write(&header)?;
        for (done, tensor) in tensors.iter().enumerate() {
            let mut values = tensor.info.values();
            if let (Some(heads), [_, columns]) = (tensor.heads, tensor.info.shape.as_slice()) {
                values = unpermute(&values, heads, *columns);
            }
            let bytes: Vec<u8> = values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
            file.write(&bytes)?;
            progress(done + 1, tensors.len());
        }
        Ok((name.into(), file.finish()?))
    }

    fn finish(self, to: &Path) -> Result<(), LoadError> {
        fs::rename(self.folder, to).map_err(LoadError::io(to))
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        // Gone already when the import succeeded; there is nobody left to tell of a failure here.
        drop(fs::remove_dir_all(self.folder));
    }
}

/// A file that is digested as it is written.
struct Hashing<'a> {
    file: BufWriter<File>,
    hasher: Sha256,
    path: &'a PathBuf,
}

impl Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(LoadError::io(self.path))
    }

    fn finish(self) -> Result<String, LoadError> {
        let file = self.file.into_inner().map_err(|error| LoadError::io(self.path)(error.into_error()))?;
        file.sync_all().map_err(LoadError::io(self.path))?;
        Ok(hexadecimal(self.hasher.finalize().as_slice()))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ropes_permutation_is_undone() {
        // Two heads of four rows: llama.cpp keeps halves a b | c d as a c b d.
        let rows: Vec<f32> = [0, 2, 1, 3, 4, 6, 5, 7].iter().flat_map(|&row| [row as f32, row as f32 + 0.5]).collect();
        let expected: Vec<f32> = (0..8).flat_map(|row| [row as f32, row as f32 + 0.5]).collect();
        assert_eq!(unpermute(&rows, 2, 2), expected);
    }

    #[test]
    fn names_become_hugging_faces() {
        let name = |name| renamed(name, 9, 3);
        assert_eq!(name("blk.7.attn_k.weight"), Some(("model.layers.7.self_attn.k_proj.weight".into(), Some(3))));
        assert_eq!(name("token_embd.weight"), Some(("model.embed_tokens.weight".into(), None)));
        assert_eq!(name("blk.x.attn_k.weight"), None);
    }

    #[test]
    fn a_failed_import_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (gguf, to) = (folder.path().join("a.gguf"), folder.path().join("model"));
        let mut empty = crate::gguf::testing::file(0, 0);
        crate::gguf::testing::pad(&mut empty);
        fs::write(&gguf, empty).unwrap();
        let error = import(&gguf, &to, &mut |_, _| {}).unwrap_err().to_string();
        assert!(error.ends_with("a.gguf is corrupt: it has no general.architecture"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
