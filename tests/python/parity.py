"""What a block may do, compared with local nnsight. See `compare.py`."""
import sys
from collections import Counter, OrderedDict, defaultdict

from compare import FRANCE, ITALY, LONG, experiment, layers, main  # (first: it prepares the import of nnsight)
import nnsight
import numpy as np
import torch


@experiment()
def hidden_states_and_logits(model, remote):
    with model.trace(FRANCE, remote=remote):
        states = [layer.output for layer in layers(model)].save()
        logits = model.lm_head.output.save()
        token = model.lm_head.output[0, -1].argmax(dim=-1).save()
    return states, logits, token


@experiment()
def logit_lens(model, remote):
    norm = model.transformer.ln_f if hasattr(model, "transformer") else model.model.norm
    with model.trace(FRANCE, remote=remote):
        tokens = list().save()
        for layer in layers(model):
            state = layer.output[0] if isinstance(layer.output, tuple) else layer.output
            tokens.append(model.lm_head(norm(state))[0, -1].argmax().item())
    return tokens


@experiment()
def ablation_in_place(model, remote):
    with model.trace(FRANCE, remote=remote):
        layers(model)[1].mlp.output[:] = 0
        logits = model.lm_head.output.save()
    return logits


@experiment()
def replacing_an_output(model, remote):
    with model.trace(FRANCE, remote=remote):
        layers(model)[2].mlp.output = torch.ones_like(layers(model)[2].mlp.output) * 0.25
        logits = model.lm_head.output.save()
    return logits


@experiment()
def patching_in_a_session(model, remote):
    with model.session(remote=remote):
        with model.trace(ITALY):
            donor = layers(model)[1].output
            donor = donor[0] if isinstance(donor, tuple) else donor
        scores = list().save()
        for position in range(3):
            with model.trace(FRANCE):
                state = layers(model)[1].output
                state = state[0] if isinstance(state, tuple) else state
                state[:, position] = donor[:, position]
                scores.append(model.lm_head.output[0, -1].topk(3).values)
    return scores


@experiment()
def rows_of_unequal_length(model, remote):
    with model.trace([FRANCE, LONG], remote=remote):
        logits = model.lm_head.output.save()
    return logits


@experiment()
def invokes_share_a_batch(model, remote):
    with model.trace(remote=remote) as tracer:
        with tracer.invoke(FRANCE):
            first = model.lm_head.output.save()
        with tracer.invoke(LONG):
            layers(model)[0].mlp.output[:] *= 2
            second = model.lm_head.output.save()
        with tracer.invoke():
            both = model.lm_head.output.save()
    return first, second, both


@experiment()
def a_barrier_between_invokes(model, remote):
    with model.trace(remote=remote) as tracer:
        barrier = tracer.barrier(2)
        with tracer.invoke(ITALY):
            state = layers(model)[2].mlp.output[:, -1].clone()
            barrier()
        with tracer.invoke(FRANCE):
            barrier()
            layers(model)[2].mlp.output[:, -1] = state
            logits = model.lm_head.output[:, -1].save()
    return logits


@experiment()
def steering_with_a_captured_tensor(model, remote):
    torch.manual_seed(3)
    vector = torch.randn(64)
    with model.trace(FRANCE, remote=remote):
        layers(model)[1].mlp.output[:, -1] += 4 * vector / vector.norm()
        logits = model.lm_head.output[0, -1].softmax(-1).save()
    return logits


@experiment()
def greedy_generation(model, remote):
    with model.generate(FRANCE, max_new_tokens=5, do_sample=False, remote=remote) as tracer:
        ids = tracer.result.save()
    return ids


@experiment()
def every_step_of_a_generation(model, remote):
    with model.generate(FRANCE, max_new_tokens=4, do_sample=False, remote=remote) as tracer:
        steps = list().save()
        for step in tracer.iter[0:4]:
            steps.append(model.lm_head.output[0, -1].argmax())
    return steps


@experiment()
def an_early_stop(model, remote):
    with model.trace(FRANCE, remote=remote) as tracer:
        state = layers(model)[0].mlp.output.save()
        tracer.stop()
    return state


@experiment()
def keyword_inputs(model, remote):
    with model.trace(FRANCE, remote=remote):
        args, kwargs = layers(model)[1].inputs
        names = sorted(kwargs).save()
        count = nnsight.save(len(args))
        first = layers(model)[2].input.save()
    return names, count, first


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
        }.save()
    return values


@experiment()
def library_functions(model, remote):
    with model.trace(FRANCE, remote=remote):
        logits = model.lm_head.output[0]
        entropy = torch.distributions if False else -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
        norm = torch.nn.functional.layer_norm(logits, (logits.shape[-1],))
        cosine = torch.nn.functional.cosine_similarity(logits[0], logits[1], dim=0)
        product = torch.einsum("ij,kj->ik", logits, logits)
        stacked = torch.cat([entropy[None], entropy[None] * 2])
        where = torch.where(logits > 0, logits, torch.zeros_like(logits))
        saved = [entropy, norm, cosine, product, stacked, where, logits.std(), logits.cumsum(0)[-1]].save()
    return saved


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


@experiment("gpt2")
def eager_attention(model, remote):
    model = model.eager
    with model.trace(FRANCE, remote=remote):
        weights = model.transformer.h[1].attn.output[1].save()
    return weights


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


@experiment(fails=True)
def reading_backwards(model, remote):
    with model.trace(FRANCE, remote=remote):
        late = layers(model)[2].mlp.output.save()
        early = layers(model)[0].mlp.output.save()
    return late, early


main(sys.argv[1:])
