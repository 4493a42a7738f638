//! `model.generate(…)`: forward passes, each followed by the choice of one token for every row.

use std::any::Any;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Machine, Value};

use crate::location::Location;
use crate::model::{Attention, Drawn, Keeps, Model, Sampler, Segment, Tensor, Tree};
use crate::output::ModelOutput;
use crate::prompt::{self, Batch};
use crate::run::Run;

/// The state of one generation.
pub struct Generation<M: Model> {
    sampler: Box<dyn Sampler<M::Tensor>>,
    sequences: Vec<Vec<i64>>,
    finished: Vec<bool>,
    /// The prompt's mask, grown by one for every token.
    mask: Option<Vec<Vec<i64>>>,
    /// Positions of all tokens of each row; `None` counts them from zero.
    positions: Option<Vec<Vec<i64>>>,
    /// Positions that the model has at all.
    limit: Option<i64>,
    /// Tokens of each row that the next pass computes: those that the cache does not hold, or all without one.
    fresh: usize,
    /// See [`Arithmetic::begins_anew_at`](crate::Arithmetic::begins_anew_at).
    anew_at: Option<i64>,
    caching: bool,
    cache: Option<Box<dyn Any>>,
    attention: Attention,
    /// Whether tokens pass through the model's streamer.
    pub streams: bool,
    keeps: Keeps,
    /// Of each pass that is done, what the result has.
    hidden_states: Vec<Value>,
    attentions: Vec<Value>,
    /// The keys and values that there are, as Python sees them.
    past: Value,
}

/// What a step of a generation came to.
pub enum Stepped<T> {
    /// Every row has a token more. Whether all are complete.
    Done(bool),
    /// It will have this one.
    Drawn(Drawn<T>),
}

impl<M: Model> Generation<M> {
    /// Begins a generation from a padded batch.
    ///
    /// # Errors
    /// `ValueError` for settings that contradict each other or are not supported.
    pub fn new(
        model: &M,
        machine: &Machine,
        batch: &Batch,
        kwargs: &[(Rc<str>, Value)],
        attention: Attention,
    ) -> Result<Self, Raise> {
        let sequences = batch.sequences();
        let sampler = model.sampler(machine, kwargs, &sequences)?;
        let mask: Option<Vec<Vec<i64>>> =
            (!batch.full()).then(|| batch.split().into_iter().map(|row| row.mask).collect());
        let length = usize::try_from(batch.length).unwrap_or(0).max(1);
        let positions = match &batch.positions {
            Some(given) => Some(given.chunks(length).map(<[i64]>::to_vec).collect()),
            None => mask.as_ref().map(|mask| mask.iter().map(|row| counted(row)).collect()),
        };
        let (caching, keeps) = (sampler.caches(), sampler.keeps());
        let own = Self {
            keeps,
            hidden_states: Vec::new(),
            attentions: Vec::new(),
            past: Value::None,
            sampler,
            caching,
            limit: model.positions(),
            anew_at: model.begins_anew_at().filter(|_| caching),
            finished: vec![false; sequences.len()],
            fresh: usize::try_from(batch.length).unwrap_or(0),
            mask,
            positions,
            sequences,
            cache: caching.then(|| model.new_cache()),
            attention,
            streams: !keeps.reorders,
        };
        if let Some(cache) = &own.cache {
            model.expect(&**cache, own.longest());
        }
        Ok(own)
    }

    /// Returns whether keys and values are kept from step to step.
    pub fn caches(&self) -> bool {
        self.caching
    }

    /// Returns how many tokens of each row the next pass computes.
    pub fn fresh(&self) -> i64 {
        i64::try_from(self.fresh).unwrap_or(i64::MAX)
    }

    /// Returns how long the sequences are.
    pub fn length(&self) -> i64 {
        i64::try_from(self.sequences.first().map_or(0, Vec::len)).unwrap_or(i64::MAX)
    }

    /// Returns how many tokens of each row a pass computes at most, of which the first one computes so many.
    pub fn widest(&self, first: i64) -> i64 {
        if self.caching {
            first.max(self.anew_at.filter(|&length| length <= self.longest()).unwrap_or(0))
        } else {
            self.longest()
        }
    }

    /// Returns how long the sequences may get.
    pub fn longest(&self) -> i64 {
        let length = self.sequences.first().map_or(0, Vec::len);
        i64::try_from(length.saturating_add(self.sampler.remaining(length))).unwrap_or(i64::MAX)
    }

    /// Shows the prompt's ids to whoever watches the streamer.
    ///
    /// # Errors
    /// When the tensor cannot be made.
    pub fn announce(&self, run: &mut Run<M>, part: usize) -> Result<(), Raise> {
        if self.streams {
            run.offer(Location::Streamed, part, Tree::Leaf(self.ids()?));
        }
        Ok(())
    }

