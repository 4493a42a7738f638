//! What a pass asks of a model.

use std::any::Any;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Machine, Value};

use crate::adapters::Files;
use crate::model::{Attention, Drawn, Forwarded, Interrupt, Observer, Sampler, Schema, Segment, Site, Tensor, Trunk};

/// Arithmetic and facts: passes over segments, what they grow, and what is chosen of their logits.
pub trait Arithmetic: 'static {
    type Tensor: Tensor;

    fn schema(&self) -> &Schema;

    /// Runs the segments through the model, showing modules to the observer. Caches in the segments grow.
    ///
    /// # Errors
    /// The observer's interrupt, or failed arithmetic.
    fn forward(
        &self,
        segments: &mut [Segment<Self::Tensor>],
        observer: &mut dyn Observer<Self::Tensor>,
    ) -> Result<Forwarded<Self::Tensor>, Interrupt>;

    /// Finds a PEFT adapter, which is read in the order in which a pass comes to the modules that it is for.
    ///
    /// # Errors
    /// `ValueError` where there is none of that name.
    fn adapter(&self, name: &str) -> Result<Files, Raise> {
        Err(Raise::value_error(format!("this server has no PEFT adapter {name:?} for this model")))
    }

    /// Returns whether a module takes tokens, as the whole model does: a trace of it is given what one of the model is.
    fn takes_tokens(&self, site: Site) -> bool {
        site == Site(0)
    }

    /// Estimates the bytes that a pass over `rows × length` tokens takes, weights apart, where caches grow to `total` tokens
    /// for each row.
    fn pass_bytes(&self, _rows: i64, _length: i64, _total: i64, _attention: Attention) -> u64 {
        0
    }

    /// Returns how many tokens the model has embeddings of: no other id can be looked up.
    fn vocabulary(&self) -> Option<i64> {
        None
    }

    /// Returns how many positions the model has embeddings of; `None` where positions are computed.
    fn positions(&self) -> Option<i64> {
        None
    }

    /// Returns the length at which a generation computes all of its sequences again, if there is one: there the model begins to
    /// rotate all positions in another way.
    fn begins_anew_at(&self) -> Option<i64> {
        None
    }

    /// Returns whether calls that do not say so keep keys and values.
    fn caches(&self) -> bool {
        true
    }

    /// Checks the keyword arguments of a forward call before it waits for anything.
    ///
    /// # Errors
    /// `ValueError` naming what is not supported.
    fn accept(&self, _kwargs: &[(Rc<str>, Value)]) -> Result<(), Raise> {
        Ok(())
    }

    /// Computes rows of token ids that nobody looks at, and returns what [`Segment::trunks`] starts from; empty for
    /// a model that keeps nothing. `rest` is called where that could be left for a while.
    ///
    /// # Errors
    /// When the arithmetic fails.
    fn trunks(&self, _rows: &[Vec<i64>], _attention: Attention, _rest: &dyn Fn()) -> Result<Vec<Trunk>, Raise> {
        Ok(Vec::new())
    }

    /// Returns the bytes of what [`Arithmetic::trunks`] makes of a row of so many tokens.
    fn trunk_bytes(&self, _length: i64) -> u64 {
        0
    }

    /// Moves a tensor that comes from outside to where the model computes.
    ///
    /// # Errors
    /// When there is no room.
    fn place(&self, tensor: Self::Tensor) -> Result<Self::Tensor, Raise> {
        Ok(tensor)
    }

    /// Waits until what was begun is computed, where that happens beside the thread.
    fn catch_up(&self) {}

    /// Makes an empty cache for [`Segment::cache`].
    fn new_cache(&self) -> Box<dyn Any>;

    /// Says how many tokens each sequence of a cache will have at most, so that there can be room for them.
    fn expect(&self, _cache: &dyn Any, _longest: i64) {}

    /// Has a cache forget all tokens from one position on, as if a pass that failed had never begun.
    ///
    /// # Errors
    /// When there is no memory for it.
    fn rewind(&self, cache: &dyn Any, length: i64) -> Result<(), Raise>;

    /// Prepares `generate(**kwargs)` from the checkpoint's defaults and the caller's keyword arguments.
    ///
    /// # Errors
    /// `ValueError` for settings that contradict each other or are not supported.
    fn sampler(
        &self,
        machine: &Machine,
        kwargs: &[(Rc<str>, Value)],
        prompt: &[Vec<i64>],
    ) -> Result<Box<dyn Sampler<Self::Tensor>>, Raise>;

    /// Tells which tokens were drawn, for each of several generations, and waits for a device once.
    fn drawn(&self, all: Vec<Drawn<Self::Tensor>>) -> Vec<Result<Vec<i64>, Raise>>;

    /// Returns how many rows `generate(**kwargs)` makes of each row of its prompt.
    ///
    /// # Errors
    /// As [`Arithmetic::sampler`].
    fn copies(&self, _kwargs: &[(Rc<str>, Value)]) -> Result<usize, Raise> {
        Ok(1)
    }

    /// Lets each row of a cache be what another was.
    ///
    /// # Errors
    /// When there is no memory for it.
    fn reorder(&self, _cache: &dyn Any, _order: &[i64]) -> Result<(), Raise> {
        Err(Raise::runtime_error("the model's caches cannot be reordered"))
    }

    /// Lists the settings of `generate()` that the checkpoint itself has.
    fn generation_settings(&self) -> &[(String, serde_json::Value)] {
        &[]
    }
}
