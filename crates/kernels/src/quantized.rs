//! A matrix that is kept in few bits, and multiplied by piece after piece.

use std::ops::Range;

use libtorch::account;
use tch::{Device, Kind, TchError, Tensor};

use crate::coded::Coded;
use crate::direct;
use crate::raw::Raw;
use crate::scrub::Memory;
use crate::weight::{STEP, is_half, widened};

/// A matrix `[out, in]` in codes. Its numbers are never all there at once, unless somebody asks for all: products make a few in
/// a core's cache (`direct`), or those of some rows at a time, in memory that the next ones take over.
///
/// How many rows such a piece has depends on the matrix alone, so that what is multiplied by it has the same bits whoever is
/// multiplied beside.
pub struct Quantized {
    size: [i64; 2],
    kind: Kind,
    /// Rows, one part after another.
    parts: Vec<Part>,
}

enum Part {
    Coded(Coded),
    /// Numbers as they are: what a probe multiplies by, as one multiplies by codes.
    Plain(Tensor),
}

/// Numbers of a piece on a CPU, where a core's cache is to hold them, and on a GPU, where pieces cost launches.
const PIECE: i64 = 1 << 19;
const PIECE_ON_GPU: i64 = 1 << 24;
/// Rows that a piece has a multiple of: so bytes of two codes are not cut.
const ROWS: i64 = 8;

impl Quantized {
    /// Takes parts over, rows one after another, whose numbers become `kind` when they are needed.
    ///
    /// # Errors
    /// When there are none, or they have rows of several lengths.
    pub fn new(parts: Vec<Coded>, kind: Kind) -> Result<Self, TchError> {
        let width = parts.first().map_or(0, |part| part.size()[1]);
        let outputs = parts.iter().map(|part| part.size()[0]).sum();
        let same = |part: &Coded| part.size()[1] == width && Some(part.device()) == parts.first().map(Coded::device);
        if parts.is_empty() || !parts.iter().all(same) {
            return Err(TchError::Shape("parts of a matrix differ in the length of their rows".into()));
        }
        Ok(Self { size: [outputs, width], kind, parts: parts.into_iter().map(Part::Coded).collect() })
    }

    /// Makes one of numbers as they are, which is multiplied by as any other of its size is.
    pub(crate) fn plain(matrix: &Tensor) -> Result<Self, TchError> {
        let size = crate::weight::sides(matrix)?;
        Ok(Self { size, kind: matrix.f_kind()?, parts: vec![Part::Plain(matrix.f_contiguous()?)] })
    }

    /// Returns `[out, in]`.
    #[must_use]
    pub fn size(&self) -> [i64; 2] {
        self.size
    }

    /// Returns the type that its numbers become.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    #[must_use]
    pub fn device(&self) -> Device {
        match self.parts.first() {
            Some(Part::Coded(coded)) => coded.device(),
            Some(Part::Plain(matrix)) => matrix.device(),
            None => Device::Cpu,
        }
    }

