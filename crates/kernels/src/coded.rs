//! Rows of a matrix in codes of few bits, and what numbers they stand for.

use std::ops::Range;

use rayon::prelude::*;
use tch::{Device, Kind, TchError, Tensor};

use crate::number;
use crate::raw::Raw;

/// What a code stands for, before it is scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Coding {
    /// A whole number from −128 to 127, in a byte.
    Int8,
    /// A number of four bits of exponent and three of mantissa, in a byte: PyTorch's `float8_e4m3fn`.
    Float8,
    /// One of sixteen levels, two to a byte, the first in its upper half.
    Four([f32; 16]),
}

/// Rows `[out, in]` of a matrix, in codes. Each number is what its code stands for, times the scale of its *group*: groups
/// are so many numbers that lie one after another, row after row.
pub struct Coded {
    size: [i64; 2],
    coding: Coding,
    /// Bytes, end to end.
    codes: Tensor,
    scales: Scales,
    /// How many numbers share a scale, and where the first number lies among those of the first.
    group: i64,
    offset: i64,
    /// A type that numbers are rounded to before they become what is asked for.
    through: Kind,
    /// What each byte stands for, where that is looked up on a GPU.
    levels: Option<Tensor>,
}

/// The scales of groups.
pub enum Scales {
    /// One float32 each.
    Each(Tensor),
    /// In codes themselves: levels by a byte each, times a scale for so many of them, plus a number. The first code may lie in
    /// the midst of those of its scale.
    Nested { codes: Tensor, levels: Tensor, outer: Tensor, group: i64, offset: i64, plus: f32 },
}

/// Returns the levels of NF4: what sixteen equally likely parts of a normal distribution are at, as QLoRA and bitsandbytes
/// have them.
pub const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

impl Coding {
    /// Returns how many bytes so many codes take.
    #[must_use]
    pub fn bytes(self, numbers: i64) -> i64 {
        match self {
            Self::Int8 | Self::Float8 => numbers,
            Self::Four(_) => (numbers + 1) / 2,
        }
    }

    /// Names it, for what tells results apart.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Float8 => "fp8",
            Self::Four(_) => "nf4",
        }
    }

    /// Returns what each byte stands for: `[256]`, or `[256, 2]`.
    fn levels(self) -> Vec<f32> {
        match self {
            Self::Int8 => (0..=u8::MAX).map(|code| f32::from(code.cast_signed())).collect(),
            Self::Float8 => (0..=u8::MAX).map(float8).collect(),
            Self::Four(levels) => {
                let level = |code: u8| levels.get(usize::from(code)).copied().unwrap_or(0.0);
                (0..=u8::MAX).flat_map(|byte| [level(byte >> 4), level(byte & 15)]).collect()
            }
        }
    }
}

/// Returns the number of an E4M3 code without infinities.
fn float8(code: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(code >> 3 & 15), f32::from(code & 7));
    let size = match (exponent, code & 0x7f) {
        (_, 0x7f) => f32::NAN,
        (0, _) => mantissa * 2_f32.powi(-9),
        _ => (8.0 + mantissa) * 2_f32.powi(exponent - 10),
    };
    if code >> 7 == 1 { -size } else { size }
}

impl Coded {
    /// Takes codes over, bytes end to end, with the scale of each so many numbers. What they stand for is rounded to `through`
    /// first.
    ///
    /// # Errors
    /// When there are not as many of either as the size asks for.
    pub fn new(
        size: [i64; 2],
        coding: Coding,
        codes: &Tensor,
        (scales, group): (Scales, i64),
        through: Kind,
    ) -> Result<Self, TchError> {
        let numbers = size[0] * size[1];
        let (codes, device) = (codes.f_view_dtype(Kind::Uint8)?.f_reshape([-1])?, codes.device());
        let count = scales.count();
        let fits = |found: i64, expected: i64, what: &str| match found == expected {
            true => Ok(()),
            false => Err(TchError::Shape(format!("{found} {what} do not fit {size:?}, which has {expected}"))),
        };
        if size.iter().any(|side| *side < 1) || group < 1 {
            return Err(TchError::Shape(format!("{size:?} in groups of {group} is no matrix")));
        }
        fits(i64::try_from(codes.numel()).unwrap_or(0), coding.bytes(numbers), "bytes of codes")?;
        fits(count, (numbers + group - 1) / group, "scales")?;
        let levels = match device {
            Device::Cpu => None,
            _ => Some(Tensor::f_from_slice(&coding.levels())?.f_to_device(device)?),
        };
        Ok(Self { size, coding, codes, scales, group, offset: 0, through, levels })
    }

