"""Pods on this machine: the programs that they run, with their files, arguments and environment."""
import contextlib
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from chart import ROOT, containers, named

PROGRAMS = None
# What certificates are called in Secrets, and what `vitrine cert dev` calls them.
PEM = {"ca.crt": "ca.pem", "tls.crt": "{role}.pem", "tls.key": "{role}.key"}


def find(folder):
    """Says where the programs are."""
    global PROGRAMS
    folder = (ROOT / folder).resolve()
    for name in ("vitrine", "vitrine-worker"):
        if not (folder / name).exists():
            sys.exit(f"check: {folder / name} is missing; `make helm-test` builds it")
    PROGRAMS = folder


class Pod:
    """One pod of a workload, whose root is a folder."""

    def __init__(self, workload, everything, root, name="pod-0", renamed=(), certificates=None):
        """`renamed` says what of a cluster is called otherwise here: addresses, and folders."""
        self.container, self.root = containers(workload)[-1], root
        self.renamed = [*renamed, *((f'"/{folder}/', f'"{root}/{folder}/') for folder in ("etc", "var"))]
        self.role = workload["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
        config = named(everything, "ConfigMap")
        volumes = {volume["name"]: volume for volume in workload["spec"]["template"]["spec"]["volumes"]}
        for mount in self.container["volumeMounts"]:
            place = root / mount["mountPath"].lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
            volume = volumes[mount["name"]]
            if "configMap" in volume:
                for file, text in config[volume["configMap"]["name"]]["data"].items():
                    (place / file).write_text(self.here(text))
            if "secret" in volume:
                for file in ("token", "password", "secret-access-key", "access-key-id", "client-secret", *PEM):
                    (place / file).write_text("a secret\n")
                    if certificates and file in PEM:
                        (place / file).write_bytes((certificates / PEM[file].format(role=self.role)).read_bytes())
        self.environment = {"PATH": os.environ["PATH"]}
        for variable in self.container["env"]:
            self.environment[variable["name"]] = self.here(value(variable, self.environment, name))

    def here(self, text):
        for before, after in self.renamed:
            text = text.replace(before, after)
        return text

    def command(self, *more):
        given = [f"{self.root}{one}" if one.startswith("/etc/") else one for one in self.container["args"]]
        return [str(part) for part in (PROGRAMS / self.container["command"][0], *given, *more)]

    def run(self, *more):
        return subprocess.run(self.command(*more), env=self.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    def start(self, ending, log):
        return start(self.command(), ending, log, self.environment)


def value(variable, environment, pod):
    if "value" in variable:
        return re.sub(r"\$\((\w+)\)", lambda match: environment[match[1]], variable["value"])
    source = variable["valueFrom"]
    return {"fieldRef": pod, "secretKeyRef": "from-a-secret", "resourceFieldRef": "2"}[next(iter(source))]


def start(command, ending, log, environment=None):
    """Starts a process that ends with `ending`."""
    with open(log, "a") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    ending.callback(process.wait)
    ending.callback(process.kill)
    return process


def certificates(folder):
    subprocess.run([PROGRAMS / "vitrine", "cert", "dev", folder], check=True, capture_output=True)
    return folder


def start_etcd(workload, root, pem, client, ending):
    """Starts the etcd of a trial, at a port of its own. Returns it and where its probes are answered."""
    peer, health = ports(2)
    text = "\n".join(containers(workload)[0]["args"])
    for before, after in [
        ("/etc/etcd/tls/ca.crt", pem / "ca.pem"), ("/etc/etcd/tls/tls.crt", pem / "etcd.pem"), ("/etc/etcd/tls/tls.key", pem / "etcd.key"),
        ("/var/lib/etcd", root / "etcd"), ("0.0.0.0:2379", f"127.0.0.1:{client}"), ("127.0.0.1:2380", f"127.0.0.1:{peer}"),
        ("0.0.0.0:2381", f"127.0.0.1:{health}"),
    ]:  # fmt: skip
        assert before in text, f"{before} is not among etcd's arguments"
        text = text.replace(before, str(after))
    (root / "etcd").mkdir(mode=0o700)
    return start(["etcd", *text.splitlines()], ending, root / "log"), f"http://127.0.0.1:{health}"


def ports(number):
    """Returns ports that nobody has."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def until_well(url, process, log):
    """Asks a probe until it answers well; no longer than a startup probe would."""
    deadline = time.monotonic() + 600
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"{url} does not answer well:\n{Path(log).read_text()[-3000:]}")
