//! GPT-2: learned positions, one projection for queries, keys and values, norms before each block.

use super::sources::{cache, causal, counted, one_mask};
use super::{Result, divided, function, functions, layer_norm, pre_norm_steps};
use crate::config::Config;
use crate::family::{
    Absent, Attention, Blueprint, CAUSAL, Calls, Cut, Embedding, FLAGS, Family, FeedForward, Form, Head, Kind, Layer,
    Leaf, Module, Projections, Returns, Root, Sight, Sources, Usual, Way,
};

pub const FAMILY: Family = Family {
    model_type: "gpt2",
    config_class: "GPT2Config",
    defaults: r#"{
        "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": null,
        "activation_function": "gelu_new", "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1,
        "layer_norm_epsilon": 1e-05, "initializer_range": 0.02, "summary_type": "cls_index", "summary_use_proj": true,
        "summary_activation": null, "summary_proj_to_labels": true, "summary_first_dropout": 0.1,
        "scale_attn_weights": true, "use_cache": true, "bos_token_id": 50256, "eos_token_id": 50256,
        "pad_token_id": null, "scale_attn_by_inverse_layer_idx": false, "reorder_and_upcast_attn": false,
        "add_cross_attention": false, "tie_word_embeddings": true
    }"#,
    aliases: &[
        ("hidden_size", "n_embd"),
        ("max_position_embeddings", "n_positions"),
        ("num_attention_heads", "n_head"),
        ("num_hidden_layers", "n_layer"),
        ("torch_dtype", "dtype"),
    ],
    complete: |_| Ok(()),
    blueprint,
    whole: None,
};

const CALLS: Calls = Calls {
    base: Form {
        positional: &["input_ids"],
        keyword: &[
            "past_key_values",
            "attention_mask",
            "token_type_ids",
            "position_ids",
            "inputs_embeds",
            "encoder_hidden_states",
            "encoder_attention_mask",
            "use_cache",
        ],
        signature: &["input_ids", "past_key_values", "attention_mask", "token_type_ids", "position_ids"],
    },
    layer: Form {
        positional: &["hidden_states", "past_key_values", "attention_mask", "encoder_hidden_states"],
        keyword: &["encoder_attention_mask", "use_cache", "position_ids"],
        signature: &["hidden_states", "past_key_values", "attention_mask", "encoder_hidden_states"],
    },
    attention: Form {
        positional: &["hidden_states"],
        keyword: &["past_key_values", "attention_mask", "use_cache", "position_ids"],
        signature: &["hidden_states", "past_key_values", "attention_mask"],
    },
};

const LAYER: &str = "
    residual_0: residual = hidden_states
    self_ln_1_0: hidden_states = ln_1(hidden_states)
    hidden_states_0: hidden_states
    self_attn_0: attn_output, weights = attn(hidden_states)
    hidden_states_1: hidden_states = attn_output + residual
    never hasattr_0 ValueError_0 residual_1 self_ln_cross_attn_0 hidden_states_2 self_crossattention_0 hidden_states_3
    residual_2: residual = hidden_states
    self_ln_2_0: hidden_states = ln_2(hidden_states)
    hidden_states_4: hidden_states
    self_mlp_0: feed_forward = mlp(hidden_states)
    feed_forward_hidden_states_0: feed_forward
    hidden_states_5: hidden_states = residual + feed_forward
    return hidden_states";

/// `$upcast` is when `eager` has a function of its own that computes in float32, and `$plain` when it has not.
macro_rules! attention {
    ($upcast:literal, $plain:literal) => {
        concat!(
            "
    is_cross_attention_0: := false()
    cached isinstance_0: is_pair()
    paired past_key_values_is_updated_get_0: is_updated()
    paired is_updated_0: := is_updated()
    never curr_past_key_values_0
    paired curr_past_key_values_1: := own_past()
    single curr_past_key_values_2: := past()
    never hasattr_0 ValueError_0 self_q_attn_0 query_states_0 attention_mask_0 key_states_0 value_states_0
    never self_c_attn_0 split_0 shape_kv_0 key_states_view_0 transpose_0 key_states_1 value_states_view_0 transpose_1
    never value_states_1
    self_c_attn_1: qkv = c_attn(hidden_states)
    split_1: query, key, value = split(qkv)
    shape_kv_1: := heads_shape()
    key_states_view_1: key = view(key)
    transpose_2: key = turn(key)
    key_states_2: key
    value_states_view_1: value = view(value)
    transpose_3: value = turn(value)
    value_states_2: value
    shape_q_0: := heads_shape()
    query_states_view_0: query = view(query)
    transpose_4: query = turn(query)
    query_states_1: query
    cached curr_past_key_values_update_0: key, value = update(key, value)
    never past_key_values_is_updated_0
    using_eager_0: := is_eager()
    ALL_ATTENTION_FUNCTIONS_get_interface_0: interface()
    attention_interface_0: := interface()
    ",
            $upcast,
            "
    ",
            $plain,
            "attention_interface_1: attn_output, attn_weights = attend(query, key, value)
    attn_output_reshape_0: attn_output = merge(attn_output)
    contiguous_0: attn_output = contiguous(attn_output)
    attn_output_0: attn_output
    self_c_proj_0: attn_output = c_proj(attn_output)
    attn_output_1: attn_output
    self_resid_dropout_0: attn_output = resid_dropout(attn_output)
    attn_output_2: attn_output
    return attn_output, attn_weights"
        )
    };
}

