//! The tokenizer that a GGUF file has, as the `tokenizers` library writes it down. Byte-level ones, whose merges the file has
//! with its tokens.

use serde_json::{Map, Value, json};

use super::source::Source;
use crate::error::LoadError;
use crate::gguf::Metadata;

/// How text is cut before its bytes are merged, by the name that files have for it.
struct Cut {
    name: &'static str,
    normalizer: Option<&'static str>,
    way: Way,
    /// A word that is a token is not put together of its parts.
    whole_words: bool,
    /// A text begins with the token for that, where the file does not say.
    begins: bool,
}

enum Way {
    /// GPT-2's own, perhaps with each digit by itself.
    Plain {
        digits: bool,
    },
    Pattern(&'static str),
}

const CUTS: [Cut; 5] = [
    Cut { name: "gpt-2", normalizer: None, way: Way::Plain { digits: false }, whole_words: false, begins: false },
    Cut { name: "smollm", normalizer: None, way: Way::Plain { digits: true }, whole_words: false, begins: false },
    Cut { name: "qwen2", normalizer: Some("NFC"), way: Way::Pattern(QWEN2), whole_words: false, begins: false },
    Cut {
        name: "deepseek-r1-qwen",
        normalizer: Some("NFC"),
        way: Way::Pattern(QWEN2),
        whole_words: false,
        begins: true,
    },
    Cut { name: "llama-bpe", normalizer: None, way: Way::Pattern(LLAMA3), whole_words: true, begins: true },
];

const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Types of tokens, as llama.cpp numbers them: text is never split into these unless it names one.
const CONTROL: usize = 3;
const USER_DEFINED: usize = 4;

/// Tokens with a meaning, by the name that files have for them, and Hugging Face's.
pub const SPECIAL: [(&str, &str); 4] =
    [("bos", "bos_token"), ("eos", "eos_token"), ("padding", "pad_token"), ("unknown", "unk_token")];

impl Source<'_> {
    fn cut(&self) -> Result<&'static Cut, LoadError> {
        let model = self.metadata("tokenizer.ggml.model")?.text().unwrap_or_default();
        if model != "gpt2" {
            let kind = match model {
                "llama" | "t5" => "SentencePiece's, ",
                "bert" => "WordPiece, ",
                _ => "",
            };
            return Err(self.wrong(format!(
                "its tokenizer is {kind}of the kind {model:?}, and byte-level BPE (\"gpt2\") is supported; serve the folder \
                 that was quantised, which has a tokenizer.json of its own, instead"
            )));
        }
        let name = self.gguf.get("tokenizer.ggml.pre").and_then(Metadata::text).unwrap_or("gpt-2");
        CUTS.iter().find(|cut| cut.name == name).ok_or_else(|| {
            let names = CUTS.map(|cut| cut.name).join(", ");
            self.wrong(format!("its tokenizer cuts text as {name:?}; supported are {names}"))
        })
    }

    /// Returns the token that a text begins with, if it does with one.
    fn first(&self) -> Result<Option<(usize, &str)>, LoadError> {
        let begins = match self.gguf.get("tokenizer.ggml.add_bos_token") {
            Some(Metadata::Bool(begins)) => *begins,
            _ => self.cut()?.begins,
        };
        let first = if begins { self.token("bos")? } else { None };
        first.map(|id| Ok((id, self.token_text(id)?))).transpose()
    }

    /// Returns a special token's id, if the file has one.
    pub fn token(&self, name: &str) -> Result<Option<usize>, LoadError> {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let Some(given) = self.gguf.get(&key) else { return Ok(None) };
        let count = self.tokens()?.len();
        let id = given.size().filter(|id| *id < count);
        id.map(Some).ok_or_else(|| self.wrong(format!("{key} is no token")))
    }

    pub fn tokens(&self) -> Result<&[Metadata], LoadError> {
        self.metadata("tokenizer.ggml.tokens")?.list().ok_or_else(|| self.wrong("its tokens are no list"))
    }

    fn token_text(&self, id: usize) -> Result<&str, LoadError> {
        let text = self.tokens()?.get(id).and_then(Metadata::text);
        text.ok_or_else(|| self.wrong(format!("token {id} is no text")))
    }

    /// Writes down `tokenizer.json`.
    pub fn tokenizer(&self) -> Result<Value, LoadError> {
        let cut = self.cut()?;
        let count = self.tokens()?.len();
        let kinds = self.metadata("tokenizer.ggml.token_type")?.list().unwrap_or_default();
        let merges = self.metadata("tokenizer.ggml.merges")?.list().unwrap_or_default();
        let mut vocabulary = Map::with_capacity(count);
        let mut added = Vec::new();
        for id in 0..count {
            let token = self.token_text(id)?;
            if vocabulary.insert(token.into(), id.into()).is_some() {
                return Err(self.wrong(format!("token {id}, {token:?}, is there twice")));
            }
            if let Some(kind @ (CONTROL | USER_DEFINED)) = kinds.get(id).and_then(Metadata::size) {
                added.push(json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": kind == CONTROL,
                }));
            }
        }
        let pair = |merge: &Metadata| {
            let (left, right) = merge.text()?.split_once(' ')?;
            Some(json!([left, right]))
        };
        let merges: Option<Vec<Value>> = merges.iter().map(pair).collect();
        let merges = merges.ok_or_else(|| self.wrong("its merges are no pairs of tokens"))?;
        let byte_level = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
        let pieces = match cut.way {
            Way::Plain { digits: false } => vec![byte_level(true)],
            Way::Plain { digits: true } => vec![json!({"type": "Digits", "individual_digits": true}), byte_level(true)],
            Way::Pattern(pattern) => {
                let split =
                    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
                vec![split, byte_level(false)]
            }
        };
        Ok(json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": cut.normalizer.map(|name| json!({"type": name})),
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": pieces},
            "post_processor": self.first()?.map(|(id, token)| beginning(id, token)),
            "decoder": byte_level(true),
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": cut.whole_words,
                "vocab": vocabulary, "merges": merges,
            },
        }))
    }

    /// Writes down `tokenizer_config.json`.
    pub fn tokenizer_config(&self, longest: usize) -> Result<Value, LoadError> {
        let mut config = json!({
            "add_prefix_space": false,
            "chat_template": self.gguf.get("tokenizer.chat_template").and_then(Metadata::text),
            "clean_up_tokenization_spaces": false,
            "model_max_length": longest,
            "tokenizer_class": "PreTrainedTokenizerFast",
        });
        for (name, own) in SPECIAL {
            if let Some(id) = self.token(name)? {
                config[own] = self.token_text(id)?.into();
            }
        }
        Ok(config)
    }
}

/// What puts a token before each text.
fn beginning(id: usize, token: &str) -> Value {
    let special = json!({"SpecialToken": {"id": token, "type_id": 0}});
    let text = |name: &str, type_id: usize| json!({"Sequence": {"id": name, "type_id": type_id}});
    let second = json!({"SpecialToken": {"id": token, "type_id": 1}});
    json!({
        "type": "TemplateProcessing",
        "single": [special, text("A", 0)],
        "pair": [special, text("A", 0), second, text("B", 1)],
        "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}},
    })
}
