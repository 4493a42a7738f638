//! Rows of several tensors, multiplied as those of one.

use tch::{TchError, Tensor};

/// Multiplies `[…, in]` tensors as one, and returns each one's `[…, out]`. These are views of one tensor.
///
/// # Errors
/// When the product cannot be computed, or the tensors differ in `in`.
pub fn as_one(
    inputs: &[&Tensor],
    multiply: impl FnOnce(&Tensor) -> Result<Tensor, TchError>,
) -> Result<Vec<Tensor>, TchError> {
    if inputs.is_empty() {
        return Ok(Vec::new());
    }
    let flat = |input: &&Tensor| input.f_reshape([-1, input.size().last().copied().unwrap_or(1)]);
    let all = multiply(&Tensor::f_cat(&inputs.iter().map(flat).collect::<Result<Vec<_>, _>>()?, 0)?)?;
    let (mut outputs, mut start) = (Vec::with_capacity(inputs.len()), 0);
    for input in inputs {
        let mut shape = input.size();
        shape.pop();
        let rows: i64 = shape.iter().product();
        shape.extend(all.size().last());
        outputs.push(all.f_narrow(0, start, rows)?.f_view(shape.as_slice())?);
        start += rows;
    }
    Ok(outputs)
}
