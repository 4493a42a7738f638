"""What blocks may be made of, and how they fail."""
import collections
import dataclasses
import enum
import functools
import itertools
import math
import re
import time
from collections import Counter, OrderedDict, defaultdict
from typing import NamedTuple

import nnsight
import numpy as np
import torch
import torch.nn.functional as F

from experiments import FRANCE, ITALY, LONG, experiment, layers


@experiment()
def python_in_a_block(model, remote):
    class Scale:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, value):
            return value * self.factor

    factors = {"a": 0.5, "b": -1.0}
    with model.trace(FRANCE, remote=remote):
        logits = model.lm_head.output[0, -1]
        scaled = {name: Scale(factor)(logits)[:4] for name, factor in factors.items()}.save()

        def best(values, count=2):
            return [int(index) for index in values.topk(count).indices]

        winners = [best(logits), best(-logits, count=3)].save()
        text = f"{logits.shape[0]:>6} {logits.max().item():.3f}".save()
        total = nnsight.save(sum(len(names) for names in winners))
        try:
            logits[99999]
            caught = "nothing"
        except IndexError as error:
            caught = type(error).__name__
        caught = nnsight.save(caught)
    return scaled, winners, text, total, caught


class Sampler:
    async def stream(self):
        async for value in self:
            yield value

    def scale(self):
        return 3


@experiment()
def syntax_that_is_never_run(model, remote):
    sampler = Sampler()
    with model.trace(FRANCE, remote=remote):
        logits = (model.lm_head.output * sampler.scale()).save()
    return logits


@dataclasses.dataclass
class Site:
    layer: int
    position: int = -1

    def read(self, model):
        return layers(model)[self.layer].output[:, self.position]


class Kind(enum.Enum):
    MEAN = "mean"
    LAST = "last"


class Span(NamedTuple):
    first: int
    last: int = 2


class Reader:
    count = 0

    def __init__(self, kind):
        self.kind = kind

    @property
    def name(self):
        return self.kind.value

    @staticmethod
    def shorten(values):
        return values[..., :5]

    @classmethod
    def of(cls, text):
        cls.count += 1
        return cls(Kind(text))

    def __call__(self, state):
        return self.shorten(state.mean(1) if self.kind is Kind.MEAN else state[:, -1])


class LoudReader(Reader):
    def __call__(self, state):
        return super().__call__(state) * 10


@experiment()
def classes_of_the_users_own(model, remote):
    site, readers = Site(1), [Reader.of("mean"), LoudReader.of("last")]
    with model.trace(FRANCE, remote=remote):
        seen = site.read(model).save()
        state = layers(model)[2].output
        values = {reader.name: reader(state) for reader in readers}.save()
        text = nnsight.save([site.position, Kind("last") is Kind.LAST, isinstance(readers[1], Reader), readers[0].kind.name])
        kinds = nnsight.save([kind.value for kind in Kind])
        sites = nnsight.save(
            [repr(site), Site(2) == Site(2, -1), site in [Site(1)], Site(3, position=0).position, dataclasses.asdict(Site(4))]
        )
        moved = nnsight.save([dataclasses.replace(site, layer=2).layer, len(dataclasses.fields(site))])
        span = Span(1, 4)
        middle = state[:, span.first : span.last].mean(1).save()
    return seen, values, text, kinds, sites, moved, middle


@experiment()
def functions_of_the_users_own(model, remote):
    scale = 3.0

    def power(base, exponent):
        return 1 if exponent == 0 else base * power(base, exponent - 1)

    def pairs(values):
        for one, two in itertools.combinations(values, 2):
            yield one * two

    compose = functools.partial(functools.reduce, lambda value, function: function(value))
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        scaled = (state * scale * power(2, 5)).mean().save()
        products = list(pairs([float(number) for number in state[0, -1, :3]])).save()
        chained = compose([torch.relu, torch.sqrt, lambda value: value.sum()], state).save()
        largest = max(range(5), key=lambda place: state[0, place].norm().item()).save()
    return scaled, products, chained, largest


@experiment()
def control_flow(model, remote):
    with model.trace(FRANCE, remote=remote):
        found = nnsight.save([])
        for place, layer in enumerate(layers(model)):
            level = layer.output.abs().mean().item()
            match place:
                case 0:
                    found.append("first")
                case 1 | 2 if level > 0:
                    found.append(round(level, 3))
                case _:
                    found.append(None)
        count = 0
        while True:
            count += 1
            if count > 5:
                break
        else:
            found.append("never")
        if (half := count / 2) > 1:
            found.append(half)
        found.extend([f"{count:03d}", "x".join(str(number) for number in range(3)), count if count % 2 else -count])
        first, *rest = found
        tail = nnsight.save((first, len(rest), rest[-1]))
    return found, tail


