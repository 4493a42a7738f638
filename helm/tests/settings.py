"""The real programs take the files, the arguments and the environment that pods give them."""
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from chart import EXAMPLES, NAMESPACE, ROOT, containers, named, notes, render, role, workloads

PROGRAMS = None


def found(folder):
    folder = ROOT / folder
    for name in ("vitrine", "vitrine-worker"):
        if not (folder / name).exists():
            sys.exit(f"check: {folder / name} is missing; `make helm-test` builds it")
    return folder.resolve()


def every_rendered_file_of_settings_can_be_used():
    for example in EXAMPLES:
        everything = render("Helm 3", example)
        for workload in workloads(everything):
            if role(workload) == "etcd":
                continue
            with tempfile.TemporaryDirectory() as root:
                done = run(workload, everything, Path(root), "--check-config")
            assert "the settings can be used" in done.stderr, f"{example.name}: {workload['metadata']['name']}:\n{done.stdout}{done.stderr}"


def a_setting_that_the_program_does_not_have_is_refused_by_it():
    everything = render("Helm 3", EXAMPLES[0])
    config = named(everything, "ConfigMap")
    gateway = next(one for one in workloads(everything) if role(one) == "gateway")
    name = gateway["metadata"]["name"]
    wrong = dict(config[name], data={"gateway.toml": "drian = '1s'\n" + config[name]["data"]["gateway.toml"]})
    changed = [one for one in everything if one is not config[name]] + [wrong]
    with tempfile.TemporaryDirectory() as root:
        done = run(gateway, changed, Path(root), "--check-config")
    assert done.returncode and "drian" in done.stderr, done.stderr


def schedulers_say_of_themselves_what_workers_are_told_of_them():
    for example in EXAMPLES:
        everything = render("Helm 3", example)
        [scheduler] = [one for one in workloads(everything) if role(one) == "scheduler"]
        for number in range(scheduler["spec"]["replicas"]):
            name = f"{scheduler['metadata']['name']}-{number}"
            with tempfile.TemporaryDirectory() as root:
                printed = run(scheduler, everything, Path(root), "--print-config", pod=name).stdout
            [advertised] = re.findall(r'^advertise = "(.*)"$', printed, re.M)
            for config in named(everything, "ConfigMap").values():
                assert "worker.toml" not in config["data"] or f'"{advertised}"' in config["data"]["worker.toml"], advertised
            assert f".{NAMESPACE}.svc." in advertised


def the_notes_make_the_first_key_with_the_settings_of_a_gateway():
    text = notes(EXAMPLES[-1])
    [command] = re.findall(r"^ +vitrine (key add .*)$", text, re.M)
    arguments = command.split()
    everything = render("Helm 3", EXAMPLES[-1])
    [gateway] = [one for one in workloads(everything) if role(one) == "gateway"]
    assert f"deployment/{gateway['metadata']['name']}" in text, text
    assert arguments[arguments.index("--config") + 1] in containers(gateway)[0]["args"], command
    # Its settings are a gateway's, which are checked above; its flags are those that the program has.
    told = subprocess.run([PROGRAMS / "vitrine", *arguments[:2], "--help"], capture_output=True, text=True, check=True).stdout
    assert {one for one in arguments if one.startswith("--")} <= set(re.findall(r"--[\w-]+", told)), told


def the_etcd_of_a_trial_starts_with_its_arguments_and_answers_its_probes():
    if not shutil.which("etcd"):
        # `make setup-tests` brings it.
        sys.exit("check: etcd is missing; run `make setup-tests`")
    [etcd] = [one for example in EXAMPLES for one in workloads(render("Helm 3", example)) if role(one) == "etcd"]
    container = containers(etcd)[0]
    with tempfile.TemporaryDirectory() as root, contextlib.ExitStack() as ending:
        certificates = Path(root) / "certificates"
        subprocess.run([PROGRAMS / "vitrine", "cert", "dev", certificates], check=True, capture_output=True)
        client, peer, health = ports(3)
        text = "\n".join(container["args"])
        for before, after in [
            ("/etc/etcd/tls/ca.crt", certificates / "ca.pem"), ("/etc/etcd/tls/tls.crt", certificates / "etcd.pem"),
            ("/etc/etcd/tls/tls.key", certificates / "etcd.key"), ("/var/lib/etcd", root),
            ("0.0.0.0:2379", f"127.0.0.1:{client}"), ("127.0.0.1:2380", f"127.0.0.1:{peer}"), ("0.0.0.0:2381", f"127.0.0.1:{health}"),
        ]:  # fmt: skip
            assert before in text, f"{before} is not among etcd's arguments"
            text = text.replace(before, str(after))
        with open(Path(root) / "log", "w") as log:
            process = subprocess.Popen(["etcd", *text.splitlines()], stdout=log, stderr=log)
        ending.callback(process.wait)
        ending.callback(process.kill)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = container[probe]["httpGet"]["path"]
            assert answers(f"http://127.0.0.1:{health}{path}", process), (Path(root) / "log").read_text()[-2000:]


def run(workload, everything, root, *more, pod="pod-0"):
    """Runs a workload's program as its pod would, with files of its own in the places of those that a pod has."""
    container = containers(workload)[-1]
    config = named(everything, "ConfigMap")
    volumes = {volume["name"]: volume for volume in workload["spec"]["template"]["spec"]["volumes"]}
    for mount in container["volumeMounts"]:
        place = root / mount["mountPath"].lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        volume = volumes[mount["name"]]
        if "configMap" in volume:
            for name, text in config[volume["configMap"]["name"]]["data"].items():
                (place / name).write_text(text.replace('"/etc/', f'"{root}/etc/').replace('"/var/', f'"{root}/var/'))
        if "secret" in volume:
            for name in ("token", "password", "secret-access-key", "access-key-id", "ca.crt", "tls.crt", "tls.key"):
                (place / name).write_text("a secret\n")
    environment = {"PATH": os.environ["PATH"]}
    for variable in container["env"]:
        environment[variable["name"]] = value(variable, environment, pod)
    given = [f"{root}{one}" if one.startswith("/etc/") else one for one in container["args"]]
    command = [PROGRAMS / container["command"][0], *given, *more]
    return subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def value(variable, environment, pod):
    if "value" in variable:
        return re.sub(r"\$\((\w+)\)", lambda match: environment[match[1]], variable["value"])
    source = variable["valueFrom"]
    return {"fieldRef": pod, "secretKeyRef": "from-a-secret", "resourceFieldRef": "2"}[next(iter(source))]


def ports(number):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def answers(url, process):
    """Asks until a server answers well, or ends; as long as the startup probe would."""
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
        time.sleep(0.1)
    return False


CHECKS = [
    every_rendered_file_of_settings_can_be_used,
    a_setting_that_the_program_does_not_have_is_refused_by_it,
    schedulers_say_of_themselves_what_workers_are_told_of_them,
    the_notes_make_the_first_key_with_the_settings_of_a_gateway,
    the_etcd_of_a_trial_starts_with_its_arguments_and_answers_its_probes,
]
