//! The modules at the leaves of a model: each knows its site, its parameters, and nothing of jobs.

use std::rc::Rc;

use engine::{Packed, Site, Tree};
use interpreter::raise::Raise;
use kernels::{Products, Weight, as_one, number};
use tch::{Device, Kind, TchError, Tensor};

use crate::attention::cap_at;
use crate::joint::Share;
use crate::pass::{Flow, Output, Parts, Pass, Result};
use crate::tokens::Tokens;

/// `torch.nn.Linear`, or `transformers.pytorch_utils.Conv1D`, whose weight lies the other way round.
pub struct Linear {
    pub site: Site,
    /// `[out, in]`.
    pub weight: Rc<Weight>,
    pub bias: Option<Tensor>,
    /// Where it is multiplied with others that are given the same.
    pub share: Option<Share>,
}

/// `torch.nn.Embedding`: weight `[entries, width]`.
pub struct Embedding {
    pub site: Site,
    pub table: Table,
    pub padding: Option<i64>,
    /// What embeddings are multiplied by, as one number of the weight's type.
    pub scale: Option<Tensor>,
}

/// A table's rows: here, or in pieces that ranks hold.
pub enum Table {
    Whole(Tensor),
    Apart(Rc<Weight>),
}

impl Table {
    /// Returns `[entries, width]`.
    pub fn size(&self) -> [i64; 2] {
        match self {
            Self::Whole(table) => <[i64; 2]>::try_from(table.size()).unwrap_or_default(),
            Self::Apart(table) => table.size(),
        }
    }

    /// Returns the rows' type and where they are given.
    pub fn options(&self) -> (Kind, Device) {
        match self {
            Self::Whole(table) => (table.kind(), table.device()),
            Self::Apart(table) => (table.kind(), table.device()),
        }
    }

    fn rows(&self, ids: &Tensor) -> std::result::Result<Tensor, TchError> {
        match self {
            Self::Whole(table) => torch::embedding(table, ids),
            Self::Apart(table) => {
                // What cannot be ids is refused in PyTorch's words.
                let alike = Tensor::f_zeros([1, 1], self.options())?.f_expand(table.size(), false)?;
                drop(torch::embedding(&alike, ids)?);
                table.select(ids)
            }
        }
    }
}

/// `torch.nn.Dropout`, which passes its input on: nothing is trained here.
pub struct Dropout {
    pub site: Site,
    pub probability: f64,
}

/// An activation function's module.
pub struct Activation {
    pub site: Site,
    pub function: Function,
}

/// Activation functions, by what they compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Gelu,
    /// GELU by way of the error function step by step.
    GeluSteps,
    /// GELU, and no more than 10.
    GeluClipped,
    /// GELU by way of tanh. Hugging Face has it three times: these two step by step, and as one kernel.
    GeluNew,
    GeluFast,
    GeluTanh,
    /// GELU by way of a sigmoid.
    GeluQuick,
    Relu,
    ReluSquared,
    /// ReLU, and no more than 6.
    Relu6,
    LeakyRelu,
    Silu,
    HardSwish,
    Mish,
    Tanh,
    Sigmoid,
    Laplace,
    RootOfSoftplus,
    Identity,
}

/// Mean and deviation of transformers' `LaplaceActivation`.
#[expect(clippy::approx_constant, reason = "transformers has just these digits")]
const LAPLACE: [f64; 2] = [0.707_107, 0.282_095];

