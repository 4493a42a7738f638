"""How tokens are chosen: every setting of `generate()`, beams, records, and processors and criteria of the user's own."""
import nnsight
import torch
from transformers import (
    GenerationConfig, LogitsProcessor, LogitsProcessorList, MinLengthLogitsProcessor, StoppingCriteria,
    StoppingCriteriaList,
)

from experiments import FRANCE, experiment, layers

TWO = [FRANCE, "one, two"]
SAMPLED = {"do_sample": True, "seed": 3}
RECORD = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}


class Ban(LogitsProcessor):
    def __init__(self, token):
        self.token = token

    def __call__(self, input_ids, scores):
        scores = scores.clone()
        scores[:, self.token] = -float("inf")
        return scores


class Rising:
    def __call__(self, ids, scores):
        return scores + torch.arange(scores.shape[-1]) * 1e-3


class StopAt(StoppingCriteria):
    def __init__(self, length):
        self.length = length

    def __call__(self, input_ids, scores, **kwargs):
        return torch.tensor([len(row) >= self.length for row in input_ids])


def shown(result):
    """What a record has, but for the cache, whose positions another test compares."""
    if not hasattr(result, "keys"):
        return result
    return type(result).__name__, {name: value for name, value in result.items() if name != "past_key_values"}


def choice(title, prompt=FRANCE, seed=None, fails=False, **settings):
    @experiment(fails=fails)
    def generated(model, remote):
        with model.session(remote=remote):
            if seed is not None:
                torch.manual_seed(seed)
            with model.generate(prompt, **{"max_new_tokens": 6, **settings}) as tracer:
                result = tracer.result.save()
        return shown(result)

    generated.__name__ = title


for name, value in {
    "num_beams": 3, "bad_words_ids": [[5], [6, 7]], "suppress_tokens": [3, 4, 142], "begin_suppress_tokens": [1, 2],
    "forced_eos_token_id": 7, "forced_bos_token_id": 3, "repetition_penalty": 1.3, "encoder_repetition_penalty": 1.5,
    "no_repeat_ngram_size": 2, "encoder_no_repeat_ngram_size": 2, "min_new_tokens": 4, "min_length": 9,
    "remove_invalid_values": True, "exponential_decay_length_penalty": (2, 1.5),
    "sequence_bias": {(5,): 3.0, (6, 7): -2.0},
}.items():
    choice(name, **{name: value})
for name, value in {
    "typical_p": 0.6, "epsilon_cutoff": 0.001, "eta_cutoff": 0.001, "min_p": 0.05, "top_p": 0.8, "top_k": 5,
    "temperature": 0.7, "top_h": 0.5, "num_return_sequences": 3,
}.items():
    choice(f"sampled_{name}", **{name: value}, **SAMPLED)
choice("several_of_several", prompt=TWO, num_return_sequences=2, **SAMPLED)
choice("a_record", **RECORD, output_hidden_states=True)
choice("a_record_sampled", **RECORD, typical_p=0.6, **SAMPLED)
choice("a_record_of_beams", **RECORD, num_beams=3, num_return_sequences=2, output_hidden_states=True)
choice("beams_of_several", prompt=TWO, num_beams=2)
choice("beams_that_end_early", num_beams=3, early_stopping=True, length_penalty=2.0)
choice("beams_that_never_end_early", num_beams=3, early_stopping="never", length_penalty=0.5)
choice("beams_sampled", num_beams=3, **SAMPLED)
choice("beams_without_a_cache", num_beams=3, use_cache=False)
choice("own_processors", logits_processor=LogitsProcessorList([Ban(142), MinLengthLogitsProcessor(12, 5, device="cpu")]))
choice("an_own_object_as_processor", logits_processor=[Rising()])
choice("own_criteria", stopping_criteria=StoppingCriteriaList([StopAt(9)]))
choice("a_configuration", generation_config=GenerationConfig(max_new_tokens=3, num_beams=2))
choice("a_configuration_sampled", generation_config=GenerationConfig(max_new_tokens=3, do_sample=True, top_k=3), seed=5)
choice("allowed_tokens", prefix_allowed_tokens_fn=lambda batch, ids: [5, 6, 7])
choice("greedy_several", fails=True, num_return_sequences=2)
choice("more_than_beams", fails=True, num_beams=2, num_return_sequences=3)
choice("no_bad_words", fails=True, bad_words_ids=[])


@experiment()
def stop_strings(model, remote):
    settings = {"max_new_tokens": 30, "stop_strings": ["e", "a"]}
    with model.generate(FRANCE, tokenizer=model.tokenizer, **settings, remote=remote) as tracer:
        ids = tracer.result.save()
    return ids


@experiment()
def activations_of_beams(model, remote):
    states = list()
    with model.generate(FRANCE, max_new_tokens=3, num_beams=2, remote=remote) as tracer:
        states = list().save()
        for _ in tracer.iter[:3]:
            states.append(layers(model)[1].output)
        ids = tracer.result.save()
    return states, ids


@experiment()
def the_cache_of_a_record(model, remote):
    with model.generate(FRANCE, max_new_tokens=3, return_dict_in_generate=True, remote=remote) as tracer:
        result = tracer.result.save()
    return result.past_key_values.get_seq_length(), result.past_key_values.layers[0].keys


@experiment()
def attentions_of_a_record(model, remote):
    eager, settings = model.__dict__["eager"], {"max_new_tokens": 2, "return_dict_in_generate": True}
    with eager.generate(FRANCE, output_attentions=True, **settings, remote=remote) as tracer:
        result = tracer.result.save()
    return result.attentions
