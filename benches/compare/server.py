"""A running `vitrine up`: replays recorded requests on it and reads what they cost it."""
import contextlib
import dataclasses
import io
import json
import queue
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import httpx
import torch
import zstandard

# How long a server may take to load its model, in seconds.
PATIENCE = 600


class Failed(Exception):
    """A job that the server ended with an error; the text is the server's."""


@dataclasses.dataclass
class Answer:
    """One job's end: seconds since the replay began, how many its client waited, and the frame that told it."""

    seconds: float
    took: float
    frame: bytes

    def values(self):
        """Returns the saved values by name.

        Raises:
            Failed: for a job that ended with an error.
        """
        raw = zstandard.ZstdDecompressor().decompress(self.opened()["data"])
        return torch.load(io.BytesIO(raw), weights_only=False)

    def meta(self):
        """Returns what the job cost, as the server tells it.

        Raises:
            Failed: for a job that ended with an error.
        """
        return self.opened()["meta"]

    def opened(self):
        if self.frame.startswith(b"{"):
            frame = json.loads(self.frame)
            raise Failed(frame["description"] or frame["status"])
        return torch.load(io.BytesIO(self.frame), weights_only=False)


@dataclasses.dataclass
class Replay:
    """What some requests took, in seconds, and each request's answer in order."""

    wall: float
    # CPU time of `vitrine`, and of `vitrine-worker`.
    gateway: float
    worker: float
    answers: list

    @property
    def cpu(self):
        return self.gateway + self.worker

    def values(self):
        """Returns each job's saved values, in order.

        Raises:
            Failed: when a job ended with an error.
        """
        return [answer.values() for answer in self.answers]


class Server:
    def __init__(self, programs, replay, shape, device, environment, log):
        """Starts a server on a free port that hosts one model, and waits until it is ready."""
        # Requests refused because others were being read.
        self.refusals = 0
        self.device = device
        self.program = replay
        self.data = Path(tempfile.mkdtemp(prefix="vitrine-bench-"))
        self.key = secrets.token_hex(16)
        program = Path(programs).resolve() / "vitrine"
        command = [program, "up", "--no-default-model", "--listen", "127.0.0.1:0", "--data", self.data / "server"]
        command += ["--api-key", self.key, "--model", f"{shape.repo_id}={shape.folder},dtype=float32,device={device}"]
        self.process = subprocess.Popen(
            [str(part) for part in command], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
        addresses = queue.Queue()
        threading.Thread(target=relay, args=(self.process.stdout, addresses), daemon=True).start()
        with contextlib.suppress(queue.Empty):
            self.url = addresses.get(timeout=PATIENCE)
            if self.url:
                return
        self.close()
        raise RuntimeError(f"{program} was not ready; see {log.name}")

    def close(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.data, ignore_errors=True)

    def replay(self, requests, clients=1):
        """Sends requests, each as one client would, from so many clients at once. Jobs that fail are answers too."""
        before = self.settled()
        with self.sending(requests, clients) as sending:
            wall, answers = sending.answers()
        gateway, worker = (now - then for now, then in zip(self.settled(), before))
        return Replay(wall, gateway, worker, answers)

    def sending(self, requests, clients=1, key=None):
        """Begins to send requests so, in the name of another key if one is given."""
        return Sending(self, requests, clients, key or self.key)

    def ask(self, method, path, body=None):
        """Asks the server's `/v1` in the operator's name."""
        headers = {"ndif-api-key": self.key, "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/v1/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or "null")

    def tenant(self, name):
        """Makes a tenant. Returns a key of it, whose jobs end when nobody waits for them."""
        self.ask("POST", "tenants", {"name": name})
        return self.ask("POST", "keys", {"tenant": name, "cancel_when_gone": "1s"})["key"]

    def explain(self, request):
        """Returns what the server says of a request without running it."""
        form = {"data": json.dumps(request.fields)}
        headers = {"ndif-api-key": self.key}
        answer = httpx.post(f"{self.url}/v1/check", data=form, files={"blob": ("request", request.payload)}, headers=headers)
        return answer.raise_for_status().json()

    def cpu(self):
        """Returns the CPU time of the server and of its worker so far, in seconds."""
        return cpu_time(self.process.pid), sum(cpu_time(child) for child in children(self.process.pid))

    def settled(self):
        """Returns the CPU times once nothing is going on: a job's last commit follows its answer."""
        before = self.cpu()
        while True:
            time.sleep(0.02)
            now = self.cpu()
            if sum(now) - sum(before) < 0.001:
                return now
            before = now


class Sending:
    """Requests that are being sent by a process of their own, which ends with this."""

    def __init__(self, server, requests, clients, key):
        self.server, self.count = server, len(requests)
        self.folder = tempfile.TemporaryDirectory(dir=server.data)
        sent = []
        for index, request in enumerate(requests):
            file = Path(self.folder.name) / f"{index}.request"
            file.write_bytes(request.payload)
            sent.append({"fields": request.fields, "file": str(file)})
        order = {"url": server.url, "key": key, "clients": clients, "requests": sent, "frames": self.folder.name}
        self.process = subprocess.Popen([str(server.program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdin.write(json.dumps(order))
        self.process.stdin.close()
        self.process.stdin = None

    def answers(self):
        """Returns what all took together, and each request's answer in order."""
        told, _ = self.process.communicate()
        if self.process.returncode != 0:
            raise subprocess.CalledProcessError(self.process.returncode, str(self.server.program))
        took = json.loads(told)
        self.server.refusals += took["refusals"]
        frames = ((Path(self.folder.name) / str(index)).read_bytes() for index in range(self.count))
        return took["wall"], [Answer(*answer) for answer in zip(took["seconds"], took["took"], frames)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def relay(output, addresses):
    """Reads a server's lines to their end, and hands on the address of its `ready` line."""
    for line in output:
        if line.startswith("ready "):
            addresses.put(line.split()[1])
    addresses.put(None)


def children(process):
    files = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


def cpu_time(process):
    """Returns a process's CPU time in seconds, to the nanosecond where /proc would round to ticks."""
    # Linux's clock of another process: CPUCLOCK_SCHED.
    return time.clock_gettime((~process << 3) | 2)
