//! The families that can be served, one file each, and what several of their tables have in common.

pub mod functions;
mod gemma2;
mod gemma3;
mod gemma3_text;
mod gpt2;
mod gpt_neox;
mod gpt_oss;
mod gptj;
mod llama;
mod mistral;
mod mixtral;
mod olmo2;
mod olmo3;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3_moe;
mod sources;

use serde_json::{Map, Value as Json};

use crate::config::Config;
use crate::error::LoadError;
use crate::family::{
    Attention, Attributes, Balance, Blueprint, CAUSAL, Calls, Embedding, FLAGS, Family, FeedForward, Form, Head,
    HeadNorms, Kind, Layer, Leaf, Module, Norm, NormKind, Over, Pairs, Projections, Register, Returns, Root, Rotary,
    Sight, Sources, Step, Turn, Usual, Way,
};
use crate::nn::Function;
use crate::rope::Rope;

/// All families.
pub const ALL: &[&Family] = &[
    &gpt2::FAMILY,
    &llama::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &mistral::FAMILY,
    &gemma2::FAMILY,
    &gemma3_text::FAMILY,
    &gemma3::FAMILY,
    &phi3::FAMILY,
    &gpt_neox::FAMILY,
    &gptj::FAMILY,
    &olmo2::FAMILY,
    &olmo3::FAMILY,
    &mixtral::FAMILY,
    &qwen3_moe::FAMILY,
    &gpt_oss::FAMILY,
];

type Result<T> = std::result::Result<T, LoadError>;

/// Makes the blueprint of what a configuration says: its family's, and what all families' may say.
///
/// # Errors
/// For what is not supported, by name.
pub fn blueprint(config: &Config) -> Result<Blueprint> {
    let mut blueprint = (config.family().blueprint)(config)?;
    let (is, wrapped) = (|key, flag| config.get(key) == Some(&Json::Bool(flag)), blueprint.root.is_wrapped());
    let said = match config.get(CAUSAL) {
        None => None,
        Some(Json::Bool(said)) => Some(*said),
        Some(_) => return Err(config.wrong(CAUSAL, "needs true or false")),
    };
    blueprint.sight.both_ways = said == Some(false);
    blueprint.usual = Usual {
        hidden_states: is("output_hidden_states", true),
        attentions: is("output_attentions", true),
        causal: said.filter(|_| wrapped),
        normed_last: !wrapped || !is("tie_last_hidden_states", false),
    };
    Ok(blueprint)
}

/// How Llama's modules are called, and those of most families after it.
const LLAMA_CALLS: Calls = Calls {
    base: Form {
        positional: &[],
        keyword: &["input_ids", "attention_mask", "position_ids", "past_key_values", "inputs_embeds", "use_cache"],
        signature: &["input_ids", "attention_mask", "position_ids", "past_key_values", "inputs_embeds", "use_cache"],
    },
    layer: Form {
        positional: &["hidden_states"],
        keyword: &["attention_mask", "position_embeddings", "position_ids", "past_key_values", "use_cache"],
        signature: &[
            "hidden_states",
            "attention_mask",
            "position_ids",
            "past_key_values",
            "use_cache",
            "position_embeddings",
        ],
    },
    attention: Form {
        positional: &[],
        keyword: &[
            "hidden_states",
            "attention_mask",
            "position_ids",
            "past_key_values",
            "use_cache",
            "position_embeddings",
        ],
        signature: &["hidden_states", "position_embeddings", "attention_mask", "past_key_values"],
    },
};

/// As Llama's, but that the layers are not told whether there is a cache.
const GEMMA_CALLS: Calls = Calls {
    base: LLAMA_CALLS.base,
    layer: Form {
        positional: &["hidden_states"],
        keyword: &["attention_mask", "position_embeddings", "position_ids", "past_key_values"],
        signature: &["hidden_states", "position_embeddings", "attention_mask", "position_ids", "past_key_values"],
    },
    attention: Form {
        positional: &[],
        keyword: &["hidden_states", "position_embeddings", "attention_mask", "position_ids", "past_key_values"],
        signature: &["hidden_states", "position_embeddings", "attention_mask", "past_key_values"],
    },
};

