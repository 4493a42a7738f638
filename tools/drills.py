#!/usr/bin/env python3
"""What an operator plans for and hopes never to see, on a cluster of its own with jobs that run: every role started anew, one
after the other, as an upgrade does it, and a majority of etcd's members away.

    .venv/bin/python tools/drills.py [--programs FOLDER] [--next FOLDER] [--seed S]

With `--next`, roles are started anew with the programs of that folder: an upgrade of the running cluster from one version to
another. No job may be given out a second time by either drill, each must end once with the answer that local nnsight gives,
and while etcd has no majority nothing may be acknowledged. The last line is
`accepted N, ended N, lost N, doubled N, wrong N, given out again N`.
"""
import argparse
import asyncio
import json
import random
import secrets
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

import chaos_jobs
import history
from chaos import CALM, ETCD, GATEWAYS, SCHEDULERS, WORKERS, Clients, Job, conduct, judge, record, say
from cluster import ROOT, Cluster, default_models, run
from steering import ROOM, Steering
from supervisor import send

# Who sends jobs while roles are started anew, and how many requests come while etcd has no majority.
CLIENTS, REFUSED = 6, 20
PROGRAMS = {"worker": "vitrine-worker"}


@dataclass
class Promises:
    """What was not as it was promised, for who judges a history."""

    failed: list = field(default_factory=list)
    # Nobody dies in a drill.
    deaths: tuple = ()
    met: dict = field(default_factory=dict)

    def hold(self, true, what):
        if not true:
            say(f"not as promised: {what}")
            self.failed.append(what)


