//! How evenly routers spread tokens over experts: what a call that asks for routers' logits is told besides these.

use std::cell::RefCell;
use std::rc::Rc;

use interpreter::raise::Raise;
use tch::{Kind, Tensor};

use crate::family::Balance;
use crate::pass::Result;

/// Routers' logits of a pass, by layer and then by part: `[rows · length, experts]`.
pub type Routed = Rc<RefCell<Vec<Vec<Tensor>>>>;

/// `load_balancing_loss_func`: the greater, the fewer experts take most tokens. `padding` says which tokens count.
///
/// # Errors
/// `IndexError` where no layer has a router; when `padding` does not fit.
pub fn loss(layers: &[Tensor], padding: Option<&Tensor>, about: &Balance) -> Result<Tensor> {
    let Some(first) = layers.first() else { return Err(Raise::index_error("tuple index out of range").into()) };
    let zeros = || Tensor::f_zeros([about.count], (Kind::Float, first.device()));
    let counts = match padding {
        Some(padding) => Some(padding.f_reshape([-1])?.f_to_device(first.device())?.f_to_kind(Kind::Float)?),
        None => None,
    };
    let (mut taken, mut shares, mut rows) = (zeros()?, zeros()?, Tensor::f_zeros([], (Kind::Float, first.device()))?);
    for logits in layers {
        let own = logits.f_softmax(-1, logits.f_kind()?)?;
        let (_, chosen) = own.f_topk(about.top, -1, true, true)?;
        let (chosen, own) = (chosen.f_reshape([-1])?, own.f_to_kind(Kind::Float)?);
        let all;
        let counts = match &counts {
            Some(counts) => counts,
            None => {
                all = own.f_select(1, 0)?.f_ones_like()?;
                &all
            }
        };
        let each = counts.f_repeat_interleave_self_int(about.top, None, None)?;
        taken = taken.f_add(&zeros()?.f_scatter_add(0, &chosen, &each)?)?;
        shares = shares.f_add(&own.f_mul(&counts.f_unsqueeze(-1)?)?.f_sum_dim_intlist(0, false, None)?)?;
        rows = rows.f_add(&counts.f_sum(None)?)?;
    }
    let overlap = taken.f_div(&rows)?.f_mul(&shares.f_div(&rows)?)?.f_sum(None)?;
    Ok(kernels::number::multiply(&overlap, about.count as f64)?)
}
