//! Qwen 3 with experts, in all layers or in some.

use serde_json::Value as Json;

use super::{
    EXPERTS_CALLS, Result, Sizes, balance, complete_rope, complete_switched_windows, experts_and_chosen, function,
    gated, llama_blueprint, llama_layer, one_kind, rms_norm, separate_attention, sources, with_head_norms,
};
use crate::config::Config;
use crate::family::{Apart, Blueprint, Experts, Family, Gate, Module, NormKind, Over, Returns, Score};

pub const FAMILY: Family = Family {
    model_type: "qwen3_moe",
    config_class: "Qwen3MoeConfig",
    defaults: r#"{
        "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 24,
        "num_attention_heads": 32, "num_key_value_heads": 4, "hidden_act": "silu", "max_position_embeddings": 32768,
        "initializer_range": 0.02, "rms_norm_eps": 1e-06, "use_cache": true, "tie_word_embeddings": false,
        "attention_bias": false, "use_sliding_window": false, "sliding_window": 4096, "attention_dropout": 0.0,
        "decoder_sparse_step": 1, "moe_intermediate_size": 768, "num_experts_per_tok": 8, "num_experts": 128,
        "norm_topk_prob": false, "output_router_logits": false, "router_aux_loss_coef": 0.001,
        "mlp_only_layers": null, "pad_token_id": null, "bos_token_id": null, "eos_token_id": null
    }"#,
    aliases: &[("rope_scaling", "rope_parameters"), ("torch_dtype", "dtype"), ("num_local_experts", "num_experts")],
    complete: |config| {
        if let Some(count) = config.take("num_local_experts") {
            config.set("num_experts", count);
        }
        config.fill("mlp_only_layers", Vec::<Json>::new());
        complete_switched_windows(config)?;
        complete_rope(config, 10_000.0, None)
    },
    blueprint,
    whole: None,
};

fn blueprint(config: &Config) -> Result<Blueprint> {
    let (prefix, sizes) = ("Qwen3Moe", Sizes::read(config)?);
    let (norm, bias) = (rms_norm(config, prefix, NormKind::Rms)?, config.flag("attention_bias")?);
    let dense = config.get("mlp_only_layers").and_then(Json::as_array).cloned().unwrap_or_default();
    let step = usize::try_from(config.size("decoder_sparse_step")?).unwrap_or(1);
    let layer = |index: usize| {
        let mut attention = separate_attention(config, prefix, &sizes, index, [bias; 2])?;
        attention.told = &["sliding_window"];
        with_head_norms(&mut attention, &norm, Over::Heads);
        let sparse = !dense.contains(&index.into()) && (index + 1).is_multiple_of(step);
        let block = match sparse {
            true => Module::Experts(experts(config)?),
            false => Module::FeedForward(gated(config, prefix, (sizes.width, sizes.inner), "hidden_act", false)?),
        };
        let mut layer = llama_layer(prefix, &sizes, &norm, attention, block);
        for (_, module) in &mut layer.modules {
            if let Module::Attention(attention) = module {
                let window = config.get("sliding_window").cloned().unwrap_or(Json::Null);
                attention.attributes.push(("sliding_window", window));
            }
        }
        Ok(layer)
    };
    let layers = (0..sizes.layers).map(layer).collect::<Result<_>>()?;
    let mut blueprint = llama_blueprint(config, prefix, &sizes, norm.clone(), layers)?;
    blueprint.root.returns = Returns::Experts;
    blueprint.balance = balance(config, "num_experts")?;
    blueprint.kinds = one_kind(config)?;
    blueprint.calls = &EXPERTS_CALLS;
    blueprint.sources.root = sources::EXPERTS_CAUSAL;
    blueprint.sources.base = sources::EXPERTS_MASK_BY_FUNCTION;
    Ok(blueprint)
}

fn experts(config: &Config) -> Result<Experts> {
    let (count, top) = experts_and_chosen(config, "num_experts")?;
    let (function, class) = function(config, "hidden_act")?;
    Ok(Experts {
        class: "Qwen3MoeSparseMoeBlock".into(),
        router: ("gate", "Qwen3MoeTopKRouter".into()),
        experts: ("experts", "Qwen3MoeExperts".into()),
        router_first: false,
        count,
        top,
        inner: config.size("moe_intermediate_size")?,
        score: Score::OfAll { renormalize: config.flag("norm_topk_prob")?, rounded: true },
        biased: false,
        gate: Gate::Plain(function, class),
        returns_scores: false,
        apart: Some(Apart { block: "mlp", router: "gate", names: ["gate_proj", "up_proj", "down_proj"] }),
        attributes: Vec::new(),
        source: "
            hidden_states_view_0: flat = flat(hidden_states)
            hidden_states_reshaped_0: flat
            self_gate_0: logits, scores, chosen = router(flat)
            self_experts_0: final = experts(flat, chosen, scores)
            final_hidden_states_0: final
            final_hidden_states_reshape_0: final = apart(final)
            return final",
    })
}
