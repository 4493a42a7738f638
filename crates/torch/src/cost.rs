//! What an operation costs: interpreter steps, so that a job's fuel bounds its arithmetic too; the seconds that it is
//! likely to take, so that nobody waits for a long one; and the tensors that it makes.
//!
//! What is written is not guessed: it is charged when memory for it has been given out (see [`written`]).

use std::collections::HashMap;

use program::DType;

use crate::dispatch::{Argument, Number};
use crate::dtype;
use crate::schema::Operator;
use crate::tensor::Tensor;

/// What an operation costs, before it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Interpreter steps for what is read and multiplied.
    pub steps: u64,
    /// How long it is likely to take, or longer.
    pub seconds: f64,
    /// The part of it for what is read and multiplied: what is made and finds no memory takes none.
    pub reading: f64,
    /// Tensors that it makes beyond the first few.
    pub handles: u64,
}

/// Steps of any operation.
pub const CALL: u64 = 10;
/// Elements read for one step.
const ELEMENTS: u64 = 4096;
/// Bytes written for one step.
const BYTES: u64 = 16384;
/// Multiplications for one step: about as long as interpreting one.
const MULTIPLICATIONS: f64 = 1.0e6;

/// Multiplications of products and of decompositions that a second has time for, on a few cores.
pub const PRODUCTS_PER_SECOND: f64 = 2.0e10;
const DECOMPOSED_PER_SECOND: f64 = 5.0e9;
/// What a way to cut a part of a chain of products takes, in multiplications; a sixth of the cube are tried.
const CUT: f64 = 10.0;
/// Seconds for an element of what passes over memory, draws random numbers, computes a series, and compares for a sort.
const PASSED: f64 = 1.0e-9;
const DRAWN: f64 = 8.0e-9;
const SUMMED: f64 = 3.0e-7;
const COMPARED: f64 = 4.0e-9;
/// Seconds for an element that is looked for anywhere in memory.
const SCATTERED: f64 = 1.0e-8;
/// Seconds for comparing two rows of a tensor, where rows are what is sorted.
const ROWS_COMPARED: f64 = 2.0e-7;

/// Operators whose work for an element is a series or a loop of its own.
const SERIES: [&str; 33] = [
    "airy_ai",
    "bessel_j0",
    "bessel_j1",
    "bessel_y0",
    "bessel_y1",
    "binomial",
    "digamma",
    "erfcx",
    "erfinv",
    "gammainc",
    "gammaincc",
    "gcd",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "igamma",
    "igammac",
    "lcm",
    "lgamma",
    "log_ndtr",
    "logcumsumexp",
    "modified_bessel_i0",
    "modified_bessel_i1",
    "modified_bessel_k0",
    "modified_bessel_k1",
    "ndtri",
    "nextafter",
    "poisson",
    "polygamma",
    "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1",
    "zeta",
];

/// Operators that sort, or whose work grows as if they did.
const SORTS: [&str; 28] = [
    "_unique2",
    "argsort",
    "bucketize",
    "fft",
    "fft2",
    "fftn",
    "hfft",
    "hfftn",
    "histogramdd",
    "ifft",
    "ifft2",
    "ifftn",
    "irfft",
    "irfftn",
    "isin",
    "kthvalue",
    "median",
    "mode",
    "msort",
    "nanmedian",
    "nanquantile",
    "quantile",
    "rfft",
    "rfftn",
    "searchsorted",
    "sort",
    "topk",
    "unique_dim",
];

/// Operators that read or write elements where others say, one by one.
const SCATTERS: [&str; 21] = [
    "argwhere",
    "bincount",
    "gather",
    "index",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_reduce",
    "index_select",
    "masked_scatter",
    "masked_select",
    "nonzero",
    "nonzero_static",
    "put",
    "repeat_interleave",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "take",
    "take_along_dim",
];

