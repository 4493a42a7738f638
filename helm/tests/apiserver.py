#!/usr/bin/env python3
"""Has a real API server take the chart: `make helm-apiserver`, which makes that server first.

    .cache/chart/venv/bin/python helm/tests/apiserver.py [--only WORD]

The server is Kubernetes 1.20 with its controllers and no node (`tools/kubernetes.py`). It knows what schemas do not: whether a
selector is that of the pods, whether what is mounted is there, what may not change. It is no version that the chart is for, so what
it does not know yet is left out or written as it was: `AS_IT_WAS`.
"""
import argparse
import contextlib
import functools
import json
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from pathlib import Path

import yaml

from admission import invalid, is_custom
from chart import CHART, EXAMPLES, HELMS, NAMESPACE, NEWEST, RELEASE, ROOT, TOOLS, Loader, named, objects, template

PROGRAMS = ROOT / ".cache" / "kubernetes"
TRIAL = CHART / "examples" / "trial.yaml"
# What templates say, and how 1.20 says it.
AS_IT_WAS = [
    (r"^kubeVersion:.*$", ""),
    (r"policy/v1$", "policy/v1beta1"),
    (r"autoscaling/v2$", "autoscaling/v2beta2"),
    (r"^ *unhealthyPodEvictionPolicy:.*\n", ""),
    # A template's number, or the number itself.
    (r"preStop: \{sleep: \{seconds: (\{\{.*?\}\}|\d+)\}\}", r'preStop: {exec: {command: [sleep, "\1"]}}'),
]
# Kinds that it has not got, and what it has only where that is asked for.
UNKNOWN = {"ResourceClaimTemplate"}
# What a cluster has before the chart comes, where its values name it.
THERE = [
    {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"},
    {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "research"}, "value": 1000},
]
# Helm 4 applies on the server, of which 1.20 has an early form that wants each port's protocol.
FLAGS = {"Helm 3": [], "Helm 4": ["--server-side=false"]}
GATES = ["--feature-gates", "GenericEphemeralVolume=true"]


