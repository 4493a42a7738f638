"""`tracer.cache()`: activations of many modules."""
import torch

from experiments import FRANCE, ITALY, LONG, experiment, layers


def kept(cache, parts=("output",)):
    """Returns all that a cache has, by path, at every visit."""
    # `cache["model"]` needs the model, which a result does not have.
    entries = cache._cache.entries
    return {path: [[getattr(entry, part) for part in parts] for entry in entries[path]] for path in cache.keys()}


def layer(model, at):
    return layers(model)[at].path


@experiment()
def all_modules(model, remote):
    with model.trace(FRANCE, remote=remote) as tracer:
        cache = tracer.cache()
    values = kept(cache)
    flags = [value.requires_grad for [[value]] in values.values() if torch.is_tensor(value)]
    return values, flags, len(cache[layer(model, 1)])


@experiment()
def inputs_and_outputs_of_all_modules(model, remote):
    with model.trace([FRANCE, LONG], remote=remote) as tracer:
        cache = tracer.cache(include_inputs=True)
    return kept(cache, ("output", "inputs", "input"))


@experiment()
def inputs_only_of_some_modules(model, remote):
    chosen = [layers(model)[1], layer(model, 2), layers(model)[1], "model.nothing"]
    with model.trace(FRANCE, remote=remote) as tracer:
        cache = tracer.cache(modules=chosen, include_output=False, include_inputs=True)
    return kept(cache, ("output", "inputs")), layer(model, 0) in cache, layer(model, 1) in cache, len(cache[layer(model, 1)])


@experiment()
def in_another_type(model, remote):
    with model.trace(FRANCE, remote=remote) as tracer:
        cache = tracer.cache(modules=list(layers(model)) + [model.lm_head], dtype=torch.float64, device=None)
        layers(model)[1].output[:] *= 2
    return kept(cache)


@experiment()
def values_are_kept_as_they_were_edited(model, remote):
    with model.trace(FRANCE, remote=remote) as tracer:
        cache = tracer.cache(include_inputs=True)
        layers(model)[0].output = layers(model)[0].output * 2
        layers(model)[1].mlp.output[:] = 0
        layers(model)[2].skip(layers(model)[1].output)
    return kept(cache, ("output", "inputs"))


@experiment()
def each_invoke_has_its_own(model, remote):
    with model.trace(remote=remote) as tracer:
        with tracer.invoke(FRANCE):
            first = tracer.cache(modules=[layers(model)[1], model.lm_head])
            layers(model)[0].output[:] = 0
        with tracer.invoke([ITALY, LONG]):
            second = tracer.cache(modules=[layers(model)[1], model.lm_head])
            third = tracer.cache(modules=[layers(model)[0].mlp], include_inputs=True)
        with tracer.invoke():
            all_rows = tracer.cache(modules=[layers(model)[1]])
    return kept(first), kept(second), kept(third, ("output", "inputs")), kept(all_rows)


@experiment()
def every_step_of_a_generation(model, remote):
    with model.generate(FRANCE, max_new_tokens=4, do_sample=False, remote=remote) as tracer:
        cache = tracer.cache(include_inputs=True)
        layers(model)[0].output[:] = 0
    return kept(cache, ("output", "inputs")), len(cache[layer(model, 1)])


@experiment()
def some_modules_of_a_generation_of_two(model, remote):
    with model.generate(max_new_tokens=3, do_sample=False, remote=remote) as tracer:
        with tracer.invoke(FRANCE):
            cache = tracer.cache(modules=[layers(model)[2], model.generator.streamer])
            with tracer.iter[:2]:
                layers(model)[1].output[:] *= 0.5
        with tracer.invoke(LONG):
            ids = tracer.result.save()
    return kept(cache), ids


