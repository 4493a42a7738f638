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
    input_shape_0: := shape()
    hidden_shape_0: := heads_shape()",
            $projections,
            "
    apply_rotary_pos_emb_0: query, key = rotate(query, key, cosines, sines)
    cached ",
            $past,
            "_update_0: key, value = update(key, value)
    ALL_ATTENTION_FUNCTIONS_get_interface_0: interface()
    attention_interface_0: := interface()",
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

/// What a base model does with ids, unless its caller has embedded them.
macro_rules! embedded {
    () => {
        "
    ids self_embed_tokens_0: inputs_embeds = embed(input_ids)
    ids inputs_embeds_0: inputs_embeds"
    };
}

/// A cache, where there is none yet.
macro_rules! cache {
    () => {
        "
    fresh DynamicCache_0: caches()
    fresh past_key_values_0: := caches()"
    };
}
pub(super) use cache;

/// Positions, where none are given, after so many tokens as are seen already.
macro_rules! counted {
    ($seen:literal) => {
        concat!(
            "
    counted past_key_values_get_seq_length_0: seen()
    counts ",
            $seen,
            "_0: := seen()
    counts torch_arange_0: arange = arange()
    counts position_ids_0: position_ids = arange + past
    counts position_ids_unsqueeze_0: position_ids = column(position_ids)
    counts position_ids_1: position_ids"
        )
    };
}
pub(super) use counted;

/// One mask for all layers.
macro_rules! one_mask {
    () => {
        "
    create_causal_mask_0: mask = masks(inputs_embeds, attention_mask, position_ids)
    causal_mask_0: mask"
    };
}
pub(super) use one_mask;

/// The same, by the function that a window asks for.
macro_rules! mask_by_function {
    () => {
        "
    mask_function_0: := function()
    mask_function_1: mask = masks(inputs_embeds, attention_mask, position_ids)
    causal_mask_0: mask"
    };
}

/// A mask for each type of layers.
macro_rules! two_masks {
    () => {
        "
    isinstance_0: no(attention_mask)
    mask_kwargs_0: kwargs := arguments(inputs_embeds, attention_mask, position_ids)
    let embeds, padding, positions = entries(kwargs)
    create_causal_mask_0: full = full(embeds, padding, positions)
    create_sliding_window_causal_mask_0: sliding = sliding(embeds, padding, positions)
    causal_mask_mapping_0: mask := mapping(full, sliding)"
    };
}

/// The same, that for windows only where there are layers with one.
macro_rules! two_masks_if_needed {
    () => {
        "
    isinstance_0: no(attention_mask)
    mask_kwargs_0: kwargs := arguments(inputs_embeds, attention_mask, position_ids)
    let embeds, padding, positions = entries(kwargs)
    create_causal_mask_0: full = full(embeds, padding, positions)
    causal_mask_mapping_0: mask := mapping_to_grow(full, embeds, padding, positions)
    slides create_sliding_window_causal_mask_0: sliding = sliding(embeds, padding, positions)
    slides causal_mask_mapping_1: sliding"
    };
}

macro_rules! rotated {
    () => {
        "
    hidden_states_0: hidden_states = inputs_embeds
    self_rotary_emb_0: position_embeddings = rotary(hidden_states, position_ids)
    position_embeddings_0: position_embeddings"
    };
}

/// Rotations by type of layer.
macro_rules! rotated_by_type {
    () => {
        "
    hidden_states_0: hidden_states = inputs_embeds
    position_embeddings_0: := dictionary()
    set_0: types()
    turn self_rotary_emb_0: position_embeddings = rotary(hidden_states, position_ids)
    turn position_embeddings_1: position_embeddings"
    };
}

macro_rules! enumerated {
    () => {
        "
    enumerate_0: enumerated()"
    };
}

