"""Experiments as researchers write them with the real client, and what each of them gives.

An experiment is a function of a model and of `remote`, which returns what it saved. Each module of this package is a
list of them; importing it registers them, for GPT-2 and Llama where it names no model.
"""
import collections
import contextlib
import io
import math
import os
import re
import warnings
from dataclasses import dataclass, field

import anyio._backends._asyncio  # noqa: F401  (before nnsight, which adds an attribute to every object)
import numpy as np
import torch
from nnsight import LanguageModel
from nnsight.intervention.backends.remote import RemoteBackend, RemoteError
from nnsight.schema.config import CONFIG
from nnsight.schema.response import Status

warnings.simplefilter("ignore")
CONFIG.APP.REMOTE_LOGGING = False
# A warning as Python writes it.
WARNING = re.compile(r".+:\d+: (\w+Warning): (.*)")
FRANCE, ITALY, LONG = "The capital of France is", "The capital of Italy is", "Once upon a time there was a small model that"


@dataclass
class Experiment:
    function: object
    model: str
    # Whether the program raises.
    fails: bool
    # Whether local nnsight can run it too.
    local: bool
    # Whether its forward passes may carry other jobs' rows.
    shared: bool

    def __str__(self):
        return f"{self.function.__name__} ({self.model})"


experiments = []


def experiment(*models, fails=False, local=True, shared=True):
    def register(function):
        experiments.extend(Experiment(function, name, fails, local, shared) for name in models or ("gpt2", "llama"))
        return function

    return register


def layers(model):
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


def attention(layer):
    return layer.attn if hasattr(layer, "attn") else layer.self_attn


def norm(model):
    return model.transformer.ln_f if hasattr(model, "transformer") else model.model.norm


def embeddings(model):
    return model.transformer.wte if hasattr(model, "transformer") else model.model.embed_tokens


def models(remote):
    """Loads the models, or what stands for the hosted ones, by their names."""
    loaded = {}
    for name in ("gpt2", "llama"):
        where = {"repo": f"ndif-test/tiny-{name}"} if remote else {"repo": os.environ[f"TINY_{name.upper()}"], "dispatch": True}
        repo = where.pop("repo")
        loaded[name] = LanguageModel(repo, **where)
        # `eager` changes a model for good, so it gets one of its own.
        loaded[name].__dict__["eager"] = LanguageModel(repo, **where, attn_implementation="eager")
    return loaded


@dataclass
class Outcome:
    """What a run of an experiment came to."""

    value: object = None
    # All that the exception says, or None.
    error: str | None = None
    # The lines that blocks printed.
    printed: list = field(default_factory=list)
    # What was warned of: classes and messages.
    warned: list = field(default_factory=list)
    # What each request cost.
    metas: list = field(default_factory=list)

    def last_line(self):
        """Returns the line that names the exception."""
        return self.error and self.error.strip().splitlines()[-1]


def run(experiment, models, remote):
    """Runs an experiment once."""
    outcome, out = Outcome(), io.StringIO()
    with contextlib.redirect_stdout(out), listening(outcome), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore" if remote else "default")
        try:
            outcome.value = experiment.function(models[experiment.model], remote)
        except RemoteError as error:
            outcome.error = str(error)
        except Exception as error:  # noqa: BLE001
            # A local error has its type outside its text.
            text = [line for line in str(error).strip().splitlines() if line.strip()]
            outcome.error = f"{type(error).__name__}: {text[-1] if text else ''}"
    outcome.printed += out.getvalue().splitlines()
    outcome.warned += [(warning.category.__name__, str(warning.message)) for warning in caught]
    while at := next((at for at, line in enumerate(outcome.printed, 1) if WARNING.fullmatch(line)), None):
        # The line that it is about follows it.
        told, *_ = outcome.printed[at - 1:at + 1]
        del outcome.printed[at - 1:at + 1]
        outcome.warned.append(WARNING.fullmatch(told).groups())
    return outcome


@contextlib.contextmanager
def listening(outcome):
    """Notes what requests are told meanwhile, which the client shows on a terminal or keeps in `tracer.backend`."""
    note = RemoteBackend.note

    def noting(backend, response):
        if response.status == Status.LOG:
            outcome.printed += response.description.splitlines()
        if response.meta is not None:
            outcome.metas.append(response.meta)
        return note(backend, response)

    RemoteBackend.note = noting
    try:
        yield
    finally:
        RemoteBackend.note = note