@experiment()
def read_in_the_block(model, remote):
    with model.trace(FRANCE, remote=remote) as tracer:
        cache = tracer.cache(include_inputs=True)
        logits = model.lm_head.output
        path = layers(model)[1].path
        names = [path in cache, "model.nothing" in cache, len(cache[path]), repr(cache[path]), cache[path].keys()]
        total = (cache[path].output.sum() + cache[path].input.sum() + cache[path].inputs[0][0].sum() + logits.sum()).save()
        names.save()
    return total, names


@experiment("gpt2")
def the_tree_of_modules_leads_to_what_was_kept(model, remote):
    with model.trace(FRANCE, remote=remote) as tracer:
        cache = tracer.cache()
        model.lm_head.output
        found = [
            cache.transformer.h[0].output,
            cache.model.transformer.h[-1].mlp.output,
            cache["transformer"]["h"]["1"].output,
            cache.model["transformer"].h[2].attn.output[0],
            cache["transformer.h.1.mlp.c_fc"].output,
        ].save()
        part = cache.model.transformer.h[1].save()
    return found, part.output, part.keys()


@experiment()
def a_session_goes_on_with_what_was_kept(model, remote):
    with model.session(remote=remote):
        with model.trace(FRANCE) as tracer:
            cache = tracer.cache(modules=list(layers(model)))
        means = {path: cache[path].output.mean(0) for path in cache.keys()}.save()
        with model.trace(ITALY):
            layers(model)[2].output[:] = cache[layer(model, 1)].output
            logits = model.lm_head.output.save()
    return means, logits


@experiment()
def what_one_trace_kept_another_takes_up(model, remote):
    with model.trace(FRANCE, remote=remote) as tracer:
        cache = tracer.cache(modules=[layers(model)[1], layers(model)[2]], include_inputs=True)
    part = cache[layer(model, 2)]
    with model.trace(LONG, remote=remote):
        layers(model)[1].output[:, -1] = cache[layer(model, 1)].output[:, -1]
        layers(model)[2].output[:, -1] += part.input[:, -1] + part.output[:, -1]
        logits = model.lm_head.output.save()
        again = (cache[layer(model, 1)].output, len(part), cache.keys()).save()
    return logits, again


@experiment()
def attached_to_the_graph(model, remote):
    with model.trace(FRANCE, remote=remote) as tracer:
        cache = tracer.cache(detach=False)
    return [torch.is_tensor(entry.output) and entry.output.requires_grad for [entry] in cache._cache.entries.values()]


@experiment(local=False, fails=True)
def too_many_are_more_memory_than_there_is(model, remote):
    with model.trace(FRANCE, remote=remote) as tracer:
        for at in range(10**6):
            tracer.cache()


@experiment()
def with_gradients(model, remote):
    with model.trace(FRANCE, remote=remote) as tracer:
        cache = tracer.cache(modules=[layers(model)[1]], detach=False)
        loss = model.lm_head.output.sum()
        state = cache[layer(model, 1)].output
        with loss.backward():
            gradient = state.grad.save()
        flags = [state.requires_grad].save()
    return gradient, flags


@experiment()
def a_stop_ends_it_after_the_module(model, remote):
    with model.trace(FRANCE, remote=remote) as tracer:
        cache = tracer.cache()
        layers(model)[1].output
        tracer.stop()
    return kept(cache)


@experiment(fails=True)
def after_a_value_was_read(model, remote):
    with model.trace(FRANCE, remote=remote) as tracer:
        layers(model)[0].output
        tracer.cache()


@experiment(fails=True)
def outside_of_invokes(model, remote):
    with model.trace(remote=remote) as tracer:
        tracer.cache()
        with tracer.invoke(FRANCE):
            layers(model)[0].output


@experiment(fails=True)
def what_was_not_kept(model, remote):
    with model.trace(FRANCE, remote=remote) as tracer:
        cache = tracer.cache(modules=[layers(model)[0]])
        layers(model)[2].output
        cache[layer(model, 0)].output
        cache.transformer.h[1].output if "transformer" in layer(model, 0) else cache.model.model.layers[1].output
