"""A generation that takes more memory with each round and never ends, beside one of somebody else's.

Prints `job ID` when the first runs, and when it reads a line begins with the other; prints `submitted`, and `same` when that
gave what it gives alone.
"""
import sys

import anyio._backends._asyncio  # noqa: F401  (before nnsight, which adds an attribute to every object)
import torch
from nnsight import LanguageModel
from nnsight.intervention.backends.remote import RemoteBackend
from nnsight.schema.config import CONFIG
from nnsight.schema.response import Status

CONFIG.APP.REMOTE_LOGGING = False
model = LanguageModel("ndif-test/tiny-gpt2")


def submit():
    backend = RemoteBackend(model.to_model_key(), blocking=False)
    with model.generate("one two", max_new_tokens=200, min_new_tokens=200, do_sample=False, backend=backend) as tracer:
        tops = list().save()
        for step in tracer.iter[:200]:
            tops.append(model.lm_head.output[0, -1].max())
    return backend


def result(backend):
    while (result := backend()) is None:
        pass
    return result["tops"]


alone = result(submit())
with model.session(remote=True, blocking=False) as session:
    held = []
    while True:
        with model.generate("three four", max_new_tokens=60, min_new_tokens=60, do_sample=False) as tracer:
            for step in tracer.iter[:60]:
                last = model.lm_head.output[0, -1].max()
                held.append(torch.ones(2**16))
long = session.backend
while long.status != Status.RUNNING:
    long.poll()
print("job", long.job_id, flush=True)
sys.stdin.readline()
beside = submit()
print("submitted", flush=True)
together = result(beside)
assert len(alone) == len(together) == 200, (len(alone), len(together))
assert torch.allclose(torch.stack(alone), torch.stack(together), rtol=1e-4), "a neighbour's value changed"
print("same", flush=True)
