"""Plays the researcher for the tests of this crate, with the client as it is on PyPI.

    client.py submit FOLDER   writes what the client posts: FOLDER/<case>.json, FOLDER/<case>.blob, and for
                              captured values what they are: FOLDER/<case>.expected
    client.py load FOLDER     loads FOLDER/*.result and FOLDER/*.frame as the client does and prints what they hold
"""

import collections
import dataclasses
import enum
import functools
import json
import math
import os
import pathlib
import struct
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["NNSIGHT_CONFIG"] = os.devnull

import numpy as np
import torch

MODE, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2])
KEY = 'nnsight.modeling.transformers.TransformersModel:{"repo_id": "test/tiny", "revision": null, "task": "text-generation"}'


# What a value is, in JSON. The test in Rust says the same of the values that it decoded.


def bits(number):
    return struct.pack(">d", number).hex()


def raw(tensor):
    return bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist()).hex()


def summary(value, seen):
    say = lambda value: summary(value, seen)
    many = lambda values: [say(value) for value in values]
    if isinstance(value, (list, dict)) and type(value) in (list, dict):
        if id(value) in seen:
            return {"again": seen[id(value)]}
        seen[id(value)] = len(seen)
    if value is None or type(value) in (bool, str):
        return value
    kind = type(value)
    if kind is int:
        return {"int": str(value)}
    if kind is float:
        return {"float": bits(value)}
    if kind is complex:
        return {"complex": [bits(value.real), bits(value.imag)]}
    if kind is bytes:
        return {"bytes": value.hex()}
    if kind in (list, tuple):
        return {kind.__name__: many(value)}
    if kind in (set, frozenset):
        return {kind.__name__: sorted(many(value), key=json.dumps)}
    if kind is dict:
        return {"dict": [[say(key), say(item)] for key, item in value.items()]}
    if kind is range:
        return {"range": [str(value.start), str(value.stop), str(value.step)]}
    if kind is slice:
        return {"slice": many([value.start, value.stop, value.step])}
    if value in (Ellipsis, NotImplemented) if kind in (type(Ellipsis), type(NotImplemented)) else False:
        return {"constant": repr(value)}
    if kind is torch.Size:
        return {"size": list(value)}
    if kind is torch.dtype:
        return {"dtype": str(value)}
    if kind is torch.device:
        return {"device": str(value)}
    if isinstance(value, torch.nn.Parameter):
        return {"parameter": [say(value.data), value.requires_grad]}
    if kind is torch.Tensor:
        return {"tensor": [str(value.dtype), list(value.shape), raw(value), value.requires_grad]}
    if kind is np.ndarray:
        native = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("="))
        return {"array": [value.dtype.newbyteorder("=").name, list(value.shape), native.tobytes().hex()]}
    if isinstance(value, np.generic):
        return {"scalar": [value.dtype.name, value.tobytes().hex()]}
    raise TypeError(kind)


# What is captured.

DTYPES = [
    "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 uint16 uint32 uint64 bool "
    "complex32 complex64 complex128 float8_e4m3fn float8_e5m2"
][0].split()


def of_dtype(name):
    size = torch.empty((), dtype=getattr(torch, name)).element_size()
    data = [1, 0] * (3 * size) if name == "bool" else [(7 * n + 1) % 100 for n in range(6 * size)]
    return torch.tensor(data[: 6 * size], dtype=torch.uint8).view(getattr(torch, name)).reshape(2, 3)


def plain_values():
    shared, loop = [1, 2], ["loop"]
    loop.append(loop)
    knot = {"list": []}
    knot["list"].append((knot, shared))
    return {
        "none": None, "truths": (True, False), "small": [0, 1, 255, 256, 65535, 65536, -1, -(2**31), 2**31],
        "large": [2**63 - 1, -(2**63), 2**63, 10**400, -(10**400)],
        "floats": [0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 5e-324],
        "complex": 1.5 - 2j, "text": ["", "Zürich 🐍", "x" * 300, "y" * 70000], "bytes": [b"", b"\x00\xff", bytes(300)],
        "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)), "sets": [set(), {1, "a"}, frozenset(), frozenset({2})],
        "nested": {"a": {"b": [{"c": (1, [2, {3}])}]}, 1: 2, (1, 2): 3, None: 4},
        "ranges": [range(3), range(0, -10, -2), range(10**30)], "slices": (slice(None), slice(1, None, 2)),
        "constants": [Ellipsis, NotImplemented], "shared": [shared, shared], "loop": loop, "knot": knot,
        "deep": functools.reduce(lambda inner, _: [inner], range(40), "bottom"),
        "size": torch.Size([2, 3]), "dtypes": [getattr(torch, name) for name in DTYPES],
        "devices": [torch.device("cpu"), torch.device("cuda", 1), torch.device("meta")],
    }


