"""Scripts that `vitrine check` looks at, by name. None of them comes to its end.

    checked.py NAME
"""
import os
import sys

# As a script that is to run in earnest says it.
os.environ["NDIF_HOST"] = "http://nobody.invalid"

import nnsight
from nnsight import LanguageModel

model = LanguageModel("ndif-test/tiny-gpt2")
print("the script prints this")


def patch():
    with model.trace("Hello there, world", remote=True):
        hidden = model.transformer.h[0].output
        unused = hidden.mean()
        model.transformer.h[1].output[:, -1] = hidden[:, -1]
        logits = model.lm_head.output[:, -1].save()
    return logits


def session():
    with model.session(remote=True):
        found = nnsight.save([])
        for layer in range(3):
            with model.trace("Hello there, world"):
                found.append(model.transformer.h[layer].output[:, -1])
    return found


def refused():
    with model.trace("Hello there, world", remote=True):
        async def later():
            pass
        hidden = model.transformer.h[0].output.save()
    return hidden


def several():
    for layer in range(3):
        with model.trace("Hello there, world", remote=True, blocking=False):
            hidden = model.transformer.h[layer].output.save()


globals()[sys.argv[1]]()
print("the script has come to its end")
