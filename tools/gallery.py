#!/usr/bin/env python3
"""Runs the programs of examples/ on SmolLM2, served by Vitrine, and draws the pictures of examples/README.md afresh.

    .venv/bin/python tools/gallery.py                              starts `vitrine up`, runs all, stops it again
    .venv/bin/python tools/gallery.py --only probing               runs one of them
    .venv/bin/python tools/gallery.py --host URL --api-key KEY     uses a server that runs already
"""
import os
import subprocess
import sys
import time
from pathlib import Path

from demo import ROOT, chosen_server, server_arguments

EXAMPLES = ROOT / "examples"
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "shared")


def main():
    arguments = server_arguments("Runs the programs of examples/ and draws their pictures.")
    arguments.add_argument("--only", nargs="+", choices=PROGRAMS, default=PROGRAMS, metavar="NAME", help=", ".join(PROGRAMS))
    chosen = arguments.parse_args()
    with chosen_server(chosen) as (host, key, _):
        failed = [name for name in chosen.only if not run(name, host, key, chosen.data)]
    if failed:
        sys.exit(f"gallery: {', '.join(failed)} failed")


def run(name, host, key, data):
    """Runs a program as its reader would, into examples/images; returns whether it succeeded."""
    # The client's cache stays beside the server's data, as the demo's does.
    environment = dict(os.environ, HF_ENDPOINT=host, NDIF_HOST=host, NDIF_API_KEY=key, HF_HOME=str(data.resolve() / "client"),
                       HF_HUB_DISABLE_PROGRESS_BARS="1", PYTHONDONTWRITEBYTECODE="1")  # fmt: skip
    picture = EXAMPLES / "images" / f"{name}.png"
    picture.parent.mkdir(exist_ok=True)
    print(f"\n{name}", flush=True)
    begin = time.monotonic()
    code = subprocess.run([sys.executable, EXAMPLES / f"{name}.py", "--picture", picture], env=environment).returncode
    if code == 0:
        print(f"{time.monotonic() - begin:.1f} s, {picture.stat().st_size >> 10} KiB", flush=True)
    return code == 0


if __name__ == "__main__":
    main()
