//! Which token comes next: `generate()`'s settings and processors, in Hugging Face's order.

use std::path::Path;
use std::rc::Rc;

use engine::Drawn;
use interpreter::raise::Raise;
use interpreter::{Machine, Value};
use kernels::number;
use serde_json::{Map, Value as Json, json};
use tch::{Kind, TchError, Tensor};

use crate::config::{Config, read_optional};
use crate::error::LoadError;
use crate::pass::raise;
use crate::settings::value_of;
use crate::steps::More;

/// Settings of a generation: Hugging Face's defaults, then the checkpoint's, then the caller's.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationConfig {
    max_new_tokens: Option<i64>,
    max_length: Option<i64>,
    min_new_tokens: Option<i64>,
    min_length: i64,
    do_sample: bool,
    temperature: f64,
    top_k: i64,
    top_p: f64,
    min_p: Option<f64>,
    repetition_penalty: f64,
    no_repeat_ngram_size: i64,
    renormalize_logits: bool,
    use_cache: bool,
    bos: Option<i64>,
    eos: Vec<i64>,
    pad: Option<i64>,
    /// Positions that the model has.
    positions: Option<i64>,
    /// What the checkpoint sets, by Hugging Face's names.
    given: Vec<(String, Json)>,
}

impl GenerationConfig {
    /// Reads a model folder's `generation_config.json`; without one, `config.json` names the special tokens.
    ///
    /// # Errors
    /// When the file cannot be read, or asks for what is not supported.
    pub fn read(folder: &Path, config: &Config) -> Result<Self, LoadError> {
        let file = folder.join("generation_config.json");
        let given = read_optional(&file)?;
        let mut settings = Self {
            max_new_tokens: None,
            max_length: None,
            min_new_tokens: None,
            min_length: 0,
            do_sample: false,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            min_p: None,
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            renormalize_logits: false,
            use_cache: true,
            bos: None,
            eos: Vec::new(),
            pad: None,
            positions: config.size("max_position_embeddings").ok(),
            given: Vec::new(),
        };
        let special = |map: &Map<String, Json>| -> Vec<(String, Json)> {
            map.iter()
                .filter(|(key, _)| key.ends_with("_token_id"))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        };
        // What every call returns of layers, a generation returns, too.
        let collected = || {
            let own = ["output_hidden_states", "output_attentions"].into_iter();
            let all = config.whole().unwrap_or(config.values());
            let mut own: Vec<_> = own.filter(|key| all.get(*key) == Some(&Json::Bool(true))).collect();
            own.extend((!own.is_empty()).then_some("return_dict_in_generate"));
            own.into_iter().map(|key| (key.to_owned(), Json::Bool(true)))
        };
        let pairs: Vec<_> = match (file.is_file(), config.whole()) {
            (true, _) => given.into_iter().collect(),
            (false, None) => special(config.values()).into_iter().chain(collected()).collect(),
            // What the language model's settings say counts where those around them do not.
            (false, Some(whole)) => {
                let own = |(key, _): &(String, Json)| whole.get(key).is_none_or(Json::is_null);
                let own = special(config.values()).into_iter().filter(own);
                own.chain(special(whole)).chain(collected()).collect()
            }
        };
        for (key, value) in pairs {
            let wrong =
                |raise: Raise| LoadError::Config { file: file.clone(), key: key.clone(), reason: raise.message() };
            if !More::knows(&key) {
                settings.set(&key, &value_of(&value)).map_err(wrong)?;
            }
            if !value.is_null() {
                settings.given.push((key, value));
            }
        }
        Ok(settings)
    }

    /// Lists what the checkpoint itself sets.
    #[must_use]
    pub fn given(&self) -> &[(String, Json)] {
        &self.given
    }

