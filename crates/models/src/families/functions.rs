//! The functions that compute attention, line by line as transformers has them: see [`crate::source`]. What the lines mean is
//! in [`crate::attention_function`].

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
    sdpa_kwargs_0: kwargs()
    hasattr_0: hasattr()
    grouped use_gqa_in_sdpa_0: gqa(key, value)
    repeated repeat_kv_0: key = repeat_where_masked(key)
    repeated key_0: key
    repeated repeat_kv_1: value = repeat_where_masked(value)
    repeated value_0: value
    shared sdpa_kwargs_1: true()
    q_length_0: length(query)
    kv_length_0: length(key)
    getattr_0: getattr()
    is_causal_0: true()
    is_causal_1: causal(query)
    torch_jit_is_tracing_0: tracing()
    never isinstance_1 is_causal_item_0 is_causal_2 attention_mask_bool_0 torch_logical_not_0 to_0 attention_mask_0 key_1
    never value_1 position_bias_0 create_position_bias_mask_0 attention_mask_1 is_causal_3
    torch_nn_functional_scaled_dot_product_attention_0: attn_output = attend(query, key, value, attention_mask)
    attn_output_0: attn_output
    attn_output_transpose_0: attn_output = back(attn_output)
    contiguous_0: attn_output = contiguous(attn_output)
    attn_output_1: attn_output
    return attn_output";
