"""Small requests beside another's work on thousands of tokens: a pass, all logits of one, a backward pass."""
import statistics

from .models import layers, prompts
from .recording import model, record
from .users import quantile

# Tokens of the long prompt, or as many as the model has positions.
LONG = 4000
ALONE = 20


def read_layer(model, layer, prompt, backend=None):
    with model.trace(prompt, backend=backend):
        hidden = layer.output[:, -1].save()
        logits = model.lm_head.output[:, -1].save()
    return hidden, logits


def all_logits(model, layer, prompt, backend=None):
    with model.trace(prompt, backend=backend):
        likeliest = model.lm_head.output.argmax(-1).save()
    return (likeliest,)


def backward(model, layer, prompt, backend=None):
    with model.trace(prompt, backend=backend):
        # The weights may be frozen: gradients begin here.
        hidden = layer.output
        hidden.requires_grad_(True)
        with model.lm_head.output[0, -1].max().backward():
            gradient = hidden.grad[:, -1].save()
    return (gradient,)


def measure(lab, shape):
    shape = lab.shape(shape)
    tokens = min(256 if lab.quick else LONG, shape.context)
    first, last = layers(model(shape), shape)[0], layers(model(shape), shape)[-1]
    kinds = {"a pass": (read_layer, last), "all logits": (all_logits, last), "a backward pass": (backward, first)}
    with lab.sides(shape) as sides:
        took = {}
        for turn in lab.turns(sides, took):
            for number, (kind, (program, layer)) in enumerate(kinds.items()):
                # No prompt comes twice: what a server kept of one would answer the next.
                texts = iter(prompts(shape, [tokens, tokens] + [16] * 400, seed=9000 + 10 * turn + number))
                long = [record(shape, program, layer, next(texts)) for _ in range(2)]
                small = [record(shape, read_layer, first, text) for text in texts]
                for side in sides:
                    times = took.setdefault((side.gemm, kind), {"alone": [], "beside": [], "long": []})
                    beside(side, long, small, times)
        for side in sides:
            for kind in kinds:
                report(lab, side, tokens, kind, took[side.gemm, kind])


def beside(side, long, small, times):
    alone, _ = side.server_samples("alone", small[:ALONE])
    times["alone"].append([answer.took for answer in alone.answers])
    whole, _ = side.server_samples("long", long[:1])
    times["long"].append(whole.answers[0].took)
    # The second client sends them one after another, and has sent all before the long one is done: each takes at least
    # twice as long as alone.
    count = int(times["long"][-1] / (4 * statistics.median(times["alone"][-1])))
    both, _ = side.server_samples("both", long[1:] + small[ALONE : ALONE + max(5, min(count, len(small) - ALONE))], 2)
    times["beside"].append([answer.took for answer in both.answers[1:]])


def report(lab, side, tokens, kind, took):
    middle = lambda name, share: 1000 * statistics.median(quantile(times, share) for times in took[name])
    long = 1000 * statistics.median(took["long"])
    for name in ("alone", "beside"):
        numbers = {"p50_ms": middle(name, 0.5), "p95_ms": middle(name, 0.95)}
        lab.report.row("neighbour", **side.place, tokens=tokens, long=kind, side=name, **numbers)
    lab.report.row("neighbour", **side.place, tokens=tokens, long=kind, side="the long one alone", ms=long)
    slower = middle("beside", 0.5) / middle("alone", 0.5)
    lab.report.row("neighbour", **side.place, what=f"p50 beside {kind} of {tokens} tokens / p50 alone", value=slower)
    # A fifth of the long one, or a second where that is longer.
    what = f"p95 of small requests beside {kind} of {tokens} tokens / the time of these"
    goal = max(long / 5, 1000) / long
    lab.report.ratio("neighbour", what, middle("beside", 0.95) / long, goal, at_least=False, **side.place)