/// As Gemma's, but that attention is told that there is no cache.
const OLMO3_CALLS: Calls = Calls { base: LLAMA_CALLS.base, layer: GEMMA_CALLS.layer, attention: LLAMA_CALLS.attention };

/// As Llama's, but that the model is told whether its routers' logits are wanted.
const EXPERTS_CALLS: Calls = Calls {
    base: Form {
        positional: &[],
        keyword: &[
            "input_ids",
            "attention_mask",
            "position_ids",
            "past_key_values",
            "inputs_embeds",
            "use_cache",
            "output_router_logits",
        ],
        signature: LLAMA_CALLS.base.signature,
    },
    layer: Form {
        positional: &["hidden_states"],
        keyword: &[
            "attention_mask",
            "position_ids",
            "past_key_values",
            "use_cache",
            "position_embeddings",
            "output_router_logits",
        ],
        signature: LLAMA_CALLS.layer.signature,
    },
    attention: Form {
        positional: &[],
        keyword: &[
            "hidden_states",
            "attention_mask",
            "position_ids",
            "past_key_values",
            "use_cache",
            "position_embeddings",
            "output_router_logits",
        ],
        signature: LLAMA_CALLS.attention.signature,
    },
};

/// Sizes that most families name alike.
struct Sizes {
    width: i64,
    inner: i64,
    heads: i64,
    key_heads: i64,
    head_dim: i64,
    layers: usize,
}

