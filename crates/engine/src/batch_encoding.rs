//! `BatchEncoding`: what `model.tokenizer(…)` returns, and what a request brings of that kind.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use interpreter::raise::{Kind, Raise};
use interpreter::types::charge::Charge;
use interpreter::types::opaque::Opaque;
use interpreter::{Args, Dict, HostObject, HostResult, Machine, Operator, Outcome, Value};

use crate::encoding::Encoding;
use crate::python;

/// A `dict` of model inputs that knows where they come from.
pub struct BatchEncoding {
    data: Rc<Dict>,
    /// One for each row; `None` where the client sent none.
    encodings: Option<Rc<Vec<Encoding>>>,
    _charge: Charge,
}

/// Import path of the class.
pub const CLASS: &str = "transformers.tokenization_utils_base.BatchEncoding";

impl BatchEncoding {
    /// Makes the object, its encodings charged to the job.
    ///
    /// # Errors
    /// Fatal when memory is spent.
    pub fn value(machine: &Machine, data: Rc<Dict>, encodings: Option<Rc<Vec<Encoding>>>) -> Result<Value, Raise> {
        let charge = Charge::default();
        let memory = encodings.iter().flat_map(|all| all.iter()).map(Encoding::memory).sum::<u64>();
        charge.cover(machine, memory)?;
        Ok(Value::Host(Rc::new(Self { data, encodings, _charge: charge })))
    }

    /// Returns what the user sees as a dict.
    #[must_use]
    pub fn data(&self) -> &Rc<Dict> {
        &self.data
    }

    /// Returns what the tokenizer made of each row.
    #[must_use]
    pub fn encodings(&self) -> Option<&Rc<Vec<Encoding>>> {
        self.encodings.as_ref()
    }

    fn dict(&self) -> Value {
        Value::Dict(Rc::clone(&self.data))
    }

    /// Calls a method of the dict.
    fn pass_on(&self, machine: &Machine, name: &str, args: &Args) -> HostResult {
        let (machine, dict, name, args) = (machine.clone(), self.dict(), name.to_owned(), args.clone());
        Ok(Outcome::Later(Box::pin(async move {
            let method = machine.get_attribute(&dict, &name).await?;
            machine.call(&method, args).await
        })))
    }

    /// Moves every tensor, in place, and returns the object.
    fn moved(self: Rc<Self>, machine: &Machine, args: &Args) -> HostResult {
        let (machine, args) = (machine.clone(), args.clone());
        Ok(Outcome::Later(Box::pin(async move {
            for (key, value) in self.data.entries() {
                if !matches!(value, Value::Host(_)) {
                    continue;
                }
                let method = machine.get_attribute(&value, "to").await?;
                let moved = machine.call(&method, args.clone()).await?;
                let done = interpreter::mapping::set_item(&machine, Rc::clone(&self.data), key, moved)?;
                machine.settle(done).await?;
            }
            Ok(Value::Host(self))
        })))
    }

    fn row(&self, name: &str, row: i64) -> Result<&Encoding, Raise> {
        let encodings = self.encodings.as_ref().filter(|all| !all.is_empty()).ok_or_else(|| {
            Raise::value_error(format!("{name}() is not available when using Python based tokenizers"))
        })?;
        let count = i64::try_from(encodings.len()).unwrap_or(i64::MAX);
        let at = if row < 0 { row + count } else { row };
        let found = usize::try_from(at).ok().and_then(|at| encodings.get(at));
        found.ok_or_else(|| Raise::index_error("list index out of range"))
    }

