//! `model.tokenizer`: the checkpoint's tokenizer as blocks use it.

mod arguments;

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashSet;
use std::rc::Rc;

use interpreter::raise::{Kind, Raise};
use interpreter::{Args, Dict, Effect, HostObject, HostResult, Machine, Outcome, Use, Value};

use crate::batch_encoding::BatchEncoding;
use crate::chat::{self, Chat};
use crate::encoding::{Encoding, How};
use crate::job::JobState;
use crate::model::{Model, Tensor, Tokenizer};
use crate::prompt;
use crate::python;
use arguments::{Arguments, CALL, ENCODE, TOKENIZE, Tensors, given, named};

pub use arguments::Arguments as TokenizerArguments;

/// The checkpoint's tokenizer.
pub struct TokenizerObject<M: Model> {
    job: Rc<JobState<M>>,
}

impl<M: Model> TokenizerObject<M> {
    /// Makes the Python object of the job's tokenizer.
    pub fn new(job: Rc<JobState<M>>) -> Self {
        Self { job }
    }

    /// `tokenizer(text, …)`.
    fn encode(&self, machine: &Machine, args: &Args) -> Result<Value, Raise> {
        let all = named("__call__", &CALL, args)?;
        let (text, target) = (given(&all, "text"), given(&all, "text_target"));
        let encoded = text.map(|text| self.encoded(machine, text, given(&all, "text_pair"), &all)).transpose()?;
        let target =
            target.map(|text| self.encoded(machine, text, given(&all, "text_pair_target"), &all)).transpose()?;
        match (encoded, target) {
            (None, None) => Err(Raise::value_error("You need to specify either `text` or `text_target`.")),
            (Some(encoded), None) | (None, Some(encoded)) => Ok(encoded),
            (Some(encoded), Some(target)) => {
                let (data, labels) = (data_of(&encoded), data_of(&target));
                if let (Some(data), Some(ids)) = (data, labels.and_then(|labels| labels.get_string("input_ids"))) {
                    python::insert(machine, &Value::Dict(data), Value::string("labels"), ids)?;
                }
                Ok(encoded)
            }
        }
    }

