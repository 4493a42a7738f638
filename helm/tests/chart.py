"""The chart as Helm renders it."""
import functools
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "vitrine"
TOOLS = ROOT / ".cache" / "chart"
# Both are in use, and word things differently.
HELMS = {"Helm 3": TOOLS / "venv/bin/helm", "Helm 4": TOOLS / "helm4"}
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
VERSIONS = [f"1.{minor}.0" for minor in range(30, 38)]
NEWEST = VERSIONS[-1]
RELEASE, NAMESPACE = "lab", "vitrine"

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Refused(Exception):
    """What Helm said instead of rendering."""


@functools.cache
def render(helm, *files, version=NEWEST):
    """Returns the objects that values files make, in one cluster's version."""
    return objects(template(helm, *files, version=version))


def template(helm, *files, version=NEWEST, chart=CHART):
    command = [HELMS[helm], "template", RELEASE, chart, "--namespace", NAMESPACE, "--kube-version", version]
    for file in files:
        command += ["--values", file]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


def notes(file):
    """Returns what Helm says after an install; only the newer one does so without a cluster."""
    command = [HELMS["Helm 4"], "install", RELEASE, CHART, "--namespace", NAMESPACE, "--values", file, "--dry-run=client"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout.split("\nNOTES:\n", 1)[1]


def objects(text):
    return [one for one in yaml.load_all(text, Loader) if one]


def lint(helm, file):
    """Returns what Helm finds wrong, warnings too."""
    command = [HELMS[helm], "lint", "--strict", CHART, "--values", file]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode or "[WARNING]" in done.stdout else ""


def named(of, kind):
    return {one["metadata"]["name"]: one for one in of if one["kind"] == kind}


def workloads(of):
    return [one for one in of if one["kind"] in ("Deployment", "StatefulSet")]


def containers(workload):
    spec = workload["spec"]["template"]["spec"]
    return spec.get("initContainers", []) + spec["containers"]


def role(workload):
    return workload["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
