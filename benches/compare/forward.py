"""A plain forward pass, all logits, against the least time that the machine could take."""
from . import gemm
from .models import prompts
from .report import Samples, check_equal

# Rows, tokens of each, and how many times the floor it may take.
CASES = [(1, 16, 2.0), (1, 128, 1.3), (8, 128, 1.2)]


def peer_huggingface(peer, ids):
    import torch

    return peer.plain(torch.tensor(ids), use_cache=False).logits[0, -1, :16].tolist()


def measure(lab, shape):
    shape = lab.shape(shape)
    samples = Samples()
    bandwidth = gemm.bandwidth()
    with lab.engines(shape, peer=True) as sides:
        peak = max(side.peer.run("gemm", "peak")["value"] for side in sides)
        for rows, length, _ in CASES:
            texts = prompts(shape, [length] * rows, seed=6)
            ids = [[int(word[1:]) for word in text.split()] for text in texts]
            for _ in range(lab.rounds):
                for side in sides:
                    cpu, found = side.engine.forward("model", ids)
                    samples.add((side.gemm, rows, length, "vitrine"), cpu, cpu)
                    took = side.peer.run("forward", "huggingface", ids=ids)
                    samples.add((side.gemm, rows, length, "huggingface"), took["wall"], took["cpu"])
                    check_equal("forward", found, took["value"])
    for side in sides:
        for rows, length, goal in CASES:
            flops = shape.forward_flops(rows, length)
            moved = shape.streamed_bytes + 4 * rows * length * shape.vocabulary
            floor = max(flops / peak / 1e9, moved / bandwidth)
            cpu = lambda name: samples.cpu((side.gemm, rows, length, name))
            place = {"model": shape.name, "gemm": side.gemm}
            row = {f"{name}_ms": round(1000 * cpu(name), 2) for name in ("vitrine", "huggingface")}
            limits = {"peak_gflops": round(peak, 1), "bandwidth_gb_s": round(bandwidth / 1e9, 1)}
            lab.report.row("forward", **place, case=f"{rows}x{length}", **row, floor_ms=round(1000 * floor, 2), **limits)
            what = f"{rows} x {length} tokens / floor"
            lab.report.ratio("forward", what, cpu("vitrine") / floor, goal, at_least=False, **place)
