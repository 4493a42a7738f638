"""A small request on the tiny model: what a request costs the server besides the model's own arithmetic."""
import statistics

from .models import ids, layers, prompts
from .recording import model, record
from .report import check_equal

LENGTH = 16
WAYS = {"one client": 1, "32 clients": 32}


def read_layer(model, layer, prompt, backend=None):
    with model.trace(prompt, backend=backend):
        hidden = layer.output.save()
    return hidden


def peer_nnsight(peer, prompts):
    layer = layers(peer.nnsight, peer.shape)[-1]
    return [numbers(read_layer(peer.nnsight, layer, prompt)) for prompt in prompts]


def peer_hooks(peer, prompts):
    layer, kept = layers(peer.plain, peer.shape)[-1], []
    handle = layer.register_forward_hook(lambda module, arguments, output: kept.append(output))
    for prompt in prompts:
        peer.plain(peer.ids(prompt), use_cache=False)
    handle.remove()
    return [numbers(hidden[0] if isinstance(hidden, tuple) else hidden) for hidden in kept]


def numbers(hidden):
    """Returns some of a hidden state's numbers."""
    return hidden[0, -1, :16].tolist()


def measure(lab, shape):
    shape = lab.shape(shape)
    count = 128 if lab.quick else 512
    layer = layers(model(shape), shape)[-1]
    fresh = Fresh(shape, layer, count)
    with lab.sides(shape, engine=True) as sides:
        texts, requests = fresh.take()
        for side in sides:
            side.server.replay(requests, clients=4)
        for _ in range(lab.rounds):
            for way, clients in WAYS.items():
                texts, requests = fresh.take()
                for side in sides:
                    measure_side(side, way, clients, texts, requests)
    for side in sides:
        for name in side.samples.taken:
            lab.report.row("small", **side.place, side=name, cpu_ms=ms(side, name))
        for way in WAYS:
            beyond = ms(side, way) - ms(side, f"{way}: the model's arithmetic")
            lab.report.ratio("small", f"ms beyond the model, {way}", beyond, 0.3, at_least=False, **side.place)
        rate = 1000 / ms(side, "32 clients")
        lab.report.ratio("small", "requests per CPU second, 32 clients", rate, 2000, **side.place)


class Fresh:
    """Prompts that no server has seen, and their requests: what a server kept of one would answer the next."""

    def __init__(self, shape, layer, count):
        self.shape, self.layer, self.count, self.seed = shape, layer, count, 100

    def take(self):
        self.seed += 1
        texts = prompts(self.shape, [LENGTH] * self.count, seed=self.seed)
        return texts, [record(self.shape, read_layer, self.layer, text) for text in texts]


def measure_side(side, way, clients, texts, requests):
    share = len(texts)
    expected = side.peer_samples("small", "nnsight", share, prompts=texts)
    side.peer_samples("small", "hooks", share, prompts=texts)
    took = side.server.replay(requests, clients)
    for name, cpu in {
        way: took.cpu,
        f"{way}: vitrine": took.gateway,
        f"{way}: vitrine-worker": took.worker,
    }.items():
        side.samples.add(name, took.wall / share, cpu / share)
    for answer, other in zip(took.answers, expected):
        check_equal(f"small, {way}", numbers(answer.values()["hidden"]), other)

    # The engine without a server around it, and its model's own forward pass over as many rows as passes had on
    # average, up to the last layer's output, as the requests read it: as one batch, and with each row by itself in what
    # differs from request to request, attention and caches.
    rows = round(statistics.mean(answer.meta()["occupancy"] for answer in took.answers))
    cpu, found = side.engine.requests(requests, rows)
    side.samples.add(f"{way}: the engine", cpu / share, cpu / share)
    for some, other in zip(found, expected):
        check_equal(f"small, {way}, engine", some, other)
    for name, what in {"the model's arithmetic": "model", "the model's arithmetic, rows apart": "parts"}.items():
        cpu, found = side.engine.forward(what, [ids(text) for text in texts[:rows]], logits=False)
        side.samples.add(f"{way}: {name}", cpu / rows, cpu / rows)
        check_equal(f"small, {way}, {what}", found, expected[0])


def ms(side, name):
    return 1000 * side.samples.cost(name)
