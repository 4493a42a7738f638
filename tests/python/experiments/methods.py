"""Whole methods of interpretability as they are published, each with the code that people keep around them."""
import copy
import functools
import itertools
import math
from collections import Counter, OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Dict, List, Literal, Optional, Tuple, Union

import nnsight
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from tqdm.auto import tqdm, trange

from experiments import FRANCE, ITALY, LONG, attention, embeddings, experiment, layers, norm

TEXTS = [FRANCE, "one two three four five six", LONG, "a b", "the cat sat on the mat and"]


def first(value):
    """Returns the hidden states of what a module returned."""
    return value[0] if isinstance(value, tuple) else value


def out_projection(layer):
    """Returns the module that adds heads up."""
    own = attention(layer)
    return own.c_proj if hasattr(own, "c_proj") else own.o_proj


def heads_of(config):
    count = config.num_attention_heads
    return count, config.hidden_size // count


def logit_difference(logits, right, wrong, position=-1):
    return logits[..., position, right] - logits[..., position, wrong]


class Standardized:
    """A wrapper that gives families one set of names."""

    def __init__(self, model):
        self._model = model
        self.num_layers = len(layers(model))
        self.hidden_size = model.config.hidden_size

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._model, name)

    @property
    def layers(self):
        return layers(self._model)

    def get_residual(self, index):
        return first(self.layers[index].output)

    def set_residual(self, index, value):
        output = self.layers[index].output
        self.layers[index].output = (value, *output[1:]) if isinstance(output, tuple) else value

    def project_on_vocab(self, hidden):
        return self._model.lm_head(norm(self._model)(hidden))

    def steer(self, index, vector, factor=1.0, positions=None):
        where = slice(None) if positions is None else positions
        hidden = self.get_residual(index)
        hidden[:, where] += factor * vector
        self.set_residual(index, hidden)


@experiment()
def attribution_patching_of_heads(model, remote):
    """Nanda's approximation: what a clean head would change, by the gradient of the corrupted run."""
    count, width = heads_of(model.config)
    clean_ids, corrupt_ids = (model.tokenizer(text, return_tensors="pt")["input_ids"] for text in (FRANCE, ITALY))
    right, wrong = 11, 12
    with model.session(remote=remote):
        clean = []
        with model.trace(clean_ids):
            for layer in layers(model):
                clean.append(out_projection(layer).input.detach())
            clean_metric = logit_difference(model.lm_head.output, right, wrong).sum().item()
        corrupted, scores = [], []
        with model.trace(corrupt_ids):
            for layer in layers(model):
                z = out_projection(layer).input
                z.requires_grad_()
                corrupted.append(z)
            metric = logit_difference(model.lm_head.output, right, wrong).sum()
            corrupt_metric = metric.item()
            with metric.backward():
                gradients = [z.grad.clone() for z in reversed(corrupted)][::-1]
        for before, after, gradient in zip(clean, corrupted, gradients):
            effect = (gradient * (before - after)).unflatten(-1, (count, width)).sum(dim=(0, 1, 3))
            scores.append(effect / (clean_metric - corrupt_metric))
        table = torch.stack(scores).detach().save()
        nnsight.save(clean_metric)
        nnsight.save(corrupt_metric)
        best = [(int(i) // count, int(i) % count) for i in table.flatten().abs().topk(3).indices]
        nnsight.save(best)
    return table, best, clean_metric, corrupt_metric


@experiment()
def heads_are_ablated_one_by_one(model, remote):
    count, width = heads_of(model.config)
    with model.session(remote=remote):
        with model.trace(FRANCE):
            baseline = model.lm_head.output[0, -1].log_softmax(-1)
        effects = torch.zeros(len(layers(model)), count)
        for index, layer in enumerate(layers(model)):
            for head in range(count):
                part = slice(head * width, (head + 1) * width)
                with model.trace(FRANCE):
                    out_projection(layer).input[:, :, part] = 0
                    ablated = model.lm_head.output[0, -1].log_softmax(-1)
                effects[index, head] = F.kl_div(ablated, baseline, reduction="sum", log_target=True)
        effects = effects.save()
    return effects


@experiment()
def heads_are_replaced_by_their_means(model, remote):
    """As above, all heads of a layer in one pass, a row each."""
    count, width = heads_of(model.config)
    with model.session(remote=remote):
        means = []
        with model.trace(TEXTS):
            for layer in layers(model):
                means.append(out_projection(layer).input.mean((0, 1)))
        found = {}
        for index, layer in enumerate(layers(model)):
            with model.trace([FRANCE] * count):
                z = out_projection(layer).input.clone()
                for head in range(count):
                    z[head, -1, head * width:(head + 1) * width] = means[index][head * width:(head + 1) * width]
                out_projection(layer).input = z
                probs = model.lm_head.output[:, -1].softmax(-1)
                found[index] = probs.max(-1)
        summary = {key: (value.values, value.indices) for key, value in found.items()}
        nnsight.save(summary)
    return summary


@experiment()
def a_pattern_is_edited_before_it_is_used(model, remote):
    eager = model.eager
    with eager.trace(FRANCE, remote=remote):
        operation = attention(layers(eager)[1]).source.attention_interface_1.source.nn_functional_softmax_0
        pattern = operation.output.clone()
        pattern[:, :2, :, 0] = 0
        pattern[:, :2] /= pattern[:, :2].sum(-1, keepdim=True).clamp_min(1e-6)
        operation.output = pattern
        shape = list(pattern.shape).save()
        total = pattern.sum(-1).save()
        after = eager.lm_head.output[0, -1].save()
    return shape, total, after


@experiment()
def attention_flows_are_rolled_out(model, remote):
    """Abnar and Zuidema's rollout, and their flow along the strongest edges."""
    eager = model.eager
    with eager.trace(LONG, remote=remote, output_attentions=True):
        maps = torch.stack([layer.mean(1) for layer in eager.output.attentions])
        eye = torch.eye(maps.shape[-1], device=maps.device)
        rollout = eye
        for layer in maps:
            mixed = 0.5 * layer[0] + 0.5 * eye
            mixed /= mixed.sum(-1, keepdim=True)
            rollout = mixed @ rollout
        rollout = rollout.save()
        strongest = [int(row.argmax()) for row in rollout].save()
        entropy = (-(maps.clamp_min(1e-9).log() * maps).sum(-1).mean((1, 2))).save()
    return rollout, strongest, entropy


class Batches(Dataset):
    """Activations with what they came of."""

    def __init__(self, rows, labels):
        assert len(rows) == len(labels)
        self.rows, self.labels = rows, labels

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index], self.labels[index]


@experiment()
def probes_are_trained_layer_by_layer(model, remote):
    torch.manual_seed(0)
    prompts = [f"{a} {b}" for a, b in itertools.product(["one", "two", "cat", "dog"], ["five", "the", "a"])]
    labels = torch.tensor([int(prompt.split()[0] in ("one", "two")) for prompt in prompts])
    width = model.config.hidden_size
    with model.session(remote=remote):
        states = []
        for start in range(0, len(prompts), 4):
            with model.trace(prompts[start:start + 4]):
                states.append(torch.stack([first(layer.output)[:, -1] for layer in layers(model)]))
        states = torch.cat(states, dim=1).detach()
        accuracies, curves = [], []
        for index in range(len(layers(model))):
            torch.manual_seed(index)
            probe = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 2))
            optimizer = torch.optim.AdamW(probe.parameters(), lr=1e-2, weight_decay=1e-3)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)
            loader = DataLoader(TensorDataset(states[index], labels), batch_size=4, shuffle=False)
            losses = []
            for epoch in range(6):
                for rows, targets in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(probe(rows), targets)
                    loss.backward()
                    nn.utils.clip_grad_norm_(probe.parameters(), 1.0)
                    optimizer.step()
                schedule.step()
                losses.append(loss.item())
            with torch.no_grad():
                accuracies.append((probe(states[index]).argmax(-1) == labels).float().mean().item())
            curves.append(losses)
        accuracies, curves = nnsight.save(accuracies), nnsight.save(curves)
    return accuracies, curves


