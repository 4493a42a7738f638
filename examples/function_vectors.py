"""Function vectors: can a task be carried from one prompt to another?

After six examples of a task, the last token's residual stream holds what is to be done. Its mean over prompts about other
words is put into prompts without any example, at one layer after the other. Three tasks, one session.
"""
import random

import shared
import torch
from matplotlib import pyplot

TASKS = {
    "opposite": "hot cold big small up down fast slow open closed light dark good bad rich poor old young happy sad full empty "
    "strong weak hard soft early late long short wet dry high low true false first last near far left right day night",
    "past tense": "walk walked go went see saw take took run ran eat ate give gave come came make made find found tell told "
    "write wrote speak spoke sing sang drink drank drive drove fall fell grow grew know knew lose lost meet met send sent",
    "capital": "France Paris Italy Rome Japan Tokyo Germany Berlin Spain Madrid Russia Moscow England London China Beijing "
    "Egypt Cairo Greece Athens Austria Vienna Cuba Havana Peru Lima Portugal Lisbon Ireland Dublin Iran Tehran Iraq Baghdad "
    "Kenya Nairobi Poland Warsaw Norway Oslo Sweden Stockholm Canada Ottawa",
}  # fmt: skip
SHOWN, SHOTS = 12, 6
model, remote, picture = shared.start(__doc__)
random.seed(0)


def ask(word, examples=()):
    return "".join(f"Q: {question}\nA: {answer}\n\n" for question, answer in examples) + f"Q: {word}\nA:"


def accuracy(answers):
    return (model.lm_head.output[:, -1].argmax(-1) == answers).float().mean().item()


work = []
for text in TASKS.values():
    pairs = list(zip(text.split()[::2], text.split()[1::2]))
    # The words of which examples are made and those that are asked for have nothing in common.
    shown, asked = pairs[:SHOWN], pairs[SHOWN:]
    told = [ask(word, random.sample([pair for pair in shown if pair[0] != word], SHOTS)) for word, _ in shown]
    helped = [ask(word, random.sample(shown, SHOTS)) for word, _ in asked]
    answers = torch.tensor([model.tokenizer(f" {answer}").input_ids[0] for _, answer in asked])
    work.append((told, helped, [ask(word) for word, _ in asked], answers))

with model.session(remote=remote):
    results = list().save()
    for told, helped, bare, answers in work:
        with model.trace(told):
            vectors = [layer.output[:, -1].mean(0) for layer in model.model.layers]
        with model.trace(helped):
            with_examples = accuracy(answers)
        with model.trace(bare):
            without = accuracy(answers)
        moved = []
        for layer, vector in zip(model.model.layers, vectors):
            with model.trace(bare):
                layer.output[:, -1] = vector
                moved.append(accuracy(answers))
        results.append((with_examples, without, moved))

figure, axes = pyplot.subplots(figsize=(7, 3.8))
for task, (with_examples, without, moved), colour, marker in zip(TASKS, results, (shared.BLUE, shared.ORANGE, shared.GREEN), "os^"):
    best = max(range(len(moved)), key=lambda layer: moved[layer])
    print(f"{task}: {without:.2f} right without examples, {with_examples:.2f} with {SHOTS}, {moved[best]:.2f} with the vector at layer {best}; {moved[-1]:.2f} at the last")
    axes.plot(moved, color=colour, marker=marker, markersize=4, label=f"{task}: vector")
    axes.axhline(with_examples, color=colour, linewidth=1, linestyle="--", label=f"{task}: {SHOTS} examples")
axes.set(xlabel="layer at which the vector is put in", ylabel="share of answers that are right", ylim=(-0.03, 1.03),
         title="Function vectors: a task in one vector, in prompts without examples")  # fmt: skip
axes.legend(fontsize=7.5, loc="upper left")
axes.grid(alpha=0.3)
shared.save(figure, picture)
