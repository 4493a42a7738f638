"""Steering: does the model change its mind when one direction is added to its residual stream?

The direction is the difference of means between glad and sad sentences, at one layer. One session reads it, adds it at
every step of generation, at five strengths side by side, and asks how glad the next word would be.
"""
import textwrap

import shared
import torch
from matplotlib import pyplot

GLAD = ["I love this place, it makes me so happy", "What a wonderful day, I feel great", "Everyone was kind and the food was delicious",
        "The film was brilliant and I laughed with joy"]  # fmt: skip
SAD = ["I hate this place, it makes me so miserable", "What a terrible day, I feel awful", "Everyone was rude and the food was disgusting",
       "The film was dreadful and I cried with boredom"]  # fmt: skip
PROMPT = "When I opened the door this morning, I felt"
WORDS = ([" great", " wonderful", " amazing"], [" terrible", " awful", " boring"])
LAYER, STRENGTHS, STEPS = 14, [-1.5, -1.125, -0.75, -0.375, 0.0, 0.375, 0.75, 1.125, 1.5], 16
model, remote, picture = shared.start(__doc__)
glad, sad = ([shared.token(model, word) for word in side] for side in WORDS)

with model.session(remote=remote):
    layer = model.model.layers[LAYER]
    means = []
    for sentences in (GLAD, SAD):
        with model.trace(sentences):
            # Sentences are padded on the left: the last tokens are there in all of them.
            means.append(layer.output[:, -5:].mean((0, 1)))
    direction = means[0] - means[1]
    with model.trace(PROMPT):
        plain = model.lm_head.output[0, -1].softmax(-1)
    odds = list().save()
    with model.trace() as tracer:
        for strength in STRENGTHS:
            with tracer.invoke(PROMPT):
                layer.output += strength * direction
                chances = model.lm_head.output[0, -1].softmax(-1)
                odds.append((chances[glad].sum().log() - chances[sad].sum().log()).item())
                if strength == 0:
                    unmoved = (chances - plain).abs().max().item().save()
    with model.generate(max_new_tokens=STEPS, do_sample=False) as tracer:
        texts = list().save()
        for strength in STRENGTHS[::2]:
            with tracer.invoke(PROMPT):
                for step in tracer.iter[:]:
                    layer.output += strength * direction
        with tracer.invoke():
            texts.append(tracer.result)

texts = dict(zip(STRENGTHS[::2], (model.tokenizer.decode(ids).removeprefix(PROMPT).strip() for ids in texts[0])))
for strength, odd in zip(STRENGTHS, odds):
    print(f"strength {strength:+.2f}: log odds of glad words {odd:+.2f}" + (f" | … {texts[strength]}" if strength in texts else ""))
print(f"strength 0 changes probabilities by {unmoved:.6f}")

figure, (axes, page) = pyplot.subplots(1, 2, figsize=(10, 3.6), width_ratios=[1, 1.25])
axes.plot(STRENGTHS, odds, "o-", color=shared.BLUE)
axes.axvline(0, color=shared.GREY, linewidth=0.8)
axes.axhline(0, color=shared.GREY, linewidth=0.8)
axes.set(xlabel="strength (differences of means)", ylabel="log odds of glad against sad words (nats)", title="the next word")
axes.grid(alpha=0.3)
page.axis("off")
page.set_title(f"“{PROMPT} …”")
for at, (strength, text) in enumerate(texts.items()):
    page.text(0, 0.85 - 0.2 * at, f"{strength:+g}", fontweight="bold", va="top")
    page.text(0.1, 0.85 - 0.2 * at, textwrap.fill(text, 58), va="top")
figure.suptitle(f"Steering: glad minus sad, added after layer {LAYER}")
shared.save(figure, picture)
