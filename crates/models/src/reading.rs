//! Numbers from a file into memory, on all cores: each piece is read into its place, or converted on the way there while it
//! is in a core's caches.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use tch::Kind;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Numbers that are read at a time.
const PIECE: usize = 1 << 19;

/// Numbers that are converted at a time where that takes two steps.
const STRIP: usize = 256;

/// Where numbers lie in a file: in runs of so many bytes, the first of which begins there, and each so far behind the one
/// before.
#[derive(Clone, Copy)]
pub struct Place {
    pub start: u64,
    pub run: usize,
    pub stride: u64,
}

/// Reads numbers of one type from a place in a file, and writes them as another: as float32, or rounded to the nearest
/// bfloat16, as PyTorch does.
///
/// # Errors
/// When the file cannot be read or ends before they do, and for types that a model does not compute with.
pub fn read(file: &File, place: Place, (from, to): (Kind, Kind), memory: &mut [u8]) -> io::Result<()> {
    let source = Source { file, place };
    match (from, to) {
        (from, to) if from == to => source.copy(memory, from.elt_size_in_bytes()),
        (Kind::Half, Kind::Float) => source.convert(memory, |from: &[f16], to| from.convert_to_f32_slice(to)),
        (Kind::BFloat16, Kind::Float) => source.convert(memory, |from: &[bf16], to| from.convert_to_f32_slice(to)),
        (Kind::Double, Kind::Float) => source.convert(memory, each(|number: f64| number as f32)),
        (Kind::Float, Kind::BFloat16) => source.convert(memory, each(rounded)),
        (Kind::Double, Kind::BFloat16) => source.convert(memory, each(|number: f64| rounded(number as f32))),
        (Kind::Half, Kind::BFloat16) => source.convert(memory, |from: &[f16], to: &mut [u16]| {
            let mut wide = [0.0; STRIP];
            for (from, to) in from.chunks(STRIP).zip(to.chunks_mut(STRIP)) {
                let (wide, _) = wide.split_at_mut(from.len());
                from.convert_to_f32_slice(wide);
                each(rounded)(wide, to);
            }
        }),
        _ => Err(io::Error::other(format!("{from:?} cannot become {to:?}"))),
    }
}

struct Source<'a> {
    file: &'a File,
    place: Place,
}

impl Source<'_> {
    fn read_at(&self, offset: usize, bytes: &mut [u8]) -> io::Result<()> {
        let Place { start, run, stride } = self.place;
        let (mut offset, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let (number, within) = (offset / run, offset % run);
            let length = rest.len().min(run - within);
            let (now, later) = rest.split_at_mut(length);
            self.file.read_exact_at(now, start + number as u64 * stride + within as u64)?;
            offset += length;
            rest = later;
        }
        Ok(())
    }

    fn copy(&self, memory: &mut [u8], element: usize) -> io::Result<()> {
        let piece = PIECE * element;
        let pieces = memory.par_chunks_mut(piece).enumerate();
        pieces.try_for_each(|(index, to)| self.read_at(index * piece, to))
    }

    fn convert<A, B>(&self, memory: &mut [u8], convert: impl Fn(&[A], &mut [B]) + Sync) -> io::Result<()>
    where
        A: FromBytes + IntoBytes + Clone + Send,
        B: FromBytes + IntoBytes + Immutable + Send,
    {
        let memory = <[B]>::mut_from_bytes(memory).map_err(|error| io::Error::other(error.to_string()))?;
        memory.par_chunks_mut(PIECE).enumerate().try_for_each_init(Vec::new, |buffer, (index, to)| {
            buffer.resize(to.len(), A::new_zeroed());
            self.read_at(index * PIECE * size_of::<A>(), buffer.as_mut_bytes())?;
            convert(buffer, to);
            Ok(())
        })
    }
}

fn each<A: Copy, B>(one: impl Fn(A) -> B) -> impl Fn(&[A], &mut [B]) {
    move |from, to| from.iter().zip(to).for_each(|(from, to)| *to = one(*from))
}

/// Returns the bits of the nearest bfloat16, of two the even one; NaNs are one NaN, as PyTorch has it.
fn rounded(number: f32) -> u16 {
    let bits = number.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if number.is_nan() { 0x7fc0 } else { nearest as u16 }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tch::Tensor;

    use super::*;

    /// All numbers one after another.
    fn whole(start: u64) -> Place {
        Place { start, run: usize::MAX, stride: 0 }
    }

    /// Numbers of every size, of both signs, between neighbours, infinite, and none.
    fn numbers() -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(1);
        let mut all: Vec<f64> = (0..PIECE + 300)
            .map(|_| f64::from(f32::from_bits(random.u32(..))))
            .filter(|number| !number.is_nan())
            .collect();
        let halves = (0..=u16::MAX).map(|bits| f16::from_bits(bits).to_f64()).filter(|number| !number.is_nan());
        all.extend(halves);
        all.extend([
            f64::NAN,
            0.1,
            1e300,
            f64::from(f32::from_bits(0x3f80_8000)),
            f64::from(f32::from_bits(0x3f81_8000)),
        ]);
        all
    }

    #[test]
    fn every_number_becomes_what_pytorch_makes_of_it() {
        libtorch::prepare();
        let all = Tensor::from_slice(&numbers());
        for from in [Kind::Double, Kind::Float, Kind::BFloat16, Kind::Half] {
            let given = all.to_kind(from);
            let mut bytes = vec![0; given.numel() * from.elt_size_in_bytes()];
            given.copy_data_u8(&mut bytes, given.numel());
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&[&[7; 3], bytes.as_slice()].concat()).unwrap();
            for to in [Kind::Float, Kind::BFloat16] {
                let found = libtorch::filled(&given.size(), to, |memory| -> Result<(), tch::TchError> {
                    read(&file, whole(3), (from, to), memory).map_err(|error| tch::TchError::Shape(error.to_string()))
                });
                let (found, expected) = (found.unwrap(), given.to_kind(to));
                let bits = |tensor: &Tensor| tensor.view_dtype(if to == Kind::Float { Kind::Int } else { Kind::Int16 });
                // How a NaN is written down is nobody's concern, but that it is one.
                let same =
                    bits(&found).eq_tensor(&bits(&expected)).logical_or(&found.isnan().logical_and(&expected.isnan()));
                assert!(bool::try_from(same.all()).unwrap(), "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn a_file_that_ends_early_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 7]).unwrap();
        for kinds in [(Kind::Float, Kind::Float), (Kind::Half, Kind::Float)] {
            assert!(read(&file, whole(0), kinds, &mut [0; 16]).is_err());
        }
        assert!(read(&file, whole(0), (Kind::Int8, Kind::Float), &mut [0; 4]).is_err());
    }
}
