#!/usr/bin/env python3
"""A whole cluster on this machine, as it would lie on many: three etcd members, an S3 server, two gateways, two schedulers,
three workers, with certificates between them.

    .venv/bin/python tools/cluster.py run [--detach] [--programs FOLDER] [--models "REPO=FOLDER,dtype=float32 …"]
    .venv/bin/python tools/cluster.py stop

What dies is started again after a second. Everything lies in `.cluster`, and is fresh at each start: `cluster.json` says
which processes there are now, with the keys that clients need; `logs` has what they say.
"""
import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import s3
from etcd import Etcd
from supervisor import Failed, Role, Supervisor
from ways import Ways

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".cluster"
ETCD, GATEWAYS, SCHEDULERS, WORKERS = 3, 2, 2, 3
# What outlives the beginning of a run: whose it is, and what is said before there is more.
KEPT = ("lock", "supervisor.log")
BUCKET, REGION, KEY_ID = "vitrine", "us-east-1", "vitrine"
# A busy machine starts slowly.
PATIENCE = 240.0
# Below the ports that systems give to outgoing connections, which could take that of a role while it is down.
PORTS = range(20_000, 32_000)


class Cluster:
    """One cluster, from the making of its folder to the end of its processes."""

    def __init__(self, folder, programs, models, doors=False, room=None):
        self.folder, self.programs, self.models = folder.resolve(), programs.resolve(), models
        # With doors, what roles say to each other passes through `ways`, where it can be cut.
        self.doors = doors
        # What each worker has for models, if not as much as there is.
        self.room = room
        self.certificates = self.folder / "certificates"
        self.secret, self.token = secrets.token_hex(20), secrets.token_hex(20)
        self.ports = Ports()
        # Of each role with a file, where it can be reached.
        self.addresses = {}
        self.environment = environment(WORKERS)

    async def start(self, tell=print):
        """Starts everything, and returns when jobs can be run."""
        self.make_folder()
        self.supervisor = Supervisor(self.folder, {"api_key": None, "admin_key": None})
        self.ways = Ways(lambda: {role.pid: role.name for role in self.supervisor.roles.values() if role.alive})
        self.objects_port, self.objects = await self.server("objects-1")
        self.etcd_ports = [await self.server(f"etcd-{number}") for number in count(ETCD)]
        self.peer_ports = [await self.server(f"etcd-{number}") for number in count(ETCD)]
        self.etcd = Etcd([port for port, _ in self.etcd_ports], self.certificates)
        self.start_objects()
        self.start_etcd()
        await self.supervisor.until("etcd", self.etcd_answers, PATIENCE)
        await self.supervisor.until("the server of S3", self.bucket_answers, PATIENCE)
        files = await self.write_files()
        self.supervisor.about["api_key"] = await self.key(files["gateway-1"], "submit", "read-own")
        self.supervisor.about["admin_key"] = await self.key(files["gateway-1"], "admin")
        for name, file in files.items():
            self.start_role(name, file)
        await self.supervisor.until("the cluster", self.serves, PATIENCE)
        for role in self.supervisor.roles.values():
            role.been_ready = True
        self.supervisor.tell = tell

    def make_folder(self):
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for old in self.folder.iterdir():
            if old.name not in KEPT:
                shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        for name in ["certificates", "etcd", "objects", "logs"]:
            (self.folder / name).mkdir(mode=0o700)
        run(self.programs / "vitrine", "cert", "dev", self.certificates)
        for file in self.certificates.iterdir():
            file.chmod(0o600)
        self.keep("bucket.secret", self.secret + "\n")
        self.keep("worker.token", self.token + "\n")

    def keep(self, name, text):
        """Writes a file that is for its owner only."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    async def server(self, name):
        """Returns the port at which a server listens, and that at which others reach it."""
        port = self.ports.take()
        if not self.doors:
            return port, port
        door = self.ports.take()
        await self.ways.door(name, door, port)
        return port, door

    def start_objects(self):
        grant = {"accessKey": KEY_ID, "secretKey": self.secret}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "vitrine", "credentials": [grant], "actions": actions}
        config = self.keep("s3.json", json.dumps({"identities": [identity]}))
        port = self.ports.take
        command = [
            ROOT / ".venv/bin/weed", "-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-filer",
            # A master that is alone elects itself after this time, at each start.
            "-master.electionTimeout=1s", "-master.telemetry=false", "-master.volumeSizeLimitMB=256", "-volume.max=200", "-volume.preStopSeconds=0",
            "-volume.minFreeSpace=1", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-dir={self.folder / 'objects'}",
            f"-s3.config={config}", f"-s3.port={self.objects_port}", f"-s3.port.grpc={port()}",
            # S3 is the only way to what is kept that asks for a key.
            "-filer.disableHttp", f"-filer.port={port()}", f"-filer.port.grpc={port()}", f"-master.port={port()}",
            f"-master.port.grpc={port()}", f"-volume.port={port()}", f"-volume.port.grpc={port()}",
            f"-filer.localSocket={self.folder / 'filer.sock'}", f"-s3.localSocket={self.folder / 's3.sock'}",
        ]  # fmt: skip
        self.add("objects", "objects-1", f"http://127.0.0.1:{self.objects_port}", command, floor=1)

    def start_etcd(self):
        peers = [f"etcd-{number}=https://127.0.0.1:{door}" for number, (_, door) in zip(count(ETCD), self.peer_ports)]
        token = secrets.token_hex(8)
        ca, certificate, key = (self.certificates / name for name in ("ca.pem", "etcd.pem", "etcd.key"))
        for number, (client, client_door), (peer, peer_door) in zip(count(ETCD), self.etcd_ports, self.peer_ports):
            command = [
                shutil.which("etcd"), f"--name=etcd-{number}", f"--data-dir={self.folder / 'etcd' / str(number)}",
                f"--listen-client-urls=https://127.0.0.1:{client}",
                f"--advertise-client-urls=https://127.0.0.1:{client_door}",
                f"--listen-peer-urls=https://127.0.0.1:{peer}",
                f"--initial-advertise-peer-urls=https://127.0.0.1:{peer_door}",
                f"--initial-cluster={','.join(peers)}", f"--initial-cluster-token={token}",
                "--client-cert-auth", f"--trusted-ca-file={ca}", f"--cert-file={certificate}", f"--key-file={key}",
                "--peer-client-cert-auth", f"--peer-trusted-ca-file={ca}", f"--peer-cert-file={certificate}",
                f"--peer-key-file={key}", "--auto-compaction-mode=periodic", "--auto-compaction-retention=24h",
                f"--quota-backend-bytes={8 << 30}", "--snapshot-count=20000", "--logger=zap", "--log-level=warn",
                "--log-outputs=stderr",
            ]  # fmt: skip
            self.add("etcd", f"etcd-{number}", f"https://127.0.0.1:{client}", command, floor=1)

    async def write_files(self):
        """Writes the file of each role. Returns them by the roles' names, in the order in which to start them."""
        doors = {name: await self.server(name) for name in names("scheduler", SCHEDULERS)}
        endpoints = [f"https://127.0.0.1:{door}" for _, door in self.etcd_ports]
        shared = {
            "store": {"endpoints": endpoints},
            "store.tls": None,
            "objects": {
                "endpoint": f"http://127.0.0.1:{self.objects}", "bucket": BUCKET, "region": REGION,
                "access_key_id": KEY_ID, "secret_access_key_file": str(self.folder / "bucket.secret"),
            },
        }  # fmt: skip
        files = {}
        for name, (port, door) in doors.items():
            top = {
                "listen": f"127.0.0.1:{port}", "advertise": f"https://127.0.0.1:{door}", "health": self.health(),
                "models": self.models, "token_file": str(self.folder / "worker.token"),
            }  # fmt: skip
            files[name] = self.file(name, {"": top, "tls": self.tls("scheduler"), **shared, "store.tls": self.tls("scheduler")})
        for name in names("gateway", GATEWAYS):
            top = {"name": name, "listen": f"127.0.0.1:{self.ports.take()}", "health": self.health(), "drain": "3s"}
            files[name] = self.file(name, {"": top, **shared, "store.tls": self.tls("gateway")})
        for name in names("worker", WORKERS):
            top = {
                "name": name, "schedulers": [f"https://127.0.0.1:{door}" for _, door in doors.values()],
                "token_file": str(self.folder / "worker.token"), "health": self.health(),
                **({"model_memory": self.room} if self.room else {}),
            }  # fmt: skip
            files[name] = self.file(name, {"": top, "tls": self.tls("worker")})
        return files

    def health(self):
        """Returns an address for probes."""
        return f"127.0.0.1:{self.ports.take()}"

    def tls(self, role):
        names = {"authority": "ca.pem", "certificate": f"{role}.pem", "key": f"{role}.key"}
        return {key: str(self.certificates / name) for key, name in names.items()}

    def file(self, name, sections):
        """Writes a role's settings."""
        text = "".join(section(title, values) for title, values in sections.items())
        top = sections[""]
        self.addresses[name] = top.get("listen") or top["health"]
        return self.keep(f"{name}.toml", text)

    async def key(self, file, *scopes):
        """Makes an API key."""
        command = [self.programs / "vitrine", "key", "add", "--config", file, "--tenant", "default"]
        for scope in scopes:
            command += ["--scope", scope]
        printed = await asyncio.to_thread(run, *command)
        found = re.findall(r"vitrine_\w+", printed)
        if len(found) != 1:
            raise Failed(f"`vitrine key add` printed no key, but {printed!r}")
        return found[0]

    def start_role(self, name, file):
        kind = name.rsplit("-", 1)[0]
        program = {"worker": ["vitrine-worker", "run"]}.get(kind, ["vitrine", kind])
        scheme = "https" if kind == "scheduler" else "http"
        command = [self.programs / program[0], program[1], "--config", file]
        self.add(kind, name, f"{scheme}://{self.addresses[name]}", command)

    def add(self, kind, name, address, command, floor=0):
        self.supervisor.add(Role(kind, name, address, command, self.environment, floor))

    async def etcd_answers(self):
        for port, _ in self.etcd_ports:
            if not await asyncio.to_thread(self.etcd.healthy, port):
                return False
        return True

    async def bucket_answers(self):
        ask = [f"http://127.0.0.1:{self.objects_port}", f"/{BUCKET}/probe"]
        for method, good in [("PUT", 200), ("DELETE", 204)]:
            body = b"x" if method == "PUT" else b""
            if await asyncio.to_thread(s3.request, *ask, method, KEY_ID, self.secret, body, REGION) != good:
                return False
        return True

    async def serves(self):
        """True when every role says that it is ready, and every gateway that every model can be used."""
        for role in self.supervisor.roles.values():
            if role.kind == "worker":
                # It is when a scheduler has let it in.
                ready = role.alive and await asyncio.to_thread(answers, f"{role.address}/readyz")
            elif role.floor == 0:
                ready = self.supervisor.said_ready(role)
            else:
                ready = role.alive
            if ready and role.kind == "gateway":
                ready = await asyncio.to_thread(models_are_ready, role.address, len(self.models))
            if not ready:
                return False
        return await self.etcd_answers() and await self.bucket_answers()

    async def stop(self):
        await self.supervisor.stop()
        await self.ways.close()

    def table(self):
        rows = [(role.kind, role.name, str(role.pid), role.address) for role in self.supervisor.roles.values()]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


