"""Compares local nnsight and the server on a random model of each family, by the client that researchers use.

    families.py make FOLDER [SEED]   writes the models; with a seed, of settings that it draws (random_settings.py)
    families.py compare FOLDER [OWNER...]
                                     compares them with what the server hosts as OWNER/NAME, of each owner; family by itself

Of each model: every module's arguments and output; every operation of the forwards of the model, of its base model, of a layer, of its
attention, its feed-forward block and its norms, and of the functions that these call, with their names; the logits of prompts
of several lengths, greedy generation, a gradient, and edits; in every way to compute attention that transformers has for it,
with owners after the first in one of these, which changes from model to model. Floats agree to 2e-4.
FAMILIES names those to compare, where not all of them.
"""
import inspect
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio._backends._asyncio  # noqa: F401  (before nnsight, which adds an attribute to every object)
import torch
from nnsight import LanguageModel
from nnsight.intervention import source
from nnsight.schema.config import CONFIG
from random_settings import draw, unknown_fields
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
    "gpt2": dict(OLD, n_inner=72, add_cross_attention=True),
    "llama": dict(COMMON, attention_bias=True, head_dim=12),
    "qwen2": dict(COMMON, use_sliding_window=True, sliding_window=6, max_window_layers=1),
    "qwen3": dict(COMMON, head_dim=14, tie_word_embeddings=True),
    "mistral": dict(COMMON, sliding_window=7),
    "gemma2": dict(
        COMMON, head_dim=12, sliding_window=6, query_pre_attn_scalar=17, final_logit_softcapping=9.0,
        attn_logit_softcapping=5.0,
    ),
    "gemma3_text": dict(
        COMMON, head_dim=12, sliding_window=10, query_pre_attn_scalar=17, layer_types=TYPES, rope_parameters=BY_TYPE,
        use_bidirectional_attention=True,
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
    # Generations come to where it begins to rotate in another way.
    "phi3": dict(
        COMMON, sliding_window=9, original_max_position_embeddings=24, rope_parameters=dict(
            rope_type="longrope", rope_theta=10000.0, original_max_position_embeddings=24,
            short_factor=[1.0, 1.1, 1.2, 1.4, 1.6], long_factor=[1.0, 2.0, 3.0, 5.0, 8.0],
        ),
    ),
    "gpt_neox": dict(COMMON, rotary_pct=0.4, is_causal=False),
    "gptj": dict(OLD, rotary_dim=6),
    "olmo2": dict(COMMON, attention_bias=True, output_hidden_states=True),
    "olmo3": dict(COMMON, sliding_window=6, layer_types=TYPES),
    "mixtral": dict(COMMON, num_local_experts=5, num_experts_per_tok=2),
    "qwen3_moe": dict(
        COMMON, head_dim=12, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=24, mlp_only_layers=[1]
    ),
    "gpt_oss": dict(COMMON, head_dim=12, num_local_experts=4, num_experts_per_tok=2, sliding_window=6),
}  # fmt: skip
# Of the language model.
LAYER = re.compile(r"\w+(\.language_model)?\.\w+\.\d+")
# What attention modules call to attend.
FUNCTIONS = ("attention_interface_1", "self__attn_0")
# Functions that the server does not show from inside: they only give tensors another form.
UNKNOWN_FUNCTIONS = ("_split_heads", "_merge_heads", "_get_embed_positions", "load_balancing_loss_func")
# What functions compute that are made here and called while masks are, by which nnsight goes in another order.
UNKNOWN_FUNCTIONS += ("_bidirectional_window_overlay",)
CALLED_ELSEWHERE = ("torch_tensor_0",)
# What holds memory that nobody has written to, and what is called with it.
UNWRITTEN = [("self__upcast_and_reordered_attn_0", name) for name in ("torch_empty_0", "attn_weights_0")]
GIVEN_UNWRITTEN = [("self__upcast_and_reordered_attn_0", "torch_baddbmm_0")]
INSIDE = ("transformers.models.", "transformers.integrations.sdpa_attention")
# Dicts that grow after they are bound, and what a model returns, which is a dict here and an object there.
FILLED_LATER = ("causal_mask_mapping_0", "outputs_0", "transformer_outputs_0")
# Which of several types of layers is rotated first is a matter of Python's hashes.
BY_HASH = ("self_rotary_emb_0", "position_embeddings_1")
EXPERTS = {"mixtral", "qwen3_moe", "gpt_oss"}
EAGER_ONLY = {"gemma2", "gptj", "gpt_oss"}


