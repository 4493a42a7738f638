"""What a real trained model shows through the server: a fact, where it is kept, and an induction head."""
import os
import random

import anyio._backends._asyncio  # noqa: F401
import torch
from nnsight import LanguageModel
from nnsight.schema.config import CONFIG

CONFIG.APP.REMOTE_LOGGING = False
NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
FRANCE, ITALY = "The capital of France is", "The capital of Italy is"
model = LanguageModel(NAME)
paris, rome = (model.tokenizer(word).input_ids[-1] for word in (" Paris", " Rome"))

with model.trace(FRANCE, remote=True):
    token = model.lm_head.output[0, -1].argmax().item().save()
assert model.tokenizer.decode(token) == " Paris", model.tokenizer.decode(token)

# The residual stream of the Italy prompt in place of France's: logit(Rome) - logit(Paris).
country, last = 3, 4
scores = None
with model.session(remote=True):
    with model.trace(ITALY):
        donors = {layer: model.model.layers[layer].output for layer in (10, 21, 24, 28)}
    scores = dict().save()
    for layer in (10, 21, 24, 28):
        for position in (country, last):
            with model.trace(FRANCE):
                model.model.layers[layer].output[:, position] = donors[layer][:, position]
                logits = model.lm_head.output[0, -1]
                scores[layer, position] = (logits[rome] - logits[paris]).item()
print(scores)
assert scores[10, country] > 3 and scores[21, country] > 3, "up to layer 21 the country's token decides"
assert scores[24, country] < -3 and scores[28, country] < -3, "from layer 24 on it does not"
assert scores[10, last] < -3 and scores[21, last] < -3 and scores[24, last] > 3 and scores[28, last] > 3

# Random tokens twice: an induction head looks at the token after the earlier occurrence.
random.seed(0)
half = [random.randrange(1000, 40000) for _ in range(48)]
eager = LanguageModel(NAME, attn_implementation="eager")
with eager.trace([half + half], remote=True):
    weights = eager.model.layers[18].self_attn.output[1].save()
assert weights.shape == (1, 9, 96, 96), weights.shape
positions = torch.arange(48, 96)
score = weights[0, 6].float()[positions, positions - 47].mean().item()
print("induction score of L18H6:", score)
assert score > 0.8, score
