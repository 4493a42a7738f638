"""What every bench works with: the chosen sizes, and both sides under both GEMM settings."""
import contextlib
import dataclasses
import os
import sys
from pathlib import Path

from . import gemm, models
from .peer import Peer
from .recording import model as recording_model
from .recording import record
from .server import Server

AS_INSTALLED, EQUAL = "as installed", "equal GEMM"


@dataclasses.dataclass
class Side:
    """A server and a peer under one GEMM setting, in the same environment."""

    gemm: str
    server: Server
    peer: Peer
    # GFLOP/s by rows of the multiplied matrix.
    server_rates: dict = dataclasses.field(default_factory=dict)
    peer_rates: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Lab:
    programs: Path
    quick: bool
    rounds: int
    # `None` leaves each shape's own.
    layers: int | None
    tokens: int
    libraries: list
    report: object

    def shape(self, shape):
        """Returns a shape with the chosen number of layers, its folder made."""
        shape = shape.with_layers(self.layers)
        models.make(shape)
        return shape

    def environments(self):
        """Returns each GEMM setting's environment: one thread, and no question about the processor's maker."""
        plain = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1")
        yield AS_INSTALLED, plain
        library = gemm.preload()
        if library:
            yield EQUAL, dict(plain, LD_PRELOAD=str(library))

    @contextlib.contextmanager
    def sides(self, shape):
        """Starts servers and peers for a shape, and measures how fast each multiplies."""
        logs = models.ROOT / ".cache/bench"
        logs.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(open(logs / "log", "a"))
            sides = []
            for setting, environment in self.environments():
                server = stack.enter_context(contextlib.closing(Server(self.programs, [shape], environment, log)))
                peer = stack.enter_context(contextlib.closing(Peer(sys.executable, shape, environment, log)))
                sides.append(Side(setting, server, peer))
            self.measure_rates(shape, sides)
            yield sides

    def measure_rates(self, shape, sides):
        module = gemm.linear(recording_model(shape), shape)
        for rows in gemm.ROWS:
            counts = (1, 1 + gemm.count(shape, rows))
            requests = [record(shape, gemm.multiply, module, rows, shape.width, count) for count in counts]
            for side in sides:
                for _ in range(self.rounds):
                    peer = side.peer.run("gemm", "rate", rows=rows)["value"]
                    side.peer_rates.setdefault(rows, []).append(peer)
                    server = gemm.server_rate(side.server, requests, shape, rows)
                    side.server_rates.setdefault(rows, []).append(server)
        for side in sides:
            for name, rates in ("vitrine", side.server_rates), ("peers", side.peer_rates):
                rates.update({rows: self.report.median(values) for rows, values in rates.items()})
                gflops = {f"M={rows}": round(rate, 1) for rows, rate in rates.items()}
                self.report.row("gemm", model=shape.name, gemm=side.gemm, side=name, gflops=gflops)