class TopK(nn.Module):
    """A sparse autoencoder as OpenAI's: the largest features, tied at its beginning."""

    def __init__(self, width, features, k):
        super().__init__()
        self.k = k
        self.encoder = nn.Parameter(torch.empty(width, features))
        nn.init.kaiming_uniform_(self.encoder, a=math.sqrt(5))
        self.decoder = nn.Parameter(self.encoder.data.T.clone())
        self.pre_bias = nn.Parameter(torch.zeros(width))
        self.latent_bias = nn.Parameter(torch.zeros(features))
        self.normalize()

    @torch.no_grad()
    def normalize(self):
        self.decoder.data = F.normalize(self.decoder.data, dim=-1)

    @torch.no_grad()
    def project_gradient(self):
        parallel = (self.decoder.grad * self.decoder).sum(-1, keepdim=True) * self.decoder
        self.decoder.grad -= parallel

    def encode(self, rows):
        before = (rows - self.pre_bias) @ self.encoder + self.latent_bias
        values, places = torch.topk(before, self.k, dim=-1)
        return torch.zeros_like(before).scatter(-1, places, values.relu())

    def forward(self, rows):
        latents = self.encode(rows)
        return latents @ self.decoder + self.pre_bias, latents


@experiment()
def a_sparse_dictionary_and_its_features(model, remote):
    torch.manual_seed(1)
    width = model.config.hidden_size
    sae = TopK(width, 96, 6)
    with model.session(remote=remote):
        rows = []
        for text in TEXTS:
            with model.trace(text):
                rows.append(first(layers(model)[2].output)[0])
        rows = torch.cat(rows).detach()
        with torch.no_grad():
            sae.pre_bias.copy_(rows.median(0).values)
        optimizer = torch.optim.Adam(sae.parameters(), lr=3e-3, betas=(0.9, 0.99))
        history = defaultdict(list)
        since = torch.zeros(96, dtype=torch.long)
        for step in range(12):
            rebuilt, latents = sae(rows)
            fired = (latents > 0).any(0)
            since = torch.where(fired, torch.zeros_like(since), since + 1)
            mse = (rebuilt - rows).pow(2).sum(-1).mean()
            total = (rows - rows.mean(0)).pow(2).sum(-1).mean()
            auxiliary = latents.abs().mean()
            loss = mse / total + 1e-3 * auxiliary
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            sae.project_gradient()
            optimizer.step()
            sae.normalize()
            history["loss"].append(round(loss.item(), 5))
            history["dead"].append(int((since > 5).sum()))
        with torch.no_grad():
            _, latents = sae(rows)
            frequencies = (latents > 0).float().mean(0)
            top = frequencies.topk(2).indices.tolist()
        ablated = {}
        for feature in top:
            with model.trace(FRANCE):
                hidden = first(layers(model)[2].output)
                own = sae.encode(hidden)
                change = own[..., feature, None] * sae.decoder[feature]
                if isinstance(layers(model)[2].output, tuple):
                    layers(model)[2].output[0][:] -= change
                else:
                    layers(model)[2].output[:] -= change
                ablated[feature] = model.lm_head.output[0, -1].log_softmax(-1).detach()
        history = dict(history)
        nnsight.save(history)
        nnsight.save(ablated)
        frequencies = frequencies.save()
    return history, ablated, frequencies


@experiment()
def contrastive_activation_addition(model, remote):
    """Panickssery's: padded pairs of one batch, a mean of differences, and steering of what is generated."""
    pairs = [("I love the cat", "I hate the cat"), ("good good one", "bad bad one two"), ("yes", "no no")]
    wrapped = Standardized(model)
    with model.session(remote=remote):
        vectors = {}
        with model.trace([side for pair in pairs for side in pair]):
            for index in range(1, wrapped.num_layers):
                last = wrapped.get_residual(index)[:, -1]
                vectors[index] = (last[0::2] - last[1::2]).mean(0)
        norms = {index: vector.norm().item() for index, vector in vectors.items()}
        chosen = max(norms, key=norms.get)
        outputs = []
        for factor in (-4, 0, 4):
            with model.generate([FRANCE, "one two"], max_new_tokens=4, do_sample=False) as tracer:
                for step in tracer.iter[0:3]:
                    wrapped.steer(chosen, vectors[chosen] / norms[chosen], factor)
                tokens = tracer.result.save()
            outputs.append(tokens)
        nnsight.save(outputs)
        nnsight.save(norms)
        nnsight.save(chosen)
    return outputs, norms, chosen


