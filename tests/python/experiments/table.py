"""Several hundred small programs, made from a table: what each expression gives inside a block, locally and remotely.

Each line of a list is one program; the model changes from line to line. The programs are written to a file and
imported, for the client sends source text.
"""
import importlib.util
import tempfile
from pathlib import Path

import experiments

HEAD = '''\
import collections
from collections import Counter, OrderedDict, defaultdict, deque

import nnsight
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from experiments import FRANCE, ITALY, LONG, attention, embeddings, experiment, layers, norm

GRID, ROW = torch.arange(12.0).view(3, 4), torch.arange(4)
TURNED, STEPS, WIDE = GRID.T, GRID[:, ::2], torch.arange(3.0).expand(2, 3)
BASE = torch.zeros(2, 3)
VIEW, PART = BASE.view(3, 2), BASE[0]
WEIGHT = nn.Parameter(torch.linspace(-1, 1, 64))
FROZEN = nn.Parameter(torch.ones(64), requires_grad=False)
LEAF = torch.ones(64, requires_grad=True)
torch.manual_seed(0)
PROBE, STACK = nn.Linear(64, 3), nn.Sequential(nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 2))
'''

# What a block sees of the model and of what was sent, as one expression over:
#   h: a layer's output, x: the last position of it, y: logits of the last position, t: the tokenizer.
VALUES = """
[np.percentile(h.detach().numpy(), [25, 75]), np.percentile(h.detach().numpy(), 30, axis=0), np.quantile(h.detach().numpy(), [0.1], method="lower")]
[np.corrcoef(h[0, :3].detach().numpy()), np.cov(h[0, :3].detach().numpy(), dtype=np.float32)]
[repr(model), str(layers(model)), repr(layers(model)[0].mlp), f"{embeddings(model)}"]
[(3).__pow__(4, 5), (3).__pow__(2, None), (2.0).__pow__(3)]
[x.norm(), x.var(), torch.where(x > 0, x, 0.0), F.pad(x, (1, 1)), x.quantile(0.5), x.take(ROW), x.floor(), torch.zeros_like(x), x.detach() * 2]
[norm(model)(h), layers(model)[0].mlp(torch.ones_like(h)), PROBE(torch.ones(64)), WEIGHT * 2, embeddings(model).weight[0, :4] * 2]
h.topk(3)
h.max(1)
h.min(-1)
h.max(dim=-1, keepdim=True)
x.sort()
x.sort(descending=True)
torch.sort(x, stable=True)
x.median(0)
x.kthvalue(3)
x.mode()
x.cummax(0)
x.cummin(0)
x.aminmax()
torch.frexp(x)
torch.linalg.svd(h[0, :, :4])
torch.linalg.qr(h[0, :, :4])
torch.linalg.eigh(h[0, :4, :4] + h[0, :4, :4].T)
torch.linalg.slogdet(h[0, :4, :4] + 9 * torch.eye(4))
torch.linalg.lu_factor(h[0, :4, :4] + 9 * torch.eye(4))
[h.topk(2), {"best": y.topk(3)}, (x.sort(), 1)]
h.topk(2).values
h.topk(2)[1]
tuple(h.topk(2))
h.unbind(1)
h.split(2, 1)
torch.var_mean(x)
torch.unique(ROW, return_counts=True)
torch.broadcast_tensors(x, x[:1])
x.nonzero(as_tuple=True)
h.shape
h.size()
h.shape[:2]
h.stride()
h.dtype
h.device
h.mean().item()
h.tolist()[0][0][:3]
h.numel()
h.dim()
h.is_contiguous()
(h.T if False else x.T).shape
h.transpose(1, 2)
h.transpose(1, 2).stride()
h.permute(2, 0, 1).is_contiguous()
h.mT.contiguous().stride()
h[:, ::2].stride()
h[0].T
x.expand(3, 64)
x.expand(3, 64).stride()
h.flip(1)
h.half()
h.bfloat16()
h.double()
h.int()
h.to(torch.complex64)
torch.view_as_complex(h[0, :, :4].reshape(-1, 2, 2))
h > 0
h.bool()
h[:0]
h.new_zeros(2)
torch.zeros_like(h)
torch.tensor(3)
torch.tensor([True, False])
torch.tensor([], dtype=torch.int64)
torch.arange(5, dtype=torch.uint8)
torch.finfo(h.dtype).max
OrderedDict(a=x[:2], b=1)
OrderedDict([("z", 1), ("a", 2)])
Counter("hello")
Counter(ROW.tolist())
defaultdict(int, a=1)
defaultdict(list, {"a": [1]})
deque([1, 2, 3])
deque([x[:2], 1], maxlen=2)
{1: "a", (2, 3): None, None: 2.5, True: 0}
{1, 2, 3}
frozenset([1, "a"])
(1, (2, (3,)))
[[], (), {}, set()]
range(2, 9, 3)
slice(1, None, 2)
1 + 2j
complex(h.mean().item() * 0, 1)
b"bytes"
"text"
None
True
...
10**30
-0.0
float("inf")
[int, str, list, float]
type(h)
type(1)
np.float32(1.5)
np.float64(0.1)
np.int64(7)
np.bool_(True)
np.arange(3)
np.zeros((2, 3), dtype=np.float32)
np.array([[1, 2], [3, 4]])
h.detach().numpy()[0, 0, :3]
h.detach().numpy().shape
[np.arange(2), {"a": np.float32(2)}]
torch.Size([1, 2])
torch.device("cpu")
torch.float16
[torch.int8, torch.bool]
WEIGHT
FROZEN
WEIGHT.requires_grad
FROZEN.requires_grad
LEAF.requires_grad
GRID.requires_grad
type(WEIGHT).__name__
isinstance(WEIGHT, nn.Parameter)
[WEIGHT, {"w": FROZEN}]
nn.Parameter(x.detach())
TURNED.stride()
TURNED.is_contiguous()
TURNED
STEPS.stride()
STEPS
WIDE.stride()
WIDE
WIDE.storage_offset()
(TURNED, GRID, STEPS)
TURNED.contiguous().stride()
GRID.T.is_contiguous()
[(BASE, VIEW.fill_(3.0), PART)]
[PART.add_(1), BASE, VIEW][1:]
[VIEW.zero_(), BASE.tolist()][1]
PROBE(h)
PROBE(h).shape
STACK(x)
PROBE.weight
PROBE.weight.shape
[p.requires_grad for p in PROBE.parameters()]
PROBE.bias.requires_grad
[name for name, _ in STACK.named_parameters()]
STACK[0].weight.sum()
nn.functional.linear(x, WEIGHT)
(x * WEIGHT).sum()
F.softmax(y, -1)
F.cross_entropy(y[None], torch.tensor([3]))
F.one_hot(ROW, 5)
torch.allclose(h, h)
torch.equal(h, h)
torch.stack([x, x])
torch.where(x > 0, x, 0)
torch.einsum("ij,j->i", h[0], x)
model.output.logits.shape
list(model.output.keys())
model.output
model.lm_head.weight.shape
model.config.vocab_size
t.decode([5, 6])
t.decode(y.argmax())
t.decode(torch.tensor([[5, 6], [7, 8]]))
t.decode([[5, 6], [7, 8]])
t.decode([])
t.decode([5, 0, 6], skip_special_tokens=True)
t.decode(np.array([5, 6]))
t.batch_decode([5, 6, 7])
t.batch_decode(torch.tensor([5, 6]))
t.batch_decode([[5], [6]])
t.batch_decode(torch.tensor([[5, 6], [7, 8]]))
t.batch_decode([])
t.batch_decode([5], clean_up_tokenization_spaces=True)
t.encode(FRANCE)
t.encode(FRANCE, add_special_tokens=False)
t.encode(FRANCE, return_tensors="pt")
t.encode(FRANCE, return_tensors="np")
t.encode(FRANCE, max_length=3)
t.encode(FRANCE, truncation=True, max_length=3)
t.encode(FRANCE, "more")
t.encode("")
t.encode([FRANCE, "b"])
t.tokenize(FRANCE)
t.tokenize(FRANCE, add_special_tokens=True)
t.tokenize(FRANCE, "b")
t.convert_ids_to_tokens(5)
t.convert_ids_to_tokens([5, 0, 6])
t.convert_ids_to_tokens([5, 0, 6], skip_special_tokens=True)
t.convert_ids_to_tokens(torch.tensor([5, 6]))
t.convert_ids_to_tokens(y.topk(3).indices)
t.convert_tokens_to_ids("the")
t.convert_tokens_to_ids(["the", "zzzz"])
t.convert_tokens_to_string(t.tokenize(FRANCE))
t(FRANCE)
t(FRANCE)["input_ids"]
t(FRANCE).input_ids
t(FRANCE, return_tensors="pt")
t(FRANCE, return_tensors="np")
t([FRANCE, LONG])
t([FRANCE, LONG], padding=True)
t([FRANCE, LONG], padding=True, return_tensors="pt")
t([FRANCE, LONG], padding="longest", padding_side="right")
t([FRANCE, LONG], padding=True, padding_side="left", return_tensors="pt")["attention_mask"]
t([FRANCE, "b"], padding="max_length", max_length=12)
t([FRANCE, "b"], padding="max_length", max_length=4, truncation=True)
t([FRANCE, "b"], padding=True, pad_to_multiple_of=8)
t(FRANCE, padding="max_length", max_length=9, padding_side="right")
t(FRANCE, truncation=True, max_length=4)
t(FRANCE, max_length=4)
t(FRANCE, truncation=False, max_length=4)
t(FRANCE, truncation="longest_first", max_length=4)
t(FRANCE, "of", truncation="only_first", max_length=4)
t(FRANCE, LONG, truncation="only_second", max_length=9)
t(FRANCE, LONG, truncation=True, max_length=7)
t(FRANCE, LONG)
t(FRANCE, text_pair=LONG, return_token_type_ids=True)
t([FRANCE, "b"], [LONG, "c"])
t([(FRANCE, "b"), (LONG, "c")])
t(FRANCE, truncation=True, max_length=4, stride=1, return_overflowing_tokens=True)
t([FRANCE, LONG], truncation=True, max_length=4, return_overflowing_tokens=True)
t(FRANCE, return_offsets_mapping=True)
t(FRANCE, return_offsets_mapping=True)["offset_mapping"]
t([FRANCE, LONG], padding=True, return_offsets_mapping=True, return_tensors="pt")
t("naïve café ☕", return_offsets_mapping=True)
t(FRANCE, return_special_tokens_mask=True)
t(FRANCE, return_length=True)
t([FRANCE, "b"], return_length=True)
t(FRANCE, return_attention_mask=False)
t(FRANCE, return_token_type_ids=True)
t(FRANCE, add_special_tokens=False)
t(FRANCE.split(), is_split_into_words=True)
t([FRANCE.split(), ["b"]], is_split_into_words=True)
t(text=FRANCE)
t(text_target=FRANCE)
t(FRANCE, text_target="b")
t(FRANCE, tokenizer_kwargs={"max_length": 3, "truncation": True})
t(FRANCE, verbose=False)
t("")
t("", return_tensors="pt")
t(["", "b"], padding=True)
dict(t(FRANCE))
{**t(FRANCE)}
list(t(FRANCE))
t(FRANCE).keys() == {"input_ids", "attention_mask"}
[k for k, v in t(FRANCE).items()]
"input_ids" in t(FRANCE)
len(t(FRANCE))
t(FRANCE).tokens()
t([FRANCE, LONG]).tokens(1)
t(FRANCE).word_ids()
t(FRANCE).sequence_ids()
t(FRANCE, LONG).sequence_ids()
t(FRANCE).char_to_token(5)
t(FRANCE).char_to_token(0, 5)
t(FRANCE).token_to_chars(2)
t(FRANCE).word_to_tokens(1)
t(FRANCE).word_to_chars(1)
t(FRANCE).token_to_word(2)
t(FRANCE).char_to_word(5)
t(FRANCE).token_to_chars(2).start
t(FRANCE).n_sequences
t(FRANCE, LONG).n_sequences
t(FRANCE).is_fast
t(FRANCE).data
t(FRANCE) == t(FRANCE)
t(FRANCE, return_tensors="pt").to("cpu")
str(t(FRANCE))
t.vocab_size
len(t)
t.all_special_tokens
t.all_special_ids
t.special_tokens_map
t.pad_token
t.pad_token_id
t.eos_token
t.bos_token_id
t.unk_token
t.cls_token
t.padding_side
t.truncation_side
t.model_max_length
t.max_len_single_sentence
t.model_input_names
t.is_fast
t.get_added_vocab()
t.get_vocab()["the"] if "the" in t.get_vocab() else len(t.get_vocab())
len(t.get_vocab())
t.num_special_tokens_to_add()
t.num_special_tokens_to_add(pair=True)
type(t).__name__
"""

