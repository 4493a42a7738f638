"""What tenants of one server leave each other: a quiet one beside a flood, ten with jobs of different sizes, and short jobs
beside a long generation. Figures are ratios of what one run measured."""
import contextlib
import os
import statistics
import threading

from .models import prompts
from .recording import record
from .server import Server
from .users import quantile

LENGTH = 16
# Tokens that the quiet tenant's jobs and the flood's generate, and clients of the flood, each of which sends the next job at once.
QUIET, FLOOD, FLOODING = 32, 128, 64
# Tokens of the jobs of ten tenants, and clients of each: more than the share of places that is theirs.
SIZES, CLIENTS = [4, 6, 9, 13, 20, 30, 45, 68, 102, 153], 8
SHORT, LONG = 32, 4000
# Jobs that the worker runs at once. The more share a pass, the longer it takes where rows are what costs.
SLOTS = [32, 8]


def generate(model, prompt, tokens, backend=None):
    with model.generate(
        prompt, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, backend=backend
    ) as tracer:
        generated = tracer.result.save()
    return generated


class Fresh:
    """Requests of which no two have one prompt: what a server kept of one would answer the next."""

    def __init__(self, shape):
        self.shape, self.seed = shape, 7000

    def take(self, count, tokens):
        self.seed += 1
        texts = prompts(self.shape, [LENGTH] * count, seed=self.seed)
        return [record(self.shape, generate, text, tokens) for text in texts]


def measure(lab, shape):
    shape = lab.shape(shape)
    fresh = Fresh(shape)
    for slots in SLOTS:
        environment = dict(os.environ, OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", VITRINE_SLOTS=str(slots))
        with open(os.devnull, "w") as log:
            server = Server(lab.programs, lab.program("replay"), shape, lab.device, environment, log)
            with contextlib.closing(server):
                flood(lab, server, fresh, slots)
                if slots == SLOTS[0]:
                    equals(lab, server, fresh)
                    beside_a_long_one(lab, server, fresh)


def flood(lab, server, fresh, slots):
    quiet, flooder = server.tenant("quiet"), server.tenant("flood")
    count = 20 if lab.quick else 200
    times = {"alone": [], "beside a flood": []}
    for turn in range(1 + lab.rounds):
        for way, taken in times.items():
            requests = fresh.take(count, QUIET)
            with contextlib.ExitStack() as stack:
                if way != "alone":
                    # More than can be done until it is ended.
                    many = fresh.take(FLOODING * (4 if lab.quick else 40), FLOOD)
                    stack.enter_context(server.sending(many, FLOODING, flooder))
                    wait(server, "flood", FLOODING)
                with server.sending(requests, 1, quiet) as sending:
                    _, answers = sending.answers()
            wait(server, "flood", 0)
            # What happens only once is not what anyone is measured by.
            if turn:
                taken.append([answer.took for answer in answers])
    late = {way: statistics.median(quantile(each, 0.99) for each in taken) for way, taken in times.items()}
    for way, taken in times.items():
        middle = statistics.median(quantile(each, 0.5) for each in taken)
        lab.report.row("fairness", slots=slots, tokens=QUIET, side=way, p50_ms=1000 * middle, p99_ms=1000 * late[way])
    what = f"p99 of a quiet tenant beside a flood of {FLOODING} clients, {slots} slots / p99 alone"
    lab.report.ratio("fairness", what, late["beside a flood"] / late["alone"], 2, at_least=False)


def wait(server, tenant, jobs):
    """Waits until a tenant has so many jobs that wait or run, or more; for none, until it has none."""
    pause = threading.Event()
    while True:
        queue = [entry for entry in server.ask("GET", "queue")["lines"] if entry["tenant"] == tenant]
        there = sum(entry["waiting"] + entry["running"] for entry in queue)
        if there >= jobs if jobs else there == 0:
            return
        pause.wait(0.05)


def equals(lab, server, fresh):
    """Ten tenants whose jobs come to the same number of tokens each."""
    tokens = 600 if lab.quick else 6000
    with contextlib.ExitStack() as stack:
        work = [(server.tenant(f"equal-{size}"), fresh.take(max(2, tokens // size), size)) for size in SIZES]
        sending = [stack.enter_context(server.sending(requests, CLIENTS, key)) for key, requests in work]
        answers = [each.answers()[1] for each in sending]
    # Until the first has no more for all of its clients, each has work that waits.
    end = min(sorted(answer.seconds for answer in own)[-min(CLIENTS, len(own) - 1) - 1] for own in answers)
    until = [[answer.meta() for answer in own if answer.seconds <= end] for own in answers]
    for name, field in ("device time", "execution_time_s"), ("tokens", "tokens"):
        had = [sum(meta[field] for meta in own) for own in until]
        index = sum(had) ** 2 / (len(had) * sum(each**2 for each in had))
        lab.report.row("fairness", what=f"{name} of ten tenants", sizes=SIZES, had=[round(each, 3) for each in had])
        if field == "execution_time_s":
            what = f"Jain's index of the device time of {len(had)} tenants with jobs of {SIZES[0]} to {SIZES[-1]} tokens"
            lab.report.ratio("fairness", what, index, 0.95)
        else:
            lab.report.row("fairness", what=f"Jain's index of their {name}", value=index)


def beside_a_long_one(lab, server, fresh):
    short, long = server.tenant("short"), server.tenant("long")
    tokens = 400 if lab.quick else LONG
    times = {"alone": [], "beside": []}
    for turn in range(1 + lab.rounds):
        for way, taken in times.items():
            with contextlib.ExitStack() as stack:
                if way == "beside":
                    stack.enter_context(server.sending(fresh.take(1, tokens), 1, long))
                    wait(server, "long", 1)
                with server.sending(fresh.take(SHORT, QUIET), SHORT, short) as sending:
                    wall, _ = sending.answers()
            wait(server, "long", 0)
            if turn:
                taken.append(wall)
    alone, beside = (statistics.median(times[way]) for way in ("alone", "beside"))
    lab.report.row("fairness", jobs=SHORT, tokens=QUIET, alone_ms=1000 * alone, beside_ms=1000 * beside)
    what = f"{SHORT} short jobs beside a generation of {tokens} tokens / alone"
    lab.report.ratio("fairness", what, beside / alone, 2, at_least=False)