    #[must_use]
    pub fn size(&self) -> [i64; 2] {
        self.size
    }

    #[must_use]
    pub fn coding(&self) -> Coding {
        self.coding
    }

    #[must_use]
    pub fn device(&self) -> Device {
        self.codes.device()
    }

    /// Returns the bytes of codes and scales.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        bytes(&self.codes) + self.scales.bytes()
    }

    /// Lists all that it is made of.
    pub(crate) fn tensors(&self) -> Vec<&Tensor> {
        let mut all = vec![&self.codes];
        all.extend(&self.levels);
        match &self.scales {
            Scales::Each(scales) => all.push(scales),
            Scales::Nested { codes, levels, outer, .. } => all.extend([codes, levels, outer]),
        }
        all
    }

    /// Returns some of the rows, with nothing of the others kept.
    ///
    /// # Errors
    /// When there are no such, and where the first of them begins in the middle of a byte.
    pub fn narrow(&self, rows: &Range<i64>) -> Result<Self, TchError> {
        let width = self.size[1];
        let (start, end) = (rows.start * width, rows.end * width);
        if rows.start < 0 || rows.end > self.size[0] || rows.is_empty() {
            return Err(TchError::Shape(format!("rows {rows:?} are not all in {:?}", self.size)));
        }
        if matches!(self.coding, Coding::Four(_)) && start % 2 != 0 {
            return Err(TchError::Shape(format!(
                "a piece would begin at row {} of {width} numbers of four bits each, in the middle of a byte",
                rows.start
            )));
        }
        let first = self.coding.bytes(start);
        let codes = own(&self.codes.f_narrow(0, first, self.coding.bytes(end) - first)?)?;
        let (low, high) = self.groups(start, end);
        let scales = self.scales.narrow(low, high)?;
        let offset = self.offset + start - low * self.group;
        let levels = self.levels.as_ref().map(Tensor::shallow_clone);
        let (coding, group, through) = (self.coding, self.group, self.through);
        Ok(Self { size: [rows.end - rows.start, width], coding, codes, scales, group, offset, through, levels })
    }

    /// Returns the groups of some numbers, as they lie one after another.
    fn groups(&self, start: i64, end: i64) -> (i64, i64) {
        ((self.offset + start) / self.group, (self.offset + end - 1) / self.group + 1)
    }

    /// Writes what some rows stand for, as a type, to memory for just that.
    ///
    /// # Errors
    /// When there are no such rows, or no memory for their scales.
    pub fn write(&self, rows: &Range<i64>, kind: Kind, to: &mut [u8]) -> Result<(), TchError> {
        let (start, end) = (rows.start * self.size[1], rows.end * self.size[1]);
        if !self.is_written_at_once(kind) {
            let made = Raw::of(&self.look_up(rows, kind)?)?;
            if made.bytes().len() == to.len() {
                to.copy_from_slice(made.bytes());
            }
            return Ok(());
        }
        let opened = self.open(start, end)?;
        let (stretch, start) = (opened.stretch(), usize::try_from(start).unwrap_or(0));
        match kind {
            Kind::Float => stretch.write(start, to.as_chunks_mut().0, f32::to_ne_bytes),
            _ => stretch.write(start, to.as_chunks_mut().0, |number| bfloat16(number).to_ne_bytes()),
        }
        Ok(())
    }

    /// Whether what codes stand for is rounded to float16 before all else.
    pub(crate) fn is_by_halves(&self) -> bool {
        self.through == Kind::Half
    }

    /// Whether what codes stand for can be written as a type at once, without another in between.
    pub(crate) fn is_written_at_once(&self, kind: Kind) -> bool {
        (self.through == kind || self.through == Kind::Float) && matches!(kind, Kind::Float | Kind::BFloat16)
    }

    /// Prepares some numbers, as they lie one after another, to be written in this machine's memory.
    pub(crate) fn open(&self, start: i64, end: i64) -> Result<Opened, TchError> {
        let (low, high) = self.groups(start, end);
        Ok(Opened {
            coding: self.coding,
            codes: Raw::of(&self.codes)?,
            levels: self.coding.levels(),
            scales: Raw::of(&self.scales.range(low, high)?)?,
            group: usize::try_from(self.group).unwrap_or(1),
            offset: usize::try_from(self.offset).unwrap_or(0),
            low: usize::try_from(low).unwrap_or(0),
        })
    }

    /// Returns what some rows stand for, by libtorch's operations alone, where the codes lie.
    ///
    /// # Errors
    /// When there are no such rows, or no memory for them.
    pub fn look_up(&self, rows: &Range<i64>, kind: Kind) -> Result<Tensor, TchError> {
        let width = self.size[1];
        let (start, count) = (rows.start * width, (rows.end - rows.start) * width);
        let levels = || match &self.levels {
            Some(levels) => Ok(levels.shallow_clone()),
            None => Tensor::f_from_slice(&self.coding.levels()),
        };
        let numbers = match self.coding {
            Coding::Int8 => self.codes.f_narrow(0, start, count)?.f_view_dtype(Kind::Int8)?.f_to_kind(Kind::Float)?,
            Coding::Float8 => {
                let codes = self.codes.f_narrow(0, start, count)?.f_to_kind(Kind::Int)?;
                levels()?.f_index_select(0, &codes)?
            }
            Coding::Four(_) => {
                let (first, end) = (start / 2, (start + count + 1) / 2);
                let bytes = self.codes.f_narrow(0, first, end - first)?.f_to_kind(Kind::Int)?;
                let pairs = levels()?.f_view([256, 2])?.f_index_select(0, &bytes)?;
                pairs.f_reshape([-1])?.f_narrow(0, start % 2, count)?
            }
        };
        let (low, high) = self.groups(start, start + count);
        let scales = self.scales.range(low, high)?;
        let before = self.offset + start - low * self.group;
        let scaled = if before == 0 && count % self.group == 0 {
            numbers.f_view([-1, self.group])?.f_mul(&scales.f_view([-1, 1])?)?
        } else {
            numbers.f_mul(&repeated(&scales, self.group, before, count)?)?
        };
        scaled.f_to_kind(self.through)?.f_to_kind(kind)?.f_view([rows.end - rows.start, width])
    }
}

