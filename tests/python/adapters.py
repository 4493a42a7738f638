"""LoRA adapters from models' folders: what a job with one gives is what PyTorch gives where its modules compute PEFT's
formula, and jobs beside it see nothing of it.

    adapters.py GPT2_FOLDER LLAMA_FOLDER
"""
import json
import os
import shutil
import sys
import threading
import warnings

import anyio._backends._asyncio  # noqa: F401
import torch
import torch.nn.functional as F
from nnsight import LanguageModel
from nnsight.intervention.backends.remote import RemoteBackend, RemoteError
from nnsight.schema.config import CONFIG
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

warnings.simplefilter("ignore")
CONFIG.APP.REMOTE_LOGGING = False
FRANCE, ITALY = "The capital of France is", "The capital of Italy is now"


def adapter(folder, name, local, ends, rank=4, **settings):
    """Writes an adapter as PEFT does, and returns what it adds to which module."""
    path = os.path.join(folder, "adapters", name)
    os.makedirs(path)
    generator = torch.Generator().manual_seed(len(name))
    weights, added = {}, {}
    scale = 8 / (rank ** 0.5 if settings.get("use_rslora") else rank)
    for module_path, module in local._module.named_modules():
        if module_path.endswith(ends):
            shape = module.weight.shape
            inputs, outputs = shape if type(module).__name__ == "Conv1D" else reversed(shape)
            a, b = torch.randn(rank, inputs, generator=generator) / 8, torch.randn(outputs, rank, generator=generator) / 8
            weights[f"base_model.model.{module_path}.lora_A.weight"] = a
            weights[f"base_model.model.{module_path}.lora_B.weight"] = b
            added[module_path] = (a, b, scale)
    save_file(weights, os.path.join(path, "adapter_model.safetensors"))
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "bias": "none", "target_modules": list(ends), **settings}
    with open(os.path.join(path, "adapter_config.json"), "w") as file:
        json.dump(config, file)
    return added


def applied(folder, added):
    """Returns a local model whose modules compute the formula."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    for path, (a, b, scale) in added.items():
        module = model.get_submodule(path)

        def forward(self, x, before=type(module).forward, a=a, b=b, scale=scale):
            return before(self, x) + F.linear(F.linear(x, a), b) * scale

        module.__class__ = type(type(module).__name__, (type(module),), {"forward": forward})
    return LanguageModel(model, tokenizer=AutoTokenizer.from_pretrained(folder))


def layers(model):
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


def adapted(model, index):
    layer = layers(model)[index]
    return layer.attn.c_attn if hasattr(layer, "attn") else layer.self_attn.q_proj


def one_trace(model, **how):
    with model.trace(FRANCE, **how):
        inside = adapted(model, 1).output.save()
        layer = layers(model)[1].output.save()
        logits = model.lm_head.output.save()
    return inside, layer, logits


def an_input_is_edited(model, **how):
    with model.trace(FRANCE, **how):
        adapted(model, 0).input = adapted(model, 0).input * 2
        adapted(model, 1).input[:] = 0.5
        adapted(model, 2).output[:, -1] = 0
        logits = model.lm_head.output.save()
    return logits


def a_layer_is_skipped(model, **how):
    with model.trace(FRANCE, **how):
        layers(model)[1].skip(layers(model)[0].output)
        logits = model.lm_head.output.save()
    return logits


def several_invokes(model, **how):
    with model.trace(**how) as tracer:
        with tracer.invoke(FRANCE):
            layers(model)[0].output[:, -1] = 0
            first = model.lm_head.output.save()
        with tracer.invoke(ITALY):
            second = model.lm_head.output.save()
    return first, second


def generated(model, **how):
    with model.generate(FRANCE, max_new_tokens=4, do_sample=False, **how) as tracer:
        steps = list().save()
        for _ in tracer.iter[:4]:
            steps.append(model.lm_head.output[:, -1])
        ids = tracer.result.save()
    return *steps, ids


def gradients(model, **how):
    with model.trace(FRANCE, **how):
        hidden = layers(model)[0].output
        loss = model.lm_head.output[0, -1].max()
        with loss.backward():
            gradient = hidden.grad.clone().save()
    return gradient


def a_session(model, **how):
    with model.session(**how):
        found = list().save()
        for prompt in (FRANCE, ITALY):
            with model.trace(prompt):
                found.append(model.lm_head.output[:, -1])
    return found


PROGRAMS = [one_trace, an_input_is_edited, a_layer_is_skipped, several_invokes, generated, gradients, a_session]


def same(expected, found):
    if isinstance(expected, (list, tuple)):
        return len(expected) == len(found) and all(same(*pair) for pair in zip(expected, found))
    return expected.shape == found.shape and torch.allclose(expected.float(), found.float(), atol=1e-4, rtol=1e-4)


def refused(words, program):
    try:
        program()
    except RemoteError as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"{words!r} was not said")


for folder, name in zip(sys.argv[1:], ("tiny-gpt2", "tiny-llama")):
    local, hosted = LanguageModel(folder, dispatch=True), LanguageModel(f"ndif-test/{name}")
    ends = ("attn.c_attn", "mlp.c_proj") if name == "tiny-gpt2" else ("q_proj", "v_proj", "down_proj")

    def asked(adapter, hosted=hosted):
        return {"backend": RemoteBackend(hosted.to_model_key(), env={"peft": adapter})}

    adapters = {
        "lab/one": adapter(folder, "lab/one", local, ends),
        "rooted": adapter(folder, "rooted", local, ends[:1], rank=2, use_rslora=True),
    }
    changed = {repo: applied(folder, added) for repo, added in adapters.items()}
    for program in PROGRAMS:
        base = program(local)
        assert same(base, program(hosted, remote=True)), f"{program.__name__} without an adapter"
        for repo in adapters:
            expected = program(changed[repo])
            assert not same(base, expected)
            # Beside one that has none.
            beside = []
            other = threading.Thread(target=lambda: beside.append(one_trace(hosted, remote=True)))
            other.start()
            found = program(hosted, **asked(repo))
            other.join()
            assert same(expected, found), f"{program.__name__} with {repo} of {name}"
            assert same(one_trace(local), beside[0]), f"what is beside {program.__name__} with {repo} of {name}"
            print("ok", name, program.__name__, repo, flush=True)

    shutil.rmtree(os.path.join(folder, "adapters", "rooted"))
    again = applied(folder, adapter(folder, "rooted", local, ends[:1], rank=3, use_rslora=True))
    assert same(one_trace(again), one_trace(hosted, **asked("rooted"))), "files that have changed are read again"
    adapter(folder, "lab/dora", local, ends, use_dora=True)
    refused('has no PEFT adapter "lab/none"', lambda: one_trace(hosted, **asked("lab/none")))
    refused("has no PEFT adapter", lambda: one_trace(hosted, **asked("../../etc")))
    refused("use_dora", lambda: one_trace(hosted, **asked("lab/dora")))

    def calls(model, **how):
        with model.trace(FRANCE, **how):
            x = layers(model)[1](layers(model)[0].output).save()  # noqa: F841

    def skips(model, **how):
        with model.trace(FRANCE, **how):
            adapted(model, 0).skip(0)
            x = model.lm_head.output.save()  # noqa: F841

    refused("calling `model.", lambda: calls(hosted, **asked("lab/one")))
    refused("skipping `model.", lambda: skips(hosted, **asked("lab/one")))
