//! Whether a model folder can be served, and what that would take. Of weights only headers are read.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use kernels::Scheme;
use serde_json::{Value as Json, json};
use tch::Kind;

use crate::checkpoint::{Checkpoint, Found};
use crate::config::Config;
use crate::dtype::DType;
use crate::error::LoadError;
use crate::families;
use crate::family::Blueprint;
use crate::generation::GenerationConfig;
use crate::parameters::{self, Parameter};
use crate::tokenizer::Tokenizer;

/// What was found out about a folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub folder: PathBuf,
    /// The family's `model_type`, where it is one that is known.
    pub family: Option<&'static str>,
    /// What it takes, where the settings say enough.
    pub needs: Option<Needs>,
    /// What is in the way, each thing a sentence. The folder can be served where there is nothing.
    pub obstacles: Vec<String>,
}

/// What a model takes in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// How many parameters there are, tied ones once.
    pub parameters: u64,
    /// Those of the head's matrix, which a CPU keeps in two forms: single columns are read of one of them.
    pub head: u64,
    /// Numbers that are kept of a token for the tokens after it.
    pub keys_and_values: u64,
    /// The type that weights have where nobody asks for another; of those that the files have in few bits, what is computed in.
    pub dtype: DType,
    /// Of the parameters, those of matrices that may be kept in few bits, and what they take so, by [`Scheme`].
    matrices: u64,
    /// Those of one layer's matrices, where they are most.
    layer: u64,
    int8: u64,
    nf4: u64,
    /// What the files have in few bits already.
    pub stored: Option<InFewBits>,
}

/// What a model takes whose layers are brought when they are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnStreaming {
    /// Bytes of its weights that are on the device at once.
    pub weights: u64,
    /// Bytes of the device, as they are told to whoever shares that out.
    pub device: u64,
    /// Bytes of the host's memory, beside a GPU.
    pub host: u64,
    /// Bytes that a pass through all layers brings.
    pub pass: u64,
}

/// Layers that are on the device at once then.
const LAYERS_AT_ONCE: u64 = 2;

/// Parameters that files have in few bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFewBits {
    /// By whom they were made.
    pub by: String,
    pub parameters: u64,
    /// What they take in memory, with their scales.
    pub bytes: u64,
}

impl Needs {
    /// Returns how many parameters are in matrices of layers, which may be kept in few bits.
    #[must_use]
    pub fn matrices(&self) -> u64 {
        self.matrices
    }

    /// Returns what a model takes of a device while it computes, as it is told to whoever shares that out: the weights, a part of
    /// them for what is made of them for a while, and what tokenizers and tables take.
    #[must_use]
    pub fn on_device(&self, dtype: DType, on_cpu: bool) -> u64 {
        let weights = if on_cpu { self.weights_on_cpu(dtype) } else { self.weights(dtype) };
        weights + weights / WORKING_PART + WORKING_ROOM
    }

    /// Returns what a model takes whose layers are brought when they are used; `None` where they would be in few bits.
    #[must_use]
    pub fn streaming(&self, dtype: DType, on_cpu: bool) -> Option<OnStreaming> {
        if self.stored.is_some() || dtype.scheme().is_some() {
            return None;
        }
        let pass = self.matrices * self.element(dtype);
        let here = LAYERS_AT_ONCE * self.layer * self.element(dtype);
        let without = |all: u64| all.saturating_sub(pass.saturating_sub(here));
        let weights = without(if on_cpu { self.weights_on_cpu(dtype) } else { self.weights(dtype) });
        let device = without(self.on_device(dtype, on_cpu));
        Some(OnStreaming { weights, device, host: if on_cpu { 0 } else { pass }, pass })
    }

    /// Lists the types that may be asked for.
    #[must_use]
    pub fn dtypes(&self) -> Vec<DType> {
        DType::ALL.into_iter().filter(|dtype| self.stored.is_none() || dtype.scheme().is_none()).collect()
    }

