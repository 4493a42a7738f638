//! Attention that takes long.
//!
//! A kernel computes each head by itself, and each block of queries: so heads and queries are cut, where there are so many
//! that others should not wait for all of them.

use std::ops::Range;

use tch::{Device, TchError, Tensor};

use crate::number;
use crate::varlen::repeat;

/// Multiplications of a piece, which takes some tenths of a second.
const PIECE: i64 = 1 << 32;
/// Queries that a piece has at least: kernels go on in blocks, of one size for any more than 767.
const QUERIES: i64 = 1024;
/// Keys that kernels go through at a time: a piece has them in the same blocks as the whole.
const KEYS: i64 = 512;

/// Which keys each query sees.
#[derive(Clone, Copy)]
pub enum Seen<'a> {
    /// Those that a mask shows, `[rows or 1, heads or 1, length, past + length]`.
    Shown(&'a Tensor),
    /// Its own and those before.
    Before,
    All,
}

impl<'a> Seen<'a> {
    /// Returns the mask, if there is one.
    #[must_use]
    pub fn mask(self) -> Option<&'a Tensor> {
        if let Self::Shown(mask) = self { Some(mask) } else { None }
    }
}

/// Lets queries, `[rows, heads, length, head_dim]`, attend to those keys and values, `[rows, key_heads, past + length, head_dim]`,
/// that they see. Where there are many, `rest` is called between pieces: where these begin depends on sizes alone, as bits may.
///
/// # Errors
/// When the shapes do not fit each other.
pub fn attend(states: [&Tensor; 3], seen: Seen<'_>, scaling: f64, rest: &dyn Fn()) -> Result<Tensor, TchError> {
    let [query, key, _] = states;
    let (shape, keys) = (query.size(), key.size());
    let (&[rows, heads, length, head], &[_, key_heads, all, _]) = (shape.as_slice(), keys.as_slice()) else {
        return Err(TchError::Shape(format!("queries have shape {shape:?}, and keys {keys:?}")));
    };
    let group = heads / key_heads.max(1);
    let query_work = (group * 2 * head).saturating_mul(all).max(1);
    let group_work = query_work.saturating_mul(length);
    let row_work = group_work.saturating_mul(key_heads);
    // A GPU computes while its thread does something else.
    if query.device() != Device::Cpu || row_work.saturating_mul(rows) <= PIECE {
        return Heads { states: states.map(Tensor::shallow_clone), seen, scaling }.attend();
    }
    if rows > 1 {
        return attend_by_rows((PIECE / row_work).max(1), states, seen, scaling, rest);
    }
    let groups = (PIECE / group_work).max(1);
    // Where gradients are recorded, those of keys are sums over all queries.
    let recorded = states.iter().any(|states| states.requires_grad());
    let queries = if recorded { length } else { (PIECE / query_work / QUERIES).max(1) * QUERIES };
    let parts = |states: &Tensor, heads| states.f_split(groups * heads, 1);
    let parts = parts(query, group)?.into_iter().zip(parts(key, 1)?).zip(parts(states[2], 1)?);
    let mut attended = Vec::new();
    for ((query, key), value) in parts {
        let own = Heads { states: [query, key, value], seen, scaling };
        attended.push(if queries >= length { own.attend()? } else { own.attend_by_queries(queries, rest)? });
        rest();
    }
    Tensor::f_cat(&attended, 1)
}

/// The same for so many rows at a time.
fn attend_by_rows(
    rows: i64,
    states: [&Tensor; 3],
    seen: Seen<'_>,
    scaling: f64,
    rest: &dyn Fn(),
) -> Result<Tensor, TchError> {
    let [queries, keys, values] = states.map(|states| states.f_split(rows, 0));
    let (mut attended, mut first) = (Vec::new(), 0);
    for ((query, key), value) in queries?.iter().zip(&keys?).zip(&values?) {
        let own = |mask: &Tensor| {
            if size(mask, 0) == 1 { Ok(mask.shallow_clone()) } else { mask.f_narrow(0, first, size(query, 0)) }
        };
        let mask = seen.mask().map(own).transpose()?;
        attended.push(attend([query, key, value], mask.as_ref().map_or(seen, Seen::Shown), scaling, rest)?);
        first += size(query, 0);
        rest();
    }
    Tensor::f_cat(&attended, 0)
}

/// Heads that attend.
struct Heads<'a> {
    states: [Tensor; 3],
    seen: Seen<'a>,
    scaling: f64,
}