macro_rules! through_layers {
    ($record:literal) => {
        concat!(
            "
    each decoder_layer_0: hidden_states = layer(hidden_states)
    each hidden_states_1: hidden_states
    self_norm_0: hidden_states = norm(hidden_states)
    hidden_states_2: hidden_states
    ",
            $record,
            "_0: record = record(hidden_states)
    return record"
        )
    };
}

macro_rules! model {
    ($before:expr, $masks:expr, $rotated:expr, $record:literal) => {
        concat!(
            "
    never ValueError_0",
            $before,
            counted!("past_seen_tokens"),
            $masks,
            $rotated,
            through_layers!($record)
        )
    };
}

pub const ONE_MASK: &str = model!(concat!(embedded!(), cache!()), one_mask!(), rotated!(), "BaseModelOutputWithPast");
pub const MASK_BY_FUNCTION: &str =
    model!(concat!(embedded!(), cache!()), mask_by_function!(), rotated!(), "BaseModelOutputWithPast");
pub const EXPERTS_MASK_BY_FUNCTION: &str =
    model!(concat!(cache!(), embedded!()), mask_by_function!(), rotated!(), "MoeModelOutputWithPast");
pub const TWO_MASKS: &str =
    model!(concat!(embedded!(), cache!()), two_masks!(), concat!(rotated!(), enumerated!()), "BaseModelOutputWithPast");
pub const EXPERTS_TWO_MASKS: &str =
    model!(concat!(cache!(), embedded!()), two_masks!(), concat!(rotated!(), enumerated!()), "MoeModelOutputWithPast");
pub const TWO_MASKS_IF_NEEDED: &str = model!(
    concat!(embedded!(), cache!()),
    two_masks_if_needed!(),
    concat!(rotated!(), enumerated!()),
    "BaseModelOutputWithPast"
);
pub const TWO_MASKS_BY_TYPE: &str = model!(
    concat!(embedded!(), cache!()),
    two_masks!(),
    concat!(rotated_by_type!(), enumerated!()),
    "BaseModelOutputWithPast"
);

/// Gemma 3 may see both ways, by something that is laid over its masks.
pub const GEMMA3: &str = model!(
    concat!(embedded!(), cache!()),
    "
    isinstance_0: no(attention_mask)
    mask_kwargs_0: kwargs := arguments(inputs_embeds, attention_mask, position_ids)
    mask_kwargs_copy_0: sliding_kwargs = another(kwargs)
    sliding_mask_kwargs_0: sliding_kwargs
    never torch_tensor_0
    overlaid mask_kwargs_1: := overlay()
    overlaid _bidirectional_window_overlay_0: overlay_of_window()
    overlaid sliding_mask_kwargs_1: := overlay()
    let embeds, padding, positions = entries(kwargs)
    create_causal_mask_0: full = full(embeds, padding, positions)
    let embeds, padding, positions = entries(sliding_kwargs)
    create_sliding_window_causal_mask_0: sliding = sliding(embeds, padding, positions)
    causal_mask_mapping_0: mask := mapping(full, sliding)",
    concat!(rotated_by_type!(), enumerated!()),
    "BaseModelOutputWithPast"
);

/// The same inside of a model that embeds for it and makes its masks.
pub const GEMMA3_INNER: &str = model!(
    concat!(
        "
    never self_embed_tokens_0 inputs_embeds_0",
        cache!()
    ),
    "
    isinstance_0: yes(handed_masks)
    never mask_kwargs_0 mask_kwargs_copy_0 sliding_mask_kwargs_0
    never torch_tensor_0 mask_kwargs_1 _bidirectional_window_overlay_0 sliding_mask_kwargs_1
    never create_causal_mask_0 create_sliding_window_causal_mask_0 causal_mask_mapping_0",
    concat!(rotated_by_type!(), enumerated!()),
    "BaseModelOutputWithPast"
);