@experiment()
def contrastive_vectors_at_every_step(model, remote):
    vector = torch.linspace(-1, 1, model.config.hidden_size)
    wrapped = Standardized(model)
    with model.generate(FRANCE, max_new_tokens=4, do_sample=False, remote=remote) as tracer:
        seen = [].save()
        for step in tracer.all():
            wrapped.steer(1, vector, 0.5 * (step + 1), positions=-1)
            seen.append(model.lm_head.output[:, -1].argmax(-1))
    return seen


@experiment()
def function_vectors(model, remote):
    """Todd's: the mean of some heads' outputs over prompts with examples, added to prompts without."""
    count, width = heads_of(model.config)
    shots = ["a : b\nc :", "x : y\nz :", "cat : dog\none :"]
    queries = ["two :", "the :"]
    chosen = [(1, 0), (2, 3), (3, 1)]
    with model.session(remote=remote):
        total = torch.zeros(model.config.hidden_size)
        by_layer = defaultdict(list)
        for layer, head in chosen:
            by_layer[layer].append(head)
        for layer, heads in sorted(by_layer.items()):
            module = out_projection(layers(model)[layer])
            means = []
            for shot in shots:
                with model.trace(shot):
                    means.append(module.input[0, -1])
            mean = torch.stack(means).mean(0).view(count, width)
            only = torch.zeros_like(mean)
            only[heads] = mean[heads]
            weight = module.weight if hasattr(model, "transformer") else module.weight.T
            total = total + only.flatten() @ weight
        with model.trace() as tracer:
            for query in queries:
                with tracer.invoke(query):
                    hidden = first(layers(model)[1].output)
                    hidden[:, -1] += total
            with tracer.invoke():
                answers = model.lm_head.output[:, -1].topk(4)
        vector = total.detach().save()
        values, indices = answers.values.save(), answers.indices.save()
    return vector, values, indices


@experiment()
def causal_scrubbing(model, remote):
    """Activations are resampled among inputs that a hypothesis calls equal."""
    prompts = ["one two three", "four two three", "one five six", "four five six"]
    classes = {"first": [0, 1, 0, 1], "last": [0, 0, 1, 1]}
    rng = np.random.default_rng(0)

    def partners(labels):
        groups = defaultdict(list)
        for index, label in enumerate(labels):
            groups[label].append(index)
        return [groups[label][(groups[label].index(index) + 1) % len(groups[label])] for index, label in enumerate(labels)]

    losses = {}
    with model.session(remote=remote):
        with model.trace(prompts):
            plain = model.lm_head.output[:, -1].log_softmax(-1)
        for name, labels in classes.items():
            swaps = partners(labels)
            for layer in (0, 2):
                with model.trace(prompts):
                    output = layers(model)[layer].mlp.output
                    layers(model)[layer].mlp.output = output[swaps]
                    scrubbed = model.lm_head.output[:, -1].log_softmax(-1)
                losses[f"{name}@{layer}"] = F.kl_div(scrubbed, plain, log_target=True, reduction="batchmean").item()
        recovered = {key: 1 - value / (max(losses.values()) + 1e-9) for key, value in losses.items()}
        nnsight.save(losses)
        nnsight.save(recovered)
    return losses, recovered


@experiment()
def a_direction_is_taken_out_everywhere(model, remote):
    """Arditi's refusal direction: projected out of what every module writes, at every step."""
    harmful, harmless = ["bad one", "bad two three"], ["good one", "good two three"]
    with model.session(remote=remote):
        with model.trace() as tracer:
            barrier = tracer.barrier(2)
            with tracer.invoke(harmful):
                bad = first(layers(model)[2].output)[:, -1].mean(0)
                barrier()
            with tracer.invoke(harmless):
                good = first(layers(model)[2].output)[:, -1].mean(0)
                barrier()
                direction = (bad - good) / (bad - good).norm()

        def without(states):
            return states - (states @ direction)[..., None] * direction

        with model.generate(FRANCE, max_new_tokens=3, do_sample=False) as tracer:
            logits = []
            for step in tracer.iter[:3]:
                embeddings(model).output = without(embeddings(model).output)
                for layer in layers(model):
                    own = attention(layer)
                    own.output = (without(own.output[0]), *own.output[1:])
                    layer.mlp.output = without(layer.mlp.output)
                logits.append(model.lm_head.output[0, -1])
            ids = tracer.result.save()
        direction = direction.save()
        nnsight.save(logits)
    return ids, direction, logits


@experiment()
def lenses_of_all_layers_at_once(model, remote):
    wrapped = Standardized(model)
    with model.trace(LONG, remote=remote):
        table = torch.stack([
            wrapped.project_on_vocab(wrapped.get_residual(index))[0].softmax(-1) for index in range(wrapped.num_layers)
        ])
        top = table.max(-1)
        words = [[model.tokenizer.decode(token) for token in row] for row in top.indices.tolist()].save()
        probabilities = top.values.save()
        agreement = (table.argmax(-1) == model.lm_head.output[0].argmax(-1)).float().mean(-1).save()
    return words, probabilities, agreement


@experiment()
def induction_heads_by_their_stripes(model, remote):
    eager = model.eager
    torch.manual_seed(2)
    half = torch.randint(5, 200, (2, 12))
    ids = torch.cat([torch.zeros(2, 1, dtype=torch.long), half, half], dim=1)
    with eager.trace(ids, remote=remote):
        scores = []
        for layer in layers(eager):
            pattern = attention(layer).output[1]
            stripe = pattern.diagonal(-11, dim1=-2, dim2=-1)
            previous = pattern.diagonal(-1, dim1=-2, dim2=-1).mean((0, -1))
            scores.append(torch.stack([stripe.mean((0, -1)), previous], -1))
        scores = torch.stack(scores).save()
        logits = eager.lm_head.output[:, :-1].flatten(0, 1)
        loss = F.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none").view(2, -1).mean(1).save()
    return scores, loss


