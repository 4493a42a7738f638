import torch
import transformers as t

__all__ = ("Beams", "Rows")

# What stands for a score that cannot win.
_WORST = -1.0e9


def _processors(s, prompt, own):
    """The processors that settings ask for, in transformers' order, with those that the caller made."""
    made, length, ends = t.LogitsProcessorList(), prompt.shape[1], s["eos_token_id"]
    if s["sequence_bias"] is not None:
        made.append(t.SequenceBiasLogitsProcessor(s["sequence_bias"]))
    if s["encoder_repetition_penalty"] not in (None, 1.0):
        made.append(t.EncoderRepetitionPenaltyLogitsProcessor(s["encoder_repetition_penalty"], prompt))
    if s["repetition_penalty"] != 1.0:
        made.append(t.RepetitionPenaltyLogitsProcessor(s["repetition_penalty"]))
    if s["no_repeat_ngram_size"] > 0:
        made.append(t.NoRepeatNGramLogitsProcessor(s["no_repeat_ngram_size"]))
    if s["encoder_no_repeat_ngram_size"]:
        made.append(t.EncoderNoRepeatNGramLogitsProcessor(s["encoder_no_repeat_ngram_size"], prompt))
    if s["bad_words_ids"] is not None:
        made.append(t.NoBadWordsLogitsProcessor(s["bad_words_ids"], ends or None))
    if s["min_length"] > 0 and ends:
        made.append(t.MinLengthLogitsProcessor(s["min_length"], ends))
    if s["min_new_tokens"] and ends:
        made.append(t.MinNewTokensLengthLogitsProcessor(length, s["min_new_tokens"], ends))
    if s["prefix_allowed_tokens_fn"] is not None:
        made.append(t.PrefixConstrainedLogitsProcessor(s["prefix_allowed_tokens_fn"], s["num_beams"]))
    if s["forced_bos_token_id"] is not None:
        made.append(t.ForcedBOSTokenLogitsProcessor(s["forced_bos_token_id"]))
    if s["forced_eos_token_id"] is not None:
        made.append(t.ForcedEOSTokenLogitsProcessor(s["max_length"], s["forced_eos_token_id"]))
    if s["remove_invalid_values"]:
        made.append(t.InfNanRemoveLogitsProcessor())
    if s["exponential_decay_length_penalty"] is not None:
        made.append(t.ExponentialDecayLengthPenalty(s["exponential_decay_length_penalty"], ends, length))
    if s["suppress_tokens"] is not None:
        made.append(t.SuppressTokensLogitsProcessor(s["suppress_tokens"]))
    if s["begin_suppress_tokens"] is not None:
        begin = length if length > 1 or s["forced_bos_token_id"] is None else length + 1
        made.append(t.SuppressTokensAtBeginLogitsProcessor(s["begin_suppress_tokens"], begin))
    made = _merged(made, own)
    if s["do_sample"]:
        keep = 1 if s["num_beams"] == 1 else len(ends) + 1 if ends else 2
        if s["temperature"] != 1.0:
            made.append(t.TemperatureLogitsWarper(s["temperature"]))
        if s["top_h"] is not None:
            made.append(t.TopHLogitsWarper(s["top_h"]))
        if s["top_k"] != 0:
            made.append(t.TopKLogitsWarper(s["top_k"], min_tokens_to_keep=keep))
        if s["top_p"] < 1.0:
            made.append(t.TopPLogitsWarper(s["top_p"], min_tokens_to_keep=keep))
        if s["min_p"] is not None:
            made.append(t.MinPLogitsWarper(s["min_p"], min_tokens_to_keep=keep))
        if s["typical_p"] is not None and s["typical_p"] < 1.0:
            made.append(t.TypicalLogitsWarper(s["typical_p"], min_tokens_to_keep=keep))
        if s["epsilon_cutoff"] and 0.0 < s["epsilon_cutoff"] < 1.0:
            made.append(t.EpsilonLogitsWarper(s["epsilon_cutoff"], min_tokens_to_keep=keep))
        if s["eta_cutoff"] and 0.0 < s["eta_cutoff"] < 1.0:
            made.append(t.EtaLogitsWarper(s["eta_cutoff"], min_tokens_to_keep=keep))
    if s["renormalize_logits"]:
        made.append(t.LogitNormalization())
    return made


