//! Values that a GPU's kernels take on trust.
//!
//! A CPU's kernel raises where an index is out of range. A GPU's asserts, which ends the context of the whole process
//! for every job; some read whatever lies there. So what could do that is looked at before it is launched: a small
//! reduction and one copy to the host, for the operators named here and tensors of a GPU only. The errors are those
//! of the CPU's kernels. Types, shapes and dimensions are left to libtorch, which checks them on the host.

use interpreter::Value;
use interpreter::raise::Raise;
use program::DType;

use crate::dispatch::{Argument, Number, call_unpaid};
use crate::dtype;
use crate::elements;
use crate::schema::Operator;
use crate::tensor::Tensor;

/// Checks an operator's arguments before a GPU sees them.
///
/// # Errors
/// What the CPU's kernel raises.
pub fn check(operator: &Operator, arguments: &[Argument]) -> Result<(), Raise> {
    let call = Call { operator, arguments };
    if !call.is_on_gpu() {
        return Ok(());
    }
    match operator.name.trim_end_matches('_') {
        "gather" | "scatter" | "scatter_add" | "scatter_reduce" | "index_add" => {
            call.along("index", false, |index, dim, size| Raise::runtime_error(out_of_bounds(index, dim, size)))
        }
        // Along a dimension it takes indices modulo its size.
        "take_along_dim" if call.int("dim").is_none() => {
            call.along("indices", false, |index, dim, size| Raise::runtime_error(out_of_bounds(index, dim, size)))
        }
        "index_select" | "index_reduce" => {
            call.along("index", false, |_, _, _| Raise::index_error("index out of range in self"))
        }
        "index_copy" => call.along("index", false, |index, dim, size| {
            Raise::index_error(format!("index_copy_(): {}", out_of_bounds(index, dim, size)))
        }),
        "index_fill" => {
            call.along("index", true, |index, dim, size| Raise::index_error(out_of_bounds(index, dim, size)))
        }
        "take" | "put" => call.elements(),
        "index" | "index_put" => call.indices(),
        "embedding" => match (call.tensor("weight"), call.tensor("indices")) {
            (Some(weight), Some(indices)) => rows(weight, indices),
            _ => Ok(()),
        },
        "embedding_bag" => call.bags(),
        "cross_entropy_loss" | "nll_loss_nd" | "nll_loss" | "nll_loss2d" => call.classes(),
        "multi_margin_loss" => call.targets(0, "target out of range"),
        "multilabel_margin_loss" => call.targets(-1, "argument #2 'target' is out of range"),
        "one_hot" => call.hot(),
        "max_unpool2d" | "max_unpool3d" => call.unpooled(),
        "multinomial" => call.weights(),
        "bernoulli" if *operator.overload == *"Tensor" => call.probabilities("p", PROBABILITY),
        "bernoulli" if operator.overload.is_empty() => call.probabilities("self", PROBABILITY),
        "binary_cross_entropy" => {
            call.probabilities("self", "all elements of input should be between 0 and 1")?;
            call.probabilities("target", "all elements of target should be between 0 and 1")
        }
        "poisson" => call.at_least_zero("self", "invalid Poisson rate, expected rate to be non-negative"),
        "repeat_interleave" => call.repeats(),
        "masked_scatter" => call.enough(),
        "quantile" | "nanquantile" => call.probabilities("q", "quantile() q values must be in the range [0, 1]"),
        _ => Ok(()),
    }
}

/// Checks what a kernel takes on trust wherever it runs: LAPACK exchanges the rows that pivots name.
///
/// # Errors
/// `RuntimeError` for pivots that name no row; `ValueError` for more than a kernel has room for.
pub fn check_everywhere(operator: &Operator, arguments: &[Argument]) -> Result<(), Raise> {
    let call = Call { operator, arguments };
    if &*operator.name == "combinations"
        && let Some(together) = call.int("r").filter(|together| *together > TOGETHER)
    {
        // The kernel makes a view of the elements for each.
        return Err(Raise::value_error(format!(
            "combinations(): r may be {TOGETHER} at most on this server, and is {together}"
        )));
    }
    let names = [("LU_data", "LU_pivots"), ("LU", "pivots")];
    let pair = names.iter().find_map(|(factors, pivots)| Some((call.tensor(factors)?, call.tensor(pivots)?)));
    let Some((factors, pivots)) = pair else { return Ok(()) };
    let sizes = factors.sizes();
    if sizes.len() < 2 || pivots.dtype() != DType::Int32 {
        return Err(Raise::runtime_error(format!(
            "{}(): it takes factors that are matrices and pivots of torch.int32, and these are of shape {sizes:?} or the \
             pivots of another type",
            operator.name
        )));
    }
    let rows = sizes.len().checked_sub(2).and_then(|at| sizes.get(at).copied()).unwrap_or(0);
    match outside(pivots, 1, rows + 1)? {
        Some(pivot) => Err(Raise::runtime_error(format!(
            "{}(): pivots have to be rows of the factors, from 1 to {rows}, and one is {pivot}",
            operator.name
        ))),
        None => Ok(()),
    }
}

