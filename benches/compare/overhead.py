"""What invokes cost beside the model: one request of many prompts against a batched forward written by hand."""
from .models import ids, layers, prompts
from .recording import model, record
from .report import check_equal

LENGTH = 16
INVOKES = (1, 2, 4, 8, 16, 32)
# Forward passes written by hand, on weights as PyTorch has them and as the served model has them; and that model's own.
FORWARDS = ("raw", "packed", "model")
# Of all requests of one measurement.
TOKENS = 1024


def read_each(model, layer, prompts, backend=None):
    with model.trace(backend=backend) as tracer:
        kept = list().save()
        for prompt in prompts:
            with tracer.invoke(prompt):
                kept.append(layer.output[:, -1])


def measure(lab, shape):
    shape = lab.shape(shape)
    # The last layer: both sides do the same work, and neither unembeds.
    layer = layers(model(shape), shape)[-1]
    with lab.engines(shape) as sides:
        for turn in lab.turns(sides):
            for invokes in INVOKES:
                # No prompt comes twice: what an engine kept of one would answer the next.
                count = max(2, TOKENS // (invokes * LENGTH))
                texts = prompts(shape, [LENGTH] * invokes * count, seed=100 * turn + invokes)
                batches = [texts[start : start + invokes] for start in range(0, len(texts), invokes)]
                requests = [record(shape, read_each, layer, batch) for batch in batches]
                for side in sides:
                    measure_side(side, invokes, [ids(text) for text in batches[0]], requests)
    for side in sides:
        for invokes in INVOKES:
            cpu = {name: side.samples.cost((invokes, name)) for name in (*FORWARDS, "engine")}
            numbers = {f"{name}_ms": 1000 * seconds for name, seconds in cpu.items()}
            lab.report.row("overhead", **side.place, invokes=invokes, **numbers)
            for raw, name in ("raw", "raw forward"), ("packed", "raw forward on packed weights"):
                value = cpu["engine"] / cpu[raw]
                lab.report.ratio("overhead", f"{invokes} invokes / {name}", value, 1.05, at_least=False, **side.place)


def measure_side(side, invokes, batch, requests):
    measured = {name: side.engine.forward(name, batch, logits=False) for name in FORWARDS}
    took, found = side.engine.requests(requests, 1)
    measured["engine"] = took / len(requests), found[0]
    for name, (cpu, found) in measured.items():
        side.samples.add((invokes, name), cpu, cpu)
        check_equal(f"overhead, {invokes} invokes, {name}", found, measured["raw"][1])
