"""Reading an early layer: the layers behind it need not run."""
from .models import layers, prompts
from .recording import model, record
from .report import Samples, check_equal
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
    # No prompt comes twice, in no round: what was kept of one would answer the next.
    count = 4 if lab.quick else 16
    texts = prompts(shape, [lab.tokens] * count * 2 * lab.rounds, seed=3)
    layer = layers(model(shape), shape)[LAYER]
    samples = Samples()
    with lab.sides(shape) as sides:
        for turn in range(lab.rounds):
            mine = texts[turn * 2 * count :][: 2 * count]
            early = [record(shape, read_layer, layer, text) for text in mine[:count]]
            full = [record(shape, read_token, text) for text in mine[count:]]
            for side in sides:
                expected = side.peer.run("early_exit", "nnsight", prompts=mine[:count])
                samples.add((side.gemm, "nnsight"), expected["wall"] / count, expected["cpu"] / count)
                for way, requests in ("early", early), ("full", full):
                    took = side.server.replay(requests)
                    samples.add((side.gemm, way), took.wall / count, took.cpu / count)
                    values = [answer.values() for answer in took.answers]
                    if way == "early":
                        for value, other in zip(values, expected["value"]):
                            check_equal("early exit", numbers(value["hidden"]), other)
    for side in sides:
        cpu = lambda name: samples.cpu((side.gemm, name))
        place = {"model": shape.name, "gemm": side.gemm}
        for name in "early", "full", "nnsight":
            lab.report.row("early_exit", **place, layers=shape.layers, side=name, cpu_ms=round(1000 * cpu(name), 3))
        what = f"layer {LAYER} of {shape.layers} / full forward"
        lab.report.ratio("early_exit", what, cpu("early") / cpu("full"), 0.35, at_least=False, **place)