    /// Returns the bytes of all weights, each once, which is what they take on a GPU.
    #[must_use]
    pub fn weights(&self, dtype: DType) -> u64 {
        let (few, bytes) = match (&self.stored, dtype.scheme()) {
            (Some(stored), _) => (stored.parameters, stored.bytes),
            (None, Some(Scheme::Int8)) => (self.matrices, self.int8),
            (None, Some(Scheme::Nf4)) => (self.matrices, self.nf4),
            (None, None) => (0, 0),
        };
        self.parameters.saturating_sub(few) * self.element(dtype) + bytes
    }

    /// Returns the bytes that weights take on a CPU.
    #[must_use]
    pub fn weights_on_cpu(&self, dtype: DType) -> u64 {
        self.weights(dtype) + self.head * self.element(dtype)
    }

    /// Returns the bytes that keys and values of so many tokens take.
    #[must_use]
    pub fn keys_and_values(&self, tokens: u64, dtype: DType) -> u64 {
        tokens * self.keys_and_values * self.element(dtype)
    }

    /// Returns the bytes of a number that is no weight in few bits.
    fn element(&self, dtype: DType) -> u64 {
        if dtype.float(self.dtype) == DType::BFloat16 { 2 } else { 4 }
    }
}

/// What a model takes beside its weights.
const WORKING_PART: u64 = 16;
const WORKING_ROOM: u64 = 16 << 20;

/// Finds out what a model takes, by its settings and the headers of its weights.
///
/// # Errors
/// When these say too little, or cannot be read.
pub fn needs(folder: &Path) -> Result<Needs, LoadError> {
    let config = Config::read(folder)?;
    let blueprint = families::blueprint(&config)?;
    let sizes = [config.size("vocab_size")?, config.size("hidden_size")?];
    let mut checkpoint = Checkpoint::open(folder)?;
    checkpoint.adapt(&blueprint.root);
    let all = parameters::list(&blueprint, sizes, &|name| checkpoint.has(name));
    Ok(Needs::of(&config, &blueprint, sizes, &all, Some(&checkpoint)))
}

/// Finds out whether a folder can be served.
#[must_use]
pub fn check(folder: &Path) -> Report {
    let mut report = Report { folder: folder.to_path_buf(), family: None, needs: None, obstacles: Vec::new() };
    if !folder.is_dir() {
        report.obstacles.push(format!("{} is no folder", folder.display()));
        return report;
    }
    let config = report.note(Config::read(folder));
    report.family = config.as_ref().map(|config| config.family().model_type);
    report.note(Tokenizer::read(folder));
    if let Some(config) = &config {
        report.note(GenerationConfig::read(folder, config));
    }
    let blueprint = config.as_ref().and_then(|config| report.note(families::blueprint(config)));
    let checkpoint = report.note(Checkpoint::open(folder));
    if let (Some(config), Some(blueprint)) = (config, blueprint) {
        report.look_at_weights(&config, &blueprint, checkpoint);
    }
    report
}

impl Report {
    #[must_use]
    pub fn can_be_served(&self) -> bool {
        self.obstacles.is_empty()
    }

    /// Takes down what failed.
    fn note<T>(&mut self, outcome: Result<T, LoadError>) -> Option<T> {
        outcome.map_err(|error| self.obstacles.push(error.to_string())).ok()
    }

    fn look_at_weights(&mut self, config: &Config, blueprint: &Blueprint, checkpoint: Option<Checkpoint>) {
        let sizes = config.size("vocab_size").and_then(|words| Ok([words, config.size("hidden_size")?]));
        let Some(sizes) = self.note(sizes) else { return };
        let Some(mut checkpoint) = checkpoint else {
            let all = parameters::list(blueprint, sizes, &|_| false);
            self.needs = Some(Needs::of(config, blueprint, sizes, &all, None));
            return;
        };
        checkpoint.adapt(&blueprint.root);
        let all = parameters::list(blueprint, sizes, &|name| checkpoint.has(name));
        let mut read = HashSet::new();
        for parameter in &all {
            let parts = coded_parts(config, &checkpoint, parameter);
            match parts.is_empty() {
                true => drop(self.note(checkpoint.find(&parameter.name, &parameter.shape))),
                false => read.extend(parts.iter().map(|part| checkpoint.own_name(part).into_owned())),
            }
            read.insert(checkpoint.own_name(&parameter.name).into_owned());
        }
        for (tensor, file) in checkpoint.unread(|name| read.contains(name), blueprint.head.tied) {
            self.obstacles.push(LoadError::unread(file, tensor, 0).to_string());
        }
        self.needs = Some(Needs::of(config, blueprint, sizes, &all, Some(&checkpoint)));
    }

