"""Calls what PyTorch tests itself with: the sample inputs of its own table of operators (OpInfo), here and on the server.

    operators.py [--only NAME...] [--list]

Each operator is called as a function, as a method and in place, by elements of several types, with the arguments that
PyTorch's tests give it, and with those that its tests want refused. What comes of it must be what PyTorch gives here: the
values, element types, shapes, the class of a named result, and the class of an error. What is not called, or refused by the
server, is in `operators.txt` by its reason, and nothing else is: an entry too many is a failure as well.
"""
import argparse
import importlib.util
import math
import sys
import time
import types
import unittest
import warnings
from pathlib import Path

import anyio._backends._asyncio  # noqa: F401
import nnsight
import numpy as np
import torch
from nnsight import LanguageModel
from nnsight.schema.config import CONFIG

if importlib.util.find_spec("expecttest") is None:
    # Only PyTorch's own tests use it, and not what is used of them here.
    sys.modules["expecttest"] = types.ModuleType("expecttest")
    sys.modules["expecttest"].TestCase = unittest.TestCase
    sys.modules["expecttest"].assert_expected_inline = None
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402

warnings.simplefilter("ignore")
CONFIG.APP.REMOTE_LOGGING = False
torch.set_num_threads(2)
LISTED = Path(__file__).with_suffix(".txt")
# By how many samples of an operator each type of elements is tried, those that differ most from each other.
KINDS = {torch.float32: 10, torch.int64: 4, torch.bool: 2, torch.complex64: 2, torch.bfloat16: 2}
# Elements of the tensors of a case: larger ones would be about speed.
MOST = 20_000
# Cases of one request.
BATCH = 1200


def perform(cases):
    """Calls each case, and returns what came of it: what the program does, here and on the server."""
    results = []
    for name, variant, input, args, kwargs in cases:
        torch.manual_seed(7)
        try:
            if variant == "method":
                result = getattr(input, name)(*args, **kwargs)
            elif variant == "in place":
                input = input.clone()
                result = getattr(input, name)(*args, **kwargs)
                result = (result, input, result is input)
            else:
                function = torch
                for part in name.split("."):
                    function = getattr(function, part)
                result = function(input, *args, **kwargs)
        except Exception as error:
            result = ("raised", type(error).__name__, str(error)[:300])
        results.append(result)
    return results


def reasons():
    """Reads which operators are not called, or refused, and why."""
    found = {}
    for line in LISTED.read_text().splitlines():
        if line and not line.startswith("#"):
            names, _, reason = line.partition(": ")
            found.update((name, reason) for name in names.split())
    return found


def size(value):
    if isinstance(value, torch.Tensor):
        return value.numel()
    if isinstance(value, dict):
        return sum(map(size, value.values()))
    return sum(map(size, value)) if isinstance(value, (list, tuple)) else 0


