"""What it costs to be watched: the same requests on a server that traces every job and is scraped, and on one that does not."""
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


def measure(lab, shape):
    shape = lab.shape(shape)
    count = 32 if lab.quick else 256 if shape.name == models.TINY.name else 64
    fresh = Fresh(shape, layers(model(shape), shape)[-1], count)
    counts = subprocess.run([str(lab.program("telemetry"))], stdout=subprocess.PIPE, text=True, check=True)
    lab.report.row("telemetry", **json.loads(counts.stdout))
    environment = dict(os.environ, OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(os.devnull, "w"))
        collector = stack.enter_context(Collector(lab.program("telemetry")))
        health, worker_health = free(2)
        watched = dict(environment, VITRINE_OTLP_ENDPOINT=collector.address, VITRINE_HEALTH=health, VITRINE_WORKER_HEALTH=worker_health)
        servers = {
            name: stack.enter_context(contextlib.closing(Server(lab.programs, lab.program("replay"), shape, lab.device, made, log)))
            for name, made in [("watched", watched), ("unwatched", environment)]
        }
        stack.enter_context(Scraped([health, worker_health]))
        cpu = {name: [] for name in servers}
        # The first round does not count: what happens only once is not what anyone is measured by.
        for turn in range(1 + 2 * lab.rounds):
            _, requests = fresh.take()
            order = sorted(servers, reverse=turn % 2)
            took = {name: servers[name].replay(requests) for name in order}
            for mine, other in zip(*(took[name].answers for name in servers)):
                check_equal("telemetry", numbers(mine.values()["hidden"]), numbers(other.values()["hidden"]))
            if turn:
                for name in servers:
                    cpu[name].append(took[name].cpu / count * 1000)
        jobs = count * (1 + 2 * lab.rounds)
        servers.pop("watched").close()
        spans = collector.close()
    if spans < SPANS * jobs:
        raise RuntimeError(f"only {spans} spans came of {jobs} jobs")
    medians = {name: statistics.median(taken) for name, taken in cpu.items()}
    lab.report.row("telemetry", model=shape.name, tokens=LENGTH, jobs=jobs, spans=spans, cpu_ms_a_job=medians)
    ratio = statistics.median(mine / other for mine, other in zip(cpu["watched"], cpu["unwatched"]))
    lab.report.ratio("telemetry", "CPU of a server that is watched, of one that is not", ratio, 1.03, at_least=False, model=shape.name)


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
