"""Attribution patching: can one backward pass stand for hundreds of patched runs?

"The keys to the cabinet" wants " are", "The key to the cabinet" " is". What putting the one's activation in the other's place
does to the logit difference is estimated for every layer's attention and MLP at every token, by a gradient; then each is
really patched. All of it is one session.
"""
import shared
import torch
from matplotlib import pyplot

CLEAN, OTHER, WORDS = "The keys to the cabinet", "The key to the cabinet", (" are", " is")
model, remote, picture = shared.start(__doc__)
are, is_ = (shared.token(model, word) for word in WORDS)
tokens = shared.words(model, CLEAN)


def parts(layer):
    return layer.self_attn.o_proj, layer.mlp


def difference():
    logits = model.lm_head.output[0, -1]
    return logits[are] - logits[is_]


with model.session(remote=remote):
    with model.trace(OTHER):
        donors = [part.output.detach() for layer in model.model.layers for part in parts(layer)]
        other = difference().item().save()
    with model.trace(CLEAN):
        outputs = [part.output for layer in model.model.layers for part in parts(layer)]
        metric = difference()
        clean = metric.item().save()
        with metric.backward():
            # Gradients come last layer first.
            gradients = [output.grad for output in reversed(outputs)][::-1]
    changes = [(donor - output) * gradient for donor, output, gradient in zip(donors, outputs, gradients)]
    estimated = torch.stack([change[0].sum(-1) for change in changes]).detach().save()
    patched = list().save()
    for layer in range(len(model.model.layers)):
        for part in range(2):
            row = []
            for position in range(len(tokens)):
                with model.trace(CLEAN):
                    parts(model.model.layers[layer])[part].output[:, position] = donors[2 * layer + part][:, position]
                    row.append(difference().item())
            patched.append(row)

real, estimated = (torch.tensor(patched) - clean).flatten(), estimated.flatten()


def correlation(places):
    return torch.corrcoef(torch.stack([estimated[places], real[places]]))[0, 1].item()


def name(place):
    row, position = divmod(place, len(tokens))
    return f"layer {row // 2} {('attention', 'MLP')[row % 2]} at {tokens[position].strip()!r}"


strongest = real.abs().argsort(descending=True)
missed = (real - estimated).abs().argmax().item()
rest = torch.arange(len(real)) != missed
print(f"logit(are) - logit(is): {clean:+.2f} for {CLEAN!r}, {other:+.2f} for {OTHER!r}")
for place in strongest[:4].tolist():
    print(f"{name(place)}: {real[place]:+.2f} patched, {estimated[place]:+.2f} estimated")
print(f"estimate and patching correlate with r = {correlation(rest):.3f} over {len(real) - 1} places; with {name(missed)} too, {correlation(rest | ~rest):.3f}")

figure, axes = pyplot.subplots(figsize=(5.6, 4.6))
kinds = torch.arange(len(real)) // len(tokens) % 2
for part, colour, marker in ((0, shared.BLUE, "o"), (1, shared.RED, "^")):
    axes.scatter(estimated[kinds == part], real[kinds == part], s=22, color=colour, marker=marker, alpha=0.7, label=("attention", "MLP")[part])
reach = [min(estimated.min(), real.min()).item(), max(estimated.max(), real.max()).item()]
axes.plot(reach, reach, color=shared.GREY, linewidth=0.8, linestyle="--", label="estimate = patching")
axes.annotate(name(missed), (estimated[missed], real[missed]), (-10, 0), textcoords="offset points", ha="right", va="center", fontsize=8)
axes.set(xlabel="estimated by the gradient (change in logits)", ylabel="really patched (change in logits)",
         title=f"Attribution patching: logit(are) \N{MINUS SIGN} logit(is)\nr = {correlation(rest):.2f} over {len(real) - 1} of {len(real)} places")  # fmt: skip
axes.legend()
axes.grid(alpha=0.3)
shared.save(figure, picture)