impl Function {
    /// Returns a function and its module's class by Hugging Face's name for it.
    #[must_use]
    pub fn named(name: &str) -> Option<(Self, &'static str)> {
        Some(match name {
            "gelu" => (Self::Gelu, "GELUActivation"),
            "gelu_python" => (Self::GeluSteps, "GELUActivation"),
            "gelu_10" => (Self::GeluClipped, "ClippedGELUActivation"),
            "gelu_new" => (Self::GeluNew, "NewGELUActivation"),
            "gelu_accurate" => (Self::GeluNew, "AccurateGELUActivation"),
            "gelu_python_tanh" => (Self::GeluNew, "GELUTanh"),
            "gelu_fast" => (Self::GeluFast, "FastGELUActivation"),
            "gelu_pytorch_tanh" => (Self::GeluTanh, "GELUTanh"),
            "quick_gelu" => (Self::GeluQuick, "QuickGELUActivation"),
            "relu" => (Self::Relu, "ReLU"),
            "relu2" => (Self::ReluSquared, "ReLUSquaredActivation"),
            "relu6" => (Self::Relu6, "ReLU6"),
            "leaky_relu" => (Self::LeakyRelu, "LeakyReLU"),
            "silu" => (Self::Silu, "SiLUActivation"),
            "swish" => (Self::Silu, "SiLU"),
            "hardswish" => (Self::HardSwish, "Hardswish"),
            "mish" => (Self::Mish, "MishActivation"),
            "tanh" => (Self::Tanh, "Tanh"),
            "sigmoid" => (Self::Sigmoid, "Sigmoid"),
            "laplace" => (Self::Laplace, "LaplaceActivation"),
            "sqrtsoftplus" => (Self::RootOfSoftplus, "SqrtSoftplusActivation"),
            "linear" => (Self::Identity, "LinearActivation"),
            _ => return None,
        })
    }

    const ALL: [Self; 19] = [
        Self::Gelu,
        Self::GeluSteps,
        Self::GeluClipped,
        Self::GeluNew,
        Self::GeluFast,
        Self::GeluTanh,
        Self::GeluQuick,
        Self::Relu,
        Self::ReluSquared,
        Self::Relu6,
        Self::LeakyRelu,
        Self::Silu,
        Self::HardSwish,
        Self::Mish,
        Self::Tanh,
        Self::Sigmoid,
        Self::Laplace,
        Self::RootOfSoftplus,
        Self::Identity,
    ];

    /// Returns the number by which ranks of a model name the function.
    pub fn number(self) -> i64 {
        self as i64
    }

    /// Applies the function of a number.
    ///
    /// # Errors
    /// For a number that none has, and as [`Function::compute`].
    pub fn apply_numbered(number: i64, input: &Tensor) -> std::result::Result<Tensor, TchError> {
        let function = Self::ALL.into_iter().find(|function| function.number() == number);
        function.ok_or_else(|| TchError::Shape(format!("no function has the number {number}")))?.compute(input)
    }

    /// Applies the function to each element, rounding where Hugging Face's module does: the last bit of an activation
    /// decides to which side a half-precision copy of it falls.
    ///
    /// # Errors
    /// For element types that it is not defined for.
    pub fn compute(self, input: &Tensor) -> std::result::Result<Tensor, TchError> {
        match self {
            // What is written to its output is written to its input, as in PyTorch.
            Self::Identity => Ok(input.shallow_clone()),
            _ => evenly(input, |input| self.apply(input)),
        }
    }