    /// Returns what the next pass computes.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn segment(&mut self) -> Result<Segment<M::Tensor>, Raise> {
        let rows = i64::try_from(self.sequences.len()).unwrap_or(i64::MAX);
        let length = self.fresh();
        let total = self.sequences.first().map_or(0, Vec::len);
        let past = total - self.fresh;
        let newest = |row: &Vec<i64>| row.get(past..).unwrap_or_default().to_vec();
        let ids = self.sequences.iter().flat_map(newest).collect();
        let attention_mask = match &self.mask {
            Some(mask) => Some(prompt::int_tensor(
                rows,
                i64::try_from(total).unwrap_or(i64::MAX),
                mask.iter().flatten().copied().collect(),
            )?),
            None => None,
        };
        let position_ids = match &self.positions {
            Some(positions) => Some(prompt::int_tensor(rows, length, positions.iter().flat_map(newest).collect())?),
            None => None,
        };
        let ids = prompt::int_tensor(rows, length, ids)?;
        let kept = [("output_hidden_states", self.keeps.hidden_states), ("output_attentions", self.keeps.attentions)];
        let kept = kept.into_iter().filter(|(_, kept)| *kept).map(|(name, _)| (Rc::from(name), Value::Bool(true)));
        Ok(Segment {
            attention_mask,
            position_ids,
            cache: self.cache.take(),
            attention: self.attention,
            // As transformers' generate does: only the last position is unembedded. Nor are gradients recorded.
            flags: [
                ("logits_to_keep".into(), Value::Int(1)),
                ("use_cache".into(), Value::Bool(self.caching)),
                ("return_dict".into(), Value::Bool(true)),
            ]
            .into_iter()
            .chain(kept)
            .collect(),
            generating: true,
            ..Segment::new(rows, length, ids)
        })
    }

    /// Takes a cache back from a pass that failed: what was computed of it is forgotten.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn undo_pass(&mut self, model: &M, cache: Option<Box<dyn Any>>) -> Result<(), Raise> {
        let total = self.sequences.first().map_or(0, Vec::len);
        let before = i64::try_from(total.saturating_sub(self.fresh)).unwrap_or(0);
        self.cache = cache.filter(|_| before > 0).or_else(|| Some(model.new_cache()));
        if let Some(cache) = &self.cache {
            model.expect(&**cache, self.longest());
            model.rewind(&**cache, before)?;
        }
        Ok(())
    }

    /// Draws one token for every row.
    ///
    /// # Errors
    /// What sampling raises.
    pub fn advance(
        &mut self,
        run: &mut Run<M>,
        part: usize,
        logits: &M::Tensor,
        cache: Option<Box<dyn Any>>,
    ) -> Result<Stepped<M::Tensor>, Raise> {
        self.cache = cache;
        let machine = run.machine.clone();
        let logits = logits.last_position()?;
        let turn = Rc::clone(&run.job.turn);
        let stint = turn.enter();
        let step = self.sampler.step(&machine, &logits, &self.sequences);
        run.busy += turn.leave(stint);
        if let Some(step) = step? {
            if let (Some(order), Some(cache)) = (&step.order, &self.cache) {
                run.job.model.reorder(&**cache, order)?;
            }
            let chosen: Vec<i64> = step.sequences.iter().filter_map(|row| row.last().copied()).collect();
            self.sequences = step.sequences;
            return self.note(run, part, &chosen, step.done).map(Stepped::Done);
        }
        self.sampler.draw(&machine, &logits, &self.sequences).map(Stepped::Drawn)
    }

    /// Appends one token to every row. Returns whether all rows are complete.
    ///
    /// # Errors
    /// For another number of tokens than of rows, and as the block's code does.
    pub fn append(&mut self, run: &mut Run<M>, part: usize, chosen: Vec<i64>) -> Result<bool, Raise> {
        let mut chosen = chosen;
        if chosen.len() != self.sequences.len() {
            // A block gave the model's values on with other rows; in the words of what appends tokens in transformers.
            return Err(Raise::runtime_error(format!(
                "Sizes of tensors must match except in dimension 1. Expected size {} but got size {} for tensor number 1 in \
                 the list.",
                self.sequences.len(),
                chosen.len()
            )));
        }
        for ((token, row), finished) in chosen.iter_mut().zip(&mut self.sequences).zip(&mut self.finished) {
            if *finished {
                *token = self.sampler.pad_token();
            }
            row.push(*token);
            *finished |= self.sampler.finished(row);
        }
        let done = self.finished.iter().all(|&done| done);
        self.note(run, part, &chosen, done)
    }

    /// Notes that every row has grown by a token. Returns whether all are complete.
    fn note(&mut self, run: &mut Run<M>, part: usize, chosen: &[i64], done: bool) -> Result<bool, Raise> {
        if let Some(mask) = &mut self.mask {
            mask.iter_mut().for_each(|row| row.push(1));
        }
        if let Some(positions) = &mut self.positions {
            positions.iter_mut().for_each(|row| row.push(row.last().copied().unwrap_or(0) + 1));
        }
        let length = self.sequences.first().map_or(0, Vec::len);
        let anew = self.anew_at.is_some_and(|at| i64::try_from(length) == Ok(at));
        self.fresh = if self.caching && !anew { 1 } else { length };
        if anew {
            let cache = run.job.model.new_cache();
            run.job.model.expect(&*cache, self.longest());
            self.cache = Some(cache);
        }
        let rows = i64::try_from(chosen.len()).unwrap_or(i64::MAX);
        if self.streams {
            run.offer(Location::Streamed, part, Tree::Leaf(prompt::shaped_tensor(vec![rows], chosen)?));
        }
        let done = done || self.sampler.remaining(length) == 0;
        let furthest = match &self.positions {
            Some(positions) => positions.iter().flatten().copied().max(),
            None => i64::try_from(length).ok().map(|length| length - 1),
        };
        if !done && self.limit.zip(furthest).is_some_and(|(limit, furthest)| furthest >= limit) {
            return Err(prompt::out_of_range());
        }
        Ok(done)
    }

    /// Returns whether the model has to return more than logits, which it then does for a whole pass.
    pub fn collects(&self) -> bool {
        self.keeps.hidden_states || self.keeps.attentions
    }

    /// Keeps what the result has of a pass's output.
    pub fn collect(&mut self, run: &Run<M>, part: usize, output: &Tree<M::Tensor>) {
        let Tree::Record { fields, .. } = output else { return };
        for (name, field) in fields {
            match *name {
                "hidden_states" if self.keeps.hidden_states => self.hidden_states.push(shown(run, part, field)),
                "attentions" if self.keeps.attentions => self.attentions.push(shown(run, part, field)),
                "past_key_values" if self.keeps.record => self.past = shown(run, part, field),
                _ => {}
            }
        }
    }

    /// Ends a generation whose steps had rules of their own. Returns its record, where it is to be one.
    ///
    /// # Errors
    /// What those rules raise.
    pub fn finish(&mut self, run: &Run<M>) -> Result<Option<Value>, Raise> {
        let Some(generated) = self.sampler.end(&run.machine, &self.sequences)? else { return Ok(None) };
        if let Some(rows) = prompt::id_rows::<M::Tensor>(&run.machine, &generated.sequences)? {
            self.sequences = rows;
        }
        let Some((class, fields)) = generated.record else { return Ok(None) };
        let kept = |wanted, all: &mut Vec<Value>| match wanted {
            true => Value::tuple(std::mem::take(all)),
            false => Value::None,
        };
        let more = [
            ("attentions", kept(self.keeps.attentions, &mut self.attentions)),
            ("hidden_states", kept(self.keeps.hidden_states, &mut self.hidden_states)),
            ("past_key_values", std::mem::replace(&mut self.past, Value::None)),
        ];
        let fields = [("sequences", generated.sequences)].into_iter().chain(fields).chain(more).collect();
        Ok(Some(Value::Host(Rc::new(ModelOutput::new(class, fields)))))
    }

    /// Returns whether there is nothing to generate from the start.
    #[must_use]
    pub fn exhausted(&self) -> bool {
        self.sampler.remaining(self.sequences.first().map_or(0, Vec::len)) == 0
    }

    /// Returns the rows as they are by now, prompt first.
    pub fn sequences(&self) -> &[Vec<i64>] {
        &self.sequences
    }

    /// Returns all ids, prompt first: `[rows, length]` int64.
    ///
    /// # Errors
    /// When the tensor cannot be made.
    pub fn ids(&self) -> Result<M::Tensor, Raise> {
        let rows = i64::try_from(self.sequences.len()).unwrap_or(i64::MAX);
        let length = i64::try_from(self.sequences.first().map_or(0, Vec::len)).unwrap_or(i64::MAX);
        prompt::int_tensor(rows, length, self.sequences.iter().flatten().copied().collect())
    }
}

/// Shows a part of a model's output to Python.
fn shown<M: Model>(run: &Run<M>, part: usize, tree: &Tree<M::Tensor>) -> Value {
    match tree {
        Tree::Leaf(tensor) => tensor.to_value(&run.machine),
        Tree::Tuple(items) => Value::tuple(items.iter().map(|item| shown(run, part, item)).collect()),
        Tree::Object(object) => run.job.model.object(&run.machine, object, part),
        _ => Value::None,
    }
}

/// Counts a row's tokens as `generate()` does where nobody gave positions: what is masked stands at zero.
fn counted(mask: &[i64]) -> Vec<i64> {
    let mut seen = 0;
    let position = |&one: &i64| {
        seen += one;
        if one == 0 { 0 } else { seen - 1 }
    };
    mask.iter().map(position).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_tokens_stand_at_zero_and_the_others_are_counted() {
        assert_eq!(counted(&[0, 0, 1, 1]), [0, 0, 0, 1]);
        assert_eq!(counted(&[1, 0, 1]), [0, 0, 1]);
        assert_eq!(counted(&[1, 1, 0]), [0, 1, 0]);
    }
}
