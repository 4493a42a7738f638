//! GPT-NeoX, as Pythia: attention and feed-forward block beside each other on one stream, each behind a norm of its own;
//! one projection that lies head by head; a quarter of each head rotated.

use serde_json::Value as Json;

use super::sources::{attention, cache, causal, counted, one_mask};
use super::{Result, complete_rope, divided, function, layer_norm, linear, rotary};
use crate::config::Config;
use crate::family::{
    Attention, Blueprint, Calls, Cut, Embedding, FLAGS, Family, FeedForward, Form, Head, Kind, Layer, Leaf, Module,
    Norm, Pairs, Projections, Register, Returns, Root, Sight, Sources, Step, Turn, Usual, Way,
};

pub const FAMILY: Family = Family {
    model_type: "gpt_neox",
    config_class: "GPTNeoXConfig",
    defaults: r#"{
        "vocab_size": 50432, "hidden_size": 6144, "num_hidden_layers": 44, "num_attention_heads": 64,
        "intermediate_size": 24576, "hidden_act": "gelu", "attention_dropout": 0.0, "hidden_dropout": 0.0,
        "classifier_dropout": 0.1, "max_position_embeddings": 2048, "initializer_range": 0.02, "layer_norm_eps": 1e-05,
        "use_cache": true, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": null, "tie_word_embeddings": false,
        "use_parallel_residual": true, "attention_bias": true, "is_decoder": false
    }"#,
    aliases: &[("rope_scaling", "rope_parameters"), ("torch_dtype", "dtype")],
    complete: |config| {
        for (old, new) in [("rotary_emb_base", "rope_theta"), ("rotary_pct", "partial_rotary_factor")] {
            if let Some(value) = config.take(old) {
                config.fill(new, value);
            }
        }
        complete_rope(config, 10_000.0, Some(0.25))
    },
    blueprint,
    whole: None,
};

const CALLS: Calls = Calls {
    base: Form {
        positional: &["input_ids"],
        keyword: &["attention_mask", "position_ids", "inputs_embeds", "past_key_values", "use_cache"],
        signature: &["input_ids", "attention_mask", "position_ids", "inputs_embeds", "past_key_values", "use_cache"],
    },
    layer: Form {
        positional: &["hidden_states"],
        keyword: &["attention_mask", "position_ids", "layer_past", "use_cache", "position_embeddings"],
        signature: &[
            "hidden_states",
            "attention_mask",
            "position_ids",
            "use_cache",
            "layer_past",
            "position_embeddings",
        ],
    },
    attention: Form {
        positional: &["hidden_states"],
        keyword: &["attention_mask", "position_ids", "layer_past", "use_cache", "position_embeddings"],
        signature: &["hidden_states", "attention_mask", "layer_past", "position_embeddings"],
    },
};

const PARALLEL: &str = "
    self_input_layernorm_0: normed = input_layernorm(hidden_states)
    self_attention_0: attn_output, weights = attention(normed)
    self_post_attention_dropout_0: attn_output = post_attention_dropout(attn_output)
    attn_output_0: attn_output
    self_post_attention_layernorm_0: normed = post_attention_layernorm(hidden_states)
    self_mlp_0: mlp_output = mlp(normed)
    mlp_output_0: mlp_output
    self_post_mlp_dropout_0: mlp_output = post_mlp_dropout(mlp_output)
    mlp_output_1: mlp_output
    hidden_states_0: hidden_states = mlp_output + attn_output + hidden_states
    never attn_output_1 self_post_attention_layernorm_1 self_mlp_1 mlp_output_2 self_post_mlp_dropout_1 mlp_output_3
    never hidden_states_1
    return hidden_states";