    fn apply(self, input: &Tensor) -> std::result::Result<Tensor, TchError> {
        match self {
            Self::Gelu => input.f_gelu("none"),
            Self::GeluSteps => {
                let shares = number::add(&number::divide(input, 2.0_f64.sqrt())?.f_erf()?, 1.0)?;
                number::multiply(input, 0.5)?.f_mul(&shares)
            }
            Self::GeluClipped => number::clamp(&input.f_gelu("none")?, -10.0, 10.0),
            // One kernel for eight, where launching them is what takes the time: in float32 it differs in the last bit, as
            // products do that another library computes.
            Self::GeluNew if input.f_kind()? == Kind::Float && input.device().is_cuda() => input.f_gelu("tanh"),
            // The same steps in one piece of memory, where nobody needs what comes between them.
            Self::GeluNew if input.f_kind()? == Kind::Float && !input.requires_grad() => {
                let mut gate = number::power(input, 3.0)?;
                number::multiply_(&mut gate, 0.044715)?;
                let _ = gate.f_add_(input)?;
                number::multiply_(&mut gate, (2.0 / std::f64::consts::PI).sqrt())?;
                let _ = gate.f_tanh_()?;
                number::add_(&mut gate, 1.0)?;
                gate.f_mul_(&number::multiply(input, 0.5)?)
            }
            Self::GeluNew => {
                // Multiplied in place, a bfloat16 tensor would have the factor rounded first.
                let cubed = number::multiply(&number::power(input, 3.0)?, 0.044715)?.f_add_(input)?;
                let inner = number::multiply(&cubed, (2.0 / std::f64::consts::PI).sqrt())?;
                number::multiply(input, 0.5)?.f_mul(&number::add(&inner.f_tanh()?, 1.0)?)
            }
            Self::GeluFast => {
                let squared = number::add(&number::multiply(input, 0.044715)?.f_mul(input)?, 1.0)?;
                let inner = number::multiply(input, 0.797_884_560_8)?.f_mul(&squared)?;
                number::multiply(input, 0.5)?.f_mul(&number::add(&inner.f_tanh()?, 1.0)?)
            }
            Self::GeluTanh => input.f_gelu("tanh"),
            Self::GeluQuick => input.f_mul(&number::multiply(input, 1.702)?.f_sigmoid()?),
            Self::Relu => input.f_relu(),
            Self::ReluSquared => input.f_relu()?.f_square(),
            Self::Relu6 => input.f_relu6(),
            Self::LeakyRelu => input.f_leaky_relu(),
            Self::Silu => input.f_silu(),
            Self::HardSwish => input.f_hardswish(),
            Self::Mish => input.f_mish(),
            Self::Tanh => input.f_tanh(),
            Self::Sigmoid => input.f_sigmoid(),
            Self::Laplace => {
                let away = number::divide(&number::add(input, -LAPLACE[0])?, LAPLACE[1] * 2.0_f64.sqrt())?;
                number::multiply(&number::add(&away.f_erf()?, 1.0)?, 0.5)
            }
            Self::RootOfSoftplus => input.f_softplus()?.f_sqrt(),
            Self::Identity => Ok(input.shallow_clone()),
        }
    }
}

/// Elements that a processor's vectors take at a time, at most.
const VECTORS: i64 = 64;
/// Elements from which on libtorch has several threads compute (`at::internal::GRAIN_SIZE`).
const GRAIN: i64 = 32_768;

/// Applies what treats each element by itself so that its bits depend on nothing else. On a CPU, libtorch computes
/// exponentials and their like for the elements that are left over behind full vectors in another way, in each thread, and at
/// the end of each row where rows do not lie end to end: so none are left over.
pub fn evenly(
    input: &Tensor,
    apply: impl Fn(&Tensor) -> std::result::Result<Tensor, TchError>,
) -> std::result::Result<Tensor, TchError> {
    let count = i64::try_from(input.numel()).unwrap_or(0);
    let threads = i64::from(tch::get_num_threads());
    let step = |count: i64| VECTORS * threads.min((count + GRAIN - 1) / GRAIN).max(1);
    let mut whole = count;
    while whole % step(whole) != 0 {
        whole += step(whole) - whole % step(whole);
    }
    if input.device() != Device::Cpu {
        return apply(input);
    }
    if whole == count {
        let even = input.size().last().is_some_and(|width| width % VECTORS == 0);
        return if even || input.is_contiguous() { apply(input) } else { apply(&input.f_contiguous()?) };
    }
    let rest = Tensor::f_zeros([whole - count], (input.f_kind()?, Device::Cpu))?;
    let flat = Tensor::f_cat(&[&input.f_reshape([-1])?, &rest], 0)?;
    apply(&flat)?.f_narrow(0, 0, count)?.f_view(input.size().as_slice())
}

/// Makes what a module with weights computed require grad where gradients are recorded, as if the weights did, which
/// never do. The copy keeps it from being a leaf, so that it can be edited in place.
pub fn differentiable(output: Tensor) -> std::result::Result<Tensor, TchError> {
    if !libtorch::recording() || output.requires_grad() {
        return Ok(output);
    }
    Tensor::f_cat(&[output.f_set_requires_grad(true)?], 0)
}

impl Linear {
    pub fn compute(&self, products: &Products, input: &Tensor) -> std::result::Result<Tensor, TchError> {
        if let Some(share) = self.shares() {
            return share.product(products, input);
        }
        differentiable(products.linear(input, &self.weight, self.bias.as_ref())?)
    }

    /// Returns its part of a product with others, which it is where nobody's gradients are recorded.
    fn shares(&self) -> Option<&Share> {
        self.share.as_ref().filter(|_| !libtorch::recording())
    }