    /// Returns the settings with a caller's own, and what these ask for besides.
    ///
    /// # Errors
    /// `ValueError` for settings that are not supported, contradict each other, or do not exist.
    pub fn with(&self, kwargs: &[(Rc<str>, Value)]) -> Result<(Self, More), Raise> {
        let (mut settings, mut more) = (self.clone(), More::default());
        for (name, value) in &self.given {
            more.take(name, &value_of(value));
        }
        let whole = kwargs.iter().find(|(name, _)| &**name == "generation_config").map(|(_, value)| value);
        if let Some(value) = whole.filter(|value| !matches!(value, Value::None)) {
            let Value::Instance(config) = value else {
                return Err(Raise::value_error("`generation_config` has to be a GenerationConfig"));
            };
            // What it leaves open is as the checkpoint has it; what it has of its own version is for nobody.
            let given = config.attributes().into_iter().filter(|(name, value)| {
                !matches!(value, Value::None) && !name.starts_with('_') && &**name != "transformers_version"
            });
            for (name, value) in given {
                let _ = more.take(&name, &value) || settings.set(&name, &value)?;
            }
        }
        for (name, value) in kwargs.iter().filter(|(name, _)| &**name != "generation_config") {
            // As in Hugging Face: what is None was not given.
            if !more.take(name, value) && !settings.set(name, value)? && !matches!(value, Value::None) {
                return Err(Raise::value_error(format!(
                    "The following `model_kwargs` are not used by the model: ['{name}'] (note: typos in the generate \
                     arguments will also show up in this list)"
                )));
            }
        }
        Ok((settings, more))
    }

    /// Returns whether tokens are drawn.
    pub fn samples(&self) -> bool {
        self.do_sample
    }

    /// Sets one setting. Returns whether there is one of this name.
    fn set(&mut self, name: &str, value: &Value) -> Result<bool, Raise> {
        if matches!(value, Value::None) {
            // None means the default, except where the default is a limit that None lifts.
            match name {
                "top_k" => self.top_k = 0,
                "top_p" => self.top_p = 1.0,
                "temperature" => self.temperature = 1.0,
                "eos_token_id" => self.eos.clear(),
                "pad_token_id" => self.pad = None,
                _ => {}
            }
            return Ok(known(name));
        }
        match name {
            "max_new_tokens" => self.max_new_tokens = Some(positive(name, value)?),
            "max_length" => self.max_length = Some(positive(name, value)?),
            "min_new_tokens" => self.min_new_tokens = Some(integer(name, value)?),
            "min_length" => self.min_length = integer(name, value)?,
            "do_sample" => self.do_sample = flag(name, value)?,
            "temperature" => self.temperature = number(name, value)?,
            "top_k" => self.top_k = integer(name, value)?,
            "top_p" => self.top_p = number(name, value)?,
            "min_p" => self.min_p = Some(number(name, value)?),
            "repetition_penalty" => self.repetition_penalty = number(name, value)?,
            "no_repeat_ngram_size" => self.no_repeat_ngram_size = integer(name, value)?,
            "renormalize_logits" => self.renormalize_logits = flag(name, value)?,
            "use_cache" => self.use_cache = flag(name, value)?,
            "bos_token_id" => self.bos = Some(integer(name, value)?),
            "pad_token_id" => self.pad = Some(integer(name, value)?),
            "eos_token_id" => {
                self.eos = match engine::python::sequence(value) {
                    Some(items) => items.iter().map(|item| integer(name, item)).collect::<Result<_, _>>()?,
                    None => vec![integer(name, value)?],
                }
            }
            _ => return neutral(name, value),
        }
        Ok(true)
    }

    /// Lists what `model.generation_config` shows.
    #[must_use]
    pub fn shown(&self) -> Vec<(&'static str, Json)> {
        let eos = match self.eos.as_slice() {
            [] => Json::Null,
            [one] => json!(one),
            several => json!(several),
        };
        vec![
            ("max_length", json!(self.max_length)),
            ("max_new_tokens", json!(self.max_new_tokens)),
            ("min_length", json!(self.min_length)),
            ("min_new_tokens", json!(self.min_new_tokens)),
            ("do_sample", json!(self.do_sample)),
            ("num_beams", json!(1)),
            ("use_cache", json!(self.use_cache)),
            ("temperature", json!(self.temperature)),
            ("top_k", json!(self.top_k)),
            ("top_p", json!(self.top_p)),
            ("min_p", json!(self.min_p)),
            ("repetition_penalty", json!(self.repetition_penalty)),
            ("no_repeat_ngram_size", json!(self.no_repeat_ngram_size)),
            ("renormalize_logits", json!(self.renormalize_logits)),
            ("bos_token_id", json!(self.bos)),
            ("eos_token_id", eos),
            ("pad_token_id", json!(self.pad)),
        ]
    }
}