/// Operators whose work grows faster than their inputs, beside those that begin with the names in [`Nature::of`].
const GROWING: [&str; 63] = [
    "addbmm",
    "addmm",
    "baddbmm",
    "bilinear",
    "bmm",
    "cdist",
    "chain_matmul",
    "cholesky",
    "cholesky_inverse",
    "cholesky_solve",
    "cond",
    "corrcoef",
    "cov",
    "ctc_loss",
    "det",
    "einsum",
    "frobenius_norm",
    "geqrf",
    "ger",
    "grid_sampler",
    "gru",
    "gru_cell",
    "householder_product",
    "inv",
    "inverse",
    "kron",
    "ldl_factor",
    "linear",
    "logdet",
    "lstm",
    "lstm_cell",
    "lstsq",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "mm",
    "multi_dot",
    "norm",
    "nuclear_norm",
    "orgqr",
    "ormqr",
    "outer",
    "pdist",
    "pinv",
    "pinverse",
    "qr",
    "rnn_relu",
    "rnn_relu_cell",
    "rnn_tanh",
    "rnn_tanh_cell",
    "scaled_dot_product_attention",
    "slogdet",
    "solve",
    "solve_triangular",
    "tensordot",
    "tensorinv",
    "tensorsolve",
    "triangular_solve",
    "vander",
    "vdot",
    "vecdot",
];

/// Operators that make lists of tensors.
const LISTS: [&str; 14] = [
    "chunk",
    "dsplit",
    "hsplit",
    "split",
    "split_copy",
    "split_with_sizes",
    "split_with_sizes_copy",
    "tensor_split",
    "unbind",
    "unbind_copy",
    "unsafe_chunk",
    "unsafe_split",
    "unsafe_split_with_sizes",
    "vsplit",
];

/// Operators that copy what they are given where it does not lie as they want it, and else show it.
const COPIES: [&str; 5] = ["contiguous", "flatten", "ravel", "reshape", "to"];

/// What an operator's cost depends on, known before it is called.
#[derive(Clone, Copy, Debug)]
pub struct Nature {
    /// Its work grows faster than its inputs.
    grows: bool,
    /// It makes lists of tensors.
    lists: bool,
    /// Its result may be a view, so that it may look at nothing.
    views: bool,
    copies: bool,
    /// It makes as much as its arguments ask for.
    sized: bool,
    pass: Pass,
}

#[derive(Clone, Copy, Debug)]
enum Pass {
    Plain,
    Drawn,
    Series,
    Sort,
    Scattered,
}

impl Nature {
    pub fn of(name: &str, random: bool, views: bool) -> Self {
        let name = plain(name);
        let pass = match name {
            name if SORTS.binary_search(&name).is_ok() => Pass::Sort,
            name if SERIES.binary_search(&name).is_ok() => Pass::Series,
            name if SCATTERS.binary_search(&name).is_ok() => Pass::Scattered,
            _ if random => Pass::Drawn,
            _ => Pass::Plain,
        };
        let starts = ["conv", "eig", "lu", "svd"].iter().any(|start| name.starts_with(start));
        let sized = ["upsample", "unpool", "fractional", "adaptive", "repeat"].iter().any(|part| name.contains(part))
            || name.starts_with("new_")
            || name == "tile";
        let grows =
            starts || name.contains("_pool") || name.contains("_polynomial_") || GROWING.binary_search(&name).is_ok();
        let copies = COPIES.binary_search(&name).is_ok();
        Self { grows, lists: LISTS.binary_search(&name).is_ok(), views, copies, sized, pass }
    }
}

/// Elements of all tensors, multiplied, up to which nothing that is made by broadcasting them takes long.
const SMALL: f64 = 1.0e7;