    /// Answers a question about where tokens come from: `(row, index)` or an index of the only row.
    fn ask(&self, machine: &Machine, name: &str, args: &Args) -> HostResult {
        let int = |position: usize, name: &str| {
            python::parameter(args, position, name).filter(|value| !matches!(value, Value::None)).map(|value| {
                value.as_int().ok_or_else(|| Raise::type_error("an index of a BatchEncoding has to be an int"))
            })
        };
        let listed = |name: &str| self.row(name, int(0, "batch_index").transpose()?.unwrap_or(0));
        match name {
            "tokens" => {
                let tokens = listed(name)?.tokens.iter().map(|token| Value::string(token.as_str()));
                return Ok(python::list(machine, tokens.collect())?.into());
            }
            "word_ids" => {
                let words = listed(name)?.words.iter().map(|word| optional(word.map(i64::from)));
                return Ok(python::list(machine, words.collect())?.into());
            }
            "sequence_ids" => {
                let ids = listed(name)?.sequence_ids();
                let ids = ids.into_iter().map(|id| optional(id.and_then(|id| i64::try_from(id).ok())));
                return Ok(python::list(machine, ids.collect())?.into());
            }
            _ => {}
        }
        let (first, second) = match name {
            "token_to_sequence" | "token_to_word" | "token_to_chars" => ("batch_or_token_index", "token_index"),
            "word_to_tokens" | "word_to_chars" => ("batch_or_word_index", "word_index"),
            _ => ("batch_or_char_index", "char_index"),
        };
        let one = int(0, first).transpose()?.ok_or_else(|| Raise::type_error(format!("{name}() needs an index")))?;
        let (row, index) = match int(1, second).transpose()? {
            Some(index) => (self.row(name, one)?, index),
            None => (self.row(name, 0)?, one),
        };
        let count = i64::try_from(row.ids.len()).unwrap_or(i64::MAX);
        let index = if index < 0 && name.starts_with("token_") { index + count } else { index };
        let index = usize::try_from(index).map_err(|_| Raise::value_error(format!("{name}() got a negative index")))?;
        let sequence = int(2, "sequence_index").transpose()?.and_then(|at| usize::try_from(at).ok()).unwrap_or(0);
        let word = u32::try_from(index).unwrap_or(u32::MAX);
        let number = |found: Option<usize>| optional(found.and_then(|found| i64::try_from(found).ok()));
        let span = |class: &'static str, found: Option<(usize, usize)>| match found {
            Some((start, end)) => Value::Host(Rc::new(Span { class, start, end })),
            None => Value::None,
        };
        Ok(match name {
            "token_to_sequence" => number(row.sequence_of(index)),
            "token_to_word" => optional(row.token_to_word(index).map(i64::from)),
            "token_to_chars" => span("CharSpan", row.token_to_chars(index)),
            "word_to_tokens" => span("TokenSpan", row.word_to_tokens(word, sequence)),
            "word_to_chars" => span("CharSpan", row.word_to_chars(word, sequence)),
            "char_to_token" => number(row.char_to_token(index, sequence)),
            "char_to_word" => optional(row.char_to_word(index, sequence).map(i64::from)),
            _ => return Ok(Outcome::NotImplemented),
        }
        .into())
    }
}

fn optional(number: Option<i64>) -> Value {
    number.map_or(Value::None, Value::Int)
}

/// Methods that are those of a dict.
const OF_DICT: [&str; 9] = ["keys", "values", "items", "get", "pop", "popitem", "setdefault", "update", "clear"];

/// Methods that ask for tokens, words and characters.
const QUESTIONS: [&str; 10] = [
    "tokens",
    "word_ids",
    "sequence_ids",
    "token_to_sequence",
    "token_to_word",
    "token_to_chars",
    "word_to_tokens",
    "word_to_chars",
    "char_to_token",
    "char_to_word",
];

impl HostObject for BatchEncoding {
    fn type_name(&self) -> Cow<'static, str> {
        "BatchEncoding".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn class(&self) -> Option<Value> {
        Some(Opaque::named(CLASS))
    }

    fn is_instance(&self, class: &str) -> bool {
        class == CLASS || class == "collections.UserDict" || class == "transformers.BatchEncoding"
    }

