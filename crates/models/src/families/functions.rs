//! The functions that attention modules call, line by line as transformers has them: see [`crate::source`]. What the lines of
//! those that attend mean is in [`crate::attention_function`], and of others in [`crate::self_attention`].

use crate::family::{Routine, Routines};

/// Cosines and sines for all heads.
macro_rules! tables {
    () => {
        "
    cos_unsqueeze_0: cos = for_heads(cos)
    cos_0: cos
    sin_unsqueeze_0: sin = for_heads(sin)
    sin_0: sin"
    };
}

/// The part of each head that is rotated, and the rest.
macro_rules! parts {
    () => {
        "
    rotary_dim_0: := last_size(cos)
    q_rot_0: q_rot := begun(q, cos)
    q_pass_0: q_pass := kept_past(q, cos)
    k_rot_0: k_rot := begun(k, cos)
    k_pass_0: k_pass := kept_past(k, cos)"
    };
}

macro_rules! grouped_scores {
    () => {
        "
    repeat_kv_0: key_states = repeat(key)
    key_states_0: key_states
    repeat_kv_1: value_states = repeat(value)
    value_states_0: value_states
    key_states_transpose_0: turned = turn(key_states)
    torch_matmul_0: product = matmul(query, turned)
    attn_weights_0: attn_weights = product * scaling"
    };
}

