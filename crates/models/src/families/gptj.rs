//! GPT-J: attention and feed-forward block beside each other behind one norm; neighbouring dimensions rotated, by each
//! attention itself; scores in float32.

use serde_json::Value as Json;

use super::sources::{cache, causal, counted, one_mask};
use super::{Result, divided, function, layer_norm, linear};
use crate::config::Config;
use crate::family::{
    Attention, Blueprint, Calls, Embedding, Family, FeedForward, Form, Head, Kind, Layer, Leaf, Module, Norm, Pairs,
    Projections, Register, Returns, Root, Rotary, Sight, Sources, Step, Turn, Usual, Way,
};
use crate::rope::Rope;

pub const FAMILY: Family = Family {
    model_type: "gptj",
    config_class: "GPTJConfig",
    defaults: r#"{
        "vocab_size": 50400, "n_positions": 2048, "n_embd": 4096, "n_layer": 28, "n_head": 16, "rotary_dim": 64,
        "n_inner": null, "activation_function": "gelu_new", "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
        "layer_norm_epsilon": 1e-05, "initializer_range": 0.02, "use_cache": true, "bos_token_id": 50256,
        "eos_token_id": 50256, "pad_token_id": null, "tie_word_embeddings": false
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
            "use_cache",
            "output_attentions",
            "output_hidden_states",
            "return_dict",
        ],
        signature: &["input_ids", "past_key_values", "attention_mask", "token_type_ids", "position_ids"],
    },
    layer: Form {
        positional: &["hidden_states"],
        keyword: &["layer_past", "attention_mask", "position_ids", "use_cache", "output_attentions"],
        signature: &["hidden_states", "layer_past", "attention_mask", "position_ids", "use_cache"],
    },
    attention: Form {
        positional: &[],
        keyword: &["hidden_states", "layer_past", "attention_mask", "position_ids", "use_cache", "output_attentions"],
        signature: &["hidden_states", "layer_past", "attention_mask", "position_ids", "use_cache"],
    },
};

const LAYER: &str = "
    residual_0: residual = hidden_states
    self_ln_1_0: hidden_states = ln_1(hidden_states)
    hidden_states_0: hidden_states
    self_attn_0: attn_outputs, attn_weights = attn(hidden_states)
    self_mlp_0: feed_forward = mlp(hidden_states)
    feed_forward_hidden_states_0: feed_forward
    hidden_states_1: hidden_states = attn_outputs + feed_forward + residual
    return hidden_states, attn_weights";

const MODEL: &str = concat!(
    "
    output_attentions_0: := asks_weights()
    output_hidden_states_0: := asks_states()
    use_cache_0: := asks_cache()
    return_dict_0: := returns_record()
    never ValueError_0 logger_warning_once_0 use_cache_1
    ids self_wte_0: inputs_embeds = embed(input_ids)
    ids inputs_embeds_0: inputs_embeds",
    cache!(),
    "
    seq_length_0: := length()",
    counted!("past_key_values_length"),
    one_mask!(),
    "
    hidden_states_0: hidden_states = inputs_embeds
    never token_type_ids_view_0 token_type_ids_0 self_wte_1 token_type_embeds_0 hidden_states_1
    self_drop_0: hidden_states = drop(hidden_states)
    hidden_states_2: hidden_states
    hidden_states_size_0: width(hidden_states)
    output_shape_0: := ending(hidden_states)
    all_self_attentions_0: := no_weights()
    all_hidden_states_0: := no_states()
    enumerate_0: enumerated()
    each states all_hidden_states_1: := note(hidden_states)
    each block_0: outputs = layer(hidden_states)
    each outputs_0: outputs
    each hidden_states_3: hidden_states := first(outputs)
    each weights all_self_attentions_1: := weights()
    self_ln_f_0: hidden_states = norm(hidden_states)
    hidden_states_4: hidden_states
    hidden_states_view_0: hidden_states = restore(hidden_states)
    hidden_states_5: hidden_states
    states all_hidden_states_2: := note(hidden_states)
    never tuple_0
    BaseModelOutputWithPast_0: record = record(hidden_states)
    return record"
);