    fn get_attribute(self: Rc<Self>, _machine: &Machine, name: &str) -> HostResult {
        if OF_DICT.contains(&name) || QUESTIONS.contains(&name) || matches!(name, "to" | "copy") {
            let method = name.to_owned();
            let bound = move |machine: &Machine, args: Args| Rc::clone(&self).call_method(machine, &method, &args);
            return Ok(Value::native(name, bound).into());
        }
        Ok(match name {
            "data" => self.dict().into(),
            "is_fast" => Value::Bool(self.encodings.is_some()).into(),
            "n_sequences" => {
                let first = self.encodings.as_ref().and_then(|all| all.first());
                first.map_or(Value::None, |one| optional(i64::try_from(one.sequences()).ok())).into()
            }
            _ => match self.data.get_string(name) {
                Some(value) => value.into(),
                None => Outcome::NotImplemented,
            },
        })
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        match name {
            "to" => self.moved(machine, args),
            "copy" => {
                let data = Rc::new(self.data.copy(machine)?);
                Ok(Self::value(machine, data, self.encodings.clone())?.into())
            }
            _ if OF_DICT.contains(&name) => self.pass_on(machine, name, args),
            _ if QUESTIONS.contains(&name) => self.ask(machine, name, args),
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        if let Value::Str(_) = key {
            return interpreter::mapping::get_item(machine, Rc::clone(&self.data), key.clone());
        }
        if self.encodings.is_some() {
            return Err(Raise::new(
                Kind::AttributeError,
                "tokenizers.Encoding is not supported by this server: ask the BatchEncoding itself, as in \
                 `encoding.tokens(row)` or `encoding.char_to_token(row, character)`",
            ));
        }
        if let Value::Slice(_) = key {
            let sliced = self.data.entries().into_iter().map(|(name, value)| {
                let part = interpreter::operators::get_item(machine, &value, key)?;
                Ok((name, python::now(machine.settle(part))?))
            });
            return Ok(python::dict(machine, sliced.collect::<Result<_, Raise>>()?)?.into());
        }
        Err(Raise::key_error(Value::string(
            "Invalid key. Only three types of key are available: (1) string, (2) integers for backend Encoding, and \
             (3) slices for data subsetting.",
        )))
    }

    fn set_item(self: Rc<Self>, machine: &Machine, key: &Value, value: Value) -> HostResult {
        interpreter::mapping::set_item(machine, Rc::clone(&self.data), key.clone(), value)
    }

    fn delete_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        interpreter::mapping::delete_item(machine, Rc::clone(&self.data), key.clone())
    }

    fn contains(self: Rc<Self>, machine: &Machine, element: &Value) -> HostResult {
        interpreter::mapping::contains(machine, Rc::clone(&self.data), element.clone())
    }

    fn length(&self, _machine: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(self.data.len()))
    }

    fn iterate(self: Rc<Self>, _machine: &Machine) -> Result<Option<Box<dyn interpreter::Iteration>>, Raise> {
        Ok(Some(python::iterate_all(self.data.keys().into_vec())))
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        if !matches!(operator, Operator::Equal | Operator::NotEqual) {
            return Ok(Outcome::NotImplemented);
        }
        let other = python::host::<Self>(other).map_or_else(|| other.clone(), Self::dict);
        let (left, right) = if reflected { (other, self.dict()) } else { (self.dict(), other) };
        interpreter::operators::binary(machine, operator, &left, &right)
    }

    fn hash(&self, _machine: &Machine) -> Result<Option<i64>, Raise> {
        Err(Raise::type_error("unhashable type: 'BatchEncoding'"))
    }

    fn repr_parts(&self, _machine: &Machine) -> Result<Option<(String, Vec<Value>, String)>, Raise> {
        Ok(Some((String::new(), vec![self.dict()], String::new())))
    }
}

/// `CharSpan(start=3, end=11)`, `TokenSpan(start=1, end=2)`: a named tuple of transformers.
pub struct Span {
    pub class: &'static str,
    pub start: usize,
    pub end: usize,
}

impl Span {
    fn bounds(&self) -> [Value; 2] {
        [self.start, self.end].map(|bound| Value::Int(i64::try_from(bound).unwrap_or(i64::MAX)))
    }

    fn tuple(&self) -> Value {
        Value::tuple(self.bounds().to_vec())
    }
}

impl HostObject for Span {
    fn type_name(&self) -> Cow<'static, str> {
        self.class.into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_instance(&self, class: &str) -> bool {
        class == "tuple"
    }

    fn get_attribute(self: Rc<Self>, _machine: &Machine, name: &str) -> HostResult {
        let [start, end] = self.bounds();
        Ok(match name {
            "start" => start.into(),
            "end" => end.into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        python::index(machine, &self.tuple(), key)
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        let other = python::host::<Self>(other).map_or_else(|| other.clone(), Self::tuple);
        let (left, right) = if reflected { (other, self.tuple()) } else { (self.tuple(), other) };
        interpreter::operators::binary(machine, operator, &left, &right)
    }

    fn length(&self, _machine: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(2))
    }

    fn iterate(self: Rc<Self>, _machine: &Machine) -> Result<Option<Box<dyn interpreter::Iteration>>, Raise> {
        Ok(Some(python::iterate_all(self.bounds().to_vec())))
    }

    fn repr(&self, _machine: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("{}(start={}, end={})", self.class, self.start, self.end)))
    }
}
