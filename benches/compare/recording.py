"""Requests as the unmodified nnsight client would send them, recorded without a server."""
import dataclasses
import functools
import json

from nnsight import TransformersModel
from nnsight.schema.request import RequestModel
from nnsight.tracing.backend import Backend


@dataclasses.dataclass(frozen=True)
class Request:
    """One request: `payload` is what the client would have posted, compressed as it compresses."""

    repo_id: str
    attention: str
    payload: bytes

    @property
    def fields(self):
        """The form's field `data`, all but the websocket's session."""
        model = {"repo_id": self.repo_id, "revision": None, "task": "text-generation"}
        return {
            "model_key": f"nnsight.modeling.transformers.TransformersModel:{json.dumps(model)}",
            "session_id": "", "compress": True, "env": {"attn_implementation": self.attention},
        }  # fmt: skip


class Recorder(Backend):
    """Takes the place of the backend that posts a request, and ends the block's function there."""

    def __call__(self, tracer):
        raise Recorded(RequestModel.serialize(tracer, True))


class Recorded(Exception):
    def __init__(self, payload):
        self.payload = payload


@functools.cache
def model(shape):
    """Returns the model a remote user holds: modules without weights."""
    return TransformersModel(str(shape.folder), task="text-generation")


def record(shape, block, *arguments, **more):
    """Records what `block(model, *arguments, backend=…)` would send."""
    return Request(shape.repo_id, "sdpa", payload(block, model(shape), *arguments, **more))


def payload(block, *arguments, **more):
    """Returns the payload that `block(*arguments, backend=…)` would post."""
    try:
        block(*arguments, **more, backend=Recorder())
    except Recorded as recorded:
        return recorded.payload
    raise ValueError(f"{block.__name__} sends nothing")
