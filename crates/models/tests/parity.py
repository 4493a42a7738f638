#!/usr/bin/env python3
"""Makes small random models and writes down what transformers computes with them.

    parity.py FOLDER [models]

With `models` only the models, those that are not in few bits, with heads and windows of usual sizes. For each model: FOLDER/NAME/ as save_pretrained leaves it, and for each case FOLDER/NAME/CASE.{json,safetensors}:
the call, and every module's arguments and output. Of models in few bits, QUANTIZED, the folder has the files as they are to be
loaded, and the cases are those of the model of what their codes stand for (quantized.py). Tensors are named by path, side and place:
`transformer.h.0.attn|output|1`. FOLDER/activations.safetensors: what each activation makes of some numbers.

With a number in SEED, the models have settings that it draws (tests/python/random_settings.py), and none is in few bits:

    SEED=5 cargo test -p models --test parity transformers
"""
import json
import os
import sys
from pathlib import Path

import torch
from quantized import FORMS, dequantized
from safetensors.torch import save_file
from tokenizers import Tokenizer, models as tokenizer_models
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.activations import ACT2FN
from transformers.utils import logging

VOCABULARY = 96
# All that have no parameters.
ACTIVATIONS = sorted(set(ACT2FN) - {"prelu", "xielu"})


def main():
    folder, only_models = Path(sys.argv[1]), sys.argv[2:] == ["models"]
    if only_models:
        USUAL.update(head_dim=16, sliding_window=64)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for name, make in MODELS.items():
        torch.manual_seed(7)
        model = make().eval()
        # Biases and norms begin as zeros and ones, which would hide that they are left out.
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter) * 0.2)
        at = folder / name
        model.save_pretrained(at)
        write_tokenizer(at)
        if only_models:
            continue
        tree = [[path, type(module).__name__] for path, module in model.named_modules()]
        (at / "tree.json").write_text(json.dumps(tree))
        for attention in ("sdpa", "eager"):
            if attention == "sdpa" and name.split("-")[0] in EAGER_ONLY:
                continue
            model.set_attn_implementation(attention)
            for case, call in calls(model).items():
                write(at / f"{case}-{attention}", model, attention, call)
        write_generations(at, model)
        write_halves(at)
    for name in [] if only_models or "SEED" in os.environ else QUANTIZED:
        torch.manual_seed(7)
        base, form = name.split("-", 1)
        at = folder / name
        MODELS[base]().save_pretrained(at)
        write_tokenizer(at)
        model = dequantized(at, form)
        for attention in ("eager",) if base in EAGER_ONLY else ("sdpa", "eager"):
            model.set_attn_implementation(attention)
            for case, call in calls(model).items():
                if case in ("plain", "padded", "steps"):
                    write(at / f"{case}-{attention}", model, attention, call)
    write_activations(folder)


def write_tokenizer(at):
    words = {f"w{index}": index for index in range(VOCABULARY)}
    Tokenizer(tokenizer_models.WordLevel(words, unk_token="w0")).save(str(at / "tokenizer.json"))


def write_activations(folder):
    torch.manual_seed(7)
    # Full vectors: what is left over behind them PyTorch computes by another formula, here and there to other bits.
    values = {"float32": torch.randn(4, 256) * 3}
    values["bfloat16"] = values["float32"].bfloat16()
    for name in ACTIVATIONS:
        values |= {f"{name}|{kind}": ACT2FN[name](values[kind]).clone() for kind in ("float32", "bfloat16")}
    save_file(values, folder / "activations.safetensors")


# What is in the place of odd sizes that a model has.
USUAL = {}


def usual(changes):
    return changes | {name: size for name, size in USUAL.items() if changes.get(name)}


def gpt2(**changes):
    return GPT2LMHeadModel(GPT2Config(
        n_layer=2, n_embd=32, n_head=4, n_positions=64, vocab_size=VOCABULARY, initializer_range=0.2,
        bos_token_id=0, eos_token_id=0, **changes,
    ))  # fmt: skip


def llama(**changes):
    return LlamaForCausalLM(LlamaConfig(**{**dict(
        num_hidden_layers=2, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
        max_position_embeddings=256, vocab_size=VOCABULARY, initializer_range=0.2, bos_token_id=0, eos_token_id=1,
    ), **changes}))  # fmt: skip


def other(model_type, **changes):
    """A model of one of the families that call most things alike."""
    common = dict(
        num_hidden_layers=2, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
        max_position_embeddings=256, vocab_size=VOCABULARY, initializer_range=0.2, bos_token_id=0, eos_token_id=1,
        pad_token_id=None,
    )  # fmt: skip
    if model_type == "gptj":
        common = dict(
            n_layer=2, n_embd=32, n_head=4, n_positions=64, vocab_size=VOCABULARY, initializer_range=0.2, bos_token_id=0,
            eos_token_id=0,
        )  # fmt: skip
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **{**common, **usual(changes)}))


