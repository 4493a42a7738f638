"""Submits jobs without waiting, and asks for them when told; led by the test through lines.

`submit DIRECTIVE` prints `job ID`; `poll ID` waits for its end and prints `result {…}` or `error …`.
"""
import json
import linecache
import os
import sys

import anyio._backends._asyncio  # noqa: F401
from nnsight import LanguageModel
from nnsight.intervention.backends.remote import RemoteBackend, RemoteError
from nnsight.schema.config import CONFIG

CONFIG.APP.REMOTE_LOGGING = False
model = LanguageModel("ndif-test/tiny-gpt2")
print("here", flush=True)
for number, line in enumerate(sys.stdin):
    verb, _, rest = line.strip().partition(" ")
    backend = RemoteBackend(model.to_model_key(), blocking=False)
    if verb == "host":
        CONFIG.API.HOST = os.environ["HF_ENDPOINT"] = rest
        print("host", flush=True)
    elif verb == "submit":
        # The directive is a string of the block's own source, so the block is made around it.
        block = f'with model.trace("one two", backend=backend):\n    x = model.lm_head.output.save()\n    print("{rest}")\n'
        path = f"block{number}.py"  # the client remembers sources by path and line
        linecache.cache[path] = (len(block), None, block.splitlines(True), path)
        exec(compile(block, path, "exec"), {"model": model, "backend": backend})
        print("job", backend.job_id, flush=True)
    elif verb == "poll":
        backend.job_id = rest
        try:
            while (result := backend()) is None:
                pass
            print("result", json.dumps({name: value for name, value in result.items() if isinstance(value, int)}), flush=True)
        except RemoteError as error:
            print("error", str(error).splitlines()[-1], flush=True)