def plain(value):
    """Says whether a program could have sent it: tensors of ordinary memory, and plain values."""
    if isinstance(value, torch.Tensor):
        return value.device.type == "cpu" and value.layout == torch.strided and value.dim() <= 64 and not value.is_conj() and not value.is_neg() and not value.is_nested
    if isinstance(value, dict):
        return all(map(plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(plain, value))
    known = (bool, int, float, complex, str, bytes, type(None), slice, type(...), torch.dtype, torch.device, torch.Size)
    return isinstance(value, (*known, torch.memory_format, torch.layout, np.ndarray))


def shape(sample):
    """What tells samples apart."""
    def of(value):
        if isinstance(value, torch.Tensor):
            return ("tensor", value.dim(), value.is_contiguous(), value.dtype)
        if isinstance(value, (list, tuple)):
            return tuple(map(of, value))
        return value if isinstance(value, (bool, str, type(None))) else type(value).__name__
    return repr((of(sample[0]), of(sample[1]), sorted((name, of(value)) for name, value in sample[2].items())))


def chosen(samples, most):
    """Chooses samples that differ, those of other forms first."""
    seen, first, rest = set(), [], []
    for sample in samples:
        kind = shape(sample)
        (rest if kind in seen else first).append(sample)
        seen.add(kind)
    ordered = first + rest
    step = max(1, len(first) // most)
    return (first[::step] + rest)[:most] if len(first) >= most else ordered[:most]


def samples(op, kind):
    found = []
    for sample in op.sample_inputs("cpu", kind, requires_grad=False):
        one = (sample.input, tuple(sample.args), dict(sample.kwargs))
        if size(one[:2]) + size(one[2]) <= MOST and plain(one[:2]) and plain(one[2]):
            found.append(one)
        if len(found) >= 80:
            break
    return found


def names(op):
    """Returns the variants of an operator, with the name that each is called by."""
    found = []
    function = torch
    for part in op.name.split("."):
        function = getattr(function, part, None)
    if callable(function):
        found.append((op.name, "function"))
    if isinstance(getattr(torch.Tensor, op.name, None), types.MethodDescriptorType | types.FunctionType):
        found.append((op.name, "method"))
    if op.inplace_variant is not None and hasattr(torch.Tensor, op.name + "_"):
        found.append((op.name + "_", "in place"))
    return found


def cases(only):
    """Returns cases, with the operator's name, and the names of operators that no case calls."""
    left_out, made, without = set(reasons()), [], {}
    for op in op_db:
        label = op.formatted_name
        if only and label not in only and op.name not in only:
            continue
        if label in left_out and not only and reasons()[label].startswith("not called"):
            without[label] = None
            continue
        before = len(made)
        for kind, most in KINDS.items():
            if not op.supports_dtype(kind, "cpu"):
                continue
            torch.manual_seed(3)
            picked = chosen(samples(op, kind), most)
            for name, variant in names(op):
                for input, args, kwargs in picked if variant == "function" else picked[: max(1, most // 3)]:
                    if variant == "function" or isinstance(input, torch.Tensor):
                        made.append((label, (name, variant, input, args, kwargs)))
        errors = op.error_inputs("cpu") if op.error_inputs_func is not None else []
        for error in list(errors)[:6]:
            sample = error.sample_input
            one = (sample.input, tuple(sample.args), dict(sample.kwargs))
            if (op.name, "function") in names(op) and size(one[:2]) + size(one[2]) <= MOST and plain(one[:2]) and plain(one[2]):
                made.append((label, (op.name, "function", *one)))
        if len(made) == before:
            without[label] = "no case"
    return made, without


def same(want, got, path=""):
    """Returns where two results differ, or None."""
    if isinstance(want, torch.Tensor):
        if not isinstance(got, torch.Tensor) or type(got) is not type(want):
            return f"{path}: {type(got).__name__} is not {type(want).__name__}"
        if got.dtype != want.dtype or got.shape != want.shape:
            return f"{path}: {got.dtype}{tuple(got.shape)} is not {want.dtype}{tuple(want.shape)}"
        if want.layout != torch.strided or got.layout != torch.strided:
            return None if want.layout == got.layout else f"{path}: {got.layout} is not {want.layout}"
        if want.is_complex():
            want, got = (torch.view_as_real(one.to(torch.complex128)) for one in (want, got))
        if torch.equal(want, got):
            return None
        if not want.is_floating_point():
            return f"{path}: {got.flatten()[:6].tolist()} is not {want.flatten()[:6].tolist()}"
        close = 2e-2 if want.dtype in (torch.bfloat16, torch.float16) else 2e-5
        a, b = want.double(), got.double()
        scale = torch.nan_to_num(a.abs(), 0, 0, 0).max().item() if a.numel() else 0
        if torch.allclose(b, a, rtol=close, atol=close * max(scale, 1e-6), equal_nan=True):
            return None
        return f"{path}: {got.flatten()[:4].tolist()} is not {want.flatten()[:4].tolist()}"
    if type(want) is not type(got):
        return f"{path}: {type(got).__name__} is not {type(want).__name__}"
    if isinstance(want, (list, tuple)):
        if len(want) != len(got):
            return f"{path}: {len(got)} entries are not {len(want)}"
        return next((found for at, (a, b) in enumerate(zip(want, got)) if (found := same(a, b, f"{path}[{at}]"))), None)
    if isinstance(want, float):
        return None if math.isclose(want, got, rel_tol=2e-5) or (want != want and got != got) else f"{path}: {got} is not {want}"
    if isinstance(want, complex):
        return None if abs(want - got) <= 2e-5 * abs(want) or want != want else f"{path}: {got} is not {want}"
    return None if want == got else f"{path}: {got!r} is not {want!r}"


def failed(result):
    return isinstance(result, tuple) and len(result) == 3 and isinstance(result[0], str) and result[0] == "raised"


def why(want, got):
    """Returns how the server's result differs, or None."""
    if failed(want) and failed(got):
        return None if want[1] == got[1] else f"raised {got[1:]}, not {want[1:]}"
    if failed(got):
        return f"raised {got[1]}: {got[2]}"
    if failed(want):
        return f"gave {got!r:.200}, where PyTorch raises {want[1]}: {want[2]}"
    return same(want, got)


def shown(case):
    def of(value):
        if isinstance(value, torch.Tensor):
            return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
        if isinstance(value, (list, tuple)):
            return "(" + ", ".join(map(of, value)) + ")"
        return repr(value)[:60]
    name, variant, input, args, kwargs = case
    given = [of(input), *map(of, args), *(f"{name}={of(value)}" for name, value in kwargs.items())]
    return f"{name} {variant} ({', '.join(given)})"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--only", nargs="+", default=[])
    arguments.add_argument("--list", action="store_true")
    chosen = arguments.parse_args()
    made, without = cases(chosen.only)
    if chosen.list:
        print(len(made), "cases", "\nwithout:", *sorted(without))
        return
    model = LanguageModel("ndif-test/tiny-gpt2")
    differ, refused, reached = [], {}, set()
    for at in range(0, len(made), BATCH):
        batch = made[at : at + BATCH]
        calls = [case for _, case in batch]
        # In place of what is called, copies of it.
        started = time.time()
        with model.trace("one two", remote=True):
            results = nnsight.save(perform(calls))
        told = time.time()
        wanted = perform(calls)
        print(f"{len(batch)} cases, {told - started:.1f} s there, {time.time() - told:.1f} s here", flush=True)
        for (label, case), want, got in zip(batch, wanted, results):
            if failed(got) and "not supported by this server" in got[2]:
                refused.setdefault(label, got[2])
                continue
            reached.add(label)
            if difference := why(want, got):
                differ.append(f"{label}: {shown(case)}\n    {difference}")
    listed = reasons()
    for label in refused.keys() - reached - listed.keys():
        differ.append(f"{label}: refused, and not in {LISTED.name}: {refused[label]}")
    if not chosen.only:
        for label in listed.keys() & reached:
            differ.append(f"{label}: in {LISTED.name}, and not refused")
        for label, reason in without.items():
            if label not in listed:
                differ.append(f"{label}: {reason}, and not in {LISTED.name}")
        for label in listed.keys() - {op.formatted_name for op in op_db}:
            differ.append(f"{label}: in {LISTED.name}, and no operator of PyTorch's table")
    print(f"{len(made)} cases of {len(reached)} operators, {len(refused)} refused, {len(differ)} differ")
    print("\n".join(differ))
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
