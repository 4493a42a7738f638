"""`model.pipe()`: generation with the text-generation pipeline around it."""
import torch

from experiments import FRANCE, ITALY, LONG, experiment, layers


@experiment()
def a_text_becomes_a_record(model, remote):
    with model.pipe(FRANCE, max_new_tokens=4, do_sample=False, remote=remote) as tracer:
        out = tracer.result.save()
    return out


@experiment()
def several_texts_are_one_batch(model, remote):
    with model.pipe([FRANCE, LONG, ITALY], max_new_tokens=3, do_sample=False, remote=remote) as tracer:
        first = layers(model)[1].output.save()
        out = tracer.result.save()
    return first, out


@experiment()
def interventions_change_what_is_written(model, remote):
    with model.pipe(FRANCE, max_new_tokens=3, do_sample=False, return_full_text=False, remote=remote) as tracer:
        steps = list().save()
        for step in tracer.iter[:3]:
            layers(model)[2].output[:, -1] = step * 10.0
            steps.append(model.lm_head.output[:, -1].argmax(-1))
        out = tracer.result.save()
    return steps, out


@experiment()
def a_pipeline_samples_unless_it_is_told_not_to(model, remote):
    with model.session(remote=remote):
        torch.manual_seed(5)
        with model.pipe(FRANCE, max_new_tokens=5) as tracer:
            first = tracer.result.save()
        torch.manual_seed(5)
        with model.generate(FRANCE, max_new_tokens=5, do_sample=True, temperature=0.7) as tracer:
            ids = tracer.result[0].tolist()
        text = model.tokenizer.decode(ids).save()
    return first, text, first[0]["generated_text"] == text


@experiment()
def tokens_instead_of_text(model, remote):
    with model.pipe(FRANCE, max_new_tokens=3, do_sample=False, return_tensors=True, remote=remote) as tracer:
        out = tracer.result.save()
    return out


@experiment()
def up_to_a_length(model, remote):
    with model.pipe(FRANCE, max_length=16, do_sample=False, skip_special_tokens=False, remote=remote) as tracer:
        out = tracer.result.save()
    return out


@experiment(fails=True)
def arguments_that_exclude_each_other(model, remote):
    with model.pipe(FRANCE, max_new_tokens=3, return_full_text=True, return_tensors=True, remote=remote) as tracer:
        out = tracer.result.save()


@experiment(fails=True)
def nothing_passes_through_the_streamer(model, remote):
    with model.pipe(FRANCE, max_new_tokens=2, do_sample=False, remote=remote) as tracer:
        ids = model.generator.streamer.output.save()


@experiment(fails=True, local=False)
def what_is_no_text_is_refused(model, remote):
    with model.pipe([[1, 2, 3]], max_new_tokens=2, do_sample=False, remote=remote) as tracer:
        out = tracer.result.save()
