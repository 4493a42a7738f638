//! Norms over the last dimension.

use engine::{Packed, Site, Tree};
use interpreter::raise::Raise;
use kernels::number;
use tch::{Kind, TchError, Tensor};

use crate::family::{NormKind, Routine, Routines};
use crate::nn::differentiable;
use crate::pass::{Parts, Pass, Result};
use crate::source::{self, Argument, Forward, Given, Held, Operations, dtype};
use crate::tokens::Tokens;

/// `torch.nn.LayerNorm`, or one of Hugging Face's RMS norms.
pub struct Norm {
    pub site: Site,
    pub weight: Tensor,
    /// What states are multiplied by, where that is one more than the weight: in float32.
    pub scale: Option<Tensor>,
    pub bias: Option<Tensor>,
    pub eps: f64,
    pub kind: NormKind,
    pub operations: Operations,
}

impl Norm {
    pub fn compute(&self, input: &Tensor) -> std::result::Result<Tensor, TchError> {
        if self.kind == NormKind::Layer {
            return differentiable(self.layer_norm(input)?);
        }
        if self.is_fused(input) {
            return self.fused(input);
        }
        let wide = widened(input)?;
        let variance = wide.f_square()?.f_mean_dim(-1, true, Kind::Float)?;
        let normed = wide.f_mul(&number::add(&variance, self.eps)?.f_rsqrt()?)?;
        differentiable(match self.kind {
            NormKind::RmsWide => narrowed(self.weight.f_mul(&normed)?, input)?,
            NormKind::RmsOnePlus => narrowed(normed.f_mul(self.scale.as_ref().unwrap_or(&self.weight))?, input)?,
            NormKind::Rms | NormKind::Layer => self.weight.f_mul(&narrowed(normed, input)?)?,
        })
    }

    /// Returns whether a GPU's own kernel computes this.
    fn is_fused(&self, input: &Tensor) -> bool {
        if self.kind == NormKind::Layer || !input.device().is_cuda() || libtorch::recording() {
            return false;
        }
        input.kind() == self.weight.kind() && input.size().last() == self.weight.size().first()
    }

    /// Computes in few kernels what Hugging Face computes step by step, and rounds where it does.
    fn fused(&self, input: &Tensor) -> std::result::Result<Tensor, TchError> {
        let norm = |input: &Tensor, weight: Option<&Tensor>| {
            Ok::<_, TchError>(input.f_internal_fused_rms_norm(self.weight.size().as_slice(), weight, self.eps)?.0)
        };
        match (self.kind, input.f_kind()?) {
            (NormKind::RmsOnePlus, _) => narrowed(norm(&widened(input)?, self.scale.as_ref())?, input),
            (NormKind::RmsWide, _) | (_, Kind::Float) => norm(input, Some(&self.weight)),
            _ => norm(input, None)?.f_mul(&self.weight),
        }
    }

    pub fn run(&self, pass: &mut Pass<'_>, input: &Tokens) -> Result<Tokens> {
        pass.module(self.site, input.share(), |pass, input| {
            if !pass.wants(self.site).operations {
                return pass.each(&input, |input| self.compute(input));
            }
            let parts = Held::of_tokens(pass, &input)?.tensors()?;
            Held::Tensors(self.step_by_step(pass, parts)?).into_tokens(pass)
        })
    }

    /// Computes a tensor of each part.
    pub fn run_each(&self, pass: &mut Pass<'_>, inputs: Vec<Tensor>) -> Result<Parts> {
        if pass.wants(self.site).operations {
            return self.step_by_step(pass, inputs).map(Parts);
        }
        Held::Tensors(inputs).map(pass, |_, input| Ok(self.compute(input)?))?.tensors().map(Parts)
    }

    fn step_by_step(&self, pass: &mut Pass<'_>, inputs: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let options = (Kind::Float, self.weight.device());
        let each = |tensor: &Tensor| Held::Tensors(inputs.iter().map(|_| tensor.shallow_clone()).collect());
        let given = vec![
            ("weight", each(&self.weight)),
            ("eps", each(&number::full(self.eps, options)?)),
            ("one", each(&number::full(1.0, options)?)),
            ("x", Held::Tensors(inputs.iter().map(Tensor::shallow_clone).collect())),
        ];
        let mut returned = source::run(&self.operations, pass, self, given, &|_| true)?;
        let made = returned.pop().unwrap_or(Held::NONE);
        made.map(pass, |part, made| match inputs.get(part) {
            // Another kernel may round otherwise: whoever does not look at operations has what they have without a neighbour
            // who does.
            Some(input) if self.is_fused(input) && !pass.part_wants(part, self.site).operations => {
                Ok(self.compute(input)?)
            }
            _ => Ok(differentiable(made.shallow_clone())?),
        })?
        .tensors()
    }

    fn layer_norm(&self, input: &Tensor) -> std::result::Result<Tensor, TchError> {
        input.f_layer_norm(self.weight.size().as_slice(), Some(&self.weight), self.bias.as_ref(), self.eps, true)
    }
}

fn widened(input: &Tensor) -> std::result::Result<Tensor, TchError> {
    if input.f_kind()? == Kind::Float { Ok(input.shallow_clone()) } else { input.f_to_kind(Kind::Float) }
}

fn narrowed(states: Tensor, like: &Tensor) -> std::result::Result<Tensor, TchError> {
    let kind = like.f_kind()?;
    if states.f_kind()? == kind { Ok(states) } else { states.f_to_kind(kind) }
}

