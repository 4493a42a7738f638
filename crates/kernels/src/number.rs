//! Operations of a tensor with a number.
//!
//! `tch` frees a number before it looks whether the operation failed, and panics if it did: as it does when a job has
//! no memory left. These fail as every other operation does.

use libtorch::{Failure, ffi};
use tch::{Device, Kind, TchError, Tensor};

#[repr(i32)]
#[derive(Clone, Copy)]
enum Operation {
    Add,
    Multiply,
    Divide,
    Power,
    Less,
    AtMost,
    AddInPlace,
    MultiplyInPlace,
}

fn apply(operation: Operation, tensor: &Tensor, number: f64) -> Result<Tensor, TchError> {
    let mut failure = Failure::none();
    // SAFETY: the tensor is alive, and nobody else reads it where the shim writes to it.
    let made = unsafe { ffi::vt_with_number(operation as i32, tensor.as_ptr().cast(), number, failure.out()) };
    libtorch::adopt(made).ok_or_else(|| TchError::Torch(failure.problem().text))
}

/// Adds a number to each element.
///
/// # Errors
/// As all here: for types that have no such operation, and where there is no memory.
pub fn add(tensor: &Tensor, number: f64) -> Result<Tensor, TchError> {
    apply(Operation::Add, tensor, number)
}

/// Multiplies each element.
///
/// # Errors
/// As [`add`].
pub fn multiply(tensor: &Tensor, number: f64) -> Result<Tensor, TchError> {
    apply(Operation::Multiply, tensor, number)
}

/// Adds a number to each element, in place.
///
/// # Errors
/// As [`add`].
pub fn add_(tensor: &mut Tensor, number: f64) -> Result<(), TchError> {
    apply(Operation::AddInPlace, tensor, number).map(drop)
}

/// Multiplies each element, in place. In types smaller than float32 the number is rounded first.
///
/// # Errors
/// As [`add`].
pub fn multiply_(tensor: &mut Tensor, number: f64) -> Result<(), TchError> {
    apply(Operation::MultiplyInPlace, tensor, number).map(drop)
}

/// Divides each element.
///
/// # Errors
/// As [`add`].
pub fn divide(tensor: &Tensor, number: f64) -> Result<Tensor, TchError> {
    apply(Operation::Divide, tensor, number)
}

/// Raises each element to a power.
///
/// # Errors
/// As [`add`].
pub fn power(tensor: &Tensor, number: f64) -> Result<Tensor, TchError> {
    apply(Operation::Power, tensor, number)
}

/// Says which elements are less.
///
/// # Errors
/// As [`add`].
pub fn less(tensor: &Tensor, number: f64) -> Result<Tensor, TchError> {
    apply(Operation::Less, tensor, number)
}

/// Says which elements are not more.
///
/// # Errors
/// As [`add`].
pub fn at_most(tensor: &Tensor, number: f64) -> Result<Tensor, TchError> {
    apply(Operation::AtMost, tensor, number)
}

/// Keeps each element between two numbers.
///
/// # Errors
/// As [`add`].
pub fn clamp(tensor: &Tensor, low: f64, high: f64) -> Result<Tensor, TchError> {
    let options = (tensor.f_kind()?, tensor.device());
    tensor.f_clamp_tensor(Some(full(low, options)?), Some(full(high, options)?))
}

/// Puts a number where a mask says.
///
/// # Errors
/// As [`add`].
pub fn fill_where(tensor: &Tensor, mask: &Tensor, number: f64) -> Result<Tensor, TchError> {
    full(number, (tensor.f_kind()?, tensor.device()))?.f_where_self(mask, tensor)
}

/// Makes a tensor of one element.
///
/// # Errors
/// As [`add`].
pub fn full(number: f64, options: (Kind, Device)) -> Result<Tensor, TchError> {
    add(&Tensor::f_zeros([1], options)?, number)
}

/// Makes the int64 numbers from one to before another.
///
/// # Errors
/// Where there is no memory.
pub fn range(start: i64, end: i64, device: Device) -> Result<Tensor, TchError> {
    Tensor::f_from_slice(&(start..end).collect::<Vec<_>>())?.f_to_device(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_what_their_names_say() {
        let tensor = Tensor::from_slice(&[1.0_f32, 2.0, 4.0]);
        let floats = |tensor: Result<Tensor, TchError>| Vec::<f32>::try_from(tensor.unwrap()).unwrap();
        assert_eq!(floats(add(&tensor, 0.5)), [1.5, 2.5, 4.5]);
        assert_eq!(floats(multiply(&tensor, 0.5)), [0.5, 1.0, 2.0]);
        assert_eq!(floats(divide(&tensor, 4.0)), [0.25, 0.5, 1.0]);
        assert_eq!(floats(power(&tensor, 3.0)), [1.0, 8.0, 64.0]);
        let least = f64::NEG_INFINITY;
        assert_eq!(floats(fill_where(&tensor, &less(&tensor, 2.0).unwrap(), least)), [f32::NEG_INFINITY, 2.0, 4.0]);
        assert_eq!(floats(fill_where(&tensor, &at_most(&tensor, 2.0).unwrap(), 9.0)), [9.0, 9.0, 4.0]);
        assert_eq!(Vec::<i64>::try_from(range(2, 5, Device::Cpu).unwrap()).unwrap(), [2, 3, 4]);
        let mut own = tensor.copy();
        add_(&mut own, 0.5).unwrap();
        multiply_(&mut own, 2.0).unwrap();
        assert_eq!((floats(Ok(own)), floats(Ok(tensor))), (vec![3.0, 5.0, 9.0], vec![1.0, 2.0, 4.0]));
        let complex = Tensor::zeros([1], (Kind::ComplexFloat, Device::Cpu));
        assert!(less(&complex, 1.0).is_err(), "what fails is an error, not a panic");
    }
}
