"""A plain forward pass, all logits, against the least time that the machine could take."""
import torch

from . import gemm
from .models import ids, prompts
from .report import check_equal

# Rows, tokens of each, and how many times the floor it may take.
CASES = [(1, 16, 2.0), (1, 128, 1.3), (8, 128, 1.2)]


def peer_huggingface(peer, ids):
    return peer.plain(torch.tensor(ids, device=peer.device), use_cache=False).logits[0, -1, :16].tolist()


def peer_graph(peer, ids):
    """Returns a forward pass's seconds on a GPU without the host: its kernels, replayed from a CUDA graph."""
    ids = torch.tensor(ids, device=peer.device)
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with torch.cuda.stream(stream):
        peer.plain(ids, use_cache=False)
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        peer.plain(ids, use_cache=False)
    return gemm.seconds(lambda: [graph.replay() for _ in range(100)], peer.device) / 100


def measure(lab, shape):
    shape = lab.shape(shape)
    with lab.engines(shape, peer=True) as sides:
        bandwidth = max(side.peer.run("gemm", "bandwidth")["value"] for side in sides)
        peak = max(side.peer.run("gemm", "peak")["value"] for side in sides)
        cases = CASES[:2] if lab.quick else CASES
        for rows, length, _ in cases:
            batch = [ids(text) for text in prompts(shape, [length] * rows, seed=6)]
            for _ in range(lab.rounds):
                for side in sides:
                    cpu, found = side.engine.forward("model", batch)
                    side.samples.add((rows, length, "vitrine"), cpu, cpu)
                    took = side.run("forward", "huggingface", ids=batch)
                    side.samples.add((rows, length, "huggingface"), took["wall"], took["cpu"])
                    check_equal("forward", found, took["value"])
                    if lab.device == "cuda":
                        seconds = side.run("forward", "graph", ids=batch)["value"]
                        side.samples.add((rows, length, "graph"), seconds, seconds)
    lab.report.row("forward", model=shape.name, peak_gflops=peak, bandwidth_gb_s=bandwidth / 1e9)
    for side in sides:
        for rows, length, goal in cases:
            moved = shape.streamed_bytes + 4 * rows * length * shape.vocabulary
            floor = max(shape.forward_flops(rows, length) / peak / 1e9, moved / bandwidth)
            cpu = {name: side.samples.cost((rows, length, name)) for name in ("vitrine", "huggingface")}
            numbers = {f"{name}_ms": 1000 * seconds for name, seconds in {**cpu, "floor": floor}.items()}
            lab.report.row("forward", **side.place, case=f"{rows} x {length}", **numbers)
            what = f"{rows} x {length} tokens / floor"
            lab.report.ratio("forward", what, cpu["vitrine"] / floor, goal, at_least=False, **side.place)
            if lab.device == "cuda":
                graph = side.samples.wall((rows, length, "graph"))
                gaps = {f"{name}_gap_us": 1e6 * (cpu[name] - graph) / shape.layers for name in cpu}
                lab.report.row("forward", **side.place, case=f"{rows} x {length}", graph_ms=1000 * graph, **gaps)
                what = f"{rows} x {length} tokens / Hugging Face's kernels alone"
                lab.report.ratio("forward", what, cpu["vitrine"] / graph, goal, at_least=False, **side.place)
