"""What goes into images. Each function puts files under a root, with their licences, and returns what it put there."""
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = next((ROOT / ".venv").glob("lib/python3.*/site-packages"), None)
# The user of all images, who has no name on the host.
USER = 65532
# Programs look for libtorch two folders above their own.
PROGRAMS, LIBTORCH = "opt/vitrine/usr/bin", "opt/vitrine/.libtorch/lib"
# Of Debian, with what of it is not needed to run a program.
# gcc-12-base has the licence of libgcc and libstdc++.
PACKAGES = ["ca-certificates", "gcc-12-base", "libc6", "libgcc-s1", "netbase", "tzdata"]
WORKER_PACKAGES = ["libstdc++6"]
UNUSED = ["usr/share/man", "usr/share/lintian", "usr/share/locale", "usr/share/bug", "usr/share/gcc", "usr/share/gdb", "usr/lib/x86_64-linux-gnu/gconv",
          "usr/lib/x86_64-linux-gnu/audit", "usr/sbin", "usr/bin", "sbin", "etc/ca-certificates", "etc/ld.so.conf.d", "usr/lib/locale", "usr/share/zoneinfo/right"]  # fmt: skip


def system(root, with_worker):
    """A user, names of the network, public authorities, and the libraries of Debian that programs link."""
    found = []
    root.mkdir(parents=True)
    names = PACKAGES + (WORKER_PACKAGES if with_worker else [])
    with tempfile.TemporaryDirectory() as folder:
        download = ["apt-get", "download", "--quiet=2", *names]
        done = subprocess.run(download, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"images: Debian's packages cannot be had; `apt-get update` may help:\n{done.stderr}")
        for archive in sorted(Path(folder).glob("*.deb")):
            run("dpkg-deb", "--extract", archive, root)
            name, version, architecture = run("dpkg-deb", "--field", archive, "Package", "Version", "Architecture", fields=True)
            found.append({"name": name, "version": version, "purl": f"pkg:deb/debian/{name}@{version}?arch={architecture}", "sha256": digest(archive)})
    # Of which some packages name another's.
    copyrights = {root / "usr/share/doc" / name / "copyright" for name in names}
    copyrights = {path: path.read_bytes() for path in copyrights}
    shutil.rmtree(root / "usr/share/doc")
    for path, text in copyrights.items():
        write(path, text)
    authorities = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    write(root / "etc/ssl/certs/ca-certificates.crt", b"".join(path.read_bytes() for path in authorities))
    shutil.rmtree(root / "usr/share/ca-certificates")
    for path in UNUSED:
        shutil.rmtree(root / path, ignore_errors=True)
    write(root / "etc/passwd", f"root:x:0:0:root:/:/sbin/nologin\nvitrine:x:{USER}:{USER}:vitrine:/tmp:/sbin/nologin\n")
    write(root / "etc/group", f"root:x:0:\nvitrine:x:{USER}:\n")
    write(root / "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    for path in ("tmp", "proc", "sys", "dev", "var/lib/vitrine", "var/tmp", "run"):
        (root / path).mkdir(parents=True, exist_ok=True)
    return found


def programs(root, folder, names):
    """The programs, with the licences of every crate in them."""
    found = []
    crates = {}
    for name in names:
        target = root / PROGRAMS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target)
        target.chmod(0o755)
        found.append({"name": name, "version": version(), "licence": "Apache-2.0", "purl": f"pkg:generic/{name}@{version()}", "sha256": digest(target)})
        package = {"vitrine": "cli", "vitrine-worker": "worker"}[name]
        tree = ["cargo", "tree", "--locked", "--offline", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}|{l}"]
        for line in run(*tree, cwd=ROOT).splitlines():
            about, licence = line.removesuffix(" (*)").split("|")
            crate, number, *where = about.split(" ")
            # What has a place is of this repository, or makes code and is not in it.
            if not where:
                crates[crate, number.removeprefix("v")] = re.sub(r"\s*/\s*", " OR ", licence)
    for (crate, number), licence in sorted(crates.items()):
        found.append({"name": crate, "version": number, "licence": licence, "purl": f"pkg:cargo/{crate}@{number}"})
        source = crate_source(crate, number)
        for file in sorted(source.iterdir()):
            if re.match(r"(?i)(licen[sc]e|copying|copyright|notice|unlicense)", file.name) and file.is_file():
                write(root / f"usr/share/doc/vitrine/crates/{crate}-{number}/{file.name}", file.read_bytes())
    write(root / "usr/share/doc/vitrine/LICENSE", (ROOT / "LICENSE").read_bytes())
    return found