def with_images(model_type, tie_word_embeddings=True, **changes):
    """A model for text and images, whose language model is of the family of the same name."""
    common = dict(
        num_hidden_layers=2, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
        max_position_embeddings=256, vocab_size=VOCABULARY, initializer_range=0.2, bos_token_id=0, eos_token_id=1,
        pad_token_id=None,
    )  # fmt: skip
    images = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(
        model_type, text_config=common | usual(changes), vision_config=images, mm_tokens_per_image=4,
        tie_word_embeddings=tie_word_embeddings,
    ))  # fmt: skip


# Families without an implementation in sdpa.
EAGER_ONLY = ["gemma2", "gptj", "gpt_oss"]

YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=64)

LLAMA3 = dict(
    rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=32,
)  # fmt: skip

MODELS = {
    "gpt2": gpt2,
    "gpt2-variant": lambda: gpt2(
        activation_function="relu", n_inner=40, scale_attn_by_inverse_layer_idx=True, tie_word_embeddings=False,
        add_cross_attention=True,
    ),
    "gpt2-upcast": lambda: gpt2(reorder_and_upcast_attn=True, scale_attn_by_inverse_layer_idx=True),
    "llama": llama,
    "llama-tied": lambda: llama(
        tie_word_embeddings=True, num_key_value_heads=4, attention_bias=True, mlp_bias=True, head_dim=12,
        rope_parameters=LLAMA3, is_causal=False, tie_last_hidden_states=False,
    ),
    "llama-linear": lambda: llama(
        num_key_value_heads=1, hidden_act="gelu", rope_parameters=dict(rope_type="linear", rope_theta=500.0, factor=4.0)
    ),
    "llama-dynamic": lambda: llama(
        max_position_embeddings=32, rope_parameters=dict(rope_type="dynamic", rope_theta=10000.0, factor=3.0)
    ),
    "llama-yarn": lambda: llama(rope_parameters=YARN | dict(truncate=False, beta_fast=16.0)),
    "qwen2": lambda: other("qwen2"),
    "qwen2-windows": lambda: other(
        "qwen2", num_hidden_layers=3, use_sliding_window=True, sliding_window=5, max_window_layers=1
    ),
    "qwen3": lambda: other("qwen3", head_dim=12, attention_bias=True),
    "qwen3-windows": lambda: other(
        "qwen3", head_dim=8, use_sliding_window=True, sliding_window=4, max_window_layers=1, tie_word_embeddings=True,
        is_causal=False, output_hidden_states=True,
    ),
    "mistral": lambda: other("mistral", sliding_window=6, head_dim=12),
    "mistral-full": lambda: other("mistral", sliding_window=None, num_key_value_heads=4),
    "gemma2": lambda: other(
        "gemma2", num_hidden_layers=3, head_dim=12, sliding_window=5, query_pre_attn_scalar=20, final_logit_softcapping=6.0,
        attn_logit_softcapping=4.0,
    ),
    "gemma2-uncapped": lambda: other(
        "gemma2", head_dim=8, sliding_window=64, final_logit_softcapping=None, attn_logit_softcapping=None, attention_bias=True,
        use_bidirectional_attention=True,
    ),
    "gemma3_text": lambda: other(
        "gemma3_text", num_hidden_layers=3, head_dim=12, sliding_window=5, query_pre_attn_scalar=20,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"], rope_parameters={
            "full_attention": dict(rope_type="linear", factor=8.0, rope_theta=1000000.0),
            "sliding_attention": dict(rope_type="default", rope_theta=10000.0),
        },
    ),
    "gemma3_text-capped": lambda: other(
        "gemma3_text", head_dim=8, sliding_window=8, final_logit_softcapping=5.0,
        layer_types=["full_attention", "sliding_attention"], use_bidirectional_attention=True,
    ),
    "gemma3": lambda: with_images(
        "gemma3", num_hidden_layers=3, head_dim=12, sliding_window=5, query_pre_attn_scalar=20,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"], rope_parameters={
            "full_attention": dict(rope_type="linear", factor=8.0, rope_theta=1000000.0),
            "sliding_attention": dict(rope_type="default", rope_theta=10000.0),
        },
    ),
    "gemma3-untied": lambda: with_images(
        "gemma3", tie_word_embeddings=False, head_dim=8, final_logit_softcapping=5.0,
        layer_types=["full_attention", "sliding_attention"], use_bidirectional_attention=True,
    ),
    "phi3": lambda: other("phi3", sliding_window=6),
    "phi3-long": lambda: other(
        "phi3", num_key_value_heads=4, original_max_position_embeddings=32, partial_rotary_factor=0.5, rope_parameters=dict(
            rope_type="longrope", short_factor=[1.0, 1.5], long_factor=[2.0, 3.0], rope_theta=10000.0,
            partial_rotary_factor=0.5, original_max_position_embeddings=32,
        ),
    ),
    "gpt_neox": lambda: other("gpt_neox", rotary_pct=0.5),
    "gpt_neox-serial": lambda: other("gpt_neox", use_parallel_residual=False, attention_bias=False, hidden_act="gelu_fast", is_causal=False),
    "gptj": lambda: other("gptj", rotary_dim=4, output_attentions=True),
    "olmo2": lambda: other("olmo2"),
    "olmo3": lambda: other("olmo3", num_hidden_layers=3, sliding_window=5, layer_types=[
        "sliding_attention", "full_attention", "sliding_attention"]),
    "olmo3-yarn": lambda: other("olmo3", sliding_window=4, num_key_value_heads=1, layer_types=[
        "sliding_attention", "full_attention"], rope_parameters={
            "full_attention": YARN | dict(truncate=False), "sliding_attention": dict(rope_type="default", rope_theta=10000.0)}),
    "mixtral": lambda: other("mixtral", num_local_experts=4, num_experts_per_tok=2, sliding_window=5),
    "qwen3_moe": lambda: other(
        "qwen3_moe", num_hidden_layers=3, head_dim=12, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=20,
        norm_topk_prob=True, mlp_only_layers=[1],
    ),
    "qwen3_moe-raw": lambda: other("qwen3_moe", head_dim=8, num_experts=3, num_experts_per_tok=3, moe_intermediate_size=16),
    "gpt_oss": lambda: other("gpt_oss", head_dim=8, num_local_experts=4, num_experts_per_tok=2, sliding_window=5),
}  # fmt: skip