def tensor_values():
    base = torch.arange(24, dtype=torch.float32)
    return {
        "dtypes": [of_dtype(name) for name in DTYPES],
        "scalar": torch.tensor(2.5), "empty": torch.empty(0, 4), "one": torch.ones(1, 1, 1),
        "transposed": base.view(4, 6).T, "stepped": base[1::5], "inner": base.view(2, 3, 4)[:, 1:, ::2],
        "expanded": torch.arange(3).view(3, 1).expand(3, 5), "diagonal": base.view(4, 6).diagonal(),
        "permuted": base.view(2, 3, 4).permute(2, 0, 1), "grad": torch.ones(2, requires_grad=True),
        "parameter": torch.nn.Parameter(torch.full((2, 2), 0.25)),
        "frozen": torch.nn.Parameter(torch.zeros(1), requires_grad=False),
        "arrays": [
            np.arange(6, dtype=np.float32).reshape(2, 3), np.asfortranarray(np.arange(24).reshape(2, 3, 4)),
            np.arange(6, dtype=">i4").reshape(3, 2), np.array([True, False]), np.zeros((0, 2)), np.array(3.5),
            np.array([1 + 2j], dtype=">c16"), np.arange(4, dtype=np.uint16)[::2], np.float16([1.5]),
        ],
        "scalars": [np.float32(1.5), np.int64(-3), np.bool_(True), np.uint8(200), np.complex64(1j)],
    }


@dataclasses.dataclass
class Point:
    x: int
    y: float = 2.0
    tags: list = dataclasses.field(default_factory=list)

    def norm(self):
        return (self.x**2 + self.y**2) ** 0.5


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


Pair = collections.namedtuple("Pair", "left right")


class Failure(ValueError):
    pass


class Probe(torch.nn.Module):
    """Looks at hidden states."""

    scale = 3

    def __init__(self, width):
        super().__init__()
        self.linear = torch.nn.Linear(width, 2)
        self.register_buffer("mean", torch.zeros(width))
        self.act = torch.nn.Sequential(torch.nn.LayerNorm(2), torch.nn.GELU())

    def forward(self, x):
        return self.act(self.linear(x - self.mean)) * self.scale

    @staticmethod
    def helper(x, /, *, by=2):
        return x * by

    @classmethod
    def build(cls):
        return cls(4)

    @property
    def width(self):
        return self.linear.in_features


class Mine(dict):
    def total(self):
        return sum(self.values())


FACTOR = 4


def countdown(n, step=1, *rest, floor=0, **options):
    # Refers to itself, to a global and to a module.
    return floor if n <= floor else countdown(n - step) * FACTOR + math.floor(0.5)


def adder(amount):
    def add(x):
        return x + amount

    return add


