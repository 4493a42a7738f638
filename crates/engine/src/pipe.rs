//! `model.pipe(…)`: what transformers' text-generation pipeline makes of a generation.

use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Machine, Value};

use crate::model::{Model, Tokenizer};
use crate::{prompt, python};

/// How tokens become the pipeline's records.
pub struct Pipe {
    texts: Vec<String>,
    returns: Returns,
    skip_special_tokens: bool,
    clean_up: Option<bool>,
}

/// What a record has of its row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Returns {
    FullText,
    NewText,
    Tokens,
}

impl Pipe {
    /// Reads what a pipeline was called with. `settings` are those of the generation, to which the pipeline adds its own
    /// where neither the caller nor the checkpoint says anything.
    ///
    /// # Errors
    /// `ValueError` for input that is no text, for arguments that contradict each other, and for those that are not
    /// supported.
    pub fn read<M: Model>(
        model: &M,
        args: &[Value],
        kwargs: &[(Rc<str>, Value)],
        settings: &mut Vec<(Rc<str>, Value)>,
    ) -> Result<Self, Raise> {
        let Some(texts) = args.first().and_then(prompt::texts).filter(|_| args.len() == 1) else {
            return Err(Raise::value_error("model.pipe() takes a text or a list of texts on this server"));
        };
        let given = |name: &str| {
            let found = kwargs.iter().find(|(other, _)| &**other == name).map(|(_, value)| value.clone());
            found.filter(|value| !matches!(value, Value::None))
        };
        let flag = |name: &str| match given(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(Raise::type_error(format!("`{name}` has to be True or False"))),
        };
        let refused = ["prefix", "return_type"].into_iter().filter(|name| given(name).is_some());
        if let Some(refused) = refused.filter_map(program::refusals::of_pipe).next() {
            return Err(Raise::value_error(refused));
        }
        if given("num_return_sequences").is_some_and(|count| count.as_int() != Some(1)) {
            return Err(Raise::value_error("`num_return_sequences` of model.pipe() is not supported by this server"));
        }
        let (full, text) = (flag("return_full_text")?, given("return_text").is_some());
        let tokens = given("return_tensors").is_some();
        let exclusive =
            |one: &str, other: &str| Err(Raise::value_error(format!("`{one}` is mutually exclusive with `{other}`")));
        let returns = match full {
            Some(_) if text => return exclusive("return_text", "return_full_text"),
            Some(_) if tokens => return exclusive("return_full_text", "return_tensors"),
            Some(true) => Returns::FullText,
            Some(false) => Returns::NewText,
            None if tokens && text => return exclusive("return_text", "return_tensors"),
            None if tokens => Returns::Tokens,
            None => Returns::FullText,
        };
        settings.retain(|(name, _)| !matches!(&**name, "batch_size" | "num_workers"));
        let known: Vec<Rc<str>> = settings.iter().map(|(name, _)| Rc::clone(name)).collect();
        let set = |name: &str| {
            let own = model.generation_settings().iter().find(|(known, _)| known == name).map(|(_, value)| value);
            (known.iter().any(|known| &**known == name), own)
        };
        let samples = match settings.iter().find(|(name, _)| &**name == "do_sample") {
            Some((_, value)) => matches!(value, Value::Bool(true)),
            // Unless the checkpoint says no.
            None => set("do_sample").1.is_none_or(|value| *value == true),
        };
        let set = |name: &str| set(name).0 || set(name).1.is_some();
        let pad = Value::Int(prompt::pad_token(&*model.tokenizer()));
        let defaults = [
            ("max_new_tokens", Value::Int(256), !set("max_length")),
            ("do_sample", Value::Bool(true), true),
            ("temperature", Value::Float(0.7), samples),
            ("pad_token_id", pad, true),
        ];
        for (name, value, applies) in defaults {
            if applies && !set(name) {
                settings.push((name.into(), value));
            }
        }
        let skip_special_tokens = flag("skip_special_tokens")?.unwrap_or(true);
        Ok(Self { texts, returns, skip_special_tokens, clean_up: flag("clean_up_tokenization_spaces")? })
    }

    /// Makes the records: a list for a text, and a list of lists for several.
    ///
    /// # Errors
    /// When a row cannot be decoded, and the machine's own when what the job may have is spent.
    pub fn records(
        &self,
        machine: &Machine,
        tokenizer: &dyn Tokenizer,
        sequences: &[Vec<i64>],
        prompt_length: i64,
    ) -> Result<Value, Raise> {
        let start = usize::try_from(prompt_length).unwrap_or(usize::MAX);
        let mut all = Vec::with_capacity(sequences.len());
        for (text, row) in self.texts.iter().zip(sequences) {
            machine.charge_fuel(row.len() as u64)?;
            let (name, value) = match self.returns {
                Returns::Tokens => {
                    ("generated_token_ids", python::list(machine, row.iter().copied().map(Value::Int).collect())?)
                }
                returns => {
                    let new = row.get(start..).unwrap_or_default();
                    let new = tokenizer.decode(new, self.skip_special_tokens, self.clean_up)?;
                    let before = if returns == Returns::FullText { text.as_str() } else { "" };
                    ("generated_text", Value::string(format!("{before}{new}")))
                }
            };
            let record = python::dict(machine, vec![(Value::string(name), value)])?;
            all.push(python::list(machine, vec![record])?);
        }
        match all.as_slice() {
            [one] => Ok(one.clone()),
            _ => python::list(machine, all),
        }
    }
}
