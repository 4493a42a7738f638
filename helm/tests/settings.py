"""The real programs take the files, the arguments and the environment that pods give them."""
import re
import subprocess
import tempfile
from pathlib import Path

import pods
from chart import EXAMPLES, NAMESPACE, containers, named, notes, render, role, workloads
from pods import Pod


def every_rendered_file_of_settings_can_be_used():
    for example in EXAMPLES:
        everything = render("Helm 3", example)
        for workload in workloads(everything):
            if role(workload) == "etcd":
                continue
            with tempfile.TemporaryDirectory() as root:
                done = Pod(workload, everything, Path(root)).run("--check-config")
            assert "the settings can be used" in done.stderr, f"{example.name}: {workload['metadata']['name']}:\n{done.stdout}{done.stderr}"


def a_setting_that_the_program_does_not_have_is_refused_by_it():
    everything = render("Helm 3", EXAMPLES[0])
    config = named(everything, "ConfigMap")
    gateway = next(one for one in workloads(everything) if role(one) == "gateway")
    name = gateway["metadata"]["name"]
    wrong = dict(config[name], data={"gateway.toml": "drian = '1s'\n" + config[name]["data"]["gateway.toml"]})
    changed = [one for one in everything if one is not config[name]] + [wrong]
    with tempfile.TemporaryDirectory() as root:
        done = Pod(gateway, changed, Path(root)).run("--check-config")
    assert done.returncode and "drian" in done.stderr, done.stderr


def schedulers_say_of_themselves_what_workers_are_told_of_them():
    for example in EXAMPLES:
        everything = render("Helm 3", example)
        [scheduler] = [one for one in workloads(everything) if role(one) == "scheduler"]
        for number in range(scheduler["spec"]["replicas"]):
            name = f"{scheduler['metadata']['name']}-{number}"
            with tempfile.TemporaryDirectory() as root:
                printed = Pod(scheduler, everything, Path(root), name).run("--print-config").stdout
            [advertised] = re.findall(r'^advertise = "(.*)"$', printed, re.M)
            for config in named(everything, "ConfigMap").values():
                assert "worker.toml" not in config["data"] or f'"{advertised}"' in config["data"]["worker.toml"], advertised
            assert f".{NAMESPACE}.svc." in advertised


def the_notes_make_the_first_key_with_the_settings_of_a_gateway():
    text = notes(EXAMPLES[-1])
    arguments = key_command(text)
    everything = render("Helm 3", EXAMPLES[-1])
    [gateway] = [one for one in workloads(everything) if role(one) == "gateway"]
    assert f"deployment/{gateway['metadata']['name']}" in text, text
    assert arguments[arguments.index("--config") + 1] in containers(gateway)[0]["args"], arguments
    told = subprocess.run([pods.PROGRAMS / "vitrine", *arguments[:2], "--help"], capture_output=True, text=True, check=True).stdout
    assert {one for one in arguments if one.startswith("--")} <= set(re.findall(r"--[\w-]+", told)), told


def key_command(text):
    """Returns the arguments of the command by which notes say that the first key is made."""
    [command] = re.findall(r"^ +vitrine (key add .*)$", text, re.M)
    return command.split()


CHECKS = [
    every_rendered_file_of_settings_can_be_used,
    a_setting_that_the_program_does_not_have_is_refused_by_it,
    schedulers_say_of_themselves_what_workers_are_told_of_them,
    the_notes_make_the_first_key_with_the_settings_of_a_gateway,
]