@experiment()
def tensors_of_many_kinds(model, remote):
    with model.trace(FRANCE, remote=remote):
        logits = model.lm_head.output
        groups = defaultdict(list)
        groups["even"].append(2)
        values = {
            "half": logits.half(), "bfloat": logits.to(torch.bfloat16), "int": logits.argsort()[0, :, :3],
            "bool": (logits > 0)[0, 0, :5], "scalar": logits.mean(), "shape": logits.shape, "dtype": logits.dtype,
            "counter": Counter("hello"), "groups": groups, "ordered": OrderedDict(a=logits[0, 0, :2], b=2),
            "types": [int, list, str], "numpy": [np.float32(1.5), np.arange(3), np.bool_(True), np.float64(0.1)],
            "mixed": (None, True, 7, 2.5, "text", b"bytes", [1, [2]], {1, 2}), "empty": logits[:0],
            "large": 10**30, "complex": torch.view_as_complex(logits[0, :, :4].reshape(-1, 2, 2)), "double": logits.double(),
        }.save()
    return values


@experiment()
def library_functions(model, remote):
    with model.trace(FRANCE, remote=remote):
        logits = model.lm_head.output[0]
        entropy = torch.distributions if False else -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
        layer_norm = F.layer_norm(logits, (logits.shape[-1],))
        cosine = F.cosine_similarity(logits[0], logits[1], dim=0)
        product = torch.einsum("ij,kj->ik", logits, logits)
        stacked = torch.cat([entropy[None], entropy[None] * 2])
        where = torch.where(logits > 0, logits, torch.zeros_like(logits))
        saved = [entropy, layer_norm, cosine, product, stacked, where, logits.std(), logits.cumsum(0)[-1]].save()
        divergence = F.kl_div(logits[0].log_softmax(-1), logits[1].softmax(-1), reduction="sum").save()
        components = torch.linalg.svdvals(layers(model)[0]._module.weight if False else logits[:, :6]).save()
    return saved, divergence, components


@experiment()
def numpy_in_a_block(model, remote):
    mask, places = np.array([0, 1] * 32, dtype=np.float32), np.arange(3)
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        layers(model)[1].output = state * torch.from_numpy(mask)
        rows = state[:, torch.tensor(places)].save()
        array = layers(model)[2].output[0, -1].detach().numpy()
        summary = nnsight.save([np.mean(array), array.std(), np.argsort(array)[:3], np.dot(array, mask)])
        grid = np.zeros((2, 4))
        grid[1] = array[:4]
        grid = nnsight.save(grid * 2)
    return rows, summary, grid


@experiment(local=False)
def einops_in_a_block(model, remote):
    # The tests' own environment has no einops to compare with.
    with model.trace([FRANCE, ITALY], remote=remote):
        import einops
        from einops import rearrange

        state = layers(model)[1].output
        heads = rearrange(state, "batch position (head width) -> batch head position width", head=4)
        same = nnsight.save(torch.equal(heads, state.view(2, -1, 4, 16).transpose(1, 2)))
        pooled = einops.reduce(heads, "b h p w -> b h", "mean").save()
        wide = einops.repeat(pooled, "b h -> b h times", times=3).save()
        rearrange(state, "b p (h w) -> b p h w", h=4)[:, :, 1] = 0
        logits = model.lm_head.output[:, -1].save()
    return same, pooled, wide, logits


@experiment()
def the_time_of_day(model, remote):
    before = time.time()
    with model.trace(FRANCE, remote=remote):
        import logging
        from datetime import datetime, timezone

        began = time.time()
        near = nnsight.save([abs(began - before) < 3600, abs(time.time_ns() / 1e9 - began) < 3600])
        now = datetime.now(timezone.utc)
        near.append(abs(now.timestamp() - began) < 3600)
        record = logging.LogRecord("lab", logging.INFO, "lab.py", 1, "began", (), None)
        near.append(logging.Formatter("%(asctime)s %(message)s").format(record)[:3] == now.strftime("%Y")[:3])
    return near