class Ports:
    """Ports of this machine that nobody has, each given once. What a cluster has been given no other one is, though nobody may
    listen there yet: a name that the system forgets with this process says that it is taken.
    """

    def __init__(self):
        self.left, self.taken = random.SystemRandom().sample(PORTS, len(PORTS)), []

    def take(self):
        while self.left:
            port = self.left.pop()
            name = socket.socket(socket.AF_UNIX)
            with socket.socket() as trial:
                try:
                    name.bind(f"\0vitrine-port-{port}")
                    trial.bind(("127.0.0.1", port))
                except OSError:
                    name.close()
                    continue
            self.taken.append(name)
            return port
        raise Failed(f"no port of this machine from {PORTS.start} to {PORTS.stop} is free")


def environment(workers):
    """What all processes get: nothing of whoever starts the cluster that would set their settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VITRINE_", "ETCD", "WEED_"))}
    # Workers of one machine share its cores; idle threads do not spin.
    kept["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
    kept["OMP_WAIT_POLICY"] = "passive"
    for name in ("VITRINE_LOG", "VITRINE_LOG_FORMAT", "VITRINE_OTLP_ENDPOINT", "VITRINE_TRACE_SAMPLE"):
        if value := os.environ.get(name):
            kept[name] = value
    return kept


def count(number):
    return range(1, number + 1)


def names(kind, number):
    return [f"{kind}-{place}" for place in count(number)]


def section(title, values):
    """Writes a table of TOML; JSON's strings and lists are TOML's."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(([f"[{title}]"] if title else []) + lines) + "\n\n"


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def models_are_ready(address, number):
    try:
        with urllib.request.urlopen(f"{address}/status", timeout=5) as answer:
            deployed = json.load(answer)["deployments"].values()
    except (OSError, ValueError):
        return False
    broken = [one["repo_id"] for one in deployed if one["application_state"] == "UNHEALTHY"]
    if broken:
        raise Failed(f"{', '.join(broken)} cannot be served; the schedulers' logs say why")
    return len(deployed) == number and all(one["application_state"] == "RUNNING" for one in deployed)


