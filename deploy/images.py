#!/usr/bin/env python3
"""Makes the images: a folder for each, and with buildah an archive of it.

    deploy/images.py build   server worker quickstart [--programs target/release] [--into target/images]
    deploy/images.py context worker-cuda              the folder only, to build with another tool:
                                                      docker build -f deploy/worker.Containerfile target/images/worker-cuda

An image has the programs, libtorch where they need it, and of Debian what these link: no shell, nobody but its user. The same
programs and packages give the same digest. Each has a list of all that is in it (SPDX 2.3) and their licences in
/usr/share/doc; the list also lies beside the archive.
"""
import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import contents

ROOT = Path(__file__).resolve().parents[1]
# What each image has, and what it is built by.
IMAGES = {
    "server": (["vitrine"], "server"),
    "worker": (["vitrine", "vitrine-worker"], "worker"),
    "worker-cuda": (["vitrine", "vitrine-worker"], "worker"),
    "quickstart": (["vitrine", "vitrine-worker"], "quickstart"),
}
NAMES = {name: "vitrine" if name == "server" else f"vitrine-{name}" for name in IMAGES}


def main():
    arguments = argparse.ArgumentParser(description="Makes the images.")
    arguments.add_argument("what", choices=["context", "build"])
    arguments.add_argument("images", nargs="+", choices=IMAGES)
    arguments.add_argument("--programs", type=Path, default=ROOT / "target/release", help="where vitrine and vitrine-worker lie")
    arguments.add_argument("--into", type=Path, default=ROOT / "target/images", help="where folders and archives go")
    chosen = arguments.parse_args()
    for name in chosen.images:
        folder = context(name, chosen.programs, chosen.into / name)
        print(f"images: {folder} is what {NAMES[name]} is built of")
        if chosen.what == "build":
            archive = chosen.into / f"{NAMES[name]}.tar"
            print(f"images: {archive} is {NAMES[name]}@{build(name, folder, archive)}")


def context(name, programs, folder):
    """Makes the folder that an image is built in: the files of its root, with one time for all of them."""
    shutil.rmtree(folder, ignore_errors=True)
    root = folder / "root"
    chosen, _ = IMAGES[name]
    for program in chosen:
        if not (programs / program).exists():
            sys.exit(f"images: {programs / program} is missing; `make build` makes it")
    parts = [contents.system(root, "vitrine-worker" in chosen)]
    parts.append(contents.programs(root, programs, chosen))
    if "vitrine-worker" in chosen:
        parts.append(contents.libtorch(root))
    if name == "worker-cuda":
        parts.append(contents.cuda(root))
    if name == "quickstart":
        parts.append(contents.model(root, programs))
    packages = sorted((package for part in parts for package in part), key=lambda one: (one["name"], one["version"]))
    listed = json.dumps(spdx(NAMES[name], packages), indent=1) + "\n"
    place = root / "usr/share/doc/vitrine/sbom.spdx.json"
    place.write_text(listed)
    (folder / "sbom.spdx.json").write_text(listed)
    settle(root)
    return folder


def build(name, folder, archive):
    """Builds an image without a daemon. Returns its digest."""
    if not shutil.which("buildah"):
        sys.exit("images: buildah is missing; install it, for example: sudo apt-get install buildah")
    archive.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        # In a container itself, vfs may be the only one that works.
        driver = os.environ.get("STORAGE_DRIVER", "overlay")
        storage = ["buildah", "--root", f"{scratch}/storage", "--runroot", f"{scratch}/run", "--storage-driver", driver]
        file = ROOT / "deploy" / f"{IMAGES[name][1]}.Containerfile"
        # Docker's own format would hold the name of the container in which it was built. OCI's has no health check: the compose file
        # says them again.
        options = ["--isolation", "chroot", "--format", "oci", "--timestamp", str(epoch()), "--layers=false"]
        run(*storage, "bud", *options, "--file", file, "--tag", NAMES[name], folder)
        digest = Path(scratch) / "digest"
        run(*storage, "push", "--digestfile", digest, "--format", "v2s2", NAMES[name], f"docker-archive:{archive}:{NAMES[name]}:{contents.version()}")
        told = digest.read_text().strip()
        # What chroot made belongs to root, and is gone with the folder.
        run(*storage, "rmi", "--all", "--force")
    return told


def settle(root):
    """Gives every file one time, and modes that say only whether it is run."""
    for path in sorted(root.rglob("*"), reverse=True):
        if not path.is_symlink():
            path.chmod(0o1777 if path == root / "tmp" else 0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        os.utime(path, (epoch(), epoch()), follow_symlinks=False)
    data = root / "var/lib/vitrine"
    os.chown(data, contents.USER, contents.USER)
    data.chmod(0o700)
    os.utime(root, (epoch(), epoch()))


def epoch():
    """When the images say that they were made: at the last commit."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    return int(subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def spdx(name, packages):
    """Returns a list of an image's parts as SPDX has it."""
    listed, relations = [], []
    for number, package in enumerate(packages):
        reference = f"SPDXRef-{number}"
        one = {
            "SPDXID": reference, "name": package["name"], "versionInfo": package["version"], "filesAnalyzed": False,
            "downloadLocation": "NOASSERTION", "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION",
            "licenseDeclared": package.get("licence") or "NOASSERTION",
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": package["purl"]}],
        }  # fmt: skip
        if "sha256" in package:
            one["checksums"] = [{"algorithm": "SHA256", "checksumValue": package["sha256"]}]
        listed.append(one)
        relations.append({"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": reference})
    seal = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    made = subprocess.run(["date", "-u", "-d", f"@{epoch()}", "+%Y-%m-%dT%H:%M:%SZ"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": name,
        "documentNamespace": f"https://spdx.org/spdxdocs/{name}-{seal}",
        "creationInfo": {"created": made, "creators": ["Tool: deploy/images.py"]},
        "packages": listed, "relationships": relations,
        # What is no licence of SPDX's own list.
        "hasExtractedLicensingInfos": [
            {"licenseId": licence, "extractedText": "See the files of each package in /usr/share/doc."}
            for licence in sorted({one["licenseDeclared"] for one in listed if one["licenseDeclared"].startswith("LicenseRef-")})
        ],
    }  # fmt: skip


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"images: `{' '.join(map(str, command))}` ended with status {done.returncode}:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
