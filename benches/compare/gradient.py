"""Attribution patching: every (layer, position) at once from one clean run and one backward pass."""
import torch

from .models import layers, pair
from .recording import model, record
from .report import check_equal
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
    with lab.sides(shape) as sides:
        for turn in lab.turns(sides):
            for way, clients in ("one after another", 1), ("together", USERS):
                # No prompt comes twice: what a server kept of one would answer the next.
                seeds = range(1000 * turn + 100 * clients, 1000 * turn + 100 * clients + USERS)
                pairs = [pair(shape, lab.tokens, seed) for seed in seeds]
                requests = [record(shape, attribute, of, clean, corrupt, RIGHT, WRONG) for clean, corrupt in pairs]
                for side in sides:
                    _, saved = side.server_samples(way, requests, clients)
                    expected = side.peer_samples("gradient", "nnsight", pairs=pairs)
                    for values, other in zip(saved, expected):
                        check_equal(f"gradient, {way}", values["scores"].flatten().tolist(), other)
    for side in sides:
        samples = side.samples
        for name in samples.taken:
            cost = 1000 * samples.cost(name) / USERS
            lab.report.row("gradient", **side.place, tokens=lab.tokens, side=name, ms_per_user=cost)
        # What remains of a user's work when nothing but products is left, and all rows are multiplied at once.
        products = 1000 * shape.attribution_flops(lab.tokens) / side.rates[512] / 1e9
        alone = 1000 * samples.cost("one after another") / USERS
        lab.report.row("gradient", **side.place, products_ms_per_user=products, together_at_most=alone / products)
        value = samples.cost("nnsight") / samples.cost("one after another")
        lab.report.ratio("gradient", "nnsight with frozen weights / one after another", value, 1.5, **side.place)
        value = samples.cost("one after another") / samples.cost("together")
        lab.report.ratio("gradient", f"{USERS} users one after another / together", value, 1.5, **side.place)
