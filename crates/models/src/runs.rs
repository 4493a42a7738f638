//! Parts of a pass that attend in one call.
//!
//! A call for each part costs more than its arithmetic where parts are short. Adjacent parts of one form that have
//! nothing before them are rows of one batch to the kernel, which computes each head of each row by itself, at the same
//! sizes and steps as alone: the bits are those that a part gets alone.

use std::rc::Rc;

use engine::{Attention, Site};
use tch::{Device, Kind, Tensor};

use crate::decoder::{Rotations, Shared};
use crate::pass::{Pass, Result, no_part};
use crate::tokens::Tokens;

/// Adjacent parts of a pass, each of so many rows of one length.
pub struct Run {
    pub first: usize,
    pub parts: usize,
    /// Of each part.
    pub rows: i64,
    pub length: i64,
}

impl Run {
    /// Returns the rows of all parts.
    pub fn all_rows(&self) -> i64 {
        self.rows * i64::try_from(self.parts).unwrap_or(0)
    }
}

impl Shared {
    /// Splits a pass into runs, each for one call of attention.
    pub fn runs(&self, pass: &Pass<'_>, site: Site, layer: usize, projected: &Tokens) -> Vec<Run> {
        let batches = matches!(projected, Tokens::Packed(tensor) if batches(tensor));
        let mut runs: Vec<Run> = Vec::with_capacity(pass.layout.parts.len());
        let mut joins = false;
        for (index, part) in pass.layout.parts.iter().enumerate() {
            let joined = joins;
            joins = batches && self.begins_here(pass, site, layer, index);
            match runs.last_mut() {
                Some(run) if joined && joins && (run.rows, run.length) == (part.rows, part.length) => run.parts += 1,
                _ => runs.push(Run { first: index, parts: 1, rows: part.rows, length: part.length }),
            }
        }
        runs
    }

    /// Returns whether a part's keys and values of a layer are its new ones, which go into a cache, and no mask hides any.
    fn begins_here(&self, pass: &Pass<'_>, site: Site, layer: usize, index: usize) -> bool {
        let sdpa = self.attention.get(index).copied().unwrap_or_default() == Attention::Sdpa;
        let Some(part) = pass.layout.parts.get(index).filter(|_| sdpa && self.mask(index).is_none()) else {
            return false;
        };
        self.rotations.as_ref().is_none_or(|rotations| rotations.batch(index, part.length))
            && self.cache(index).is_some_and(|cache| cache.begins(layer, part.length))
            && !pass.leaves_out(part, site)
    }

    /// Puts a run's new keys and values into its caches, and returns all that its queries attend to.
    pub fn update(
        &self,
        pass: &Pass<'_>,
        site: Site,
        layer: usize,
        run: &Run,
        keys: Tensor,
        values: Tensor,
    ) -> Result<(Tensor, Tensor)> {
        if run.parts == 1 {
            let part = pass.layout.parts.get(run.first).ok_or_else(no_part)?;
            // What a segment skips leaves no keys and values behind.
            let cache = self.cache(run.first).filter(|_| !pass.leaves_out(part, site));
            return Ok(match cache {
                Some(cache) => cache.update(layer, &keys, &values)?,
                None => (keys, values),
            });
        }
        // A copy, as a cache makes it: at the same steps, and out of reach of later edits of the projections' outputs.
        let all = Rc::new((Tensor::f_cat(&[keys], -2)?, Tensor::f_cat(&[values], -2)?));
        for (part, first) in (run.first..run.first + run.parts).zip(0..) {
            if let Some(cache) = self.cache(part) {
                cache.place(layer, &all, first * run.rows, run.rows);
            }
        }
        Ok((all.0.shallow_clone(), all.1.shallow_clone()))
    }
}

impl Rotations {
    /// Returns whether a part's are what the model makes: a user may have put others there.
    fn batch(&self, part: usize, length: i64) -> bool {
        let made = |own: &Tensor| batches(own) && matches!(*own.size(), [1, positions, _] if positions == length);
        self.cosines.get(part).is_some_and(made) && self.sines.get(part).is_some_and(made)
    }

    /// Returns the cosines and sines of a run, if there are any.
    pub fn of(&self, run: &Run) -> Result<Option<(Tensor, Tensor)>> {
        let parts = run.first..run.first + run.parts;
        let (Some(cosines), Some(sines)) = (self.cosines.get(parts.clone()), self.sines.get(parts)) else {
            return Ok(None);
        };
        if let ([cosine], [sine]) = (cosines, sines) {
            return Ok(Some((cosine.shallow_clone(), sine.shallow_clone())));
        }
        let all = |own: &[Tensor]| {
            let rows = own.iter().map(|one| one.f_expand([run.rows, -1, -1], false));
            Tensor::f_cat(&rows.collect::<std::result::Result<Vec<_>, _>>()?, 0)
        };
        Ok(Some((all(cosines)?, all(sines)?)))
    }
}

/// Returns whether the kernel computes rows of a batch as it computes them alone: on a CPU in float32. In smaller types it
/// chooses how to go on by the size of the batch, and on a GPU how to split.
fn batches(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu && tensor.kind() == Kind::Float
}
