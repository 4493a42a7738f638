//! What a tokenizer is asked for, and what it makes of a text.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// One text, whole or cut into words by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    Whole(String),
    Words(Vec<String>),
}

impl Text {
    /// Returns the length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Whole(text) => text.len(),
            Self::Words(words) => words.iter().map(String::len).sum(),
        }
    }
}

/// What one encoding is made of: a text, or two that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub text: Text,
    pub pair: Option<Text>,
}

impl Source {
    /// Returns the length of both texts in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.bytes() + self.pair.as_ref().map_or(0, Text::bytes)
    }
}

/// How texts are encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct How {
    /// Whether the checkpoint's special tokens are added.
    pub special_tokens: bool,
    pub truncation: Option<Truncation>,
    pub padding: Option<Padding>,
    /// Whether somebody reads where in the text tokens lie.
    pub offsets: bool,
}

impl Default for How {
    fn default() -> Self {
        Self { special_tokens: true, truncation: None, padding: None, offsets: false }
    }
}

/// How long encodings may be, special tokens included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    pub length: usize,
    /// Tokens that an overflowing piece repeats of the one before.
    pub stride: usize,
    /// Whether somebody wants what is cut off.
    pub overflowing: bool,
    pub strategy: Strategy,
}

/// Which of two texts gives way, by Hugging Face's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    LongestFirst,
    OnlyFirst,
    OnlySecond,
}

/// How short encodings are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padding {
    /// `None` is the longest of all.
    pub length: Option<usize>,
    pub multiple_of: Option<usize>,
    pub left: bool,
    pub token: i64,
}

/// What became of one text or two, token by token. Its JSON is that of Hugging Face's tokenizers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoding {
    pub ids: Vec<u32>,
    pub type_ids: Vec<u32>,
    pub tokens: Vec<String>,
    pub words: Vec<Option<u32>>,
    /// In characters of the text.
    pub offsets: Vec<(usize, usize)>,
    pub special_tokens_mask: Vec<u32>,
    pub attention_mask: Vec<u32>,
    pub overflowing: Vec<Encoding>,
    /// Which tokens each of two texts became; empty where there is one text.
    pub sequence_ranges: BTreeMap<usize, Range<usize>>,
}

impl Encoding {
    /// Returns the bytes that it takes in memory, about.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let text: usize = self.tokens.iter().map(String::len).sum();
        let own = (80 * self.ids.len() + text) as u64;
        own + self.overflowing.iter().map(Self::memory).sum::<u64>()
    }

    /// Returns how many texts it was made of.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.sequence_ranges.len().max(1)
    }

    /// Returns the tokens of one of the texts.
    #[must_use]
    pub fn range(&self, sequence: usize) -> Range<usize> {
        match (self.sequence_ranges.get(&sequence), sequence) {
            (Some(range), _) => range.clone(),
            (None, 0) if self.sequence_ranges.is_empty() => 0..self.ids.len(),
            _ => 0..0,
        }
    }

    /// Returns which text each token is of; `None` for special tokens.
    #[must_use]
    pub fn sequence_ids(&self) -> Vec<Option<usize>> {
        let mut ids = vec![None; self.ids.len()];
        for sequence in 0..self.sequences() {
            for slot in ids.get_mut(self.range(sequence)).unwrap_or_default() {
                *slot = Some(sequence);
            }
        }
        ids
    }

    /// Returns which text a token is of.
    #[must_use]
    pub fn sequence_of(&self, token: usize) -> Option<usize> {
        if token >= self.ids.len() {
            return None;
        }
        (0..self.sequences()).find(|&sequence| self.range(sequence).contains(&token))
    }

    /// Returns the tokens of a word.
    #[must_use]
    pub fn word_to_tokens(&self, word: u32, sequence: usize) -> Option<(usize, usize)> {
        let range = self.range(sequence);
        let is = |token: &usize| self.words.get(*token).copied().flatten() == Some(word);
        let first = range.clone().find(is)?;
        let end = range.skip_while(|token| *token < first).take_while(is).last()? + 1;
        Some((first, end))
    }

    /// Returns the characters of a word.
    #[must_use]
    pub fn word_to_chars(&self, word: u32, sequence: usize) -> Option<(usize, usize)> {
        let (start, end) = self.word_to_tokens(word, sequence)?;
        Some((self.offsets.get(start)?.0, self.offsets.get(end.checked_sub(1)?)?.1))
    }

    /// Returns the characters of a token.
    #[must_use]
    pub fn token_to_chars(&self, token: usize) -> Option<(usize, usize)> {
        self.sequence_of(token)?;
        self.offsets.get(token).copied()
    }

    /// Returns the word of a token.
    #[must_use]
    pub fn token_to_word(&self, token: usize) -> Option<u32> {
        self.sequence_of(token)?;
        self.words.get(token).copied().flatten()
    }

    /// Returns the token that a character is in.
    #[must_use]
    pub fn char_to_token(&self, character: usize, sequence: usize) -> Option<usize> {
        let inside =
            |token: &usize| self.offsets.get(*token).is_some_and(|&(start, end)| start <= character && character < end);
        self.range(sequence).find(inside)
    }

    /// Returns the word that a character is in.
    #[must_use]
    pub fn char_to_word(&self, character: usize, sequence: usize) -> Option<u32> {
        self.token_to_word(self.char_to_token(character, sequence)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Encoding {
        Encoding {
            ids: vec![9, 1, 2, 3, 4],
            words: vec![None, Some(0), Some(0), Some(1), Some(0)],
            offsets: vec![(0, 0), (0, 2), (2, 5), (5, 8), (0, 3)],
            sequence_ranges: [(0, 1..4), (1, 4..5)].into(),
            ..Encoding::default()
        }
    }

    #[test]
    fn tokens_words_and_characters_find_each_other() {
        let encoding = pair();
        assert_eq!(encoding.sequence_ids(), [None, Some(0), Some(0), Some(0), Some(1)]);
        assert_eq!(encoding.word_to_tokens(0, 0), Some((1, 3)));
        assert_eq!(encoding.word_to_tokens(0, 1), Some((4, 5)));
        assert_eq!(encoding.word_to_chars(0, 0), Some((0, 5)));
        assert_eq!((encoding.char_to_token(3, 0), encoding.char_to_token(3, 1)), (Some(2), None));
        assert_eq!((encoding.char_to_word(6, 0), encoding.token_to_word(0)), (Some(1), None));
        assert_eq!((encoding.token_to_chars(3), encoding.token_to_chars(5)), (Some((5, 8)), None));
    }
}
