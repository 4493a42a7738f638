//! Matrices of a model, as kernels want them.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use libtorch::{Failure, account, ffi};
use tch::{Device, Kind, TchError, Tensor};

use crate::probe;

/// A `[out, in]` matrix that activations are multiplied by.
///
/// On a CPU it lies in blocks, as oneDNN's kernels read it: for a few rows that is up to twice as fast as row after row.
/// Where the blocks are panels of columns, and the processor has AVX-512, few rows are multiplied by a kernel of our own, as
/// fast as memory is read (`shim/panels.cpp`).
pub struct Weight {
    size: [i64; 2],
    kind: Kind,
    device: Device,
    packed: Option<Packed>,
    /// Zeros after each row of the packed one: see [`STEP`].
    padding: i64,
    /// Row after row, where it is there besides.
    dense: Option<Tensor>,
    /// The same, made of a packed one.
    unpacked: Copy<Tensor>,
    /// `[in, out]`, which gradients are multiplied by.
    transposed: Copy<Rc<Self>>,
}

/// Bytes that copies of weights may take in this process, and take.
static MOST: AtomicU64 = AtomicU64::new(1 << 30);
static KEPT: AtomicU64 = AtomicU64::new(0);

/// Sets how many bytes copies of packed weights may take: unpacked ones, for who reads `.weight`, and transposed ones, for
/// gradients. What finds no room is made each time. It is 1 GiB at first; what is kept already stays.
pub fn keep_copies(bytes: u64) {
    MOST.store(bytes, Ordering::Relaxed);
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

fn lost() -> TchError {
    TchError::Shape("a weight got lost".into())
}

/// A matrix in blocks.
struct Packed {
    matrix: Tensor,
    /// How it lies, where that is in panels. They are part of the matrix.
    panels: Option<ffi::Panels>,
}

/// Inputs that kernels take at a time in types of half the size of a float, where the processor has tiles (AMX). Of rows that
/// end in between, they read on into what lies behind, which may be a neighbour's, and multiply it by zero: infinities and
/// NaN of that would come through.
pub const STEP: i64 = 32;

/// Rows that the blocks are chosen for. A layout for many is good for few too, not the other way round.
const PACKED_FOR: i64 = 512;

/// Inputs that oneDNN adds up by themselves before it goes on, as seen on processors so far. Where it is another number, few
/// rows have other bits than many.
const STRETCHES: [i64; 2] = [1024, 512];

/// Rows that oneDNN treats as it treats many. One alone is added up in another order.
const SEVERAL: i64 = 8;

/// Most rows that the kernel for panels is given. With more, oneDNN's is as fast.
const PANEL_ROWS: i64 = 32;

impl Weight {
    /// Takes a matrix over.
    ///
    /// # Errors
    /// For a tensor that is none.
    pub fn new(dense: &Tensor) -> Result<Self, TchError> {
        let mut weight = Self::beside(dense)?;
        if weight.packed.is_some() && weight.padding == 0 {
            weight.dense = None;
        }
        Ok(weight)
    }

    /// Packs a matrix that somebody keeps as it is, too.
    ///
    /// # Errors
    /// For a tensor that is none.
    pub fn beside(dense: &Tensor) -> Result<Self, TchError> {
        let size = dense.size();
        let size = <[i64; 2]>::try_from(size).map_err(|size| TchError::Shape(format!("{size:?} is no matrix")))?;
        let (known, kind) = (Some(dense.shallow_clone()), dense.f_kind()?);
        let padding = if is_half(kind) { (STEP - size[1] % STEP) % STEP } else { 0 };
        let mut packed = Packed::new(&widened(dense, padding)?);
        if let Some(packed) = &mut packed {
            packed.learn([size[0], size[1] + padding], kind)?;
        }
        let (unpacked, transposed) = (Copy::default(), Copy::default());
        Ok(Self { size, kind, device: dense.device(), packed, padding, dense: known, unpacked, transposed })
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
    /// otherwise whoever pays on this thread pays for it.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn dense(&self) -> Result<Tensor, TchError> {
        let Some(packed) = &self.packed else { return self.dense.as_ref().map(Tensor::shallow_clone).ok_or_else(lost) };
        match (&self.dense, self.unpacked.get()) {
            (Some(dense), _) | (None, Some(dense)) => Ok(dense.shallow_clone()),
            (None, None) => {
                self.unpacked.keep(self.bytes(), || packed.matrix.f_to_dense(None, false), Tensor::shallow_clone)
            }
        }
    }

    /// Returns the matrix whose rows are this one's columns: a view where nothing is packed, else a copy, which is kept as
    /// far as [`keep_copies`] allows.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn transposed(&self) -> Result<Rc<Self>, TchError> {
        if let Some(transposed) = self.transposed.get() {
            return Ok(Rc::clone(transposed));
        }
        let Some(packed) = &self.packed else {
            let view = Self::beside(&self.dense.as_ref().ok_or_else(lost)?.f_transpose(0, 1)?)?;
            return self.transposed.keep(0, || Ok(Rc::new(view)), Rc::clone);
        };
        let make = || {
            let dense = match &self.dense {
                Some(dense) => dense.shallow_clone(),
                None => packed.matrix.f_to_dense(None, false)?,
            };
            Self::new(&dense.f_transpose(0, 1)?.f_contiguous()?).map(Rc::new)
        };
        self.transposed.keep(self.bytes(), make, Rc::clone)
    }

    fn bytes(&self) -> u64 {
        let [outputs, inputs] = self.size.map(|size| u64::try_from(size).unwrap_or(0));
        outputs * inputs * self.kind.elt_size_in_bytes() as u64
    }

    /// Multiplies `[…, in]`, and adds a bias. Nothing is recorded.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn multiply(&self, input: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        match &self.packed {
            // What does not fit is refused in PyTorch's words.
            Some(packed) if input.kind() == self.kind && input.size().last() == self.size.last() => {
                let input = widened(input, self.padding)?.f_contiguous()?;
                let rows = if let &[rows, _] = input.size().as_slice() { rows } else { i64::MAX };
                match packed.panels_for(rows) {
                    Some(panels) => packed.stream(panels, &input, bias),
                    None => packed.multiply(&input, bias),
                }
            }
            // Nothing is unpacked on the way to an error.
            Some(_) => tch::no_grad(|| {
                let alike = Tensor::f_zeros([1, 1], (self.kind, self.device))?.f_expand(self.size, false)?;
                match input.f_contiguous()?.f_linear(&alike, bias) {
                    Err(error) => Err(error),
                    Ok(_) => input.f_contiguous()?.f_linear(&self.dense()?, bias),
                }
            }),
            // Kernels are chosen by how the input lies, too.
            None => tch::no_grad(|| input.f_contiguous()?.f_linear(&self.dense()?, bias)),
        }
    }

    /// Whether the matrix lies column after column, of which kernels make other bits.
    pub(crate) fn is_flipped(&self) -> bool {
        self.packed.is_none() && self.dense.as_ref().is_some_and(|dense| !dense.is_contiguous())
    }

    /// Returns whether so many rows are multiplied by the kernel for panels: each of them comes to the same, however many
    /// they are.
    pub(crate) fn is_streamed(&self, rows: i64) -> bool {
        self.packed.as_ref().is_some_and(|packed| packed.panels_for(rows).is_some())
    }

    pub(crate) fn is_packed(&self) -> bool {
        self.packed.is_some()
    }
}

