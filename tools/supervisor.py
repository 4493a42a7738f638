"""Keeps the processes of a cluster alive, and says in one file which they are."""
import asyncio
import ctypes
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

# Time before what died is started again.
AGAIN = 1.0
# Time for a process to end when asked.
PATIENCE = 8.0
# How often a role may die before it was ready once.
FIRST_DEATHS = 5

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


@dataclass
class Role:
    """One process of the cluster, which may be several, one after the other."""

    kind: str
    name: str
    # Where it can be reached.
    address: str
    command: list
    environment: dict = field(default_factory=dict)
    # It stops before those of a higher number are asked to.
    floor: int = 0
    process: subprocess.Popen | None = None
    starts: int = 0
    # Where its log was when this process started.
    log_from: int = 0
    been_ready: bool = False
    # Where the process that is started next ends by itself, and how often it passes there: `accepted:2`.
    failpoint: str | None = None

    @property
    def pid(self):
        return self.process.pid if self.process else None

    @property
    def alive(self):
        return self.process is not None and self.process.returncode is None


class Failed(Exception):
    """The cluster cannot be started, for a reason that the text says."""


class Supervisor:
    """Starts roles, again when they die, and writes `cluster.json` each time that something changed."""

    def __init__(self, folder: Path, about: dict):
        self.folder = folder
        self.logs = folder / "logs"
        self.about = about
        self.roles = {}
        # Called with a line for each thing that happens.
        self.tell = lambda line: None
        # Called with the name of a failpoint and the role whose process ended at it.
        self.fell = lambda point, role: None
        self.stopping = False
        self.failed = None
        self.changed = asyncio.Event()

    def add(self, role):
        """Starts a role, and keeps it alive from now on."""
        self.roles[role.name] = role
        self.start(role)

    def start(self, role):
        if self.stopping or role.alive:
            return
        log = self.log(role)
        armed = {"VITRINE_FAILPOINT": role.failpoint} if role.failpoint else {}
        with open(log, "ab") as output:
            role.log_from = output.tell()
            role.process = subprocess.Popen(
                [str(part) for part in role.command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=role.environment | armed, cwd=self.folder, start_new_session=True, preexec_fn=die_with(os.getpid()),
            )  # fmt: skip
        role.starts += 1
        watched = os.pidfd_open(role.pid)
        asyncio.get_running_loop().add_reader(watched, self.ended, role, watched)
        self.write()

    def ended(self, role, watched):
        asyncio.get_running_loop().remove_reader(watched)
        os.close(watched)
        status = role.process.wait()
        if role.failpoint and status == -signal.SIGABRT and self.said(role, b"failpoint "):
            point, role.failpoint = role.failpoint.split(":")[0], None
            self.fell(point, role)
        self.write()
        self.changed.set()
        if self.stopping:
            return
        self.tell(f"{role.name} ended ({describe(status)}); it is started again")
        if not role.been_ready and role.starts >= FIRST_DEATHS:
            self.failed = f"{role.name} ended {role.starts} times before it was ready:\n{self.last_lines(role)}"
            return
        asyncio.get_running_loop().call_later(AGAIN, self.start, role)

    async def until(self, what, ready, patience):
        """Waits until `ready()` is true, which must come."""
        deadline = time.monotonic() + patience
        while not await ready():
            if self.failed:
                raise Failed(self.failed)
            if time.monotonic() > deadline:
                raise Failed(f"{what} was not ready after {patience:.0f} s; the logs are in {self.logs}")
            await asyncio.sleep(0.1)

    def said_ready(self, role):
        """True if the role's present process has printed its `ready` line."""
        found = role.alive and self.said(role, b"ready ")
        role.been_ready |= found
        return found

    def said(self, role, beginning):
        """True if the role's latest process has printed a line that begins so."""
        with open(self.log(role), "rb") as log:
            log.seek(role.log_from)
            return any(line.startswith(beginning) for line in log)

    async def stop(self):
        """Ends all processes: those of lower floors first, and who does not want to by force."""
        self.stopping = True
        for floor in sorted({role.floor for role in self.roles.values()}):
            mine = [role for role in self.roles.values() if role.floor == floor]
            for role in mine:
                # One that was stopped would never hear of it.
                send(role, signal.SIGTERM)
                send(role, signal.SIGCONT)
            await self.gone(mine, PATIENCE)
            for role in mine:
                send(role, signal.SIGKILL)
            await self.gone(mine, PATIENCE)

    async def gone(self, roles, patience):
        deadline = time.monotonic() + patience
        while any(role.alive for role in roles) and (left := deadline - time.monotonic()) > 0:
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), left)
            except asyncio.TimeoutError:
                return

    def kill_all(self):
        """Ends all processes at once."""
        self.stopping = True
        for role in self.roles.values():
            send(role, signal.SIGKILL)

    def write(self):
        """Writes `cluster.json`, whole or not at all."""
        roles = [
            {
                "role": role.kind, "name": role.name, "pid": role.pid, "alive": role.alive, "starts": role.starts,
                "address": role.address, "log": str(self.log(role)),
            }
            for role in self.roles.values()
        ]  # fmt: skip
        fresh = self.folder / "cluster.json.new"
        fresh.write_text(json.dumps({**self.about, "roles": roles}, indent=2) + "\n")
        fresh.chmod(0o600)
        fresh.rename(self.folder / "cluster.json")

    def log(self, role):
        return self.logs / f"{role.name}.log"

    def last_lines(self, role, count=15):
        text = self.log(role).read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in text[-count:])


def send(role, number):
    if role.alive:
        # Nobody else waits for it, so the number is still its own.
        os.kill(role.pid, number)


def die_with(parent):
    """Returns what a child calls before it becomes another program, so that it never outlives its supervisor."""

    def before():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return before


def describe(status):
    return signal.Signals(-status).name if status < 0 else f"status {status}"
