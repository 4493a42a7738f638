"""Every way in which a client waits for a job, against a worker that returns {"answer": 42, "attempt": n}."""
import asyncio
import contextlib
import io
import os
import sys

import anyio._backends._asyncio  # noqa: F401  (before nnsight, which adds an attribute to every object)
import nnsight
from nnsight import LanguageModel
from nnsight.intervention.backends.remote import AsyncRemoteBackend, RemoteBackend, RemoteError
from nnsight.schema.config import CONFIG

CONFIG.APP.REMOTE_LOGGING = False
model = LanguageModel("ndif-test/tiny-gpt2")


def blocking():
    answer = None
    with model.trace("one two", remote=True) as tracer:
        answer = model.lm_head.output.save()
    assert answer == 42, answer
    assert tracer.backend.meta["result_bytes"] > 0, tracer.backend.meta
    assert tracer.backend.meta["queue_time_s"] >= 0, tracer.backend.meta


def uncompressed():
    CONFIG.API.COMPRESS = False
    try:
        blocking()
    finally:
        CONFIG.API.COMPRESS = True


def printing():
    CONFIG.APP.REMOTE_LOGGING = True
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            with model.trace("one two", remote=True):
                answer = model.lm_head.output.save()
                print("canned:print first line")
    finally:
        CONFIG.APP.REMOTE_LOGGING = False
    text = out.getvalue()
    assert "LOG" in text and "first line" in text, text
    assert text.index("RUNNING") < text.index("first line") < text.index("COMPLETED"), text


def failing():
    backend = RemoteBackend(model.to_model_key())
    try:
        with model.trace("one two", backend=backend):
            answer = model.lm_head.output.save()
            print("canned:fail ValueError: as told")
    except RemoteError as error:
        assert str(error) == "ValueError: as told", str(error)
        assert backend.meta is not None
    else:
        raise AssertionError("a failed job must raise")


def polling():
    backend = RemoteBackend(model.to_model_key(), blocking=False)
    with model.trace("one two", backend=backend):
        answer = model.lm_head.output.save()
        print("canned:big 3000000")
    while (result := backend()) is None:
        pass
    assert result["answer"] == 42, result
    assert result["big"].shape == (3_000_000,) and int(result["big"].sum()) == 21_000_000
    again = RemoteBackend(model.to_model_key(), blocking=False, job_id=backend.job_id)()
    assert again["answer"] == 42, again


def large_inline():
    big = None
    with model.trace("one two", remote=True):
        big = model.lm_head.output.save()
        print("canned:big 50000000")
    assert big.shape == (50_000_000,) and big.unique().tolist() == [7]


async def waiting():
    backend = AsyncRemoteBackend(model.to_model_key())
    with model.trace("one two", backend=backend):
        answer = model.lm_head.output.save()
    assert (await backend)["answer"] == 42

    backend = AsyncRemoteBackend(model.to_model_key())
    with model.trace("one two", backend=backend):
        answer = model.lm_head.output.save()
    seen = [update async for update in backend]
    assert seen[-1]["answer"] == 42
    statuses = [update.status.value for update in seen[:-1]]
    assert statuses[0] == "QUEUED" and statuses[-1] == "COMPLETED", statuses


def session():
    answer = None
    with model.session(remote=True):
        with model.trace("one two"):
            answer = model.lm_head.output.save()
    assert answer == 42, answer


def keys():
    for key, words in [("wrong", "invalid API key"), ("", "missing API key")]:
        backend = RemoteBackend(model.to_model_key(), api_key=key)
        backend.api_key = key
        try:
            with model.trace("one two", backend=backend):
                answer = model.lm_head.output.save()
        except RemoteError as error:
            assert words in str(error), str(error)
        else:
            raise AssertionError(f"the key {key!r} must be refused")


def unknown_model():
    backend = RemoteBackend('nnsight.modeling.transformers.TransformersModel:{"repo_id": "no/such", "revision": null}')
    try:
        with model.trace("one two", backend=backend):
            answer = model.lm_head.output.save()
    except RemoteError as error:
        assert "no/such is not hosted here" in str(error) and "ndif-test/tiny-llama" in str(error), str(error)
    else:
        raise AssertionError("an unknown model must be refused")


def about():
    text = str(nnsight.status())
    assert "Up" in text and "ndif-test/tiny-gpt2" in text and "ndif-test/tiny-llama" in text, text
    assert nnsight.is_model_running("ndif-test/tiny-gpt2")
    raw = nnsight.status(raw=True)["deployments"].values()
    assert model.to_model_key() in [one["model_key"] for one in raw], raw
    assert nnsight.whoami()["email"] == "local", nnsight.whoami()
    assert nnsight.whoami("wrong") == {"email": None, "tags": []}
    with contextlib.redirect_stdout(io.StringIO()):
        nnsight.compare()


for test in [blocking, uncompressed, printing, failing, polling, large_inline, session, keys, unknown_model, about]:
    test()
    print("passed", test.__name__, flush=True)
asyncio.run(waiting())
print("passed waiting")
