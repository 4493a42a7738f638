//! OLMo 3: OLMo 2 with windows in three of four layers, and rotated by type of layer.

use super::{
    LayerTypes, OLMO3_CALLS, Result, Sizes, complete_heads_of_keys, complete_layer_types, complete_ropes_by_type,
    functions, gated, llama_blueprint_around, post_norm_layer, rms_norm, rotary_by_type, separate_attention, sources,
    with_head_norms,
};
use crate::config::Config;
use crate::family::{Blueprint, Family, NormKind, Over};

pub const FAMILY: Family = Family {
    model_type: "olmo3",
    config_class: "Olmo3Config",
    defaults: r#"{
        "vocab_size": 50304, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": null, "hidden_act": "silu", "max_position_embeddings": 2048,
        "initializer_range": 0.02, "use_cache": true, "pad_token_id": 1, "bos_token_id": null, "eos_token_id": 50279,
        "tie_word_embeddings": false, "attention_bias": false, "attention_dropout": 0.0, "rms_norm_eps": 1e-05,
        "sliding_window": 4096, "layer_types": null
    }"#,
    aliases: &[("rope_scaling", "rope_parameters"), ("torch_dtype", "dtype")],
    complete: |config| {
        complete_heads_of_keys(config)?;
        complete_layer_types(config, |layer| (layer + 1) % 4 != 0)?;
        complete_ropes_by_type(config, [500_000.0; 2], None)
    },
    blueprint,
    whole: None,
};

fn blueprint(config: &Config) -> Result<Blueprint> {
    let (prefix, sizes) = ("Olmo3", Sizes::read(config)?);
    let (norm, types) = (rms_norm(config, prefix, NormKind::RmsWide)?, LayerTypes::read(config, sizes.layers)?);
    let bias = config.flag("attention_bias")?;
    let layer = |index| {
        let mut attention = separate_attention(config, prefix, &sizes, index, [bias; 2])?;
        attention.functions = functions::ROTATE_NARROWED;
        with_head_norms(&mut attention, &norm, Over::Width);
        let block = gated(config, prefix, (sizes.width, sizes.inner), "hidden_act", false)?;
        let mut layer = post_norm_layer(prefix, &sizes, &norm, attention, block);
        types.apply(config, index, &mut layer);
        Ok(layer)
    };
    let layers = (0..sizes.layers).map(layer).collect::<Result<_>>()?;
    let mut rotary = rotary_by_type(config, prefix, sizes.head_dim, &types)?;
    rotary.wide = true;
    let mut blueprint = llama_blueprint_around(config, prefix, norm.clone(), layers, rotary)?;
    blueprint.kinds = types.kinds(config, true)?;
    blueprint.calls = &OLMO3_CALLS;
    blueprint.sources.base = sources::TWO_MASKS_BY_TYPE;
    blueprint.window = Some(config.size("sliding_window")?);
    Ok(blueprint)
}