const KNOWN: [&str; 18] = [
    "max_new_tokens",
    "max_length",
    "min_new_tokens",
    "min_length",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "renormalize_logits",
    "use_cache",
    "bos_token_id",
    "pad_token_id",
    "eos_token_id",
    "generation_config",
    "streamer",
];

fn known(name: &str) -> bool {
    KNOWN.contains(&name) || matches!(neutral(name, &Value::None), Ok(true))
}

/// Accepts settings that are not supported where they change nothing. Returns whether there is one of this name.
fn neutral(name: &str, value: &Value) -> Result<bool, Raise> {
    let is = |expected: f64| match value {
        Value::None => true,
        Value::Bool(flag) => f64::from(u8::from(*flag)) == expected,
        Value::Int(number) => *number as f64 == expected,
        Value::Float(number) => *number == expected,
        _ => false,
    };
    let accepted = match name {
        "num_beams"
        | "num_return_sequences"
        | "num_beam_groups"
        | "typical_p"
        | "encoder_repetition_penalty"
        | "guidance_scale" => is(1.0),
        "epsilon_cutoff"
        | "eta_cutoff"
        | "encoder_no_repeat_ngram_size"
        | "diversity_penalty"
        | "penalty_alpha"
        | "remove_invalid_values"
        | "output_scores"
        | "output_logits"
        | "output_attentions"
        | "output_hidden_states"
        | "return_dict_in_generate"
        | "token_healing"
        | "use_mtp"
        | "is_assistant" => is(0.0),
        "top_h"
        | "bad_words_ids"
        | "force_words_ids"
        | "constraints"
        | "sequence_bias"
        | "forced_bos_token_id"
        | "forced_eos_token_id"
        | "suppress_tokens"
        | "begin_suppress_tokens"
        | "exponential_decay_length_penalty"
        | "stop_strings"
        | "max_time"
        | "watermarking_config"
        | "generation_config"
        | "logits_processor"
        | "stopping_criteria"
        | "prefix_allowed_tokens_fn"
        | "assistant_model"
        | "prompt_lookup_num_tokens"
        | "dola_layers"
        | "negative_prompt_ids"
        | "streamer"
        | "cache_config"
        | "max_cache_len"
        | "prefill_chunk_size" => matches!(value, Value::None),
        // Other caches keep something else, or show something else to whoever looks.
        "cache_implementation" => {
            matches!(value, Value::None)
                || value.as_str().is_some_and(|name| matches!(name, "dynamic" | "dynamic_full"))
        }
        // These steer what beam search, assistants and compilation do, none of which is there, or what an answer
        // that is the same either way is kept in.
        "early_stopping"
        | "length_penalty"
        | "synced_gpus"
        | "low_memory"
        | "disable_compile"
        | "compile_config"
        | "num_assistant_tokens"
        | "num_assistant_tokens_schedule"
        | "assistant_confidence_threshold"
        | "assistant_early_exit"
        | "assistant_lookbehind"
        | "target_lookbehind"
        | "assistant_ensemble_weight"
        | "speculation_type"
        | "max_matching_ngram_size"
        | "decoder_start_token_id"
        | "continuous_batching_config"
        | "transformers_version"
        | "_from_model_config"
        | "return_dict" => true,
        _ => return Ok(false),
    };
    if accepted {
        return Ok(true);
    }
    if let Some(refused) = program::refusals::of_generate(name) {
        return Err(Raise::value_error(refused));
    }
    Err(Raise::value_error(format!("`{name}` of this value is not supported by this server's generate()")))
}