class Server:
    """An API server with its etcd and its controllers, in a folder."""

    def __init__(self, folder, ending):
        self.folder, self.ending = Path(folder), ending
        self.port, etcd, peer, controllers = ports(4)
        self.config = self.folder / "kubeconfig"
        token = secrets.token_hex(16)
        (self.folder / "tokens").write_text(f'{token},admin,admin,"system:masters"\n')
        key = self.folder / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        at = f"http://127.0.0.1:{etcd}"
        self.start("etcd", "etcd", "--data-dir", self.folder / "etcd", "--listen-client-urls", at, "--advertise-client-urls", at,
                   "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                   "--initial-cluster", f"default=http://127.0.0.1:{peer}", "--unsafe-no-fsync")  # fmt: skip
        until("etcd", lambda: urllib.request.urlopen(f"{at}/health", timeout=2).read())
        self.start("apiserver", PROGRAMS / "kube-apiserver", "--etcd-servers", at, "--cert-dir", self.folder / "certificates",
                   "--bind-address", "127.0.0.1", "--secure-port", self.port, "--token-auth-file", self.folder / "tokens",
                   "--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.97.0.0/24", "--service-account-key-file", key,
                   "--service-account-signing-key-file", key, "--service-account-issuer", "https://kubernetes.default.svc", *GATES)  # fmt: skip
        authority = self.folder / "certificates" / "apiserver.crt"
        until("the API server's certificate", authority.read_bytes)
        self.config.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(authority)}}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin", "namespace": NAMESPACE}}],
        }))  # fmt: skip
        until("the API server", lambda: self.kubectl("get", "--raw", "/readyz"))
        self.start("controllers", PROGRAMS / "kube-controller-manager", "--kubeconfig", self.config, "--leader-elect=false",
                   "--service-account-private-key-file", key, "--bind-address", "127.0.0.1", "--secure-port", controllers,
                   "--port", 0, "--cert-dir", self.folder / "certificates", *GATES)  # fmt: skip

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, cwd=self.folder)
        self.ending.callback(end, process)

    def kubectl(self, *arguments, given=None):
        """Returns what kubectl prints; raises what it is refused."""
        program = TOOLS / "kubectl" if (TOOLS / "kubectl").exists() else "kubectl"
        return self.run(program, "--kubeconfig", self.config, *arguments, given=given)

    def helm(self, helm, *arguments):
        return self.run(HELMS[helm], *arguments, "--kubeconfig", self.config)

    def run(self, *command, given=None):
        environment = {"HOME": str(self.folder), "PATH": "/usr/bin:/bin"}
        done = subprocess.run([str(part) for part in command], input=given, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise Refusal(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def namespace(self, name):
        self.kubectl("create", "namespace", name)
        # Where controllers make it, pods may be made.
        until("the namespace's account", lambda: self.kubectl("get", "serviceaccount", "default", "--namespace", name))

    def get(self, kind, name, namespace):
        return json.loads(self.kubectl("get", kind, name, "--namespace", namespace, "--output", "json"))


class Refusal(Exception):
    """What an API server, or who asked it, said instead."""


def every_example_is_taken(server):
    server.kubectl("create", "--filename", "-", given=yaml.safe_dump_all(THERE))
    for example in EXAMPLES:
        namespace = f"example-{example.stem}"
        server.namespace(namespace)
        given = [one for one in objects(as_it_was(template("Helm 4", example))) if not is_custom(one) and one["kind"] not in UNKNOWN]
        for one in given:
            one["metadata"]["namespace"] = namespace
        said = server.kubectl("create", "--validate=false", "--filename", "-", given=yaml.safe_dump_all(given))
        assert len(said.splitlines()) == len(given) > 10, said
        # Controllers make pods of them: what admission refuses of a pod shows there alone.
        for kind, pods in (("Deployment", "replicas"), ("StatefulSet", "replicas")):
            for name, one in named(given, kind).items():
                wanted = one["spec"].get(pods, 1)
                until(f"{wanted} pods of {name}", functools.partial(has_pods, server, kind, name, namespace, wanted))


def what_schemas_let_pass_is_refused(server):
    server.namespace("faults")
    for (file, old, new), wanted in FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            chart = old_chart(Path(folder))
            templates = chart / "templates" / file
            text = templates.read_text()
            assert old in text, f"{file} has no {old!r}"
            templates.write_text(text.replace(old, new))
            changed = objects(template("Helm 4", TRIAL, chart=chart))
            fault = invalid_somewhere(objects(newest(folder, (file, old, new))))
            assert fault is None, f"schemas refuse it already: {fault}"
        given = [one for one in changed if not is_custom(one)]
        for one in given:
            one["metadata"]["namespace"] = "faults"
        try:
            server.kubectl("create", "--validate=false", "--dry-run=server", "--filename", "-", given=yaml.safe_dump_all(given))
        except Refusal as refusal:
            assert wanted in str(refusal), f"{file}: {refusal}"
        else:
            raise AssertionError(f"{file}: {new!r} was taken")


def both_helms_install_upgrade_and_roll_back(server):
    with tempfile.TemporaryDirectory() as folder:
        chart = old_chart(Path(folder))
        for helm in HELMS:
            namespace = helm.lower().replace(" ", "-")
            server.namespace(namespace)
            at = ["--namespace", namespace]
            told = ["--values", TRIAL, "--set", "tls.mode=none"]
            server.helm(helm, "install", RELEASE, chart, *at, *told, *FLAGS[helm])
            gateway, token = f"{RELEASE}-vitrine-gateway", f"{RELEASE}-vitrine-worker-token"
            first = server.get("secret", token, namespace)["data"]
            until("a pod of etcd", functools.partial(has_pods, server, "StatefulSet", f"{RELEASE}-vitrine-etcd", namespace, 1))
            assert server.get("deployment", gateway, namespace)["spec"]["replicas"] == 1
            server.helm(helm, "upgrade", RELEASE, chart, *at, *told, "--set", "gateway.replicas=3", *FLAGS[helm])
            assert server.get("deployment", gateway, namespace)["spec"]["replicas"] == 3
            assert server.get("secret", token, namespace)["data"] == first, "an upgrade changed the workers' token"
            server.helm(helm, "rollback", RELEASE, "1", *at, *FLAGS[helm])
            assert server.get("deployment", gateway, namespace)["spec"]["replicas"] == 1
            history = json.loads(server.helm(helm, "history", RELEASE, *at, "--output", "json"))
            assert [one["status"] for one in history] == ["superseded", "superseded", "deployed"], history
            server.helm(helm, "uninstall", RELEASE, *at)
            left = server.kubectl("get", "deployments,statefulsets,services", *at, "--output", "name")
            assert not left, left
            assert server.get("secret", token, namespace)["data"] == first, "an end took what is to be kept"


def what_the_page_tells_people_to_type_is_taken(server):
    """All of it that takes no node, no custom resource and no other server, in its order."""
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S)
    # Each with its here-document, where it has one.
    commands = [one for block in blocks for one in re.findall(r"^(?:kubectl|helm) (?:[^\n]*<<'END'\n.*?^END$|[^\n]*)", block, re.M | re.S)]
    spans = [span.replace("\\|", "|") for span in re.findall(r"`([^`\n]*kubectl create [^`\n]*)`", page)]
    taken = [one for one in commands if not re.search(NEEDS_MORE, one)]
    assert len(taken) >= 7 and len(spans) == 4, (taken, spans)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "helm").mkdir()
        old_chart(here).rename(here / "helm" / "vitrine")
        with open(here / "helm/vitrine/examples/trial.yaml", "a") as trial:
            trial.write("\ntls: {mode: none}\n")
        shutil.copy(here / "helm/vitrine/examples/trial.yaml", here / "values.yaml")
        for name in ("ca.crt", "tls.crt", "tls.key", "secret-access-key"):
            (here / name).write_text("text\n")
        (here / "bin").mkdir()
        (here / "bin/helm").symlink_to(HELMS["Helm 3"])
        if (TOOLS / "kubectl").exists():
            (here / "bin/kubectl").symlink_to(TOOLS / "kubectl")
        environment = {"HOME": folder, "PATH": f"{here / 'bin'}:/usr/bin:/bin", "KUBECONFIG": str(server.config)}
        # The examples have it, too.
        server.kubectl("delete", "priorityclass", "research", "--ignore-not-found")

        def type_in(command):
            done = subprocess.run(["sh", "-ec", command], cwd=here, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{command}: {done.stderr}"

        first, *others = taken
        type_in(first)
        # Whoever types has it before the next command.
        until("the namespace's account", lambda: server.kubectl("get", "serviceaccount", "default", "--namespace", NAMESPACE))
        for command in others:
            type_in(command)
        # What is made for service, in a namespace where nothing was tried before.
        server.namespace("service")
        config = json.loads(server.config.read_text())
        config["contexts"][0]["context"]["namespace"] = "service"
        (here / "kubeconfig").write_text(json.dumps(config))
        environment["KUBECONFIG"] = str(here / "kubeconfig")
        for command in spans:
            type_in(command)
        found = json.loads(server.kubectl("get", "deployments,statefulsets", "--namespace", NAMESPACE, "--output", "json"))["items"]
        assert found and all(one["spec"]["replicas"] > 0 for one in found), "what was scaled to nothing is there again"


# What wants a node, or a custom resource.
NEEDS_MORE = r"^kubectl (wait|cp|exec)\b|--for=delete|scaledobjects"


# What is changed of a template, and what the API server says of it.
FAULTS = [
    (
        ("gateway.yaml", 'matchLabels: {{- include "vitrine.selector" $role | nindent 6 }}\n  strategy', "matchLabels: {app: other}\n  strategy"),
        "`selector` does not match template `labels`",
    ),
    (("gateway.yaml", "{name: uploads, mountPath:", "{name: upload, mountPath:"), 'Not found: "upload"'),
    (("scheduler.yaml", "maxUnavailable: {{", "minAvailable: 1\n  maxUnavailable: {{"), "cannot be both set"),
]


def as_it_was(text):
    for now, then in AS_IT_WAS:
        text = re.sub(now, then, text, flags=re.MULTILINE)
    return text


def old_chart(folder):
    """Returns a copy of the chart as 1.20 takes it."""
    chart = folder / "chart"
    shutil.copytree(CHART, chart)
    for file in [chart / "Chart.yaml", *(chart / "templates").iterdir()]:
        file.write_text(as_it_was(file.read_text()))
    return chart


def newest(folder, change):
    """Renders the chart as it is for the newest version, but for one change."""
    chart = Path(folder) / "newest"
    shutil.copytree(CHART, chart)
    file, old, new = change
    path = chart / "templates" / file
    path.write_text(path.read_text().replace(old, new))
    return template("Helm 4", TRIAL, chart=chart)


def invalid_somewhere(everything):
    return next((fault for one in everything if not is_custom(one) and (fault := invalid(one, NEWEST))), None)


def has_pods(server, kind, name, namespace, wanted):
    """Says how many pods there are, when they are as many as are wanted; nobody runs them."""
    found = json.loads(server.kubectl("get", "pods", "--namespace", namespace, "--output", "json"))["items"]
    pods = [pod["metadata"]["name"] for pod in found if re.fullmatch(rf"{re.escape(name)}-(\d+|[a-z0-9]+-[a-z0-9]+)", pod["metadata"]["name"])]
    if len(pods) < wanted:
        events = json.loads(server.kubectl("get", "events", "--namespace", namespace, "--output", "json"))["items"]
        said = [event["message"] for event in events if event["type"] == "Warning" and event["reason"] == "FailedCreate"]
        raise Refusal(f"{kind} {name} has the pods {pods}; {said}")
    return len(pods)


def until(what, done, seconds=120):
    """Waits for what another process does."""
    last, end = None, time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return done()
        except (OSError, Refusal) as error:
            last = error
            time.sleep(0.2)
    raise AssertionError(f"{what} did not come in {seconds} s: {last}")


def ports(count):
    with contextlib.ExitStack() as ending:
        sockets = [ending.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def end(process):
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


CHECKS = [
    every_example_is_taken,
    what_schemas_let_pass_is_refused,
    both_helms_install_upgrade_and_roll_back,
    what_the_page_tells_people_to_type_is_taken,
]


def main():
    arguments = argparse.ArgumentParser(description="Has a real API server take the chart.")
    arguments.add_argument("--only", default="", help="only checks whose name has this word")
    chosen, failed = arguments.parse_args(), 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ending:
        server = Server(folder, ending)
        for check in CHECKS:
            name = check.__name__.replace("_", " ")
            if chosen.only not in name:
                continue
            start = time.monotonic()
            try:
                check(server)
                verdict = "ok"
            except Exception:
                verdict, failed = f"FAILED\n{traceback.format_exc()}", failed + 1
            print(f"{name}: {verdict} ({time.monotonic() - start:.1f} s)", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
