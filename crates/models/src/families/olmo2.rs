//! OLMo 2: Llama with norms after the blocks instead of before, and norms over all heads' queries and keys.

use super::{
    Result, Sizes, complete_heads_of_keys, complete_rope, functions, gated, llama_blueprint, post_norm_layer, rms_norm,
    separate_attention, with_head_norms,
};
use crate::config::Config;
use crate::family::{Blueprint, Family, NormKind, Over};

pub const FAMILY: Family = Family {
    model_type: "olmo2",
    config_class: "Olmo2Config",
    defaults: r#"{
        "vocab_size": 50304, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": null, "hidden_act": "silu", "max_position_embeddings": 2048,
        "initializer_range": 0.02, "use_cache": true, "pad_token_id": 1, "bos_token_id": null, "eos_token_id": 50279,
        "tie_word_embeddings": false, "attention_bias": false, "attention_dropout": 0.0, "rms_norm_eps": 1e-05
    }"#,
    aliases: &[("rope_scaling", "rope_parameters"), ("torch_dtype", "dtype")],
    complete: |config| {
        complete_heads_of_keys(config)?;
        complete_rope(config, 10_000.0, None)
    },
    blueprint,
    whole: None,
};

fn blueprint(config: &Config) -> Result<Blueprint> {
    let (prefix, sizes) = ("Olmo2", Sizes::read(config)?);
    let (norm, bias) = (rms_norm(config, prefix, NormKind::RmsWide)?, config.flag("attention_bias")?);
    let layer = |index| {
        let mut attention = separate_attention(config, prefix, &sizes, index, [bias; 2])?;
        attention.functions = functions::ROTATE_NARROWED;
        with_head_norms(&mut attention, &norm, Over::Width);
        let block = gated(config, prefix, (sizes.width, sizes.inner), "hidden_act", false)?;
        Ok(post_norm_layer(prefix, &sizes, &norm, attention, block))
    };
    let layers = (0..sizes.layers).map(layer).collect::<Result<_>>()?;
    let mut blueprint = llama_blueprint(config, prefix, &sizes, norm.clone(), layers)?;
    if let Some(rotary) = &mut blueprint.rotary {
        rotary.wide = true;
    }
    Ok(blueprint)
}
