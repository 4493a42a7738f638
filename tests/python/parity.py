"""Runs experiments with local nnsight and through the server, in one process, and compares: results must agree.

Floats agree to 1e-4; names, structure, types, shapes, integers and texts exactly; errors in their last line.

    parity.py LIST... [--only NAME...]
"""
import argparse
import importlib
import sys
import traceback

import experiments

CUT_SHORT = "was never reached: the loop asked for a step"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("lists", nargs="+")
    arguments.add_argument("--only", nargs="+", default=[])
    chosen = arguments.parse_args()
    for name in chosen.lists:
        importlib.import_module(f"experiments.{name}")
    local, remote = experiments.models(remote=False), experiments.models(remote=True)
    failed = 0
    for experiment in experiments.experiments:
        if chosen.only and experiment.function.__name__ not in chosen.only:
            continue
        try:
            why = reason(experiment, local, remote)
        except Exception:  # noqa: BLE001
            why = traceback.format_exc()
        failed += why is not None
        print(f"{'ok  ' if why is None else 'FAIL'} {experiment}" + (f": {why}" if why else ""), flush=True)
    print(f"{len(experiments.experiments)} experiments, {failed} failed")
    sys.exit(failed > 0)


def reason(experiment, local, remote):
    """Returns how the server's outcome differs from local nnsight's, or None."""
    got = experiments.run(experiment, remote, True)
    if (got.error is not None) != experiment.fails:
        return f"the server's run raised {got.error!r}"
    if not experiment.local:
        return None
    want = experiments.run(experiment, local, False)
    if (want.error is not None) != experiment.fails:
        return f"the local run raised {want.error!r}"
    if want.printed != got.printed:
        return f"printed {got.printed}, not {want.printed}"
    # Libraries warn of more than blocks do.
    told = [one for one in want.warned if one in got.warned or one[0] == "NNsightDeprecationWarning" or CUT_SHORT in one[1]]
    if sorted(told) != sorted(got.warned):
        return f"warned of {got.warned}, not {told}"
    if experiment.fails:
        # Python names the module of an exception that is none of its own.
        same = got.last_line().endswith(want.last_line())
        return None if same else f"raised {got.last_line()!r}, not {want.last_line()!r}"
    return experiments.difference(want.value, got.value, experiments.close)


main()
