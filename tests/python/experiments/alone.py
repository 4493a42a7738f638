"""Traces and edits of one module by itself, in sessions and as requests of their own."""
import nnsight
import torch
from nnsight.intervention.backends.remote import RemoteBackend

from experiments import FRANCE, ITALY, attention, embeddings, experiment, layers, norm


def backend(model, remote):
    """What a trace of a module is sent by, which takes no `remote`."""
    return {"backend": RemoteBackend(model.to_model_key(), env=model._remoteable_get_env())} if remote else {}


@experiment()
def a_layer_on_what_it_was_given(model, remote):
    with model.session(remote=remote):
        with model.trace(FRANCE):
            hidden = layers(model)[0].output.clone()
            expected = layers(model)[1].mlp.output.save()
            whole = norm(model).input[0, -1].save()
        with layers(model)[1].mlp.trace(hidden) as tracer:
            given = layers(model)[1].mlp.input.save()
            inner = list(layers(model)[1].mlp)[0].output.save()
            own = layers(model)[1].mlp.output.save()
            result = tracer.result.save()
    return expected, whole, given, inner, own, result


@experiment()
def edits_inside_a_module(model, remote):
    torch.manual_seed(0)
    states = torch.randn(3, 5, norm(model).weight.shape[0])
    mlp = layers(model)[0].mlp
    with model.session(remote=remote):
        with mlp.trace(states):
            plain = mlp.output.save()
        with mlp.trace(states):
            mlp.input[:, 1] = 0
            first = list(mlp)[0]
            first.output = first.output * 2
            mlp.output[0] += 1
            changed = mlp.output.save()
        with mlp.trace(states):
            mlp.skip(states + 1)
            skipped = mlp.output.save()
        with mlp.trace(states[0]):
            flat = mlp.output.save()
    return plain, changed, skipped, flat


@experiment()
def a_request_of_one_module(model, remote):
    torch.manual_seed(1)
    states = torch.randn(2, 3, norm(model).weight.shape[0])
    last = norm(model)
    with last.trace(states, **backend(model, remote)) as tracer:
        given = last.inputs.save()
        out = last.output.save()
        result = tracer.result.save()
    with model.lm_head.trace(states[:1], **backend(model, remote)):
        top = model.lm_head.output.topk(3).indices.save()
    return given, out, result, top


@experiment()
def the_model_below_its_head(model, remote):
    base = model.transformer if hasattr(model, "transformer") else model.model
    ids = model.tokenizer([FRANCE, ITALY], return_tensors="pt")["input_ids"]
    with model.session(remote=remote):
        with base.trace(ids) as tracer:
            middle = layers(model)[1].output.save()
            last = base.output.last_hidden_state.save()
            result = tracer.result[0].save()
        with base.trace(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False):
            layers(model)[0].output[:, -1] = 0
            changed = base.output[0].save()
            length = len(base.output)
            nnsight.save(length)
    return middle, last, result, changed, length


@experiment()
def embeddings_alone(model, remote):
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    wte = embeddings(model)
    with model.session(remote=remote):
        with wte.trace(ids):
            own = wte.output.save()
        with wte.trace(ids[0]):
            row = wte.output.save()
        with wte.trace(input=ids):
            named = wte.inputs[1]["input"].save()
    return own, row, named


@experiment()
def an_invoke_of_one_module(model, remote):
    torch.manual_seed(2)
    states = torch.randn(2, 3, norm(model).weight.shape[0])
    mlp = layers(model)[0].mlp
    with model.session(remote=remote):
        with mlp.trace() as tracer:
            with tracer.invoke(states):
                mlp.output[:] = mlp.output * 2
            with tracer.invoke():
                seen = mlp.output.save()
        with mlp.trace(states) as tracer:
            cache = tracer.cache(modules=[mlp])
            tracer.stop()
    return seen


