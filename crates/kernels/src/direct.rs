//! Few rows, multiplied straight by codes: some of these become floats in a core's own cache, and are used up there, so that the
//! memory that is read is what codes take.

use rayon::prelude::*;
use tch::{Kind, TchError, Tensor};

use crate::coded::{Stretch, bfloat16};
use crate::raw::Raw;

/// Most rows that are multiplied so. More are worth a kernel that has the matrix' numbers for all of them.
pub const ROWS: i64 = 8;

/// Rows of the matrix that are made at a time, and numbers of each; numbers that are added up side by side.
const TOGETHER: usize = 4;
const CHUNK: usize = 1024;
const LANES: usize = 16;

/// Where the matrix' numbers come from, row after row.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// Codes, what they stand for rounded to bfloat16, if it is to be.
    Codes(Stretch<'a>, bool),
    /// Float32.
    Numbers(&'a [[u8; 4]]),
}

/// Rows to multiply, as float32, each with zeros behind it up to whole lanes.
pub struct Inputs {
    numbers: Vec<f32>,
    rows: usize,
    width: usize,
    padded: usize,
}

/// Returns whether this processor has what it takes.
pub fn is_there() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

type Sums = [[f32; LANES]; TOGETHER];

impl Inputs {
    /// Takes `[rows, in]`.
    pub fn new(input: &Tensor) -> Result<Self, TchError> {
        let size = input.size();
        let &[rows, width] = size.as_slice() else { return Err(TchError::Shape(format!("{size:?} are no rows"))) };
        let (rows, width) = (usize::try_from(rows).unwrap_or(0), usize::try_from(width).unwrap_or(0));
        let (raw, padded) = (Raw::of(&input.f_to_kind(Kind::Float)?)?, width.next_multiple_of(LANES));
        let mut numbers = vec![0.0; rows * padded];
        let from = raw.bytes().as_chunks().0.chunks(width.max(1));
        for (to, from) in numbers.chunks_mut(padded.max(1)).zip(from) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = f32::from_ne_bytes(*from));
        }
        Ok(Self { numbers, rows, width, padded })
    }

    /// Returns `[out, rows]`: the products with each row of a matrix.
    pub fn multiply(&self, source: &Source<'_>, outputs: i64) -> Result<Tensor, TchError> {
        let mut all = Raw::empty(&[outputs, i64::try_from(self.rows).unwrap_or(0)], Kind::Float)?;
        let to = all.bytes_mut().as_chunks_mut().0;
        let cores = usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1);
        let outputs = usize::try_from(outputs).unwrap_or(0);
        let share = outputs.div_ceil(cores).next_multiple_of(TOGETHER).max(LEAST / self.width.max(1));
        let pieces = to.par_chunks_mut((share * self.rows).max(1)).enumerate();
        pieces.for_each(|(index, to)| self.multiply_wide(source, index * share, to));
        Ok(all.tensor())
    }

    /// Multiplies by the matrix' rows from one on, by the widest vectors that there are: that does not show, for each lane is
    /// added up by itself.
    fn multiply_wide(&self, source: &Source<'_>, first: usize, to: &mut [[u8; 4]]) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { self.multiply_avx512(source, first, to) };
        }
        #[cfg(target_arch = "x86_64")]
        if is_there() {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { self.multiply_avx2(source, first, to) };
        }
        self.multiply_here(source, first, to);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx2,fma")]
    fn multiply_avx512(&self, source: &Source<'_>, first: usize, to: &mut [[u8; 4]]) {
        self.multiply_here(source, first, to);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn multiply_avx2(&self, source: &Source<'_>, first: usize, to: &mut [[u8; 4]]) {
        self.multiply_here(source, first, to);
    }

    #[inline(always)]
    fn multiply_here(&self, source: &Source<'_>, first: usize, to: &mut [[u8; 4]]) {
        let mut made = [[[0; 4]; CHUNK]; TOGETHER];
        let mut sums = vec![[[0.0; LANES]; TOGETHER]; self.rows];
        for (block, to) in to.chunks_mut(TOGETHER * self.rows.max(1)).enumerate() {
            let (row, count) = (first + block * TOGETHER, to.len() / self.rows.max(1));
            sums.fill([[0.0; LANES]; TOGETHER]);
            for start in (0..self.width).step_by(CHUNK) {
                let length = CHUNK.min(self.width - start);
                let padded = length.next_multiple_of(LANES);
                for (at, made) in made.iter_mut().take(count).enumerate() {
                    let (numbers, rest) = made.split_at_mut(length);
                    source.write((row + at) * self.width + start, numbers);
                    rest.iter_mut().take(padded - length).for_each(|zero| *zero = [0; 4]);
                }
                for (sums, input) in sums.iter_mut().zip(self.numbers.chunks(self.padded.max(1))) {
                    add(sums, &made, input.get(start..start + padded).unwrap_or_default());
                }
            }
            for (place, to) in to.iter_mut().enumerate() {
                let (at, row) = (place / self.rows, place % self.rows);
                let lanes = sums.get(row).and_then(|sums| sums.get(at)).copied().unwrap_or([0.0; LANES]);
                *to = sum(lanes).to_ne_bytes();
            }
        }
    }
}

impl Source<'_> {
    /// Writes numbers from one on, as float32.
    #[inline(always)]
    fn write(&self, start: usize, to: &mut [[u8; 4]]) {
        match self {
            Self::Codes(stretch, false) => stretch.write_here(start, to, f32::to_ne_bytes),
            Self::Codes(stretch, true) => {
                stretch.write_here(start, to, |number| (u32::from(bfloat16(number)) << 16).to_ne_bytes());
            }
            Self::Numbers(numbers) => {
                to.iter_mut().zip(numbers.get(start..).unwrap_or_default()).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

/// Adds products of what was made with an input's numbers, lane by lane.
#[inline(always)]
fn add(sums: &mut Sums, made: &[[[u8; 4]; CHUNK]; TOGETHER], input: &[f32]) {
    let [mut first, mut second, mut third, mut fourth] = *sums;
    let [a, b, c, d] = made;
    let rows = a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0);
    let rows = rows.zip(c.as_chunks::<LANES>().0).zip(d.as_chunks::<LANES>().0);
    for (input, (((a, b), c), d)) in input.as_chunks::<LANES>().0.iter().zip(rows) {
        for lane in 0..LANES {
            first[lane] = f32::from_ne_bytes(a[lane]).mul_add(input[lane], first[lane]);
            second[lane] = f32::from_ne_bytes(b[lane]).mul_add(input[lane], second[lane]);
            third[lane] = f32::from_ne_bytes(c[lane]).mul_add(input[lane], third[lane]);
            fourth[lane] = f32::from_ne_bytes(d[lane]).mul_add(input[lane], fourth[lane]);
        }
    }
    *sums = [first, second, third, fourth];
}

/// Adds lanes up, always in one order.
#[inline(always)]
fn sum(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Fewest numbers that are worth a core.
const LEAST: usize = 1 << 15;
