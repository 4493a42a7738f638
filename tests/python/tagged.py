"""A job whose prompt, values, lines and exception hold a word that nobody else has."""
import os

import anyio._backends._asyncio  # noqa: F401  (before nnsight, which adds an attribute to every object)
from nnsight import LanguageModel
from nnsight.intervention.backends.remote import RemoteError
from nnsight.schema.config import CONFIG

CONFIG.APP.REMOTE_LOGGING = True
WORD = os.environ["WORD"]
model = LanguageModel("ndif-test/tiny-gpt2")

with model.trace(f"The word is {WORD}", remote=True):
    print(WORD, "is printed")
    kept = (WORD + "!").save()
    logits = model.lm_head.output[0, -1].save()
assert kept == WORD + "!", kept
try:
    with model.trace(WORD, remote=True):
        raise ValueError(WORD)
except RemoteError as error:
    assert WORD in str(error), error
else:
    raise AssertionError("the second trace must fail")