@experiment()
def gradient_times_input(model, remote):
    with model.trace(FRANCE, remote=remote):
        states = embeddings(model).output
        states.retain_grad() if states.grad_fn is not None else states.requires_grad_(True)
        logits = model.lm_head.output[0, -1]
        chosen = logits.argmax()
        logits[chosen].backward(retain_graph=True)
        saliency = (states.grad * states).sum(-1)[0].detach().save()
        (other,) = torch.autograd.grad(logits.logsumexp(-1), states)
        against = other.norm(dim=-1)[0].save()
        token = chosen.item()
        nnsight.save(token)
    return saliency, against, token


@experiment()
def integrated_gradients_with_their_check(model, remote):
    """Of the embeddings, from a baseline, with the completeness that they have."""
    steps = 6
    with model.session(remote=remote):
        with model.trace(FRANCE):
            real = embeddings(model).output.detach().clone()
            target = model.lm_head.output[0, -1].argmax().item()
            real_score = model.lm_head.output[0, -1, target].item()
        baseline = torch.zeros_like(real)
        total = torch.zeros_like(real)
        for step in range(steps):
            alpha = (step + 0.5) / steps
            with model.trace(FRANCE):
                point = (baseline + alpha * (real - baseline)).requires_grad_(True)
                embeddings(model).output = point
                score = model.lm_head.output[0, -1, target]
                with score.backward():
                    total = total + point.grad
        attributions = ((real - baseline) * total / steps).sum(-1)[0]
        with model.trace(FRANCE):
            embeddings(model).output = baseline
            empty = model.lm_head.output[0, -1, target].item()
        error = abs(attributions.sum().item() - (real_score - empty))
        attributions = attributions.detach().save()
        close = error < abs(real_score) + 1
        nnsight.save(close)
    return attributions, close


@experiment()
def edges_are_attributed(model, remote):
    """Syed's edge attribution: every upstream difference by every downstream gradient."""
    with model.session(remote=remote):
        differences = []
        for text, sign in ((FRANCE, 1), (ITALY, -1)):
            with model.trace(text):
                written = [embeddings(model).output.detach()]
                for layer in layers(model):
                    written.append(attention(layer).output[0].detach())
                    written.append(layer.mlp.output.detach())
            differences.append(written)
        deltas = torch.stack([clean - corrupted for clean, corrupted in zip(*differences)])
        gradients = []
        with model.trace(ITALY):
            read = [layer.mlp.input for layer in layers(model)]
            loss = model.lm_head.output[0, -1, 7]
            with loss.backward():
                for states in reversed(read):
                    gradients.insert(0, states.grad.detach())
        scores = torch.einsum("upld,vpld->uv", deltas, torch.stack(gradients))
        mask = torch.tensor([[up < 2 * down + 2 for down in range(len(layers(model)))] for up in range(len(deltas))])
        scores = scores.masked_fill(~mask, 0)
        edges = sorted(((round(value.item(), 6), tuple(place)) for value, place in zip(scores[mask], mask.nonzero().tolist())), key=lambda edge: -abs(edge[0]))[:5]
        scores = scores.save()
        places = [place for _, place in edges]
        nnsight.save(places)
    return scores, places


@experiment()
def a_patchscope(model, remote):
    """Ghandeharioun's: a state of one prompt read by another, at another layer, by generating from there."""
    source, target = LONG, "cat cat one one ?"
    found = {}
    with model.session(remote=remote):
        states = {}
        with model.trace(source):
            for index, layer in enumerate(layers(model)):
                states[index] = first(layer.output)[0, 3].clone()
        for start, end in [(0, 1), (2, 1), (3, 0)]:
            with model.generate(target, max_new_tokens=3, do_sample=False) as tracer:
                first(layers(model)[end].output)[0, -1] = states[start]
                tokens = tracer.result[0, -3:].tolist()
            found[start, end] = model.tokenizer.decode(tokens)
        nnsight.save(found)
    return found


@experiment()
def logits_are_attributed_directly(model, remote):
    """Each component's part of a logit difference, with the last norm's scale held where it was."""
    right, wrong = 20, 30
    with model.trace(FRANCE, remote=remote):
        parts = OrderedDict(embed=embeddings(model).output[0, -1])
        for index, layer in enumerate(layers(model)):
            parts[f"{index}.attn"] = attention(layer).output[0][0, -1]
            parts[f"{index}.mlp"] = layer.mlp.output[0, -1]
        last = norm(model).input[0, -1]
        if hasattr(model, "transformer"):
            scale = (last - last.mean()).pow(2).mean().add(1e-5).sqrt()
        else:
            scale = last.pow(2).mean().add(1e-6).sqrt()
        direction = (model.lm_head.weight[right] - model.lm_head.weight[wrong]) * norm(model).weight
        contributions = {
            name: ((part - part.mean() if hasattr(model, "transformer") else part) / scale @ direction).item()
            for name, part in parts.items()
        }
        ranked = sorted(contributions, key=contributions.get, reverse=True).save()
        nnsight.save(contributions)
        real = (model.lm_head.output[0, -1, right] - model.lm_head.output[0, -1, wrong]).item()
        nnsight.save(real)
    return contributions, ranked, real


@experiment()
def noise_and_restoration(model, remote):
    """Meng's causal tracing: noise at the subject, and one state at a time put back."""
    subject, copies = slice(1, 3), 3
    torch.manual_seed(3)
    noise = torch.randn(copies, 2, model.config.hidden_size) * 0.5
    with model.session(remote=remote):
        with model.trace(FRANCE):
            clean = [first(layer.output)[0].clone() for layer in layers(model)]
            token = model.lm_head.output[0, -1].argmax(-1)
            high = model.lm_head.output[0, -1].softmax(-1)[token]
        length = clean[0].shape[0]
        grid = torch.zeros(len(clean), length)
        for index, position in itertools.product(range(len(clean)), range(length)):
            with model.trace([FRANCE] * copies):
                embeddings(model).output[:, subject] += noise
                first(layers(model)[index].output)[:, position] = clean[index][position]
                grid[index, position] = model.lm_head.output[:, -1].softmax(-1)[:, token].mean()
        with model.trace([FRANCE] * copies):
            embeddings(model).output[:, subject] += noise
            low = model.lm_head.output[:, -1].softmax(-1)[:, token].mean()
        effects = (grid - low).div(high - low).save()
    return effects


