"""Induction heads: which heads copy what came after the last time, and does the model need them?

Random tokens come twice. A head is scored by its weight on the token after the earlier occurrence; then the best are
ablated, and as many others of their layers. One session: what it finds in the first trace decides what the next ones do.
"""
import shared
import torch
from matplotlib import pyplot
from shared import HEADS, WIDTH

HALF, ROWS, ABLATED = 32, 3, 8
model, remote, picture = shared.start(__doc__, attn_implementation="eager")
torch.manual_seed(0)
half = torch.randint(1000, 40000, (ROWS, HALF))
tokens = torch.cat([half, half], dim=1)
second = torch.arange(HALF, 2 * HALF - 1)


def losses(logits):
    """Returns the mean loss on each token but the first, in nats."""
    return torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none").mean(0)


with model.session(remote=remote):
    with model.trace(tokens):
        rows = []
        for layer in model.model.layers:
            weights = layer.self_attn.output[1]
            rows.append(weights[:, :, second, second - HALF + 1].mean((0, 2)))
        intact = losses(model.lm_head.output).save()
    scores = torch.stack(rows).save()
    order = scores.flatten().argsort(descending=True)
    beside = torch.isin(order // HEADS, order[:ABLATED] // HEADS)
    others = order[beside][-ABLATED:]
    ablated = list().save()
    for chosen in (order[:0], order[:ABLATED], others):
        keep = torch.ones(scores.shape).flatten().index_fill(0, chosen, 0).view(scores.shape)
        with model.trace(tokens):
            for layer, kept in zip(model.model.layers, keep):
                # The input of o_proj is the heads' outputs, side by side.
                layer.self_attn.o_proj.input *= kept.repeat_interleave(WIDTH)
            ablated.append(losses(model.lm_head.output))

scores, intact = scores.detach(), intact.detach()
none, best, other = (line.detach() for line in ablated)
names = [f"L{place // HEADS}H{place % HEADS} {scores.flatten()[place]:.2f}" for place in scores.flatten().argsort(descending=True)[:6].tolist()]
print("induction heads: " + ", ".join(names))
print(f"loss: {intact[: HALF - 1].mean():.3f} the first time, {intact[HALF:].mean():.3f} the second")
print(f"the second time without {ABLATED} induction heads: {best[HALF:].mean():.3f}; without {ABLATED} others: {other[HALF:].mean():.3f}")
print(f"ablating no head changes the loss by {(none - intact).abs().max():.6f}")

figure, (left, right) = pyplot.subplots(1, 2, figsize=(9.5, 4.2), width_ratios=[1, 1.5])
image = left.imshow(scores, aspect="auto", origin="lower", cmap="cividis", vmin=0, vmax=1)
left.set_xticks(range(HEADS))
left.set(xlabel="head", ylabel="layer", title="to the token after the last time")
figure.colorbar(image, ax=left, label="mean attention weight")
for line, label, colour, style in (
    (intact, "all heads", shared.BLUE, "-"),
    (other, f"without {ABLATED} other heads", shared.GREY, ":"),
    (best, f"without {ABLATED} induction heads", shared.RED, "--"),
):
    right.plot(range(1, 2 * HALF), line, style, color=colour, label=label)
right.axvline(HALF, color="black", linewidth=0.8)
right.text(HALF + 0.5, 16.5, "the tokens again", fontsize=8)
right.set(xlabel="position (tokens)", ylabel="loss (nats)", title="loss on random tokens that come twice", ylim=(0, None))
right.legend(fontsize=8)
figure.suptitle("Induction heads")
shared.save(figure, picture)