/// Returns whether kernels may read rows of a type in steps.
#[must_use]
pub fn is_half(kind: Kind) -> bool {
    matches!(kind, Kind::BFloat16 | Kind::Half)
}

/// Appends zeros to each row.
fn widened(rows: &Tensor, padding: i64) -> Result<Tensor, TchError> {
    if padding == 0 {
        return Ok(rows.shallow_clone());
    }
    let mut size = rows.size();
    if let Some(last) = size.last_mut() {
        *last = padding;
    }
    Tensor::f_cat(&[rows, &Tensor::f_zeros(size.as_slice(), (rows.f_kind()?, rows.device()))?], -1)
}

impl Packed {
    /// Puts a matrix into blocks; `None` where this machine has no kernels for that.
    fn new(dense: &Tensor) -> Option<Self> {
        if dense.device() != Device::Cpu || !matches!(dense.kind(), Kind::Float | Kind::BFloat16) || dense.numel() == 0
        {
            return None;
        }
        // oneDNN gives memory back to whichever allocator is in place then: it has to be the one that it came from.
        libtorch::prepare();
        let _unpaid = account::unpaid();
        let mut failure = Failure::none();
        let dense = dense.f_contiguous().ok()?;
        // SAFETY: the tensor is alive, and the shim only reads it.
        let matrix = libtorch::adopt(unsafe { ffi::vt_pack_linear(dense.as_ptr().cast(), PACKED_FOR, failure.out()) })?;
        let panels = find_panels(&matrix, &dense);
        Some(Self { matrix, panels })
    }

