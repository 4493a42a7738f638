//! Llama: rotary positions, grouped key heads, RMS norms, a gated feed-forward block.

use super::{
    Result, Sizes, complete_heads, complete_rope, gated, llama_blueprint, llama_layer, rms_norm, separate_attention,
};
use crate::config::Config;
use crate::family::{Blueprint, Family, Module, NormKind};

pub const FAMILY: Family = Family {
    model_type: "llama",
    config_class: "LlamaConfig",
    defaults: r#"{
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": null, "hidden_act": "silu", "max_position_embeddings": 2048,
        "initializer_range": 0.02, "rms_norm_eps": 1e-06, "use_cache": true, "pad_token_id": null, "bos_token_id": 1,
        "eos_token_id": 2, "pretraining_tp": 1, "tie_word_embeddings": false, "attention_bias": false,
        "attention_dropout": 0.0, "mlp_bias": false, "head_dim": null
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
    let (prefix, sizes) = ("Llama", Sizes::read(config)?);
    let norm = rms_norm(config, prefix, NormKind::Rms)?;
    let (attention_bias, mlp_bias) = (config.flag("attention_bias")?, config.flag("mlp_bias")?);
    let layer = |index| {
        let attention = separate_attention(config, prefix, &sizes, index, [attention_bias; 2])?;
        let block = gated(config, prefix, (sizes.width, sizes.inner), "hidden_act", mlp_bias)?;
        Ok(llama_layer(prefix, &sizes, &norm, attention, Module::FeedForward(block)))
    };
    let layers = (0..sizes.layers).map(layer).collect::<Result<_>>()?;
    llama_blueprint(config, prefix, &sizes, norm.clone(), layers)
}