def run(*command):
    """Runs a command to its end, which must be a success. Returns what it printed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"`{' '.join(map(str, command))}` ended with status {done.returncode}:\n{done.stderr}")
    return done.stdout


def default_models():
    folder = ROOT / ".models/float32"
    return [f"ndif-test/{name}={folder / name},dtype=float32" for name in ("tiny-gpt2", "tiny-llama")]


def absolute(model):
    """A model as an option has it, its folder as seen from anywhere."""
    repo, found, rest = model.partition("=")
    if not found:
        sys.exit(f"cluster: a model is REPO=FOLDER[,dtype=…], not {model!r}")
    folder, *more = rest.split(",")
    return f"{repo}={','.join([str(Path(folder).resolve()), *more])}"


@contextlib.contextmanager
def locked(folder):
    """Holds a folder, so that no other cluster is started in it. Whoever holds it is named in the file."""
    folder.mkdir(mode=0o700, exist_ok=True)
    with open(folder / "lock", "a+") as lock:
        os.chmod(folder / "lock", 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"cluster: one runs in {folder} already; `make cluster-stop` ends it")
        yield lock


def sign(lock):
    """Writes down whose the folder is."""
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


async def serve(cluster, ready):
    """Runs a cluster until a signal comes; a second one ends it at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def signalled():
        if stop.is_set():
            cluster.supervisor.kill_all()
        stop.set()

    starting = asyncio.create_task(cluster.start(tell=lambda line: print(f"cluster: {line}", flush=True)))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, signalled)
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([starting, waiting], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            print(f"{cluster.table()}\n{cluster.folder / 'cluster.json'}\nready", flush=True)
            ready()
            await stop.wait()
            print("cluster: stopping", flush=True)
    finally:
        starting.cancel()
        if hasattr(cluster, "supervisor"):
            await cluster.stop()


def detach(folder):
    """Returns in a process that goes on in the background, with what says that it is ready; the first one waits for that."""
    read, write = os.pipe()
    if child := os.fork():
        os.close(write)
        with os.fdopen(read) as pipe:
            said = pipe.read()
        print(said.removesuffix("ready\n"), end="")
        if not said.endswith("ready\n"):
            os.waitpid(child, 0)
            sys.exit(f"cluster: it did not start:\n{(folder / 'supervisor.log').read_text()}")
        print("ready", flush=True)
        os._exit(0)
    os.setsid()
    os.close(read)
    log = os.open(folder / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    return write


def run_command(chosen):
    if not shutil.which("etcd") or not (ROOT / ".venv/bin/weed").exists():
        sys.exit("cluster: etcd or the server of S3 is missing; run `make setup-tests`")
    for program in ("vitrine", "vitrine-worker"):
        if not (chosen.programs / program).exists():
            sys.exit(f"cluster: {chosen.programs / program} is missing; run `make cluster`, which builds it")
    models = [absolute(model) for model in chosen.models.split()] or default_models()
    os.umask(0o077)
    with locked(chosen.folder) as lock:
        pipe = detach(chosen.folder) if chosen.detach else None
        sign(lock)
        cluster = Cluster(chosen.folder, chosen.programs, models)

        def ready():
            if pipe is not None:
                with os.fdopen(pipe, "w") as out:
                    out.write(f"{cluster.table()}\n{cluster.folder / 'cluster.json'}\nready\n")

        try:
            asyncio.run(serve(cluster, ready))
        except Failed as failed:
            sys.exit(f"cluster: {failed}")


def stop_command(chosen):
    try:
        with open(chosen.folder / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        pass
    except BlockingIOError:
        end(int((chosen.folder / "lock").read_text()))
        print("cluster: stopped")
        return
    print("cluster: none runs")


def end(pid):
    """Ends a supervisor, whose processes end with it."""
    watched = os.pidfd_open(pid)
    for number, patience in [(signal.SIGTERM, 40), (signal.SIGKILL, 10)]:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(watched, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if ended(pid):
                return
            time.sleep(0.05)
    sys.exit(f"cluster: process {pid} does not end")


def ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def main():
    arguments = argparse.ArgumentParser(description="A whole cluster on this machine.")
    arguments.add_argument("--folder", type=Path, default=FOLDER, help="where everything of it lies")
    commands = arguments.add_subparsers(required=True)
    running = commands.add_parser("run", help="start it, and keep it running until Ctrl-C")
    running.add_argument("--programs", type=Path, default=ROOT / "target/release", help="where vitrine and its worker lie")
    running.add_argument("--models", default="", help="what it hosts: REPO=FOLDER,dtype=float32 …")
    running.add_argument("--detach", action="store_true", help="return when it is ready, and leave it running")
    running.set_defaults(run=run_command)
    commands.add_parser("stop", help="end the one that runs").set_defaults(run=stop_command)
    chosen = arguments.parse_args()
    chosen.folder = chosen.folder.resolve()
    chosen.run(chosen)


if __name__ == "__main__":
    main()
