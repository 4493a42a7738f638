"""Jobs that have nothing to do with anybody else's, and would harm them if they could."""
import httpx
import nnsight
import torch
from nnsight.intervention.backends.remote import RemoteError
from nnsight.schema.response import Status

from experiments import FRANCE, ITALY, LONG, attention, layers

OTHER = "When Mary and John went to the store, John gave a drink to Mary."


def endless(models):
    """Submits jobs that take part in every pass of their kind, and returns them once they run."""
    jobs = [submit(model) for model in models.values() for submit in (nan_writer, huge_writer, generator, sampler)]
    for job in jobs:
        while job.status != Status.RUNNING:
            job.poll()
    return jobs


def nan_writer(model):
    with model.session(remote=True, blocking=False) as session:
        turn = 0
        while True:
            turn += 1
            with model.trace(OTHER):
                layers(model)[turn % 4].output[:] = float("nan")
                logits = model.lm_head.output
            # Looked at, so that no trace waits for those to come.
            logits.shape
    return session.backend


def huge_writer(model):
    model = model.eager
    with model.session(remote=True, blocking=False) as session:
        values = [3e38, -3e38, float("inf"), 1e-45, 0.0]
        turn = 0
        while True:
            turn += 1
            with model.trace([OTHER, LONG]):
                attention(layers(model)[1]).output[0][:] = values[turn % 5]
                layers(model)[2].mlp.output[:, 0] = values[(turn + 2) % 5]
                model.lm_head.output[:] = values[(turn + 1) % 5]
                logits = model.lm_head.output
            logits.shape
    return session.backend


def generator(model):
    with model.session(remote=True, blocking=False) as session:
        while True:
            with model.generate(OTHER, max_new_tokens=60, min_new_tokens=60, do_sample=False) as tracer:
                for step in tracer.iter[:60]:
                    layers(model)[1].output[:, -1] *= 1.0 - step
                    if step > 30:
                        layers(model)[0].mlp.output[:] = float("inf")
    return session.backend


def sampler(model):
    with model.session(remote=True, blocking=False) as session:
        while True:
            with model.generate([ITALY, OTHER], max_new_tokens=40, do_sample=True, temperature=2.0) as tracer:
                for step in tracer.iter[:40]:
                    layers(model)[3].output[0] += 100
    return session.backend


def cancel(job):
    """Ends a job that has no end of its own. Returns how it ended."""
    headers = {"ndif-api-key": job.api_key}
    httpx.delete(f"{job.host}/request/{job.job_id}", headers=headers).raise_for_status()
    try:
        while job.poll() is None:
            pass
    except RemoteError as error:
        return str(error)
    raise AssertionError("an endless job ended well")


def index(model):
    with model.trace(OTHER, remote=True):
        layers(model)[1].output[0, 10**6]


def gather(model):
    with model.trace(OTHER, remote=True):
        layers(model)[1].output.gather(1, torch.full((1, 1, 1), 1 << 40))


def other_width(model):
    with model.trace(OTHER, remote=True):
        layers(model)[1].output = layers(model)[1].output[..., :5]
        logits = model.lm_head.output


def no_tensor(model):
    with model.trace(OTHER, remote=True):
        attention(layers(model)[0]).output = 5
        logits = model.lm_head.output


def own_error(model):
    with model.trace([OTHER, LONG], remote=True):
        state = layers(model)[2].output
        raise ValueError(f"{state.shape[0]} rows")


def huge_list(model):
    with model.trace(OTHER, remote=True):
        state = layers(model)[0].output
        values = [0] * 10**12


def huge_tensor(model):
    with model.trace(OTHER, remote=True):
        state = layers(model)[1].output
        state.expand(1 << 20, -1, -1).repeat(1 << 20, 1, 1)


def endless_recursion(model):
    def descend(depth):
        return descend(depth + 1)

    with model.trace(OTHER, remote=True):
        state = layers(model)[0].output
        descend(0)


def endless_printing(model):
    with model.trace(OTHER, remote=True):
        state = layers(model)[0].output
        while True:
            print("x" * 1000)


def not_a_number_to_draw_from(model):
    with model.generate(OTHER, max_new_tokens=4, do_sample=True, remote=True) as tracer:
        model.lm_head.output[:] = float("nan")
        ids = tracer.result.save()


def graph_walked_twice(model):
    with model.trace(OTHER, remote=True):
        layers(model)[0].output[:] *= float("nan")
        loss = model.lm_head.output.sum()
        loss.backward()
        loss.backward()


def endless_loop(model):
    with model.trace(OTHER, remote=True):
        state = layers(model)[0].output
        while True:
            pass


def many_rows(model):
    with model.trace(remote=True) as tracer:
        for place in range(150):
            with tracer.invoke(OTHER):
                layers(model)[1].output[:] = float("nan")
                last = model.lm_head.output[:, -1]
        with tracer.invoke(FRANCE):
            found = model.lm_head.output[0, -1].isfinite().all().item().save()
    assert found is True, found


def long_rows(model):
    with model.trace([[(place * row) % 500 for place in range(1, 240)] for row in range(1, 9)], remote=True):
        layers(model)[2].output[::2] = float("inf")
        kept = model.lm_head.output[:, :100].save()
    assert kept.shape == (8, 100, 512)


FAILING = [
    index, gather, other_width, no_tensor, own_error, huge_list, huge_tensor, endless_recursion, endless_printing,
    not_a_number_to_draw_from, graph_walked_twice,
]  # fmt: skip
SOUND = [many_rows, long_rows]


def run(job, model):
    """Runs a job to its end, which must be the expected one."""
    try:
        job(model)
    except RemoteError as error:
        assert job not in SOUND, error
        return str(error).strip().splitlines()[-1]
    assert job in SOUND, f"{job.__name__} must fail"
    return None