@experiment()
def paths_with_frozen_patterns(model, remote):
    """Goldowsky-Dill's: everything but one receiver sees the clean run."""
    sender, receiver = 0, 2
    with model.session(remote=remote):
        frozen = {}
        with model.trace(FRANCE):
            for index, layer in enumerate(layers(model)):
                frozen[index, "attn"] = attention(layer).output[0].clone()
                frozen[index, "mlp"] = layer.mlp.output.clone()
            clean = model.lm_head.output[0, -1].clone()
        with model.trace(ITALY):
            dirty = attention(layers(model)[sender]).output[0].clone()
        with model.trace(FRANCE):
            for index, layer in enumerate(layers(model)):
                own = attention(layer)
                own.output = (dirty if index == sender else frozen[index, "attn"], *own.output[1:])
                if index == receiver:
                    received = layer.mlp.input.clone()
                    break
                layer.mlp.output = frozen[index, "mlp"]
        with model.trace(FRANCE):
            layers(model)[receiver].mlp.input = received
            patched = model.lm_head.output[0, -1]
        moved = (patched - clean).norm().save()
        order = (patched - clean).abs().topk(5).indices.save()
    return moved, order


@experiment()
def similarity_of_representations(model, remote):
    """Linear CKA and principal angles between layers."""
    with model.session(remote=remote):
        gathered = [[] for _ in layers(model)]
        for text in TEXTS:
            with model.trace(text):
                for rows, layer in zip(gathered, layers(model)):
                    rows.append(first(layer.output)[0])
        states = [torch.cat(rows) for rows in gathered]
        centered = [rows - rows.mean(0, keepdim=True) for rows in states]

        def cka(x, y):
            return (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())

        table = torch.tensor([[cka(x, y).item() for y in centered] for x in centered]).save()
        spectra = torch.stack([torch.linalg.svdvals(rows)[:5] for rows in centered]).save()
        bases = [torch.linalg.svd(rows, full_matrices=False).Vh[:3] for rows in centered]
        angles = torch.linalg.svdvals(bases[0] @ bases[-1].T).clamp(max=1).acos().save()
        dimension = [((s.pow(2).sum() ** 2) / s.pow(4).sum()).item() for s in map(torch.linalg.svdvals, centered)]
        nnsight.save(dimension)
    return table, spectra, angles, dimension