def _criteria(s, own):
    made = t.StoppingCriteriaList([t.MaxLengthCriteria(s["max_length"])])
    if s["stop_strings"] is not None:
        if s["tokenizer"] is None:
            raise ValueError(
                "There are one or more stop strings, either in the arguments to `generate` or in the model's generation "
                "config, but we could not locate a tokenizer. When generating with stop strings, you must pass the "
                "model's tokenizer to the `tokenizer` argument of `generate`."
            )
        made.append(t.StopStringCriteria(s["tokenizer"], s["stop_strings"]))
    if s["eos_token_id"]:
        made.append(t.EosTokenCriteria(s["eos_token_id"]))
    return _merged(made, own)


def _merged(made, own):
    """Takes the caller's in the place of those of the same class, and behind the others."""
    if not own:
        return made
    merged = type(made)()
    for one in made:
        merged.append(next((other for other in own if type(other) is type(one)), one))
    for other in own:
        if not any([other is one for one in merged]):
            merged.append(other)
    return merged


class _Steps:
    def __init__(self, settings, prompt):
        self.s, self.prompt = settings, prompt
        if settings["logits_processor"] is not None and not isinstance(settings["logits_processor"], list):
            raise ValueError("`logits_processor` has to be a list of processors")
        self.processors = _processors(settings, prompt, settings["logits_processor"])
        self.criteria = _criteria(settings, settings["stopping_criteria"])
        wanted = settings["return_dict_in_generate"]
        self.scores = () if wanted and settings["output_scores"] else None
        self.logits = () if wanted and settings["output_logits"] else None

    def _note(self, scores, logits):
        if self.scores is not None:
            self.scores += (scores,)
        if self.logits is not None:
            self.logits += (logits,)


class Rows(_Steps):
    """Rows that each get one token a step."""

    def __init__(self, settings, prompt):
        super().__init__(settings, prompt)
        self.open = torch.ones(prompt.shape[0], dtype=torch.long, device=prompt.device)
        self.pads = any([hasattr(criterion, "eos_token_id") for criterion in self.criteria])

    def step(self, ids, logits):
        logits = logits.detach().to(copy=True, dtype=torch.float32)
        scores = self.processors(ids, logits)
        self._note(scores, logits)
        if self.s["do_sample"]:
            chosen = torch.multinomial(torch.softmax(scores, dim=-1), num_samples=1).squeeze(1)
        else:
            chosen = torch.argmax(scores, dim=-1)
        if self.pads:
            chosen = chosen * self.open + self.s["pad_token_id"] * (1 - self.open)
        ids = torch.cat([ids, chosen[:, None]], dim=-1)
        self.open = self.open & ~self.criteria(ids, self.scores)
        return ids, None, self.open.max().item() == 0

    def end(self, ids):
        return {"sequences": ids, "scores": self.scores, "logits": self.logits}


def _gathered(tensor, order):
    while order.dim() < tensor.dim():
        order = order.unsqueeze(-1)
    return torch.take_along_dim(tensor, order, dim=1)


