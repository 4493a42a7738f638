"""Sends and fetches values of a given size, led by lines; answers each with `-> `.

`send BYTES` sends a tensor of so many bytes, `save BYTES` has one made and saved. Both print its size, or the error.
"""
import sys

import anyio._backends._asyncio  # noqa: F401
import torch
from nnsight import LanguageModel
from nnsight.intervention.backends.remote import RemoteError
from nnsight.schema.config import CONFIG

CONFIG.APP.REMOTE_LOGGING = False
model = LanguageModel("ndif-test/tiny-gpt2")
for line in sys.stdin:
    verb, size = line.split()
    size = int(size)
    # Noise does not compress.
    sent = torch.randint(256, (size if verb == "send" else 1,), dtype=torch.uint8)
    try:
        if verb == "send":
            with model.trace("one two", remote=True):
                count = sent.numel().save()
        else:
            with model.trace("one two", remote=True):
                made = torch.randint(256, (size,), dtype=torch.uint8).save()
            count = made.numel()
        print("->", count, flush=True)
    except RemoteError as error:
        print("->", " ".join(str(error).split()), flush=True)
