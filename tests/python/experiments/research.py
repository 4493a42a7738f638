"""Programs of the length and the habits that researchers write: whole methods, with what they tidy, count and print beside."""
import collections
import functools
import itertools
import json
import math
import re
import string
from dataclasses import asdict, dataclass, field, replace
from enum import Enum, auto
from typing import Callable, NamedTuple, Optional

import nnsight
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments import FRANCE, ITALY, LONG, attention, embeddings, experiment, layers, norm

PAIRS = [("The capital of France is", "The capital of Italy is"), ("one two three four five", "one two six four five")]


@dataclass
class Config:
    layers: list = field(default_factory=lambda: [0, 1])
    scale: float = 1.5
    positions: Optional[slice] = None
    tags: set = field(default_factory=set)

    def __post_init__(self):
        self.positions = self.positions or slice(-2, None)

    @property
    def name(self):
        return f"L{'-'.join(map(str, self.layers))}_x{self.scale:.2f}"


@dataclass(frozen=True, order=True)
class Site:
    layer: int
    kind: str = "resid"

    def module(self, model):
        layer = layers(model)[self.layer]
        return {"resid": layer, "mlp": layer.mlp, "attn": attention(layer)}[self.kind]

    def read(self, model):
        value = self.module(model).output
        return value[0] if isinstance(value, tuple) else value

    def write(self, model, value):
        before = self.module(model).output
        self.module(model).output = (value, *before[1:]) if isinstance(before, tuple) else value


class Metric(Enum):
    DIFFERENCE = "logit difference"
    ENTROPY = "entropy"
    RANK = auto()

    def __call__(self, logits, right, wrong):
        if self is Metric.DIFFERENCE:
            return logits[right] - logits[wrong]
        if self is Metric.ENTROPY:
            return torch.distributions.Categorical(logits=logits).entropy()
        return (logits > logits[right]).sum()


class Answer(NamedTuple):
    token: str
    probability: float
    layer: int = -1

    def __str__(self):
        return f"{self.token!r}@{self.layer}: {self.probability:.3e}"


class SAE(nn.Module):
    def __init__(self, width, features, k=None):
        super().__init__()
        self.width, self.features, self.k = width, features, k
        self.encoder = nn.Linear(width, features)
        self.decoder = nn.Linear(features, width, bias=False)
        self.b_dec = nn.Parameter(torch.zeros(width))
        self.register_buffer("fired", torch.zeros(features, dtype=torch.long))
        with torch.no_grad():
            self.decoder.weight.div_(self.decoder.weight.norm(dim=0, keepdim=True))

    def encode(self, x):
        pre = self.encoder(x - self.b_dec).relu()
        if self.k is None:
            return pre
        values, indices = pre.topk(self.k, dim=-1, sorted=False)
        return torch.zeros_like(pre).scatter_(-1, indices, values)

    def decode(self, features):
        return self.decoder(features) + self.b_dec

    def forward(self, x, return_features=False):
        features = self.encode(x)
        self.fired += (features.detach() > 0).flatten(0, -2).sum(0)
        return (self.decode(features), features) if return_features else self.decode(features)


class Rotation(nn.Module):
    """Distributed alignment search: a subspace behind an orthogonal matrix."""

    def __init__(self, width, rank):
        super().__init__()
        self.skew = nn.Parameter(torch.randn(width, width) * 0.05)
        self.rank = rank

    @property
    def basis(self):
        skew = self.skew - self.skew.T
        return torch.matrix_exp(skew)[:, : self.rank]

    def forward(self, base, source):
        basis = self.basis
        return base + (source - base) @ basis @ basis.T


def lens(model, hidden):
    return model.lm_head(norm(model)(hidden))


@experiment()
def a_lens_with_ranks_and_entropies(model, remote):
    with model.trace(FRANCE, remote=remote):
        rows = []
        for number, layer in enumerate(layers(model)):
            logits = lens(model, layer.output)[0, -1]
            p = logits.float().softmax(-1)
            best = p.argmax().item()
            rows.append({"layer": number, "best": best, "p": round(p[best].item(), 5), "H": -(p * p.log()).sum().item()})
        final = model.lm_head.output[0, -1]
        target = final.argmax()
        for row, layer in zip(rows, range(len(rows))):
            row["same"] = row["best"] == target.item()
        table = nnsight.save(rows)
        lines = nnsight.save([f"{row['layer']:>2}|{row['best']:^7d}|{row['p']:.3%}|{row['H']:+08.3f}|{row['same']!s:5}" for row in rows])
    return table, lines