# What raises, and what it says.
FAILURES = """
t(FRANCE, padding="most")
t(FRANCE, truncation="some")
t(FRANCE, return_tensors="tf")
t([FRANCE, LONG], return_tensors="pt")
t(5)
t([5])
t(None)
t([FRANCE, "b"], "c")
t([FRANCE, "b"], ["c"])
t([])
t(FRANCE, truncation=True, max_length=-1)
t(FRANCE, padding=True, truncation=True, max_length=5, pad_to_multiple_of=8)
t(FRANCE, padding="max_length", padding_side="up")
t(FRANCE)["nothing"]
t.decode([-1])
t.convert_ids_to_tokens(-1)
t.convert_ids_to_tokens(torch.tensor(5))
"""

# Arguments of `model.trace(…)` and `tracer.invoke(…)`; each shows the embeddings and the logits that come of them.
INPUTS = """
FRANCE, truncation=True, max_length=4
FRANCE, max_length=4
LONG, truncation=True
FRANCE, padding="max_length", max_length=12
FRANCE, padding=True
FRANCE, add_special_tokens=False
FRANCE, truncation="longest_first", max_length=3
FRANCE, prefix="So: "
FRANCE, tokenizer_encode_kwargs={"padding": "max_length", "max_length": 9}
FRANCE, tokenizer_encode_kwargs={"padding": "max_length", "max_length": 9, "padding_side": "right"}
FRANCE, tokenizer_encode_kwargs={"truncation": True, "max_length": 3}
FRANCE, tokenizer_encode_kwargs={"text_pair": "more"}
FRANCE, return_full_text=False, skip_special_tokens=True
FRANCE, foo=3
FRANCE, output_hidden_states=True
FRANCE, use_cache=False
FRANCE, return_dict=True
[FRANCE, LONG], truncation=True, max_length=4
[FRANCE, LONG], padding="max_length", max_length=14
[FRANCE, "a b c"], add_special_tokens=False
(FRANCE, "a b c")
[5, 6, 7]
[[5, 6, 7], [8, 9]]
torch.tensor([5, 6, 7])
torch.tensor([[5, 6, 7], [8, 9, 10]])
[torch.tensor([5, 6]), torch.tensor([7])]
np.array([5, 6, 7])
np.array([[5, 6, 7], [8, 9, 10]])
{"input_ids": [5, 6, 7]}
{"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.tensor([[0, 1, 1]])}
{"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.tensor([[1, 1, 0]])}
{"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.tensor([[1, 0, 1]])}
{"input_ids": [[5, 6, 7], [8, 9]]}
input_ids=torch.tensor([[5, 6, 7]])
input_ids=[[5, 6, 7]], attention_mask=[[0, 1, 1]]
torch.tensor([[5, 6, 7]]), attention_mask=torch.tensor([[0, 1, 1]])
torch.tensor([[5, 6, 7]]), position_ids=torch.tensor([[2, 3, 4]])
[5, 6, 7], position_ids=[4, 4, 5]
model.tokenizer(FRANCE, return_tensors="pt")
model.tokenizer([FRANCE, LONG], padding=True, return_tensors="pt")
model.tokenizer([FRANCE, LONG], padding=True, padding_side="right", return_tensors="pt")
dict(model.tokenizer(FRANCE))
"""

