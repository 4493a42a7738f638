//! The arguments of `model.tokenizer(…)`, read as transformers reads them.

use std::rc::Rc;

use interpreter::raise::{Kind, Raise};
use interpreter::{Args, Value};

use crate::encoding::{How, Padding, Source, Strategy, Text, Truncation};
use crate::model::Tokenizer;
use crate::prompt;
use crate::python;

/// What a call of the tokenizer asks for.
pub struct Arguments {
    pub how: How,
    /// Which of an encoding's parts are returned, beside the ids.
    pub type_ids: bool,
    pub attention_mask: bool,
    pub special_tokens_mask: bool,
    pub offsets: bool,
    pub length: bool,
    pub overflowing: bool,
    pub tensors: Tensors,
    pub split_into_words: bool,
}

/// What lists of numbers become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tensors {
    Lists,
    PyTorch,
    NumPy,
}

/// Parameters of `__call__`, in order.
pub const CALL: [&str; 21] = [
    "text",
    "text_pair",
    "text_target",
    "text_pair_target",
    "add_special_tokens",
    "padding",
    "truncation",
    "max_length",
    "stride",
    "is_split_into_words",
    "pad_to_multiple_of",
    "padding_side",
    "return_tensors",
    "return_token_type_ids",
    "return_attention_mask",
    "return_overflowing_tokens",
    "return_special_tokens_mask",
    "return_offsets_mapping",
    "return_length",
    "verbose",
    "tokenizer_kwargs",
];

/// Parameters of `encode`, in order.
pub const ENCODE: [&str; 9] = [
    "text",
    "text_pair",
    "add_special_tokens",
    "padding",
    "truncation",
    "max_length",
    "stride",
    "padding_side",
    "return_tensors",
];

/// Parameters of `tokenize`, in order.
pub const TOKENIZE: [&str; 3] = ["text", "pair", "add_special_tokens"];

/// Gives every argument its name.
///
/// # Errors
/// `TypeError` for more arguments than there are names, and for one that is given twice.
pub fn named(method: &str, names: &[&'static str], args: &Args) -> Result<Vec<(Rc<str>, Value)>, Raise> {
    if args.positional.len() > names.len() {
        let (most, given) = (names.len() + 1, args.positional.len() + 1);
        let message = format!("{method}() takes from 1 to {most} positional arguments but {given} were given");
        return Err(Raise::type_error(message));
    }
    let mut all: Vec<(Rc<str>, Value)> =
        names.iter().zip(&args.positional).map(|(name, value)| (Rc::from(*name), value.clone())).collect();
    for (name, value) in &args.keyword {
        if all.iter().any(|(other, _)| other == name) {
            return Err(Raise::type_error(format!("{method}() got multiple values for argument '{name}'")));
        }
        all.push((Rc::clone(name), value.clone()));
    }
    // What stands in `tokenizer_kwargs` counts like an argument, and wins.
    let more = all.iter().position(|(name, _)| &**name == "tokenizer_kwargs").map(|at| all.remove(at).1);
    for (name, value) in more.as_ref().and_then(python::string_items).unwrap_or_default() {
        all.retain(|(other, _)| *other != name);
        all.push((name, value));
    }
    Ok(all)
}

/// Returns an argument that is there and not None.
pub fn given<'a>(all: &'a [(Rc<str>, Value)], name: &str) -> Option<&'a Value> {
    all.iter().find(|(other, value)| &**other == name && !matches!(value, Value::None)).map(|(_, value)| value)
}

