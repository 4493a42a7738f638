//! Mixtral: Mistral with experts in every layer.

use serde_json::Value as Json;

use super::sources::{self, WINDOWED_ATTENTION};
use super::{
    EXPERTS_CALLS, Result, Sizes, balance, complete_heads_of_keys, complete_rope, experts_and_chosen, function,
    llama_blueprint, llama_layer, one_kind, rms_norm, separate_attention,
};
use crate::config::Config;
use crate::family::{Apart, Blueprint, Experts, Family, Gate, Module, NormKind, Returns, Score};

pub const FAMILY: Family = Family {
    model_type: "mixtral",
    config_class: "MixtralConfig",
    defaults: r#"{
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": null, "hidden_act": "silu",
        "max_position_embeddings": 131072, "initializer_range": 0.02, "rms_norm_eps": 1e-05, "use_cache": true,
        "pad_token_id": null, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": false,
        "sliding_window": null, "attention_dropout": 0.0, "num_experts_per_tok": 2, "num_local_experts": 8,
        "output_router_logits": false, "router_aux_loss_coef": 0.001, "router_jitter_noise": 0.0
    }"#,
    aliases: &[("rope_scaling", "rope_parameters"), ("torch_dtype", "dtype"), ("num_experts", "num_local_experts")],
    complete: |config| {
        complete_heads_of_keys(config)?;
        complete_rope(config, 1_000_000.0, None)
    },
    blueprint,
    whole: None,
};

fn blueprint(config: &Config) -> Result<Blueprint> {
    let (prefix, sizes) = ("Mixtral", Sizes::read(config)?);
    let norm = rms_norm(config, prefix, NormKind::Rms)?;
    let layer = |index| {
        let mut attention = separate_attention(config, prefix, &sizes, index, [false; 2])?;
        attention.told = &["sliding_window"];
        attention.source = WINDOWED_ATTENTION;
        Ok(llama_layer(prefix, &sizes, &norm, attention, Module::Experts(experts(config, &sizes)?)))
    };
    let layers = (0..sizes.layers).map(layer).collect::<Result<_>>()?;
    let mut blueprint = llama_blueprint(config, prefix, &sizes, norm.clone(), layers)?;
    blueprint.root.returns = Returns::Experts;
    blueprint.balance = balance(config, "num_local_experts")?;
    blueprint.kinds = one_kind(config)?;
    blueprint.calls = &EXPERTS_CALLS;
    blueprint.sources.root = sources::EXPERTS_CAUSAL;
    blueprint.sources.base = sources::EXPERTS_MASK_BY_FUNCTION;
    Ok(blueprint)
}

fn experts(config: &Config, sizes: &Sizes) -> Result<Experts> {
    let (count, top) = experts_and_chosen(config, "num_local_experts")?;
    let (function, class) = function(config, "hidden_act")?;
    Ok(Experts {
        class: "MixtralSparseMoeBlock".into(),
        router: ("gate", "MixtralTopKRouter".into()),
        experts: ("experts", "MixtralExperts".into()),
        router_first: true,
        count,
        top,
        inner: sizes.inner,
        score: Score::OfAll { renormalize: true, rounded: false },
        biased: false,
        gate: Gate::Plain(function, class),
        returns_scores: false,
        apart: Some(Apart { block: "block_sparse_moe", router: "gate", names: ["w1", "w3", "w2"] }),
        attributes: vec![
            ("top_k", top.into()),
            ("jitter_noise", config.get("router_jitter_noise").cloned().unwrap_or(Json::Null)),
        ],
        source: "
            never torch_empty_like_0 uniform__0
            hidden_states_view_0: flat = flat(hidden_states)
            hidden_states_0: flat
            self_gate_0: logits, scores, chosen = router(flat)
            self_experts_0: flat = experts(flat, chosen, scores)
            hidden_states_1: flat
            hidden_states_reshape_0: hidden_states = apart(flat)
            hidden_states_2: hidden_states
            return hidden_states",
    })
}