const ATTENTION: &str = attention!("never self__upcast_and_reordered_attn_0", "");
const ATTENTION_UPCAST: &str = attention!(
    "eager self__upcast_and_reordered_attn_0: attn_output, attn_weights = attend_upcast(query, key, value, attention_mask)",
    "sdpa "
);

const MODEL: &str = concat!(
    "
    kwargs_pop_0: given_weights()
    kwargs_pop_1: given_states()
    never ValueError_0
    ids self_warn_if_padding_and_no_attention_mask_0: nothing(input_ids, attention_mask)
    ids input_ids_size_0: shape()
    ids input_shape_0: := shape()
    ids input_ids_view_0: input_ids = flat(input_ids)
    ids input_ids_0: input_ids
    ids batch_size_0: := rows()
    embeds inputs_embeds_size_0: sizes(inputs_embeds)
    embeds input_shape_1: := shape()
    embeds batch_size_1: := rows()
    never ValueError_1 token_type_ids_view_0 token_type_ids_0",
    cache!(),
    "
    paired isinstance_0: is_pair()
    paired_now DynamicCache_1: empty_cache()
    paired_now EncoderDecoderCache_0: caches()
    paired_now past_key_values_1: := caches()
    ids self_wte_0: inputs_embeds = embed(input_ids)
    ids inputs_embeds_0: inputs_embeds",
    counted!("past_seen_tokens"),
    "
    self_wpe_0: position_embeds = embed_positions(position_ids)
    position_embeds_0: position_embeds
    position_embeds_to_0: position_embeds = to(position_embeds)
    hidden_states_0: hidden_states = inputs_embeds + position_embeds
    masked attention_mask_view_0: attention_mask = flat_mask(attention_mask)
    masked attention_mask_0: attention_mask",
    one_mask!(),
    "
    never create_bidirectional_mask_0 encoder_attention_mask_0 self_wte_1 token_type_embeds_0 hidden_states_1
    self_drop_0: hidden_states = drop(hidden_states)
    hidden_states_2: hidden_states
    hidden_states_size_0: width(hidden_states)
    output_shape_0: := ending(hidden_states)
    enumerate_0: enumerated()
    each block_0: hidden_states = layer(hidden_states)
    each hidden_states_3: hidden_states
    self_ln_f_0: hidden_states = norm(hidden_states)
    hidden_states_4: hidden_states
    hidden_states_view_0: hidden_states = restore(hidden_states)
    hidden_states_5: hidden_states
    past_key_values_2: := caches()
    BaseModelOutputWithPastAndCrossAttentions_0: record = record(hidden_states)
    return record"
);

fn blueprint(config: &Config) -> Result<Blueprint> {
    let crossed = config.flag("add_cross_attention")?;
    let (width, heads) = (config.size("n_embd")?, config.size("n_head")?);
    let norm = layer_norm(config.number("layer_norm_epsilon")?);
    let residual = config.number("resid_pdrop")?;
    let layer = |index| -> Result<Layer> {
        Ok(Layer {
            class: "GPT2Block".into(),
            kind: 0,
            modules: vec![
                ("ln_1", Module::Norm(norm.clone())),
                ("attn", Module::Attention(attention(config, (width, heads), index)?)),
                ("ln_2", Module::Norm(norm.clone())),
                ("mlp", Module::FeedForward(mlp(config, width, residual)?)),
            ],
            steps: pre_norm_steps(["ln_1", "attn", "ln_2", "mlp"]),
            returns_weights: false,
            attributes: Vec::new(),
            source: LAYER,
        })
    };
    let positions = config.size("n_positions")?;
    let layers = usize::try_from(config.size("n_layer")?).unwrap_or(0);
    let absent = |index: usize| {
        let why = "it attends to what an encoder makes, and there is none here";
        ["crossattention", "ln_cross_attn"].map(|name| Absent { path: format!("transformer.h.{index}.{name}"), why })
    };
    Ok(Blueprint {
        root: Root {
            class: "GPT2LMHeadModel".into(),
            base: ("transformer", "GPT2Model".into()),
            returns: Returns::CrossAttentions,
            hands_on: [FLAGS, &["max_length", "prefix_length", CAUSAL]],
            around: None,
            absent: (0..if crossed { layers } else { 0 }).flat_map(absent).collect(),
            restores_length: true,
            attributes: vec![("embed_dim", width.into())],
        },
        embedding: Embedding {
            name: "wte",
            class: "Embedding".into(),
            padding: None,
            scale: None,
            positions: Some(("wpe", positions)),
            dropout: Some(("drop", config.number("embd_pdrop")?)),
        },
        layers: "h",
        layer: (0..layers).map(layer).collect::<Result<_>>()?,
        kinds: vec![Kind { window: None, rope: 0 }],
        norm: ("ln_f", norm),
        rotary: None,
        head: Head { other_name: None, bias: false, tied: config.flag("tie_word_embeddings")?, cap: None },
        calls: &CALLS,
        positions: Some(positions),
        eager: false,
        by_sequence: true,
        sight: Sight::default(),
        causal: true,
        paired_caches: crossed,
        usual: Usual::default(),
        window: None,
        anew_at: None,
        balance: None,
        sources: Sources {
            root: causal!("", "transformer", "transformer_outputs", "", "\n    CausalLMOutputWithCrossAttentions"),
            around: "",
            base: MODEL,
        },
    })
}