const SERIAL: &str = "
    self_input_layernorm_0: normed = input_layernorm(hidden_states)
    self_attention_0: attn_output, weights = attention(normed)
    self_post_attention_dropout_0: attn_output = post_attention_dropout(attn_output)
    attn_output_0: attn_output
    never self_post_attention_layernorm_0 self_mlp_0 mlp_output_0 self_post_mlp_dropout_0 mlp_output_1 hidden_states_0
    attn_output_1: attn_output = attn_output + hidden_states
    self_post_attention_layernorm_1: normed = post_attention_layernorm(attn_output)
    self_mlp_1: mlp_output = mlp(normed)
    mlp_output_2: mlp_output
    self_post_mlp_dropout_1: mlp_output = post_mlp_dropout(mlp_output)
    mlp_output_3: mlp_output
    hidden_states_1: hidden_states = mlp_output + attn_output
    return hidden_states";

const ATTENTION: &str = attention!(
    "
    self_query_key_value_0: qkv = query_key_value(hidden_states)
    view_0: qkv = view(qkv)
    transpose_0: qkv = turn(qkv)
    qkv_0: qkv
    qkv_chunk_0: query, key, value = chunk(qkv)",
    "layer_past",
    "",
    "dense"
);

const MODEL: &str = concat!(
    "
    never ValueError_0
    ids self_embed_in_0: inputs_embeds = embed(input_ids)
    ids inputs_embeds_0: inputs_embeds",
    cache!(),
    counted!("past_seen_tokens"),
    one_mask!(),
    "
    self_emb_dropout_0: hidden_states = drop(inputs_embeds)
    hidden_states_0: hidden_states
    self_rotary_emb_0: position_embeddings = rotary(hidden_states, position_ids)
    position_embeddings_0: position_embeddings
    each layer_0: hidden_states = layer(hidden_states)
    each hidden_states_1: hidden_states
    self_final_layer_norm_0: hidden_states = norm(hidden_states)
    hidden_states_2: hidden_states
    BaseModelOutputWithPast_0: record = record(hidden_states)
    return record"
);

