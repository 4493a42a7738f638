//! Finds where a row was changed.

use std::collections::VecDeque;
use std::ops::Range;

use interpreter::raise::Raise;

use crate::model::{Part, Tensor, Tree};
use crate::tree;

/// What was shown of one segment: live tensors, and copies of how they were.
///
/// Blocks may write to what they were shown at any later moment, so that tensors are compared when it matters, not
/// when the block goes on.
pub struct Shown<T> {
    pairs: Vec<(T, T)>,
    /// What was compared already: the model has gone on with copies.
    pub left: Trail<T>,
    /// Set when a value took another form, or was never computed: then everything counts as changed.
    reshaped: bool,
    rows: i64,
    length: i64,
}

/// What the pass has left behind of one segment, and how it was then.
pub struct Trail<T> {
    left: VecDeque<(Vec<T>, T)>,
    written: bool,
}

/// Tensors of a trail. In the model's own arithmetic a tensor is used until the next layer is done, and a pass leaves a
/// few behind by then.
const TRAIL: usize = 8;

impl<T> Default for Trail<T> {
    fn default() -> Self {
        Self { left: VecDeque::new(), written: false }
    }
}

impl<T: Tensor> Trail<T> {
    /// Remembers tensors that were one and the same to blocks, by a copy.
    ///
    /// # Errors
    /// When tensors cannot be compared.
    pub fn push(&mut self, live: Vec<T>, copy: T) -> Result<(), Raise> {
        self.left.push_back((live, copy));
        if self.left.len() > TRAIL
            && let Some((live, copy)) = self.left.pop_front()
        {
            self.written |= differ(&live, &copy)?;
        }
        Ok(())
    }

    /// Returns whether a block wrote to any of it since, which other tensors should show.
    ///
    /// # Errors
    /// When tensors cannot be compared.
    pub fn is_written(&self) -> Result<bool, Raise> {
        self.left.iter().try_fold(self.written, |written, (live, copy)| Ok(written || differ(live, copy)?))
    }
}

fn differ<T: Tensor>(live: &[T], copy: &T) -> Result<bool, Raise> {
    let none = copy.first_differences(copy)?;
    live.iter().try_fold(false, |differ, live| Ok(differ || live.first_differences(copy)? != none))
}

impl<T> Default for Shown<T> {
    fn default() -> Self {
        Self { pairs: Vec::new(), left: Trail::default(), reshaped: false, rows: 0, length: 0 }
    }
}

impl<T: Tensor> Shown<T> {
    /// Copies what is about to be shown. Returns which of the tensors these are.
    ///
    /// # Errors
    /// When there is no memory for the copies.
    pub fn watch<'t>(&mut self, part: &Part, trees: impl Iterator<Item = &'t Tree<T>>) -> Result<Range<usize>, Raise> {
        (self.rows, self.length) = (part.rows, part.length);
        let from = self.pairs.len();
        for live in leaves(trees) {
            let copy = live.duplicate()?;
            self.pairs.push((live, copy));
        }
        Ok(from..self.pairs.len())
    }

    /// Puts what a block assigned in place of what it was shown.
    pub fn replace<'t>(&mut self, range: Range<usize>, trees: impl Iterator<Item = &'t Tree<T>>) {
        let new = leaves(trees);
        match self.pairs.get_mut(range) {
            Some(pairs) if pairs.len() == new.len() => {
                pairs.iter_mut().zip(new).for_each(|(pair, new)| pair.0 = new);
            }
            _ => self.reshaped = true,
        }
    }

    /// Notes that everything is another value than would have been shown.
    pub fn replace_all(&mut self) {
        self.reshaped = true;
    }

    /// Returns each row's first changed position, or the length where nothing changed; and forgets what was shown.
    ///
    /// # Errors
    /// When tensors cannot be compared.
    pub fn written(&mut self) -> Result<Vec<i64>, Raise> {
        let rows = usize::try_from(self.rows).unwrap_or(0);
        let mut first = vec![if self.reshaped { 0 } else { self.length }; rows];
        for (live, copy) in std::mem::take(&mut self.pairs) {
            let by_position = copy.shape().starts_with(&[self.rows, self.length]);
            let found = live.first_differences(&copy)?;
            let changed = found != copy.first_differences(&copy)?;
            if by_position {
                first.iter_mut().zip(found).for_each(|(first, found)| *first = (*first).min(found));
            } else if changed {
                // Masks, weights, caches: what they hold is not laid out by position.
                first.fill(0);
            }
            let copy = if changed { live.duplicate()? } else { copy };
            self.left.push(vec![live], copy)?;
        }
        self.reshaped = false;
        Ok(first)
    }
}

fn leaves<'t, T: Tensor>(trees: impl Iterator<Item = &'t Tree<T>>) -> Vec<T> {
    let mut found = Vec::new();
    trees.for_each(|tree| tree::leaves(tree, &mut found));
    // What is not computed yet lies behind all that is kept.
    found.retain(|leaf| !leaf.pending());
    found
}
