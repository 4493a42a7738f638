"""Small jobs through a whole cluster of one process each, without a model: the Rust program `fleet`, which speaks for
itself."""
import json
import subprocess
import tempfile

from .recording import record

CLIENTS, JOBS = 100, 20_000


def read_layer(model, backend=None):
    # The toy model has other modules than the client's. What they are is for the server to know.
    with model.trace("one two", backend=backend):
        hidden = model.layers[1].output.save()
    return hidden


def measure(lab, shape):
    """Sends a client's request for the shape's model, in whose place the worker has the toy model."""
    request = record(lab.shape(shape), read_layer)
    with tempfile.NamedTemporaryFile() as file:
        file.write(request.payload)
        file.flush()
        order = {
            "vitrine": str(lab.programs.resolve() / "vitrine"), "model": request.repo_id, "fields": request.fields,
            "file": file.name, "clients": CLIENTS, "jobs": JOBS // 20 if lab.quick else JOBS,
        }  # fmt: skip
        lines = subprocess.run(
            [str(lab.program("fleet"))], input=json.dumps(order), stdout=subprocess.PIPE, text=True, check=True
        ).stdout.splitlines()
    for line in map(json.loads, lines):
        lab.report.row("fleet", **line)
        if line["what"] == "jobs":
            place = {"clients": line["clients"], "cores": line["cores"]}
            lab.report.ratio("fleet", "jobs per second", line["jobs_per_second"], 500, **place)
            lab.report.ratio("fleet", "ms to acceptance, p99", line["accepted_p99_ms"], 100, at_least=False, **place)
