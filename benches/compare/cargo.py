"""The Rust programs of `benches/benches`."""
import functools
import json
import subprocess

from .models import ROOT


@functools.cache
def program(name, profile):
    """Returns a program's path, building what is not built."""
    command = ["cargo", "bench", "--locked", "--no-run", "--package", "benches", "--bench", name]
    command += ["--profile", profile, "--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = map(json.loads, built.stdout.splitlines())
    return next(message["executable"] for message in messages if message.get("executable"))
