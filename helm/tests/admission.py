"""What a cluster's API server, its admission and its auditors would say."""
import functools
import importlib.resources
import json
import re
import subprocess
import tempfile
from pathlib import Path

import jsonschema
import kubernetes_validate
import referencing
import yaml

from chart import EXAMPLES, HELMS, NEWEST, RELEASE, TOOLS, VERSIONS, Refused, containers, lint, render, template, workloads

SCHEMAS = importlib.resources.files(kubernetes_validate) / "kubernetes-json-schema"
# Groups of Kubernetes itself; what is in no other is a custom resource.
OWN = re.compile(r"^(v1|[a-z]+/.*|[a-z.]+\.k8s\.io/.*)$")
CUSTOM = ("gateway.networking.k8s.io/",)
# Dynamic resource allocation is in none before this.
NEEDS = {"gpus": 32}
# Rules of checkov that say something of this chart; sense.py has closer ones where it matters more.
POLICIES = [
    "CKV_K8S_8",  # liveness probes
    "CKV_K8S_9",  # readiness probes
    "CKV_K8S_10", "CKV_K8S_12", "CKV_K8S_13",  # requests, and a limit of memory; one of processor time only slows who waits for it
    "CKV_K8S_14",  # image tags
    "CKV_K8S_16", "CKV_K8S_17", "CKV_K8S_18", "CKV_K8S_19", "CKV_K8S_20", "CKV_K8S_23",  # privileges, the host's namespaces, root
    "CKV_K8S_26", "CKV_K8S_27",  # ports and the engine's socket of the host
    "CKV_K8S_28", "CKV_K8S_37",  # capabilities
    "CKV_K8S_29", "CKV_K8S_30", "CKV_K8S_31",  # security contexts and seccomp
    "CKV_K8S_38", "CKV_K8S_40",  # no token of a service account, a high user
    "CKV_K8S_42", "CKV_K8S_49", "CKV_K8S_155", "CKV_K8S_156", "CKV_K8S_157", "CKV_K8S_158",  # roles that reach too far
]


def helm_finds_nothing_to_warn_of():
    for helm in HELMS:
        for example in EXAMPLES:
            said = lint(helm, example)
            assert not said, f"{helm}, {example.name}:\n{said}"


def both_helms_render_the_same():
    for example in EXAMPLES:
        three, four = (render(helm, example) for helm in HELMS)
        for before, after in zip(three, four, strict=True):
            if before["kind"] == "Secret":
                # What is made at random.
                before, after = before | {"data": None}, after | {"data": None}
            assert before == after, f"{example.name}: {before['kind']} {before['metadata']['name']} differs"


def every_example_is_valid_in_every_version_of_kubernetes():
    for example in EXAMPLES:
        for version in VERSIONS:
            if int(version.split(".")[1]) < NEEDS.get(example.stem, 0):
                try:
                    template("Helm 3", example, version=version)
                except Refused as refused:
                    assert "needs Kubernetes 1.32" in str(refused), refused
                    continue
                raise AssertionError(f"{example.name} is rendered for {version}")
            for one in render("Helm 3", example, version=version):
                if not is_custom(one):
                    fault = invalid(one, version)
                    assert fault is None, f"{example.name}, {version}: {one['kind']} {one['metadata']['name']}: {fault}"