impl Sizes {
    fn read(config: &Config) -> Result<Self> {
        let (width, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
        let key_heads = config.optional_size("num_key_value_heads")?.unwrap_or(heads);
        if heads % key_heads != 0 {
            let reason = format!("{key_heads} does not divide num_attention_heads, {heads}");
            return Err(config.wrong("num_key_value_heads", reason));
        }
        let head_dim = match config.optional_size("head_dim")? {
            Some(given) => given,
            None => divided(config, "hidden_size", width, heads)?,
        };
        let layers = usize::try_from(config.size("num_hidden_layers")?).unwrap_or(0);
        Ok(Self { width, inner: config.size("intermediate_size")?, heads, key_heads, head_dim, layers })
    }
}

/// Returns the numbers of each head where a width, which stands under a key, is cut into so many.
fn divided(config: &Config, key: &str, width: i64, heads: i64) -> Result<i64> {
    if width % heads != 0 {
        return Err(config.wrong(key, format!("{width} does not divide into {heads} heads")));
    }
    Ok(width / heads)
}

/// Returns an activation function by the name under a key.
fn function(config: &Config, key: &str) -> Result<(Function, &'static str)> {
    let name = config.text(key)?;
    Function::named(name).ok_or_else(|| config.wrong(key, format!("{name:?} is not supported")))
}

/// A linear layer, by its sizes.
fn linear(inputs: i64, outputs: i64, bias: bool) -> Leaf {
    Leaf::Linear { inputs, outputs, bias }
}

fn layer_norm(eps: f64) -> Norm {
    Norm { class: "LayerNorm".into(), eps, kind: NormKind::Layer }
}

/// Attention with three projections and one for what comes out: `q_proj`, `k_proj`, `v_proj`, `o_proj`.
fn separate_attention(
    config: &Config,
    prefix: &str,
    sizes: &Sizes,
    layer: usize,
    biases: [bool; 2],
) -> Result<Attention> {
    let &Sizes { width, heads, key_heads, head_dim, .. } = sizes;
    let [bias, output_bias] = biases;
    Ok(Attention {
        class: format!("{prefix}Attention"),
        modules: vec![
            ("q_proj", linear(width, heads * head_dim, bias)),
            ("k_proj", linear(width, key_heads * head_dim, bias)),
            ("v_proj", linear(width, key_heads * head_dim, bias)),
            ("o_proj", linear(heads * head_dim, width, output_bias)),
        ],
        projections: Projections::Separate(["q_proj", "k_proj", "v_proj"]),
        head_norms: None,
        turn: Some(Turn { pairs: Pairs::Halves, width: head_dim }),
        heads,
        key_heads,
        head_dim,
        scaling: (head_dim as f64).powf(-0.5),
        cap: None,
        wide: false,
        sinks: None,
        weights_dropout: None,
        output: "o_proj",
        dropout: None,
        attributes: attention_attributes(config, sizes, layer),
        source: sources::SEPARATE_ATTENTION,
        eager: functions::EAGER,
        functions: functions::ROTATE,
        told: &[],
    })
}

/// What attention modules show of themselves since Llama.
fn attention_attributes(config: &Config, sizes: &Sizes, layer: usize) -> Attributes {
    vec![
        ("config", Json::Null),
        ("layer_idx", layer.into()),
        ("head_dim", sizes.head_dim.into()),
        ("num_key_value_groups", (sizes.heads / sizes.key_heads).into()),
        ("scaling", (sizes.head_dim as f64).powf(-0.5).into()),
        ("attention_dropout", config.get("attention_dropout").cloned().unwrap_or(Json::Null)),
        (CAUSAL, true.into()),
    ]
}

/// `down_proj(act_fn(gate_proj(x)) * up_proj(x))`
fn gated(config: &Config, prefix: &str, (width, inner): (i64, i64), act: &str, bias: bool) -> Result<FeedForward> {
    let (function, class) = function(config, act)?;
    Ok(FeedForward {
        class: format!("{prefix}MLP"),
        argument: "x",
        modules: vec![
            ("gate_proj", linear(width, inner, bias)),
            ("up_proj", linear(width, inner, bias)),
            ("down_proj", linear(inner, width, bias)),
            ("act_fn", Leaf::Activation(function, class)),
        ],
        way: Way::Gated { gate: "gate_proj", up: "up_proj", down: "down_proj", act: "act_fn" },
        attributes: vec![("config", Json::Null), ("hidden_size", width.into()), ("intermediate_size", inner.into())],
        source: sources::GATED,
    })
}

/// A norm before each block, whose outcome is added to what the norm was given.
fn pre_norm_steps([first, attention, second, block]: [&'static str; 4]) -> Vec<Step> {
    use Register::{Branch, Hidden};
    vec![
        Step::Run(first, Hidden, Branch),
        Step::Run(attention, Branch, Branch),
        Step::Add(Branch, Hidden),
        Step::Run(second, Hidden, Branch),
        Step::Run(block, Branch, Branch),
        Step::Add(Branch, Hidden),
    ]
}

/// A layer as Llama's: `self_attn`, `mlp`, and a norm before each.
fn llama_layer(prefix: &str, sizes: &Sizes, norm: &Norm, attention: Attention, block: Module) -> Layer {
    Layer {
        class: format!("{prefix}DecoderLayer"),
        kind: 0,
        modules: vec![
            ("self_attn", Module::Attention(attention)),
            ("mlp", block),
            ("input_layernorm", Module::Norm(norm.clone())),
            ("post_attention_layernorm", Module::Norm(norm.clone())),
        ],
        steps: pre_norm_steps(["input_layernorm", "self_attn", "post_attention_layernorm", "mlp"]),
        returns_weights: false,
        attributes: vec![("hidden_size", sizes.width.into())],
        source: sources::PRE_NORM_LAYER,
    }
}

/// A model as Llama's around its layers: `model`, `embed_tokens`, `layers`, `norm`, `rotary_emb`, `lm_head`.
fn llama_blueprint(config: &Config, prefix: &str, sizes: &Sizes, norm: Norm, layer: Vec<Layer>) -> Result<Blueprint> {
    let rotary = rotary(config, prefix, sizes.head_dim)?;
    llama_blueprint_around(config, prefix, norm, layer, rotary)
}

/// The same with another rotary embedding.
fn llama_blueprint_around(
    config: &Config,
    prefix: &str,
    norm: Norm,
    layer: Vec<Layer>,
    rotary: Rotary,
) -> Result<Blueprint> {
    let padding = config.get("pad_token_id").cloned().unwrap_or(Json::Null);
    Ok(Blueprint {
        root: Root {
            class: format!("{prefix}ForCausalLM"),
            base: ("model", format!("{prefix}Model")),
            returns: Returns::Plain,
            hands_on: [FLAGS; 2],
            around: None,
            absent: Vec::new(),
            restores_length: false,
            attributes: vec![("padding_idx", padding.clone())],
        },
        embedding: Embedding {
            name: "embed_tokens",
            class: "Embedding".into(),
            padding: padding.as_i64(),
            scale: None,
            positions: None,
            dropout: None,
        },
        layers: "layers",
        layer,
        kinds: vec![Kind { window: None, rope: 0 }],
        norm: ("norm", norm),
        rotary: Some(rotary),
        head: Head { other_name: None, bias: false, tied: config.flag("tie_word_embeddings")?, cap: None },
        calls: &LLAMA_CALLS,
        positions: None,
        eager: false,
        by_sequence: true,
        sight: Sight::default(),
        causal: true,
        paired_caches: false,
        usual: Usual::default(),
        window: None,
        anew_at: None,
        balance: None,
        sources: Sources { root: sources::CAUSAL, around: "", base: sources::ONE_MASK },
    })
}

/// One rotary embedding for all layers, by `rope_parameters`.
fn rotary(config: &Config, prefix: &str, head_dim: i64) -> Result<Rotary> {
    let rope = Rope::read(config, object(config, "rope_parameters")?, head_dim)?;
    let positions = config.size("max_position_embeddings")?;
    Ok(Rotary {
        module: Some(("rotary_emb", format!("{prefix}RotaryEmbedding"))),
        types: Vec::new(),
        keyword: true,
        wide: false,
        half: false,
        attributes: vec![
            ("config", Json::Null),
            ("attention_scaling", rope.factor.into()),
            ("rope_type", rope.rope_type.clone().into()),
            ("max_seq_len_cached", positions.into()),
            ("original_max_seq_len", positions.into()),
        ],
        ropes: vec![rope],
    })
}

fn object<'a>(config: &'a Config, key: &str) -> Result<&'a Map<String, Json>> {
    config.get(key).and_then(Json::as_object).ok_or_else(|| config.wrong(key, "needs an object"))
}