/// Elements that [`check_everywhere`] lets be combined.
const TOGETHER: i64 = 16;

const PROBABILITY: &str = "Expected p_in >= 0 && p_in <= 1 to be true, but got false.  (Could this error message be \
                           improved?  If so, please report an enhancement request to PyTorch.)";

/// Checks that indices name rows of a weight.
///
/// # Errors
/// `IndexError` as a CPU's `embedding`.
pub fn rows(weight: &Tensor, indices: &Tensor) -> Result<(), Raise> {
    let size = weight.sizes().first().copied().unwrap_or(0);
    match outside(indices, 0, size)? {
        Some(_) => Err(Raise::index_error("index out of range in self")),
        None => Ok(()),
    }
}

/// Checks that each index lies within its dimension of `sizes`, from the end where negative. `None` stands for a
/// dimension without an index; masks have theirs checked with their shapes.
///
/// # Errors
/// `IndexError` as a CPU's indexing.
pub fn indices<'a>(sizes: &[i64], indices: impl IntoIterator<Item = Option<&'a Tensor>>) -> Result<(), Raise> {
    // CPUs count in the message what is indexed before.
    let (mut dim, mut place) = (0, 0);
    for index in indices {
        let dims = match index {
            Some(mask) if matches!(mask.dtype(), DType::Bool | DType::UInt8) => mask.sizes().len(),
            _ => 1,
        };
        if let (Some(index), Some(&size)) = (index, sizes.get(dim))
            && index.dtype() != DType::UInt8
            && let Some(wrong) = outside(index, -size, size)?
        {
            return Err(Raise::index_error(out_of_bounds(wrong, place, size)));
        }
        dim += dims;
        place += if index.is_some() { dims as i64 } else { 0 };
    }
    Ok(())
}

fn out_of_bounds(index: i64, dim: i64, size: i64) -> String {
    format!("index {index} is out of bounds for dimension {dim} with size {size}")
}

struct Call<'a> {
    operator: &'a Operator,
    arguments: &'a [Argument],
}

