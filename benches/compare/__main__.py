"""Runs the benches.

    .venv/bin/python -m benches.compare [--only NAME …] [--quick] [--device cuda] [--programs target/release]
"""
import argparse
import importlib
import signal
import sys
import traceback
from pathlib import Path

from transformers.utils import logging

from . import libraries, models
from .lab import Lab
from .report import Report

# Each bench with the shapes it runs on.
BENCHES = {
    "request": [models.TINY],
    "leader": [models.TINY],
    "fleet": [models.TINY],
    "small": [models.TINY],
    "overhead": [models.GPT2],
    "telemetry": [models.TINY, models.GPT2],
    "forward": [models.GPT2, models.LLAMA],
    "early_exit": [models.GPT2, models.LLAMA],
    "sweep": [models.GPT2, models.LLAMA],
    "users": [models.GPT2],
    "neighbour": [models.FAR, models.LONG],
    "fairness": [models.WINDING],
    "generate": [models.GPT2],
    "gradient": [models.GPT2],
    "optimise": [models.GPT2],
    "load": [models.LARGE],
    "quantized": [models.TINY],
}


def main():
    arguments = argparse.ArgumentParser(prog="benches.compare", description="Measures Vitrine against its peers.")
    arguments.add_argument("--only", nargs="+", choices=BENCHES, default=list(BENCHES), help="benches to run")
    arguments.add_argument("--quick", action="store_true", help="small sizes and one round: shows that it works")
    arguments.add_argument("--programs", type=Path, default=models.ROOT / "target/release", help="where vitrine lies")
    arguments.add_argument("--bench-programs", type=Path, help="where engine and replay lie, to build nothing")
    arguments.add_argument("--profile", default="bench", help="cargo's profile for the benches' own Rust programs")
    arguments.add_argument("--rounds", type=int, help="interleaved rounds to take the median of")
    arguments.add_argument("--layers", type=int, help="layers of each model instead of its own")
    arguments.add_argument("--tokens", type=int, help="tokens of the sweep's prompts")
    arguments.add_argument("--model", choices=sorted(models.SHAPES), help="one shape instead of each bench's")
    arguments.add_argument("--libraries", nargs="+", choices=libraries.NAMES, default=[], help="further peers of the sweep")
    arguments.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="what models compute on")
    chosen = arguments.parse_args()
    logging.disable_progress_bar()
    report = Report()
    lab = Lab(
        programs=chosen.programs,
        bench_programs=chosen.bench_programs,
        profile=chosen.profile,
        quick=chosen.quick,
        rounds=chosen.rounds or (1 if chosen.quick else 3),
        layers=chosen.layers or (2 if chosen.quick else None),
        tokens=chosen.tokens or (8 if chosen.quick else 32),
        libraries=chosen.libraries,
        device=chosen.device,
        report=report,
    )
    for name in chosen.only:
        bench = importlib.import_module(f"benches.compare.{name}")
        shapes = [shape for shape in BENCHES[name] if chosen.model in (None, shape.name)]
        for shape in shapes[:1] if chosen.quick else shapes:
            try:
                bench.measure(lab, shape)
            except Exception as error:
                traceback.print_exc()
                report.failed(name, error)
    report.table()
    sys.exit(1 if report.failures else 0)


def interrupt(*_):
    raise KeyboardInterrupt


if __name__ == "__main__":
    # A polite kill stops the servers too.
    signal.signal(signal.SIGTERM, interrupt)
    main()
