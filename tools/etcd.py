"""As much of etcd as tools need: reading, and the history of all that was written, through its JSON gateway."""
import base64
import http.client
import json
import ssl
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One change of one key."""

    revision: int
    key: str
    # None where it was removed.
    value: bytes | None
    # How often it was written since it was made.
    version: int = 0


class Etcd:
    """A client of some members, of which one that answers is enough."""

    def __init__(self, ports, certificates, role="gateway"):
        self.ports = ports
        self.tls = ssl.create_default_context(cafile=certificates / "ca.pem")
        self.tls.load_cert_chain(certificates / f"{role}.pem", certificates / f"{role}.key")

    def healthy(self, port):
        """True if a member takes part in a majority: it answers a read that a majority must agree to."""
        try:
            self.ask(port, "/v3/kv/range", {"key": encode("/"), "limit": "1"})
        except (OSError, http.client.HTTPException, ValueError):
            return False
        return True

    def revision(self):
        """Returns the newest revision."""
        return int(self.anybody("/v3/kv/range", {"key": encode("/"), "limit": "1"})["header"]["revision"])

    def history(self):
        """Returns every change since the beginning, in order. Nothing may have been compacted."""
        last = self.revision()
        # A first write marks the end where the last revision is one of a key outside the prefix.
        request = {"create_request": {"key": encode("/"), "range_end": encode("0"), "start_revision": "1"}}
        events = []
        for port in self.ports:
            try:
                self.read_watch(port, request, last, events)
                return events
            except (OSError, http.client.HTTPException) as error:
                events.clear()
                failed = error
        raise OSError(f"no member of etcd tells its history: {failed}")

    def read_watch(self, port, request, last, events):
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=self.tls, timeout=30)
        try:
            connection.request("POST", "/v3/watch", json.dumps(request))
            answer = connection.getresponse()
            seen = 0
            while seen < last:
                result = json.loads(answer.readline())["result"]
                if int(result.get("compact_revision", 0)):
                    raise OSError("the beginning of etcd's history is gone: it was compacted")
                for event in result.get("events", []):
                    pair = event["kv"]
                    removed = event.get("type") == "DELETE"
                    seen = int(pair["mod_revision"])
                    value = None if removed else base64.b64decode(pair.get("value", ""))
                    events.append(Event(seen, decode(pair["key"]), value, int(pair.get("version", 0))))
        finally:
            connection.close()

    def anybody(self, path, body):
        failed = OSError("there are no members")
        for port in self.ports:
            try:
                return self.ask(port, path, body)
            except (OSError, http.client.HTTPException, ValueError) as error:
                failed = error
        raise OSError(f"no member of etcd answers: {failed}")

    def ask(self, port, path, body):
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=self.tls, timeout=5)
        try:
            connection.request("POST", path, json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(f"etcd answers {answer.status}: {text.decode(errors='replace')[:200]}")
        return json.loads(text)


def encode(text):
    return base64.b64encode(text.encode()).decode()


def decode(text):
    return base64.b64decode(text).decode(errors="replace")