const ATTENTION: &str = "
    self_q_proj_0: query = q_proj(hidden_states)
    query_0: query
    self_k_proj_0: key = k_proj(hidden_states)
    key_0: key
    self_v_proj_0: value = v_proj(hidden_states)
    value_0: value
    self__split_heads_0: query = split_heads(query)
    query_1: query
    self__split_heads_1: key = split_heads(key)
    key_1: key
    self__split_heads_2: value = split_heads_turned(value)
    value_1: value
    self__get_embed_positions_0: embed_positions = table()
    embed_positions_0: embed_positions
    position_ids_unsqueeze_0: column = column()
    repeat_0: column = repeated(column)
    repeated_position_ids_0: column
    torch_gather_0: sincos = gather(embed_positions, column)
    to_0: sincos = like(sincos, key)
    sincos_0: sincos
    torch_split_0: sin, cos = halves(sincos)
    k_rot_0: k_rot := rotated(key)
    k_pass_0: k_pass := kept(key)
    q_rot_0: q_rot := rotated(query)
    q_pass_0: q_pass := kept(query)
    apply_rotary_pos_emb_0: k_rot = neighbours(k_rot, sin, cos)
    k_rot_1: k_rot
    apply_rotary_pos_emb_1: q_rot = neighbours(q_rot, sin, cos)
    q_rot_1: q_rot
    torch_cat_0: key = cat(k_rot, k_pass)
    key_2: key
    torch_cat_1: query = cat(q_rot, q_pass)
    query_2: query
    never apply_rotary_pos_emb_2 key_3 apply_rotary_pos_emb_3 query_3
    key_permute_0: key = permuted(key)
    key_4: key
    query_permute_0: query = permuted(query)
    query_4: query
    cached layer_past_update_0: key, value = update(key, value)
    self__attn_0: attn_output, attn_weights = attend_heads(query, key, value, attention_mask)
    self__merge_heads_0: attn_output = merge_heads(attn_output)
    attn_output_0: attn_output
    self_out_proj_0: attn_output = out_proj(attn_output)
    attn_output_1: attn_output
    self_resid_dropout_0: attn_output = resid_dropout(attn_output)
    attn_output_2: attn_output
    return attn_output, attn_weights";

fn blueprint(config: &Config) -> Result<Blueprint> {
    let (width, heads) = (config.size("n_embd")?, config.size("n_head")?);
    let head_dim = divided(config, "n_embd", width, heads)?;
    let turned = match config.optional_size("rotary_dim")? {
        Some(turned) if turned % 2 == 0 && turned <= head_dim => turned,
        Some(_) => return Err(config.wrong("rotary_dim", "needs an even number that is no larger than a head")),
        None => return Err(config.wrong("rotary_dim", "null is not supported: it needs a number")),
    };
    let norm = layer_norm(config.number("layer_norm_epsilon")?);
    let layers = usize::try_from(config.size("n_layer")?).unwrap_or(0);
    let positions = config.size("n_positions")?;
    Ok(Blueprint {
        root: Root {
            class: "GPTJForCausalLM".into(),
            base: ("transformer", "GPTJModel".into()),
            returns: Returns::Plain,
            hands_on: [&[]; 2],
            around: None,
            absent: Vec::new(),
            restores_length: true,
            attributes: vec![("embed_dim", width.into())],
        },
        embedding: Embedding {
            name: "wte",
            class: "Embedding".into(),
            padding: None,
            scale: None,
            positions: None,
            dropout: Some(("drop", config.number("embd_pdrop")?)),
        },
        layers: "h",
        layer: (0..layers).map(|index| layer(config, &norm, (index, turned))).collect::<Result<_>>()?,
        kinds: vec![Kind { window: None, rope: 0 }],
        norm: ("ln_f", norm.clone()),
        rotary: Some(Rotary {
            module: None,
            ropes: vec![Rope::plain(10_000.0, turned)?],
            types: Vec::new(),
            keyword: false,
            wide: false,
            half: true,
            attributes: Vec::new(),
        }),
        head: Head { other_name: None, bias: true, tied: config.flag("tie_word_embeddings")?, cap: None },
        calls: &CALLS,
        positions: Some(positions),
        eager: true,
        by_sequence: true,
        sight: Sight::default(),
        causal: true,
        paired_caches: false,
        usual: Usual::default(),
        window: None,
        anew_at: None,
        balance: None,
        sources: Sources {
            root: causal!(
                "
                return_dict_0: := returns_record()",
                "transformer",
                "transformer_outputs",
                "",
                "
                tuple output_0: := rest(logits, loss, outputs, aux_loss)
                record CausalLMOutputWithPast"
            ),
            around: "",
            base: MODEL,
        },
    })
}