fn integer(name: &str, value: &Value) -> Result<i64, Raise> {
    value.as_int().ok_or_else(|| Raise::value_error(format!("`{name}` has to be an integer")))
}

fn positive(name: &str, value: &Value) -> Result<i64, Raise> {
    match integer(name, value)? {
        number if number > 0 => Ok(number),
        number => Err(Raise::value_error(format!("`{name}` must be greater than 0, but is {number}."))),
    }
}

fn number(name: &str, value: &Value) -> Result<f64, Raise> {
    match value {
        Value::Int(number) => Ok(*number as f64),
        Value::Float(number) => Ok(*number),
        _ => Err(Raise::value_error(format!("`{name}` has to be a number"))),
    }
}

fn flag(name: &str, value: &Value) -> Result<bool, Raise> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        _ => Err(Raise::value_error(format!("`{name}` has to be True or False"))),
    }
}

/// Chooses tokens for one prompt batch.
pub struct Sampler {
    pub settings: GenerationConfig,
    prompt: i64,
    max_length: i64,
}

impl Sampler {
    /// Lists the settings by name, for steps with rules of their own.
    pub fn listed(&self) -> Vec<(&'static str, Value)> {
        let s = &self.settings;
        let optional = |number: Option<i64>| number.map_or(Value::None, Value::Int);
        vec![
            ("max_length", Value::Int(self.max_length)),
            ("min_length", Value::Int(s.min_length)),
            ("min_new_tokens", optional(s.min_new_tokens)),
            ("do_sample", Value::Bool(s.do_sample)),
            ("temperature", Value::Float(s.temperature)),
            ("top_k", Value::Int(s.top_k)),
            ("top_p", Value::Float(s.top_p)),
            ("min_p", s.min_p.map_or(Value::None, Value::Float)),
            ("repetition_penalty", Value::Float(s.repetition_penalty)),
            ("no_repeat_ngram_size", Value::Int(s.no_repeat_ngram_size)),
            ("renormalize_logits", Value::Bool(s.renormalize_logits)),
            ("pad_token_id", Value::Int(engine::Sampler::pad_token(self))),
            ("eos_token_id", Value::list(s.eos.iter().copied().map(Value::Int).collect())),
        ]
    }

    /// Prepares a generation from a padded prompt of so many tokens a row.
    ///
    /// # Errors
    /// `ValueError` for settings out of their range, and for a prompt that leaves no room.
    pub fn new(settings: GenerationConfig, prompt: usize) -> Result<Self, Raise> {
        let prompt = i64::try_from(prompt).unwrap_or(i64::MAX);
        let max_length = match (settings.max_new_tokens, settings.max_length) {
            (Some(new), _) => prompt.saturating_add(new),
            (None, Some(length)) => length,
            // As Hugging Face: 20 new tokens, or as many as the model has positions for.
            (None, None) => prompt.saturating_add(20).min(settings.positions.unwrap_or(i64::MAX)),
        };
        if prompt >= max_length {
            return Err(Raise::value_error(format!(
                "Input length of input_ids is {prompt}, but `max_length` is set to {max_length}. This can lead to \
                 unexpected behavior. You should consider increasing `max_length` or, better yet, setting \
                 `max_new_tokens`."
            )));
        }
        if settings.repetition_penalty <= 0.0 {
            let penalty = settings.repetition_penalty;
            return Err(Raise::value_error(format!(
                "`penalty` has to be a strictly positive float, but is {penalty:?}"
            )));
        }
        if settings.do_sample {
            check_sampling(&settings)?;
        }
        Ok(Self { settings, prompt, max_length })
    }

    /// Returns whether scores are anything else than logits, or tokens are drawn by them.
    fn processes(&self, sequences: &[Vec<i64>]) -> bool {
        let settings = &self.settings;
        settings.do_sample
            || settings.renormalize_logits
            || settings.repetition_penalty != 1.0
            || settings.no_repeat_ngram_size > 0
            || length(sequences) < self.least()
    }

