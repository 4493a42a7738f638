"""What it costs to multiply by matrices in few bits, beside the same ones as floats, and what each takes: the Rust program
`quantized`, which speaks for itself."""
import json
import subprocess

from . import cargo


def measure(lab, shape):
    """Computes with no model, whatever the shape."""
    command = [cargo.program("quantized", lab.profile), *(["2"] if lab.quick else [])]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    for line in map(json.loads, lines):
        lab.report.row("quantized", **line)
