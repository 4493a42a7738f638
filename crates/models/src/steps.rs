//! Steps of a generation that have rules of their own: processors, criteria and beam search, written in Python.

use engine::python::{self, now};
use engine::{Chosen, Drawn, Generated, Keeps};
use interpreter::modules::{Written, alone, written};
use interpreter::raise::Raise;
use interpreter::{Args, Machine, Value};
use tch::{Device, Tensor};

use crate::generation::Sampler;
use crate::pass::raise;

const GENERATION: Written = alone(include_str!("python/generation.py"));

/// Settings that only such steps know, with what they are where nobody says anything.
const NAMES: [(&str, Default); 28] = [
    ("num_beams", Default::One),
    ("num_return_sequences", Default::One),
    ("early_stopping", Default::Steers),
    ("length_penalty", Default::Steers),
    ("typical_p", Default::One),
    ("top_h", Default::None),
    ("epsilon_cutoff", Default::Zero),
    ("eta_cutoff", Default::Zero),
    ("encoder_repetition_penalty", Default::One),
    ("encoder_no_repeat_ngram_size", Default::Zero),
    ("bad_words_ids", Default::None),
    ("sequence_bias", Default::None),
    ("forced_bos_token_id", Default::None),
    ("forced_eos_token_id", Default::None),
    ("suppress_tokens", Default::None),
    ("begin_suppress_tokens", Default::None),
    ("exponential_decay_length_penalty", Default::None),
    ("remove_invalid_values", Default::Zero),
    ("stop_strings", Default::None),
    ("tokenizer", Default::Steers),
    ("prefix_allowed_tokens_fn", Default::None),
    ("logits_processor", Default::Empty),
    ("stopping_criteria", Default::Empty),
    ("return_dict_in_generate", Default::Zero),
    ("output_scores", Default::Steers),
    ("output_logits", Default::Steers),
    ("output_hidden_states", Default::Steers),
    (ATTENTIONS, Default::Steers),
];

const ATTENTIONS: &str = "output_attentions";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Default {
    None,
    Zero,
    One,
    /// No elements.
    Empty,
    /// It changes what others do, and nothing by itself.
    Steers,
}

impl Default {
    fn is(self, value: &Value) -> bool {
        let is = |expected: f64| match value {
            Value::Bool(flag) => f64::from(u8::from(*flag)) == expected,
            Value::Int(number) => *number as f64 == expected,
            Value::Float(number) => *number == expected,
            _ => false,
        };
        match self {
            Self::None => false,
            Self::Zero => is(0.0),
            Self::One => is(1.0),
            Self::Empty => python::sequence(value).is_some_and(|items| items.is_empty()),
            Self::Steers => true,
        }
    }
}

/// What a caller asks of a generation beyond the plain choice of tokens.
#[derive(Clone, std::default::Default)]
pub struct More(Vec<(&'static str, Value)>);

impl More {
    /// Returns whether a setting is one of these.
    #[must_use]
    pub fn knows(name: &str) -> bool {
        NAMES.iter().any(|(known, _)| *known == name)
    }

    /// Takes a setting. Returns whether it is one of these.
    pub fn take(&mut self, name: &str, value: &Value) -> bool {
        let Some((known, _)) = NAMES.iter().find(|(known, _)| *known == name) else { return false };
        self.0.retain(|(other, _)| other != known);
        if !matches!(value, Value::None) {
            self.0.push((*known, value.clone()));
        }
        true
    }

    /// Returns whether anything of it changes what a generation does.
    pub fn matters(&self) -> bool {
        let default =
            |name: &str| NAMES.iter().find(|(known, _)| *known == name).map_or(Default::Steers, |(_, it)| *it);
        self.0.iter().any(|(name, value)| !default(name).is(value))
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Bool(true)))
    }

    fn count(&self, name: &str) -> Result<i64, Raise> {
        match self.get(name) {
            None => Ok(1),
            Some(value) => value
                .as_int()
                .filter(|count| *count >= 1)
                .ok_or_else(|| Raise::value_error(format!("`{name}` has to be an integer of at least 1"))),
        }
    }

    /// Returns how many rows there are for each of the prompt.
    ///
    /// # Errors
    /// `ValueError` for counts that contradict each other.
    pub fn copies(&self, samples: bool) -> Result<usize, Raise> {
        let (beams, returned) = (self.count("num_beams")?, self.count("num_return_sequences")?);
        if beams == 1 && returned > 1 && !samples {
            return Err(Raise::value_error(format!(
                "Greedy methods (do_sample != True) without beam search do not support `num_return_sequences` different \
                 than 1 (got {returned})."
            )));
        }
        if beams > 1 && returned > beams {
            return Err(Raise::value_error(format!(
                "`num_return_sequences` ({returned}) has to be smaller or equal to `num_beams` ({beams})."
            )));
        }
        Ok(usize::try_from(beams.max(returned)).unwrap_or(1))
    }

    /// Lists all of them by name.
    fn listed(&self) -> Vec<(&'static str, Value)> {
        let all = NAMES.iter().map(|(name, _)| *name);
        let value = |name: &str| match (name, self.get(name)) {
            (_, Some(value)) => value.clone(),
            ("num_beams" | "num_return_sequences", None) => Value::Int(1),
            ("length_penalty", None) => Value::Float(1.0),
            (
                "early_stopping"
                | "return_dict_in_generate"
                | "output_scores"
                | "output_logits"
                | "remove_invalid_values",
                None,
            ) => Value::Bool(false),
            (_, None) => Value::None,
        };
        all.map(|name| (name, value(name))).collect()
    }
}

