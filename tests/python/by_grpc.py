"""Runs the example of gRPC in Python and compares what it fetched with what transformers computes; writes a request for the
example in Rust into the file named by PAYLOAD."""
import os
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "clients"))
import trace_by_grpc as example  # noqa: E402
from nnsight.schema.request import RequestModel  # noqa: E402

NAME = "ndif-test/tiny-gpt2"
TEXT = "The Eiffel Tower is in the city of"

logits = example.main(NAME)["logits"]
folder = os.environ["TINY_GPT2"]
tokens = AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="pt")
with torch.no_grad():
    expected = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(**tokens).logits[0, -1]
torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
print("equal", flush=True)

serialize = RequestModel.serialize
RequestModel.serialize = lambda tracer, compress: serialize(tracer, False)
Path(os.environ["PAYLOAD"]).write_bytes(example.program(example.LanguageModel(NAME)))