    /// Encodes texts and makes the `BatchEncoding` of them.
    fn encoded(
        &self,
        machine: &Machine,
        text: &Value,
        pair: Option<&Value>,
        all: &[(Rc<str>, Value)],
    ) -> Result<Value, Raise> {
        let tokenizer = self.job.model.tokenizer();
        let arguments = Arguments::read(&*tokenizer, all)?;
        let (sources, batched) = arguments.sources(text, pair)?;
        let mut rows: Vec<Encoding> = Vec::new();
        let mut samples = Vec::new();
        for (sample, mut encoding) in (0..).zip(tokenizer.encode(machine, &sources, &arguments.how)?) {
            let overflowing = std::mem::take(&mut encoding.overflowing);
            rows.push(encoding);
            samples.push(sample);
            if arguments.overflowing {
                samples.extend(overflowing.iter().map(|_| sample));
                rows.extend(overflowing);
            }
        }
        let single = !batched && !arguments.overflowing && arguments.tensors == Tensors::Lists;
        let mut fields: Vec<(&str, Value)> = Vec::new();
        let mut field = |name: &'static str, read: fn(&Encoding) -> &Vec<u32>| -> Result<(), Raise> {
            let numbers = rows.iter().map(|row| read(row).iter().map(|&one| i64::from(one)).collect());
            let value = self.numbers(machine, name, numbers.collect(), arguments.tensors, single)?;
            fields.push((name, value));
            Ok(())
        };
        field("input_ids", |row| &row.ids)?;
        if arguments.type_ids {
            field("token_type_ids", |row| &row.type_ids)?;
        }
        if arguments.attention_mask {
            field("attention_mask", |row| &row.attention_mask)?;
        }
        if arguments.special_tokens_mask {
            field("special_tokens_mask", |row| &row.special_tokens_mask)?;
        }
        if arguments.offsets {
            fields.push(("offset_mapping", self.offsets(machine, &rows, arguments.tensors, single)?));
        }
        let flat = |name: &'static str, numbers: Vec<i64>| -> Result<(&str, Value), Raise> {
            let length = i64::try_from(numbers.len()).unwrap_or(i64::MAX);
            Ok((name, self.shaped(machine, vec![length], &numbers, arguments.tensors)?))
        };
        if arguments.length {
            let lengths = rows.iter().map(|row| i64::try_from(row.ids.len()).unwrap_or(i64::MAX));
            fields.push(flat("length", lengths.collect())?);
        }
        if arguments.overflowing {
            fields.push(flat("overflow_to_sample_mapping", samples)?);
        }
        let pairs = fields.into_iter().map(|(name, value)| (Value::string(name), value));
        let data = Rc::new(Dict::from_pairs(machine, pairs)?);
        BatchEncoding::value(machine, data, Some(Rc::new(rows)))
    }

    /// Shows rows of numbers as what the caller wants.
    fn numbers(
        &self,
        machine: &Machine,
        name: &str,
        mut rows: Vec<Vec<i64>>,
        tensors: Tensors,
        single: bool,
    ) -> Result<Value, Raise> {
        let list = |row: Vec<i64>| python::list(machine, row.into_iter().map(Value::Int).collect());
        if single {
            return list(rows.pop().unwrap_or_default());
        }
        if tensors == Tensors::Lists {
            return python::list(machine, rows.into_iter().map(list).collect::<Result<_, _>>()?);
        }
        let length = rows.first().map_or(0, Vec::len);
        if rows.iter().any(|row| row.len() != length) {
            return Err(ragged(name));
        }
        let shape = [rows.len(), length].map(|size| i64::try_from(size).unwrap_or(i64::MAX)).to_vec();
        self.shaped(machine, shape, &rows.concat(), tensors)
    }

    fn offsets(&self, machine: &Machine, rows: &[Encoding], tensors: Tensors, single: bool) -> Result<Value, Raise> {
        let number = |one: usize| i64::try_from(one).unwrap_or(i64::MAX);
        if tensors != Tensors::Lists {
            let length = rows.first().map_or(0, |row| row.offsets.len());
            if rows.iter().any(|row| row.offsets.len() != length) {
                return Err(ragged("offset_mapping"));
            }
            let flat = rows.iter().flat_map(|row| &row.offsets).flat_map(|(start, end)| [number(*start), number(*end)]);
            let shape = vec![number(rows.len()), number(length), 2];
            return self.shaped(machine, shape, &flat.collect::<Vec<_>>(), tensors);
        }
        let mut lists = rows
            .iter()
            .map(|row| {
                let pairs = row.offsets.iter();
                let pairs =
                    pairs.map(|(start, end)| Value::tuple([*start, *end].map(|at| Value::Int(number(at))).to_vec()));
                python::list(machine, pairs.collect())
            })
            .collect::<Result<Vec<_>, _>>()?;
        if single { Ok(lists.pop().unwrap_or(Value::None)) } else { python::list(machine, lists) }
    }

    fn shaped(&self, machine: &Machine, shape: Vec<i64>, data: &[i64], tensors: Tensors) -> Result<Value, Raise> {
        if tensors == Tensors::Lists {
            return python::list(machine, data.iter().copied().map(Value::Int).collect());
        }
        machine.charge_tensor(8 * data.len() as u64)?;
        machine.release_tensor(8 * data.len() as u64);
        let tensor = prompt::shaped_tensor::<M::Tensor>(shape, data)?;
        match tensors {
            Tensors::NumPy => {
                let tensor = tensor.to_value(machine);
                let array = self.job.model.instance(machine, "numpy.ndarray", &[tensor], None);
                array.unwrap_or_else(|| Err(Raise::value_error("this server's model has no numpy arrays")))
            }
            // They stay with the host, as they do on the client; the model takes them from there.
            _ => Ok(self.job.model.place(tensor)?.to_value(machine)),
        }
    }

    /// `tokenizer.apply_chat_template(conversation, …)`. What it does not know is for the template.
    fn apply_chat_template(&self, machine: &Machine, args: &Args) -> Result<Value, Raise> {
        let mut chat = Chat::default();
        let (mut own, mut keyword) = (Args { positional: args.positional.clone(), keyword: Vec::new() }, Vec::new());
        for (name, value) in &args.keyword {
            match (CHAT.contains(&&**name), &**name) {
                (true, _) => own.keyword.push((Rc::clone(name), value.clone())),
                (false, "messages" | "bos_token" | "eos_token") => {
                    return Err(Raise::type_error(format!("apply_chat_template() takes no argument '{name}'")));
                }
                (false, _) => chat.more.push((Rc::clone(name), value.clone())),
            }
        }
        let all = named("apply_chat_template", &CHAT, &own)?;
        for name in ["tools", "documents", "chat_template", "sanitize_control_tokens", "return_assistant_tokens_mask"] {
            if given(&all, name).is_some_and(|value| !matches!(value, Value::Bool(false))) {
                let message = format!("`{name}` of apply_chat_template() is not supported by this server");
                return Err(Raise::value_error(message));
            }
        }
        let flag = |name: &str, default: bool| match given(&all, name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Raise::type_error(format!("`{name}` has to be True or False"))),
        };
        chat.add_generation_prompt = flag("add_generation_prompt", false)?;
        chat.continue_final_message = flag("continue_final_message", false)?;
        if chat.add_generation_prompt && chat.continue_final_message {
            return Err(Raise::value_error(
                "continue_final_message and add_generation_prompt are not compatible. Use continue_final_message when you \
                 want the model to continue the final message, and add_generation_prompt when you want to add a header that \
                 will prompt it to start a new assistant message instead.",
            ));
        }
        let conversation = given(&all, "conversation").cloned().unwrap_or(Value::None);
        let (chats, several) = chat::conversations(&conversation).ok_or_else(|| {
            Raise::value_error(
                "apply_chat_template() takes messages, dictionaries with a role and a content, or lists of such",
            )
        })?;
        let tokenizer = self.job.model.tokenizer();
        let texts = chats.iter().map(|one| chat.render(&*tokenizer, machine, one).map(Value::string));
        let mut texts = texts.collect::<Result<Vec<_>, _>>()?;
        let text = match several {
            true => python::list(machine, texts)?,
            false => texts.pop().unwrap_or(Value::None),
        };
        if !flag("tokenize", true)? {
            return Ok(text);
        }
        keyword.push(("add_special_tokens".into(), Value::Bool(false)));
        for name in ["padding", "truncation", "max_length", "return_tensors"] {
            keyword.extend(given(&all, name).map(|value| (name.into(), value.clone())));
        }
        keyword.extend(given(&all, "tokenizer_kwargs").and_then(python::string_items).unwrap_or_default());
        let encoded = self.encode(machine, &Args { positional: vec![text], keyword })?;
        match flag("return_dict", true)? {
            true => Ok(encoded),
            false => Ok(data_of(&encoded).and_then(|data| data.get_string("input_ids")).unwrap_or(Value::None)),
        }
    }

    /// `tokenizer.decode(ids, …)`; a batch of ids becomes a list of texts.
    fn decode(&self, machine: &Machine, name: &str, args: &Args) -> Result<Value, Raise> {
        let first = if name == "decode" { "token_ids" } else { "sequences" };
        let all = named(name, &[first, "skip_special_tokens", "clean_up_tokenization_spaces"], args)?;
        let ids = all.iter().find(|(known, _)| &**known == first).map(|(_, value)| value.clone());
        let ids = ids
            .ok_or_else(|| Raise::type_error(format!("{name}() missing 1 required positional argument: '{first}'")))?;
        let flag = |name: &str| match given(&all, name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(Raise::type_error(format!("`{name}` has to be True or False"))),
        };
        let skip = flag("skip_special_tokens")?.unwrap_or(false);
        let clean_up = flag("clean_up_tokenization_spaces")?;
        let tokenizer = self.job.model.tokenizer();
        let decode = |ids: &[i64]| -> Result<Value, Raise> {
            machine.charge_fuel(ids.len() as u64)?;
            let text = tokenizer.decode(ids, skip, clean_up)?;
            machine.charge_fuel(text.len() as u64 / 8)?;
            Ok(Value::string(text))
        };
        let ids = data_of(&ids).and_then(|data| data.get_string("input_ids")).unwrap_or(ids);
        let decoded = match prompt::id_rows::<M::Tensor>(machine, &ids)? {
            Some(rows) => python::list(machine, rows.iter().map(|row| decode(row)).collect::<Result<_, _>>()?)?,
            None => decode(&prompt::token_ids::<M::Tensor>(machine, &ids)?)?,
        };
        // A flat sequence is one text there too, in a list.
        match decoded {
            Value::Str(_) if name == "batch_decode" => python::list(machine, vec![decoded]),
            decoded => Ok(decoded),
        }
    }

    fn ids_to_tokens(&self, machine: &Machine, args: &Args) -> Result<Value, Raise> {
        let all = named("convert_ids_to_tokens", &["ids", "skip_special_tokens"], args)?;
        let ids = given(&all, "ids").ok_or_else(|| Raise::type_error("'NoneType' object is not iterable"))?;
        let tokenizer = self.job.model.tokenizer();
        let token = |id: i64| -> Result<Value, Raise> {
            if id < 0 {
                let message = "number too small to fit in target type";
                return Err(Raise::new(Kind::OverflowError, message));
            }
            Ok(tokenizer.token(id).map_or(Value::None, Value::string))
        };
        if let (Some(id), false) = (Value::as_int(ids), matches!(ids, Value::Host(_))) {
            return token(id);
        }
        if M::Tensor::of_value(ids).is_some_and(|tensor| tensor.shape().is_empty()) {
            return Err(Raise::type_error("iteration over a 0-d tensor"));
        }
        let ids = prompt::token_ids::<M::Tensor>(machine, ids)?;
        machine.charge_fuel(ids.len() as u64)?;
        let skipped: HashSet<i64> = match given(&all, "skip_special_tokens") {
            Some(Value::Bool(true)) => self.special_ids().into_iter().collect(),
            _ => HashSet::new(),
        };
        let tokens = ids.into_iter().filter(|id| !skipped.contains(id)).map(token);
        python::list(machine, tokens.collect::<Result<_, _>>()?)
    }

    fn tokens_to_ids(&self, machine: &Machine, args: &Args) -> Result<Value, Raise> {
        let all = named("convert_tokens_to_ids", &["tokens"], args)?;
        let tokens = given(&all, "tokens").ok_or_else(|| Raise::type_error("'NoneType' object is not iterable"))?;
        let tokenizer = self.job.model.tokenizer();
        let id = |token: &Value| {
            let token = python::string(token).ok_or_else(|| Raise::type_error("tokens are text"))?;
            let known = tokenizer.id(&token).or_else(|| tokenizer.special("unk_token_id"));
            Ok(known.map_or(Value::None, Value::Int))
        };
        match python::sequence(tokens) {
            Some(items) => python::list(machine, items.iter().map(id).collect::<Result<_, Raise>>()?),
            None => id(tokens),
        }
    }

    fn tokenize(&self, machine: &Machine, args: &Args) -> Result<Value, Raise> {
        let all = named("tokenize", &TOKENIZE, args)?;
        let text = given(&all, "text").ok_or_else(|| Raise::type_error("tokenize() takes text"))?;
        let tokenizer = self.job.model.tokenizer();
        // Neither padding nor truncation reaches the tokenizer from here, as in transformers.
        let own = |name: &str| matches!(name, "is_split_into_words" | "split_special_tokens");
        let kept: Vec<_> = all.iter().filter(|(name, _)| own(name)).cloned().collect();
        let mut arguments = Arguments::read(&*tokenizer, &kept)?;
        arguments.how = How {
            special_tokens: matches!(given(&all, "add_special_tokens"), Some(Value::Bool(true))),
            offsets: true,
            ..How::default()
        };
        let (sources, _) = arguments.sources(text, given(&all, "pair"))?;
        let encodings = tokenizer.encode(machine, &sources, &arguments.how)?;
        let tokens = encodings.into_iter().next().map(|first| first.tokens).unwrap_or_default();
        python::list(machine, tokens.into_iter().map(Value::string).collect())
    }

    fn special_ids(&self) -> Vec<i64> {
        let tokenizer = self.job.model.tokenizer();
        self.special_tokens().into_iter().filter_map(|token| tokenizer.id(&token)).collect()
    }

    /// Lists the texts of all special tokens, each once.
    fn special_tokens(&self) -> Vec<String> {
        let mut tokens: Vec<String> = Vec::new();
        for (_, token) in specials(&*self.job.model.tokenizer()) {
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
        tokens
    }

    fn vocabulary(&self, machine: &Machine, added: bool) -> Result<Value, Raise> {
        let all = self.job.model.tokenizer().vocabulary(added);
        machine.charge_fuel(all.len() as u64)?;
        python::dict(machine, all.into_iter().map(|(token, id)| (Value::string(token), Value::Int(id))).collect())
    }
}

