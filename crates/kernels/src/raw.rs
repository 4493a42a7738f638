//! The bytes of tensors, as ranks send them to each other.

use tch::{Device, Kind, TchError, Tensor};

/// A tensor's bytes in memory of its own order, on the CPU.
pub struct Raw(Tensor);

impl Raw {
    /// Takes a tensor's bytes: a copy where they do not lie end to end on the CPU.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn of(tensor: &Tensor) -> Result<Self, TchError> {
        Ok(Self(tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?))
    }

    /// Makes room for a tensor.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn empty(size: &[i64], kind: Kind) -> Result<Self, TchError> {
        Tensor::f_empty(size, (kind, Device::Cpu)).map(Self)
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self.length() {
            0 => &[],
            // SAFETY: the tensor is contiguous and lies on the CPU; it lives as long as the slice, and nobody writes to it
            // meanwhile: libtorch's threads are done with it.
            length => unsafe { std::slice::from_raw_parts(self.0.data_ptr().cast(), length) },
        }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self.length() {
            0 => &mut [],
            // SAFETY: the tensor is contiguous, lies on the CPU, and was made by `empty` for nobody else; nobody reads the rows
            // that were given out meanwhile.
            length => unsafe { std::slice::from_raw_parts_mut(self.0.data_ptr().cast(), length) },
        }
    }

    /// Returns the first of its rows, which are written to when this is: they are to be gone by then.
    ///
    /// # Errors
    /// When there are not as many.
    pub fn rows(&self, count: i64) -> Result<Tensor, TchError> {
        self.0.f_narrow(0, 0, count)
    }

    pub fn tensor(self) -> Tensor {
        self.0
    }

    fn length(&self) -> usize {
        self.0.numel() * self.0.kind().elt_size_in_bytes()
    }
}
