"""Runs experiments with local nnsight and through the server, in one process, and compares: results must agree.

Floats agree to 1e-4; names, structure, types, shapes, integers and texts exactly; errors in their last line.
Each experiment takes a model and `remote`, and returns what it saved.
"""
import math
import os
import sys
import traceback
import warnings

import anyio._backends._asyncio  # noqa: F401  (before nnsight, which adds an attribute to every object)
import numpy as np
import torch
from nnsight import LanguageModel
from nnsight.schema.config import CONFIG

warnings.simplefilter("ignore")
CONFIG.APP.REMOTE_LOGGING = False
FRANCE, ITALY, LONG = "The capital of France is", "The capital of Italy is", "Once upon a time there was a small model that"

experiments = []


def experiment(*models, fails=False):
    def register(function):
        function.fails = fails
        experiments.extend((function, name) for name in models or ("gpt2", "llama"))
        return function

    return register


def layers(model):
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


def difference(want, got, path="result"):
    """Returns where two results differ, or None."""
    if isinstance(want, torch.Tensor):
        if not isinstance(got, torch.Tensor) or got.dtype != want.dtype or got.shape != want.shape:
            return f"{path}: {getattr(got, 'dtype', type(got))}{tuple(getattr(got, 'shape', ()))} is not {want.dtype}{tuple(want.shape)}"
        tolerance = 1e-2 if want.dtype in (torch.float16, torch.bfloat16) else 1e-4
        want, got = want.detach().float(), got.detach().float()
        if not torch.allclose(want, got, rtol=tolerance, atol=1e-4, equal_nan=True):
            return f"{path}: largest difference {(want - got).abs().max().item():.3g}"
        return None
    if type(want) is not type(got):
        return f"{path}: {type(got).__name__} is not {type(want).__name__}"
    if isinstance(want, dict):
        if list(want) != list(got):
            return f"{path}: {list(got)} is not {list(want)}"
        return next((found for key in want if (found := difference(want[key], got[key], f"{path}[{key!r}]"))), None)
    if isinstance(want, np.ndarray):
        same = isinstance(got, np.ndarray) and got.dtype == want.dtype and np.array_equal(got, want)
        return None if same else f"{path}: {got!r} is not {want!r}"
    if isinstance(want, (list, tuple)) and not isinstance(want, torch.Size):
        if len(want) != len(got):
            return f"{path}: {len(got)} entries are not {len(want)}"
        pairs = enumerate(zip(want, got))
        return next((found for at, (one, two) in pairs if (found := difference(one, two, f"{path}[{at}]"))), None)
    if isinstance(want, float):
        return None if math.isclose(want, got, rel_tol=1e-4, abs_tol=1e-4) else f"{path}: {got} is not {want}"
    return None if want == got else f"{path}: {got!r} is not {want!r}"


def outcome(function, model, remote):
    """Returns what an experiment made, or the last line of what it raised."""
    try:
        return function(model, remote), None
    except Exception as error:  # noqa: BLE001
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        last = lines[-1] if lines else ""
        # The server's text ends in `Type: message`; a local error has its type outside its text.
        name = type(error).__name__
        return None, last if name == "RemoteError" else f"{name}: {last}"


def reason(function, local, remote):
    want, want_error = outcome(function, local, False)
    got, got_error = outcome(function, remote, True)
    if (want_error is not None) != function.fails:
        return f"the local run raised {want_error!r}"
    if want_error or got_error:
        short = lambda text: text and text.split(".")[-1] if text and text.startswith("nnsight.") else text  # noqa: E731
        same = want_error and got_error and (short(got_error) == short(want_error) or got_error.endswith(want_error))
        return None if same else f"raised {got_error!r}, not {want_error!r}"
    return difference(want, got)


def main(chosen):
    models = {}
    for name in ("gpt2", "llama"):
        folder = os.environ[f"TINY_{name.upper()}"]
        models[name] = LanguageModel(folder, dispatch=True), LanguageModel(f"ndif-test/tiny-{name}")
    # `eager` changes a model for good, so it gets a pair of its own.
    models["gpt2"][0].__dict__["eager"] = LanguageModel(os.environ["TINY_GPT2"], dispatch=True, attn_implementation="eager")
    models["gpt2"][1].__dict__["eager"] = LanguageModel("ndif-test/tiny-gpt2", attn_implementation="eager")
    failed = 0
    for function, name in experiments:
        if chosen and function.__name__ not in chosen:
            continue
        try:
            why = reason(function, *models[name])
        except Exception:  # noqa: BLE001
            why = traceback.format_exc()
        failed += why is not None
        print(f"{'ok  ' if why is None else 'FAIL'} {function.__name__} ({name})" + (f": {why}" if why else ""), flush=True)
    print(f"{len(experiments)} experiments, {failed} failed")
    sys.exit(failed > 0)
