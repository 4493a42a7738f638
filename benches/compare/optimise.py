"""What is left out of a pass, beside what compilers leave out of the same intervention written in PyTorch; and what a program is
predicted to cost, beside what it costs.

A compiler is given the whole intervention as one function of token ids: what nothing depends on goes, what is computed twice
is computed once, and what is left is fused. A server is given the program as a researcher writes it.
"""
import copy
import functools
import time

from .models import layers, prompts
from .recording import model, record
from .report import check_equal

LAYER = 2
RIGHT, WRONG = 11, 12
COMPILERS = ("fx", "torchscript", "compile")


def early(model, layers, prompt, backend=None):
    """One early layer is read: those behind it are dead."""
    with model.trace(prompt, backend=backend):
        value = layers[LAYER].output[0, -1, :16].tolist().save()


def unused(model, layers, prompt, backend=None):
    """Every layer is read, and one of the values used: the other sites are dead."""
    with model.trace(prompt, backend=backend):
        norms = [layer.output.norm() for layer in layers]
        value = [norms[LAYER].item()].save()


def shared(model, layers, prompt, vectors, backend=None):
    """One prompt is patched in several ways at one place: what comes before that is the same each time."""
    with model.session(backend=backend):
        value = list().save()
        for vector in vectors:
            with model.trace(prompt):
                layers[-2].output[:, -1] = vector
                logits = model.lm_head.output[0, -1]
                value.append((logits[RIGHT] - logits[WRONG]).item())


def plain(model, prompt, backend=None):
    """Nothing can be left out: what the others are compared with."""
    with model.trace(prompt, backend=backend):
        logits = model.lm_head.output[0, -1]
        value = [(logits[RIGHT] - logits[WRONG]).item()].save()


def patched(layer, vector):
    """Returns a layer whose last position is another."""
    import torch

    class Patched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def __getattr__(self, name):
            # The model asks its layers what kind they are.
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(super().__getattr__("layer"), name)

        def forward(self, *arguments, **keywords):
            output = self.layer(*arguments, **keywords)
            hidden = output[0] if isinstance(output, tuple) else output
            hidden = torch.cat([hidden[:, :-1], vector.expand(hidden.shape[0], 1, -1)], dim=1)
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    return Patched()


def function(peer, work, vectors):
    """Returns an intervention as a function of token ids."""
    import torch

    def forward(model, ids, **more):
        # With a mask, transformers does not look for sequences in positions, which no compiler could follow.
        return model(ids, attention_mask=torch.ones_like(ids), use_cache=False, **more)

    def states(ids):
        return forward(peer.plain, ids, output_hidden_states=True).hidden_states[1:]

    def difference(model, ids):
        logits = forward(model, ids).logits[0, -1]
        return logits[RIGHT] - logits[WRONG]

    if work == "early":
        return lambda ids: states(ids)[LAYER][0, -1, :16]
    if work == "unused":
        return lambda ids: torch.stack([state.norm() for state in states(ids)])[LAYER:LAYER + 1]
    if work == "plain":
        return lambda ids: difference(peer.plain, ids)[None]
    models = []
    for vector in vectors:
        # Other modules over the same weights.
        memo = {id(tensor): tensor for tensor in (*peer.plain.parameters(), *peer.plain.buffers())}
        own = copy.deepcopy(peer.plain, memo)
        of = layers(own, peer.shape)
        of[-2] = patched(of[-2], vector)
        models.append(own)
    return lambda ids: torch.stack([difference(own, ids) for own in models])


@functools.cache
def compiled(peer, compiler, work, length, count):
    """Returns an intervention as a compiler makes it, and the seconds that this took."""
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.passes.dialect.common.cse_pass import CSEPass

    run = function(peer, work, vectors_of(peer.shape, count))
    example = torch.zeros(1, length, dtype=torch.long, device=peer.device)
    began = time.perf_counter()
    if compiler == "compile":
        run = torch.compile(run, dynamic=False)
    elif compiler != "eager":
        graph = make_fx(run, tracing_mode="fake", _allow_non_fake_inputs=True)(example)
        graph.graph.eliminate_dead_code()
        graph = CSEPass()(graph).graph_module
        graph.recompile()
        run = graph if compiler == "fx" else torch.jit.freeze(torch.jit.trace(graph.eval(), example, check_trace=False))
    # Twice: a profile is made of what runs first.
    run(example), run(example)
    return run, time.perf_counter() - began


