"""How fast each side multiplies matrices, and the means to make both equally fast.

MKL, which is in PyTorch's wheels, takes slower paths on processors of other makers. `preload` makes a library that
answers its question about the maker, to be put into the environment of a process by LD_PRELOAD.
"""
import math
import subprocess
import time

import torch

from .models import ROOT, layers

ROWS = (16, 128, 512)
# FLOPs of one measurement: some tenths of a second.
WORK = 25e9


def preload():
    """Returns the library's path, compiling it first if need be."""
    library = ROOT / ".cache/bench/mkl_any_maker.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        source = "int mkl_serv_intel_cpu_true(void) { return 1; }\n"
        command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
        subprocess.run(command, input=source, text=True, check=True)
    return library


def flops(shape, rows):
    return 2 * rows * shape.width * shape.inner


def count(shape, rows):
    """Returns how many products make one measurement."""
    return math.ceil(WORK / flops(shape, rows))


def linear(model, shape):
    """Returns the first layer's matrix of `width × inner`: the same module on both sides."""
    mlp = layers(model, shape)[0].mlp
    return mlp.c_fc if shape.family == "gpt2" else mlp.up_proj


def multiply(model, module, rows, width, count, backend=None):
    """Calls a module of the model on a tensor of the user's own."""
    with model.trace("t2", backend=backend) as tracer:
        made = torch.ones(1, rows, width)
        for _ in range(count):
            product = module(made)
        done = product[0, 0, 0].item().save()
        tracer.stop()


def peer_rate(peer, rows):
    """Runs in the peer's process."""
    module, made = linear(peer.plain, peer.shape), torch.ones(1, rows, peer.shape.width)
    repeat = count(peer.shape, rows)
    module(made)
    begun = time.process_time()
    for _ in range(repeat):
        module(made)
    return flops(peer.shape, rows) * repeat / (time.process_time() - begun) / 1e9


def peer_peak(peer):
    """Returns the best GFLOP/s that one thread reaches on large matrices, by either of libtorch's two ways."""
    size = 2048
    matrix = torch.randn(size, size)
    ways = {
        "mkl": lambda: torch.nn.functional.linear(matrix, matrix),
        "onednn": lambda: torch.ops.mkldnn._linear_pointwise(matrix, matrix, None, "none", [], ""),
    }
    rates = []
    for multiply in ways.values():
        multiply()
        for _ in range(3):
            begun = time.process_time()
            multiply()
            rates.append(2 * size**3 / (time.process_time() - begun) / 1e9)
    return max(rates)


def server_rate(server, requests, shape, rows):
    """Returns GFLOP/s from the difference of few and many products, so that the request itself does not count."""
    few, many = (server.replay([request]) for request in requests)
    for took in few, many:
        took.values()
    return flops(shape, rows) * count(shape, rows) / (many.cpu - few.cpu) / 1e9


def bandwidth():
    """Returns the rate in bytes/s at which one thread reads memory, at its best: a limit, not an average."""
    side = 8192
    matrix, vector = torch.ones(side, side), torch.ones(side)
    rates = []
    for read in (lambda: torch.mv(matrix, vector), matrix.sum):
        read()
        for _ in range(7):
            begun = time.process_time()
            read()
            rates.append(4 * side * side / (time.process_time() - begun))
    return max(rates)
