//! Tensors whose memory is written here, not by an operator.

use tch::{Device, Kind, TchError, Tensor};

/// Makes a tensor on the CPU and has its bytes written, in native order, before anybody else sees it.
///
/// # Errors
/// When there is no memory for it, and what `fill` returns.
pub fn filled<E: From<TchError>>(
    size: &[i64],
    kind: Kind,
    fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> Result<Tensor, E> {
    let tensor = Tensor::f_empty(size, (kind, Device::Cpu))?;
    let bytes = tensor.numel() * kind.elt_size_in_bytes();
    if bytes > 0 {
        // SAFETY: a new tensor is contiguous, has so many bytes, and shares them with nobody; the memory is C++'s, and
        // whatever lies in it is bytes. It outlives the slice, which `fill` cannot keep.
        fill(unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), bytes) })?;
    }
    Ok(tensor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_has_what_was_written() {
        crate::prepare();
        let bytes = [1.0_f32, -2.0].map(f32::to_ne_bytes).concat();
        let fill = |memory: &mut [u8]| {
            memory.copy_from_slice(&bytes);
            Ok::<_, TchError>(())
        };
        assert_eq!(filled(&[2, 1], Kind::Float, fill).unwrap(), Tensor::from_slice(&[1.0_f32, -2.0]).view([2, 1]));
        let untouched = |_: &mut [u8]| -> Result<(), TchError> { panic!("there is nothing to write") };
        assert_eq!(filled(&[0, 3], Kind::Float, untouched).unwrap().size(), [0, 3]);
        let refused = |_: &mut [u8]| Err(TchError::Shape("no".into()));
        assert!(filled(&[1], Kind::Float, refused).is_err());
    }
}
