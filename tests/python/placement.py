"""Runs a trace on each model that a line names, and waits for it: prints `value …`, its logits' sum, and `done MODEL`, or
`error …`."""
import sys

import anyio._backends._asyncio  # noqa: F401  (before nnsight, which adds an attribute to every object)
from nnsight import LanguageModel
from nnsight.intervention.backends.remote import RemoteError
from nnsight.schema.config import CONFIG

CONFIG.APP.REMOTE_LOGGING = False
models = {}

print("here", flush=True)
for line in sys.stdin:
    name = line.strip()
    try:
        model = models.setdefault(name, None) or LanguageModel(name)
        models[name] = model
        with model.trace("one two", remote=True):
            total = model.lm_head.output.abs().sum().item().save()
        assert total > 0, total
        print("value", total, flush=True)
        print("done", name, flush=True)
    except RemoteError as error:
        print("error", str(error).splitlines()[-1], flush=True)
