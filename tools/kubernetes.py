#!/usr/bin/env python3
"""Makes a Kubernetes API server that runs by itself, from Debian's source package, in .cache/kubernetes.

    kubernetes.py

It is version 1.20, years out of support, and only there to judge objects (`make helm-apiserver`): no registry that the build uses
has a newer one. Debian 12's sources of Kubernetes and its Go are downloaded (0.1 GB) and unpacked beside each other, nothing is
installed, and compiling takes about 7 minutes of two cores and 2 GB that are given back. Where there is no such source package, it
says so and ends with status 3.
"""
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".cache" / "kubernetes"
PROGRAMS = ["kube-apiserver", "kube-controller-manager"]
SUITE, UPSTREAM, GO = "bookworm", "1.20.2", "1.19"
PACKAGE = "k8s.io/kubernetes"
MISSING = 3


def main():
    if all((HOME / program).exists() for program in PROGRAMS):
        return say("the API server is in place")
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        missing("this is no Debian")
    work = HOME / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    download(work)
    say("compiling it takes about 7 minutes of two cores")
    compile_all(work)
    shutil.rmtree(work)
    say(f"the API server is ready in {HOME.relative_to(ROOT)}")


def download(work):
    """Brings sources and Go here by apt, with lists of its own: those of the system stay as they are."""
    format = "$(REPO_URI)"
    targets = ["apt-get", "indextargets", "Created-By: Packages", "Origin: Debian", f"Codename: {SUITE}", "--format", format]
    mirrors = subprocess.run(targets, capture_output=True, text=True).stdout.split()
    if not mirrors:
        missing(f"this machine has no package list of Debian's {SUITE}")
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    lists = [f"{kind} [signed-by={keyring}] {mirrors[0]} {SUITE} main\n" for kind in ("deb", "deb-src")]
    (work / "sources.list").write_text("".join(lists))
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    own = {"Dir::Etc::sourcelist": work / "sources.list", "Dir::Etc::sourceparts": "/dev/null", "Dir::State::lists": work / "lists",
           "Dir::Cache": work / "cache", "APT::Sandbox::User": "root"}  # fmt: skip
    apt = ["apt-get", "--quiet", "--quiet"] + [f"-o{key}={value}" for key, value in own.items()]
    for command in (["update"], ["source", "--download-only", "kubernetes"], ["download", f"golang-{GO}-go", f"golang-{GO}-src"]):
        done = subprocess.run(apt + command, cwd=work, capture_output=True, text=True)
        if done.returncode:
            missing(f"`apt-get {' '.join(command)}` says: {done.stderr.strip().splitlines()[-1:]}")
    if not list(work.glob(f"kubernetes_*really{UPSTREAM}.orig.tar.gz")):
        missing(f"the source package is no longer that of {UPSTREAM}")
    for package in work.glob("golang-*.deb"):
        run("dpkg", "-x", package, work / "go")
    (work / "kubernetes").mkdir()
    run("tar", "xzf", next(work.glob("kubernetes_*.orig.tar.gz")), "--strip-components", "1", "--directory", work / "kubernetes")


def compile_all(work):
    """Compiles the programs by their vendored sources alone."""
    root = work / "go" / "usr" / "lib" / f"go-{GO}"
    path = work / "path"
    source = path / "src" / PACKAGE
    source.parent.mkdir(parents=True)
    source.symlink_to(work / "kubernetes")
    environment = os.environ | {"GOROOT": str(root), "GOPATH": str(path), "GOCACHE": str(work / "built"), "GO111MODULE": "off",
                                "GOFLAGS": "", "GOPROXY": "off", "CGO_ENABLED": "0", "PWD": str(source)}  # fmt: skip
    go = [root / "bin" / "go", "build"]
    generator = work / "openapi-gen"
    run(*go, "-o", generator, "./vendor/k8s.io/kube-openapi/cmd/openapi-gen", cwd=source, env=environment)
    # What the API server says of its own types is made of their sources, and is not in the archive.
    run(generator, "--logtostderr", "--input-dirs", ",".join(described(source)), "--output-package", f"{PACKAGE}/pkg/generated/openapi",
        "--output-file-base", "zz_generated.openapi", "--go-header-file", "hack/boilerplate/boilerplate.generatego.txt",
        "--report-filename", work / "report", "--output-base", path / "src", cwd=source, env=environment)  # fmt: skip
    stamps = []
    for version in ("component-base/version", "client-go/pkg/version"):
        for name, value in {"gitVersion": f"v{UPSTREAM}", "gitMajor": "1", "gitMinor": "20", "gitTreeState": "clean"}.items():
            stamps.append(f"-X {PACKAGE}/vendor/k8s.io/{version}.{name}={value}")
    for program in PROGRAMS:
        made = work / program
        run(*go, "-ldflags", f"-s -w {' '.join(stamps)}", "-o", made, f"./cmd/{program}", cwd=source, env=environment)
        made.rename(HOME / program)


def described(source):
    """Lists the packages whose types are described."""
    marked = "+k8s:openapi-gen="
    folders = set()
    for below in [source / "pkg", *sorted((source / "staging/src/k8s.io").iterdir())]:
        if below.name in ("code-generator", "sample-apiserver"):
            continue
        for file in below.rglob("*.go"):
            if not file.name.endswith("_test.go") and "_examples" not in file.parts and marked in file.read_text(errors="replace"):
                folders.add(file.parent.relative_to(source))
    names = (str(folder).replace("staging/src/", "vendor/", 1) for folder in folders)
    return sorted(f"{PACKAGE}/{name}" for name in names)


def run(*command, cwd=None, env=None):
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env)
    if done.returncode:
        sys.exit(f"kubernetes: `{Path(str(command[0])).name} …` ended with status {done.returncode}")


def missing(why):
    say(f"no API server can be made here: {why}")
    with contextlib.suppress(OSError):
        shutil.rmtree(HOME)
    sys.exit(MISSING)


def say(line):
    print(f"kubernetes: {line}", flush=True)


if __name__ == "__main__":
    main()