def submit():
    import httpx
    from nnsight import LanguageModel
    from nnsight.intervention.backends.remote import RemoteBackend
    from nnsight.schema.config import CONFIG

    CONFIG.APP.REMOTE_LOGGING = False
    case = None

    def post(self, url, data, files, headers):
        (FOLDER / f"{case}.json").write_text(data["data"])
        (FOLDER / f"{case}.blob").write_bytes(files["blob"][1])
        answer = {"id": "job", "status": "RECEIVED"}
        return httpx.Response(200, json=answer, request=httpx.Request("POST", url))

    httpx.Client.post = post

    def remote(name, compress=True, **env):
        nonlocal case
        case = name
        backend = RemoteBackend(KEY, host="http://127.0.0.1:9", blocking=False, env=env)
        backend.compress = compress
        return backend

    def expect(**values):
        (FOLDER / f"{case}.expected").write_text(json.dumps({name: summary(value, {}) for name, value in values.items()}))

    folder = tiny_model()
    class Told(LanguageModel):
        def tell(self):
            return self.lm_head.output

    model = LanguageModel(folder)

    with model.trace("hello world", backend=remote("trace", attn_implementation="eager")):
        hidden = model.transformer.h[1].output.save()
        logits = model.lm_head.output.save()

    values = plain_values()
    with model.trace(["hello", "world"], backend=remote("values", compress=False)):
        seen = values.save()
    expect(values=values)

    tensors = tensor_values()
    with model.trace(torch.tensor([[1, 2, 3]]), backend=remote("tensors")):
        seen = tensors.save()
    expect(tensors=tensors)

    with model.generate("hello", max_new_tokens=3, do_sample=False, backend=remote("generate")) as tracer:
        ids = tracer.result.save()

    with model.pipe("hello", max_new_tokens=2, backend=remote("pipe")) as tracer:
        text = tracer.result.save()

    prompts = ["hello", "world"]
    with model.session(backend=remote("session")):
        for prompt in prompts:
            with model.trace(prompt):
                last = model.lm_head.output.save()

    block = model.transformer.h[0]
    head = model.lm_head
    states = torch.zeros(1, 2, 16)
    with block.trace(states, use_cache=False, backend=remote("submodule")):
        inner = block.mlp.output.save()
        outer = head

    encoding = model.tokenizer(["hello world", "hello"], return_tensors="pt", padding=True)
    with model.trace(encoding, output_hidden_states=True, backend=remote("encoding")):
        hidden = encoding.save()

    scale = torch.full((16,), 0.5)
    with model.edit() as (tracer, edited):
        edited.transformer.h[0].output[:] = edited.transformer.h[0].output * scale
    with edited.trace("hello", backend=remote("edit")):
        hidden = edited.lm_head.output.save()

    renamed = LanguageModel(folder, rename={"transformer.h": "layers", "mlp": "feed", "lm_head": "unembed"})
    with renamed.trace("hello", backend=remote("rename")):
        hidden = renamed.layers[0].feed.output.save()
        logits = renamed.unembed.output.save()

    told = Told(folder)
    told.chosen, told.transformer.h[1].weighting, told.first = [1, 2], 0.5, told.transformer.h[0]
    with told.trace("hello", backend=remote("own")):
        hidden = told.tell().save()

    add = adder(torch.tensor(2.0))
    double = lambda x, y=2: x * y
    with model.trace("hello", backend=remote("functions")):
        hidden = add(double(model.lm_head.output)) + countdown(3)

    torch.manual_seed(0)
    probe, point, colour, pair = Probe(16), Point(1), Colour.BLUE, Pair(1, "b")
    failure, mine, kind = Failure("no", 3), Mine(a=1), Point
    mine.extra = [1]
    forward = probe.forward
    with model.trace("hello", backend=remote("classes")):
        hidden = probe(model.lm_head.output), point, colour, pair, failure, mine, kind, forward

    ordered = collections.OrderedDict(b=1, a=2)
    counter, default = collections.Counter("aab"), collections.defaultdict(list, {"k": [1]})
    queue, part = collections.deque([1, 2], maxlen=5), functools.partial(sorted, [2], reverse=True)
    relu, gelu, mean, root, norm = torch.relu, torch.nn.functional.gelu, np.mean, math.sqrt, torch.linalg.norm
    method, softmax = torch.Tensor.sum, torch.nn.functional.softmax
    path, generator = pathlib.PosixPath("a/b"), torch.Generator()
    words, functional, module = np.array(["a", "bc"]), torch.nn.functional, block._module
    tokenizer, upper, einsum = model.tokenizer, "text".upper, torch.einsum
    types, linear = [int, list, torch.Tensor, type(None)], torch.nn.Linear
    with model.trace("hello", backend=remote("library")):
        everything = (
            ordered, counter, default, queue, part, relu, gelu, mean, root, norm, method, softmax, path, generator,
            words, functional, module, tokenizer, upper, einsum, types, linear, math, model, np, torch,
        )


def tiny_model():
    """Makes a GPT-2 of two layers and a tokenizer of a few words, from seeds alone."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    folder = str(FOLDER / "model")
    torch.manual_seed(0)
    config = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=32, vocab_size=8, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    words = {word: index for index, word in enumerate(["<end>", "<unk>", "hello", "world", "a", "b", "c", "d"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>", pad_token="<end>")
    fast.save_pretrained(folder)
    return folder


def load():
    from nnsight.intervention.backends.remote import RemoteBackend
    from nnsight.schema.response import ResponseModel

    backend = RemoteBackend(KEY, host="http://127.0.0.1:9")
    found = {}
    for path in sorted(FOLDER.glob("*.result")):
        backend.compress = path.stem.startswith("compressed")
        result = backend.finalize(path.read_bytes())
        found[path.stem] = {name: described(value) for name, value in result.items()}
    for path in sorted(FOLDER.glob("*.frame")):
        response = backend.parse(path.read_bytes())
        assert isinstance(response, ResponseModel)
        data = response.data.hex() if isinstance(response.data, bytes) else response.data
        found[path.stem] = [response.id, response.status.value, response.description, data, response.meta]
    print(json.dumps(found))


def described(value):
    """Says what a loaded value is; what is no plain value, in Python's own words."""
    try:
        return summary(value, {})
    except TypeError:
        return special(value)


def special(value):
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name == "transformers.modeling_outputs.CausalLMOutputWithPast":
        cache = value.past_key_values
        assert value["logits"] is value.logits and list(value) == ["logits", "past_key_values"]
        return [name, summary(value.logits, {}), type(cache).__name__, cache.get_seq_length(), len(value.to_tuple())]
    if name == "nnsight.intervention.cache.CacheView":
        return [name, value.keys(), summary(value["model.lm_head"].output, {})]
    if kind is list:
        return [described(item) for item in value]
    return [name, repr(value)]


if __name__ == "__main__":
    {"submit": submit, "load": load}[MODE]()
