//! Attention of one segment, as Hugging Face computes it.

use std::rc::Rc;

use engine::Attention;
use kernels::attention::Seen;
use kernels::number;
use kernels::varlen::repeat;
use tch::{Device, Kind, TchError, Tensor};

use crate::decoder::Description;
use crate::family::Sight;
use crate::nn::{Dropout, evenly};

/// How scores become weights, besides the softmax.
pub struct Scores {
    /// What scores are multiplied by.
    pub scaling: f64,
    /// They are kept below this by way of tanh.
    pub cap: Option<f64>,
    /// They are computed in float32, and kept so until they are weights.
    pub wide: bool,
    /// A score of each head's for seeing nothing, `[heads]`.
    pub sinks: Option<Tensor>,
    /// The module that weights go through.
    pub dropout: Option<Rc<Dropout>>,
}

/// Which queries and keys meet: so many rows of new tokens, after so many that came before.
#[derive(Clone, Copy)]
pub struct Extent {
    pub rows: i64,
    pub length: i64,
    pub past: i64,
    /// A token sees as many, itself included.
    pub window: Option<i64>,
}

impl Extent {
    /// Returns the earlier keys that some query may see: Hugging Face's caches keep no others.
    #[must_use]
    pub fn kept(self) -> i64 {
        self.window.map_or(self.past, |window| self.past.min(window - 1))
    }

    fn keys(self) -> i64 {
        self.kept() + self.length
    }

    /// Returns the keys, or values, that queries may see: the last ones of `[rows, heads, all, head_dim]`.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn seen(self, all: Tensor) -> Result<Tensor, TchError> {
        let total = all.size().get(2).copied().unwrap_or(0);
        if total <= self.keys() { Ok(all) } else { all.f_narrow(2, total - self.keys(), self.keys()) }
    }

    /// Returns which keys each query sees, `[rows, 1, length, keys]`: itself and what is in its sight within the window,
    /// padding, `[rows, past + length]`, excepted.
    ///
    /// # Errors
    /// When `padding` does not fit.
    pub fn visible(self, sight: Sight, padding: Option<&Tensor>, device: Device) -> Result<Tensor, TchError> {
        let Self { rows, length, past, window } = self;
        let keys = number::range(past - self.kept(), past + length, device)?;
        let queries = number::range(past, past + length, device)?.f_unsqueeze(1)?;
        let mut near = match sight.ahead() {
            true => Tensor::f_ones([length, self.keys()], (Kind::Bool, device))?,
            false => keys.f_le_tensor(&queries)?,
        };
        if let Some(window) = window {
            let reach = (window + i64::from(sight.both_ways)) as f64;
            near = near.f_logical_and(&keys.f_gt_tensor(&number::add(&queries, -reach)?)?)?;
            if sight.ahead() {
                near = near.f_logical_and(&keys.f_lt_tensor(&number::add(&queries, reach)?)?)?;
            }
        }
        let near = near.f_view([1, 1, length, self.keys()])?;
        match padding {
            Some(padding) => {
                let padding = padding.f_view([rows, 1, 1, past + length])?;
                near.f_logical_and(&padding.f_narrow(3, past - self.kept(), self.keys())?)
            }
            None => near.f_expand([rows, 1, length, self.keys()], false)?.f_contiguous(),
        }
    }
}

/// Makes the mask that Hugging Face hands to its layers: `[rows, 1, length, keys]`, or `None` where attention without one comes
/// to the same: where all see all, or where the kernel's own causal mode serves, as that of [`kernels::varlen`] always does. For
/// `sdpa` true is visible; for `eager` zero is, and the least finite number is not: minus infinity would turn rows that see nothing
/// into NaN. Where rows have several [`sequences`] in them, each sees itself alone.
///
/// # Errors
/// When `padding`, `[rows, past + length]`, or what numbers sequences does not fit.
pub fn mask(
    attention: Attention,
    (extent, sight): (Extent, Sight),
    (padding, sequences): (Option<&Tensor>, Option<&Tensor>),
    about: &Description,
) -> Result<Option<Tensor>, TchError> {
    let (kind, device) = (about.kind, about.device);
    let padding = match padding {
        Some(padding) if bool::try_from(padding.f_to_kind(Kind::Bool)?.f_all()?)? => None,
        Some(padding) => Some(padding.f_to_kind(Kind::Bool)?),
        None => None,
    };
    // Who sees both ways is not told apart from what else lies in its row.
    let sequences = sequences.filter(|_| !sight.both_ways);
    let causal = attention == Attention::Sdpa && (extent.length == 1 || extent.past == 0 || about.varlen);
    let near = extent.window.is_none_or(|window| extent.keys() < window);
    let plain = sight.both_ways || causal && sequences.is_none();
    if plain && near && padding.is_none() && !sight.overlaid {
        return Ok(None);
    }
    let mut visible = extent.visible(sight, padding.as_ref(), device)?;
    if let Some(sequences) = sequences {
        let one = sequences.f_unsqueeze(1)?;
        visible = visible.f_logical_and(&one.f_unsqueeze(3)?.f_eq_tensor(&one.f_unsqueeze(2)?)?)?;
    }
    formed(attention, visible, kind).map(Some)
}

/// Makes of what is visible what attention takes as a mask.
///
/// # Errors
/// When libtorch refuses.
pub fn formed(attention: Attention, visible: Tensor, kind: Kind) -> Result<Tensor, TchError> {
    if attention == Attention::Sdpa {
        return Ok(visible);
    }
    let hidden = number::full(least(kind), (kind, visible.device()))?;
    let zero = Tensor::f_zeros([1], (kind, visible.device()))?;
    zero.f_where_self(&visible, &hidden)
}

