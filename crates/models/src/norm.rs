//! Norms over the last dimension.

use engine::Site;
use kernels::number;
use tch::{Kind, TchError, Tensor};

use crate::family::NormKind;
use crate::nn::differentiable;
use crate::pass::{Pass, Result};
use crate::tokens::Tokens;

/// `torch.nn.LayerNorm`, or one of Hugging Face's RMS norms.
pub struct Norm {
    pub site: Site,
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub eps: f64,
    pub kind: NormKind,
}

impl Norm {
    pub fn compute(&self, input: &Tensor) -> std::result::Result<Tensor, TchError> {
        if self.kind == NormKind::Layer {
            let (size, weight) = (self.weight.size(), Some(&self.weight));
            return differentiable(input.f_layer_norm(size.as_slice(), weight, self.bias.as_ref(), self.eps, true)?);
        }
        let kind = input.f_kind()?;
        let narrow = |tensor: Tensor| if kind == Kind::Float { Ok(tensor) } else { tensor.f_to_kind(kind) };
        let wide = if kind == Kind::Float { input.shallow_clone() } else { input.f_to_kind(Kind::Float)? };
        let variance = wide.f_square()?.f_mean_dim(-1, true, Kind::Float)?;
        let normed = wide.f_mul(&number::add(&variance, self.eps)?.f_rsqrt()?)?;
        differentiable(match self.kind {
            NormKind::RmsWide => narrow(self.weight.f_mul(&normed)?)?,
            NormKind::RmsOnePlus => narrow(normed.f_mul(&number::add(&self.weight.f_to_kind(Kind::Float)?, 1.0)?)?)?,
            NormKind::Rms | NormKind::Layer => self.weight.f_mul(&narrow(normed)?)?,
        })
    }

    pub fn run(&self, pass: &mut Pass<'_>, input: &Tokens) -> Result<Tokens> {
        pass.unary(self.site, input, |input| self.compute(input))
    }
}
