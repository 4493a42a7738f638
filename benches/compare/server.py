"""A running `vitrine up`: replays recorded requests on it and reads what they cost it."""
import collections
import concurrent.futures
import contextlib
import dataclasses
import http
import http.client
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
from pathlib import Path

import torch
import websocket
import zstandard

BOUNDARY = "bench"
# How long a server may take to load its models, and a job to end, in seconds.
PATIENCE = 900


class Refused(Exception):
    """A request that the server refused, or a job that it ended with an error; the text is the server's."""


@dataclasses.dataclass
class Answer:
    """One job's end: seconds since the replay began, and the frame that told it."""

    seconds: float
    frame: bytes | dict

    def values(self):
        """Returns the saved values by name.

        Raises:
            Refused: for a job that failed.
        """
        frame = self.frame
        if isinstance(frame, bytes):
            frame = torch.load(io.BytesIO(frame), weights_only=False)
        if frame["status"] != "COMPLETED":
            raise Refused(frame["description"])
        raw = zstandard.ZstdDecompressor().decompress(frame["data"])
        return torch.load(io.BytesIO(raw), weights_only=False)


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

    def check(self):
        for answer in self.answers:
            answer.values()
        return self


class Server:
    def __init__(self, programs, shapes, environment, log):
        """Starts a server on a free port that hosts the shapes, and waits until it is ready."""
        # Requests refused because others were being read.
        self.refusals = 0
        self.data = Path(tempfile.mkdtemp(prefix="vitrine-bench-"))
        self.key = secrets.token_hex(16)
        program = Path(programs) / "vitrine"
        command = [program.resolve(), "up", "--no-default-model", "--listen", "127.0.0.1:0", "--data", self.data]
        command += ["--api-key", self.key]
        for shape in shapes:
            command += ["--model", f"{shape.repo_id}={shape.folder},dtype=float32"]
        self.process = subprocess.Popen(
            [str(part) for part in command], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
        addresses = queue.Queue()
        threading.Thread(target=relay, args=(self.process.stdout, addresses), daemon=True).start()
        with contextlib.suppress(queue.Empty):
            address = addresses.get(timeout=PATIENCE)
            if address:
                self.host = address.removeprefix("http://")
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
        answers = [None] * len(requests)
        waiting = collections.deque(enumerate(requests))
        begun = 0.0

        def client():
            while True:
                try:
                    index, request = waiting.popleft()
                except IndexError:
                    return
                answers[index] = Answer(*self.ask(request, begun))

        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            before = self.settled()
            begun = time.perf_counter()
            for done in [pool.submit(client) for _ in range(clients)]:
                done.result()
            wall = time.perf_counter() - begun
        gateway, worker = (now - then for now, then in zip(self.settled(), before))
        return Replay(wall, gateway, worker, answers)

    def ask(self, request, begun):
        """Posts one request and follows its websocket to the end, as the client does."""
        key = {"ndif-api-key": self.key}
        socket = websocket.create_connection(f"ws://{self.host}/subscribe", header=key, timeout=PATIENCE)
        try:
            session = json.loads(socket.recv())["session_id"]
            body = multipart(request.form(session), request.payload)
            kind = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
            self.post(body, key | kind)
            while True:
                frame = socket.recv()
                if isinstance(frame, str):
                    frame = json.loads(frame)
                    if frame["status"] not in ("COMPLETED", "ERROR"):
                        continue
                break
            seconds = time.perf_counter() - begun
        finally:
            socket.close()
        if isinstance(frame, dict) and frame["status"] == "COMPLETED":
            # Too large for the websocket: `data` is where it lies.
            path = "/" + frame["data"].split("/", 3)[3]
            frame["data"] = self.fetch("GET", path)
        return seconds, frame

    def post(self, body, headers):
        """Posts a request, again when the server is busy. The client would give up instead: `refusals` counts them."""
        while True:
            try:
                return self.fetch("POST", "/request", body, headers)
            except Refused as refused:
                if refused.args[1] != http.HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                self.refusals += 1
                time.sleep(0.02)

    def fetch(self, method, path, body=None, headers={}):
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise Refused(f"{method} {path}: {answer.status} {content.decode(errors='replace')}", answer.status)
        return content

    def cpu(self):
        """Returns the CPU time of the server and of its worker so far, in seconds."""
        return cpu_time(self.process.pid), sum(cpu_time(child) for child in children(self.process.pid))

    def settled(self):
        """Returns the CPU time once nothing is going on: a job's last commit follows its answer."""
        before = self.cpu()
        while True:
            time.sleep(0.02)
            now = self.cpu()
            if sum(now) - sum(before) < 0.001:
                return now
            before = now


def relay(output, addresses):
    """Reads a server's lines to their end, and hands on the address of its `ready` line."""
    for line in output:
        if line.startswith("ready "):
            addresses.put(line.split()[1])
    addresses.put(None)


def multipart(fields, payload):
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="data"\r\n\r\n{fields}\r\n'
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="blob"; filename="request"\r\n\r\n'
    return (head + part).encode() + payload + f"\r\n--{BOUNDARY}--\r\n".encode()


def children(process):
    files = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


def cpu_time(process):
    """Returns a process's CPU time in seconds, to the nanosecond where /proc would round to ticks."""
    # Linux's clock of another process: CPUCLOCK_SCHED.
    return time.clock_gettime((~process << 3) | 2)