impl Heads<'_> {
    fn attend(&self) -> Result<Tensor, TchError> {
        let [query, key, value] = &self.states;
        let [heads, length, head] = [1, 2, 3].map(|dim| size(query, dim));
        let (groups, past) = (heads / size(key, 1).max(1), size(key, 2) - length);
        // PyTorch's causal mode counts from the first key.
        let before = length > 1 && matches!(self.seen, Seen::Before);
        let behind = before && past > 0;
        let made = behind.then(|| visible(past..past + length, past + length, query.device())).transpose()?;
        let mask = self.seen.mask().or(made.as_ref());
        let causal = before && mask.is_none();
        // The fused kernels take grouped heads only without a mask.
        let fused = groups > 1 && mask.is_none() && head <= 256;
        let all = |states: &Tensor| if fused { Ok(states.shallow_clone()) } else { repeat(states, groups) };
        let (key, value) = (all(key)?, all(value)?);
        Tensor::f_scaled_dot_product_attention(query, &key, &value, mask, 0.0, causal, self.scaling, fused)
    }

    /// The same for so many queries at a time, and in the end for those that are left as well.
    fn attend_by_queries(&self, queries: i64, rest: &dyn Fn()) -> Result<Tensor, TchError> {
        let [query, key, value] = &self.states;
        let (length, all) = (size(query, 2), size(key, 2));
        let mut attended = Vec::new();
        for start in (0..=length - queries).step_by(usize::try_from(queries).unwrap_or(usize::MAX)) {
            let count = if length - start < 2 * queries { length - start } else { queries };
            // Those before the end of the last of these queries.
            let before = all - length + start + count;
            let (mask, keys) = match self.seen {
                Seen::Shown(mask) => (Some(mask.f_narrow(2, start, count)?), all),
                Seen::All => (None, all),
                Seen::Before if before == count => (None, count),
                Seen::Before => {
                    let keys = all.min((before + KEYS - 1) / KEYS * KEYS);
                    (Some(visible(before - count..before, keys, query.device())?), keys)
                }
            };
            let states = [query.f_narrow(2, start, count)?, key.f_narrow(2, 0, keys)?, value.f_narrow(2, 0, keys)?];
            let seen = mask.as_ref().map_or(self.seen, Seen::Shown);
            attended.push(Heads { states, seen, scaling: self.scaling }.attend()?);
            rest();
        }
        Tensor::f_cat(&attended, 2)
    }
}

fn size(states: &Tensor, dim: usize) -> i64 {
    states.size().get(dim).copied().unwrap_or(1)
}

/// Returns which of so many keys each of these queries sees where it sees its own and those before: `[1, 1, queries, keys]`.
///
/// # Errors
/// When there is no memory for it.
pub fn visible(queries: Range<i64>, keys: i64, device: Device) -> Result<Tensor, TchError> {
    let count = queries.end - queries.start;
    let queries = number::range(queries.start, queries.end, device)?.f_unsqueeze(1)?;
    number::range(0, keys, device)?.f_le_tensor(&queries)?.f_view([1, 1, count, keys])
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tch::Kind;

    use super::*;

    fn states(size: [i64; 4], kind: Kind) -> Tensor {
        Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(kind)
    }

    #[test]
    fn pieces_have_the_bits_of_the_whole() {
        tch::manual_seed(7);
        for kind in [Kind::Float, Kind::BFloat16] {
            for (heads, key_heads, length, past) in [(2, 2, 2100, 0), (4, 2, 3000, 0), (2, 1, 2500, 300)] {
                let query = states([1, heads, length, 64], kind);
                let [key, value] = [(); 2].map(|()| states([1, key_heads, past + length, 64], kind));
                for seen in [Seen::Before, Seen::All] {
                    let states = [&query, &key, &value].map(Tensor::shallow_clone);
                    let whole = Heads { states, seen, scaling: 0.125 };
                    let expected = whole.attend().unwrap();
                    let made = whole.attend_by_queries(QUERIES, &|| ()).unwrap();
                    assert!(made.equal(&expected), "{kind:?}, {heads} heads, {length} after {past}");
                }
            }
        }
    }

    #[test]
    fn others_have_the_thread_between_pieces_of_a_long_prompt() {
        tch::manual_seed(7);
        let rests = Cell::new(0);
        let attend = |rows, heads, key_heads, length, recorded| {
            let query = states([rows, heads, length, 64], Kind::Float).set_requires_grad(recorded);
            let [key, value] = [(); 2].map(|()| states([rows, key_heads, length, 64], Kind::Float));
            rests.set(0);
            let made = attend([&query, &key, &value], Seen::Before, 0.125, &|| rests.set(rests.get() + 1)).unwrap();
            let alone = Heads { states: [query, key, value], seen: Seen::Before, scaling: 0.125 }.attend().unwrap();
            assert!(made.equal(&alone), "{rows} rows, {heads} heads of {length}");
            rests.get()
        };
        assert_eq!(attend(1, 4, 4, 1024, false), 0);
        assert_eq!(attend(3, 4, 4, 2048, false), 2, "two rows at a time");
        assert_eq!(attend(1, 8, 8, 4096, false), 4, "two heads at a time");
        assert_eq!(attend(1, 8, 4, 4096, false), 4, "a group at a time");
        assert_eq!(attend(1, 2, 1, 6144, false), 4, "pieces of a group, and its end");
        assert_eq!(attend(1, 2, 1, 6144, true), 1, "as it was recorded");
    }
}