@experiment()
def a_lens_that_is_trained(model, remote):
    torch.manual_seed(0)
    translators = nn.ModuleList(nn.Linear(64, 64) for _ in range(2))
    for translator in translators:
        nn.init.eye_(translator.weight)
        nn.init.zeros_(translator.bias)
    optimizer = torch.optim.SGD(translators.parameters(), lr=0.05, nesterov=True, momentum=0.9)
    with model.session(remote=remote):
        history = collections.defaultdict(list)
        for step, prompt in enumerate([FRANCE, ITALY, FRANCE]):
            with model.trace(prompt):
                hidden = [layers(model)[number].output.detach() for number in range(2)]
                final = model.lm_head.output.detach().log_softmax(-1)
                losses = [F.kl_div(lens(model, t(h)).log_softmax(-1), final, log_target=True, reduction="batchmean")
                          for t, h in zip(translators, hidden)]
                loss = torch.stack(losses).mean()
                loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            for number, value in enumerate(losses):
                history[f"layer {number}"].append(value.item())
        history = nnsight.save(dict(history))
        size = nnsight.save(sum(p.numel() for p in translators.parameters() if p.requires_grad))
    return history, size


@experiment()
def patching_by_sites_and_metrics(model, remote):
    sites = sorted({Site(1, "mlp"), Site(0), Site(1, "attn"), Site(0, "mlp")})
    with model.session(remote=remote):
        found = {}
        for clean, corrupt in PAIRS:
            with model.trace(clean):
                kept = {site: site.read(model).clone() for site in sorted(sites, key=lambda site: (site.layer, site.kind == "resid", site.kind))}
                logits = model.lm_head.output[0, -1]
                right = logits.argmax().item()
            with model.trace(corrupt):
                base = model.lm_head.output[0, -1]
                wrong = base.argsort()[-2].item()
            for site in sites:
                with model.trace(corrupt):
                    now = site.read(model).clone()
                    now[:, -1] = kept[site][:, -1]
                    site.write(model, now)
                    patched = model.lm_head.output[0, -1]
                for metric in Metric:
                    found[clean[:7], site, metric.name] = float(metric(patched, right, wrong))
        names = nnsight.save([(where, str(site), name) for where, site, name in found])
        values = nnsight.save(torch.tensor(list(found.values())))
        best = nnsight.save(asdict(max(found, key=found.get)[1]))
    return names, values, best


@experiment()
def patching_with_invokes_of_a_batch(model, remote):
    clean, corrupt = PAIRS[0]
    with model.trace(remote=remote) as tracer:
        barrier = tracer.barrier(3)
        with tracer.invoke(clean):
            source = layers(model)[1].output[:, -1]
            barrier()
            reference = model.lm_head.output[:, -1].save()
        with tracer.invoke([corrupt] * 2):
            barrier()
            layers(model)[1].output[:, -1, :32] = source[:, :32]
            half = model.lm_head.output[:, -1].save()
        with tracer.invoke(corrupt):
            barrier()
            layers(model)[1].output[:, -1] = source
            whole = model.lm_head.output[:, -1].save()
        with tracer.invoke():
            everything = model.lm_head.output[:, -1].argmax(-1).tolist().save()
    recovered = ((half - reference).norm(dim=-1) / (whole - reference).norm(dim=-1).clamp_min(1e-6)).isfinite()
    return reference, half, whole, everything, recovered


@experiment()
def a_sparse_autoencoder_trains(model, remote):
    torch.manual_seed(2)
    sae = SAE(64, 96, k=8)
    optimizer = torch.optim.Adam([{"params": sae.encoder.parameters()}, {"params": [sae.b_dec, sae.decoder.weight], "lr": 1e-3}], lr=1e-2, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 3))
    with model.session(remote=remote):
        with model.trace([FRANCE, ITALY, LONG]):
            data = layers(model)[1].output.detach().flatten(0, 1)
        sae.b_dec.data.copy_(data.mean(0))
        log = []
        for step in range(4):
            batch = data[torch.randperm(len(data), generator=torch.Generator().manual_seed(step))[:8]]
            reconstruction, features = sae(batch, return_features=True)
            mse = (reconstruction - batch).pow(2).sum(-1).mean()
            l1 = features.abs().sum(-1).mean()
            loss = mse + 3e-2 * l1
            optimizer.zero_grad()
            loss.backward()
            parallel = (sae.decoder.weight.grad * sae.decoder.weight.data).sum(0, keepdim=True)
            sae.decoder.weight.grad -= parallel * sae.decoder.weight.data
            total = nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                sae.decoder.weight /= sae.decoder.weight.norm(dim=0, keepdim=True)
            log.append(dict(step=step, mse=mse.item(), l0=(features > 0).float().sum(-1).mean().item(), norm=total.item(), lr=schedule.get_last_lr()))
        log = nnsight.save(log)
        dead = nnsight.save((sae.fired == 0).sum().item())
        state = nnsight.save({name: value.clone() for name, value in sae.state_dict().items()})
        fresh = SAE(64, 96, k=8)
        told = nnsight.save(str(fresh.load_state_dict(sae.state_dict())))
        equal = nnsight.save(all(torch.equal(a, b) for a, b in zip(fresh.state_dict().values(), sae.state_dict().values())))
    return log, dead, state, told, equal


