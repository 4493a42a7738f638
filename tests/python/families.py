"""Compares local nnsight and the server on a random model of each family, by the client that researchers use.

    families.py make FOLDER      writes the models
    families.py compare FOLDER   compares them with what the server hosts as family/NAME

Of each model: every module's arguments and output, every operation of a layer's forward, of its attention's, its feed-forward
block's and its norms', and of the function that attends, with their names, the logits of prompts of several lengths, greedy generation, a gradient, and edits; in every way to
compute attention that transformers has for it. Floats agree to 2e-4.
"""
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import anyio._backends._asyncio  # noqa: F401  (before nnsight, which adds an attribute to every object)
import torch
from nnsight import LanguageModel
from nnsight.intervention import source
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
    "gemma3": dict(
        text_config=dict(
            COMMON, head_dim=12, sliding_window=6, query_pre_attn_scalar=17, layer_types=TYPES, rope_parameters=BY_TYPE
        ),
        vision_config=dict(
            hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
        ),
        mm_tokens_per_image=4,
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
# Of the language model.
LAYER = re.compile(r"\w+(\.language_model)?\.\w+\.\d+")
# What attention modules call to attend, and those of which that is not known step by step.
FUNCTIONS = ("attention_interface_1", "self__attn_0")
UNKNOWN_FUNCTIONS = {"GPTJAttention", "GptOssAttention"}
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
            plan = Plan(places(local), *(operations(local, prompts) for prompts in (PROMPTS, PROMPTS[0])))
            tasks = [everything, names, every_operation, logits, generation, packed, gradient, edit, edited_operations]
            if name == "gemma3":
                tasks += [edited_masks, steps, refusals]
            for task in tasks:
                try:
                    why = difference(task(local, False, plan), task(remote, True, plan))
                except Exception as error:  # noqa: BLE001
                    why = f"{type(error).__name__}: {error}"
                failed += why is not None
                print(f"{'ok  ' if why is None else 'FAIL'} {name} {attention} {task.__name__}" + (f": {why}" if why else ""), flush=True)
    print(f"{failed} failed")
    sys.exit(failed > 0)


@dataclass
class Plan:
    """What a model has to look at, in the order in which a pass comes by."""

    places: list
    # Of several prompts, and of one, of which attention is handed no mask.
    operations: list
    alone: list

    def layer(self, number):
        return next(path for path, side in self.places if side == "output" and LAYER.fullmatch(path) and path.endswith(f".{number}"))


def operations(model, prompts):
    """Lists operations of a layer and of what is in it, and of the last norm, that run and have values to show."""
    paths = [path for path, _ in model._module.named_modules()]
    layer = next(path for path in paths if LAYER.fullmatch(path) and path.endswith(".1"))
    inside = [path for path in paths if re.fullmatch(re.escape(layer) + r"\.\w+", path)]
    blocks = [layer] + [path for path in inside if any(other.startswith(path + ".") for other in paths)]
    blocks += [path for path, module in model._module.named_modules() if "Norm" in type(module).__name__ and (
        path.startswith(layer + ".") or path.count(".") == layer.count(".") - 1
    ) and "vision" not in path and "projector" not in path]  # fmt: skip
    seen = []
    run = source.run_op

    def noted(interleaver, base, fn, args, kwargs):
        value = run(interleaver, base, fn, args, kwargs)
        path, _, name = base.rpartition(".source.")
        path = path.removeprefix("model.") if path.removeprefix("model.") in blocks else path
        if path in blocks and name not in [other for of, other in seen if of == path] and shows(value):
            seen.append((path, name))
        return value

    source.run_op = noted
    for path in blocks:
        model.get(path).source
    attention = next(path for path in blocks if any(name in model.get(path).source.names for name in FUNCTIONS))
    function = next(name for name in FUNCTIONS if name in model.get(attention).source.names)
    inside = f"{attention}.source.{function}"
    if type(model._module.get_submodule(attention)).__name__ not in UNKNOWN_FUNCTIONS:
        blocks.append(inside)
    with model.trace(prompts):
        if inside in blocks:
            getattr(at(model, inside), "attn_output_0").output
        model.lm_head.output.save()
    source.run_op = run
    return seen


def at(model, path):
    """Returns the operations of a module's forward, or of a function that one of them calls."""
    path, _, operation = path.partition(".source.")
    operations = model.get(path).source
    return getattr(operations, operation).source if operation else operations


def names(model, remote, plan):
    paths = list(dict.fromkeys(path for path, _ in plan.operations))
    with model.trace(PROMPTS[0], remote=remote):
        found = {}.save()
        for path in paths:
            found[path] = list(at(model, path).names)
        model.lm_head.output
    return dict(found)


def shows(value):
    if isinstance(value, (tuple, list)):
        return all(shows(item) for item in value)
    return isinstance(value, (torch.Tensor, int, float, bool, type(None)))


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


def every_operation(model, remote, plan):
    return [shown(model, remote, *one) for one in ((PROMPTS, plan.operations), (PROMPTS[0], plan.alone))]


def shown(model, remote, prompts, operations):
    with model.trace(prompts, remote=remote):
        seen = {}.save()
        for path, name in operations:
            seen[path + " " + name] = getattr(at(model, path), name).output
    return {key: tensors(value) for key, value in seen.items()}


def edited_operations(model, remote, plan):
    """Replaces what one operation of each forward gives, edits another in place, and skips one."""
    attention = next(path for path, name in plan.operations if name.startswith("attention_interface") or name == "self__attn_0")
    function = next((path for path, _ in plan.operations if ".source." in path), None)
    inside = "self__merge_heads_0" if "gptj" in type(model._module).__name__.lower() else "attn_output_reshape_0"
    layer = plan.layer(1)
    last = [name for path, name in plan.operations if path == layer][-1]
    with model.trace(PROMPTS[1], remote=remote):
        if function is not None:
            attended = getattr(at(model, function), "attn_output_0").output
            attended[:, :, 2] *= 0.5
        merged = getattr(model.get(attention).source, inside).output
        merged[:, 1:3] *= 2
        residual = getattr(model.get(layer).source, last).output
        getattr(model.get(layer).source, last).output = residual * 0.5
        saved = model.lm_head.output.save()
    return saved


def everything(model, remote, plan):
    with model.trace(PROMPTS[1], remote=remote):
        seen = {}.save()
        for path, side in plan.places:
            module = model.get(path)
            seen[path + " " + side] = module.inputs if side == "inputs" else module.output
    return {key: tensors(value) for key, value in seen.items()}


def edited_masks(model, remote, _):
    """Edits the masks that the language model is handed: one in place, and one by another dict."""
    text = model.model.language_model
    with model.trace(PROMPTS, remote=remote):
        masks = text.inputs[1]["attention_mask"]
        mask = masks["sliding_attention"]
        hidden = 0 if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
        mask[:, :, -1, -3] = hidden
        in_place = model.lm_head.output.save()
    with model.trace(PROMPTS[1], remote=remote):
        args, kwargs = text.inputs
        masks = kwargs["attention_mask"]
        kwargs = {**kwargs, "attention_mask": {**masks, "full_attention": masks["sliding_attention"]}}
        text.inputs = (args, kwargs)
        replaced = model.lm_head.output.save()
    with model.trace(PROMPTS[1], remote=remote):
        args, kwargs = text.inputs
        text.inputs = (args, {**kwargs, "inputs_embeds": kwargs["inputs_embeds"] * 0.5})
        halved = model.lm_head.output.save()
    with model.trace(PROMPTS[1], remote=remote):
        masks = text.inputs[1]["attention_mask"]
        masks["full_attention"] = masks["sliding_attention"]
        entry = model.lm_head.output.save()
    return [in_place, replaced, halved, entry]


def steps(model, remote, _):
    """Looks at what is called with what in each step of a generation."""
    seen = []
    with model.generate(PROMPTS[0], max_new_tokens=3, do_sample=False, remote=remote) as tracer:
        seen = [].save()
        for _ in tracer.iter[0:3]:
            seen.append([model.inputs, model.model.inputs, model.model.language_model.inputs])
    return tensors(list(seen))


def refusals(model, remote, _):
    """Asks for what is for images: the server says so, by name."""
    if not remote:
        return ["model.vision_tower", "model.multi_modal_projector", "pixel_values", "model.vision_tower"]
    said = []

    def refused(name, ask):
        try:
            ask()
        except Exception as error:  # noqa: BLE001
            said.append(name if name in str(error) and "image" in str(error) else str(error))
        else:
            said.append("nothing")

    def look():
        with model.trace(PROMPTS[0], remote=True):
            model.model.vision_tower.output.save()

    def project():
        with model.trace(PROMPTS[0], remote=True):
            model.model.multi_modal_projector.mm_soft_emb_norm.weight.save()

    def show():
        with model.trace(PROMPTS[0], pixel_values=torch.zeros(1, 3, 28, 28), remote=True):
            model.lm_head.output.save()

    def count():
        with model.trace(PROMPTS[0], remote=True):
            sum(parameter.numel() for parameter in model.parameters())

    refused("model.vision_tower", look)
    refused("model.multi_modal_projector", project)
    refused("pixel_values", show)
    refused("model.vision_tower", count)
    return said


def logits(model, remote, _):
    with model.trace(PROMPTS, remote=remote):
        saved = model.lm_head.output.save()
        whole = model.output.logits.save()
    return [saved, whole]


def generation(model, remote, _):
    with model.generate(PROMPTS[0], max_new_tokens=10, do_sample=False, remote=remote) as tracer:
        ids = tracer.result.save()
    return ids


def packed(model, remote, _):
    """Generates without a cache after two sequences in one row, which positions tell apart."""
    ids, positions = torch.tensor([[5, 6, 7, 8, 9, 10]]), torch.tensor([[0, 1, 2, 0, 1, 2]])
    settings = dict(position_ids=positions, use_cache=False, max_new_tokens=2, do_sample=False)
    with model.generate(ids, **settings, remote=remote) as tracer:
        seen = [].save()
        for _ in tracer.iter[0:2]:
            seen.append(model.lm_head.output)
    return list(seen)


def gradient(model, remote, plan):
    path = plan.layer(0)
    with model.trace(PROMPTS[0], remote=remote):
        hidden = model.get(path).output
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        hidden.requires_grad_()
        loss = model.lm_head.output[:, -1].logsumexp(-1).sum()
        with loss.backward():
            grad = hidden.grad.save()
    return grad


def edit(model, remote, plan):
    path = plan.layer(1)
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
