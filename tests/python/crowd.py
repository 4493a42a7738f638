"""Runs every experiment one at a time, then by eight clients at once among unrelated jobs, and compares what each gives. A client
runs every second experiment, so that four run each.

Equal are: names, structure, types, shapes, integers, texts, printed lines and exceptions, exactly. Floats agree bit for
bit where the server says that the shapes of its computation were the same (`shape_class` in a result's meta), and to
1e-4 of the tensor's largest number elsewhere.

KEYS in the environment are API keys: of the lone client, of each of the crowd, of those that send unrelated jobs.
"""
import gc
import importlib
import multiprocessing
import os
import random
import sys
import time
import traceback
from collections import Counter

import torch

import experiments
import neighbours
from experiments import CONFIG

LISTS = ["reading", "writing", "invokes", "generation", "sessions", "programs", "gradients", "caches", "edits", "pipes"]
CLIENTS = 8
SEED = 20261126


def main():
    # With one thread, libtorch has none that a fork would leave behind.
    torch.set_num_threads(1)
    lone_key, *keys = os.environ["KEYS"].split(",")
    client_keys, endless_key, trouble_keys = keys[:CLIENTS], keys[CLIENTS], keys[CLIENTS + 1 :]
    for name in LISTS:
        importlib.import_module(f"experiments.{name}")
    models = experiments.models(remote=True)

    CONFIG.API.APIKEY = lone_key
    began = time.monotonic()
    alone = [experiments.run(experiment, models, True) for experiment in experiments.experiments]
    for experiment, outcome in zip(experiments.experiments, alone):
        assert (outcome.error is not None) == experiment.fails, f"{experiment} alone: {outcome.error}"
    print(f"{len(alone)} experiments, one at a time: {time.monotonic() - began:.0f} s; seed {SEED}", flush=True)

    began = time.monotonic()
    CONFIG.API.APIKEY = endless_key
    endless = neighbours.endless(models)
    # What is there by now is left alone, so that the processes share it.
    gc.freeze()
    stop = multiprocessing.get_context("fork").Event()
    troubles = [Process(trouble, key, models, stop) for key in trouble_keys]
    clients = [Process(client, key, models, alone, number) for number, key in enumerate(client_keys)]
    wrong, counts = [], Counter()
    for found, counted in [process.report() for process in clients]:
        wrong += found
        counts.update(counted)
    stop.set()
    for lines, jobs in (process.report() for process in troubles):
        wrong += lines
        counts["jobs"] += jobs
    ends = Counter(neighbours.cancel(job) for job in endless)
    # Who meets whom in a pass is chance. That nobody ever does is not, and would make all of this worth nothing.
    kinds = {experiment.function.__module__ for experiment in experiments.experiments if experiment.shared}
    wrong += [f"FAIL {kind}: no pass was ever shared" for kind in sorted(kinds) if not counts["shared", kind]]

    print("\n".join(wrong))
    print(
        f"{counts['runs']} runs by {CLIENTS} clients in {time.monotonic() - began:.0f} s: {counts['shared']} of "
        f"{counts['requests']} requests shared their passes; {counts['classed']} runs were of the same shape classes, "
        f"{counts['bits']} equal to the bit; beside {ends} and {counts['jobs']} other jobs; {len(wrong)} are wrong"
    )
    assert counts["runs"] == CLIENTS // 2 * len(alone)
    sys.exit(len(wrong) > 0)


class Process:
    """A process that runs a function and reports what it returns."""

    def __init__(self, function, *arguments):
        processes = multiprocessing.get_context("fork")
        self.reports, end = processes.Pipe(duplex=False)
        self.process = processes.Process(target=lambda: end.send(function(*arguments)))
        self.process.start()
        # Now only the process has it, whose end ends the pipe.
        end.close()

    def report(self):
        report = self.reports.recv()
        self.process.join()
        return report


def client(key, models, alone, number):
    """Runs every second of the list in an order of its own. Returns what was different, and counts."""
    CONFIG.API.APIKEY = key
    seed, order = SEED + number, list(range(number % 2, len(alone), 2))
    random.Random(seed).shuffle(order)
    wrong, counts = [], Counter()
    for place in order:
        experiment, want = experiments.experiments[place], alone[place]
        counts["runs"] += 1
        try:
            got = experiments.run(experiment, models, True)
            why = reason(want, got, counts)
        except Exception:  # noqa: BLE001
            why = traceback.format_exc()
        if why is not None:
            wrong.append(f"FAIL {experiment}, seed {seed}: {why}")
            continue
        for one, two in zip(want.metas, got.metas):
            shared = two.get("occupancy", 0) > one.get("occupancy", 0)
            counts["requests"] += 1
            counts["shared"] += shared
            if experiment.shared and two.get("forwards", 0) > 0:
                counts["shared", experiment.function.__module__] += shared
    return wrong, counts


def reason(want, got, counts):
    """Returns how an outcome differs from that of the lone run, or None."""
    if got.printed != want.printed:
        return f"printed {got.printed}, not {want.printed}"
    if got.error != want.error:
        return f"raised\n{got.error}\nnot\n{want.error}"
    if len(got.metas) != len(want.metas):
        return f"{len(got.metas)} requests are not {len(want.metas)}"
    classes = [(one.get("shape_class"), two.get("shape_class")) for one, two in zip(want.metas, got.metas)]
    same = bool(classes) and all(one is not None and one == two for one, two in classes)
    counts["classed"] += same
    bits = experiments.difference(want.value, got.value, experiments.equal)
    counts["bits"] += bits is None
    return bits if same else experiments.difference(want.value, got.value, experiments.near)


def trouble(key, models, stop):
    """Sends jobs that fail, and large ones, until told to stop. Returns what was wrong with them, and their number."""
    CONFIG.API.APIKEY = key
    wrong, jobs, said = [], 0, {}
    kinds = [neighbours.endless_loop, *neighbours.FAILING, *neighbours.SOUND]
    while not stop.is_set():
        for job, name in [(job, name) for job in kinds for name in models]:
            try:
                text = neighbours.run(job, models[name])
                if said.setdefault((job, name), text) != text:
                    wrong.append(f"FAIL {job.__name__} ({name}): {text!r} was {said[job, name]!r}")
            except Exception:  # noqa: BLE001
                wrong.append(f"FAIL {job.__name__} ({name}): {traceback.format_exc()}")
            jobs += 1
            if stop.is_set():
                break
        # It holds a model for seconds, so once is enough.
        kinds = [*neighbours.FAILING, *neighbours.SOUND]
    return wrong, jobs


main()