class Beams(_Steps):
    """Beam search: of all that could follow, the likeliest sequences are gone on with."""

    def __init__(self, settings, prompt):
        super().__init__(settings, prompt)
        beams, ends, device = settings["num_beams"], settings["eos_token_id"], prompt.device
        self.beams, self.start = beams, prompt.shape[1]
        self.batch, self.length = prompt.shape[0] // beams, prompt.shape[1]
        self.kept = max(2, 1 + len(ends)) * beams
        self.top = torch.arange(self.kept, device=device) < beams
        longest = settings["max_length"]
        fill = (settings["pad_token_id"] or ends[0]) if ends else -1
        self.running = torch.full((self.batch, beams, longest), fill, dtype=torch.int64, device=device)
        self.running[:, :, : self.start] = prompt.view(self.batch, beams, -1)
        self.sequences = self.running.clone()
        self.running_scores = torch.zeros((self.batch, beams), device=device)
        self.running_scores[:, 1:] = _WORST
        self.beam_scores = torch.full((self.batch, beams), _WORST, device=device)
        self.finished = torch.zeros((self.batch, beams), dtype=torch.bool, device=device)
        self.hopeful = torch.ones((self.batch, 1), dtype=torch.bool, device=device)
        shape = (self.batch, beams, longest - self.start)
        self.running_origins = torch.full(shape, -1, dtype=torch.int32, device=device)
        self.origins = self.running_origins.clone()

    def step(self, ids, logits):
        logits = logits.detach().to(copy=True, dtype=torch.float32)
        likely = self.processors(ids, torch.log_softmax(logits, dim=-1))
        self._note(likely.clone(), logits.clone())
        size = likely.shape[-1]
        total = likely.view(self.batch, self.beams, size) + self.running_scores[:, :, None]
        total = total.reshape(self.batch, -1)
        if self.s["do_sample"]:
            indices = torch.multinomial(torch.softmax(total, dim=-1), num_samples=self.kept)
            best = torch.gather(total, 1, indices)
        else:
            best, indices = torch.topk(total, k=self.kept)
        beam = indices // size
        origins, sequences = _gathered(self.running_origins, beam), _gathered(self.running, beam)
        sequences[:, :, self.length] = indices % size
        first = torch.arange(self.batch, device=beam.device).view(-1, 1) * self.beams
        origins[:, :, self.length - self.start] = (beam + first).to(torch.int32)
        longer = sequences[:, :, : self.length + 1].flatten(0, 1)
        stops = self.criteria(longer, self.scores).view(self.batch, self.kept)
        going = best + stops.to(torch.float32) * _WORST
        order = torch.topk(going, k=self.beams)[1]
        self.running, self.running_scores = _gathered(sequences, order), _gathered(going, order)
        self.running_origins = _gathered(origins, order)
        self._finish(sequences, best, origins, stops)
        follows = self.running_origins[..., self.length - self.start].flatten().tolist()
        self.length += 1
        self._hope()
        early = self.s["early_stopping"] is True
        more = self.hopeful.any() & ~(self.finished.all() & early) & ~stops.all()
        return self.running[:, :, : self.length].flatten(0, 1), follows, not more.item()

    def _finish(self, sequences, scores, origins, stops):
        """Puts what has just ended among the best that have."""
        ended = stops & self.top[None, :]
        scores = scores / ((self.length + 1 - self.start) ** self.s["length_penalty"])
        full = self.finished.all(dim=-1, keepdim=True) & (self.s["early_stopping"] is True)
        scores += full.to(torch.float32) * _WORST
        scores += (~self.hopeful).to(torch.float32) * _WORST
        scores += (~ended) * _WORST
        all_scores = torch.cat((self.beam_scores, scores), dim=1)
        order = torch.topk(all_scores, k=self.beams)[1]
        self.sequences = _gathered(torch.cat((self.sequences, sequences), dim=1), order)
        self.beam_scores = _gathered(all_scores, order)
        self.origins = _gathered(torch.cat((self.origins, origins), dim=1), order)
        self.finished = _gathered(torch.cat((self.finished, ended), dim=1), order)

    def _hope(self):
        """Says whose running beams could still become better than those that have ended."""
        penalty = self.s["length_penalty"]
        longest = self.s["early_stopping"] == "never" and penalty > 0.0
        length = (self.s["max_length"] if longest else self.length) - self.start
        possible = self.running_scores[:, :1] / (length**penalty)
        worst = torch.where(self.finished, torch.min(self.beam_scores, dim=1, keepdim=True)[0], _WORST)
        self.hopeful = self.hopeful & torch.any(possible > worst, dim=-1, keepdim=True)

    def end(self, ids):
        returned = self.s["num_return_sequences"]
        origins = self.origins[:, :returned].flatten(0, 1)
        most = (origins + 1).bool().sum(dim=1).max().item()
        return {
            "sequences": self.sequences[:, :returned].flatten(0, 1)[:, : self.start + most],
            "sequences_scores": None if self.scores is None else self.beam_scores[:, :returned].flatten(0, 1),
            "scores": self.scores,
            "logits": self.logits,
            "beam_indices": origins[:, :most],
        }
