#!/usr/bin/env python3
"""Builds the images twice, and runs what they have with their own root file system and nothing of this machine's.

    sudo .venv/bin/python deploy/tests/run_images.py [--programs target/debug] [--images server worker quickstart]

There is no engine here: a root is unpacked from the image's archive, made read-only, and entered with chroot in a mount namespace as
the image's user, with its environment and its command.
"""
import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

DEPLOY = Path(__file__).resolve().parents[1]
ROOT = DEPLOY.parent
sys.path.insert(0, str(DEPLOY))
import contents  # noqa: E402
import images  # noqa: E402

# What the image of the server may take beside its program: "distroless-sized".
SERVER_BYTES = 16 << 20


class Image:
    """An image as its archive has it."""

    def __init__(self, archive, into):
        with tarfile.open(archive) as outer:
            [manifest] = json.load(outer.extractfile("manifest.json"))
            self.config = json.load(outer.extractfile(manifest["Config"]))
            self.root = into
            into.mkdir()
            for layer in manifest["Layers"]:
                with tarfile.open(fileobj=outer.extractfile(layer)) as inner:
                    self.entries = inner.getmembers()
                    inner.extractall(into, filter="fully_trusted")
        self.settings = self.config["config"]

    def command(self, *arguments, data=None):
        """Returns a command line that runs the image's program as an engine would, with a read-only root."""
        root = self.root
        mounts = [f"mount --bind {root} {root}", f"mount -o remount,ro,bind {root}", f"mount -t proc proc {root}/proc", f"mount -t tmpfs tmpfs {root}/tmp"]
        if data:
            mounts.append(f"mount --bind {data} {root}/var/lib/vitrine")
        user = self.settings["User"]
        environment = " ".join(f"'{one}'" for one in self.settings["Env"])
        # exec, so that signals reach the program.
        enter = f"exec env -i {environment} /usr/sbin/chroot --userspec={user} {root}"
        program = self.settings["Entrypoint"] + list(arguments or self.settings["Cmd"])
        line = " ".join(f"'{part}'" for part in [self.found(program[0]), *program[1:]])
        return ["unshare", "--mount", "--propagation=private", "sh", "-ec", "; ".join([*mounts, f"{enter} {line}"])]

    def found(self, program):
        """Returns where the image's own PATH has a program."""
        if program.startswith("/"):
            return program
        path = dict(one.split("=", 1) for one in self.settings["Env"])["PATH"]
        return next(f"{folder}/{program}" for folder in path.split(":") if (self.root / folder.lstrip("/") / program).exists())

    def run(self, *arguments, data=None, entrypoint=None):
        if entrypoint:
            before, self.settings = self.settings, self.settings | {"Entrypoint": [entrypoint]}
        try:
            return subprocess.run(self.command(*arguments, data=data), capture_output=True, text=True, stdin=subprocess.DEVNULL)
        finally:
            if entrypoint:
                self.settings = before


def two_builds_of_one_image_have_one_digest(name, programs, folder):
    digests = []
    for place in ("first", "second"):
        into = folder / place
        made = images.context(name, programs, into / name)
        archive = into / f"{name}.tar"
        digests.append(images.build(name, made, archive))
        if place == "second":
            shutil.rmtree(into)
        else:
            shutil.rmtree(made / "root")
    assert digests[0] == digests[1], f"{name}: {digests}"
    return folder / "first" / f"{name}.tar"


def it_says_what_it_is_and_runs_as_nobody(name, image):
    settings = image.settings
    assert settings["User"] == "65532:65532", settings
    assert image.config["created"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(images.epoch())), image.config["created"]
    times = {entry.mtime for entry in image.entries}
    assert times == {images.epoch()}, f"{name}: files of {len(times)} times"
    for entry in image.entries:
        if entry.isreg() or entry.isdir():
            assert not entry.mode & 0o6000, f"{entry.name} runs as somebody else"
            own = entry.name.strip("./") == "var/lib/vitrine"
            assert own or (entry.uid == 0 and (not entry.mode & 0o022 or entry.name.strip("./") == "tmp")), f"{entry.name} may be written"
    for shell in ("bin/sh", "bin/bash", "usr/bin/sh", "usr/bin/apt", "usr/bin/python3"):
        assert not (image.root / shell).exists(), f"{name} has {shell}"


def everything_in_it_is_listed_with_its_licence(name, image):
    listed = json.loads((image.root / "usr/share/doc/vitrine/sbom.spdx.json").read_text())
    assert listed["spdxVersion"] == "SPDX-2.3" and len({one["SPDXID"] for one in listed["packages"]}) == len(listed["packages"])
    names = {one["name"] for one in listed["packages"]}
    assert {"vitrine", "libc6", "tokio", "rustls", "ca-certificates"} <= names, sorted(names)[:20]
    assert ("torch" in names) == (name != "server") and ("SmolLM2-135M-Instruct" in names) == (name == "quickstart")
    for one in listed["packages"]:
        assert one["versionInfo"] and one["externalRefs"][0]["referenceLocator"].startswith("pkg:")
    doc = image.root / "usr/share/doc"
    for package in ["libc6", "libgcc-s1", "ca-certificates"]:
        assert (doc / package / "copyright").stat().st_size > 100, package
    assert (doc / "vitrine/LICENSE").exists()
    crates = [one for one in listed["packages"] if one["externalRefs"][0]["referenceLocator"].startswith("pkg:cargo/")]
    kept = [one for one in crates if any((doc / "vitrine/crates" / f"{one['name']}-{one['versionInfo']}").glob("*"))]
    # Some crates name their licence and bring no text of it; the list has its name.
    assert len(kept) > 0.9 * len(crates) > 100 and all(one["licenseDeclared"] != "NOASSERTION" for one in crates), (len(kept), len(crates))
    if name != "server":
        assert (doc / "torch/LICENSE").exists() and list(doc.glob("nvidia_cuda_runtime/*"))


