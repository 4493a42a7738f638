#!/usr/bin/env python3
"""Checks the units of systemd, the compose file and what images are made of, without starting any of them.

    python3 deploy/tests/check.py [--programs target/debug]
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from pathlib import Path
from types import SimpleNamespace

DEPLOY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(DEPLOY))
import contents  # noqa: E402
import images  # noqa: E402
import run_images  # noqa: E402

ROOT = DEPLOY.parent
UNITS = sorted((DEPLOY / "systemd/units").glob("*.service"))
# Those of roles, which have files of settings.
ROLES = [unit for unit in UNITS if "ExecStartPre" in unit.read_text()]
PROGRAMS = None
# Above which a service is more exposed than it needs to be, by systemd's own measure from 0 to 10.
EXPOSED = 3.0
# What a gateway needs to close beyond its drain (LINGER of cli/src/serving.rs).
CLOSING = 5


def no_unit_is_exposed():
    for unit in UNITS:
        said = analyze("security", "--offline=true", "--no-pager", unit)
        [level] = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", said.stdout)
        assert float(level) < EXPOSED, said.stdout


def systemd_and_the_programs_take_what_is_installed():
    with tempfile.TemporaryDirectory() as root:
        install(root)
        assert install(root).stdout.startswith("installed"), "installing again fails"
        # Units that these begin after, as a whole system has them.
        for name in ("network-online.target", "multi-user.target", "sysinit.target", "basic.target", "shutdown.target", "system.slice", "-.mount"):
            found = Path("/usr/lib/systemd/system") / name
            if found.exists():
                shutil.copy(found, Path(root) / "etc/systemd/system" / name)
        for unit in UNITS:
            said = analyze("verify", f"--root={root}", "--man=no", f"/etc/systemd/system/{unit.name}")
            assert unit.name.split(".")[0].rstrip("@") not in said.stderr, said.stderr
            for command in settings(unit, "ExecStartPre") + settings(unit, "ExecStart"):
                program, *arguments = command.split()
                assert (Path(root) / program.lstrip("/")).is_file(), command
                [config] = [one for one in arguments if one.endswith(".toml")] + settings(unit, "EnvironmentFile")
                assert (Path(root) / config.lstrip("/")).is_file(), command
        for program in ("vitrine", "vitrine-worker"):
            # It finds libtorch where the installation has it.
            told = subprocess.run([f"{root}/opt/vitrine/usr/bin/{program}", "--version"], capture_output=True, text=True)
            assert told.returncode == 0 and told.stdout.startswith(program), told.stderr


def the_settings_of_units_can_be_used():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "etc").mkdir()
        for name in ("worker.token", "bucket.secret"):
            (root / "etc" / name).write_text("a secret\n")
        (root / "cache/uploads").mkdir(parents=True)
        (root / "srv/models/gpt2").mkdir(parents=True)
        (root / "srv/models/gpt2/config.json").write_text("{}")
        for unit in ROLES:
            [command] = settings(unit, "ExecStartPre")
            program, *arguments = command.split()
            config = Path(next(one for one in arguments if one.endswith(".toml")))
            text = (DEPLOY / "systemd/etc" / config.name).read_text()
            (root / config.name).write_text(text.replace("/etc/vitrine", f"{root}/etc").replace("/var/cache/vitrine", f"{root}/cache").replace("/srv/", f"{root}/srv/"))
            given = [str(root / config.name) if one == str(config) else one for one in arguments]
            variables = dict(one.split("=", 1) for line in settings(unit, "Environment") for one in line.split())
            done = subprocess.run([PROGRAMS / Path(program).name, *given], env=variables, capture_output=True, text=True)
            assert done.returncode == 0 and "the settings can be used" in done.stderr, f"{unit.name}: {done.stderr}"


def units_wait_for_longer_than_it_takes_to_end():
    for unit in ROLES:
        [limit] = settings(unit, "TimeoutStopSec")
        config = next(one for one in settings(unit, "ExecStart")[0].split() if one.endswith(".toml"))
        drain = tomllib.loads((DEPLOY / "systemd/etc" / Path(config).name).read_text()).get("drain", "2s")
        assert int(limit) > int(drain.removesuffix("s")) + CLOSING, f"{unit.name}: {limit} s"


def the_compose_file_has_nobody_who_is_root_and_names_what_it_is_given():
    compose, state = yaml().safe_load((DEPLOY / "compose/compose.yaml").read_text()), prepared()
    for name, service in compose["services"].items():
        assert service["user"] == "65532:65532" and service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"] and "privileged" not in service, name
        assert name == "etcd" or service["healthcheck"]["test"][:3] == ["CMD", "vitrine", "probe"], name
        image = re.sub(r"\$\{\w+:-(.*)\}", r"\1", service["image"])
        assert re.search(r":v?\d+\.\d+\.\d+$", image), image
        assert set(service["networks"]) <= set(compose["networks"]) and set(service.get("depends_on", {})) <= set(compose["services"]), name
        for mount in service["volumes"]:
            place = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", mount).split(":")[0].removeprefix("./")
            assert (state / place).exists(), f"{name} mounts {place}, which prepare.sh does not make"
    # Who is published is published on this machine only, and only the gateway.
    ports = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert ports == {"gateway": ["127.0.0.1:8000:8000", "127.0.0.1:8001:8001"]}, ports
    shutil.rmtree(state)


def the_settings_of_the_compose_file_can_be_used():
    compose, state = yaml().safe_load((DEPLOY / "compose/compose.yaml").read_text()), prepared()
    for name, service in compose["services"].items():
        if name == "etcd":
            continue
        program = "vitrine-worker" if service["command"][0] == "run" else "vitrine"
        # Files as the container has them, by the mounts that say so.
        places = {}
        for mount in service["volumes"]:
            source, target = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", mount).split(":")[:2]
            places[target] = state / source.removeprefix("./")
        arguments = [str(places.get(one, one)) for one in service["command"]]
        config = Path(arguments[-1])
        text = config.read_text()
        for target, source in sorted(places.items(), reverse=True):
            text = text.replace(f'"{target}', f'"{source}')
        named = re.findall(r'"(/[^"=]+)"', re.sub(r"(?m)^#.*$", "", text))
        missing = [one for one in named if one.startswith(str(state)) and not Path(one).exists()]
        assert not missing and all(one.startswith(str(state)) for one in named), f"{name}: {named}"
        config.write_text(text)
        done = subprocess.run([PROGRAMS / program, *arguments, "--check-config"], env={}, capture_output=True, text=True)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        drain = re.search(r'^drain = "(\d+)s"', text, re.M)
        if drain:
            assert int(service["stop_grace_period"].removesuffix("s")) > int(drain[1]) + CLOSING, name
    shutil.rmtree(state)


def what_stands_in_comments_can_be_used_too():
    """Settings that are left out by default, as an administrator who takes the `#` away has them."""
    for file, role in {"systemd/etc/gateway.toml": "gateway", "systemd/etc/vitrine.toml": "up", "compose/gateway.toml": "gateway"}.items():
        text = (DEPLOY / file).read_text()
        taken = re.sub(r"(?m)^# (\[[a-z.]+\]$|\w+ = )", r"\1", text)
        # What was there by default gives way.
        lines, keys, table = [], {}, ""
        for line in taken.splitlines():
            table = line if line.startswith("[") else table
            key = (table, line.split(" = ")[0]) if " = " in line and not line.startswith("#") else None
            if key and key in keys:
                lines[keys[key]] = line
                continue
            keys[key] = len(lines)
            lines.append(line)
        given = tomllib.loads("\n".join(lines))
        oidc, grpc = given["gateway"]["oidc"], given["grpc_listen"]
        assert oidc["client_secret_file"] == "/etc/vitrine/oidc.secret" and grpc.count(":") == 1, given
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "models").mkdir()
            (root / "models/config.json").write_text("{}")
            path = root / "settings.toml"
            text = re.sub(r'"(o[^"]+)=/srv/[^"]+"', rf'"\1={root}/models"', "\n".join(lines))
            # Files of this machine, each with what is asked of it elsewhere.
            path.write_text(re.sub(r'"/(etc|var)/[^"]*"', lambda found: f'"{written(root, found[0])}"', text))
            done = subprocess.run([PROGRAMS / "vitrine", role, "--config", path, "--check-config"], env={}, capture_output=True, text=True)
            assert done.returncode == 0 and "the settings can be used" in done.stderr, f"{file}: {done.stderr}\n{path.read_text()}"


def the_folder_of_an_image_is_made_twice_alike_and_lists_all_that_is_in_it():
    """What `make images-test` does to every image as it is built, of the one without libtorch, and without a builder."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return "left out: it takes root, who gives files to another user, and Debian's packages"
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for place in ("first", "second"):
            made = images.context("server", PROGRAMS, Path(folder) / place)
            found.append(entries(made / "root"))
        differ = {name for name in found[0].keys() | found[1].keys() if found[0].get(name) != found[1].get(name)}
        assert not differ and len(found[0]) > 1000, f"{len(found[0])} files, of which differ {sorted(differ)[:9]}"
        image = SimpleNamespace(root=made / "root")
        run_images.everything_in_it_is_listed_with_its_licence("server", image)
        # One byte more would show.
        with open(made / "root/opt/vitrine/usr/bin/vitrine", "ab") as program:
            program.write(b"x")
        other = entries(made / "root")
        assert [name for name in other if other[name] != found[1][name]] == ["opt/vitrine/usr/bin/vitrine"]