/// Numbers the sequences that lie end to end in each row, by positions `[rows, length]`: one ends where these do not go on by
/// one. `None` where each row is one.
///
/// # Errors
/// When libtorch refuses.
pub fn sequences(positions: &Tensor) -> Result<Option<Tensor>, TchError> {
    let length = positions.size().get(1).copied().unwrap_or(0);
    if length < 2 {
        return Ok(None);
    }
    let steps = positions.f_narrow(1, 1, length - 1)?.f_sub(&positions.f_narrow(1, 0, length - 1)?)?;
    let ends = steps.f_ne_tensor(&steps.f_ones_like()?)?;
    if !bool::try_from(ends.f_any()?)? {
        return Ok(None);
    }
    let first = positions.f_narrow(1, 0, 1)?.f_zeros_like()?;
    Tensor::f_cat(&[first, ends.f_cumsum(1, Kind::Int64)?], 1).map(Some)
}

/// `torch.finfo(dtype).min`.
fn least(kind: Kind) -> f64 {
    match kind {
        Kind::Half => -65504.0,
        Kind::BFloat16 => -3.389_531_389_251_535_5e38,
        Kind::Double => f64::MIN,
        _ => f64::from(f32::MIN),
    }
}

/// Lets queries attend to keys: `[rows, heads, length, head_dim]` and `[rows, key_heads, past + length, head_dim]`.
/// Returns `[rows, length, heads · head_dim]` and, for `eager`, the weights `[rows, heads, length, past + length]`. `rest` is called
/// now and then, where it takes long.
///
/// # Errors
/// When the shapes do not fit each other.
pub fn attend(
    attention: Attention,
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    seen: Seen<'_>,
    scores: &Scores,
    rest: &dyn Fn(),
) -> Result<(Tensor, Option<Tensor>), TchError> {
    let size = query.size();
    let &[rows, heads, length, head] = size.as_slice() else {
        return Err(TchError::Shape(format!("queries have shape {size:?}")));
    };
    // Of heads that end between two steps, kernels would read on into others' rows.
    let beyond = kernels::is_half(query.f_kind()?) && query.device() == Device::Cpu && head % kernels::STEP != 0;
    let own = |tensor: &Tensor| if beyond { tensor.f_contiguous() } else { Ok(tensor.shallow_clone()) };
    let (query, key, value) = (&own(query)?, &own(key)?, &own(value)?);
    let (attended, weights) = match attention {
        Attention::Sdpa => (kernels::attention::attend([query, key, value], seen, scores.scaling, rest)?, None),
        Attention::Eager => {
            let weights = weigh(query, key, value, seen.mask(), scores)?;
            return Ok((mix(&weights, value)?, Some(weights)));
        }
    };
    let attended = attended.f_transpose(1, 2)?.f_contiguous()?.f_view([rows, length, heads * head])?;
    Ok((attended, weights))
}

/// Makes `eager`'s weights of queries and keys, in the values' type.
///
/// # Errors
/// When the shapes do not fit each other.
pub fn weigh(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    mask: Option<&Tensor>,
    scores: &Scores,
) -> Result<Tensor, TchError> {
    let key = repeat(key, groups(query, key))?;
    scores.weigh(query, &key, mask)?.f_to_kind(value.f_kind()?)
}

/// Adds up values by their weights: `[rows, length, heads · head_dim]`.
///
/// # Errors
/// When the shapes do not fit each other.
pub fn mix(weights: &Tensor, value: &Tensor) -> Result<Tensor, TchError> {
    let value = repeat(value, groups(weights, value))?;
    weights.f_matmul(&value)?.f_transpose(1, 2)?.f_contiguous()?.f_flatten(2, 3)
}

/// Returns how many heads share a head of keys and values.
fn groups(heads: &Tensor, key_heads: &Tensor) -> i64 {
    let count = |tensor: &Tensor| tensor.size().get(1).copied().unwrap_or(1);
    count(heads) / count(key_heads).max(1)
}

impl Scores {
    /// Makes weights of `[rows, heads, length, keys]`, step by step.
    fn weigh(&self, query: &Tensor, key: &Tensor, mask: Option<&Tensor>) -> Result<Tensor, TchError> {
        let wide = |states: &Tensor| if self.wide { states.f_to_kind(Kind::Float) } else { Ok(states.shallow_clone()) };
        let mut scores = number::multiply(&wide(query)?.f_matmul(&wide(key)?.f_transpose(-1, -2)?)?, self.scaling)?;
        if let Some(cap) = self.cap {
            scores = cap_at(&scores, cap)?;
        }
        if let Some(mask) = mask {
            scores = scores.f_add(mask)?;
        }
        let Some(sinks) = &self.sinks else { return scores.f_softmax(-1, Kind::Float) };
        let (size, keys) = (scores.size(), scores.size().last().copied().unwrap_or(0));
        let [rows, _, length] = [size.first(), size.get(1), size.get(2)].map(|size| size.copied().unwrap_or(1));
        let sinks = sinks.f_view([1, -1, 1, 1])?.f_expand([rows, -1, length, 1], false)?;
        let all = Tensor::f_cat(&[&scores, &sinks], -1)?;
        let all = all.f_sub(&all.f_amax([-1], true)?)?;
        all.f_softmax(-1, all.f_kind()?)?.f_narrow(-1, 0, keys)
    }
}

/// Keeps numbers below a cap: `tanh(x / cap) * cap`.
///
/// # Errors
/// When libtorch refuses.
pub fn cap_at(numbers: &Tensor, cap: f64) -> Result<Tensor, TchError> {
    number::multiply(&evenly(&number::divide(numbers, cap)?, Tensor::f_tanh)?, cap)
}