def vectors_of(shape, count):
    import torch

    torch.manual_seed(count)
    return torch.randn(count, shape.width)


def peer_prepare(peer, compiler, work, length, count):
    return compiled(peer, compiler, work, length, count)[1]


def peer_run(peer, compiler, work, prompts, count):
    ids = [peer.ids(prompt) for prompt in prompts]
    run, _ = compiled(peer, compiler, work, ids[0].shape[1], count)
    return [run(row).tolist() for row in ids]


def measure(lab, shape):
    # Nothing is early in the few layers of a quick run.
    shape = lab.shape(shape, at_least=4)
    repeats, count = (1, 2) if lab.quick else (8, 8)
    works = ("plain", "early", "unused", "shared")
    made, predicted = {}, {}
    with lab.sides(shape) as sides:
        for turn in lab.turns(sides, predicted):
            for number, work in enumerate(works):
                # No prompt comes twice: what a server kept of one would answer the next.
                texts = prompts(shape, [lab.tokens] * repeats, seed=600 + 10 * turn + number)
                requests = [recorded(shape, work, text, count) for text in texts]
                for side in sides:
                    measure_side(side, work, texts, requests, count, made, predicted)
    for side in sides:
        report(lab, side, works, repeats, count, made, predicted)


def recorded(shape, work, text, count):
    of = layers(model(shape), shape)
    more = {"plain": [], "shared": [of, text, vectors_of(shape, count)]}.get(work, [of, text])
    return record(shape, globals()[work], *(more or [text]))


def measure_side(side, work, texts, requests, count, made, predicted):
    arguments = {"work": work, "count": count}
    explained = [side.server.explain(request)["cost"]["device_seconds"] for request in requests]
    took, values = side.server_samples((work, "vitrine"), requests)
    spent = [answer.meta()["execution_time_s"] for answer in took.answers]
    predicted.setdefault((side.gemm, work), []).extend(zip(explained, spent))
    for compiler in ("eager", *COMPILERS):
        length = len(texts[0].split())
        seconds = side.run("optimise", "prepare", compiler=compiler, length=length, **arguments)["value"]
        made.setdefault((side.gemm, compiler, work), seconds)
        ran = side.run("optimise", "run", compiler=compiler, prompts=texts, **arguments)
        side.samples.add((work, compiler), ran["wall"], ran["cpu"])
        for found, other in zip(values, ran["value"]):
            check_equal(f"{work}, {compiler}", found["value"], other, 1e-3)


def report(lab, side, works, repeats, count, made, predicted):
    cost = side.samples.cost
    for work in works:
        runs = repeats * (count if work == "shared" else 1)
        numbers = {f"{name}_ms": 1000 * cost((work, name)) / runs for name in ("vitrine", "eager", *COMPILERS)}
        compiling = {f"{name}_compiling_s": made[side.gemm, name, work] for name in COMPILERS}
        lab.report.row("optimise", **side.place, work=work, **numbers, **compiling)

        def saving(name):
            """How many times cheaper a run is than a plain pass on the same side."""
            whole = cost(("plain", "eager" if name in COMPILERS else name)) / repeats
            return whole / (cost((work, name)) / runs)

        if work != "plain":
            best = max(COMPILERS, key=saving)
            what = f"{work}: what is saved / what {best} saves"
            lab.report.ratio("optimise", what, saving("vitrine") / saving(best), 1, **side.place)
        pairs = [(told, spent) for told, spent in predicted[side.gemm, work] if told]
        if pairs:
            value = sum(spent for _, spent in pairs) / sum(told for told, _ in pairs)
            lab.report.ratio("optimise", f"{work}: seconds / predicted", value, 2, at_least=False, **side.place)