impl Scales {
    fn count(&self) -> i64 {
        let (Self::Each(scales) | Self::Nested { codes: scales, .. }) = self;
        i64::try_from(scales.numel()).unwrap_or(0)
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Each(scales) => bytes(scales),
            Self::Nested { codes, levels, outer, .. } => bytes(codes) + bytes(levels) + bytes(outer),
        }
    }

    /// Returns those from one to before another, with nothing of the others kept.
    fn narrow(&self, start: i64, end: i64) -> Result<Self, TchError> {
        Ok(match self {
            Self::Each(scales) => Self::Each(own(&scales.f_narrow(0, start, end - start)?)?),
            Self::Nested { codes, levels, outer, group, offset, plus } => {
                let (low, high) = ((offset + start) / group, (offset + end - 1) / group + 1);
                Self::Nested {
                    codes: own(&codes.f_narrow(0, start, end - start)?)?,
                    levels: levels.shallow_clone(),
                    outer: own(&outer.f_narrow(0, low, high - low)?)?,
                    group: *group,
                    offset: (offset + start) % group,
                    plus: *plus,
                }
            }
        })
    }

    /// Returns those from one to before another.
    fn range(&self, start: i64, end: i64) -> Result<Tensor, TchError> {
        match self {
            Self::Each(scales) => scales.f_narrow(0, start, end - start),
            Self::Nested { codes, levels, outer, group, offset, plus } => {
                let codes = codes.f_narrow(0, start, end - start)?.f_to_kind(Kind::Int)?;
                let (low, high) = ((offset + start) / group, (offset + end - 1) / group + 1);
                let outer = outer.f_narrow(0, low, high - low)?;
                let outer = repeated(&outer, *group, (offset + start) % group, end - start)?;
                number::add(&levels.f_index_select(0, &codes)?.f_mul(&outer)?, f64::from(*plus))
            }
        }
    }
}