def make(folder, seed=None):
    logging.disable_progress_bar()
    tokenizer = ROOT / ".models/float32/tiny-gpt2"
    for name, settings in FAMILIES.items():
        if seed is not None:
            settings = draw(name, seed)
            if unknown := unknown_fields(name, settings):
                sys.exit(f"{name}: random_settings.py does not say of {', '.join(unknown)} whether it matters")
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


def compare(folder, *owners):
    owners = owners or ["family"]
    only = os.environ.get("FAMILIES", " ".join(FAMILIES)).split()
    failed = 0
    for number, name in enumerate(only):
        ways = ["eager"] if name in EAGER_ONLY else ["sdpa", "eager"]
        for attention in ways:
            local = LanguageModel(str(folder / name), dispatch=True, dtype=torch.float32, attn_implementation=attention)
            here = owners if attention == ways[number % len(ways)] else owners[:1]
            remotes = {owner: LanguageModel(f"{owner}/{name}", attn_implementation=attention) for owner in here}
            plain = AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32, attn_implementation=attention)
            plan = Plan(places(local), *operations(plain.eval(), local))
            tasks = [everything, names, every_operation, arguments, rounds, logits, generation, packed, gradient, edit, edited_operations]
            tasks += [edited_models, edited_functions, only_for_looking, unequal, embedded, long, over_the_window, uncached, states]
            tasks += [edited_midway, gradients, skipped, masks_made, called]
            if name in EXPERTS:
                tasks.append(routed)
            if name == "gemma3":
                tasks += [edited_masks, steps, refusals]
            for task in tasks:
                expected = None
                for owner, remote in remotes.items():
                    try:
                        if expected is None:
                            expected = task(local, False, plan)
                        why = difference(expected, task(remote, True, plan))
                    except Exception as error:  # noqa: BLE001
                        why = f"{type(error).__name__}: {error}"
                    failed += why is not None
                    print(f"{'ok  ' if why is None else 'FAIL'} {owner}/{name} {attention} {task.__name__}" + (f": {why}" if why else ""), flush=True)
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


def operations(model, local):
    """Lists operations that run and have values to show, in the order in which they run: those of the model, its base model and
    what is around that, of a layer and of what is in it, of the last norm, and of functions that these call."""
    paths = [path for path, _ in model.named_modules()]
    layer = next(path for path in paths if LAYER.fullmatch(path) and path.endswith(".1"))
    inside = [path for path in paths if re.fullmatch(re.escape(layer) + r"\.\w+", path)]
    blocks = [layer] + [path for path in inside if any(other.startswith(path + ".") for other in paths)]
    blocks += [path for path, module in model.named_modules() if "Norm" in type(module).__name__ and (
        path.startswith(layer + ".") or path.count(".") == layer.count(".") - 1
    ) and "vision" not in path and "projector" not in path]  # fmt: skip
    # From the model down to the list of layers.
    outer = layer.split(".")[:-2]
    blocks += [".".join(outer[:count]) for count in range(len(outer) + 1)]
    by_type = len(getattr(getattr(model, "config", None).get_text_config(), "rope_parameters", None) or {}) == 2 and any(
        isinstance(value, dict) for value in (model.config.get_text_config().rope_parameters or {}).values()
    )
    seen = []

    def noted(place):
        def operation(location, function, *args, **kwargs):
            name = location.removeprefix("source.")
            at = f"{place}.source.{name}"
            plain = inspect.isfunction(function) or inspect.ismethod(function)
            known = function is not source.bind and not name.removeprefix("self_").startswith(UNKNOWN_FUNCTIONS)
            if plain and known and getattr(function, "__module__", "").startswith(INSIDE):
                function, _ = source.instrument(function, noted(at))
            value = function(*args, **kwargs)
            if (place, name) not in seen and name not in CALLED_ELSEWHERE and shows(value) and not (by_type and name in BY_HASH) and (place.split(".")[-1], name) not in UNWRITTEN:
                seen.append((place, name))
            return value

        return operation

    for path in blocks:
        module = model.get_submodule(path)
        body, _ = source.instrument(source.module_body(module), noted(path))
        module.forward = body.__get__(module)
    both = []
    for prompts in (PROMPTS, PROMPTS[:1]):
        with local.trace(prompts):
            arguments = local.inputs[1].save()
        seen.clear()
        with torch.no_grad():
            model(**arguments)
        both.append(list(seen))
    return both


