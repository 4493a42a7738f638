"""Draws settings of a family at random: every field of its configuration class that a forward depends on, and every way to
rotate that its class takes.

A field that is in neither of VARIED and UNUSED is an error: a new transformers may have it.
"""
import random

from transformers import AutoConfig

VOCABULARY = 512
ACTIVATIONS = [
    "gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_python_tanh", "gelu_pytorch_tanh", "hardswish",
    "laplace", "leaky_relu", "linear", "mish", "quick_gelu", "relu", "relu2", "relu6", "sigmoid", "silu", "sqrtsoftplus", "swish",
    "tanh",
]  # fmt: skip
TYPES = ["sliding_attention", "full_attention"]
# What no forward of a language model looks at, or only where something is trained.
UNUSED = set(
    "initializer_range router_aux_loss_coef router_jitter_noise pretraining_tp is_decoder classifier_dropout summary_type "
    "summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout embd_pdrop resid_pdrop attn_pdrop "
    "attention_dropout hidden_dropout bos_token_id boi_token_index eoi_token_index transformers_version _name_or_path id2label "
    "label2id problem_type architectures dtype chunk_size_feed_forward is_encoder_decoder model_type _sliding_window_pattern "
    # What calls ask for: where all do, transformers fails in the second step of a padded batch.
    "output_router_logits "
    # Where it is false, transformers fails; and what is for images.
    "return_dict vision_config".split()
)
# Whose heads have a width of their own.
OWN_HEADS = {"llama", "qwen3", "mistral", "gemma2", "gemma3_text", "mixtral", "qwen3_moe", "gpt_oss"}
EXPERTS = ("mixtral", "qwen3_moe", "gpt_oss")
# transformers saves no model that returns weights and does not compute them, as sdpa does not.
EAGER_ONLY = ("gemma2", "gptj", "gpt_oss")
ROPES = ["default", "linear", "dynamic", "llama3", "yarn", "longrope"]


class Draw(random.Random):
    """Draws the settings of one model."""

    def sometimes(self, value, otherwise=None):
        return value if self.random() < 0.5 else otherwise

    def rope(self, width, positions, types=ROPES, part=1.0):
        """Draws how so many dimensions of a head are rotated."""
        kind = self.choice(types)
        rope = dict(rope_type=kind, rope_theta=self.choice([100.0, 10000.0, 500000.0]))
        if part != 1.0:
            rope["partial_rotary_factor"] = part
        context = self.choice([8, 24, positions])
        pairs = int(width * part) // 2
        if kind in ("linear", "dynamic", "llama3", "yarn"):
            rope["factor"] = self.choice([1.5, 4.0, 8.0])
        if kind == "llama3":
            rope |= dict(low_freq_factor=self.choice([1.0, 2.0]), high_freq_factor=4.0, original_max_position_embeddings=context)
        if kind == "yarn":
            rope |= dict(original_max_position_embeddings=context)
            rope |= self.sometimes(dict(beta_fast=self.choice([4.0, 16.0]), beta_slow=self.choice([0.5, 2.0])), {})
            rope |= self.sometimes(dict(truncate=self.choice([True, False])), {})
            rope |= self.choice([{}, dict(attention_factor=1.3), dict(mscale=0.7, mscale_all_dim=1.2), dict(mscale=0.7)])
        if kind == "longrope":
            rope |= dict(
                short_factor=[round(self.uniform(1, 2), 2) for _ in range(pairs)],
                long_factor=[round(self.uniform(2, 6), 2) for _ in range(pairs)],
                original_max_position_embeddings=context,
            )
            rope |= self.choice([{}, dict(attention_factor=1.2)])
            rope |= self.sometimes(dict(factor=4.0), {})
        return rope


def draw(name, seed, vocabulary=VOCABULARY):
    """Returns the settings of a model, which has so many words at least."""
    of = Draw(f"{name} {seed}")
    if name == "gemma3":
        text = draw("gemma3_text", seed, vocabulary)
        return dict(
            text_config=text, tie_word_embeddings=of.choice([True, False]), mm_tokens_per_image=4,
            image_token_index=of.choice([7, text["vocab_size"] - 1, 262144]),
            vision_config=dict(
                hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
            ),
        )  # fmt: skip
    own = draw_own(name, of, vocabulary)
    # After all others, of which the same are drawn by the same seed.
    own["output_hidden_states"] = of.random() < 0.3
    if name in EAGER_ONLY:
        own["output_attentions"] = of.random() < 0.3
    if of.random() < 0.4:
        own["is_causal"] = of.random() < 0.3
    if name in ("gemma2", "gemma3_text"):
        own["use_bidirectional_attention"] = of.choice([True, False])
    if name == "gpt2":
        own["add_cross_attention"] = of.choice([True, False])
    return own