@experiment()
def circuits_read_from_weights(model, remote):
    count, width = heads_of(model.config)
    with model.trace("a", remote=remote) as tracer:
        found = {}
        for index, layer in enumerate(layers(model)):
            if hasattr(model, "transformer"):
                values = attention(layer).c_attn.weight[:, -model.config.hidden_size:].view(-1, count, width).transpose(0, 1)
                out = attention(layer).c_proj.weight.view(count, width, -1)
            else:
                values = attention(layer).v_proj.weight.T.unflatten(-1, (-1, width)).permute(1, 0, 2)
                values = values.repeat_interleave(count // values.shape[0], dim=0)
                out = attention(layer).o_proj.weight.T.unflatten(0, (count, width))
            ov = values @ out
            traces = ov.diagonal(dim1=-2, dim2=-1).sum(-1)
            found[index] = (traces / torch.linalg.matrix_norm(ov, ord="nuc")).tolist()
        nnsight.save(found)
        tracer.stop()
    return found


@experiment()
def erasure_by_whitening(model, remote):
    """Belrose's LEACE, with its projection from covariances."""
    groups = [["one two", "two three", "five six", "three one"], ["the cat", "a dog", "cat sat", "dog mat"]]
    with model.session(remote=remote):
        states = []
        for group in groups:
            with model.trace(group):
                states.append(first(layers(model)[1].output)[:, -1].double())
        x = torch.cat(states)
        z = F.one_hot(torch.arange(2).repeat_interleave(4), 2).double()
        mean = x.mean(0)
        xc, zc = x - mean, z - z.mean(0)
        covariance = xc.T @ xc / len(x) + 1e-2 * torch.eye(x.shape[1], dtype=x.dtype)
        cross = xc.T @ zc / len(x)
        values, vectors = torch.linalg.eigh(covariance)
        white = vectors @ torch.diag(values.rsqrt()) @ vectors.T
        color = vectors @ torch.diag(values.sqrt()) @ vectors.T
        u, s, _ = torch.linalg.svd(white @ cross, full_matrices=False)
        u = u[:, s > 1e-6]
        erase = torch.eye(len(mean), dtype=x.dtype) - color @ u @ u.T @ white
        erased = (xc @ erase.T + mean).float()
        gap = (erased[:4].mean(0) - erased[4:].mean(0)).norm().save()
        rank = u.shape[1]
        with model.trace(groups[0]):
            hidden = first(layers(model)[1].output)
            hidden[:, -1] = ((hidden[:, -1].double() - mean) @ erase.T + mean).to(hidden.dtype)
            after = model.lm_head.output[:, -1].save()
        nnsight.save(rank)
    return gap, rank, after


@experiment()
def an_input_is_optimised(model, remote):
    """Feature visualisation: embeddings that excite one neuron, read back as the nearest tokens."""
    torch.manual_seed(4)
    soft = (torch.randn(1, 4, model.config.hidden_size) * 0.1).requires_grad_(True)
    with model.session(remote=remote):
        optimizer = torch.optim.Adam([soft], lr=0.05)
        values = []
        for step in range(5):
            with model.trace([1, 2, 3, 4]):
                embeddings(model).output = soft
                neuron = layers(model)[1].mlp.output[0, -1, 3]
                loss = -neuron + 0.01 * soft.pow(2).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                values.append(-loss.item())
        table = embeddings(model).weight
        near = torch.cdist(soft.detach()[0], table).argmin(-1).save()
        grown = values[-1] > values[0]
        nnsight.save(grown)
        nnsight.save(values)
    return near, grown, values


@experiment()
def layers_are_left_out(model, remote):
    """Which layers matter, alone and in pairs, by leaving them out."""
    names = [f"L{index}" for index in range(len(layers(model)))]
    with model.session(remote=remote):
        with model.trace(LONG):
            reference = model.lm_head.output[0].log_softmax(-1)
        table = {}
        for size in (1, 2):
            for chosen in itertools.combinations(range(1, len(names)), size):
                with model.trace(LONG):
                    for index in chosen:
                        layers(model)[index].skip(layers(model)[index].input)
                    other = model.lm_head.output[0].log_softmax(-1)
                    table["+".join(names[index] for index in chosen)] = (reference.exp() * (reference - other)).sum(-1).mean().item()
        order = sorted(table.items(), key=lambda item: item[1])
        most = order[-1][0]
        nnsight.save(table)
        nnsight.save(most)
    return table, most


@experiment()
def scores_of_what_was_generated(model, remote):
    with model.generate(FRANCE, max_new_tokens=5, do_sample=False, return_dict_in_generate=True, output_scores=True, output_hidden_states=True, remote=remote) as tracer:
        result = tracer.result
        sequence = result.sequences[0].save()
        steps = torch.stack(result.scores).squeeze(1).log_softmax(-1)
        chosen = steps.gather(-1, result.sequences[0, -len(result.scores):, None]).squeeze(-1)
        surprise = (-chosen.mean()).exp().save()
        shapes = [[tuple(state.shape) for state in step] for step in result.hidden_states].save()
    return sequence, surprise, shapes


class Banned:
    """A processor of the user's own that looks at what the model has written."""

    def __init__(self, ids, penalty=5.0):
        self.ids, self.penalty, self.calls = ids, penalty, 0

    def __call__(self, input_ids, scores):
        self.calls += 1
        scores = scores.clone()
        scores[:, self.ids] -= self.penalty
        seen = torch.stack([torch.bincount(row, minlength=scores.shape[-1]) for row in input_ids])
        return scores - seen.to(scores.dtype)


@experiment()
def a_processor_beside_interventions(model, remote):
    banned = Banned([3, 4, 5])
    with model.generate(FRANCE, max_new_tokens=4, do_sample=False, logits_processor=[banned], remote=remote) as tracer:
        states = [].save()
        for step in tracer.iter[:2]:
            states.append(norm(model).output[:, -1])
        ids = tracer.result.save()
    return states


@experiment()
def tokens_are_sampled_with_interventions(model, remote):
    torch.manual_seed(5)
    scales = [1.0, 0.5, 2.0]
    with model.generate([FRANCE, ITALY], max_new_tokens=3, do_sample=False, remote=remote) as tracer:
        drawn = [].save()
        for step in tracer.iter[:3]:
            logits = model.lm_head.output[:, -1]
            kept = logits.topk(10).values[:, -1, None]
            probabilities = torch.where(logits < kept, -torch.inf, logits / scales[step]).softmax(-1)
            forced = probabilities.cumsum(-1).gt(0.5).float().argmax(-1)
            model.lm_head.output[:, -1] = F.one_hot(forced, logits.shape[-1]).to(logits.dtype) * 1e4
            drawn.append(forced)
    return drawn


@experiment()
def a_jacobian_between_layers(model, remote):
    with model.session(remote=remote):
        with model.trace("one two"):
            start = first(layers(model)[2].output)
            end = first(layers(model)[3].output)[0, -1, :4]
            rows = torch.autograd.grad(end, start, grad_outputs=torch.eye(4), is_grads_batched=True)[0]
            jacobian = rows[:, 0, -1].save()
        with model.trace("one two"):
            hidden = first(layers(model)[2].output)[0, -1].detach()

        def head(state):
            return F.softmax(model.lm_head(norm(model)(state[None, None]))[0, 0, :6], -1)

        forward = torch.func.jacrev(head)(hidden)
        product = torch.func.vjp(head, hidden)[1](torch.ones(6))[0]
        forward, product = forward.detach().save(), product.detach().save()
    return jacobian, forward, product


@experiment()
def an_edited_model_is_swept(model, remote):
    vector = torch.ones(model.config.hidden_size) * 0.3
    found = {}
    for index in (0, 2):
        with model.edit() as (_, edited):
            hidden = first(layers(edited)[index].output)
            hidden[:, -1] += vector
        with edited.session(remote=remote):
            with edited.trace(FRANCE):
                own = edited.lm_head.output[0, -1].topk(3).indices.save()
            with edited.generate(FRANCE, max_new_tokens=2) as tracer:
                text = tracer.result.save()
        found[index] = (own, text)
    with model.trace(FRANCE, remote=remote):
        plain = model.lm_head.output[0, -1].topk(3).indices.save()
    return found, plain


@experiment()
def caches_by_kind(model, remote):
    wanted = [layer.mlp for layer in layers(model)][1:3] + [attention(layers(model)[0])]
    with model.trace(FRANCE, remote=remote) as tracer:
        cache = tracer.cache(modules=wanted, include_inputs=True, dtype=torch.float64)
        layers(model)[1].mlp.output[:] *= 2
        logits = model.lm_head.output[0, -1].save()
    kept = {path: (first(cache[path].output), len(cache[path].inputs[0])) for path in cache.keys()}
    return kept, logits, sorted(cache.keys())


Reading = namedtuple("Reading", "layer value tokens")


@experiment()
def results_nested_in_containers(model, remote):
    with model.session(remote=remote):
        results = defaultdict(lambda: defaultdict(dict))
        order = OrderedDict()
        counts = Counter()
        for name, text in {"france": FRANCE, "italy": ITALY}.items():
            with model.trace(text):
                for index, layer in enumerate(layers(model)):
                    hidden = first(layer.output)
                    results[name][index]["norm"] = hidden.norm(dim=-1)[0]
                    results[name][index]["argmax"] = hidden[0, -1].argmax().item()
                    counts.update(hidden[0].argmax(-1).tolist())
                order[name] = model.lm_head.output[0, -1].topk(2)
        plain = {name: {index: dict(entry) for index, entry in inner.items()} for name, inner in results.items()}
        tops = [(name, *value) for name, value in order.items()]
        common = counts.most_common(3)
        nnsight.save(plain)
        nnsight.save(tops)
        nnsight.save(common)
        nnsight.save(order)
    return plain, tops, common, order


class Welford:
    """Running means and covariances."""

    __slots__ = ("count", "mean", "scatter")

    def __init__(self, width):
        self.count, self.mean, self.scatter = 0, torch.zeros(width), torch.zeros(width, width)

    def update(self, rows):
        for row in rows.unbind(0):
            self.count += 1
            delta = row - self.mean
            self.mean = self.mean + delta / self.count
            self.scatter = self.scatter + torch.outer(delta, row - self.mean)
        return self

    @property
    def covariance(self):
        return self.scatter / max(self.count - 1, 1)


@experiment()
def running_statistics(model, remote):
    with model.session(remote=remote):
        statistics = {index: Welford(model.config.hidden_size) for index in (0, 3)}
        for text in tqdm(TEXTS[:3], desc="texts", disable=True):
            with model.trace(text):
                for index, own in statistics.items():
                    own.update(first(layers(model)[index].output)[0])
        variances = {index: own.covariance.diagonal() for index, own in statistics.items()}
        means = {index: own.mean for index, own in statistics.items()}
        counts = [own.count for own in statistics.values()]
        nnsight.save(variances)
        nnsight.save(means)
        nnsight.save(counts)
    return variances, means, counts


@experiment()
def a_rank_one_edit(model, remote):
    """ROME in small: a key, a value that is optimised, and an update of a matrix that is used from then on."""
    layer = 1
    down = (lambda l: l.mlp.c_proj) if hasattr(model, "transformer") else (lambda l: l.mlp.down_proj)
    target = 40
    with model.session(remote=remote):
        with model.trace(FRANCE):
            key = down(layers(model)[layer]).input[0, -1].detach()
            value = down(layers(model)[layer]).output[0, -1].detach().clone()
        delta = torch.zeros_like(value, requires_grad=True)
        optimizer = torch.optim.SGD([delta], lr=0.5, momentum=0.9)
        losses = []
        for _ in range(4):
            with model.trace(FRANCE):
                output = down(layers(model)[layer]).output
                output[:, -1] = output[:, -1] + delta
                loss = F.cross_entropy(model.lm_head.output[:, -1], torch.tensor([target])) + 1e-2 * delta.norm()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        update = torch.outer(delta.detach(), key) / (key @ key)
        ranks = []
        for text in (FRANCE, ITALY):
            with model.trace(text):
                rows = down(layers(model)[layer]).input
                down(layers(model)[layer]).output = down(layers(model)[layer]).output + rows @ update.T
                logits = model.lm_head.output[0, -1]
                ranks.append(int((logits > logits[target]).sum()))
        nnsight.save(losses)
        nnsight.save(ranks)
    return losses, ranks


class Low(nn.Module):
    """A low-rank adapter beside a matrix."""

    def __init__(self, inside, outside, rank=2, alpha=4.0, dropout=0.0):
        super().__init__()
        self.a = nn.Linear(inside, rank, bias=False)
        self.b = nn.Linear(rank, outside, bias=False)
        nn.init.normal_(self.a.weight, std=1 / rank)
        nn.init.zeros_(self.b.weight)
        self.scaling = alpha / rank
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.b(self.a(self.dropout(x))) * self.scaling


@experiment()
def adapters_of_two_layers_are_trained(model, remote):
    torch.manual_seed(6)
    width = model.config.hidden_size
    adapters = nn.ModuleDict({str(index): Low(width, width) for index in (1, 2)})
    data = [(FRANCE, 50), (ITALY, 60)]
    with model.session(remote=remote):
        groups = [{"params": [p for n, p in adapters.named_parameters() if n.endswith("a.weight")], "lr": 1e-3}, {"params": [p for n, p in adapters.named_parameters() if n.endswith("b.weight")], "lr": 1e-2}]
        optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 3))
        losses = []
        for epoch in trange(3, disable=True):
            for text, label in data:
                with model.trace(text):
                    for name, adapter in adapters.items():
                        mlp = layers(model)[int(name)].mlp
                        given = mlp.input
                        mlp.output = mlp.output + adapter(given)
                    loss = F.cross_entropy(model.lm_head.output[:, -1], torch.tensor([label]))
                    loss.backward()
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                losses.append(loss.item())
        weights = {name: parameter.detach() for name, parameter in adapters.named_parameters()}
        rates = schedule.get_last_lr()
        nnsight.save(losses)
        nnsight.save(weights)
        nnsight.save(rates)
    return losses, weights, rates