    /// Returns the report as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let dtypes = self.needs.as_ref().map(Needs::dtypes).unwrap_or_default();
        let by_dtype = |bytes: &dyn Fn(DType) -> u64| -> Json {
            dtypes.iter().map(|dtype| (dtype.name().to_owned(), Json::from(bytes(*dtype)))).collect()
        };
        json!({
            "folder": self.folder.to_string_lossy(),
            "served": self.can_be_served(),
            "family": self.family,
            "needs": self.needs.as_ref().map(|needs| json!({
                "parameters": needs.parameters,
                "dtype": needs.dtype.name(),
                "quantized": needs.stored.as_ref().map(|stored| json!({
                    "by": stored.by, "parameters": stored.parameters, "bytes": stored.bytes,
                })),
                "weights": by_dtype(&|dtype| needs.weights(dtype)),
                "weights_on_cpu": by_dtype(&|dtype| needs.weights_on_cpu(dtype)),
                "streamed": dtypes.iter().filter_map(|dtype| Some((dtype.name().to_owned(), json!({
                    "on_gpu": needs.streaming(*dtype, false)?.weights,
                    "beside_gpu": needs.streaming(*dtype, false)?.host,
                    "on_cpu": needs.streaming(*dtype, true)?.weights,
                    "pass": needs.streaming(*dtype, false)?.pass,
                })))).collect::<Json>(),
                "keys_and_values_of_1000_tokens": by_dtype(&|dtype| needs.keys_and_values(1000, dtype)),
            })),
            "obstacles": self.obstacles,
        })
    }
}

impl Needs {
    fn of(
        config: &Config,
        blueprint: &Blueprint,
        [vocabulary, width]: [i64; 2],
        all: &[Parameter],
        checkpoint: Option<&Checkpoint>,
    ) -> Self {
        let attentions = blueprint.layer.iter().filter_map(|layer| layer.attention());
        let kept =
            attentions.map(|attention| 2 * attention.key_heads.unsigned_abs() * attention.head_dim.unsigned_abs());
        Self {
            parameters: all.iter().map(Parameter::numbers).sum(),
            head: vocabulary.unsigned_abs() * width.unsigned_abs(),
            keys_and_values: kept.sum(),
            dtype: DType::of(config),
            matrices: all.iter().filter(|own| own.matrix.is_some()).map(Parameter::numbers).sum(),
            layer: largest_layer(all),
            int8: all.iter().map(|own| own.bytes(Scheme::Int8)).sum(),
            nf4: all.iter().map(|own| own.bytes(Scheme::Nf4)).sum(),
            stored: config.stored().map(|by| InFewBits::of(by.to_string(), config, all, checkpoint)),
        }
    }
}

/// Returns how many parameters the matrices of a layer have at most. Layers are told by their numbers in names.
fn largest_layer(all: &[Parameter]) -> u64 {
    let mut layers: HashMap<&str, u64> = HashMap::new();
    for parameter in all.iter().filter(|own| own.matrix.is_some()) {
        *layers.entry(layer_of(&parameter.name)).or_default() += parameter.numbers();
    }
    layers.into_values().max().unwrap_or(0)
}

/// Returns what a name begins with, up to its first number.
fn layer_of(name: &str) -> &str {
    let mut end = 0;
    for part in name.split('.') {
        end += part.len();
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            return name.get(..end).unwrap_or(name);
        }
        end += 1;
    }
    name
}

