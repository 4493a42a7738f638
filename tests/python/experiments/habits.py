"""Habits of Python that programs have around their experiments: decorators, contexts, generators, objects, loaders."""
import abc
import datetime
import functools
import heapq
import math
import random
import re
import types
import warnings
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Generic, Iterator, TypeVar

import nnsight
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, random_split

from experiments import FRANCE, ITALY, LONG, attention, embeddings, experiment, layers
from experiments.methods import first

T = TypeVar("T")


@torch.no_grad()
def decorated(x, eps=1e-5):
    """A mode of torch around it, a default, and modules that nothing else names."""
    return F.normalize(x, dim=-1) * 3.0 + eps * np.pi


class Ball:
    """Methods of every kind."""

    def __init__(self, radius):
        self.radius = radius
        self.center = nn.Parameter(torch.ones(3))

    @property
    def diameter(self):
        return 2 * self.radius

    @staticmethod
    def unit(x):
        return x / x.norm(dim=-1, keepdim=True)

    @classmethod
    def of(cls, x):
        return cls(x.norm(dim=-1).max().item())

    @torch.no_grad()
    def move(self, step=1.0):
        self.center -= step
        return self.center.sum()

    def inside(self, x):
        return (x.norm(dim=-1) < self.radius).sum()


@experiment()
def functions_that_were_decorated(model, remote):
    ball = Ball(1.5)
    with model.trace(FRANCE, remote=remote):
        h = first(layers(model)[1].output)
        normalized = decorated(h)
        recorded = normalized.requires_grad
        values = [decorated(h, eps=1).sum(), ball.inside(h), ball.diameter]
        moved = [ball.move(), ball.move(0.5)]
        other = Ball.of(Ball.unit(h)).radius
        relu = F.relu(h).sum()
        normalized = normalized.save()
        nnsight.save(recorded)
        nnsight.save(values)
        nnsight.save(moved)
        nnsight.save(other)
        nnsight.save(relu)
    return normalized, recorded, values, moved, other, relu


def times(factor):
    """A decorator of one's own, with an argument."""

    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return factor * function(*args, **kwargs)

        return wrapper

    return decorate


def plainly(function):
    """A decorator that leaves no trace of what it was given."""

    def wrapper(x):
        return function(x) - 1

    return wrapper


class Counting:
    """A decorator that is a class."""

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function, self.calls = function, 0

    def __call__(self, x):
        self.calls += 1
        return self.function(x) + self.calls


@times(2)
@times(3)
def six_times(x, power=2):
    return x.mean() ** power if power < 3 else six_times(x, power=power - 1)


@plainly
def less(x):
    return x.sum()


@Counting
def counted(x):
    return x.mean()


@plainly
@times(5)
def five_times_less(x):
    return x.mean()


class Probes:
    def __init__(self, scale):
        self.scale = scale

    @times(2)
    def read(self, x):
        return self.scale * x.mean()

    @property
    @times(3)
    def tripled(self):
        return self.scale

    @plainly
    def plain(self):
        return self.scale

    @staticmethod
    @times(4)
    def largest(x):
        return x.max()

    @contextmanager
    def scaled(self, factor):
        before, self.scale = self.scale, self.scale * factor
        try:
            yield self
        finally:
            self.scale = before


@contextmanager
def noted(notes, name):
    notes.append(f"start {name}")
    try:
        yield len(notes)
    finally:
        notes.append(f"end {name}")


@experiment()
def functions_under_decorators_of_ones_own(model, remote):
    probes = Probes(1.5)
    with model.trace(FRANCE, remote=remote):
        times, plainly  # noqa: B018  (so that they are sent)
        h = first(layers(model)[1].output)
        values = [six_times(h), six_times(h, power=1), six_times(h, power=4), less(h), counted(h), counted(h)]
        values += [five_times_less(h), probes.read(h), probes.tripled, probes.plain(), probes.largest(h)]
        with probes.scaled(10) as scaled:
            values.append(scaled.read(h))
        values.append(probes.read(h))
        notes = []
        with noted(notes, "a") as count:
            values.append(count)
        nnsight.save(notes)
        nnsight.save(values)
    return values, notes


class Noted:
    """A context of one's own."""

    def __init__(self, name, notes):
        self.name, self.notes = name, notes

    def __enter__(self):
        self.notes.append(f"start {self.name}")
        return self.notes

    def __exit__(self, *raised):
        self.notes.append(f"end {self.name}")


@experiment()
def contexts_of_ones_own(model, remote):
    with model.session(remote=remote):
        notes = []
        for name in ("a", "b"):
            with Noted(name, notes) as own:
                with model.trace(FRANCE):
                    token = model.lm_head.output[0, -1].argmax(-1).item()
                own.append(token)
        with suppress(ZeroDivisionError), ExitStack() as stack:
            stack.enter_context(Noted("c", notes))
            stack.enter_context(torch.no_grad())
            notes.append(torch.is_grad_enabled())
            1 / 0
        notes.append(torch.is_grad_enabled())
        nnsight.save(notes)
    return notes


