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
    module, made = linear(peer.plain, peer.shape), torch.ones(1, rows, peer.shape.width, device=peer.device)
    repeat = count(peer.shape, rows)

    def multiply():
        for _ in range(repeat):
            module(made)

    return flops(peer.shape, rows) * repeat / seconds(multiply, peer.device) / 1e9


def seconds(work, device, warm=True):
    """Returns the CPU time of some work, or on a GPU its time, without what only the first run takes."""
    if warm:
        work()
    if device == "cpu":
        begun = time.process_time()
        work()
        return time.process_time() - begun
    torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


def peer_peak(peer):
    """Returns the best GFLOP/s on large matrices, on a CPU that of one thread by either of libtorch's two ways."""
    size = 2048 if peer.device == "cpu" else 8192
    matrix = torch.randn(size, size, device=peer.device)
    ways = [lambda: torch.nn.functional.linear(matrix, matrix)]
    if peer.device == "cpu":
        ways.append(lambda: torch.ops.mkldnn._linear_pointwise(matrix, matrix, None, "none", [], ""))
    return max(2 * size**3 / seconds(way, peer.device) / 1e9 for way in ways for _ in range(3))


def server_rate(server, requests, shape, rows):
    """Returns GFLOP/s from the difference of few and many products, so that the request itself does not count."""
    few, many = (server.replay([request]) for request in requests)
    for took in few, many:
        took.values()
    took = many.cpu - few.cpu if server.device == "cpu" else many.wall - few.wall
    return flops(shape, rows) * count(shape, rows) / took / 1e9


def peer_bandwidth(peer):
    """Returns the rate in bytes/s at which memory is read, on a CPU by one thread: at its best, a limit."""
    side = 8192 if peer.device == "cpu" else 32768
    matrix, vector = torch.ones(side, side, device=peer.device), torch.ones(side, device=peer.device)
    ways = (lambda: torch.mv(matrix, vector), matrix.sum)
    return max(4 * side * side / seconds(way, peer.device) for way in ways for _ in range(7))
