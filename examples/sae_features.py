"""SAE features: what do the directions of a sparse autoencoder stand for?

Activations of sentences on ten topics are read, and an autoencoder with few active features is trained on them, all in one
session: only what it found leaves the server. Every fourth sentence is held out; there, features are looked at, and the
autoencoder's output takes the place of the activations.
"""
from pathlib import Path

import shared
import torch
from matplotlib import pyplot

LAYER, FEATURES, ACTIVE, STEPS, BATCH = 14, 512, 8, 250, 384
model, remote, picture = shared.start(__doc__)
lines = [line.split(": ", 1) for line in (Path(__file__).parent / "sentences.txt").read_text().splitlines()]
topics = list(dict.fromkeys(topic for topic, _ in lines))


def prepare(lines):
    """Returns texts, which of their padded tokens count, those tokens' words, and each text's topic."""
    texts, ids = [text for _, text in lines], [model.tokenizer(text).input_ids for _, text in lines]
    longest = max(map(len, ids))
    # Padding is on the left. The first token is left out: all heads rest on it, and it is a hundred times as long as others.
    mask = torch.tensor([[at > longest - len(row) for at in range(longest)] for row in ids])
    words = [model.tokenizer.decode(one) for row in ids for one in row[1:]]
    return texts, mask, words, torch.tensor([topics.index(topic) for topic, _ in lines])


train, train_mask, _, train_sentences = prepare([line for at, line in enumerate(lines) if at % 4])
test, test_mask, test_words, test_sentences = prepare(lines[::4])
targets = torch.tensor(model.tokenizer(test, padding=True, padding_side="left").input_ids)

with model.session(remote=remote):
    layer = model.model.layers[LAYER]
    with model.trace(train):
        seen = layer.output[train_mask].detach()
    with model.trace(test):
        unseen = layer.output[test_mask].detach()
        logits = model.lm_head.output
    centre = seen.mean(0)
    scale = (seen - centre).pow(2).sum(-1).mean().sqrt()

    torch.manual_seed(0)
    first = torch.nn.functional.normalize(torch.randn(FEATURES, seen.shape[1]), dim=1)
    encoder, decoder = torch.nn.Parameter(first.clone()), torch.nn.Parameter(first.clone())
    bias = torch.nn.Parameter(torch.zeros(FEATURES))

    def encode(x):
        found = torch.relu(((x - centre) / scale) @ encoder.T + bias)
        best = found.topk(ACTIVE, dim=-1)
        return torch.zeros_like(found).scatter(-1, best.indices, best.values)

    def decode(features):
        return features @ decoder * scale + centre

    def unexplained(x):
        return (decode(encode(x)) - x).pow(2).sum() / (x - x.mean(0)).pow(2).sum()

    optimizer = torch.optim.Adam([encoder, decoder, bias], lr=0.002)
    for step in range(STEPS):
        batch = seen[torch.randperm(len(seen))[:BATCH]]
        loss = unexplained(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    def losses(logits):
        each = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), targets[:, 1:], reduction="none")
        return each[test_mask[:, 1:]].mean().item()

    with torch.no_grad():
        explained = [1 - unexplained(part).item() for part in (seen, unseen)]
        features = encode(unseen).save()
        seen_features = encode(seen).save()
        spliced = decode(features)
    spoiled = list()
    for replacement in (spliced, centre.expand(len(unseen), -1)):
        with model.trace(test):
            layer.output[test_mask] = replacement
            spoiled.append(losses(model.lm_head.output))
    found = (explained, losses(logits), spoiled).save()
explained, clean, (with_features, with_mean) = found


def by_sentence(features, mask):
    """Returns the mean of each feature over the tokens of each sentence."""
    return torch.stack([part.mean(0) for part in features.split(mask.sum(1).tolist())])


seen_means, means = by_sentence(seen_features, train_mask), by_sentence(features, test_mask)
chosen = []
for topic in range(len(topics)):
    # What tells a topic's sentences from others', among those that were trained on.
    own = train_sentences == topic
    mean, rest = seen_means[own], seen_means[~own]
    chosen.append(((mean.mean(0) - rest.mean(0)) / (mean.var(0) + rest.var(0)).sqrt().clamp(min=1e-6)).argmax().item())
table = torch.stack([means[test_sentences == topic].mean(0)[chosen] for topic in range(len(topics))])
table = table / table.sum(0).clamp(min=1e-9)
print(f"variance explained: {explained[0]:.3f} of tokens trained on, {explained[1]:.3f} of held-out ones, by {ACTIVE} of {FEATURES} features a token (at most {(features > 0).sum(-1).max()})")
recovered = (with_mean - with_features) / (with_mean - clean)
print(f"loss on held-out tokens: {clean:.3f}; {with_features:.3f} through the features, {with_mean:.3f} with the mean: {recovered:.0%} is kept")
labels = []
for topic, feature in enumerate(chosen):
    strongest = [at for at in features[:, feature].argsort(descending=True).tolist() if features[at, feature] > 0]
    labels.append(", ".join(list(dict.fromkeys(test_words[at].strip() for at in strongest))[:3]))
    print(f"{topics[topic]}: feature {feature}, {table[topic, topic]:.0%} of it on held-out sentences of the topic: {labels[-1]}")

figure, axes = pyplot.subplots(figsize=(8, 4.6))
image = axes.imshow(table.T, cmap="cividis", vmin=0, vmax=1, aspect="auto")
axes.set_xticks(range(len(topics)), topics, rotation=35, ha="right")
axes.set_yticks(range(len(topics)), [f"{feature} ({words})" for feature, words in zip(chosen, labels)])
axes.set(xlabel="topic of held-out sentences", ylabel="feature chosen for each topic (where it is strongest)",
         title=f"SAE features: what {FEATURES} directions at layer {LAYER} stand for")  # fmt: skip
figure.colorbar(image, label="share of the feature's activation")
shared.save(figure, picture)