@experiment()
def tuned_lenses(model, remote):
    torch.manual_seed(7)
    width = model.config.hidden_size
    with model.session(remote=remote):
        translators = nn.ModuleList([nn.Linear(width, width) for _ in layers(model)])
        for translator in translators:
            nn.init.eye_(translator.weight)
            nn.init.zeros_(translator.bias)
        optimizer = torch.optim.SGD(translators.parameters(), lr=0.1, nesterov=True, momentum=0.9)
        history = []
        for text in TEXTS[:3]:
            with model.trace(text):
                states = [first(layer.output).detach() for layer in layers(model)]
                final = model.lm_head.output.detach().log_softmax(-1)
            losses = []
            for translator, state in zip(translators, states):
                lens = model.lm_head(norm(model)(translator(state))).log_softmax(-1)
                losses.append((final.exp() * (final - lens)).sum(-1).mean())
            total = torch.stack(losses).sum()
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            history.append(torch.stack(losses).tolist())
        nnsight.save(history)
    return history


@experiment()
def early_answers(model, remote):
    """A pass that stops as soon as a lens is sure, and how far each prompt came."""
    depths = []
    with model.session(remote=remote):
        depths, answers = [], []
        for text in TEXTS[:3]:
            with model.trace(text) as tracer:
                for index, layer in enumerate(layers(model)):
                    lens = model.lm_head(norm(model)(first(layer.output)[:, -1]))
                    confidence = lens.softmax(-1).max().item()
                    if confidence > 0.0012 * (index + 1) or index == len(layers(model)) - 1:
                        depths.append(index)
                        answers.append(lens.argmax(-1).item())
                        tracer.stop()
        nnsight.save(depths)
        nnsight.save(answers)
    return depths, answers