/// Returns each number so many times, one after another, and of these so many after the first few.
fn repeated(numbers: &Tensor, times: i64, before: i64, count: i64) -> Result<Tensor, TchError> {
    if numbers.numel() == 1 {
        return numbers.f_expand([count], false);
    }
    numbers.f_view([-1, 1])?.f_expand([-1, times], false)?.f_reshape([-1])?.f_narrow(0, before, count)
}

fn bytes(tensor: &Tensor) -> u64 {
    (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64
}

/// Copies what may be a view of more.
fn own(tensor: &Tensor) -> Result<Tensor, TchError> {
    Tensor::f_cat(&[tensor], 0)
}

/// Returns the bits of the nearest bfloat16, of two the even one; NaNs are one NaN, as PyTorch has it.
pub(crate) fn bfloat16(number: f32) -> u16 {
    let bits = number.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if number.is_nan() { 0x7fc0 } else { nearest as u16 }
}

/// Codes in this machine's memory, with the scales of some groups.
pub(crate) struct Opened {
    coding: Coding,
    codes: Raw,
    levels: Vec<f32>,
    scales: Raw,
    group: usize,
    offset: usize,
    low: usize,
}

impl Opened {
    pub fn stretch(&self) -> Stretch<'_> {
        let (codes, levels, scales) = (self.codes.bytes(), self.levels.as_slice(), self.scales.bytes().as_chunks().0);
        Stretch { coding: self.coding, codes, levels, scales, group: self.group, offset: self.offset, low: self.low }
    }
}

/// The same for threads to read. Numbers are named by their place among all.
#[derive(Clone, Copy)]
pub(crate) struct Stretch<'a> {
    coding: Coding,
    codes: &'a [u8],
    levels: &'a [f32],
    scales: &'a [[u8; 4]],
    group: usize,
    /// Where the first number of all lies in its group, and the group of the first scale that is here.
    offset: usize,
    low: usize,
}