    /// Returns the length below which no sequence may end.
    fn least(&self) -> i64 {
        let settings = &self.settings;
        settings.min_new_tokens.map_or(settings.min_length, |new| self.prompt.saturating_add(new))
    }

    /// Applies the processors to float32 `[rows, vocabulary]` scores.
    fn process(&self, mut scores: Tensor, sequences: &[Vec<i64>]) -> Result<Tensor, TchError> {
        let settings = &self.settings;
        let length = length(sequences);
        let vocabulary = scores.size().last().copied().unwrap_or(0);
        if settings.repetition_penalty != 1.0 {
            let seen: Vec<i64> = sequences.iter().flatten().map(|&id| id.clamp(0, vocabulary - 1)).collect();
            let seen = Tensor::f_from_slice(&seen)?.f_to_device(scores.device())?.f_view([-1, length])?;
            let score = scores.f_gather(1, &seen, false)?;
            let penalty = settings.repetition_penalty;
            let lower = number::multiply(&score, penalty)?
                .f_where_self(&number::less(&score, 0.0)?, &number::divide(&score, penalty)?)?;
            scores = scores.f_scatter(1, &seen, &lower)?;
        }
        if settings.no_repeat_ngram_size > 0 {
            for (index, row) in (0..).zip(sequences) {
                let banned = repeated(row, usize::try_from(settings.no_repeat_ngram_size).unwrap_or(usize::MAX));
                forbid(&scores.f_narrow(0, index, 1)?, &banned, vocabulary)?;
            }
        }
        if length < self.least() {
            forbid(&scores, &settings.eos, vocabulary)?;
        }
        if settings.do_sample {
            scores = self.narrow(scores, vocabulary)?;
        }
        if settings.renormalize_logits { scores.f_log_softmax(-1, Kind::Float) } else { Ok(scores) }
    }

    /// Applies what only sampling uses.
    fn narrow(&self, mut scores: Tensor, vocabulary: i64) -> Result<Tensor, TchError> {
        let settings = &self.settings;
        if settings.temperature != 1.0 {
            scores = number::divide(&scores, settings.temperature)?;
        }
        if settings.top_k != 0 {
            let (top, _) = scores.f_topk(settings.top_k.min(vocabulary), -1, true, true)?;
            let least = top.f_narrow(-1, top.size().last().copied().unwrap_or(1) - 1, 1)?;
            scores = number::fill_where(&scores, &scores.f_lt_tensor(&least)?, f64::NEG_INFINITY)?;
        }
        if settings.top_p < 1.0 {
            let (sorted, order) = scores.f_sort(-1, false)?;
            let cumulative = sorted.f_softmax(-1, Kind::Float)?.f_cumsum(-1, Kind::Float)?;
            let remove = number::at_most(&cumulative, 1.0 - settings.top_p)?;
            let _ = remove.f_narrow(-1, vocabulary - 1, 1)?.f_zero_()?;
            scores = number::fill_where(&scores, &remove.f_scatter(1, &order, &remove)?, f64::NEG_INFINITY)?;
        }
        if let Some(min_p) = settings.min_p {
            let probabilities = scores.f_softmax(-1, Kind::Float)?;
            let top = number::multiply(&probabilities.f_amax([-1].as_slice(), true)?, min_p)?;
            // The likeliest token stays: no probability is less than a part of itself.
            scores = number::fill_where(&scores, &probabilities.f_lt_tensor(&top)?, f64::NEG_INFINITY)?;
        }
        Ok(scores)
    }
}

fn length(sequences: &[Vec<i64>]) -> i64 {
    sequences.first().map_or(0, |row| i64::try_from(row.len()).unwrap_or(i64::MAX))
}

