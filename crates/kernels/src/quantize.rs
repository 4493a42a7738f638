//! Numbers brought into few bits.

use rayon::prelude::*;
use tch::{Device, Kind, TchError, Tensor};

use crate::coded::{Coded, Coding, NF4, Scales};
use crate::raw::Raw;

/// How a matrix of floats is brought into few bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// A byte for each number, and a float32 for each row: its largest number becomes 127.
    Int8,
    /// Four bits for each number, and a float32 for each 64, of which the largest becomes 1 or −1: the nearest of the levels
    /// of [`NF4`].
    Nf4,
}

/// Numbers that share a scale in [`Scheme::Nf4`], one after another, row after row.
pub const BLOCK_OF_NF4: i64 = 64;

impl Scheme {
    /// Returns the bytes that a matrix `[out, in]` takes so.
    #[must_use]
    pub fn bytes(self, [outputs, inputs]: [u64; 2]) -> u64 {
        let numbers = outputs * inputs;
        match self {
            Self::Int8 => numbers + 4 * outputs,
            Self::Nf4 => numbers.div_ceil(2) + 4 * numbers.div_ceil(BLOCK_OF_NF4.unsigned_abs()),
        }
    }

    /// Returns how many rows have to be brought into few bits together, so that it makes no difference which others are.
    #[must_use]
    pub fn rows_together(self, inputs: i64) -> i64 {
        match self {
            Self::Int8 => 1,
            Self::Nf4 => (1..=BLOCK_OF_NF4).find(|rows| rows * inputs % BLOCK_OF_NF4 == 0).unwrap_or(BLOCK_OF_NF4),
        }
    }

    /// Brings a matrix of so many rows into few bits, which `rows` reads some of at a time.
    ///
    /// # Errors
    /// What `rows` returns, and for numbers that are not finite.
    pub fn quantize<E: From<TchError>>(
        self,
        [outputs, inputs]: [i64; 2],
        device: Device,
        mut rows: impl FnMut(i64, i64) -> Result<Tensor, E>,
    ) -> Result<Coded, E> {
        let coding = match self {
            Self::Int8 => Coding::Int8,
            Self::Nf4 => Coding::Four(NF4),
        };
        let (numbers, together) = (outputs * inputs, self.rows_together(inputs));
        let group = match self {
            Self::Int8 => inputs,
            Self::Nf4 => BLOCK_OF_NF4,
        };
        let mut codes = Raw::empty(&[coding.bytes(numbers)], Kind::Uint8)?;
        let mut scales = Vec::with_capacity(usize::try_from(numbers / group.max(1) + 1).unwrap_or(0));
        let step = (PIECE / inputs.max(1) / together).max(1) * together;
        let (mut start, mut to) = (0, codes.bytes_mut());
        while start < outputs {
            let count = step.min(outputs - start);
            let piece = Raw::of(&rows(start, count)?.f_to_kind(Kind::Float)?)?;
            let floats: Vec<f32> = piece.bytes().as_chunks().0.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect();
            if floats.iter().any(|number| !number.is_finite()) {
                return Err(TchError::Shape(
                    "it has numbers that are not finite, which have no place in few bits".into(),
                )
                .into());
            }
            let length = usize::try_from(coding.bytes(count * inputs)).unwrap_or(0);
            let (now, later) = to.split_at_mut_checked(length).ok_or_else(|| TchError::Shape("no room".into()))?;
            let [own, bytes] = [group, coding.bytes(group)].map(|size| usize::try_from(size).unwrap_or(1).max(1));
            let groups = now.par_chunks_mut(bytes).zip(floats.par_chunks(own)).with_min_len(LEAST / own + 1);
            scales.par_extend(groups.map(|(codes, numbers)| match self {
                Self::Int8 => int8(numbers, codes),
                Self::Nf4 => nf4(numbers, codes),
            }));
            to = later;
            start += count;
        }
        let scales = Scales::Each(Tensor::f_from_slice(&scales)?.f_to_device(device)?);
        let codes = codes.tensor().f_to_device(device)?;
        Ok(Coded::new([outputs, inputs], coding, &codes, (scales, group), Kind::Float)?)
    }
}

/// Numbers that are read at a time, and fewest that are worth a core.
const PIECE: i64 = 1 << 16;
const LEAST: usize = 1 << 14;

