//! Gemma 2: norms on both sides of each block, by one more than their weights; embeddings scaled by the root of the width;
//! windows in turns; scores and logits kept below a cap.

use super::{
    GEMMA_CALLS, LayerTypes, Result, Sizes, complete_layer_types, complete_rope, functions, gated, llama_blueprint,
    rms_norm, sandwich_layer, sees_ahead, separate_attention, set, sources, with_scaling,
};
use crate::config::Config;
use crate::family::{Blueprint, CAUSAL, Family, NormKind};

pub const FAMILY: Family = Family {
    model_type: "gemma2",
    config_class: "Gemma2Config",
    defaults: r#"{
        "vocab_size": 256000, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 8192, "initializer_range": 0.02, "rms_norm_eps": 1e-06, "use_cache": true,
        "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "tie_word_embeddings": true, "attention_bias": false,
        "attention_dropout": 0.0, "query_pre_attn_scalar": 256, "sliding_window": 4096, "layer_types": null,
        "final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0, "use_bidirectional_attention": null
    }"#,
    aliases: &[("rope_scaling", "rope_parameters"), ("torch_dtype", "dtype")],
    complete: |config| {
        complete_layer_types(config, |layer| (layer + 1) % 2 != 0)?;
        complete_rope(config, 10_000.0, None)
    },
    blueprint,
    whole: None,
};

fn blueprint(config: &Config) -> Result<Blueprint> {
    let (prefix, sizes) = ("Gemma2", Sizes::read(config)?);
    let (norm, types) = (rms_norm(config, prefix, NormKind::RmsOnePlus)?, LayerTypes::read(config, sizes.layers)?);
    let (bias, cap) = (config.flag("attention_bias")?, config.optional_number("attn_logit_softcapping")?);
    let scaling = config.number("query_pre_attn_scalar")?.powf(-0.5);
    // Its masks are causal either way.
    let causal = !sees_ahead(config);
    let layer = |index| {
        let mut attention = separate_attention(config, prefix, &sizes, index, [bias; 2])?;
        with_scaling(&mut attention, scaling);
        attention.cap = cap;
        attention.told = &["sliding_window", "softcap"];
        attention.eager = if cap.is_some() { functions::EAGER_CAPPED } else { functions::EAGER_UNCAPPED };
        attention.attributes.push(("attn_logit_softcapping", cap.into()));
        set(&mut attention.attributes, CAUSAL, causal);
        let block = gated(config, prefix, (sizes.width, sizes.inner), "hidden_activation", false)?;
        let mut layer = sandwich_layer(prefix, &sizes, &norm, attention, block);
        types.apply(config, index, &mut layer);
        Ok(layer)
    };
    let layers = (0..sizes.layers).map(layer).collect::<Result<_>>()?;
    let mut blueprint = llama_blueprint(config, prefix, &sizes, norm.clone(), layers)?;
    blueprint.embedding.class = "Gemma2TextScaledWordEmbedding".into();
    blueprint.embedding.scale = Some((sizes.width as f64).sqrt());
    blueprint.head.cap = config.optional_number("final_logit_softcapping")?;
    blueprint.kinds = types.kinds(config, false)?;
    blueprint.calls = &GEMMA_CALLS;
    blueprint.sources.root = sources::CAPPED;
    blueprint.sources.base = sources::TWO_MASKS;
    blueprint.window = Some(config.size("sliding_window")?);
    blueprint.eager = true;
    blueprint.causal = causal;
    if let Some(rotary) = &mut blueprint.rotary {
        rotary.keyword = false;
    }
    Ok(blueprint)
}