/// Tells which tokens were drawn. Where that fails for all together, each is told for itself.
pub fn drawn(all: &[Drawn<torch::Tensor>]) -> Vec<Result<Vec<i64>, Raise>> {
    match ids(all) {
        Ok(known) => known.into_iter().map(Ok).collect(),
        Err(error) if all.len() < 2 => all.iter().map(|_| Err(raise(&error))).collect(),
        Err(_) => all.chunks(1).flat_map(drawn).collect(),
    }
}

/// Brings what was drawn to the host in one piece.
fn ids(all: &[Drawn<torch::Tensor>]) -> Result<Vec<Vec<i64>>, TchError> {
    let scores = all.iter().filter_map(|drawn| match drawn {
        Drawn::Likeliest(scores) => Some(scores.tch().f_detach()),
        Drawn::Ids(_) => None,
    });
    let mut likeliest = likeliest(&scores.collect::<Result<Vec<_>, _>>()?)?.into_iter();
    let mut parts = Vec::with_capacity(all.len());
    for drawn in all {
        parts.push(match drawn {
            Drawn::Likeliest(_) => likeliest.next().ok_or_else(|| TchError::Shape("a token got lost".into()))?,
            Drawn::Ids(ids) => ids.tch().shallow_clone(),
        });
    }
    if let Some(odd) = parts.iter().find(|ids| ids.dim() != 1) {
        return Err(TchError::Shape(format!("tokens are drawn of [rows, vocabulary], not for {:?}", odd.size())));
    }
    let mut ids = match parts.as_slice() {
        [] => return Ok(Vec::new()),
        [one] => Vec::<i64>::try_from(one)?,
        parts => Vec::<i64>::try_from(Tensor::f_cat(parts, 0)?)?,
    };
    Ok(parts.iter().map(|part| ids.drain(..part.numel().min(ids.len())).collect()).collect())
}

/// Finds the likeliest tokens. On a device, all are found at once: there it is starting that takes time, and on a CPU it
/// would be copying.
fn likeliest(scores: &[Tensor]) -> Result<Vec<Tensor>, TchError> {
    let one = |scores: &Tensor| scores.f_to_kind(Kind::Float)?.f_argmax(-1, false);
    let alike = scores.windows(2).all(|pair| {
        let form = |scores: &Tensor| (scores.kind(), scores.device(), scores.size().last().copied());
        pair[0].dim() == 2 && pair[1].dim() == 2 && form(&pair[0]) == form(&pair[1])
    });
    match scores {
        [first, _, ..] if alike && first.device() != tch::Device::Cpu => {
            let rows: Vec<i64> = scores.iter().map(|scores| scores.size()[0]).collect();
            one(&Tensor::f_cat(scores, 0)?)?.f_split_with_sizes(rows, 0)
        }
        _ => scores.iter().map(one).collect(),
    }
}

fn check_sampling(settings: &GenerationConfig) -> Result<(), Raise> {
    let GenerationConfig { temperature, top_k, top_p, min_p, .. } = settings;
    if temperature.is_nan() || *temperature <= 0.0 {
        let hint = if *temperature == 0.0 {
            " If you're looking for greedy decoding strategies, set `do_sample=False`."
        } else {
            ""
        };
        return Err(Raise::value_error(format!(
            "`temperature` (={temperature:?}) has to be a strictly positive float, otherwise your next token scores \
             will be invalid.{hint}"
        )));
    }
    if *top_k < 0 {
        return Err(Raise::value_error(format!("`top_k` has to be a strictly positive integer, but is {top_k}")));
    }
    if !(0.0..=1.0).contains(top_p) {
        return Err(Raise::value_error(format!("`top_p` has to be a float > 0 and < 1, but is {top_p:?}")));
    }
    if let Some(min_p) = min_p.filter(|min_p| !(0.0..=1.0).contains(min_p)) {
        return Err(Raise::value_error(format!("`min_p` has to be a float in the [0, 1] interval, but is {min_p:?}")));
    }
    Ok(())
}