def the_schemas_refuse_what_is_misspelt():
    one = next(one for one in render("Helm 3", EXAMPLES[0]) if one["kind"] == "Deployment")
    wrong = json.loads(json.dumps(one))
    probe = wrong["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
    probe["failureTreshold"] = probe.pop("failureThreshold")
    fault = invalid(wrong, NEWEST)
    assert "failureTreshold" in str(fault), fault


def every_custom_resource_is_valid():
    custom = [one for example in EXAMPLES for one in render("Helm 3", example) if is_custom(one)]
    kinds = {one["kind"] for one in custom}
    assert kinds == {"Certificate", "Issuer", "ScaledObject", "PodMonitor", "PrometheusRule", "HTTPRoute", "GRPCRoute"}, kinds
    found = faults(custom)
    assert not found, "\n".join(found)
    wrong = json.loads(json.dumps(next(one for one in custom if one["kind"] == "ScaledObject")))
    wrong["spec"]["polingInterval"] = wrong["spec"].pop("pollingInterval")
    found = faults([wrong])
    assert "polingInterval" in str(found), found


def every_pod_keeps_to_the_restricted_standard():
    writable = set()
    for example in EXAMPLES:
        for workload in workloads(render("Helm 3", example)):
            spec, name = workload["spec"]["template"]["spec"], workload["metadata"]["name"]
            pod = spec["securityContext"]
            assert pod["runAsNonRoot"] and pod["runAsUser"] > 1000 and pod["seccompProfile"] == {"type": "RuntimeDefault"}, name
            assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False, name
            assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(spec), name
            assert not any("hostPath" in volume for volume in spec.get("volumes", [])), name
            for container in containers(workload):
                security = container["securityContext"]
                assert security["allowPrivilegeEscalation"] is False and security["runAsNonRoot"] is True, name
                assert security["capabilities"] == {"drop": ["ALL"]} and "privileged" not in security, name
                if not security["readOnlyRootFilesystem"]:
                    writable.add(name)
                image = container["image"].rsplit("/", 1)[-1]
                assert "@sha256:" in image or (":" in image and not image.endswith(":latest")), container["image"]
                assert "memory" in container["resources"]["limits"] and "cpu" in container["resources"]["requests"], name
    # The one pool that asks for it.
    assert writable == {f"{RELEASE}-vitrine-worker-a100"}, writable


def chosen_policies_of_checkov_are_kept():
    with tempfile.TemporaryDirectory() as folder:
        for example in EXAMPLES:
            (Path(folder) / example.name).write_text(template("Helm 3", example))
        command = [TOOLS / "venv/bin/checkov", "--directory", folder, "--framework", "kubernetes", "--check", ",".join(POLICIES)]
        command += ["--output", "json", "--compact", "--quiet", "--skip-download"]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert report["summary"]["resource_count"] > 20, report["summary"]
    failed = report["results"]["failed_checks"]
    bad = [f"{one['check_id']} {one['check_name']}: {one['resource']} of {one['file_path']}" for one in failed]
    assert not bad, "\n".join(bad)


def is_custom(one):
    version = one["apiVersion"]
    return version.startswith(CUSTOM) or not OWN.match(version)


def invalid(one, version):
    """Returns what Kubernetes would refuse of an object of its own, or nothing."""
    api = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", one["apiVersion"])
    validator = schema(f"v{version}-local-strict", f"{one['kind'].lower()}-{api}")
    if validator is None:
        return f"there is no {one['kind']} of {one['apiVersion']}"
    return next((f"{error.json_path}: {error.message}" for error in validator.iter_errors(one)), None)


@functools.cache
def schema(folder, kind):
    file = SCHEMAS / folder / f"{kind}.json"
    if not file.is_file():
        return None
    resource = referencing.Resource.from_contents(json.loads(file.read_text()))
    return jsonschema.Draft202012Validator(resource.contents, registry=definitions(folder).with_resource("", resource))


@functools.cache
def definitions(folder):
    resource = referencing.Resource.from_contents(json.loads((SCHEMAS / folder / "_definitions.json").read_text()))
    return resource @ referencing.Registry()


def faults(custom):
    command = ["node", Path(__file__).with_name("crds.mjs"), TOOLS]
    done = subprocess.run([str(part) for part in command], input=json.dumps(custom), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


CHECKS = [
    helm_finds_nothing_to_warn_of,
    both_helms_render_the_same,
    every_example_is_valid_in_every_version_of_kubernetes,
    the_schemas_refuse_what_is_misspelt,
    every_custom_resource_is_valid,
    every_pod_keeps_to_the_restricted_standard,
    chosen_policies_of_checkov_are_kept,
]
