"""The ways in which a request says whom it shares forward passes with: by itself, by the server's address, by its key."""
import os

import anyio._backends._asyncio  # noqa: F401  (before nnsight, which adds an attribute to every object)
import torch
from nnsight import LanguageModel
from nnsight.intervention.backends.remote import RemoteBackend
from nnsight.schema.config import CONFIG

CONFIG.APP.REMOTE_LOGGING = False
HOST = CONFIG.API.HOST
model = LanguageModel("ndif-test/tiny-gpt2")


def run(host=HOST, env=None):
    backend = RemoteBackend(model.to_model_key(), host=host, env=env)
    with model.trace("one two three", backend=backend):
        logits = model.lm_head.output.save()
    return logits, backend.meta


def check(expected, **way):
    logits, meta = run(**way)
    assert meta["batching"] == expected, (way, meta)
    return logits, meta


default = os.environ["BATCHING"]
check(default)
for name in ["shared", "reproducible", "exclusive"]:
    by_env, env_meta = check(name, env={"batching": name})
    by_address, address_meta = check(name, host=f"{HOST}/{name}")
    assert torch.equal(by_env, by_address), name
    if name != "shared":
        # What is kept of earlier passes has shapes of its own.
        assert env_meta["shape_class"] == address_meta["shape_class"], (env_meta, address_meta)
        assert env_meta["forks"] == address_meta["forks"] == 0, (env_meta, address_meta)
    # What a request says itself counts most.
    check("exclusive", env={"batching": "exclusive"}, host=f"{HOST}/{name}")

# Everything else is there under such an address too.
CONFIG.API.HOST = f"{HOST}/reproducible"
with model.trace("one two three", remote=True) as tracer:
    top = model.lm_head.output[0, -1].argmax().save()
assert tracer.backend.meta["batching"] == "reproducible", tracer.backend.meta
assert int(top) == int(by_env[0, -1].argmax()), top

try:
    run(env={"batching": "alone"})
except Exception as error:
    assert "shared, reproducible or exclusive" in str(error), error
else:
    raise AssertionError("an unknown mode must be refused")