# Arguments of `model.generate(FRANCE, do_sample=False, …)`.
GENERATIONS = """
max_new_tokens=3
max_new_tokens=3, use_cache=False
max_new_tokens=3, use_cache=True
max_new_tokens=3, cache_implementation="dynamic"
max_length=18
max_new_tokens=2, truncation=True, max_length=4
max_new_tokens=2, padding="max_length", tokenizer_encode_kwargs={"max_length": 12}
max_new_tokens=2, add_special_tokens=False
max_new_tokens=3, repetition_penalty=1.5
max_new_tokens=4, no_repeat_ngram_size=2
max_new_tokens=4, min_new_tokens=3
max_new_tokens=4, eos_token_id=[5, 6]
max_new_tokens=3, return_full_text=True
max_new_tokens=3, num_beams=1
max_new_tokens=3, output_hidden_states=False
"""

VALUE = """
@experiment("{model}", fails={fails})
def value_{number}(model, remote):
    # {shown}
    with model.trace(FRANCE, remote=remote):
        h = layers(model)[1].output
        x, t = h[0, -1], model.tokenizer
        {reads}
        result = nnsight.save({expression})
    return result
"""

INPUT = """
@experiment("{model}")
def input_{number}(model, remote):
    # {shown}
    with model.trace({expression}, remote=remote):
        mask = layers(model)[0].inputs[1].get("attention_mask")
        first = layers(model)[1].output.save()
        logits = model.lm_head.output.save()
    with model.trace(remote=remote) as tracer:
        with tracer.invoke({expression}):
            again = layers(model)[1].output.save()
        with tracer.invoke(ITALY):
            other = layers(model)[1].output[:, -1].save()
    return first, logits, again, other
"""

