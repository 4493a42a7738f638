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

/// Sequences that lie end to end.
pub struct Sequences {
    /// Where each begins, and where the last one ends: int32 on the device.
    starts: Tensor,
    longest: i64,
}

/// Sequences of states of one type, by their lengths: the layers of a pass ask for the same ones again.
pub struct Known {
    pub kind: Kind,
    by_lengths: RefCell<HashMap<Vec<i64>, Rc<Sequences>>>,
}

impl Known {
    /// Makes a memory of no sequences.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self { kind, by_lengths: RefCell::default() }
    }

    /// Returns the sequences of some lengths.
    ///
    /// # Errors
    /// When they have more tokens than an int32 counts, or the device has no room.
    pub fn of(&self, lengths: Vec<i64>, device: Device) -> Result<Rc<Sequences>, TchError> {
        if let Some(known) = self.by_lengths.borrow().get(&lengths) {
            return Ok(Rc::clone(known));
        }
        let (mut starts, mut end, mut longest) = (vec![0_i32], 0, 0);
        for &length in &lengths {
            end += length;
            longest = longest.max(length);
            starts.push(i32::try_from(end).map_err(|_| TchError::Shape(format!("{end} tokens are too many")))?);
        }
        let starts = Tensor::f_from_slice(&starts)?.f_to_device(device)?;
        let sequences = Rc::new(Sequences { starts, longest });
        self.by_lengths.borrow_mut().insert(lengths, Rc::clone(&sequences));
        Ok(sequences)
    }
}

/// Returns whether a device has kernels for heads of a size: tried, for it depends on the GPU.
#[must_use]
pub fn has_kernels(kind: Kind, device: Device, head: i64) -> bool {
    let tried = || -> Result<Tensor, TchError> {
        let states = Tensor::f_zeros([2, 1, head], (kind, device))?;
        let sequences = Known::new(kind).of(vec![2], device)?;
        attend([&states, &states, &states], [&sequences, &sequences], 1.0)
    };
    device.is_cuda() && head % 8 == 0 && head <= 256 && tried().is_ok()
}

/// Returns whether sequences of one token have to be apart from longer ones: the kernel turns heads of one group into
/// rows where there is nothing else, and may go on in other steps then.
#[must_use]
pub fn parts_single_tokens(kind: Kind) -> bool {
    is_half(kind)
}

/// Lets queries, `[tokens, heads, head_dim]`, attend to keys and values, `[all tokens, key_heads, head_dim]`: each
/// sequence's last query to all of its keys, the one before to all but the last, and so on. Nothing is recorded.
///
/// # Errors
/// When shapes do not fit, or the device has no such kernel.
pub fn attend(
    [query, key, value]: [&Tensor; 3],
    [queries, keys]: [&Sequences; 2],
    scaling: f64,
) -> Result<Tensor, TchError> {
    let (key, value) = if is_half(query.f_kind()?) {
        (key.shallow_clone(), value.shallow_clone())
    } else {
        let heads = |states: &Tensor| states.size().get(1).copied().unwrap_or(1).max(1);
        let groups = heads(query) / heads(key);
        (repeat(key, groups)?, repeat(value, groups)?)
    };
    let mut failure = Failure::none();
    // SAFETY: the tensors are alive, and the shim only reads them.
    let made = unsafe {
        ffi::vt_attend_varlen(
            query.as_ptr().cast(),
            key.as_ptr().cast(),
            value.as_ptr().cast(),
            queries.starts.as_ptr().cast(),
            keys.starts.as_ptr().cast(),
            queries.longest,
            keys.longest,
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
