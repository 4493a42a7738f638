"""Causal tracing: where does the model keep what it knows of a subject?

The subject's embeddings get noise, so that the answer is lost; then the clean residual stream is put back at one layer
and token at a time. What brings the answer back carries the fact. All runs are traces of one session.
"""
import shared
import torch
from matplotlib import pyplot

PROMPT, SUBJECT, ANSWER = "The Eiffel Tower is in the city of", " Eiffel Tower", " Paris"
DRAWS, EVERY = 3, 3
model, remote, picture = shared.start(__doc__)
answer = shared.token(model, ANSWER)
tokens = shared.words(model, PROMPT)
begin = next(at for at in range(len(tokens)) if SUBJECT.startswith(tokens[at]))
end = next(at for at in range(len(tokens)) if SUBJECT.endswith(tokens[at])) + 1
layers = list(range(0, len(model.model.layers), EVERY))
places = [(layer, [position]) for layer in layers for position in range(len(tokens))]
everywhere = (layers[0], list(range(len(tokens))))

with model.session(remote=remote):
    torch.manual_seed(0)
    with model.trace(PROMPT):
        embeddings = model.model.embed_tokens.output
        streams = [model.model.layers[layer].output for layer in layers]
        clean = model.lm_head.output[0, -1].softmax(-1)[answer].item().save()
    # Three times the deviation of embeddings, as in Meng et al.
    noise = torch.randn(DRAWS, end - begin, embeddings.shape[-1]) * 3 * embeddings.std()
    with model.trace([PROMPT] * DRAWS):
        model.model.embed_tokens.output[:, begin:end] += noise
        noisy = model.lm_head.output[:, -1].softmax(-1)[:, answer].mean().item().save()
    restored = list().save()
    for layer, positions in [everywhere, *places]:
        with model.trace([PROMPT] * DRAWS):
            model.model.embed_tokens.output[:, begin:end] += noise
            model.model.layers[layer].output[:, positions] = streams[layer // EVERY][:, positions]
            restored.append(model.lm_head.output[:, -1].softmax(-1)[:, answer].mean().item())

print(f"probability of {ANSWER!r}: {clean:.4f} clean, {noisy:.4f} with noise on{SUBJECT!r}")
print(f"with all tokens of layer {layers[0]} put back: {restored[0]:.4f}")
table = torch.tensor(restored[1:]).view(len(layers), len(tokens))
for position in range(len(tokens)):
    best = table[:, position].argmax().item()
    print(f"{tokens[position]!r}: at best {table[best, position]:.4f}, after layer {layers[best]}")

figure, axes = pyplot.subplots(figsize=(6, 4.2))
image = axes.imshow(table, aspect="auto", origin="lower", cmap="cividis", vmin=0)
axes.set_xticks(range(len(tokens)), [word + ("*" if begin <= at < end else "") for at, word in enumerate(tokens)])
axes.set_yticks(range(len(layers)), layers)
axes.set(xlabel="token put back (* has noise)", ylabel="layer put back", title=f"Causal tracing: “{PROMPT}{ANSWER}”")
figure.colorbar(image, label=f"probability of “{ANSWER.strip()}” (clean {clean:.2f}, noisy {noisy:.2f})")
shared.save(figure, picture)