ARGUMENTS = """
@experiment("{model}")
def arguments_{number}(model, remote):
    # {shown}
    show = lambda value: (tuple(value.shape), value.tolist()) if isinstance(value, torch.Tensor) and value.dtype == torch.int64 else type(value).__name__
    with model.trace({expression}, remote=remote):
        found = nnsight.save([])
        for module in (model, {base}, layers(model)[0], attention(layers(model)[0])):
            args, kwargs = module.inputs
            found.append(([show(one) for one in args], [(name, show(value)) for name, value in kwargs.items()]))
    return found
"""

GENERATION = """
@experiment("{model}")
def generation_{number}(model, remote):
    # {shown}
    with model.generate(FRANCE, do_sample=False, {expression}, remote=remote) as tracer:
        sizes = nnsight.save([])
        for step in tracer.iter[:2]:
            sizes.append(tuple(layers(model)[1].output.shape))
        ids = tracer.result.save()
    with model.generate([FRANCE, LONG], do_sample=False, {expression}, remote=remote) as tracer:
        for step in tracer.iter[:2]:
            layers(model)[2].output[:, -1] *= 1.5
        edited = tracer.result.save()
    show = lambda value: (tuple(value.shape), value.tolist()) if isinstance(value, torch.Tensor) and value.dtype == torch.int64 else type(value).__name__
    with model.generate([FRANCE, LONG], do_sample=False, {expression}, remote=remote) as tracer:
        found = nnsight.save([])
        for step in tracer.iter[:2]:
            for module in (model, {base}, layers(model)[0]):
                args, kwargs = module.inputs
                found.append(([show(one) for one in args], [(name, show(value)) for name, value in kwargs.items()]))
    return sizes, ids, edited, found
"""