impl Stretch<'_> {
    /// Writes numbers from one on, on as many cores as libtorch has.
    fn write<const N: usize>(&self, start: usize, to: &mut [[u8; N]], convert: impl Fn(f32) -> [u8; N] + Copy + Sync) {
        let cores = usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1);
        // An even number of codes each: bytes may have two.
        let piece = to.len().div_ceil(cores).max(LEAST).next_multiple_of(2);
        if to.len() <= piece {
            return self.write_wide(start, to, convert);
        }
        to.par_chunks_mut(piece)
            .enumerate()
            .for_each(|(index, to)| self.write_wide(start + index * piece, to, convert));
    }

    /// The same by whatever vectors the processor has. Each number is rounded by itself: their width does not show.
    fn write_wide<const N: usize>(&self, start: usize, to: &mut [[u8; N]], convert: impl Fn(f32) -> [u8; N] + Copy) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { self.write_avx2(start, to, convert) };
        }
        self.write_here(start, to, convert);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn write_avx2<const N: usize>(&self, start: usize, to: &mut [[u8; N]], convert: impl Fn(f32) -> [u8; N] + Copy) {
        self.write_here(start, to, convert);
    }

    /// The same, by whatever vectors the caller is compiled for.
    #[inline(always)]
    pub fn write_here<const N: usize>(
        &self,
        start: usize,
        to: &mut [[u8; N]],
        convert: impl Fn(f32) -> [u8; N] + Copy,
    ) {
        let (mut at, mut rest) = (start, to);
        while !rest.is_empty() {
            let number = (self.offset + at) / self.group;
            let length = ((number + 1) * self.group - self.offset - at).min(rest.len());
            let (run, later) = rest.split_at_mut(length);
            let scale = self.scales.get(number - self.low).copied().map_or(0.0, f32::from_ne_bytes);
            self.write_run(at, scale, run, convert);
            at += length;
            rest = later;
        }
    }

    /// Writes numbers of one group.
    #[inline(always)]
    fn write_run<const N: usize>(
        &self,
        start: usize,
        scale: f32,
        to: &mut [[u8; N]],
        convert: impl Fn(f32) -> [u8; N] + Copy,
    ) {
        let level = |at: usize| self.levels.get(at).copied().unwrap_or(0.0);
        match self.coding {
            Coding::Int8 => {
                for (to, code) in to.iter_mut().zip(self.codes.get(start..).unwrap_or_default()) {
                    *to = convert(f32::from(code.cast_signed()) * scale);
                }
            }
            Coding::Float8 => {
                for (to, code) in to.iter_mut().zip(self.codes.get(start..).unwrap_or_default()) {
                    *to = convert(level(usize::from(*code)) * scale);
                }
            }
            Coding::Four(_) => {
                let mut codes = self.codes.get(start / 2..).unwrap_or_default().iter();
                // A byte whose first code is not wanted.
                let (odd, to) = to.split_at_mut_checked(start % 2).unwrap_or_default();
                for (to, code) in odd.iter_mut().zip(&mut codes) {
                    *to = convert(level(2 * usize::from(*code) + 1) * scale);
                }
                let (pairs, last) = to.as_chunks_mut::<2>();
                let levels = self.levels.as_chunks::<2>().0;
                for (to, code) in pairs.iter_mut().zip(&mut codes) {
                    let [first, second] = levels.get(usize::from(*code)).copied().unwrap_or_default();
                    *to = [convert(first * scale), convert(second * scale)];
                }
                for (to, code) in last.iter_mut().zip(codes) {
                    *to = convert(level(2 * usize::from(*code)) * scale);
                }
            }
        }
    }
}

