#!/usr/bin/env python3
"""Runs jobs on a cluster of its own while parts of it are killed, stopped and cut off, and looks at what became of them.

    .venv/bin/python tools/chaos.py [--kills N] [--seed S] [--programs FOLDER]

The seed decides what happens to whom, for how long and after which pauses, and which jobs are sent; what they meet is
the machine's. A quarter of the kills start a process that ends by itself between two durable steps, where the programs
have such places (`crates/failpoints`). A job counts as accepted when a gateway has said so. In the end each accepted job must have ended once, with
the answer that local nnsight gives, by the same word of every gateway, and no record of etcd's history may have been
written by who no longer led. The last line is `accepted N, ended N, lost N, doubled N, wrong N`.
"""
import argparse
import asyncio
import collections
import contextlib
import io
import itertools
import json
import mmap
import os
import pickle
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import torch

import chaos_jobs
import history
from cluster import ROOT, Cluster, default_models, names, run
from supervisor import Failed, describe, die_with, send

CLIENTS, USERS = 16, 2
# Time for all that was accepted to end when nothing is disturbed any more.
CALM = 240.0
SCHEDULERS, GATEWAYS, WORKERS = names("scheduler", 2), names("gateway", 2), names("worker", 3)
ETCD, OBJECTS = names("etcd", 3), ["objects-1"]
KINDS = [SCHEDULERS, GATEWAYS, WORKERS, ETCD, OBJECTS]
# Places between two durable steps (`failpoints::Point`), where a role ends by itself, and who passes there while jobs run.
FAILPOINTS = [
    *((GATEWAYS, point) for point in ["payload-kept", "accepted", "cancel-committed", "result-linked"]),
    *((SCHEDULERS, point) for point in ["lease-granted", "elected", "epoch-counted", "worker-entered", "decided"]),
    *((SCHEDULERS, point) for point in ["assignment-committed", "end-heard", "outcome-committed"]),
    *((WORKERS, point) for point in ["assignment-heard", "result-kept", "end-told", "settled-heard"]),
]
# Passed once by a process.
ONCE = ["lease-granted", "elected", "epoch-counted"]
# Time for those that were armed to come to their failpoints when all else has happened.
LAST = 90.0


# What runs, before each line that it says.
TITLE = Path(sys.argv[0]).stem


def say(line):
    print(f"{TITLE}: {time.strftime('%H:%M:%S')} {line}", flush=True)


@dataclass
class Job:
    """One job, as those who sent it know it."""

    program: str
    key: str | None = None
    id: str | None = None
    accepted_at: float = 0.0
    ended_at: float = 0.0
    # How it ended: COMPLETED with the bytes of its result, or ERROR with its text.
    end: tuple | None = None
    to_cancel: bool = False
    wrong: str | None = None
    doubled: str | None = None
    # It failed because workers died under it, which were killed.
    blamed: bool = False


