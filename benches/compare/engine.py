"""The engine without a server: the bench program `engine`, which obeys orders as a peer does."""
import json
import math
import subprocess

from . import models
from .server import cpu_time

# CPU seconds of one measurement.
LONG = 0.3


class Engine:
    def __init__(self, program, shape, environment, log):
        self.shape, self.log, self.repeats = shape, log, {}
        self.process = subprocess.Popen(
            [str(program), str(shape.folder)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            text=True,
        )  # fmt: skip

    def forward(self, what, ids, logits=True):
        """Runs a forward pass of `raw`, `model` or `parts`; returns its CPU seconds and some numbers of its output."""
        return self.measure({"what": what, "ids": ids, "logits": logits})

    def request(self, request):
        """Runs a recorded request; returns its CPU seconds and some numbers of the first tensor's last row."""
        file = models.ROOT / ".cache/bench/request"
        file.write_bytes(request.payload)
        return self.measure({"what": "request", "file": str(file), "fields": json.dumps(request.fields)})

    def requests(self, requests, together):
        """Runs recorded requests once each, so many at a time; returns their CPU seconds and each one's numbers."""
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
        before = cpu_time(self.process.pid)
        self.process.stdin.write(json.dumps({**order, "repeat": repeat}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the engine failed; see {self.log.name}")
        return (cpu_time(self.process.pid) - before) / repeat, json.loads(line)["values"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
