//! Matrices of a model, as kernels want them.

use std::cell::OnceCell;
use std::rc::Rc;

use tch::{Device, Kind, TchError, Tensor};

use crate::dispatch::{self, Failure};
use crate::ffi;
use crate::job::Paying;

/// A `[out, in]` matrix that activations are multiplied by.
///
/// On a CPU it lies in blocks, as oneDNN's kernels read it: for a few rows that is up to twice as fast as row after row.
pub struct Weight {
    size: [i64; 2],
    kind: Kind,
    device: Device,
    packed: Option<Tensor>,
    /// Zeros after each row of the packed one: see [`STEP`].
    padding: i64,
    /// Row after row. Of a packed one it is made when somebody looks, and kept.
    dense: OnceCell<Tensor>,
    /// `[in, out]`, which gradients are multiplied by: made when the first is asked for, and kept.
    transposed: OnceCell<Rc<Self>>,
}

/// Inputs that kernels take at a time in types of half the size of a float, where the processor has tiles (AMX). Of rows that
/// end in between, they read on into what lies behind, which may be a neighbour's, and multiply it by zero: infinities and
/// NaN of that would come through.
pub const STEP: i64 = 32;

/// Rows that the blocks are chosen for. A layout for many is good for few too, not the other way round.
const PACKED_FOR: i64 = 512;

impl Weight {
    /// Takes a matrix over.
    ///
    /// # Errors
    /// For a tensor that is none.
    pub fn new(dense: &Tensor) -> Result<Self, TchError> {
        let mut weight = Self::beside(dense)?;
        if weight.packed.is_some() && weight.padding == 0 {
            weight.dense = OnceCell::new();
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
        let (known, kind) = (OnceCell::new(), dense.f_kind()?);
        let _ = known.set(dense.shallow_clone());
        let padding = if is_half(kind) { (STEP - size[1] % STEP) % STEP } else { 0 };
        Ok(Self {
            size,
            kind,
            device: dense.device(),
            packed: pack(&widened(dense, padding)?),
            padding,
            dense: known,
            transposed: OnceCell::new(),
        })
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

    /// Returns the matrix row after row.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn dense(&self) -> Result<&Tensor, TchError> {
        if let (None, Some(packed)) = (self.dense.get(), &self.packed) {
            let _unpaid = Paying::nobody();
            let _ = self.dense.set(packed.f_to_dense(None, false)?);
        }
        self.dense.get().ok_or_else(|| TchError::Shape("a weight got lost".into()))
    }

    /// Returns the matrix whose rows are this one's columns.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn transposed(&self) -> Result<&Self, TchError> {
        if self.transposed.get().is_none() {
            let _unpaid = Paying::nobody();
            let dense = match (self.dense.get(), &self.packed) {
                (None, Some(packed)) => packed.f_to_dense(None, false)?,
                _ => self.dense()?.shallow_clone(),
            };
            let transposed = Self::new(&dense.f_transpose(0, 1)?.f_contiguous()?)?;
            let _ = self.transposed.set(Rc::new(transposed));
        }
        self.transposed.get().map(Rc::as_ref).ok_or_else(|| TchError::Shape("a weight got lost".into()))
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
                let bias = bias.map_or(std::ptr::null(), |bias| bias.as_ptr().cast());
                let mut failure = Failure::none();
                // SAFETY: the tensors are alive, and the shim only reads them.
                let made = unsafe {
                    ffi::vt_linear_packed(input.as_ptr().cast(), packed.as_ptr().cast(), bias, failure.out())
                };
                dispatch::adopt(made).ok_or_else(|| TchError::Torch(failure.raise().message().to_string()))
            }
            // Kernels are chosen by how the input lies, too.
            _ => tch::no_grad(|| input.f_contiguous()?.f_linear(self.dense()?, bias)),
        }
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

/// Puts a matrix into blocks; `None` where this machine has no kernels for that.
fn pack(dense: &Tensor) -> Option<Tensor> {
    if dense.device() != Device::Cpu || !matches!(dense.kind(), Kind::Float | Kind::BFloat16) || dense.numel() == 0 {
        return None;
    }
    // oneDNN gives memory back to whichever allocator is in place then: it has to be the one that it came from.
    crate::prepare();
    let _unpaid = Paying::nobody();
    let mut failure = Failure::none();
    let dense = dense.f_contiguous().ok()?;
    // SAFETY: the tensor is alive, and the shim only reads it.
    dispatch::adopt(unsafe { ffi::vt_pack_linear(dense.as_ptr().cast(), PACKED_FOR, failure.out()) })
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
                assert_eq!(*weight.dense().unwrap(), dense);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let ones = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
        assert!(Weight::new(&ones(&[3])).is_err());
        assert!(Weight::new(&ones(&[3, 4])).unwrap().multiply(&ones(&[2, 5]), None).is_err());
    }
}
