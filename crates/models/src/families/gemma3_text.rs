//! Gemma 3's text model: Gemma 2 without a cap of scores, with norms of heads, and rotated by type of layer.

use super::{
    GEMMA_CALLS, LayerTypes, Result, Sizes, complete_layer_types, complete_ropes_by_type, functions, gated,
    llama_blueprint_around, rms_norm, rotary_by_type, sandwich_layer, sees_ahead, separate_attention, set, sources,
    with_head_norms, with_scaling,
};
use crate::config::Config;
use crate::family::{Blueprint, CAUSAL, Family, NormKind, Over};

pub const FAMILY: Family = Family {
    model_type: "gemma3_text",
    config_class: "Gemma3TextConfig",
    defaults: r#"{
        "vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 131072, "initializer_range": 0.02, "rms_norm_eps": 1e-06, "use_cache": true,
        "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "tie_word_embeddings": true, "attention_bias": false,
        "attention_dropout": 0.0, "query_pre_attn_scalar": 256, "sliding_window": 4096, "layer_types": null,
        "final_logit_softcapping": null, "attn_logit_softcapping": null, "use_bidirectional_attention": false
    }"#,
    aliases: &[("rope_scaling", "rope_parameters"), ("torch_dtype", "dtype")],
    complete: |config| {
        let pattern = config.take("sliding_window_pattern").and_then(|pattern| pattern.as_u64()).unwrap_or(6).max(1);
        if sees_ahead(config) {
            // It is said of both sides.
            config.set("sliding_window", config.size("sliding_window")? / 2 + 1);
        }
        complete_layer_types(config, |layer| (layer + 1) % pattern != 0)?;
        complete_ropes_by_type(config, [1_000_000.0, 10_000.0], Some("rope_local_base_freq"))
    },
    blueprint,
    whole: None,
};

fn blueprint(config: &Config) -> Result<Blueprint> {
    let ahead = sees_ahead(config);
    let (prefix, sizes) = ("Gemma3", Sizes::read(config)?);
    let (norm, types) = (rms_norm(config, prefix, NormKind::RmsOnePlus)?, LayerTypes::read(config, sizes.layers)?);
    let bias = config.flag("attention_bias")?;
    let scaling = config.number("query_pre_attn_scalar")?.powf(-0.5);
    let layer = |index| {
        let mut attention = separate_attention(config, prefix, &sizes, index, [bias; 2])?;
        with_scaling(&mut attention, scaling);
        attention.eager = functions::EAGER_UNCAPPED;
        with_head_norms(&mut attention, &norm, Over::Turned);
        let sliding = types.name(index) == Some("sliding_attention");
        attention.attributes.push(("is_sliding", sliding.into()));
        set(&mut attention.attributes, CAUSAL, !ahead);
        let block = gated(config, prefix, (sizes.width, sizes.inner), "hidden_activation", false)?;
        let mut layer = sandwich_layer(prefix, &sizes, &norm, attention, block);
        layer.attributes.push(("layer_idx", index.into()));
        types.apply(config, index, &mut layer);
        Ok(layer)
    };
    let layers = (0..sizes.layers).map(layer).collect::<Result<_>>()?;
    let rotary = rotary_by_type(config, prefix, sizes.head_dim, &types)?;
    let mut blueprint = llama_blueprint_around(config, prefix, norm.clone(), layers, rotary)?;
    blueprint.root.base.1 = "Gemma3TextModel".into();
    blueprint.embedding.class = "Gemma3TextScaledWordEmbedding".into();
    blueprint.embedding.scale = Some((sizes.width as f64).sqrt());
    blueprint.head.cap = config.optional_number("final_logit_softcapping")?;
    blueprint.kinds = types.kinds(config, true)?;
    blueprint.calls = &GEMMA_CALLS;
    blueprint.sources.root = sources::CAPPED;
    blueprint.sources.base = sources::GEMMA3;
    blueprint.window = Some(config.size("sliding_window")?);
    blueprint.causal = !ahead;
    blueprint.sight.overlaid = ahead;
    Ok(blueprint)
}