/// What comes of scores: shares of the keys that a mask shows, and what these make of values.
macro_rules! shares {
    ($masked:literal, $shares:literal, $kept:literal, $values:literal) => {
        concat!(
            "
    masked attn_weights_",
            $masked,
            ": attn_weights = attn_weights + attention_mask
    nn_functional_softmax_0: attn_weights = softmax_wide(attn_weights)
    to_0: attn_weights = to(attn_weights, query)
    attn_weights_",
            $shares,
            ": attn_weights
    nn_functional_dropout_0: attn_weights = dropout(attn_weights)
    attn_weights_",
            $kept,
            ": attn_weights
    torch_matmul_1: attn_output = matmul(attn_weights, ",
            $values,
            ")
    attn_output_0: attn_output
    attn_output_transpose_0: attn_output = back(attn_output)
    contiguous_0: attn_output = contiguous(attn_output)
    attn_output_1: attn_output
    return attn_output, attn_weights"
        )
    };
}

pub const EAGER: &str = concat!(grouped_scores!(), shares!("1", "2", "3", "value_states"));

pub const EAGER_CAPPED: &str = concat!(
    "
    never scaling_0",
    grouped_scores!(),
    "
    attn_weights_1: attn_weights = attn_weights / cap
    torch_tanh_0: attn_weights = tanh(attn_weights)
    attn_weights_2: attn_weights
    attn_weights_3: attn_weights = attn_weights * cap",
    shares!("4", "5", "6", "value_states")
);

pub const EAGER_UNCAPPED: &str = concat!(
    "
    never scaling_0",
    grouped_scores!(),
    "
    never attn_weights_1 torch_tanh_0 attn_weights_2 attn_weights_3",
    shares!("4", "5", "6", "value_states")
);

/// Of families that have keys for each head.
pub const EAGER_UNGROUPED: &str = concat!(
    "
    key_transpose_0: turned = turn(key)
    torch_matmul_0: product = matmul(query, turned)
    attn_weights_0: attn_weights = product * scaling",
    shares!("1", "2", "3", "value")
);

pub const EAGER_GPT2: &str = "
    never query_size_0 scaling_0
    key_transpose_0: turned = turn_last(key)
    torch_matmul_0: product = matmul(query, turned)
    attn_weights_0: attn_weights = product * scaling
    masked attn_weights_1: attn_weights = attn_weights + attention_mask
    nn_functional_softmax_0: attn_weights = softmax(attn_weights)
    attn_weights_2: attn_weights
    attn_weights_type_0: attn_weights = to(attn_weights, value)
    attn_weights_3: attn_weights
    nn_functional_dropout_0: attn_weights = dropout(attn_weights)
    attn_weights_4: attn_weights
    torch_matmul_1: attn_output = matmul(attn_weights, value)
    attn_output_0: attn_output
    attn_output_transpose_0: attn_output = back(attn_output)
    attn_output_1: attn_output
    return attn_output, attn_weights";

/// The one function of all families.
pub const SDPA: &str = "
    kwargs_get_0: softcap()
    never ValueError_0
    kwargs_get_1: asked()
    asked logger_warning_once_0: warned()
    isinstance_0: isinstance()
    never cache_update_0
    sdpa_kwargs_0: := kwargs()
    hasattr_0: hasattr()
    grouped use_gqa_in_sdpa_0: gqa(key, value)
    repeated repeat_kv_0: key = repeat_where_masked(key)
    repeated key_0: key
    repeated repeat_kv_1: value = repeat_where_masked(value)
    repeated value_0: value
    shared sdpa_kwargs_1: := true()
    q_length_0: := length(query)
    kv_length_0: := length(key)
    untold getattr_0: getattr()
    is_causal_0: := told()
    is_causal_1: := causal(query)
    torch_jit_is_tracing_0: tracing()
    never isinstance_1 is_causal_item_0 is_causal_2 attention_mask_bool_0 torch_logical_not_0 to_0 attention_mask_0 key_1
    never value_1 position_bias_0 create_position_bias_mask_0 attention_mask_1 is_causal_3
    torch_nn_functional_scaled_dot_product_attention_0: attn_output = attend(query, key, value, attention_mask)
    attn_output_0: attn_output
    attn_output_transpose_0: attn_output = back(attn_output)
    contiguous_0: attn_output = contiguous(attn_output)
    attn_output_1: attn_output
    return attn_output";

/// With a score of each head's for seeing nothing, beside those of keys.
pub const EAGER_SINKS: &str = concat!(
    grouped_scores!(),
    "
    masked attn_weights_1: attn_weights = attn_weights + attention_mask
    module_sinks_reshape_0: sinks = reshaped(sinks)
    expand_0: sinks = expanded(sinks, query)
    sinks_0: sinks
    torch_cat_0: combined_logits = cat(attn_weights, sinks)
    combined_logits_0: combined_logits
    combined_logits_max_0: most, places = most(combined_logits)
    combined_logits_1: combined_logits = combined_logits - most
    F_softmax_0: probs = softmax_own(combined_logits)
    probs_0: probs
    scores_0: scores := without_sinks(probs)
    nn_functional_dropout_0: scores = dropout(scores)
    to_0: attn_weights = to(scores, value_states)
    attn_weights_2: attn_weights
    torch_matmul_1: attn_output = matmul(attn_weights, value_states)
    attn_output_0: attn_output
    attn_output_transpose_0: attn_output = back(attn_output)
    contiguous_0: attn_output = contiguous(attn_output)
    attn_output_1: attn_output
    return attn_output, attn_weights"
);

/// What those that attend call.
pub const REPEATS: Routines = &[("repeat", REPEAT), ("repeat_where_masked", REPEAT)];

const REPEAT: Routine = Routine {
    parameters: &["repeated"],
    source: "
        grouped hidden_states_expand_0: repeated = expand_groups(repeated)
        grouped hidden_states_0: repeated
        grouped hidden_states_reshape_0: repeated = merge_groups(repeated)
        return repeated",
    inside: &[],
};

/// Halves of each head turned against each other.
pub const ROTATE: Routines = &[(
    "rotate",
    Routine {
        parameters: ROTATED,
        source: concat!(
            tables!(),
            "
            rotate_half_0: half = turned_half(q)
            q_embed_0: q_embed = q * cos + half * sin
            rotate_half_1: half = turned_half(k)
            k_embed_0: k_embed = k * cos + half * sin
            return q_embed, k_embed"
        ),
        inside: HALVES,
    },
)];

/// The same, back in the type of what came in.
pub const ROTATE_NARROWED: Routines = &[(
    "rotate",
    Routine {
        parameters: ROTATED,
        source: concat!(
            "
            q_type_0: := type_of(q)
            k_type_0: := type_of(k)",
            tables!(),
            "
            rotate_half_0: half = turned_half(q)
            q_embed_0: q_embed = q * cos + half * sin
            rotate_half_1: half = turned_half(k)
            k_embed_0: k_embed = k * cos + half * sin
            q_embed_to_0: q_embed = like(q_embed, q)
            k_embed_to_0: k_embed = like(k_embed, k)
            return q_embed, k_embed"
        ),
        inside: HALVES,
    },
)];

/// Of the beginning of each head, which is put together with the rest once it is rotated.
pub const ROTATE_BEGINNING: Routines = &[(
    "rotate",
    Routine {
        parameters: ROTATED,
        source: concat!(
            tables!(),
            parts!(),
            "
            rotate_half_0: half = turned_half(q_rot)
            q_embed_0: q_embed = q_rot * cos + half * sin
            rotate_half_1: half = turned_half(k_rot)
            k_embed_0: k_embed = k_rot * cos + half * sin
            torch_cat_0: q_embed = cat(q_embed, q_pass)
            q_embed_1: q_embed
            torch_cat_1: k_embed = cat(k_embed, k_pass)
            k_embed_1: k_embed
            return q_embed, k_embed"
        ),
        inside: HALVES,
    },
)];

/// The same, put together where it is rotated.
pub const ROTATE_BEGINNING_AT_ONCE: Routines = &[(
    "rotate",
    Routine {
        parameters: ROTATED,
        source: concat!(
            tables!(),
            parts!(),
            "
            rotate_half_0: half = turned_half(q_rot)
            torch_cat_0: q_embed = cat(q_rot * cos + half * sin, q_pass)
            q_embed_0: q_embed
            rotate_half_1: half = turned_half(k_rot)
            torch_cat_1: k_embed = cat(k_rot * cos + half * sin, k_pass)
            k_embed_0: k_embed
            return q_embed, k_embed"
        ),
        inside: HALVES,
    },
)];

/// By one cosine and one sine of each pair.
pub const ROTATE_PAIRS: Routines = &[(
    "rotate",
    Routine {
        parameters: ROTATED,
        source: concat!(
            tables!(),
            "
            _apply_rotary_emb_0: q_embed = turned_pairs(q, cos, sin)
            q_embed_0: q_embed
            _apply_rotary_emb_1: k_embed = turned_pairs(k, cos, sin)
            k_embed_0: k_embed
            return q_embed, k_embed"
        ),
        inside: &[(
            "turned_pairs",
            Routine {
                parameters: &["x", "cos", "sin"],
                source: "
                    torch_chunk_0: first_half, second_half = both_halves(x)
                    first__0: first = first_half * cos - second_half * sin
                    second__0: second = second_half * cos + first_half * sin
                    torch_cat_0: x = cat(first, second)
                    return x",
                inside: &[],
            },
        )],
    },
)];

/// GPT-J's: neighbours turned against each other, and attention itself.
pub const GPTJ: Routines = &[
    (
        "neighbours",
        Routine {
            parameters: &["tensor", "sin", "cos"],
            source: "
                let sin = by_head(sin)
                torch_repeat_interleave_0: sin = interleave(sin)
                sin_0: sin
                let cos = by_head(cos)
                torch_repeat_interleave_1: cos = interleave(cos)
                cos_0: cos
                rotate_every_two_0: turned = turned_neighbours(tensor)
                return tensor * cos + turned * sin",
            inside: &[(
                "turned_neighbours",
                Routine {
                    parameters: &["x"],
                    source: "
                        x1_0: x1 := evens(x)
                        x2_0: x2 := odds(x)
                        torch_stack_0: x = stack(-x2, x1)
                        x_0: x
                        x_flatten_0: x = flatten(x)
                        return x",
                    inside: &[],
                },
            )],
        },
    ),
    (
        "attend_heads",
        Routine {
            parameters: &["query", "key", "value", "attention_mask"],
            source: "
                query_to_0: query = wide(query)
                query_0: query
                key_to_0: key = wide(key)
                key_0: key
                key_transpose_0: turned = turn_last(key)
                torch_matmul_0: attn_weights = matmul(query, turned)
                attn_weights_0: attn_weights
                attn_weights_1: attn_weights = attn_weights / scale
                masked attn_weights_2: attn_weights = attn_weights + attention_mask
                nn_functional_softmax_0: attn_weights = softmax(attn_weights)
                attn_weights_3: attn_weights
                attn_weights_to_0: attn_weights = like(attn_weights, value)
                attn_weights_4: attn_weights
                self_attn_dropout_0: attn_weights = attn_dropout(attn_weights)
                attn_weights_5: attn_weights
                torch_matmul_1: attn_output = matmul(attn_weights, value)
                attn_output_0: attn_output
                return attn_output, attn_weights",
            inside: &[],
        },
    ),
];

/// GPT-2's, where scores are to be computed in float32.
pub const UPCAST: Routines = &[(
    "attend_upcast",
    Routine {
        parameters: &["query", "key", "value", "attention_mask"],
        source: "
            query_size_0: sizes(query)
            key_size_0: sizes(key)
            torch_empty_0: attn_weights = zeros(query, key)
            attn_weights_0: attn_weights
            maybe_autocast_0: as_it_is()
            query_reshape_0: query = all_heads(query)
            key_transpose_0: key = turn_last(key)
            reshape_0: key = all_heads(key)
            q_0: query
            k_0: key
            q_float_0: query = float(query)
            k_float_0: key = float(key)
            torch_baddbmm_0: attn_weights = scaled(attn_weights, query, key)
            attn_weights_1: attn_weights
            attn_weights_reshape_0: attn_weights = each_head(attn_weights)
            attn_weights_2: attn_weights
            masked attn_weights_3: attn_weights = attn_weights + attention_mask
            nn_functional_softmax_0: attn_weights = softmax(attn_weights)
            attn_weights_4: attn_weights
            never RuntimeError_0
            attn_weights_type_0: attn_weights = like(attn_weights, value)
            attn_weights_5: attn_weights
            self_attn_dropout_0: attn_weights = attn_dropout(attn_weights)
            attn_weights_6: attn_weights
            torch_matmul_0: attn_output = matmul(attn_weights, value)
            attn_output_0: attn_output
            attn_output_transpose_0: attn_output = turn(attn_output)
            attn_output_1: attn_output
            return attn_output, attn_weights",
        inside: &[],
    },
)];

const ROTATED: &[&str] = &["q", "k", "cos", "sin"];

const HALVES: Routines = &[(
    "turned_half",
    Routine {
        parameters: &["x"],
        source: "
            x1_0: x1 := first_half(x)
            x2_0: x2 := second_half(x)
            torch_cat_0: x = cat(-x2, x1)
            return x",
        inside: &[],
    },
)];