/// The norm of Llama and most families after it.
fn rms_norm(config: &Config, prefix: &str, kind: NormKind) -> Result<Norm> {
    Ok(Norm { class: format!("{prefix}RMSNorm"), eps: config.number("rms_norm_eps")?, kind })
}

/// The types that a layer can be of, as `layer_types` names them.
const LAYER_TYPES: [&str; 2] = ["full_attention", "sliding_attention"];

/// Which types of layers there are, and which of them each layer is of.
struct LayerTypes {
    names: Vec<&'static str>,
    of: Vec<usize>,
}

impl LayerTypes {
    /// Reads `layer_types`.
    fn read(config: &Config, layers: usize) -> Result<Self> {
        let given = config.get("layer_types").and_then(Json::as_array);
        let given = given.filter(|given| given.len() >= layers);
        let given = given.ok_or_else(|| config.wrong("layer_types", format!("needs a list of {layers}")))?;
        let (mut names, mut of) = (Vec::new(), Vec::with_capacity(layers));
        for name in given.iter().take(layers) {
            let known = LAYER_TYPES.iter().find(|known| name.as_str() == Some(known));
            let known = known.copied().ok_or_else(|| {
                let types = LAYER_TYPES.join(" and ");
                config.wrong("layer_types", format!("{name} is not supported; {types} are"))
            })?;
            let at = names.iter().position(|own| *own == known).unwrap_or(names.len());
            if at == names.len() {
                names.push(known);
            }
            of.push(at);
        }
        Ok(Self { names, of })
    }

