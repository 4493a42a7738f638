"""What invokes cost beside the model: one request of many prompts against a batched forward written by hand."""
from .models import layers, prompts
from .recording import model, record
from .report import Samples, check_equal

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
    ids = [[int(word[1:]) for word in text.split()] for text in texts]
    # The last layer: both sides do the same work, and neither unembeds.
    layer = layers(model(shape), shape)[-1]
    requests = {invokes: record(shape, read_each, layer, texts[:invokes]) for invokes in INVOKES}
    samples = Samples()
    with lab.engines(shape) as sides:
        for _ in range(lab.rounds):
            for side in sides:
                for invokes in INVOKES:
                    raw, expected = side.engine.forward("raw", ids[:invokes], logits=False)
                    alone, same = side.engine.forward("model", ids[:invokes], logits=False)
                    cpu, found = side.engine.request(requests[invokes])
                    check_equal(f"overhead, {invokes} invokes", found, expected)
                    check_equal("overhead, the model alone", same, expected)
                    for name, seconds in ("raw", raw), ("model", alone), ("engine", cpu):
                        samples.add((side.gemm, invokes, name), seconds, seconds)
    for side in sides:
        for invokes in INVOKES:
            cpu = lambda name: 1000 * samples.cpu((side.gemm, invokes, name))
            place = {"model": shape.name, "gemm": side.gemm}
            row = {f"{name}_ms": round(cpu(name), 3) for name in ("raw", "model", "engine")}
            lab.report.row("overhead", **place, invokes=invokes, **row)
            what = f"{invokes} invokes / raw forward"
            lab.report.ratio("overhead", what, cpu("engine") / cpu("raw"), 1.05, at_least=False, **place)