def its_programs_run_with_a_root_that_nobody_may_write(name, image):
    assert image.run("--version").stdout.startswith(image.settings["Entrypoint"][0]), image.run("--version")
    told = image.run("--help")
    assert told.returncode == 0 and "Usage" in told.stdout, told.stderr
    gone = image.run("probe", "http://127.0.0.1:9/livez", entrypoint="vitrine")
    assert gone.returncode == 1 and "nothing answers at" in gone.stderr, gone
    if name == "server":
        size = sum(entry.size for entry in image.entries) - (image.root / contents.PROGRAMS / "vitrine").stat().st_size
        assert size < SERVER_BYTES, f"{size} bytes beside the program"
    else:
        # libtorch is found, and computes what a folder would take.
        checked = image.run("check", "/models/none", entrypoint="vitrine-worker")
        assert checked.returncode == 1 and "/models/none" in checked.stdout, checked


def cuda_finds_its_libraries_all_but_the_drivers(name, image):
    libraries = sorted(image.root.glob("usr/local/lib/python3*/site-packages/torch/lib/libtorch_cuda.so"))
    assert bool(libraries) == (name == "worker-cuda"), libraries
    for library in libraries:
        told = image.run("--list", f"/{library.relative_to(image.root)}", entrypoint="/lib64/ld-linux-x86-64.so.2")
        missing = {line.split(" => ")[0].strip() for line in told.stdout.splitlines() if "not found" in line}
        # The container runtime brings it, with the driver of the node.
        assert "libcublas.so.13 => /usr/local" in told.stdout and missing <= {"libcuda.so.1"}, told.stdout + told.stderr


def the_quickstart_serves_the_demo(image, folder):
    port, health = free(2)
    data = folder / "data"
    data.mkdir(mode=0o700)
    os.chown(data, contents.USER, contents.USER)
    key = "a key for the demo"
    arguments = list(image.settings["Cmd"])
    # As the image has it, but for ports that nobody has.
    arguments[arguments.index("0.0.0.0:8000")] = f"127.0.0.1:{port}"
    arguments[arguments.index("127.0.0.1:8100")] = f"127.0.0.1:{health}"
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(image.command(*arguments, "--api-key", key, data=data), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        until(lambda: image.run("probe", f"http://127.0.0.1:{health}/startupz").returncode == 0, server, folder / "log")
        demo = [ROOT / ".venv/bin/python", ROOT / "tools/demo.py", "--host", f"http://127.0.0.1:{port}", "--api-key", key, "--data", folder / "demo", "--png", folder / "demo.png"]
        done = subprocess.run([str(part) for part in demo], capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{(folder / 'log').read_text()}"
        assert "Rome" in done.stdout, done.stdout
        assert image.run("probe", f"http://127.0.0.1:{health}/livez").returncode == 0
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0, (folder / "log").read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert (data / "metadata.redb").stat().st_uid == contents.USER


def until(true, process, log):
    deadline = time.monotonic() + 300
    while not true():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"it did not come up:\n{log.read_text()}")
        time.sleep(0.5)


def free(number):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def main():
    arguments = argparse.ArgumentParser(description="Builds and runs the images.")
    arguments.add_argument("--programs", type=Path, default=ROOT / "target/debug", help="where vitrine and vitrine-worker lie")
    arguments.add_argument("--images", nargs="+", default=["server", "worker", "quickstart"], choices=images.IMAGES)
    chosen = arguments.parse_args()
    if os.geteuid() != 0:
        sys.exit("images: this mounts and enters root file systems, which only root may")
    (ROOT / "target").mkdir(exist_ok=True)
    # Whoever commits meanwhile changes nothing.
    os.environ["SOURCE_DATE_EPOCH"] = str(images.epoch())
    for name in chosen.images:
        with tempfile.TemporaryDirectory(dir=ROOT / "target", prefix="images-") as folder:
            folder = Path(folder)
            # The image's user comes by on the way to its root.
            folder.chmod(0o755)
            build = lambda: two_builds_of_one_image_have_one_digest(name, chosen.programs, folder)  # noqa: E731
            archive = timed(name, "two builds of one image have one digest", build)
            image = Image(archive, folder / "root")
            for check in CHECKS:
                timed(name, check.__name__.replace("_", " "), lambda: check(name, image))
            if name == "quickstart":
                timed(name, "the quickstart serves the demo", lambda: the_quickstart_serves_the_demo(image, folder))
            print(f"{name}: {archive.stat().st_size >> 20} MiB", flush=True)


CHECKS = [
    it_says_what_it_is_and_runs_as_nobody,
    everything_in_it_is_listed_with_its_licence,
    its_programs_run_with_a_root_that_nobody_may_write,
    cuda_finds_its_libraries_all_but_the_drivers,
]


def timed(name, what, step):
    start = time.monotonic()
    done = step()
    print(f"{name}: {what}: ok ({time.monotonic() - start:.1f} s)", flush=True)
    return done


if __name__ == "__main__":
    main()
