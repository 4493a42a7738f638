"""What was measured: a JSON object a line while it runs, and a table of the ratios in the end."""
import json
import math
import statistics


class Mismatch(Exception):
    """Two sides that should give the same numbers do not."""


class Report:
    def __init__(self):
        self.ratios = []
        self.failures = []

    def row(self, bench, **fields):
        fields = {name: significant(value) for name, value in fields.items()}
        print(json.dumps({"bench": bench, **fields}), flush=True)

    def ratio(self, bench, what, value, goal, at_least=True, **fields):
        """Reports a measured ratio and its goal: the least that it should be, or the most."""
        met = value >= goal if at_least else value <= goal
        fields = {**fields, "what": what, "value": value, "goal": goal, "met": met}
        self.row(bench, **fields)
        self.ratios.append((bench, what, fields.get("model", ""), fields.get("gemm", ""), value, goal, at_least, met))

    def failed(self, bench, error):
        self.row(bench, error=f"{type(error).__name__}: {error}")
        self.failures.append((bench, error))

    def table(self):
        lines = [("bench", "model", "GEMM", "ratio", "value", "goal", "")]
        for bench, what, model, gemm, value, goal, at_least, met in self.ratios:
            bar = f"{'>=' if at_least else '<='} {goal:g}"
            lines.append((bench, model, gemm, what, f"{value:.3g}", bar, "met" if met else "missed"))
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        print()
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        for bench, error in self.failures:
            last = str(error).strip().splitlines()[-1:] or [""]
            print(f"{bench} FAILED: {type(error).__name__}: {last[0]}")


def significant(value):
    """Rounds a float to what its noise leaves of it."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


class Samples:
    """Repeated measurements by name: wall and CPU seconds of each."""

    def __init__(self, device="cpu"):
        self.device = device
        self.taken = {}

    def add(self, name, wall, cpu):
        self.taken.setdefault(name, []).append((wall, cpu))

    def wall(self, name):
        return statistics.median(wall for wall, _ in self.taken[name])

    def cpu(self, name):
        return statistics.median(cpu for _, cpu in self.taken[name])

    def cost(self, name):
        """Returns what is scarce: CPU time, which others on the machine do not add to; on a GPU, time."""
        return self.cpu(name) if self.device == "cpu" else self.wall(name)


def check_equal(what, found, expected, tolerance=1e-4):
    """Raises Mismatch unless the numbers agree to `tolerance` of the largest; returns the largest difference."""
    if len(found) != len(expected):
        raise Mismatch(f"{what}: {len(found)} numbers, but {len(expected)} were expected")
    scale = max((abs(value) for value in expected), default=0.0)
    difference = max((abs(a - b) for a, b in zip(found, expected)), default=0.0)
    # Not `>`: a NaN must not pass.
    if not difference <= tolerance * scale or not math.isfinite(scale):
        raise Mismatch(f"{what}: numbers of up to {scale:.3g} differ by {difference:.3g}")
    return difference
