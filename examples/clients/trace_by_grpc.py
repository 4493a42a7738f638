"""Runs a trace by Vitrine's gRPC: nnsight writes the program, and grpcio sends it.

    pip install nnsight grpcio grpcio-reflection safetensors
    export VITRINE_GRPC=127.0.0.1:8001 VITRINE_API_KEY=... HF_ENDPOINT=http://127.0.0.1:8000
    python examples/clients/trace_by_grpc.py MODEL

What it knows of the API it asks the server for, by reflection, so that nothing is generated beforehand. HF_ENDPOINT is where
the client finds the model's configuration; the server's other port has it.
"""
import json
import os
import sys
import uuid

import grpc
import safetensors.torch
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from nnsight import LanguageModel
from nnsight.schema.request import RequestModel
from nnsight.tracing.backend import Backend

ENDS = {"JOB_STATE_COMPLETED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"}


class Jobs:
    """`vitrine.v1.Jobs` as the server describes it: a method for each of its own, and `new` for messages."""

    def __init__(self, address, key, authority=None):
        """`authority` is a file with the certificate that the server's is made by; without it, nothing is encrypted."""
        if authority:
            with open(authority, "rb") as file:
                channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(file.read()))
        else:
            channel = grpc.insecure_channel(address)
        self.pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        metadata = [("authorization", f"Bearer {key}")]
        for method in self.pool.FindServiceByName("vitrine.v1.Jobs").methods:
            kinds = "stream" if method.client_streaming else "unary", "stream" if method.server_streaming else "unary"
            call = getattr(channel, "_".join(kinds))(
                f"/vitrine.v1.Jobs/{method.name}",
                request_serializer=GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            setattr(self, method.name, lambda request, call=call: call(request, metadata=metadata))

    def new(self, name, **fields):
        return GetMessageClass(self.pool.FindMessageTypeByName(f"vitrine.v1.{name}"))(**fields)

    def submit(self, model, payload, compressed):
        """Returns the id of a job, which is one however often this is tried."""
        head = dict(model=model, compressed=compressed, payload_bytes=len(payload), idempotency_key=uuid.uuid4().hex)
        messages = [self.new("SubmitRequest", head=head)]
        # A message has at most 4 MiB.
        messages += [self.new("SubmitRequest", payload=payload[at : at + (1 << 20)]) for at in range(0, len(payload), 1 << 20)]
        return self.Submit(iter(messages)).job_id

    def follow(self, job):
        """Yields what a job prints, and returns it when it has ended. Where the stream breaks off, it goes on behind the last
        event, at this gateway or another."""
        after = ""
        while True:
            try:
                for event in self.FollowJob(self.new("FollowJobRequest", job_id=job, after=after)):
                    after = event.id or after
                    if event.WhichOneof("event") == "printed":
                        yield event.printed.text
                    elif state(event.state) in ENDS:
                        return event.state
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise

    def fetch(self, job, format):
        pieces = self.FetchResult(self.new("FetchResultRequest", job_id=job, format=format))
        return b"".join(piece.piece for piece in pieces)


def state(job):
    """Returns the name of a job's state."""
    return job.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number[job.state].name


class Record(Backend):
    """Takes the program that nnsight would send."""

    def __call__(self, tracer):
        self.payload = RequestModel.serialize(tracer, True)


def program(model):
    """Returns the request of a trace, as the client writes it."""
    record = Record()
    with model.trace("The Eiffel Tower is in the city of", backend=record):
        print("running")
        logits = model.lm_head.output[0, -1].save()
        best = logits.topk(3)
        found = {"tokens": best.indices, "best": best.values.max().item()}.save()
    return record.payload


def main(name):
    model = LanguageModel(name)
    jobs = Jobs(os.environ["VITRINE_GRPC"], os.environ["VITRINE_API_KEY"], os.environ.get("VITRINE_CA"))
    job = jobs.submit(model.to_model_key(), program(model), compressed=True)
    print("submitted", job)
    following = jobs.follow(job)
    while True:
        try:
            print("it printed:", next(following))
        except StopIteration as end:
            ended = end.value
            break
    if state(ended) != "JOB_STATE_COMPLETED":
        sys.exit(f"the job ended as {state(ended)}: {ended.failure.text}")

    result = jobs.fetch(job, "RESULT_FORMAT_SAFETENSORS")
    tensors = safetensors.torch.load(result)
    # What is no tensor is in the metadata, as JSON.
    header = json.loads(result[8 : 8 + int.from_bytes(result[:8], "little")])
    values = json.loads(header["__metadata__"]["values"])
    print("values", json.dumps(values))
    logits, tokens = tensors["logits"], tensors["found.tokens"]
    assert logits.topk(3).indices.tolist() == tokens.tolist()
    assert abs(logits.max().item() - values["found"]["best"]) < 1e-6
    print("next come", [model.tokenizer.decode(token) for token in tokens])
    return tensors


if __name__ == "__main__":
    main(*sys.argv[1:])
