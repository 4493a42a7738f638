//! Tensors over all tokens of a pass.

use std::rc::Rc;

use interpreter::Machine;
use kernels::{Moment, Weight, as_one};
use tch::{Kind, TchError, Tensor};
use torch::{Job, Paying};

use crate::nn::differentiable;
use crate::pass::{Pass, Result};

/// One tensor over all tokens: `[tokens, …]`, or `[rows, length, …]` where there is one part. Where gradients are
/// recorded there is one for each part, `[rows, length, …]`: a graph belongs to one job.
pub enum Tokens {
    Packed(Tensor),
    Apart(Vec<Tensor>),
}

/// Whose gradients are recorded of a segment, and who pays for what they need.
#[derive(Clone)]
pub struct Recorder {
    pub machine: Machine,
    pub job: Rc<Job>,
}

impl Tokens {
    /// Returns the same tensors again.
    pub fn share(&self) -> Self {
        match self {
            Self::Packed(tensor) => Self::Packed(tensor.shallow_clone()),
            Self::Apart(parts) => Self::Apart(parts.iter().map(Tensor::shallow_clone).collect()),
        }
    }

    /// Returns the element type.
    pub fn kind(&self) -> std::result::Result<Kind, TchError> {
        match self {
            Self::Packed(tensor) => tensor.f_kind(),
            Self::Apart(parts) => parts.first().map_or(Ok(Kind::Float), Tensor::f_kind),
        }
    }
}

impl Pass<'_> {
    /// Runs what makes tensors of one part: whoever has gradients of it pays for them.
    pub fn paid<T>(&self, part: usize, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some(Recorder { machine, job }) = self.recorder(part) else { return run() };
        let paying = Paying::new(machine, job);
        let outcome = run();
        paying.refusal().map_or(outcome, |refused| Err(refused.into()))
    }

    /// Applies what treats each token by itself.
    pub fn each(
        &self,
        tokens: &Tokens,
        apply: impl Fn(&Tensor) -> std::result::Result<Tensor, TchError>,
    ) -> Result<Tokens> {
        Ok(match tokens {
            Tokens::Packed(tensor) => Tokens::Packed(apply(tensor)?),
            Tokens::Apart(parts) => {
                let own = |(part, tensor): (usize, &Tensor)| self.paid(part, || Ok(apply(tensor)?));
                Tokens::Apart(parts.iter().enumerate().map(own).collect::<Result<_>>()?)
            }
        })
    }

    /// Applies what treats each token by itself to the tokens of two tensors.
    pub fn both(
        &self,
        left: &Tokens,
        right: &Tokens,
        apply: impl Fn(&Tensor, &Tensor) -> std::result::Result<Tensor, TchError>,
    ) -> Result<Tokens> {
        Ok(match (left, right) {
            (Tokens::Packed(left), Tokens::Packed(right)) => Tokens::Packed(apply(left, right)?),
            (left, right) => {
                let mut parts = Vec::with_capacity(self.layout.parts.len());
                for part in 0..self.layout.parts.len() {
                    let (left, right) = (self.segment(left, part)?, self.segment(right, part)?);
                    parts.push(self.paid(part, || Ok(apply(&left, &right)?))?);
                }
                Tokens::Apart(parts)
            }
        })
    }

    /// Multiplies by a weight, in one product for all.
    pub fn multiply(&self, tokens: &Tokens, weight: &Rc<Weight>, bias: Option<&Tensor>) -> Result<Tokens> {
        match tokens {
            Tokens::Packed(tensor) => Ok(Tokens::Packed(differentiable(self.products.linear(tensor, weight, bias)?)?)),
            Tokens::Apart(parts) => {
                let inputs: Vec<&Tensor> = parts.iter().collect();
                self.multiply_parts(&inputs, weight, bias).map(Tokens::Apart)
            }
        }
    }

    /// Multiplies a tensor of each part. Its owner gets a product of his own, with a history that leads to what was his.
    pub fn multiply_parts(
        &self,
        inputs: &[&Tensor],
        weight: &Rc<Weight>,
        bias: Option<&Tensor>,
    ) -> Result<Vec<Tensor>> {
        if let [input] = inputs {
            let own = self.paid(0, || Ok(differentiable(self.products.linear(input, weight, bias)?)?))?;
            return Ok(vec![own]);
        }
        let products = tch::no_grad(|| as_one(inputs, |all| self.products.linear(all, weight, bias)))?;
        let (moment, mut outputs) = (Moment::new(), Vec::with_capacity(inputs.len()));
        for (part, (input, product)) in inputs.iter().zip(products).enumerate() {
            outputs.push(self.paid(part, || {
                let own = tch::no_grad(|| Tensor::f_cat(&[&product], 0))?;
                if input.requires_grad() {
                    return Ok(self.products.record(input, weight, &own, moment)?);
                }
                Ok(differentiable(own)?)
            })?);
        }
        Ok(outputs)
    }
}
