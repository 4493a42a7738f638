import math

import torch

__all__ = (
    "EncoderNoRepeatNGramLogitsProcessor", "EncoderRepetitionPenaltyLogitsProcessor", "EosTokenCriteria",
    "EpsilonLogitsWarper", "EtaLogitsWarper", "ExponentialDecayLengthPenalty", "ForcedBOSTokenLogitsProcessor",
    "ForcedEOSTokenLogitsProcessor", "GenerationConfig", "InfNanRemoveLogitsProcessor", "LogitNormalization",
    "LogitsProcessor", "LogitsProcessorList", "LogitsWarper", "MaxLengthCriteria", "MaxTimeCriteria",
    "MinLengthLogitsProcessor", "MinNewTokensLengthLogitsProcessor", "MinPLogitsWarper", "NoBadWordsLogitsProcessor",
    "NoRepeatNGramLogitsProcessor", "PrefixConstrainedLogitsProcessor", "RepetitionPenaltyLogitsProcessor",
    "SequenceBiasLogitsProcessor", "StopStringCriteria", "StoppingCriteria", "StoppingCriteriaList",
    "SuppressTokensAtBeginLogitsProcessor", "SuppressTokensLogitsProcessor", "TemperatureLogitsWarper",
    "TopHLogitsWarper", "TopKLogitsWarper", "TopPLogitsWarper", "TypicalLogitsWarper",
)

__sent__ = ("PreTrainedConfig",)

_LESS = -math.inf


class PreTrainedConfig:
    """A checkpoint's settings, as the program that sent them has them."""

    def __getattr__(self, name):
        if name in type(self).attribute_map:
            return getattr(self, type(self).attribute_map[name])
        where = "" if name.startswith("_") else "; model.config has what the hosted model's own has"
        raise AttributeError(f"'{type(self).__name__}' object that was sent has no attribute '{name}' on this server{where}")

    def __setattr__(self, name, value):
        object.__setattr__(self, type(self).attribute_map.get(name, name), value)

    @property
    def num_labels(self):
        return len(self.id2label)

    @property
    def name_or_path(self):
        return self._name_or_path

    @property
    def output_attentions(self):
        return self._output_attentions

    @property
    def torch_dtype(self):
        return self.dtype

    @property
    def use_return_dict(self):
        return self.return_dict

    @property
    def _attn_implementation(self):
        return self._attn_implementation_internal

    def get_text_config(self, decoder=None, encoder=None):
        return self


class GenerationConfig:
    """Settings of a generation. What was not given is None."""

    def __init__(self, **kwargs):
        self.__dict__.update(kwargs)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(f"'GenerationConfig' object has no attribute '{name}'")
        return None

    def to_dict(self):
        return dict(self.__dict__)

    def update(self, **kwargs):
        self.__dict__.update(kwargs)
        return {}


class LogitsProcessor:
    def __call__(self, input_ids, scores):
        raise NotImplementedError(
            f"{self.__class__} is an abstract class. Only classes inheriting this class can be called."
        )


LogitsWarper = LogitsProcessor


class LogitsProcessorList(list):
    def __call__(self, input_ids, scores, **kwargs):
        for processor in self:
            scores = processor(input_ids, scores)
        return scores


def _ids(ids, device=None):
    if isinstance(ids, torch.Tensor):
        return ids
    return torch.tensor([ids] if isinstance(ids, int) else list(ids), device=device)


def _among(scores, ids):
    """Which of the vocabulary are among some tokens."""
    return torch.isin(torch.arange(scores.shape[-1], device=scores.device), ids.to(scores.device))


def _count(name, value, what, least):
    if not isinstance(value, int) or value < least:
        raise ValueError(f"`{name}` has to be a {what} integer, but is {value}")


def _positive(value):
    if not isinstance(value, float) or not value > 0:
        raise ValueError(f"`penalty` has to be a strictly positive float, but is {value}")


class MinLengthLogitsProcessor(LogitsProcessor):
    def __init__(self, min_length, eos_token_id, device=None):
        _count("min_length", min_length, "non-negative", 0)
        self.min_length, self.eos_token_id = min_length, _ids(eos_token_id, device)

    def __call__(self, input_ids, scores):
        if input_ids.shape[-1] < self.min_length:
            return torch.where(_among(scores, self.eos_token_id), _LESS, scores)
        return scores.clone()


