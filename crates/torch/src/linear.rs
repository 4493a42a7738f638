//! Products with weights, by the kernel that is fastest here.

use std::sync::OnceLock;
use std::time::Instant;

use interpreter::raise::Raise;
use tch::{Device, Kind, TchError, Tensor};

use crate::dispatch::{self, Failure};
use crate::ffi;

/// Multiplies `[…, in]` by a `[out, in]` weight, and adds a bias.
///
/// Gradients are recorded where the input requires them.
///
/// # Errors
/// When the shapes do not fit.
pub fn linear(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
    // A strided input of more than two dimensions would run as a batched product that copies the weight for each entry.
    let packed;
    let input = if input.is_contiguous() {
        input
    } else {
        packed = input.f_contiguous()?;
        &packed
    };
    let float = weight.kind() == Kind::Float && input.kind() == Kind::Float;
    let plain = float && input.device() == Device::Cpu && weight.is_contiguous() && !input.requires_grad();
    if plain && prefers_onednn(rows(input)) {
        return onednn(input, weight, bias).map_err(|raise| TchError::Torch(raise.message().to_string()));
    }
    input.f_linear(weight, bias)
}

fn rows(input: &Tensor) -> i64 {
    let last = input.size().last().copied().unwrap_or(1).max(1);
    i64::try_from(input.numel()).unwrap_or(i64::MAX) / last
}

fn onednn(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, Raise> {
    let mut failure = Failure::none();
    let bias = bias.map_or(std::ptr::null(), |bias| bias.as_ptr().cast());
    // SAFETY: the tensors are alive, and the shim only reads them.
    let made = unsafe { ffi::vt_linear_onednn(input.as_ptr().cast(), weight.as_ptr().cast(), bias, failure.out()) };
    dispatch::adopt(made).ok_or_else(|| failure.raise())
}

/// Rows at which kernels are compared, each for all numbers from the one before.
const SIZES: [i64; 4] = [1, 8, 32, 128];

/// Returns whether oneDNN is the faster for so many rows. libtorch's own kernels (MKL) are made for one maker's
/// processors, and how the two compare differs by processor: the first call measures.
fn prefers_onednn(rows: i64) -> bool {
    static FASTER: OnceLock<[bool; SIZES.len()]> = OnceLock::new();
    let faster = FASTER.get_or_init(|| SIZES.map(|rows| measure(rows).unwrap_or(false)));
    let size = SIZES.iter().rposition(|&size| size <= rows).unwrap_or(0);
    faster.get(size).copied().unwrap_or(false)
}

/// Times both kernels on one shape, the best of a few turns each.
fn measure(rows: i64) -> Result<bool, TchError> {
    let _unpaid = crate::job::Paying::nobody();
    let options = (Kind::Float, Device::Cpu);
    let (input, weight) = (Tensor::f_ones([rows, 768], options)?, Tensor::f_ones([1024, 768], options)?);
    let mut best = [f64::INFINITY; 2];
    for _ in 0..6 {
        for (kernel, best) in best.iter_mut().enumerate() {
            let began = Instant::now();
            let product = match kernel {
                0 => input.f_linear(&weight, None::<&Tensor>)?,
                _ => onednn(&input, &weight, None).map_err(|raise| TchError::Torch(raise.message().to_string()))?,
            };
            drop(product);
            *best = best.min(began.elapsed().as_secs_f64());
        }
    }
    Ok(best[1] < 0.95 * best[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kernels_give_the_same_product() {
        let random = |shape: [i64; 2]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let weight = random([24, 16]);
        let bias = Tensor::randn([24], (Kind::Float, Device::Cpu));
        for rows in [1, 5, 64] {
            let input = random([rows, 16]);
            for bias in [None, Some(&bias)] {
                let expected = input.f_linear(&weight, bias).unwrap();
                let found = onednn(&input, &weight, bias).unwrap();
                assert_eq!(found.size(), expected.size());
                assert!((found - expected).abs().max().double_value(&[]) < 1e-4);
            }
        }
    }

    #[test]
    fn products_of_what_requires_gradients_record_them() {
        let input = Tensor::ones([2, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let weight = Tensor::ones([3, 4], (Kind::Float, Device::Cpu));
        let product = linear(&input, &weight, None).unwrap();
        product.sum(Kind::Float).backward();
        assert_eq!(Vec::<f32>::try_from(input.grad().flatten(0, -1)).unwrap(), [3.0; 8]);
    }
}