def at(model, path):
    """Returns the operations of a module's forward, or of a function that one of them calls, at any depth."""
    path, *names = path.split(".source.")
    operations = (model.get(path) if path else model).source
    for name in names:
        operations = getattr(operations, name).source
    return operations


def names(model, remote, plan):
    paths = list(dict.fromkeys(path for path, _ in plan.alone))
    with model.trace(PROMPTS[0], remote=remote):
        found = {}.save()
        for path in paths:
            found[path] = list(at(model, path).names)
        model.lm_head.output
    return dict(found)


def shows(value):
    if isinstance(value, (tuple, list)):
        return all(shows(item) for item in value)
    if isinstance(value, Mapping):
        # What is filled in later is seen as it is in the end, there.
        return len(value) > 0 and all(shows(item) or "Cache" in type(item).__name__ for item in value.values())
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
    if isinstance(value, Mapping):
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


def arguments(model, remote, plan):
    """Lists what every operation is called with."""
    found = {}
    for one in dict.fromkeys(path for path, _ in plan.alone):
        own = [name for path, name in plan.alone if path == one and name not in FILLED_LATER and (path.split(".")[-1], name) not in GIVEN_UNWRITTEN]
        with model.trace(PROMPTS[0], remote=remote):
            seen = {}.save()
            for name in own:
                seen[one + " " + name] = known(getattr(at(model, one), name).inputs)
        found |= seen
    return {key: tensors(value) for key, value in found.items()}


def known(value):
    """Keeps what can be sent back, and of the rest that it is something."""
    if isinstance(value, (tuple, list)):
        return [known(item) for item in value]
    if isinstance(value, dict):
        return {key: known(item) for key, item in value.items()}
    return value if isinstance(value, (torch.Tensor, int, float, str, bool, type(None))) else "other"


def rounds(model, remote, plan):
    """Reads in each round of the loop over layers, and leaves one of them out."""
    base = ".".join(plan.layer(1).split(".")[:-2])
    returns_weights = "gptj" in type(model._module).__name__.lower()
    call = next(name for name in model.get(base).source.names if name in ("decoder_layer_0", "block_0", "layer_0"))
    bound = next(name for name in model.get(base).source.names if name == ("hidden_states_3" if call == "block_0" else "hidden_states_1"))
    with model.trace(PROMPTS[1], remote=remote) as tracer:
        seen = [].save()
        for _ in tracer.iter[0:3]:
            seen.append(getattr(model.get(base).source, call).output)
            states = getattr(model.get(base).source, bound).output
            states[:, 1] *= 0.5
            seen.append(states.clone())
    with model.trace(PROMPTS[1], remote=remote) as tracer:
        for _ in tracer.iter[1:2]:
            operation = getattr(model.get(base).source, call)
            first = operation.input
            operation.skip((first * 2, None) if returns_weights else first * 2)
    with model.trace(PROMPTS[1], remote=remote):
        first = getattr(model.get(base).source, call).output
        last = model.lm_head.output.save()
    return [tensors(list(seen)), tensors(last)]