class Intervention(abc.ABC, Generic[T]):
    registry = {}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        Intervention.registry[cls.__name__] = cls

    @abc.abstractmethod
    def apply(self, hidden: Tensor) -> Tensor: ...

    def __call__(self, hidden):
        return self.apply(hidden)

    def __or__(self, other):
        return Chain(self, other)


class Scale(Intervention):
    def __init__(self, factor):
        self.factor = factor

    def apply(self, hidden):
        return hidden * self.factor


class Shift(Intervention):
    def __init__(self, value):
        self.value = value

    def apply(self, hidden):
        return hidden + self.value


class Chain(Intervention):
    def __init__(self, *all):
        self.all = all

    def apply(self, hidden):
        return functools.reduce(lambda h, i: i(h), self.all, hidden)


@experiment()
def interventions_as_objects(model, remote):
    chain = Scale(0.5) | Shift(0.1) | Scale(2)
    with model.trace(FRANCE, remote=remote):
        h = first(layers(model)[1].output)
        h[:] = chain(h)
        out = model.lm_head.output[0, -1].save()
    return out


def sweep(model, values) -> Iterator:
    for value in values:
        with model.trace(FRANCE):
            layers(model)[1].mlp.output[:] *= value
            x = model.lm_head.output[0, -1].max()
        yield value, x


@experiment()
def a_generator_that_traces(model, remote):
    with model.session(remote=remote):
        found = {v: x for v, x in sweep(model, [0.0, 1.0, 2.0])}
        nnsight.save(found)
    return found


@experiment()
def random_choices_of_python(model, remote):
    random.seed(3)
    with model.session(remote=remote):
        rng = random.Random(7)
        order = list(range(8))
        rng.shuffle(order)
        picked = rng.sample(order, 3)
        found = []
        for index in picked[:2]:
            with model.trace(FRANCE):
                found.append(first(layers(model)[index % 4].output)[0, -1, index].item())
        best = heapq.nlargest(1, found)
        nnsight.save(order)
        nnsight.save(found)
        nnsight.save(best)
    return order, found, best


