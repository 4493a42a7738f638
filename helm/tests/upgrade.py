"""An upgrade must not change what Kubernetes lets nobody change, or it fails half-way."""
import json
from pathlib import Path

from chart import CHART, EXAMPLES, RELEASE, render, workloads, yaml

# What was rendered by the version before, of the parts that may not change. Written anew with each release.
BEFORE = Path(__file__).with_name("immutable.json")


def an_upgrade_changes_nothing_that_cannot_be_changed():
    before = json.loads(BEFORE.read_text())
    for example in EXAMPLES:
        now = immutable(example)
        for name, parts in before["examples"].get(example.name, {}).items():
            # What is gone is removed by Helm, which is no fault of its own.
            assert name not in now or now[name] == parts, f"{example.name}: {name} was\n{parts}\nin {before['version']}, and is\n{now[name]}"


def names_of_everything_that_has_state_stay():
    before = json.loads(BEFORE.read_text())
    for example in EXAMPLES:
        kept = {name for name in before["examples"].get(example.name, {}) if name.split("/")[0] in ("StatefulSet", "PersistentVolumeClaim")}
        assert kept <= immutable(example).keys(), f"{example.name}: {kept - immutable(example).keys()} is gone"


def record():
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    examples = {example.name: immutable(example) for example in EXAMPLES}
    BEFORE.write_text(json.dumps({"version": version, "examples": examples}, indent=1) + "\n")
    print(f"{BEFORE} has what an upgrade from {version} may not change")


def immutable(example):
    """Returns what of each object may not change, by its kind and name."""
    everything = render("Helm 3", example)
    found = {}
    for one in workloads(everything):
        spec = one["spec"]
        parts = {"selector": spec["selector"]}
        if one["kind"] == "StatefulSet":
            parts |= {key: spec.get(key) for key in ("serviceName", "podManagementPolicy", "volumeClaimTemplates")}
        found[f"{one['kind']}/{one['metadata']['name']}"] = parts
    for one in everything:
        name = f"{one['kind']}/{one['metadata']['name']}"
        if one["kind"] == "Service":
            found[name] = {"clusterIP": one["spec"].get("clusterIP")}
        if one["kind"] == "PersistentVolumeClaim":
            found[name] = {key: one["spec"].get(key) for key in ("accessModes", "storageClassName")}
        if one["kind"] in ("Secret", "ResourceClaimTemplate"):
            found[name] = {"type": one.get("type")} if one["kind"] == "Secret" else {"spec": one["spec"]}
    assert all(RELEASE in name for name in found)
    return found


CHECKS = [an_upgrade_changes_nothing_that_cannot_be_changed, names_of_everything_that_has_state_stay]