/// What Gemma's norms call.
const ROOT_MEAN_SQUARE: Routines = &[(
    "norm",
    Routine {
        parameters: &["x"],
        source: "
            x_pow_0: mean = square(x)
            mean_0: mean = mean(mean)
            torch_rsqrt_0: root = rsqrt(mean + eps)
            return x * root",
        inside: &[],
    },
)];

impl NormKind {
    /// The functions that the forward calls.
    pub fn functions(self) -> Routines {
        if self == Self::RmsOnePlus { ROOT_MEAN_SQUARE } else { &[] }
    }

    /// The forward's operations.
    pub fn source(self) -> &'static str {
        match self {
            Self::Layer => {
                "
                F_layer_norm_0: x = layer_norm(x)
                return x"
            }
            Self::Rms => {
                "
                input_dtype_0: dtype(x)
                hidden_states_to_0: hidden_states = wide(x)
                hidden_states_0: hidden_states
                hidden_states_pow_0: variance = square(hidden_states)
                mean_0: variance = mean(variance)
                variance_0: variance
                torch_rsqrt_0: root = rsqrt(variance + eps)
                hidden_states_1: hidden_states = hidden_states * root
                hidden_states_to_1: hidden_states = narrow(hidden_states, x)
                return weight * hidden_states"
            }
            Self::RmsWide => {
                "
                input_dtype_0: dtype(x)
                hidden_states_to_0: hidden_states = wide(x)
                hidden_states_0: hidden_states
                hidden_states_pow_0: variance = square(hidden_states)
                mean_0: variance = mean(variance)
                variance_0: variance
                torch_rsqrt_0: root = rsqrt(variance + eps)
                hidden_states_1: hidden_states = hidden_states * root
                to_0: hidden_states = narrow(weight * hidden_states, x)
                return hidden_states"
            }
            Self::RmsOnePlus => {
                "
                x_float_0: output = float(x)
                self__norm_0: output = norm(output)
                output_0: output
                self_weight_float_0: scale = weight(weight)
                output_1: output = output * (one + scale)
                output_type_as_0: output = like(output, x)
                return output"
            }
        }
    }
}

/// What the lines mean.
impl Forward for Norm {
    fn call(&self, _: &Pass<'_>, name: &str, operands: &[Held]) -> Result<Given> {
        Ok(match name {
            "dtype" => Given::method(vec![dtype(operands.first(), None)?]),
            "wide" => Given::method(vec![dtype(operands.first(), Some(Kind::Float))?]),
            "narrow" => Given::method(vec![dtype(operands.get(1), None)?]),
            "float" | "weight" => Given::method(Vec::new()),
            "square" => Given::method(vec![Tree::Int(2)]),
            "mean" => Given {
                args: vec![Argument::Other(Tree::Int(-1))],
                kwargs: vec![("keepdim", Argument::Other(Tree::Bool(true)))],
            },
            "like" => Given { args: vec![Argument::Operand(1)], kwargs: Vec::new() },
            "layer_norm" => {
                let parts = operands.first().map_or(Ok(Vec::new()), Held::tensors)?.len();
                let own = |tensor: &Tensor| {
                    let shown = (0..parts).map(|_| torch::Tensor::weight(tensor.shallow_clone()));
                    Tree::Leaf(Packed::Parts(shown.collect()))
                };
                let width = self.weight.size().into_iter().map(Tree::Int).collect();
                let mut call = Given::plain(1);
                let others = [
                    Tree::Tuple(width),
                    own(&self.weight),
                    self.bias.as_ref().map_or(Tree::None, own),
                    Tree::Float(self.eps),
                ];
                call.args.extend(others.map(Argument::Other));
                call
            }
            _ => Given::plain(operands.len()),
        })
    }

    fn compute(&self, pass: &mut Pass<'_>, name: &str, operands: &[Held]) -> Result<Held> {
        let input = operands.first().unwrap_or(&Held::NONE);
        match name {
            "dtype" => Ok(Held::Plain(dtype(Some(input), None)?)),
            "wide" | "float" => input.map(pass, |_, states| Ok(widened(states)?)),
            "square" => input.map(pass, |_, states| Ok(states.f_square()?)),
            "mean" => input.map(pass, |_, states| Ok(states.f_mean_dim(-1, true, states.f_kind()?)?)),
            "rsqrt" => input.map(pass, |_, states| Ok(states.f_rsqrt()?)),
            "narrow" | "like" => {
                let like = operands.get(1).unwrap_or(&Held::NONE).tensors()?;
                input.map(pass, |part, states| {
                    let like = like.get(part).ok_or_else(crate::pass::no_part)?;
                    Ok(narrowed(states.shallow_clone(), like)?)
                })
            }
            "norm" => input.map(pass, |_, states| {
                let variance = states.f_square()?.f_mean_dim(-1, true, states.f_kind()?)?;
                Ok(states.f_mul(&number::add(&variance, self.eps)?.f_rsqrt()?)?)
            }),
            // A copy, for blocks may write to what they see.
            "weight" => input.map(pass, |_, weight| Ok(Tensor::f_cat(&[weight.f_to_kind(Kind::Float)?], 0)?)),
            "layer_norm" => input.map(pass, |_, states| Ok(self.layer_norm(states)?)),
            _ => Err(Raise::runtime_error(format!("a norm has no {name}")).into()),
        }
    }
}