@experiment()
def gradients_through_one_module(model, remote):
    torch.manual_seed(3)
    states = torch.randn(1, 4, norm(model).weight.shape[0], requires_grad=True)
    mlp = layers(model)[1].mlp
    with model.session(remote=remote):
        with mlp.trace(states):
            given = mlp.input
            loss = mlp.output.pow(2).sum()
            with loss.backward():
                gradient = given.grad.save()
        with model.trace(FRANCE):
            hidden = layers(model)[0].output.detach().clone()
        weights = []
        for scale in (0.5, 1.0):
            with mlp.trace((hidden * scale).requires_grad_()):
                at = mlp.input
                with mlp.output.sum().backward():
                    weights.append(at.grad.norm())
        norms = torch.stack(weights).save()
    return gradient, norms


@experiment()
def an_edit_of_one_module(model, remote):
    torch.manual_seed(4)
    states = torch.randn(1, 3, norm(model).weight.shape[0])
    mlp = layers(model)[0].mlp
    with model.session(remote=remote):
        with mlp.edit() as (tracer, doubled):
            doubled.output = doubled.output * 2
        with doubled.trace(states):
            edited = doubled.output.save()
        with mlp.trace(states):
            plain = mlp.output.save()
        with mlp.edit(inplace=True):
            mlp.output = mlp.output + 1
        with mlp.trace(states):
            shifted = mlp.output.save()
        with model.trace(FRANCE):
            whole = mlp.output[0, 0].save()
        mlp.clear_edits()
        with mlp.trace(states):
            cleared = mlp.output.save()
    return edited, plain, shifted, whole, cleared


@experiment()
def an_edit_made_before(model, remote):
    torch.manual_seed(5)
    states = torch.randn(1, 3, norm(model).weight.shape[0])
    mlp = layers(model)[1].mlp
    with mlp.edit(inplace=True):
        mlp.output = mlp.output * 3
    try:
        with model.session(remote=remote):
            with mlp.trace(states):
                own = mlp.output.save()
            with model.trace(FRANCE):
                whole = mlp.output[0, 0].save()
    finally:
        mlp.clear_edits()
    return own, whole


@experiment()
def a_layer_with_its_own_arguments(model, remote):
    """Of Llama's layers and attention, what is computed once for all of them has to be given."""
    layer = layers(model)[1]
    with model.session(remote=remote):
        with model.trace(FRANCE):
            args, kwargs = layer.inputs
            kwargs = {name: value for name, value in kwargs.items() if name in ("position_embeddings", "position_ids")}
            hidden = args[0].clone()
            expected = layer.output.save()
        with layer.trace(hidden, **kwargs):
            names = sorted(layer.inputs[1]).save()
            inside = attention(layer).output[0].save()
            own = layer.output.save()
    return expected, inside, names, own


@experiment("gpt2")
def attention_weights_of_a_module_by_itself(model, remote):
    eager = model.eager
    block = attention(layers(eager)[1])
    with eager.session(remote=remote):
        with eager.trace(FRANCE):
            hidden = block.inputs[0][0].clone()
        with eager.trace(FRANCE):
            called = block(hidden)[1].save()
        with block.trace(hidden):
            own = block.output[1].save()
    return called, own


@experiment(fails=True)
def text_for_a_module(model, remote):
    with model.session(remote=remote):
        with layers(model)[0].mlp.trace():
            out = layers(model)[0].mlp.output.save()
    return out


@experiment(fails=True)
def what_lies_outside_of_the_module(model, remote):
    states = torch.zeros(1, 2, norm(model).weight.shape[0])
    with model.session(remote=remote):
        with layers(model)[0].mlp.trace(states):
            out = model.lm_head.output.save()
    return out


@experiment(fails=True)
def two_invokes_of_one_module(model, remote):
    states = torch.zeros(1, 2, norm(model).weight.shape[0])
    with model.session(remote=remote):
        with layers(model)[0].mlp.trace() as tracer:
            with tracer.invoke(states):
                one = layers(model)[0].mlp.output.save()
            with tracer.invoke(states):
                two = layers(model)[0].mlp.output.save()
    return one, two
