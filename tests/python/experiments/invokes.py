"""Several prompts in one trace."""
import nnsight
import torch

from experiments import FRANCE, ITALY, LONG, experiment, layers, norm


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
def invokes_of_one_length(model, remote):
    with model.trace(remote=remote) as tracer:
        with tracer.invoke(FRANCE):
            layers(model)[1].output[:, -1] = 0
            first = layers(model)[3].output.save()
        with tracer.invoke(ITALY):
            second = layers(model)[3].output.save()
        with tracer.invoke(FRANCE):
            third = layers(model)[3].output.save()
    return first, second, third


@experiment()
def invokes_of_several_rows(model, remote):
    with model.trace(remote=remote) as tracer:
        with tracer.invoke([FRANCE, LONG]):
            layers(model)[1].output = layers(model)[1].output * torch.tensor([[[1.0]], [[0.5]]])
            two = model.lm_head.output[:, -1].save()
        with tracer.invoke(ITALY):
            one = model.lm_head.output[:, -1].save()
        with tracer.invoke([[5, 6, 7], [8, 9, 10], [11, 12, 13]]):
            three = layers(model)[2].output[:, -2:].save()
    return two, one, three


@experiment()
def empty_invokes_see_and_edit_all_rows(model, remote):
    with model.trace(remote=remote) as tracer:
        with tracer.invoke(FRANCE):
            first = model.lm_head.output[:, -1].save()
        with tracer.invoke():
            layers(model)[1].output[:, -1] = 0.5
        with tracer.invoke(LONG):
            second = model.lm_head.output[:, -1].save()
        with tracer.invoke():
            state = layers(model)[2].output.save()
    return first, second, state


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
def a_barrier_of_three(model, remote):
    with model.trace(remote=remote) as tracer:
        barrier = tracer.barrier(3)
        with tracer.invoke(ITALY):
            italian = layers(model)[1].output[:, -1].clone()
            barrier()
        with tracer.invoke(FRANCE):
            french = layers(model)[1].output[:, -1].clone()
            barrier()
        with tracer.invoke(LONG):
            barrier()
            layers(model)[1].output[:, -1] = (italian + french) / 2
            logits = model.lm_head.output[:, -1].save()
    return logits


@experiment()
def two_barriers_back_and_forth(model, remote):
    with model.trace(remote=remote) as tracer:
        first, second = tracer.barrier(2), tracer.barrier(2)
        with tracer.invoke(ITALY):
            early = layers(model)[0].output.clone()
            first()
            second()
            layers(model)[3].output[:, 0] = late
            one = model.lm_head.output.save()
        with tracer.invoke(FRANCE):
            first()
            layers(model)[1].output[:, 1] = early[:, 1]
            late = layers(model)[2].output[:, -1].clone()
            second()
            two = model.lm_head.output.save()
    return one, two


@experiment()
def invokes_in_a_loop(model, remote):
    prompts = [FRANCE, LONG, ITALY, "Paris"]
    with model.trace(remote=remote) as tracer:
        found = dict().save()
        for place, prompt in enumerate(prompts):
            with tracer.invoke(prompt):
                layers(model)[place].output[:, 0] *= place
                found[prompt] = model.lm_head.output[0, -1].topk(3).values
    return found


@experiment()
def every_invoke_leaves_a_layer_out(model, remote):
    with model.trace(remote=remote) as tracer:
        with tracer.invoke(FRANCE):
            layers(model)[1].skip(layers(model)[1].input)
            one = model.lm_head.output[:, -1].save()
        with tracer.invoke(LONG):
            layers(model)[1].skip(layers(model)[1].input * 2)
            two = model.lm_head.output[:, -1].save()
    return one, two


@experiment()
def a_stop_in_one_invoke_stops_all(model, remote):
    with model.trace(remote=remote) as tracer:
        with tracer.invoke(FRANCE):
            first = layers(model)[0].output.save()
        with tracer.invoke(LONG):
            second = layers(model)[1].mlp.output.save()
            tracer.stop()
    return first, second


@experiment()
def contrasting_prompts(model, remote):
    positive, negative = ["It was the best of times", "Mary gave a drink"], ["It was", "John had a long argument"]
    with model.session(remote=remote):
        states = {True: [], False: []}
        with model.trace() as tracer:
            for good, prompts in ((True, positive), (False, negative)):
                for prompt in prompts:
                    with tracer.invoke(prompt):
                        states[good].append(layers(model)[2].output[:, -1])
        direction = torch.cat(states[True]).mean(0) - torch.cat(states[False]).mean(0)
        direction = (direction / direction.norm()).save()
        with model.trace([FRANCE, LONG]):
            layers(model)[2].output[:] += 3 * direction
            logits = model.lm_head.output[:, -1].save()
    return direction, logits


@experiment(fails=True)
def a_value_that_another_invoke_has_yet_to_bind(model, remote):
    with model.trace(remote=remote) as tracer:
        with tracer.invoke(ITALY):
            state = layers(model)[1].output[:, -1]
        with tracer.invoke(FRANCE):
            layers(model)[2].output[:, -1] = state
            logits = model.lm_head.output.save()
    return logits


@experiment(fails=True)
def a_barrier_that_nobody_reaches(model, remote):
    with model.trace(remote=remote) as tracer:
        barrier = tracer.barrier(3)
        with tracer.invoke(ITALY):
            state = layers(model)[1].output[:, -1]
            barrier()
        with tracer.invoke(FRANCE):
            barrier()
            logits = model.lm_head.output.save()
    return state, logits


@experiment(fails=True)
def a_layer_that_only_one_invoke_leaves_out(model, remote):
    with model.trace(remote=remote) as tracer:
        with tracer.invoke(FRANCE):
            layers(model)[1].skip(layers(model)[1].input)
            one = model.lm_head.output[:, -1].save()
        with tracer.invoke(ITALY):
            two = model.lm_head.output[:, -1].save()
    return one, two