/// Lists the special tokens by their names. Short rows are filled with the end of sequence where the checkpoint names
/// nothing else, as nnsight sets it.
fn specials(tokenizer: &dyn Tokenizer) -> Vec<(&'static str, String)> {
    let mut all = tokenizer.specials();
    let end = all.iter().find(|(name, _)| *name == "eos_token").map(|(_, token)| token.clone());
    if let (Some(end), false) = (end, all.iter().any(|(name, _)| *name == "pad_token")) {
        let after = |name: &str| matches!(name, "cls_token" | "mask_token");
        let at = all.iter().position(|(name, _)| after(name)).unwrap_or(all.len());
        all.insert(at, ("pad_token", end));
    }
    all
}

/// Returns the dict behind an encoding, or a dict.
fn data_of(value: &Value) -> Option<Rc<Dict>> {
    match value {
        Value::Dict(dict) => Some(Rc::clone(dict)),
        value => python::host::<BatchEncoding>(value).map(|encoding| Rc::clone(encoding.data())),
    }
}

fn ragged(name: &str) -> Raise {
    Raise::value_error(format!(
        "Unable to create tensor, you should probably activate truncation and/or padding with 'padding=True' \
         'truncation=True' to have batched tensors with the same length. Perhaps your features (`{name}` in this case) \
         have excessive nesting (inputs type `list` where type `int` is expected)."
    ))
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

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        let tokenizer = self.job.model.tokenizer();
        let count = |count: usize| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        // Lengths that no checkpoint names are transformers' `int(1e30)`.
        let longest = |less: usize| match tokenizer.model_max_length() {
            Some(length) => Value::Int(length - i64::try_from(less).unwrap_or(0)),
            None => {
                Value::integer(num_bigint::BigInt::from(1_000_000_000_000_000_019_884_624_838_656_i128 - less as i128))
            }
        };
        let text = |token: &String| Value::string(token.as_str());
        Ok(match name {
            "vocab_size" => count(tokenizer.base_vocabulary_size()).into(),
            "padding_side" => Value::string("left").into(),
            "truncation_side" => Value::string("right").into(),
            "is_fast" => Value::Bool(true).into(),
            "model_max_length" => longest(0).into(),
            "max_len_single_sentence" => longest(tokenizer.added_tokens(false)).into(),
            "max_len_sentences_pair" => longest(tokenizer.added_tokens(true)).into(),
            "pad_token_type_id" => Value::Int(0).into(),
            "model_input_names" => python::list(machine, tokenizer.input_names().iter().map(text).collect())?.into(),
            "all_special_tokens" => python::list(machine, self.special_tokens().iter().map(text).collect())?.into(),
            "all_special_ids" => {
                python::list(machine, self.special_ids().into_iter().map(Value::Int).collect())?.into()
            }
            "special_tokens_map" => {
                let all = specials(&*tokenizer);
                let all = all.iter().map(|(name, token)| (Value::string(*name), text(token)));
                python::dict(machine, all.collect())?.into()
            }
            "vocab" => self.vocabulary(machine, false)?.into(),
            "chat_template" => tokenizer.chat_template().map_or(Value::None, Value::string).into(),
            _ if SPECIAL.contains(&name.trim_end_matches("_id")) => {
                let named = name.trim_end_matches("_id");
                let token =
                    specials(&*tokenizer).into_iter().find(|(known, _)| *known == named).map(|(_, token)| token);
                match token {
                    Some(token) if name.ends_with("_id") => tokenizer.id(&token).map_or(Value::None, Value::Int),
                    Some(token) => Value::string(token),
                    None if name == "pad_token_id" => Value::Int(prompt::pad_token(&*tokenizer)),
                    None if name.ends_with("_id") => tokenizer.special(name).map_or(Value::None, Value::Int),
                    None => Value::None,
                }
                .into()
            }
            _ if METHODS.contains(&name) => {
                let name = name.to_owned();
                Value::native("method", move |machine, args| Rc::clone(&self).call_method(machine, &name, &args)).into()
            }
            _ if UNSUPPORTED.contains(&name) => {
                return Err(Raise::attribute_error(format!(
                    "model.tokenizer.{name} is not supported by this server: use the tokenizer of your own program"
                )));
            }
            _ => return Err(Raise::attribute_error(format!("TokenizersBackend has no attribute {name}"))),
        })
    }

    fn set_attribute(self: Rc<Self>, _machine: &Machine, name: &str, _value: Value) -> HostResult {
        Err(Raise::attribute_error(format!(
            "model.tokenizer.{name} cannot be set: the tokenizer belongs to the hosted model; most settings are arguments \
             of its call too"
        )))
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        self.encode(machine, &args).map(Into::into)
    }

    fn length(&self, _machine: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(self.job.model.tokenizer().vocabulary_size()))
    }

    fn truth(&self, _machine: &Machine) -> Result<Option<bool>, Raise> {
        Ok(Some(true))
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        Ok(match name {
            "decode" | "batch_decode" => self.decode(machine, name, args)?,
            "encode" => {
                let all = named("encode", &ENCODE, args)?;
                let text = given(&all, "text")
                    .ok_or_else(|| Raise::type_error("encode() missing 1 required positional argument: 'text'"))?;
                let encoded = self.encoded(machine, text, given(&all, "text_pair"), &all)?;
                data_of(&encoded).and_then(|data| data.get_string("input_ids")).unwrap_or(Value::None)
            }
            "tokenize" => self.tokenize(machine, args)?,
            "convert_ids_to_tokens" => self.ids_to_tokens(machine, args)?,
            "convert_tokens_to_ids" => self.tokens_to_ids(machine, args)?,
            "convert_tokens_to_string" => {
                let all = named(name, &["tokens"], args)?;
                let tokens = given(&all, "tokens").and_then(python::sequence);
                let tokens =
                    tokens.ok_or_else(|| Raise::type_error("convert_tokens_to_string() takes a list of tokens"))?;
                machine.charge_fuel(tokens.len() as u64)?;
                let text = |token: &Value| python::string(token).ok_or_else(|| Raise::type_error("tokens are text"));
                let tokens = tokens.iter().map(text).collect::<Result<_, _>>()?;
                Value::string(self.job.model.tokenizer().join(tokens)?)
            }
            "apply_chat_template" => self.apply_chat_template(machine, args)?,
            "get_chat_template" => {
                args.clone().none(name)?;
                self.job.model.tokenizer().chat_template().map_or(Value::None, Value::string)
            }
            "get_vocab" => self.vocabulary(machine, false)?,
            "get_added_vocab" => self.vocabulary(machine, true)?,
            "num_special_tokens_to_add" => {
                let pair = matches!(python::parameter(args, 0, "pair"), Some(Value::Bool(true)));
                Value::Int(i64::try_from(self.job.model.tokenizer().added_tokens(pair)).unwrap_or(0))
            }
            _ => return Ok(Outcome::NotImplemented),
        }
        .into())
    }
}

