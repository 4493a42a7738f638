"""Gradients of activations."""
import functools

import nnsight
import torch

import experiments
from experiments import FRANCE, ITALY, LONG, layers

# A job that records gradients has passes of its own.
experiment = functools.partial(experiments.experiment, shared=False)


@experiment()
def gradients_of_hidden_states(model, remote):
    with model.trace(FRANCE, remote=remote):
        states = [layer.output for layer in layers(model)]
        required = [state.requires_grad and not state.is_leaf for state in states].save()
        loss = model.lm_head.output[:, -1].logsumexp(-1).sum()
        with loss.backward():
            gradients = [state.grad for state in reversed(states)].save()
        loss = loss.detach().save()
    return gradients, loss, required


@experiment()
def gradients_of_every_kind_of_module(model, remote):
    with model.trace(FRANCE, remote=remote):
        layer = layers(model)[1]
        norm = (layer.ln_1 if hasattr(layer, "ln_1") else layer.input_layernorm).output
        attention = (layer.attn if hasattr(layer, "attn") else layer.self_attn).output[0]
        hidden = layer.mlp.input
        mlp = layer.mlp.output
        logits = model.lm_head.output
        loss = torch.nn.functional.cross_entropy(logits[0], torch.arange(logits.shape[1]))
        with loss.backward():
            gradients = {"logits": logits.grad, "mlp": mlp.grad, "hidden": hidden.grad}
            gradients.update(attention=attention.grad, norm=norm.grad)
            gradients.save()
    return gradients


@experiment()
def gradients_of_embeddings(model, remote):
    with model.trace(FRANCE, remote=remote):
        embedded = (model.transformer.wte if hasattr(model, "transformer") else model.model.embed_tokens).output
        with model.lm_head.output[0, -1].max().backward():
            gradient = embedded.grad.save()
    return gradient


@experiment("gpt2")
def gradients_of_position_embeddings(model, remote):
    with model.trace([FRANCE, LONG], remote=remote):
        positions = model.transformer.wpe.output
        with model.lm_head.output[:, -1].max(-1).values.sum().backward():
            gradient = positions.grad.save()
    return gradient


@experiment("gpt2")
def gradients_of_attention_weights(model, remote):
    model = model.eager
    with model.trace(FRANCE, remote=remote):
        weights = model.transformer.h[1].attn.output[1]
        with model.lm_head.output[0, -1, 7].backward():
            gradient = weights.grad.save()
    return gradient


@experiment()
def a_replaced_gradient_flows_on(model, remote):
    with model.trace(FRANCE, remote=remote):
        early, late = layers(model)[0].output, layers(model)[2].output
        with model.lm_head.output.sum().backward():
            raw = late.grad.clone().save()
            late.grad = late.grad * 2
            twice = late.grad.save()
            gradient = early.grad.save()
    return raw, twice, gradient


@experiment()
def a_gradient_edited_in_place_flows_on(model, remote):
    with model.trace(FRANCE, remote=remote):
        early, late = layers(model)[0].output, layers(model)[2].output
        with model.lm_head.output.pow(2).sum().backward():
            late.grad[:, :-1] = 0
            gradient = early.grad.save()
    return gradient


