"""Bursts of different requests, all there at once: what sharing forward passes gives each user."""
import statistics
import time

import torch

from .models import layers, prompts
from .recording import model, record
from .report import Samples, check_equal


def steer_and_read(model, steered, read, prompt, vector, backend=None):
    with model.trace(prompt, backend=backend):
        steered.output[:, -1] += vector
        hidden = read.output[:, -1].save()
        logits = model.lm_head.output[:, -1].save()
    return hidden, logits


def vector(shape, seed):
    return torch.randn(shape.width, generator=torch.Generator().manual_seed(seed))


def places(of):
    """Returns the layer that is steered and the layer that is read."""
    return of[len(of) // 4], of[len(of) // 2]


def numbers(hidden, logits):
    return hidden[0, :16].tolist() + logits[0, :16].tolist()


def peer_nnsight(peer, prompts):
    """One request after another; returns when each ended, and some of its numbers."""
    steered, read = places(layers(peer.nnsight, peer.shape))
    begun, ended = time.perf_counter(), []
    for seed, prompt in enumerate(prompts):
        hidden, logits = steer_and_read(peer.nnsight, steered, read, prompt, vector(peer.shape, seed))
        ended.append((time.perf_counter() - begun, numbers(hidden, logits)))
    return ended


def peer_hooks(peer, prompts):
    steered, read = places(layers(peer.plain, peer.shape))
    begun, ended = time.perf_counter(), []
    first = lambda output: output[0] if isinstance(output, tuple) else output
    for seed, prompt in enumerate(prompts):
        added, kept = vector(peer.shape, seed), []

        def steer(module, arguments, output):
            first(output)[:, -1] += added

        handles = [
            steered.register_forward_hook(steer),
            read.register_forward_hook(lambda module, arguments, output: kept.append(first(output)[:, -1].clone())),
        ]
        logits = peer.plain(peer.ids(prompt), use_cache=False).logits[:, -1]
        for handle in handles:
            handle.remove()
        ended.append((time.perf_counter() - begun, numbers(kept[0], logits)))
    return ended


def measure(lab, shape):
    shape = lab.shape(shape)
    steered, read = places(layers(model(shape), shape))
    with lab.sides(shape) as sides:
        for users in (4, 10) if lab.quick else (10, 100):
            measure_burst(lab, shape, sides, steered, read, users)


def measure_burst(lab, shape, sides, steered, read, users):
    lengths = torch.randint(16, 65, (users,), generator=torch.Generator().manual_seed(users)).tolist()
    samples, latencies = Samples(), {}
    for turn in range(lab.rounds):
        # Other prompts each round: nothing kept of a round may answer the next.
        texts = prompts(shape, lengths, seed=100 * users + turn)
        requests = [
            record(shape, steer_and_read, steered, read, text, vector(shape, seed)) for seed, text in enumerate(texts)
        ]
        others = prompts(shape, lengths, seed=-1 - 100 * users - turn)
        alone = [record(shape, steer_and_read, steered, read, text, vector(shape, 0)) for text in others]
        for side in sides:
            expected = None
            for library in "nnsight", "hooks":
                took = side.peer.run("users", library, prompts=texts)
                samples.add((side.gemm, library), took["wall"], took["cpu"])
                latencies.setdefault((side.gemm, library), []).append([seconds for seconds, _ in took["value"]])
                expected = expected or [value for _, value in took["value"]]
            for way, sent, clients in ("burst", requests, users), ("one at a time", alone, 1):
                took = side.server.replay(sent, clients)
                samples.add((side.gemm, way), took.wall, took.cpu)
                latencies.setdefault((side.gemm, way), []).append([answer.seconds for answer in took.answers])
                values = [answer.values() for answer in took.answers]
                if way == "burst":
                    for value, other in zip(values, expected):
                        check_equal("users", numbers(value["hidden"], value["logits"]), other)
    for side in sides:
        place = {"model": shape.name, "gemm": side.gemm}
        rate = lambda name: users / samples.cpu((side.gemm, name))
        late = lambda name, share: statistics.median(quantile(ended, share) for ended in latencies[side.gemm, name])
        for name in "burst", "one at a time", "nnsight", "hooks":
            lab.report.row(
                "users", **place, users=users, tokens=sum(lengths), side=name, per_cpu_second=round(rate(name), 2),
                p50_ms=round(1000 * late(name, 0.5), 1), p95_ms=round(1000 * late(name, 0.95), 1),
            )  # fmt: skip
        goal = 4 if side.gemm == "as installed" else 1.7
        what = f"{users} users: requests per CPU second / nnsight one at a time"
        lab.report.ratio("users", what, rate("burst") / rate("nnsight"), goal, **place)
        what = f"{users} users: p95 of nnsight one at a time / p95"
        lab.report.ratio("users", what, late("nnsight", 0.95) / late("burst", 0.95), 1.7, **place)


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
