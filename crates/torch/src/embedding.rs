//! Rows of a weight.

use tch::TchError;

use crate::bounds;
use crate::tensor::Tensor;

/// Looks rows of a `[rows, width]` weight up. Gradients are not recorded for the weight.
///
/// # Errors
/// When an index names no row: on a GPU, that is asked before it is given one.
pub fn embedding(weight: &tch::Tensor, indices: &tch::Tensor) -> Result<tch::Tensor, TchError> {
    if indices.device().is_cuda() {
        let [weight, indices] = [weight, indices].map(|tensor| Tensor::new(tensor.shallow_clone()));
        bounds::rows(&weight, &indices).map_err(|raise| TchError::Torch(raise.message()))?;
    }
    tch::Tensor::f_embedding(weight, indices, -1, false, false)
}