/// Returns the tokens that would complete an n-gram for the second time.
fn repeated(row: &[i64], size: usize) -> Vec<i64> {
    if row.len() < size || size == 0 {
        return Vec::new();
    }
    let prefix = row.get(row.len() + 1 - size..).unwrap_or_default();
    let windows = row.windows(size).filter_map(|window| window.split_last());
    windows.filter(|(_, start)| *start == prefix).map(|(last, _)| *last).collect()
}

/// Makes tokens impossible, in place.
fn forbid(scores: &Tensor, tokens: &[i64], vocabulary: i64) -> Result<(), TchError> {
    let tokens: Vec<i64> = tokens.iter().copied().filter(|token| (0..vocabulary).contains(token)).collect();
    if !tokens.is_empty() {
        let mut scores = scores.shallow_clone();
        let (tokens, device) = (Tensor::f_from_slice(&tokens)?, scores.device());
        let least = number::full(f64::NEG_INFINITY, (scores.f_kind()?, device))?.f_squeeze()?;
        let _ = scores.f_index_fill_int_tensor_(1, &tokens.f_to_device(device)?, &least)?;
    }
    Ok(())
}

impl engine::Sampler<torch::Tensor> for Sampler {
    fn draw(
        &mut self,
        machine: &Machine,
        logits: &torch::Tensor,
        sequences: &[Vec<i64>],
    ) -> Result<Drawn<torch::Tensor>, Raise> {
        if !self.processes(sequences) {
            return Ok(Drawn::Likeliest(logits.clone()));
        }
        let torch = |error: TchError| raise(&error);
        let copy = || logits.tch().f_detach()?.f_to_dtype(Kind::Float, false, true);
        let scores = self.process(copy().map_err(torch)?, sequences).map_err(torch)?;
        if !self.settings.do_sample {
            return Ok(Drawn::Likeliest(torch::Tensor::new(scores)));
        }
        let probabilities = scores.f_softmax(-1, Kind::Float).map_err(torch)?;
        let drawn = torch::Tensor::new(probabilities).multinomial(machine, 1)?;
        Ok(Drawn::Ids(torch::Tensor::new(drawn.tch().f_view([-1]).map_err(torch)?)))
    }

    fn finished(&self, sequence: &[i64]) -> bool {
        sequence.last().is_some_and(|last| self.settings.eos.contains(last))
    }

    fn pad_token(&self) -> i64 {
        self.settings.pad.or_else(|| self.settings.eos.first().copied()).unwrap_or(0)
    }

    fn caches(&self) -> bool {
        self.settings.use_cache
    }

    fn remaining(&self, length: usize) -> usize {
        usize::try_from(self.max_length).unwrap_or(0).saturating_sub(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(kwargs: &[(&str, Value)]) -> Result<GenerationConfig, Raise> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), r#"{"model_type": "gpt2", "eos_token_id": 3}"#).unwrap();
        let config = Config::read(folder.path()).unwrap();
        let kwargs: Vec<(Rc<str>, Value)> =
            kwargs.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        GenerationConfig::read(folder.path(), &config).unwrap().with(&kwargs).map(|(settings, _)| settings)
    }

    fn processed(kwargs: &[(&str, Value)], scores: &[f32], row: &[i64]) -> Vec<f32> {
        let sampler = Sampler::new(settings(kwargs).unwrap(), row.len()).unwrap();
        let scores = Tensor::from_slice(scores).view([1, -1]);
        Vec::try_from(sampler.process(scores, &[row.to_vec()]).unwrap().view([-1])).unwrap()
    }

    const LESS: f32 = f32::NEG_INFINITY;