impl Arguments {
    /// Reads arguments that have their names.
    ///
    /// # Errors
    /// The exceptions of transformers for values that make no sense, and a `ValueError` that names what this server does
    /// not support.
    pub fn read(tokenizer: &dyn Tokenizer, all: &[(Rc<str>, Value)]) -> Result<Self, Raise> {
        let flag = |name: &str| given(all, name).map(|value| truth(name, value)).transpose();
        let number = |name: &str| given(all, name).map(|value| count(name, value)).transpose();
        if flag("split_special_tokens")? == Some(true) {
            return Err(Raise::value_error("`split_special_tokens` of the tokenizer is not supported by this server"));
        }
        let names = tokenizer.input_names();
        let by_default = |name: &str| names.iter().any(|known| known == name);
        let return_type_ids = flag("return_token_type_ids")?.unwrap_or_else(|| by_default("token_type_ids"));
        let attention_mask = flag("return_attention_mask")?.unwrap_or_else(|| by_default("attention_mask"));
        let (truncation, padding) = strategies(tokenizer, all)?;
        let multiple_of = number("pad_to_multiple_of")?;
        if let (Some(length), Some(_), Some(multiple)) = (truncation.map(|(_, length)| length), &padding, multiple_of)
            && multiple > 0
            && length % multiple != 0
        {
            return Err(Raise::value_error(format!(
                "Truncation and padding are both activated but truncation length ({length}) is not a multiple of \
                 pad_to_multiple_of ({multiple})."
            )));
        }
        let left = match given(all, "padding_side").map(python::string) {
            None => true,
            Some(Some(side)) if side == "left" || side == "right" => side == "left",
            Some(side) => {
                let side = side.unwrap_or_default();
                let message = format!("Unknown `direction`: `{side}`. Use one of `left` or `right`");
                return Err(Raise::value_error(message));
            }
        };
        let stride = number("stride")?.unwrap_or(0);
        let overflowing = flag("return_overflowing_tokens")?.unwrap_or(false);
        let offsets = flag("return_offsets_mapping")?.unwrap_or(false);
        let tensors = match given(all, "return_tensors") {
            None => Tensors::Lists,
            Some(kind) => match python::string(kind).as_deref() {
                Some("pt") => Tensors::PyTorch,
                Some("np") => Tensors::NumPy,
                Some("mlx") => {
                    return Err(Raise::value_error("return_tensors='mlx' is not supported by this server"));
                }
                _ => return Err(no_member("TensorType", kind, "['pt', 'np', 'mlx']")),
            },
        };
        Ok(Self {
            how: How {
                special_tokens: flag("add_special_tokens")?.unwrap_or(true),
                truncation: truncation.map(|(strategy, length)| Truncation { length, stride, overflowing, strategy }),
                padding: padding.map(|length| Padding {
                    length,
                    multiple_of: multiple_of.filter(|multiple| *multiple > 0),
                    left,
                    token: prompt::pad_token(tokenizer),
                }),
                // Somebody may ask the encoding where its tokens lie.
                offsets: true,
            },
            type_ids: return_type_ids,
            attention_mask,
            special_tokens_mask: flag("return_special_tokens_mask")?.unwrap_or(false),
            offsets,
            length: flag("return_length")?.unwrap_or(false),
            overflowing,
            tensors,
            split_into_words: flag("is_split_into_words")?.unwrap_or(false),
        })
    }

    /// Reads the texts of a call. Returns whether they are a batch.
    ///
    /// # Errors
    /// The exceptions of transformers for what is no text.
    pub fn sources(&self, text: &Value, pair: Option<&Value>) -> Result<(Vec<Source>, bool), Raise> {
        let bad = || {
            Raise::value_error(
                "text input must be of type `str` (single example), `list[str]` (batch or single pretokenized \
                 example) or `list[list[str]]` (batch of pretokenized examples) or `list[tuple[list[str], list[str]]]` \
                 (batch of pretokenized sequence pairs).",
            )
        };
        let items = python::sequence(text);
        let nested =
            items.as_ref().and_then(|items| items.first()).is_some_and(|first| python::sequence(first).is_some());
        let batched = if self.split_into_words { nested } else { items.is_some() };
        let one = |value: &Value| -> Result<Text, Raise> {
            match (python::string(value), python::sequence(value)) {
                (Some(text), _) if !self.split_into_words => Ok(Text::Whole(text)),
                (None, Some(words)) if self.split_into_words => Ok(Text::Words(
                    words.iter().map(|word| python::string(word).ok_or_else(bad)).collect::<Result<_, _>>()?,
                )),
                _ => Err(bad()),
            }
        };
        if !batched {
            let pair = pair.map(one).transpose()?.filter(|pair| pair.bytes() > 0);
            return Ok((vec![Source { text: one(text)?, pair }], false));
        }
        let items = items.unwrap_or_default();
        let pairs = match pair {
            None => None,
            Some(pair) => Some(python::sequence(pair).ok_or_else(|| {
                Raise::type_error(
                    "when tokenizing batches of text, `text_pair` must be a list or tuple with the same length as `text`.",
                )
            })?),
        };
        if let Some(pairs) = &pairs
            && pairs.len() != items.len()
        {
            return Err(Raise::value_error(format!(
                "batch length of `text`: {} does not match batch length of `text_pair`: {}.",
                items.len(),
                pairs.len()
            )));
        }
        if items.is_empty() {
            return Err(Raise::index_error("list index out of range"));
        }
        let mut sources = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let pair = pairs.as_ref().and_then(|pairs| pairs.get(at)).map(one).transpose()?;
            sources.push(match (one(item), python::sequence(item)) {
                (Ok(text), _) => Source { text, pair },
                // A pair of texts in the place of one.
                (Err(_), Some(both)) if both.len() == 2 && pair.is_none() => {
                    let mut both = both.iter().map(one).collect::<Result<Vec<_>, _>>()?.into_iter();
                    Source { text: both.next().ok_or_else(bad)?, pair: both.next() }
                }
                (Err(raise), _) => return Err(raise),
            });
        }
        Ok((sources, true))
    }
}

/// How encodings are cut and to what length; and whether they are filled, to a length or that of the longest.
type Strategies = (Option<(Strategy, usize)>, Option<Option<usize>>);

