//! What a kernel's bits are at a number of rows, found out by trying.

use libtorch::account;
use tch::{Device, Kind, TchError, Tensor};

use crate::number;
use crate::weight::Weight;

/// What is multiplied to find out: equal rows by a weight, or by a matrix of its form.
pub struct Probe<'a> {
    pub weight: &'a Weight,
    made: Option<Weight>,
    row: Tensor,
}

impl<'a> Probe<'a> {
    /// Prepares a weight's.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn new(weight: &'a Weight) -> Result<Self, TchError> {
        let _unpaid = account::unpaid();
        let (matrix, row) = numbers(weight.size(), weight.kind(), weight.device())?;
        Ok(Self { weight, made: matrix.map(|matrix| weight.alike(&matrix)).transpose()?, row })
    }

    /// Multiplies so many rows, and returns a digest of the first product: an odd number if not all have its bits.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn digest(&self, rows: i64, biased: bool) -> Result<u64, TchError> {
        let _unpaid = account::unpaid();
        let ([outputs, inputs], device, kind) = (self.weight.size(), self.weight.device(), self.weight.kind());
        let bias = if biased { Some(Tensor::f_zeros([outputs], (kind, device))?) } else { None };
        let matrix = self.made.as_ref().unwrap_or(self.weight);
        let products = matrix.multiply(&self.row.f_expand([rows, inputs], false)?, bias.as_ref())?;
        let first = products.f_narrow(0, 0, 1)?;
        let uniform = bool::try_from(products.f_eq_tensor(&first)?.f_all()?)?;
        let numbers = Vec::<f32>::try_from(first.f_flatten(0, -1)?.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.weight.scheme().as_bytes());
        for number in numbers {
            hasher.update(&number.to_le_bytes());
        }
        Ok(even(&hasher) | u64::from(!uniform))
    }
}

/// Returns a digest, as an even number.
pub fn even(hasher: &blake3::Hasher) -> u64 {
    hasher.finalize().as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)) & !1
}

/// Returns a row whose product shows the order in which it was added up; and what to multiply it by, where that is not any
/// weight of the form.
///
/// # Errors
/// When libtorch refuses.
pub fn numbers(size: [i64; 2], kind: Kind, device: Device) -> Result<(Option<Tensor>, Tensor), TchError> {
    match kind {
        Kind::Float | Kind::Double => {
            Ok((None, number::range(0, size[1], device)?.f_to_kind(kind)?.f_sin()?.f_view([1, -1])?))
        }
        // In these types, sums of another order are mostly rounded to the same number.
        _ => cancelling(size, kind, device).map(|(matrix, row)| (Some(matrix), row)),
    }
}

/// Rows of a matrix that differ: one alone could come to the same number in another order.
const VARIANTS: i64 = 61;

/// Makes a matrix of a weight's form, and a row whose product with it is zero in exact numbers, since inputs come in pairs
/// that cancel each other. What is computed instead is what the order of the sum made of it.
fn cancelling([outputs, inputs]: [i64; 2], kind: Kind, device: Device) -> Result<(Tensor, Tensor), TchError> {
    let (half, order) = (inputs / 2, shuffled(inputs));
    let make = |rows: i64, number: &dyn Fn(i64, i64) -> f32| {
        let mut numbers = Vec::new();
        for row in 0..rows {
            numbers.extend(order.iter().map(|at| number(row, *at)));
        }
        Tensor::f_from_slice(&numbers)?.f_view([rows, inputs])?.f_to_kind(kind)?.f_to_device(device)
    };
    // A last input that is left over has no partner, and no weight.
    let factor = |row, at| if at < 2 * half { wave(row * half + at % half, 0.7) } else { 0.0 };
    // Of several magnitudes: some kernels add a few numbers at a time, as finely as the largest of them allows.
    let number = |_, at| {
        let (sign, at) = if at < half { (1.0, at) } else { (-1.0, at - half) };
        sign * f32::from(1_u16 << (at % 12)) * wave(at, 1.3)
    };
    let variants: Vec<i64> = (0..outputs).map(|output| output % VARIANTS).collect();
    let variants = Tensor::f_from_slice(&variants)?.f_to_device(device)?;
    Ok((make(VARIANTS, &factor)?.f_index_select(0, &variants)?, make(1, &number)?))
}

/// Returns `0..count` in an order like one drawn by lot, always the same.
fn shuffled(count: i64) -> Vec<i64> {
    let mut order: Vec<i64> = (0..count).collect();
    let mut state = 1_u64;
    for last in (1..order.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from(state >> 33).unwrap_or(0) % (last + 1);
        order.swap(last, other);
    }
    order
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "any numbers do")]
fn wave(at: i64, step: f64) -> f32 {
    (at as f64 * step).sin() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_tells_orders_of_one_sum_apart_where_the_type_would_round_them_away() {
        let (matrix, row) = cancelling([96, 64], Kind::BFloat16, Device::Cpu).unwrap();
        let (matrix, row) = (matrix.to_kind(Kind::Float), row.to_kind(Kind::Float).squeeze());
        let exact = matrix.to_kind(Kind::Double).matmul(&row.to_kind(Kind::Double));
        assert_eq!(exact.abs().max().double_value(&[]), 0.0);
        let sum = |steps: i64| -> Vec<f32> {
            let parts = (matrix.shallow_clone() * &row).split(steps, 1);
            let sums = parts.iter().map(|part| {
                let zero = Tensor::zeros([96], (Kind::Float, Device::Cpu));
                (0..part.size()[1]).fold(zero, |sum, at| sum + part.select(1, at))
            });
            let whole = sums.fold(Tensor::zeros([96], (Kind::Float, Device::Cpu)), |whole, part| whole + part);
            whole.to_kind(Kind::BFloat16).to_kind(Kind::Float).try_into().unwrap()
        };
        for (one, two) in [(64, 32), (64, 16), (32, 16), (16, 8)] {
            assert_ne!(sum(one), sum(two), "in parts of {one} and of {two}");
        }
    }
}
