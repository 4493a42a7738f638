"""Many traces in one request."""
import nnsight
import torch

from experiments import FRANCE, ITALY, LONG, attention, experiment, layers, norm


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
def a_grid_of_patches(model, remote):
    with model.session(remote=remote):
        with model.trace(ITALY):
            clean = [layer.output for layer in layers(model)]
            best = model.lm_head.output[0, -1].argmax()
        grid = list().save()
        for layer in range(len(layers(model))):
            row = []
            for position in range(0, 5, 2):
                with model.trace(FRANCE):
                    layers(model)[layer].output[:, position] = clean[layer][:, position]
                    row.append(model.lm_head.output[0, -1, best])
            grid.append(row)
    return grid


@experiment()
def a_table_filled_by_traces(model, remote):
    with model.session(remote=remote):
        table = nnsight.save(torch.zeros(4, 3))
        found = dict().save()
        for layer in range(4):
            for scale in range(3):
                with model.trace(FRANCE):
                    layers(model)[layer].mlp.output[:] *= scale
                    logits = model.lm_head.output[0, -1]
                    table[layer, scale] = logits[7]
                    found[layer, scale] = logits.argmax()
        last = nnsight.save(table.sum())
    return table, found, last


@experiment()
def decisions_between_traces(model, remote):
    with model.session(remote=remote):
        found, total = list().save(), 0
        for prompt in (FRANCE, ITALY, LONG):
            with model.trace(prompt):
                logits = model.lm_head.output[0, -1]
            best = logits.argmax().item()
            if best % 2:
                with model.trace(prompt):
                    layers(model)[0].output[:, -1] = 0
                    best = model.lm_head.output[0, -1].argmax().item()
                found.append(("odd", best))
            else:
                found.append(("even", best))
            total += best
        total = nnsight.save(total)
    return found, total


@experiment()
def a_search_that_ends_early(model, remote):
    with model.session(remote=remote):
        with model.trace(FRANCE):
            before = model.lm_head.output[0, -1].argmax().item().save()
        tried = list().save()
        for scale in (0.9, 0.5, 0.1, -1.0, -5.0, -50.0):
            with model.trace(FRANCE):
                layers(model)[1].output[:, -1] *= scale
                after = model.lm_head.output[0, -1].argmax().item()
            tried.append((scale, after))
            if after != before:
                break
            continue
        else:
            tried.append("never")
    return before, tried


@experiment()
def mean_ablation(model, remote):
    with model.session(remote=remote):
        states = []
        for prompt in (FRANCE, ITALY, LONG):
            with model.trace(prompt):
                states.append(layers(model)[2].mlp.output[:, -1])
        mean = torch.cat(states).mean(0)
        with model.trace(FRANCE):
            layers(model)[2].mlp.output[:] = mean
            logits = model.lm_head.output[0, -1].save()
        mean = mean.save()
    return mean, logits


@experiment()
def traces_and_generation(model, remote):
    with model.session(remote=remote):
        with model.trace(ITALY):
            vector = layers(model)[1].output[0, -1]
        with model.generate(FRANCE, max_new_tokens=4, do_sample=False) as tracer:
            for step in tracer.iter[:4]:
                layers(model)[1].output[:, -1] += vector
            ids = tracer.result.save()
        with model.trace(ids):
            logits = model.lm_head.output[0, -1].save()
    return ids, logits


@experiment()
def a_function_that_traces(model, remote):
    def state_of(prompt, layer):
        with model.trace(prompt):
            state = layers(model)[layer].output[0, -1].clone()
        return state

    with model.session(remote=remote):
        distances = [(state_of(FRANCE, layer) - state_of(ITALY, layer)).norm() for layer in range(4)]
        distances = nnsight.save(torch.stack(distances))
    return distances


@experiment()
def errors_that_are_caught(model, remote):
    with model.session(remote=remote):
        found = list().save()
        for place in (0, 99, 1):
            try:
                with model.trace(FRANCE):
                    found.append(layers(model)[1].output[0, place, :4])
            except IndexError as error:
                found.append(str(error))
            finally:
                found.append(place)
    return found


@experiment(fails=True)
def an_error_in_a_later_trace(model, remote):
    with model.session(remote=remote):
        found = list().save()
        for place in (0, 1, 99, 2):
            with model.trace(FRANCE):
                state = layers(model)[1].output
                found.append(state[0, place])
        print("never")
    return found


@experiment()
def numbers_drawn_in_their_order(model, remote):
    with model.session(remote=remote):
        torch.manual_seed(9)
        found = list().save()
        for turn in range(3):
            with model.trace(FRANCE):
                noise = torch.randn(64)
                layers(model)[1].output[:, -1] += noise
                found.append((noise[:3], model.lm_head.output[0, -1, :3]))
        after = torch.rand(2).save()
    return found, after


@experiment(shared=False)
def optimising_a_vector(model, remote):
    with model.session(remote=remote):
        torch.manual_seed(1)
        vector, losses = torch.zeros(64), list().save()
        for step in range(3):
            with model.trace(FRANCE):
                leaf = vector.clone().requires_grad_()
                layers(model)[1].output[:, -1] += leaf
                loss = -model.lm_head.output[0, -1].log_softmax(-1)[42]
                gradient = torch.autograd.grad(loss, leaf)[0]
            vector = vector - 0.5 * gradient
            losses.append(loss.item())
        vector = vector.save()
    return vector, losses


@experiment()
def traces_of_different_kinds(model, remote):
    with model.session(remote=remote):
        with model.trace([FRANCE, LONG]):
            batch = layers(model)[1].output[:, -1]
        with model.trace() as tracer:
            with tracer.invoke(ITALY):
                layers(model)[1].output[:, -1] = batch[0]
                one = model.lm_head.output[:, -1].save()
            with tracer.invoke([[7, 8, 9]]):
                layers(model)[1].output[:, -1] = batch[1]
                two = model.lm_head.output[:, -1].save()
        with model.trace(FRANCE, use_cache=False):
            three = model.output.logits[0, -1].save()
    return one, two, three


@experiment()
def prints_between_traces(model, remote):
    with model.session(remote=remote):
        print("before")
        for turn in range(3):
            with model.trace(FRANCE):
                state = layers(model)[turn].output
                print("inside", turn, tuple(state.shape))
            print("outside", turn)
        best = list().save()
        with model.trace(ITALY):
            best.append(model.lm_head.output[0, -1].argmax().item())
        print("after", len(best))
    return best
