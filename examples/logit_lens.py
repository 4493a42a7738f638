"""Logit lens: what would the model answer if it stopped after each layer?

The residual stream of the last token goes through the final norm and the unembedding after every layer: thirty lenses
for each of six prompts, in one trace.
"""
import shared
import torch
from matplotlib import pyplot

FACTS = {
    "The capital of France is": " Paris",
    "The capital of Japan is": " Tokyo",
    "The largest planet in the solar system is": " Jupiter",
    "The opposite of hot is": " cold",
    "The author of Romeo and Juliet is William": " Shakespeare",
    "The first president of the United States was George": " Washington",
}
model, remote, picture = shared.start(__doc__)
answers = [shared.token(model, word) for word in FACTS.values()]

with model.trace(remote=remote) as tracer:
    ranks, differences = list().save(), list().save()
    for prompt, answer in zip(FACTS, answers):
        with tracer.invoke(prompt):
            row = []
            for layer in model.model.layers:
                lens = model.lm_head(model.model.norm(layer.output[0, -1]))
                row.append((lens > lens[answer]).sum().item())
            ranks.append(row)
            differences.append((lens - model.lm_head.output[0, -1]).abs().max().item())

ranks = torch.tensor(ranks) + 1
for (prompt, word), row in zip(FACTS.items(), ranks):
    wrong = [layer for layer in range(len(row)) if row[layer] > 1]
    settled = max(wrong, default=-1) + 1
    print(f"{prompt}{word}: rank {row[14]} after layer 14, " + (f"first from layer {settled} on" if settled < len(row) else f"{row[-1]} in the end"))
print(f"the last layer's lens and the model's own logits differ by at most {max(differences):.6f}")

figure, axes = pyplot.subplots(figsize=(7, 4.2))
styles = zip([shared.BLUE, shared.ORANGE, shared.GREEN, shared.RED, shared.GREY, "black"], "osD^vx")
for (prompt, word), row, (colour, marker) in zip(FACTS.items(), ranks, styles):
    axes.plot(row, color=colour, marker=marker, markersize=4, linewidth=1.2, label=f"{prompt} …{word}")
axes.set_yscale("log")
axes.invert_yaxis()
axes.set(xlabel="layer after which the lens looks", ylabel="rank of the answer among 49,152 tokens", title="Logit lens: when the answer comes to the top")
axes.legend(fontsize=7.5, loc="upper left")
axes.grid(alpha=0.3)
shared.save(figure, picture)
