"""A small request on the tiny model: what a request costs the server besides the model's own arithmetic."""
from .models import layers, prompts
from .recording import model, record
from .report import Samples, check_equal

LENGTH = 16
CLIENTS = 32


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
    ids = [[int(word[1:]) for word in texts[0].split()]]
    samples = Samples()
    with lab.sides(shape, engine=True) as sides:
        for side in sides:
            side.server.replay(requests)
        for _ in range(lab.rounds):
            for side in sides:
                expected = side.peer.run("small", "nnsight", prompts=texts)
                samples.add((side.gemm, "nnsight"), expected["wall"] / len(texts), expected["cpu"] / len(texts))
                took = side.peer.run("small", "hooks", prompts=texts)
                samples.add((side.gemm, "hooks"), took["wall"] / len(texts), took["cpu"] / len(texts))
                for way, clients in ("one client", 1), ("32 clients", CLIENTS):
                    took = side.server.replay(many, clients)
                    samples.add((side.gemm, way), took.wall / len(many), took.cpu / len(many))
                    samples.add((side.gemm, way, "worker"), took.wall / len(many), took.worker / len(many))
                    for index, answer in enumerate(took.answers):
                        found = numbers(answer.values()["hidden"])
                        check_equal(f"small, {way}", found, expected["value"][index % len(texts)])
                cpu, found = side.engine.forward("model", ids, logits=False)
                samples.add((side.gemm, "model"), cpu, cpu)
                check_equal("small, the model alone", found, expected["value"][0])
    for side in sides:
        cpu = lambda name: 1000 * samples.cpu((side.gemm, name))
        place = {"model": shape.name, "gemm": side.gemm}
        for name in "model", "nnsight", "hooks":
            lab.report.row("small", **place, side=name, cpu_ms=round(cpu(name), 4))
        for way in "one client", "32 clients":
            worker = 1000 * samples.cpu((side.gemm, way, "worker"))
            split = {"cpu_ms": round(cpu(way), 4), "worker_cpu_ms": round(worker, 4)}
            lab.report.row("small", **place, side=way, requests=len(many), **split)
            beyond = cpu(way) - cpu("model")
            lab.report.ratio("small", f"ms beyond the model, {way}", beyond, 0.3, at_least=False, **place)
        lab.report.ratio("small", "requests per CPU second, 32 clients", 1000 / cpu("32 clients"), 2000, **place)
