"""Writes down the operations that `.source` shows of each family's forwards, as nnsight names them from the pinned
transformers' own text: crates/models/src/families/source_names.json.

    .venv/bin/python tools/source_names.py            writes the file
    .venv/bin/python tools/source_names.py --check    fails where the file is not what it would write

For each family, by class: the operations of its forward, and those of functions of transformers' that they call, under the
name of the class and of each call on the way: `LlamaAttention.apply_rotary_pos_emb_0.rotate_half_0`. What attends has one
entry for each way to do so: `LlamaAttention.attention_interface_1@sdpa`. Tests compare with it what the server shows
(crates/models/tests/source_names.rs) and what the client shows (tests/python/families.py).
"""
import inspect
import json
import sys
from pathlib import Path

import anyio._backends._asyncio  # noqa: F401  (before nnsight, which adds an attribute to every object)
import torch
from nnsight.intervention import source
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "crates/models/src/families/source_names.json"

COMMON = dict(
    num_hidden_layers=2, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
    max_position_embeddings=64, vocab_size=96, pad_token_id=None,
)  # fmt: skip
OLD = dict(n_layer=2, n_embd=32, n_head=4, n_positions=64, vocab_size=96)
IMAGES = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
BOTH = dict(layer_types=["sliding_attention", "full_attention"], sliding_window=4)
# Settings with which a forward comes to all that it can come to here.
FAMILIES = {
    "gpt2": OLD,
    "llama": COMMON,
    "qwen2": dict(COMMON, use_sliding_window=True, sliding_window=4, max_window_layers=1),
    "qwen3": dict(COMMON, use_sliding_window=True, sliding_window=4, max_window_layers=1),
    "mistral": dict(COMMON, sliding_window=4),
    "gemma2": dict(COMMON, head_dim=8, final_logit_softcapping=9.0, attn_logit_softcapping=5.0, **BOTH),
    "gemma3_text": dict(COMMON, head_dim=8, final_logit_softcapping=9.0, **BOTH),
    "gemma3": dict(text_config=dict(COMMON, head_dim=8, **BOTH), vision_config=IMAGES, mm_tokens_per_image=4),
    "phi3": COMMON,
    "gpt_neox": COMMON,
    "gptj": dict(OLD, rotary_dim=4),
    "olmo2": COMMON,
    "olmo3": dict(COMMON, **BOTH),
    "mixtral": dict(COMMON, num_local_experts=4, num_experts_per_tok=2),
    "qwen3_moe": dict(COMMON, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, mlp_only_layers=[1]),
    "gpt_oss": dict(COMMON, head_dim=8, num_local_experts=4, num_experts_per_tok=2, sliding_window=4),
}  # fmt: skip
# Settings with which one comes to something in the place of something else.
MORE = {"gpt2": dict(reorder_and_upcast_attn=True)}
EAGER_ONLY = {"gemma2", "gptj", "gpt_oss"}
ATTENDS = ("attention_interface_1", "self__attn_0")
# Where functions stand that are shown from inside: models' own text, and what attends for all of them.
INSIDE = ("transformers.models.", "transformers.integrations.sdpa_attention")


def main():
    logging.set_verbosity_error()
    found = {}
    for name, settings in FAMILIES.items():
        all_settings = [settings, settings | MORE[name]] if name in MORE else [settings]
        places = {}
        for settings in all_settings:
            places |= names(name, settings)
        found[name] = {place: " ".join(operations) for place, operations in sorted(places.items())}
    text = json.dumps(found, indent=1) + "\n"
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text)
    elif FILE.read_text() != text:
        sys.exit(f"{FILE.relative_to(ROOT)} is not what tools/source_names.py makes of the pinned transformers")


def names(model_type, settings):
    found = {}
    for attention in ["eager"] if model_type in EAGER_ONLY else ["sdpa", "eager"]:
        config = AutoConfig.for_model(model_type, **settings)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
        for path, module in model.named_modules():
            if "vision" in path or "projector" in path or isinstance(module, torch.nn.ModuleList):
                continue
            look_inside(module, attention, found)
        with torch.no_grad():
            model(torch.tensor([[3, 4, 5, 6, 7, 8, 9, 10]]), attention_mask=torch.ones(1, 8, dtype=torch.long))
    return dict(sorted(found.items()))


def look_inside(module, attention, found):
    """Has a module note the operations of its forward, and of what these call, when it runs."""
    body, compiled = source.instrument(source.module_body(module), noted(type(module).__name__, attention, found))
    found.setdefault(type(module).__name__, list(compiled.names))
    module.forward = body.__get__(module)


def noted(place, attention, found):
    def operation(location, function, *args, **kwargs):
        name = location.removeprefix("source.")
        at = f"{place}.{name}" + (f"@{attention}" if name in ATTENDS else "")
        plain = inspect.isfunction(function) or inspect.ismethod(function)
        if plain and function is not source.bind and getattr(function, "__module__", "").startswith(INSIDE):
            function, compiled = source.instrument(function, noted(at, attention, found))
            found.setdefault(at, list(compiled.names))
        return function(*args, **kwargs)

    return operation


if __name__ == "__main__":
    main()