impl InFewBits {
    fn of(by: String, config: &Config, all: &[Parameter], checkpoint: Option<&Checkpoint>) -> Self {
        let mut few = Self { by, parameters: 0, bytes: 0 };
        let Some(checkpoint) = checkpoint else { return few };
        for parameter in all {
            let parts = coded_parts(config, checkpoint, parameter);
            if parts.is_empty() {
                continue;
            }
            few.parameters += parameter.numbers();
            few.bytes += parts.iter().map(|part| kept_bytes(checkpoint, part)).sum::<u64>();
        }
        few
    }
}

/// Lists the tensors that a parameter is made of where the files have it in few bits.
fn coded_parts(config: &Config, checkpoint: &Checkpoint, parameter: &Parameter) -> Vec<String> {
    let stored = config.stored().filter(|_| parameter.matrix.is_some());
    stored.map(|stored| stored.parts(checkpoint, &parameter.name)).unwrap_or_default()
}

/// Returns what a tensor of codes or scales takes in memory: scales are float32 there, and what describes them is gone.
fn kept_bytes(checkpoint: &Checkpoint, name: &str) -> u64 {
    let Ok(Found { entry, .. }) = checkpoint.any(name) else { return 0 };
    let described = [".weight_shape", ".weight_format", ".quant_map"].iter().any(|end| name.ends_with(end));
    match entry.kind {
        _ if described || name.contains(".quant_state.") => 0,
        Kind::Half | Kind::BFloat16 => 2 * entry.bytes as u64,
        _ => entry.bytes as u64,
    }
}

/// Obstacles that are shown to a person; a program gets all.
const SHOWN: usize = 20;

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.folder.display();
        match (self.obstacles.len(), self.family) {
            (0, family) => writeln!(to, "{folder} can be served, as {}", family.unwrap_or_default())?,
            (1, _) => writeln!(to, "{folder} cannot be served; in the way is:")?,
            (more, _) => writeln!(to, "{folder} cannot be served; {more} things are in the way:")?,
        }
        for obstacle in self.obstacles.iter().take(SHOWN) {
            writeln!(to, "- {obstacle}")?;
        }
        if self.obstacles.len() > SHOWN {
            writeln!(to, "- and {} more, which --json has", self.obstacles.len() - SHOWN)?;
        }
        let Some(needs) = &self.needs else { return Ok(()) };
        writeln!(to, "parameters                          {}", grouped(needs.parameters))?;
        if let Some(stored) = &needs.stored {
            let parameters = grouped(stored.parameters);
            writeln!(to, "  of these, quantized by {:<12}{parameters}, which take {}", stored.by, bytes(stored.bytes))?;
        }
        let others = needs.dtypes().into_iter().filter(|dtype| *dtype != needs.dtype);
        for (note, dtype) in
            std::iter::once((" (unless asked for otherwise)", needs.dtype)).chain(others.map(|own| ("", own)))
        {
            writeln!(to, "in {dtype}{note}:")?;
            let (weights, on_cpu) = (bytes(needs.weights(dtype)), bytes(needs.weights_on_cpu(dtype)));
            writeln!(to, "  weights                           {weights}; on a CPU {on_cpu}")?;
            writeln!(to, "  keys and values of 1,000 tokens   {}", bytes(needs.keys_and_values(1000, dtype)))?;
            if let Some(OnStreaming { weights, host, pass, .. }) = needs.streaming(dtype, false) {
                let (weights, host, pass) = (bytes(weights), bytes(host), bytes(pass));
                writeln!(
                    to,
                    "  with residency=stream             {weights} on a GPU, {host} beside it; each pass brings {pass}"
                )?;
            }
        }
        Ok(())
    }
}

/// Writes a number with a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}

