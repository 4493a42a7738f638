//! LoRA adapters as PEFT's `save_pretrained` writes them, which the operator allows by putting them into a model's folder:
//! `adapters/REPO_ID`. What PEFT computes of one and this server would not is refused by its name.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use engine::{Addition, Schema, Site};
use program::adapter::CONFIG;
use program::{DType, TensorData};
use serde_json::{Map, Value};
use tch::Kind;

use crate::config::read_object;
use crate::safetensors;

/// What PEFT calls the weights.
const WEIGHTS: &str = "adapter_model.safetensors";

/// Bytes that an adapter's weights may have.
const MOST_BYTES: u64 = 1 << 30;

/// Settings that change nothing of what a trained adapter computes.
const WITHOUT_EFFECT: [&str; 18] = [
    "auto_mapping",
    "base_model_name_or_path",
    "ensure_weight_tying",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// Ways of beginning that leave the model's own weights alone.
const BEGINNINGS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// Finds an adapter among those of a model's folder, and returns its own and what is another when its files have changed.
///
/// # Errors
/// A sentence: that there is no such adapter.
pub fn find(folder: &Path, name: &str) -> Result<(PathBuf, String), String> {
    let folder = program::adapter::folder(folder, name).filter(|folder| folder.join(CONFIG).is_file());
    let folder = folder.ok_or_else(|| program::adapter::missing(name))?;
    let facts = |file: &str| {
        let facts = folder.join(file).metadata().ok()?;
        Some((facts.len(), facts.modified().ok()))
    };
    let stamp = format!("{:?}", [CONFIG, WEIGHTS].map(facts));
    Ok((folder, stamp))
}

/// Reads the adapter in a folder for a model whose modules are `schema`'s; `sizes` has what linear modules take and make.
///
/// # Errors
/// A sentence: that its files are damaged, or what of it this server does not have.
pub fn read(
    folder: &Path,
    name: &str,
    schema: &Schema,
    sizes: &HashMap<Site, [i64; 2]>,
) -> Result<Vec<Addition>, String> {
    let config = read_object(&folder.join(CONFIG)).map_err(|error| error.to_string())?;
    let scale = scale(name, &config)?;
    let path = folder.join(WEIGHTS);
    let mut file = File::open(&path).map_err(|error| format!("the adapter {name:?} has no weights: {error}"))?;
    let entries = safetensors::entries(&path, &mut file, 0).map_err(|error| error.to_string())?;
    let bytes: u64 = entries.iter().map(|(_, entry)| entry.bytes as u64).sum();
    if bytes > MOST_BYTES {
        return Err(format!("the adapter {name:?} has {bytes} bytes of weights, more than {MOST_BYTES}"));
    }
    let mut found: Vec<(Site, [Option<TensorData>; 2])> = Vec::new();
    for (key, entry) in entries {
        let (module, index) = place(&key).ok_or_else(|| {
            format!("the adapter {name:?} has {key}, which this server does not apply: it has LoRA alone")
        })?;
        let Some(site) = schema.site(module) else {
            return Err(format!("the adapter {name:?} is for a module {module}, which the model does not have"));
        };
        let mut bytes = vec![0; entry.bytes];
        file.read_exact_at(&mut bytes, entry.start).map_err(|error| format!("the adapter {name:?}: {error}"))?;
        let dtype = match entry.kind {
            Kind::Float => DType::Float32,
            Kind::Half => DType::Float16,
            Kind::BFloat16 => DType::BFloat16,
            _ => return Err(format!("the adapter {name:?} has {key} as {}: F32, F16 and BF16 are read", entry.name)),
        };
        let data = TensorData { dtype, shape: entry.shape, bytes: bytes.into(), requires_grad: false };
        let at = found.iter().position(|(other, _)| *other == site).unwrap_or_else(|| {
            found.push((site, [None, None]));
            found.len() - 1
        });
        found[at].1[index] = Some(data);
    }
    let rank = config.get("r").and_then(Value::as_i64).unwrap_or_default();
    let mut additions = Vec::with_capacity(found.len());
    for (site, parts) in found {
        let module = schema.path(site).unwrap_or_default();
        let [Some(down), Some(up)] = parts else {
            return Err(format!("the adapter {name:?} has one of lora_A and lora_B of {module} alone"));
        };
        let [outputs, inputs] = *sizes.get(&site).ok_or_else(|| {
            format!("the adapter {name:?} is for {module}, and this server adapts linear modules alone")
        })?;
        if down.shape != [rank, inputs] || up.shape != [outputs, rank] {
            return Err(format!(
                "the adapter {name:?} has matrices of {:?} and {:?} for {module}, which takes {inputs} and makes {outputs}, at a \
                 rank of {rank}",
                down.shape, up.shape
            ));
        }
        additions.push(Addition { site, down, up, scale });
    }
    // As a pass comes to them.
    let order = |site: Site| schema.execution.iter().position(|other| *other == site);
    additions.sort_by_key(|addition| order(addition.site));
    Ok(additions)
}

/// Returns what the product of an adapter's matrices is multiplied by, once nothing else of its settings matters.
fn scale(name: &str, config: &Map<String, Value>) -> Result<f64, String> {
    let refuse = |key: &str, value: &Value| {
        Err(format!(
            "the adapter {name:?} has {key} = {value}, which this server does not apply: it has plain LoRA alone"
        ))
    };
    for (key, value) in config {
        let empty = match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        let known = match key.as_str() {
            "peft_type" => value == "LORA",
            "bias" => value == "none",
            "init_lora_weights" => value.is_boolean() || value.as_str().is_some_and(|text| BEGINNINGS.contains(&text)),
            key if WITHOUT_EFFECT.contains(&key) => true,
            // Settings of ways that the others say are not taken.
            key if key.ends_with("_config") || key.starts_with("megatron") => empty,
            _ => empty,
        };
        if !known {
            return refuse(key, value);
        }
    }
    let number = |key: &str| config.get(key).and_then(Value::as_f64).filter(|number| *number > 0.0);
    let missing = |key: &str| format!("the adapter {name:?} has no {key} above zero");
    let (alpha, rank) =
        (number("lora_alpha").ok_or_else(|| missing("lora_alpha"))?, number("r").ok_or_else(|| missing("r"))?);
    Ok(match config.get("use_rslora") {
        Some(Value::Bool(true)) => alpha / rank.sqrt(),
        _ => alpha / rank,
    })
}

/// Reads which module a weight is for, and which of its two matrices it is.
fn place(key: &str) -> Option<(&str, usize)> {
    let key = key.strip_prefix("base_model.model.")?;
    let ends = [".lora_A.weight", ".lora_B.weight"];
    ends.iter().enumerate().find_map(|(index, end)| Some((key.strip_suffix(end)?, index)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(config: serde_json::Value) -> Result<f64, String> {
        let Value::Object(config) = config else { panic!("no object") };
        scale("a/b", &config)
    }

    #[test]
    fn the_scale_is_alpha_over_rank_or_over_its_root() {
        let config = |rooted: bool| {
            serde_json::json!({ "peft_type": "LORA", "bias": "none", "r": 4, "lora_alpha": 8, "use_rslora": rooted,
                "use_dora": false, "modules_to_save": null, "rank_pattern": {}, "init_lora_weights": true })
        };
        assert_eq!(scaled(config(false)), Ok(2.0));
        assert_eq!(scaled(config(true)), Ok(4.0));
    }

    #[test]
    fn what_is_no_plain_lora_is_refused_by_name() {
        for (key, value) in [
            ("peft_type", serde_json::json!("LOHA")),
            ("bias", serde_json::json!("all")),
            ("use_dora", serde_json::json!(true)),
            ("modules_to_save", serde_json::json!(["lm_head"])),
            ("rank_pattern", serde_json::json!({ "c_attn": 2 })),
            ("init_lora_weights", serde_json::json!("pissa")),
            ("a_later_one", serde_json::json!(1)),
        ] {
            let mut config = serde_json::json!({ "peft_type": "LORA", "r": 4, "lora_alpha": 8 });
            config[key] = value;
            let says = scaled(config).unwrap_err();
            assert!(says.contains(key), "{says}");
        }
    }

    #[test]
    fn adapters_that_a_folder_does_not_have_are_named() {
        let says = find(Path::new("/nowhere"), "o/n").unwrap_err();
        assert!(says.contains("o/n") && says.contains("adapters/REPO_ID"), "{says}");
    }

    #[test]
    fn weights_are_told_by_their_names() {
        assert_eq!(place("base_model.model.h.0.c_attn.lora_A.weight"), Some(("h.0.c_attn", 0)));
        assert_eq!(place("base_model.model.h.0.c_attn.lora_B.weight"), Some(("h.0.c_attn", 1)));
        assert_eq!(place("base_model.model.wte.lora_embedding_A"), None);
    }
}