    fn name(&self, layer: usize) -> Option<&'static str> {
        self.names.get(*self.of.get(layer)?).copied()
    }

    /// Returns the window of each type. `by_type` has each type rotated in its own way.
    fn kinds(&self, config: &Config, by_type: bool) -> Result<Vec<Kind>> {
        let kind = |(rope, name): (usize, &&str)| {
            let slides = *name == "sliding_attention";
            let window = if slides { Some(config.size("sliding_window")?) } else { None };
            Ok(Kind { window, rope: if by_type { rope } else { 0 } })
        };
        self.names.iter().enumerate().map(kind).collect()
    }

    /// Gives a layer its kind, and its attention what that shows of it.
    fn apply(&self, config: &Config, index: usize, layer: &mut Layer) {
        layer.kind = self.of.get(index).copied().unwrap_or(0);
        let name = self.name(index).unwrap_or_default();
        let window = config.get("sliding_window").filter(|_| name == "sliding_attention");
        for (_, module) in &mut layer.modules {
            if let Module::Attention(attention) = module {
                if attention.told.is_empty() {
                    attention.told = &["sliding_window"];
                }
                attention.attributes.push(("layer_type", name.into()));
                attention.attributes.push(("sliding_window", window.cloned().unwrap_or(Json::Null)));
            }
        }
    }
}

/// Fills in `layer_types` where a file has none.
fn complete_layer_types(config: &mut Config, slides: impl Fn(u64) -> bool) -> Result<()> {
    let layers = config.size("num_hidden_layers")?.unsigned_abs();
    let name = |layer| LAYER_TYPES[usize::from(slides(layer))];
    config.fill("layer_types", (0..layers).map(name).collect::<Vec<_>>());
    Ok(())
}

/// Qwen's way to say that there are windows: by a switch.
fn complete_switched_windows(config: &mut Config) -> Result<()> {
    if !config.flag("use_sliding_window")? {
        config.set("sliding_window", Json::Null);
    }
    Ok(())
}

/// The same, from a layer on.
fn complete_windows_from_a_layer(config: &mut Config) -> Result<()> {
    complete_switched_windows(config)?;
    let first = config.get("max_window_layers").and_then(Json::as_u64).unwrap_or(u64::MAX);
    let windows = !config.is_null("sliding_window");
    complete_layer_types(config, |layer| windows && layer >= first)
}

/// How many experts there are, and how many of them each token takes.
fn experts_and_chosen(config: &Config, key: &str) -> Result<(i64, i64)> {
    let (count, top) = (config.size(key)?, config.size("num_experts_per_tok")?);
    if top > count {
        return Err(config.wrong("num_experts_per_tok", format!("{top} is more than {key}, {count}")));
    }
    Ok((count, top))
}

/// What is said of how evenly they are taken.
fn balance(config: &Config, key: &str) -> Result<Option<Balance>> {
    let (count, top) = experts_and_chosen(config, key)?;
    let (asked, coefficient) = (config.flag("output_router_logits")?, config.number("router_aux_loss_coef")?);
    Ok(Some(Balance { asked, count, top, coefficient }))
}

/// One rotary embedding for each type of layer, by an object of `rope_parameters` for each.
fn rotary_by_type(config: &Config, prefix: &str, head_dim: i64, types: &LayerTypes) -> Result<Rotary> {
    let all = object(config, "rope_parameters")?;
    let positions = config.size("max_position_embeddings")?;
    let mut ropes = Vec::with_capacity(types.names.len());
    for name in &types.names {
        let own = all.get(*name).and_then(Json::as_object);
        let own = own.ok_or_else(|| config.wrong("rope_parameters", format!("has no object {name}")))?;
        ropes.push(Rope::read(config, own, head_dim)?);
    }
    let of = |value: fn(&Rope) -> Json| {
        types.names.iter().zip(&ropes).map(|(name, rope)| ((*name).to_owned(), value(rope))).collect::<Map<_, _>>()
    };
    let kinds = Json::Object(of(|rope| rope.rope_type.clone().into()));
    let mut sorted = types.names.clone();
    sorted.sort_unstable();
    Ok(Rotary {
        module: Some(("rotary_emb", format!("{prefix}RotaryEmbedding"))),
        ropes,
        types: types.names.clone(),
        keyword: false,
        wide: false,
        half: false,
        attributes: vec![
            ("config", Json::Null),
            ("layer_types", sorted.into()),
            ("rope_type", kinds),
            ("max_seq_len_cached", positions.into()),
            ("original_max_seq_len", positions.into()),
        ],
    })
}