def edited_models(model, remote, plan):
    """Replaces what forwards around layers have come to: embeddings, masks, rotations, and what is in the end of them."""
    base = ".".join(plan.layer(1).split(".")[:-2])
    forwards = {path: [name for other, name in plan.operations if other == path] for path in ("", base)}
    found = []
    for name in ("inputs_embeds_0", "position_embeds_0", "hidden_states_0"):
        if name in forwards[base]:
            with model.trace(PROMPTS, remote=remote):
                operation = getattr(model.get(base).source, name)
                operation.output = operation.output * 0.5
                saved = model.lm_head.output.save()
            found.append(saved)
    for name in ("causal_mask_0", "create_causal_mask_0", "create_sliding_window_causal_mask_0"):
        if name in forwards[base]:
            with model.trace(PROMPTS, remote=remote):
                mask = getattr(model.get(base).source, name).output
                mask[:, :, -1, -3] = 0 if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
                saved = model.lm_head.output.save()
            found.append(saved)
    if (base, "position_ids_1") in plan.alone:
        with model.trace(PROMPTS[0], remote=remote):
            operation = model.get(base).source.position_ids_1
            operation.output = operation.output + 3
            saved = model.lm_head.output.save()
        found.append(saved)
        with model.trace(PROMPTS[0], remote=remote):
            positions = model.get(base).source.position_ids_1.output
            positions[:, 2] = 7
            saved = model.lm_head.output.save()
        found.append(saved)
    if "position_embeddings_0" in forwards[base] and "self_rotary_emb_0" in forwards[base]:
        with model.trace(PROMPTS[0], remote=remote):
            operation = model.get(base).source.position_embeddings_0
            cosines, sines = operation.output
            operation.output = (sines, cosines)
            saved = model.lm_head.output.save()
        found.append(saved)
    with model.trace(PROMPTS[0], remote=remote):
        states = model.source.hidden_states_1.output
        states[:, -1] *= 2
        before = model.source.logits_0.output.save()
        model.source.logits_0.output = model.source.logits_0.output + 1
        saved = model.output.logits.save()
    found += [before, saved]
    if "torch_tanh_0" in forwards[""]:
        with model.trace(PROMPTS[0], remote=remote):
            model.source.torch_tanh_0.skip(model.source.logits_1.output)
            saved = model.output.logits.save()
        found.append(saved)
    with model.trace(PROMPTS[0], labels=torch.tensor([[3] * len(model.tokenizer(PROMPTS[0]).input_ids)]), remote=remote):
        saved = model.source.loss_1.output.save()
    found.append(saved)
    with model.trace(PROMPTS[0], output_hidden_states=True, output_attentions=True, remote=remote):
        norm = [name for name in model.get(base).source.names if re.match(r"self_\w*norm_0|self_ln_f_0", name)][0]
        getattr(model.get(base).source, norm).output[:, 0] *= 3
        output = model.output
        states, logits = [output.hidden_states[-1], output.hidden_states[1]].save(), output.logits.save()
    found += [*states, logits]
    return [tensors(one) for one in found]