    #[test]
    fn processors_follow_hugging_faces_rules() {
        let scores = [1.0, -1.0, 2.0, 4.0];
        assert_eq!(processed(&[("repetition_penalty", 2.0.into())], &scores, &[1, 2]), [1.0, -2.0, 1.0, 4.0]);
        assert_eq!(processed(&[("min_new_tokens", 1.into())], &scores, &[1, 2]), [1.0, -1.0, 2.0, LESS]);
        assert_eq!(processed(&[("no_repeat_ngram_size", 2.into())], &scores, &[1, 0, 1]), [LESS, -1.0, 2.0, 4.0]);
        let sample = ("do_sample", true.into());
        assert_eq!(processed(&[sample.clone(), ("top_k", 2.into())], &scores, &[1]), [LESS, LESS, 2.0, 4.0]);
        assert_eq!(processed(&[sample.clone(), ("top_p", 0.5.into())], &scores, &[1]), [LESS, LESS, LESS, 4.0]);
        assert_eq!(processed(&[sample.clone(), ("min_p", 0.1.into())], &scores, &[1]), [LESS, LESS, 2.0, 4.0]);
        assert_eq!(processed(&[sample, ("temperature", 0.5.into())], &scores, &[1]), [2.0, -2.0, 4.0, 8.0]);
    }

    #[test]
    fn unsupported_and_unknown_settings_are_refused() {
        let message = |kwargs: &[(&str, Value)]| settings(kwargs).unwrap_err().message();
        assert!(
            message(&[("guidance_scale", 4.into())]).starts_with("`guidance_scale` of this value is not supported")
        );
        assert!(settings(&[("num_beams", 1.into())]).is_ok());
        assert!(message(&[("max_new_token", 4.into())]).contains("not used by the model: ['max_new_token']"));
        assert_eq!(message(&[("max_new_tokens", 0.into())]), "`max_new_tokens` must be greater than 0, but is 0.");
        let cold = settings(&[("do_sample", true.into()), ("temperature", 0.0.into())]).unwrap();
        assert!(Sampler::new(cold, 1).err().unwrap().message().ends_with("set `do_sample=False`."));
    }

    #[test]
    fn tokens_are_the_same_told_together_or_each_for_itself() {
        libtorch::prepare();
        let scores = |kind: Kind, rows: i64, width: i64| {
            let random = Tensor::randn([rows, width], (Kind::Float, tch::Device::Cpu)).to_kind(kind);
            Drawn::Likeliest(torch::Tensor::new(random))
        };
        let ids = Drawn::Ids(torch::Tensor::new(Tensor::from_slice(&[5_i64, 6])));
        let all = [scores(Kind::Float, 1, 50), scores(Kind::Float, 3, 50), ids, scores(Kind::BFloat16, 2, 50)];
        let together = drawn(&all);
        for (place, (found, own)) in together.iter().zip(&all).enumerate() {
            let alone = drawn(std::slice::from_ref(own)).remove(0);
            assert_eq!(found.as_ref().ok(), alone.as_ref().ok(), "{place}");
            if let Drawn::Likeliest(scores) = own {
                let best = Vec::<i64>::try_from(scores.tch().to_kind(Kind::Float).argmax(-1, false)).unwrap();
                assert_eq!(found.as_ref().ok(), Some(&best), "{place}");
            }
        }
        assert_eq!(together[2].as_ref().ok(), Some(&vec![5, 6]));
        // What is no matrix is its own job's fault.
        let odd = Drawn::Likeliest(torch::Tensor::new(Tensor::zeros([1, 2, 3], (Kind::Float, tch::Device::Cpu))));
        let found = drawn(&[scores(Kind::Float, 1, 7), odd, scores(Kind::Float, 2, 7)]);
        assert_eq!(
            found.iter().map(|one| one.as_ref().map(Vec::len).ok()).collect::<Vec<_>>(),
            [Some(1), None, Some(2)]
        );
    }

    #[test]
    fn lengths_count_from_the_prompt() {
        use engine::Sampler as _;
        let remaining = |kwargs: &[(&str, Value)]| Sampler::new(settings(kwargs).unwrap(), 5).map(|s| s.remaining(5));
        assert_eq!(remaining(&[("max_new_tokens", 3.into())]).ok(), Some(3));
        assert_eq!(remaining(&[("max_length", 7.into())]).ok(), Some(2));
        assert_eq!(remaining(&[]).ok(), Some(20));
        assert!(remaining(&[("max_length", 5.into())]).is_err());
    }
}
