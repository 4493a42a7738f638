"""A small request on the tiny model: what a request costs the server besides the model's own arithmetic."""
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
    texts = prompts(shape, [LENGTH] * 64, seed=2)
    layer = layers(model(shape), shape)[-1]
    requests = [record(shape, read_layer, layer, text) for text in texts]
    many = requests * (2 if lab.quick else 16)
    with lab.sides(shape, engine=True) as sides:
        for side in sides:
            side.server.replay(requests)
        for _ in range(lab.rounds):
            for side in sides:
                measure_side(side, texts, many, requests[0])
    for side in sides:
        for name in side.samples.taken:
            lab.report.row("small", **side.place, side=name, cpu_ms=ms(side, name))
        for way in ["engine", *WAYS]:
            beyond = ms(side, way) - ms(side, "model")
            lab.report.ratio("small", f"ms beyond the model, {way}", beyond, 0.3, at_least=False, **side.place)
        rate = 1000 / ms(side, "32 clients")
        lab.report.ratio("small", "requests per CPU second, 32 clients", rate, 2000, **side.place)


def measure_side(side, texts, many, request):
    share = len(texts)
    expected = side.peer_samples("small", "nnsight", share, prompts=texts)
    side.peer_samples("small", "hooks", share, prompts=texts)
    for way, clients in WAYS.items():
        took = side.server.replay(many, clients)
        side.samples.add(way, took.wall / len(many), took.cpu / len(many))
        side.samples.add(f"{way}, of it vitrine-worker", took.wall / len(many), took.worker / len(many))
        for index, answer in enumerate(took.answers):
            check_equal(f"small, {way}", numbers(answer.values()["hidden"]), expected[index % len(texts)])
    # The model up to the last layer's output, as the requests read it; the engine without a server around it.
    for name, (cpu, found) in {
        "model": side.engine.forward("model", [ids(texts[0])], logits=False),
        "engine": side.engine.request(request),
    }.items():
        side.samples.add(name, cpu, cpu)
        check_equal(f"small, {name}", found, expected[0])


def ms(side, name):
    return 1000 * side.samples.cpu(name)