class Faults:
    """What is done to the cluster, as the seed has it."""

    def __init__(self, cluster, chance, kills):
        self.cluster, self.supervisor, self.chance = cluster, cluster.supervisor, chance
        armed = kills // 4 if has_failpoints(cluster.programs) else 0
        plan = ["kill"] * (kills - armed) + ["arm"] * armed + ["stop"] * (kills // 4) + ["cut"] * (kills // 4)
        chance.shuffle(plan)
        self.plan = plan
        # Each once before one comes again.
        self.failpoints = itertools.cycle(chance.sample(FAILPOINTS, len(FAILPOINTS)))
        self.supervisor.fell = self.fell
        self.counts = collections.Counter()
        # How often a process ended at each failpoint.
        self.met = collections.Counter()
        # When workers were killed.
        self.deaths = []
        # Faults that were not in force, which would show nothing.
        self.failed = []
        # Who is stopped now: one at a time continues it.
        self.stopped = set()

    async def run(self):
        lasting = []
        for kind in self.plan:
            await asyncio.sleep(self.chance.uniform(0.3, 2.5))
            if kind == "kill":
                self.kill()
            elif kind == "arm":
                await self.arm()
            else:
                # They last, and others happen meanwhile.
                lasting.append(asyncio.create_task(self.stop() if kind == "stop" else self.cut()))
        await asyncio.gather(*lasting)
        await self.meet()

    def some(self, kinds=KINDS):
        return self.chance.choice([name for kind in kinds for name in kind])

    def kill(self):
        victims = [self.some()]
        if self.chance.random() < 0.25:
            # With one of another kind.
            victims.append(self.some([kind for kind in KINDS if victims[0] not in kind]))
        for name in victims:
            self.end(name)
        say(f"kill {' and '.join(victims)}")

    def end(self, name):
        role = self.supervisor.roles[name]
        if role.alive and role.kind == "worker":
            self.deaths.append(time.monotonic())
        send(role, signal.SIGKILL)
        self.counts["kills"] += 1

    async def arm(self):
        """Kills a role, so that who is started in its place ends by itself at a failpoint."""
        names, point = next(self.failpoints)
        while not (free := [name for name in names if not self.supervisor.roles[name].failpoint]):
            await asyncio.sleep(0.1)
        name = self.chance.choice(free)
        passing = 1 if point in ONCE else self.chance.randint(1, 3)
        self.supervisor.roles[name].failpoint = f"{point}:{passing}"
        self.counts["armed"] += 1
        self.end(name)
        say(f"kill {name}, and the next one at {point}, time {passing}")

    def fell(self, point, role):
        self.met[point] += 1
        if role.kind == "worker":
            self.deaths.append(time.monotonic())
        say(f"{role.name} ended at {point}")

    async def meet(self):
        """Waits until all that were armed have ended where they were to. A scheduler comes there when it leads, which it
        does when the other one is stopped."""
        deadline = time.monotonic() + LAST
        stopped = None
        while armed := [role for role in self.supervisor.roles.values() if role.failpoint]:
            if time.monotonic() > deadline:
                self.failed += [f"{role.name} did not come to the failpoint {role.failpoint}" for role in armed]
                break
            waiting = [role.name for role in armed if role.kind == "scheduler"]
            others = [self.supervisor.roles[name] for name in SCHEDULERS if name not in waiting]
            if waiting and others and others[0].alive and others[0].process is not stopped:
                stopped = others[0].process
                say(f"stop {others[0].name}, so that {waiting[0]} leads")
                send(others[0], signal.SIGSTOP)
            elif stopped is not None and not waiting:
                stopped = resume(stopped)
            await asyncio.sleep(0.1)
        if stopped is not None:
            resume(stopped)

    async def stop(self):
        name, seconds = self.some(), self.chance.uniform(6, 12)
        role = self.supervisor.roles[name]
        if not role.alive or name in self.stopped:
            say(f"stop {name}: it is down")
            return
        process = role.process
        self.stopped.add(name)
        send(role, signal.SIGSTOP)
        say(f"stop {name} for {seconds:.1f} s")
        self.counts["stops"] += 1
        await asyncio.sleep(0.5)
        if process.returncode is None and state_of(process.pid) not in "TtZX":
            self.failed.append(f"{name} was stopped, and runs")
        await asyncio.sleep(seconds)
        self.stopped.discard(name)
        resume(process)

    async def cut(self):
        what, pairs = self.chance.choice(
            [
                ("a gateway from etcd", [(self.chance.choice(GATEWAYS), member) for member in ETCD]),
                ("a scheduler from etcd", [(self.chance.choice(SCHEDULERS), member) for member in ETCD]),
                ("a worker from schedulers", [(self.chance.choice(WORKERS), other) for other in SCHEDULERS]),
                ("a scheduler from workers", [(self.chance.choice(SCHEDULERS), other) for other in WORKERS]),
                ("members of etcd from each other", [(self.chance.choice(ETCD), other) for other in ETCD]),
                ("objects from who uses them", [(OBJECTS[0], self.some([GATEWAYS, SCHEDULERS, WORKERS]))]),
            ]
        )
        # The same one from all others.
        one = pairs[0][0]
        pairs = [(one, other) for _, other in pairs if other != one]
        pairs = [pair for pair in pairs if frozenset(pair) not in self.cluster.ways.cuts]
        how, seconds = self.chance.choice(["hole", "reset"]), self.chance.uniform(4, 12)
        cuts = [self.cluster.ways.cut(one, other, how) for one, other in pairs]
        say(f"cut {one} from {', '.join(other for _, other in pairs)} for {seconds:.1f} s ({how})")
        self.counts["cuts"] += 1
        await asyncio.sleep(seconds)
        met = 0
        for cut in cuts:
            sound, tries = self.cluster.ways.mend(cut)
            met += tries
            if not sound:
                self.failed.append(f"{' and '.join(cut[0])} were cut from each other, and bytes passed")
        self.counts["bytes or connections that met a cut"] += met


class Clients:
    """Sends raw requests, and waits for what was accepted."""

    def __init__(self, gateways, key, requests, faults, chance):
        self.gateways, self.requests, self.faults, self.chance = gateways, requests, faults, chance
        self.headers = {"ndif-api-key": key}
        self.jobs = []
        self.answers = collections.Counter()
        self.stopping = asyncio.Event()
        timeout = httpx.Timeout(15, connect=3)
        self.http = httpx.AsyncClient(timeout=timeout, limits=httpx.Limits(max_connections=None, keepalive_expiry=1))

    async def client(self, number):
        """One after another, jobs of all kinds."""
        chance = random.Random(self.chance.random())
        while not self.stopping.is_set():
            await self.one(chance)

    async def one(self, chance):
        program = chance.choices(list(chaos_jobs.PROGRAMS), [6, 4, 3, 3, 2, 2, 1])[0]
        model, place = chance.choice(list(chaos_jobs.MODELS)), chance.randrange(len(chaos_jobs.PROMPTS))
        mark = chaos_jobs.MARK + 1 + len(self.jobs)
        job = Job(program, key=secrets.token_hex(12))
        job.to_cancel = program == "endless" or chance.random() < 0.05
        self.jobs.append(job)
        request = self.requests[program, model, place]
        body = request["bytes"].replace(str(chaos_jobs.MARK).encode(), str(mark).encode())
        await self.submit(job, request["model_key"], body, chance)
        if job.id is None:
            return
        cancelling = asyncio.create_task(self.cancel(job, chance)) if job.to_cancel else None
        await self.wait(job, chance)
        if cancelling:
            await cancelling
        job.wrong = job.wrong or await asyncio.to_thread(self.verdict, job, request["answer"], mark)

    async def submit(self, job, model_key, body, chance):
        """Sends a request until it is accepted; always under its key, so that it is one job however often it is sent."""
        fields = json.dumps({"model_key": model_key, "session_id": "", "compress": False, "env": {}})
        again = chance.random() < 0.2
        while job.id is None or again:
            # Whoever stops may give up what nobody accepted, and has to know of what somebody did.
            if self.stopping.is_set() and job.id is None:
                return
            answer = await self.ask(
                "POST", "/request", chance, data={"data": fields}, files={"blob": ("request", body)},
                headers={**self.headers, "idempotency-key": job.key},
            )  # fmt: skip
            if answer is None:
                await asyncio.sleep(chance.uniform(0.05, 0.5))
            elif job.id is None:
                job.id, job.accepted_at = answer.json()["id"], time.monotonic()
            else:
                again = False
                if answer.json()["id"] != job.id:
                    job.doubled = f"one key became {job.id} and {answer.json()['id']}"

    async def cancel(self, job, chance):
        await asyncio.sleep(chance.uniform(0.2, 3))
        while await self.ask("DELETE", f"/request/{job.id}", chance, headers=self.headers, good=202) is None:
            await asyncio.sleep(chance.uniform(0.05, 0.5))

    async def wait(self, job, chance):
        while job.end is None:
            await asyncio.sleep(chance.uniform(0.05, 0.3))
            job.end = await self.look(job, chance)
        job.ended_at = time.monotonic()

    async def look(self, job, chance, gateway=None):
        """Returns how a job ended, or None."""
        answer = await self.ask("GET", f"/response/{job.id}", chance, headers=self.headers, gateway=gateway)
        if answer is None:
            return None
        told = answer.json()
        if told["status"] == "ERROR":
            return "ERROR", told["description"]
        if told["status"] != "COMPLETED":
            return None
        path = "/" + told["data"].split("/", 3)[3]
        result = await self.ask("GET", path, chance, gateway=gateway)
        return None if result is None else ("COMPLETED", result.content)

    async def ask(self, method, path, chance, gateway=None, good=200, **more):
        """Asks a gateway. Returns its answer, or None if it has none for now."""
        try:
            answer = await self.http.request(method, (gateway or chance.choice(self.gateways)) + path, **more)
        except (httpx.HTTPError, OSError) as error:
            self.answers[type(error).__name__] += 1
            return None
        if answer.status_code == good:
            return answer
        text = answer.text[:200]
        self.answers[f"{answer.status_code} to {method} {path.split('/')[1]}: {text}"] += 1
        if answer.status_code not in (429, 500, 502, 503, 504):
            # Nothing else can be right for what is sent here: 404 would be an accepted job that is not known.
            raise Failed(f"{method} {path} was answered with {answer.status_code}: {text}")
        return None

    def verdict(self, job, answer, mark):
        """Returns what is wrong with a job's end, or None."""
        kind, what = job.end
        if kind == "ERROR" and job.to_cancel and what == "Your job was cancelled.":
            return None
        if kind == "ERROR" and "the worker died 3 times" in what:
            # It says so of what was alone with three processes that died, whoever killed them.
            during = [moment for moment in self.faults.deaths if job.accepted_at <= moment <= job.ended_at]
            job.blamed = len(during) >= 2
            if job.blamed:
                return None
        if job.program == "endless":
            # No gateway may have heard of the cancelling before the steps that a job is allowed were taken.
            right = kind == "ERROR" and what.strip().splitlines()[-1] == chaos_jobs.LIMIT
            return None if right else f"{kind}: {what!r}"
        if job.program == "failing":
            right = kind == "ERROR" and what.strip().splitlines()[-1] == chaos_jobs.FAILURE.format(mark=mark)
            return None if right else f"{kind}: {what!r}"
        if kind == "ERROR" or answer is None:
            return f"{kind}: {what!r}"
        value = torch.load(io.BytesIO(what), map_location="cpu", weights_only=False)
        wanted = {name: torch.tensor(mark) if name == "mark" else value for name, value in answer.items()}
        return chaos_jobs.difference(wanted, value)

    async def agree(self, job, chance):
        """Asks every gateway how a job ended, which must be one thing."""
        for gateway in self.gateways:
            end = None
            while end is None:
                end = await self.look(job, chance, gateway)
                await asyncio.sleep(0 if end else 0.2)
            if job.end is None:
                job.end = end
            elif end != job.end:
                job.doubled = f"{gateway} says {end!r:.200}, where others say {job.end!r:.200}"


class User:
    """A process with the real client."""

    def __init__(self, environment, folder, seed):
        command = [sys.executable, ROOT / "tools/chaos_jobs.py", "run", folder, str(seed)]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            preexec_fn=die_with(os.getpid()), start_new_session=True,
        )  # fmt: skip
        self.jobs = {}
        self.here = asyncio.Event()

    async def listen(self):
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=1 << 24)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self.process.stdout)
        while line := await reader.readline():
            told = json.loads(line)
            if "here" in told:
                self.here.set()
            elif "accepted" in told:
                self.jobs[told["accepted"]] = Job(told["program"], id=told["accepted"], accepted_at=time.monotonic())
            else:
                job = self.jobs[told["id"]]
                job.ended_at, job.wrong = time.monotonic(), told["wrong"]

    def verdicts(self, faults):
        for job in self.jobs.values():
            if job.wrong and "the worker died 3 times" in job.wrong:
                job.blamed = len([one for one in faults.deaths if job.accepted_at <= one <= job.ended_at]) >= 2
                job.wrong = None if job.blamed else job.wrong