/// A generation whose steps are taken by the evaluator, as the job's own code.
pub struct Steps {
    /// What the same settings choose by without them.
    plain: Sampler,
    more: More,
    /// The object that takes them.
    object: Value,
    device: Device,
}

impl Steps {
    /// Prepares a generation of a padded prompt.
    ///
    /// # Errors
    /// `ValueError` for settings out of their range; fatal where the job's fuel or memory is spent.
    pub fn new(
        machine: &Machine,
        plain: Sampler,
        more: More,
        prompt: &[Vec<i64>],
        device: Device,
    ) -> Result<Self, Raise> {
        let class = if more.count("num_beams")? > 1 { "Beams" } else { "Rows" };
        let class = written(machine, "transformers.generation", GENERATION, class)?;
        let class = class.ok_or_else(|| Raise::runtime_error("the library has no such steps"))?;
        let settings = Value::dict(plain.listed().into_iter().chain(more.listed()));
        let args = Args { positional: vec![settings, ids(prompt, device)?], keyword: Vec::new() };
        let object = now(machine.call(&class, args))?;
        Ok(Self { plain, more, object, device })
    }

    fn call(&self, machine: &Machine, method: &str, args: Vec<Value>) -> Result<Value, Raise> {
        let method = now(machine.get_attribute(&self.object, method))?;
        now(machine.call(&method, Args { positional: args, keyword: Vec::new() }))
    }
}

/// Shows rows to Python.
fn ids(rows: &[Vec<i64>], device: Device) -> Result<Value, Raise> {
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let flat: Vec<i64> = rows.iter().flatten().copied().collect();
    let made = Tensor::f_from_slice(&flat).and_then(|ids| ids.f_view([count, -1])?.f_to_device(device));
    Ok(torch::Tensor::new(made.map_err(|error| raise(&error))?).value())
}

fn broken() -> Raise {
    Raise::runtime_error("a step of the generation returned something else")
}

impl engine::Sampler<torch::Tensor> for Steps {
    fn draw(
        &mut self,
        machine: &Machine,
        logits: &torch::Tensor,
        sequences: &[Vec<i64>],
    ) -> Result<Drawn<torch::Tensor>, Raise> {
        self.plain.draw(machine, logits, sequences)
    }

    fn finished(&self, sequence: &[i64]) -> bool {
        self.plain.finished(sequence)
    }

    fn pad_token(&self) -> i64 {
        self.plain.pad_token()
    }

    fn caches(&self) -> bool {
        self.plain.caches()
    }

    fn remaining(&self, length: usize) -> usize {
        self.plain.remaining(length)
    }

    fn step(
        &mut self,
        machine: &Machine,
        logits: &torch::Tensor,
        sequences: &[Vec<i64>],
    ) -> Result<Option<Chosen>, Raise> {
        let step = self.call(machine, "step", vec![ids(sequences, self.device)?, logits.value()])?;
        let Some([rows, order, done]) = python::sequence(&step).and_then(|parts| <[Value; 3]>::try_from(parts).ok())
        else {
            return Err(broken());
        };
        let sequences = engine::prompt::id_rows::<torch::Tensor>(machine, &rows)?.ok_or_else(broken)?;
        let order = python::sequence(&order).map(|order| order.iter().filter_map(Value::as_int).collect());
        Ok(Some(Chosen { sequences, order, done: matches!(done, Value::Bool(true)) }))
    }

    fn keeps(&self) -> Keeps {
        let record = self.more.flag("return_dict_in_generate");
        Keeps {
            record,
            hidden_states: record && self.more.flag("output_hidden_states"),
            attentions: record && self.more.flag(ATTENTIONS),
            reorders: self.more.count("num_beams").is_ok_and(|beams| beams > 1),
        }
    }

    fn end(&mut self, machine: &Machine, sequences: &[Vec<i64>]) -> Result<Option<Generated>, Raise> {
        const FIELDS: [&str; 4] = ["sequences_scores", "scores", "logits", "beam_indices"];
        let ended = self.call(machine, "end", vec![ids(sequences, self.device)?])?;
        let Value::Dict(ended) = ended else { return Err(broken()) };
        let field = |name: &str| ended.get_string(name).unwrap_or(Value::None);
        let keeps = engine::Sampler::keeps(self);
        let class = match keeps.reorders {
            true => "transformers.generation.utils.GenerateBeamDecoderOnlyOutput",
            false => "transformers.generation.utils.GenerateDecoderOnlyOutput",
        };
        let record = keeps.record.then(|| (class, FIELDS.map(|name| (name, field(name))).to_vec()));
        Ok(Some(Generated { sequences: field("sequences"), record }))
    }
}
