//! Matrices of a model, as kernels want them.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use libtorch::account;
use tch::{Device, Kind, TchError, Tensor};

use crate::apart::Apart;
use crate::order::Keep;
use crate::packed::{PANEL_ROWS, Packed};
use crate::quantized::Quantized;
use crate::scrub::Memory;
use crate::streamed::{Here, Streamed};

/// A `[out, in]` matrix that activations are multiplied by.
///
/// On a CPU it lies in blocks, as oneDNN's kernels read it: for a few rows that is up to twice as fast as row after row.
/// Where the blocks are panels of columns, and the processor has AVX-512, few rows are multiplied by a kernel of our own, as
/// fast as memory is read (`shim/panels.cpp`). It may also lie in pieces, one a rank ([`Apart`]), or in few bits
/// ([`Quantized`]): of those nothing dense is ever kept. Or it is elsewhere until it is used ([`Residency`](crate::Residency)).
pub struct Weight {
    size: [i64; 2],
    kind: Kind,
    device: Device,
    store: Store,
    /// Row after row, made of what is not kept so.
    unpacked: Copy<Tensor>,
    /// `[in, out]`, which gradients are multiplied by.
    transposed: Copy<Rc<Self>>,
}

/// How a matrix is kept.
enum Store {
    Here {
        packed: Option<Packed>,
        /// Zeros after each row of the packed one: see [`STEP`].
        padding: i64,
        /// Row after row, where it is there besides.
        dense: Option<Tensor>,
    },
    /// In pieces, of this matrix or of the one whose rows are its columns.
    Apart { pieces: Rc<Apart>, turned: bool },
    /// In few bits, likewise.
    Quantized { matrix: Rc<Quantized>, turned: bool },
    /// Elsewhere, likewise.
    Elsewhere { streamed: Rc<Streamed>, turned: bool },
}

/// What a weight is made of.
pub enum Given {
    Dense(Tensor),
    Quantized(Quantized),
}

impl From<Tensor> for Given {
    fn from(dense: Tensor) -> Self {
        Self::Dense(dense)
    }
}

impl Given {
    /// Returns `[out, in]`.
    ///
    /// # Errors
    /// For a tensor that is no matrix.
    pub fn size(&self) -> Result<[i64; 2], TchError> {
        match self {
            Self::Dense(dense) => sides(dense),
            Self::Quantized(matrix) => Ok(matrix.size()),
        }
    }
}

/// Bytes that copies of weights may take in this process, and take.
static MOST: AtomicU64 = AtomicU64::new(1 << 30);
static KEPT: AtomicU64 = AtomicU64::new(0);

/// Sets how many bytes copies of packed weights may take: unpacked ones, for who reads `.weight`, and transposed ones, for
/// gradients. What finds no room is made each time. It is 1 GiB at first; what is kept already stays.
pub fn keep_copies(bytes: u64) {
    MOST.store(bytes, Ordering::Relaxed);
}

/// Returns the bytes that copies of weights take in this process.
#[must_use]
pub fn copies() -> u64 {
    KEPT.load(Ordering::Relaxed)
}

/// Another form of a weight, made when it is asked for, and kept while there is room.
struct Copy<T> {
    made: OnceCell<T>,
    bytes: Cell<u64>,
}

impl<T> Default for Copy<T> {
    fn default() -> Self {
        Self { made: OnceCell::new(), bytes: Cell::new(0) }
    }
}

impl<T> Copy<T> {
    fn get(&self) -> Option<&T> {
        self.made.get()
    }

    /// Makes it. What is kept nobody pays for.
    fn keep(
        &self,
        bytes: u64,
        make: impl FnOnce() -> Result<T, TchError>,
        share: impl FnOnce(&T) -> T,
    ) -> Result<T, TchError> {
        let room = |kept: u64| kept.checked_add(bytes).filter(|kept| *kept <= MOST.load(Ordering::Relaxed));
        if KEPT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            return make();
        }
        let _unpaid = account::unpaid();
        match make() {
            Ok(made) => {
                let shared = share(&made);
                self.bytes.set(bytes);
                let _ = self.made.set(made);
                Ok(shared)
            }
            Err(error) => {
                KEPT.fetch_sub(bytes, Ordering::Relaxed);
                Err(error)
            }
        }
    }
}

impl<T> Drop for Copy<T> {
    fn drop(&mut self) {
        KEPT.fetch_sub(self.bytes.get(), Ordering::Relaxed);
    }
}