def client_environment(gateways, key, folder):
    """Returns what the client needs to know of a cluster, and where it may write."""
    tiny = {f"TINY_{name.upper()}": str(ROOT / ".models/float32" / f"tiny-{name}") for name in chaos_jobs.MODELS}
    removed = ("SSL_CERT_FILE", "HF_HUB_OFFLINE")
    return {name: value for name, value in os.environ.items() if name not in removed} | {
        "HF_ENDPOINT": gateways[0], "HF_HOME": str(folder / "home"), "NDIF_HOST": gateways[0],
        "NDIF_API_KEY": key, "NNSIGHT_CONFIG": str(folder / "nnsight.yaml"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "GATEWAYS": ",".join(gateways),
        # For each request the client reads all that TLS trusts.
        "SSL_CERT_DIR": str(folder / "none"), **tiny,
    }  # fmt: skip


def resume(process):
    """Has a process that was stopped go on, if it is still there."""
    if process.returncode is None:
        os.kill(process.pid, signal.SIGCONT)


def has_failpoints(programs):
    """True if both programs were built with failpoints."""
    for name in ("vitrine", "vitrine-worker"):
        with open(programs / name, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as program:
            if program.find(b"VITRINE_FAILPOINT") < 0:
                say(f"{programs / name} has no failpoints: all are killed at random moments")
                return False
    return True


def state_of(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "X"


async def record(gateways, key, folder):
    """Has the client write each program's request, and local nnsight its answer."""
    command = [sys.executable, ROOT / "tools/chaos_jobs.py", "record", folder]
    environment = client_environment(gateways, key, folder)
    done = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"the requests could not be recorded:\n{done.stderr[-3000:]}")
    with open(folder / "requests.pickle", "rb") as file:
        return pickle.load(file)


async def disturb(cluster, folder, seed, kills):
    """Runs jobs among faults. Returns all jobs that were accepted, and what else is to be said."""
    chance = random.Random(seed)
    gateways, key = [cluster.supervisor.roles[name].address for name in GATEWAYS], cluster.supervisor.about["api_key"]
    requests = await record(gateways, key, folder)
    faults = Faults(cluster, random.Random(chance.random()), kills)
    clients = Clients(gateways, key, requests, faults, random.Random(chance.random()))
    users = [User(client_environment(gateways, key, folder), folder, chance.randrange(1 << 30)) for _ in range(USERS)]
    listening = [asyncio.create_task(user.listen()) for user in users]
    for user, task in zip(users, listening):
        waiting = asyncio.create_task(user.here.wait())
        await asyncio.wait([waiting, task], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            raise Failed("a user's client ended before it began")
    sending = [asyncio.create_task(clients.client(number)) for number in range(CLIENTS)]
    began = time.monotonic()
    faulting = asyncio.create_task(faults.run())
    # Clients end by themselves only when something is wrong.
    done, _ = await asyncio.wait([faulting, *sending], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    say(f"nothing is disturbed any more, after {time.monotonic() - began:.0f} s: {dict(faults.counts)}")
    await cluster.supervisor.until("the cluster", cluster.serves, CALM)
    clients.stopping.set()
    for user in users:
        user.process.stdin.close()
    calm = time.monotonic()
    _, late = await asyncio.wait([*sending, *listening], timeout=CALM)
    say(f"what was accepted has ended {time.monotonic() - calm:.1f} s later" if not late else "some jobs do not end")
    for task in set(sending + listening) - late:
        task.result()
    for task in late:
        task.cancel()
    for user in users:
        if user.process.poll() is None and late:
            user.process.kill()
        if status := await asyncio.to_thread(user.process.wait):
            raise Failed(f"a user's client ended with {describe(status)}") if not late else None
        user.verdicts(faults)
    jobs = [job for job in clients.jobs if job.id] + [job for user in users for job in user.jobs.values()]
    async with asyncio.timeout(CALM):
        for job in jobs:
            if job.ended_at:
                await clients.agree(job, chance)
    await clients.http.aclose()
    for what, times in clients.answers.most_common(12):
        say(f"{times} times {what}")
    return jobs, faults


async def judge(cluster, jobs, faults, more=""):
    """Says what became of the jobs, and `more` at the end of it. Returns whether all is as it was promised."""
    lives = history.lives(await asyncio.to_thread(cluster.etcd.history))
    lost = {job.id: "it did not end" for job in jobs if not job.ended_at}
    doubled = {job.id: job.doubled for job in jobs if job.doubled}
    wrong = {job.id: f"{job.program}: {job.wrong}" for job in jobs if job.wrong}
    for job in jobs:
        life = lives.get(job.id, history.Life())
        if not life.outcomes:
            lost.setdefault(job.id, "etcd has no outcome of it")
    for job, life in lives.items():
        for kind, what in life.faults:
            {"lost": lost, "doubled": doubled, "stale": wrong}[kind].setdefault(job, what)
    if len({job.id for job in jobs}) != len(jobs):
        raise Failed("two jobs have one id")
    for title, found in [("lost", lost), ("doubled", doubled), ("wrong", wrong)]:
        for job, what in list(found.items())[:20]:
            say(f"{title}: {job}: {what:.500}")
    for failed in faults.failed:
        say(f"a fault was not in force: {failed}")
    say(f"ended at failpoints: {dict(faults.met)}")
    programs = collections.Counter(job.program for job in jobs)
    say(f"jobs: {dict(programs)}, of which {sum(job.to_cancel for job in jobs)} were to be cancelled")
    unheard = set(lives) - {job.id for job in jobs}
    say(f"{len(unheard)} jobs were accepted of which nobody heard; {sum(job.blamed for job in jobs)} failed because three "
        "workers were killed that had nothing else")  # fmt: skip
    ended = sum(1 for job in jobs if job.ended_at)
    print(f"accepted {len(jobs)}, ended {ended}, lost {len(lost)}, doubled {len(doubled)}, wrong {len(wrong)}{more}", flush=True)
    return not (lost or doubled or wrong or faults.failed)


async def chaos(chosen, folder):
    cluster = Cluster(folder / "cluster", chosen.programs, default_models(), doors=True)
    try:
        await cluster.start(tell=lambda line: None)
        say(f"{len(cluster.supervisor.roles)} roles are ready")
        jobs, faults = await disturb(cluster, folder, chosen.seed, chosen.kills)
        return await judge(cluster, jobs, faults)
    finally:
        await cluster.stop()


def conduct(act, kept):
    """Runs `act` with a folder for everything, and ends the process by what it returns. A folder of its own is left only where
    something was not well."""
    os.umask(0o077)
    # What roles say of each job is what one wants to read where something went wrong.
    os.environ.setdefault("VITRINE_LOG", "info")
    torch.set_num_threads(1)
    folder = kept or Path(tempfile.mkdtemp(prefix=f"vitrine-{TITLE}-"))
    folder.mkdir(parents=True, exist_ok=True)
    say(f"everything lies in {folder}" + ("" if kept else ", until all is found well"))
    try:
        sound = asyncio.run(act(folder.resolve()))
    except Failed as failed:
        sys.exit(f"{TITLE}: {failed}")
    if sound and not kept:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(not sound)


def main():
    arguments = argparse.ArgumentParser(description="Kills, stops and cuts off parts of a cluster that works.")
    arguments.add_argument("--programs", type=Path, default=ROOT / "target/release", help="where vitrine and its worker lie")
    arguments.add_argument("--kills", type=int, default=100, help="how many times something is killed; a quarter as many "
                           "are stopped, and a quarter as many cut off")  # fmt: skip
    arguments.add_argument("--seed", type=int, default=None, help="what decides; a random one if it is not given")
    arguments.add_argument("--folder", type=Path, default=None, help="where to put everything, and leave it")
    chosen = arguments.parse_args()
    if chosen.seed is None:
        chosen.seed = secrets.randbelow(1 << 31)
    commit = run("git", "-C", ROOT, "rev-parse", "--short", "HEAD").strip() if (ROOT / ".git").exists() else "unknown"
    say(f"seed {chosen.seed}, {chosen.kills} kills, commit {commit}")
    conduct(lambda folder: chaos(chosen, folder), chosen.folder)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