def difference(want, got, agree, path="result"):
    """Returns where two results differ, or None. `agree` compares tensors of one type and shape, and numbers."""
    if isinstance(want, torch.Tensor):
        if not isinstance(got, torch.Tensor) or got.dtype != want.dtype or got.shape != want.shape:
            return f"{path}: {getattr(got, 'dtype', type(got))}{tuple(getattr(got, 'shape', ()))} is not {want.dtype}{tuple(want.shape)}"
        want, got = want.detach(), got.detach()
        if agree(want, got):
            return None
        return f"{path}: largest difference {(want.double() - got.double()).abs().max().item():.3g}"
    if type(want) is not type(got):
        return f"{path}: {type(got).__name__} is not {type(want).__name__}"
    if isinstance(want, collections.deque):
        if want.maxlen != got.maxlen:
            return f"{path}: maxlen {got.maxlen} is not {want.maxlen}"
        want, got = list(want), list(got)
    if isinstance(want, collections.UserDict):
        # An encoding: what is in it, and what it knows of each row.
        tokens = [[[row.tokens, row.offsets, row.word_ids] for row in one.encodings or []] for one in (want, got)]
        want, got = {"data": want.data, "tokens": tokens[0]}, {"data": got.data, "tokens": tokens[1]}
    if type(want).__module__.startswith("transformers.cache_utils"):
        want, got = dict(vars(want)), dict(vars(got))
    if isinstance(want, dict):
        if list(want) != list(got):
            return f"{path}: {list(got)} is not {list(want)}"
        return next((found for key in want if (found := difference(want[key], got[key], agree, f"{path}[{key!r}]"))), None)
    if isinstance(want, np.ndarray):
        if got.dtype == want.dtype and got.shape == want.shape and want.dtype.kind in "fiub":
            return difference(torch.from_numpy(want.copy()), torch.from_numpy(got.copy()), agree, path)
        return None if got.dtype == want.dtype and np.array_equal(got, want) else f"{path}: {got!r} is not {want!r}"
    if isinstance(want, (list, tuple)) and not isinstance(want, torch.Size):
        if len(want) != len(got):
            return f"{path}: {len(got)} entries are not {len(want)}"
        pairs = enumerate(zip(want, got))
        return next((found for at, (one, two) in pairs if (found := difference(one, two, agree, f"{path}[{at}]"))), None)
    if isinstance(want, (float, np.floating)):
        return None if agree(float(want), float(got)) else f"{path}: {got} is not {want}"
    return None if want == got else f"{path}: {got!r} is not {want!r}"


def equal(want, got):
    """Bit for bit."""
    if isinstance(want, float):
        return want.hex() == got.hex()
    want, got = (torch.view_as_real(one) if one.is_complex() else one for one in (want, got))
    want, got = (one.contiguous().reshape(-1).view(torch.uint8) for one in (want, got))
    return torch.equal(want, got)


def close(want, got):
    """To 1e-4, integers and truth values exactly."""
    if isinstance(want, float):
        return math.isclose(want, got, rel_tol=1e-4, abs_tol=1e-4) or (math.isnan(want) and math.isnan(got))
    if not want.is_floating_point() and not want.is_complex():
        return torch.equal(want, got)
    tolerance = 1e-2 if want.dtype in (torch.float16, torch.bfloat16) else 1e-4
    kind = torch.complex128 if want.is_complex() else torch.float64
    return torch.allclose(want.to(kind), got.to(kind), rtol=tolerance, atol=1e-4, equal_nan=True)


def near(want, got):
    """To 1e-4 of the tensor's largest number, integers and truth values exactly."""
    if isinstance(want, float):
        # What it was the sum of is not known.
        return close(want, got)
    if not want.is_floating_point() and not want.is_complex():
        return torch.equal(want, got)
    tolerance = 1e-2 if want.dtype in (torch.float16, torch.bfloat16) else 1e-4
    want, got = (torch.view_as_real(one) if one.is_complex() else one for one in (want, got))
    finite = want[want.isfinite()].double().abs()
    largest = finite.max().item() if finite.numel() else 1.0
    return torch.allclose(want.double(), got.double(), rtol=0, atol=tolerance * largest, equal_nan=True)
