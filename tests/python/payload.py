"""Writes the payload of one request, as the client would send it uncompressed, to the file named by PAYLOAD."""
import os

from nnsight import LanguageModel
from nnsight.schema.request import RequestModel
from nnsight.tracing.backend import Backend


class Record(Backend):
    def __call__(self, tracer):
        with open(os.environ["PAYLOAD"], "wb") as file:
            file.write(RequestModel.serialize(tracer, False))


model = LanguageModel("ndif-test/tiny-gpt2")
with model.trace("one two", backend=Record()):
    hidden = model.transformer.h[1].output.save()
