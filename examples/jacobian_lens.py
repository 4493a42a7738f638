"""Jacobian lens: what is an activation going to make the model say, later on?

The logit lens reads a layer as if it were the last. The Jacobian lens first carries it there, by the mean Jacobian of the last
layer's residual stream over other sentences. The words of interest need as many rows of it, each a backward pass.
"""
from pathlib import Path

import shared
import torch
from matplotlib import pyplot

CAPITALS = {"France": "Paris", "Italy": "Rome", "Japan": "Tokyo", "Germany": "Berlin", "Spain": "Madrid", "Russia": "Moscow", "England": "London",
            "Egypt": "Cairo", "Greece": "Athens", "Austria": "Vienna", "Ireland": "Dublin", "China": "Beijing"}  # fmt: skip
PROMPT, COUNTRY, EPSILON = "The capital of {} is", 3, 0.5
model, remote, picture = shared.start(__doc__)
lines = (Path(__file__).parent / "sentences.txt").read_text().splitlines()
sentences = [line.split(": ", 1)[1] for line in lines[::20]]
prompts = [PROMPT.format(country) for country in CAPITALS]
words = [model.tokenizer(f" {capital}").input_ids[0] for capital in CAPITALS.values()]
answers = torch.arange(len(words))

with model.session(remote=remote):
    rows = (model.lm_head.weight[words] * model.model.norm.weight).detach()
    jacobians = []
    for sentence in sentences:
        # One copy of the sentence a word: copy k's gradient is row k of the Jacobian.
        with model.trace([sentence] * len(words)):
            streams = [layer.output for layer in model.model.layers]
            with (streams[-1] * rows[:, None]).sum().backward():
                gradients = [stream.grad for stream in reversed(streams)][::-1]
        # The first token is left out: all heads rest on it.
        jacobians.append(torch.stack([gradient[:, 1:].mean(1) for gradient in gradients]))
    lens = torch.stack(jacobians).mean(0)

    with model.trace(prompts):
        read = torch.stack([layer.output for layer in model.model.layers])
    places = read[:, :, [COUNTRY, -1]]
    right = [(torch.einsum("lbpd,lkd->lpbk", places, by).argmax(-1) == answers).float().mean(-1) for by in (rows.expand_as(lens), lens)]
    right = torch.stack(right).detach().save()
    # One number of one Jacobian, by moving the residual stream.
    layer = model.model.layers[10]
    direction = gradients[10][0, 2] / gradients[10][0, 2].norm()
    along = (gradients[10][0, 2] * direction).sum().item().save()
    ends = []
    for step in (EPSILON, -EPSILON):
        with model.trace(sentence):
            layer.output[0, 2] += step * direction
            ends.append((model.model.layers[-1].output[0] @ rows[0]).sum().item())
    moved = ((ends[0] - ends[1]) / (2 * EPSILON)).save()

at_country, at_end = right[:, :, 0], right[:, :, 1]
for name, shares in (("country's token", at_country), ("last token", at_end)):
    print(f"{name}, after layers 0, 14, 24, 29: " + "; ".join(f"{lens} lens {', '.join(f'{share:.2f}' for share in line[[0, 14, 24, 29]])}" for lens, line in zip(("logit", "Jacobian"), shares)))
print(f"chance: {1 / len(words):.2f}; after the last layer both lenses are one: they differ by {(right[0, -1] - right[1, -1]).abs().max():.6f}")
print(f"derivative of one word's score along one direction: {along:.3f} by the Jacobian, {moved:.3f} by moving the residual stream")

figure, panels = pyplot.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
for axes, shares, title in zip(panels, (at_country, at_end), ("read at the country's token", "read at the last token, “is”")):
    axes.plot(shares[0], "s--", color=shared.ORANGE, markersize=4, label="logit lens")
    axes.plot(shares[1], "o-", color=shared.BLUE, markersize=4, label="Jacobian lens")
    axes.axhline(1 / len(words), color="black", linewidth=0.8, linestyle=":", label="chance")
    axes.set(xlabel="layer after which the lens looks", title=title, ylim=(-0.03, 1.05))
    axes.grid(alpha=0.3)
panels[0].set_ylabel(f"share of {len(words)} countries whose capital\nis first among the {len(words)} capitals")
panels[0].legend(loc="center left")
figure.suptitle("Jacobian lens: “The capital of … is”")
shared.save(figure, picture)
