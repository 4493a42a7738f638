#!/usr/bin/env python3
"""Measures what a small job costs each role of the cluster that runs in `.cluster`, on an otherwise idle machine.

    make cluster DETACH=1 && .venv/bin/python tools/costs.py [--jobs N] [--clients N]

A job is a trace that reads one layer of the small GPT-2, sent and polled over HTTP. For each kind of role it prints the
processor's time for a job, of all its processes together, and their memory; for etcd also how many writes a job comes
to, and of how many bytes. Each line is JSON.
"""
import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import httpx
import zstandard

import chaos_jobs
from chaos import record
from cluster import FOLDER
from etcd import Etcd

TICKS = os.sysconf("SC_CLK_TCK")


class Costs:
    """What processes have used so far, by kind of role."""

    def __init__(self, roles):
        self.cpu, self.memory, self.starts = {}, {}, {role["name"]: role["starts"] for role in roles}
        for role in roles:
            used = Path(f"/proc/{role['pid']}/stat").read_text().rsplit(")", 1)[1].split()
            kind = role["role"]
            self.cpu[kind] = self.cpu.get(kind, 0) + (int(used[11]) + int(used[12])) / TICKS
            self.memory[kind] = self.memory.get(kind, 0) + int(used[21]) * os.sysconf("SC_PAGE_SIZE")


async def job(http, gateways, headers, request, number, accepted, whole):
    """Sends one job and waits for its end."""
    # Compressed, as the client does where nobody says otherwise.
    fields = json.dumps({"model_key": request["model_key"], "session_id": "", "compress": True, "env": {}})
    mark = str(chaos_jobs.MARK + number).encode()
    body = zstandard.compress(request["bytes"].replace(str(chaos_jobs.MARK).encode(), mark))
    gateway, began = random.choice(gateways), time.monotonic()
    form = {"data": {"data": fields}, "files": {"blob": ("request", body)}}
    answer = await http.post(f"{gateway}/request", headers=headers, **form)
    answer.raise_for_status()
    accepted.append(time.monotonic() - began)
    status = None
    while status not in ("COMPLETED", "ERROR"):
        await asyncio.sleep(0.05)
        told = await http.get(f"{gateway}/response/{answer.json()['id']}", headers=headers)
        status = told.raise_for_status().json()["status"]
    if status == "ERROR":
        sys.exit(f"costs: a job failed: {told.json()['description']}")
    whole.append(time.monotonic() - began)


async def send(about, request, jobs, clients):
    gateways = [role["address"] for role in about["roles"] if role["role"] == "gateway"]
    numbers, accepted, whole = iter(range(jobs)), [], []

    async def client():
        for number in numbers:
            await job(http, gateways, {"ndif-api-key": about["api_key"]}, request, number, accepted, whole)

    async with httpx.AsyncClient(timeout=60) as http:
        began = time.monotonic()
        await asyncio.gather(*(client() for _ in range(clients)))
    return time.monotonic() - began, sorted(accepted), sorted(whole)


async def main():
    arguments = argparse.ArgumentParser(description="Measures what a small job costs each role of a running cluster.")
    arguments.add_argument("--folder", type=Path, default=FOLDER, help="the cluster's")
    arguments.add_argument("--jobs", type=int, default=1000)
    arguments.add_argument("--clients", type=int, default=16)
    chosen = arguments.parse_args()
    about = json.loads((chosen.folder / "cluster.json").read_text())
    gateways = [role["address"] for role in about["roles"] if role["role"] == "gateway"]
    etcd = Etcd(
        [int(role["address"].rsplit(":", 1)[1]) for role in about["roles"] if role["role"] == "etcd"],
        chosen.folder / "certificates",
    )
    with tempfile.TemporaryDirectory() as folder:
        request = (await record(gateways, about["api_key"], Path(folder)))["read", "gpt2", 0]
    await send(about, request, 50, chosen.clients)
    before, revision = Costs(about["roles"]), etcd.revision()
    seconds, accepted, whole = await send(about, request, chosen.jobs, chosen.clients)
    about = json.loads((chosen.folder / "cluster.json").read_text())
    after, writes = Costs(about["roles"]), etcd.revision() - revision
    if before.starts != after.starts:
        sys.exit("costs: a role was started again meanwhile; its costs are not known")
    sizes = [len(event.value or b"") + len(event.key) for event in etcd.history() if event.revision > revision]
    at = lambda times, share: round(times[int(share * (len(times) - 1))] * 1000, 1)  # noqa: E731
    print(json.dumps({
        "jobs": chosen.jobs, "clients": chosen.clients, "jobs_per_second": round(chosen.jobs / seconds, 1),
        "accepted_ms": {"median": at(accepted, 0.5), "p99": at(accepted, 0.99)},
        "ended_ms": {"median": at(whole, 0.5), "p99": at(whole, 0.99)}, "request_bytes": len(zstandard.compress(request["bytes"])),
    }))  # fmt: skip
    for kind in after.cpu:
        cost = (after.cpu[kind] - before.cpu[kind]) / chosen.jobs * 1000
        print(json.dumps({"role": kind, "cpu_ms_per_job": round(cost, 2), "memory_mb": round(after.memory[kind] / 1e6)}))
    print(json.dumps({
        "etcd_revisions_per_job": round(writes / chosen.jobs, 2), "etcd_changes_per_job": round(len(sizes) / chosen.jobs, 2),
        "etcd_bytes_per_job": round(sum(sizes) / chosen.jobs),
    }))  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
