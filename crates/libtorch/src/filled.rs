//! Tensors whose memory is written here, not by an operator.

use tch::{Device, Kind, TchError, Tensor};

use crate::ffi;

/// Makes a tensor on the CPU and has its bytes written, in native order, before anybody else sees it. A large one lies in
/// huge pages: it is written from end to end, and the system would look for a page, and clear it, for each 4 KiB.
///
/// # Errors
/// When there is no memory for it, and what `fill` returns.
pub fn filled<E: From<TchError>>(
    size: &[i64],
    kind: Kind,
    fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> Result<Tensor, E> {
    let tensor = {
        let _lasting = Lasting::begin();
        Tensor::f_empty(size, (kind, Device::Cpu))?
    };
    let bytes = tensor.numel() * kind.elt_size_in_bytes();
    if bytes > 0 {
        // SAFETY: a new tensor is contiguous, has so many bytes, and shares them with nobody; the memory is C++'s, and
        // whatever lies in it is bytes. It outlives the slice, which `fill` cannot keep.
        fill(unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), bytes) })?;
    }
    Ok(tensor)
}

/// While it lives, what this thread allocates is taken to stay, unless it is said to be passing.
struct Lasting;

impl Lasting {
    fn begin() -> Self {
        // SAFETY: the function sets a flag of the thread.
        unsafe { ffi::vt_set_lasting(true) };
        Self
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { ffi::vt_set_lasting(false) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the flags of the mapping that an address is in, as Linux tells them.
    #[cfg(target_os = "linux")]
    fn flags_at(address: usize) -> String {
        let all = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let hex = |text: &str| usize::from_str_radix(text, 16).ok();
        let range =
            |line: &str| line.split(' ').next()?.split_once('-').and_then(|(from, to)| Some(hex(from)?..hex(to)?));
        let own = all.lines().skip_while(|line| !range(line).is_some_and(|range| range.contains(&address)));
        own.filter_map(|line| line.strip_prefix("VmFlags:")).next().unwrap().to_owned()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_large_tensor_lies_in_huge_pages() {
        crate::prepare();
        let fill = |memory: &mut [u8]| {
            memory.fill(1);
            Ok::<_, TchError>(())
        };
        for mib in [4, 7] {
            let tensor = filled(&[mib << 20], Kind::Uint8, fill).unwrap();
            let flags = flags_at(tensor.data_ptr() as usize);
            if std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
                assert!(flags.split(' ').any(|flag| flag == "hg"), "{flags}");
            }
        }
    }

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