/// Makes `rope_parameters` by type of layer of what files say for all, or for full attention alone.
fn complete_ropes_by_type(config: &mut Config, bases: [f64; 2], local_key: Option<&str>) -> Result<()> {
    let scaling = config.take("rope_scaling");
    let base = config.take("rope_theta");
    let local = local_key.and_then(|key| config.take(key));
    let mut all = match config.take("rope_parameters") {
        Some(Json::Object(all)) => all,
        None => Map::new(),
        Some(_) => return Err(config.wrong("rope_parameters", "needs an object")),
    };
    let given = [base.clone(), if local_key.is_some() { local } else { None }];
    for ((name, default), given) in LAYER_TYPES.into_iter().zip(bases).zip(given) {
        let mut own = match all.remove(name) {
            Some(Json::Object(own)) => own,
            _ => Map::new(),
        };
        if name == "full_attention"
            && let Some(Json::Object(scaling)) = &scaling
        {
            own.extend(scaling.clone());
        }
        complete_type_and_base(&mut own, given.unwrap_or(default.into()));
        complete_context(config, &mut own);
        all.insert(name.into(), Json::Object(own));
    }
    config.set("rope_parameters", all);
    Ok(())
}

/// Norms after both blocks as well as before: Gemma's.
fn sandwich_layer(prefix: &str, sizes: &Sizes, norm: &Norm, attention: Attention, block: FeedForward) -> Layer {
    use Register::{Branch, Hidden};
    let norms =
        ["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"];
    let mut modules = vec![("self_attn", Module::Attention(attention)), ("mlp", Module::FeedForward(block))];
    modules.extend(norms.map(|name| (name, Module::Norm(norm.clone()))));
    Layer {
        class: format!("{prefix}DecoderLayer"),
        kind: 0,
        modules,
        steps: vec![
            Step::Run("input_layernorm", Hidden, Branch),
            Step::Run("self_attn", Branch, Branch),
            Step::Run("post_attention_layernorm", Branch, Branch),
            Step::Add(Branch, Hidden),
            Step::Run("pre_feedforward_layernorm", Hidden, Branch),
            Step::Run("mlp", Branch, Branch),
            Step::Run("post_feedforward_layernorm", Branch, Branch),
            Step::Add(Branch, Hidden),
        ],
        returns_weights: false,
        attributes: vec![("config", Json::Null), ("hidden_size", sizes.width.into())],
        source: sources::SANDWICH_LAYER,
    }
}

/// Norms after both blocks, and none before: OLMo's since its second version.
fn post_norm_layer(prefix: &str, sizes: &Sizes, norm: &Norm, attention: Attention, block: FeedForward) -> Layer {
    use Register::{Branch, Hidden};
    Layer {
        class: format!("{prefix}DecoderLayer"),
        kind: 0,
        modules: vec![
            ("self_attn", Module::Attention(attention)),
            ("mlp", Module::FeedForward(block)),
            ("post_attention_layernorm", Module::Norm(norm.clone())),
            ("post_feedforward_layernorm", Module::Norm(norm.clone())),
        ],
        steps: vec![
            Step::Run("self_attn", Hidden, Branch),
            Step::Run("post_attention_layernorm", Branch, Branch),
            Step::Add(Branch, Hidden),
            Step::Run("mlp", Hidden, Branch),
            Step::Run("post_feedforward_layernorm", Branch, Branch),
            Step::Add(Branch, Hidden),
        ],
        returns_weights: false,
        attributes: vec![("hidden_size", sizes.width.into())],
        source: sources::POST_NORM_LAYER,
    }
}

/// Adds norms of queries and keys, under the names that all families have for them.
fn with_head_norms(attention: &mut Attention, norm: &Norm, over: Over) {
    let width = |heads: i64| if over == Over::Width { heads * attention.head_dim } else { attention.head_dim };
    let (queries, keys) = (width(attention.heads), width(attention.key_heads));
    attention.modules.push(("q_norm", Leaf::Norm { norm: norm.clone(), width: queries }));
    attention.modules.push(("k_norm", Leaf::Norm { norm: norm.clone(), width: keys }));
    attention.head_norms = Some(HeadNorms { names: ["q_norm", "k_norm"], over });
    attention.source = match over {
        Over::Width => sources::NORMED_WHOLE_ATTENTION,
        Over::Heads => sources::NORMED_HEADS_ATTENTION,
        Over::Turned => sources::NORMED_TURNED_ATTENTION,
    };
}