fn bytes(bytes: u64) -> String {
    match bytes as f64 {
        large if large >= 1e9 => format!("{:.2} GB", large / 1e9),
        small => format!("{:.1} MB", small / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::parameters::testing::{all_settings, of_folder, settings, write, write_weights};

    fn folder(settings: &serde_json::Map<String, Json>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), settings, &|_| false);
        folder
    }

    #[test]
    fn a_folder_of_each_family_can_be_served_and_is_loaded_then() {
        for settings in all_settings() {
            let folder = folder(&settings);
            let report = check(folder.path());
            assert!(report.can_be_served(), "{report}");
            let model = crate::load(folder.path(), None, torch::Device::CPU, &mut |_, _| {}).unwrap();
            let needs = report.needs.unwrap();
            assert_eq!(needs.parameters, model.parameters(), "{:?}", report.family);
            let element = 2 * 4 * model.decoder.layers.len() as u64;
            assert_eq!(needs.keys_and_values % element, 0, "{:?}", report.family);
            let streamed = crate::load_streamed(folder.path(), None, torch::Device::CPU, &mut |_, _| {}).unwrap();
            let expected = needs.streaming(needs.dtype, true).unwrap().pass;
            assert_eq!(streamed.price().map(|price| price.bytes), Some(expected), "{:?}", report.family);
        }
    }

    #[test]
    fn it_says_what_a_model_takes() {
        let settings = settings("gpt_oss", json!({"dtype": "bfloat16", "tie_word_embeddings": false}));
        let needs = check(folder(&settings).path()).needs.unwrap();
        assert_eq!((needs.dtype, needs.head), (DType::BFloat16, 160));
        // Two layers of two key heads with four dimensions, keys and values.
        assert_eq!(needs.keys_and_values(1000, DType::Float32), 1000 * 2 * 2 * 2 * 4 * 4);
        assert_eq!(needs.weights(DType::Float32), 4 * needs.parameters);
        assert_eq!(needs.weights(DType::BFloat16), 2 * needs.parameters);
        assert_eq!(needs.weights_on_cpu(DType::Float32), 4 * (needs.parameters + 160));
    }

    #[test]
    fn each_thing_in_the_way_is_a_sentence() {
        let folder = folder(&settings("llama", json!({"tie_word_embeddings": false})));
        let mut parameters = of_folder(folder.path(), &|_| false);
        let [first, second, third, ..] = parameters.as_mut_slice() else { panic!("there are parameters") };
        (first.name, second.shape[0]) = ("extra".into(), 7);
        let quantized = third.name.clone();
        let dtype = |name: &str| if name == quantized { "I8" } else { "F32" };
        let tensors = parameters.iter().map(|own| (own.name.as_str(), dtype(&own.name), own.shape.as_slice()));
        write_weights(folder.path(), tensors);
        fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
        let report = check(folder.path());
        let text = report.to_string();
        for expected in [
            "cannot be served; 5 things are in the way:",
            "tokenizer.json is no tokenizer that can be read",
            "model.safetensors has no tensor model.embed_tokens.weight",
            "tensor model.layers.0.self_attn.q_proj.weight has shape [7, 16], but config.json asks for [16, 16]",
            "tensor model.layers.0.self_attn.k_proj.weight is I8, but a weight has to be F32, BF16 or F16",
            "tensor extra is not a part of this model as it is served: without it, other numbers would come out",
            "weights   ",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert_eq!(report.to_json()["obstacles"].as_array().unwrap().len(), 5);
        assert_eq!(report.to_json()["served"], false);
    }

    #[test]
    fn what_cannot_be_read_at_all_is_in_the_way_too() {
        let sentences = |settings: Json, expected: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("config.json"), settings.to_string()).unwrap();
            let report = check(folder.path());
            assert_eq!(report.obstacles.len(), expected.len(), "{report}");
            for (found, expected) in report.obstacles.iter().zip(expected) {
                assert!(found.contains(expected), "{report}");
            }
        };
        let (tokenizer, weights) = ("is no tokenizer", "has no weights: neither model.safetensors nor");
        sentences(json!({"model_type": "t5"}), &[r#"model_type "t5" is not supported"#, tokenizer, weights]);
        let rope = json!({"model_type": "llama", "rope_scaling": {"rope_type": "spiral"}});
        sentences(rope, &[tokenizer, r#"spiral"#, weights]);
        assert_eq!(check(Path::new("/nowhere")).obstacles, ["/nowhere is no folder"]);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