def draw_own(name, of, vocabulary):
    """Draws the settings that are the family's own."""
    layers = of.randint(3, 4)
    heads = of.choice([1, 2, 3, 4, 6, 8])
    key_heads = of.choice([count for count in range(1, heads + 1) if heads % count == 0])
    head_dim = of.choice([4, 6, 10, 16, 20, 32, 64])
    width = heads * (of.choice([5, 7, 11, 24]) if name in OWN_HEADS else head_dim)
    if name in EXPERTS:
        # Grouped products of transformers take rows of whole vectors alone.
        width = 4 * heads * of.choice([1, 3, 4])
    positions = of.choice([48, 64, 200])
    own = dict(
        vocab_size=vocabulary + of.choice([0, 5, 128]), initializer_range=0.15 if width > 24 else 0.3, use_cache=of.random() < 0.8,
        tie_word_embeddings=of.choice([True, False]), bos_token_id=0, pad_token_id=of.choice([None, 3]),
        eos_token_id=of.choice([1, [1, 9, 44]]),
    )  # fmt: skip
    if name in ("gpt2", "gptj"):
        own |= dict(
            n_layer=layers, n_embd=width, n_head=heads, n_positions=200, n_inner=of.choice([None, 30, 71]),
            activation_function=of.choice(ACTIVATIONS), layer_norm_epsilon=of.choice([1e-6, 1e-5, 1e-2]),
        )
        if name == "gpt2":
            own |= dict(
                scale_attn_weights=of.choice([True, False]), scale_attn_by_inverse_layer_idx=of.choice([True, False]),
                reorder_and_upcast_attn=of.choice([True, False]),
            )
        else:
            own |= dict(rotary_dim=of.choice([2, 4, head_dim]))
        return own
    own |= dict(
        num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, intermediate_size=of.choice([12, 56, 88] if name in EXPERTS else [12, 31, 56, 88]),
        max_position_embeddings=positions, attention_dropout=of.choice([0.0, 0.3]),
    )  # fmt: skip
    act = "hidden_activation" if name in ("gemma2", "gemma3_text") else "hidden_act"
    own[act] = of.choice(ACTIVATIONS)
    if name == "gpt_neox":
        part = of.choice([0.25, 0.5, 0.75, 1.0])
        part = part if int(head_dim * part) >= 2 and int(head_dim * part) % 2 == 0 else 1.0
        own |= dict(
            layer_norm_eps=of.choice([1e-6, 1e-5, 1e-2]), use_parallel_residual=of.choice([True, False]),
            attention_bias=of.choice([True, False]), hidden_dropout=0.2,
            rope_parameters=of.rope(head_dim, positions, part=part) | dict(partial_rotary_factor=part),
        )
        return own
    own |= dict(num_key_value_heads=key_heads, rms_norm_eps=of.choice([1e-6, 1e-5, 1e-2]))
    if name in OWN_HEADS:
        own["head_dim"] = head_dim
    # Of a window of one, transformers' own caches keep everything.
    window = of.choice([2, 5, 9, 17])
    types = of.choice([[of.choice(TYPES) for _ in range(layers)], [of.choice(TYPES)] * layers])
    if name in ("gemma3_text", "olmo3"):
        own["rope_parameters"] = {kind: of.rope(head_dim, positions) for kind in TYPES}
    elif name == "phi3":
        part = of.choice([0.5, 1.0])
        part = part if int(head_dim * part) % 2 == 0 else 1.0
        own["rope_parameters"] = of.rope(head_dim, positions, ["default", "longrope"], part)
        own["original_max_position_embeddings"] = own["rope_parameters"].get("original_max_position_embeddings", 24)
        own |= dict(resid_pdrop=0.1, embd_pdrop=0.1)
    else:
        own["rope_parameters"] = of.rope(head_dim, positions)
    if name in ("llama", "qwen3", "gemma2", "gemma3_text", "olmo2", "olmo3", "qwen3_moe", "gpt_oss"):
        own["attention_bias"] = of.choice([True, False])
    if name == "llama":
        own["mlp_bias"] = of.choice([True, False])
    if name in ("qwen2", "qwen3"):
        own |= dict(use_sliding_window=of.random() < 0.7, sliding_window=window, max_window_layers=of.randint(0, layers))
        if own["use_sliding_window"]:
            own |= of.sometimes(dict(layer_types=types), {})
    if name in ("gemma2", "gemma3_text", "olmo3", "gpt_oss"):
        own |= dict(sliding_window=window, layer_types=types)
    if name in ("gemma2", "gemma3_text"):
        own |= dict(
            query_pre_attn_scalar=of.choice([1, 7, 40]), final_logit_softcapping=of.choice([None, 2.0, 9.0]),
            attn_logit_softcapping=of.choice([None, 1.5, 6.0]),
        )
    if name in ("mistral", "phi3", "mixtral"):
        own["sliding_window"] = of.choice([None, window])
    if name == "qwen3_moe":
        own |= dict(
            use_sliding_window=of.choice([True, False]), sliding_window=window, num_experts=of.choice([1, 3, 5, 8]),
            norm_topk_prob=of.choice([True, False]), moe_intermediate_size=of.choice([8, 12, 24]),
            decoder_sparse_step=of.choice([1, 2]), mlp_only_layers=of.choice([[], [0], [1, 2]]),
        )
        own["num_experts_per_tok"] = of.randint(1, own["num_experts"])
    if name in ("mixtral", "gpt_oss"):
        own["num_local_experts"] = of.choice([1, 2, 4, 7])
        own["num_experts_per_tok"] = of.randint(1, own["num_local_experts"])
    if name == "gpt_oss":
        own |= dict(swiglu_alpha=of.choice([1.0, 1.702, 2.5]), swiglu_limit=of.choice([0.5, 3.0, 7.0]))
    return own


def unknown_fields(name, settings):
    """Lists the fields of a family's configuration that are neither drawn nor known to have no use."""
    config = AutoConfig.for_model(name, **settings)
    fields = set(config.to_dict())
    aliases = dict(config.attribute_map)
    drawn = set(settings) | {aliases.get(key, key) for key in settings} | {"output_hidden_states", "output_attentions"}
    if name != "gemma3":
        # Where there are none, a family may still have them as a property.
        drawn |= {"head_dim"} if name not in OWN_HEADS else set()
    if name in ("qwen2", "qwen3"):
        drawn |= {"layer_types"}
    return sorted(fields - drawn - UNUSED)