fn layer(config: &Config, norm: &Norm, (index, turned): (usize, i64)) -> Result<Layer> {
    use Register::{Attended, Branch, Hidden};
    Ok(Layer {
        class: "GPTJBlock".into(),
        kind: 0,
        modules: vec![
            ("ln_1", Module::Norm(norm.clone())),
            ("attn", Module::Attention(attention(config, index, turned)?)),
            ("mlp", Module::FeedForward(mlp(config)?)),
        ],
        steps: vec![
            Step::Run("ln_1", Hidden, Branch),
            Step::Run("attn", Branch, Attended),
            Step::Run("mlp", Branch, Branch),
            Step::Add(Branch, Attended),
            Step::Add(Attended, Hidden),
        ],
        returns_weights: true,
        attributes: Vec::new(),
        source: LAYER,
    })
}

fn attention(config: &Config, index: usize, turned: i64) -> Result<Attention> {
    let (width, heads) = (config.size("n_embd")?, config.size("n_head")?);
    let head_dim = width / heads;
    let root = (head_dim as f64).sqrt();
    Ok(Attention {
        class: "GPTJAttention".into(),
        modules: vec![
            ("attn_dropout", Leaf::Dropout(config.number("attn_pdrop")?)),
            ("resid_dropout", Leaf::Dropout(config.number("resid_pdrop")?)),
            ("k_proj", linear(width, width, false)),
            ("v_proj", linear(width, width, false)),
            ("q_proj", linear(width, width, false)),
            ("out_proj", linear(width, width, false)),
        ],
        projections: Projections::Separate(["q_proj", "k_proj", "v_proj"]),
        head_norms: None,
        turn: Some(Turn { pairs: Pairs::Neighbours, width: turned }),
        heads,
        key_heads: heads,
        head_dim,
        scaling: 1.0 / root,
        cap: None,
        wide: true,
        sinks: None,
        weights_dropout: Some("attn_dropout"),
        output: "out_proj",
        dropout: Some("resid_dropout"),
        attributes: vec![
            ("config", Json::Null),
            ("max_positions", config.size("n_positions")?.into()),
            ("layer_idx", index.into()),
            ("embed_dim", width.into()),
            ("num_attention_heads", heads.into()),
            ("head_dim", head_dim.into()),
            ("scale_attn", root.into()),
            ("rotary_dim", turned.into()),
            ("pos_embd_dim", turned.into()),
            ("is_causal", true.into()),
        ],
        source: ATTENTION,
        eager: "",
        functions: super::functions::GPTJ,
        told: &[],
    })
}

fn mlp(config: &Config) -> Result<FeedForward> {
    let width = config.size("n_embd")?;
    let inner = config.optional_size("n_inner")?.unwrap_or(4 * width);
    let (function, class) = function(config, "activation_function")?;
    Ok(FeedForward {
        class: "GPTJMLP".into(),
        argument: "hidden_states",
        modules: vec![
            ("fc_in", linear(width, inner, true)),
            ("fc_out", linear(inner, width, true)),
            ("act", Leaf::Activation(function, class)),
            ("dropout", Leaf::Dropout(config.number("resid_pdrop")?)),
        ],
        way: Way::Plain { input: "fc_in", act: "act", output: "fc_out", dropout: Some("dropout") },
        attributes: Vec::new(),
        source: "
            self_fc_in_0: hidden_states = fc_in(hidden_states)
            hidden_states_0: hidden_states
            self_act_0: hidden_states = act(hidden_states)
            hidden_states_1: hidden_states
            self_fc_out_0: hidden_states = fc_out(hidden_states)
            hidden_states_2: hidden_states
            self_dropout_0: hidden_states = dropout(hidden_states)
            hidden_states_3: hidden_states
            return hidden_states",
    })
}