/// Inputs that kernels take at a time in types of half the size of a float, where the processor has tiles (AMX). Of rows that
/// end in between, they read on into what lies behind, which may be a neighbour's, and multiply it by zero: infinities and
/// NaN of that would come through.
pub const STEP: i64 = 32;

impl Weight {
    /// Takes a matrix over.
    ///
    /// # Errors
    /// For a tensor that is none.
    pub fn new(dense: &Tensor) -> Result<Self, TchError> {
        let mut weight = Self::beside(dense)?;
        if let Store::Here { packed: Some(_), padding: 0, dense } = &mut weight.store {
            *dense = None;
        }
        Ok(weight)
    }

    /// Packs a matrix that somebody keeps as it is, too.
    ///
    /// # Errors
    /// For a tensor that is none.
    pub fn beside(dense: &Tensor) -> Result<Self, TchError> {
        let (size, kind) = (sides(dense)?, dense.f_kind()?);
        let padding = if is_half(kind) { (STEP - size[1] % STEP) % STEP } else { 0 };
        let mut packed = Packed::new(&widened(dense, padding)?);
        if let Some(packed) = &mut packed {
            packed.learn([size[0], size[1] + padding], kind)?;
        }
        let store = Store::Here { packed, padding, dense: Some(dense.shallow_clone()) };
        Ok(Self::of(size, (kind, dense.device()), store))
    }

    /// Returns whether a matrix of so many inputs, taken over, stays nowhere as it was.
    #[must_use]
    pub fn lets_go(kind: Kind, device: Device, inputs: i64) -> bool {
        device != Device::Cpu || Packed::possible(kind) && !(is_half(kind) && inputs % STEP != 0)
    }

    /// Takes a matrix over as it is: rows are read of it, and hardly anything is multiplied.
    ///
    /// # Errors
    /// For a tensor that is none.
    pub fn plain(dense: &Tensor) -> Result<Self, TchError> {
        let (size, options) = (sides(dense)?, (dense.f_kind()?, dense.device()));
        Ok(Self::of(size, options, Store::Here { packed: None, padding: 0, dense: Some(dense.shallow_clone()) }))
    }

    /// Takes a matrix over, to be kept as it is asked. One in few bits is kept so.
    ///
    /// # Errors
    /// For a tensor that is no matrix.
    pub fn kept(given: Given, keep: Keep) -> Result<Self, TchError> {
        match (given, keep) {
            (Given::Dense(dense), Keep::Packed) => Self::new(&dense),
            (Given::Dense(dense), Keep::Both) => Self::beside(&dense),
            (Given::Dense(dense), Keep::Plain) => Self::plain(&dense),
            (Given::Quantized(matrix), _) => Ok(Self::quantized(matrix)),
        }
    }

    /// Takes over a matrix in few bits.
    #[must_use]
    pub fn quantized(matrix: Quantized) -> Self {
        let (size, options) = (matrix.size(), (matrix.kind(), matrix.device()));
        Self::of(size, options, Store::Quantized { matrix: Rc::new(matrix), turned: false })
    }

    /// Takes over a matrix that lies in pieces.
    #[must_use]
    pub fn apart(pieces: Apart) -> Self {
        let (size, options) = (pieces.size(), (pieces.kind(), pieces.device()));
        Self::of(size, options, Store::Apart { pieces: Rc::new(pieces), turned: false })
    }

    /// Makes what stands for a matrix that is elsewhere, and was seen.
    pub(crate) fn elsewhere(seen: &Self, streamed: Streamed) -> Self {
        let store = Store::Elsewhere { streamed: Rc::new(streamed), turned: false };
        Self::of(seen.size, (seen.kind, seen.device), store)
    }

