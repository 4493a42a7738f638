//! Finds where a row was changed.

use std::collections::VecDeque;
use std::ops::Range;

use interpreter::raise::Raise;

use crate::model::{Form, Part, Tensor, Tree};
use crate::tree;

/// What a tensor is known by as long as nobody writes to it. Where that cannot be told, it is compared with a copy.
struct Stamp {
    writes: i64,
    memory: usize,
    form: Form,
}

impl Stamp {
    fn of<T: Tensor>(tensor: &T) -> Option<Self> {
        Some(Self { writes: tensor.writes()?, memory: tensor.memory(), form: tensor.form() })
    }

    fn fits<T: Tensor>(&self, tensor: &T) -> bool {
        tensor.writes() == Some(self.writes) && tensor.memory() == self.memory && tensor.form() == self.form
    }
}

/// A tensor that blocks have seen, and how it was then.
struct Seen<T> {
    live: T,
    copy: T,
    /// `None` where it is not known that the live one was like the copy.
    stamp: Option<Stamp>,
}

impl<T: Tensor> Seen<T> {
    /// Returns whether it is certain that the live one still is like the copy.
    fn is_untouched(&self) -> bool {
        self.stamp.as_ref().is_some_and(|stamp| stamp.fits(&self.live))
    }

    /// Returns, for each row, the first position that differs.
    fn first_differences(&self) -> Result<Vec<i64>, Raise> {
        if self.is_untouched() { Ok(none(&self.copy)) } else { self.live.first_differences(&self.copy) }
    }

    /// Returns whether there are differences in what [`Seen::first_differences`] found.
    fn is_changed(&self, found: &[i64]) -> bool {
        found.iter().zip(none(&self.copy)).any(|(found, none)| *found != none)
    }
}

/// Returns what [`Tensor::first_differences`] does where nothing differs.
fn none<T: Tensor>(tensor: &T) -> Vec<i64> {
    let shape = tensor.shape();
    let rows = usize::try_from(shape.first().copied().unwrap_or(1)).unwrap_or(0);
    vec![shape.get(1).copied().unwrap_or(1); rows]
}

/// What was shown of one segment: live tensors, and copies of how they were.
///
/// Blocks may write to what they were shown at any later moment, so that tensors are looked at when it matters, not
/// when the block goes on.
pub struct Shown<T> {
    seen: Vec<Seen<T>>,
    /// What was compared already: the model has gone on with copies.
    pub left: Trail<T>,
    /// Set when a value took another form, or was never computed: then everything counts as changed.
    reshaped: bool,
    rows: i64,
    length: i64,
}

/// What the pass has left behind of one segment, and how it was then.
pub struct Trail<T> {
    left: VecDeque<Vec<Seen<T>>>,
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
    pub fn push(&mut self, live: Vec<T>, copy: &T) -> Result<(), Raise> {
        let seen = |live: T| Seen { stamp: Stamp::of(&live), live, copy: copy.clone() };
        self.left.push_back(live.into_iter().map(seen).collect());
        if self.left.len() > TRAIL
            && let Some(left) = self.left.pop_front()
        {
            self.written |= differ(&left)?;
        }
        Ok(())
    }

    /// Returns whether a block wrote to any of it since, which other tensors should show.
    ///
    /// # Errors
    /// When tensors cannot be compared.
    pub fn is_written(&self) -> Result<bool, Raise> {
        self.left.iter().try_fold(self.written, |written, left| Ok(written || differ(left)?))
    }
}

fn differ<T: Tensor>(seen: &[Seen<T>]) -> Result<bool, Raise> {
    seen.iter().try_fold(false, |differ, seen| Ok(differ || seen.is_changed(&seen.first_differences()?)))
}

impl<T> Default for Shown<T> {
    fn default() -> Self {
        Self { seen: Vec::new(), left: Trail::default(), reshaped: false, rows: 0, length: 0 }
    }
}

impl<T: Tensor> Shown<T> {
    /// Copies what is about to be shown. Returns which of the tensors these are.
    ///
    /// # Errors
    /// When there is no memory for the copies.
    pub fn watch<'t>(&mut self, part: &Part, trees: impl Iterator<Item = &'t Tree<T>>) -> Result<Range<usize>, Raise> {
        (self.rows, self.length) = (part.rows, part.length);
        let from = self.seen.len();
        for live in leaves(trees) {
            let copy = live.duplicate()?;
            self.seen.push(Seen { stamp: Stamp::of(&live), live, copy });
        }
        Ok(from..self.seen.len())
    }

    /// Puts what a block assigned in place of what it was shown.
    pub fn replace<'t>(&mut self, range: Range<usize>, trees: impl Iterator<Item = &'t Tree<T>>) {
        let new = leaves(trees);
        match self.seen.get_mut(range) {
            Some(all) if all.len() == new.len() => {
                all.iter_mut().zip(new).for_each(|(seen, new)| (seen.live, seen.stamp) = (new, None));
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
        for seen in std::mem::take(&mut self.seen) {
            let by_position = seen.copy.shape().starts_with(&[self.rows, self.length]);
            let found = seen.first_differences()?;
            let changed = seen.is_changed(&found);
            let Seen { live, copy, .. } = seen;
            if by_position {
                first.iter_mut().zip(found).for_each(|(first, found)| *first = (*first).min(found));
            } else if changed {
                // Masks, weights, caches: what they hold is not laid out by position.
                first.fill(0);
            }
            let copy = if changed { live.duplicate()? } else { copy };
            self.left.push(vec![live], &copy)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeTensor;

    fn part() -> Part {
        Part { segment: Some(crate::model::SegmentIndex(0)), rows: 1, length: 3 }
    }

    fn show(shown: &mut Shown<FakeTensor>, tensor: &FakeTensor) -> Range<usize> {
        shown.watch(&part(), std::iter::once(&Tree::Leaf(tensor.clone()))).unwrap()
    }

    #[test]
    fn what_was_written_is_found_where_nobody_counts() {
        let tensor = FakeTensor::new(vec![0.0; 3], vec![1, 3, 1]);
        let mut untouched = Shown::default();
        show(&mut untouched, &tensor);
        assert_eq!(untouched.written().unwrap(), [3]);
        let mut shown = Shown::default();
        show(&mut shown, &tensor);
        tensor.write(|index, number| if index == 1 { 5.0 } else { number });
        assert_eq!(shown.written().unwrap(), [1]);
        assert!(!shown.left.is_written().unwrap());
        tensor.write(|_, _| 7.0);
        assert!(shown.left.is_written().unwrap(), "the pass has gone on with a copy");
        // Another tensor in its place differs from what was shown, whoever counts what.
        let mut shown = Shown::default();
        let range = show(&mut shown, &tensor);
        let other = FakeTensor::new(vec![7.0, 7.0, 8.0], vec![1, 3, 1]);
        shown.replace(range, std::iter::once(&Tree::Leaf(other)));
        assert_eq!(shown.written().unwrap(), [2]);
    }
}
