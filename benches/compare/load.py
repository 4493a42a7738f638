"""Loading a model: the Rust program `load`, beside reading the same file and throwing it away."""
import json
import os
import statistics
import subprocess
import time

from . import models

BUFFER = 4 << 20
GB = 1e9


def measure(lab, shape):
    shape = lab.shape(shape)
    for stored, dtype in ("float32", "float32"), ("bfloat16", "bfloat16"), ("bfloat16", "float32"), ("float16", "bfloat16"):
        folder = models.stored_as(shape, stored)
        file = folder / "model.safetensors"
        size = file.stat().st_size
        for cached in True, False:
            taken = {"read": [], "load": [], "user": [], "system": [], "peak": []}
            for _ in range(lab.rounds):
                prepare(file, cached)
                begun = time.perf_counter()
                read(file)
                taken["read"].append(time.perf_counter() - begun)
                prepare(file, cached)
                loaded = load(lab, folder, dtype)
                taken["load"].append(loaded["seconds"])
                taken["user"].append(loaded["user"])
                taken["system"].append(loaded["system"])
                # Of a CPU's weights, the head's are there twice: see `vitrine model check`.
                taken["peak"].append(loaded["peak"] - loaded["kept"])
            taken = {name: statistics.median(values) for name, values in taken.items()}
            place = {"model": shape.name, "stored": stored, "dtype": dtype, "cached": cached}
            rates = {f"{name}_seconds_per_gb": taken[name] / size * GB for name in ("read", "load", "user", "system")}
            lab.report.row("load", **place, file_gb=size / GB, **rates, peak_beyond_weights_gb=taken["peak"] / GB)
            if cached:
                what = f"GiB beyond weights at most, {stored} as {dtype}"
                lab.report.ratio("load", what, taken["peak"] / 2**30, 1, at_least=False, model=shape.name)
            else:
                what = f"times reading the file from disk, {stored} as {dtype}"
                lab.report.ratio("load", what, taken["load"] / taken["read"], 1.5, at_least=False, model=shape.name)


def load(lab, folder, dtype):
    """All cores: a model is loaded when nothing else is to be done."""
    made = subprocess.run([lab.program("load"), folder, dtype], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(made.stdout)


def prepare(file, cached):
    """Puts a file into the system's memory, or what can be of it out of there."""
    if cached:
        read(file)
        return
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def read(file):
    """Reads a file from one end to the other."""
    buffer = bytearray(BUFFER)
    with open(file, "rb", buffering=0) as opened:
        while opened.readinto(buffer):
            pass