    /// Returns the matrix where it is computed with, and stays until this is dropped.
    pub(crate) fn here(&self) -> Result<Here<'_>, TchError> {
        match &self.store {
            Store::Elsewhere { streamed, turned: false } => streamed.bring().map(Here::Brought),
            Store::Elsewhere { streamed, turned: true } => streamed.bring()?.transposed().map(Here::Turned),
            _ => Ok(Here::Own(self)),
        }
    }

    /// Whether it is elsewhere until it is used.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        matches!(&self.store, Store::Elsewhere { .. })
    }

    fn of(size: [i64; 2], (kind, device): (Kind, Device), store: Store) -> Self {
        Self { size, kind, device, store, unpacked: Copy::default(), transposed: Copy::default() }
    }

    /// Returns `[out, in]`.
    #[must_use]
    pub fn size(&self) -> [i64; 2] {
        self.size
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }

    /// Returns the matrix row after row. Of a packed one that is a copy, which is kept as far as [`keep_copies`] allows;
    /// otherwise, and of one in few bits always, whoever pays on this thread pays for it.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn dense(&self) -> Result<Tensor, TchError> {
        if let Store::Here { dense: Some(dense), .. } = &self.store {
            return Ok(dense.shallow_clone());
        }
        if self.is_quantized() {
            return self.unpack();
        }
        if self.is_elsewhere() {
            return self.here()?.dense();
        }
        match self.unpacked.get() {
            Some(dense) => Ok(dense.shallow_clone()),
            None => self.unpacked.keep(self.bytes(), || self.unpack(), Tensor::shallow_clone),
        }
    }

    fn unpack(&self) -> Result<Tensor, TchError> {
        match &self.store {
            Store::Here { dense: Some(dense), .. } => Ok(dense.shallow_clone()),
            Store::Here { packed: Some(packed), .. } => packed.matrix.f_to_dense(None, false),
            Store::Elsewhere { .. } => self.here()?.dense(),
            Store::Here { .. } => Err(TchError::Shape("a weight got lost".into())),
            Store::Apart { pieces, turned: false } => pieces.rows(0, pieces.size()[0]),
            Store::Apart { pieces, turned: true } => {
                pieces.rows(0, pieces.size()[0])?.f_transpose(0, 1)?.f_contiguous()
            }
            Store::Quantized { matrix, turned: false } => matrix.rows(0, matrix.size()[0]),
            Store::Quantized { matrix, turned: true } => {
                matrix.rows(0, matrix.size()[0])?.f_transpose(0, 1)?.f_contiguous()
            }
        }
    }

    /// Returns some of the matrix' rows.
    ///
    /// # Errors
    /// When there are no such, or no memory for them.
    pub fn rows(&self, first: i64, count: i64) -> Result<Tensor, TchError> {
        match &self.store {
            Store::Apart { pieces, turned: false } => pieces.rows(first, count),
            Store::Quantized { matrix, turned: false } => matrix.rows(first, count),
            _ => self.dense()?.f_narrow(0, first, count),
        }
    }

    /// Returns the rows that ids name, `[…, in]`. All of them have to be there.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn select(&self, ids: &Tensor) -> Result<Tensor, TchError> {
        match &self.store {
            Store::Apart { pieces, turned: false } => pieces.select(ids),
            _ => Tensor::f_embedding(&self.dense()?, ids, -1, false, false),
        }
    }

    /// Gives each piece its part of a bias, which products by it are then to add; nothing where there are none.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn set_bias(&self, bias: &Tensor) -> Result<(), TchError> {
        self.pieces().map_or(Ok(()), |(pieces, _)| pieces.set_bias(bias))
    }

    /// Returns the pieces, and whether they are of the matrix whose rows are this one's columns.
    pub(crate) fn pieces(&self) -> Option<(&Apart, bool)> {
        match &self.store {
            Store::Apart { pieces, turned } => Some((pieces, *turned)),
            Store::Here { .. } | Store::Quantized { .. } | Store::Elsewhere { .. } => None,
        }
    }

    /// Returns the matrix whose rows are this one's columns: a view where nothing is packed, else a copy, which is kept as
    /// far as [`keep_copies`] allows. Pieces, and what is in few bits, stay where they are.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn transposed(&self) -> Result<Rc<Self>, TchError> {
        if let Some(transposed) = self.transposed.get() {
            return Ok(Rc::clone(transposed));
        }
        let view = match &self.store {
            Store::Here { packed: Some(_), .. } => {
                let make = || Self::new(&self.unpack()?.f_transpose(0, 1)?.f_contiguous()?).map(Rc::new);
                return self.transposed.keep(self.bytes(), make, Rc::clone);
            }
            Store::Here { .. } => Self::beside(&self.unpack()?.f_transpose(0, 1)?)?,
            Store::Apart { pieces, turned } => {
                let store = Store::Apart { pieces: Rc::clone(pieces), turned: !turned };
                Self::of([self.size[1], self.size[0]], (self.kind, self.device), store)
            }
            Store::Quantized { matrix, turned } => {
                let store = Store::Quantized { matrix: Rc::clone(matrix), turned: !turned };
                Self::of([self.size[1], self.size[0]], (self.kind, self.device), store)
            }
            Store::Elsewhere { streamed, turned } => {
                let store = Store::Elsewhere { streamed: Rc::clone(streamed), turned: !turned };
                Self::of([self.size[1], self.size[0]], (self.kind, self.device), store)
            }
        };
        self.transposed.keep(0, || Ok(Rc::new(view)), Rc::clone)
    }

    /// Returns the bytes of its numbers, each once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let [outputs, inputs] = self.size.map(|size| u64::try_from(size).unwrap_or(0));
        outputs * inputs * self.kind.elt_size_in_bytes() as u64
    }

    /// Multiplies `[…, in]`, and adds a bias. Nothing is recorded.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn multiply(&self, input: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        match &self.store {
            Store::Elsewhere { .. } => self.here()?.multiply(input, bias),
            // What does not fit is refused in PyTorch's words.
            Store::Here { packed: Some(packed), padding, .. }
                if input.kind() == self.kind && input.size().last() == self.size.last() =>
            {
                let input = widened(input, *padding)?.f_contiguous()?;
                let rows = if let &[rows, _] = input.size().as_slice() { rows } else { i64::MAX };
                match packed.panels_for(rows) {
                    Some(panels) => packed.stream(panels, &input, bias),
                    None => packed.multiply(&input, bias),
                }
            }
            Store::Quantized { matrix, turned }
                if input.kind() == self.kind
                    && input.device() == self.device
                    && input.size().last() == self.size.last() =>
            {
                let _unrecorded = tch::no_grad_guard();
                let mut shape = input.size();
                let flat = input.f_reshape([-1, self.size[1]])?.f_contiguous()?;
                let product =
                    if *turned { matrix.multiply_turned(&flat, bias)? } else { matrix.multiply(&flat, bias)? };
                if let Some(last) = shape.last_mut() {
                    *last = self.size[0];
                }
                product.f_view(shape.as_slice())
            }
            // Nothing is unpacked on the way to an error, nor for no rows at all.
            Store::Here { packed: Some(_), .. } | Store::Apart { .. } | Store::Quantized { .. } => tch::no_grad(|| {
                let alike = Tensor::f_zeros([1, 1], (self.kind, self.device))?.f_expand(self.size, false)?;
                match input.f_contiguous()?.f_linear(&alike, bias) {
                    Ok(_) if input.numel() > 0 => input.f_contiguous()?.f_linear(&self.dense()?, bias),
                    done => done,
                }
            }),
            // Kernels are chosen by how the input lies, too.
            Store::Here { .. } => tch::no_grad(|| input.f_contiguous()?.f_linear(&self.dense()?, bias)),
        }
    }

    /// Whether the matrix lies column after column, of which kernels make other bits.
    pub(crate) fn is_flipped(&self) -> bool {
        match &self.store {
            Store::Here { packed: None, dense: Some(dense), .. } => !dense.is_contiguous(),
            Store::Here { .. } => false,
            Store::Apart { turned, .. } | Store::Quantized { turned, .. } => *turned,
            Store::Elsewhere { streamed, turned } => *turned && !streamed.packed,
        }
    }

    /// Returns whether so many rows are multiplied by the kernel for panels, or by that for codes: each of them comes to the same, however many
    /// they are.
    pub(crate) fn is_streamed(&self, rows: i64) -> bool {
        match &self.store {
            Store::Here { packed: Some(packed), .. } => packed.panels_for(rows).is_some(),
            Store::Quantized { matrix, .. } => matrix.is_direct(),
            Store::Elsewhere { streamed, .. } => streamed.panels && rows <= PANEL_ROWS,
            Store::Here { .. } | Store::Apart { .. } => false,
        }
    }

    /// Whether it is kept in few bits, and products are made piece by piece.
    #[must_use]
    pub fn is_quantized(&self) -> bool {
        matches!(&self.store, Store::Quantized { .. })
    }

    /// Names how it is kept, for what tells results apart; empty for numbers as they are.
    pub(crate) fn scheme(&self) -> &'static str {
        match &self.store {
            Store::Quantized { matrix, .. } => matrix.name(),
            Store::Here { .. } | Store::Apart { .. } | Store::Elsewhere { .. } => "",
        }
    }

    /// Returns the bytes that it takes in this process in few bits, with its scales; none where it is kept as numbers.
    #[must_use]
    pub fn bytes_in_few_bits(&self) -> u64 {
        match &self.store {
            Store::Here { .. } | Store::Elsewhere { .. } => 0,
            Store::Apart { pieces, .. } => pieces.own.bytes_in_few_bits(),
            Store::Quantized { matrix, .. } => matrix.bytes(),
        }
    }

    /// Lists the memory in which this process keeps it. Copies that are made of it later are not among that, and of one that
    /// is elsewhere until it is used there is none.
    ///
    /// # Errors
    /// When libtorch does not say where it lies.
    pub fn memory(&self) -> Result<Vec<Memory>, TchError> {
        match &self.store {
            Store::Here { packed, dense, .. } => {
                let mut all: Vec<_> =
                    packed.iter().map(|packed| Memory::packed(&packed.matrix)).collect::<Result<_, _>>()?;
                all.extend(dense.as_ref().map(Memory::of).transpose()?.flatten());
                Ok(all)
            }
            Store::Apart { pieces, .. } => pieces.own.memory(),
            Store::Quantized { matrix, .. } => matrix.memory(),
            Store::Elsewhere { .. } => Ok(Vec::new()),
        }
    }

    /// Returns one of the same form with other numbers, which kernels treat alike.
    pub(crate) fn alike(&self, matrix: &Tensor) -> Result<Self, TchError> {
        if self.is_quantized() {
            let turned = self.is_flipped();
            let rows = if turned { matrix.f_transpose(0, 1)? } else { matrix.shallow_clone() };
            let store = Store::Quantized { matrix: Rc::new(Quantized::plain(&rows)?), turned };
            return Ok(Self::of(self.size, (self.kind, self.device), store));
        }
        match self.is_flipped() {
            true => Self::beside(&matrix.f_transpose(0, 1)?.f_contiguous()?.f_transpose(0, 1)?),
            false => Self::new(matrix),
        }
    }

    pub(crate) fn is_packed(&self) -> bool {
        match &self.store {
            Store::Here { packed, .. } => packed.is_some(),
            Store::Elsewhere { streamed, .. } => streamed.packed,
            Store::Apart { .. } | Store::Quantized { .. } => false,
        }
    }
}

