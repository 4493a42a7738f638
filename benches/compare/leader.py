"""What deciding costs where there is much to decide, and how soon a new leader gives out its first job: the Rust program
`leader`, which speaks for itself."""
import json
import subprocess

from . import cargo


def measure(lab, shape):
    """Computes with no model, whatever the shape."""
    command = [cargo.program("leader", lab.profile), *(["1000"] if lab.quick else [])]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    for line in map(json.loads, lines):
        lab.report.row("leader", **line)
        if line["what"] == "decide":
            what, value, goal = f"ms of a decision, {line['case']}", line["median_ms"], 20
        else:
            what, value, goal = f"ms from taking over to the first job, {line['store']}", line["first_job_ms"], 5000
        lab.report.ratio("leader", what, value, goal, at_least=False, queued=line["queued"])
