//! Phi-3: Llama with one projection for queries, keys and values, one for gate and up, dropouts, and perhaps part of each
//! head rotated.

use serde_json::Value as Json;

use super::sources::{self, attention};
use super::{
    Result, Sizes, attention_attributes, complete_heads_of_keys, complete_rope, function, linear, llama_blueprint,
    one_kind, rms_norm,
};
use crate::config::Config;
use crate::family::{
    Attention, Blueprint, Cut, Family, FeedForward, Layer, Leaf, Module, NormKind, Pairs, Projections, Register, Step,
    Turn, Way,
};

pub const FAMILY: Family = Family {
    model_type: "phi3",
    config_class: "Phi3Config",
    defaults: r#"{
        "vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": null, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
        "attention_dropout": 0.0, "hidden_act": "silu", "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096, "initializer_range": 0.02, "rms_norm_eps": 1e-05, "use_cache": true,
        "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 32000, "pad_token_id": 32000,
        "sliding_window": null
    }"#,
    aliases: &[("rope_scaling", "rope_parameters"), ("torch_dtype", "dtype")],
    complete: |config| {
        complete_heads_of_keys(config)?;
        complete_rope(config, 10_000.0, Some(1.0))?;
        // Older files have other names for its one way to stretch.
        if let Some(Json::Object(mut rope)) = config.take("rope_parameters") {
            if matches!(rope.get("rope_type").and_then(Json::as_str), Some("su" | "yarn")) {
                rope.insert("rope_type".into(), "longrope".into());
                let own = config.get("original_max_position_embeddings").cloned().unwrap_or(Json::Null);
                rope.insert("original_max_position_embeddings".into(), own);
            }
            config.set("rope_parameters", rope);
        }
        Ok(())
    },
    blueprint,
    whole: None,
};

const LAYER: &str = "
    residual_0: residual = hidden_states
    self_input_layernorm_0: hidden_states = input_layernorm(hidden_states)
    hidden_states_0: hidden_states
    self_self_attn_0: hidden_states, weights = self_attn(hidden_states)
    self_resid_attn_dropout_0: hidden_states = resid_attn_dropout(hidden_states)
    hidden_states_1: hidden_states = residual + hidden_states
    residual_1: residual = hidden_states
    self_post_attention_layernorm_0: hidden_states = post_attention_layernorm(hidden_states)
    hidden_states_2: hidden_states
    self_mlp_0: hidden_states = mlp(hidden_states)
    hidden_states_3: hidden_states
    self_resid_mlp_dropout_0: hidden_states = resid_mlp_dropout(hidden_states)
    hidden_states_4: hidden_states = residual + hidden_states
    return hidden_states";

const ATTENTION: &str = attention!(
    "
    self_qkv_proj_0: qkv = qkv_proj(hidden_states)
    qkv_0: qkv
    query_pos_0: := width()
    query_states_0: query := queries(qkv)
    key_states_0: key := keys(qkv)
    value_states_0: value := values(qkv)
    query_states_view_0: query = view(query)
    transpose_0: query = turn(query)
    query_states_1: query
    key_states_view_0: key = view(key)
    transpose_1: key = turn(key)
    key_states_1: key
    value_states_view_0: value = view(value)
    transpose_2: value = turn(value)
    value_states_1: value",
    "past_key_values",
    "\n    getattr_0: window()",
    "o_proj"
);

fn blueprint(config: &Config) -> Result<Blueprint> {
    let (prefix, sizes) = ("Phi3", Sizes::read(config)?);
    let norm = rms_norm(config, prefix, NormKind::Rms)?;
    let mut blueprint = llama_blueprint(config, prefix, &sizes, norm.clone(), Vec::new())?;
    let turned = blueprint.rotary.iter().flat_map(|rotary| &rotary.ropes).map(|rope| rope.width()).next();
    let dropout = config.number("resid_pdrop")?;
    let layer = |index| -> Result<Layer> {
        use Register::{Branch, Hidden};
        Ok(Layer {
            class: "Phi3DecoderLayer".into(),
            kind: 0,
            modules: vec![
                ("self_attn", Module::Attention(attention(config, &sizes, index, turned))),
                ("mlp", Module::FeedForward(mlp(config, &sizes)?)),
                ("input_layernorm", Module::Norm(norm.clone())),
                ("post_attention_layernorm", Module::Norm(norm.clone())),
                ("resid_attn_dropout", Module::Dropout(dropout)),
                ("resid_mlp_dropout", Module::Dropout(dropout)),
            ],
            steps: vec![
                Step::Run("input_layernorm", Hidden, Branch),
                Step::Run("self_attn", Branch, Branch),
                Step::Run("resid_attn_dropout", Branch, Branch),
                Step::Add(Branch, Hidden),
                Step::Run("post_attention_layernorm", Hidden, Branch),
                Step::Run("mlp", Branch, Branch),
                Step::Run("resid_mlp_dropout", Branch, Branch),
                Step::Add(Branch, Hidden),
            ],
            returns_weights: false,
            attributes: vec![("hidden_size", sizes.width.into()), ("config", Json::Null)],
            source: LAYER,
        })
    };
    blueprint.layer = (0..sizes.layers).map(layer).collect::<Result<_>>()?;
    blueprint.kinds = one_kind(config)?;
    blueprint.anew_at = Some(config.size("original_max_position_embeddings")? + 1);
    blueprint.sources.base = sources::MASK_BY_FUNCTION;
    Ok(blueprint)
}

fn attention(config: &Config, sizes: &Sizes, index: usize, turned: Option<i64>) -> Attention {
    let &Sizes { width, heads, key_heads, head_dim, .. } = sizes;
    let mut attributes = attention_attributes(config, sizes, index);
    attributes.push(("num_key_value_heads", key_heads.into()));
    Attention {
        class: "Phi3Attention".into(),
        modules: vec![
            ("o_proj", linear(heads * head_dim, width, false)),
            ("qkv_proj", linear(width, (heads + 2 * key_heads) * head_dim, false)),
        ],
        projections: Projections::Packed("qkv_proj", Cut::Widths),
        head_norms: None,
        turn: Some(Turn { pairs: Pairs::Halves, width: turned.unwrap_or(head_dim) }),
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
        attributes,
        source: ATTENTION,
        eager: super::functions::EAGER,
        functions: super::functions::ROTATE_BEGINNING_AT_ONCE,
        told: &["sliding_window"],
    }
}

fn mlp(config: &Config, &Sizes { width, inner, .. }: &Sizes) -> Result<FeedForward> {
    let (function, class) = function(config, "hidden_act")?;
    Ok(FeedForward {
        class: "Phi3MLP".into(),
        argument: "hidden_states",
        modules: vec![
            ("gate_up_proj", linear(width, 2 * inner, false)),
            ("down_proj", linear(inner, width, false)),
            ("activation_fn", Leaf::Activation(function, class)),
        ],
        way: Way::GatedTogether { gate_up: "gate_up_proj", down: "down_proj", act: "activation_fn" },
        attributes: vec![("config", Json::Null)],
        source: "
            self_gate_up_proj_0: up_states = gate_up_proj(hidden_states)
            up_states_0: up_states
            up_states_chunk_0: gate, up_states = chunk(up_states)
            self_activation_fn_0: gate = activation_fn(gate)
            up_states_1: up_states = up_states * gate
            self_down_proj_0: down = down_proj(up_states)
            return down",
    })
}