def masks_made(model, remote, plan):
    """Has masks be made of something else, and sets an entry of what is made."""
    base = ".".join(plan.layer(1).split(".")[:-2])
    names = [name for path, name in plan.operations if path == base]
    found = []
    for name in ("create_causal_mask_0", "create_sliding_window_causal_mask_0", "mask_function_1"):
        if name not in names:
            continue
        with model.trace(PROMPTS, remote=remote):
            operation = getattr(model.get(base).source, name)
            args, kwargs = operation.inputs
            shorter = kwargs["attention_mask"].clone()
            shorter[:, -3] = 0
            operation.inputs = (args, {**kwargs, "attention_mask": shorter})
            mask = operation.output.save()
            saved = model.lm_head.output.save()
        found += [mask, saved]
        with model.trace(PROMPTS, remote=remote):
            operation = getattr(model.get(base).source, name)
            args, kwargs = operation.inputs
            operation.inputs = (args, {**kwargs, "attention_mask": None})
            saved = model.lm_head.output.save()
        found.append(saved)
    if "mask_kwargs_0" in names:
        with model.trace(PROMPTS, remote=remote):
            arguments = model.get(base).source.mask_kwargs_0.output
            arguments["attention_mask"] = arguments["attention_mask"] * 0 + 1
            saved = model.lm_head.output.save()
        found.append(saved)
    if "causal_mask_mapping_0" in names and "create_sliding_window_causal_mask_0" in names:
        with model.trace(PROMPTS, remote=remote):
            masks = model.get(base).source.causal_mask_mapping_0.output
            masks["full_attention"] = masks["full_attention"].clone()
            masks["full_attention"][:, :, -1, -2] = 0 if masks["full_attention"].dtype == torch.bool else -1e4
            saved = model.lm_head.output.save()
        found.append(saved)
    return [tensors(one) for one in found]


def edited_functions(model, remote, plan):
    """Replaces what functions have come to that attention calls."""
    found = []
    for path in dict.fromkeys(path for path, _ in plan.alone if ".source." in path):
        name = next(name for other, name in plan.alone if other == path)
        if not isinstance_of_tensor(plan, path, name):
            continue
        with model.trace(PROMPTS[0], remote=remote):
            operation = getattr(at(model, path), name)
            operation.output = operation.output * 0.25
            saved = model.lm_head.output.save()
        found.append(saved)
    return [tensors(one) for one in found]


def isinstance_of_tensor(plan, path, name):
    """Returns whether an operation gives a tensor of numbers: by its name, for nothing else tells before it runs."""
    return re.match(r"(cos|sin|x1|x2|first_|torch_(?!chunk)|hidden_states_|query_(?!size)|key_(?!size)|repeat_kv|x_pow)", name) is not None


def called(model, remote, plan):
    """Calls a layer in a trace, with what the one behind it is called with."""
    layer, behind = model.get(plan.layer(0)), model.get(plan.layer(1))
    with model.trace(PROMPTS[0], remote=remote):
        args, kwargs = behind.inputs
        arguments = {name: kwargs[name] for name in ("attention_mask", "position_ids", "position_embeddings") if name in kwargs}
        returned = layer(args[0], **arguments)
        returned = (list(returned) if isinstance(returned, tuple) else [returned]).save()
    return tensors(returned)


def routed(model, remote, plan):
    """What a model returns of its routers, and what it is told of how evenly they spread tokens."""
    routers = [path for path, side in plan.places if side == "output" and re.search(r"\.mlp\.(gate|router)$", path)]
    if not routers:
        return []
    found = []
    labels = torch.tensor([[3] * len(model.tokenizer(PROMPTS[0]).input_ids)])
    for prompts, more in (PROMPTS, {}), (PROMPTS[0], dict(labels=labels)), (PROMPTS[0], dict(output_hidden_states=True)):
        with model.trace(prompts, output_router_logits=True, **more, remote=remote):
            inputs = known(model.model.layers[1].inputs[1]).save()
            output = model.output
            seen = [output.router_logits, output.aux_loss, output.loss, output.logits].save()
        found += [inputs, *seen]
    with model.trace(PROMPTS, output_router_logits=True, remote=remote):
        asked = model.source.output_router_logits_0.output
        model.get(routers[-1]).output[0][:, 0] += 2
        operation = model.source.load_balancing_loss_func_0
        arguments = known(operation.inputs[0]).save()
        operation.output = operation.output * 2
        seen = [asked, model.output.aux_loss, model.output.logits].save()
    return [tensors(one) for one in (*found, arguments, *seen)]