/// Returns what an operation costs.
#[must_use]
pub fn of(operator: &Operator, arguments: &[Argument]) -> Work {
    let nature = operator.nature;
    let call = Call { operator, arguments, tensors: arguments.iter().flat_map(tensors).collect() };
    let (mut read, mut broadcast) = (0.0, 1.0);
    for tensor in &call.tensors {
        let elements = tensor.elements() as f64;
        read += elements;
        broadcast *= elements.max(1.0);
    }
    // Views look at nothing, however large what they show.
    let passes = match nature {
        Nature { views: true, copies, .. } => {
            if copies {
                read
            } else {
                0.0
            }
        }
        _ if broadcast < SMALL && !call.tensors.is_empty() && !nature.sized => read,
        _ => read.max(call.made()),
    };
    let read = if nature.views { 0.0 } else { read };
    let name = plain(&operator.name);
    let (multiplications, rate) = if nature.grows { call.multiplications(name) } else { (0.0, PRODUCTS_PER_SECOND) };
    let handles = if nature.lists || nature.grows { call.handles(name) } else { 0 };
    let each = match nature.pass {
        Pass::Sort => COMPARED * passes.max(2.0).log2(),
        Pass::Series => SUMMED,
        Pass::Drawn => DRAWN,
        Pass::Scattered => SCATTERED,
        Pass::Plain => PASSED,
    };
    // A sort's comparisons, and what a series adds up, are steps as well.
    let more = if nature.views { 0.0 } else { (each / PASSED - 1.0).max(0.0) * passes / ELEMENTS as f64 };
    let rows = if name == "unique_dim" { call.rows_compared() * ROWS_COMPARED } else { 0.0 };
    let more = more + rows / (PASSED * ELEMENTS as f64);
    let slowness = if multiplications > 0.0 { call.slowness() } else { 1.0 };
    Work {
        steps: CALL + read as u64 / ELEMENTS + (multiplications / MULTIPLICATIONS + more) as u64 + handles,
        seconds: passes * each + multiplications * slowness / rate + rows,
        reading: read * each + multiplications * slowness / rate + rows,
        handles,
    }
}

/// Returns the steps for bytes that were written.
#[must_use]
pub fn written(bytes: u64) -> u64 {
    bytes / BYTES
}

/// Returns what reading or writing so many elements by indices costs.
#[must_use]
pub fn indexing(elements: u64) -> Work {
    let seconds = elements as f64 * SCATTERED;
    Work { steps: CALL + elements / ELEMENTS, seconds, reading: seconds, handles: 0 }
}

/// Returns an operator's name without what marks its family.
fn plain(name: &str) -> &str {
    let name = name.trim_end_matches('_');
    let name = name.strip_suffix("_ex").unwrap_or(name);
    ["linalg_", "special_", "fft_"].iter().find_map(|family| name.strip_prefix(family)).unwrap_or(name)
}

fn tensors(argument: &Argument) -> Vec<&Tensor> {
    match argument {
        Argument::Tensor(tensor) => vec![tensor],
        Argument::Tensors(tensors) => tensors.iter().collect(),
        Argument::OptionalTensors(tensors) => tensors.iter().flatten().collect(),
        _ => Vec::new(),
    }
}

struct Call<'a> {
    operator: &'a Operator,
    arguments: &'a [Argument],
    tensors: Vec<&'a Tensor>,
}

