"""What administrators and operators do to a cluster that runs, by the command line, and what its users notice of that: a key
that is revoked, a quota that a hundred ask for at once, models of which not all have room, and a worker that dies while it loads
one. `tools/drills.py` does it last."""
import asyncio
import json
import secrets
import signal
import time

import chaos_jobs
from chaos import CALM, WORKERS, Clients, Job, say
from cluster import ROOT, run
from supervisor import send

# Room for two of the models: each takes 16 MiB beside its weights, of less than 2 MiB.
ROOM = "40M"
# How long a key may count that was revoked, in seconds, and how many ask at once for the last of a quota.
DEAD, RACE = 5, 100
FOLDER = ROOT / ".models/float32/tiny-gpt2"
# The same files under other names: models that give the same answers.
BUSY, IDLE, LATE = "ndif-test/tiny-gpt2", "org/idle", "org/late"


class Steering:
    def __init__(self, drill):
        self.drill, self.cluster, self.supervisor = drill, drill.cluster, drill.supervisor
        self.hold, self.gateways = drill.promises.hold, drill.gateways
        self.marks = iter(range(chaos_jobs.MARK + 2001, chaos_jobs.MARK + 3000))

    async def vitrine(self, *words, gateway=0):
        """Runs a command as an administrator. Returns what it printed."""
        server = ["--host", self.gateways[gateway], "--key", self.supervisor.about["admin_key"], "--json"]
        return json.loads(await asyncio.to_thread(run, self.cluster.programs / "vitrine", *words, *server) or "null")

    async def run(self):
        self.http = self.drill.clients().http
        try:
            await self.vitrine("tenant", "create", "lab-b")
            await self.keys()
            await self.quota()
            await self.models()
            await self.loading()
        finally:
            await self.http.aclose()

    async def status(self, gateway, key):
        return (await self.http.get(f"{gateway}/v1/whoami", headers={"ndif-api-key": key})).status_code

    async def keys(self):
        made = await self.vitrine("key", "create", "--tenant", "lab-b")
        for gateway in self.gateways:
            self.hold(await self.status(gateway, made["key"]) == 200, f"a key that was just made counts at {gateway}")
        gone = await self.http.delete(
            f"{self.gateways[0]}/v1/keys/{made['id']}", headers={"ndif-api-key": self.supervisor.about["admin_key"]}
        )
        revoked = time.monotonic()
        self.hold(gone.status_code == 204, f"a key is revoked: {gone.status_code}")
        latest = max(await asyncio.gather(*(self.counts(gateway, made["key"]) for gateway in self.gateways)))
        say(f"a revoked key was last taken {max(0, latest - revoked):.1f} s later")
        self.hold(latest - revoked <= DEAD, f"a revoked key is dead everywhere within {DEAD} s")

    async def counts(self, gateway, key):
        """Asks until a key is refused. Returns when the last request was sent for which it counted."""
        latest = 0
        async with asyncio.timeout(CALM):
            while True:
                sent = time.monotonic()
                if await self.status(gateway, key) == 401:
                    return latest
                latest = sent

    async def quota(self):
        """A hundred submissions at once, at both gateways, where a quota has room for one."""
        key = (await self.vitrine("key", "create", "--tenant", "lab-b"))["key"]
        await self.vitrine("quota", "set", "lab-b", "--queued-jobs", "1")
        headers = {"ndif-api-key": key}
        for gateway in self.gateways:
            await self.supervisor.until("the quota", lambda: self.bounded(gateway, headers), CALM)
        clients = Clients(self.gateways, key, self.drill.requests, self.drill.promises, self.drill.chance)
        tries = [Job("endless", key=secrets.token_hex(12), to_cancel=True) for _ in range(RACE)]
        answers = await asyncio.gather(*(self.once(clients, number, job) for number, job in enumerate(tries)))
        accepted = [job for job in tries if job.id]
        late = [answer for answer in answers if answer.status_code == 429 and answer.headers.get("retry-after", "").isdecimal()]
        say(f"of {RACE} submissions at once, {len(accepted)} were accepted and {len(late)} told when to come again")
        self.hold((len(accepted), len(late)) == (1, RACE - 1), "a quota has room for one of a hundred")
        for job in accepted:
            await self.vitrine("job", "cancel", job.id)
            await self.ends(clients, job, 0)
        await clients.http.aclose()
        await self.vitrine("quota", "set", "lab-b", "--queued-jobs", "none")

    async def bounded(self, gateway, headers):
        told = (await self.http.get(f"{gateway}/v1/whoami", headers=headers)).json()
        return told["quota"]["queued_jobs"] == 1

    async def once(self, clients, number, job):
        request = self.drill.requests[job.program, "gpt2", 0]
        fields = json.dumps({"model_key": request["model_key"], "session_id": "", "compress": False, "env": {}})
        answer = await clients.http.post(
            f"{self.gateways[number % len(self.gateways)]}/request", data={"data": fields},
            files={"blob": ("request", request["bytes"])}, headers={**clients.headers, "idempotency-key": job.key}, timeout=CALM,
        )  # fmt: skip
        if answer.status_code == 200:
            job.id, job.accepted_at = answer.json()["id"], time.monotonic()
        return answer

    async def models(self):
        """Three models where two have room: jobs for all complete, and who nobody asks for leaves."""
        await self.vitrine("model", "evict", "ndif-test/tiny-llama")
        await self.deployed(IDLE, len(WORKERS), "--replicas", str(len(WORKERS)))
        await self.job(BUSY)
        # It may leave from now on, and nobody has asked for it.
        await self.vitrine("model", "deploy", IDLE, "--replicas", "0", "--max-replicas", str(len(WORKERS)))
        await self.vitrine("model", "deploy", f"{LATE}={FOLDER},dtype=float32", "--replicas", "0", "--max-replicas", "1")
        await self.job(LATE)
        ready = [(await self.model(name))["replicas"]["ready"] for name in (BUSY, IDLE, LATE)]
        say(f"where two of three models have room, there are {ready} replicas of the busy, the idle and the late one")
        self.hold(ready == [len(WORKERS), len(WORKERS) - 1, 1], "who nobody asks for leaves, and once")
        await self.job(IDLE)
        await self.deployed(LATE, 2, "--replicas", "2", gateway=1)
        file = self.cluster.keep("models.toml", f"[[model]]\nname = {json.dumps(LATE)}\nreplicas = {{ min = 1, max = 1 }}\n")
        planned = await self.vitrine("apply", file, "--dry-run")
        applied = await self.vitrine("apply", file)
        self.hold(planned["changes"] == applied["changes"] and len(applied["changes"]) == 1, f"a file is applied: {applied}")
        await self.has(LATE, 1)
        self.hold(not (await self.vitrine("apply", file))["changes"], "what is as a file says is left alone")
        for name in (IDLE, LATE):
            await self.vitrine("model", "evict", name)
        await self.supervisor.until("an empty place on each worker", self.roomy, CALM)

    async def loading(self):
        """A worker dies while it loads a model: its job waits a little longer."""
        workers = [self.supervisor.roles[name] for name in WORKERS]
        for role in workers:
            send(role, signal.SIGSTOP)
        try:
            await self.vitrine("model", "deploy", f"{LATE}={FOLDER},dtype=float32", "--replicas", "1")
            waiting = asyncio.create_task(self.job(LATE))
            async with asyncio.timeout(CALM):
                while not (loads := await self.where(LATE, "loading")):
                    await asyncio.sleep(0.1)
            victim = self.supervisor.roles[loads[0]]
            starts = victim.starts
            send(victim, signal.SIGKILL)
        finally:
            for role in workers:
                send(role, signal.SIGCONT)
        await waiting
        say(f"{victim.name} died while it loaded a model, and the job that waited for that has ended")
        await self.supervisor.until(victim.name, lambda: self.drill.started(victim, starts), CALM)
        await self.vitrine("model", "evict", LATE)
        llama = ROOT / ".models/float32/tiny-llama"
        await self.vitrine("model", "deploy", f"ndif-test/tiny-llama={llama},dtype=float32")

    async def deployed(self, name, ready, *how, gateway=0):
        there = await self.vitrine("model", "list")
        folder = "" if any(model["name"] == name for model in there["models"]) else f"={FOLDER},dtype=float32"
        await self.vitrine("model", "deploy", name + folder, *how, gateway=gateway)
        await self.has(name, ready)

    async def has(self, name, ready):
        async def so():
            return (await self.model(name))["replicas"]["ready"] == ready

        await self.supervisor.until(f"{ready} replicas of {name}", so, CALM)

    async def hosted(self, name, gateway):
        return any(model["name"] == name for model in (await self.vitrine("model", "list", gateway=gateway))["models"])

    async def model(self, name):
        return await self.vitrine("model", "show", name)

    async def where(self, name, stage):
        """Returns the workers that have a model in some stage."""
        nodes = (await self.drill.node("list"))["nodes"]
        has = lambda node: any(one["model"] == name and one["stage"] == stage for one in node["models"])
        return [node["name"] for node in nodes if has(node)]

    async def roomy(self):
        nodes = (await self.drill.node("list"))["nodes"]
        return all(len(node["models"]) == 1 for node in nodes)

    async def job(self, model):
        """Runs a job on a model, which must end with the right answer."""
        for gateway in range(len(self.gateways)):
            await self.supervisor.until(f"{model} at each gateway", lambda: self.hosted(model, gateway), CALM)
        clients, job, mark = self.drill.clients(), Job("read", key=secrets.token_hex(12)), next(self.marks)
        request = self.drill.requests[job.program, "gpt2", 0]
        body = request["bytes"].replace(str(chaos_jobs.MARK).encode(), str(mark).encode())
        await clients.submit(job, request["model_key"].replace(BUSY, model), body, self.drill.chance)
        await self.ends(clients, job, mark)
        await clients.http.aclose()

    async def ends(self, clients, job, mark):
        async with asyncio.timeout(CALM):
            await clients.wait(job, self.drill.chance)
            await clients.agree(job, self.drill.chance)
        answer = self.drill.requests[job.program, "gpt2", 0]["answer"]
        job.wrong = await asyncio.to_thread(clients.verdict, job, answer, mark)
        self.drill.jobs.append(job)
