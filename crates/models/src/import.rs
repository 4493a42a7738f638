//! Makes a folder as Hugging Face has it of a GGUF file.
//!
//! Blocks of few bits become float16 once: they are what those bits say, not the checkpoint that was quantised. What the file
//! has in float32, bfloat16 and float16 stays as it is.

mod sentencepiece;
mod source;
mod tokenizer;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use self::source::{Renamed, Source};
use crate::error::LoadError;
use crate::gguf::{Format, Gguf};

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
/// When the file is no GGUF of a Llama or a Qwen 2 with a BPE tokenizer, of bytes or SentencePiece's, or the folder cannot be
/// written.
pub fn import(gguf: &Path, to: &Path, progress: &mut dyn FnMut(usize, usize)) -> Result<Imported, LoadError> {
    let bytes = fs::read(gguf).map_err(LoadError::io(gguf))?;
    let parsed = Gguf::parse(&bytes).map_err(|error| LoadError::corrupt(gguf, error.to_string()))?;
    let source = Source::new(gguf, &parsed)?;
    let partial = to.with_extension("partial");
    let folder = Partial::new(&partial, gguf)?;
    let mut files = vec![
        folder.write("config.json", &source.config()?)?,
        folder.write("generation_config.json", &source.generation_config()?)?,
        folder.write("tokenizer.json", &source.tokenizer()?)?,
        folder.write("tokenizer_config.json", &source.tokenizer_config(source.size("context_length")?)?)?,
        folder.write_weights("model.safetensors", &source.tensors()?, progress)?,
    ];
    files.sort();
    let sums: String = files.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
    fs::write(partial.join("SHA256SUMS"), sums).map_err(LoadError::io(&partial))?;
    folder.finish(to)?;
    Ok(Imported { source: hexadecimal(Sha256::digest(&bytes).as_slice()), files })
}

/// Returns the type that a format's values are written in, and its bytes.
fn stored(format: Format) -> (&'static str, usize) {
    match format {
        Format::F32 => ("F32", 4),
        Format::BF16 => ("BF16", 2),
        _ => ("F16", 2),
    }
}

