"""The engine without a server: the bench program `engine`, which obeys orders as a peer does."""
import json
import math
import subprocess
import time

from . import models
from .server import cpu_time

# Seconds of one measurement.
LONG = 0.3


class Engine:
    def __init__(self, program, shape, device, environment, log):
        self.shape, self.device, self.log, self.repeats = shape, device, log, {}
        self.process = subprocess.Popen(
            [str(program), str(shape.folder), device], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            text=True,
        )  # fmt: skip

    def forward(self, what, ids, logits=True):
        """Runs a forward pass of `raw`, `model` or `parts`; returns what it took in seconds (of CPU time on a CPU) and some numbers of its output."""
        return self.measure({"what": what, "ids": ids, "logits": logits})

    def requests(self, requests, together):
        """Runs recorded requests once each, so many at a time; returns what they took and each one's numbers."""
        folder = models.ROOT / ".cache/bench/requests"
        folder.mkdir(exist_ok=True)
        files = [folder / str(index) for index in range(len(requests))]
        for file, request in zip(files, requests):
            file.write_bytes(request.payload)
        read = {"what": "read", "files": [str(file) for file in files], "fields": json.dumps(requests[0].fields)}
        self.ask(read, 1)
        return self.ask({"what": "run", "together": together}, 1)

    def measure(self, order):
        key = json.dumps(order)
        if key not in self.repeats:
            # The first run loads the model.
            self.ask(order, 1)
            seconds, _ = self.ask(order, 1)
            self.repeats[key] = max(1, math.ceil(LONG / seconds))
        return self.ask(order, self.repeats[key])

    def ask(self, order, repeat):
        before = self.clock()
        self.process.stdin.write(json.dumps({**order, "repeat": repeat}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the engine failed; see {self.log.name}")
        return (self.clock() - before) / repeat, json.loads(line)["values"]

    def clock(self):
        return cpu_time(self.process.pid) if self.device == "cpu" else time.perf_counter()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