    pub fn run(&self, pass: &mut Pass<'_>, input: &Tokens) -> Result<Tokens> {
        let run = |pass: &mut Pass<'_>, input: Tokens| match self.shares() {
            Some(share) => pass.each(&input, |input| share.product(&pass.products, input)),
            None => pass.multiply(&input, &self.weight, self.bias.as_ref()),
        };
        pass.module(self.site, input.share(), run)
    }

    /// Multiplies a tensor of each part.
    pub fn run_each(&self, pass: &Pass<'_>, inputs: &[Tensor]) -> Result<Parts> {
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        if let Some(share) = self.shares() {
            let own = as_one(&inputs, |all| share.product(&pass.products, all))?;
            return Ok(Parts(own.iter().map(|own| Tensor::f_cat(&[own], 0)).collect::<std::result::Result<_, _>>()?));
        }
        Ok(Parts(pass.multiply_parts(&inputs, &self.weight, self.bias.as_ref())?))
    }

    /// Runs on what each part wants logits of: at once where somebody is sure to read them, one product for all, and
    /// else when somebody uses them. What comes out is kept below the cap, if there is one, which the module knows
    /// nothing of.
    pub fn run_logits(&self, pass: &mut Pass<'_>, input: Parts, now: &[bool], cap: Option<f64>) -> Result<Logits> {
        let mut own_cap = None;
        let mut logits = pass.module(self.site, input, |pass, Parts(inputs)| {
            // Where somebody looks at the module, what it returns has to be there uncapped.
            let shown = cap.is_some() && pass.wants(self.site).output;
            let now: Vec<bool> = now.iter().map(|&now| now || shown).collect();
            own_cap = cap.filter(|_| !shown);
            let products = pass.products.of_head();
            let shared = |&(part, now): &(usize, &bool)| *now && pass.recorder(part).is_none();
            let sure = now.iter().enumerate().filter(shared).filter_map(|(part, _)| inputs.get(part));
            let mut computed = self.together(&products, &sure.collect::<Vec<_>>())?.into_iter();
            let head = Rc::new(torch::Head {
                weight: Rc::clone(&self.weight),
                bias: self.bias.as_ref().map(Tensor::shallow_clone),
                products: products.clone(),
                cap: own_cap,
            });
            let capped = |logits: Tensor| match own_cap {
                Some(cap) => cap_at(&logits, cap),
                None => Ok(logits),
            };
            let mut parts = Vec::with_capacity(inputs.len());
            for (part, (input, now)) in inputs.iter().zip(&now).enumerate() {
                let job = pass.recorder(part).map(|recorder| Rc::clone(&recorder.job));
                parts.push(match (now, job) {
                    (true, None) => torch::Tensor::new(capped(computed.next().ok_or_else(missing)?)?),
                    (true, Some(_)) => {
                        torch::Tensor::new(pass.paid(part, || Ok(capped(self.compute(&products, input)?)?))?)
                    }
                    (false, job) => {
                        // A copy, which no block can write to any more.
                        let own = pass.paid(part, || Ok(Tensor::f_cat(&[input], 0)?))?;
                        torch::Tensor::unembedded(own, &head, job)
                    }
                });
            }
            Ok(Logits(parts))
        })?;
        if let Some(cap) = cap.filter(|_| own_cap.is_none()) {
            for (part, logits) in logits.0.iter_mut().enumerate() {
                *logits = torch::Tensor::new(pass.paid(part, || Ok(cap_at(logits.tch(), cap)?))?);
            }
        }
        Ok(logits)
    }

    /// Multiplies several tensors, in one product where there are several.
    fn together(&self, products: &Products, inputs: &[&Tensor]) -> std::result::Result<Vec<Tensor>, TchError> {
        if let [input] = inputs {
            return Ok(vec![self.compute(products, input)?]);
        }
        as_one(inputs, |all| self.compute(products, all))
    }
}

fn missing() -> Raise {
    Raise::runtime_error("a part's logits got lost")
}

impl Embedding {
    pub fn compute(&self, ids: &Tensor) -> std::result::Result<Tensor, TchError> {
        let embedded = self.table.rows(ids)?;
        differentiable(match &self.scale {
            Some(scale) => embedded.f_mul(scale)?,
            None => embedded,
        })
    }

