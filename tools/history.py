"""Reads a cluster's history out of etcd, and says where it is not what was promised.

    history.py     checks the checker: it finds what is wrong in histories that are made up
"""
from dataclasses import dataclass, field

from etcd import Event

ROOT = "/vitrine/v2/"
# As in `proto/vitrine/stored/records.proto`.
QUEUED, DISPATCHED, RUNNING, COMPLETED, FAILED, CANCELLED, EXPIRED = range(1, 8)
# What only a leader writes.
LED = (DISPATCHED, RUNNING, COMPLETED, FAILED)


@dataclass
class Life:
    """What was written of one job."""

    requests: int = 0
    outcomes: int = 0
    # Of the attempt that is under way: how often it was given out before, and by which leader.
    token: tuple | None = None
    ended_at: int = 0
    live: bool = False
    # Kind of fault and what it is.
    faults: list = field(default_factory=list)


def lives(events):
    """Returns the lives of all jobs, by id. Events come in the order of their revisions."""
    # `term` is the number that whoever leads has counted for what it gives out; None where nobody has.
    jobs, led, term = {}, False, None
    for event in events:
        if not event.key.startswith(ROOT):
            continue
        kind, _, rest = event.key[len(ROOT) :].partition("/")
        if kind == "election":
            if event.value is None or event.version == 1:
                led, term = event.value is not None, None
        elif kind == "scheduler" and rest == "epoch":
            term = int(event.value) if led else None
        elif kind == "jobs":
            job, _, part = rest.partition("/")
            life = jobs.setdefault(job, Life())
            if part == "request" and event.value is not None:
                life.requests += 1
            elif part == "outcome":
                outcome(life, event, led)
        elif kind == "live":
            live(jobs.setdefault(rest, Life()), event, led, term)
    for life in jobs.values():
        if life.live and life.outcomes:
            life.faults.append(("doubled", "it ended and lives on"))
    return jobs


def outcome(life, event, led):
    if event.value is None:
        life.faults.append(("lost", f"its outcome was removed at revision {event.revision}"))
        return
    life.outcomes += 1
    if life.outcomes > 1 or event.version > 1:
        life.faults.append(("doubled", f"it ended again at revision {event.revision}"))
    life.ended_at = event.revision
    state, token = progress(event.value, 2)
    if state in LED:
        if not led:
            life.faults.append(("stale", f"its outcome was written at revision {event.revision}, when nobody led"))
        if token != life.token:
            life.faults.append(("stale", f"attempt {token} ended it, when {life.token} was under way"))


def live(life, event, led, term):
    life.live = event.value is not None
    if event.value is None:
        return
    state, token = progress(event.value, 5)
    # The outcome and the removal are one revision, in any order.
    if life.outcomes and event.revision != life.ended_at:
        life.faults.append(("doubled", f"it was written at revision {event.revision}, after its end"))
    if state in LED and not led:
        life.faults.append(("stale", f"state {state} was written at revision {event.revision}, when nobody led"))
    if state == DISPATCHED:
        if token[1] != term:
            life.faults.append(("stale", f"attempt {token} was given out in term {term}"))
        if life.token and token[0] <= life.token[0]:
            life.faults.append(("stale", f"attempt {token} came after {life.token}"))
        life.token = token
    elif state == RUNNING and token != life.token:
        life.faults.append(("stale", f"attempt {token} began, when {life.token} was under way"))


def progress(value, number):
    """Returns a record's state, and its attempt and epoch, which are in the message of that number."""
    record = fields(value)
    inner = fields(record.get(number, b""))
    return record.get(1, 0), (inner.get(1, 0), inner.get(6, 0))


def fields(data):
    """Reads a message of protobuf: its fields by number, of which the last counts."""
    found, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            found[number], at = varint(data, at)
        elif kind == 2:
            length, at = varint(data, at)
            found[number], at = data[at : at + length], at + length
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            found[number], at = data[at : at + size], at + size
        else:
            raise ValueError(f"a record has a field of kind {kind}")
    return found


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


# What follows makes up histories, and looks at what the checker says of them.


def written(state, number, attempt, epoch):
    inner = bytes([8, attempt, 48, epoch])
    return bytes([8, state, number << 3 | 2, len(inner)]) + inner


def check_the_checker():
    election = ROOT + "election/scheduler"
    request, alive, end = ROOT + "jobs/a/request", ROOT + "live/a", ROOT + "jobs/a/outcome"

    def story(*changes):
        """Changes are (key, value) or None, each a revision of its own unless it is in a list with others."""
        events, versions = [], {}
        for revision, group in enumerate(changes, 1):
            for key, value in group if isinstance(group, list) else [group]:
                versions[key] = versions.get(key, 0) + 1
                events.append(Event(revision, key, value, versions[key]))
                if value is None:
                    versions[key] = 0
        return [kind for kind, _ in lives(events).get("a", Life()).faults]

    led, deposed = (election, b""), (election, None)
    accepted = [(request, b""), (alive, written(QUEUED, 5, 0, 0))]

    def term(number):
        return (ROOT + "scheduler/epoch", str(number).encode())

    def given(attempt, epoch):
        return (alive, written(DISPATCHED, 5, attempt, epoch))

    def runs(attempt, epoch):
        return (alive, written(RUNNING, 5, attempt, epoch))

    def ended(attempt, epoch, state=COMPLETED):
        return [(end, written(state, 2, attempt, epoch)), (alive, None)]

    first, second = [led, term(1)], [led, term(2)]
    # The leader gives the job out, and it ends; also when the next leader takes it over, or gives it out again.
    assert story(first, accepted, given(1, 1), runs(1, 1), ended(1, 1)) == []
    assert story(first, accepted, given(1, 1), deposed, second, runs(1, 1), ended(1, 1)) == []
    assert story(first, accepted, given(1, 1), deposed, second, given(2, 2), ended(2, 2)) == []
    assert story(first, accepted, ended(0, 0, CANCELLED)) == []
    # One end too many, or life after it.
    assert "doubled" in story(first, accepted, given(1, 1), ended(1, 1), ended(1, 1))
    assert "doubled" in story(first, accepted, given(1, 1), ended(1, 1), runs(1, 1))
    assert "lost" in story(first, accepted, given(1, 1), ended(1, 1), (end, None))
    # Somebody who no longer leads, or an attempt that is no longer the one.
    assert "stale" in story(first, accepted, deposed, given(1, 1))
    assert "stale" in story(first, accepted, deposed, second, given(1, 1))
    assert "stale" in story(first, accepted, deposed, led, given(1, 1))
    assert "stale" in story(first, accepted, given(1, 1), given(2, 1), ended(1, 1))
    assert "stale" in story(first, accepted, given(1, 1), deposed, second, given(2, 2), runs(1, 1))
    assert "stale" in story(first, accepted, given(1, 1), deposed, ended(1, 1))
    assert "stale" in story(first, accepted, given(2, 1), given(1, 1))
    print("the checker finds what is wrong, and nothing else")


if __name__ == "__main__":
    check_the_checker()