/// Fewest numbers that are worth a core.
const LEAST: usize = 1 << 15;

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes of every kind, with scales of groups that rows do not end with.
    fn all() -> Vec<Coded> {
        tch::manual_seed(11);
        let bytes = |count: i64| Tensor::randint(256, [count], (Kind::Uint8, Device::Cpu));
        let floats = |count: i64| Tensor::rand([count], (Kind::Float, Device::Cpu)) + 0.01;
        let mut all = Vec::new();
        for (size, group) in
            [([6, 40], 40), ([6, 40], 240), ([6, 40], 8), ([5, 48], 64), ([7, 33], 64), ([300, 512], 64)]
        {
            let numbers = size[0] * size[1];
            let count = (numbers + group - 1) / group;
            for coding in [Coding::Int8, Coding::Float8, Coding::Four(NF4)] {
                let codes = bytes(coding.bytes(numbers));
                // NaNs are no numbers to compare.
                let nan = codes.bitwise_and(0x7f).eq(0x7f);
                let codes = if coding == Coding::Float8 { codes.masked_fill(&nan, 3) } else { codes };
                for through in [Kind::Float, Kind::Half, Kind::BFloat16] {
                    all.push(Coded::new(size, coding, &codes, (Scales::Each(floats(count)), group), through).unwrap());
                }
                let outer = 4;
                let nested = Scales::Nested {
                    codes: bytes(count),
                    levels: floats(256),
                    outer: floats((count + outer - 1) / outer),
                    group: outer,
                    offset: 0,
                    plus: 0.25,
                };
                all.push(Coded::new(size, coding, &codes, (nested, group), Kind::Float).unwrap());
            }
        }
        all
    }

    fn written(coded: &Coded, rows: &Range<i64>, kind: Kind) -> Tensor {
        let mut raw = Raw::empty(&[rows.end - rows.start, coded.size[1]], kind).unwrap();
        coded.write(rows, kind, raw.bytes_mut()).unwrap();
        raw.tensor()
    }

    #[test]
    fn what_codes_stand_for_is_the_same_by_either_way_and_for_any_of_the_rows() {
        libtorch::prepare();
        for coded in all() {
            for kind in [Kind::Float, Kind::BFloat16] {
                let rows = coded.size[0];
                let whole = written(&coded, &(0..rows), kind);
                for range in [0..rows, 1..2, 1..rows, rows - 1..rows, 2..5] {
                    let expected = whole.narrow(0, range.start, range.end - range.start);
                    let context = format!("{range:?} of {:?}, {:?}, {kind:?}", coded.size, coded.coding.name());
                    assert_eq!(written(&coded, &range, kind), expected, "{context}");
                    assert_eq!(coded.look_up(&range, kind).unwrap(), expected, "{context}");
                    match coded.narrow(&range) {
                        Ok(part) => {
                            assert_eq!(written(&part, &(0..range.end - range.start), kind), expected, "{context}");
                            assert!(range == (0..rows) || part.bytes() < coded.bytes(), "{context}");
                        }
                        Err(error) => {
                            assert!(coded.size[1] % 2 == 1 && range.start % 2 == 1, "{context}");
                            assert!(error.to_string().contains("in the middle of a byte"), "{error}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn codes_stand_for_what_pytorch_and_bitsandbytes_say() {
        libtorch::prepare();
        let every = Tensor::from_slice(&(0..=u8::MAX).collect::<Vec<_>>());
        let one = |coding| {
            let scales = Scales::Each(Tensor::from_slice(&[2.0_f32]));
            let size = [1, if matches!(coding, Coding::Four(_)) { 512 } else { 256 }];
            let coded = Coded::new(size, coding, &every, (scales, size[1]), Kind::Float).unwrap();
            written(&coded, &(0..1), Kind::Float).view([-1])
        };
        let own = every.view_dtype(Kind::Float8e4m3fn).to_kind(Kind::Float) * 2.0;
        let (found, nan) = (one(Coding::Float8), own.isnan());
        assert_eq!(found.isnan(), nan);
        assert_eq!(found.masked_fill(&nan, 0.0), own.masked_fill(&nan, 0.0));
        assert_eq!(one(Coding::Int8), every.view_dtype(Kind::Int8).to_kind(Kind::Float) * 2.0);
        // The upper half of a byte comes first.
        let pairs = Vec::<f32>::try_from(one(Coding::Four(NF4))).unwrap();
        assert_eq!(pairs[2 * 0x1f..2 * 0x1f + 2], [2.0 * NF4[1], 2.0 * NF4[15]]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let scales = |count| (Scales::Each(Tensor::ones([count], (Kind::Float, Device::Cpu))), 64);
        let codes = |count| Tensor::zeros([count], (Kind::Uint8, Device::Cpu));
        assert!(Coded::new([4, 32], Coding::Four(NF4), &codes(64), scales(2), Kind::Float).is_ok());
        assert!(Coded::new([4, 32], Coding::Four(NF4), &codes(63), scales(2), Kind::Float).is_err());
        assert!(Coded::new([4, 32], Coding::Four(NF4), &codes(64), scales(3), Kind::Float).is_err());
        assert!(Coded::new([0, 32], Coding::Int8, &codes(0), scales(0), Kind::Float).is_err());
    }
}
