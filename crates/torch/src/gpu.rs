//! GPUs, as users name them.

use crate::dtype::Device;

/// Says whether a GPU still answers. Once it does not, nothing that this process asks of it will succeed.
///
/// # Errors
/// What the driver says.
pub fn check(device: Device) -> Result<(), String> {
    // A device of this kind exists only once CUDA is loaded.
    if device.is_cuda() { libtorch::cuda::synchronize(device.index) } else { Ok(()) }
}
