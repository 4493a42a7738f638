//! `model.tokenizer`, and the encodings it makes.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, Effect, HostObject, HostResult, Machine, Outcome, Use, Value};

use crate::job::JobState;
use crate::model::{Model, Tensor};
use crate::prompt::{self, Row};
use crate::python;

/// The checkpoint's tokenizer.
pub struct TokenizerObject<M: Model> {
    job: Rc<JobState<M>>,
}

impl<M: Model> TokenizerObject<M> {
    /// Makes the Python object of the job's tokenizer.
    pub fn new(job: Rc<JobState<M>>) -> Self {
        Self { job }
    }

    fn decode_one(&self, ids: &Value, skip: bool) -> Result<Value, Raise> {
        let ids = prompt::token_ids::<M::Tensor>(ids)?;
        Ok(Value::string(self.job.model.tokenizer().decode(&ids, skip)?))
    }

    fn encode(&self, machine: &Machine, args: &Args) -> HostResult {
        let input = python::parameter(args, 0, "text")
            .ok_or_else(|| Raise::type_error("the tokenizer needs the text to encode"))?;
        let special = python::flag(args, "add_special_tokens").unwrap_or(true);
        let tensors = match python::keyword(args, "return_tensors") {
            None | Some(Value::None) => false,
            Some(kind) => match python::string(&kind).as_deref() {
                Some("pt") => true,
                _ => return Err(Raise::value_error("return_tensors must be 'pt' or None on this server")),
            },
        };
        let tokenizer = self.job.model.tokenizer();
        let (texts, single) = match (python::string(&input), python::sequence(&input)) {
            (Some(text), _) => (vec![text], true),
            (None, Some(items)) => (
                items
                    .iter()
                    .map(|item| python::string(item).ok_or_else(|| Raise::type_error("the tokenizer takes text")))
                    .collect::<Result<_, _>>()?,
                false,
            ),
            _ => return Err(Raise::type_error("the tokenizer takes text or a list of texts")),
        };
        let rows = texts
            .iter()
            .map(|text| tokenizer.encode(text, special).map(Row::unpadded))
            .collect::<Result<Vec<_>, _>>()?;
        let padding = python::flag(args, "padding").unwrap_or(false);
        let fields = if tensors {
            let batch = prompt::pad_left(&rows, prompt::pad_token(&*tokenizer));
            let [ids, mask] =
                [batch.ids, batch.mask].map(|data| prompt::int_tensor::<M::Tensor>(batch.rows, batch.length, data));
            let [ids, mask] = [ids?, mask?].map(|tensor| self.job.model.place(tensor));
            vec![("input_ids", ids?.to_value(machine)), ("attention_mask", mask?.to_value(machine))]
        } else {
            let rows = if padding { prompt::pad_left(&rows, prompt::pad_token(&*tokenizer)).split() } else { rows };
            let lists = |pick: fn(&Row) -> &Vec<i64>| -> Result<Value, Raise> {
                let mut lists = rows
                    .iter()
                    .map(|row| python::list(machine, pick(row).iter().copied().map(Value::Int).collect()))
                    .collect::<Result<Vec<_>, _>>()?;
                if single { Ok(lists.pop().unwrap_or(Value::None)) } else { python::list(machine, lists) }
            };
            vec![("input_ids", lists(|row| &row.ids)?), ("attention_mask", lists(|row| &row.mask)?)]
        };
        Ok(Value::Host(Rc::new(crate::output::ModelOutput::new(
            "transformers.tokenization_utils_base.BatchEncoding",
            fields,
        )))
        .into())
    }
}

