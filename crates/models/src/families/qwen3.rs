//! Qwen 3: Llama with norms of each head's queries and keys, and perhaps windows by layer.

use super::{
    LayerTypes, Result, Sizes, complete_heads_of_keys, complete_rope, complete_windows_from_a_layer, gated,
    llama_blueprint, llama_layer, rms_norm, separate_attention, sources, with_head_norms,
};
use crate::config::Config;
use crate::family::{Blueprint, Family, Module, NormKind, Over};

pub const FAMILY: Family = Family {
    model_type: "qwen3",
    config_class: "Qwen3Config",
    defaults: r#"{
        "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 128, "hidden_act": "silu",
        "max_position_embeddings": 32768, "initializer_range": 0.02, "rms_norm_eps": 1e-06, "use_cache": true,
        "tie_word_embeddings": false, "attention_bias": false, "use_sliding_window": false, "sliding_window": 4096,
        "max_window_layers": 28, "layer_types": null, "attention_dropout": 0.0, "pad_token_id": null,
        "bos_token_id": null, "eos_token_id": null
    }"#,
    aliases: &[("rope_scaling", "rope_parameters"), ("torch_dtype", "dtype")],
    complete: |config| {
        complete_heads_of_keys(config)?;
        complete_windows_from_a_layer(config)?;
        complete_rope(config, 10_000.0, None)
    },
    blueprint,
    whole: None,
};

fn blueprint(config: &Config) -> Result<Blueprint> {
    let (prefix, sizes) = ("Qwen3", Sizes::read(config)?);
    let (norm, types) = (rms_norm(config, prefix, NormKind::Rms)?, LayerTypes::read(config, sizes.layers)?);
    let bias = config.flag("attention_bias")?;
    let layer = |index| {
        let mut attention = separate_attention(config, prefix, &sizes, index, [bias; 2])?;
        with_head_norms(&mut attention, &norm, Over::Heads);
        let block = gated(config, prefix, (sizes.width, sizes.inner), "hidden_act", false)?;
        let mut layer = llama_layer(prefix, &sizes, &norm, attention, Module::FeedForward(block));
        types.apply(config, index, &mut layer);
        Ok(layer)
    };
    let layers = (0..sizes.layers).map(layer).collect::<Result<_>>()?;
    let mut blueprint = llama_blueprint(config, prefix, &sizes, norm.clone(), layers)?;
    blueprint.kinds = types.kinds(config, false)?;
    blueprint.sources.base = sources::TWO_MASKS_IF_NEEDED;
    if let Some(rotary) = &mut blueprint.rotary {
        rotary.keyword = false;
    }
    Ok(blueprint)
}