class MinNewTokensLengthLogitsProcessor(LogitsProcessor):
    def __init__(self, prompt_length_to_skip, min_new_tokens, eos_token_id, device=None):
        _count("prompt_length_to_skip", prompt_length_to_skip, "positive", 0)
        _count("min_new_tokens", min_new_tokens, "positive", 0)
        self.prompt_length_to_skip, self.min_new_tokens = prompt_length_to_skip, min_new_tokens
        self.eos_token_id = _ids(eos_token_id, device)

    def __call__(self, input_ids, scores):
        if input_ids.shape[-1] - self.prompt_length_to_skip < self.min_new_tokens:
            return torch.where(_among(scores, self.eos_token_id), _LESS, scores)
        return scores.clone()


class TemperatureLogitsWarper(LogitsProcessor):
    def __init__(self, temperature):
        if not isinstance(temperature, float) or not temperature > 0:
            message = (
                f"`temperature` (={temperature}) has to be a strictly positive float, otherwise your next token scores "
                "will be invalid."
            )
            if isinstance(temperature, float) and temperature == 0.0:
                message += " If you're looking for greedy decoding strategies, set `do_sample=False`."
            raise ValueError(message)
        self.temperature = temperature

    def __call__(self, input_ids, scores):
        return scores / self.temperature


def _penalised(scores, ids, penalty):
    chosen = torch.gather(scores, 1, ids)
    chosen = torch.where(chosen < 0, chosen * penalty, chosen / penalty)
    return scores.scatter(1, ids, chosen)


class RepetitionPenaltyLogitsProcessor(LogitsProcessor):
    def __init__(self, penalty, prompt_ignore_length=None):
        _positive(penalty)
        if prompt_ignore_length is not None:
            _count("prompt_ignore_length", prompt_ignore_length, "positive", 0)
        self.penalty, self.prompt_ignore_length = penalty, prompt_ignore_length

    def __call__(self, input_ids, scores):
        if self.prompt_ignore_length:
            input_ids = input_ids[:, self.prompt_ignore_length :]
        size = scores.shape[-1]
        widened = torch.nn.functional.pad(scores, (0, 1))
        return _penalised(widened, input_ids.clamp(max=size), self.penalty)[..., :size]


