"""Compares local nnsight and the server on a random model of each family, by the client that researchers use.

    families.py make FOLDER      writes the models
    families.py compare FOLDER   compares them with what the server hosts as family/NAME

Of each model: every module's arguments and output, the logits of prompts of several lengths, greedy generation, a
gradient, and an edit; in every way to compute attention that transformers has for it. Floats agree to 2e-4.
"""
import os
import sys
from pathlib import Path

import anyio._backends._asyncio  # noqa: F401  (before nnsight, which adds an attribute to every object)
import torch
from nnsight import LanguageModel
from nnsight.schema.config import CONFIG
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

CONFIG.APP.REMOTE_LOGGING = False
ROOT = Path(__file__).resolve().parents[2]
VOCABULARY = 512
PROMPTS = ["The capital of France is", "Once upon a time there was a small model that lived in a glass case"]

# Sizes that divide into nothing else, and settings that are not the defaults.
COMMON = dict(
    num_hidden_layers=3, hidden_size=40, num_attention_heads=4, num_key_value_heads=2, intermediate_size=56,
    max_position_embeddings=256, vocab_size=VOCABULARY, initializer_range=0.15, bos_token_id=0, eos_token_id=1,
    pad_token_id=None,
)  # fmt: skip
OLD = dict(
    n_layer=3, n_embd=40, n_head=5, n_positions=128, vocab_size=VOCABULARY, initializer_range=0.15, bos_token_id=0,
    eos_token_id=0,
)  # fmt: skip
BY_TYPE = {
    "full_attention": dict(rope_type="linear", factor=4.0, rope_theta=50000.0),
    "sliding_attention": dict(rope_type="default", rope_theta=3000.0),
}
TYPES = ["sliding_attention", "full_attention", "sliding_attention"]
FAMILIES = {
    "gpt2": dict(OLD, n_inner=72),
    "llama": dict(COMMON, attention_bias=True, head_dim=12),
    "qwen2": dict(COMMON, use_sliding_window=True, sliding_window=6, max_window_layers=1),
    "qwen3": dict(COMMON, head_dim=14, tie_word_embeddings=True),
    "mistral": dict(COMMON, sliding_window=7),
    "gemma2": dict(
        COMMON, head_dim=12, sliding_window=6, query_pre_attn_scalar=17, final_logit_softcapping=9.0,
        attn_logit_softcapping=5.0,
    ),
    "gemma3_text": dict(
        COMMON, head_dim=12, sliding_window=6, query_pre_attn_scalar=17, layer_types=TYPES, rope_parameters=BY_TYPE
    ),
    "phi3": dict(COMMON, sliding_window=9),
    "gpt_neox": dict(COMMON, rotary_pct=0.4),
    "gptj": dict(OLD, rotary_dim=6),
    "olmo2": dict(COMMON, attention_bias=True),
    "olmo3": dict(COMMON, sliding_window=6, layer_types=TYPES),
    "mixtral": dict(COMMON, num_local_experts=5, num_experts_per_tok=2),
    "qwen3_moe": dict(
        COMMON, head_dim=12, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=24, mlp_only_layers=[1]
    ),
    "gpt_oss": dict(COMMON, head_dim=12, num_local_experts=4, num_experts_per_tok=2, sliding_window=6),
}  # fmt: skip
EAGER_ONLY = {"gemma2", "gptj", "gpt_oss"}


def make(folder):
    logging.disable_progress_bar()
    tokenizer = ROOT / ".models/float32/tiny-gpt2"
    for name, settings in FAMILIES.items():
        torch.manual_seed(11)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **settings)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter) * 0.2)
        model.save_pretrained(folder / name)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name / file).write_bytes((tokenizer / file).read_bytes())
    print(" ".join(FAMILIES))


def compare(folder):
    only = os.environ.get("FAMILIES", " ".join(FAMILIES)).split()
    failed = 0
    for name in only:
        for attention in ["eager"] if name in EAGER_ONLY else ["sdpa", "eager"]:
            local = LanguageModel(str(folder / name), dispatch=True, dtype=torch.float32, attn_implementation=attention)
            remote = LanguageModel(f"family/{name}", attn_implementation=attention)
            order = places(local)
            for task in (everything, logits, generation, gradient, edit):
                try:
                    why = difference(task(local, False, order), task(remote, True, order))
                except Exception as error:  # noqa: BLE001
                    why = f"{type(error).__name__}: {error}"
                failed += why is not None
                print(f"{'ok  ' if why is None else 'FAIL'} {name} {attention} {task.__name__}" + (f": {why}" if why else ""), flush=True)
    print(f"{failed} failed")
    sys.exit(failed > 0)


