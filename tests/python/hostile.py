"""Blocks that want too much fail alone, with a sentence, and the next request is served."""
import anyio._backends._asyncio  # noqa: F401
from nnsight import LanguageModel
from nnsight.intervention.backends.remote import RemoteError
from nnsight.schema.config import CONFIG

CONFIG.APP.REMOTE_LOGGING = False
model = LanguageModel("ndif-test/tiny-gpt2")


def an_endless_loop():
    with model.trace("one two", remote=True):
        while True:
            pass


def a_huge_list():
    with model.trace("one two", remote=True):
        values = [0] * 10**12


def a_huge_number():
    with model.trace("one two", remote=True):
        value = 10 ** 10**9


def a_huge_tensor():
    import torch

    with model.trace("one two", remote=True):
        value = torch.zeros(1_000_000, 1_000_000)


def endless_recursion():
    def descend(depth):
        return descend(depth + 1)

    with model.trace("one two", remote=True):
        value = descend(0)


def endless_printing():
    with model.trace("one two", remote=True):
        while True:
            print("x" * 1000)


def a_file():
    with model.trace("one two", remote=True):
        text = open("/etc/passwd").read().save()


for block in [an_endless_loop, a_huge_list, a_huge_number, a_huge_tensor, endless_recursion, endless_printing, a_file]:
    try:
        block()
    except RemoteError as error:
        print(block.__name__, "->", str(error).strip().splitlines()[-1], flush=True)
    else:
        raise AssertionError(f"{block.__name__} must fail")
    logits = None
    with model.trace("one two", remote=True):
        logits = model.lm_head.output.save()
    assert logits.shape[-1] == 512
