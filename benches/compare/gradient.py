"""Attribution patching: every (layer, position) at once from one clean run and one backward pass."""
import torch

from .models import layers, pair
from .recording import model, record
from .report import Samples, check_equal
from .sweep import RIGHT, WRONG

USERS = 8


def attribute(model, layers, clean, corrupt, right, wrong, backend=None):
    with model.session(backend=backend):
        with model.trace(clean):
            kept = [layer.output for layer in layers]
        with model.trace(corrupt):
            # The weights may be frozen: gradients begin here.
            layers[0].output.requires_grad_(True)
            residual = [layer.output for layer in layers]
            logits = model.lm_head.output[0, -1]
            gradients = []
            with (logits[right] - logits[wrong]).backward():
                for hidden in residual[::-1]:
                    gradients.append(hidden.grad)
            changes = zip(kept, residual, gradients[::-1])
            scores = torch.stack([((a - b) * g).sum(-1)[0] for a, b, g in changes]).detach().save()
    return scores


def peer_nnsight(peer, pairs):
    """With frozen weights: gradients of weights, which nobody asked for, would double the backward pass."""
    of = layers(peer.nnsight, peer.shape)
    with torch.enable_grad():
        found = [attribute(peer.nnsight, of, clean, corrupt, RIGHT, WRONG) for clean, corrupt in pairs]
    return [scores.flatten().tolist() for scores in found]


def measure(lab, shape):
    shape = lab.shape(shape)
    of = layers(model(shape), shape)
    samples = Samples()
    with lab.sides(shape) as sides:
        for turn in range(lab.rounds):
            pairs = [pair(shape, lab.tokens, seed=1000 * turn + user) for user in range(USERS)]
            requests = [record(shape, attribute, of, clean, corrupt, RIGHT, WRONG) for clean, corrupt in pairs]
            for side in sides:
                expected = side.peer.run("gradient", "nnsight", pairs=pairs)
                samples.add((side.gemm, "nnsight"), expected["wall"] / USERS, expected["cpu"] / USERS)
                for way, clients in ("one after another", 1), ("together", USERS):
                    took = side.server.replay(requests, clients)
                    samples.add((side.gemm, way), took.wall / USERS, took.cpu / USERS)
                    for answer, other in zip(took.answers, expected["value"]):
                        check_equal(f"gradient, {way}", answer.values()["scores"].flatten().tolist(), other)
    for side in sides:
        cpu = lambda name: samples.cpu((side.gemm, name))
        place = {"model": shape.name, "gemm": side.gemm}
        for name in "one after another", "together", "nnsight":
            lab.report.row("gradient", **place, tokens=lab.tokens, side=name, cpu_ms=round(1000 * cpu(name), 2))
        value = cpu("nnsight") / cpu("one after another")
        lab.report.ratio("gradient", "nnsight with frozen weights / one after another", value, 1.5, **place)
        value = cpu("one after another") / cpu("together")
        lab.report.ratio("gradient", f"{USERS} users one after another / together", value, 1.5, **place)
