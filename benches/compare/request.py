"""The way of one request through the server, stage by stage: the bench program `request`, which speaks for itself."""
import json
import subprocess

from . import models


def measure(lab, shape):
    """Runs on the tests' tiny model, whatever the shape."""
    command = ["cargo", "bench", "--locked", "--quiet", "--package", "benches", "--bench", "request"]
    lines = subprocess.run(command, cwd=models.ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    for line in lines:
        stage = json.loads(line)
        lab.report.row("request", **stage)
        if stage["stage"] == "5 COMPLETED heard":
            what = "ms from POST to COMPLETED, median"
            lab.report.ratio("request", what, stage["median_ms"], 10, at_least=False, model=shape.name)