@experiment()
def two_losses_over_one_graph(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        logits = model.lm_head.output
        first = logits[0, -1, 3]
        second = logits[0, -1, 5]
        with first.backward(retain_graph=True):
            one = state.grad.save()
        with second.backward(retain_graph=True):
            two = state.grad.save()
        with (first + 2 * second).backward():
            both = state.grad.save()
    return one, two, both


@experiment()
def a_gradient_to_begin_with(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        logits = model.lm_head.output
        with logits.backward(gradient=torch.ones_like(logits) * 0.5):
            gradient = state.grad.save()
    return gradient


@experiment(fails=True)
def a_graph_is_walked_once(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        loss = model.lm_head.output.sum()
        with loss.backward():
            once = state.grad.save()
        with loss.backward():
            again = state.grad.save()
    return once, again


@experiment()
def the_order_is_that_of_the_backward_pass(model, remote):
    with model.trace(FRANCE, remote=remote):
        early, late = layers(model)[0].output, layers(model)[2].output
        loss = model.lm_head.output.sum()
        raised = "nothing"
        try:
            with loss.backward():
                early.grad
                late.grad
        except Exception:
            raised = "caught"
        raised = nnsight.save(raised)
    return raised


@experiment()
def what_takes_no_part_gets_no_gradient(model, remote):
    with model.trace(FRANCE, remote=remote):
        early, late = layers(model)[0].output, layers(model)[2].output
        raised = "nothing"
        try:
            with early.sum().backward():
                late.grad
        except Exception:
            raised = "caught"
        raised = nnsight.save(raised)
    return raised


@experiment()
def an_exception_in_the_block_ends_the_pass(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        raised = "nothing"
        try:
            with model.lm_head.output.sum().backward():
                if state.grad.shape[0] == 1:
                    raise ValueError("one row")
        except ValueError as error:
            raised = str(error)
        raised = nnsight.save(raised)
    return raised


@experiment(fails=True)
def a_replacement_of_another_shape(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        with model.lm_head.output.sum().backward():
            state.grad = state.grad @ torch.ones(3, 3)
    return None


@experiment(fails=True)
def a_tensor_without_grad_has_no_backward_block(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output.detach()
        with state.sum().backward():
            gradient = state.grad.save()
    return gradient


@experiment(fails=True)
def generation_records_nothing(model, remote):
    with model.generate(FRANCE, max_new_tokens=2, do_sample=False, remote=remote):
        with model.lm_head.output.sum().backward():
            pass
    return None


@experiment()
def plain_backward_and_leaves(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        state.retain_grad()
        bias = torch.zeros(state.shape[-1], requires_grad=True)
        layers(model)[2].mlp.output = layers(model)[2].mlp.output + bias
        loss = model.lm_head.output[0, -1].logsumexp(0)
        loss.backward(retain_graph=True)
        once = [state.grad.clone(), bias.grad.clone()].save()
        loss.backward()
        twice = [state.grad, bias.grad].save()
    return once, twice


@experiment()
def an_activation_made_a_leaf(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output.detach().clone().requires_grad_()
        layers(model)[1].output = state
        with model.lm_head.output[0, -1].max().backward():
            gradient = state.grad.save()
    return gradient


@experiment()
def requires_grad_of_an_activation(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output.requires_grad_()
        loss = model.lm_head.output[0, -1].max()
        loss.backward()
        none = state.grad.save()
        flags = [state.requires_grad, state.is_leaf, loss.detach().requires_grad].save()
    return none, flags


@experiment()
def gradients_behind_a_constant(model, remote):
    with model.trace(FRANCE, remote=remote):
        layers(model)[0].output = torch.full_like(layers(model)[0].output, 0.25).detach()
        state = layers(model)[2].mlp.output
        with model.lm_head.output[0, -1].max().backward():
            gradient = state.grad.save()
    return gradient


@experiment()
def autograd_functions(model, remote):
    with model.trace(FRANCE, remote=remote):
        early, late = layers(model)[0].output, layers(model)[2].output
        loss = model.lm_head.output.pow(2).mean()
        gradients = list(torch.autograd.grad(loss, [late, early])).save()
        with torch.no_grad():
            flag = nnsight.save((late * 2).requires_grad)
    return gradients, flag


@experiment()
def the_model_computes_in_the_mode_that_a_block_waits_in(model, remote):
    with model.trace(FRANCE, remote=remote):
        first = layers(model)[0].output
        with torch.no_grad():
            second = layers(model)[1].output
            flags = [first.requires_grad, second.requires_grad, (second * 2).requires_grad].save()
        third = layers(model)[2].output
        logits = model.lm_head.output
        flags += [(second * 2).requires_grad, third.requires_grad, logits.requires_grad]
        gradients = nnsight.save(torch.autograd.grad(logits[0, -1].max(), [third, first], allow_unused=True))
    return flags, gradients


@experiment("gpt2")
def gradients_of_gradients(model, remote):
    model = model.eager
    with model.trace(FRANCE, remote=remote):
        early, late = layers(model)[0].output, layers(model)[2].output
        gradient, = torch.autograd.grad(model.lm_head.output.pow(2).mean(), early, create_graph=True)
        second = torch.autograd.grad(gradient.pow(2).sum(), late)[0].save()
    return second


@experiment()
def arithmetic_in_a_backward_block_records_nothing(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        with model.lm_head.output.sum().backward():
            product = state.grad * state
            flags = [product.requires_grad, torch.is_grad_enabled()].save()
        after = nnsight.save((state * 2).requires_grad)
    return flags, after


@experiment()
def a_pass_inside_a_pass(model, remote):
    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        scale = torch.ones(3, requires_grad=True)
        with torch.enable_grad():
            penalty = (scale ** 3).sum()
        with model.lm_head.output.sum().backward():
            gradient = state.grad
            penalty.backward()
            gradient = gradient.save()
        inner = scale.grad.save()
    return gradient, inner


@experiment()
def gradients_of_invokes(model, remote):
    with model.trace(remote=remote) as tracer:
        with tracer.invoke(FRANCE):
            first = layers(model)[1].output
            with model.lm_head.output[:, -1].logsumexp(-1).sum().backward(retain_graph=True):
                one = first.grad.save()
        with tracer.invoke([LONG, ITALY]):
            second = layers(model)[1].output
            with model.lm_head.output[:, -1].max(-1).values.sum().backward():
                two = second.grad.save()
    return one, two


@experiment()
def replaced_gradients_of_an_invoke(model, remote):
    with model.trace(remote=remote) as tracer:
        with tracer.invoke(ITALY):
            model.lm_head.output.save()
        with tracer.invoke(FRANCE):
            early, late = layers(model)[0].output, layers(model)[2].output
            with model.lm_head.output.sum().backward():
                late.grad = late.grad * 3
                gradient = early.grad.save()
    return gradient


@experiment()
def the_sum_of_losses(model, remote):
    with model.trace(remote=remote) as tracer:
        meet = tracer.barrier(2)
        with tracer.invoke(FRANCE):
            state = layers(model)[1].mlp.output
            one = model.lm_head.output[:, -1].logsumexp(-1).sum()
            meet()
        with tracer.invoke(ITALY):
            other = layers(model)[1].mlp.output
            two = model.lm_head.output[:, -1].max()
            meet()
            with (one + two).backward():
                gradient = other.grad.save()
    return gradient


@experiment()
def attribution_patching(model, remote):
    with model.session(remote=remote):
        with model.trace(ITALY):
            clean = [layer.output.detach() for layer in layers(model)]
        with model.trace(FRANCE):
            corrupted = [layer.output for layer in layers(model)]
            logits = model.lm_head.output[0, -1]
            scores = []
            with (logits[5] - logits[9]).backward():
                for source, state in zip(reversed(clean), reversed(corrupted)):
                    scores.append((state.grad * (source - state)).sum(-1).detach())
        scores = nnsight.save(scores)
    return scores


@experiment()
def a_backward_pass_after_its_trace(model, remote):
    with model.session(remote=remote):
        with model.trace(FRANCE):
            state = layers(model)[1].output
            loss = model.lm_head.output.sum()
        with loss.backward():
            gradient = state.grad.save()
    return gradient


@experiment()
def a_trace_under_no_grad(model, remote):
    with model.session(remote=remote):
        with torch.no_grad():
            with model.trace(ITALY):
                clean = layers(model)[1].output
        with model.trace(FRANCE):
            state = layers(model)[1].output
            with ((state - clean) ** 2).sum().backward():
                gradient = state.grad.save()
        flags = [clean.requires_grad, state.requires_grad].save()
    return gradient, flags


@experiment()
def backward_passes_after_many_traces(model, remote):
    with model.session(remote=remote):
        states, losses, gradients = [], [], list()
        for prompt in [FRANCE, ITALY, LONG]:
            with model.trace(prompt):
                states.append(layers(model)[1].output)
                losses.append(model.lm_head.output[0, -1].logsumexp(0))
        for state, loss in zip(states, losses):
            with loss.backward():
                gradients.append(state.grad)
        gradients = nnsight.save(gradients)
    return gradients


@experiment()
def integrated_gradients(model, remote):
    with model.session(remote=remote):
        total = torch.zeros(1)
        for step in range(1, 4):
            with model.trace(FRANCE):
                layers(model)[0].output = layers(model)[0].output * (step / 3)
                state = layers(model)[1].output
                with model.lm_head.output[0, -1].softmax(-1)[11].backward():
                    total = total + state.grad / 3
        total = total.save()
    return total


@experiment()
def a_function_with_a_backward_block(model, remote):
    def saliency(state, loss):
        with loss.backward():
            gradient = state.grad
        return gradient.abs().sum(-1)

    with model.trace(FRANCE, remote=remote):
        state = layers(model)[1].output
        scores = saliency(state, model.lm_head.output[0, -1].max()).save()
    return scores


@experiment()
def edits_in_place_take_part(model, remote):
    with model.trace(FRANCE, remote=remote):
        early = layers(model)[0].output
        layers(model)[1].mlp.output[:, -1] *= 2
        late = layers(model)[2].output
        late[:, 0] = 0
        with model.lm_head.output.sum().backward():
            gradient = early.grad.save()
    return gradient


@experiment()
def steering_by_gradient(model, remote):
    with model.trace(remote=remote) as tracer:
        with tracer.invoke(FRANCE):
            state = layers(model)[1].output
            loss = model.lm_head.output[0, -1, 17]
            with loss.backward():
                direction = state.grad[:, -1]
            direction = direction.save()
    with model.trace(FRANCE, remote=remote):
        layers(model)[1].output[:, -1] += direction
        logits = model.lm_head.output[0, -1].save()
    return logits


@experiment()
def hooks_of_gradients(model, remote):
    with model.trace(FRANCE, remote=remote):
        seen = nnsight.save([])
        first, second = layers(model)[0].output, layers(model)[1].output
        first.register_hook(lambda gradient: seen.append(gradient.clone()))
        handle = second.register_hook(lambda gradient: seen.append(-gradient))
        with second.register_hook(lambda gradient: gradient * 2):
            model.lm_head.output[0, -1].max().backward(retain_graph=True)
        handle.remove()
        model.lm_head.output[0, 0].min().backward()
    return list(seen)


@experiment()
def a_hook_beside_a_backward_block(model, remote):
    with model.trace(FRANCE, remote=remote):
        states = [layer.output for layer in layers(model)]
        states[1].register_hook(lambda gradient: gradient.sign())
        with model.lm_head.output[0, -1].logsumexp(-1).backward():
            gradients = [state.grad for state in reversed(states[:2])].save()
    return gradients


@experiment()
def a_hook_of_a_tensor_of_ones_own(model, remote):
    with model.trace(FRANCE, remote=remote):
        direction = torch.linspace(-1, 1, model.config.hidden_size).requires_grad_()
        norms = nnsight.save([])

        def clipped(gradient):
            norms.append(gradient.norm().item())
            return gradient / gradient.norm()

        direction.register_hook(clipped)
        (layers(model)[0].output @ direction).sum().backward()
        gradient = direction.grad.save()
    return gradient, list(norms)


@experiment(fails=True)
def a_hook_that_raises(model, remote):
    with model.trace(FRANCE, remote=remote):
        def fail(gradient):
            raise ValueError("no such gradient")

        layers(model)[0].output.register_hook(fail)
        model.lm_head.output.sum().backward()


@experiment(fails=True)
def a_hook_that_changes_the_shape(model, remote):
    with model.trace(FRANCE, remote=remote):
        layers(model)[0].output.register_hook(lambda gradient: gradient[0])
        model.lm_head.output.sum().backward()


@experiment(fails=True)
def a_hook_of_what_requires_no_gradient(model, remote):
    with model.trace(FRANCE, remote=remote):
        layers(model)[0].output.detach().register_hook(print)
