"""Ablation: which parts of the model can it do without?

Every layer's attention, every MLP and every whole layer is left out in its turn, and the loss on a text is taken: ninety
runs in one session, each of which begins where something changes.
"""
import shared
import torch
from matplotlib import pyplot

TEXT = (
    "Once upon a time, in a small village near the sea, there lived an old fisherman and his wife. Every morning he took "
    "his boat out and came back in the evening with a basket full of fish."
)
model, remote, picture = shared.start(__doc__)
tokens = torch.tensor(model.tokenizer(TEXT).input_ids)


def loss():
    return torch.nn.functional.cross_entropy(model.lm_head.output[0, :-1], tokens[1:]).item()


with model.session(remote=remote):
    with model.trace(TEXT):
        whole = loss().save()
    rows = list().save()
    for layer in model.model.layers:
        row = []
        with model.trace(TEXT):
            layer.self_attn.o_proj.output = torch.zeros_like(layer.self_attn.o_proj.output)
            row.append(loss())
        with model.trace(TEXT):
            layer.mlp.output = torch.zeros_like(layer.mlp.output)
            row.append(loss())
        with model.trace(TEXT):
            layer.skip(layer.input)
            row.append(loss())
        rows.append(row)
    with model.trace(TEXT):
        # Leaving a layer out is leaving out what it adds.
        middle = model.model.layers[15]
        middle.self_attn.o_proj.output = torch.zeros_like(middle.self_attn.o_proj.output)
        middle.mlp.output = torch.zeros_like(middle.mlp.output)
        both = loss().save()

rises = torch.tensor(rows) - whole
print(f"loss on {len(tokens)} tokens: {whole:.3f} nats a token")
names = ("attention", "MLP", "whole layer")
for part, name in enumerate(names):
    worst = rises[:, part].argsort(descending=True)[:3].tolist()
    print(f"without {name}: " + ", ".join(f"layer {layer} {rises[layer, part]:+.2f}" for layer in worst) + f"; median {rises[:, part].median():+.2f}")
print(f"layer 15 skipped, and both of its parts zero: losses differ by {abs(both - rows[15][2]):.6f}")

figure, axes = pyplot.subplots(figsize=(8, 3.8))
for part, colour, marker in ((0, shared.BLUE, "o"), (1, shared.ORANGE, "s"), (2, shared.GREY, "x")):
    axes.plot(rises[:, part], color=colour, marker=marker, markersize=5, linewidth=1, label=names[part])
axes.set_yscale("symlog", linthresh=0.1)
axes.set(xlabel="layer left out", ylabel="rise of the loss (nats a token)", title=f"Ablation: what is left out, and what it costs (loss {whole:.2f})")
axes.legend()
axes.grid(alpha=0.3)
shared.save(figure, picture)
