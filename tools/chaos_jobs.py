"""The jobs of `make chaos`: small programs with known answers, as the unmodified client writes them.

    chaos_jobs.py record FOLDER    writes each program's request and its answer by local nnsight, for raw requests
    chaos_jobs.py run FOLDER SEED  is a user with the real client: runs programs until its input ends, and tells lines of JSON

Every job carries a mark of its own through to its answer, so that another's answer is known for what it is.
"""
import json
import os
import pickle
import random
import sys
import threading
import time

import anyio._backends._asyncio  # noqa: F401  (before nnsight, which adds an attribute to every object)
import torch
from nnsight import LanguageModel
from nnsight.intervention.backends.remote import RemoteBackend, RemoteError
from nnsight.schema.config import CONFIG
from nnsight.schema.request import RequestModel
from nnsight.schema.response import Status
from nnsight.tracing.backend import Backend

CONFIG.APP.REMOTE_LOGGING = False
# Written out in each program, so that raw requests can have it replaced by another of as many digits.
MARK = 900000001
PROMPTS = ["The capital of France is", "When Mary and John went to the store", "one two three"]
MODELS = {"gpt2": "ndif-test/tiny-gpt2", "llama": "ndif-test/tiny-llama"}


def layers(model):
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


def read(model, prompt, **how):
    """A layer and the token that follows: a small result."""
    with model.trace(prompt, **how) as tracer:
        state = layers(model)[1].output[0, -1].save()
        token = model.lm_head.output[0, -1].argmax().save()
        mark = (token * 0 + 900000001).save()
    return tracer, ("state", "token", "mark"), lambda: (state, token, mark)


def patch(model, prompt, **how):
    """A layer that is changed on the way."""
    with model.trace(prompt, **how) as tracer:
        layers(model)[2].output[:, 0] = layers(model)[2].output[:, 0] * 3 + 1
        logits = model.lm_head.output[0, -1].save()
        mark = (logits.argmax() * 0 + 900000001).save()
    return tracer, ("logits", "mark"), lambda: (logits, mark)


def large(model, prompt, **how):
    """A result that is kept as an object."""
    with model.trace([prompt] * 12, **how) as tracer:
        states = [layer.output for layer in layers(model)].save()
        logits = model.lm_head.output.save()
        mark = (logits[0, 0].argmax() * 0 + 900000001).save()
    return tracer, ("states", "logits", "mark"), lambda: (states, logits, mark)


def generate(model, prompt, **how):
    """Many passes, one after another."""
    with model.generate(prompt, max_new_tokens=24, do_sample=False, **how) as tracer:
        tokens = tracer.result.save()
        mark = (tokens[0, 0] * 0 + 900000001).save()
    return tracer, ("tokens", "mark"), lambda: (tokens, mark)


def long(model, prompt, **how):
    """Long enough for something to happen meanwhile."""
    with model.generate(prompt, max_new_tokens=160, do_sample=False, **how) as tracer:
        tokens = tracer.result.save()
        mark = (tokens[0, 0] * 0 + 900000001).save()
    return tracer, ("tokens", "mark"), lambda: (tokens, mark)


def failing(model, prompt, **how):
    """A fault of the program, by which it ends."""
    with model.trace(prompt, **how) as tracer:
        state = layers(model)[0].output.save()
        raise ValueError(f"mark {900000001} of {state.shape[0]} rows")
    return tracer, (), lambda: ()


def endless(model, prompt, **how):
    """Ends when it is cancelled, or at the limit of a job's steps."""
    with model.trace(prompt, **how) as tracer:
        state = layers(model)[0].output.save()
        while 900000001 > 0:
            pass
    return tracer, (), lambda: ()


PROGRAMS = {program.__name__: program for program in (read, patch, large, generate, long, failing, endless)}
FAILURE = "ValueError: mark {mark} of 1 rows"
LIMIT = "TimeoutError: the program took more steps than this server allows"
ANSWERED = [name for name in PROGRAMS if name not in ("failing", "endless")]


def difference(want, got):
    """Returns how a result differs from the right one, or None. Tensors may differ by 1e-4, as shared passes do."""
    if isinstance(want, torch.Tensor):
        if not isinstance(got, torch.Tensor) or want.shape != got.shape or want.dtype != got.dtype:
            return f"{got!r} is not {want!r}"
        same = torch.allclose(want, got, rtol=1e-4, atol=1e-4) if want.is_floating_point() else torch.equal(want, got)
        return None if same else f"{got!r} is not {want!r}"
    if isinstance(want, (list, tuple)):
        if not isinstance(got, type(want)) or len(want) != len(got):
            return f"{type(got).__name__} is not {len(want)} values"
        return next((found for pair in zip(want, got) if (found := difference(*pair))), None)
    if isinstance(want, dict):
        if set(want) != set(got):
            return f"{sorted(got)} is not {sorted(want)}"
        return next((found for name in want if (found := difference(want[name], got[name]))), None)
    return None if want == got else f"{got!r} is not {want!r}"


