//! Mistral: Llama with a window in every layer.

use super::sources::{self, WINDOWED_ATTENTION};
use super::{
    Result, Sizes, complete_heads, complete_rope, gated, llama_blueprint, llama_layer, one_kind, rms_norm,
    separate_attention,
};
use crate::config::Config;
use crate::family::{Blueprint, Family, Module, NormKind};

pub const FAMILY: Family = Family {
    model_type: "mistral",
    config_class: "MistralConfig",
    defaults: r#"{
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": null, "hidden_act": "silu",
        "max_position_embeddings": 131072, "initializer_range": 0.02, "rms_norm_eps": 1e-06, "use_cache": true,
        "pad_token_id": null, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": false,
        "sliding_window": 4096, "attention_dropout": 0.0
    }"#,
    aliases: &[("rope_scaling", "rope_parameters"), ("torch_dtype", "dtype")],
    complete: |config| {
        complete_heads(config)?;
        complete_rope(config, 10_000.0, None)
    },
    blueprint,
    whole: None,
};

fn blueprint(config: &Config) -> Result<Blueprint> {
    let (prefix, sizes) = ("Mistral", Sizes::read(config)?);
    let norm = rms_norm(config, prefix, NormKind::Rms)?;
    let layer = |index| {
        let mut attention = separate_attention(config, prefix, &sizes, index, [false; 2])?;
        attention.told = &["sliding_window"];
        attention.source = WINDOWED_ATTENTION;
        let block = gated(config, prefix, (sizes.width, sizes.inner), "hidden_act", false)?;
        Ok(llama_layer(prefix, &sizes, &norm, attention, Module::FeedForward(block)))
    };
    let layers = (0..sizes.layers).map(layer).collect::<Result<_>>()?;
    let mut blueprint = llama_blueprint(config, prefix, &sizes, norm.clone(), layers)?;
    blueprint.kinds = one_kind(config)?;
    blueprint.sources.base = sources::MASK_BY_FUNCTION;
    Ok(blueprint)
}
