//! A checkpoint's tokenizer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use engine::encoding::{Encoding, How, Padding, Source, Strategy, Text, Truncation};
use interpreter::Machine;
use interpreter::raise::Raise;
use serde_json::{Map, Value};
use tokenizers::models::ModelWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::utils::padding::{PaddingDirection, PaddingParams, PaddingStrategy, pad_encodings};
use tokenizers::utils::truncation::{TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings};
use tokenizers::{
    Decoder as _, Model as _, NormalizedString, OffsetType, PostProcessor as _, PreTokenizedString, PreTokenizer as _,
};

use crate::chat::Template;
use crate::config::read_optional;
use crate::error::LoadError;

/// Steps of the job for each byte of text: encoding takes about a microsecond a byte.
const STEPS: u64 = 8;

/// Bytes of memory for each byte of text while it is encoded, about: pieces, their tokens and where they lie.
const MEMORY: u64 = 300;

/// Text to ids and back, by `tokenizer.json`.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// What the checkpoint calls its special tokens, with their ids, in Hugging Face's order.
    special: Vec<(&'static str, String, i64)>,
    clean_up: bool,
    longest: Option<usize>,
    model_max_length: Option<i64>,
    input_names: Vec<String>,
    truncate_left: bool,
    chat: Option<Template>,
}

const SPECIAL: [(&str, &str); 7] = [
    ("bos_token", "bos_token_id"),
    ("eos_token", "eos_token_id"),
    ("unk_token", "unk_token_id"),
    ("sep_token", "sep_token_id"),
    ("pad_token", "pad_token_id"),
    ("cls_token", "cls_token_id"),
    ("mask_token", "mask_token_id"),
];

/// Lengths beyond which transformers takes `model_max_length` for none at all.
const LARGE: f64 = 1e20;

impl Tokenizer {
    /// Reads a model folder's `tokenizer.json`, and its special tokens from `tokenizer_config.json` or
    /// `special_tokens_map.json`.
    ///
    /// # Errors
    /// When there is no such file, or it cannot be understood.
    pub fn read(folder: &Path) -> Result<Self, LoadError> {
        let file = folder.join("tokenizer.json");
        let mut inner = tokenizers::Tokenizer::from_file(&file)
            .map_err(|error| LoadError::Tokenizer { file: file.clone(), reason: error.to_string() })?;
        // Each call says what it wants of these.
        inner.with_padding(None);
        let untruncated = inner.with_truncation(None).map(drop);
        untruncated.map_err(|error| LoadError::Tokenizer { file: file.clone(), reason: error.to_string() })?;
        let config = read_optional(&folder.join("tokenizer_config.json"))?;
        let map = read_optional(&folder.join("special_tokens_map.json"))?;
        let special = SPECIAL.iter().filter_map(|(name, _)| {
            let text = special_text(&config, name).or_else(|| special_text(&map, name))?;
            Some((*name, text.to_owned(), i64::from(inner.token_to_id(text)?)))
        });
        let special = special.collect();
        let flag = |name: &str| config.get(name).and_then(Value::as_bool).unwrap_or(false);
        // Made for WordPiece: transformers leaves the text of byte pairs alone, whatever the checkpoint says.
        let byte_pairs = matches!(inner.get_model(), ModelWrapper::BPE(_));
        let clean_up = flag("clean_up_tokenization_spaces")
            && (!byte_pairs || flag("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output"));
        let length = config.get("model_max_length").and_then(Value::as_f64).filter(|length| *length < LARGE);
        let names = config.get("model_input_names").and_then(Value::as_array);
        let names = names.map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        Ok(Self {
            longest: longest_token(&inner),
            inner,
            special,
            clean_up,
            model_max_length: length.map(|length| length as i64),
            input_names: names.unwrap_or_else(|| vec!["input_ids".into(), "attention_mask".into()]),
            chat: Template::read(folder, &config)?,
            truncate_left: config.get("truncation_side").and_then(Value::as_str) == Some("left"),
        })
    }