class EncoderRepetitionPenaltyLogitsProcessor(LogitsProcessor):
    def __init__(self, penalty, encoder_input_ids):
        _positive(penalty)
        self.penalty, self.encoder_input_ids = 1 / penalty, encoder_input_ids

    def __call__(self, input_ids, scores):
        ids = self.encoder_input_ids
        if scores.shape[0] > ids.shape[0]:
            ids = ids.repeat_interleave(scores.shape[0] // ids.shape[0], dim=0)
        return _penalised(scores, ids, self.penalty)


class TopPLogitsWarper(LogitsProcessor):
    def __init__(self, top_p, filter_value=_LESS, min_tokens_to_keep=1):
        top_p = float(top_p)
        if top_p < 0 or top_p > 1.0:
            raise ValueError(f"`top_p` has to be a float > 0 and < 1, but is {top_p}")
        _count("min_tokens_to_keep", min_tokens_to_keep, "positive", 1)
        self.top_p, self.filter_value, self.min_tokens_to_keep = top_p, filter_value, min_tokens_to_keep

    def __call__(self, input_ids, scores):
        ordered, order = torch.sort(scores, descending=False)
        removed = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - self.top_p
        removed[..., -self.min_tokens_to_keep :] = 0
        return scores.masked_fill(removed.scatter(1, order, removed), self.filter_value)


class TopKLogitsWarper(LogitsProcessor):
    def __init__(self, top_k, filter_value=_LESS, min_tokens_to_keep=1):
        _count("top_k", top_k, "strictly positive", 1)
        self.top_k, self.filter_value = max(top_k, min_tokens_to_keep), filter_value
        self.min_tokens_to_keep = min_tokens_to_keep

    def __call__(self, input_ids, scores):
        least = torch.topk(scores, min(self.top_k, scores.size(-1)))[0][..., -1, None]
        return scores.masked_fill(scores < least, self.filter_value)


def _entropy(scores):
    normal = scores - scores.logsumexp(dim=-1, keepdim=True)
    return -(torch.clamp(normal, min=torch.finfo(normal.dtype).min) * normal.softmax(dim=-1)).sum(-1)


class TopHLogitsWarper(LogitsProcessor):
    def __init__(self, top_h, filter_value=_LESS):
        if not 0 < top_h <= 1:
            raise ValueError("`top_h` must be in the range (0, 1].")
        self.top_n, self.top_h, self.filter_value = 100, top_h, filter_value

    def __call__(self, input_ids, scores):
        top, order = torch.topk(scores, min(self.top_n, scores.shape[-1]), dim=-1, largest=True, sorted=True)
        probabilities = (top - top.logsumexp(dim=-1, keepdim=True)).softmax(dim=-1)
        bound = (_entropy(top) * self.top_h).unsqueeze(-1)
        kept = torch.cumsum(-probabilities * torch.log(probabilities), dim=-1) <= bound
        kept[:, 0] = True
        mask = torch.zeros_like(scores, dtype=torch.bool).scatter(1, order, kept)
        return scores.masked_fill(~mask, self.filter_value)


class MinPLogitsWarper(LogitsProcessor):
    def __init__(self, min_p, filter_value=_LESS, min_tokens_to_keep=1):
        if not 0 <= min_p <= 1.0:
            raise ValueError(f"`min_p` has to be a float in the [0, 1] interval, but is {min_p}")
        _count("min_tokens_to_keep", min_tokens_to_keep, "positive", 1)
        self.min_p, self.filter_value, self.min_tokens_to_keep = min_p, filter_value, min_tokens_to_keep

    def __call__(self, input_ids, scores):
        probabilities = torch.softmax(scores, dim=-1)
        removed = probabilities < self.min_p * probabilities.amax(dim=-1, keepdim=True)
        top = torch.topk(probabilities, min(self.min_tokens_to_keep, probabilities.shape[-1]), dim=-1).indices
        removed = removed.scatter(-1, top, torch.zeros_like(top, dtype=torch.bool))
        return scores.masked_fill(removed, self.filter_value)


class TypicalLogitsWarper(LogitsProcessor):
    def __init__(self, mass=0.9, filter_value=_LESS, min_tokens_to_keep=1):
        mass = float(mass)
        if not 0 < mass < 1:
            raise ValueError(f"`typical_p` has to be a float > 0 and < 1, but is {mass}")
        _count("min_tokens_to_keep", min_tokens_to_keep, "positive", 1)
        self.mass, self.filter_value, self.min_tokens_to_keep = mass, filter_value, min_tokens_to_keep

    def __call__(self, input_ids, scores):
        normal = torch.nn.functional.log_softmax(scores, dim=-1)
        entropy = -(normal * torch.exp(normal)).nansum(-1, keepdim=True)
        distance, order = torch.sort(torch.abs(-normal - entropy), descending=False)
        cumulative = scores.gather(-1, order).softmax(dim=-1).cumsum(dim=-1)
        last = (cumulative < self.mass).sum(dim=1).clamp(max=distance.shape[-1] - 1)
        removed = distance > distance.gather(1, last.view(-1, 1))
        removed[..., : self.min_tokens_to_keep] = 0
        return scores.masked_fill(removed.scatter(1, order, removed), self.filter_value)


def _cut(name, value, least):
    value = float(value)
    if value <= 0 or value >= 1:
        raise ValueError(f"`{name}` has to be a float > 0 and < 1, but is {value}")
    if int(least) < 1:
        raise ValueError(f"`min_tokens_to_keep` has to be a strictly positive integer, but is {least}")
    return value


class EpsilonLogitsWarper(LogitsProcessor):
    def __init__(self, epsilon, filter_value=_LESS, min_tokens_to_keep=1):
        self.epsilon = _cut("epsilon_cutoff", epsilon, min_tokens_to_keep)
        self.filter_value, self.min_tokens_to_keep = filter_value, min_tokens_to_keep

    def __call__(self, input_ids, scores):
        least = torch.topk(scores, min(self.min_tokens_to_keep, scores.size(-1)))[0][..., -1, None]
        removed = (scores.softmax(dim=-1) < self.epsilon) & (scores < least)
        return scores.masked_fill(removed, self.filter_value)


class EtaLogitsWarper(LogitsProcessor):
    def __init__(self, epsilon, filter_value=_LESS, min_tokens_to_keep=1, device=None):
        self.epsilon = torch.tensor(_cut("eta_cutoff", epsilon, min_tokens_to_keep), device=device)
        self.filter_value, self.min_tokens_to_keep = filter_value, min_tokens_to_keep

    def __call__(self, input_ids, scores):
        epsilon = self.epsilon.to(scores.device)
        eta = torch.min(epsilon, torch.sqrt(epsilon) * torch.exp(-_entropy(scores)))[..., None]
        least = torch.topk(scores, min(self.min_tokens_to_keep, scores.size(-1)))[0][..., -1, None]
        return scores.masked_fill((scores.softmax(dim=-1) < eta) & (scores < least), self.filter_value)


class NoRepeatNGramLogitsProcessor(LogitsProcessor):
    def __init__(self, ngram_size):
        _count("ngram_size", ngram_size, "strictly positive", 1)
        self.ngram_size = ngram_size

    def __call__(self, input_ids, scores):
        length, size = input_ids.shape[-1], scores.shape[-1]
        if length < self.ngram_size:
            return scores
        prefix = input_ids[:, length + 1 - self.ngram_size :]
        windows = input_ids.unfold(dimension=1, size=self.ngram_size, step=1)
        matches = (windows[..., :-1] == prefix.unsqueeze(1)).all(dim=-1)
        banned = torch.zeros((scores.shape[0], size + 1), dtype=torch.bool, device=scores.device)
        last = torch.where(matches, windows[..., -1].clamp(max=size), size)
        banned = banned.scatter(1, last, torch.ones_like(last, dtype=torch.bool))
        return scores.masked_fill(banned[:, :size], _LESS)


class EncoderNoRepeatNGramLogitsProcessor(LogitsProcessor):
    def __init__(self, encoder_ngram_size, encoder_input_ids):
        _count("encoder_ngram_size", encoder_ngram_size, "strictly positive", 1)
        if encoder_input_ids.dim() == 1:
            encoder_input_ids = encoder_input_ids.unsqueeze(0)
        self.ngram_size, self.batch_size = encoder_ngram_size, encoder_input_ids.shape[0]
        self.generated_ngrams = []
        for row in encoder_input_ids.tolist():
            seen = {}
            for start in range(len(row) - encoder_ngram_size + 1):
                *before, last = row[start : start + encoder_ngram_size]
                seen.setdefault(tuple(before), []).append(last)
            self.generated_ngrams.append(seen)

    def __call__(self, input_ids, scores):
        beams, scores = scores.shape[0] // self.batch_size, scores.clone()
        start = input_ids.shape[-1] + 1 - self.ngram_size
        for row, ids in enumerate(input_ids.tolist()):
            banned = self.generated_ngrams[row // beams].get(tuple(ids[start:]), [])
            if banned:
                scores[row, banned] = _LESS
        return scores


def _are_ids(ids):
    return all([isinstance(one, int) and one >= 0 for one in ids])


class SequenceBiasLogitsProcessor(LogitsProcessor):
    def __init__(self, sequence_bias):
        self.sequence_bias = sequence_bias
        self._validate_arguments()
        if isinstance(sequence_bias, list):
            self.sequence_bias = {tuple(ids): bias for ids, bias in sequence_bias}
        self.length_1_bias, self.prepared_bias_variables = None, False

    def _validate_arguments(self):
        bias = self.sequence_bias
        if not isinstance(bias, (dict, list)) or len(bias) == 0:
            raise ValueError(
                f"`sequence_bias` has to be a non-empty dictionary, or non-empty list of lists but is {bias}."
            )
        if isinstance(bias, dict):
            if any([not isinstance(ids, tuple) for ids in bias]):
                raise ValueError(f"`sequence_bias` has to be a dict with tuples as keys, but is {bias}.")
            if any([not ids or not _are_ids(ids) for ids in bias]):
                raise ValueError(
                    f"Each key in `sequence_bias` has to be a non-empty tuple of positive integers, but is {bias}."
                )
            if any([not isinstance(value, float) for value in bias.values()]):
                raise ValueError(f"`sequence_bias` has to be a dict with floats as values, but is {bias}.")
        elif any([not isinstance(one[0], list) or not _are_ids(one[0]) or not isinstance(one[1], float) for one in bias]):
            raise ValueError(
                "Each element in `sequence_bias` has to be a non-empty list of lists of positive integers and float, but "
                f"is {bias}."
            )

    def _prepare_bias_variables(self, scores):
        size = scores.shape[-1]
        wrong = [one for ids in self.sequence_bias for one in ids if one >= size]
        if wrong:
            raise ValueError(
                f"The model vocabulary size is {size}, but the following tokens were being biased: {wrong}"
            )
        self.length_1_bias = torch.zeros((size,), dtype=torch.float, device=scores.device)
        for ids, bias in self.sequence_bias.items():
            if len(ids) == 1:
                self.length_1_bias[ids[0]] = bias
        self.prepared_bias_variables = True

    def __call__(self, input_ids, scores):
        if not self.prepared_bias_variables:
            self._prepare_bias_variables(scores)
        bias = torch.zeros_like(scores)
        bias += self.length_1_bias.to(scores.device)
        for ids, more in self.sequence_bias.items():
            before = len(ids) - 1
            if before == 0 or before > input_ids.shape[1]:
                continue
            known = torch.tensor(ids[:-1], dtype=input_ids.dtype, device=input_ids.device)
            matches = torch.eq(input_ids[:, -before:], known).prod(dim=1).bool()
            bias[:, ids[-1]] += torch.where(matches, more, 0.0)
        return scores + bias


class NoBadWordsLogitsProcessor(SequenceBiasLogitsProcessor):
    def __init__(self, bad_words_ids, eos_token_id=None):
        self.bad_word_ids = bad_words_ids
        self._validate_arguments()
        ends = [] if eos_token_id is None else _ids(eos_token_id).tolist()
        kept = [ids for ids in bad_words_ids if all([ids != [end] for end in ends])]
        super().__init__({tuple(ids): _LESS for ids in kept})

    def _validate_arguments(self):
        words = self.bad_word_ids
        if not isinstance(words, list) or len(words) == 0:
            raise ValueError(f"`bad_words_ids` has to be a non-empty list, but is {words}.")
        if any([not isinstance(ids, list) for ids in words]):
            raise ValueError(f"`bad_words_ids` has to be a list of lists, but is {words}.")
        if any([not _are_ids(ids) for ids in words]):
            raise ValueError(f"Each list in `bad_words_ids` has to be a list of positive integers, but is {words}.")


class PrefixConstrainedLogitsProcessor(LogitsProcessor):
    def __init__(self, prefix_allowed_tokens_fn, num_beams):
        self._prefix_allowed_tokens_fn, self._num_beams = prefix_allowed_tokens_fn, num_beams

    def __call__(self, input_ids, scores):
        mask = torch.full_like(scores, _LESS)
        for row in range(input_ids.shape[0]):
            batch = row // self._num_beams
            allowed = self._prefix_allowed_tokens_fn(batch, input_ids[row])
            if len(allowed) == 0:
                raise ValueError(
                    f"`prefix_allowed_tokens_fn` returned an empty list for batch ID {batch}."
                    "This means that the constraint is unsatisfiable. Please check your implementation"
                    "of `prefix_allowed_tokens_fn` "
                )
            mask[row, allowed] = 0
        masked = scores + mask
        never = masked.amax(dim=-1).isneginf().view(-1, self._num_beams).all(dim=-1, keepdim=True)
        return torch.where(never.repeat_interleave(self._num_beams, dim=0), mask, masked)


class ForcedBOSTokenLogitsProcessor(LogitsProcessor):
    def __init__(self, bos_token_id):
        self.bos_token_id = bos_token_id

    def __call__(self, input_ids, scores):
        if input_ids.shape[-1] != 1:
            return scores
        forced = torch.full_like(scores, _LESS)
        forced[:, self.bos_token_id] = 0
        return forced


class ForcedEOSTokenLogitsProcessor(LogitsProcessor):
    def __init__(self, max_length, eos_token_id, device=None):
        self.max_length, self.eos_token_id = max_length, _ids(eos_token_id, device)
        if torch.is_floating_point(self.eos_token_id) or (self.eos_token_id < 0).any():
            raise ValueError(f"`eos_token_id` has to be a list of positive integers, but is {eos_token_id}")

    def __call__(self, input_ids, scores):
        if input_ids.shape[-1] != self.max_length - 1:
            return scores
        forced = torch.full_like(scores, _LESS)
        forced[:, self.eos_token_id] = 0
        return forced


class InfNanRemoveLogitsProcessor(LogitsProcessor):
    def __call__(self, input_ids, scores):
        limits = torch.finfo(scores.dtype)
        finite = torch.where(scores != scores, 0.0, scores)
        finite = torch.where(scores == math.inf, limits.max, finite)
        return torch.where(scores == _LESS, limits.min, finite)


class ExponentialDecayLengthPenalty(LogitsProcessor):
    def __init__(self, exponential_decay_length_penalty, eos_token_id, input_ids_seq_length):
        self.regulation_start = exponential_decay_length_penalty[0] + input_ids_seq_length
        self.regulation_factor = exponential_decay_length_penalty[1]
        self.eos_token_id = _ids(eos_token_id)
        if torch.is_floating_point(self.eos_token_id) or (self.eos_token_id < 0).any():
            raise ValueError(f"`eos_token_id` has to be a list of positive integers, but is {eos_token_id}")

    def __call__(self, input_ids, scores):
        if input_ids.shape[-1] <= self.regulation_start:
            return scores
        ends = self.eos_token_id.to(scores.device)
        own = scores[:, ends]
        penalty = torch.abs(own) * (pow(self.regulation_factor, input_ids.shape[-1] - self.regulation_start) - 1)
        penalties = torch.zeros_like(scores)
        penalties[:, ends] = penalty.masked_fill(~torch.isfinite(own), 0.0)
        return scores + penalties


class LogitNormalization(LogitsProcessor):
    def __call__(self, input_ids, scores):
        return scores.log_softmax(dim=-1)


class SuppressTokensAtBeginLogitsProcessor(LogitsProcessor):
    def __init__(self, begin_suppress_tokens, begin_index, device=None):
        self.begin_suppress_tokens, self.begin_index = _ids(begin_suppress_tokens, device), begin_index

    def __call__(self, input_ids, scores):
        if input_ids.shape[-1] != self.begin_index:
            return scores
        return torch.where(_among(scores, self.begin_suppress_tokens), _LESS, scores)


class SuppressTokensLogitsProcessor(LogitsProcessor):
    def __init__(self, suppress_tokens, device=None):
        self.suppress_tokens = _ids(suppress_tokens, device)

    def __call__(self, input_ids, scores):
        return torch.where(_among(scores, self.suppress_tokens), _LESS, scores)


class StoppingCriteria:
    def __call__(self, input_ids, scores, **kwargs):
        raise NotImplementedError("StoppingCriteria needs to be subclassed")


def _all_or_none(input_ids, done):
    return torch.full((input_ids.shape[0],), done, device=input_ids.device, dtype=torch.bool)


class MaxLengthCriteria(StoppingCriteria):
    def __init__(self, max_length, max_position_embeddings=None):
        self.max_length, self.max_position_embeddings = max_length, max_position_embeddings

    def __call__(self, input_ids, scores, **kwargs):
        return _all_or_none(input_ids, input_ids.shape[1] >= self.max_length)


class MaxTimeCriteria(StoppingCriteria):
    def __init__(self, max_time, initial_timestamp=None):
        raise ValueError("`max_time` is not supported by this server: a result must not depend on who else computes")

    def __call__(self, input_ids, scores, **kwargs):
        raise ValueError("`max_time` is not supported by this server: a result must not depend on who else computes")


class EosTokenCriteria(StoppingCriteria):
    def __init__(self, eos_token_id):
        self.eos_token_id = _ids(eos_token_id)

    def __call__(self, input_ids, scores, **kwargs):
        return torch.isin(input_ids[:, -1], self.eos_token_id.to(input_ids.device))


class StopStringCriteria(StoppingCriteria):
    """Stops a row when one of some texts ends in its last token."""

    def __init__(self, tokenizer, stop_strings):
        self.tokenizer = tokenizer
        self.stop_strings = (stop_strings,) if isinstance(stop_strings, str) else tuple(stop_strings)

    def __call__(self, input_ids, scores, **kwargs):
        # A token stands for a character or more, but for a few that are parts of one.
        tail = max([len(text) for text in self.stop_strings]) + 16
        done = [self._ends(row[-tail:]) for row in input_ids.tolist()]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)

    def _ends(self, ids):
        text, before = self.tokenizer.decode(ids), len(self.tokenizer.decode(ids[:-1]))
        return any([text.find(stop, max(0, before - len(stop) + 1)) >= 0 for stop in self.stop_strings])


class StoppingCriteriaList(list):
    def __call__(self, input_ids, scores, **kwargs):
        done = _all_or_none(input_ids, False)
        for criterion in self:
            done = done | criterion(input_ids, scores, **kwargs)
        return done

    @property
    def max_length(self):
        for criterion in self:
            if isinstance(criterion, MaxLengthCriteria):
                return criterion.max_length
        return None
