#!/usr/bin/env python3
"""Checks the chart as a cluster would take it: with Helm 3 and 4, every example, every version of Kubernetes.

    .cache/chart/venv/bin/python helm/tests/check.py [--programs target/debug] [--only WORD] [--record]

Each check is a function whose name is what it shows. `--record` writes anew what an upgrade may not change, for a release.
"""
import argparse
import sys
import time
import traceback

import admission
import pods
import refusals
import sense
import settings
import trial
import upgrade


def main():
    arguments = argparse.ArgumentParser(description="Checks the chart.")
    arguments.add_argument("--programs", default="target/debug", help="where vitrine and vitrine-worker lie")
    arguments.add_argument("--only", default="", help="only checks whose name has this word")
    arguments.add_argument("--record", action="store_true", help="write down what an upgrade may not change")
    chosen = arguments.parse_args()
    if chosen.record:
        return upgrade.record()
    pods.find(chosen.programs)
    began, failed = time.monotonic(), []
    for module in (sense, admission, refusals, upgrade, settings, trial):
        for check in module.CHECKS:
            name = check.__name__.replace("_", " ")
            if chosen.only not in name:
                continue
            start = time.monotonic()
            try:
                check()
                verdict = "ok"
            except AssertionError as fault:
                verdict = f"FAILED\n{fault}"
            except Exception:
                verdict = f"FAILED\n{traceback.format_exc()}"
            if verdict != "ok":
                failed.append(name)
            print(f"{name}: {verdict} ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"{len(failed)} of the chart's checks failed, in {time.monotonic() - began:.0f} s")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