/// Reads `padding`, `truncation` and `max_length`, which depend on each other.
fn strategies(tokenizer: &dyn Tokenizer, all: &[(Rc<str>, Value)]) -> Result<Strategies, Raise> {
    enum Fill {
        No,
        Longest,
        Length,
    }
    let written = |name: &str| all.iter().find(|(other, _)| &**other == name).map(|(_, value)| value);
    let max_length = given(all, "max_length");
    let fill = match written("padding") {
        None | Some(Value::Bool(false)) => Fill::No,
        Some(Value::Bool(true)) => Fill::Longest,
        Some(value) => match python::string(value).as_deref() {
            Some("longest") => Fill::Longest,
            Some("max_length") => Fill::Length,
            Some("do_not_pad") => Fill::No,
            _ => return Err(no_member("PaddingStrategy", value, "['longest', 'max_length', 'do_not_pad']")),
        },
    };
    let plain = matches!(written("padding"), None | Some(Value::Bool(false)));
    let cut = match written("truncation") {
        // A length alone means that it is kept to.
        None | Some(Value::None) if max_length.is_some() && plain => Some(Strategy::LongestFirst),
        None | Some(Value::None | Value::Bool(false)) => None,
        Some(Value::Bool(true)) => Some(Strategy::LongestFirst),
        Some(value) => match python::string(value).as_deref() {
            Some("longest_first") => Some(Strategy::LongestFirst),
            Some("only_first") => Some(Strategy::OnlyFirst),
            Some("only_second") => Some(Strategy::OnlySecond),
            Some("do_not_truncate") => None,
            _ => {
                let members = "['only_first', 'only_second', 'longest_first', 'do_not_truncate']";
                return Err(no_member("TruncationStrategy", value, members));
            }
        },
    };
    // A checkpoint without a length of its own neither cuts nor fills to it.
    let own = tokenizer.model_max_length().and_then(|length| usize::try_from(length).ok());
    let length = match max_length {
        Some(value) => Some(count("max_length", value)?),
        None => own,
    };
    let padding = match fill {
        Fill::No => None,
        Fill::Longest => Some(None),
        Fill::Length => length.map(Some),
    };
    Ok((cut.and_then(|strategy| Some((strategy, length?))), padding))
}

/// Makes the error of an enumeration that has no such member.
fn no_member(class: &str, value: &Value, members: &str) -> Raise {
    let shown = match value {
        Value::Str(text) => text.to_string(),
        other => {
            interpreter::format::repr_now(other).unwrap_or_else(|| interpreter::types::type_name(other).to_string())
        }
    };
    Raise::value_error(format!("{shown} is not a valid {class}, please select one of {members}"))
}

fn truth(name: &str, value: &Value) -> Result<bool, Raise> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::Int(number) => Ok(*number != 0),
        _ => Err(Raise::type_error(format!("`{name}` has to be True or False"))),
    }
}

fn count(name: &str, value: &Value) -> Result<usize, Raise> {
    let number = value.as_int().ok_or_else(|| Raise::type_error(format!("`{name}` has to be an integer")))?;
    usize::try_from(number).map_err(|_| Raise::new(Kind::OverflowError, "can't convert negative int to unsigned"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeModel;
    use crate::namespace::Namespace;

    fn read(arguments: &[(&str, Value)]) -> Result<Arguments, Raise> {
        let all: Vec<(Rc<str>, Value)> =
            arguments.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        Arguments::read(&*FakeModel::new().tokenizer(), &all)
    }

    #[test]
    fn padding_and_truncation_depend_on_each_other() {
        let cut = |arguments: &[(&str, Value)]| read(arguments).unwrap().how.truncation.map(|cut| cut.length);
        let fill = |arguments: &[(&str, Value)]| read(arguments).unwrap().how.padding.map(|fill| fill.length);
        let (three, yes) = (Value::Int(3), Value::Bool(true));
        assert_eq!(cut(&[("max_length", three.clone())]), Some(3), "a length alone is kept to");
        assert_eq!(cut(&[("max_length", three.clone()), ("padding", yes.clone())]), None);
        assert_eq!(cut(&[("max_length", three.clone()), ("truncation", Value::Bool(false))]), None);
        assert_eq!(cut(&[("truncation", yes.clone())]), None, "the toy tokenizer has no length of its own");
        assert_eq!(fill(&[("padding", yes)]), Some(None));
        assert_eq!(fill(&[("padding", "max_length".into()), ("max_length", three)]), Some(Some(3)));
        assert_eq!(fill(&[("padding", "max_length".into())]), None);
    }

    #[test]
    fn what_is_no_choice_is_refused_with_the_choices() {
        let message = |arguments: &[(&str, Value)]| read(arguments).err().unwrap().message();
        assert!(
            message(&[("padding", "most".into())]).starts_with("most is not a valid PaddingStrategy, please select")
        );
        assert!(message(&[("truncation", Value::Int(3))]).starts_with("3 is not a valid TruncationStrategy"));
        assert!(message(&[("return_tensors", "tf".into())]).ends_with("please select one of ['pt', 'np', 'mlx']"));
        assert!(message(&[("padding_side", "up".into())]).starts_with("Unknown `direction`: `up`"));
        assert!(message(&[("split_special_tokens", Value::Bool(true))]).contains("not supported by this server"));
        let multiple = [("pad_to_multiple_of", Value::Int(8)), ("max_length", Value::Int(5))];
        let both = [("padding", Value::Bool(true)), ("truncation", Value::Bool(true))];
        assert!(message(&[multiple, both].concat()).contains("is not a multiple of pad_to_multiple_of (8)"));
    }
}
