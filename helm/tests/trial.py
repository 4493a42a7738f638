"""What trial.yaml makes, on this machine: etcd and the roles with the settings, certificates and probes of their pods, and a job."""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pods
from chart import CHART, NAMESPACE, RELEASE, ROOT, containers, notes, render, role, workloads
from pods import Pod
from settings import key_command

TRIAL = CHART / "examples" / "trial.yaml"
MODEL = ROOT / ".models/float32/tiny-gpt2"
CLIENT = """
from nnsight import LanguageModel
model = LanguageModel("openai-community/gpt2")
with model.trace("one two", remote=True):
    hidden = model.transformer.h[0].output[0].save()
print("hidden", hidden.shape[-1])
"""


def the_trial_comes_up_and_runs_a_job_of_the_real_client():
    python = ROOT / ".venv/bin/python"
    if not shutil.which("etcd") or not python.exists() or not MODEL.exists():
        sys.exit("check: etcd, the client or its models are missing; `make helm-test` makes them")
    everything = render("Helm 4", TRIAL)
    by_role = {role(workload): workload for workload in workloads(everything)}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ending:
        root = Path(folder)
        pem, log = pods.certificates(root / "certificates"), root / "log"
        etcd_port, client, worker, *health = pods.ports(6)
        etcd, probes = pods.start_etcd(by_role["etcd"], root, pem, etcd_port, ending)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            pods.until_well(probes + containers(by_role["etcd"])[0][probe]["httpGet"]["path"], etcd, log)
        (root / "objects").mkdir()
        renamed = [
            (f"https://{RELEASE}-vitrine-etcd.{NAMESPACE}.svc.cluster.local:2379", f"https://127.0.0.1:{etcd_port}"),
            (f"https://{RELEASE}-vitrine-scheduler-0.{RELEASE}-vitrine-scheduler.{NAMESPACE}.svc.cluster.local:7000", f"https://127.0.0.1:{worker}"),
            ("0.0.0.0:8000", f"127.0.0.1:{client}"), ("0.0.0.0:7000", f"127.0.0.1:{worker}"),
            ("/var/lib/vitrine/objects", str(root / "objects")), ("/models/models/gpt2", str(MODEL)),
        ]  # fmt: skip
        running = []
        for kind, port in zip(("scheduler", "gateway", "worker"), health):
            name = f"{RELEASE}-vitrine-{kind}-0"
            pod = Pod(by_role[kind], everything, root / kind, name, [("0.0.0.0:8100", f"127.0.0.1:{port}"), *renamed], pem)
            process = pod.start(ending, log)
            running.append((kind, pod, process))
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                pods.until_well(f"http://127.0.0.1:{port}{pod.container[probe]['httpGet']['path']}", process, log)
        gateway = dict((kind, pod) for kind, pod, _ in running)["gateway"]
        arguments = [f"{gateway.root}{one}" if one.startswith("/etc/") else one for one in key_command(notes(TRIAL))]
        made = subprocess.run([pods.PROGRAMS / "vitrine", *arguments], env=gateway.environment, capture_output=True, text=True, check=True).stdout
        [key] = re.findall(r"vitrine_\w+", made)
        host = f"http://127.0.0.1:{client}"
        environment = {**os.environ, "NDIF_HOST": host, "HF_ENDPOINT": host, "NDIF_API_KEY": key, "HF_HOME": str(root / "hub")}
        done = subprocess.run([python, "-c", CLIENT], env=environment, cwd=root, capture_output=True, text=True)
        width = json.loads((MODEL / "config.json").read_text())["n_embd"]
        assert f"hidden {width}" in done.stdout, f"{done.stdout}{done.stderr}\n{log.read_text()[-3000:]}"
        for kind, _, process in reversed(running):
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0, f"{kind} ends badly:\n{log.read_text()[-3000:]}"


CHECKS = [the_trial_comes_up_and_runs_a_job_of_the_real_client]