impl Call<'_> {
    fn argument(&self, name: &str) -> Option<&Argument> {
        let at = self.operator.parameters.iter().position(|parameter| &*parameter.name == name)?;
        self.arguments.get(at)
    }

    fn int(&self, name: &str) -> Option<i64> {
        match self.argument(name)? {
            Argument::Number(Number::Int(number)) => Some(*number),
            _ => None,
        }
    }

    fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.argument(name)? {
            Argument::Ints(ints) => Some(ints),
            _ => None,
        }
    }

    fn elements(&self) -> f64 {
        self.tensors.iter().map(|tensor| tensor.elements() as f64).sum()
    }

    fn elements_of(&self, at: usize) -> f64 {
        self.tensors.get(at).map_or(0.0, |tensor| tensor.elements() as f64)
    }

    /// The size of a tensor's dimension, counted from the end.
    fn size(&self, at: usize, from_end: usize) -> f64 {
        let sizes = self.tensors.get(at).map(|tensor| tensor.sizes()).unwrap_or_default();
        sizes.len().checked_sub(from_end).and_then(|dim| sizes.get(dim).copied()).unwrap_or(1) as f64
    }

    /// Elements that are made, where the arguments tell: as many as the tensors have when they are broadcast, or as a
    /// factory is asked for.
    fn made(&self) -> f64 {
        let product = |ints: &[i64]| ints.iter().map(|&size| size.max(0) as f64).product::<f64>();
        let mut shape: Vec<i64> = Vec::new();
        for tensor in &self.tensors {
            let sizes = tensor.sizes();
            if sizes.len() > shape.len() {
                shape.splice(0..0, std::iter::repeat_n(1, sizes.len() - shape.len()));
            }
            for (own, other) in shape.iter_mut().rev().zip(sizes.iter().rev()) {
                *own = if *own == 1 { *other } else { *own };
            }
        }
        let mut made = if self.tensors.is_empty() { 0.0 } else { product(&shape) };
        if let Some(size) = self.ints("size") {
            made = made.max(product(size));
        }
        for repeats in ["repeats", "dims"] {
            let repeated = matches!(&*self.operator.name, "repeat" | "tile");
            if let Some(repeats) = self.int(repeats).filter(|_| &*self.operator.name == "repeat_interleave") {
                made = made.max(self.elements() * repeats as f64);
            }
            if let Some(repeats) = self.ints(repeats).filter(|_| repeated) {
                made = made.max(self.elements() * product(repeats));
            }
        }
        if let Some(size) = self.ints("output_size") {
            made = made.max(self.leading(size.len()) * product(size));
        }
        if let Some(Argument::Floats(factors)) = self.argument("scale_factors") {
            made = made.max(self.elements_of(0) * factors.iter().product::<f64>());
        }
        for count in ["n", "steps"] {
            if let Some(count) = self.int(count).filter(|_| self.tensors.is_empty()) {
                let square = &*self.operator.name == "eye";
                let other = self.int("m").unwrap_or(count);
                made = made.max(if square { count as f64 * other as f64 } else { count as f64 });
            }
        }
        made
    }

    /// Elements of the first tensor in front of so many of its dimensions.
    fn leading(&self, dimensions: usize) -> f64 {
        let sizes = self.tensors.first().map(|tensor| tensor.sizes()).unwrap_or_default();
        let kept = sizes.len().saturating_sub(dimensions);
        sizes.iter().take(kept).map(|&size| size.max(0) as f64).product()
    }

    /// The greatest degree that a polynomial is asked for.
    fn degree(&self) -> f64 {
        let greatest = |tensor: &Tensor| {
            let most = crate::dispatch::call_unpaid("max", "", &[tensor.into()])?;
            crate::dispatch::call_unpaid(
                "to",
                "dtype",
                &[(&most).into(), i64::from(dtype::code(DType::Float64)).into()],
            )?
            .item()
        };
        match self.argument("n") {
            Some(Argument::Number(number)) => crate::python::float(&(*number).into()).unwrap_or(1.0),
            Some(Argument::Tensor(degrees)) if degrees.elements() > 0 => {
                greatest(degrees).ok().and_then(|most| crate::python::float(&most)).unwrap_or(1.0)
            }
            _ => 1.0,
        }
    }

    /// How many times longer a multiplication takes than one of floats.
    fn slowness(&self) -> f64 {
        match self.tensors.first().map(|tensor| tensor.dtype()) {
            Some(DType::BFloat16 | DType::Float16) => 4.0,
            Some(DType::Float64) => 2.0,
            Some(dtype) if dtype::is_complex(dtype) => 8.0,
            Some(dtype) if dtype::is_floating(dtype) => 1.0,
            Some(_) => 40.0,
            None => 1.0,
        }
    }

    /// Estimates the multiplications of operations whose work grows faster than their inputs, and says how many of them a
    /// second has time for.
    fn multiplications(&self, name: &str) -> (f64, f64) {
        let products = match name {
            "mm" | "bmm" | "matmul" => self.elements_of(0).max(self.batched()) * self.size(1, 1),
            "addmm" | "baddbmm" | "addbmm" => self.elements_of(1) * self.size(2, 1),
            "linear" => self.elements_of(0) * self.size(1, 2),
            "bilinear" => self.elements_of(0) * self.elements_of(2) / self.size(2, 2).max(1.0),
            "cdist" => self.elements_of(0).max(self.batched()) * self.size(1, 2),
            "pdist" => self.elements_of(0) * self.size(0, 2),
            "cov" | "corrcoef" => self.elements_of(0) * self.size(0, 2),
            "scaled_dot_product_attention" => 2.0 * self.elements_of(0) * self.size(1, 2),
            "outer" | "ger" | "kron" => self.elements_of(0) * self.elements_of(1),
            "einsum" => self.einsum(),
            "tensordot" => self.tensordot(),
            "multi_dot" | "chain_matmul" => self.chain(),
            "matrix_power" => {
                let times = self.int("n").map_or(1, |n| 2 * (64 - n.unsigned_abs().leading_zeros()));
                self.elements_of(0) * self.size(0, 1) * f64::from(times)
            }
            name if name.starts_with("conv") => {
                let channels = self.tensors.first().and_then(|input| input.sizes().get(1).copied()).unwrap_or(1);
                self.elements_of(0) / channels.max(1) as f64 * self.elements_of(1)
            }
            "gru" | "lstm" | "rnn_tanh" | "rnn_relu" | "gru_cell" | "lstm_cell" | "rnn_tanh_cell" | "rnn_relu_cell" => {
                self.elements_of(0) / self.size(0, 1).max(1.0) * self.elements()
            }
            // Sums of exponentials, for each step and each place of a target.
            "ctc_loss" => 20.0 * self.elements_of(0) / self.size(0, 1).max(1.0) * (2.0 * self.size(1, 1) + 1.0),
            "grid_sampler" => {
                let channels = self.tensors.first().and_then(|input| input.sizes().get(1).copied()).unwrap_or(1);
                8.0 * self.elements_of(1) / self.size(1, 1).max(1.0) * channels as f64
            }
            name if name.contains("_polynomial_") => 10.0 * self.made() * self.degree().max(1.0),
            name if name.contains("_pool") => self.pooled(),
            _ => 0.0,
        };
        if products > 0.0 {
            return (products, PRODUCTS_PER_SECOND);
        }
        let (rows, columns) = (self.size(0, 2), self.size(0, 1));
        let of_matrices = self.elements_of(0) * rows.min(columns);
        let times = match name {
            "svd" | "svdvals" | "pinv" | "pinverse" | "eig" | "eigvals" | "lstsq" | "cond" | "matrix_rank"
            | "nuclear_norm" => 25.0,
            "eigh" | "eigvalsh" | "matrix_exp" => 12.0,
            "norm" | "matrix_norm" if self.is_spectral() => 25.0,
            "qr" | "geqrf" | "orgqr" | "ormqr" | "householder_product" => 4.0,
            "inverse" | "inv" | "solve" | "det" | "logdet" | "slogdet" | "lu" | "lu_factor" | "ldl_factor"
            | "cholesky" | "cholesky_inverse" => 2.0,
            "cholesky_solve" | "triangular_solve" | "solve_triangular" | "lu_solve" => {
                let (order, columns) = (self.size(0, 1).max(self.size(1, 1)), self.size(0, 1).max(self.size(1, 1)));
                return (self.elements() * order.max(columns), DECOMPOSED_PER_SECOND);
            }
            "tensorinv" | "tensorsolve" => return (2.0 * self.elements_of(0).powf(1.5), DECOMPOSED_PER_SECOND),
            _ => 0.0,
        };
        (times * of_matrices, DECOMPOSED_PER_SECOND)
    }

    /// Elements of the first factor, where the batch dimensions of the second are more.
    fn batched(&self) -> f64 {
        let matrices = |at: usize| self.elements_of(at) / (self.size(at, 1) * self.size(at, 2)).max(1.0);
        let dimensions = |at: usize| self.tensors.get(at).map_or(0, |tensor| tensor.sizes().len());
        match dimensions(0) < 2 || dimensions(1) < 2 {
            true => self.elements_of(0).max(self.elements_of(1) / self.size(1, 1).max(1.0)),
            false => matrices(0).max(matrices(1)) * self.size(0, 1) * self.size(0, 2),
        }
    }

    /// Whether a norm needs singular values.
    fn is_spectral(&self) -> bool {
        match self.argument("ord") {
            Some(Argument::Str(word)) => &**word == "nuc",
            Some(Argument::Number(Number::Int(order))) => order.abs() == 2 && self.size(0, 2) > 1.0,
            Some(Argument::Number(Number::Float(order))) => order.abs() == 2.0 && self.size(0, 2) > 1.0,
            _ => false,
        }
    }

    /// The product of the sizes of all dimensions that meet, from left to right as they are contracted.
    fn einsum(&self) -> f64 {
        let Some(Argument::Str(equation)) = self.argument("equation") else { return 0.0 };
        let equation: String = equation.chars().filter(|char| !char.is_whitespace()).collect();
        let (inputs, output) = equation.split_once("->").unwrap_or((&equation, ""));
        let operands: Vec<Vec<(char, i64)>> =
            inputs.split(',').zip(&self.tensors).map(|(labels, tensor)| labelled(labels, &tensor.sizes())).collect();
        let mut met: HashMap<char, i64> = HashMap::new();
        let mut work = 0.0;
        for (at, operand) in operands.iter().enumerate() {
            for (label, size) in operand {
                let known = met.entry(*label).or_insert(1);
                *known = (*known).max(*size);
            }
            work += met.values().map(|&size| size as f64).product::<f64>();
            // What nobody needs any more has been summed over.
            let later = &operands[at + 1..];
            if inputs.len() != equation.len() {
                met.retain(|label, _| {
                    !label.is_alphabetic()
                        || output.contains(*label)
                        || later.iter().flatten().any(|(one, _)| one == label)
                });
            }
        }
        work
    }

    fn tensordot(&self) -> f64 {
        let (Some(first), Some(dims)) = (self.tensors.first(), self.ints("dims_self")) else { return 0.0 };
        let sizes = first.sizes();
        let at = |dim: i64| usize::try_from(if dim < 0 { dim + sizes.len() as i64 } else { dim }).ok();
        let shared = dims.iter().filter_map(|&dim| sizes.get(at(dim)?)).map(|&size| size as f64).product::<f64>();
        self.elements_of(0) * self.elements_of(1) / shared.max(1.0)
    }

    /// A chain of products, multiplied from left to right. Which order is best is found by trying all ways to cut all parts
    /// of the chain.
    fn chain(&self) -> f64 {
        let (rows, count) = (self.size(0, 2), self.tensors.len() as f64);
        let products: f64 = (1..self.tensors.len()).map(|at| rows * self.elements_of(at)).sum();
        products + count.powi(3) * CUT
    }

    /// Comparisons of rows that sorting them along `dim` takes.
    fn rows_compared(&self) -> f64 {
        let sizes = self.tensors.first().map(|tensor| tensor.sizes()).unwrap_or_default();
        let dim = self.int("dim").unwrap_or(0);
        let at = usize::try_from(if dim < 0 { dim + sizes.len() as i64 } else { dim }).ok();
        let rows = at.and_then(|at| sizes.get(at)).map_or(1.0, |&rows| rows.max(1) as f64);
        rows * rows.max(2.0).log2()
    }

    /// Elements that the windows of a pool show.
    fn pooled(&self) -> f64 {
        let product = |ints: &[i64]| ints.iter().map(|&size| size.max(1) as f64).product::<f64>();
        let Some(window) = self.ints("kernel_size") else { return self.elements_of(0) };
        let window = product(window);
        let stride = self.ints("stride").filter(|stride| !stride.is_empty()).map_or(window, product);
        self.elements_of(0) * (window / stride).max(1.0)
    }

    /// Tensors that are made beyond one.
    fn handles(&self, name: &str) -> u64 {
        let Some(first) = self.tensors.first() else { return 0 };
        let sizes = first.sizes();
        let size = |dim: i64| {
            let at = if dim < 0 { dim + sizes.len() as i64 } else { dim };
            usize::try_from(at).ok().and_then(|at| sizes.get(at)).map_or(0, |&size| u64::try_from(size).unwrap_or(0))
        };
        let along = || size(self.int("dim").unwrap_or(0));
        let name = name.strip_prefix("unsafe_").unwrap_or(name);
        let handles = match name.strip_suffix("_copy").unwrap_or(name) {
            // What is known of all parts of a chain.
            "multi_dot" | "chain_matmul" => (self.tensors.len() as u64).pow(2) / 32,
            "unbind" => along(),
            "split" => match (self.int("split_size"), self.ints("split_size")) {
                (Some(part), _) => along() / u64::try_from(part).unwrap_or(1).max(1),
                (None, Some(parts)) => parts.len() as u64,
                _ => along(),
            },
            "chunk" => along().min(self.int("chunks").map_or(0, |chunks| u64::try_from(chunks).unwrap_or(0))),
            "split_with_sizes" => self.ints("split_sizes").map_or(0, |sizes| sizes.len() as u64),
            "tensor_split" | "hsplit" | "vsplit" | "dsplit" => {
                let sections = self.int("sections").map_or(0, |sections| u64::try_from(sections).unwrap_or(0));
                let indices = self.ints("indices").map_or(0, |indices| indices.len() as u64);
                let by_tensor = self.tensors.get(1).map_or(0, |parts| match parts.elements() {
                    1 => parts.item().ok().and_then(|count| count.as_int()).map_or(0, |count| count.unsigned_abs()),
                    elements => elements,
                });
                sections.max(indices).max(by_tensor)
            }
            _ => 0,
        };
        // A few are no more than any operation makes.
        if handles > 8 { handles } else { 0 }
    }
}