@experiment()
def chats_are_rendered_and_read(model, remote):
    template = "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    model.tokenizer.chat_template = template
    try:
        text = model.tokenizer.apply_chat_template([{"role": "user", "content": "one two"}], tokenize=False, add_generation_prompt=True)
    finally:
        model.tokenizer.chat_template = None
    with model.trace(text, remote=remote):
        out = model.lm_head.output[0, -1].topk(3).indices.save()
    return text, out


@experiment()
def neurons_by_what_excites_them(model, remote):
    """Tables of the texts and tokens at which neurons are largest, with what stands around."""
    act = (lambda l: l.mlp.act) if hasattr(model, "transformer") else (lambda l: l.mlp.act_fn)
    neurons = [(1, 5), (2, 17)]
    with model.session(remote=remote):
        rows = []
        for number, text in enumerate(TEXTS):
            encoding = model.tokenizer(text)["input_ids"]
            words = [model.tokenizer.decode([token]) for token in encoding]
            with model.trace(encoding):
                values = {pair: act(layers(model)[pair[0]]).output[0, :, pair[1]].tolist() for pair in neurons}
            for pair, own in values.items():
                for position, value in enumerate(own):
                    around = "".join(words[max(0, position - 1):position + 2])
                    rows.append((pair, round(value, 4), number, position, around))
        table = {}
        for pair, group in itertools.groupby(sorted(rows, key=lambda row: (row[0], -row[1])), key=lambda row: row[0]):
            table[pair] = [row[2:] for row in itertools.islice(group, 3)]
        nnsight.save(table)
    return table


@dataclass
class Sweep:
    """What is tried, and what came of it."""

    layers: List[int]
    scales: Tuple[float, ...] = (0.5, 2.0)
    found: Dict[Tuple[int, float], float] = field(default_factory=dict)

    def points(self):
        yield from itertools.product(self.layers, self.scales)

    def best(self):
        return min(self.found, key=self.found.__getitem__)


@experiment()
def a_sweep_kept_in_a_dataclass(model, remote):
    sweep = Sweep([0, 1, 3])
    with model.session(remote=remote):
        with model.trace(FRANCE):
            reference = model.lm_head.output[0, -1].softmax(-1)
        for layer, scale in sweep.points():
            with model.trace(FRANCE):
                layers(model)[layer].mlp.output[:] *= scale
                other = model.lm_head.output[0, -1].softmax(-1)
                sweep.found[layer, scale] = 0.5 * (reference - other).abs().sum().item()
        best = sweep.best()
        found = dict(sweep.found)
        nnsight.save(best)
        nnsight.save(found)
    return best, found


@experiment()
def weights_are_compared_with_directions(model, remote):
    """Neurons whose outputs point where the unembedding of a token does, and what they read."""
    with model.session(remote=remote):
        unembed = F.normalize(model.lm_head.weight, dim=-1)
        found = []
        for index, layer in enumerate(layers(model)):
            if hasattr(model, "transformer"):
                out, inside = layer.mlp.c_proj.weight, layer.mlp.c_fc.weight.T
            else:
                out, inside = layer.mlp.down_proj.weight.T, layer.mlp.gate_proj.weight
            cosines = F.normalize(out, dim=-1) @ unembed[:50].T
            value, place = cosines.flatten().max(0)
            neuron, token = np.unravel_index(place.item(), tuple(cosines.shape))
            reads = (F.normalize(inside[int(neuron)], dim=0) @ F.normalize(out[int(neuron)], dim=0)).item()
            found.append((index, int(neuron), int(token), value.item(), reads))
        nnsight.save(found)
    return found


@experiment()
def surprise_under_ablation_by_position(model, remote):
    """Per-token losses of padded rows, masked by hand, for each ablation."""
    with model.session(remote=remote):
        encoding = model.tokenizer(TEXTS, return_tensors="pt", padding=True)
        ids, mask = encoding["input_ids"], encoding["attention_mask"]

        def loss_of(logits):
            losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
            counted = mask[:, 1:] * mask[:, :-1]
            return (losses * counted).sum(-1) / counted.sum(-1).clamp(min=1)

        with model.trace(encoding):
            plain = loss_of(model.lm_head.output)
        rises = {}
        for index, layer in enumerate(layers(model)):
            for kind, module in {"attn": attention(layer), "mlp": layer.mlp}.items():
                with model.trace(encoding):
                    value = module.output
                    zero = torch.zeros_like(first(value))
                    module.output = (zero, *value[1:]) if isinstance(value, tuple) else zero
                    rises[f"{index}.{kind}"] = loss_of(model.lm_head.output) - plain
        plain = plain.save()
        nnsight.save(rises)
    return plain, rises


class Beside(nn.Linear):
    """A matrix with a low-rank addition: a layer that derives from PyTorch's."""

    def __init__(self, inside, outside, rank=2, **options):
        super().__init__(inside, outside, **options)
        self.down = nn.Parameter(torch.randn(rank, inside))
        self.up = nn.Parameter(torch.randn(outside, rank))

    def forward(self, x):
        return super().forward(x) + x @ self.down.T @ self.up.T


@experiment()
def a_layer_that_derives_from_a_layer(model, remote):
    torch.manual_seed(8)
    width = model.config.hidden_size
    sent = Beside(width, width, bias=False)
    with model.trace(FRANCE, remote=remote):

        class Doubled(Beside):
            def forward(self, x):
                return 2 * super().forward(x)

        torch.manual_seed(9)
        made = Doubled(width, width, rank=3)
        state = layers(model)[1].output
        layers(model)[1].output = state + made(state) + sent(state)
        shown = [str(made), str(sent), isinstance(made, nn.Linear), isinstance(sent, nn.Module), sent.bias is None].save()
        names = [name for name, _ in made.named_parameters()].save()
        logits = model.lm_head.output.save()
    return shown, names, logits
