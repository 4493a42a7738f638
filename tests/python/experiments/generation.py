"""Generation: reading and steering each step."""
import nnsight
import torch

from experiments import FRANCE, ITALY, LONG, attention, experiment, layers, norm


@experiment()
def greedy_generation(model, remote):
    with model.generate(FRANCE, max_new_tokens=5, do_sample=False, remote=remote) as tracer:
        ids = tracer.result.save()
        text = model.tokenizer.batch_decode(ids).save()
    return ids, text


@experiment()
def every_step_of_a_generation(model, remote):
    with model.generate(FRANCE, max_new_tokens=4, do_sample=False, remote=remote) as tracer:
        steps = list().save()
        for step in tracer.iter[0:4]:
            steps.append(model.lm_head.output[0, -1].argmax())
    return steps


@experiment()
def logits_of_every_step(model, remote):
    with model.generate(FRANCE, max_new_tokens=4, do_sample=False, remote=remote) as tracer:
        logits, lengths = list().save(), list().save()
        for step in tracer.iter[:]:
            lengths.append((step, tuple(layers(model)[0].output.shape)))
            logits.append(model.lm_head.output[:, -1])
    return logits, lengths


@experiment()
def all_steps_without_a_number(model, remote):
    with model.generate(FRANCE, max_new_tokens=3, do_sample=False, remote=remote) as tracer:
        states = list().save()
        for _ in tracer.all():
            states.append(layers(model)[-1].output[:, -1])
    return states


@experiment()
def some_steps(model, remote):
    with model.generate(FRANCE, max_new_tokens=5, min_new_tokens=5, do_sample=False, remote=remote) as tracer:
        states = list().save()
        for step in tracer.iter[1:4:2]:
            states.append(layers(model)[1].output[:, -1])
    with model.generate(FRANCE, max_new_tokens=5, min_new_tokens=5, do_sample=False, remote=remote) as tracer:
        for step in tracer.iter[3]:
            fourth = layers(model)[1].output.save()
    return states, fourth


@experiment()
def steering_every_step(model, remote):
    torch.manual_seed(0)
    vector = torch.randn(64)
    with model.generate(FRANCE, max_new_tokens=5, do_sample=False, remote=remote) as tracer:
        for step in tracer.iter[:5]:
            layers(model)[2].output[:, -1] += 2 * vector
        ids = tracer.result.save()
    return ids


@experiment()
def another_edit_at_every_step(model, remote):
    with model.generate(FRANCE, max_new_tokens=5, min_new_tokens=5, do_sample=False, remote=remote) as tracer:
        states = list().save()
        for step in tracer.iter[:5]:
            if step == 2:
                layers(model)[0].output[:] = 0
            elif step % 2:
                layers(model)[0].output *= 1.5
            states.append(layers(model)[-1].output[:, -1])
        ids = tracer.result.save()
    return states, ids


@experiment()
def edits_of_the_logits_choose_the_tokens(model, remote):
    with model.generate(FRANCE, max_new_tokens=4, do_sample=False, remote=remote) as tracer:
        for step in tracer.iter[:4]:
            model.lm_head.output[:, :, 40 + step] = 1000
        ids = tracer.result.save()
    return ids


@experiment()
def sampling_with_a_seed(model, remote):
    with model.generate(FRANCE, max_new_tokens=6, do_sample=True, temperature=0.7, top_k=50, remote=remote) as tracer:
        torch.manual_seed(7)
        layers(model)[0].output.shape
        ids = tracer.result.save()
    return ids


@experiment()
def sampling_from_the_most_likely(model, remote):
    found = []
    for arguments in ({"top_p": 0.8}, {"top_k": 5}, {"temperature": 2.0}, {"repetition_penalty": 1.3, "do_sample": False}):
        with model.generate(FRANCE, max_new_tokens=5, **{"do_sample": True, **arguments}, remote=remote) as tracer:
            torch.manual_seed(3)
            layers(model)[0].output.shape
            ids = tracer.result.save()
        found.append(ids)
    return found


@experiment(local=False)
def sampling_without_a_seed(model, remote):
    # A job's random numbers are its own from the start, and the same in each run.
    with model.generate(FRANCE, max_new_tokens=6, do_sample=True, remote=remote) as tracer:
        ids = tracer.result.save()
    return ids


@experiment()
def rows_of_a_batch_generate(model, remote):
    with model.generate([FRANCE, LONG, "Paris"], max_new_tokens=4, do_sample=False, remote=remote) as tracer:
        logits = list().save()
        for step in tracer.iter[:4]:
            layers(model)[1].output[1] *= 0.5
            logits.append(model.lm_head.output[:, -1])
        ids = tracer.result.save()
    return logits, ids


@experiment()
def invokes_generate(model, remote):
    with model.generate(max_new_tokens=4, do_sample=False, remote=remote) as tracer:
        with tracer.invoke(FRANCE):
            first = list().save()
            for step in tracer.iter[:4]:
                first.append(model.lm_head.output[:, -1].argmax(-1))
        with tracer.invoke(LONG):
            for step in tracer.iter[:3]:
                layers(model)[1].output[:, -1] *= 2
                second = model.lm_head.output[:, -1].save()
        with tracer.invoke():
            ids = tracer.result.save()
    return first, second, ids


@experiment()
def a_layer_left_out_of_the_first_steps(model, remote):
    with model.generate(FRANCE, max_new_tokens=4, min_new_tokens=4, do_sample=False, remote=remote) as tracer:
        for step in tracer.iter[:2]:
            layers(model)[2].skip(layers(model)[2].input)
        ids = tracer.result.save()
    return ids


@experiment()
def a_stop_in_the_middle(model, remote):
    with model.generate(FRANCE, max_new_tokens=8, do_sample=False, remote=remote) as tracer:
        states = list().save()
        for step in tracer.iter[:8]:
            states.append(layers(model)[1].output[:, -1])
            if step == 2:
                tracer.stop()
    return states


@experiment()
def keys_and_values_of_steps(model, remote):
    with model.generate(FRANCE, max_new_tokens=3, min_new_tokens=3, do_sample=False, remote=remote) as tracer:
        lengths = list().save()
        for step in tracer.iter[:3]:
            lengths.append((step, tuple(attention(layers(model)[1]).output[0].shape)))
        generated = model.generator.output.save()
    return lengths, generated


@experiment()
def tokens_as_they_are_streamed(model, remote):
    with model.generate(FRANCE, max_new_tokens=3, min_new_tokens=3, do_sample=False, remote=remote) as tracer:
        tokens = list().save()
        for step in tracer.iter[:4]:
            tokens.append(model.generator.streamer.output)
    return tokens


@experiment()
def a_lens_on_every_step(model, remote):
    last = norm(model)
    with model.generate(ITALY, max_new_tokens=3, min_new_tokens=3, do_sample=False, remote=remote) as tracer:
        tokens = list().save()
        for step in tracer.iter[:3]:
            tokens.append([model.lm_head(last(layer.output))[0, -1].argmax().item() for layer in layers(model)])
    return tokens