/// Names the dimensions of an operand: letters as they stand, and what dots stand for by its place from the right.
fn labelled(labels: &str, sizes: &[i64]) -> Vec<(char, i64)> {
    let (before, after) = labels.split_once("...").unwrap_or((labels, ""));
    let (before, after): (Vec<char>, Vec<char>) = (before.chars().collect(), after.chars().collect());
    let between = sizes.len().saturating_sub(before.len() + after.len());
    let unnamed = (0..between).rev().map(|place| char::from_u32(0xE000 + place as u32).unwrap_or('\u{E000}'));
    before.into_iter().chain(unnamed).chain(after).zip(sizes.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch;

    fn tensor(shape: &[i64]) -> Argument {
        Argument::Tensor(Tensor::new(tch::Tensor::zeros(shape, (tch::Kind::Float, tch::Device::Cpu))))
    }

    fn work(name: &str, overload: &str, arguments: &[Argument]) -> Work {
        of(dispatch::lookup(name, overload).unwrap(), arguments)
    }

    #[test]
    fn the_tables_are_in_order() {
        assert!(
            SERIES.is_sorted()
                && SORTS.is_sorted()
                && SCATTERS.is_sorted()
                && COPIES.is_sorted()
                && GROWING.is_sorted()
                && LISTS.is_sorted()
        );
    }

    #[test]
    fn products_are_as_long_as_their_dimensions_meet() {
        let steps = |work: Work| work.steps - CALL;
        assert_eq!(steps(work("mm", "", &[tensor(&[500, 1000]), tensor(&[1000, 200])])), 100 + 170);
        let equation = Argument::Str("ij, jk -> ik".into());
        let pair = Argument::Tensors(vec![
            Tensor::new(tch::Tensor::zeros([500, 1000], (tch::Kind::Float, tch::Device::Cpu))),
            Tensor::new(tch::Tensor::zeros([1000, 200], (tch::Kind::Float, tch::Device::Cpu))),
        ]);
        assert_eq!(steps(work("einsum", "", &[equation, pair.clone()])), 100 + 170);
        let apart = work("einsum", "", &[Argument::Str("ij,kl->ijkl".into()), pair]);
        assert!(apart.seconds > 1.0, "{apart:?}");
    }

    #[test]
    fn long_operations_are_told_from_short_ones() {
        assert!(work("linalg_svd", "", &[tensor(&[2000, 2000])]).seconds > 1.0);
        assert!(work("linalg_svd", "", &[tensor(&[64, 64])]).seconds < 0.01);
        assert!(work("unique_dim", "", &[tensor(&[200_000]), Argument::from(0)]).seconds > 0.3);
        assert!(work("unique_dim", "", &[tensor(&[100, 2000]), Argument::from(0)]).seconds < 0.05);
        let links = |count| {
            Argument::Tensors(vec![
                Tensor::new(tch::Tensor::zeros([2, 2], (tch::Kind::Float, tch::Device::Cpu)));
                count
            ])
        };
        assert!(work("linalg_multi_dot", "", &[links(3000)]).seconds > 1.0);
        assert_eq!(work("linalg_multi_dot", "", &[links(10)]).handles, 0);
        let many = Argument::Ints(vec![900_000_000]);
        assert!(work("randn", "", std::slice::from_ref(&many)).seconds > 1.0);
        assert!(work("zeros", "", &[many]).seconds > 0.1);
        assert!(work("add", "Tensor", &[tensor(&[100_000, 1]), tensor(&[1, 100_000])]).seconds > 1.0);
        let wide = tch::Tensor::zeros([1], (tch::Kind::Float, tch::Device::Cpu)).expand([900_000_000], false);
        assert!(work("contiguous", "", &[Argument::Tensor(Tensor::new(wide))]).seconds > 0.1);
        assert!(work("add", "Tensor", &[tensor(&[64]), tensor(&[64])]).seconds < 1e-5);
        assert!(work("gather", "", &[tensor(&[4000, 4000]), 0.into(), tensor(&[4000, 4000])]).seconds > 0.2);
        let (none, many) = (|| Argument::None, || Argument::Ints(vec![900_000_000]));
        assert!(work("repeat", "", &[tensor(&[1]), many()]).seconds > 0.5);
        assert!(work("new_empty", "", &[tensor(&[1]), many(), none(), none(), none(), none()]).seconds > 0.5);
        assert!(
            work("repeat_interleave", "self_int", &[tensor(&[10]), 100_000_000.into(), none(), none()]).seconds > 1.0
        );
    }

    #[test]
    fn many_tensors_are_told_of_before_they_are_made() {
        let zero = Argument::from(0);
        assert_eq!(work("unbind", "int", &[tensor(&[300_000, 0]), zero]).handles, 300_000);
        assert_eq!(
            work("split", "Tensor", &[tensor(&[100_000]), Argument::from(10), Argument::from(-1)]).handles,
            10_000
        );
        assert_eq!(work("unbind", "int", &[tensor(&[5, 3]), Argument::from(0)]).handles, 0);
    }
}
