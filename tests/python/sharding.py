"""Compares models that are whole with the same in pieces, or does as the test says, line by line.

    sharding.py compare NAME...  compares the server's whole/NAME with its pieces/NAME: floats agree to 2e-4
    sharding.py lead             `generate` prints `job ID`; `trace` traces the small model and prints `traced …`;
                                 `poll ID` waits for a generation's end and prints `tokens […]`
"""
import json
import sys

import anyio._backends._asyncio  # noqa: F401
import torch
from nnsight import LanguageModel
from nnsight.intervention.backends.remote import RemoteBackend
from nnsight.schema.config import CONFIG

CONFIG.APP.REMOTE_LOGGING = False
PROMPT = "The capital of France is"
TOKENS = 64


def parts(model):
    """Returns the layers and the table of words."""
    if "gpt2" in model.repo_id:
        return model.transformer.h, model.transformer.wte
    return model.model.layers, model.model.embed_tokens


def looked_at(model):
    layers, embed = parts(model)
    with model.trace([PROMPT, "one two three"], remote=True):
        hidden = [].save()
        for layer in layers:
            hidden.append(layer.mlp.output[0] if isinstance(layer.mlp.output, tuple) else layer.mlp.output)
            hidden.append(layer.output[0] if isinstance(layer.output, tuple) else layer.output)
        logits = model.lm_head.output.save()
        rows = model.lm_head.weight[5:9].clone().save()
        words = embed.weight[[0, 7, 301]].clone().save()
    return [*hidden, logits, rows, words]


def changed(model):
    layers, _ = parts(model)
    with model.trace(PROMPT, remote=True):
        first = layers[0].output
        (first[0] if isinstance(first, tuple) else first)[:, 1:] *= 1.5
        one = model.lm_head.output[0, -1, 11].save()
        logits = model.lm_head.output.save()
    return [one, logits]


def gradient(model):
    _, embed = parts(model)
    with model.trace(PROMPT, remote=True):
        words = embed.output
        loss = model.lm_head.output[:, -1].logsumexp(-1).sum()
        with loss.backward():
            found = words.grad.clone().save()
    return [found]


def generated(model):
    with model.generate(PROMPT, max_new_tokens=12, remote=True) as tracer:
        tokens = tracer.result.save()
    return [tokens]


def compare(names):
    for name in names:
        whole, pieces = LanguageModel(f"whole/{name}"), LanguageModel(f"pieces/{name}")
        for task in (looked_at, changed, gradient, generated):
            for expected, found in zip(task(whole), task(pieces), strict=True):
                assert (expected.shape, expected.dtype) == (found.shape, found.dtype), (name, task.__name__)
                if expected.is_floating_point():
                    torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-4, msg=f"{name} {task.__name__}")
                else:
                    assert torch.equal(expected, found), (name, task.__name__)
        print("same", name)


def lead():
    model, small = LanguageModel("pieces/smollm2"), LanguageModel("whole/tiny-gpt2")
    print("here", flush=True)
    for line in sys.stdin:
        verb, _, rest = line.strip().partition(" ")
        backend = RemoteBackend(model.to_model_key(), blocking=False)
        if verb == "generate":
            with model.generate(PROMPT, max_new_tokens=TOKENS, do_sample=False, backend=backend) as tracer:
                tokens = tracer.result.save()
            print("job", backend.job_id, flush=True)
        elif verb == "trace":
            with small.trace(PROMPT, remote=True):
                logits = small.lm_head.output[0, -1].save()
            print("traced", logits.argmax().item(), flush=True)
        elif verb == "poll":
            backend.job_id = rest
            while (result := backend()) is None:
                pass
            print("tokens", json.dumps(result["tokens"].tolist()), flush=True)


if sys.argv[1] == "compare":
    compare(sys.argv[2:])
else:
    lead()