fn blueprint(config: &Config) -> Result<Blueprint> {
    let (width, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    let head_dim = divided(config, "hidden_size", width, heads)?;
    let norm = layer_norm(config.number("layer_norm_eps")?);
    let rotary = rotary(config, "GPTNeoX", head_dim)?;
    let turned = rotary.ropes.first().map_or(0, |rope| rope.width());
    let (parallel, dropout) = (config.flag("use_parallel_residual")?, config.number("hidden_dropout")?);
    let layer = |index| layer(config, &norm, (index, turned), (parallel, dropout));
    let layers = usize::try_from(config.size("num_hidden_layers")?).unwrap_or(0);
    Ok(Blueprint {
        root: Root {
            class: "GPTNeoXForCausalLM".into(),
            base: ("gpt_neox", "GPTNeoXModel".into()),
            returns: Returns::Plain,
            hands_on: [FLAGS; 2],
            around: None,
            absent: Vec::new(),
            restores_length: false,
            attributes: vec![("config", Json::Null)],
        },
        embedding: Embedding {
            name: "embed_in",
            class: "Embedding".into(),
            padding: None,
            scale: None,
            positions: None,
            dropout: Some(("emb_dropout", dropout)),
        },
        layers: "layers",
        layer: (0..layers).map(layer).collect::<Result<_>>()?,
        kinds: vec![Kind { window: None, rope: 0 }],
        norm: ("final_layer_norm", norm.clone()),
        rotary: Some(rotary),
        head: Head { other_name: Some("embed_out"), bias: false, tied: config.flag("tie_word_embeddings")?, cap: None },
        calls: &CALLS,
        positions: None,
        eager: false,
        by_sequence: true,
        sight: Sight::default(),
        causal: true,
        paired_caches: false,
        usual: Usual::default(),
        window: None,
        anew_at: None,
        balance: None,
        sources: Sources {
            root: causal!("", "gpt_neox", "outputs", "", "\n    CausalLMOutputWithPast"),
            around: "",
            base: MODEL,
        },
    })
}

fn layer(
    config: &Config,
    norm: &Norm,
    (index, turned): (usize, i64),
    (parallel, dropout): (bool, f64),
) -> Result<Layer> {
    use Register::{Attended, Branch, Hidden};
    let mut steps = vec![
        Step::Run("input_layernorm", Hidden, Attended),
        Step::Run("attention", Attended, Attended),
        Step::Run("post_attention_dropout", Attended, Attended),
    ];
    if !parallel {
        steps.push(Step::Add(Attended, Hidden));
    }
    steps.extend([
        Step::Run("post_attention_layernorm", Hidden, Branch),
        Step::Run("mlp", Branch, Branch),
        Step::Run("post_mlp_dropout", Branch, Branch),
    ]);
    if parallel {
        steps.push(Step::Add(Attended, Branch));
    }
    steps.push(Step::Add(Branch, Hidden));
    Ok(Layer {
        class: "GPTNeoXLayer".into(),
        kind: 0,
        modules: vec![
            ("input_layernorm", Module::Norm(norm.clone())),
            ("post_attention_layernorm", Module::Norm(norm.clone())),
            ("post_attention_dropout", Module::Dropout(dropout)),
            ("post_mlp_dropout", Module::Dropout(dropout)),
            ("attention", Module::Attention(attention(config, index, turned)?)),
            ("mlp", Module::FeedForward(mlp(config)?)),
        ],
        steps,
        returns_weights: false,
        attributes: vec![("use_parallel_residual", parallel.into())],
        source: if parallel { PARALLEL } else { SERIAL },
    })
}

fn attention(config: &Config, index: usize, turned: i64) -> Result<Attention> {
    let (width, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    let (head_dim, bias) = (width / heads, config.flag("attention_bias")?);
    let scaling = (head_dim as f64).powf(-0.5);
    Ok(Attention {
        class: "GPTNeoXAttention".into(),
        modules: vec![("query_key_value", linear(width, 3 * width, bias)), ("dense", linear(width, width, bias))],
        projections: Projections::Packed("query_key_value", Cut::Heads),
        head_norms: None,
        turn: Some(Turn { pairs: Pairs::Halves, width: turned }),
        heads,
        key_heads: heads,
        head_dim,
        scaling,
        cap: None,
        wide: false,
        sinks: None,
        weights_dropout: None,
        output: "dense",
        dropout: None,
        attributes: vec![
            ("config", Json::Null),
            ("layer_idx", index.into()),
            ("head_size", head_dim.into()),
            ("rotary_ndims", turned.into()),
            ("scaling", scaling.into()),
            ("attention_dropout", config.number("attention_dropout")?.into()),
            ("is_causal", true.into()),
        ],
        source: ATTENTION,
        eager: super::functions::EAGER_UNGROUPED,
        functions: super::functions::ROTATE_BEGINNING,
        told: &[],
    })
}

fn mlp(config: &Config) -> Result<FeedForward> {
    let (width, inner) = (config.size("hidden_size")?, config.size("intermediate_size")?);
    let (function, class) = function(config, "hidden_act")?;
    Ok(FeedForward {
        class: "GPTNeoXMLP".into(),
        argument: "hidden_states",
        modules: vec![
            ("dense_h_to_4h", linear(width, inner, true)),
            ("dense_4h_to_h", linear(inner, width, true)),
            ("act", Leaf::Activation(function, class)),
        ],
        way: Way::Plain { input: "dense_h_to_4h", act: "act", output: "dense_4h_to_h", dropout: None },
        attributes: Vec::new(),
        source: "
            self_dense_h_to_4h_0: hidden_states = dense_h_to_4h(hidden_states)
            hidden_states_0: hidden_states
            self_act_0: hidden_states = act(hidden_states)
            hidden_states_1: hidden_states
            self_dense_4h_to_h_0: hidden_states = dense_4h_to_h(hidden_states)
            hidden_states_2: hidden_states
            return hidden_states",
    })
}