    /// Returns the bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let own = |part: &Part| match part {
            Part::Coded(coded) => coded.bytes(),
            Part::Plain(matrix) => (matrix.numel() * self.kind.elt_size_in_bytes()) as u64,
        };
        self.parts.iter().map(own).sum()
    }

    /// Lists the memory in which it is kept.
    ///
    /// # Errors
    /// For a tensor that is none.
    pub(crate) fn memory(&self) -> Result<Vec<Memory>, TchError> {
        let mut tensors = Vec::new();
        for part in &self.parts {
            match part {
                Part::Coded(coded) => tensors.extend(coded.tensors()),
                Part::Plain(matrix) => tensors.push(matrix),
            }
        }
        let all: Vec<_> = tensors.into_iter().map(Memory::of).collect::<Result<_, _>>()?;
        Ok(all.into_iter().flatten().collect())
    }

    /// Names how its first part is coded.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.parts.first() {
            Some(Part::Coded(coded)) => coded.coding().name(),
            _ => "plain",
        }
    }

    /// Returns some of the rows.
    ///
    /// # Errors
    /// When there are no such, or no memory for them.
    pub fn rows(&self, first: i64, count: i64) -> Result<Tensor, TchError> {
        let rows = first..first.saturating_add(count);
        if first < 0 || count < 0 || rows.end > self.size[0] {
            return Err(TchError::Shape(format!("rows {rows:?} are not all in {:?}", self.size)));
        }
        if self.device() != Device::Cpu {
            return self.look_up(&rows);
        }
        let mut made = Raw::empty(&[count, self.size[1]], self.kind)?;
        self.write(&rows, made.bytes_mut())?;
        Ok(made.tensor())
    }

    /// Multiplies `[rows, in]`, and adds a bias.
    ///
    /// # Errors
    /// When there is no memory for the product.
    pub(crate) fn multiply(&self, input: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let (outputs, rows) = (self.size[0], input.size().first().copied().unwrap_or(0));
        if self.is_direct() {
            return self.multiply_directly(input, bias, false);
        }
        // Kernels for tiles read on behind rows that end in between.
        let padding = if is_half(self.kind) { (STEP - self.size[1] % STEP) % STEP } else { 0 };
        let input = widened(input, padding)?.f_contiguous()?;
        let own = |at: &Range<i64>| bias.map(|bias| bias.f_narrow(0, at.start, at.end - at.start)).transpose();
        let mut pieces = Pieces::new(self)?;
        if pieces.step >= outputs {
            let weight = pieces.made(&(0..outputs))?;
            return input.f_linear(&widened(&weight, padding)?, own(&(0..outputs))?);
        }
        let all = Tensor::f_empty([rows, outputs], (self.kind, input.device()))?;
        for at in pieces.ranges() {
            let weight = pieces.made(&at)?;
            let product = input.f_linear(&widened(&weight, padding)?, own(&at)?)?;
            all.f_narrow(1, at.start, at.end - at.start)?.f_copy_(&product)?;
        }
        Ok(all)
    }

    /// Returns whether rows are multiplied straight by codes: each of them comes to the same, however many they are.
    pub(crate) fn is_direct(&self) -> bool {
        let written = |part: &Part| match part {
            Part::Coded(coded) => coded.is_by_halves() || coded.is_written_at_once(self.kind),
            Part::Plain(_) => matches!(self.kind, Kind::Float | Kind::BFloat16),
        };
        let known = matches!(self.kind, Kind::Float | Kind::BFloat16);
        self.device() == Device::Cpu && direct::is_there() && known && self.parts.iter().all(written)
    }

    /// Multiplies rows straight by codes, or by the matrix whose rows are this one's columns.
    fn multiply_directly(&self, input: &Tensor, bias: Option<&Tensor>, turned: bool) -> Result<Tensor, TchError> {
        let (rows, width) = (input.size().first().copied().unwrap_or(0), self.size[usize::from(turned)]);
        let all = Tensor::f_empty([rows, width], (self.kind, input.device()))?;
        // Only what comes out is the caller's to pay for.
        let _unpaid = account::unpaid();
        for start in (0..rows).step_by(usize::try_from(direct::ROWS).unwrap_or(1)) {
            let count = direct::ROWS.min(rows - start);
            let inputs = direct::Inputs::new(&input.f_narrow(0, start, count)?)?;
            let mut product = self.direct_product(&inputs, turned)?;
            if let Some(bias) = bias {
                product = product.f_add(&bias.f_to_kind(Kind::Float)?)?;
            }
            all.f_narrow(0, start, count)?.f_copy_(&product)?;
        }
        Ok(all)
    }

    fn direct_product(&self, inputs: &direct::Inputs, turned: bool) -> Result<Tensor, TchError> {
        let (mut products, mut sums) =
            (Vec::with_capacity(self.parts.len()), direct::Turned::new(inputs, self.size[1]));
        let mut first = 0;
        for part in &self.parts {
            let (opened, plain);
            let (source, outputs) = match part {
                Part::Coded(coded) => {
                    let [outputs, width] = coded.size();
                    opened = coded.open(0, outputs * width)?;
                    let (stretch, rounded) = (opened.stretch(), self.kind == Kind::BFloat16);
                    let source = match coded.is_by_halves() {
                        true => direct::Source::ByHalves(stretch, rounded),
                        false => direct::Source::Codes(stretch, rounded),
                    };
                    (source, outputs)
                }
                Part::Plain(matrix) => {
                    plain = Raw::of(&matrix.f_to_kind(Kind::Float)?)?;
                    (direct::Source::Numbers(plain.bytes().as_chunks().0), self.size[0])
                }
            };
            match turned {
                true => inputs.multiply_turned(&source, (first, outputs), &mut sums),
                false => products.push(inputs.multiply(&source, outputs)?),
            }
            first += outputs;
        }
        if turned { sums.done() } else { Tensor::f_cat(&products, 0)?.f_transpose(0, 1) }
    }

    /// Multiplies `[rows, out]` by the matrix whose rows are this one's columns: sums over pieces, in float32 where the type
    /// is smaller, and in the order of rows.
    ///
    /// # Errors
    /// When there is no memory for the product.
    pub(crate) fn multiply_turned(&self, input: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        if self.is_direct() {
            return self.multiply_directly(input, bias, true);
        }
        let wide = if is_half(self.kind) { Kind::Float } else { self.kind };
        let mut pieces = Pieces::new(self)?;
        let mut sum: Option<Tensor> = None;
        for at in pieces.ranges() {
            let own = input.f_narrow(1, at.start, at.end - at.start)?.f_to_kind(wide)?.f_contiguous()?;
            let product = own.f_matmul(&pieces.made(&at)?.f_to_kind(wide)?)?;
            sum = Some(match sum {
                Some(mut sum) => sum.f_add_(&product)?,
                None => product,
            });
        }
        let mut sum = sum.ok_or_else(|| TchError::Shape("a matrix without rows".into()))?;
        if let Some(bias) = bias {
            sum = sum.f_add(&bias.f_to_kind(wide)?)?;
        }
        sum.f_to_kind(self.kind)
    }

    /// Returns the parts that have some of the rows, and which of each one's.
    fn parts_of(&self, rows: &Range<i64>) -> impl Iterator<Item = (&Part, Range<i64>)> {
        let mut first = 0;
        self.parts.iter().filter_map(move |part| {
            let count = match part {
                Part::Coded(coded) => coded.size()[0],
                Part::Plain(matrix) => matrix.size().first().copied().unwrap_or(0),
            };
            let own = (rows.start - first).clamp(0, count)..(rows.end - first).clamp(0, count);
            first += count;
            (!own.is_empty()).then_some((part, own))
        })
    }

    fn write(&self, rows: &Range<i64>, to: &mut [u8]) -> Result<(), TchError> {
        let (mut rest, width) = (to, self.size[1].unsigned_abs() as usize * self.kind.elt_size_in_bytes());
        for (part, own) in self.parts_of(rows) {
            let length = usize::try_from(own.end - own.start).unwrap_or(0) * width;
            let (now, later) = rest.split_at_mut_checked(length).ok_or_else(|| TchError::Shape("no room".into()))?;
            match part {
                Part::Coded(coded) => coded.write(&own, self.kind, now)?,
                Part::Plain(matrix) => {
                    now.copy_from_slice(Raw::of(&matrix.f_narrow(0, own.start, own.end - own.start)?)?.bytes());
                }
            }
            rest = later;
        }
        Ok(())
    }

    fn look_up(&self, rows: &Range<i64>) -> Result<Tensor, TchError> {
        let own = |(part, own): (&Part, Range<i64>)| match part {
            Part::Coded(coded) => coded.look_up(&own, self.kind),
            Part::Plain(matrix) => matrix.f_narrow(0, own.start, own.end - own.start),
        };
        let mut parts = self.parts_of(rows).map(own).collect::<Result<Vec<_>, _>>()?;
        match parts.len() {
            0 => Tensor::f_empty([0, self.size[1]], (self.kind, self.device())),
            1 => parts.pop().ok_or_else(|| TchError::Shape("rows got lost".into())),
            _ => Tensor::f_cat(&parts, 0),
        }
    }
}

