"""What a model's forward call may be given besides tokens."""
import nnsight
import torch
from transformers import DynamicCache

from experiments import FRANCE, experiment, layers

IDS = torch.tensor([[5, 6, 7, 8]])


@experiment()
def labels(model, remote):
    with model.trace(IDS, labels=IDS, remote=remote):
        loss, logits = model.output.loss.save(), model.output.logits.save()
    return loss, logits


@experiment()
def labels_beside_text(model, remote):
    ids = model.tokenizer(FRANCE, return_tensors="pt").input_ids
    with model.trace(FRANCE, labels=ids, remote=remote):
        loss = model.output.loss.save()
    return loss


@experiment()
def labels_that_count_for_nothing(model, remote):
    wanted = torch.tensor([[5, -100, 7, -100], [1, 2, 3, -100]])
    with model.trace({"input_ids": IDS.repeat(2, 1), "labels": wanted}, remote=remote):
        loss = model.output.loss.save()
    return loss


@experiment()
def the_gradient_of_a_loss(model, remote):
    with model.trace(IDS, labels=IDS, remote=remote):
        state = layers(model)[1].output
        with model.output.loss.backward():
            gradient = state.grad.save()
    return gradient


@experiment(fails=True)
def a_label_that_is_no_token(model, remote):
    with model.trace(IDS, labels=torch.tensor([[5, 6, 100000, 8]]), remote=remote):
        loss = model.output.loss.save()
    return loss


@experiment()
def embeddings_for_tokens(model, remote):
    torch.manual_seed(0)
    embedded = torch.randn(2, 4, 64)
    with model.trace(inputs_embeds=embedded, remote=remote):
        state, logits = layers(model)[0].input.save(), model.lm_head.output.save()
    return state, logits


@experiment()
def embeddings_in_a_dictionary(model, remote):
    with model.trace({"inputs_embeds": torch.ones(1, 4, 64)}, remote=remote):
        logits = model.lm_head.output.save()
    return logits


@experiment()
def gradients_of_embeddings(model, remote):
    torch.manual_seed(0)
    embedded = torch.randn(1, 4, 64, requires_grad=True)
    with model.session(remote=remote):
        with model.trace(inputs_embeds=embedded):
            model.lm_head.output[0, -1, 3].backward()
        gradient = embedded.grad.save()
    return gradient


@experiment()
def a_mask_of_pairs(model, remote):
    mask = torch.tril(torch.ones(4, 4)).bool()[None, None].clone()
    mask[0, 0, 3, 0] = False
    with model.trace(IDS, attention_mask=mask, remote=remote):
        logits = model.lm_head.output.save()
    return logits


@experiment()
def a_mask_of_numbers(model, remote):
    mask = torch.zeros(1, 1, 4, 4).masked_fill(torch.triu(torch.ones(4, 4), 1).bool(), -1e9)
    mask[0, 0, 3, 0] = -1e9
    with model.trace(IDS, attention_mask=mask, remote=remote):
        logits = model.lm_head.output.save()
    return logits


@experiment()
def logits_of_some_positions(model, remote):
    with model.trace(IDS, logits_to_keep=torch.tensor([0, -1]), remote=remote):
        logits = model.lm_head.output.save()
    return logits


@experiment()
def a_tuple(model, remote):
    with model.trace(IDS, return_dict=False, remote=remote):
        kind, logits = nnsight.save(type(model.output).__name__), nnsight.save(model.output[0])
    return kind, logits


def cache_of(length):
    torch.manual_seed(2)
    cache = DynamicCache()
    for layer in range(4):
        cache.update(torch.randn(1, 4, length, 16), torch.randn(1, 4, length, 16), layer)
    return cache


@experiment("gpt2")
def keys_and_values_from_the_client(model, remote):
    with model.trace(IDS, past_key_values=cache_of(3), remote=remote):
        logits, past = model.lm_head.output.save(), model.output.past_key_values.save()
    return logits, past.get_seq_length(), past.layers[1].keys


@experiment("gpt2")
def keys_and_values_beside_text(model, remote):
    with model.trace(FRANCE, past_key_values=cache_of(2), remote=remote):
        logits = model.lm_head.output.save()
    return logits


@experiment()
def keys_and_values_of_an_earlier_trace(model, remote):
    with model.session(remote=remote):
        with model.trace(IDS):
            past = model.output.past_key_values
        with model.trace(torch.tensor([[9]]), past_key_values=past):
            logits = model.lm_head.output.save()
    return logits


@experiment("llama", fails=True)
def tokens_and_embeddings(model, remote):
    with model.trace({"input_ids": IDS, "inputs_embeds": torch.ones(1, 4, 64)}, remote=remote):
        logits = model.lm_head.output.save()
    return logits


@experiment()
def parameters_of_modules(model, remote):
    with model.trace(FRANCE, remote=remote):
        names = nnsight.save([(name, tuple(one.shape)) for name, one in model.named_parameters()])
        count = nnsight.save(sum(one.numel() for one in layers(model)[0].parameters()))
        kind = nnsight.save(str(next(model.parameters()).dtype))
        kept = nnsight.save(sorted(layers(model)[1].state_dict()))
        modules = nnsight.save([name for name, _ in layers(model)[0].named_children()])
    return names, count, kind, kept, modules
