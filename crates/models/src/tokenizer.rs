//! A checkpoint's tokenizer.

use std::path::Path;

use interpreter::raise::Raise;
use serde_json::{Map, Value};

use crate::config::read_optional;
use crate::error::LoadError;

/// Text to ids and back, by `tokenizer.json`.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Ids of `eos_token`, `bos_token`, `pad_token` and `unk_token`, as far as the checkpoint names them.
    special: Vec<(&'static str, i64)>,
    clean_up: bool,
}

const SPECIAL: [(&str, &str); 4] = [
    ("eos_token", "eos_token_id"),
    ("bos_token", "bos_token_id"),
    ("pad_token", "pad_token_id"),
    ("unk_token", "unk_token_id"),
];

impl Tokenizer {
    /// Reads a model folder's `tokenizer.json`, and its special tokens from `tokenizer_config.json` or
    /// `special_tokens_map.json`.
    ///
    /// # Errors
    /// When there is no such file, or it cannot be understood.
    pub fn read(folder: &Path) -> Result<Self, LoadError> {
        let file = folder.join("tokenizer.json");
        let inner = tokenizers::Tokenizer::from_file(&file)
            .map_err(|error| LoadError::Tokenizer { file: file.clone(), reason: error.to_string() })?;
        let config = read_optional(&folder.join("tokenizer_config.json"))?;
        let map = read_optional(&folder.join("special_tokens_map.json"))?;
        let special = SPECIAL.iter().filter_map(|(name, id_name)| {
            let text = special_text(&config, name).or_else(|| special_text(&map, name))?;
            Some((*id_name, i64::from(inner.token_to_id(text)?)))
        });
        let special = special.collect();
        let clean_up = config.get("clean_up_tokenization_spaces").and_then(Value::as_bool).unwrap_or(false);
        Ok(Self { inner, special, clean_up })
    }
}

/// Returns a special token's text, written plainly or as an added token.
fn special_text<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let token = map.get(name)?;
    token.as_str().or_else(|| token.get("content")?.as_str())
}

impl engine::Tokenizer for Tokenizer {
    fn encode(&self, text: &str, special_tokens: bool) -> Result<Vec<i64>, Raise> {
        let encoding = self
            .inner
            .encode_fast(text, special_tokens)
            .map_err(|error| Raise::value_error(format!("the tokenizer cannot encode the text: {error}")))?;
        Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
    }

    fn decode(&self, ids: &[i64], skip_special_tokens: bool) -> Result<String, Raise> {
        let ids: Vec<u32> = ids
            .iter()
            .map(|&id| u32::try_from(id).map_err(|_| Raise::value_error(format!("{id} is no token id"))))
            .collect::<Result<_, _>>()?;
        let text = self
            .inner
            .decode(&ids, skip_special_tokens)
            .map_err(|error| Raise::value_error(format!("the tokenizer cannot decode the ids: {error}")))?;
        Ok(if self.clean_up { clean_up(&text) } else { text })
    }

    fn special(&self, name: &str) -> Option<i64> {
        self.special.iter().find(|(known, _)| *known == name).map(|(_, id)| *id)
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
}

/// Removes the spaces before punctuation that older checkpoints' decoding leaves.
fn clean_up(text: &str) -> String {
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
