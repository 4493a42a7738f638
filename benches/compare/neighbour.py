"""Small requests of one tenant beside another's work on thousands of tokens: a pass, all logits of one, a backward pass."""
import contextlib
import os
import statistics

from .fairness import wait
from .models import layers, prompts
from .recording import model, record
from .server import Server
from .users import quantile

# Tokens of the long prompts, or as many as the model has positions.
LONG = [4000, 16000]
# Small requests alone, and at most so many beside a long one.
ALONE, BESIDE = 20, 100


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
    environment = dict(os.environ, OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")
    first, last = layers(model(shape), shape)[0], layers(model(shape), shape)[-1]
    kinds = {"a pass": (read_layer, last), "all logits": (all_logits, last), "a backward pass": (backward, first)}
    lengths = [256] if lab.quick else sorted({min(tokens, shape.context) for tokens in LONG})
    with open(os.devnull, "w") as log:
        server = Server(lab.programs, lab.program("replay"), shape, lab.device, environment, log)
        with contextlib.closing(server):
            seeds, keys = iter(range(9000, 10000)), (server.tenant("quiet"), server.tenant("busy"))
            for tokens in lengths:
                took = {kind: {"alone": [], "beside": [], "long": [], "outlasted": []} for kind in kinds}
                for turn in range(1 + lab.rounds):
                    for kind, (program, layer) in kinds.items():
                        # No prompt comes twice: what a server kept of one would answer the next.
                        long = [record(shape, program, layer, text) for text in prompts(shape, [tokens] * 2, next(seeds))]
                        small = lambda count: [
                            record(shape, read_layer, first, text) for text in prompts(shape, [16] * count, next(seeds))
                        ]
                        # What happens only once is not what anyone is measured by.
                        beside(server, keys, long, small, took[kind] if turn else {name: [] for name in took[kind]})
                for kind in kinds:
                    report(lab, shape, tokens, kind, took[kind])


def beside(server, keys, long, small, times):
    quiet, busy = keys

    def send(requests, key):
        with server.sending(requests, 1, key) as sending:
            return [answer.took for answer in sending.answers()[1] if answer.values()]

    times["alone"].append(send(small(ALONE), quiet))
    times["long"] += send(long[:1], busy)
    # As many as are done before the long one is: each takes at most four times as long as alone, on average.
    count = int(times["long"][-1] / (4 * statistics.median(times["alone"][-1])))
    requests = small(max(5, min(count, BESIDE)))
    with server.sending(long[1:], 1, busy) as sending:
        wait(server, "busy", 1)
        times["beside"].append(send(requests, quiet))
        times["outlasted"].append(sending.process.poll() is None)
        sending.answers()


def report(lab, shape, tokens, kind, took):
    middle = lambda name, share: 1000 * statistics.median(quantile(times, share) for times in took[name])
    long = 1000 * statistics.median(took["long"])
    place = {"model": shape.name, "tokens": tokens, "long": kind}
    for name in ("alone", "beside"):
        numbers = {"p50_ms": middle(name, 0.5), "p95_ms": middle(name, 0.95)}
        lab.report.row("neighbour", **place, side=name, **numbers)
    lab.report.row("neighbour", **place, side="the long one alone", ms=long, outlasted_the_small_ones=all(took["outlasted"]))
    slower = middle("beside", 0.5) / middle("alone", 0.5)
    lab.report.row("neighbour", **place, what=f"p50 beside {kind} of {tokens} tokens / p50 alone", value=slower)
    # A fifth of the long one, or a second where that is longer.
    what = f"p95 of small requests beside {kind} of {tokens} tokens / the time of these"
    goal = max(long / 5, 1000) / long
    lab.report.ratio("neighbour", what, middle("beside", 0.95) / long, goal, at_least=False, model=shape.name)
