//! What an operation costs in interpreter steps, so that a job's fuel bounds its arithmetic too.

use crate::dispatch::Argument;
use crate::schema::Operator;
use crate::tensor::Tensor;

/// Steps of any operation.
const CALL: u64 = 10;
/// Steps of an operation that may take longer than they say, sorting for example, so that it is looked at what time it is.
pub const LONG: u64 = CALL + 8;
/// Elements read for one step.
const ELEMENTS: u64 = 4096;
/// Multiplications for one step: about as long as interpreting one.
const MULTIPLICATIONS: f64 = 1.0e6;

/// Returns the steps to charge for an operation before it runs.
#[must_use]
pub fn steps(operator: &Operator, arguments: &[Argument]) -> u64 {
    let tensors = || arguments.iter().flat_map(tensors);
    // Views look at nothing, however large what they show.
    let views = operator.parameters.iter().any(|parameter| parameter.viewed);
    let elements: u64 = if views { 0 } else { tensors().map(Tensor::elements).sum() };
    let multiplications = multiplications(&operator.name, &tensors().collect::<Vec<_>>());
    CALL + elements / ELEMENTS + (multiplications / MULTIPLICATIONS) as u64
}

fn tensors(argument: &Argument) -> &[Tensor] {
    match argument {
        Argument::Tensor(tensor) => std::slice::from_ref(tensor),
        Argument::Tensors(tensors) => tensors,
        _ => &[],
    }
}

/// Estimates the multiplications of operations whose work grows faster than their inputs.
fn multiplications(name: &str, tensors: &[&Tensor]) -> f64 {
    let elements = |at: usize| tensors.get(at).map_or(0.0, |tensor| tensor.elements() as f64);
    let size = |at: usize, dim: usize| {
        let sizes = tensors.get(at).map(|tensor| tensor.sizes()).unwrap_or_default();
        sizes.len().checked_sub(dim).and_then(|dim| sizes.get(dim).copied()).unwrap_or(1) as f64
    };
    match name {
        "mm" | "bmm" | "matmul" | "linalg_matmul" => elements(0) * size(1, 1),
        "addmm" | "baddbmm" | "addbmm" => elements(1) * size(2, 1),
        "linear" => elements(0) * size(1, 2),
        "cdist" | "scaled_dot_product_attention" => elements(0) * size(1, 2),
        "outer" | "ger" | "kron" => elements(0) * elements(1),
        // As for square factors: the 3/2 power of their geometric mean.
        "einsum" | "tensordot" | "linalg_multi_dot" => {
            tensors.windows(2).map(|pair| (pair[0].elements() as f64 * pair[1].elements() as f64).powf(0.75)).sum()
        }
        name if name.starts_with("conv") => elements(0) * elements(1),
        name if is_decomposition(name) => 10.0 * elements(0).powf(1.5),
        _ => 0.0,
    }
}

fn is_decomposition(name: &str) -> bool {
    let plain = name.strip_prefix("linalg_").unwrap_or(name);
    let cheap = ["norm", "vector_norm", "cross", "diagonal", "vecdot", "vander", "matmul", "multi_dot"];
    name.starts_with("linalg_") && !cheap.contains(&plain)
        || ["svd", "qr", "inverse", "pinverse", "det", "logdet", "slogdet", "cholesky", "matrix_exp", "matrix_power"]
            .contains(&plain)
}
