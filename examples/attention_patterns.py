"""Attention patterns: what do heads look at?

With `eager` attention a layer also gives its weights. One trace reads those of all heads on a sentence that says its
beginning twice.
"""
import shared
import torch
from matplotlib import pyplot

SENTENCE = "Professor Albus Dumbledore smiled, and Professor Albus Dumbledore sat down."
model, remote, picture = shared.start(__doc__, attn_implementation="eager")

with model.trace(SENTENCE, remote=remote):
    weights = list().save()
    for layer in model.model.layers:
        weights.append(layer.self_attn.output[1][0])

weights = torch.stack(weights).detach()
tokens = shared.words(model, SENTENCE)
ends = weights.sum(-1)
print(f"{tuple(weights.shape[:2])} heads on {len(tokens)} tokens; rows sum to 1 within {(ends - 1).abs().max():.6f}; weight on later tokens: {weights.triu(1).sum():.6f}")
here = torch.arange(2, len(tokens))
again = [(late, early) for late in range(len(tokens)) for early in range(late) if tokens[late] == tokens[early] and len(tokens[late].strip()) > 1]
late, early = (torch.tensor(side) for side in zip(*again))
scores = {
    "to the first token": weights[:, :, here, 0].mean(-1),
    "to the token before": weights[:, :, here, here - 1].mean(-1),
    "to the token after the last time": weights[:, :, late, early + 1].mean(-1),
}
heads = {}
for name, score in scores.items():
    heads[name] = divmod(score.argmax().item(), weights.shape[1])
    layer, head = heads[name]
    print(f"{name}: L{layer}H{head} with {score.max():.3f} on average, all heads {score.mean():.3f}")
print(f"heads with more than half of their weight on the first token: {(scores['to the first token'] > 0.5).float().mean():.0%}")

figure, all_axes = pyplot.subplots(1, 3, figsize=(10, 3.9), sharey=True)
for axes, (name, (layer, head)) in zip(all_axes, heads.items()):
    image = axes.imshow(weights[layer, head], cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(tokens)), tokens, rotation=90, fontsize=7)
    axes.set_yticks(range(len(tokens)), tokens, fontsize=7)
    axes.set(title=f"L{layer}H{head}: {name}", xlabel="token looked at")
    axes.title.set_fontsize(9)
all_axes[0].set_ylabel("token that looks")
figure.colorbar(image, ax=all_axes, label="attention weight")
figure.suptitle("Attention patterns: three kinds of heads")
shared.save(figure, picture)
