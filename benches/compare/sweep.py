"""Activation patching at every (layer, position) of a prompt pair: what comparing runs costs when written naively."""
from .models import layers, pair, prompts
from .recording import model, record
from .report import check_equal

# The logits whose difference is kept.
RIGHT, WRONG = 11, 12
CLIENTS = 32
# Plain forward passes that one of a sweep's runs is compared with.
FORWARDS = 16


def patch_everywhere(model, layers, clean, corrupt, positions, right, wrong, backend=None):
    """As a researcher writes it: one trace after another, in one session."""
    with model.session(backend=backend):
        with model.trace(clean):
            residual = [layer.output for layer in layers]
        scores = list().save()
        for layer in range(len(layers)):
            for position in positions:
                with model.trace(corrupt):
                    layers[layer].output[:, position] = residual[layer][:, position]
                    logits = model.lm_head.output[0, -1]
                    scores.append((logits[right] - logits[wrong]).item())
    return scores


def read_everywhere(model, layers, clean, backend=None):
    with model.trace(clean, backend=backend):
        residual = [layer.output for layer in layers].save()


def patch_once(model, layer, corrupt, position, vector, right, wrong, backend=None):
    with model.trace(corrupt, backend=backend):
        layer.output[:, position] = vector
        logits = model.lm_head.output[0, -1]
        score = (logits[right] - logits[wrong]).item().save()


def forward(model, prompt, right, wrong, backend=None):
    with model.trace(prompt, backend=backend):
        logits = model.lm_head.output[0, -1]
        score = (logits[right] - logits[wrong]).item().save()


def peer_nnsight(peer, clean, corrupt, positions):
    """nnsight's own loop, on the very function that the server is sent."""
    of = layers(peer.nnsight, peer.shape)
    return patch_everywhere(peer.nnsight, of, clean, corrupt, positions, RIGHT, WRONG)


def peer_hooks(peer, clean, corrupt, positions):
    """The same loop with plain PyTorch hooks."""
    of, corrupt, residual, scores = layers(peer.plain, peer.shape), peer.ids(corrupt), [], []

    def keep(module, arguments, output):
        residual.append(first(output))

    handles = [layer.register_forward_hook(keep) for layer in of]
    peer.plain(peer.ids(clean), use_cache=False)
    for handle in handles:
        handle.remove()
    for layer, patch in zip(of, residual):
        for position in positions:

            def replace(module, arguments, output):
                first(output)[:, position] = patch[:, position]

            handle = layer.register_forward_hook(replace)
            logits = peer.plain(corrupt, use_cache=False).logits[0, -1]
            handle.remove()
            scores.append((logits[RIGHT] - logits[WRONG]).item())
    return scores


def peer_transformer_lens(peer, clean, corrupt, positions):
    """The same loop with TransformerLens' hook points."""
    bridge, corrupt, scores = peer.transformer_lens, peer.ids(corrupt), []
    names = [f"blocks.{layer}.hook_out" for layer in range(peer.shape.layers)]
    _, residual = bridge.run_with_cache(peer.ids(clean))
    for name in names:
        for position in positions:

            def replace(tensor, hook):
                tensor[:, position] = residual[name][:, position]
                return tensor

            logits = bridge.run_with_hooks(corrupt, fwd_hooks=[(name, replace)])[0, -1]
            scores.append((logits[RIGHT] - logits[WRONG]).item())
    return scores


def peer_pyvene(peer, clean, corrupt, positions):
    """The same loop with pyvene, which runs the source again each time."""
    import pyvene

    clean, corrupt, scores = {"input_ids": peer.ids(clean)}, {"input_ids": peer.ids(corrupt)}, []
    for layer in range(peer.shape.layers):
        place = {"layer": layer, "component": "block_output", "unit": "pos", "max_number_of_units": 1}
        config = pyvene.IntervenableConfig([place], pyvene.VanillaIntervention, model_type=type(peer.plain))
        intervenable = pyvene.IntervenableModel(config, model=peer.plain)
        for position in positions:
            _, output = intervenable(corrupt, [clean], {"sources->base": position})
            logits = output.logits[0, -1]
            scores.append((logits[RIGHT] - logits[WRONG]).item())
    return scores


