"""Small jobs through a whole cluster of one process each, without a model: the Rust program `fleet`, which speaks for
itself."""
import json
import subprocess
import tempfile

import torch
from nnsight import NNsight

from .recording import Request, payload

CLIENTS, JOBS = 100, 20_000
LAYERS = 3


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = torch.nn.Identity()


class Toy(torch.nn.Module):
    """The modules of the engine's toy model, as a client has them who does not run it."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Identity()
        self.layers = torch.nn.ModuleList(Layer() for _ in range(LAYERS))
        self.head = torch.nn.Identity()


def read_layer(model, backend=None):
    with model.trace("one two", backend=backend):
        hidden = model.layers[1].output.save()
    return hidden


def measure(lab, shape):
    """Computes with the toy model, whatever the shape."""
    request = Request("bench/toy", "sdpa", payload(read_layer, NNsight(Toy())))
    with tempfile.NamedTemporaryFile() as file:
        file.write(request.payload)
        file.flush()
        order = {
            "vitrine": str(lab.programs.resolve() / "vitrine"), "model": request.repo_id, "fields": request.fields,
            "file": file.name, "clients": CLIENTS, "jobs": JOBS // 20 if lab.quick else JOBS,
        }  # fmt: skip
        command = [str(lab.program("fleet"))]
        ran = subprocess.run(command, input=json.dumps(order), stdout=subprocess.PIPE, text=True, check=True)
    for line in map(json.loads, ran.stdout.splitlines()):
        lab.report.row("fleet", **line)
        if line["what"] == "jobs":
            place = {"clients": line["clients"], "cores": line["cores"]}
            lab.report.ratio("fleet", "jobs per second", line["jobs_per_second"], 500, **place)
            lab.report.ratio("fleet", "ms to acceptance, p99", line["accepted_p99_ms"], 100, at_least=False, **place)
