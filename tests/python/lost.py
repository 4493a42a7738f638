"""Loses the server's GPU, and goes on as if nothing had happened."""
import anyio._backends._asyncio  # noqa: F401
import torch
from nnsight import LanguageModel
from nnsight.intervention.backends.remote import RemoteError
from nnsight.schema.config import CONFIG

CONFIG.APP.REMOTE_LOGGING = False
model = LanguageModel("ndif-test/tiny-gpt2")


def sound():
    with model.trace("one two", remote=True):
        device = model.transformer.h[0].output.device.save()
        logits = model.lm_head.output.save()
    assert str(device) == "cuda:0" and logits.device.type == "cpu", (device, logits.device)
    return logits


before = sound()
try:
    with model.trace("one two", remote=True):
        value = torch.special.airy_ai(model.transformer.h[0].output).save()
except RemoteError as error:
    assert "worker" in str(error), error
else:
    raise AssertionError("the GPU was to be lost")
assert torch.equal(before, sound())
