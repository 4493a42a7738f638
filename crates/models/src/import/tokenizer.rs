//! The tokenizer that a GGUF file has, as the `tokenizers` library writes it down: byte-level ones, whose merges the file has
//! with its tokens, and [SentencePiece's](super::sentencepiece).

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

/// How a file's tokenizer takes text apart.
enum Kind {
    Bytes(&'static Cut),
    Pieces,
}

impl Source<'_> {
    fn kind(&self) -> Result<Kind, LoadError> {
        let model = self.metadata("tokenizer.ggml.model")?.text().unwrap_or_default();
        let kind = match model {
            "gpt2" => return self.cut().map(Kind::Bytes),
            "llama" => return Ok(Kind::Pieces),
            "t5" => "SentencePiece's unigrams, ",
            "bert" => "WordPiece, ",
            _ => "",
        };
        Err(self.wrong(format!(
            "its tokenizer is {kind}of the kind {model:?}, and byte-level BPE (\"gpt2\") and SentencePiece's BPE (\"llama\") are \
             supported; serve the folder that was quantised, which has a tokenizer.json of its own, instead"
        )))
    }

    fn cut(&self) -> Result<&'static Cut, LoadError> {
        let name = self.gguf.get("tokenizer.ggml.pre").and_then(Metadata::text).unwrap_or("gpt-2");
        CUTS.iter().find(|cut| cut.name == name).ok_or_else(|| {
            let names = CUTS.map(|cut| cut.name).join(", ");
            self.wrong(format!("its tokenizer cuts text as {name:?}; supported are {names}"))
        })
    }

    /// Returns the tokens that a text begins and ends with, if it does with any.
    fn ends(&self, begins: bool) -> Result<[Option<(usize, &str)>; 2], LoadError> {
        let end = |key: &str, name: &str, otherwise: bool| -> Result<Option<(usize, &str)>, LoadError> {
            let put = match self.gguf.get(key) {
                Some(Metadata::Bool(put)) => *put,
                _ => otherwise,
            };
            let id = if put { self.token(name)? } else { None };
            id.map(|id| Ok((id, self.token_text(id)?))).transpose()
        };
        Ok([end("tokenizer.ggml.add_bos_token", "bos", begins)?, end("tokenizer.ggml.add_eos_token", "eos", false)?])
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

    pub fn token_text(&self, id: usize) -> Result<&str, LoadError> {
        let text = self.tokens()?.get(id).and_then(Metadata::text);
        text.ok_or_else(|| self.wrong(format!("token {id} is no text")))
    }

    /// Writes down `tokenizer.json`.
    pub fn tokenizer(&self) -> Result<Value, LoadError> {
        let (begins, mut tokenizer) = match self.kind()? {
            Kind::Bytes(cut) => (cut.begins, self.bytes(cut)?),
            // As llama.cpp has it where a file does not say.
            Kind::Pieces => (true, self.pieces()?),
        };
        tokenizer["version"] = "1.0".into();
        for absent in ["truncation", "padding"] {
            tokenizer[absent] = Value::Null;
        }
        tokenizer["added_tokens"] = self.added()?.into();
        tokenizer["post_processor"] = around(self.ends(begins)?);
        Ok(tokenizer)
    }

    /// Lists the tokens that are found in texts before anything else.
    fn added(&self) -> Result<Vec<Value>, LoadError> {
        let kinds = self.metadata("tokenizer.ggml.token_type")?.list().unwrap_or_default();
        let mut special = Vec::with_capacity(SPECIAL.len());
        if matches!(self.kind()?, Kind::Pieces) {
            for (name, _) in SPECIAL {
                special.extend(self.token(name)?);
            }
        }
        let mut added = Vec::new();
        for id in 0..self.tokens()?.len() {
            let kind = kinds.get(id).and_then(Metadata::size);
            let special = kind == Some(CONTROL) || special.contains(&id);
            if special || kind == Some(USER_DEFINED) {
                added.push(json!({
                    "id": id, "content": self.token_text(id)?, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": special,
                }));
            }
        }
        Ok(added)
    }

    /// Returns all tokens with their ids.
    pub fn vocabulary(&self) -> Result<Map<String, Value>, LoadError> {
        let count = self.tokens()?.len();
        let mut vocabulary = Map::with_capacity(count);
        for id in 0..count {
            let token = self.token_text(id)?;
            if vocabulary.insert(token.into(), id.into()).is_some() {
                return Err(self.wrong(format!("token {id}, {token:?}, is there twice")));
            }
        }
        Ok(vocabulary)
    }

    /// Returns the pairs that become one token, in their order.
    pub fn merges(&self) -> Result<Vec<[String; 2]>, LoadError> {
        let merges = self.metadata("tokenizer.ggml.merges")?.list().unwrap_or_default();
        let pair = |merge: &Metadata| {
            let (left, right) = merge.text()?.split_once(' ')?;
            Some([left.to_owned(), right.to_owned()])
        };
        merges.iter().map(pair).collect::<Option<_>>().ok_or_else(|| self.wrong("its merges are no pairs of tokens"))
    }

    /// Writes down what makes token ids of bytes.
    fn bytes(&self, cut: &Cut) -> Result<Value, LoadError> {
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
            "normalizer": cut.normalizer.map(|name| json!({"type": name})),
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": pieces},
            "decoder": byte_level(true),
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": cut.whole_words,
                "vocab": self.vocabulary()?, "merges": self.merges()?,
            },
        }))
    }

    /// Writes down `tokenizer_config.json`.
    pub fn tokenizer_config(&self, longest: usize) -> Result<Value, LoadError> {
        let mut config = json!({
            "add_prefix_space": matches!(self.kind()?, Kind::Pieces) && self.begins_with_space(),
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

/// What puts tokens before and behind each text; nothing where there are none.
fn around(ends: [Option<(usize, &str)>; 2]) -> Value {
    let [first, last] = ends;
    if first.is_none() && last.is_none() {
        return Value::Null;
    }
    let one = |sequence: &str, type_id: usize| -> Vec<Value> {
        let special = |end: Option<(usize, &str)>| {
            end.map(|(_, token)| json!({"SpecialToken": {"id": token, "type_id": type_id}}))
        };
        let text = json!({"Sequence": {"id": sequence, "type_id": type_id}});
        [special(first), Some(text), special(last)].into_iter().flatten().collect()
    };
    let tokens: Map<String, Value> = [first, last]
        .into_iter()
        .flatten()
        .map(|(id, token)| (token.to_owned(), json!({"id": token, "ids": [id], "tokens": [token]})))
        .collect();
    let pair = [one("A", 0), one("B", 1)].concat();
    json!({
        "type": "TemplateProcessing",
        "single": one("A", 0),
        "pair": pair,
        "special_tokens": tokens,
    })
}
