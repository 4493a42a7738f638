"""What it costs to be watched: the same requests on servers that tell nothing of themselves, that tell what they do by default,
and that trace every job and log as much."""
import contextlib
import json
import os
import socket
import statistics
import subprocess
import threading
import urllib.request

from . import models
from .models import layers
from .recording import model
from .report import check_equal
from .server import Server
from .small import LENGTH, Fresh, numbers

# A trace has more spans than this; fewer mean that they were lost.
SPANS = 12
OFF, ON, TRACED = "off", "on", "every job traced"


def measure(lab, shape):
    shape = lab.shape(shape)
    tiny = shape.name == models.TINY.name
    count, turns = (32, 2) if lab.quick else (128, 8 * lab.rounds) if tiny else (64, 4 * lab.rounds)
    fresh = Fresh(shape, layers(model(shape), shape)[-1], count)
    counts = subprocess.run([str(lab.program("telemetry"))], stdout=subprocess.PIPE, text=True, check=True)
    lab.report.row("telemetry", **json.loads(counts.stdout))
    folder = models.ROOT / ".cache/bench"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        devnull = stack.enter_context(open(os.devnull, "w"))
        logs = {name: stack.enter_context(open(folder / f"telemetry-{index}", "w+b")) for index, name in enumerate([ON, TRACED])}
        collectors = {name: stack.enter_context(Collector(lab.program("telemetry"))) for name in logs}
        addresses = {name: free(2) for name in logs}
        plain = dict(os.environ, OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", VITRINE_LOG="off")
        environments = {OFF: plain, **{name: told(plain, collectors[name], addresses[name]) for name in logs}}
        environments[TRACED]["VITRINE_TRACE_SAMPLE"] = "1"
        servers = {
            name: stack.enter_context(
                contextlib.closing(Server(lab.programs, lab.program("replay"), shape, lab.device, environment, logs.get(name, devnull)))
            )
            for name, environment in environments.items()
        }
        stack.enter_context(Scraped([address for both in addresses.values() for address in both]))
        took = {name: [] for name in servers}
        # The first round does not count: what happens only once is not what anyone is measured by.
        for turn in range(1 + turns):
            _, requests = fresh.take()
            # Each comes first, and last, as often as the others.
            order = list(servers)[turn % 3 :] + list(servers)[: turn % 3]
            replays = {name: servers[name].replay(requests) for name in order}
            for answers in zip(*(replays[name].answers for name in servers)):
                first, *others = (numbers(answer.values()["hidden"]) for answer in answers)
                for other in others:
                    check_equal("telemetry", first, other)
            if turn:
                for name, replay in replays.items():
                    took[name].append(replay)
        jobs = count * (1 + turns)
        for name in logs:
            servers[name].close()
        spans = {name: collectors[name].close() for name in logs}
        lines = {name: sum(b'"level":"INFO"' in line for line in written(log)) for name, log in logs.items()}
    if spans[TRACED] < SPANS * jobs:
        raise RuntimeError(f"only {spans[TRACED]} spans came of {jobs} jobs")
    if min(lines.values()) < jobs:
        raise RuntimeError(f"only {lines} lines were logged of {jobs} jobs")
    median = lambda name, of: statistics.median(of(replay) / count * 1000 for replay in took[name])  # noqa: E731
    lab.report.row(
        "telemetry", model=shape.name, tokens=LENGTH, jobs=jobs, spans=spans, lines=lines,
        cpu_ms_a_job={name: median(name, lambda replay: replay.cpu) for name in took},
        wall_ms_a_job={name: median(name, lambda replay: replay.wall) for name in took},
    )  # fmt: skip
    for what, of in ("CPU time", lambda replay: replay.cpu), ("wall time", lambda replay: replay.wall):
        # In pairs, since what else the machine does changes from turn to turn.
        ratios = {name: statistics.median(of(mine) / of(other) for mine, other in zip(took[name], took[OFF])) for name in logs}
        lab.report.row("telemetry", model=shape.name, what=f"{what}, every job traced", value=ratios[TRACED])
        lab.report.ratio("telemetry", f"{what} with all that is told by default, of without", ratios[ON], 1.03, at_least=False, model=shape.name)


def told(environment, collector, addresses):
    """Returns the environment of a server that counts, is scraped, traces and logs each job as JSON."""
    health, worker_health = addresses
    return dict(environment, VITRINE_OTLP_ENDPOINT=collector.address, VITRINE_HEALTH=health, VITRINE_WORKER_HEALTH=worker_health,
                VITRINE_LOG="info", VITRINE_LOG_FORMAT="json")  # fmt: skip


def written(log):
    log.seek(0)
    return log


class Collector:
    """The Rust program that takes spans."""

    def __init__(self, program):
        self.process = subprocess.Popen([str(program), "collect"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()

    def close(self):
        """Returns how many came."""
        spans, _ = self.process.communicate()
        return int(spans)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Scraped:
    """Reads what some addresses show, once a second, as Prometheus would."""

    def __init__(self, addresses):
        self.addresses, self.done = addresses, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.done.wait(1):
            for address in self.addresses:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
                    answer.read()

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def free(number):
    """Returns addresses on this machine that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(number)]
        return ["127.0.0.1:%d" % one.getsockname()[1] for one in held]