impl Call<'_> {
    fn is_on_gpu(&self) -> bool {
        let gpu = |tensor: &Tensor| tensor.is_on_gpu();
        self.arguments.iter().any(|argument| match argument {
            Argument::Tensor(tensor) => gpu(tensor),
            Argument::Tensors(tensors) => tensors.iter().any(gpu),
            Argument::OptionalTensors(tensors) => tensors.iter().flatten().any(gpu),
            _ => false,
        })
    }

    fn argument(&self, name: &str) -> Option<&Argument> {
        let at = self.operator.parameters.iter().position(|parameter| *parameter.name == *name)?;
        self.arguments.get(at)
    }

    fn tensor(&self, name: &str) -> Option<&Tensor> {
        match self.argument(name)? {
            Argument::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    fn int(&self, name: &str) -> Option<i64> {
        match self.argument(name)? {
            Argument::Number(Number::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// Checks indices along `dim` of `self`; of all its elements without a `dim`.
    fn along(&self, name: &str, ends: bool, error: impl Fn(i64, i64, i64) -> Raise) -> Result<(), Raise> {
        let (Some(own), Some(index)) = (self.tensor("self"), self.tensor(name)) else { return Ok(()) };
        let sizes = own.sizes();
        let (dim, size) = match self.int("dim") {
            Some(dim) => {
                let dim = if dim < 0 { dim + sizes.len() as i64 } else { dim };
                // A number has one element along any dimension.
                let size = if sizes.is_empty() {
                    Some(1)
                } else {
                    usize::try_from(dim).ok().and_then(|dim| sizes.get(dim).copied())
                };
                match size {
                    Some(size) => (dim.max(0), size),
                    None => return Ok(()),
                }
            }
            None => (0, sizes.iter().product()),
        };
        match outside(index, if ends { -size } else { 0 }, size)? {
            Some(index) => Err(error(index, dim, size)),
            None => Ok(()),
        }
    }

    fn elements(&self) -> Result<(), Raise> {
        let (Some(own), Some(index)) = (self.tensor("self"), self.tensor("index")) else { return Ok(()) };
        let count = i64::try_from(own.elements()).unwrap_or(i64::MAX);
        match outside(index, -count, count)? {
            Some(index) => Err(Raise::index_error(format!(
                "out of range: tried to access index {index} on a tensor of {count} elements."
            ))),
            None => Ok(()),
        }
    }

    fn indices(&self) -> Result<(), Raise> {
        match (self.tensor("self"), self.argument("indices")) {
            (Some(own), Some(Argument::OptionalTensors(all))) => indices(&own.sizes(), all.iter().map(Option::as_ref)),
            _ => Ok(()),
        }
    }

    fn bags(&self) -> Result<(), Raise> {
        let (Some(weight), Some(indices)) = (self.tensor("weight"), self.tensor("indices")) else { return Ok(()) };
        rows(weight, indices)?;
        let Some(offsets) = self.tensor("offsets").filter(|offsets| offsets.elements() > 0) else { return Ok(()) };
        let count = i64::try_from(indices.elements()).unwrap_or(i64::MAX);
        let steps = call_unpaid("diff", "", &[offsets.into()])?;
        if outside(offsets, 0, count.saturating_add(1))?.is_some() || outside(&steps, 0, i64::MAX)?.is_some() {
            return Err(Raise::runtime_error(format!(
                "offsets have to ascend from 0 to no more than the number of indices, {count}"
            )));
        }
        Ok(())
    }

    fn classes(&self) -> Result<(), Raise> {
        let (Some(own), Some(target)) = (self.tensor("self"), self.tensor("target")) else { return Ok(()) };
        if !is_index(target) {
            return Ok(());
        }
        let sizes = own.sizes();
        let classes = sizes.get(usize::from(sizes.len() > 1)).copied().unwrap_or(0);
        let ignored = Argument::from(self.int("ignore_index").unwrap_or(-100));
        let ignored = call_unpaid("eq", "Scalar", &[target.into(), ignored])?;
        let known = call_unpaid("masked_fill", "Scalar", &[target.into(), ignored.into(), Argument::from(0)])?;
        match outside(&known, 0, classes)? {
            Some(class) => Err(Raise::index_error(format!("Target {class} is out of bounds."))),
            None => Ok(()),
        }
    }

    fn unpooled(&self) -> Result<(), Raise> {
        let (Some(indices), Some(Argument::Ints(sizes))) = (self.tensor("indices"), self.argument("output_size"))
        else {
            return Ok(());
        };
        let count = sizes.iter().fold(1_i64, |count, &size| count.saturating_mul(size.max(0)));
        match outside(indices, 0, count)? {
            Some(index) => {
                Err(Raise::runtime_error(format!("Found an invalid max index: {index} (output size is {count})")))
            }
            None => Ok(()),
        }
    }

    fn targets(&self, least: i64, message: &str) -> Result<(), Raise> {
        let (Some(own), Some(target)) = (self.tensor("self"), self.tensor("target")) else { return Ok(()) };
        let classes = own.sizes().last().copied().unwrap_or(1);
        match outside(target, least, classes)? {
            Some(_) => Err(Raise::runtime_error(message)),
            None => Ok(()),
        }
    }

    fn hot(&self) -> Result<(), Raise> {
        let Some(own) = self.tensor("self") else { return Ok(()) };
        let classes = self.int("num_classes").unwrap_or(-1);
        if outside(own, 0, i64::MAX)?.is_some() {
            return Err(Raise::runtime_error("Class values must be non-negative."));
        }
        if classes > 0 && outside(own, 0, classes)?.is_some() {
            return Err(Raise::runtime_error("Class values must be smaller than num_classes."));
        }
        Ok(())
    }

    fn weights(&self) -> Result<(), Raise> {
        let Some(own) = self.tensor("self").filter(|own| dtype::is_floating(own.dtype())) else { return Ok(()) };
        if within(own, |least, most| least >= 0.0 && most < f64::INFINITY)? {
            let sums = call_unpaid("sum", "dim_IntList", &[own.into(), vec![-1].into(), Argument::from(false)])?;
            return match within(&sums, |least, _| least > 0.0)? {
                true => Ok(()),
                false => Err(Raise::runtime_error("invalid multinomial distribution (sum of probabilities <= 0)")),
            };
        }
        Err(Raise::runtime_error("probability tensor contains either `inf`, `nan` or element < 0"))
    }

    fn probabilities(&self, name: &str, message: &str) -> Result<(), Raise> {
        let Some(own) = self.tensor(name).filter(|own| dtype::is_floating(own.dtype())) else { return Ok(()) };
        match within(own, |least, most| least >= 0.0 && most <= 1.0)? {
            true => Ok(()),
            false => Err(Raise::runtime_error(message)),
        }
    }

    fn at_least_zero(&self, name: &str, message: &str) -> Result<(), Raise> {
        let Some(own) = self.tensor(name).filter(|own| dtype::is_floating(own.dtype())) else { return Ok(()) };
        match within(own, |least, _| least >= 0.0)? {
            true => Ok(()),
            false => Err(Raise::runtime_error(message)),
        }
    }

    fn repeats(&self) -> Result<(), Raise> {
        let Some(repeats) = self.tensor("repeats").filter(|repeats| is_index(repeats)) else { return Ok(()) };
        if outside(repeats, 0, i64::MAX)?.is_some() {
            return Err(Raise::runtime_error("repeats can not be negative"));
        }
        let Some(wanted) = self.int("output_size") else { return Ok(()) };
        let sum = call_unpaid("sum", "", &[repeats.into()])?.item()?;
        // One number of repeats is for every element.
        if sum.as_int() != Some(wanted) && repeats.elements() > 1 {
            return Err(Raise::runtime_error("allocated size does not match required size"));
        }
        Ok(())
    }

    fn enough(&self) -> Result<(), Raise> {
        let (Some(own), Some(mask), Some(source)) = (self.tensor("self"), self.tensor("mask"), self.tensor("source"))
        else {
            return Ok(());
        };
        if mask.dtype() != DType::Bool {
            return Ok(());
        }
        let Ok(mask) = call_unpaid("broadcast_to", "", &[mask.into(), own.sizes().into()]) else { return Ok(()) };
        let ones = call_unpaid("sum", "", &[(&mask).into()])?.item()?;
        if ones.as_int().is_some_and(|ones| u64::try_from(ones).is_ok_and(|ones| ones > source.elements())) {
            return Err(Raise::runtime_error("Number of elements of source < number of ones in mask"));
        }
        Ok(())
    }
}

fn is_index(tensor: &Tensor) -> bool {
    let dtype = tensor.dtype();
    !dtype::is_floating(dtype) && !dtype::is_complex(dtype) && dtype != DType::Bool
}

/// Returns an element that is less than `least` or not less than `end`.
fn outside(index: &Tensor, least: i64, end: i64) -> Result<Option<i64>, Raise> {
    if !is_index(index) {
        return Ok(None);
    }
    let extremes = extremes(index)?.map(|ends| ends.map(|number| number.as_int().unwrap_or(i64::MIN)));
    Ok(extremes.into_iter().flatten().find(|number| !(least..end).contains(number)))
}

/// Says whether the least and the greatest element are as wanted; NaN is both where there is one.
fn within(tensor: &Tensor, wanted: impl Fn(f64, f64) -> bool) -> Result<bool, Raise> {
    Ok(match extremes(tensor)? {
        Some([Value::Float(least), Value::Float(most)]) => wanted(least, most),
        Some(_) => false,
        None => true,
    })
}

/// Reads the least and the greatest element, both with one copy from the device.
fn extremes(tensor: &Tensor) -> Result<Option<[Value; 2]>, Raise> {
    if tensor.elements() == 0 {
        return Ok(None);
    }
    let plain = call_unpaid("detach", "", &[tensor.into()])?;
    let end = |name| call_unpaid(name, "", &[(&plain).into(), Argument::Ints(Vec::new()), Argument::from(false)]);
    let both = call_unpaid("stack", "", &[Argument::Tensors(vec![end("amin")?, end("amax")?]), Argument::from(0)])?;
    Ok(<[Value; 2]>::try_from(elements::decode(&both.to_data()?)).ok())
}
