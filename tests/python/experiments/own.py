"""What programs add to a model and to the language: classes, attributes, modules and settings of their own."""
import nnsight
import numpy as np
import torch
from nnsight import LanguageModel
from nnsight.intervention.interleaver import OutOfOrderError

from experiments import FRANCE, ITALY, experiment, lab, layers, norm

nnsight.register(lab)


class Access:
    """A part of every layer, read and written by its number."""

    def __init__(self, model, attribute, place):
        self.model, self.attribute, self.place = model, attribute, place

    def module(self, index):
        layer = self.model.blocks[index]
        return getattr(layer, self.attribute) if self.attribute else layer

    def __getitem__(self, index):
        value = getattr(self.module(index), self.place)
        return value[0] if isinstance(value, tuple) else value

    def __setitem__(self, index, value):
        before = getattr(self.module(index), self.place)
        setattr(self.module(index), self.place, (value, *before[1:]) if isinstance(before, tuple) else value)


class Standard(LanguageModel):
    """One set of names for all families."""

    def __init__(self, *args, **kwargs):
        names = {"transformer.h": "blocks", "model.layers": "blocks", "transformer.ln_f": "last", "model.norm": "last"}
        super().__init__(*args, rename=names | {"attn": "attention", "self_attn": "attention"}, **kwargs)
        self.streams = Access(self, None, "output")
        self.attentions = Access(self, "attention", "output")
        self.depth = self.config.num_hidden_layers
        self._told = []
        self._factor = 1.0

    @property
    def logits(self):
        return self.output.logits

    @property
    def factor(self):
        return self._factor

    @factor.setter
    def factor(self, value):
        self._factor = float(value)

    @staticmethod
    def halved(value):
        return value / 2

    @classmethod
    def called(cls):
        return cls.__name__

    def unembed(self, stream):
        return self.lm_head(self.last(stream))

    def steer(self, numbers, vector):
        for number in numbers:
            self.streams[number] += self.factor * vector
            self._told.append(number)
        return self

    def told(self):
        return list(self._told)


class Loud(Standard):
    def unembed(self, stream):
        return super().unembed(stream) * 2

    def trace(self, *args, **kwargs):
        self._traces = getattr(self, "_traces", 0) + 1
        return super().trace(*args, **kwargs)


def standard(model, remote, kind=Standard):
    return kind(model.repo_id, dispatch=not remote)


@experiment()
def a_model_of_a_class_of_ones_own(model, remote):
    model = standard(model, remote)
    vector = torch.ones(model.config.hidden_size)
    with model.trace(FRANCE, remote=remote):
        model.factor = 3
        attended = model.attentions[0].save()
        model.steer([0, 1], vector)
        lens = model.unembed(model.streams[1]).save()
        logits = model.logits.save()
        facts = [model.depth, model.halved(model.factor), model.called(), model.told()].save()
        kinds = [isinstance(model, kind) for kind in (Standard, LanguageModel, Loud)] + [type(model).__name__]
        kinds = nnsight.save(kinds)
    return lens, attended, logits, facts, kinds


@experiment()
def what_a_class_takes_over_it_may_ask_the_one_above_for(model, remote):
    model = standard(model, remote, Loud)
    with model.session(remote=remote):
        kept = nnsight.save([])
        for prompt in (FRANCE, ITALY):
            with model.trace(prompt):
                kept.append(model.unembed(model.streams[1])[0, -1])
    return list(kept)


@experiment()
def attributes_that_were_set_on_a_model_and_its_modules(model, remote):
    model = standard(model, remote)
    model.chosen, model.last_block = [1, 0], model.blocks[1]
    model.blocks[0].weighting = torch.arange(1.0, 4.0)
    with model.trace(FRANCE, remote=remote):
        outputs = nnsight.save([model.blocks[index].path for index in model.chosen])
        weighted = (model.blocks[0].output[0, :3] * model.blocks[0].weighting[:, None]).save()
        model.scratch = model.last_block.output
        stream = model.scratch.save()
        model.scratch = None
        missing = nnsight.save([hasattr(model, "scratch"), hasattr(model, "never"), getattr(model, "never", 5)])
    return outputs, weighted, stream, missing


@experiment()
def a_module_of_ones_own_by_its_name(model, remote):
    with model.trace(FRANCE, remote=remote):
        first, second = layers(model)[0].output, layers(model)[1].output
        alike = lab.similarity(first, second).save()
        again = lab.similarity(first, first).save()
        mean = lab.Mean().push(second[0]).value.save()
        facts = nnsight.save([lab.SCALE, list(lab.seen.values()), lab.__name__.split(".")[-1]])
        try:
            lab.nothing
        except AttributeError as error:
            facts.append(str(error))
    lab.seen.clear()
    return alike, again, mean, facts


@experiment()
def settings_of_the_model_that_were_read_before(model, remote):
    config = model.config
    with model.trace(FRANCE, remote=remote):
        width = config.hidden_size // config.num_attention_heads
        heads = layers(model)[0].output.unflatten(-1, (config.num_attention_heads, width)).save()
        facts = nnsight.save([config.model_type, config.num_hidden_layers, config.vocab_size, type(config).__name__])
    return heads, facts


@experiment()
def what_has_been_passed_can_be_caught(model, remote):
    with model.trace(FRANCE, remote=remote):
        late = layers(model)[1].output.save()
        caught = [].save()
        try:
            layers(model)[0].output
        except OutOfOrderError as error:
            caught.append(type(error).__name__)
            caught.append(isinstance(error, OutOfOrderError))
    return late, caught


class Lines:
    def __init__(self):
        self.pieces, self.flushed = [], 0

    def write(self, text):
        self.pieces.append(text)
        return len(text)

    def flush(self):
        self.flushed += 1


@experiment()
def lines_that_go_to_an_object(model, remote):
    with model.trace(FRANCE, remote=remote):
        lines = Lines()
        print("shape", tuple(layers(model)[0].output.shape), sep=": ", file=lines)
        print(1, None, end="", file=lines, flush=True)
        print(file=lines)
        pieces, flushed = nnsight.save(lines.pieces), nnsight.save(lines.flushed)
    return pieces, flushed


@experiment("gpt2")
def arrays_print_as_numpy_prints_them(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = model.transformer.h[0].output
        whole = (state[0, :2, :20] * 4).round().detach().numpy()
        print(whole, whole[0, :3].tolist())
        shown = nnsight.save([str(whole), repr(whole), f"{np.arange(2000)}", repr(np.array([0.5, 1 / 3]))])
    return shown


# Local nnsight names the class of the module as well.
@experiment("gpt2", fails=True, local=False)
def a_keyword_that_a_module_does_not_take(model, remote):
    with model.trace(FRANCE, remote=remote):
        args, keywords = model.transformer.h[0].attn.c_attn.inputs
        model.transformer.h[0].attn.c_attn.inputs = (args, {**keywords, "scale": 2})
        model.lm_head.output.save()


@experiment()
def the_lens_without_the_trace_watching(model, remote):
    with model.trace(FRANCE, remote=remote):
        lens = model.lm_head(norm(model)(layers(model)[0].output, hook=False), hook=False).save()
    return lens
