"""Generation with a steering hook: users together against one after another, and one decode step against memory."""
from . import gemm
from .models import layers, prompts
from .recording import model, record
from .report import Mismatch, Samples
from .users import vector

USERS, LENGTH = 8, 16


def steer(model, layer, prompt, vector, tokens, backend=None):
    with model.generate(
        prompt, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, backend=backend
    ) as tracer:
        for step in tracer.iter[:tokens]:
            layer.output[:, -1] += vector
        generated = tracer.result.save()
    return generated


def middle(of):
    return of[len(of) // 2]


def peer_nnsight(peer, prompts, tokens):
    layer = middle(layers(peer.nnsight, peer.shape))
    users = enumerate(prompts)
    return [steer(peer.nnsight, layer, text, vector(peer.shape, seed), tokens).tolist() for seed, text in users]


def measure(lab, shape):
    shape, tokens = lab.shape(shape), 8 if lab.quick else 32
    layer = middle(layers(model(shape), shape))
    texts = prompts(shape, [LENGTH] * USERS, seed=4)
    requests = lambda tokens: [
        record(shape, steer, layer, text, vector(shape, seed), tokens) for seed, text in enumerate(texts)
    ]
    whole, short = requests(tokens), requests(1)
    samples, bandwidth = Samples(), gemm.bandwidth()
    with lab.sides(shape) as sides:
        for _ in range(lab.rounds):
            for side in sides:
                expected = side.peer.run("generate", "nnsight", prompts=texts, tokens=tokens)
                samples.add((side.gemm, "nnsight"), expected["wall"], expected["cpu"])
                ways = ("together", whole, USERS), ("one after another", whole, 1), ("first token only", short, 1)
                for way, sent, clients in ways:
                    took = side.server.replay(sent, clients)
                    samples.add((side.gemm, way), took.wall, took.cpu)
                    found = [answer.values()["generated"].tolist() for answer in took.answers]
                    if sent is whole and found != expected["value"]:
                        raise Mismatch(f"generate, {way}: other tokens than nnsight's")
    floor = shape.streamed_bytes / bandwidth
    for side in sides:
        cpu = lambda name: samples.cpu((side.gemm, name))
        place = {"model": shape.name, "gemm": side.gemm}
        for name in "together", "one after another", "nnsight":
            wall = samples.wall((side.gemm, name))
            row = {"wall_ms": round(1000 * wall, 1), "cpu_ms": round(1000 * cpu(name), 1)}
            lab.report.row("generate", **place, users=USERS, tokens=tokens, side=name, **row)
        step = (cpu("one after another") - cpu("first token only")) / USERS / (tokens - 1)
        row = {"step_ms": round(1000 * step, 3), "floor_ms": round(1000 * floor, 3)}
        lab.report.row("generate", **place, **row, bandwidth_gb_s=round(bandwidth / 1e9, 1))
        value = cpu("one after another") / cpu("together")
        lab.report.ratio("generate", "one after another / together", value, 2.5, **place)
        lab.report.ratio("generate", "nnsight one after another / together", cpu("nnsight") / cpu("together"), 2.5, **place)
        lab.report.ratio("generate", "decode step / memory floor", step / floor, 1.5, at_least=False, **place)
