//! Matrices in blocks, as oneDNN's kernels read them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;

use libtorch::{Failure, account, ffi};
use tch::{Device, Kind, TchError, Tensor};

use crate::probe;

/// A matrix in blocks.
pub struct Packed {
    pub matrix: Tensor,
    /// How it lies, where that is in panels. They are part of the matrix.
    panels: Option<ffi::Panels>,
}

/// Rows that the blocks are chosen for. A layout for many is good for few too, not the other way round.
const PACKED_FOR: i64 = 512;

/// Inputs that oneDNN adds up by themselves before it goes on, as seen on processors so far. Where it is another number, few
/// rows have other bits than many.
const STRETCHES: [i64; 2] = [1024, 512];

/// Rows that oneDNN treats as it treats many. One alone is added up in another order.
const SEVERAL: i64 = 8;

/// Most rows that the kernel for panels is given. With more, oneDNN's is as fast.
pub const PANEL_ROWS: i64 = 32;

impl Packed {
    /// Puts a matrix into blocks; `None` where this machine has no kernels for that.
    pub fn new(dense: &Tensor) -> Option<Self> {
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

    /// Returns whether matrices of this type can be put into blocks here.
    pub fn possible(kind: Kind) -> bool {
        let try_it = || {
            let dense = Tensor::f_zeros([64, 64], (kind, Device::Cpu)).ok();
            dense.and_then(|dense| Self::new(&dense)).is_some()
        };
        POSSIBLE.with_borrow_mut(|known| *known.entry(kind).or_insert_with(try_it))
    }

    /// Finds out in which order oneDNN adds products up, once for each form of matrix, so that few rows get the bits of many.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn learn(&mut self, size: [i64; 2], kind: Kind) -> Result<(), TchError> {
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
    pub fn panels_for(&self, rows: i64) -> Option<&ffi::Panels> {
        self.panels.as_ref().filter(|_| rows <= PANEL_ROWS)
    }

    /// Multiplies `[rows, in]` by the kernel for panels, which are this matrix'.
    pub fn stream(&self, panels: &ffi::Panels, input: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let mut failure = Failure::none();
        // SAFETY: the tensors are alive, and so are the panels, which are part of one; the shim only reads them.
        let made = unsafe { ffi::vt_multiply_panels(input.as_ptr().cast(), panels, address(bias), failure.out()) };
        product(made, failure)
    }

    /// Multiplies by oneDNN.
    pub fn multiply(&self, input: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
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
    /// Which types can be packed.
    static POSSIBLE: RefCell<HashMap<Kind, bool>> = RefCell::default();
    /// What was found out of each form of matrix.
    static LEARNT: RefCell<HashMap<([i64; 2], Kind), i64>> = RefCell::default();
}
