#!/usr/bin/env python3
"""Measures how long the cluster that runs in `.cluster` takes to go on without its leader, and without a member of etcd.

    make cluster DETACH=1 && .venv/bin/python tools/failover.py [--rounds N]

In each round the scheduler that leads is killed while a job runs; the time until a job that came right after has ended is
told, and whether the one that ran was left alone. Then a member of etcd is killed, and the slowest acceptance is told.
"""
import argparse
import asyncio
import base64
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import httpx

import chaos_jobs
from chaos import record
from cluster import FOLDER
from etcd import Etcd, encode
from history import ROOT, lives

# Time for a role that died to be there again, and to settle.
SETTLE = 8
# How long acceptances are watched after a member's death.
WATCHED = 6


class Site:
    """The cluster as a client and its operator see it."""

    def __init__(self, folder):
        self.folder = folder
        about = self.about()
        self.gateways = [role["address"] for role in about["roles"] if role["role"] == "gateway"]
        self.headers = {"ndif-api-key": about["api_key"]}
        ports = [int(role["address"].rsplit(":", 1)[1]) for role in about["roles"] if role["role"] == "etcd"]
        self.etcd = Etcd(ports, folder / "certificates")
        self.http = httpx.AsyncClient(timeout=60)
        self.sent = 0

    def about(self):
        return json.loads((self.folder / "cluster.json").read_text())

    def kill(self, name):
        os.kill(next(role["pid"] for role in self.about()["roles"] if role["name"] == name), signal.SIGKILL)

    def leader(self):
        """Returns the name of the scheduler that leads."""
        found = self.etcd.anybody("/v3/kv/range", {"key": encode(f"{ROOT}election/scheduler")}).get("kvs")
        value = base64.b64decode(found[0]["value"]) if found else b""
        addresses = {role["address"]: role["name"] for role in self.about()["roles"] if role["role"] == "scheduler"}
        leading = [name for address, name in addresses.items() if address.encode() in value]
        return leading[0] if leading else sys.exit("failover: nobody leads")

    async def submit(self, request):
        self.sent += 1
        fields = json.dumps({"model_key": request["model_key"], "session_id": "", "compress": False, "env": {}})
        body = request["bytes"].replace(str(chaos_jobs.MARK).encode(), str(chaos_jobs.MARK + self.sent).encode())
        answer = await self.http.post(
            f"{self.gateways[self.sent % len(self.gateways)]}/request", headers=self.headers, data={"data": fields},
            files={"blob": ("request", body)},
        )  # fmt: skip
        return answer.raise_for_status().json()["id"]

    async def end(self, job):
        while True:
            answer = await self.http.get(f"{self.gateways[0]}/response/{job}", headers=self.headers)
            told = answer.raise_for_status().json()
            if told["status"] in ("COMPLETED", "ERROR"):
                return told
            await asyncio.sleep(0.05)

    async def cancel(self, job):
        (await self.http.delete(f"{self.gateways[0]}/request/{job}", headers=self.headers)).raise_for_status()
        await self.end(job)


async def without_the_leader(site, requests):
    runs = await site.submit(requests["endless", "gpt2", 0])
    # It has begun when another has ended that came later.
    await site.end(await site.submit(requests["read", "gpt2", 0]))
    leader = await asyncio.to_thread(site.leader)
    site.kill(leader)
    began = time.monotonic()
    ended = await site.end(await site.submit(requests["read", "gpt2", 0]))
    seconds = time.monotonic() - began
    await site.cancel(runs)
    life = lives(await asyncio.to_thread(site.etcd.history))[runs]
    print(json.dumps({
        "killed": leader, "next_job_ended_after_s": round(seconds, 2), "status": ended["status"],
        "running_job_given_out": f"{life.token[0]} times",
    }), flush=True)  # fmt: skip


async def without_a_member(site, requests, name):
    site.kill(name)
    began, slowest, jobs = time.monotonic(), 0.0, []
    while time.monotonic() - began < WATCHED:
        sent = time.monotonic()
        jobs.append(await site.submit(requests["read", "gpt2", 0]))
        slowest = max(slowest, time.monotonic() - sent)
    ends = [(await site.end(job))["status"] for job in jobs]
    print(json.dumps({
        "killed": name, "accepted": len(jobs), "completed": ends.count("COMPLETED"), "slowest_acceptance_s": round(slowest, 2),
    }), flush=True)  # fmt: skip


async def main():
    arguments = argparse.ArgumentParser(description="Measures how long a cluster takes to go on without a part.")
    arguments.add_argument("--folder", type=Path, default=FOLDER, help="the cluster's")
    arguments.add_argument("--rounds", type=int, default=3)
    chosen = arguments.parse_args()
    site = Site(chosen.folder.resolve())
    with tempfile.TemporaryDirectory() as folder:
        requests = await record(site.gateways, site.about()["api_key"], Path(folder))
    for place in range(chosen.rounds):
        await without_the_leader(site, requests)
        await asyncio.sleep(SETTLE)
        await without_a_member(site, requests, f"etcd-{place % len(site.etcd.ports) + 1}")
        await asyncio.sleep(SETTLE)


if __name__ == "__main__":
    asyncio.run(main())