/// Pieces of a matrix, made one after another, each in the memory of the one before. Nobody pays for that.
struct Pieces<'a> {
    of: &'a Quantized,
    step: i64,
    /// On a CPU.
    memory: Option<Raw>,
}

impl<'a> Pieces<'a> {
    fn new(of: &'a Quantized) -> Result<Self, TchError> {
        let [outputs, inputs] = of.size;
        let on_cpu = of.device() == Device::Cpu;
        let numbers = if on_cpu { PIECE } else { PIECE_ON_GPU };
        let step = ((numbers / inputs.max(1)).max(1) + ROWS - 1) / ROWS * ROWS;
        let _unpaid = account::unpaid();
        let memory = on_cpu.then(|| Raw::empty(&[step.min(outputs), inputs], of.kind)).transpose()?;
        Ok(Self { of, step, memory })
    }

    fn ranges(&self) -> impl Iterator<Item = Range<i64>> + use<> {
        let (outputs, step) = (self.of.size[0], self.step);
        (0..(outputs + step - 1) / step).map(move |at| at * step..((at + 1) * step).min(outputs))
    }

    /// Makes a piece. What was made before is gone.
    fn made(&mut self, rows: &Range<i64>) -> Result<Tensor, TchError> {
        let _unpaid = account::unpaid();
        let Some(memory) = &mut self.memory else { return self.of.look_up(rows) };
        let count = rows.end - rows.start;
        let length = usize::try_from(count * self.of.size[1]).unwrap_or(0) * self.of.kind.elt_size_in_bytes();
        let room = memory.bytes_mut().get_mut(..length).ok_or_else(|| TchError::Shape("no room".into()))?;
        self.of.write(rows, room)?;
        memory.rows(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coded::{Coding, NF4, Scales};

    /// A matrix of several pieces, and of two parts.
    fn matrix(coding: Coding, kind: Kind, [outputs, inputs]: [i64; 2]) -> Quantized {
        let part = |rows: i64| {
            let numbers = rows * inputs;
            let codes = Tensor::randint(120, [coding.bytes(numbers)], (Kind::Uint8, Device::Cpu));
            let scales = Tensor::rand([(numbers + 63) / 64], (Kind::Float, Device::Cpu)) * 0.02;
            let through = if coding == Coding::Float8 { Kind::Half } else { Kind::Float };
            Coded::new([rows, inputs], coding, &codes, (Scales::Each(scales), 64), through).unwrap()
        };
        Quantized::new(vec![part(outputs / 3), part(outputs - outputs / 3)], kind).unwrap()
    }

    #[test]
    fn products_by_pieces_are_those_by_the_matrix_either_way_round() {
        libtorch::prepare();
        tch::manual_seed(3);
        for coding in [Coding::Int8, Coding::Float8, Coding::Four(NF4)] {
            for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, 2e-2)] {
                for size in [[300, 1100], [9, 72], [30, 33]] {
                    let matrix = matrix(coding, kind, size);
                    let dense = matrix.rows(0, size[0]).unwrap();
                    let random = |sizes: [i64; 2]| Tensor::randn(sizes, (Kind::Float, Device::Cpu)).to_kind(kind);
                    let bias = random([1, size[0]]).squeeze_dim(0);
                    let wide = dense.to_kind(Kind::Double);
                    let close = |found: Tensor, expected: Tensor| {
                        let most = (found.to_kind(Kind::Double) - &expected).abs().max().double_value(&[]);
                        let scale = expected.abs().max().double_value(&[]).max(1.0);
                        assert!(most / scale < tolerance, "{most} of {scale}, {size:?} {kind:?} {}", coding.name());
                    };
                    for rows in [1, 5] {
                        let input = random([rows, size[1]]);
                        let expected = input.to_kind(Kind::Double).matmul(&wide.tr());
                        close(matrix.multiply(&input, None).unwrap(), expected.shallow_clone());
                        close(matrix.multiply(&input, Some(&bias)).unwrap(), expected + bias.to_kind(Kind::Double));
                        let gradient = random([rows, size[0]]);
                        let expected = gradient.to_kind(Kind::Double).matmul(&wide);
                        close(matrix.multiply_turned(&gradient, None).unwrap(), expected);
                    }
                    assert_eq!(matrix.rows(size[0] / 3 - 1, 3).unwrap(), dense.narrow(0, size[0] / 3 - 1, 3));
                    assert!(matrix.rows(size[0] - 1, 2).is_err());
                }
            }
        }
    }

    #[test]
    fn it_takes_what_its_codes_and_scales_take() {
        let matrix = matrix(Coding::Four(NF4), Kind::Float, [96, 64]);
        assert_eq!((matrix.bytes(), matrix.name()), (96 * 64 / 2 + 96 * 4, "nf4"));
    }
}