@experiment()
def features_are_clamped_and_the_error_is_kept(model, remote):
    torch.manual_seed(3)
    sae = SAE(64, 96)
    with model.trace(FRANCE, remote=remote):
        hidden = layers(model)[1].output
        features = sae.encode(hidden)
        error = hidden - sae.decode(features)
        strongest = features.flatten(0, 1).amax(0).topk(3)
        edited = features.clone()
        edited[..., strongest.indices] = strongest.values * 2
        layers(model)[1].output = sae.decode(edited) + error
        logits = model.lm_head.output[:, -1].save()
        top = strongest.save()
        sparsity = nnsight.save((features > 0).float().mean(dim=(0, 1)).sum().item())
    return logits, top, sparsity


@experiment()
def steering_a_generation(model, remote):
    config = Config(layers=[1, 2], scale=-2.0, tags={"demo"})
    with model.session(remote=remote):
        with model.trace() as tracer:
            with tracer.invoke("good great"):
                plus = {number: layers(model)[number].output[0].mean(0) for number in config.layers}
            with tracer.invoke("bad awful worse"):
                minus = {number: layers(model)[number].output[0].mean(0) for number in config.layers}
        directions = {number: F.normalize(plus[number] - minus[number], dim=0) for number in plus}
        with model.generate(FRANCE, max_new_tokens=4, do_sample=False) as tracer:
            norms = list()
            for step in tracer.iter[:]:
                for number in config.layers:
                    layers(model)[number].output[:, -1:] += config.scale * directions[number]
                norms.append(model.lm_head.output[0, -1].norm().item())
        with model.generate(FRANCE, max_new_tokens=4, do_sample=False) as tracer:
            ids = tracer.result.save()
        norms = nnsight.save(norms)
        name = nnsight.save(config.name)
        other = nnsight.save(repr(replace(config, layers=[0], tags=set())))
    return ids, norms, name, other


@experiment()
def attention_is_knocked_out_by_a_mask(model, remote):
    eager = model.eager
    with eager.trace(FRANCE, remote=remote):
        first = attention(layers(eager)[0])
        weights = first.output[1]
        length = weights.shape[-1]
        causal = torch.tril(torch.ones(length, length, dtype=torch.bool))
        previous = torch.diag(torch.ones(length - 1, dtype=torch.bool), -1)
        mean_distance = torch.einsum("bhqk,qk->bh", weights, (torch.arange(length)[:, None] - torch.arange(length)).clamp(min=0).float())
        scores = {"previous": weights[..., previous].mean(-1), "first": weights[..., 0].mean(-1), "distance": mean_distance}
        scores = nnsight.save({name: value[0].tolist() for name, value in scores.items()})
        leak = nnsight.save(bool((weights.masked_fill(causal, 0) == 0).all()))
        entropy = nnsight.save(torch.special.entr(weights).sum(-1)[0, :, -1])
    return scores, leak, entropy