def drawn(name):
    """A model of the family that a name begins with, of settings that are drawn."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests/python"))
    from random_settings import draw, unknown_fields

    family = name.split("-")[0]
    settings = draw(family, f"{os.environ['SEED']} {name}", VOCABULARY)
    if unknown := unknown_fields(family, settings):
        sys.exit(f"{family}: random_settings.py does not say of {', '.join(unknown)} whether it matters")
    print(name, json.dumps(settings))
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **settings))


if "SEED" in os.environ:
    MODELS = {name: lambda name=name: drawn(name) for name in MODELS}

# Models whose matrices are in few bits, by a model's name and one of quantized.FORMS.
QUANTIZED = [f"{name}-{form}" for name in ("llama", "gpt2", "mixtral", "gpt_oss") for form in ("int8", "nf4")] + [
    f"{name}-{form}" for name in ("llama", "gpt2", "mixtral") for form in ("bnb-nf4", "bnb-nested", "bnb-half", "bnb-int8")
] + [f"llama-{form}" for form in FORMS if form.startswith("ct-")]

# What generate() adds to each call.
STEP = dict(logits_to_keep=1, use_cache=True, return_dict=True)


def routed(model):
    return dict(output_router_logits=True) if hasattr(model.config, "output_router_logits") else {}


def calls(model):
    ids = torch.randint(2, VOCABULARY, (3, 7))
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    mask[2, :1] = 0
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return {
        "plain": [dict(input_ids=ids)],
        "long": [dict(input_ids=torch.randint(2, VOCABULARY, (1, 50)))],
        "uncached": [dict(input_ids=ids[:1], use_cache=False, max_length=9)],
        "masked": [dict(input_ids=ids, attention_mask=mask)],
        "padded": [dict(input_ids=ids, attention_mask=mask, position_ids=positions,
                        output_hidden_states=True, output_attentions=True, **routed(model))],
        "steps": [
            dict(input_ids=ids, **STEP),
            dict(input_ids=ids[:, :1], **STEP),
            dict(input_ids=ids[:, 1:4], **STEP),
        ],
        "padded-steps": [
            dict(input_ids=ids, attention_mask=mask, position_ids=positions, **STEP),
            dict(input_ids=ids[:, :1], attention_mask=torch.cat([mask, mask[:, -1:]], 1), position_ids=positions[:, -1:] + 1,
                 **STEP),
        ],
        # Several sequences in a row, which transformers finds by their positions.
        "packed": [
            dict(input_ids=ids, position_ids=torch.tensor([[0, 1, 2, 0, 1, 0, 1]] * 3), **STEP | dict(use_cache=False)),
        ],
        "uncached-steps": [dict(input_ids=ids, **STEP | dict(use_cache=False)), dict(input_ids=ids[:, :4], **STEP | dict(use_cache=False))],
    }  # fmt: skip


def write(path, model, attention, steps):
    tensors, structure = {}, []
    cache = None
    for number, call in enumerate(steps):
        seen = []

        def hook(module, args, kwargs, output):
            # A rotary embedding is called for each type of layer, in no fixed order.
            kind = args[2] if len(args) > 2 and isinstance(args[2], str) else ""
            path = paths[module] + (f"@{kind}" if kind else "")
            entry = {"path": path}
            for side, value in (("args", args), ("kwargs", kwargs), ("output", output)):
                entry[side] = flatten(value, f"{number}|{path}|{side}", tensors)
            seen.append(entry)

        paths = {module: path for path, module in model.named_modules()}
        handles = [module.register_forward_hook(hook, with_kwargs=True) for module in paths]
        # The rest of what nnsight passes, or generate(), in their order.
        generating = "return_dict" in call
        ids, past = call["input_ids"], 0
        given = {"input_ids": ids}
        if generating:
            if call["use_cache"]:
                cache = cache or DynamicCache(config=model.config)
                given["past_key_values"], past = cache, cache.get_seq_length()
            given["position_ids"] = torch.arange(past, past + ids.shape[1]).expand(ids.shape)
            if hasattr(model.config, "vision_config"):
                given |= {"token_type_ids": None} if past else {"mm_encoder_outputs": {}}
        else:
            given["attention_mask"] = torch.ones_like(ids)
        given |= call
        with torch.no_grad():
            output = model(**given)
        for handle in handles:
            handle.remove()
        cache = output.get("past_key_values")
        shown = {}
        for name, value in call.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{number}|call|{name}"] = value.clone().contiguous()
            else:
                shown[name] = value
        of_types = sorted((entry for entry in seen if "@" in entry["path"]), key=lambda entry: entry["path"])
        seen = [of_types.pop(0) if "@" in entry["path"] else entry for entry in seen]
        structure.append({"flags": shown, "generating": generating, "modules": seen})
    save_file(tensors, f"{path}.safetensors")
    Path(f"{path}.json").write_text(json.dumps({"attention": attention, "steps": structure}))


def flatten(value, name, tensors):
    """Describes a value; its tensors are copied out under names that say where they were."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().clone().contiguous()
        return "tensor"
    if isinstance(value, (tuple, list)):
        return [flatten(item, f"{name}|{index}", tensors) for index, item in enumerate(value)]
    if hasattr(value, "items"):
        kind = type(value)
        fields = {key: flatten(item, f"{name}|{key}", tensors) for key, item in value.items()}
        return {"class": f"{kind.__module__}.{kind.__qualname__}", "fields": fields}
    if type(value).__name__ in ("DynamicCache", "EncoderDecoderCache"):
        return "cache"
    return value


