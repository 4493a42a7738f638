"""Builds every test program, and runs several of them at a time: where one waits for a server or a clock, another computes.

    run_tests.py [NAME ...]    all of them, or those whose name has one of these texts in it: run_tests.py tests/cluster store/

A line for each that ended, and all that a failed one printed. `cargo test --workspace` runs the same, one after the other.
"""
import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Those of whole servers take longest: what begins first does not keep everybody waiting at the end.
LONGEST_FIRST = ("tests", "models", "interpreter", "gateway")


@dataclass
class Program:
    package: Path
    target: str
    path: str

    @property
    def name(self):
        return f"{self.package.relative_to(ROOT)}/{self.target}"

    @property
    def turn(self):
        package = self.package.name
        return LONGEST_FIRST.index(package) if package in LONGEST_FIRST else len(LONGEST_FIRST), self.name


@dataclass
class Ended:
    program: Program
    code: int
    seconds: float
    printed: str

    @property
    def summary(self):
        """What the program counted, such as `12 passed; 0 failed`."""
        results = [line for line in self.printed.splitlines() if line.startswith("test result: ")]
        return "; ".join(results[-1].split("; ")[:3]).removeprefix("test result: ") if results else f"ended with {self.code}"


def built():
    """Builds the test programs of the workspace, with what cargo prints of that, and returns them."""
    command = ["cargo", "test", "--locked", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = (json.loads(line) for line in run.stdout.splitlines() if line.startswith("{"))
    tests = [m for m in messages if m["reason"] == "compiler-artifact" and m["profile"]["test"] and m["executable"]]
    return [Program(Path(m["manifest_path"]).parent, m["target"]["name"], m["executable"]) for m in tests]


def environment(package):
    """What cargo gives to tests that it runs itself."""
    settings = tomllib.loads((ROOT / ".cargo/config.toml").read_text())["env"]
    given = {
        name: str(ROOT / value["value"]) if isinstance(value, dict) else value for name, value in settings.items()
    }
    return {**given, **os.environ, "CARGO": "cargo", "CARGO_MANIFEST_DIR": str(package)}


def run(program):
    began = time.monotonic()
    ended = subprocess.run(
        [program.path], cwd=program.package, env=environment(program.package), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    return Ended(program, ended.returncode, time.monotonic() - began, ended.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a part of the names of those to run")
    parser.add_argument("--jobs", type=int, default=2, help="how many run at a time (2)")
    arguments = parser.parse_args()
    programs = [p for p in built() if not arguments.names or any(name in p.name for name in arguments.names)]
    if not programs:
        sys.exit(f"no test program has {' or '.join(arguments.names)} in its name")
    failed = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        running = [pool.submit(run, program) for program in sorted(programs, key=lambda program: program.turn)]
        try:
            for future in as_completed(running):
                ended = future.result()
                print(f"{ended.seconds:7.1f} s  {ended.program.name}: {ended.summary}", flush=True)
                if ended.code:
                    failed.append(ended.program.name)
                    print(ended.printed, flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            sys.exit("stopped")
    if failed:
        sys.exit(f"{len(failed)} of {len(programs)} test programs failed: {', '.join(sorted(failed))}")


if __name__ == "__main__":
    main()