def only_for_looking(model, remote, plan):
    """Replaces what nothing is computed with: the server says so, by name; here it is a matter of course that it has no use."""
    base = ".".join(plan.layer(1).split(".")[:-2])
    wanted = [("past_seen_tokens_0", base), ("past_key_values_length_0", base), ("loss_0", "")]
    wanted = [(name, path) for name, path in wanted if (path, name) in plan.alone]
    # What attends looks at it, and at nothing else.
    wanted += [(name, path) for path, name in plan.alone if name in ("is_causal_0", "using_eager_0")]
    if not remote:
        return [name for name, _ in wanted]
    said = []
    for name, path in wanted:
        for skip in (False, True):
            try:
                with model.trace(PROMPTS[0], remote=True):
                    operation = getattr(at(model, path), name)
                    if skip:
                        operation.skip(5)
                    else:
                        operation.output = 5
                    model.output.logits.save()
            except Exception as error:  # noqa: BLE001
                ok = name in str(error) and "only for looking" in str(error)
            else:
                ok = False
            if not ok:
                said.append(f"{name}, skipped: {skip}, is taken")
        said.append(name)
    return said


def edited_operations(model, remote, plan):
    """Replaces what one operation of each forward gives, edits another in place, and skips one."""
    attention = next(path for path, name in plan.operations if name.startswith("attention_interface") or name == "self__attn_0")
    function = next((path for path, name in plan.operations if path.startswith(attention + ".source.") and name == "attn_output_0"), None)
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
        mask = masks[sorted(masks)[-1]]
        hidden = 0 if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
        mask[:, :, -1, -3] = hidden
        in_place = model.lm_head.output.save()
    with model.trace(PROMPTS[1], remote=remote):
        args, kwargs = text.inputs
        masks = kwargs["attention_mask"]
        kwargs = {**kwargs, "attention_mask": {**masks, sorted(masks)[0]: masks[sorted(masks)[-1]]}}
        text.inputs = (args, kwargs)
        replaced = model.lm_head.output.save()
    with model.trace(PROMPTS[1], remote=remote):
        args, kwargs = text.inputs
        text.inputs = (args, {**kwargs, "inputs_embeds": kwargs["inputs_embeds"] * 0.5})
        halved = model.lm_head.output.save()
    with model.trace(PROMPTS[1], remote=remote):
        masks = text.inputs[1]["attention_mask"]
        masks[sorted(masks)[0]] = masks[sorted(masks)[-1]]
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
    return tensors(ids)


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


def unequal(model, remote, _):
    """Batches that are padded on either side, with positions that are given, counted, or told by the mask."""
    rows = [model.tokenizer(prompt).input_ids for prompt in (*PROMPTS, "glass")]
    width = max(map(len, rows)) + 1
    found = []
    for left in (True, False):
        gaps = [[5] * (width - len(row)) for row in rows]
        ids = torch.tensor([gap + row if left else row + gap for gap, row in zip(gaps, rows)])
        mask = torch.tensor([[0] * len(gap) + [1] * len(row) if left else [1] * len(row) + [0] * len(gap) for gap, row in zip(gaps, rows)])
        for given in ({}, dict(position_ids=(mask.cumsum(-1) - 1).clamp(min=0)), dict(position_ids=torch.arange(width)[None] + 2)):
            with model.trace(ids, attention_mask=mask, **given, remote=remote):
                saved = model.lm_head.output.save()
            found.append(saved)
        with model.generate(ids, attention_mask=mask, max_new_tokens=4, do_sample=False, remote=remote) as tracer:
            generated = tracer.result.save()
        found.append(generated)
    return [tensors(one) for one in found]