fn attention(config: &Config, (width, heads): (i64, i64), index: usize) -> Result<Attention> {
    let head_dim = divided(config, "n_embd", width, heads)?;
    let (scaled, by_layer) = (config.flag("scale_attn_weights")?, config.flag("scale_attn_by_inverse_layer_idx")?);
    let mut scaling = if scaled { (head_dim as f64).powf(-0.5) } else { 1.0 };
    if by_layer {
        scaling /= (index + 1) as f64;
    }
    let upcast = config.flag("reorder_and_upcast_attn")?;
    Ok(Attention {
        class: "GPT2Attention".into(),
        modules: vec![
            ("c_attn", Leaf::Conv1D { inputs: width, outputs: 3 * width }),
            ("c_proj", Leaf::Conv1D { inputs: width, outputs: width }),
            ("attn_dropout", Leaf::Dropout(config.number("attn_pdrop")?)),
            ("resid_dropout", Leaf::Dropout(config.number("resid_pdrop")?)),
        ],
        projections: Projections::Packed("c_attn", Cut::Widths),
        head_norms: None,
        turn: None,
        heads,
        key_heads: heads,
        head_dim,
        scaling,
        cap: None,
        wide: upcast,
        sinks: None,
        weights_dropout: upcast.then_some("attn_dropout"),
        output: "c_proj",
        dropout: Some("resid_dropout"),
        attributes: vec![
            ("config", serde_json::Value::Null),
            ("layer_idx", index.into()),
            ("embed_dim", width.into()),
            ("num_heads", heads.into()),
            ("head_dim", head_dim.into()),
            ("split_size", width.into()),
            ("scaling", scaling.into()),
            ("scale_attn_weights", scaled.into()),
            ("scale_attn_by_inverse_layer_idx", by_layer.into()),
            ("reorder_and_upcast_attn", upcast.into()),
            ("is_cross_attention", false.into()),
            ("is_causal", true.into()),
        ],
        source: if upcast { ATTENTION_UPCAST } else { ATTENTION },
        eager: functions::EAGER_GPT2,
        functions: if upcast { functions::UPCAST } else { &[] },
        told: &[],
    })
}

fn mlp(config: &Config, width: i64, dropout: f64) -> Result<FeedForward> {
    let inner = config.optional_size("n_inner")?.unwrap_or(4 * width);
    let (function, class) = function(config, "activation_function")?;
    Ok(FeedForward {
        class: "GPT2MLP".into(),
        argument: "hidden_states",
        modules: vec![
            ("c_fc", Leaf::Conv1D { inputs: width, outputs: inner }),
            ("c_proj", Leaf::Conv1D { inputs: inner, outputs: width }),
            ("act", Leaf::Activation(function, class)),
            ("dropout", Leaf::Dropout(dropout)),
        ],
        way: Way::Plain { input: "c_fc", act: "act", output: "c_proj", dropout: Some("dropout") },
        attributes: Vec::new(),
        source: "
            self_c_fc_0: hidden_states = c_fc(hidden_states)
            hidden_states_0: hidden_states
            self_act_0: hidden_states = act(hidden_states)
            hidden_states_1: hidden_states
            self_c_proj_0: hidden_states = c_proj(hidden_states)
            hidden_states_2: hidden_states
            self_dropout_0: hidden_states = dropout(hidden_states)
            hidden_states_3: hidden_states
            return hidden_states",
    })
}