impl<M: Model> HostObject for TokenizerObject<M> {
    fn type_name(&self) -> Cow<'static, str> {
        "TokenizersBackend".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _machine: &Machine, name: &str, usage: Use<'_>) -> Effect {
        match name {
            "__call__" => Effect::Looks,
            name => effect(name, usage).unwrap_or(Effect::Anything),
        }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _machine: &Machine, name: &str) -> HostResult {
        let tokenizer = self.job.model.tokenizer();
        Ok(match name {
            "vocab_size" => Value::Int(i64::try_from(tokenizer.vocabulary_size()).unwrap_or(i64::MAX)).into(),
            "padding_side" => Value::string("left").into(),
            "pad_token_id" => Value::Int(prompt::pad_token(&*tokenizer)).into(),
            _ if name.ends_with("_token_id") => tokenizer.special(name).map_or(Value::None, Value::Int).into(),
            _ if name.ends_with("_token") => {
                let id = tokenizer.special(&format!("{name}_id"));
                id.and_then(|id| tokenizer.token(id)).map_or(Value::None, Value::string).into()
            }
            _ if METHODS.contains(&name) => {
                let name = name.to_owned();
                Value::native("method", move |machine, args| Rc::clone(&self).call_method(machine, &name, &args)).into()
            }
            _ => Outcome::NotImplemented,
        })
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        self.encode(machine, &args)
    }

    fn length(&self, _machine: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(self.job.model.tokenizer().vocabulary_size()))
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        let tokenizer = self.job.model.tokenizer();
        let first = || {
            args.positional
                .first()
                .cloned()
                .or_else(|| args.keyword.first().map(|(_, value)| value.clone()))
                .ok_or_else(|| Raise::type_error(format!("{name}() needs an argument")))
        };
        let skip = python::flag(args, "skip_special_tokens").unwrap_or(false);
        Ok(match name {
            "decode" => {
                // A batch decodes to a list, as in transformers 5.
                let ids = first()?;
                let nested = prompt::id_rows::<M::Tensor>(&ids).ok().flatten();
                match nested {
                    Some(rows) => {
                        let texts = rows.iter().map(|row| Ok(Value::string(tokenizer.decode(row, skip)?)));
                        python::list(machine, texts.collect::<Result<_, Raise>>()?)?.into()
                    }
                    None => self.decode_one(&ids, skip)?.into(),
                }
            }
            "batch_decode" => {
                let batch = first()?;
                let rows = match prompt::id_rows::<M::Tensor>(&batch)? {
                    Some(rows) => rows,
                    None => prompt::token_ids::<M::Tensor>(&batch)?.into_iter().map(|id| vec![id]).collect(),
                };
                let texts = rows.iter().map(|row| Ok(Value::string(tokenizer.decode(row, skip)?)));
                python::list(machine, texts.collect::<Result<_, Raise>>()?)?.into()
            }
            "encode" => {
                let text = python::string(&first()?).ok_or_else(|| Raise::type_error("encode() takes text"))?;
                let ids = tokenizer.encode(&text, python::flag(args, "add_special_tokens").unwrap_or(true))?;
                if python::keyword(args, "return_tensors").is_some_and(|kind| !matches!(kind, Value::None)) {
                    let length = i64::try_from(ids.len()).unwrap_or(i64::MAX);
                    self.job.model.place(prompt::int_tensor(1, length, ids)?)?.to_value(machine).into()
                } else {
                    python::list(machine, ids.into_iter().map(Value::Int).collect())?.into()
                }
            }
            "tokenize" => {
                let text = python::string(&first()?).ok_or_else(|| Raise::type_error("tokenize() takes text"))?;
                let tokens = tokenizer.encode(&text, false)?.into_iter().filter_map(|id| tokenizer.token(id));
                python::list(machine, tokens.map(Value::string).collect())?.into()
            }
            "convert_ids_to_tokens" => {
                let ids = first()?;
                match Value::as_int(&ids) {
                    Some(id) => tokenizer.token(id).map_or(Value::None, Value::string).into(),
                    None => {
                        let tokens = prompt::token_ids::<M::Tensor>(&ids)?.into_iter();
                        let tokens = tokens.map(|id| tokenizer.token(id).map_or(Value::None, Value::string));
                        python::list(machine, tokens.collect())?.into()
                    }
                }
            }
            "convert_tokens_to_ids" => {
                let id = |token: &Value| {
                    let token = python::string(token).ok_or_else(|| Raise::type_error("tokens are text"))?;
                    Ok(tokenizer
                        .id(&token)
                        .or_else(|| tokenizer.special("unk_token_id"))
                        .map_or(Value::None, Value::Int))
                };
                let tokens = first()?;
                match python::sequence(&tokens) {
                    Some(items) => python::list(machine, items.iter().map(id).collect::<Result<_, Raise>>()?)?.into(),
                    None => id(&tokens)?.into(),
                }
            }
            _ => Outcome::NotImplemented,
        })
    }
}

/// Says what using a name of the tokenizer does; `None` for names that it does not have.
pub fn effect(name: &str, usage: Use<'_>) -> Option<Effect> {
    let plain =
        matches!(name, "vocab_size" | "padding_side") || name.ends_with("_token") || name.ends_with("_token_id");
    match usage {
        Use::Store => None,
        Use::Read | Use::Call { .. } => (plain || METHODS.contains(&name)).then_some(Effect::Looks),
    }
}

const METHODS: [&str; 6] =
    ["decode", "batch_decode", "encode", "tokenize", "convert_ids_to_tokens", "convert_tokens_to_ids"];
