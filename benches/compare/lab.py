"""What every bench works with: the chosen sizes, and both sides under both GEMM settings."""
import contextlib
import dataclasses
import os
import statistics
import sys
from pathlib import Path

from . import cargo, gemm, libraries, models, recording
from .engine import Engine
from .peer import Peer
from .report import Report, Samples
from .server import Server

AS_INSTALLED, EQUAL = "as installed", "equal GEMM"


@dataclasses.dataclass
class Side:
    """What runs under one GEMM setting, all of it in the same environment, and what was measured of it."""

    gemm: str
    shape: models.Shape
    server: Server | None = None
    peer: Peer | None = None
    # Has the libraries that `.venv` lacks.
    library_peer: Peer | None = None
    engine: Engine | None = None
    # The server's GFLOP/s by rows of the multiplied matrix.
    rates: dict = dataclasses.field(default_factory=dict)
    device: str = "cpu"

    def __post_init__(self):
        self.samples = Samples(self.device)

    @property
    def place(self):
        """What every row about this side says."""
        return {"model": self.shape.name, "gemm": self.gemm if self.device == "cpu" else self.device}

    def goal(self, installed, equal):
        """Returns the goal that holds here: against a peer as installed, or one that multiplies as fast."""
        return installed if self.gemm == AS_INSTALLED else equal

    def run(self, bench, library, **arguments):
        """Has a peer function run, wherever its library is installed."""
        peer = self.library_peer if library in libraries.NAMES else self.peer
        return peer.run(bench, library, **arguments)

    def peer_samples(self, bench, library, share=1, **arguments):
        """Runs a peer function and notes what it took, `share` of the whole; returns its value."""
        took = self.run(bench, library, **arguments)
        self.samples.add(library, took["wall"] / share, took["cpu"] / share)
        return took["value"]

    def server_samples(self, name, requests, clients=1):
        """Replays requests and notes what they took; returns the replay and the saved values, in order."""
        took = self.server.replay(requests, clients)
        self.samples.add(name, took.wall, took.cpu)
        return took, took.values()


@dataclasses.dataclass
class Lab:
    programs: Path
    # Where the Rust programs of the benches lie; `None` has cargo build them.
    bench_programs: Path | None
    # Cargo's profile for the Rust programs of the benches.
    profile: str
    quick: bool
    rounds: int
    # `None` leaves each shape's own.
    layers: int | None
    tokens: int
    libraries: list
    device: str
    report: Report

    def program(self, name):
        return self.bench_programs.resolve() / name if self.bench_programs else cargo.program(name, self.profile)

    def shape(self, shape, at_least=0):
        """Returns a shape with the chosen number of layers, its folder made."""
        shape = shape.with_layers(self.layers and max(self.layers, at_least))
        models.make(shape)
        return shape

    def environments(self):
        """Returns each GEMM setting's environment. One thread: more wait for each other where cores are shared."""
        plain = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1")
        if self.device != "cpu":
            return {AS_INSTALLED: plain}
        return {AS_INSTALLED: plain, EQUAL: dict(plain, LD_PRELOAD=str(gemm.preload()))}

    @contextlib.contextmanager
    def sides(self, shape, engine=False):
        """Starts servers and peers for a shape, and measures how fast each multiplies."""
        with self.processes(shape, server=True, peer=True, engine=engine) as sides:
            self.measure_rates(shape, sides)
            yield sides

    @contextlib.contextmanager
    def engines(self, shape, peer=False):
        """Starts engines without servers for a shape."""
        with self.processes(shape, peer=peer, engine=True) as sides:
            yield sides

    @contextlib.contextmanager
    def processes(self, shape, server=False, peer=False, engine=False):
        logs = models.ROOT / ".cache/bench"
        logs.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(open(logs / "log", "a"))
            sides = []

            def start(kind, *arguments):
                return stack.enter_context(contextlib.closing(kind(*arguments, self.device, environment, log)))

            for setting, environment in self.environments().items():
                side = Side(setting, shape, device=self.device)
                if server:
                    side.server = start(Server, self.programs, self.program("replay"), shape)
                if peer:
                    side.peer = start(Peer, sys.executable, shape)
                if peer and self.libraries:
                    side.library_peer = start(Peer, libraries.python(), shape)
                if engine:
                    side.engine = start(Engine, self.program("engine"), shape)
                sides.append(side)
            yield sides
            refusals = sum(side.server.refusals for side in sides if side.server)
            if refusals:
                self.report.row("server", refused_as_busy_and_sent_again=refusals)

    def turns(self, sides, *taken):
        """Counts the rounds, after one that does not count: what happens only once is not what anyone is measured by."""
        for turn in range(self.rounds + (not self.quick)):
            if turn == (not self.quick):
                for side in sides:
                    side.samples = Samples(self.device)
                for measured in taken:
                    measured.clear()
            yield turn

    def measure_rates(self, shape, sides):
        module = gemm.linear(recording.model(shape), shape)
        rates = {}
        for rows in gemm.ROWS:
            counts = (1, 1 + gemm.count(shape, rows))
            requests = [recording.record(shape, gemm.multiply, module, rows, shape.width, count) for count in counts]
            for _ in range(self.rounds):
                for side in sides:
                    peer = side.peer.run("gemm", "rate", rows=rows)["value"]
                    rates.setdefault((side.gemm, "peers", rows), []).append(peer)
                    server = gemm.server_rate(side.server, requests, shape, rows)
                    rates.setdefault((side.gemm, "vitrine", rows), []).append(server)
        rates = {key: statistics.median(taken) for key, taken in rates.items()}
        for side in sides:
            side.rates = {rows: rates[side.gemm, "vitrine", rows] for rows in gemm.ROWS}
            for name in "vitrine", "peers":
                gflops = {f"M={rows}": round(rates[side.gemm, name, rows], 1) for rows in gemm.ROWS}
                self.report.row("gemm", **side.place, side=name, gflops=gflops)