@experiment()
def imports_in_a_block(model, remote):
    with model.trace(FRANCE, remote=remote):
        import json
        import operator
        from statistics import mean

        numbers = [math.sqrt(number) for number in range(5)]
        text = json.dumps({"numbers": [round(number, 2) for number in numbers]}).save()
        chosen = sorted({"b": 2, "a": 1}.items(), key=operator.itemgetter(1)).save()
        middle = nnsight.save(mean([1, 2, 3, 4]))
        words = nnsight.save(re.findall(r"\w+", FRANCE))
        window = nnsight.save(list(collections.deque(range(6), maxlen=3)))
        probabilities = F.softmax(model.lm_head.output[0, -1], dim=-1)[:4].save()
    return text, chosen, middle, words, window, probabilities


@experiment()
def classes_of_what_a_model_gives(model, remote):
    with model.trace(FRANCE, remote=remote):
        args = layers(model)[0].inputs[0]
        logits = model.lm_head.output
        output = model.output
        cache = output.past_key_values
        objects = [layers(model)[0], cache, logits, logits.shape, logits.dtype, output, model.tokenizer, args]
        names = [(type(x).__name__, x.__class__.__name__, x.__class__ is type(x)) for x in objects].save()
        where = nnsight.save([output.__class__.__module__, repr(type(output)), type(type(output)).__name__])
        same = nnsight.save([isinstance(output, type(output)), isinstance(cache, type(output)), type(logits) is torch.Tensor])
    return names, where, same


@experiment()
def a_list_of_the_callers(model, remote):
    collected, untouched = [], []
    with model.trace(FRANCE, remote=remote):
        for layer in layers(model):
            collected.append(layer.output[0, -1, :4])
        untouched.append(len(collected))
        collected.save()
    return collected, len(untouched) if not remote else 1


@experiment()
def prints_in_their_order(model, remote):
    with model.trace(remote=remote) as tracer:
        with tracer.invoke(FRANCE):
            print("first", tuple(layers(model)[0].output.shape))
            print("first", tuple(layers(model)[2].output.shape), sep=" | ")
        with tracer.invoke([ITALY, LONG]):
            print("second", end=" ... ")
            print(layers(model)[1].output.dtype)
            print("two\nlines", [1, 2.5, None], {"a": (1,)})
            state = layers(model)[3].output[0, -1, :2].save()
    return state


@experiment(fails=True)
def prints_before_it_fails(model, remote):
    other = torch.ones(3, 3)
    with model.trace(FRANCE, remote=remote):
        print("about to fail")
        state = layers(model)[1].output
        print(tuple(state.shape))
        wrong = (state @ other).save()
    return wrong


@experiment(fails=True)
def an_index_error(model, remote):
    with model.trace(FRANCE, remote=remote):
        wrong = model.lm_head.output[0, 999].save()
    return wrong


@experiment(fails=True)
def a_shape_error(model, remote):
    other = torch.zeros(3, 5)
    with model.trace(FRANCE, remote=remote):
        wrong = (layers(model)[0].mlp.output @ other).save()
    return wrong


@experiment(fails=True)
def an_error_of_the_users_own(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[0].mlp.output
        if state.shape[0] == 1:
            raise ValueError(f"one row of {state.shape[1]}")
    return None


class TooSmall(Exception):
    pass


def demand(condition, message):
    if not condition:
        raise TooSmall(message)


@experiment(fails=True)
def an_error_in_a_function(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        demand(state.shape[1] > 2, "never")
        demand(state.shape[1] > 100, f"{state.shape[1]} tokens are too few")
    return None


@experiment(fails=True)
def an_error_in_a_comprehension(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        ratios = [1 / (2 - place) for place in range(state.shape[1])].save()
    return ratios


@experiment(fails=True)
def an_error_from_another(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        try:
            {"a": 1}[state.dim()]
        except KeyError as error:
            raise RuntimeError("no such entry") from error
    return None


@experiment(fails=True)
def a_name_that_is_not_there(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        wrong = (state * not_there).save()  # noqa: F821
    return wrong


@experiment(fails=True)
def a_module_that_is_not_there(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].no_such_module.output.save()
    return state


@experiment(fails=True)
def reading_backwards(model, remote):
    with model.trace(FRANCE, remote=remote):
        late = layers(model)[2].mlp.output.save()
        early = layers(model)[0].mlp.output.save()
    return late, early


@experiment(fails=True)
def a_replacement_of_another_width(model, remote):
    with model.trace(FRANCE, remote=remote):
        layers(model)[1].output = layers(model)[1].output[..., :7]
        logits = model.lm_head.output.save()
    return logits