def places(model):
    """Lists modules with the sides of them, in the order in which a pass comes by."""
    order, handles = [], []
    for path, module in model._module.named_modules():
        if not path or "generator" in path:
            continue
        handles.append(module.register_forward_pre_hook(lambda *_, path=path: order.append((path, "inputs"))))
        handles.append(module.register_forward_hook(lambda *_, path=path: order.append((path, "output"))))
    with torch.no_grad():
        model._module(torch.tensor([[3, 4, 5, 6, 7, 8, 9, 10]]))
    for handle in handles:
        handle.remove()
    # Which of several calls of a rotary embedding comes first is a matter of Python's hashes.
    return [place for place in order if order.count(place) == 1]


def tensors(value):
    """Keeps tensors, and of the rest what can be compared."""
    if isinstance(value, (tuple, list)):
        return [tensors(item) for item in value]
    if isinstance(value, dict):
        return {key: tensors(item) for key, item in value.items()}
    return value if isinstance(value, (torch.Tensor, int, float, str, bool, type(None))) else type(value).__name__


def everything(model, remote, order):
    with model.trace(PROMPTS[1], remote=remote):
        seen = {}.save()
        for path, side in order:
            module = model.get(path)
            seen[path + " " + side] = module.inputs if side == "inputs" else module.output
    return {key: tensors(value) for key, value in seen.items()}


def logits(model, remote, _):
    with model.trace(PROMPTS, remote=remote):
        saved = model.lm_head.output.save()
        whole = model.output.logits.save()
    return [saved, whole]


def generation(model, remote, _):
    with model.generate(PROMPTS[0], max_new_tokens=10, do_sample=False, remote=remote) as tracer:
        ids = tracer.result.save()
    return ids


def layer(order, number):
    """Returns a layer's path."""
    return next(path for path, side in order if side == "output" and path.count(".") == 2 and path.endswith(f".{number}"))


def gradient(model, remote, order):
    path = layer(order, 0)
    with model.trace(PROMPTS[0], remote=remote):
        hidden = model.get(path).output
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        hidden.requires_grad_()
        loss = model.lm_head.output[:, -1].logsumexp(-1).sum()
        with loss.backward():
            grad = hidden.grad.save()
    return grad


def edit(model, remote, order):
    path = layer(order, 1)
    with model.trace(PROMPTS[1], remote=remote):
        hidden = model.get(path).output
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        hidden[:, 2:5] = hidden[:, 2:5] * 3 + 1
        saved = model.lm_head.output.save()
    return saved


def difference(want, got, place=""):
    if isinstance(want, torch.Tensor):
        if not isinstance(got, torch.Tensor):
            return f"{place}: {type(got).__name__}, not Tensor"
        if want.shape != got.shape or want.dtype != got.dtype:
            return f"{place}: {got.dtype}{tuple(got.shape)}, not {want.dtype}{tuple(want.shape)}"
        if not torch.allclose(want.detach().double(), got.detach().double(), rtol=2e-4, atol=2e-4):
            return f"{place}: differs by {(want - got).abs().max():.3g} of values up to {want.abs().max():.3g}"
        return None
    if isinstance(want, dict):
        if not isinstance(got, dict) or list(map(str, want)) != list(map(str, got)):
            if sorted(map(str, want)) != sorted(map(str, got)):
                return f"{place}: keys {sorted(map(str, got))}, not {sorted(map(str, want))}"
        return next((why for key in want if (why := difference(want[key], got[key], f"{place} {key}"))), None)
    if isinstance(want, list):
        if not isinstance(got, list) or len(want) != len(got):
            return f"{place}: {got}, not {want}"
        return next((why for at, pair in enumerate(zip(want, got)) if (why := difference(*pair, f"{place}[{at}]"))), None)
    return None if want == got else f"{place}: {got!r}, not {want!r}"


if __name__ == "__main__":
    {"make": make, "compare": compare}[sys.argv[1]](Path(sys.argv[2]))