def entries(root):
    """Returns all that a layer has of each file."""
    found = {}
    for path in root.rglob("*"):
        about = path.lstat()
        content = os.readlink(path) if path.is_symlink() else contents.digest(path) if path.is_file() else None
        found[str(path.relative_to(root))] = (about.st_mode, about.st_uid, about.st_gid, about.st_mtime, content)
    return found


def every_image_has_a_health_check_that_its_program_knows():
    for file in sorted(DEPLOY.glob("*.Containerfile")):
        [check] = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", file.read_text(), re.M)
        program, *arguments = json.loads(check)
        done = subprocess.run([PROGRAMS / program, *arguments[:-1], "http://127.0.0.1:9/livez"], capture_output=True, text=True)
        assert done.returncode == 1 and "nothing answers at" in done.stderr, f"{file.name}: {done.stderr}"
        assert re.fullmatch(r"http://127.0.0.1:8100/(readyz|livez)", arguments[-1]), f"{file.name}: {arguments}"


def written(root, name):
    """Returns where a file or folder lies that settings name; it is made there."""
    place = root / name.strip('"').lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.suffix:
        place.write_text("a secret\n")
    else:
        place.mkdir(exist_ok=True)
    return place


def prepared():
    """Returns a copy of the compose folder in which prepare.sh has run, twice."""
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(DEPLOY / "compose", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("state"))
    environment = os.environ | {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    for _ in range(2):
        done = subprocess.run(["sh", folder / "prepare.sh"], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    for role in ("gateway", "scheduler", "worker", "etcd"):
        key = folder / f"state/certificates/{role}/{role}.key"
        assert key.stat().st_mode & 0o077 == 0 and key.stat().st_uid == 65532, key
    assert not list(folder.rglob("ca.key"))
    return folder


def install(root):
    command = ["sh", DEPLOY / "systemd/install.sh", PROGRAMS]
    done = subprocess.run(command, env=os.environ | {"DESTDIR": root}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def analyze(*arguments):
    environment = os.environ | {"SYSTEMD_UNIT_PATH": f"{DEPLOY / 'systemd/units'}:"}
    return subprocess.run(["systemd-analyze", *map(str, arguments)], env=environment, capture_output=True, text=True)


def settings(unit, key):
    """Returns what a unit says of a key, its drop-in first."""
    files = [DEPLOY / "systemd/units/vitrine-.service.d/hardening.conf", unit]
    return [line.split("=", 1)[1] for file in files for line in file.read_text().splitlines() if line.startswith(f"{key}=")]


def yaml():
    try:
        import yaml
    except ImportError:
        sys.exit("check: PyYAML is missing; run this with .venv/bin/python")
    return yaml


CHECKS = [
    no_unit_is_exposed,
    systemd_and_the_programs_take_what_is_installed,
    the_settings_of_units_can_be_used,
    units_wait_for_longer_than_it_takes_to_end,
    the_compose_file_has_nobody_who_is_root_and_names_what_it_is_given,
    the_settings_of_the_compose_file_can_be_used,
    what_stands_in_comments_can_be_used_too,
    every_image_has_a_health_check_that_its_program_knows,
    the_folder_of_an_image_is_made_twice_alike_and_lists_all_that_is_in_it,
]


def main():
    global PROGRAMS
    arguments = argparse.ArgumentParser(description="Checks units and the compose file.")
    arguments.add_argument("--programs", type=Path, default=ROOT / "target/debug", help="where vitrine and vitrine-worker lie")
    PROGRAMS = arguments.parse_args().programs.resolve()
    if not shutil.which("systemd-analyze"):
        sys.exit("check: systemd-analyze is missing; install it, for example: sudo apt-get install systemd")
    failed = 0
    for check in CHECKS:
        start, name = time.monotonic(), check.__name__.replace("_", " ")
        try:
            verdict = check() or "ok"
        except Exception as fault:
            failed += 1
            verdict = f"FAILED\n{fault if isinstance(fault, AssertionError) and str(fault) else traceback.format_exc()}"
        print(f"{name}: {verdict} ({time.monotonic() - start:.1f} s)", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