def write_generations(at, model):
    """Writes the prompts, and what generate() makes of them under several settings."""
    model.set_attn_implementation("eager" if at.name.split("-")[0] in EAGER_ONLY else "sdpa")
    prompts = torch.randint(2, VOCABULARY, (2, 5))
    cases = []
    for settings in GENERATIONS:
        # A configuration may ask for what comes in a record.
        settings = settings | dict(return_dict_in_generate=False)
        torch.manual_seed(1234)
        with torch.no_grad():
            ids = model.generate(prompts, attention_mask=torch.ones_like(prompts), **settings)
        cases.append({"settings": settings, "ids": ids.tolist()})
    (at / "generate.json").write_text(json.dumps({"prompts": prompts.tolist(), "cases": cases}))


def write_halves(at):
    """Writes the logits of prompts in bfloat16, by each way to attend, and in float32."""
    made = {"ids": torch.randint(2, VOCABULARY, (2, 40))}
    for kind in ("float32", "bfloat16"):
        # Experts one by one: to multiply all at once takes rows of whole vectors.
        model = AutoModelForCausalLM.from_pretrained(at, dtype=getattr(torch, kind), experts_implementation="eager").eval()
        for attention in ("eager",) if at.name.split("-")[0] in EAGER_ONLY else ("sdpa", "eager"):
            model.set_attn_implementation(attention)
            with torch.no_grad():
                made[f"{kind}-{attention}"] = model(input_ids=made["ids"]).logits.float()
    save_file(made, at / "halves.safetensors")


GENERATIONS = [
    dict(max_new_tokens=8, pad_token_id=0),
    dict(max_length=11, pad_token_id=0),
    dict(max_new_tokens=8, pad_token_id=0, repetition_penalty=1.7),
    dict(max_new_tokens=12, pad_token_id=0, no_repeat_ngram_size=1),
    dict(max_new_tokens=6, pad_token_id=0, do_sample=True),
    dict(max_new_tokens=6, pad_token_id=0, do_sample=True, temperature=0.7, top_k=20, top_p=0.8),
    dict(max_new_tokens=6, pad_token_id=0, do_sample=True, top_k=0, min_p=0.05),
    dict(max_new_tokens=9, pad_token_id=0, eos_token_id=list(range(2, 60)), min_new_tokens=2),
]


if __name__ == "__main__":
    main()
