//! A family's parameters by name and shape, before any is read.

use kernels::Scheme;

use crate::family::{Apart, Blueprint, Experts, Leaf, Module, Norm, NormKind};

/// A tensor that a model of a blueprint reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub shape: Vec<i64>,
    /// `[out, in]` of each of the matrices in it, where it is one that may be kept in few bits.
    pub matrix: Option<[u64; 2]>,
}

impl Parameter {
    /// Returns the bytes that its matrices take in few bits.
    #[must_use]
    pub fn bytes(&self, scheme: Scheme) -> u64 {
        let Some(size) = self.matrix else { return 0 };
        self.numbers() / size.iter().product::<u64>().max(1) * scheme.bytes(size)
    }

    #[must_use]
    pub fn numbers(&self) -> u64 {
        self.shape.iter().map(|size| size.unsigned_abs()).product()
    }
}

/// Lists what [`crate::assembly::assemble`] reads of a checkpoint for a model of so many words and numbers in each. Some
/// parameters have two ways to lie in checkpoints: `has` says whether there is a tensor.
pub fn list(blueprint: &Blueprint, [vocabulary, width]: [i64; 2], has: &dyn Fn(&str) -> bool) -> Vec<Parameter> {
    let mut all = List(Vec::new());
    let base = blueprint.root.base_path();
    let embedding = &blueprint.embedding;
    all.add(format!("{base}.{}.weight", embedding.name), [vocabulary, width]);
    if let Some((name, entries)) = embedding.positions {
        all.add(format!("{base}.{name}.weight"), [entries, width]);
    }
    for (index, layer) in blueprint.layer.iter().enumerate() {
        let path = format!("{base}.{}.{index}", blueprint.layers);
        for (name, module) in &layer.modules {
            let own = format!("{path}.{name}");
            match module {
                Module::Norm(norm) => all.norm(&own, norm, width),
                Module::Dropout(_) => {}
                Module::Attention(attention) => {
                    if let Some(sinks) = attention.sinks {
                        all.add(format!("{own}.{sinks}"), [attention.heads]);
                    }
                    all.leaves(&own, &attention.modules);
                }
                Module::FeedForward(block) => all.leaves(&own, &block.modules),
                Module::Experts(experts) => all.experts(&path, &own, experts, width, has),
            }
        }
    }
    all.norm(&format!("{base}.{}", blueprint.norm.0), &blueprint.norm.1, width);
    let head = &blueprint.head;
    if !head.tied {
        let other = head.other_name.filter(|other| has(&format!("{other}.weight")));
        all.add(format!("{}.weight", other.unwrap_or("lm_head")), [vocabulary, width]);
    }
    if head.bias {
        all.add("lm_head.bias".into(), [vocabulary]);
    }
    all.0
}

struct List(Vec<Parameter>);

impl List {
    fn add<const DIMENSIONS: usize>(&mut self, name: String, shape: [i64; DIMENSIONS]) {
        self.0.push(Parameter { name, shape: shape.into(), matrix: None });
    }

    /// Adds what a layer multiplies by, `[…, out, in]` or the other way round.
    fn matrix<const DIMENSIONS: usize>(&mut self, name: String, shape: [i64; DIMENSIONS], turned: bool) {
        let matrix = match *shape.as_slice() {
            [.., inputs, outputs] if turned => Some([outputs, inputs].map(i64::unsigned_abs)),
            [.., outputs, inputs] => Some([outputs, inputs].map(i64::unsigned_abs)),
            _ => None,
        };
        self.0.push(Parameter { name, shape: shape.into(), matrix });
    }

    fn norm(&mut self, path: &str, norm: &Norm, width: i64) {
        self.add(format!("{path}.weight"), [width]);
        if norm.kind == NormKind::Layer {
            self.add(format!("{path}.bias"), [width]);
        }
    }

