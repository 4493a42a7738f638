//! Causal attention over sequences of any lengths that lie end to end, in one kernel on a GPU.
//!
//! The kernel computes each head of each sequence by itself, at sizes that depend on the model alone: a sequence gets the
//! bits that it gets alone, whatever lies beside it, NaN included.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use libtorch::{Failure, ffi};
use tch::{Device, Kind, TchError, Tensor};

use crate::weight::is_half;

/// Sequences that lie in one tensor.
pub struct Sequences {
    begins: Vec<i64>,
    lengths: Vec<i64>,
    /// Where each begins, and behind the last one where that ends: int32 on the device.
    starts: Tensor,
    /// The length of each, where they do not lie end to end.
    used: Option<Tensor>,
    longest: i64,
}

/// Sequences of states of one type, by where they lie: the layers of a pass ask for the same ones again.
pub struct Known {
    pub kind: Kind,
    by_places: RefCell<HashMap<Places, Rc<Sequences>>>,
}

/// Where sequences begin, unless they lie end to end, and their lengths.
type Places = (Option<Vec<i64>>, Vec<i64>);

impl Known {
    /// Makes a memory of no sequences.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self { kind, by_places: RefCell::default() }
    }

    /// Returns the sequences of some lengths, end to end.
    ///
    /// # Errors
    /// When they have more tokens than an int32 counts, or the device has no room.
    pub fn of(&self, lengths: Vec<i64>, device: Device) -> Result<Rc<Sequences>, TchError> {
        self.find((None, lengths), device)
    }

    /// Returns the sequences of some lengths that begin at such places.
    ///
    /// # Errors
    /// As [`Known::of`].
    pub fn within(&self, begins: Vec<i64>, lengths: Vec<i64>, device: Device) -> Result<Rc<Sequences>, TchError> {
        self.find((Some(begins), lengths), device)
    }

    fn find(&self, places: Places, device: Device) -> Result<Rc<Sequences>, TchError> {
        if let Some(known) = self.by_places.borrow().get(&places) {
            return Ok(Rc::clone(known));
        }
        let (begins, lengths) = places.clone();
        let end_to_end = begins.is_none();
        let begins = begins.unwrap_or_else(|| {
            let next = |end: &mut i64, length: &i64| Some(std::mem::replace(end, *end + length));
            lengths.iter().scan(0, next).collect()
        });
        let end = begins.last().zip(lengths.last()).map_or(0, |(begin, length)| begin + length);
        let small =
            |&number: &i64| i32::try_from(number).map_err(|_| TchError::Shape(format!("{number} tokens are too many")));
        let counts = if end_to_end { &[] } else { lengths.as_slice() };
        let all = begins.iter().chain(&[end]).chain(counts).map(small).collect::<Result<Vec<_>, _>>()?;
        let all = Tensor::f_from_slice(&all)?.f_to_device(device)?;
        let count = i64::try_from(lengths.len()).unwrap_or(i64::MAX);
        let starts = all.f_narrow(0, 0, count + 1)?;
        // In memory of its own, which begins where kernels want it to.
        let used = if end_to_end { None } else { Some(Tensor::f_cat(&[all.f_narrow(0, count + 1, count)?], 0)?) };
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let sequences = Rc::new(Sequences { begins, lengths, starts, used, longest });
        self.by_places.borrow_mut().insert(places, Rc::clone(&sequences));
        Ok(sequences)
    }

    /// Returns the sequences of each of so many heads, where all tokens of one head come before those of the next.
    fn by_head(
        &self,
        sequences: &Sequences,
        heads: i64,
        tokens: i64,
        device: Device,
    ) -> Result<Rc<Sequences>, TchError> {
        let begins = sequences.begins.iter().flat_map(|begin| (0..heads).map(move |head| head * tokens + begin));
        let count = usize::try_from(heads).unwrap_or(0);
        let lengths = sequences.lengths.iter().flat_map(|&length| std::iter::repeat_n(length, count));
        self.within(begins.collect(), lengths.collect(), device)
    }
}

