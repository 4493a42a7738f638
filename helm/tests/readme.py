#!/usr/bin/env python3
"""Writes helm/vitrine/README.md out of values.yaml and its comments. check.py compares the two."""
import json
import re
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parents[1] / "vitrine"
HEAD = """# The chart of Vitrine

Gateways, schedulers and pools of workers, with what surrounds them in a cluster: [docs/kubernetes.md](../../docs/kubernetes.md)
says how to go from nothing to a working cluster, how to upgrade, back up and restore. Kubernetes {kubernetes}, Helm 3 or 4.

```sh
helm install vitrine helm/vitrine --namespace vitrine --create-namespace --values helm/vitrine/examples/trial.yaml
```

| example | for |
|---|---|
{examples}

`make helm-test` renders each of them for Kubernetes 1.30 to 1.37 and checks what comes out, the settings with the programs
themselves. Values that cannot be are refused before anything is installed.

## Values

This table is made of [values.yaml](values.yaml) by `helm/tests/readme.py`. A pool of `workerPools` takes every key of
`workerDefaults`, and has `name` besides.

| key | default | meaning |
|---|---|---|
"""


def text():
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    examples = "\n".join(f"| [{file.name}](examples/{file.name}) | {purpose(file)} |" for file in sorted((CHART / "examples").glob("*.yaml")))
    rows = "".join(f"| `{key}` | {default} | {meaning} |\n" for key, default, meaning in rows_of((CHART / "values.yaml").read_text()))
    return HEAD.format(kubernetes=about["kubeVersion"].removesuffix("-0").removesuffix(".0").replace(">=", "") + " or newer", examples=examples) + rows


def purpose(file):
    """Returns the first sentence of an example."""
    lines = [line.lstrip("# ") for line in file.read_text().splitlines() if line.startswith("#")]
    return re.split(r"(?<=[a-z)])\. |  ", " ".join(lines))[0].rstrip(".")


def rows_of(text):
    """Returns each value's path, default and comment, in the order of the file."""
    values = yaml.safe_load(text)
    rows, path, comment = [], [], []
    for line in text.splitlines():
        if not line.strip():
            # What stands alone is about no value.
            comment = []
            continue
        indent = len(line) - len(line.lstrip())
        if line.lstrip().startswith("#"):
            comment.append(line.lstrip()[1:].removeprefix(" "))
            continue
        found = re.match(r"(\s*)([\w]+):(.*)", line)
        if not found:
            continue
        path = path[: indent // 2] + [found[2]]
        value = values
        for key in path:
            value = value[key]
        meaning = " ".join(part for part in comment if not part.startswith("  "))
        # What examples in comments show is in the file itself.
        comment = []
        is_branch = isinstance(value, dict) and found[3].strip() == ""
        if not is_branch or meaning:
            rows.append((".".join(path), "" if is_branch else f"`{json.dumps(value)}`", meaning))
    return rows


if __name__ == "__main__":
    (CHART / "README.md").write_text(text())