/// Returns values as bytes of the type that a format is written in; `None` where that would lose one altogether.
fn bytes_of(values: &[f32], format: Format) -> Option<Vec<u8>> {
    let narrow = |value: &f32| {
        let half = f16::from_f32(*value);
        (half.is_finite() || !value.is_finite()).then(|| half.to_le_bytes())
    };
    match format {
        Format::F32 => Some(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Format::BF16 => Some(values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()),
        _ => values.iter().map(narrow).collect::<Option<Vec<[u8; 2]>>>().map(|halves| halves.concat()),
    }
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
    /// What it is made of, and blamed.
    source: &'a Path,
}

impl<'a> Partial<'a> {
    fn new(folder: &'a Path, source: &'a Path) -> Result<Self, LoadError> {
        // What an import left that was killed is of no use.
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(LoadError::io(folder))?;
        }
        fs::create_dir_all(folder).map_err(LoadError::io(folder))?;
        Ok(Self { folder, source })
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

    /// Writes a safetensors file, one tensor in memory at a time.
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
            let (dtype, element) = stored(tensor.info.format);
            let end = offset + element * tensor.info.shape.iter().product::<usize>();
            let entry = json!({"dtype": dtype, "shape": tensor.info.shape, "data_offsets": [offset, end]});
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
            let bytes = bytes_of(&values, tensor.info.format).ok_or_else(|| LoadError::Gguf {
                file: self.source.to_path_buf(),
                reason: format!("tensor {} has numbers that float16 does not reach", tensor.info.name),
            })?;
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
    use tch::Kind;

    use super::*;
    use crate::gguf::{Metadata, testing};
    use crate::weights::Weights;

    #[test]
    fn ropes_permutation_is_undone() {
        // Two heads of four rows: llama.cpp keeps halves a b | c d as a c b d.
        let rows: Vec<f32> = [0, 2, 1, 3, 4, 6, 5, 7].iter().flat_map(|&row| [row as f32, row as f32 + 0.5]).collect();
        let expected: Vec<f32> = (0..8).flat_map(|row| [row as f32, row as f32 + 0.5]).collect();
        assert_eq!(unpermute(&rows, 2, 2), expected);
    }

    /// Writes a model of two layers of an architecture: tensors of float32, each element its number, the rows of queries and
    /// keys as llama.cpp has them.
    fn write(path: &Path, architecture: &str, changes: &[(&str, Metadata)]) {
        let (text, size) = (|text: &str| Metadata::Text(text.into()), Metadata::Unsigned);
        let list = |texts: &[&str]| Metadata::List(texts.iter().map(|own| text(own)).collect());
        let own = |key: &str| format!("{architecture}.{key}");
        let mut metadata = vec![
            ("general.architecture".to_owned(), text(architecture)),
            (own("block_count"), size(2)),
            (own("context_length"), size(32)),
            (own("embedding_length"), size(8)),
            (own("feed_forward_length"), size(12)),
            (own("attention.head_count"), size(2)),
            (own("attention.head_count_kv"), size(1)),
            (own("attention.layer_norm_rms_epsilon"), Metadata::Float(1e-5)),
            ("tokenizer.ggml.model".into(), text("gpt2")),
            ("tokenizer.ggml.pre".into(), text(if architecture == "llama" { "llama-bpe" } else { "qwen2" })),
            ("tokenizer.ggml.tokens".into(), list(&["a", "b", "ab", "<s>", "<tool>"])),
            ("tokenizer.ggml.token_type".into(), Metadata::List([1, 1, 1, 3, 4].map(size).into())),
            ("tokenizer.ggml.merges".into(), list(&["a b"])),
            ("tokenizer.ggml.bos_token_id".into(), size(3)),
            ("tokenizer.ggml.eos_token_id".into(), size(3)),
        ];
        for (key, value) in changes {
            metadata.retain(|(own, _)| own != key);
            metadata.push(((*key).into(), value.clone()));
        }
        let mut tensors = vec![("token_embd.weight".to_owned(), vec![8, 5]), ("output_norm.weight".into(), vec![8])];
        for layer in 0..2 {
            let parts: [(&str, &[u64]); 9] = [
                ("attn_q", &[8, 8]),
                ("attn_k", &[8, 4]),
                ("attn_v", &[8, 4]),
                ("attn_output", &[8, 8]),
                ("ffn_gate", &[8, 12]),
                ("ffn_up", &[8, 12]),
                ("ffn_down", &[12, 8]),
                ("attn_norm", &[8]),
                ("ffn_norm", &[8]),
            ];
            tensors.extend(parts.map(|(part, shape)| (format!("blk.{layer}.{part}.weight"), shape.to_vec())));
            if architecture == "qwen2" {
                let biases: [(&str, &[u64]); 3] = [("attn_q", &[8]), ("attn_k", &[4]), ("attn_v", &[4])];
                tensors.extend(biases.map(|(part, shape)| (format!("blk.{layer}.{part}.bias"), shape.to_vec())));
            }
        }
        let mut bytes = testing::file(tensors.len() as u64, metadata.len() as u64);
        metadata.iter().for_each(|(key, value)| testing::metadata(&mut bytes, key, value));
        let mut data: Vec<u8> = Vec::new();
        for (name, shape) in &tensors {
            testing::info(&mut bytes, name, shape, 0, data.len() as u64);
            data.extend((0..shape.iter().product()).flat_map(|at: u64| (at as f32).to_le_bytes()));
            testing::pad(&mut data);
        }
        testing::pad(&mut bytes);
        fs::write(path, [bytes, data].concat()).unwrap();
    }

    #[test]
    fn what_was_imported_can_be_served() {
        for architecture in ["llama", "qwen2"] {
            let folder = tempfile::tempdir().unwrap();
            let (gguf, to) = (folder.path().join("a.gguf"), folder.path().join("model"));
            write(&gguf, architecture, &[]);
            import(&gguf, &to, &mut |_, _| {}).unwrap();
            let report = crate::check(&to);
            assert!(report.can_be_served() && report.family == Some(architecture), "{report}");
            let model = crate::load(&to, None, torch::Device::CPU, &mut |_, _| {}).unwrap();
            assert_eq!(Some(model.parameters()), report.needs.map(|needs| needs.parameters));
            let mut weights = Weights::open(&to, Kind::Float, torch::Device::CPU).unwrap();
            let first = |weights: &mut Weights, name: &str, shape: [i64; 2]| {
                let tensor = weights.read(&format!("model.layers.1.self_attn.{name}.weight"), &shape).unwrap();
                Vec::<f32>::try_from(tensor.select(1, 0)).unwrap()
            };
            // Of a head's four rows, llama.cpp has the third second in a Llama.
            let keys = first(&mut weights, "k_proj", [4, 8]);
            assert_eq!(keys, if architecture == "llama" { [0.0, 16.0, 8.0, 24.0] } else { [0.0, 8.0, 16.0, 24.0] });
            assert_eq!(first(&mut weights, "v_proj", [4, 8]), [0.0, 8.0, 16.0, 24.0]);
            let tokenizer = tokenizers::Tokenizer::from_file(to.join("tokenizer.json")).unwrap();
            let ids = tokenizer.encode("ab<s><tool>", true).unwrap().get_ids().to_vec();
            assert_eq!(ids, if architecture == "llama" { [3, 2, 3, 4].as_slice() } else { &[2, 3, 4] });
        }
    }

    #[test]
    fn what_cannot_be_imported_is_said() {
        let (folder, text) = (tempfile::tempdir().unwrap(), |text: &str| Metadata::Text(text.into()));
        let gguf = folder.path().join("a.gguf");
        for (key, value, expected) in [
            ("general.architecture", text("gemma"), r#"its architecture is "gemma"; llama and qwen2 are supported"#),
            (
                "tokenizer.ggml.model",
                text("t5"),
                r#"its tokenizer is SentencePiece's unigrams, of the kind "t5", and byte-level BPE"#,
            ),
            ("tokenizer.ggml.pre", text("tekken"), r#"its tokenizer cuts text as "tekken"; supported are gpt-2, "#),
            ("tokenizer.ggml.eos_token_id", Metadata::Unsigned(5), "tokenizer.ggml.eos_token_id is no token"),
            ("llama.rope.scaling.type", text("yarn"), r#"rope.scaling.type "yarn" is not supported"#),
            (
                "llama.rope.dimension_count",
                Metadata::Unsigned(2),
                "rope.dimension_count is 2; only 4, a head's dimensions",
            ),
            (
                "llama.attention.head_count",
                Metadata::Unsigned(3),
                "tensor blk.0.attn_q.weight does not divide into its heads",
            ),
        ] {
            write(&gguf, "llama", &[(key, value)]);
            let error = import(&gguf, &folder.path().join("model"), &mut |_, _| {}).unwrap_err().to_string();
            assert!(error.contains("a.gguf cannot be imported: ") && error.contains(expected), "{error}");
        }
        assert_eq!(bytes_of(&[1e6], Format::Q8_0), None);
        assert_eq!(bytes_of(&[1e6], Format::F32).unwrap().len(), 4);
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
