//! SentencePiece's tokenizers as GGUF files have them: pieces with scores, in the place of merges, and a token for each byte.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::source::Source;
use crate::error::LoadError;
use crate::gguf::Metadata;

/// What stands for a space in pieces.
const SPACE: &str = "▁";

impl Source<'_> {
    /// Returns whether a text is read as if it began with a space.
    pub fn begins_with_space(&self) -> bool {
        !matches!(self.gguf.get("tokenizer.ggml.add_space_prefix"), Some(Metadata::Bool(false)))
    }

    /// Writes down what makes token ids of text, and text of them: the parts of `tokenizer.json` that differ from those of
    /// byte-level tokenizers.
    pub fn pieces(&self) -> Result<Value, LoadError> {
        let prefix = self.begins_with_space();
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if prefix {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let scheme = if prefix { "first" } else { "never" };
        Ok(json!({
            "normalizer": null,
            "pre_tokenizer": {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": false},
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                "vocab": self.vocabulary()?, "merges": self.merges_of_pieces()?,
            },
        }))
    }

    /// Returns the merges that a file has, or those that its pieces and their scores mean.
    fn merges_of_pieces(&self) -> Result<Vec<[String; 2]>, LoadError> {
        if self.gguf.get("tokenizer.ggml.merges").is_some() {
            return self.merges();
        }
        let scores = self.metadata("tokenizer.ggml.scores")?.list().unwrap_or_default();
        let count = self.tokens()?.len();
        if scores.len() != count {
            return Err(self.wrong(format!("it has {} scores for {count} tokens", scores.len())));
        }
        let mut pieces = Vec::with_capacity(count);
        for (id, score) in scores.iter().enumerate() {
            let score = score.number().filter(|score| !score.is_nan());
            let score = score.ok_or_else(|| self.wrong(format!("the score of token {id} is no number")))?;
            pieces.push((self.token_text(id)?, score));
        }
        Ok(implied(&pieces))
    }
}

/// Returns every way to put a piece together of two, best first: by score, then the longer ones. Pieces that are given
/// earlier come first where nothing else tells.
fn implied(pieces: &[(&str, f64)]) -> Vec<[String; 2]> {
    let ids: HashMap<&str, usize> = pieces.iter().enumerate().map(|(id, (piece, _))| (*piece, id)).collect();
    let mut merges = Vec::new();
    for (piece, score) in pieces {
        let mut own = Vec::new();
        for (at, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(at);
            if let (Some(first), Some(second)) = (ids.get(left), ids.get(right)) {
                own.push(((*first, *second), (*score, left.chars().count(), right.chars().count()), [left, right]));
            }
        }
        own.sort_by_key(|(ids, ..)| *ids);
        merges.extend(own.into_iter().map(|(_, key, parts)| (key, parts)));
    }
    // Neither not-a-number nor an order of equals: scores are numbers, and the sort is stable.
    merges.sort_by(|(left, _), (right, _)| right.partial_cmp(left).unwrap_or(std::cmp::Ordering::Equal));
    merges.into_iter().map(|(_, parts)| parts.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_come_by_score_then_by_length() {
        let pieces = [
            ("a", -9.0),
            ("b", -9.0),
            ("ab", -2.0),
            ("bb", -1.0),
            ("abb", -2.0),
            ("é", -9.0),
            ("éa", -2.0),
            ("x", 0.0),
        ];
        let found = implied(&pieces);
        let expected = [["b", "b"], ["ab", "b"], ["a", "bb"], ["a", "b"], ["é", "a"]];
        assert_eq!(found, expected.map(|parts| parts.map(str::to_owned)));
    }
}
