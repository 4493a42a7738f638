"""The way of one request through the server, stage by stage: the Rust program `request`, which speaks for itself."""
import json
import subprocess

from . import cargo


def measure(lab, shape):
    """Runs on the tests' tiny model, whatever the shape."""
    command = [cargo.program("request", lab.profile)]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    for stage in map(json.loads, lines):
        lab.report.row("request", **stage)
        if stage["stage"] == "5 COMPLETED heard":
            what = "ms from POST to COMPLETED, median"
            lab.report.ratio("request", what, stage["median_ms"], 10, at_least=False, model=shape.name)
