"""IOI path patching: which heads say who gets the drink, and which tell those where to look?

"When Mary and John went to the store, John gave a drink to" wants " Mary". Each head's output is replaced by the one from
a prompt with three other names, along one path at a time, all else frozen: straight to the logits, and then to the queries
of the heads that matter most there. One session: it finds those heads itself.
"""
import shared
import torch
from matplotlib import pyplot
from shared import HEADS, WIDTH

NAMES = [(" Mary", " John", " Tom", " Anna"), (" John", " Mary", " Paul", " Kate"), (" Tom", " James", " Sarah", " Mark"),
         (" Anna", " Paul", " John", " Alice"), (" Mark", " Sarah", " Mary", " Tom"), (" James", " Kate", " Anna", " Paul")]  # fmt: skip
TEXT = "When{} and{} went to the store,{} gave a drink to"
RECEIVERS = 3
model, remote, picture = shared.start(__doc__)
clean_prompts, other_prompts, wanted, repeated = [], [], [], []
for at, (first, second, third, fourth) in enumerate(NAMES):
    # The repeated name is now the first, now the second.
    subject, receiver = (first, second) if at % 2 else (second, first)
    clean_prompts.append(TEXT.format(first, second, subject))
    other_prompts.append(TEXT.format(third, fourth, " David"))
    wanted.append(shared.token(model, receiver))
    repeated.append(shared.token(model, subject))
rows = list(range(len(NAMES)))


def heads(attention):
    """Returns the outputs of the heads at the last token, [prompts, heads, width]."""
    return attention.o_proj.input[:, -1].unflatten(-1, (HEADS, WIDTH))


def difference(logits):
    return (logits[rows, wanted] - logits[rows, repeated]).mean()


with model.session(remote=remote):
    with model.trace(other_prompts):
        other = [heads(layer.self_attn) for layer in model.model.layers]
    with model.trace(clean_prompts):
        sent, queried = [], []
        for layer, replaced in zip(model.model.layers, other):
            queried.append(layer.input[:, -1])
            # What each head adds to the residual stream, replaced less its own: [heads, prompts, hidden].
            change = (replaced - heads(layer.self_attn)).transpose(0, 1)
            by_head = layer.self_attn.o_proj.weight.unflatten(-1, (HEADS, WIDTH)).permute(1, 2, 0)
            sent.append(change @ by_head)
        final = layer.output[:, -1]
        clean = difference(model.lm_head.output[:, -1]).save()
        direct = torch.zeros(len(sent), HEADS).save()
        for layer in range(len(sent)):
            for head in range(HEADS):
                direct[layer, head] = difference(model.lm_head(model.model.norm(final + sent[layer][head]))) - clean
    # The movers are the heads that count most, in the layer of the very first.
    mover_layer = direct.argmin().item() // HEADS
    movers = direct[mover_layer].argsort()[:RECEIVERS].tolist()
    attention = model.model.layers[mover_layer].self_attn
    with model.trace(clean_prompts):
        norm = model.model.layers[mover_layer].input_layernorm
        queries = [attention.q_proj(norm(queried[mover_layer]))]
        for change in torch.cat(sent[:mover_layer]):
            queries.append(attention.q_proj(norm(queried[mover_layer] + change)))
    through = list().save()
    for query in queries:
        with model.trace(clean_prompts):
            for head in movers:
                part = slice(head * WIDTH, (head + 1) * WIDTH)
                attention.q_proj.output[:, -1, part] = query[:, part]
            through.append(difference(model.lm_head.output[:, -1]))
    found = (mover_layer, list(movers)).save()

mover_layer, movers = found
clean, direct = clean.item(), direct.detach()
through = torch.stack(through).detach() - clean
indirect = through[1:].view(mover_layer, HEADS)


def strongest(effects):
    places = effects.flatten().abs().argsort(descending=True)[:5].tolist()
    return ", ".join(f"L{place // HEADS}H{place % HEADS} {effects.flatten()[place]:+.2f}" for place in places)


print(f"logit(receiver) - logit(giver), mean of {len(NAMES)} prompts: {clean:+.2f}")
print(f"changed most by the path to the logits: {strongest(direct)}")
print(f"by the path to the queries of {', '.join(f'L{mover_layer}H{head}' for head in movers)}: {strongest(indirect)}")
print(f"with the clean queries put in place of themselves: {through[0]:+.6f}")

figure, panels = pyplot.subplots(1, 2, figsize=(8.5, 4.8))
titles = ["each head → logits", f"each head → queries of {', '.join(f'L{mover_layer}H{head}' for head in movers)}"]
for axes, effects, title in zip(panels, (direct, indirect), titles):
    limit = effects.abs().max()
    image = axes.imshow(effects, aspect="auto", origin="lower", cmap="PuOr", vmin=-limit, vmax=limit)
    axes.set_xticks(range(HEADS))
    axes.set(xlabel="head", ylabel="layer", title=title)
    figure.colorbar(image, ax=axes, label="change of the logit difference")
figure.suptitle(f"IOI: names replaced on one path at a time (clean logit difference {clean:+.2f})")
shared.save(figure, picture)