def embedded(model, remote, plan):
    torch.manual_seed(5)
    width = model._module.get_input_embeddings().weight.shape[1]
    embeds, path = torch.randn(2, 9, width), plan.layer(0)
    with model.trace({"inputs_embeds": embeds}, remote=remote):
        first = model.get(path).input.save()
        saved = model.lm_head.output.save()
    return [tensors(first), tensors(saved)]


def long(model, remote, plan):
    """Prompts beyond windows, and beyond the positions that a rope was made for."""
    torch.manual_seed(6)
    ids, path = torch.randint(10, VOCABULARY, (2, 90)), plan.layer(2)
    with model.trace(ids, remote=remote):
        layer = model.get(path).output
        layer = (layer[0] if isinstance(layer, tuple) else layer).save()
        saved = model.lm_head.output.save()
    # As many tokens as a model with learned positions has, and many more than a window.
    most = getattr(model._module.config.get_text_config(), "n_positions", 2000)
    ids = torch.randint(10, VOCABULARY, (1, most))
    with model.trace(ids, remote=remote):
        end = model.lm_head.output[:, -20:].save()
    return [tensors(layer), tensors(saved), tensors(end)]


def over_the_window(model, remote, _):
    with model.generate(PROMPTS, max_new_tokens=24, do_sample=False, remote=remote) as tracer:
        seen = [].save()
        for _ in tracer.iter[0:10]:
            seen.append(model.lm_head.output[:, -1])
        ids = tracer.result.save()
    return [tensors(list(seen)), tensors(ids)]


def uncached(model, remote, _):
    with model.generate(PROMPTS, max_new_tokens=6, do_sample=False, use_cache=False, remote=remote) as tracer:
        ids = tracer.result.save()
    with model.trace(PROMPTS[0], use_cache=False, remote=remote):
        saved = model.lm_head.output.save()
        kept = [model.output.past_key_values is None].save()
    return [tensors(ids), list(kept), tensors(saved)]


def states(model, remote, _):
    """What a model returns of its layers; weights where attention makes them."""
    eager = model._module.config._attn_implementation == "eager"
    with model.trace(PROMPTS, output_hidden_states=True, output_attentions=eager, remote=remote):
        returned = [model.output.hidden_states, model.output.attentions if eager else None].save()
    return tensors(list(returned))


def edited_midway(model, remote, plan):
    """Edits one step of a generation, of one row."""
    path = plan.layer(1)
    with model.generate(PROMPTS, max_new_tokens=6, do_sample=False, remote=remote) as tracer:
        seen = [].save()
        for step in tracer.iter[0:6]:
            hidden = model.get(path).output
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
            if step == 2:
                hidden[0] = hidden[0] * -2
            seen.append(model.lm_head.output[:, -1])
        ids = tracer.result.save()
    return [tensors(list(seen)), tensors(ids)]


def gradients(model, remote, plan):
    """Gradients at embeddings, and at what the modules of a layer are given and give."""
    layer = plan.layer(1)
    inside = [path for path, side in plan.places if side == "output" and re.fullmatch(re.escape(layer) + r"\.\w+", path)]
    found = {}
    for path, side in [(plan.layer(0), "input"), (layer, "input"), *[(path, "output") for path in inside]]:
        with model.trace(PROMPTS, remote=remote):
            value = model.get(path).input if side == "input" else model.get(path).output
            value = value[0] if isinstance(value, tuple) else value
            value.requires_grad_()
            loss = model.lm_head.output[:, -1].logsumexp(-1).sum()
            with loss.backward():
                grad = value.grad.save()
        found[f"{path} {side}"] = tensors(grad)
    return found


def skipped(model, remote, plan):
    """Leaves out a layer."""
    returns_weights, path = "gptj" in type(model._module).__name__.lower(), plan.layer(1)
    with model.trace(PROMPTS, remote=remote):
        layer = model.get(path)
        layer.skip((layer.input * 0.5, None) if returns_weights else layer.input * 0.5)
        saved = model.lm_head.output.save()
    return tensors(saved)


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
    {"make": make, "compare": compare}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
