"""Jobs with every outcome that a client can bring about, large ones among them."""
import anyio._backends._asyncio  # noqa: F401  (before nnsight, which adds an attribute to every object)
import torch
from nnsight import LanguageModel
from nnsight.schema.config import CONFIG

CONFIG.APP.REMOTE_LOGGING = False
model = LanguageModel("ndif-test/tiny-gpt2")


def refused(run):
    """Runs what must fail, in whichever words."""
    try:
        run()
    except Exception:
        return
    raise AssertionError("it was not refused")


with model.trace("one two three", remote=True):
    logits = model.lm_head.output.save()
assert logits.shape[1] > 0

# A layer is left out, and rows that come again are computed once.
for _ in range(3):
    with model.trace("the same words again and again", remote=True):
        hidden = model.transformer.h[0].output.save()

# So large that the request and the result are objects, and the result comes by a link.
large = torch.rand(1 << 19)
with model.trace("one", remote=True):
    doubled = (large * 2).save()
assert torch.equal(doubled, large * 2)


def user_error():
    with model.trace("one", remote=True):
        raise ValueError("by the user")


def too_much():
    with model.trace("one", remote=True):
        while True:
            pass


refused(user_error)
refused(too_much)
kept = CONFIG.API.APIKEY
CONFIG.API.APIKEY = "wrong"
refused(user_error)
CONFIG.API.APIKEY = kept
