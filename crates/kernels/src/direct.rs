//! Rows multiplied straight by codes: some of these become floats in a core's own cache, and are used up there, so that the memory
//! that is read is what codes take.
//!
//! Each row is added up by itself, always in one order: its bits depend on no other, nor on how many there are.

use rayon::prelude::*;
use tch::{Kind, TchError, Tensor};

use crate::coded::{Stretch, bfloat16};
use crate::raw::Raw;

/// Rows that are multiplied at a time: so many have room beside what codes become.
pub const ROWS: i64 = 64;

/// Rows of the matrix that are made at a time, and numbers of each; numbers that are added up side by side.
const TOGETHER: usize = 4;
const CHUNK: usize = 1024;
const LANES: usize = 16;
/// Columns that are made at a time where these are what comes out.
const COLUMNS: usize = 256;

/// Where the matrix' numbers come from, row after row.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// Codes, what they stand for rounded to bfloat16, if it is to be.
    Codes(Stretch<'a>, bool),
    /// The same, rounded to float16 before.
    ByHalves(Stretch<'a>, bool),
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

    /// Adds the products with the matrix whose rows are this one's columns to sums of so many columns: of rows `[rows, out]` the
    /// numbers from one on belong to the first of the matrix' rows.
    pub fn multiply_turned(&self, source: &Source<'_>, (first, outputs): (i64, i64), sums: &mut Turned) {
        let (first, outputs) = (usize::try_from(first).unwrap_or(0), usize::try_from(outputs).unwrap_or(0));
        let (width, size) = (sums.width, (self.rows * COLUMNS).max(1));
        sums.sums.par_chunks_mut(size).enumerate().for_each(|(index, sums)| {
            let place = Place { first, outputs, column: index * COLUMNS, width };
            self.turn_wide(source, place, sums);
        });
    }

    fn turn_wide(&self, source: &Source<'_>, place: Place, sums: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { self.turn_avx512(source, place, sums) };
        }
        #[cfg(target_arch = "x86_64")]
        if is_there() {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { self.turn_avx2(source, place, sums) };
        }
        self.turn_here(source, place, sums);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx2,fma")]
    fn turn_avx512(&self, source: &Source<'_>, place: Place, sums: &mut [f32]) {
        self.turn_here(source, place, sums);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn turn_avx2(&self, source: &Source<'_>, place: Place, sums: &mut [f32]) {
        self.turn_here(source, place, sums);
    }

    #[inline(always)]
    fn turn_here(&self, source: &Source<'_>, place: Place, sums: &mut [f32]) {
        let Place { first, outputs, column, width } = place;
        let length = COLUMNS.min(width.saturating_sub(column));
        let mut made = [[[0; 4]; COLUMNS]; TOGETHER];
        for row in (0..outputs).step_by(TOGETHER) {
            let count = TOGETHER.min(outputs - row);
            for (at, made) in made.iter_mut().enumerate() {
                match made.get_mut(..length) {
                    Some(to) if at < count => source.write((row + at) * width + column, to),
                    _ => *made = [[0; 4]; COLUMNS],
                }
            }
            let [a, b, c, d] = &made;
            for (sums, input) in sums.chunks_mut(COLUMNS).zip(self.numbers.chunks(self.padded.max(1))) {
                let mut factors = [0.0; TOGETHER];
                let own = input.get(first + row..first + row + count).unwrap_or_default();
                factors.iter_mut().zip(own).for_each(|(factor, own)| *factor = *own);
                let rows = a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0);
                let rows = rows.zip(c.as_chunks::<LANES>().0).zip(d.as_chunks::<LANES>().0);
                for (sums, (((a, b), c), d)) in sums.as_chunks_mut::<LANES>().0.iter_mut().zip(rows) {
                    for lane in 0..LANES {
                        let mut sum = f32::from_ne_bytes(a[lane]).mul_add(factors[0], sums[lane]);
                        sum = f32::from_ne_bytes(b[lane]).mul_add(factors[1], sum);
                        sum = f32::from_ne_bytes(c[lane]).mul_add(factors[2], sum);
                        sums[lane] = f32::from_ne_bytes(d[lane]).mul_add(factors[3], sum);
                    }
                }
            }
        }
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

/// What is added up where columns come out: some columns of all rows after the others.
pub struct Turned {
    sums: Vec<f32>,
    rows: usize,
    width: usize,
}

/// Which of a matrix' numbers are meant: all rows, whose first meets a row's number `first`, and columns from one on.
#[derive(Clone, Copy)]
struct Place {
    first: usize,
    outputs: usize,
    column: usize,
    width: usize,
}

impl Turned {
    /// Begins with zeros for so many columns.
    pub fn new(inputs: &Inputs, width: i64) -> Self {
        let width = usize::try_from(width).unwrap_or(0);
        Self { sums: vec![0.0; width.div_ceil(COLUMNS) * COLUMNS * inputs.rows], rows: inputs.rows, width }
    }

    /// Returns `[rows, columns]`.
    pub fn done(self) -> Result<Tensor, TchError> {
        let [rows, width, columns] = [self.rows, self.width, COLUMNS].map(|size| i64::try_from(size).unwrap_or(0));
        let all = Tensor::f_from_slice(&self.sums)?.f_view([-1, rows, columns])?;
        all.f_permute([1, 0, 2])?.f_reshape([rows, -1])?.f_narrow(1, 0, width)
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
            Self::ByHalves(stretch, rounded) => {
                stretch.write_here(start, to, |number| {
                    let number = half::f16::from_f32(number).to_f32();
                    let bits = u32::from(bfloat16(number)) << 16;
                    if *rounded { bits.to_ne_bytes() } else { number.to_ne_bytes() }
                });
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