    /// Encodes one text, without the special tokens around it. The pieces into which it is cut are encoded one by one:
    /// between them the job pays, and may be ended or kept waiting.
    fn pieces(&self, machine: &Machine, text: &Text, type_id: u32, how: &How) -> Result<Own, Raise> {
        let offsets = if how.offsets { OffsetType::Char } else { OffsetType::None };
        // What truncation would cut off is not encoded to begin with.
        let limit =
            how.truncation.filter(|cut| !cut.overflowing && (cut.strategy != Strategy::OnlySecond || type_id != 0));
        let one = |text: &str, word: Option<u32>| -> Result<Own, Raise> {
            let vocabulary = self.inner.get_added_vocabulary();
            let mut cut: PreTokenizedString = vocabulary.extract_and_normalize(self.inner.get_normalizer(), text);
            if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
                pre_tokenizer.pre_tokenize(&mut cut).map_err(|error| refused(&*error))?;
            }
            let stopped: RefCell<Option<Raise>> = RefCell::new(None);
            let model = self.inner.get_model();
            let encode = |piece: &NormalizedString| {
                let text = piece.get();
                if let Err(raise) = machine.charge_fuel(STEPS * text.len() as u64) {
                    *stopped.borrow_mut() = Some(raise);
                    return Err("stopped".into());
                }
                model.tokenize(text)
            };
            let tokenized = match limit {
                Some(cut_to) => cut.tokenize_with_limit(encode, cut_to.length, self.direction()),
                None => cut.tokenize(encode),
            };
            match (tokenized, stopped.into_inner()) {
                (_, Some(raise)) => Err(raise),
                (Err(error), None) => Err(refused(&*error)),
                (Ok(()), None) => cut.into_encoding(word, type_id, offsets).map_err(|error| refused(&*error)),
            }
        };
        match text {
            Text::Whole(text) => one(text, None),
            Text::Words(words) => {
                let words = words.iter().enumerate();
                let each = words.map(|(at, word)| one(word, Some(u32::try_from(at).unwrap_or(u32::MAX))));
                Ok(Own::merge(each.collect::<Result<Vec<_>, _>>()?, false))
            }
        }
    }

    fn one(&self, machine: &Machine, source: &Source, how: &How) -> Result<Own, Raise> {
        let first = self.pieces(machine, &source.text, 0, how)?;
        let second = source.pair.as_ref().map(|pair| self.pieces(machine, pair, 1, how)).transpose()?;
        let (first, second) = match how.truncation {
            Some(truncation) => {
                let added = if how.special_tokens { self.added(second.is_some()) } else { 0 };
                let params = self.truncation(truncation, added);
                truncate_encodings(first, second, &params).map_err(|error| Raise::value_error(error.to_string()))?
            }
            None => (first, second),
        };
        self.inner.post_process(first, second, how.special_tokens).map_err(|error| refused(&*error))
    }

    fn truncation(&self, truncation: Truncation, added: usize) -> TruncationParams {
        TruncationParams {
            direction: self.direction(),
            // A length that has no room for the special tokens cuts nothing, as in tokenizers.
            max_length: truncation.length.checked_sub(added).unwrap_or(usize::MAX),
            strategy: match truncation.strategy {
                Strategy::LongestFirst => TruncationStrategy::LongestFirst,
                Strategy::OnlyFirst => TruncationStrategy::OnlyFirst,
                Strategy::OnlySecond => TruncationStrategy::OnlySecond,
            },
            stride: truncation.stride,
        }
    }

    fn direction(&self) -> TruncationDirection {
        if self.truncate_left { TruncationDirection::Left } else { TruncationDirection::Right }
    }

    fn added(&self, pair: bool) -> usize {
        self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(pair))
    }
}

/// A tokenizer's own form of an encoding.
type Own = tokenizers::Encoding;