    pub fn run(&self, pass: &mut Pass<'_>, ids: &Tokens) -> Result<Tokens> {
        pass.unary(self.site, ids, |ids| self.compute(ids))
    }

    /// Runs on one tensor of ids for each segment, whose shapes need not be the segments'.
    pub fn run_parts(&self, pass: &mut Pass<'_>, ids: Parts) -> Result<Parts> {
        pass.module(self.site, ids, |pass, Parts(ids)| {
            let own = |(part, ids): (usize, &Tensor)| pass.paid(part, || Ok(self.compute(ids)?));
            Ok(Parts(ids.iter().enumerate().map(own).collect::<Result<_>>()?))
        })
    }
}

impl Dropout {
    pub fn run(&self, pass: &mut Pass<'_>, input: &Tokens) -> Result<Tokens> {
        pass.unary(self.site, input, |input| Ok(input.shallow_clone()))
    }
}

impl Activation {
    pub fn compute(&self, input: &Tensor) -> std::result::Result<Tensor, TchError> {
        self.function.compute(input)
    }

    pub fn run(&self, pass: &mut Pass<'_>, input: &Tokens) -> Result<Tokens> {
        pass.unary(self.site, input, |input| self.compute(input))
    }
}

/// Rows that are taken through a feed-forward block at once: what lies between its two products, four times as wide,
/// stays in a cache.
const BLOCK: i64 = 256;

/// Applies what treats each row by itself to blocks of rows of equal length, where nobody looks inside. `rest` is called
/// between blocks.
///
/// # Errors
/// What the function returns.
pub fn in_blocks(
    input: &Tensor,
    rest: impl Fn(),
    apply: impl Fn(&Tensor) -> std::result::Result<Tensor, TchError>,
) -> std::result::Result<Tensor, TchError> {
    let mut shape = input.size();
    let width = shape.pop().unwrap_or(0);
    let rows: i64 = shape.iter().product();
    // A GPU has caches of its own, and would wait for more launches.
    if rows <= BLOCK || input.device() != Device::Cpu {
        return apply(input);
    }
    let flat = input.f_reshape([rows, width])?;
    let length = (rows as u64).div_ceil((rows as u64).div_ceil(BLOCK as u64)).cast_signed();
    let block = |start: i64| {
        let done = apply(&flat.f_narrow(0, start, length.min(rows - start))?);
        rest();
        done
    };
    let blocks = (0..rows).step_by(length as usize).map(block).collect::<std::result::Result<Vec<_>, _>>()?;
    shape.push(-1);
    Tensor::f_cat(&blocks, 0)?.f_view(shape.as_slice())
}

/// What a head returns, by part. They need not be computed yet.
pub struct Logits(Vec<torch::Tensor>);

impl Output for Logits {
    fn show(&self, _: &Pass<'_>) -> Flow {
        Tree::Leaf(Packed::Parts(self.0.iter().map(|logits| logits.clone().learned()).collect()))
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        match flow {
            Tree::Leaf(Packed::Parts(parts)) => Ok(Self(parts)),
            flow => Ok(Self(pass.tensors(flow)?.into_iter().map(torch::Tensor::new).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activation_has_the_same_bits_wherever_its_row_lies() {
        tch::manual_seed(3);
        // Whole vectors and not, in one thread and in several.
        for (rows, width, beside) in [
            (3, 176, 0),
            (5, 20, 0),
            (7, 8, 0),
            (301, 176, 0),
            (1001, 1000, 0),
            (8, 72, 72),
            (5, 72, 72),
            (512, 72, 72),
        ] {
            // Rows that do not lie end to end are those of a half.
            let input = Tensor::randn([rows, width + beside], (Kind::Float, Device::Cpu)).narrow(1, 0, width);
            for function in Function::ALL {
                let all = function.compute(&input).unwrap();
                for row in [0, rows / 2, rows - 1] {
                    let alone = function.compute(&input.narrow(0, row, 1)).unwrap();
                    assert_eq!(all.narrow(0, row, 1), alone, "row {row} of {rows}, {width} wide");
                }
            }
        }
    }
}
