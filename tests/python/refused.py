"""What this server does not have is refused when a program is sent, with its line, however a program comes to it.

    refused.py

Each program is sent without waiting for its result: what is refused at submission is the answer to that.
"""
import functools
import os
import sys
import time

import anyio._backends._asyncio  # noqa: F401
import nnsight
import numpy as np
import torch
import torch.nn.functional as F
from nnsight import LanguageModel
from nnsight.intervention.backends.remote import RemoteError
from nnsight.schema.config import CONFIG
from torch import as_strided, save
from torch.nn import functional

CONFIG.APP.REMOTE_LOGGING = False
model = LanguageModel("ndif-test/tiny-gpt2")
FILE = os.path.basename(__file__)


def writes(value):
    return torch.save(value, "f")


def calls(value):
    return writes(value)


class Probe(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.kept = torch.nn.Linear(64, 2), []

    def forward(self, value):
        return self.keep(self.linear(value))

    def keep(self, value):
        self.kept.append(value)
        return writes(value)


PROBE = Probe()


def doubled(function):
    @functools.wraps(function)
    def wrapper(*args):
        return 2 * function(*args)

    return wrapper


@doubled
def decorated(value):
    return value.sum()


def with_default(value, power=2):
    return value.sum() ** power


class Decorated:
    @doubled
    def read(self, value):
        return value.sum()


@functools.cache
def cached(value):
    return value + 1


READER, wrapped, wrapped_lambda = Decorated(), doubled(with_default), doubled(lambda value: value)


def a_function():
    with model.trace("one two", remote=True, blocking=False):
        h = model.transformer.h[0].output
        x = torch.as_strided(h, (1,), (1,)).save()  # here


def an_alias():
    with model.trace("one two", remote=True, blocking=False):
        h = model.transformer.h[0].output
        x = F.grouped_mm(h, h).save()  # here


def another_alias():
    with model.trace("one two", remote=True, blocking=False):
        h = model.transformer.h[0].output
        x = functional.grouped_mm(h, h).save()  # here


def a_captured_function():
    with model.trace("one two", remote=True, blocking=False):
        h = model.transformer.h[0].output
        x = as_strided(h, (1,), (1,)).save()  # here


def a_captured_function_in_python():
    with model.trace("one two", remote=True, blocking=False):
        h = model.transformer.h[0].output
        save(h, "f")  # here


def a_name_by_getattr():
    with model.trace("one two", remote=True, blocking=False):
        h = model.transformer.h[0].output
        x = getattr(torch, "as_strided")(h, (1,), (1,)).save()  # here


def a_method():
    with model.trace("one two", remote=True, blocking=False):
        x = model.transformer.h[0].output.as_strided((1,), (1,)).save()  # here


def inside_functions():
    with model.trace("one two", remote=True, blocking=False):
        x = calls(model.transformer.h[0].output)  # here


def inside_methods():
    with model.trace("one two", remote=True, blocking=False):
        x = PROBE(model.transformer.h[0].output)  # here


def inside_methods_of_a_class_of_the_block():
    with model.trace("one two", remote=True, blocking=False):
        class Keeper:
            def __init__(self, name):
                self.name = name

            def keep(self, value):
                torch.save(value, self.name)

        Keeper("f").keep(model.transformer.h[0].output)  # here


def in_a_loop_over_layers():
    with model.trace("one two", remote=True, blocking=False):
        for layer in model.transformer.h:
            torch.save(layer.output, "f")  # here


def in_a_session():
    with model.session(remote=True, blocking=False):
        with model.trace("one two"):
            h = model.transformer.h[0].output.save()
        np.save("f", h)  # here


def a_module():
    with model.trace("one two", remote=True, blocking=False):
        import scipy.stats  # here
        x = scipy.stats.entropy(model.transformer.h[0].output[0, 0]).save()


def a_name_of_a_module():
    with model.trace("one two", remote=True, blocking=False):
        from torch import load  # here
        x = model.transformer.h[0].output.save()


def a_captured_module():
    with model.trace("one two", remote=True, blocking=False):
        x = os.getcwd()  # here


def a_builtin():
    with model.trace("one two", remote=True, blocking=False):
        text = open("/etc/passwd").read()  # here


def an_argument():
    with model.trace("one two", remote=True, blocking=False):
        h = model.transformer.h[0].output
        torch.add(h, h, out=h)  # here


def a_decorator_that_is_not_sent():
    with model.trace("one two", remote=True, blocking=False):
        x = decorated(model.transformer.h[0].output).save()  # here


def a_decorator_of_a_method():
    with model.trace("one two", remote=True, blocking=False):
        x = READER.read(model.transformer.h[0].output).save()  # here


def a_function_given_to_another():
    with model.trace("one two", remote=True, blocking=False):
        x = wrapped(model.transformer.h[0].output).save()  # here


def a_lambda_given_to_another():
    with model.trace("one two", remote=True, blocking=False):
        x = wrapped_lambda(model.transformer.h[0].output).save()  # here


def a_cached_function():
    with model.trace("one two", remote=True, blocking=False):
        x = cached(1)  # here


def an_argument_of_generate():
    with model.generate("one two", max_new_tokens=1, streamer=5, remote=True, blocking=False):
        x = model.transformer.h[0].output.save()


slowest = 0.0
for program in [
    a_function, an_alias, another_alias, a_captured_function, a_captured_function_in_python, a_name_by_getattr, a_method,
    inside_functions, inside_methods, inside_methods_of_a_class_of_the_block, in_a_loop_over_layers, in_a_session, a_module, a_name_of_a_module, a_captured_module, a_builtin, an_argument,
    an_argument_of_generate, a_decorator_that_is_not_sent, a_decorator_of_a_method, a_function_given_to_another,
    a_lambda_given_to_another, a_cached_function,
]:
    first = program.__code__.co_firstlineno
    lines = open(__file__).read().splitlines()
    here = next((at for at in range(first, first + 12) if lines[at - 1].endswith("# here")), None)
    before = time.time()
    try:
        program()
    except RemoteError as error:
        text = str(error)
    else:
        raise AssertionError(f"{program.__name__} was taken")
    slowest = max(slowest, time.time() - before)
    print(program.__name__, "->", text.strip().splitlines()[-1], flush=True)
    assert here is None or f'{FILE}", line {here}, in' in text, f"{program.__name__}: {here}\n{text}"
    assert here is None or f"line {here}, in {program.__name__}" in text or "inside_" in program.__name__, text
print(f"the slowest took {slowest * 1000:.0f} ms", file=sys.stderr)