/// Says what using a name of the tokenizer does; `None` for names that it does not have.
pub fn effect(name: &str, usage: Use<'_>) -> Option<Effect> {
    let plain = ATTRIBUTES.contains(&name) || SPECIAL.contains(&name.trim_end_matches("_id"));
    match usage {
        Use::Store => None,
        Use::Read | Use::Call { .. } => (plain || METHODS.contains(&name)).then_some(Effect::Looks),
    }
}

/// What is read of a tokenizer without a call.
const ATTRIBUTES: [&str; 14] = [
    "chat_template",
    "vocab_size",
    "padding_side",
    "truncation_side",
    "is_fast",
    "model_max_length",
    "max_len_single_sentence",
    "max_len_sentences_pair",
    "pad_token_type_id",
    "model_input_names",
    "all_special_tokens",
    "all_special_ids",
    "special_tokens_map",
    "vocab",
];

/// Names of special tokens.
const SPECIAL: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

const METHODS: [&str; 12] = [
    "apply_chat_template",
    "get_chat_template",
    "decode",
    "batch_decode",
    "encode",
    "tokenize",
    "convert_ids_to_tokens",
    "convert_tokens_to_ids",
    "convert_tokens_to_string",
    "get_vocab",
    "get_added_vocab",
    "num_special_tokens_to_add",
];

/// Parameters of `apply_chat_template`, in order.
const CHAT: [&str; 15] = [
    "conversation",
    "tools",
    "documents",
    "chat_template",
    "add_generation_prompt",
    "continue_final_message",
    "tokenize",
    "sanitize_control_tokens",
    "padding",
    "truncation",
    "max_length",
    "return_tensors",
    "return_dict",
    "return_assistant_tokens_mask",
    "tokenizer_kwargs",
];

/// What transformers' tokenizers have beside that.
const UNSUPPORTED: [&str; 11] = [
    "pad",
    "add_tokens",
    "add_special_tokens",
    "backend_tokenizer",
    "decoder",
    "added_tokens_decoder",
    "added_tokens_encoder",
    "name_or_path",
    "get_special_tokens_mask",
    "save_pretrained",
    "clean_up_tokenization",
];