class Record(Backend):
    """Keeps the bytes that the client would send."""

    def __call__(self, tracer):
        self.bytes = RequestModel.serialize(tracer, False)


def record(folder):
    """Writes requests.pickle: of each (program, model, prompt) the request's fields, its bytes, and the right answer."""
    made = {}
    for name, repo in MODELS.items():
        # The client's own model for the bytes; its weights for the answer.
        remote, local = LanguageModel(repo), LanguageModel(os.environ[f"TINY_{name.upper()}"], dispatch=True)
        for program in PROGRAMS:
            for place, prompt in enumerate(PROMPTS):
                backend = Record()
                PROGRAMS[program](remote, prompt, backend=backend)
                made[program, name, place] = {
                    "model_key": remote.to_model_key(), "bytes": backend.bytes,
                    "answer": local_answer(local, program, prompt),
                }  # fmt: skip
                assert made[program, name, place]["bytes"].count(str(MARK).encode()) >= 1, program
    with open(os.path.join(folder, "requests.pickle"), "wb") as file:
        pickle.dump(made, file)


def local_answer(model, program, prompt):
    """Returns what local nnsight gives, by names; None for what does not answer."""
    if program not in ANSWERED:
        return None
    _, names, values = PROGRAMS[program](model, prompt)
    return {name: detached(value) for name, value in zip(names, values())}


def detached(value):
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return [detached(one) for one in value] if isinstance(value, (list, tuple)) else value


class User:
    """Somebody with the real client, who tries again what was not accepted, and waits for what was."""

    def __init__(self, folder, seed):
        self.random = random.Random(seed)
        with open(os.path.join(folder, "requests.pickle"), "rb") as file:
            self.requests = pickle.load(file)
        self.hosts = os.environ["GATEWAYS"].split(",")
        self.models = {name: LanguageModel(repo) for name, repo in MODELS.items()}
        # Asked of a gateway the first time, which later may be down.
        self.keys = {name: model.to_model_key() for name, model in self.models.items()}
        self.stopping = False

    def live(self):
        print(json.dumps({"here": True}), flush=True)
        threading.Thread(target=self.listen, daemon=True).start()
        while not self.stopping:
            self.job()

    def listen(self):
        sys.stdin.read()
        self.stopping = True

    def job(self):
        program = self.random.choice([*ANSWERED, "failing"])
        name = self.random.choice(list(self.models))
        place = self.random.randrange(len(PROMPTS))
        blocking = self.random.random() < 0.6
        accepted = []
        while not accepted and not self.stopping:
            told = self.attempt(program, name, place, blocking, accepted)
        if not accepted:
            return
        while told is None:
            told = self.poll(accepted[0])
        ended, value = told
        if program == "failing":
            right = ended == "error" and value == FAILURE.format(mark=MARK)
            wrong = None if right else f"{ended} {value!r}"
        else:
            wrong = value if ended == "error" else difference(self.requests[program, name, place]["answer"], value)
        print(json.dumps({"id": accepted[0], "program": program, "wrong": wrong}), flush=True)

    def attempt(self, program, name, place, blocking, accepted):
        """Submits a job; adds its id to `accepted` if it was. Returns its end, or None if that has to be asked for."""
        CONFIG.API.HOST = self.random.choice(self.hosts)
        backend = RemoteBackend(self.keys[name], blocking=blocking)
        note = backend.note

        def noting(response):
            if response.status == Status.RECEIVED:
                accepted.append(response.id)
                print(json.dumps({"accepted": response.id, "program": program}), flush=True)
            return note(response)

        backend.note = noting
        try:
            _, names, values = PROGRAMS[program](self.models[name], PROMPTS[place], backend=backend)
            if blocking:
                return "result", dict(zip(names, values()))
        except (RemoteError, OSError, *broken()):
            # A refusal, a broken connection or an end: which one, the server says when it is asked for the job.
            pass
        if backend.job_id is not None and not accepted:
            accepted.append(backend.job_id)
            print(json.dumps({"accepted": backend.job_id, "program": program}), flush=True)
        if not accepted:
            # Refused, or not heard of: without a key of its own the client can only send it anew.
            time.sleep(0.2)
        return None

    def poll(self, job):
        CONFIG.API.HOST = self.random.choice(self.hosts)
        backend = RemoteBackend(self.keys["gpt2"], blocking=False, job_id=job)
        try:
            if (result := backend()) is not None:
                return "result", result
        except RemoteError as error:
            return "error", last_line(error)
        except (OSError, *broken()):
            pass
        time.sleep(0.1)
        return None


def broken():
    """What the client raises where a connection is refused, breaks or answers with a refusal."""
    import httpx
    import httpx2  # the library of the Hub's client
    import websocket

    return httpx.HTTPError, httpx2.HTTPError, websocket.WebSocketException


def last_line(error):
    return str(error).strip().splitlines()[-1]


def main():
    torch.set_num_threads(1)
    verb, folder, *rest = sys.argv[1:]
    if verb == "record":
        record(folder)
    else:
        User(folder, rest[0]).live()


if __name__ == "__main__":
    main()