/// Returns whether a device has kernels for heads of a size: tried, for it depends on the GPU.
#[must_use]
pub fn has_kernels(kind: Kind, device: Device, head: i64) -> bool {
    let tried = || -> Result<Tensor, TchError> {
        let states = Tensor::f_zeros([2, 1, head], (kind, device))?;
        let known = Known::new(kind);
        let sequences = known.of(vec![2], device)?;
        attend([&states, &states, &states], [&sequences, &sequences], 1.0, &known)
    };
    device.is_cuda() && head % 8 == 0 && head <= 256 && tried().is_ok()
}

/// Lets queries, `[tokens, heads, head_dim]`, attend to keys and values, `[places, key_heads, head_dim]`: each
/// sequence's last query to all of its keys, the one before to all but the last, and so on. Nothing is recorded.
///
/// Sequences of one token each have to be apart from longer ones: heads of one group are then rows of one sequence, as the kernels
/// for halves make them by themselves, and no key is copied for each of them.
///
/// # Errors
/// When shapes do not fit, or the device has no such kernel.
pub fn attend(
    [query, key, value]: [&Tensor; 3],
    [queries, keys]: [&Sequences; 2],
    scaling: f64,
    known: &Known,
) -> Result<Tensor, TchError> {
    let size = |states: &Tensor, dim: usize| states.size().get(dim).copied().unwrap_or(1);
    let (heads, key_heads) = (size(query, 1), size(key, 1).max(1));
    let groups = heads / key_heads;
    if is_half(query.f_kind()?) || groups == 1 {
        return launch([query, key, value], [queries, keys], scaling, true);
    }
    if queries.longest > 1 {
        return launch([query, &repeat(key, groups)?, &repeat(value, groups)?], [queries, keys], scaling, true);
    }
    let (tokens, head, device) = (size(query, 0), size(query, 2), query.device());
    let keys = known.by_head(keys, key_heads, size(key, 0), device)?;
    let rows = usize::try_from(tokens * key_heads).unwrap_or(0);
    let queries = known.of(vec![groups; rows], device)?;
    let by_head = |states: &Tensor| states.f_transpose(0, 1)?.f_contiguous()?.f_view([-1, 1, head]);
    let query = query.f_reshape([tokens * heads, 1, head])?;
    launch([&query, &by_head(key)?, &by_head(value)?], [&queries, &keys], scaling, false)?.f_view([tokens, heads, head])
}

/// Without `causal` each query sees all keys of its sequence.
fn launch(
    [query, key, value]: [&Tensor; 3],
    [queries, keys]: [&Sequences; 2],
    scaling: f64,
    causal: bool,
) -> Result<Tensor, TchError> {
    let mut failure = Failure::none();
    let used = keys.used.as_ref().map_or(std::ptr::null(), |used| used.as_ptr().cast());
    // SAFETY: the tensors are alive, or there is none, and the shim only reads them.
    let made = unsafe {
        ffi::vt_attend_varlen(
            query.as_ptr().cast(),
            key.as_ptr().cast(),
            value.as_ptr().cast(),
            queries.starts.as_ptr().cast(),
            keys.starts.as_ptr().cast(),
            used,
            queries.longest,
            keys.longest,
            causal,
            scaling,
            failure.out(),
        )
    };
    libtorch::adopt(made).ok_or_else(|| TchError::Torch(failure.problem().text))
}

/// Repeats each head, of the second dimension, so many times in a row.
///
/// # Errors
/// When there is no memory for it.
pub fn repeat(states: &Tensor, groups: i64) -> Result<Tensor, TchError> {
    if groups == 1 {
        return Ok(states.shallow_clone());
    }
    states.f_repeat_interleave_self_int(groups, 1, None::<i64>)
}
