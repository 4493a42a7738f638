//! Products of tensors beside which others' lie.
//!
//! What a block sees of a pass lies between the rows of other jobs. On processors with tiles (AMX), kernels that multiply
//! in bfloat16 or float16 read rows in steps of 32 elements: behind a row that ends in between they read on, and multiply
//! what is there by zero, which infinities and NaN survive. So they are given copies, behind which nothing of others
//! lies. Of the model's own products, [`kernels::Weight`] takes care.

use interpreter::raise::Raise;
use libtorch::ffi::Mode;
use program::DType;

use crate::dispatch::{Argument, lookup, raw, single};
use crate::dtype::Device;
use crate::schema::Operator;
use crate::tensor::Tensor;

/// Operators that multiply matrices.
const PRODUCTS: [&str; 35] = [
    "_convolution",
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bilinear",
    "bmm",
    "cdist",
    "chain_matmul",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_tbc",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "convolution",
    "dot",
    "einsum",
    "gru",
    "inner",
    "linalg_matmul",
    "linalg_matrix_power",
    "linalg_multi_dot",
    "linear",
    "lstm",
    "matmul",
    "matrix_power",
    "mm",
    "mv",
    "rnn_tanh",
    "scaled_dot_product_attention",
    "tensordot",
    "vdot",
];

/// Returns whether an operator multiplies matrices.
pub fn is_product(name: &str) -> bool {
    PRODUCTS.binary_search(&name.trim_end_matches('_')).is_ok()
}

/// Returns an operator's arguments with copies of what kernels could read beyond. `None` where nothing is to be replaced.
///
/// # Errors
/// When there is no memory for the copies.
pub fn copied(operator: &Operator, arguments: &[Argument], gradients: bool) -> Result<Option<Vec<Argument>>, Raise> {
    if !operator.multiplies {
        return Ok(None);
    }
    let mut copied = None;
    for (at, (parameter, argument)) in operator.parameters.iter().zip(arguments).enumerate() {
        let copy = match argument {
            Argument::Tensor(tensor) if !parameter.written && is_read_beyond(tensor) => {
                Argument::Tensor(copy(tensor, gradients)?)
            }
            Argument::Tensors(tensors) if tensors.iter().any(is_read_beyond) => {
                Argument::Tensors(tensors.iter().map(|tensor| copy(tensor, gradients)).collect::<Result<_, _>>()?)
            }
            _ => continue,
        };
        if let Some(slot) = copied.get_or_insert_with(|| arguments.to_vec()).get_mut(at) {
            *slot = copy;
        }
    }
    Ok(copied)
}

/// Weights lie beside nothing of others.
fn is_read_beyond(tensor: &Tensor) -> bool {
    matches!(tensor.dtype(), DType::BFloat16 | DType::Float16)
        && tensor.device() == Device::CPU
        && !tensor.is_read_only()
}

fn copy(tensor: &Tensor, gradients: bool) -> Result<Tensor, Raise> {
    single("clone", raw(lookup("clone", "")?, &[tensor.into()], Mode::plain(gradients), None, true)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Operators;

    #[test]
    fn the_operators_are_known_and_in_order() {
        assert!(PRODUCTS.is_sorted());
        for name in PRODUCTS {
            assert!(Operators::all().get(name).is_some(), "{name}");
        }
    }
}