pub(crate) fn sides(matrix: &Tensor) -> Result<[i64; 2], TchError> {
    <[i64; 2]>::try_from(matrix.size()).map_err(|size| TchError::Shape(format!("{size:?} is no matrix")))
}

/// Returns whether kernels may read rows of a type in steps.
#[must_use]
pub fn is_half(kind: Kind) -> bool {
    matches!(kind, Kind::BFloat16 | Kind::Half)
}

/// Appends zeros to each row.
pub(crate) fn widened(rows: &Tensor, padding: i64) -> Result<Tensor, TchError> {
    if padding == 0 {
        return Ok(rows.shallow_clone());
    }
    let mut size = rows.size();
    if let Some(last) = size.last_mut() {
        *last = padding;
    }
    Tensor::f_cat(&[rows, &Tensor::f_zeros(size.as_slice(), (rows.f_kind()?, rows.device()))?], -1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_matrix_is_the_same_matrix() {
        tch::manual_seed(1);
        for kind in [Kind::Float, Kind::BFloat16, Kind::Double] {
            let random = |shape: [i64; 2]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
            let (dense, bias) = (random([24, 16]), random([1, 24]).squeeze());
            for weight in [Weight::new(&dense).unwrap(), Weight::beside(&dense).unwrap()] {
                assert_eq!((weight.size(), weight.kind(), weight.device()), ([24, 16], kind, Device::Cpu));
                for rows in [1, 5, 64] {
                    let input = random([rows, 16]);
                    for bias in [None, Some(&bias)] {
                        let (found, expected) = (weight.multiply(&input, bias).unwrap(), input.linear(&dense, bias));
                        assert_eq!(found.size(), expected.size());
                        let tolerance = if kind == Kind::BFloat16 { 0.1 } else { 1e-4 };
                        assert!((found - expected).abs().max().double_value(&[]) < tolerance);
                    }
                }
                assert_eq!(weight.dense().unwrap(), dense);
            }
        }
    }

    #[test]
    fn few_rows_by_panels_are_each_what_it_is_alone_and_what_exact_numbers_come_to() {
        tch::manual_seed(2);
        let mut streamed = 0;
        // Large ones; with a panel that is not full, and stretches that are not; small ones, in panels side by side.
        for [outputs, inputs] in [[768, 768], [1000, 1300], [2320, 40], [192, 64], [64, 250]] {
            for kind in [Kind::Float, Kind::BFloat16] {
                let random = |shape: [i64; 2]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
                let (dense, bias) = (random([outputs, inputs]), random([1, outputs]).squeeze());
                let weight = Weight::new(&dense).unwrap();
                if !weight.is_streamed(1) {
                    continue;
                }
                streamed += 1;
                let rows = random([PANEL_ROWS, inputs]);
                let exact = rows.to_kind(Kind::Double).matmul(&dense.to_kind(Kind::Double).tr());
                let exact = exact + bias.to_kind(Kind::Double);
                let products = weight.multiply(&rows, Some(&bias)).unwrap();
                let step = if kind == Kind::Float { 2e-6 } else { 1e-2 };
                let difference = (products.to_kind(Kind::Double) - &exact).abs() - exact.abs() * step;
                assert!(difference.max().double_value(&[]) < 2e-4, "{outputs} x {inputs}, {kind:?}");
                assert_eq!(weight.multiply(&rows, None).unwrap().size(), [PANEL_ROWS, outputs]);
                for count in [1, 2, 3, 4, 5, 6, 7, 12, 31] {
                    for from in [0, PANEL_ROWS - count] {
                        let found = weight.multiply(&rows.narrow(0, from, count), Some(&bias)).unwrap();
                        assert_eq!(found, products.narrow(0, from, count), "{count} of {outputs} x {inputs}, {kind:?}");
                    }
                }
                // Neighbours that are no numbers, before and behind.
                let foul = rows.index_fill(0, &Tensor::from_slice(&[0_i64, 2]), f64::NAN);
                let found = weight.multiply(&foul.narrow(0, 0, 3), Some(&bias)).unwrap();
                assert_eq!(found.get(1), products.get(1));
                assert!(bool::try_from(found.get(2).isnan().all()).unwrap());
            }
        }
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx512f") {
            assert_ne!(streamed, 0, "oneDNN packs matrices in another way than it did");
        }
    }

    #[test]
    fn copies_are_kept_as_far_as_they_may_and_come_to_the_same_without() {
        tch::manual_seed(4);
        for kind in [Kind::Float, Kind::BFloat16, Kind::Double] {
            let random = |shape: [i64; 2]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
            let (dense, gradient) = (random([64, 48]), random([5, 64]));
            let weight = Weight::new(&dense).unwrap();
            keep_copies(0);
            let (one, other) = (weight.transposed().unwrap(), weight.transposed().unwrap());
            assert_eq!(weight.dense().unwrap(), dense);
            assert!(weight.unpacked.get().is_none());
            // Where nothing is packed, it is a view.
            let shares = one.dense().unwrap().data_ptr() == dense.data_ptr();
            assert_eq!((Rc::ptr_eq(&one, &other), shares, one.is_flipped()), [!weight.is_packed(); 3].into());
            keep_copies(1 << 30);
            let kept = weight.transposed().unwrap();
            assert!(Rc::ptr_eq(&kept, &weight.transposed().unwrap()));
            let [found, expected] = [&one, &kept].map(|transposed| transposed.multiply(&gradient, None).unwrap());
            assert_eq!(found, expected, "{kind:?}");
            let tolerance = if kind == Kind::BFloat16 { 0.3 } else { 1e-4 };
            assert!((found - gradient.matmul(&dense)).abs().max().double_value(&[]) < tolerance);
        }
    }

    #[test]
    fn nothing_is_unpacked_on_the_way_to_an_error() {
        let weight = Weight::new(&Tensor::ones([24, 16], (Kind::Float, Device::Cpu))).unwrap();
        for (input, text) in [
            (Tensor::ones([2, 16], (Kind::Double, Device::Cpu)), "same dtype"),
            (Tensor::ones([2, 15], (Kind::Float, Device::Cpu)), "shapes cannot be multiplied (2x15 and 16x24)"),
        ] {
            let error = weight.multiply(&input, None).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
            assert!(weight.unpacked.get().is_none());
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let ones = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
        assert!(Weight::new(&ones(&[3])).is_err());
        assert!(Weight::new(&ones(&[3, 4])).unwrap().multiply(&ones(&[2, 5]), None).is_err());
    }
}
