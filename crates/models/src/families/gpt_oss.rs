//! gpt-oss: experts with biases and a clamped gate in every layer, windows in turns, and a score of each head's for seeing
//! nothing.

use serde_json::json;

use super::{
    EXPERTS_CALLS, LayerTypes, Result, Sizes, balance, complete_heads, complete_layer_types, complete_rope,
    experts_and_chosen, functions, llama_blueprint, llama_layer, rms_norm, separate_attention, sources,
};
use crate::config::Config;
use crate::family::{Blueprint, Experts, Family, Gate, Module, NormKind, Returns, Score};

pub const FAMILY: Family = Family {
    model_type: "gpt_oss",
    config_class: "GptOssConfig",
    defaults: r#"{
        "num_hidden_layers": 36, "num_local_experts": 128, "vocab_size": 201088, "hidden_size": 2880,
        "intermediate_size": 2880, "head_dim": 64, "num_attention_heads": 64, "num_key_value_heads": 8,
        "sliding_window": 128, "tie_word_embeddings": false, "hidden_act": "silu", "initializer_range": 0.02,
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "attention_dropout": 0.0, "num_experts_per_tok": 4,
        "swiglu_alpha": 1.702, "swiglu_limit": 7.0, "router_aux_loss_coef": 0.001, "output_router_logits": false,
        "use_cache": true, "layer_types": null, "pad_token_id": null, "bos_token_id": null, "eos_token_id": null,
        "attention_bias": true
    }"#,
    aliases: &[("rope_scaling", "rope_parameters"), ("torch_dtype", "dtype"), ("num_experts", "num_local_experts")],
    complete: |config| {
        complete_heads(config)?;
        complete_layer_types(config, |layer| (layer + 1) % 2 != 0)?;
        if config.is_null("rope_parameters") {
            let rope = json!({
                "rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": false,
                "original_max_position_embeddings": 4096
            });
            config.set("rope_parameters", rope);
        }
        complete_rope(config, 150_000.0, None)
    },
    blueprint,
    whole: None,
};

/// As Llama's, but for the router's scores.
const LAYER: &str = "
    residual_0: residual = hidden_states
    self_input_layernorm_0: hidden_states = input_layernorm(hidden_states)
    hidden_states_0: hidden_states
    self_self_attn_0: hidden_states, weights = self_attn(hidden_states)
    hidden_states_1: hidden_states = residual + hidden_states
    residual_1: residual = hidden_states
    self_post_attention_layernorm_0: hidden_states = post_attention_layernorm(hidden_states)
    hidden_states_2: hidden_states
    self_mlp_0: hidden_states, scores = mlp(hidden_states)
    hidden_states_3: hidden_states = residual + hidden_states
    return hidden_states";

fn blueprint(config: &Config) -> Result<Blueprint> {
    let (prefix, sizes) = ("GptOss", Sizes::read(config)?);
    let (norm, types) = (rms_norm(config, prefix, NormKind::RmsWide)?, LayerTypes::read(config, sizes.layers)?);
    let bias = config.flag("attention_bias")?;
    let layer = |index| {
        let mut attention = separate_attention(config, prefix, &sizes, index, [bias; 2])?;
        attention.sinks = Some("sinks");
        attention.told = &["sliding_window", "s_aux"];
        attention.eager = functions::EAGER_SINKS;
        attention.functions = functions::ROTATE_PAIRS;
        let mut layer = llama_layer(prefix, &sizes, &norm, attention, Module::Experts(experts(config, &sizes)?));
        layer.source = LAYER;
        types.apply(config, index, &mut layer);
        Ok(layer)
    };
    let layers = (0..sizes.layers).map(layer).collect::<Result<_>>()?;
    let mut blueprint = llama_blueprint(config, prefix, &sizes, norm.clone(), layers)?;
    blueprint.root.returns = Returns::Experts;
    blueprint.balance = balance(config, "num_local_experts")?;
    blueprint.kinds = types.kinds(config, false)?;
    blueprint.calls = &EXPERTS_CALLS;
    blueprint.sources.root = sources::EXPERTS_CAUSAL;
    blueprint.sources.base = sources::EXPERTS_TWO_MASKS;
    blueprint.window = Some(config.size("sliding_window")?);
    blueprint.eager = true;
    blueprint.by_sequence = false;
    if let Some(rotary) = &mut blueprint.rotary {
        rotary.keyword = false;
        rotary.half = true;
    }
    Ok(blueprint)
}

fn experts(config: &Config, sizes: &Sizes) -> Result<Experts> {
    let (count, top) = experts_and_chosen(config, "num_local_experts")?;
    let gate = Gate::Clamped { alpha: config.number("swiglu_alpha")?, limit: config.number("swiglu_limit")? };
    Ok(Experts {
        class: "GptOssMLP".into(),
        router: ("router", "GptOssTopKRouter".into()),
        experts: ("experts", "GptOssExperts".into()),
        router_first: true,
        count,
        top,
        inner: sizes.inner,
        score: Score::OfChosen,
        biased: true,
        gate,
        returns_scores: true,
        apart: None,
        attributes: Vec::new(),
        source: "
            hidden_states_reshape_0: flat = flat(hidden_states)
            hidden_states_0: flat
            self_router_0: logits, scores, chosen = router(flat)
            self_experts_0: flat = experts(flat, chosen, scores)
            hidden_states_1: flat
            hidden_states_reshape_1: hidden_states = apart(flat)
            hidden_states_2: hidden_states
            return hidden_states, scores",
    })
}