class Drill:
    """A cluster, those who use it, and what it promises them."""

    def __init__(self, cluster, requests, seed):
        self.cluster, self.supervisor, self.requests = cluster, cluster.supervisor, requests
        self.chance = random.Random(seed)
        self.promises = Promises()
        self.gateways = [self.supervisor.roles[name].address for name in GATEWAYS]
        self.jobs = []

    def clients(self):
        key = self.supervisor.about["api_key"]
        return Clients(self.gateways, key, self.requests, self.promises, random.Random(self.chance.random()))

    async def upgrade(self, programs):
        """Starts every role anew, in the order of an upgrade, while jobs of all kinds come."""
        clients = self.clients()
        sending = [asyncio.create_task(clients.client(number)) for number in range(CLIENTS)]
        for name in [*SCHEDULERS, *WORKERS, *GATEWAYS]:
            role, began = self.supervisor.roles[name], time.monotonic()
            role.command[0] = programs / PROGRAMS.get(role.kind, "vitrine")
            if role.kind == "worker":
                await self.node("drain", name)
                await self.supervisor.until(f"the empty {name}", lambda: self.drained(name), CALM)
            starts = role.starts
            send(role, signal.SIGTERM)
            await self.supervisor.until(name, lambda: self.started(role, starts), CALM)
            if role.kind == "worker":
                await self.node("uncordon", name)
            await self.supervisor.until("the cluster", self.cluster.serves, CALM)
            say(f"{name} is started anew, after {time.monotonic() - began:.1f} s")
        clients.stopping.set()
        await asyncio.wait_for(asyncio.gather(*sending), CALM)
        await self.settle(clients)
        say(f"{len(clients.jobs)} jobs came meanwhile, and their requests were answered otherwise so: {dict(clients.answers)}")

    async def started(self, role, starts):
        return role.starts > starts and role.alive

    async def node(self, act, *names):
        """Runs `vitrine node` as an administrator does. Returns what it printed."""
        server = ["--host", self.gateways[0], "--key", self.supervisor.about["admin_key"], "--json"]
        return json.loads(await asyncio.to_thread(run, self.cluster.programs / "vitrine", "node", act, *names, *server))

    async def drained(self, name):
        return any(node["name"] == name and node["state"] == "drained" for node in (await self.node("list"))["nodes"])

    async def quorum(self):
        """Takes a majority of etcd's members away while jobs run, and gives it back."""
        clients = self.clients()
        mark = iter(range(chaos_jobs.MARK + 1, chaos_jobs.MARK + 1000))
        runs = [await self.begin(clients, program, next(mark)) for program in ["endless", *["long"] * 4]]
        # What was sent after them has ended, so that they have begun.
        await self.end(clients, await self.begin(clients, "read", next(mark)))
        away = [self.supervisor.roles[name] for name in self.chance.sample(ETCD, len(ETCD) // 2 + 1)]
        for role in away:
            send(role, signal.SIGSTOP)
        say(f"stop {' and '.join(role.name for role in away)}, so that etcd has no majority")
        try:
            left = next(port for name, (port, _) in zip(ETCD, self.cluster.etcd_ports) if self.supervisor.roles[name] not in away)
            self.promises.hold(not await asyncio.to_thread(self.cluster.etcd.healthy, left), "etcd was without a majority")
            late = [Job("read", key=secrets.token_hex(12)) for _ in range(REFUSED)]
            answers = await asyncio.gather(*(self.refused(clients, job, chaos_jobs.MARK + 900 + place) for place, job in enumerate(late)))
            slowest = max(seconds for _, seconds in answers)
            say(f"{sum(good for good, _ in answers)} of {REFUSED} requests got 503 with Retry-After, the slowest after {slowest:.1f} s")
        finally:
            for role in away:
                send(role, signal.SIGCONT)
        back = time.monotonic()
        # Under their keys: what etcd took in after all is found, and nothing becomes two jobs.
        for place, job in enumerate(late):
            await self.submit(clients, job, chaos_jobs.MARK + 900 + place)
            if place == 0:
                say(f"etcd is back; a job is accepted {time.monotonic() - back:.1f} s later")
        endless = runs[0][0]
        endless.to_cancel = True
        while await clients.ask("DELETE", f"/request/{endless.id}", self.chance, headers=clients.headers, good=202) is None:
            await asyncio.sleep(0.1)
        for job, mark in [*runs, *((job, chaos_jobs.MARK + 900 + place) for place, job in enumerate(late))]:
            await self.end(clients, (job, mark))
        await self.settle(clients)

    async def begin(self, clients, program, mark):
        job = Job(program, key=secrets.token_hex(12))
        await self.submit(clients, job, mark)
        return job, mark

    async def submit(self, clients, job, mark):
        request = self.requests[job.program, "gpt2", 0]
        body = request["bytes"].replace(str(chaos_jobs.MARK).encode(), str(mark).encode())
        clients.jobs.append(job)
        await clients.submit(job, request["model_key"], body, self.chance)

    async def end(self, clients, begun):
        job, mark = begun
        if job.end is None:
            await clients.wait(job, self.chance)
            answer = self.requests[job.program, "gpt2", 0]["answer"]
            job.wrong = await asyncio.to_thread(clients.verdict, job, answer, mark)

    async def refused(self, clients, job, mark):
        """Sends a request that cannot be stored. Returns whether it was refused as it should be, and after which time."""
        request = self.requests[job.program, "gpt2", 0]
        body = request["bytes"].replace(str(chaos_jobs.MARK).encode(), str(mark).encode())
        fields = json.dumps({"model_key": request["model_key"], "session_id": "", "compress": False, "env": {}})
        began = time.monotonic()
        answer = await clients.http.post(
            f"{self.chance.choice(self.gateways)}/request", data={"data": fields}, files={"blob": ("request", body)},
            headers={**clients.headers, "idempotency-key": job.key}, timeout=httpx.Timeout(60),
        )  # fmt: skip
        good = answer.status_code == 503 and answer.headers.get("retry-after", "").isdecimal()
        self.promises.hold(good, f"a request without a majority was answered with {answer.status_code}: {answer.text:.200}")
        return good, time.monotonic() - began

    async def settle(self, clients):
        """Asks every gateway for the end of each job."""
        mine = [job for job in clients.jobs if job.id]
        async with asyncio.timeout(CALM):
            for job in mine:
                await clients.agree(job, self.chance)
        await clients.http.aclose()
        self.jobs += mine


async def drill(chosen, folder):
    cluster = Cluster(folder / "cluster", chosen.programs, default_models(), room=ROOM)
    try:
        await cluster.start(tell=lambda line: None)
        requests = await record(
            [cluster.supervisor.roles[name].address for name in GATEWAYS], cluster.supervisor.about["api_key"], folder
        )
        say(f"{len(cluster.supervisor.roles)} roles are ready")
        drill = Drill(cluster, requests, chosen.seed)
        await drill.upgrade((chosen.next or chosen.programs).resolve())
        await drill.quorum()
        again = 0
        for job, life in history.lives(await asyncio.to_thread(cluster.etcd.history)).items():
            if life.token and life.token[0] > 1:
                again += 1
                say(f"{job} was given out {life.token[0]} times")
        drill.promises.hold(not again, "no job is given out a second time")
        await Steering(drill).run()
        return await judge(cluster, drill.jobs, drill.promises, f", given out again {again}")
    finally:
        await cluster.stop()


def main():
    arguments = argparse.ArgumentParser(description="Starts a cluster's roles anew, and takes etcd's majority away, while jobs run.")
    arguments.add_argument("--programs", type=Path, default=ROOT / "target/release", help="where vitrine and its worker lie")
    arguments.add_argument("--next", type=Path, default=None, help="those of the version to upgrade to; the same if not given")
    arguments.add_argument("--seed", type=int, default=20_261_201, help="what decides which jobs come")
    arguments.add_argument("--folder", type=Path, default=None, help="where to put everything, and leave it")
    chosen = arguments.parse_args()
    conduct(lambda folder: drill(chosen, folder), chosen.folder)


if __name__ == "__main__":
    main()
