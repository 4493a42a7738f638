"""Submits jobs that together need more memory than their worker has, and one that needs more by itself.

JOBS of MIB MiB each, and one of NEVER MiB.
"""
import os

import anyio._backends._asyncio  # noqa: F401
import torch
from nnsight import LanguageModel
from nnsight.intervention.backends.remote import RemoteBackend, RemoteError
from nnsight.schema.config import CONFIG

CONFIG.APP.REMOTE_LOGGING = False
model = LanguageModel("ndif-test/tiny-gpt2")


def submit(mib):
    backend = RemoteBackend(model.to_model_key(), blocking=False)
    with model.trace("one two", backend=backend):
        # It is held while the pass goes on.
        held = torch.ones(mib * 2**18)
        shape = model.lm_head.output.shape
        answer = (held[-1] + 0 * shape[1]).save()
    return backend


def result(backend):
    while (result := backend()) is None:
        pass
    return result


never = submit(int(os.environ["NEVER"]))
jobs = [submit(int(os.environ["MIB"])) for _ in range(int(os.environ["JOBS"]))]
for job in jobs:
    assert result(job)["answer"] == 1
try:
    result(never)
except RemoteError as error:
    assert "MemoryError: the program needs more memory for tensors than this server allows" in str(error), error
else:
    raise AssertionError("there was not to be memory for it")