fn refused(error: &(dyn std::error::Error + 'static)) -> Raise {
    Raise::value_error(format!("the tokenizer cannot encode the text: {error}"))
}

/// Returns the most bytes of text that one token stands for: only byte pairs over whatever bytes there are have such a
/// bound, since others make one token of any number of letters that they do not know.
fn longest_token(inner: &tokenizers::Tokenizer) -> Option<usize> {
    /// A normalizer may compose several characters to one.
    const COMPOSED: usize = 4;
    let ModelWrapper::BPE(model) = inner.get_model() else { return None };
    let bytes = |one: &PreTokenizerWrapper| matches!(one, PreTokenizerWrapper::ByteLevel(_));
    let cut_to_bytes = inner.get_pre_tokenizer().is_some_and(|pre_tokenizer| match pre_tokenizer {
        PreTokenizerWrapper::Sequence(sequence) => sequence.as_ref().iter().any(bytes),
        one => bytes(one),
    });
    // An added token may swallow any number of spaces around it.
    let swallows = inner.get_added_tokens_decoder().values().any(|token| token.lstrip || token.rstrip);
    if swallows || !(cut_to_bytes || model.byte_fallback) {
        return None;
    }
    let longest = inner.get_vocab(true).keys().map(String::len).max()?;
    Some(if inner.get_normalizer().is_some() { COMPOSED * longest } else { longest })
}

/// Returns a special token's text, written plainly or as an added token.
fn special_text<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let token = map.get(name)?;
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// Copies a tokenizer's own form.
fn copied(own: &Own, offsets: bool) -> Encoding {
    Encoding {
        ids: own.get_ids().to_vec(),
        type_ids: own.get_type_ids().to_vec(),
        tokens: if offsets { own.get_tokens().to_vec() } else { Vec::new() },
        words: own.get_word_ids().to_vec(),
        offsets: own.get_offsets().to_vec(),
        special_tokens_mask: own.get_special_tokens_mask().to_vec(),
        attention_mask: own.get_attention_mask().to_vec(),
        overflowing: own.get_overflowing().iter().map(|own| copied(own, offsets)).collect(),
        sequence_ranges: ranges(own),
    }
}

/// Returns which tokens each text became, special ones apart.
fn ranges(own: &Own) -> BTreeMap<usize, Range<usize>> {
    let mut ranges = BTreeMap::new();
    for (token, sequence) in own.get_sequence_ids().into_iter().enumerate() {
        if let Some(sequence) = sequence {
            ranges.entry(sequence).or_insert(token..token).end = token + 1;
        }
    }
    ranges
}

/// Bytes of memory that are given back when the text is encoded.
struct Lent<'m>(&'m Machine, u64);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.release_memory(self.1);
    }
}

impl engine::Tokenizer for Tokenizer {
    fn chat_template(&self) -> Option<&str> {
        self.chat.as_ref().map(Template::text)
    }

    fn render(&self, machine: &Machine, variables: &serde_json::Value) -> Result<Option<String>, Raise> {
        self.chat.as_ref().map(|chat| chat.render(machine, variables)).transpose()
    }

    fn encode(&self, machine: &Machine, sources: &[Source], how: &How) -> Result<Vec<Encoding>, Raise> {
        let memory = sources.iter().map(|source| MEMORY * source.bytes() as u64).sum();
        machine.charge_memory(memory)?;
        let _lent = Lent(machine, memory);
        if let Some(truncation) = how.truncation {
            let added = self.added(false);
            let room = truncation.length.wrapping_sub(added);
            if room < truncation.stride {
                return Err(Raise::value_error(format!(
                    "tokenizer stride set to {}, which is greater than or equal to its effective max length of {room} \
                     (= {} original max length - {added} added special tokens), ",
                    truncation.stride, truncation.length
                )));
            }
        }
        let mut all = sources.iter().map(|source| self.one(machine, source, how)).collect::<Result<Vec<_>, Raise>>()?;
        if let Some(Padding { length, multiple_of, left, token }) = how.padding {
            // Padding is paid like text.
            let longest = all.iter().map(Own::len).max().unwrap_or(0).max(length.unwrap_or(0)) as u64;
            machine.charge_fuel(STEPS * longest * all.len() as u64)?;
            let filled = longest.saturating_mul(all.len() as u64).saturating_mul(80);
            machine.charge_memory(filled)?;
            let _filling = Lent(machine, filled);
            let params = PaddingParams {
                strategy: length.map_or(PaddingStrategy::BatchLongest, PaddingStrategy::Fixed),
                direction: if left { PaddingDirection::Left } else { PaddingDirection::Right },
                pad_to_multiple_of: multiple_of,
                pad_id: u32::try_from(token).unwrap_or(0),
                pad_type_id: 0,
                pad_token: self.token(token).unwrap_or_default(),
            };
            pad_encodings(&mut all, &params).map_err(|error| refused(&*error))?;
        }
        Ok(all.iter().map(|own| copied(own, how.offsets)).collect())
    }

