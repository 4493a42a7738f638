//! Products with weights, by the kernels that libtorch has.

use interpreter::raise::Raise;
use tch::{TchError, Tensor};

use crate::dispatch::{self, Failure};
use crate::ffi;

/// Multiplies by libtorch's own kernel. Gradients are recorded where the input requires them.
///
/// # Errors
/// When the shapes do not fit.
pub fn plain(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
    input.f_linear(weight, bias)
}

/// Multiplies by oneDNN's kernel, which is for float32 on CPU and records nothing.
///
/// # Errors
/// When the shapes do not fit.
pub fn onednn(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
    made(input, weight, bias).map_err(|raise| TchError::Torch(raise.message().to_string()))
}

fn made(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, Raise> {
    let mut failure = Failure::none();
    let bias = bias.map_or(std::ptr::null(), |bias| bias.as_ptr().cast());
    // SAFETY: the tensors are alive, and the shim only reads them.
    let made = unsafe { ffi::vt_linear_onednn(input.as_ptr().cast(), weight.as_ptr().cast(), bias, failure.out()) };
    dispatch::adopt(made).ok_or_else(|| failure.raise())
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn both_kernels_give_the_same_product() {
        let random = |shape: [i64; 2]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let weight = random([24, 16]);
        let bias = Tensor::randn([24], (Kind::Float, Device::Cpu));
        for rows in [1, 5, 64] {
            let input = random([rows, 16]);
            for bias in [None, Some(&bias)] {
                let expected = plain(&input, &weight, bias).unwrap();
                let found = onednn(&input, &weight, bias).unwrap();
                assert_eq!(found.size(), expected.size());
                assert!((found - expected).abs().max().double_value(&[]) < 1e-4);
            }
        }
    }
}
