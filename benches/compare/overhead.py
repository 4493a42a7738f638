"""What invokes cost beside the model: one request of many prompts against a batched forward written by hand."""
from .models import ids, layers, prompts
from .recording import model, record
from .report import check_equal

LENGTH = 16
INVOKES = (1, 2, 4, 8, 16, 32)


def read_each(model, layer, prompts, backend=None):
    with model.trace(backend=backend) as tracer:
        kept = list().save()
        for prompt in prompts:
            with tracer.invoke(prompt):
                kept.append(layer.output[:, -1])


def measure(lab, shape):
    shape = lab.shape(shape)
    texts = prompts(shape, [LENGTH] * max(INVOKES), seed=5)
    # The last layer: both sides do the same work, and neither unembeds.
    layer = layers(model(shape), shape)[-1]
    requests = {invokes: record(shape, read_each, layer, texts[:invokes]) for invokes in INVOKES}
    with lab.engines(shape) as sides:
        for _ in range(lab.rounds):
            for side in sides:
                for invokes in INVOKES:
                    measure_side(side, invokes, [ids(text) for text in texts[:invokes]], requests[invokes])
    for side in sides:
        for invokes in INVOKES:
            cpu = {name: side.samples.cpu((invokes, name)) for name in ("raw", "model", "engine")}
            numbers = {f"{name}_ms": 1000 * seconds for name, seconds in cpu.items()}
            lab.report.row("overhead", **side.place, invokes=invokes, **numbers)
            value = cpu["engine"] / cpu["raw"]
            lab.report.ratio("overhead", f"{invokes} invokes / raw forward", value, 1.05, at_least=False, **side.place)


def measure_side(side, invokes, batch, request):
    measured = {
        "raw": side.engine.forward("raw", batch, logits=False),
        "model": side.engine.forward("model", batch, logits=False),
        "engine": side.engine.request(request),
    }
    for name, (cpu, found) in measured.items():
        side.samples.add((invokes, name), cpu, cpu)
        check_equal(f"overhead, {invokes} invokes, {name}", found, measured["raw"][1])
