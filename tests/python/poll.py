"""Submits jobs without waiting, and asks for them when told; led by the test through lines.

`submit DIRECTIVE` prints `job ID`; `poll ID` waits for its end and prints `result {…}` or `error …`.
`block DIRECTIVE` submits and waits on a websocket, and prints `answer …` or `error …`.
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
blocks = 0


def run(directive, backend):
    """Runs a block whose source holds the directive as a string; returns its variables."""
    global blocks
    blocks += 1
    block = f'with model.trace("one two", backend=backend):\n    answer = model.lm_head.output.save()\n    print("{directive}")\n'
    path = f"block{blocks}.py"  # the client remembers sources by path and line
    linecache.cache[path] = (len(block), None, block.splitlines(True), path)
    variables = {"model": model, "backend": backend}
    exec(compile(block, path, "exec"), variables)
    return variables


print("here", flush=True)
for line in sys.stdin:
    verb, _, rest = line.strip().partition(" ")
    backend = RemoteBackend(model.to_model_key(), blocking=False)
    if verb == "host":
        CONFIG.API.HOST = os.environ["HF_ENDPOINT"] = rest
        print("host", flush=True)
    elif verb == "submit":
        run(rest, backend)
        print("job", backend.job_id, flush=True)
    elif verb == "block":
        try:
            print("answer", run(rest, RemoteBackend(model.to_model_key()))["answer"], flush=True)
        except RemoteError as error:
            print("error", str(error), flush=True)
    elif verb == "poll":
        backend.job_id = rest
        try:
            while (result := backend()) is None:
                pass
            print("result", json.dumps({name: value for name, value in result.items() if isinstance(value, int)}), flush=True)
        except RemoteError as error:
            print("error", str(error).splitlines()[-1], flush=True)