def write():
    """Writes the programs, each line of a list with the next model."""
    text, number = [HEAD], 0
    # What a forward call is given under a name of nobody's is passed on there, and is not here.
    known = INPUTS.replace("FRANCE, foo=3\n", "")
    shapes = [(VALUE, VALUES), (VALUE, FAILURES), (INPUT, INPUTS), (ARGUMENTS, known), (GENERATION, GENERATIONS)]
    for template, lines in shapes:
        for expression in filter(None, map(str.strip, lines.splitlines())):
            model = ("gpt2", "llama")[number % 2]
            number += 1
            # Later sites are read only where they are wanted: reading one is waiting for it.
            reads = "y = model.lm_head.output[0, -1]" if "y" in expression else "pass"
            text.append(template.format(
                model=model, number=number, expression=expression, shown=expression, fails=lines is FAILURES, reads=reads,
                base="model.transformer" if model == "gpt2" else "model.model",
            ))  # fmt: skip
    return "".join(text)


def load():
    path = Path(tempfile.mkdtemp(prefix="experiments-")) / "generated.py"
    path.write_text(write())
    spec = importlib.util.spec_from_file_location("generated", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    for experiment in experiments.experiments:
        source = experiment.function.__code__
        if source.co_filename == str(path):
            lines = path.read_text().splitlines()
            experiment.function.__name__ += " " + lines[source.co_firstlineno + 1].strip().removeprefix("# ")


load()