    fn decode(&self, ids: &[i64], skip_special_tokens: bool, clean_up: Option<bool>) -> Result<String, Raise> {
        let id = |&id: &i64| {
            let fits = u32::try_from(id);
            fits.map_err(|_| {
                let edge = if id < 0 { "small" } else { "large" };
                let message = format!("number too {edge} to fit in target type");
                Raise::new(interpreter::Kind::OverflowError, message)
            })
        };
        let ids: Vec<u32> = ids.iter().map(id).collect::<Result<_, _>>()?;
        let text = self
            .inner
            .decode(&ids, skip_special_tokens)
            .map_err(|error| Raise::value_error(format!("the tokenizer cannot decode the ids: {error}")))?;
        let byte_pairs = matches!(self.inner.get_model(), ModelWrapper::BPE(_));
        let wanted = match clean_up {
            Some(wanted) => wanted && (!byte_pairs || self.clean_up),
            None => self.clean_up,
        };
        Ok(if wanted { clean(&text) } else { text })
    }

    fn join(&self, tokens: Vec<String>) -> Result<String, Raise> {
        match self.inner.get_decoder() {
            Some(decoder) => decoder
                .decode(tokens)
                .map_err(|error| Raise::value_error(format!("the tokenizer cannot decode the tokens: {error}"))),
            None => Ok(tokens.join(" ")),
        }
    }

    fn specials(&self) -> Vec<(&'static str, String)> {
        self.special.iter().map(|(name, text, _)| (*name, text.clone())).collect()
    }

    fn special(&self, name: &str) -> Option<i64> {
        let (name, _) = SPECIAL.iter().find(|(_, id)| *id == name)?;
        self.special.iter().find(|(known, ..)| known == name).map(|(.., id)| *id)
    }

    fn token(&self, id: i64) -> Option<String> {
        self.inner.id_to_token(u32::try_from(id).ok()?)
    }

    fn id(&self, token: &str) -> Option<i64> {
        self.inner.token_to_id(token).map(i64::from)
    }

    fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    fn base_vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(false)
    }

    fn vocabulary(&self, added: bool) -> Vec<(String, i64)> {
        let mut all: Vec<(String, i64)> = if added {
            let decoder = self.inner.get_added_tokens_decoder();
            decoder.into_iter().map(|(id, token)| (token.content, i64::from(id))).collect()
        } else {
            self.inner.get_vocab(true).into_iter().map(|(token, id)| (token, i64::from(id))).collect()
        };
        all.sort_unstable_by_key(|(_, id)| *id);
        all
    }

    fn added_tokens(&self, pair: bool) -> usize {
        self.added(pair)
    }

    fn longest_token(&self) -> Option<usize> {
        self.longest
    }

    fn model_max_length(&self) -> Option<i64> {
        self.model_max_length
    }

    fn input_names(&self) -> Vec<String> {
        self.input_names.clone()
    }
}

/// Removes the spaces before punctuation that older checkpoints' decoding leaves.
fn clean(text: &str) -> String {
    const PAIRS: [(&str, &str); 10] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    PAIRS.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
