"""Bursts of different requests, all there at once: what sharing forward passes gives each user."""
import statistics
import time

import torch

from .models import layers, prompts
from .recording import model, record
from .report import check_equal


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
        added = vector(peer.shape, seed).to(peer.device)
        hidden, logits = steer_and_read(peer.nnsight, steered, read, prompt, added)
        ended.append((time.perf_counter() - begun, numbers(hidden, logits)))
    return ended


def peer_hooks(peer, prompts):
    steered, read = places(layers(peer.plain, peer.shape))
    begun, ended = time.perf_counter(), []
    first = lambda output: output[0] if isinstance(output, tuple) else output
    for seed, prompt in enumerate(prompts):
        added, kept = vector(peer.shape, seed).to(peer.device), []

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
    with lab.sides(shape) as sides:
        for users in (4, 10) if lab.quick else (10, 100):
            measure_burst(lab, sides, users)


def measure_burst(lab, sides, users):
    shape = sides[0].shape
    steered, read = places(layers(model(shape), shape))
    lengths = torch.randint(16, 65, (users,), generator=torch.Generator().manual_seed(users)).tolist()
    latencies = {}
    for turn in lab.turns(sides, latencies):
        # No prompt comes twice: what a server kept of one would answer the next.
        mine, others = (prompts(shape, lengths, seed=1000 * users + 2 * turn + odd) for odd in (0, 1))
        together, alone = (
            [record(shape, steer_and_read, steered, read, text, vector(shape, seed)) for seed, text in enumerate(texts)]
            for texts in (mine, others)
        )
        for side in sides:
            for library in "nnsight", "hooks":
                ended = side.peer_samples("users", library, prompts=mine)
                latencies.setdefault((side.gemm, library), []).append([seconds for seconds, _ in ended])
            took, saved = side.server_samples("burst", together, users)
            latencies.setdefault((side.gemm, "burst"), []).append([answer.seconds for answer in took.answers])
            for values, (_, other) in zip(saved, ended):
                check_equal("users", numbers(values["hidden"], values["logits"]), other)
            took, _ = side.server_samples("one at a time", alone)
            latencies.setdefault((side.gemm, "one at a time"), []).append([answer.seconds for answer in took.answers])
    for side in sides:
        report(lab, side, users, {name: taken for (gemm, name), taken in latencies.items() if gemm == side.gemm})


def report(lab, side, users, latencies):
    rates = {name: users / side.samples.cost(name) for name in latencies}
    late = {
        name: {share: 1000 * statistics.median(quantile(ended, share) for ended in taken) for share in (0.5, 0.95)}
        for name, taken in latencies.items()
    }
    for name in latencies:
        numbers = {"per_second": rates[name], "p50_ms": late[name][0.5], "p95_ms": late[name][0.95]}
        lab.report.row("users", **side.place, users=users, side=name, **numbers)
    second = "CPU second" if lab.device == "cpu" else "second"
    what = f"{users} users: requests per {second} / nnsight one at a time"
    lab.report.ratio("users", what, rates["burst"] / rates["nnsight"], side.goal(4, 1.7), **side.place)
    what = f"{users} users: p95 of nnsight one at a time / p95"
    lab.report.ratio("users", what, late["nnsight"][0.95] / late["burst"][0.95], 1.7, **side.place)


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
