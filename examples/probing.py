"""Probing: from which layer on can a line tell glad from sad?

A linear probe for each layer is trained on the server, inside the session that reads the activations: none of them leaves it.
The adjectives that probes are tested on are in no sentence that they have seen, and the last token says nothing of them.
"""
import shared
import torch
from matplotlib import pyplot

GLAD = "wonderful great fantastic excellent amazing lovely brilliant superb delightful beautiful perfect charming".split()
SAD = "terrible awful horrible dreadful bad disgusting boring miserable poor ugly nasty disappointing".split()
SENTENCES = ["I thought this movie was {}, I", "The food at that restaurant was {}, and we", "My day at work was {}, so I", "That book is {}, I"]
SEEN, STEPS = 8, 150
model, remote, picture = shared.start(__doc__)


def sentences(adjectives):
    return [sentence.format(adjective) for adjective in adjectives for sentence in SENTENCES]


train, test = sentences(GLAD[:SEEN] + SAD[:SEEN]), sentences(GLAD[SEEN:] + SAD[SEEN:])
train_labels = torch.tensor([1.0, 0.0]).repeat_interleave(len(train) // 2)
test_labels = torch.tensor([1.0, 0.0]).repeat_interleave(len(test) // 2)

with model.session(remote=remote):
    read = []
    for texts in (train, test):
        with model.trace(texts):
            streams = [model.model.embed_tokens.output[:, -1]] + [layer.output[:, -1] for layer in model.model.layers]
        read.append(torch.stack(streams).detach())
    # As many probes as layers, trained side by side on activations of equal scale.
    centre, scale = read[0].mean(1, keepdim=True), read[0].std(1, keepdim=True) + 1e-3
    seen, unseen = ((part - centre) / scale for part in read)
    weights = torch.nn.Parameter(torch.zeros(seen.shape[0], seen.shape[2]))
    biases = torch.nn.Parameter(torch.zeros(seen.shape[0], 1))
    optimizer = torch.optim.AdamW([weights, biases], lr=0.01, weight_decay=0.1)
    losses = list().save()
    for step in range(STEPS):
        guesses = torch.einsum("lsd,ld->ls", seen, weights) + biases
        loss = torch.nn.functional.binary_cross_entropy_with_logits(guesses, train_labels.expand_as(guesses))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        learned = ((torch.einsum("lsd,ld->ls", seen, weights) + biases > 0) == train_labels).float().mean(1).save()
        held_out = ((torch.einsum("lsd,ld->ls", unseen, weights) + biases > 0) == test_labels).float().mean(1).save()

best = held_out.argmax().item()
print(f"{len(train)} sentences to learn from, {len(test)} with other adjectives to be tested on; loss {losses[0]:.3f} before, {losses[-1]:.3f} after {STEPS} steps")
print(f"held-out accuracy: {held_out[0]:.3f} on embeddings, {held_out[best]:.3f} after layer {best - 1}, {held_out[-1]:.3f} after the last; chance 0.500")

figure, axes = pyplot.subplots(figsize=(7, 3.6))
axes.plot(range(-1, len(held_out) - 1), learned, color=shared.GREY, linestyle="--", label="adjectives seen")
axes.plot(range(-1, len(held_out) - 1), held_out, "o-", color=shared.BLUE, markersize=4, label="adjectives held out")
axes.axhline(0.5, color="black", linewidth=0.8, linestyle=":", label="chance")
axes.set(xlabel="layer after which the probe reads (\N{MINUS SIGN}1: embeddings)", ylabel="accuracy", ylim=(0.4, 1.03), title="Probing: glad or sad, read at a later token")
axes.legend(loc="lower right")
axes.grid(alpha=0.3)
shared.save(figure, picture)