/// Puts together that model's forward: what becomes of the token of images.
macro_rules! gemma3_around {
    ($ids:literal) => {
        concat!(
            "
    never ValueError_0 ValueError_1",
            $ids,
            "
    ids self_get_input_embeddings_0: embedder()
    ids call_0: inputs_embeds = embed(input_ids)
    ids inputs_embeds_0: inputs_embeds
    mm_encoder_outputs_0: := dictionary()
    mm_encoder_outputs_get_0: no_images()
    never self_get_image_features_0 mm_encoder_outputs_1
    mm_encoder_outputs_get_1: no_images()
    never mm_encoder_outputs_pooler_output_to_0 image_features_0 self_get_placeholder_mask_0 special_image_mask_1
    never inputs_embeds_masked_scatter_0 inputs_embeds_1
    isinstance_0: no()
    self_config_get_text_config_0: config()
    mask_kwargs_0: kwargs := arguments(inputs_embeds, attention_mask, position_ids)
    never get_block_sequence_ids_for_mask_0 block_sequence_ids_0 create_masks_for_vision_model_0 causal_mask_mapping_0
    let embeds, padding, positions = entries(kwargs)
    create_masks_for_generate_0: masks = masks(embeds, padding, positions)
    causal_mask_mapping_1: masks
    self_language_model_0: outputs = base(inputs_embeds, masks)
    outputs_0: outputs
    mm_encoder_outputs_get_2: no_images()
    Gemma3ModelOutputWithPast_0: record = record(outputs)
    return record"
        )
    };
}

pub const GEMMA3_AROUND: &str = gemma3_around!(
    "
    never special_image_mask_0 input_ids_clone_0 llm_input_ids_0 llm_input_ids_1
    llm_input_ids_2: input_ids"
);
pub const GEMMA3_AROUND_REPLACING: &str = gemma3_around!(
    "
    ids special_image_mask_0: := image(input_ids)
    ids input_ids_clone_0: input_ids = clone(input_ids)
    ids llm_input_ids_0: input_ids
    ids llm_input_ids_1: := zero()
    never llm_input_ids_2"
);

/// Puts together the forward of a model with its head.
macro_rules! causal {
    ($begin:literal, $model:literal, $outputs:literal, $capped:literal, $end:expr) => {
        concat!(
            $begin,
            "
    self_",
            $model,
            "_0: outputs = base()
    ",
            $outputs,
            "_0: outputs
    hidden_states_0: hidden_states := last(outputs)
    slice_logits_to_keep_0: hidden_states = slice(hidden_states)
    hidden_states_1: hidden_states
    self_lm_head_0: logits = head(hidden_states)
    logits_0: logits",
            $capped,
            "
    loss_0: := nothing()
    labels self_loss_function_0: loss = loss(logits)
    labels loss_1: loss",
            $end,
            "_0: record = record(logits, loss, outputs, aux_loss)
    return record"
        )
    };
}
pub(super) use causal;

pub const CAUSAL: &str = causal!("", "model", "outputs", "", "\n    CausalLMOutputWithPast");
pub const CAPPED: &str = causal!(
    "",
    "model",
    "outputs",
    "
    capped logits_1: logits = logits / cap
    capped torch_tanh_0: logits = tanh(logits)
    capped logits_2: logits
    capped logits_3: logits = logits * cap",
    "\n    CausalLMOutputWithPast"
);
pub const EXPERTS_CAUSAL: &str = causal!(
    "
    output_router_logits_0: := routes()",
    "model",
    "outputs",
    "",
    "
    aux_loss_0: := nothing()
    routed load_balancing_loss_func_0: aux_loss = balance(outputs)
    routed aux_loss_1: aux_loss
    penalised aux_loss_to_0: aux_loss = moved(aux_loss, loss)
    let loss = penalised(loss, aux_loss)
    MoeCausalLMOutputWithPast"
);
pub const GEMMA3_WHOLE: &str = causal!("", "model", "outputs", "", "\n    Gemma3CausalLMOutputWithPast");