    fn leaves(&mut self, path: &str, leaves: &[(&'static str, Leaf)]) {
        for (name, leaf) in leaves {
            let own = format!("{path}.{name}");
            match leaf {
                &Leaf::Linear { inputs, outputs, bias } => {
                    self.matrix(format!("{own}.weight"), [outputs, inputs], false);
                    if bias {
                        self.add(format!("{own}.bias"), [outputs]);
                    }
                }
                &Leaf::Conv1D { inputs, outputs } => {
                    self.matrix(format!("{own}.weight"), [inputs, outputs], true);
                    self.add(format!("{own}.bias"), [outputs]);
                }
                Leaf::Norm { norm, width } => self.norm(&own, norm, *width),
                Leaf::Dropout(_) | Leaf::Activation(..) => {}
            }
        }
    }

    /// Adds a block's experts, together under its own name or each apart under another.
    fn experts(&mut self, layer: &str, own: &str, about: &Experts, width: i64, has: &dyn Fn(&str) -> bool) {
        let apart = about.apart.as_ref().filter(|Apart { block, names: [first, ..], .. }| {
            has(&format!("{layer}.{block}.experts.0.{first}.weight"))
        });
        let router = match apart {
            Some(Apart { block, router, .. }) => format!("{layer}.{block}.{router}"),
            None => format!("{own}.{}", about.router.0),
        };
        let (count, inner) = (about.count, about.inner);
        self.add(format!("{router}.weight"), [count, width]);
        if about.biased {
            self.add(format!("{router}.bias"), [count]);
        }
        if let Some(Apart { block, names: [gate, up, down], .. }) = apart {
            for number in 0..count {
                let expert = format!("{layer}.{block}.experts.{number}");
                self.matrix(format!("{expert}.{gate}.weight"), [inner, width], false);
                self.matrix(format!("{expert}.{up}.weight"), [inner, width], false);
                self.matrix(format!("{expert}.{down}.weight"), [width, inner], false);
            }
            return;
        }
        let together = format!("{own}.{}", about.experts.0);
        if about.biased {
            self.matrix(format!("{together}.gate_up_proj"), [count, width, 2 * inner], true);
            self.matrix(format!("{together}.down_proj"), [count, inner, width], true);
            self.add(format!("{together}.gate_up_proj_bias"), [count, 2 * inner]);
            self.add(format!("{together}.down_proj_bias"), [count, width]);
        } else {
            self.matrix(format!("{together}.gate_up_proj"), [count, 2 * inner, width], false);
            self.matrix(format!("{together}.down_proj"), [count, width, inner], false);
        }
    }
}

#[cfg(test)]
pub mod testing {
    use std::fs;
    use std::path::Path;

    use serde_json::{Map, Value as Json, json};

    use super::{Parameter, list};
    use crate::config::Config;
    use crate::families;

    /// The least model of a family, some of its settings changed.
    pub fn settings(model_type: &str, changes: Json) -> Map<String, Json> {
        let mut settings = json!({
            "model_type": model_type, "vocab_size": 10, "pad_token_id": null, "hidden_size": 16, "n_embd": 16,
            "intermediate_size": 24, "n_inner": 24, "num_hidden_layers": 2, "n_layer": 2, "num_attention_heads": 4,
            "n_head": 4, "num_key_value_heads": 2, "head_dim": 4, "rotary_dim": 2, "max_position_embeddings": 32,
            "n_positions": 32, "num_local_experts": 3, "num_experts": 3, "num_experts_per_tok": 2,
            "moe_intermediate_size": 8, "rotary_pct": 0.5,
        });
        let settings = settings.as_object_mut().unwrap();
        settings.extend(changes.as_object().unwrap().clone());
        let mut settings = std::mem::take(settings);
        let family = families::ALL.iter().find(|family| family.model_type == model_type).unwrap();
        if let Some(whole) = &family.whole {
            let own = settings.clone();
            settings.retain(|key, _| key == "model_type" || key == "tie_word_embeddings");
            settings.insert(whole.key.into(), own.into());
        }
        settings
    }

    /// Lists the parameters of a folder whose `config.json` is there.
    pub fn of_folder(folder: &Path, has: &dyn Fn(&str) -> bool) -> Vec<Parameter> {
        let config = Config::read(folder).unwrap();
        let blueprint = families::blueprint(&config).unwrap();
        list(&blueprint, [config.size("vocab_size").unwrap(), config.size("hidden_size").unwrap()], has)
    }

    /// Writes a folder that can be served, all of whose weights are zero.
    pub fn write(folder: &Path, settings: &Map<String, Json>, has: &dyn Fn(&str) -> bool) {
        fs::write(folder.join("config.json"), serde_json::to_vec(settings).unwrap()).unwrap();
        let model = json!({"type": "BPE", "vocab": {"a": 0}, "merges": []});
        fs::write(folder.join("tokenizer.json"), json!({"version": "1.0", "model": model}).to_string()).unwrap();
        let parameters = of_folder(folder, has);
        write_weights(folder, parameters.iter().map(|own| (own.name.as_str(), "F32", own.shape.as_slice())));
    }

    pub fn write_weights<'a>(folder: &Path, tensors: impl Iterator<Item = (&'a str, &'a str, &'a [i64])>) {
        let (mut header, mut end) = (Map::new(), 0);
        for (name, dtype, shape) in tensors {
            let (start, element) = (end, if dtype == "I8" { 1 } else { 4 });
            end += element * usize::try_from(shape.iter().product::<i64>()).unwrap();
            header.insert(name.into(), json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}));
        }
        let header = Json::Object(header).to_string();
        let data = vec![0; end];
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat();
        fs::write(folder.join("model.safetensors"), bytes).unwrap();
    }

    /// Settings of each family, and others of those that have choices.
    pub fn all_settings() -> Vec<Map<String, Json>> {
        let plain = families::ALL.iter().map(|family| settings(family.model_type, json!({})));
        let tied = families::ALL.iter().map(|family| settings(family.model_type, json!({"tie_word_embeddings": true})));
        let biased = json!({"attention_bias": true, "mlp_bias": true, "tie_word_embeddings": false});
        let biased = families::ALL.iter().map(|family| settings(family.model_type, biased.clone()));
        plain.chain(tied).chain(biased).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::{all_settings, of_folder, settings, write};

    #[test]
    fn the_list_is_what_a_model_of_each_family_reads() {
        let load = |settings, has: &dyn Fn(&str) -> bool| {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), &settings, has);
            let model = crate::load(folder.path(), None, torch::Device::CPU, &mut |_, _| {});
            model.unwrap_or_else(|error| panic!("{settings:?}: {error}"));
            of_folder(folder.path(), has)
        };
        all_settings().into_iter().for_each(|settings| drop(load(settings, &|_| false)));
        // Checkpoints may have experts apart, and heads of another name.
        let has = |name: &str| name.contains(".experts.0.") || name == "embed_out.weight";
        for model_type in ["mixtral", "qwen3_moe", "gpt_neox"] {
            let [own, other] =
                [&has as &dyn Fn(&str) -> bool, &|_| false].map(|has| load(settings(model_type, json!({})), has));
            assert_ne!(own, other, "{model_type}");
        }
    }
}