/// Says by how much scores are multiplied where it is not by the heads' dimensions.
fn with_scaling(attention: &mut Attention, scaling: f64) {
    attention.scaling = scaling;
    set(&mut attention.attributes, "scaling", scaling);
}

/// Sets an attribute that is there.
fn set(attributes: &mut Attributes, name: &str, value: impl Into<Json>) {
    if let Some((_, own)) = attributes.iter_mut().find(|(own, _)| *own == name) {
        *own = value.into();
    }
}

/// Returns whether Gemma's attention is to see what comes later.
fn sees_ahead(config: &Config) -> bool {
    config.get("use_bidirectional_attention") == Some(&Json::Bool(true))
}

/// The window of families that have one for all layers, or none.
fn one_kind(config: &Config) -> Result<Vec<Kind>> {
    Ok(vec![Kind { window: config.optional_size("sliding_window")?, rope: 0 }])
}

/// Fills in `num_key_value_heads` and `head_dim`.
fn complete_heads(config: &mut Config) -> Result<()> {
    config.fill("head_dim", config.size("hidden_size")? / config.size("num_attention_heads")?);
    complete_heads_of_keys(config)
}

/// Fills in `num_key_value_heads`.
fn complete_heads_of_keys(config: &mut Config) -> Result<()> {
    let heads = config.size("num_attention_heads")?;
    config.fill("num_key_value_heads", heads);
    Ok(())
}

/// Makes one `rope_parameters` of what older files say as `rope_theta`, `rope_scaling` and `partial_rotary_factor`.
fn complete_rope(config: &mut Config, base: f64, part: Option<f64>) -> Result<()> {
    let base = config.take("rope_theta").unwrap_or(base.into());
    let scaling = config.take("rope_scaling").filter(|given| given.as_object().is_some_and(|given| !given.is_empty()));
    let given = scaling.or(config.take("rope_parameters"));
    let mut rope = match given {
        Some(Json::Object(rope)) => rope,
        None => Map::new(),
        Some(_) => return Err(config.wrong("rope_parameters", "needs an object")),
    };
    complete_type_and_base(&mut rope, base);
    if let Some(part) = config.take("partial_rotary_factor").or(part.map(Json::from)) {
        rope.entry("partial_rotary_factor").or_insert(part);
    }
    // What stands beside the object counts before what stands in it.
    if is_stretched(&rope)
        && let Some(own) = config.get(CONTEXT).filter(|given| !given.is_null())
    {
        rope.insert(CONTEXT.into(), own.clone());
    }
    complete_context(config, &mut rope);
    config.set("rope_parameters", rope);
    Ok(())
}

/// Says the type as newer files do, and the base.
fn complete_type_and_base(rope: &mut Map<String, Json>, base: Json) {
    if let Some(kind) = rope.remove("type") {
        rope.entry("rope_type").or_insert(kind);
    }
    rope.entry("rope_type").or_insert("default".into());
    rope.entry("rope_theta").or_insert(base);
}

/// How many positions a model was made for before its ropes were stretched.
const CONTEXT: &str = "original_max_position_embeddings";

/// Returns whether a rope's type asks for [`CONTEXT`].
fn is_stretched(rope: &Map<String, Json>) -> bool {
    matches!(rope.get("rope_type").and_then(Json::as_str), Some("llama3" | "yarn" | "longrope"))
}

/// Fills in [`CONTEXT`] where it is needed: all positions.
fn complete_context(config: &Config, rope: &mut Map<String, Json>) {
    if is_stretched(rope) {
        let positions = config.get("max_position_embeddings").cloned().unwrap_or(Json::Null);
        rope.entry(CONTEXT).or_insert(positions);
    }
}
