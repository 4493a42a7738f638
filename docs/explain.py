"""Puts what one prompt leads to in the place of what another does, and brings more back than it needs: see explain.md."""
import nnsight

model = nnsight.LanguageModel("HuggingFaceTB/SmolLM2-135M-Instruct")
layers = model.model.layers

with model.session(remote=True):
    with model.trace("The capital of Italy is"):
        italy = layers[12].output[:, -1]
    with model.trace("The capital of France is"):
        norm = layers[4].output.norm(dim=-1)
        layers[12].output[:, -1] = italy
        states = nnsight.save([layer.output[:, -1] for layer in layers[20:]])
        if model.lm_head.output[0, -1].max() > 20:
            sure = nnsight.save(True)
        logits = model.lm_head.output.save()
        answer = model.lm_head.output[0, -1].argmax().save()
