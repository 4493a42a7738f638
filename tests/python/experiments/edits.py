"""`model.edit()`: interventions that every later trace begins with."""
import nnsight
import torch

from experiments import FRANCE, ITALY, LONG, attention, experiment, layers


@experiment()
def an_edited_copy_leaves_the_model_as_it_was(model, remote):
    with model.edit() as (tracer, edited):
        layers(edited)[1].mlp.output[:] = 0
    with edited.trace(FRANCE, remote=remote):
        zeroed = layers(edited)[1].mlp.output.save()
        changed = edited.lm_head.output[:, -1].save()
    with model.trace(FRANCE, remote=remote):
        clean = model.lm_head.output[:, -1].save()
    return zeroed, changed, clean


@experiment()
def edits_in_place_add_up_until_they_are_cleared(model, remote):
    scale, results = torch.linspace(0.5, 2, model.config.hidden_size), []
    try:
        for at in range(2):
            with model.edit(inplace=True):
                state = layers(model)[at].output
                layers(model)[at].output = state * scale + at
            with model.trace(FRANCE, remote=remote):
                logits = model.lm_head.output[:, -1].save()
            results.append(logits)
    finally:
        model.clear_edits()
    with model.trace(FRANCE, remote=remote):
        logits = model.lm_head.output[:, -1].save()
    return [*results, logits]


@experiment()
def an_edit_sees_the_rows_of_all_invokes(model, remote):
    with model.edit() as (tracer, edited):
        layers(edited)[0].output[0] = 0
    with edited.trace(remote=remote) as tracer:
        with tracer.invoke(FRANCE):
            first = layers(edited)[0].output.save()
        with tracer.invoke([ITALY, LONG]):
            second = layers(edited)[0].output.save()
            logits = edited.lm_head.output[:, -1].save()
    return first, second, logits


@experiment()
def a_generation_begins_with_the_edit(model, remote):
    direction = torch.arange(model.config.hidden_size) / 10

    def steer(state, by):
        return state + by * direction

    with model.edit() as (tracer, edited):
        layers(edited)[1].output = steer(layers(edited)[1].output, 3)
    with edited.generate(FRANCE, max_new_tokens=4, do_sample=False, remote=remote) as tracer:
        ids = tracer.result.save()
    return ids


@experiment()
def in_a_session_an_edit_can_hold_for_every_step(model, remote):
    with model.session(remote=remote):
        scale = 0.5
        with model.edit() as (editing, edited):
            for step in editing.iter[:]:
                layers(edited)[1].output[:] *= scale
        scale = 100
        with edited.generate(FRANCE, max_new_tokens=4, do_sample=False) as tracer:
            steps = list().save()
            for step in tracer.iter[:4]:
                steps.append(layers(edited)[1].output.clone())
        with model.trace(FRANCE):
            clean = layers(model)[1].output.save()
        with edited.edit() as (editing, twice):
            layers(twice)[2].mlp.output[:] = 0
        with twice.trace(FRANCE):
            both = twice.lm_head.output.save()
        with edited.trace(FRANCE):
            one = edited.lm_head.output.save()
    return steps, clean, both, one


@experiment()
def in_a_session_edits_in_place_hold_until_they_are_cleared(model, remote):
    with model.session(remote=remote):
        kept = list().save()
        for at in range(3):
            with model.edit(inplace=True):
                layers(model)[at].mlp.output = torch.zeros_like(layers(model)[at].mlp.output)
            with model.trace(FRANCE):
                kept.append(model.lm_head.output[:, -1])
        model.clear_edits()
        with model.trace(FRANCE):
            kept.append(model.lm_head.output[:, -1])
    return kept


@experiment()
def an_edit_depends_on_what_it_sees(model, remote):
    with model.edit() as (tracer, edited):
        first = layers(edited)[0].output
        if first[0, 0, 0] > 1e6:
            layers(edited)[1].output[:] = 0
        else:
            layers(edited)[1].output[:, -1] += first[:, -1]
        print("edited", tuple(first.shape))
    with edited.trace(FRANCE, remote=remote):
        logits = edited.lm_head.output[:, -1].save()
    return logits


@experiment()
def a_module_of_ones_own_is_a_part_of_the_edit(model, remote):
    torch.manual_seed(3)
    width = model.config.hidden_size
    low_rank = torch.nn.Sequential(torch.nn.Linear(width, 2, bias=False), torch.nn.Linear(2, width, bias=False))
    with model.edit() as (tracer, edited):
        module = layers(edited)[1].mlp
        added = low_rank(module.input)
        module.output = module.output + added
    with edited.trace(FRANCE, remote=remote):
        logits = edited.lm_head.output[:, -1].save()
    return logits


@experiment()
def a_cache_keeps_what_edits_made(model, remote):
    with model.edit() as (tracer, edited):
        layers(edited)[1].output[:] = 0
    with edited.trace(FRANCE, remote=remote) as tracer:
        cache = tracer.cache(modules=list(layers(edited)))
    return [cache[path].output for path in cache.keys()]


@experiment()
def operations_can_be_edited(model, remote):
    with model.edit() as (tracer, edited):
        edited_attention = attention(layers(edited)[1])
        edited_attention.source.attention_interface_1.output[0][:] = 0
    with edited.trace(FRANCE, remote=remote):
        logits = edited.lm_head.output[:, -1].save()
    return logits


@experiment()
def gradients_flow_through_edits(model, remote):
    with model.edit() as (tracer, edited):
        layers(edited)[2].output = layers(edited)[2].output * 2
    with edited.trace(FRANCE, remote=remote):
        state = layers(edited)[0].output
        state.requires_grad_(True)
        with edited.lm_head.output.sum().backward():
            gradient = state.grad.save()
    return gradient


@experiment(fails=True)
def an_edit_that_fails(model, remote):
    with model.edit() as (tracer, edited):
        layers(edited)[0].output[:, :, 10**6] = 0
    with edited.trace(FRANCE, remote=remote):
        logits = edited.lm_head.output.save()


@experiment(fails=True)
def an_edit_of_a_place_that_never_comes(model, remote):
    with model.edit() as (tracer, edited):
        layers(edited)[1].output
        layers(edited)[0].output[:] = 0
    with edited.trace(FRANCE, remote=remote):
        logits = edited.lm_head.output.save()


@experiment()
def a_scan_shows_shapes(model, remote):
    with model.session(remote=remote):
        with model.scan(FRANCE):
            shape = layers(model)[0].output.shape
            kind = layers(model)[1].output.dtype
        width = nnsight.save(shape[-1])
        sizes = nnsight.save(list(shape))
        with model.trace(FRANCE):
            layers(model)[0].output[:, :, : width // 2] = 0
            logits = model.lm_head.output.save()
    return width, sizes, logits