class Pairs(Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return {"x": self.rows[i], "i": i}


def collate(items):
    return torch.stack([item["x"] for item in items]), torch.tensor([item["i"] for item in items])


@experiment()
def loaders_of_ones_own(model, remote):
    with model.session(remote=remote):
        with model.trace(LONG):
            rows = first(layers(model)[1].output)[0].detach()
        g = torch.Generator().manual_seed(0)
        data = Pairs(rows)
        train, test = random_split(data, [len(data) - 3, 3], generator=g)
        loader = DataLoader(train, batch_size=2, shuffle=True, generator=g, collate_fn=collate, drop_last=True)
        seen = [(x.sum().item(), i.tolist()) for x, i in loader]
        both = DataLoader(ConcatDataset([test, Subset(data, [0, 1])]), batch_size=3)
        sums = [batch["x"].sum().item() for batch in both]
        nnsight.save(seen)
        nnsight.save(sums)
    return seen, sums


@experiment()
def steps_of_many_kinds(model, remote):
    with model.generate(FRANCE, max_new_tokens=5, do_sample=False, remote=remote) as tracer:
        seen = [].save()
        for step in tracer.iter[1:4]:
            seen.append((step, model.lm_head.output[0, -1].argmax().item()))
    with model.generate(FRANCE, max_new_tokens=5, do_sample=False, remote=remote) as tracer:
        some = {}
        for step in tracer.iter[[0, 2, 4]]:
            some[step] = first(layers(model)[0].output)[:, -1].norm()
        nnsight.save(some)
        ids = tracer.result.save()
    return seen, some


@experiment()
def generation_with_a_barrier(model, remote):
    with model.generate(max_new_tokens=3, do_sample=False, remote=remote) as tracer:
        barrier = tracer.barrier(2)
        with tracer.invoke(FRANCE):
            for step in tracer.iter[:2]:
                hidden = first(layers(model)[1].output)[:, -1]
                barrier()
        with tracer.invoke(ITALY):
            for step in tracer.iter[:2]:
                barrier()
                first(layers(model)[1].output)[:, -1] = hidden
        with tracer.invoke():
            out = tracer.result.save()
    return out


@experiment()
def jacobians_of_the_next_token(model, remote):
    with model.trace(FRANCE, remote=remote):
        x = embeddings(model).output
        logits = model.lm_head.output[0, -1]
        top = logits.topk(3).indices
        rows = [torch.autograd.grad(logits[i], x, retain_graph=True)[0][0].norm(dim=-1) for i in top]
        table = torch.stack(rows).save()
    return table


@experiment()
def key_value_caches_are_read(model, remote):
    with model.trace(FRANCE, remote=remote):
        cache = model.output.past_key_values
        k = cache.layers[0].keys.save()
        n = cache.get_seq_length()
        v = [layer.values.norm().item() for layer in cache.layers].save()
        nnsight.save(n)
    return k, n, v


@experiment()
def attention_from_projections(model, remote):
    cfg = model.config
    with model.trace(FRANCE, remote=remote):
        a = attention(layers(model)[1])
        if hasattr(model, "transformer"):
            q, k, v = a.c_attn.output.split(cfg.n_embd, dim=-1)
        else:
            q, k = a.q_proj.output, a.k_proj.output
        d = cfg.hidden_size // cfg.num_attention_heads
        q = q.view(*q.shape[:-1], -1, d).transpose(1, 2)
        k = k.view(*k.shape[:-1], -1, d).transpose(1, 2)
        k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
        s = (q @ k.mT) / math.sqrt(d)
        mask = torch.ones(s.shape[-2:], dtype=torch.bool).triu(1)
        p = s.masked_fill(mask, float("-inf")).softmax(-1).save()
    return p


@experiment()
def names_are_tokens(model, remote):
    tok = model.tokenizer
    with model.trace(FRANCE, remote=remote):
        ids = model.lm_head.output[0, -1].topk(4).indices
        a = tok.batch_decode(ids)
        b = tok.convert_ids_to_tokens(ids.tolist())
        c = [tok.decode(i) for i in ids]
        d = tok.encode(" one", add_special_tokens=False)
        e = tok(" one two", return_tensors="pt").input_ids.shape
        out = [a, b, c, d, list(e), tok.eos_token_id, tok.vocab_size, len(tok)]
        nnsight.save(out)
    return out


@contextmanager
def cleared(model):
    """Local hooks stay where they were registered."""
    try:
        yield
    finally:
        for module in model._module.modules():
            module._forward_hooks.clear()
            module._forward_pre_hooks.clear()


@experiment()
def hooks_of_modules(model, remote):
    with cleared(model), model.trace(remote=remote) as tracer:
        with tracer.invoke(FRANCE):
            seen = nnsight.save([])

            def doubled(module, args, kwargs, output):
                seen.append([len(args) + len(kwargs) > 0, list(output.shape)])
                return output * 2

            layers(model)[1].mlp.register_forward_hook(doubled, with_kwargs=True)
            layers(model)[2].mlp.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
            before = layers(model)[1].mlp.output.save()
            given = layers(model)[2].mlp.input.save()
            logits = model.lm_head.output[:, -1].save()
        with tracer.invoke(ITALY):
            other = model.lm_head.output[:, -1].save()
    return seen, before, given, logits, other


@experiment()
def hooks_that_are_removed(model, remote):
    with cleared(model), model.session(remote=remote):
        seen = nnsight.save([])
        handle = layers(model)[0].mlp.register_forward_hook(lambda module, args, output: seen.append(output.shape[1]))
        with model.trace(FRANCE):
            first = layers(model)[3].output.save()
        seen.append("between")
        handle.remove()
        with model.trace(FRANCE):
            second = layers(model)[3].output.save()
        with layers(model)[0].register_forward_pre_hook(lambda module, args: seen.append("pre")):
            with model.generate(FRANCE, max_new_tokens=3, do_sample=False):
                pass
    return seen, first, second


@experiment()
def warnings_arrive(model, remote):
    with model.generate(FRANCE, max_new_tokens=2, do_sample=False, remote=remote) as tracer:
        tokens = nnsight.save([])
        for _ in range(2):
            warnings.warn("the gap", RuntimeWarning)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.warn("unheard")
        for _ in tracer.iter[:]:
            tokens.append(model.lm_head.output[0, -1].argmax().item())
    return tokens


@experiment()
def deprecated_forms_warn(model, remote):
    with model.generate(FRANCE, max_new_tokens=2, do_sample=False, remote=remote) as tracer:
        tokens = nnsight.save([])
        with tracer.iter[:2]:
            tokens.append(model.lm_head.output[0, -1].argmax().item())
        ids = model.generator.output.save()
    return tokens, ids


DAY, RUN = datetime.datetime(2026, 12, 1, 21, 17, fold=1, tzinfo=datetime.timezone.utc), Path("runs") / "one.pt"


@experiment()
def values_of_standard_modules(model, remote):
    with model.trace(FRANCE, remote=remote):
        logit = model.lm_head.output[0, -1, 0].item()
        values = nnsight.save([
            Fraction(2, 6), Decimal("1.50") * 3, datetime.timedelta(days=2) * 1.5, DAY.date(), DAY + datetime.timedelta(hours=5),
            DAY.time(), RUN.with_suffix(".json"), Path(f"layer_{int(logit * 0)}"), re.I | re.M, types.SimpleNamespace(a=1),
        ])
        encoding = model.tokenizer([FRANCE, ITALY], padding=True, return_tensors="pt").save()
    return [repr(value) for value in values], values, encoding.n_sequences, encoding
