//! Objects of this crate as plain data, for results.

use interpreter::Value;
use interpreter::raise::Raise;
use interpreter::types::float;
use program::{Datum, Heap, Ref};

use crate::array::Array;
use crate::dtype::{self, Device};
use crate::named::NamedTuple;
use crate::python;
use crate::size::Size;
use crate::tensor::Tensor;

/// Copies a value of this crate (tensor, dtype, size, device, array, named result) into a result's heap. `None` for
/// values of other crates.
pub fn value_data(value: &Value, heap: &mut Heap) -> Option<Result<Ref, Raise>> {
    if let Some(tensor) = Tensor::of(value) {
        return Some(tensor_data(&tensor, heap));
    }
    if let Some(size) = python::host::<Size>(value) {
        return Some(Ok(heap.push(Datum::Size(size.sizes().to_vec()))));
    }
    if let Some(object) = python::host::<dtype::Object>(value) {
        return Some(Ok(heap.push(Datum::DType(object.0))));
    }
    if let Some(device) = python::host::<Device>(value) {
        return Some(Ok(heap.push(Datum::Device(device.to_string()))));
    }
    if let Some(array) = python::host::<Array>(value) {
        let data = array.unpaid().and_then(|tensor| tensor.to_data());
        return Some(data.map(|data| heap.push(Datum::Array { data, scalar: array.is_scalar() })));
    }
    let named = python::host::<NamedTuple>(value)?;
    let items: Result<Vec<Ref>, Raise> = named
        .items()
        .iter()
        .map(|item| match value_data(item, heap) {
            Some(data) => data,
            None => match item {
                Value::Int(number) => Ok(heap.push(Datum::Int((*number).into()))),
                Value::Float(number) => Ok(heap.push(Datum::Float(float::plain_bits(*number)))),
                _ => Err(Raise::type_error("a result with named fields holds a value that cannot be saved")),
            },
        })
        .collect();
    Some(items.map(|items| heap.push(Datum::Tuple(items))))
}

fn tensor_data(tensor: &Tensor, heap: &mut Heap) -> Result<Ref, Raise> {
    let data = tensor.to_data()?;
    let requires_grad = data.requires_grad;
    let inner = heap.push(Datum::Tensor(data));
    Ok(match tensor.is_parameter() {
        true => heap.push(Datum::Parameter { tensor: inner, requires_grad }),
        false => inner,
    })
}

/// Returns the name in `torch.return_types` and the elements of a result with named fields.
pub fn named_result(value: &Value) -> Option<(String, Vec<Value>)> {
    let named = python::host::<NamedTuple>(value)?;
    Some((named.name().to_owned(), named.items().to_vec()))
}

/// Makes a result with named fields that a request brings, by its name in `torch.return_types`.
pub fn make_named(name: &str, items: Vec<Value>) -> Option<Value> {
    let overloads = crate::schema::Operators::all().get(name)?;
    let of_this_form =
        |returns: &[Box<str>]| returns.len() == items.len() && returns.iter().all(|name| !name.is_empty());
    let operator = overloads.iter().find(|operator| of_this_form(&operator.returns))?;
    Some(Value::host(NamedTuple::new(name, &operator.returns, items)))
}
