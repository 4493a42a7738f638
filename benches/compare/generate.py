"""Generation with a steering hook: users together against one after another, and one decode step against memory."""
from . import gemm
from .models import layers, prompts
from .recording import model, record
from .report import Mismatch
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
    vectors = lambda seed: vector(peer.shape, seed).to(peer.device)
    return [steer(peer.nnsight, layer, text, vectors(seed), tokens).tolist() for seed, text in users]


def measure(lab, shape):
    shape, tokens = lab.shape(shape), 8 if lab.quick else 32
    layer = middle(layers(model(shape), shape))
    with lab.sides(shape) as sides:
        bandwidth = max(side.peer.run("gemm", "bandwidth")["value"] for side in sides)
        for turn in lab.turns(sides):
            # No prompt comes twice: what a server kept of one would answer the next.
            batches = [prompts(shape, [LENGTH] * USERS, seed=400 + 3 * turn + batch) for batch in range(3)]
            ways = {"together": (tokens, USERS), "one after another": (tokens, 1), "first token only": (1, 1)}
            for (way, (length, clients)), texts in zip(ways.items(), batches):
                users = enumerate(texts)
                requests = [record(shape, steer, layer, text, vector(shape, seed), length) for seed, text in users]
                for side in sides:
                    _, saved = side.server_samples(way, requests, clients)
                    if length == 1:
                        continue
                    expected = side.peer_samples("generate", "nnsight", prompts=texts, tokens=tokens)
                    if [values["generated"].tolist() for values in saved] != expected:
                        raise Mismatch(f"generate, {way}: other tokens than nnsight's")
    floor = shape.streamed_bytes / bandwidth
    for side in sides:
        report(lab, side, tokens, floor, bandwidth)


def report(lab, side, tokens, floor, bandwidth):
    samples = side.samples
    for name in samples.taken:
        numbers = {"wall_ms": 1000 * samples.wall(name), "cpu_ms": 1000 * samples.cpu(name)}
        lab.report.row("generate", **side.place, users=USERS, tokens=tokens, side=name, **numbers)
    together, apart = samples.cost("together"), samples.cost("one after another")
    step = (apart - samples.cost("first token only")) / USERS / (tokens - 1)
    numbers = {"step_ms": 1000 * step, "floor_ms": 1000 * floor, "bandwidth_gb_s": bandwidth / 1e9}
    lab.report.row("generate", **side.place, **numbers)
    lab.report.ratio("generate", "one after another / together", apart / together, 2.5, **side.place)
    value = samples.cost("nnsight") / together
    lab.report.ratio("generate", "nnsight one after another / together", value, 2.5, **side.place)
    lab.report.ratio("generate", "decode step / memory floor", step / floor, 1.5, at_least=False, **side.place)