@experiment("gpt2")
def heads_are_taken_apart(model, remote):
    heads = 4
    with model.trace(FRANCE, remote=remote):
        layer = layers(model)[1]
        z = layer.attn.c_proj.input
        b, t, width = z.shape
        per_head = z.view(b, t, heads, width // heads)
        weight = layer.attn.c_proj.weight.view(heads, width // heads, width)
        contributions = torch.einsum("bthd,hdw->bthw", per_head, weight)
        total = layer.attn.output[0]
        close = nnsight.save(torch.allclose(contributions.sum(2) + layer.attn.c_proj.bias, total, atol=1e-4))
        unembedding = model.lm_head.weight
        final = model.lm_head.output[0, -1]
        direction = unembedding[final.argmax()] - unembedding[final.argmin()]
        dla = nnsight.save((contributions[0, -1] @ direction).tolist())
    return close, dla


@experiment()
def neurons_are_ranked_and_ablated(model, remote):
    with model.session(remote=remote):
        with model.trace(FRANCE):
            inner = (layers(model)[1].mlp.c_proj if hasattr(layers(model)[1].mlp, "c_proj") else layers(model)[1].mlp.down_proj).input
            ranked = inner[0, -1].abs().topk(5)
            chosen = ranked.indices.tolist()
            before = model.lm_head.output[0, -1].log_softmax(-1)
        effects = []
        for neuron in chosen:
            with model.trace(FRANCE):
                module = layers(model)[1].mlp.c_proj if hasattr(layers(model)[1].mlp, "c_proj") else layers(model)[1].mlp.down_proj
                module.input[:, :, neuron] = 0
                after = model.lm_head.output[0, -1].log_softmax(-1)
                effects.append((before.exp() * (before - after)).sum())
        order = sorted(range(len(effects)), key=lambda at: -effects[at])
        effects = torch.stack(effects).save()
        order = nnsight.save([chosen[at] for at in order])
        shares = nnsight.save(np.round(np.array([float(effect) for effect in effects]) / max(float(effects.sum()), 1e-9), 3).sum() < 2)
    return effects, order, shares


@experiment()
def a_probe_by_least_squares(model, remote):
    words = ["red", "two", "blue", "five", "green", "six", "one", "black"]
    labels = np.array([1, 0, 1, 0, 1, 0, 0, 1])
    with model.session(remote=remote):
        with model.trace(words):
            X = layers(model)[1].output[:, -1].detach().numpy().astype(np.float64)
        X = (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-8)
        y = np.where(labels == 1, 1.0, -1.0)
        folds = np.array_split(np.random.RandomState(0).permutation(len(y)), 4)
        accuracies = []
        for fold in folds:
            train = np.setdiff1d(np.arange(len(y)), fold)
            A = X[train].T @ X[train] + 1.0 * np.eye(X.shape[1])
            w = np.linalg.solve(A, X[train].T @ y[train])
            accuracies.append(np.mean(np.sign(X[fold] @ w) == y[fold]))
        u, s, vt = np.linalg.svd(X - X.mean(0), full_matrices=False)
        explained = np.cumsum(s ** 2) / np.sum(s ** 2)
        needed = int(np.searchsorted(explained, 0.9)) + 1
        summary = f"{np.mean(accuracies):.2f} ± {np.std(accuracies, ddof=1):.2f} ({needed} dims)"
        summary = nnsight.save(summary)
        accuracies = nnsight.save(np.asarray(accuracies))
        counts = nnsight.save(dict(zip(*(part.tolist() for part in np.unique(labels, return_counts=True)))))
        correlation = nnsight.save(np.corrcoef(X[:, 0], y)[0, 1])
    return summary, accuracies, counts, correlation


@experiment()
def paths_are_patched_in_a_session(model, remote):
    clean, corrupt = PAIRS[0]
    with model.session(remote=remote):
        with model.trace(clean):
            clean_mlp = [layer.mlp.output for layer in layers(model)]
        with model.trace(corrupt):
            corrupt_mlp = [layer.mlp.output for layer in layers(model)]
            base = model.lm_head.output[0, -1]
        effect = torch.zeros(len(clean_mlp), len(clean_mlp))
        for sender, receiver in itertools.combinations(range(len(clean_mlp)), 2):
            with model.trace(corrupt):
                for number, layer in enumerate(layers(model)):
                    if number == sender:
                        layer.mlp.output[:] = clean_mlp[number]
                    elif sender < number < receiver:
                        layer.mlp.output[:] = corrupt_mlp[number]
                effect[sender, receiver] = (model.lm_head.output[0, -1] - base).norm()
        effect = effect.save()
        order = nnsight.save(torch.stack(torch.where(effect > effect.quantile(0.8)), 1).tolist())
    return effect, order


@experiment(shared=False)
def gradients_are_attributed_to_tokens(model, remote):
    with model.trace(FRANCE, remote=remote):
        entered = embeddings(model).output
        entered.requires_grad_()
        logits = model.lm_head.output[0, -1]
        target = logits[logits.argmax()]
        with target.backward():
            gradient = entered.grad
            attribution = (gradient * entered).sum(-1)[0]
            saliency = gradient.norm(dim=-1)[0]
            shares = (attribution.abs() / attribution.abs().sum()).tolist()
            result = nnsight.save({"attribution": attribution, "saliency": saliency, "shares": [round(share, 4) for share in shares]})
    return result


@experiment(shared=False)
def integrated_gradients_along_a_line(model, remote):
    steps = 4
    with model.session(remote=remote):
        with model.trace(FRANCE):
            point = embeddings(model).output.detach()
            answer = model.lm_head.output[0, -1].argmax()
        baseline = torch.zeros_like(point)
        total = torch.zeros_like(point)
        for alpha in torch.linspace(1 / steps, 1, steps):
            with model.trace(FRANCE):
                moved = (baseline + alpha * (point - baseline)).requires_grad_(True)
                embeddings(model).output = moved
                score = model.lm_head.output[0, -1].log_softmax(-1)[answer]
                score.backward()
            total += moved.grad / steps
        attribution = ((point - baseline) * total).sum(-1).save()
    return attribution


@experiment()
def keys_and_values_are_edited(model, remote):
    with model.session(remote=remote):
        with model.trace(FRANCE, use_cache=True):
            best = model.lm_head.output[:, -1:].argmax(-1)
            cache = model.output.past_key_values
            sizes = [tuple(layer.keys.shape) for layer in cache.layers]
            for layer in cache.layers:
                layer.values[:, :, 1] = 0
        with model.trace(best, past_key_values=cache):
            logits = model.lm_head.output[:, -1].save()
        sizes = nnsight.save(sizes)
        length = nnsight.save(cache.get_seq_length())
    return logits, sizes, length


@experiment()
def tokens_are_healed(model, remote):
    prompt = "The capital of Fra"
    with model.session(remote=remote):
        tokenizer = model.tokenizer
        ids = tokenizer.encode(prompt)
        last = tokenizer.decode(ids[-1:])
        allowed = [number for number in range(tokenizer.vocab_size) if tokenizer.decode([number]).startswith(last[:1])]
        with model.trace(torch.tensor([ids[:-1]])):
            logits = model.lm_head.output[0, -1]
            mask = torch.full_like(logits, -math.inf)
            mask[allowed] = 0
            healed = (logits + mask).argmax().item()
        text = nnsight.save(tokenizer.decode(ids[:-1] + [healed]))
        count = nnsight.save(len(allowed))
    return text, count


@experiment()
def two_prompts_decode_against_each_other(model, remote):
    with model.session(remote=remote):
        expert, amateur = model.tokenizer.encode(FRANCE), model.tokenizer.encode(ITALY)
        produced, scores = [], []
        for _ in range(3):
            with model.trace() as tracer:
                with tracer.invoke(expert + produced):
                    strong = model.lm_head.output[0, -1].log_softmax(-1)
                with tracer.invoke(amateur + produced):
                    weak = model.lm_head.output[0, -1].log_softmax(-1)
            plausible = strong >= strong.max() + math.log(0.1)
            score = torch.where(plausible, strong - 0.5 * weak, torch.tensor(float("-inf")))
            token = int(score.argmax())
            produced.append(token)
            scores.append(score[token].item())
        produced, scores = nnsight.save(produced), nnsight.save(scores)
    return produced, scores


@experiment(shared=False)
def a_rotation_is_learned(model, remote):
    torch.manual_seed(5)
    rotation = Rotation(64, 4)
    optimizer = torch.optim.Adam(rotation.parameters(), lr=1e-2)
    with model.session(remote=remote):
        with model.trace(ITALY):
            source = layers(model)[1].output[:, -1].detach()
            wanted = model.lm_head.output[0, -1].argmax()
        losses = []
        for _ in range(3):
            with model.trace(FRANCE):
                base = layers(model)[1].output[:, -1]
                layers(model)[1].output[:, -1] = rotation(base, source)
                loss = F.cross_entropy(model.lm_head.output[:, -1], wanted[None])
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(round(loss.item(), 4))
        losses = nnsight.save(losses)
        basis = rotation.basis.detach()
        orthogonal = nnsight.save(torch.allclose(basis.T @ basis, torch.eye(4), atol=1e-5))
    return losses, orthogonal


@experiment()
def the_stream_is_written_as_a_sum(model, remote):
    with model.trace(FRANCE, remote=remote):
        parts = collections.OrderedDict(embed=layers(model)[0].input)
        for number, layer in enumerate(layers(model)):
            attended = attention(layer).output
            parts[f"attn{number}"] = attended[0] if isinstance(attended, tuple) else attended
            parts[f"mlp{number}"] = layer.mlp.output
            last = layer.output
        stacked = torch.stack([*parts.values()])
        gap = (stacked.sum(0) - last).abs().max()
        cosine = F.cosine_similarity(stacked[:, 0, -1], last[0, -1], dim=-1)
        ranked = [name for name, _ in sorted(zip(parts, cosine.tolist()), key=lambda pair: pair[1], reverse=True)]
        result = nnsight.save((gap < 1e-3, cosine, ranked[:3]))
    return result


@experiment()
def answers_are_named_tuples_in_a_table(model, remote):
    with model.trace([FRANCE, ITALY], remote=remote):
        answers = []
        for number, layer in enumerate(layers(model)):
            p = lens(model, layer.output)[:, -1].softmax(-1)
            for row in p:
                value, index = row.max(0)
                answers.append(Answer(model.tokenizer.decode(index), value.item(), number))
        best = max(answers, key=lambda answer: answer.probability)
        lines = nnsight.save([str(answer) for answer in answers])
        told = nnsight.save((best.token, best.layer, best._replace(layer=9).layer, best._asdict()["layer"], len(best), Answer._fields))
        grouped = {layer: [answer.token for answer in some] for layer, some in itertools.groupby(answers, key=lambda answer: answer.layer)}
        grouped = nnsight.save(grouped)
        counted = nnsight.save(collections.Counter(answer.token for answer in answers).most_common(2))
    return lines, told, grouped, counted


@experiment()
def a_report_is_written_as_text(model, remote):
    with model.trace(FRANCE, remote=remote):
        hidden = layers(model)[1].output
        stats = {"mean": hidden.mean(), "std": hidden.std(), "max": hidden.max(), "shape": tuple(hidden.shape), "dtype": str(hidden.dtype)}
        report = "\n".join(f"{name:<8}{value:>12.4f}" if isinstance(value, Tensor) else f"{name:<8}{value!s:>12}" for name, value in stats.items())
        report = nnsight.save(report)
        words = nnsight.save(re.findall(r"[A-Z]\w+", FRANCE) + re.split(r"\s+of\s+", FRANCE, maxsplit=1))
        dumped = nnsight.save(json.dumps({name: value.item() if isinstance(value, Tensor) else value for name, value in stats.items() if name in ("shape", "dtype")}, sort_keys=True, indent=1))
        table = str.maketrans(string.ascii_lowercase, string.ascii_lowercase[13:] + string.ascii_lowercase[:13])
        turned = nnsight.save(FRANCE.translate(table).title().swapcase().center(40, "*"))
        print(f"{stats['shape']=} {stats['mean'].item():.2e}")
        print("*", *range(3), sep="-", end="!\n")
    return report, words, dumped, turned


@experiment()
def functions_are_made_and_kept(model, remote):
    def scaling(factor: float) -> Callable[[Tensor], Tensor]:
        calls = []

        def apply(value):
            calls.append(value.dim())
            apply.calls = len(calls)
            return value * factor

        return apply

    def chain(*functions):
        return functools.reduce(lambda f, g: lambda x: g(f(x)), functions)

    def windows(items, size):
        queue = collections.deque(maxlen=size)
        for item in items:
            queue.append(item)
            if len(queue) == size:
                yield tuple(queue)

    half, double = scaling(0.5), scaling(2.0)
    with model.trace(FRANCE, remote=remote):
        hidden = layers(model)[0].output
        same = torch.equal(chain(half, double)(hidden), hidden)
        counts = [half.calls, double.calls]
        drift = [float((b - a).norm()) for a, b in windows((layer.output[0, -1] for layer in layers(model)), 2)]
        late = [lambda x, number=number: x + number for number in range(3)]
        bound = [function(1) for function in late]
        unbound = [function() for function in [lambda: number for number in range(3)]]
        result = nnsight.save((same, counts, drift, bound, unbound))
    return result


@experiment()
def errors_are_handled_where_they_come(model, remote):
    class Stop(Exception):
        def __init__(self, layer, *, why="enough"):
            super().__init__(layer, why)
            self.layer = layer

    with model.trace(FRANCE, remote=remote):
        seen, told = [], []
        try:
            for number, layer in enumerate(layers(model)):
                seen.append(layer.output.norm().item())
                if number == 1:
                    raise Stop(number) from ValueError("root")
        except Stop as stop:
            told.append((stop.layer, stop.args, type(stop.__cause__).__name__, str(stop)))
        else:
            told.append("no stop")
        finally:
            told.append("finally")
        for attempt in [lambda: torch.zeros(2) @ torch.zeros(3), lambda: {}["key"], lambda: [][1], lambda: int("x"), lambda: 1 / 0, lambda: "a" + 1, lambda: torch.zeros(2).reshape(3), lambda: None.shape]:
            try:
                attempt()
            except (KeyError, IndexError) as error:
                told.append(("lookup", type(error).__name__, error.args))
            except Exception as error:
                told.append((type(error).__name__, str(error)))
        result = nnsight.save((seen, told))
    return result


@experiment()
def means_over_a_data_set_replace_activations(model, remote):
    data = {"calm": ["one two", "three four five"], "loud": ["six", "seven eight nine"]}
    with model.session(remote=remote):
        sums = collections.defaultdict(lambda: torch.zeros(64))
        counts = collections.Counter()
        for label, prompts in data.items():
            for prompt in prompts:
                with model.trace(prompt):
                    state = layers(model)[1].mlp.output[0]
                sums[label] = sums[label] + state.sum(0)
                counts[label] += state.shape[0]
        means = {label: total / counts[label] for label, total in sums.items()}
        result = {}
        for label, mean in means.items():
            with model.trace(FRANCE):
                layers(model)[1].mlp.output[:] = mean
                result[label] = model.lm_head.output[0, -1].topk(2).indices.tolist()
        result = nnsight.save(result)
        counts = nnsight.save(dict(counts))
        stacked = torch.stack(list(means.values())).save()
    return result, counts, stacked


@experiment()
def induction_is_scored(model, remote):
    torch.manual_seed(8)
    half = torch.randint(5, 400, (2, 6))
    tokens = torch.cat([half, half], dim=1)
    eager = model.eager
    with eager.trace(tokens, remote=remote):
        scores = []
        for layer in layers(eager):
            weights = attention(layer).output[1]
            scores.append(weights.diagonal(offset=-5, dim1=-2, dim2=-1).mean(dim=(0, -1)))
        scores = torch.stack(scores).save()
        logits = eager.lm_head.output
        losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
        gain = nnsight.save((losses[:, :5].mean() - losses[:, 6:].mean()).item())
    return scores, gain


@experiment()
def erasure_of_a_subspace(model, remote):
    with model.session(remote=remote):
        with model.trace([FRANCE, ITALY, "one two three four five"]):
            states = layers(model)[1].output.detach().reshape(-1, 64)
        centred = states - states.mean(0, keepdim=True)
        U, S, Vh = torch.linalg.svd(centred, full_matrices=False)
        basis = Vh[:3]
        project = torch.eye(64) - basis.T @ basis
        with model.trace(FRANCE):
            hidden = layers(model)[1].output
            layers(model)[1].output = (hidden - states.mean(0)) @ project + states.mean(0)
            logits = model.lm_head.output[0, -1].save()
        rest = nnsight.save((centred @ project @ basis.T).abs().max().item() < 1e-4)
        share = nnsight.save((S[:3] ** 2).sum().div((S ** 2).sum()))
    return logits, rest, share


@experiment()
def beams_by_hand(model, remote):
    with model.session(remote=remote):
        beams = [(0.0, model.tokenizer.encode(FRANCE))]
        for _ in range(2):
            with model.trace([ids for _, ids in beams]):
                scores = model.lm_head.output[:, -1].log_softmax(-1)
            found = []
            for (total, ids), row in zip(beams, scores):
                values, indices = torch.topk(row, 3)
                found += [(total + value.item(), ids + [index.item()]) for value, index in zip(values, indices)]
            beams = sorted(found, key=lambda beam: (-round(beam[0], 4), beam[1]))[:3]
        totals = nnsight.save([round(total, 3) for total, _ in beams])
        texts = nnsight.save([model.tokenizer.decode(ids[-2:]) for _, ids in beams])
    return totals, texts


@experiment()
def numbers_are_rounded_and_compared(model, remote):
    with model.trace(FRANCE, remote=remote):
        x = layers(model)[0].output[0, -1]
        results = {
            "item": x[0].item().__class__.__name__,
            "float": float(x[0]) == x[0].item(),
            "format": f"{x[0]:.3f}|{x[0].item():8.2e}|{x.mean():+.1f}",
            "int": int(x.abs().max()) // 1,
            "round": round(x[1].item(), 2),
            "bool": bool(x[0] > x[1]) is (x[0].item() > x[1].item()),
            "index": list(range(10))[torch.tensor(3)],
            "in": x[2].item() in x.tolist(),
            "minmax": (min(x.tolist()) == x.min().item(), max(x[:3]).item() == x[:3].max().item()),
            "sum": abs(sum(x.tolist()) - x.double().sum().item()) < 1e-6,
            "divmod": divmod(int(x.numel()), 7),
            "isclose": math.isclose(x.norm().item(), math.sqrt((x ** 2).sum().item()), rel_tol=1e-5),
            "hist": torch.histc(x, 4, -1, 1).int().tolist(),
            "sorted": [int(at) for at in sorted(range(5), key=x.tolist().__getitem__)],
            "buckets": torch.bucketize(x[:4], torch.tensor([-0.5, 0.0, 0.5])).tolist(),
            "str": str(x.detach()[:3].round(decimals=2)),
            "repr": repr(x.shape) + repr(x[:2].argmax()) + repr(x.dtype),
            "numpy": np.round(x[:2].detach().numpy(), 3).dtype.name,
        }
        results = nnsight.save(results)
    return results


@experiment()
def hooks_of_ones_own_modules(model, remote):
    torch.manual_seed(9)
    probe = nn.Sequential(nn.Linear(64, 8), nn.GELU(), nn.Linear(8, 2))
    with model.trace(FRANCE, remote=remote):
        kept, order = {}, []

        def keep(name):
            def hook(module, args, kwargs, output):
                kept[name] = (output.shape, len(args), sorted(kwargs), type(module).__name__)
                order.append(name)
            return hook

        handles = [module.register_forward_hook(keep(name), with_kwargs=True) for name, module in probe.named_children()]
        probe[0].register_forward_pre_hook(lambda module, args: (args[0] * 2,))
        probe[2].register_forward_hook(lambda module, args, output: output + 1, prepend=True)
        first = probe(layers(model)[0].output[:, -1])
        for handle in handles:
            handle.remove()
        second = probe(layers(model)[0].output[:, -1])
        result = nnsight.save((first, second, kept, order))
    return result


@experiment()
def a_module_loads_its_state(model, remote):
    torch.manual_seed(10)
    trained = nn.Sequential(collections.OrderedDict(down=nn.Linear(64, 4), norm=nn.LayerNorm(4), up=nn.Linear(4, 64)))
    state = {name: value * 0.5 for name, value in trained.state_dict().items()}
    with model.trace(FRANCE, remote=remote):
        hidden = layers(model)[0].output
        before = trained(hidden)
        told = trained.load_state_dict(state)
        after = trained(hidden)
        partial = {name: value for name, value in state.items() if "norm" not in name}
        partial["extra"] = torch.zeros(1)
        loose = trained.load_state_dict(partial, strict=False)
        errors = []
        for wrong in (partial, {"down.weight": torch.zeros(2, 2)}, 3):
            try:
                trained.load_state_dict(wrong)
            except Exception as error:
                errors.append((type(error).__name__, str(error)))
        result = nnsight.save((before, after, str(told), loose.missing_keys, loose.unexpected_keys, errors))
    return result


@experiment()
def bytes_that_change(model, remote):
    with model.trace(FRANCE, remote=remote):
        data = bytearray(b"hello")
        data += b" world"
        data[0] = ord("J")
        data[-1:] = b"D!"
        data.append(33)
        data.extend([65, 66])
        del data[5]
        popped = data.pop()
        view = (bytes(data), len(data), data.decode(), repr(data), data == bytes(data), popped, list(data[:3]), data.find(b"o"), b"w" in data, sorted(data)[:2], data.upper(), bytearray(3), bytearray([1, 2]), data.hex())
        view = nnsight.save(view)
        total = nnsight.save(sum(bytearray(b"abc")))
    return view, total


@experiment("gpt2")
def inputs_where_there_are_no_keywords(model, remote):
    with model.trace(FRANCE, remote=remote):
        hidden = layers(model)[0].output
        args, kwargs = layers(model)[1].mlp.inputs
        count = nnsight.save((len(args), len(kwargs)))
        layers(model)[1].mlp.inputs = ((args[0] * 0.5,), {})
        out = layers(model)[1].mlp.output.save()
        final = norm(model).inputs
        shape = nnsight.save((len(final), final[0][0].shape, final[1]))
    return count, out, shape


@experiment("gpt2")
def inputs_of_a_module_that_is_left_out(model, remote):
    with model.trace(FRANCE, remote=remote):
        h = layers(model)[0].output
        layers(model)[1].inputs = (torch.zeros_like(h),) + layers(model)[1].inputs[1:]
        layers(model)[1].skip(h)
        out = layers(model)[1].output.save()
    return out


@experiment()
def einsums_of_every_form(model, remote):
    with model.trace([FRANCE, ITALY], remote=remote):
        h = layers(model)[0].output
        w = layers(model)[1].output
        heads = h.unflatten(-1, (4, 16))
        results = {
            "gram": torch.einsum("bsd,btd->bst", h, w),
            "implicit": torch.einsum("bsd,bsd", h, w),
            "trace": torch.einsum("ii", (h[0] @ h[0].T)),
            "outer": torch.einsum("i,j->ij", h[0, -1, :3], w[0, -1, :2]),
            "dots": torch.einsum("...d,...d->...", h, w),
            "three": torch.einsum("bshd,bthd,bsd->bht", heads, heads, h[..., :16]),
            "list": torch.einsum("bd,bd->b", [h[:, -1], w[:, -1]]),
            "spaces": torch.einsum("b s d -> b d", h),
            "numpy": torch.from_numpy(np.einsum("bd,bd->b", h[:, -1].detach().numpy(), w[:, -1].detach().numpy())),
            "tensordot": torch.tensordot(h[0], w[0], dims=([1], [1])),
            "kron": torch.kron(h[0, -1, :2], w[0, -1, :2]),
        }
        results = nnsight.save(results)
    return results


@experiment()
def choices_are_sampled_by_hand(model, remote):
    with model.session(remote=remote):
        generator = torch.Generator().manual_seed(11)
        ids, chosen = model.tokenizer.encode(FRANCE), []
        for temperature in (0.7, 1.0, 1.3):
            with model.trace(torch.tensor([ids + chosen])):
                logits = model.lm_head.output[0, -1] / temperature
            values, order = logits.sort(descending=True)
            cumulative = values.softmax(-1).cumsum(-1)
            keep = cumulative - values.softmax(-1) < 0.9
            p = torch.where(keep, values, -torch.inf).softmax(-1)
            token = order[torch.multinomial(p, 1, generator=generator)]
            chosen.append(token.item())
        chosen = nnsight.save(chosen)
    return chosen


@experiment()
def positions_are_found_by_offsets(model, remote):
    with model.trace(FRANCE, remote=remote):
        encoding = model.tokenizer(FRANCE, return_offsets_mapping=True)
        start = FRANCE.index("France")
        inside = [at for at, (a, b) in enumerate(encoding["offset_mapping"]) if a < start + 6 and b > start]
        hidden = layers(model)[1].output[:, inside].mean(1)
        masked = torch.zeros(len(encoding["input_ids"]), dtype=torch.bool).index_fill(0, torch.tensor(inside), True)
        same = torch.equal(layers(model)[2].input[0][masked].mean(0), hidden[0])
        result = nnsight.save((inside, hidden, masked, same, "".join(encoding.tokens())))
    return result


@experiment()
def patches_are_planned_by_match(model, remote):
    plans = [("zero", 0), ("scale", 1, 0.5), {"kind": "add", "layer": 1, "value": 0.1}, ("noise", 2, 0.1, 7), None]

    def run(plan, hidden):
        match plan:
            case None:
                return hidden
            case ("zero", _):
                return torch.zeros_like(hidden)
            case ("scale", _, float() as factor) if factor < 1:
                return hidden * factor
            case {"kind": "add", "value": value, **rest}:
                return hidden + value * len(rest)
            case (str(name), int(), *numbers):
                sigma, seed = numbers
                return hidden + sigma * torch.randn(hidden.shape, generator=torch.Generator().manual_seed(seed))

    with model.session(remote=remote):
        results = []
        for plan in plans:
            number = plan["layer"] if isinstance(plan, dict) else plan[1] if plan else 0
            with model.trace(FRANCE):
                layers(model)[number].output = run(plan, layers(model)[number].output)
                results.append(model.lm_head.output[0, -1].max())
        results = torch.stack(results).save()
    return results
