//! Attention of one segment, as Hugging Face computes it.

use engine::Attention;
use kernels::number;
use kernels::varlen::repeat;
use tch::{Device, Kind, TchError, Tensor};

use crate::decoder::Description;

/// Makes the mask that Hugging Face hands to its layers: `[rows, 1, length, past + length]`, or `None` where the
/// kernel's own causal mode says the same, as that of [`kernels::varlen`] always does. For `sdpa` true is visible; for
/// `eager` zero is, and the least finite number is not: minus infinity would turn rows that see nothing into NaN.
///
/// # Errors
/// When `padding`, `[rows, past + length]`, does not fit.
pub fn mask(
    attention: Attention,
    (rows, length): (i64, i64),
    past: i64,
    padding: Option<&Tensor>,
    about: &Description,
) -> Result<Option<Tensor>, TchError> {
    let (kind, device) = (about.kind, about.device);
    let padding = match padding {
        Some(padding) if bool::try_from(padding.f_to_kind(Kind::Bool)?.f_all()?)? => None,
        Some(padding) => Some(padding.f_to_kind(Kind::Bool)?),
        None => None,
    };
    let causal = length == 1 || past == 0 || about.varlen;
    if attention == Attention::Sdpa && padding.is_none() && causal {
        return Ok(None);
    }
    let visible = visible((rows, length), past, padding.as_ref(), device)?;
    if attention == Attention::Sdpa {
        return Ok(Some(visible));
    }
    let hidden = number::full(least(kind), (kind, device))?;
    let zero = Tensor::f_zeros([1], (kind, device))?;
    Ok(Some(zero.f_where_self(&visible, &hidden)?))
}

/// Returns which keys each query sees: itself and what came before, padding excepted.
pub fn visible(
    (rows, length): (i64, i64),
    past: i64,
    padding: Option<&Tensor>,
    device: Device,
) -> Result<Tensor, TchError> {
    let causal = kernels::attention::visible(past..past + length, past + length, device)?;
    match padding {
        Some(padding) => causal.f_logical_and(&padding.f_view([rows, 1, 1, past + length])?),
        None => causal.f_expand([rows, 1, length, past + length], false)?.f_contiguous(),
    }
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
    mask: Option<&Tensor>,
    scaling: f64,
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
        Attention::Sdpa => (kernels::attention::attend([query, key, value], mask, scaling, rest)?, None),
        Attention::Eager => {
            let groups = heads / key.size().get(1).copied().unwrap_or(heads).max(1);
            let (key, value) = (repeat(key, groups)?, repeat(value, groups)?);
            let scores = number::multiply(&query.f_matmul(&key.f_transpose(-1, -2)?)?, scaling)?;
            let scores = match mask {
                Some(mask) => scores.f_add(mask)?,
                None => scores,
            };
            let weights = scores.f_softmax(-1, Kind::Float)?.f_to_kind(query.f_kind()?)?;
            (weights.f_matmul(&value)?, Some(weights))
        }
    };
    let attended = attended.f_transpose(1, 2)?.f_contiguous()?.f_view([rows, length, heads * head])?;
    Ok((attended, weights))
}