fn largest(numbers: &[f32]) -> f32 {
    numbers.iter().fold(0.0, |largest: f32, number| largest.max(number.abs()))
}

/// Writes codes, and returns the scale.
fn int8(numbers: &[f32], codes: &mut [u8]) -> f32 {
    let scale = largest(numbers) / 127.0;
    for (code, number) in codes.iter_mut().zip(numbers) {
        let whole = if scale > 0.0 { (number / scale).round_ties_even().clamp(-127.0, 127.0) } else { 0.0 };
        *code = (whole as i8).cast_unsigned();
    }
    scale
}

fn nf4(numbers: &[f32], codes: &mut [u8]) -> f32 {
    let scale = largest(numbers);
    let code = |number: f32| if scale > 0.0 { nearest(number / scale) } else { nearest(0.0) };
    for (byte, pair) in codes.iter_mut().zip(numbers.chunks(2)) {
        let (first, second) = (pair.first().copied().unwrap_or(0.0), pair.get(1).copied().unwrap_or(0.0));
        *byte = code(first) << 4 | code(second);
    }
    scale
}

/// Returns the nearest level; of two the lower one.
fn nearest(number: f32) -> u8 {
    let between = NF4.windows(2).filter(|pair| matches!(pair, [low, high] if number > f32::midpoint(*low, *high)));
    between.count() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantized(scheme: Scheme, matrix: &Tensor) -> Result<Coded, TchError> {
        let size = crate::weight::sides(matrix)?;
        scheme.quantize(size, Device::Cpu, |first, count| matrix.f_narrow(0, first, count))
    }

    fn dense(coded: &Coded) -> Tensor {
        coded.look_up(&(0..coded.size()[0]), Kind::Float).unwrap()
    }

    #[test]
    fn numbers_come_back_within_half_a_step_of_their_scale() {
        libtorch::prepare();
        tch::manual_seed(8);
        for size in [[40, 96], [7, 33], [2000, 1024], [1, 5]] {
            let matrix = Tensor::randn(size, (Kind::Float, Device::Cpu));
            let rows = matrix.abs().amax([1], true);
            let found = quantized(Scheme::Int8, &matrix).unwrap();
            let step = &rows / 127.0;
            let most = ((dense(&found) - &matrix).abs() / &step).max().double_value(&[]);
            assert!(most <= 0.5001, "{most} steps, {size:?}");
            let [outputs, inputs] = size.map(i64::unsigned_abs);
            assert_eq!(found.bytes(), Scheme::Int8.bytes([outputs, inputs]));
            let found = quantized(Scheme::Nf4, &matrix).unwrap();
            assert_eq!(found.bytes(), Scheme::Nf4.bytes([outputs, inputs]));
            // The widest gap is that between the first two levels.
            let most = ((dense(&found) - &matrix).abs() / matrix.abs().max()).max().double_value(&[]);
            assert!(most <= 0.1521, "{most} of the largest, {size:?}");
        }
    }

    #[test]
    fn rows_that_belong_together_do_not_see_the_others() {
        libtorch::prepare();
        tch::manual_seed(9);
        for inputs in [33, 48, 64, 96] {
            let matrix = Tensor::randn([64 * 3, inputs], (Kind::Float, Device::Cpu));
            for scheme in [Scheme::Int8, Scheme::Nf4] {
                let together = scheme.rows_together(inputs);
                assert!(scheme == Scheme::Nf4 || together == 1);
                let whole = quantized(scheme, &matrix).unwrap();
                let part = quantized(scheme, &matrix.narrow(0, together, together)).unwrap();
                assert_eq!(dense(&part), dense(&whole).narrow(0, together, together), "{scheme:?} {inputs}");
            }
        }
    }

    #[test]
    fn zeros_are_zeros_and_what_is_not_finite_is_refused() {
        let zeros = Tensor::zeros([4, 64], (Kind::Float, Device::Cpu));
        for scheme in [Scheme::Int8, Scheme::Nf4] {
            assert_eq!(dense(&quantized(scheme, &zeros).unwrap()), zeros);
            for bad in [f64::NAN, f64::INFINITY] {
                let error = quantized(scheme, &zeros.index_fill(0, &Tensor::from_slice(&[2_i64]), bad)).err().unwrap();
                assert!(error.to_string().contains("not finite"), "{error}");
            }
        }
    }
}