    /// Finds out in which order oneDNN adds products up, once for each form of matrix, so that few rows get the bits of many.
    fn learn(&mut self, size: [i64; 2], kind: Kind) -> Result<(), TchError> {
        let Some(mut panels) = self.panels else { return Ok(()) };
        let known = LEARNT.with_borrow(|learnt| learnt.get(&(size, kind)).copied());
        panels.stretch = match known {
            Some(stretch) => stretch,
            None => self.stretch(size, kind)?,
        };
        LEARNT.with_borrow_mut(|learnt| learnt.insert((size, kind), panels.stretch));
        self.panels = Some(panels);
        Ok(())
    }

    fn stretch(&self, size: [i64; 2], kind: Kind) -> Result<i64, TchError> {
        let _unpaid = account::unpaid();
        let (matrix, row) = probe::numbers(size, kind, Device::Cpu)?;
        let made = matrix.and_then(|matrix| Self::new(&matrix));
        let packed = made.as_ref().unwrap_or(self);
        let Some(panels) = packed.panels else { return Ok(STRETCHES[0]) };
        let several = row.f_expand([SEVERAL, size[1]], false)?.f_contiguous()?;
        let expected = packed.multiply(&several, None)?.f_narrow(0, 0, 1)?;
        for stretch in STRETCHES {
            if packed.stream(&ffi::Panels { stretch, ..panels }, &row, None)? == expected {
                return Ok(stretch);
            }
        }
        Ok(STRETCHES[0])
    }

    /// Returns the panels, if so many rows are to be multiplied by their kernel.
    fn panels_for(&self, rows: i64) -> Option<&ffi::Panels> {
        self.panels.as_ref().filter(|_| rows <= PANEL_ROWS)
    }

    /// Multiplies `[rows, in]` by the kernel for panels, which are this matrix'.
    fn stream(&self, panels: &ffi::Panels, input: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let mut failure = Failure::none();
        // SAFETY: the tensors are alive, and so are the panels, which are part of one; the shim only reads them.
        let made = unsafe { ffi::vt_multiply_panels(input.as_ptr().cast(), panels, address(bias), failure.out()) };
        product(made, failure)
    }

    /// Multiplies by oneDNN.
    fn multiply(&self, input: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let mut failure = Failure::none();
        // SAFETY: the tensors are alive, and the shim only reads them.
        let made = unsafe {
            let matrix = self.matrix.as_ptr().cast();
            ffi::vt_linear_packed(input.as_ptr().cast(), matrix, address(bias), failure.out())
        };
        product(made, failure)
    }
}

/// Finds out how a packed matrix lies.
fn find_panels(packed: &Tensor, dense: &Tensor) -> Option<ffi::Panels> {
    let mut failure = Failure::none();
    let mut panels = ffi::Panels { data: std::ptr::null(), outputs: 0, step: 0, stride: 0, stretch: 0 };
    let (matrix, numbers) = (packed.as_ptr().cast(), dense.as_ptr().cast());
    // SAFETY: both tensors are alive and have the same numbers, and the shim only reads them.
    let found = unsafe { ffi::vt_find_panels(matrix, numbers, &raw mut panels, failure.out()) };
    found.then_some(panels)
}

fn address(bias: Option<&Tensor>) -> *const c_void {
    bias.map_or(std::ptr::null(), |bias| bias.as_ptr().cast())
}

fn product(made: *mut c_void, failure: Failure) -> Result<Tensor, TchError> {
    libtorch::adopt(made).ok_or_else(|| TchError::Torch(failure.problem().text))
}

thread_local! {
    /// What was found out of each form of matrix.
    static LEARNT: RefCell<HashMap<([i64; 2], Kind), i64>> = RefCell::default();
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