def first(output):
    return output[0] if isinstance(output, tuple) else output


def measure(lab, shape):
    shape, length = lab.shape(shape), lab.tokens
    differences = []
    with lab.sides(shape) as sides:
        for turn in lab.turns(sides):
            # Nothing that a server keeps of one round's prompts may answer the next round's.
            clean, corrupt = pair(shape, length, seed=turn)
            plain = [record(shape, forward, prompt, RIGHT, WRONG) for prompt in prompts(shape, [length] * FORWARDS, turn)]
            # Peers' loops cost the same everywhere: each round takes other positions.
            stride = 1 if lab.quick else 4
            positions = list(range(turn % stride, length, stride))
            for side in sides:
                found = patch_on_server(side, clean, corrupt, length)
                side.server_samples("forward", plain)
                for library in ["nnsight", "hooks", *lab.libraries]:
                    share = len(positions) / length
                    expected = side.peer_samples("sweep", library, share, clean=clean, corrupt=corrupt, positions=positions)
                    for way, scores in found.items():
                        mine = [score for index, score in enumerate(scores) if index % length in positions]
                        differences.append(check_equal(f"sweep {way} and {library}", mine, expected))
        report(lab, sides, max(differences))


def patch_on_server(side, clean, corrupt, length):
    """Runs the sweep in each way on a server; returns each way's scores."""
    shape = side.shape
    of = layers(model(shape), shape)
    session = record(shape, patch_everywhere, of, clean, corrupt, list(range(length)), RIGHT, WRONG)
    _, [saved] = side.server_samples("session", [session])
    found = {"session": saved["scores"]}

    residual = side.server.replay([record(shape, read_everywhere, of, clean)]).values()[0]["residual"]
    single = [
        record(shape, patch_once, of[layer], corrupt, position, residual[layer][:, position].clone(), RIGHT, WRONG)
        for layer in range(shape.layers)
        for position in range(length)
    ]
    for way, clients in ("requests", 1), ("clients", CLIENTS):
        _, saved = side.server_samples(way, single, clients)
        found[way] = [values["score"] for values in saved]
    return found


def report(lab, sides, difference):
    shape = sides[0].shape
    runs = shape.layers * lab.tokens
    written, exact = shape.sweep_flops(lab.tokens)
    facts = {"layers": shape.layers, "tokens": lab.tokens}
    for side in sides:
        samples = side.samples
        for way in samples.taken:
            cpu = 1000 * samples.cpu(way)
            count = FORWARDS if way == "forward" else runs
            numbers = {"wall_ms": 1000 * samples.wall(way), "cpu_ms": cpu, "cpu_ms_per_run": cpu / count}
            lab.report.row("sweep", **side.place, **facts, side=way, **numbers)
        session, goal = samples.cost("session"), side.goal(15, 9)
        for library, bar in [("nnsight", goal), ("hooks", 7), *((library, goal) for library in lab.libraries)]:
            lab.report.ratio("sweep", f"{library} loop / session", samples.cost(library) / session, bar, **side.place)
        floor = exact / side.rates[512] / 1e9
        lab.report.ratio("sweep", "exact-reuse floor / session", floor / session, 0.8, **side.place)
        for way in "requests", "clients":
            value = samples.cost(way) / runs / (samples.cost("forward") / FORWARDS)
            lab.report.ratio("sweep", f"run in {way} / plain forward", value, 0.4, at_least=False, **side.place)
    counts = {"flops_as_written": written, "flops_exact_reuse": exact}
    lab.report.row("sweep", model=shape.name, **facts, **counts, largest_difference=difference)
