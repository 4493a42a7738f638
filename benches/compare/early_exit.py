"""Reading an early layer: the layers behind it need not run."""
from .models import layers, prompts
from .recording import model, record
from .report import check_equal
from .small import numbers, read_layer

LAYER = 2


def read_token(model, prompt, backend=None):
    with model.trace(prompt, backend=backend):
        token = model.lm_head.output[0, -1].argmax().save()


def peer_nnsight(peer, prompts):
    layer = layers(peer.nnsight, peer.shape)[LAYER]
    return [numbers(read_layer(peer.nnsight, layer, prompt)) for prompt in prompts]


def measure(lab, shape):
    # Nothing is early in the few layers of a quick run.
    shape = lab.shape(shape, at_least=8)
    count = 4 if lab.quick else 16
    layer = layers(model(shape), shape)[LAYER]
    with lab.sides(shape) as sides:
        for turn in lab.turns(sides):
            # No prompt comes twice: what a server kept of one would answer the next.
            texts = prompts(shape, [lab.tokens] * 2 * count, seed=300 + turn)
            early = [record(shape, read_layer, layer, text) for text in texts[:count]]
            full = [record(shape, read_token, text) for text in texts[count:]]
            for side in sides:
                expected = side.peer_samples("early_exit", "nnsight", prompts=texts[:count])
                _, saved = side.server_samples("early", early)
                for values, other in zip(saved, expected):
                    check_equal("early exit", numbers(values["hidden"]), other)
                side.server_samples("full", full)
    for side in sides:
        for name in side.samples.taken:
            cost = 1000 * side.samples.cost(name) / count
            lab.report.row("early_exit", **side.place, layers=shape.layers, side=name, ms=cost)
        what = f"layer {LAYER} of {shape.layers} / full forward"
        value = side.samples.cost("early") / side.samples.cost("full")
        lab.report.ratio("early_exit", what, value, 0.35, at_least=False, **side.place)