def libtorch(root):
    """The libraries that the worker links, out of the wheels that tools/setup.py pins."""
    target = root / LIBTORCH
    target.mkdir(parents=True)
    for file in sorted((ROOT / ".libtorch/lib").iterdir()):
        shutil.copyfile(file, target / file.name)
    # Where .libtorch was unpacked, and not linked, there is no environment with their licences: these come with the client's.
    return [wheel(root, name) for name in ("torch", "nvidia_cuda_runtime", "nvidia_cuda_cupti")]


def cuda(root):
    """An installed torch with NVIDIA's libraries, as far as it computes, where the worker looks for one."""
    target = root / "usr/local/lib/python3.11/site-packages"
    for file in sorted((SITE / "torch/lib").glob("*.so*")):
        copy(file, target / "torch/lib" / file.name)
    # By which the worker tells whether it is the right version.
    copy(SITE / "torch/version.py", target / "torch/version.py")
    for file in sorted((SITE / "nvidia").rglob("*.so*")):
        copy(file, target / file.relative_to(SITE))
    # The worker links some of them by themselves, and half a gigabyte need not be there twice.
    for file in sorted((root / LIBTORCH).iterdir()):
        [same] = [one for one in target.rglob(file.name) if one.stat().st_size == file.stat().st_size]
        file.unlink()
        file.symlink_to(os.path.relpath(same, file.parent))
    names = sorted({path.name.split("-")[0] for path in SITE.glob("nvidia_*.dist-info")} - {"nvidia_cuda_runtime", "nvidia_cuda_cupti"})
    return [wheel(root, name) for name in names]


def model(root, folder):
    """The model of the demo."""
    made = ROOT / ".vitrine/models/HuggingFaceTB/SmolLM2-135M-Instruct"
    if not (made / "model.safetensors").exists():
        environment = os.environ | {"PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"}
        run(folder / "vitrine", "model", "fetch", "smollm2", "--data", ROOT / ".vitrine", env=environment)
    for file in sorted(made.iterdir()):
        copy(file, root / "models/smollm2" / file.name)
    weights = digest(made / "model.safetensors")
    return [{"name": "SmolLM2-135M-Instruct", "version": weights[:12], "licence": "Apache-2.0", "sha256": weights,
             "purl": "pkg:huggingface/HuggingFaceTB/SmolLM2-135M-Instruct"}]  # fmt: skip


def wheel(root, name):
    """Notes one wheel, and brings its licence."""
    [about] = SITE.glob(f"{name}-*.dist-info")
    number = about.name.removesuffix(".dist-info").split("-")[1]
    told = re.search(r"^License(?:-Expression)?: (.+)$", (about / "METADATA").read_text(), re.M)
    for file in sorted(about.rglob("*")):
        if file.is_file() and re.match(r"(?i)(licen[sc]e|notice)", file.name):
            copy(file, root / f"usr/share/doc/{name}/{file.name}")
    licence = {"BSD-3-Clause": "BSD-3-Clause"}.get(told[1] if told else "", "LicenseRef-NVIDIA-Proprietary" if name.startswith("nvidia") else None)
    return {"name": name, "version": number, "licence": licence, "purl": f"pkg:pypi/{name.replace('_', '-')}@{number}"}


def crate_source(crate, number):
    cargo = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    found = next(cargo.glob(f"registry/src/*/{crate}-{number}"), None)
    if found is None:
        sys.exit(f"images: the source of {crate} {number} is not in cargo's registry; `cargo fetch --locked` brings it")
    return found


def version():
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def copy(file, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)


def digest(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()


def run(*command, cwd=None, env=None, fields=False):
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"images: `{' '.join(map(str, command))}` ended with status {done.returncode}:\n{done.stderr}")
    return [line.split(": ", 1)[1] for line in done.stdout.splitlines()] if fields else done.stdout
