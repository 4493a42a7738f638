//! Forwards that several families have in common: see [`crate::source`].

pub const PRE_NORM_LAYER: &str = "
    residual_0: residual = hidden_states
    self_input_layernorm_0: hidden_states = input_layernorm(hidden_states)
    hidden_states_0: hidden_states
    self_self_attn_0: hidden_states, weights = self_attn(hidden_states)
    hidden_states_1: hidden_states = residual + hidden_states
    residual_1: residual = hidden_states
    self_post_attention_layernorm_0: hidden_states = post_attention_layernorm(hidden_states)
    hidden_states_2: hidden_states
    self_mlp_0: hidden_states = mlp(hidden_states)
    hidden_states_3: hidden_states
    hidden_states_4: hidden_states = residual + hidden_states
    return hidden_states";

pub const SANDWICH_LAYER: &str = "
    residual_0: residual = hidden_states
    self_input_layernorm_0: hidden_states = input_layernorm(hidden_states)
    hidden_states_0: hidden_states
    self_self_attn_0: hidden_states, weights = self_attn(hidden_states)
    self_post_attention_layernorm_0: hidden_states = post_attention_layernorm(hidden_states)
    hidden_states_1: hidden_states
    hidden_states_2: hidden_states = residual + hidden_states
    residual_1: residual = hidden_states
    self_pre_feedforward_layernorm_0: hidden_states = pre_feedforward_layernorm(hidden_states)
    hidden_states_3: hidden_states
    self_mlp_0: hidden_states = mlp(hidden_states)
    hidden_states_4: hidden_states
    self_post_feedforward_layernorm_0: hidden_states = post_feedforward_layernorm(hidden_states)
    hidden_states_5: hidden_states
    hidden_states_6: hidden_states = residual + hidden_states
    return hidden_states";

pub const POST_NORM_LAYER: &str = "
    residual_0: residual = hidden_states
    self_self_attn_0: hidden_states, weights = self_attn(hidden_states)
    self_post_attention_layernorm_0: hidden_states = post_attention_layernorm(hidden_states)
    hidden_states_0: hidden_states
    hidden_states_1: hidden_states = residual + hidden_states
    residual_1: residual = hidden_states
    self_mlp_0: hidden_states = mlp(hidden_states)
    hidden_states_2: hidden_states
    self_post_feedforward_layernorm_0: hidden_states = post_feedforward_layernorm(hidden_states)
    hidden_states_3: hidden_states
    hidden_states_4: hidden_states = residual + hidden_states
    return hidden_states";

/// Puts together an attention module's forward: what makes queries, keys and values, and whether something is asked before
/// they attend.
macro_rules! attention {
    ($projections:expr, $past:literal, $asked:literal, $output:literal) => {
        concat!(
            "
    input_shape_0: shape()
    hidden_shape_0: heads_shape()",
            $projections,
            "
    apply_rotary_pos_emb_0: query, key = rotate(query, key)
    cached ",
            $past,
            "_update_0: key, value = update(key, value)
    ALL_ATTENTION_FUNCTIONS_get_interface_0: interface = interface()
    attention_interface_0: interface",
            $asked,
            "
    attention_interface_1: attn_output, attn_weights = attend(query, key, value)
    attn_output_reshape_0: attn_output = merge(attn_output)
    contiguous_0: attn_output = contiguous(attn_output)
    attn_output_0: attn_output
    self_",
            $output,
            "_0: attn_output = ",
            $output,
            "(attn_output)
    attn_output_1: attn_output
    return attn_output, attn_weights"
        )
    };
}
pub(super) use attention;

/// Three projections, each taken apart by heads where it is made.
macro_rules! separate {
    () => {
        "
    self_q_proj_0: query = q_proj(hidden_states)
    view_0: query = view(query)
    transpose_0: query = turn(query)
    query_states_0: query
    self_k_proj_0: key = k_proj(hidden_states)
    view_1: key = view(key)
    transpose_1: key = turn(key)
    key_states_0: key
    self_v_proj_0: value = v_proj(hidden_states)
    view_2: value = view(value)
    transpose_2: value = turn(value)
    value_states_0: value"
    };
}

/// The same, with norms of queries' and keys' heads.
macro_rules! separate_normed {
    () => {
        "
    self_q_proj_0: query = q_proj(hidden_states)
    view_0: query = view(query)
    self_q_norm_0: query = q_norm(query)
    transpose_0: query = turn(query)
    query_states_0: query
    self_k_proj_0: key = k_proj(hidden_states)
    view_1: key = view(key)
    self_k_norm_0: key = k_norm(key)
    transpose_1: key = turn(key)
    key_states_0: key
    self_v_proj_0: value = v_proj(hidden_states)
    view_2: value = view(value)
    transpose_2: value = turn(value)
    value_states_0: value"
    };
}

/// The same, with norms once all three are turned.
macro_rules! separate_then_normed {
    () => {
        concat!(
            separate!(),
            "
    self_q_norm_0: query = q_norm(query)
    query_states_1: query
    self_k_norm_0: key = k_norm(key)
    key_states_1: key"
        )
    };
}

/// The same, with norms over all heads, and taken apart by heads only then.
macro_rules! normed_whole {
    () => {
        "
    self_q_proj_0: query = q_proj(hidden_states)
    self_q_norm_0: query = q_norm(query)
    query_states_0: query
    self_k_proj_0: key = k_proj(hidden_states)
    self_k_norm_0: key = k_norm(key)
    key_states_0: key
    self_v_proj_0: value = v_proj(hidden_states)
    value_states_0: value
    query_states_view_0: query = view(query)
    transpose_0: query = turn(query)
    query_states_1: query
    key_states_view_0: key = view(key)
    transpose_1: key = turn(key)
    key_states_1: key
    value_states_view_0: value = view(value)
    transpose_2: value = turn(value)
    value_states_1: value"
    };
}

pub const SEPARATE_ATTENTION: &str = attention!(separate!(), "past_key_values", "", "o_proj");
/// The window is asked of the configuration.
pub const WINDOWED_ATTENTION: &str = attention!(separate!(), "past_key_values", "\n    getattr_0: window()", "o_proj");
pub const NORMED_HEADS_ATTENTION: &str = attention!(separate_normed!(), "past_key_values", "", "o_proj");
pub const NORMED_TURNED_ATTENTION: &str = attention!(separate_then_normed!(), "past_key_values", "", "o_proj");
pub const NORMED_WHOLE_ATTENTION: &str = attention!(normed_whole!(), "past_key_values", "", "o_proj");

pub const GATED: &str = "
    self_gate_proj_0: gate = gate_proj(x)
    self_act_fn_0: gate = act_fn(gate)
    self_up_proj_0: up = up_proj(x)
    self_down_proj_0: down = down_proj(gate * up)
    down_proj_0: down
    return down";
